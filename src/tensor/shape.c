#include "tensor/shape.h"

#include <stdio.h>

bool nacre_shape_valid(const nacre_shape *shape) {
    if (shape->ndim < 0 || shape->ndim > NACRE_MAX_DIMS) {
        return false;
    }
    /* The product of the extents that are not 0 must fit too: strides are made of them. */
    int64_t count = 8;
    for (int i = 0; i < shape->ndim; i++) {
        int64_t extent = shape->dims[i];
        if (extent < 0 || (extent > 0 && __builtin_mul_overflow(count, extent, &count))) {
            return false;
        }
    }
    return true;
}

int64_t nacre_shape_numel(const nacre_shape *shape) {
    int64_t count = 1;
    for (int i = 0; i < shape->ndim; i++) {
        count *= shape->dims[i];
    }
    return count;
}

bool nacre_shape_broadcast(const nacre_shape *a, const nacre_shape *b, nacre_shape *out) {
    nacre_shape result = {.ndim = a->ndim > b->ndim ? a->ndim : b->ndim};
    for (int i = 1; i <= result.ndim; i++) {
        int64_t x = i <= a->ndim ? a->dims[a->ndim - i] : 1;
        int64_t y = i <= b->ndim ? b->dims[b->ndim - i] : 1;
        if (x != y && x != 1 && y != 1) {
            return false;
        }
        result.dims[result.ndim - i] = x == 1 ? y : x;
    }
    *out = result;
    return true;
}

void nacre_shape_strides(const nacre_shape *shape, int64_t strides[NACRE_MAX_DIMS]) {
    int64_t stride = 1;
    for (int i = shape->ndim - 1; i >= 0; i--) {
        strides[i] = stride;
        stride *= shape->dims[i] > 0 ? shape->dims[i] : 1;
    }
}

bool nacre_strides_contiguous(const nacre_shape *shape, const int64_t strides[NACRE_MAX_DIMS]) {
    int64_t stride = 1;
    for (int i = shape->ndim - 1; i >= 0; i--) {
        if (shape->dims[i] == 0) {
            return true;
        }
        if (shape->dims[i] != 1 && strides[i] != stride) {
            return false;
        }
        stride *= shape->dims[i];
    }
    return true;
}

int nacre_axis_normal(int axis, int ndim) {
    if (axis < -ndim || axis >= ndim) {
        return -1;
    }
    return axis < 0 ? axis + ndim : axis;
}

const char *nacre_shape_text(const nacre_shape *shape, char text[NACRE_SHAPE_TEXT]) {
    size_t used = 0;
    if (shape->ndim < 0 || shape->ndim > NACRE_MAX_DIMS) { /* a caller's mistake: nothing to read */
        snprintf(text, NACRE_SHAPE_TEXT, "[%d axes]", shape->ndim);
        return text;
    }
    text[used++] = '[';
    for (int i = 0; i < shape->ndim && used < NACRE_SHAPE_TEXT - 24; i++) {
        used += (size_t)snprintf(text + used, NACRE_SHAPE_TEXT - used, i ? ",%lld" : "%lld",
                                 (long long)shape->dims[i]);
    }
    text[used++] = ']';
    text[used] = '\0';
    return text;
}
