#include "backend/cpu/strided.h"

#include <string.h>

nacre_strided nacre_strided_make(const void *data, size_t size, int ndim, const int64_t *dims,
                                 const int64_t *strides) {
    nacre_strided s = {.data = data, .size = size};
    for (int i = 0; i < ndim; i++) {
        if (dims[i] == 1) continue;
        int last = s.ndim - 1;
        if (last >= 0 && s.strides[last] == strides[i] * dims[i]) {
            s.dims[last] *= dims[i];
            s.strides[last] = strides[i];
            continue;
        }
        s.dims[s.ndim] = dims[i];
        s.strides[s.ndim++] = strides[i];
    }
    return s;
}

nacre_strided nacre_strided_of(const nacre_array *array) {
    return nacre_strided_make(array->data, nacre_dtype_get(array->dtype)->size, array->shape.ndim,
                              array->shape.dims, array->strides);
}

int64_t nacre_strided_offset(const nacre_strided *s, int64_t index) {
    int64_t offset = 0;
    for (int i = s->ndim - 1; i > 0; i--) {
        offset += index % s->dims[i] * s->strides[i];
        index /= s->dims[i];
    }
    return s->ndim ? offset + index * s->strides[0] : 0;
}

/* count elements `stride` apart. */
static void gather_run(const unsigned char *from, size_t size, int64_t stride, int64_t count,
                       unsigned char *out) {
    if (stride == 1) {
        memcpy(out, from, (size_t)count * size);
    } else if (stride == 0 && size == sizeof(uint32_t)) {
        const uint32_t x = *(const uint32_t *)(const void *)from;
        uint32_t *to = (uint32_t *)(void *)out;
        for (int64_t i = 0; i < count; i++) to[i] = x;
    } else if (size == sizeof(uint32_t)) {
        const uint32_t *x = (const uint32_t *)(const void *)from;
        uint32_t *to = (uint32_t *)(void *)out;
        for (int64_t i = 0; i < count; i++) to[i] = x[i * stride];
    } else {
        int64_t bytes = (int64_t)size;
        for (int64_t i = 0; i < count; i++)
            memcpy(out + i * bytes, from + i * stride * bytes, size);
    }
}

void nacre_strided_gather(const nacre_strided *s, int64_t first, int64_t count, void *out) {
    if (count <= 0) return;
    unsigned char *to = out;
    int last = s->ndim - 1;
    if (last < 0) {
        for (int64_t i = 0; i < count; i++) memcpy(to + (size_t)i * s->size, s->data, s->size);
        return;
    }
    int64_t at[NACRE_MAX_DIMS], rest = first, offset = 0, bytes = (int64_t)s->size;
    for (int i = last; i >= 0; i--) {
        at[i] = i ? rest % s->dims[i] : rest;
        rest /= s->dims[i];
        offset += at[i] * s->strides[i];
    }
    for (;;) {
        int64_t run = s->dims[last] - at[last];
        if (run > count) run = count;
        gather_run(s->data + offset * bytes, s->size, s->strides[last], run, to);
        count -= run;
        if (count == 0) return;
        to += run * bytes;
        /* The next row: axis `last` is back at 0, the ones before count up. */
        offset -= at[last] * s->strides[last];
        at[last] = 0;
        for (int i = last - 1; i >= 0; i--) {
            offset += s->strides[i];
            if (++at[i] < s->dims[i]) break;
            offset -= s->dims[i] * s->strides[i];
            at[i] = 0;
        }
    }
}
