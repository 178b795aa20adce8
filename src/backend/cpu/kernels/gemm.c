/* Products: register tiles, packing of B into panels, and what is done to a finished tile. */
#include "backend/cpu/kernels.h"
#include "simd.h"
#include "sum.h"
#include "tile.h"

#if NACRE_LEVEL_NEON
#define TILE_VECS 4
#else
#define TILE_VECS 2
#endif
#define NARROW_VECS (TILE_VECS / 2)

/* ---- tiles ---- */

/* The sums on their way out of the registers. A branch for all of them: they fill the registers. */
INLINE void finish_tile(const int rows, const int vecs, vec sum[TILE_ROWS][TILE_VECS],
                        const nacre_gemm_finish *how, float *c, int64_t c_row) {
    if (how && how->mask) {
        const float *y = how->mask;
        EACH (r, rows)
            EACH (v, vecs) {
                const mask positive = vec_less(vec_zero(), vec_load(y + r * c_row + v * LANES));
                vec_store(c + r * c_row + v * LANES, vec_select(positive, sum[r][v], vec_zero()));
            }
        return;
    }
    if (how && how->bias) {
        vec bias[TILE_VECS];
        EACH (v, vecs) bias[v] = vec_load(how->bias + v * LANES);
        EACH (r, rows)
            EACH (v, vecs) sum[r][v] = vec_add(sum[r][v], bias[v]);
    }
    if (how && how->add)
        EACH (r, rows)
            EACH (v, vecs)
                sum[r][v] = vec_add(sum[r][v], vec_load(how->add + r * c_row + v * LANES));
    if (how && how->relu)
        EACH (r, rows)
            EACH (v, vecs) sum[r][v] = vec_max(vec_zero(), sum[r][v]);
    EACH (r, rows)
        EACH (v, vecs) vec_store(c + r * c_row + v * LANES, sum[r][v]);
}

/* Only ever called with constants for rows, vecs and adjacent. */
INLINE void multiply(const int rows, const int vecs, const bool adjacent, int64_t depth,
                     const float *a, int64_t a_step, const float *b, int64_t b_row, float *c,
                     int64_t c_row, const nacre_gemm_finish *how) {
    vec sum[TILE_ROWS][TILE_VECS], total[TILE_ROWS][TILE_VECS];
    for (int64_t chunk = 0;;) {
        const int64_t end = depth - chunk < NACRE_GEMM_CHUNK ? depth - chunk : NACRE_GEMM_CHUNK;
        EACH (r, rows)
            EACH (v, vecs) sum[r][v] = vec_zero();
        for (int64_t k = 0; k < end; k++) {
            vec row[TILE_VECS];
            EACH (v, vecs) row[v] = vec_load(b + v * LANES);
            EACH (r, rows) {
                const vec x = vec_set(adjacent ? a[r] : a[r * a_step]);
                EACH (v, vecs) sum[r][v] = vec_fma(x, row[v], sum[r][v]);
            }
            a += adjacent ? a_step : 1;
            b += b_row;
        }
        if (chunk)
            EACH (r, rows)
                EACH (v, vecs) sum[r][v] = vec_add(total[r][v], sum[r][v]);
        chunk += NACRE_GEMM_CHUNK;
        if (chunk >= depth) break;
        EACH (r, rows)
            EACH (v, vecs) total[r][v] = sum[r][v];
    }
    finish_tile(rows, vecs, sum, how, c, c_row);
}

/* One jump to the row count's own code. */
#define ROWS_CASE(rows, vecs, adjacent)                                                            \
    case rows:                                                                                     \
        multiply(rows, vecs, adjacent, depth, a, a_step, b, b_row, c, c_row, how);                 \
        break;
#define TILE(name, vecs, adjacent)                                                                 \
    static void name(int rows, int64_t depth, const float *a, int64_t a_step, const float *b,      \
                     int64_t b_row, float *c, int64_t c_row, const nacre_gemm_finish *how) {       \
        switch (rows) {                                                                            \
            TILE_CASES(ROWS_CASE, vecs, adjacent)                                                  \
        default:                                                                                   \
            break;                                                                                 \
        }                                                                                          \
    }

TILE(tile_strided, TILE_VECS, false)
TILE(tile_adjacent, TILE_VECS, true)
TILE(tile_strided_narrow, NARROW_VECS, false)
TILE(tile_adjacent_narrow, NARROW_VECS, true)

/* ---- few rows by many panels ---- */

#if NACRE_LEVEL_NEON
#define THIN_PANELS(rows) ((rows) > 2 ? 1 : 2)
#else
#define THIN_PANELS(rows) ((rows) > 1 ? 2 : 4)
#endif
#define PANEL_COLUMNS (TILE_VECS * LANES)

