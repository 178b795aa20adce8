/* The vector operations that kernels are written in: f32 vectors of the level's native width. This file is
   compiled once per level (NACRE_LEVEL_AVX512, _AVX2, _NEON or _PORTABLE is 1); everything is static, so
   that no object of one level can be linked into another.

   vec_max(a, b) is a > b ? a : b and vec_min(a, b) is a < b ? a : b on every level: b when unordered.
   vec_fma rounds once on every level but the portable one, which stands outside the bit promise. */
#ifndef NACRE_BACKEND_CPU_KERNELS_SIMD_H
#define NACRE_BACKEND_CPU_KERNELS_SIMD_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline, unused))

/* Full unrolling: arrays of vectors live in registers only when every index is a constant. */
#if defined(__clang__)
#define UNROLL_ _Pragma("clang loop unroll(full)")
#else
#define UNROLL_ _Pragma("GCC unroll 64")
#endif
#define EACH(i, n) UNROLL_ for (int i = 0; i < (n); i++)

#if NACRE_LEVEL_AVX512
#include <immintrin.h>
#define LANES 16            /* floats of a vector */
#define VECTOR_REGISTERS 32 /* vectors that are held at once */
typedef __m512 vec;
typedef __m512i ivec;
typedef __mmask16 mask;

INLINE mask mask_first(size_t n) { return (mask)((1u << n) - 1u); }
INLINE vec vec_set(float x) { return _mm512_set1_ps(x); }
INLINE vec vec_load(const float *p) { return _mm512_loadu_ps(p); }
INLINE void vec_store(float *p, vec a) { _mm512_storeu_ps(p, a); }
/* The first n < LANES floats, `rest` in the other lanes; memory beyond them is not touched. */
INLINE vec vec_load_or(const float *p, size_t n, float rest) {
    return _mm512_mask_loadu_ps(_mm512_set1_ps(rest), mask_first(n), p);
}
INLINE void vec_store_part(float *p, size_t n, vec a) {
    _mm512_mask_storeu_ps(p, mask_first(n), a);
}
INLINE vec vec_add(vec a, vec b) { return _mm512_add_ps(a, b); }
INLINE vec vec_sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
INLINE vec vec_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
INLINE vec vec_div(vec a, vec b) { return _mm512_div_ps(a, b); }
INLINE vec vec_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
INLINE vec vec_max(vec a, vec b) { return _mm512_max_ps(a, b); }
INLINE vec vec_min(vec a, vec b) { return _mm512_min_ps(a, b); }
INLINE vec vec_sqrt(vec a) { return _mm512_sqrt_ps(a); }
INLINE mask vec_less(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
INLINE mask vec_less_equal(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
INLINE mask vec_equal(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
INLINE vec vec_select(mask m, vec yes, vec no) { return _mm512_mask_blend_ps(m, no, yes); }
INLINE bool mask_all(mask m) { return m == 0xffff; }
/* Lane j gets lane j ^ distance; distance is a constant power of two. */
INLINE vec vec_swap(vec a, int distance) {
    return distance == 8   ? _mm512_shuffle_f32x4(a, a, 0x4e)
           : distance == 4 ? _mm512_shuffle_f32x4(a, a, 0xb1)
           : distance == 2 ? _mm512_permute_ps(a, 0x4e)
                           : _mm512_permute_ps(a, 0xb1);
}
INLINE float vec_first(vec a) { return _mm512_cvtss_f32(a); }
INLINE ivec vec_bits(vec a) { return _mm512_castps_si512(a); }
INLINE vec bits_vec(ivec a) { return _mm512_castsi512_ps(a); }
INLINE ivec ivec_set(int32_t x) { return _mm512_set1_epi32(x); }
INLINE ivec ivec_add(ivec a, ivec b) { return _mm512_add_epi32(a, b); }
INLINE ivec ivec_sub(ivec a, ivec b) { return _mm512_sub_epi32(a, b); }
INLINE ivec ivec_and(ivec a, ivec b) { return _mm512_and_si512(a, b); }
INLINE ivec ivec_xor(ivec a, ivec b) { return _mm512_xor_si512(a, b); }
#define ivec_shift_left(a, n) _mm512_slli_epi32(a, n)
#define ivec_shift_right(a, n) _mm512_srai_epi32(a, n)
INLINE vec ivec_float(ivec a) { return _mm512_cvtepi32_ps(a); }
INLINE vec vec_from_u8(const uint8_t *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
}

#elif NACRE_LEVEL_AVX2
#include <immintrin.h>
#define LANES 8
#define VECTOR_REGISTERS 16
typedef __m256 vec;
typedef __m256i ivec;
typedef __m256 mask;

INLINE __m256i lanes_first(size_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
INLINE vec vec_set(float x) { return _mm256_set1_ps(x); }
INLINE vec vec_load(const float *p) { return _mm256_loadu_ps(p); }
INLINE void vec_store(float *p, vec a) { _mm256_storeu_ps(p, a); }
INLINE vec vec_load_or(const float *p, size_t n, float rest) {
    const __m256i first = lanes_first(n);
    return _mm256_blendv_ps(_mm256_set1_ps(rest), _mm256_maskload_ps(p, first),
                            _mm256_castsi256_ps(first));
}
/* In pieces: a masked store takes about 20 cycles on several AMD cores. */
INLINE void vec_store_part(float *p, size_t n, vec a) {
    __m128 x = _mm256_castps256_ps128(a);
    if (n & 4) {
        _mm_storeu_ps(p, x);
        x = _mm256_extractf128_ps(a, 1);
        p += 4;
    }
    if (n & 2) {
        _mm_storel_pi((__m64 *)p, x);
        x = _mm_movehl_ps(x, x);
        p += 2;
    }
    if (n & 1) _mm_store_ss(p, x);
}
INLINE vec vec_add(vec a, vec b) { return _mm256_add_ps(a, b); }
INLINE vec vec_sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
INLINE vec vec_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
INLINE vec vec_div(vec a, vec b) { return _mm256_div_ps(a, b); }
INLINE vec vec_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
INLINE vec vec_max(vec a, vec b) { return _mm256_max_ps(a, b); }
INLINE vec vec_min(vec a, vec b) { return _mm256_min_ps(a, b); }
INLINE vec vec_sqrt(vec a) { return _mm256_sqrt_ps(a); }
INLINE mask vec_less(vec a, vec b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
INLINE mask vec_less_equal(vec a, vec b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
INLINE mask vec_equal(vec a, vec b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
INLINE vec vec_select(mask m, vec yes, vec no) { return _mm256_blendv_ps(no, yes, m); }
INLINE bool mask_all(mask m) { return _mm256_movemask_ps(m) == 0xff; }
INLINE vec vec_swap(vec a, int distance) {
    return distance == 4   ? _mm256_permute2f128_ps(a, a, 1)
           : distance == 2 ? _mm256_permute_ps(a, 0x4e)
                           : _mm256_permute_ps(a, 0xb1);
}
INLINE float vec_first(vec a) { return _mm256_cvtss_f32(a); }
INLINE ivec vec_bits(vec a) { return _mm256_castps_si256(a); }
INLINE vec bits_vec(ivec a) { return _mm256_castsi256_ps(a); }
INLINE ivec ivec_set(int32_t x) { return _mm256_set1_epi32(x); }
INLINE ivec ivec_add(ivec a, ivec b) { return _mm256_add_epi32(a, b); }
INLINE ivec ivec_sub(ivec a, ivec b) { return _mm256_sub_epi32(a, b); }
INLINE ivec ivec_and(ivec a, ivec b) { return _mm256_and_si256(a, b); }
INLINE ivec ivec_xor(ivec a, ivec b) { return _mm256_xor_si256(a, b); }
#define ivec_shift_left(a, n) _mm256_slli_epi32(a, n)
#define ivec_shift_right(a, n) _mm256_srai_epi32(a, n)
INLINE vec ivec_float(ivec a) { return _mm256_cvtepi32_ps(a); }
INLINE vec vec_from_u8(const uint8_t *p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}

#elif NACRE_LEVEL_NEON
#include <arm_neon.h>
#define LANES 4
#define VECTOR_REGISTERS 32
typedef float32x4_t vec;
typedef int32x4_t ivec;
typedef uint32x4_t mask;

INLINE vec vec_set(float x) { return vdupq_n_f32(x); }
INLINE vec vec_load(const float *p) { return vld1q_f32(p); }
INLINE void vec_store(float *p, vec a) { vst1q_f32(p, a); }
INLINE vec vec_load_or(const float *p, size_t n, float rest) {
    float lane[LANES] = {rest, rest, rest, rest};
    memcpy(lane, p, n * sizeof *p);
    return vld1q_f32(lane);
}
INLINE void vec_store_part(float *p, size_t n, vec a) {
    float lane[LANES];
    vst1q_f32(lane, a);
    memcpy(p, lane, n * sizeof *p);
}
INLINE vec vec_add(vec a, vec b) { return vaddq_f32(a, b); }
INLINE vec vec_sub(vec a, vec b) { return vsubq_f32(a, b); }
INLINE vec vec_mul(vec a, vec b) { return vmulq_f32(a, b); }
INLINE vec vec_div(vec a, vec b) { return vdivq_f32(a, b); }
INLINE vec vec_fma(vec a, vec b, vec c) { return vfmaq_f32(c, a, b); }
INLINE vec vec_max(vec a, vec b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
INLINE vec vec_min(vec a, vec b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
INLINE vec vec_sqrt(vec a) { return vsqrtq_f32(a); }
INLINE mask vec_less(vec a, vec b) { return vcltq_f32(a, b); }
INLINE mask vec_less_equal(vec a, vec b) { return vcleq_f32(a, b); }
INLINE mask vec_equal(vec a, vec b) { return vceqq_f32(a, b); }
INLINE vec vec_select(mask m, vec yes, vec no) { return vbslq_f32(m, yes, no); }
INLINE bool mask_all(mask m) { return vminvq_u32(m) != 0; }
INLINE vec vec_swap(vec a, int distance) {
    return distance == 2 ? vextq_f32(a, a, 2) : vrev64q_f32(a);
}
INLINE float vec_first(vec a) { return vgetq_lane_f32(a, 0); }
INLINE ivec vec_bits(vec a) { return vreinterpretq_s32_f32(a); }
INLINE vec bits_vec(ivec a) { return vreinterpretq_f32_s32(a); }
INLINE ivec ivec_set(int32_t x) { return vdupq_n_s32(x); }
INLINE ivec ivec_add(ivec a, ivec b) { return vaddq_s32(a, b); }
INLINE ivec ivec_sub(ivec a, ivec b) { return vsubq_s32(a, b); }
INLINE ivec ivec_and(ivec a, ivec b) { return vandq_s32(a, b); }
INLINE ivec ivec_xor(ivec a, ivec b) { return veorq_s32(a, b); }
#define ivec_shift_left(a, n) vshlq_n_s32(a, n)
#define ivec_shift_right(a, n) vshrq_n_s32(a, n)
INLINE vec ivec_float(ivec a) { return vcvtq_f32_s32(a); }
INLINE vec vec_from_u8(const uint8_t *p) {
    const int32_t lane[LANES] = {p[0], p[1], p[2], p[3]};
    return vcvtq_f32_s32(vld1q_s32(lane));
}

#else /* portable: the compiler's vector extension at the width every machine has */
#define LANES 4
#define VECTOR_REGISTERS 16
typedef float vec __attribute__((vector_size(16)));
typedef int32_t ivec __attribute__((vector_size(16)));
typedef ivec mask;

INLINE vec vec_set(float x) { return (vec){x, x, x, x}; }
INLINE vec vec_load(const float *p) {
    vec a;
    memcpy(&a, p, sizeof a);
    return a;
}
INLINE void vec_store(float *p, vec a) { memcpy(p, &a, sizeof a); }
INLINE vec vec_load_or(const float *p, size_t n, float rest) {
    float lane[LANES] = {rest, rest, rest, rest};
    memcpy(lane, p, n * sizeof *p);
    return vec_load(lane);
}
INLINE void vec_store_part(float *p, size_t n, vec a) { memcpy(p, &a, n * sizeof *p); }
INLINE vec vec_select(mask m, vec yes, vec no) { return (vec)((m & (ivec)yes) | (~m & (ivec)no)); }
INLINE vec vec_add(vec a, vec b) { return a + b; }
INLINE vec vec_sub(vec a, vec b) { return a - b; }
INLINE vec vec_mul(vec a, vec b) { return a * b; }
INLINE vec vec_div(vec a, vec b) { return a / b; }
INLINE vec vec_fma(vec a, vec b, vec c) { return a * b + c; }
INLINE vec vec_max(vec a, vec b) { return vec_select((mask)(a > b), a, b); }
INLINE vec vec_min(vec a, vec b) { return vec_select((mask)(a < b), a, b); }
INLINE vec vec_sqrt(vec a) { return (vec){sqrtf(a[0]), sqrtf(a[1]), sqrtf(a[2]), sqrtf(a[3])}; }
INLINE mask vec_less(vec a, vec b) { return (mask)(a < b); }
INLINE mask vec_less_equal(vec a, vec b) { return (mask)(a <= b); }
INLINE mask vec_equal(vec a, vec b) { return (mask)(a == b); }
INLINE bool mask_all(mask m) { return (m[0] & m[1] & m[2] & m[3]) != 0; }
INLINE vec vec_swap(vec a, int distance) {
    return distance == 2 ? (vec){a[2], a[3], a[0], a[1]} : (vec){a[1], a[0], a[3], a[2]};
}
INLINE float vec_first(vec a) { return a[0]; }
INLINE ivec vec_bits(vec a) { return (ivec)a; }
INLINE vec bits_vec(ivec a) { return (vec)a; }
INLINE ivec ivec_set(int32_t x) { return (ivec){x, x, x, x}; }
/* Lanes wrap as in the other levels; signed overflow would be undefined. */
typedef uint32_t uvec __attribute__((vector_size(16)));
INLINE ivec ivec_add(ivec a, ivec b) { return (ivec)((uvec)a + (uvec)b); }
INLINE ivec ivec_sub(ivec a, ivec b) { return (ivec)((uvec)a - (uvec)b); }
INLINE ivec ivec_and(ivec a, ivec b) { return a & b; }
INLINE ivec ivec_xor(ivec a, ivec b) { return a ^ b; }
#define ivec_shift_left(a, n) ((ivec)((uvec)(a) << (n)))
#define ivec_shift_right(a, n) ((a) >> (n))
INLINE vec ivec_float(ivec a) { return __builtin_convertvector(a, vec); }
INLINE vec vec_from_u8(const uint8_t *p) {
    return (vec){(float)p[0], (float)p[1], (float)p[2], (float)p[3]};
}
#endif

/* A vector that is used more than once: loaded once, instead of by each instruction that uses it. */
#if NACRE_LEVEL_AVX512
#define HOLD(a) __asm__("" : "+v"(a))
#elif NACRE_LEVEL_NEON
#define HOLD(a) __asm__("" : "+w"(a))
#elif NACRE_LEVEL_AVX2 || defined(__x86_64__)
#define HOLD(a) __asm__("" : "+x"(a))
#else
#define HOLD(a) ((void)0)
#endif

/* A pointer that is not taken apart again into what it was added up from, where registers are short. */
#define KEEP(pointer) __asm__("" : "+r"(pointer))

INLINE vec vec_load_part(const float *p, size_t n) { return vec_load_or(p, n, 0.0f); }
INLINE vec vec_zero(void) { return vec_set(0.0f); }
INLINE vec vec_neg(vec a) { return bits_vec(ivec_xor(vec_bits(a), ivec_set(INT32_MIN))); }
INLINE mask vec_is_nan(vec a) {
    /* not (a == a), phrased through select-free masks that every level has */
#if NACRE_LEVEL_AVX512
    return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
#elif NACRE_LEVEL_AVX2
    return _mm256_cmp_ps(a, a, _CMP_UNORD_Q);
#else
    return ~vec_equal(a, a);
#endif
}

INLINE mask mask_or(mask a, mask b) {
#if NACRE_LEVEL_AVX512
    return (mask)(a | b);
#elif NACRE_LEVEL_AVX2
    return _mm256_or_ps(a, b);
#else
    return a | b;
#endif
}

INLINE bool mask_any(mask m) {
#if NACRE_LEVEL_AVX512
    return m != 0;
#elif NACRE_LEVEL_AVX2
    return _mm256_movemask_ps(m) != 0;
#elif NACRE_LEVEL_NEON
    return vmaxvq_u32(m) != 0;
#else
    return (m[0] | m[1] | m[2] | m[3]) != 0;
#endif
}

/* Lanes 0, 2, 4 ... of a and then of b */
INLINE vec vec_even(vec a, vec b) {
#if NACRE_LEVEL_AVX512
    const __m512i even =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return _mm512_permutex2var_ps(a, even, b);
#elif NACRE_LEVEL_AVX2
    const __m256d pairs = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0x88));
    return _mm256_castpd_ps(_mm256_permute4x64_pd(pairs, 0xd8));
#elif NACRE_LEVEL_NEON
    return vuzp1q_f32(a, b);
#else
    return (vec){a[0], a[2], b[0], b[2]};
#endif
}

/* Lanes 1, 3, 5 ... */
INLINE vec vec_odd(vec a, vec b) {
#if NACRE_LEVEL_AVX512
    const __m512i odd =
        _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    return _mm512_permutex2var_ps(a, odd, b);
#elif NACRE_LEVEL_AVX2
    const __m256d pairs = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0xdd));
    return _mm256_castpd_ps(_mm256_permute4x64_pd(pairs, 0xd8));
#elif NACRE_LEVEL_NEON
    return vuzp2q_f32(a, b);
#else
    return (vec){a[1], a[3], b[1], b[3]};
#endif
}

/* a[0], b[0], a[1], b[1] ...: the first lanes of both, and the last */
INLINE void vec_zip(vec a, vec b, vec *first, vec *last) {
#if NACRE_LEVEL_AVX512
    const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    *first = _mm512_permutex2var_ps(a, low, b);
    *last = _mm512_permutex2var_ps(a, high, b);
#elif NACRE_LEVEL_AVX2
    const vec low = _mm256_unpacklo_ps(a, b), high = _mm256_unpackhi_ps(a, b);
    *first = _mm256_permute2f128_ps(low, high, 0x20);
    *last = _mm256_permute2f128_ps(low, high, 0x31);
#elif NACRE_LEVEL_NEON
    *first = vzip1q_f32(a, b);
    *last = vzip2q_f32(a, b);
#else
    *first = (vec){a[0], b[0], a[1], b[1]};
    *last = (vec){a[2], b[2], a[3], b[3]};
#endif
}

/* c where m, else a b + c */
INLINE vec vec_fma_unless(mask m, vec a, vec b, vec c) {
#if NACRE_LEVEL_AVX512
    return _mm512_mask3_fmadd_ps(a, b, c, (mask)~m);
#else
    return vec_select(m, c, vec_fma(a, b, c));
#endif
}

/* A whole vector, or the first n lanes of one: the tail of every loop. */
INLINE vec vec_load_n(const float *p, size_t n) {
    return n >= LANES ? vec_load(p) : vec_load_part(p, n);
}
INLINE void vec_store_n(float *p, size_t n, vec a) {
    if (n >= LANES)
        vec_store(p, a);
    else
        vec_store_part(p, n, a);
}

/* p[0], p[2], p[4] ...: n of them */
INLINE vec vec_load_even(const float *p, size_t n) {
    const size_t floats = 2 * n - 1;
    return vec_even(vec_load_n(p, floats),
                    floats > LANES ? vec_load_n(p + LANES, floats - LANES) : vec_zero());
}

/* Sixteen partial sums (or extremes), whatever the width: lane j of all sums of the library. */
#define SUM_LANES 16
#define SUM_VECS (SUM_LANES / LANES)
typedef struct lanes {
    vec v[SUM_VECS];
} lanes;

#endif
