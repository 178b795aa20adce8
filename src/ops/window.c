#include "ops/window.h"

/* ---- pairs ---- */

bool nacre_pair_take(nacre_word *pair, const int64_t *given, const nacre_op *op, const char *name,
                     const char *file, int line) {
    for (int i = 0; i < 2; i++) {
        if (given[i] >= 0 && given[i] <= INT32_MAX) continue;
        nacre_fail_at(NACRE_INVALID_ARGUMENT, file, line,
                      "%s: %s is %lldx%lld: height and width must be 0 to %d", op->name, name,
                      (long long)given[0], (long long)given[1], INT32_MAX);
        return false;
    }
    *pair = nacre_pair(given[0], given[1]);
    return true;
}

void nacre_pair_read(int64_t *to, nacre_word pair) {
    to[0] = nacre_pair_first(pair);
    to[1] = nacre_pair_second(pair);
}

void nacre_pair_default(nacre_word *pair, nacre_word instead) {
    int64_t own[2], other[2];
    nacre_pair_read(own, *pair);
    nacre_pair_read(other, instead);
    *pair = nacre_pair(own[0] ? own[0] : other[0], own[1] ? own[1] : other[1]);
}

/* ---- shape rules ---- */

nacre_status nacre_need_images(const nacre_inference *inference, int i, const char *argument) {
    const nacre_shape *shape = &inference->in[i].shape;
    bool fits = shape->ndim == 4;
    for (int k = 1; fits && k < 4; k++)
        fits = shape->dims[k] > 0 && (k == 1 || shape->dims[k] <= INT32_MAX);
    if (fits) return NACRE_OK;
    char text[NACRE_SHAPE_TEXT];
    return nacre_fail_at(NACRE_SHAPE_MISMATCH, inference->file, inference->line,
                         "%s: %s is %s: it must be [n, channels, height, width] with at least one "
                         "channel, row and column (below 2^31)",
                         inference->op->name, argument, nacre_shape_text(shape, text));
}

nacre_status nacre_window_slide(nacre_window *w, const nacre_inference *inference) {
    static const char *const names[] = {"height", "width"};
    for (int i = 0; i < 2; i++) {
        int64_t padded = w->in[i] + 2 * w->padding[i];
        int64_t span = w->dilation[i] * (w->kernel[i] - 1) + 1;
        if (w->kernel[i] < 1 || span > padded || padded > INT32_MAX)
            return nacre_fail_at(
                NACRE_SHAPE_MISMATCH, inference->file, inference->line,
                "%s: the %s is %lld, padded %lld, and the kernel spans %lld (%lld, dilation %lld): "
                "it must be at least 1 and fit, all below 2^31; use a smaller kernel or more "
                "padding",
                inference->op->name, names[i], (long long)w->in[i], (long long)padded,
                (long long)span, (long long)w->kernel[i], (long long)w->dilation[i]);
        w->out[i] = (padded - span) / w->stride[i] + 1;
    }
    return NACRE_OK;
}

/* ---- reference ---- */

void nacre_each4(const nacre_array *out, double (*value)(const void *context, const int64_t *index),
                 const void *context) {
    const nacre_dtype_info *info = nacre_dtype_get(out->dtype);
    const int64_t *dims = out->shape.dims, *s = out->strides;
    int64_t i[4];
    for (i[0] = 0; i[0] < dims[0]; i[0]++)
        for (i[1] = 0; i[1] < dims[1]; i[1]++)
            for (i[2] = 0; i[2] < dims[2]; i[2]++)
                for (i[3] = 0; i[3] < dims[3]; i[3]++) {
                    int64_t to = i[0] * s[0] + i[1] * s[1] + i[2] * s[2] + i[3] * s[3];
                    info->store(nacre_array_at(out, to), value(context, i));
                }
}
