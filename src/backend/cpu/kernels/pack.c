/* Panels: B in the order in which tiles read it, and products too thin to be worth a panel. */
#include "backend/cpu/kernels.h"
#include "tile.h"
#include "transpose.h"

static void panel_of_rows(int64_t depth, int width, int columns, const float *x, int64_t x_k,
                          float *out) {
    for (int64_t k = 0; k < depth; k++, x += x_k, out += columns) {
        for (int j = 0; j < columns; j += LANES) {
            vec row = vec_zero();
            if (j < width) row = vec_load_n(x + j, (size_t)(width - j));
            vec_store(out + j, row);
        }
    }
}

/* LANES x LANES blocks of `width` columns, transposed in registers; what is in the other columns does not matter. At
   the lower edge through a copy padded with zeros: a loop of unknown length over the registers would put them
   into memory for every block. */
INLINE void whole_block(const int64_t width, const float *x, int64_t x_j, int64_t columns,
                        float *out) {
    vec block[LANES];
    load_some_columns(block, x, x_j, width);
    UNKNOWN(columns);
    EACH (i, LANES) {
        vec_store(out, block[i]);
        out += columns;
    }
}

static __attribute__((noinline)) void narrow_block(int64_t width, const float *x, int64_t x_j,
                                                   int64_t columns, float *out) {
    whole_block(width, x, x_j, columns, out);
}

static __attribute__((noinline)) void edge_block(int64_t depth, int width, int columns,
                                                 const float *x, int64_t x_j, float *out) {
    float padded[LANES * LANES], turned[LANES * LANES];
    pad_block(padded, x, x_j, width, depth);
    whole_block(LANES, padded, LANES, LANES, turned);
    for (int64_t i = 0; i < depth && i < LANES; i++)
        vec_store(out + i * columns, vec_load(turned + i * LANES));
}

static void panel_of_columns(int64_t depth, int width, int columns, const float *x, int64_t x_j,
                             float *out) {
    for (int64_t k = 0; k < depth; k += LANES) {
        for (int j = 0; j < columns; j += LANES) {
            const float *from = x + j * x_j + k;
            float *to = out + k * columns + j;
            if (depth - k < LANES || width <= j)
                edge_block(depth - k, width - j, columns, from, x_j, to);
            else if (width - j < LANES)
                narrow_block(width - j, from, x_j, columns, to);
            else
                whole_block(LANES, from, x_j, columns, to);
        }
    }
}

static void panel(int64_t depth, int width, int columns, const float *x, int64_t x_k, int64_t x_j,
                  float *out) {
    if (x_j == 1) {
        panel_of_rows(depth, width, columns, x, x_k, out);
        return;
    }
    if (x_k == 1) {
        panel_of_columns(depth, width, columns, x, x_j, out);
        return;
    }
    for (int64_t k = 0; k < depth; k++)
        for (int j = 0; j < columns; j++)
            out[k * columns + j] = j < width ? x[k * x_k + j * x_j] : 0.0f;
}

/* ---- thin products ---- */

/* Blocks of columns in flight: independent chains that hide the latency of fma. */
#define THIN_BLOCKS 4

/* sum += a[k .. k + LANES) . block, for each row. */
INLINE void thin_block(const int rows, const int64_t width, const float *a, int64_t a_row,
                       const float *x, int64_t x_j, vec sum[NACRE_THIN_ROWS]) {
    vec block[LANES];
    load_some_columns(block, x, x_j, width);
    EACH (i, LANES)
        EACH (r, rows) sum[r] = vec_fma(vec_set(a[r * a_row + i]), block[i], sum[r]);
}

/* The same where fewer than LANES columns, or elements of the chunk (n), are left. */
static __attribute__((noinline)) void thin_edge(int rows, int64_t n, const float *a, int64_t a_row,
                                                const float *x, int64_t x_j, int64_t width,
                                                vec sum[NACRE_THIN_ROWS]) {
    if (rows == 1 && n >= LANES) {
        thin_block(1, width, a, a_row, x, x_j, sum);
        return;
    }
    float padded[LANES * LANES], turned[LANES * LANES];
    pad_block(padded, x, x_j, width, n);
    whole_block(LANES, padded, LANES, LANES, turned);
    for (int r = 0; r < rows; r++)
        for (int64_t i = 0; i < n && i < LANES; i++)
            sum[r] = vec_fma(vec_set(a[r * a_row + i]), vec_load(turned + i * LANES), sum[r]);
}

/* c[r, 0 .. width), width <= LANES * blocks, for the whole depth. */
INLINE void thin_columns(const int rows, int64_t width, int64_t depth, const float *a,
                         int64_t a_row, const float *x, int64_t x_j, float *c, int64_t c_row) {
    vec total[THIN_BLOCKS][NACRE_THIN_ROWS];
    int64_t chunk = 0;
    do {
        const int64_t end = depth - chunk < NACRE_GEMM_CHUNK ? depth : chunk + NACRE_GEMM_CHUNK;
        const bool whole = width == THIN_BLOCKS * LANES;
        vec sum[THIN_BLOCKS][NACRE_THIN_ROWS];
        EACH (v, THIN_BLOCKS)
            EACH (r, rows) sum[v][r] = vec_zero();
        int64_t k = chunk;
        for (; whole && k + LANES <= end; k += LANES)
            EACH (v, THIN_BLOCKS)
                thin_block(rows, LANES, a + k, a_row, x + v * LANES * x_j + k, x_j, sum[v]);
        for (; k < end; k += LANES)
            EACH (v, THIN_BLOCKS) {
                vec edge[NACRE_THIN_ROWS];
                EACH (r, rows) edge[r] = sum[v][r];
                if (width > v * LANES)
                    thin_edge(rows, end - k, a + k, a_row, x + v * LANES * x_j + k, x_j,
                              width - v * LANES, edge);
                EACH (r, rows) sum[v][r] = edge[r];
            }
        EACH (v, THIN_BLOCKS)
            EACH (r, rows) total[v][r] = chunk ? vec_add(total[v][r], sum[v][r]) : sum[v][r];
        chunk += NACRE_GEMM_CHUNK;
    } while (chunk < depth);
    EACH (v, THIN_BLOCKS)
        EACH (r, rows)
            if (width > v * LANES)
                vec_store_n(c + r * c_row + v * LANES, (size_t)(width - v * LANES), total[v][r]);
}

static void thin(int rows, int64_t columns, int64_t depth, const float *a, int64_t a_row,
                 const float *x, int64_t x_j, float *c, int64_t c_row) {
    const int64_t step = THIN_BLOCKS * LANES;
    for (int64_t j = 0; j < columns; j += step) {
        const int64_t width = columns - j < step ? columns - j : step;
        const float *from = x + j * x_j;
        CALL_FOR_ROWS(rows, thin_columns, width, depth, a, a_row, from, x_j, c + j, c_row)
    }
}

const nacre_pack_kernels NACRE_AT_LEVEL(nacre_pack_kernels) = {
    .panel = panel,
    .thin = thin,
};