/* Only ever called with constants for rows and panels. */
INLINE void multiply_panels(const int rows, const int panels, int64_t depth, const float *a,
                            int64_t a_row, const float *b, float *c, int64_t c_row) {
    const int64_t panel = depth * PANEL_COLUMNS;
    for (int64_t chunk = 0; chunk == 0 || chunk < depth; chunk += NACRE_GEMM_CHUNK) {
        const int64_t end = depth - chunk < NACRE_GEMM_CHUNK ? depth : chunk + NACRE_GEMM_CHUNK;
        vec sum[4][TILE_VECS][NACRE_THIN_ROWS];
        EACH (p, panels)
            EACH (v, TILE_VECS)
                EACH (r, rows) sum[p][v][r] = vec_zero();
        for (int64_t k = chunk; k < end; k++) {
            vec x[NACRE_THIN_ROWS];
            EACH (r, rows) x[r] = vec_set(a[r * a_row + k]);
            EACH (p, panels)
                EACH (v, TILE_VECS) {
                    const vec y = vec_load(b + p * panel + k * PANEL_COLUMNS + v * LANES);
                    EACH (r, rows) sum[p][v][r] = vec_fma(x[r], y, sum[p][v][r]);
                }
        }
        EACH (p, panels)
            EACH (v, TILE_VECS)
                EACH (r, rows) {
                    float *to = c + r * c_row + p * PANEL_COLUMNS + v * LANES;
                    vec_store(to, chunk ? vec_add(vec_load(to), sum[p][v][r]) : sum[p][v][r]);
                }
    }
}

/* Runs of as many panels as fit the registers, then what is left. */
INLINE void thin_rows(const int rows, int64_t columns, int64_t depth, const float *a, int64_t a_row,
                      const float *b, float *c, int64_t c_row) {
    const int most = THIN_PANELS(rows);
    while (columns >= PANEL_COLUMNS) {
        int64_t panels = columns / PANEL_COLUMNS;
        if (panels >= most) {
            panels = most;
            multiply_panels(rows, most, depth, a, a_row, b, c, c_row);
        } else if (most > 2 && panels >= 2) {
            panels = 2;
            multiply_panels(rows, 2, depth, a, a_row, b, c, c_row);
        } else {
            panels = 1;
            multiply_panels(rows, 1, depth, a, a_row, b, c, c_row);
        }
        b += panels * depth * PANEL_COLUMNS;
        c += panels * PANEL_COLUMNS;
        columns -= panels * PANEL_COLUMNS;
    }
    if (columns > 0)
        tile_strided_narrow(rows, depth, a, a_row, b, NARROW_VECS * LANES, c, c_row, NULL);
}

static void thin(int rows, int64_t columns, int64_t depth, const float *a, int64_t a_row,
                 const float *b, float *c, int64_t c_row) {
    CALL_FOR_ROWS(rows, thin_rows, columns, depth, a, a_row, b, c, c_row)
}

/* ---- what is done to a finished tile ---- */

static void finish(int rows, int width, const float *c, int64_t c_row, const nacre_gemm_finish *how,
                   float *out, int64_t out_row) {
    for (int j = 0; j < width; j += LANES) {
        const size_t n = (size_t)(width - j);
        const vec bias = how->bias ? vec_load_n(how->bias + j, n) : vec_zero();
        for (int r = 0; r < rows; r++) {
            const int64_t at = r * out_row + j;
            vec x = vec_load(c + r * c_row + j);
            if (how->mask) {
                const mask positive = vec_less(vec_zero(), vec_load_n(how->mask + at, n));
                x = vec_select(positive, x, vec_zero());
            }
            if (how->bias) x = vec_add(x, bias);
            if (how->add) x = vec_add(x, vec_load_n(how->add + at, n));
            if (how->relu) x = vec_max(vec_zero(), x);
            vec_store_n(out + at, n, x);
        }
    }
}

/* ---- one output per reduction ---- */

/* 16 lanes with fma, then the tree of the sums; segments as there. */
static float dot_segment(int64_t n, const float *a, int64_t a_k, const float *b, int64_t b_k) {
    lanes sum = lanes_set(0.0f);
    float x[SUM_LANES], y[SUM_LANES];
    for (int64_t k = 0; k < n; k += SUM_LANES) {
        const int64_t left = n - k < SUM_LANES ? n - k : SUM_LANES;
        const float *from_a = a + k * a_k, *from_b = b + k * b_k;
        if (a_k != 1 || left < SUM_LANES) {
            for (int64_t j = 0; j < SUM_LANES; j++) x[j] = j < left ? from_a[j * a_k] : 0.0f;
            from_a = x;
        }
        if (b_k != 1 || left < SUM_LANES) {
            for (int64_t j = 0; j < SUM_LANES; j++) y[j] = j < left ? from_b[j * b_k] : 0.0f;
            from_b = y;
        }
        EACH (v, SUM_VECS)
            sum.v[v] =
                vec_fma(vec_load(from_a + v * LANES), vec_load(from_b + v * LANES), sum.v[v]);
    }
    return lanes_sum(sum);
}

static float dot(int64_t depth, const float *a, int64_t a_k, const float *b, int64_t b_k) {
    if (depth <= NACRE_REDUCE_SEGMENT) return dot_segment(depth, a, a_k, b, b_k);
    float part[SUM_LANES] = {0};
    for (int64_t k = 0, segment = 0; k < depth; k += NACRE_REDUCE_SEGMENT, segment++) {
        const int64_t n = depth - k < NACRE_REDUCE_SEGMENT ? depth - k : NACRE_REDUCE_SEGMENT;
        part[segment % SUM_LANES] += dot_segment(n, a + k * a_k, a_k, b + k * b_k, b_k);
    }
    return lanes_sum(lanes_load(part));
}

const nacre_gemm_kernels NACRE_AT_LEVEL(nacre_gemm_kernels) = {
    .rows = TILE_ROWS,
    .columns = TILE_VECS * LANES,
    .narrow = NARROW_VECS * LANES,
    .strided = tile_strided,
    .adjacent = tile_adjacent,
    .strided_narrow = tile_strided_narrow,
    .adjacent_narrow = tile_adjacent_narrow,
    .thin = thin,
    .finish = finish,
    .dot = dot,
};
