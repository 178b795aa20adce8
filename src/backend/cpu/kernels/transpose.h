/* LANES x LANES blocks, transposed on their way into registers. */
#ifndef NACRE_BACKEND_CPU_KERNELS_TRANSPOSE_H
#define NACRE_BACKEND_CPU_KERNELS_TRANSPOSE_H

#include "simd.h"

/* r[i], lane j = x[j * step + i]: load_columns(r, x, step). load_some_columns reads `rows` rows only; lanes of
   the others repeat the last one, which costs less than zeros and reads nothing that is not there.

   A compiler that sees the same 16 addresses in every turn of a loop keeps 16 pointers, on the stack for the
   most part. Not to know the step keeps it to two that walk down the rows: twice as fast. */
#define UNKNOWN(x) __asm__ volatile("" : "+r"(x))

#if NACRE_LEVEL_AVX512

/* Four registers as 4 x 4 blocks of each 128 bits, transposed. */
INLINE void transpose_fours(vec r[4]) {
    const __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(r[0], r[1]));
    const __m512d b = _mm512_castps_pd(_mm512_unpackhi_ps(r[0], r[1]));
    const __m512d c = _mm512_castps_pd(_mm512_unpacklo_ps(r[2], r[3]));
    const __m512d d = _mm512_castps_pd(_mm512_unpackhi_ps(r[2], r[3]));
    r[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
    r[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
    r[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
    r[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
}

/* Rows j and j + 8 share a register, eight columns of each: half of the shuffles are loads. 28 cycles a
   block on Zen 5, where 16 whole rows and 64 shuffles took 60. */
INLINE void load_some_columns(vec r[16], const float *x, int64_t step, const int64_t rows) {
    const __m512i low = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27);
    const __m512i high =
        _mm512_setr_epi32(4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
    UNKNOWN(step);
    EACH (half, 2) {
        vec t[8];
        const float *upper = x + 8 * half, *lower = upper + (rows > 8 ? 8 : rows - 1) * step;
        EACH (j, 8) {
            t[j] = _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(upper)),
                                      _mm256_loadu_ps(lower), 1);
            upper += j + 1 < rows ? step : 0;
            lower += 8 + j + 1 < rows ? step : 0;
        }
        transpose_fours(t);
        transpose_fours(t + 4);
        EACH (i, 4) {
            r[8 * half + i] = _mm512_permutex2var_ps(t[i], low, t[4 + i]);
            r[8 * half + 4 + i] = _mm512_permutex2var_ps(t[i], high, t[4 + i]);
        }
    }
}

#elif NACRE_LEVEL_AVX2

/* Rows j and j + 4 share a register, four columns of each. */
INLINE void load_some_columns(vec r[8], const float *x, int64_t step, const int64_t rows) {
    UNKNOWN(step);
    EACH (half, 2) {
        vec t[4];
        const float *upper = x + 4 * half, *lower = upper + (rows > 4 ? 4 : rows - 1) * step;
        EACH (j, 4) {
            t[j] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(upper)),
                                        _mm_loadu_ps(lower), 1);
            upper += j + 1 < rows ? step : 0;
            lower += 4 + j + 1 < rows ? step : 0;
        }
        const vec a = _mm256_unpacklo_ps(t[0], t[1]), b = _mm256_unpackhi_ps(t[0], t[1]);
        const vec c = _mm256_unpacklo_ps(t[2], t[3]), d = _mm256_unpackhi_ps(t[2], t[3]);
        r[4 * half] = _mm256_shuffle_ps(a, c, 0x44);
        r[4 * half + 1] = _mm256_shuffle_ps(a, c, 0xee);
        r[4 * half + 2] = _mm256_shuffle_ps(b, d, 0x44);
        r[4 * half + 3] = _mm256_shuffle_ps(b, d, 0xee);
    }
}

#elif NACRE_LEVEL_NEON

INLINE void load_some_columns(vec r[4], const float *x, int64_t step, const int64_t rows) {
    const float *row[4];
    EACH (j, 4) row[j] = x + (j < rows ? j : rows - 1) * step;
    const float32x4x2_t low = vtrnq_f32(vec_load(row[0]), vec_load(row[1]));
    const float32x4x2_t high = vtrnq_f32(vec_load(row[2]), vec_load(row[3]));
    r[0] = vcombine_f32(vget_low_f32(low.val[0]), vget_low_f32(high.val[0]));
    r[1] = vcombine_f32(vget_low_f32(low.val[1]), vget_low_f32(high.val[1]));
    r[2] = vcombine_f32(vget_high_f32(low.val[0]), vget_high_f32(high.val[0]));
    r[3] = vcombine_f32(vget_high_f32(low.val[1]), vget_high_f32(high.val[1]));
}

#else

INLINE void load_some_columns(vec r[4], const float *x, int64_t step, const int64_t rows) {
    const float *row[4];
    EACH (j, 4) row[j] = x + (j < rows ? j : rows - 1) * step;
    EACH (i, 4) r[i] = (vec){row[0][i], row[1][i], row[2][i], row[3][i]};
}

#endif

INLINE void load_columns(vec r[LANES], const float *x, int64_t step) {
    load_some_columns(r, x, step, LANES);
}

/* A load cannot take the upper half of a store that is still under way: load_columns reads halves. */
INLINE void store_halves(float *p, vec a) {
#if NACRE_LEVEL_AVX512
    _mm256_storeu_ps(p, _mm512_castps512_ps256(a));
    _mm256_storeu_ps(p + 8, _mm512_extractf32x8_ps(a, 1));
#else
    vec_store(p, a);
#endif
}

/* The block as LANES rows in memory, zeros where x has fewer rows or columns. */
INLINE void pad_block(float padded[LANES * LANES], const float *x, int64_t step, int64_t rows,
                      int64_t columns) {
    for (int j = 0; j < LANES; j++)
        store_halves(padded + j * LANES,
                     j < rows ? vec_load_n(x + j * step, (size_t)columns) : vec_zero());
}

#endif
