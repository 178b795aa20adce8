/* Winograd's F(2 x 2, 3 x 3) on laned pixels: Y = A' ((G g G') * (B' d B)) A gives 2 x 2 outputs of a 3 x 3
   window from 4 x 4 inputs with 16 multiplications instead of 36 (Lavin and Gray 2016, section 4.1). */
#include "after.h"
#include "backend/cpu/kernels.h"

enum { SIDE = 4 };

/* B' of one line: (1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 1 0 -1) */
INLINE void turn_input(vec d[SIDE]) {
    const vec a = vec_sub(d[0], d[2]), b = vec_add(d[1], d[2]);
    const vec c = vec_sub(d[2], d[1]), e = vec_sub(d[1], d[3]);
    d[0] = a;
    d[1] = b;
    d[2] = c;
    d[3] = e;
}

/* Four pixels of a column, turned. */
INLINE void input_column(const nacre_winograd_run *run, int64_t column, const float *x,
                         vec d[SIDE]) {
    const bool inside = column >= run->first && column < run->end;
    EACH (r, SIDE) d[r] = inside && run->rows >> r & 1 ? vec_load(x + r * run->x_row) : vec_zero();
    turn_input(d);
}

/* Neighbouring tiles share two columns. */
static void input(const nacre_winograd_run *run, const float *x, float *out, int64_t step) {
    for (int at = 0; at < NACRE_LANES; at += LANES) {
        const float *from = x + at;
        float *tile = out + at;
        vec d[SIDE][SIDE]; /* by columns */
        EACH (c, 2) input_column(run, c, from + c * NACRE_LANES, d[c]);
        for (int64_t column = 2; column <= 2 * run->tiles; column += 2, tile += NACRE_LANES) {
            from += 2 * NACRE_LANES;
            EACH (c, 2) input_column(run, column + c, from + c * NACRE_LANES, d[2 + c]);
            float *to = tile;
            EACH (r, SIDE) {
                vec line[SIDE];
                EACH (c, SIDE) line[c] = d[c][r];
                turn_input(line);
                EACH (c, SIDE) vec_store(to + c * step, line[c]);
                to += SIDE * step;
                KEEP(to);
            }
            EACH (c, 2)
                EACH (r, SIDE) d[c][r] = d[2 + c][r];
        }
    }
}

/* A' of one line: (1 1 1 0; 0 1 -1 -1) */
INLINE void turn_output(const vec m[SIDE], vec y[2]) {
    y[0] = vec_add(vec_add(m[0], m[1]), m[2]);
    y[1] = vec_sub(vec_sub(m[1], m[2]), m[3]);
}

static void output(const float *m, int64_t step, const float *bias, const nacre_conv_after *after,
                   int rows, int columns, float *y, int64_t y_row) {
    for (int at = 0; at < NACRE_LANES; at += LANES) {
        vec half[SIDE][2], out[2][2];
        EACH (r, SIDE) {
            vec line[SIDE];
            EACH (c, SIDE) line[c] = vec_load(m + (r * SIDE + c) * step + at);
            turn_output(line, half[r]);
        }
        EACH (c, 2) {
            vec line[SIDE], pair[2];
            EACH (r, SIDE) line[r] = half[r][c];
            turn_output(line, pair);
            EACH (r, 2) out[r][c] = bias ? vec_add(pair[r], vec_set(*bias)) : pair[r];
        }
        EACH (r, 2) {
            if (after && after->norm) after_norm(2, after, 0, out[r]);
            EACH (c, 2)
                if (r < rows && c < columns) {
                    float *to = y + r * y_row + c * NACRE_LANES + at;
                    if (after && after->add) out[r][c] = after_add(after, to, LANES, out[r][c]);
                    if (after && after->relu) out[r][c] = after_relu(out[r][c]);
                    if (after && after->mask) out[r][c] = after_mask(after, to, out[r][c]);
                    vec_store(to, out[r][c]);
                }
        }
    }
}

