/* exp and log of f32 vectors: the same bits on every level with a hardware fma. Bounds (subnormal
   arguments and results excluded, they count as 0): exp 1 ulp, log 1 ulp; tested over every normal f32. */
#ifndef NACRE_BACKEND_CPU_KERNELS_MATH_H
#define NACRE_BACKEND_CPU_KERNELS_MATH_H

#include "simd.h"

/* exp(x) = 2^n e^r with n = round(x / ln 2), |r| <= ln 2 / 2; e^r = 1 + r + r^2 q(r), q the minimax
   polynomial of (e^r - 1 - r) / r^2. ln 2 is split in two (Cody and Waite) so that n times the high part
   is exact. Adding 1.5 * 2^23 rounds x / ln 2 to an integer and leaves it in the low mantissa bits, from
   where a shift by 23 moves it into the exponent. */
INLINE vec vec_exp(vec x) {
    const vec magic = vec_set(0x1.8p23f);
    const vec largest = vec_set(0x1.62e42ep6f);   /* of the finite results */
    const vec smallest = vec_set(-0x1.5d589ep6f); /* of the normal results */
    const vec bounded = vec_max(vec_min(x, vec_set(89.0f)), vec_set(-88.0f));
    const vec shifted = vec_fma(bounded, vec_set(0x1.715476p0f), magic);
    const vec n = vec_sub(shifted, magic);
    vec r = vec_fma(n, vec_set(-0x1.63p-1f), bounded);
    r = vec_fma(n, vec_set(0x1.bd0106p-13f), r);
    vec q = vec_set(0x1.a124e4p-13f);
    q = vec_fma(q, r, vec_set(0x1.6d4316p-10f));
    q = vec_fma(q, r, vec_set(0x1.1110e0p-7f));
    q = vec_fma(q, r, vec_set(0x1.5554eap-5f));
    q = vec_fma(q, r, vec_set(0x1.555556p-3f));
    q = vec_fma(q, r, vec_set(0.5f));
    const vec e = vec_add(vec_fma(vec_mul(r, r), q, r), vec_set(1.0f));
    vec y = bits_vec(ivec_add(vec_bits(e), ivec_shift_left(vec_bits(shifted), 23)));
    y = vec_select(vec_less(x, smallest), vec_zero(), y);
    y = vec_select(vec_less(largest, x), vec_set(INFINITY), y);
    return vec_select(vec_is_nan(x), x, y);
}

/* log(x) = e ln 2 + log(1 + f) with x = 2^e (1 + f), sqrt(1/2) <= 1 + f < sqrt(2);
   log(1 + f) = f - f^2 / 2 + f^3 p(f), p the minimax polynomial of what remains. */
INLINE vec vec_log(vec x) {
    const ivec root_half = ivec_set(0x3f3504f3);
    const ivec bits = vec_bits(x);
    const ivec exponent = ivec_shift_right(ivec_sub(bits, root_half), 23);
    const vec e = ivec_float(exponent);
    const vec m = bits_vec(ivec_sub(bits, ivec_shift_left(exponent, 23)));
    const vec f = vec_sub(m, vec_set(1.0f));
    vec p = vec_set(0x1.1d8ea6p-4f);
    p = vec_fma(p, f, vec_set(-0x1.d635bcp-4f));
    p = vec_fma(p, f, vec_set(0x1.dea282p-4f));
    p = vec_fma(p, f, vec_set(-0x1.fcf4c6p-4f));
    p = vec_fma(p, f, vec_set(0x1.23d21ap-3f));
    p = vec_fma(p, f, vec_set(-0x1.555b4ap-3f));
    p = vec_fma(p, f, vec_set(0x1.999d5ap-3f));
    p = vec_fma(p, f, vec_set(-0x1.fffffcp-3f));
    p = vec_fma(p, f, vec_set(0x1.555554p-2f));
    const vec square = vec_mul(f, f);
    vec low = vec_mul(vec_mul(square, f), p);
    low = vec_fma(e, vec_set(-0x1.bd0106p-13f), low);
    low = vec_fma(square, vec_set(-0.5f), low);
    vec y = vec_add(f, low);
    y = vec_fma(e, vec_set(0x1.63p-1f), y);
    y = vec_select(vec_less(x, vec_set(0x1p-126f)), vec_set(-INFINITY), y);
    y = vec_select(vec_less(x, vec_zero()), vec_set(NAN), y);
    y = vec_select(vec_equal(x, vec_set(INFINITY)), x, y);
    return vec_select(vec_is_nan(x), x, y);
}

#endif
