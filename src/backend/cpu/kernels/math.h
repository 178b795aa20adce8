/* exp, log, tanh, erf and gelu of f32 vectors: the same bits on every level with a hardware fma. Bounds
   (subnormal arguments and results excluded, they count as 0): exp and log 1 ulp, tanh 2 ulp, erf 2 ulp, tested
   over every normal f32; gelu and its slope within 2^-22 of the larger of |x| and 1, tested in samples. */
#ifndef NACRE_BACKEND_CPU_KERNELS_MATH_H
#define NACRE_BACKEND_CPU_KERNELS_MATH_H

#include "simd.h"

/* exp(x) = 2^n e^r with n = round(x / ln 2), |r| <= ln 2 / 2; e^r = 1 + r + r^2 q(r), q the minimax
   polynomial of (e^r - 1 - r) / r^2. ln 2 is split in two (Cody and Waite) so that n times the high part
   is exact. Adding 1.5 * 2^23 rounds x / ln 2 to an integer and leaves it in the low mantissa bits, from
   where a shift by 23 moves it into the exponent. */
INLINE vec vec_exp_bounded(vec bounded) { /* -88 <= bounded <= 89 */
    const vec magic = vec_set(0x1.8p23f);
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
    return bits_vec(ivec_add(vec_bits(e), ivec_shift_left(vec_bits(shifted), 23)));
}