/* A of one line: (1 0; 1 1; 1 -1; 0 -1) */
INLINE void turn_gradient(const vec y[2], vec m[SIDE]) {
    m[0] = y[0];
    m[1] = vec_add(y[0], y[1]);
    m[2] = vec_sub(y[0], y[1]);
    m[3] = vec_sub(vec_zero(), y[1]);
}

static void gradient(int rows, int columns, const float *dy, int64_t dy_row, float *out,
                     int64_t step) {
    for (int at = 0; at < NACRE_LANES; at += LANES) {
        vec half[2][SIDE];
        EACH (r, 2) {
            vec line[2];
            EACH (c, 2)
                line[c] = r < rows && c < columns ? vec_load(dy + r * dy_row + c * NACRE_LANES + at)
                                                  : vec_zero();
            turn_gradient(line, half[r]);
        }
        EACH (c, SIDE) {
            vec line[2], m[SIDE];
            EACH (r, 2) line[r] = half[r][c];
            turn_gradient(line, m);
            EACH (r, SIDE) vec_store(out + (r * SIDE + c) * step + at, m[r]);
        }
    }
}

/* G of one line: (1 0 0; 1/2 1/2 1/2; 1/2 -1/2 1/2; 0 0 1) */
INLINE void turn_weights(const vec g[3], vec u[SIDE]) {
    const vec half = vec_set(0.5f), ends = vec_add(g[0], g[2]);
    u[0] = g[0];
    u[1] = vec_mul(half, vec_add(ends, g[1]));
    u[2] = vec_mul(half, vec_sub(ends, g[1]));
    u[3] = g[2];
}

static void weights(int64_t channels, bool flipped, const float *packed, float *out, int64_t step) {
    for (int64_t channel = 0; channel < channels; channel++) {
        for (int at = 0; at < NACRE_LANES; at += LANES) {
            vec half[3][SIDE];
            EACH (r, 3) {
                vec line[3];
                EACH (c, 3)
                    line[c] =
                        vec_load(packed + (flipped ? 8 - 3 * r - c : 3 * r + c) * NACRE_LANES + at);
                turn_weights(line, half[r]);
            }
            EACH (c, SIDE) {
                vec line[3], u[SIDE];
                EACH (r, 3) line[r] = half[r][c];
                turn_weights(line, u);
                EACH (r, SIDE) vec_store(out + (r * SIDE + c) * step + at, u[r]);
            }
        }
        packed += 9 * NACRE_LANES;
        out += NACRE_LANES;
    }
}

/* ---- a sample alone: the lanes are tiles that follow each other, row after row ---- */

/* Columns are turned as they lie, then each row's even and odd ones beside each other: in the order of `input`. */
static void row_of_tiles(int64_t tiles, const float *x, int64_t x_row, float *out, int64_t step) {
    static const int64_t begin[SIDE] = {0, LANES, 2, LANES + 2};
    for (int64_t t = 0; t < tiles; t += LANES) {
        vec d[SIDE][SIDE];
        EACH (i, SIDE) {
            EACH (r, SIDE) d[i][r] = vec_load(x + 2 * t + begin[i] + r * x_row);
            turn_input(d[i]);
        }
        float *to = out + t;
        EACH (r, SIDE) {
            vec line[SIDE] = {vec_even(d[0][r], d[1][r]), vec_odd(d[0][r], d[1][r]),
                              vec_even(d[2][r], d[3][r]), vec_odd(d[2][r], d[3][r])};
            turn_input(line);
            EACH (c, SIDE) vec_store_n(to + c * step, (size_t)(tiles - t), line[c]);
            to += SIDE * step;
            KEEP(to);
        }
    }
}

/* What follows the sums of one channel but for `add`, and relu behind it. */
typedef struct channel_end {
    bool biased, normed, relu;
    vec bias, mean, scale, shift;
} channel_end;

