/* LANES x LANES blocks: loaded with their edges, transposed in registers. */
#ifndef NACRE_BACKEND_CPU_KERNELS_TRANSPOSE_H
#define NACRE_BACKEND_CPU_KERNELS_TRANSPOSE_H

#include "simd.h"

/* block[i] = the first `n` of x + i * step, i < count; zeros elsewhere. */
INLINE void load_block(vec block[LANES], const float *x, int64_t step, int count, int64_t n) {
    if (count >= LANES && n >= LANES) {
        EACH (i, LANES) block[i] = vec_load(x + i * step);
        return;
    }
    for (int i = 0; i < LANES; i++)
        block[i] = i < count ? vec_load_n(x + i * step, (size_t)n) : vec_zero();
}

#if NACRE_LEVEL_AVX512
/* Pairs, fours, then 128-bit quarters: 16 + 16 + 16 + 16 shuffles. */
INLINE void transpose(vec r[16]) {
    vec t[16];
    EACH (pair, 8) {
        const int i = 2 * pair;
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    EACH (four, 4) {
        const int i = 4 * four;
        const __m512d a = _mm512_castps_pd(t[i]), b = _mm512_castps_pd(t[i + 1]);
        const __m512d c = _mm512_castps_pd(t[i + 2]), d = _mm512_castps_pd(t[i + 3]);
        r[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
        r[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
        r[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
        r[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    }
    EACH (i, 4) {
        t[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
    }
    EACH (i, 4) {
        r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
        r[i + 4] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
        r[i + 12] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xdd);
    }
}
#elif NACRE_LEVEL_AVX2
INLINE void transpose(vec r[8]) {
    vec t[8];
    EACH (pair, 4) {
        const int i = 2 * pair;
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    EACH (four, 2) {
        const int i = 4 * four;
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    EACH (i, 4) {
        t[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
        t[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
    }
    EACH (i, 8) r[i] = t[i];
}
#elif NACRE_LEVEL_NEON
INLINE void transpose(vec r[4]) {
    const float32x4x2_t low = vtrnq_f32(r[0], r[1]), high = vtrnq_f32(r[2], r[3]);
    r[0] = vcombine_f32(vget_low_f32(low.val[0]), vget_low_f32(high.val[0]));
    r[1] = vcombine_f32(vget_low_f32(low.val[1]), vget_low_f32(high.val[1]));
    r[2] = vcombine_f32(vget_high_f32(low.val[0]), vget_high_f32(high.val[0]));
    r[3] = vcombine_f32(vget_high_f32(low.val[1]), vget_high_f32(high.val[1]));
}
#else
INLINE void transpose(vec r[4]) {
    const vec a = r[0], b = r[1], c = r[2], d = r[3];
    EACH (i, 4) r[i] = (vec){a[i], b[i], c[i], d[i]};
}
#endif

#endif
