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

/* One 4 x 4 tile of x, rows x_row floats apart, to 16 numbers per lane, `step` floats apart. Pixels of rows and
   columns whose bits are 0 are 0 and not read. */
INLINE void input_tile(unsigned rows, unsigned columns, const float *x, int64_t x_row, float *out,
                       int64_t step) {
    vec d[SIDE][SIDE];
    EACH (r, SIDE) {
        EACH (c, SIDE)
            d[r][c] = rows >> r & columns >> c & 1 ? vec_load(x + r * x_row + c * NACRE_LANES)
                                                   : vec_zero();
        turn_input(d[r]);
    }
    EACH (c, SIDE) {
        vec column[SIDE];
        EACH (r, SIDE) column[r] = d[r][c];
        turn_input(column);
        EACH (r, SIDE) vec_store(out + (r * SIDE + c) * step, column[r]);
    }
}

static void input(unsigned rows, unsigned columns, const float *x, int64_t x_row, float *out,
                  int64_t step) {
    for (int at = 0; at < NACRE_LANES; at += LANES) {
        if (rows == 15 && columns == 15)
            input_tile(15, 15, x + at, x_row, out + at, step);
        else
            input_tile(rows, columns, x + at, x_row, out + at, step);
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

/* ---- a sample alone: the lanes are neighbouring tiles ---- */

static void gather(int64_t count, const float *x, int64_t x_row, float *out) {
    for (int64_t at = 0; at < count; at += LANES) {
        const size_t n = (size_t)(count - at < LANES ? count - at : LANES);
        EACH (r, SIDE)
            EACH (c, SIDE)
                vec_store_n(out + (r * SIDE + c) * NACRE_LANES + at, n,
                            vec_load_even(x + r * x_row + 2 * at + c, n));
    }
}

static void scatter(int64_t columns, const float *y, const nacre_conv_after *after, float *out) {
    for (int64_t at = 0; 2 * at < columns; at += LANES) {
        const size_t n = (size_t)(columns - 2 * at);
        vec pixels[2];
        vec_zip(vec_load(y + at), vec_load(y + NACRE_LANES + at), &pixels[0], &pixels[1]);
        EACH (half, 2) {
            const size_t before = (size_t)(half * LANES);
            if (n <= before) continue;
            float *to = out + 2 * at + half * LANES;
            if (after) pixels[half] = after_row(after, to, n - before, pixels[half]);
            vec_store_n(to, n - before, pixels[half]);
        }
    }
}

const nacre_winograd_kernels NACRE_AT_LEVEL(nacre_winograd_kernels) = {
    .input = input,
    .output = output,
    .gradient = gradient,
    .gather = gather,
    .scatter = scatter,
    .weights = weights,
};