INLINE channel_end end_of_channel(const float *bias, const nacre_conv_after *after) {
    const bool normed = after && after->norm;
    const float *norm = normed ? after->norm : NULL;
    return (channel_end){.biased = bias != NULL,
                         .normed = normed,
                         .relu = after && after->relu && !after->add,
                         .bias = bias ? vec_set(*bias) : vec_zero(),
                         .mean = norm ? vec_set(norm[0]) : vec_zero(),
                         .scale = norm ? vec_set(norm[after->norm_step]) : vec_zero(),
                         .shift = norm ? vec_set(norm[2 * after->norm_step]) : vec_zero()};
}

/* Two rows of 2 pixels a tile, from the 16 products of 16 tiles. */
INLINE void pixels_of_group(const float *m, int64_t step, const channel_end *end,
                            float y[2][3 * NACRE_LANES]) {
    for (int at = 0; at < NACRE_LANES; at += LANES) {
        vec half[SIDE][2], out[2][2];
        const float *from = m + at;
        EACH (r, SIDE) {
            vec line[SIDE] = {vec_load(from), vec_load(from + step), vec_load(from + 2 * step),
                              vec_load(from + 3 * step)};
            turn_output(line, half[r]);
            from += SIDE * step;
        }
        EACH (c, 2) {
            vec line[SIDE], pair[2];
            EACH (r, SIDE) line[r] = half[r][c];
            turn_output(line, pair);
            EACH (r, 2) out[r][c] = pair[r];
        }
        if (end->biased)
            EACH (i, 4) out[i / 2][i % 2] = vec_add(out[i / 2][i % 2], end->bias);
        if (end->normed)
            EACH (i, 4)
                out[i / 2][i % 2] =
                    after_numbers(end->mean, end->scale, end->shift, out[i / 2][i % 2]);
        if (end->relu)
            EACH (i, 4) out[i / 2][i % 2] = after_relu(out[i / 2][i % 2]);
        EACH (r, 2) {
            vec pixels[2];
            vec_zip(out[r][0], out[r][1], &pixels[0], &pixels[1]);
            EACH (c, 2) vec_store(y[r] + 2 * at + c * LANES, pixels[c]);
        }
    }
}

INLINE void place_row(int64_t columns, const float *y, const nacre_conv_after *after, float *out) {
    for (int64_t k = 0; k < columns; k += LANES) {
        const size_t left = (size_t)(columns - k);
        vec pixels = vec_load(y + k);
        if (after) pixels = after_row(after, out + k, left, pixels);
        vec_store_n(out + k, left, pixels);
    }
}

static void place_groups(const nacre_winograd_grid *grid, int64_t first, int64_t groups,
                         const float *m, int64_t step, const float *bias,
                         const nacre_conv_after *after, float *plane) {
    const nacre_conv_after *added = after && after->add ? after : NULL;
    const channel_end end = end_of_channel(bias, after);
    float y[2][3 * NACRE_LANES]; /* with room for the last whole vector */
    EACH (i, NACRE_LANES / LANES)
        EACH (r, 2) vec_store(y[r] + 2 * NACRE_LANES + i * LANES, vec_zero());
    int64_t tile = first * NACRE_LANES, row = tile / grid->tile_columns;
    int64_t column = tile % grid->tile_columns;
    for (int64_t g = 0; g < groups; g++, m += NACRE_LANES) {
        pixels_of_group(m, step, &end, y);
        for (int64_t lane = 0, count; lane < NACRE_LANES && row < grid->tile_rows; lane += count) {
            const int64_t rest = grid->tile_columns - column, wide = grid->columns - 2 * column;
            count = NACRE_LANES - lane < rest ? NACRE_LANES - lane : rest;
            for (int r = 0; r < 2 && 2 * row + r < grid->rows; r++)
                place_row(2 * count < wide ? 2 * count : wide, y[r] + 2 * lane, added,
                          plane + (2 * row + r) * grid->columns + 2 * column);
            column += count;
            if (column == grid->tile_columns) column = 0, row++;
        }
    }
}

const nacre_winograd_kernels NACRE_AT_LEVEL(nacre_winograd_kernels) = {
    .input = input,
    .output = output,
    .gradient = gradient,
    .row_of_tiles = row_of_tiles,
    .place_groups = place_groups,
    .weights = weights,
};
