/* Pooling over one laned plane. A tap outside takes no part. */
#include "backend/cpu/kernels.h"
#include "simd.h"
#include "sum.h"

/* The part of a window that lies inside: rows and columns [first, end) of x. */
typedef struct window {
    int64_t first_row, end_row, first_column, end_column;
} window;

INLINE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

INLINE window window_at(const nacre_pool *p, int64_t row, int64_t column) {
    const int64_t top = row * p->stride[0] - p->padding[0];
    const int64_t left = column * p->stride[1] - p->padding[1];
    return (window){larger(0, top), smaller(p->rows, top + p->kernel[0]), larger(0, left),
                    smaller(p->columns, left + p->kernel[1])};
}

/* For each output pixel (its number: i) and vector of its lanes (at: first lane), its window w. */
#define EACH_WINDOW(p)                                                                             \
    for (int64_t row = 0, i = 0; row < (p)->out_rows; row++)                                       \
        for (int64_t column = 0; column < (p)->out_columns; column++, i++)                         \
            for (int at = 0; at < NACRE_LANES; at += LANES)
#define EACH_TAP(w, from, p)                                                                       \
    for (int64_t r = (w).first_row; r < (w).end_row; r++)                                          \
        for (int64_t from = (r * (p)->columns + (w).first_column) * NACRE_LANES + at,              \
                     end = (r * (p)->columns + (w).end_column) * NACRE_LANES;                      \
             from < end; from += NACRE_LANES)

INLINE vec most(const nacre_pool *p, const window w, int at, const float *x) {
    vec m = vec_set(-INFINITY);
    EACH_TAP(w, from, p) m = vec_maximum(m, vec_load(x + from));
    return m;
}

/* Is x the window's maximum m, which is NaN if any of them is? */
INLINE mask is_most(vec x, vec m) { return mask_or(vec_equal(x, m), vec_is_nan(x)); }

static void max(const nacre_pool *p, const float *x, float *y) {
    EACH_WINDOW(p)
    vec_store(y + i * NACRE_LANES + at, most(p, window_at(p, row, column), at, x));
}

/* dy goes to the first maximum: what is left of it after a hit is 0. */
static void max_backward(const nacre_pool *p, const float *x, const float *dy, float *dx) {
    memset(dx, 0, (size_t)(p->rows * p->columns * NACRE_LANES) * sizeof *dx);
    EACH_WINDOW(p) {
        const window w = window_at(p, row, column);
        const vec m = most(p, w, at, x);
        vec left = vec_load(dy + i * NACRE_LANES + at);
        EACH_TAP(w, from, p) {
            const mask hit = is_most(vec_load(x + from), m);
            vec_store(dx + from, vec_add(vec_load(dx + from), vec_select(hit, left, vec_zero())));
            left = vec_select(hit, vec_zero(), left);
        }
    }
}

static void max_pick(const nacre_pool *p, const float *x, const float *z, float *out) {
    EACH_WINDOW(p) {
        const window w = window_at(p, row, column);
        const vec m = most(p, w, at, x);
        vec picked = vec_zero(), wanted = vec_set(1.0f);
        EACH_TAP(w, from, p) {
            const mask hit = is_most(vec_load(x + from), m);
            const vec first = vec_select(hit, wanted, vec_zero());
            picked = vec_select(vec_less(vec_zero(), first), vec_load(z + from), picked);
            wanted = vec_select(hit, vec_zero(), wanted);
        }
        vec_store(out + i * NACRE_LANES + at, picked);
    }
}

/* The padding counts: the sum is divided by the whole window. */
static void average(const nacre_pool *p, const float *x, float *y) {
    const vec share = vec_set((float)(p->kernel[0] * p->kernel[1]));
    EACH_WINDOW(p) {
        const window w = window_at(p, row, column);
        vec sum = vec_zero();
        EACH_TAP(w, from, p) sum = vec_add(sum, vec_load(x + from));
        vec_store(y + i * NACRE_LANES + at, vec_div(sum, share));
    }
}

