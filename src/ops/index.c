/* nacre_index: Python's index syntax, in terms of slice and reshape. */
#include "ops/common.h"

#include <stdlib.h>
#include <string.h>

typedef enum item_kind { ITEM_INTEGER, ITEM_SLICE, ITEM_ELLIPSIS } item_kind;

typedef struct item {
    item_kind kind;
    bool has_start, has_stop, has_step;
    int64_t start, stop, step;
} item;

static const char *skip_blanks(const char *at) { return at + strspn(at, " \t"); }

/* Reads an optional integer. NULL: a sign without digits, or too large. */
static const char *read_integer(const char *at, bool *given, int64_t *value) {
    at = skip_blanks(at);
    *given = false;
    const char *digits = at + (*at == '-' || *at == '+');
    if (*digits < '0' || *digits > '9') return digits == at ? at : NULL;
    char *end = NULL;
    long long number = strtoll(at, &end, 10);
    if (number > INT64_MAX / 4 || number < INT64_MIN / 4) return NULL;
    *given = true;
    *value = number;
    return skip_blanks(end);
}

/* One item: "...", an integer, or start:stop:step with each part optional. NULL: bad syntax. */
static const char *read_item(const char *at, item *out) {
    *out = (item){.kind = ITEM_SLICE, .step = 1};
    at = skip_blanks(at);
    if (strncmp(at, "...", 3) == 0) {
        out->kind = ITEM_ELLIPSIS;
        return skip_blanks(at + 3);
    }
    at = read_integer(at, &out->has_start, &out->start);
    if (!at) return NULL;
    if (*at != ':') {
        out->kind = ITEM_INTEGER;
        return out->has_start ? at : NULL;
    }
    at = read_integer(at + 1, &out->has_stop, &out->stop);
    if (at && *at == ':') at = read_integer(at + 1, &out->has_step, &out->step);
    return at;
}

/* Number of items, or -1 where the text is not an index. Room for every axis and an ellipsis. */
static int read_items(const char *text, item items[NACRE_MAX_DIMS + 1]) {
    int count = 0;
    for (const char *at = text;;) {
        if (count > NACRE_MAX_DIMS) return -1;
        at = read_item(at, &items[count]);
        if (!at) return -1;
        count++;
        if (*at == '\0') return count;
        if (*at++ != ',') return -1;
        if (*skip_blanks(at) == '\0') return count; /* a trailing comma, as in Python */
    }
}

static nacre_tensor *index_error(nacre_status status, const char *index, const nacre_shape *shape,
                                 const char *reason, const char *file, int line) {
    char text[NACRE_SHAPE_TEXT];
    nacre_fail_at(status, file, line, "index: \"%.60s\" into a of shape %s: %s", index,
                  nacre_shape_text(shape, text), reason);
    return nacre_error_tensor();
}

/* Applies items to the axes; `drop` gets the bit set of axes that integers remove. */
static nacre_tensor *apply(nacre_tensor *a, const item *items, int count, int named,
                           const char *index, int64_t *drop, const char *file, int line) {
    nacre_shape shape = nacre_shape_of(a);
    nacre_tensor *t = a;
    for (int i = 0, axis = 0; i < count; i++) {
        const item *it = &items[i];
        if (it->kind == ITEM_ELLIPSIS) {
            axis += shape.ndim - named;
            continue;
        }
        int64_t extent = shape.dims[axis], start = it->start, stop = it->stop;
        if (it->kind == ITEM_INTEGER) {
            if (start < -extent || start >= extent)
                return index_error(NACRE_OUT_OF_RANGE, index, &shape,
                                   "an integer is out of range; use -extent to extent - 1", file,
                                   line);
            if (start < 0) start += extent;
            stop = start + 1;
            *drop |= (int64_t)1 << axis;
        } else {
            if (!it->has_start) start = 0;
            if (!it->has_stop) stop = extent;
        }
        if (it->kind == ITEM_INTEGER || it->has_start || it->has_stop || it->step != 1)
            t = nacre_slice_at(t, axis, start, stop, it->step, file, line);
        axis++;
    }
    return t;
}

nacre_tensor *nacre_index_at(nacre_tensor *a, const char *index, const char *file, int line) {
    if (!nacre_usable(a)) return nacre_record_unary(&nacre_op_slice, a, file, line);
    nacre_shape shape = nacre_shape_of(a);
    item items[NACRE_MAX_DIMS + 1];
    int count = index ? read_items(index, items) : -1;
    if (count < 0)
        return index_error(NACRE_INVALID_ARGUMENT, index ? index : "(NULL)", &shape,
                           "not an index; write items such as 2, -1, 1:3, ::2 and ... with commas",
                           file, line);
    int ellipses = 0;
    for (int i = 0; i < count; i++) {
        ellipses += items[i].kind == ITEM_ELLIPSIS;
        if (items[i].has_step && items[i].step < 1)
            return index_error(NACRE_INVALID_ARGUMENT, index, &shape, "steps must be at least 1",
                               file, line);
    }
    if (ellipses > 1 || count - ellipses > shape.ndim)
        return index_error(NACRE_INVALID_ARGUMENT, index, &shape,
                           ellipses > 1 ? "only one \"...\" has a meaning"
                                        : "there are more items than axes",
                           file, line);
    int64_t drop = 0;
    nacre_scope frame = nacre_frame_begin();
    nacre_tensor *t = apply(a, items, count, count - ellipses, index, &drop, file, line);
    if (nacre_usable(t)) {
        nacre_shape now = nacre_shape_of(t), kept = {.ndim = 0};
        for (int i = 0; i < now.ndim; i++)
            if (!(drop >> i & 1)) kept.dims[kept.ndim++] = now.dims[i];
        if (drop || t == a) t = nacre_reshape_at(t, kept, file, line);
    }
    nacre_frame_end(frame, &t, 1);
    return t;
}
