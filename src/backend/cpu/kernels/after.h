/* What follows the sums of a convolution, on vectors of outputs: each operation as the tile function of its op. */
#ifndef NACRE_BACKEND_CPU_KERNELS_AFTER_H
#define NACRE_BACKEND_CPU_KERNELS_AFTER_H

#include "backend/cpu/kernels.h"
#include "simd.h"

INLINE vec after_numbers(vec mean, vec scale, vec shift, vec y) {
    return vec_add(vec_mul(vec_sub(y, mean), scale), shift);
}

/* The norm of `count` vectors of one channel. */
INLINE void after_norm(const int count, const nacre_conv_after *a, int channel, vec *y) {
    const float *norm = a->norm + channel;
    const vec mean = vec_set(norm[0]), scale = vec_set(norm[a->norm_step]);
    const vec shift = vec_set(norm[2 * a->norm_step]);
    EACH (j, count) y[j] = after_numbers(mean, scale, shift, y[j]);
}

/* to: where y, or `floats` of it if it is fewer, will be stored. */
INLINE vec after_add(const nacre_conv_after *a, const float *to, size_t floats, vec y) {
    return vec_add(y, vec_load_n(a->add + (to - a->out), floats));
}
INLINE vec after_relu(vec y) { return vec_max(vec_zero(), y); }
INLINE vec after_mask(const nacre_conv_after *a, const float *to, vec y) {
    return vec_select(vec_less(vec_zero(), vec_load(a->mask + (to - a->out))), y, vec_zero());
}

/* The sum and relu of what turns from lanes to rows. */
INLINE vec after_row(const nacre_conv_after *a, const float *to, size_t floats, vec y) {
    y = after_add(a, to, floats, y);
    return a->relu ? after_relu(y) : y;
}

#endif
