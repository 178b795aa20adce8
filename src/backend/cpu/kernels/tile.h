/* Register tiles of products, shared by all that multiply. */
#ifndef NACRE_BACKEND_CPU_KERNELS_TILE_H
#define NACRE_BACKEND_CPU_KERNELS_TILE_H

#include "simd.h"

/* Rows x vectors of a tile: the accumulators, one row of B and one broadcast element fill the registers
   (32 of 512 or 128 bits; 16 of 256 or 128). */
#if NACRE_LEVEL_AVX512
#define TILE_ROWS 14
#define TILE_VECS 2
#elif NACRE_LEVEL_NEON
#define TILE_ROWS 6
#define TILE_VECS 4
#else
#define TILE_ROWS 6
#define TILE_VECS 2
#endif

/* sum[r][v] = sum over k < depth of A[r, k] b[k * b_row + v * LANES ..]: one fma chain per element. A[r, k] is
   a[r * a_step + k], or, adjacent, a[r + k * a_step]. Only ever called with constants for rows, vecs and
   adjacent. */
INLINE void tile_multiply(const int rows, const int vecs, const bool adjacent, int64_t depth,
                          const float *a, int64_t a_step, const float *b, int64_t b_row,
                          vec sum[TILE_ROWS][TILE_VECS]) {
    EACH (r, rows)
        EACH (v, vecs) sum[r][v] = vec_zero();
    for (int64_t k = 0; k < depth; k++) {
        vec row[TILE_VECS];
        EACH (v, vecs) row[v] = vec_load(b + v * LANES);
        EACH (r, rows) {
            const vec x = vec_set(adjacent ? a[r] : a[r * a_step]);
            EACH (v, vecs) sum[r][v] = vec_fma(x, row[v], sum[r][v]);
        }
        a += adjacent ? a_step : 1;
        b += b_row;
    }
}

/* CASE(rows, vecs, adjacent) for each number of rows: the body of a switch that jumps to its own code. */
#define TILE_CASES_TO_6(CASE, vecs, adjacent)                                                      \
    CASE(1, vecs, adjacent)                                                                        \
    CASE(2, vecs, adjacent)                                                                        \
    CASE(3, vecs, adjacent)                                                                        \
    CASE(4, vecs, adjacent)                                                                        \
    CASE(5, vecs, adjacent)                                                                        \
    CASE(6, vecs, adjacent)
#if TILE_ROWS == 14
#define TILE_CASES(CASE, vecs, adjacent)                                                           \
    TILE_CASES_TO_6(CASE, vecs, adjacent)                                                          \
    CASE(7, vecs, adjacent)                                                                        \
    CASE(8, vecs, adjacent)                                                                        \
    CASE(9, vecs, adjacent)                                                                        \
    CASE(10, vecs, adjacent)                                                                       \
    CASE(11, vecs, adjacent)                                                                       \
    CASE(12, vecs, adjacent)                                                                       \
    CASE(13, vecs, adjacent)                                                                       \
    CASE(14, vecs, adjacent)
#else
#define TILE_CASES TILE_CASES_TO_6
#endif

#endif
