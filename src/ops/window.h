/* Windows that slide over images [n, channels, height, width]: shared by convolutions and pools. */
#ifndef NACRE_OPS_WINDOW_H
#define NACRE_OPS_WINDOW_H

#include "ops/common.h"
#include "ops/reference.h"

/* Height and width of everything. The window of output o begins at input o stride - padding; its tap k lies
   dilation k further on. */
typedef struct nacre_window {
    int64_t in[2], kernel[2], stride[2], padding[2], dilation[2], out[2];
} nacre_window;

/* Two numbers of the caller's as an attribute. false: one is negative or 2^31 or more; last error set. */
bool nacre_pair_take(nacre_word *pair, const int64_t *given, const nacre_op *op, const char *name,
                     const char *file, int line);
void nacre_pair_read(int64_t *to, nacre_word pair);
/* An attribute that is a pair: its zeros become `instead`'s numbers. */
void nacre_pair_default(nacre_word *pair, nacre_word instead);

/* Fails unless input i is [n, channels, height, width] with no extent but n 0. `argument`: its name. */
nacre_status nacre_need_images(const nacre_inference *inference, int i, const char *argument);

/* Sets out = floor((in + 2 padding - dilation (kernel - 1) - 1) / stride) + 1. Fails where no window fits. */
nacre_status nacre_window_slide(nacre_window *window, const nacre_inference *inference);

/* ---- reference ---- */

/* Extents of the windows between two images of a call. */
static inline void nacre_window_extents(nacre_window *window, const nacre_array *in,
                                        const nacre_array *out) {
    for (int i = 0; i < 2; i++) {
        window->in[i] = in->shape.dims[2 + i];
        window->out[i] = out->shape.dims[2 + i];
    }
}

/* Input row or column under tap k of output o's window; it may lie outside [0, in). */
static inline int64_t nacre_window_at(const nacre_window *window, int axis, int64_t o, int64_t k) {
    return o * window->stride[axis] - window->padding[axis] + k * window->dilation[axis];
}

/* An element of an array of four axes and a floating dtype. */
static inline double nacre_load4(const nacre_array *array, int64_t a, int64_t b, int64_t c,
                                 int64_t d) {
    const int64_t *s = array->strides;
    int64_t at = a * s[0] + b * s[1] + c * s[2] + d * s[3];
    return array->dtype == NACRE_F32 ? (double)((const float *)array->data)[at]
                                     : ((const double *)array->data)[at];
}

/* Stores value(context, index) at every index of an array of four axes. */
void nacre_each4(const nacre_array *out, double (*value)(const void *context, const int64_t *index),
                 const void *context);

#endif
