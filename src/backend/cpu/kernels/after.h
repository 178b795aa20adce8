/* What follows the sums of a convolution, on vectors of laned outputs. */
#ifndef NACRE_BACKEND_CPU_KERNELS_AFTER_H
#define NACRE_BACKEND_CPU_KERNELS_AFTER_H

#include "backend/cpu/kernels.h"
#include "simd.h"

/* to: where y will be stored. */
INLINE vec after_sums(const nacre_conv_after *a, const float *to, vec y) {
    const int64_t at = to - a->out;
    if (a->add) y = vec_add(y, vec_load(a->add + at));
    if (a->mask) y = vec_select(vec_less(vec_zero(), vec_load(a->mask + at)), y, vec_zero());
    return y;
}

#endif