static void average_backward(const nacre_pool *p, const float *dy, float *dx) {
    const vec share = vec_set((float)(p->kernel[0] * p->kernel[1]));
    memset(dx, 0, (size_t)(p->rows * p->columns * NACRE_LANES) * sizeof *dx);
    EACH_WINDOW(p) {
        const window w = window_at(p, row, column);
        const vec part = vec_div(vec_load(dy + i * NACRE_LANES + at), share);
        EACH_TAP(w, from, p) vec_store(dx + from, vec_add(vec_load(dx + from), part));
    }
}

/* ---- a sample alone ---- */

INLINE float pool_window(const bool maximum, const nacre_pool *p, const window w, const float *x) {
    float result = maximum ? -INFINITY : 0;
    for (int64_t r = w.first_row; r < w.end_row; r++)
        for (int64_t c = w.first_column; c < w.end_column; c++) {
            const float a = x[r * p->columns + c];
            if (maximum)
                result = result != result || result > a ? result : a;
            else
                result += a;
        }
    return maximum ? result : result / (float)(p->kernel[0] * p->kernel[1]);
}

/* Every `stride`-th of the floats from p on, n of them: 1 and 2 in vectors. */
enum { MOST_STRIDE = 2 };
INLINE vec load_every(const int stride, const float *p, size_t n) {
    return stride == 1 ? vec_load_n(p, n) : vec_load_even(p, n);
}

/* n neighbouring outputs whose windows lie inside from side to side; x: the first of the first window. */
INLINE void pool_vector(const bool maximum, const int stride, const nacre_pool *p, int64_t rows,
                        size_t n, const float *x, float *y) {
    vec result = maximum ? vec_set(-INFINITY) : vec_zero();
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < p->kernel[1]; c++) {
            const vec a = load_every(stride, x + r * p->columns + c, n);
            result = maximum ? vec_maximum(result, a) : vec_add(result, a);
        }
    if (!maximum) result = vec_div(result, vec_set((float)(p->kernel[0] * p->kernel[1])));
    vec_store_n(y, n, result);
}

INLINE void pool_alone(const bool maximum, const int stride, const nacre_pool *p, const float *x,
                       float *y) {
    const int64_t inside = p->columns + p->padding[1] - p->kernel[1];
    int64_t first = 0, end = 0;
    if (stride <= MOST_STRIDE && inside >= 0) {
        first = (p->padding[1] + stride - 1) / stride;
        end = larger(first, smaller(p->out_columns, inside / stride + 1));
    }
    for (int64_t row = 0; row < p->out_rows; row++, y += p->out_columns) {
        for (int64_t column = 0; column < p->out_columns;) {
            const window w = window_at(p, row, column);
            if (column < first || column >= end) {
                y[column++] = pool_window(maximum, p, w, x);
                continue;
            }
            const int64_t n = smaller(LANES, end - column);
            pool_vector(maximum, stride, p, w.end_row - w.first_row, (size_t)n,
                        x + w.first_row * p->columns + w.first_column, y + column);
            column += n;
        }
    }
}

INLINE void pool_of_stride(const bool maximum, const nacre_pool *p, const float *x, float *y) {
    if (p->stride[1] == 1)
        pool_alone(maximum, 1, p, x, y);
    else if (p->stride[1] == 2)
        pool_alone(maximum, 2, p, x, y);
    else
        pool_alone(maximum, MOST_STRIDE + 1, p, x, y);
}

static void max_alone(const nacre_pool *p, const float *x, float *y) {
    pool_of_stride(true, p, x, y);
}
static void average_alone(const nacre_pool *p, const float *x, float *y) {
    pool_of_stride(false, p, x, y);
}

const nacre_pool_kernels NACRE_AT_LEVEL(nacre_pool_kernels) = {
    .max = max,
    .max_backward = max_backward,
    .max_pick = max_pick,
    .average = average,
    .average_backward = average_backward,
    .max_alone = max_alone,
    .average_alone = average_alone,
};
