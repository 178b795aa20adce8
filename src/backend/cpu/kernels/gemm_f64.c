/* f64 products: the chunks and chains of the f32 ones, one small tile, any strides. */
#include "backend/cpu/kernels.h"
#include "simd.h"
#include "tile.h"

#if NACRE_LEVEL_AVX512
#define LANES_F64 8
#else
#define LANES_F64 (LANES / 2)
#endif
typedef double vec_f64 __attribute__((vector_size(8 * LANES_F64)));

#define F64_ROWS 4
#define F64_VECS 2
#define F64_COLUMNS (F64_VECS * LANES_F64)

INLINE vec_f64 fma_f64(double x, vec_f64 b, vec_f64 c) {
#if NACRE_LEVEL_AVX512
    return (vec_f64)_mm512_fmadd_pd(_mm512_set1_pd(x), (__m512d)b, (__m512d)c);
#elif NACRE_LEVEL_AVX2
    return (vec_f64)_mm256_fmadd_pd(_mm256_set1_pd(x), (__m256d)b, (__m256d)c);
#elif NACRE_LEVEL_NEON
    return (vec_f64)vfmaq_n_f64((float64x2_t)c, (float64x2_t)b, x);
#else
    return b * x + c;
#endif
}

/* Row k of the tile's columns; zeros beyond the width. */
INLINE void load_row(vec_f64 row[F64_VECS], const double *b, int64_t b_column, int width) {
    if (b_column == 1 && width == F64_COLUMNS) {
        memcpy(row, b, sizeof(double) * F64_COLUMNS);
        return;
    }
    double x[F64_COLUMNS] = {0};
    for (int j = 0; j < width; j++) x[j] = b[j * b_column];
    memcpy(row, x, sizeof x);
}

INLINE void tile_rows(const int rows, int width, int64_t depth, const double *a, int64_t a_row,
                      int64_t a_k, const double *b, int64_t b_k, int64_t b_column, double *c,
                      int64_t c_row) {
    vec_f64 total[F64_ROWS][F64_VECS] = {{{0}}};
    for (int64_t chunk = 0; chunk < depth; chunk += NACRE_GEMM_CHUNK) {
        const int64_t end = depth - chunk < NACRE_GEMM_CHUNK ? depth : chunk + NACRE_GEMM_CHUNK;
        vec_f64 sum[F64_ROWS][F64_VECS] = {{{0}}};
        for (int64_t k = chunk; k < end; k++) {
            vec_f64 row[F64_VECS];
            load_row(row, b + k * b_k, b_column, width);
            EACH (r, rows) {
                const double x = a[r * a_row + k * a_k];
                EACH (v, F64_VECS) sum[r][v] = fma_f64(x, row[v], sum[r][v]);
            }
        }
        EACH (r, rows)
            EACH (v, F64_VECS) total[r][v] = chunk ? total[r][v] + sum[r][v] : sum[r][v];
    }
    for (int r = 0; r < rows; r++) memcpy(c + r * c_row, total[r], (size_t)width * sizeof *c);
}

static void tile(int count, int width, int64_t depth, const double *a, int64_t a_row, int64_t a_k,
                 const double *b, int64_t b_k, int64_t b_column, double *c, int64_t c_row) {
    CALL_FOR_ROWS(count, tile_rows, width, depth, a, a_row, a_k, b, b_k, b_column, c, c_row)
}

const nacre_gemm_f64_kernels NACRE_AT_LEVEL(nacre_gemm_f64_kernels) = {
    .rows = F64_ROWS,
    .columns = F64_COLUMNS,
    .tile = tile,
};