INLINE vec vec_exp(vec x) {
    const vec largest = vec_set(0x1.62e42ep6f);   /* of the finite results */
    const vec smallest = vec_set(-0x1.5d589ep6f); /* of the normal results */
    vec y = vec_exp_bounded(vec_max(vec_min(x, vec_set(89.0f)), vec_set(-88.0f)));
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

INLINE vec vec_sign(vec x) { return bits_vec(ivec_and(vec_bits(x), ivec_set(INT32_MIN))); }
INLINE vec vec_abs(vec x) { return bits_vec(ivec_and(vec_bits(x), ivec_set(INT32_MAX))); }
/* x, which is not negative, with the sign of s. */
INLINE vec vec_with_sign(vec x, vec s) {
    return bits_vec(ivec_xor(vec_bits(x), vec_bits(vec_sign(s))));
}

/* With t = |x|, for t < 5/8: t + t^3 p(t^2), p minimax; beyond 1 - 2 / (e^2t + 1), which is 1 from 9.02 on. */
INLINE vec vec_tanh(vec x) {
    const vec z = vec_mul(x, x);
    vec p = vec_set(0x1.2d53a4p-9f);
    p = vec_fma(p, z, vec_set(-0x1.119cf0p-7f));
    p = vec_fma(p, z, vec_set(0x1.64b22cp-6f));
    p = vec_fma(p, z, vec_set(-0x1.ba0962p-5f));
    p = vec_fma(p, z, vec_set(0x1.1110ecp-3f));
    p = vec_fma(p, z, vec_set(-0x1.555556p-2f));
    const vec t = vec_abs(x), near = vec_fma(vec_mul(t, z), p, t);
    const vec one = vec_set(1.0f), two = vec_set(2.0f);
    const vec e = vec_exp_bounded(vec_mul(two, vec_min(t, vec_set(10.0f))));
    const vec far = vec_sub(one, vec_div(two, vec_add(e, one)));
    const vec y = vec_select(vec_less(t, vec_set(0.625f)), near, far);
    return vec_select(vec_is_nan(x), x, vec_with_sign(y, x));
}

/* The complement erfc(t) = exp(-t + t q(t)) for 0.92 <= t <= 4, q minimax. */
INLINE vec vec_erfc_middle(vec t) {
    vec q = vec_set(-0x1.829fb6p-17f);
    q = vec_fma(q, t, vec_set(0x1.5578b6p-12f));
    q = vec_fma(q, t, vec_set(-0x1.dee7f4p-9f));
    q = vec_fma(q, t, vec_set(0x1.85b2f8p-6f));
    q = vec_fma(q, t, vec_set(-0x1.b340fcp-4f));
    q = vec_fma(q, t, vec_set(-0x1.453088p-1f));
    q = vec_fma(q, t, vec_set(-0x1.077ac8p-3f));
    return vec_exp_bounded(vec_fma(q, t, vec_neg(t)));
}

/* erf x = x + x p(x^2) for |x| <= 0.92, p minimax. */
INLINE vec vec_erf_near(vec x) {
    const vec z = vec_mul(x, x);
    vec p = vec_set(-0x1.395c84p-11f);
    p = vec_fma(p, z, vec_set(0x1.4716c2p-8f));
    p = vec_fma(p, z, vec_set(-0x1.b686eep-6f));
    p = vec_fma(p, z, vec_set(0x1.ce1a46p-4f));
    p = vec_fma(p, z, vec_set(-0x1.8126e6p-2f));
    p = vec_fma(p, z, vec_set(0x1.06eba6p-3f));
    return vec_fma(x, p, x);
}

/* 1 from 4 on. */
INLINE vec vec_erf(vec x) {
    const vec t = vec_abs(x);
    const vec rest = vec_erfc_middle(vec_min(t, vec_set(4.0f)));
    const vec far = vec_with_sign(vec_sub(vec_set(1.0f), rest), x);
    const vec y = vec_select(vec_less(t, vec_set(0.92f)), vec_erf_near(x), far);
    return vec_select(vec_is_nan(x), x, y);
}

/* ---- gelu, see ops/gelu.c; arguments are cut where the result no longer changes, and NaN passes ---- */

INLINE vec vec_cut(vec x) { return vec_min(vec_set(30.0f), vec_max(vec_set(-30.0f), x)); }

/* The normal distribution function erfc(-x / sqrt 2) / 2; 0 and 1 beyond 4 sqrt 2. */
INLINE vec vec_normal_cdf(vec x) {
    const vec u = vec_mul(x, vec_set(0x1.6a09e6p-1f)), t = vec_abs(u);
    const vec half = vec_set(0.5f), four = vec_set(4.0f);
    vec tail = vec_mul(half, vec_erfc_middle(vec_min(t, four)));
    tail = vec_select(vec_less(t, four), tail, vec_zero());
    const vec far = vec_select(vec_less(u, vec_zero()), tail, vec_sub(vec_set(1.0f), tail));
    return vec_select(vec_less(t, vec_set(0.92f)), vec_fma(half, vec_erf_near(u), half), far);
}

INLINE vec vec_gelu(vec x) { return vec_mul(vec_max(vec_set(-30.0f), x), vec_normal_cdf(x)); }

INLINE vec vec_gelu_slope(vec x) {
    const vec c = vec_cut(x);
    const vec square = vec_min(vec_mul(c, c), vec_set(170.0f));
    const vec bell = vec_exp_bounded(vec_mul(square, vec_set(-0.5f)));
    return vec_fma(vec_mul(c, vec_set(0x1.988454p-2f)), bell, vec_normal_cdf(c));
}

/* exp(-2 u), u = sqrt(2 / pi) (x + 0.044715 x^3) */
INLINE vec vec_gelu_power(vec x, vec square) {
    const vec factor = vec_fma(square, vec_set(-0x1.2444f2p-4f), vec_set(-0x1.988454p0f));
    const vec argument = vec_mul(x, factor);
    return vec_exp_bounded(vec_max(vec_set(-87.0f), vec_min(vec_set(87.0f), argument)));
}

/* 0 below -11, where y and its slope are smaller than any f32, but the bounded power is not. */
INLINE vec vec_or_nothing(vec x, vec y) {
    return vec_select(vec_less(x, vec_set(-11.0f)), vec_zero(), y);
}

INLINE vec vec_gelu_tanh(vec x) {
    const vec from = vec_max(vec_set(-30.0f), x);
    const vec e = vec_gelu_power(from, vec_mul(from, from));
    return vec_or_nothing(x, vec_div(from, vec_add(vec_set(1.0f), e)));
}

/* p + x 2 u' p (1 - p) with p = 1 / (1 + e), 1 - p = e p */
INLINE vec vec_gelu_tanh_slope(vec x) {
    const vec c = vec_cut(x), square = vec_mul(c, c), one = vec_set(1.0f);
    const vec e = vec_gelu_power(c, square);
    const vec p = vec_div(one, vec_add(one, e));
    const vec slope = vec_fma(square, vec_set(0x1.b6676cp-3f), vec_set(0x1.988454p0f));
    return vec_or_nothing(x, vec_fma(vec_mul(c, slope), vec_mul(p, vec_mul(e, p)), p));
}

#endif
