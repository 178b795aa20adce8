/* Panels: B in the order in which tiles read it, and products too thin to be worth a panel. */
#include "backend/cpu/kernels.h"
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

/* LANES x LANES blocks, transposed in registers. */
static void panel_of_columns(int64_t depth, int width, int columns, const float *x, int64_t x_j,
                             float *out) {
    for (int j = 0; j < columns; j += LANES) {
        const int left = width - j;
        for (int64_t k = 0; k < depth; k += LANES) {
            vec block[LANES];
            load_block(block, x + j * x_j + k, x_j, left, depth - k);
            transpose(block);
            const int64_t n = depth - k < LANES ? depth - k : LANES;
            if (n == LANES) {
                EACH (i, LANES) vec_store(out + (k + i) * columns + j, block[i]);
            } else {
                for (int i = 0; i < n; i++) vec_store(out + (k + i) * columns + j, block[i]);
            }
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

#define THIN_ROWS 4
/* Columns in flight: enough independent chains to hide the latency of fma. */
#define THIN_BLOCKS (32 / LANES > 2 ? 2 : 32 / LANES)

/* c[r, 0 .. LANES * blocks) for the whole depth; `width` columns are there. */
INLINE void thin_columns(const int rows, const int blocks, int64_t width, int64_t depth,
                         const float *a, int64_t a_row, const float *x, int64_t x_j, float *c,
                         int64_t c_row) {
    vec total[THIN_ROWS][THIN_BLOCKS];
    int64_t chunk = 0;
    do {
        const int64_t end = depth - chunk < NACRE_GEMM_CHUNK ? depth : chunk + NACRE_GEMM_CHUNK;
        vec sum[THIN_ROWS][THIN_BLOCKS];
        EACH (r, rows)
            EACH (v, blocks) sum[r][v] = vec_zero();
        for (int64_t k = chunk; k < end; k += LANES) {
            const int64_t n = end - k < LANES ? end - k : LANES;
            EACH (v, blocks) {
                vec block[LANES];
                load_block(block, x + v * LANES * x_j + k, x_j, (int)(width - v * LANES), n);
                transpose(block);
                if (n == LANES) {
                    EACH (i, LANES)
                        EACH (r, rows)
                            sum[r][v] = vec_fma(vec_set(a[r * a_row + k + i]), block[i], sum[r][v]);
                } else {
                    for (int i = 0; i < n; i++)
                        EACH (r, rows)
                            sum[r][v] = vec_fma(vec_set(a[r * a_row + k + i]), block[i], sum[r][v]);
                }
            }
        }
        EACH (r, rows)
            EACH (v, blocks) total[r][v] = chunk ? vec_add(total[r][v], sum[r][v]) : sum[r][v];
        chunk += NACRE_GEMM_CHUNK;
    } while (chunk < depth);
    EACH (r, rows)
        EACH (v, blocks)
            if (width > v * LANES)
                vec_store_n(c + r * c_row + v * LANES, (size_t)(width - v * LANES), total[r][v]);
}

static void thin(int rows, int64_t columns, int64_t depth, const float *a, int64_t a_row,
                 const float *x, int64_t x_j, float *c, int64_t c_row) {
    const int64_t step = THIN_BLOCKS * LANES;
    for (int64_t j = 0; j < columns; j += step) {
        const int64_t width = columns - j < step ? columns - j : step;
        const float *from = x + j * x_j;
        switch (rows) {
        case 1:
            thin_columns(1, THIN_BLOCKS, width, depth, a, a_row, from, x_j, c + j, c_row);
            break;
        case 2:
            thin_columns(2, THIN_BLOCKS, width, depth, a, a_row, from, x_j, c + j, c_row);
            break;
        case 3:
            thin_columns(3, THIN_BLOCKS, width, depth, a, a_row, from, x_j, c + j, c_row);
            break;
        default:
            thin_columns(4, THIN_BLOCKS, width, depth, a, a_row, from, x_j, c + j, c_row);
        }
    }
}

const nacre_pack_kernels NACRE_AT_LEVEL(nacre_pack_kernels) = {
    .panel = panel,
    .thin_rows = THIN_ROWS,
    .thin = thin,
};
