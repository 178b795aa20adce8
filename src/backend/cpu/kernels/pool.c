/* Pooling over one laned plane. A tap outside takes no part. */
#include "backend/cpu/kernels.h"
#include "simd.h"
#include "sum.h"

/* The part of a window that lies inside: rows and columns [first, end) of x. */
typedef struct window {
    int64_t first_row, end_row, first_column, end_column;
    bool only; /* no other window has these pixels */
} window;

INLINE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

INLINE window window_at(const nacre_pool *p, int64_t row, int64_t column) {
    const int64_t top = row * p->stride[0] - p->padding[0];
    const int64_t left = column * p->stride[1] - p->padding[1];
    return (window){larger(0, top), smaller(p->rows, top + p->kernel[0]), larger(0, left),
                    smaller(p->columns, left + p->kernel[1]), false};
}

/* Two by two side by side, the usual windows, whose loops are unrolled. */
INLINE bool by_two(const nacre_pool *p) {
    bool two = true;
    for (int i = 0; i < 2; i++)
        two = two && p->kernel[i] == 2 && p->stride[i] == 2 && p->padding[i] == 0;
    return two;
}

INLINE window window_of_two(int64_t row, int64_t column) {
    return (window){2 * row, 2 * row + 2, 2 * column, 2 * column + 2, true};
}

/* What a kernel reads and writes: x, z and dx are planes of pixels that go in, y and dy of those that come out. */
typedef struct planes {
    const float *x, *z, *dy;
    float *y, *dx;
} planes;

/* Of one window and one vector of lanes, from `lane` on; out: of y and dy, where these lanes are. */
typedef void on_window(const nacre_pool *p, const planes *a, window w, int lane, int64_t out);

INLINE void walk(on_window *act, const bool two, const nacre_pool *p, const planes *a) {
    int64_t out = 0;
    for (int64_t row = 0; row < p->out_rows; row++) {
        for (int64_t column = 0; column < p->out_columns; column++, out += NACRE_LANES) {
            const window w = two ? window_of_two(row, column) : window_at(p, row, column);
            for (int lane = 0; lane < NACRE_LANES; lane += LANES) act(p, a, w, lane, out + lane);
        }
    }
}

/* Only ever called with a constant function, which becomes part of the loops. */
INLINE void for_each_window(on_window *act, const nacre_pool *p, const planes *a) {
    if (by_two(p))
        walk(act, true, p, a);
    else
        walk(act, false, p, a);
}

/* Where these lanes of the pixel in row r and column c are. */
INLINE int64_t tap_at(const nacre_pool *p, int64_t r, int64_t c, int lane) {
    return (r * p->columns + c) * NACRE_LANES + lane;
}

INLINE vec most(const nacre_pool *p, const window w, int lane, const float *x) {
    vec m = vec_set(-INFINITY);
    for (int64_t r = w.first_row; r < w.end_row; r++)
        for (int64_t c = w.first_column; c < w.end_column; c++)
            m = vec_maximum(m, vec_load(x + tap_at(p, r, c, lane)));
    return m;
}

/* Is x the window's maximum m, which is NaN if any of them is? */
INLINE mask is_most(vec x, vec m) { return mask_or(vec_equal(x, m), vec_is_nan(x)); }

INLINE void max_of(const nacre_pool *p, const planes *a, window w, int lane, int64_t out) {
    vec_store(a->y + out, most(p, w, lane, a->x));
}

/* What has one addend alone has the bits of a sum that began at 0: -0 becomes 0. */
INLINE void add_to(const bool only, float *dx, vec addend) {
    vec_store(dx, vec_add(only ? vec_zero() : vec_load(dx), addend));
}

/* dy goes to the first maximum, with relu only if that is above 0: what is left of it after a hit is 0. */
INLINE void to_first(const bool relu, const nacre_pool *p, const planes *a, window w, int lane,
                     int64_t out) {
    const vec m = most(p, w, lane, a->x);
    vec left = vec_load(a->dy + out);
    if (relu) left = vec_select(vec_less(vec_zero(), m), left, vec_zero());
    for (int64_t r = w.first_row; r < w.end_row; r++)
        for (int64_t c = w.first_column; c < w.end_column; c++) {
            const int64_t tap = tap_at(p, r, c, lane);
            const mask hit = is_most(vec_load(a->x + tap), m);
            add_to(w.only, a->dx + tap, vec_select(hit, left, vec_zero()));
            left = vec_select(hit, vec_zero(), left);
        }
}

INLINE void max_back(const nacre_pool *p, const planes *a, window w, int lane, int64_t out) {
    to_first(false, p, a, w, lane, out);
}
INLINE void max_relu_back(const nacre_pool *p, const planes *a, window w, int lane, int64_t out) {
    to_first(true, p, a, w, lane, out);
}

INLINE void max_pick_of(const nacre_pool *p, const planes *a, window w, int lane, int64_t out) {
    const vec m = most(p, w, lane, a->x);
    vec picked = vec_zero(), wanted = vec_set(1.0f);
    for (int64_t r = w.first_row; r < w.end_row; r++)
        for (int64_t c = w.first_column; c < w.end_column; c++) {
            const int64_t tap = tap_at(p, r, c, lane);
            const mask hit = is_most(vec_load(a->x + tap), m);
            const vec first = vec_select(hit, wanted, vec_zero());
            picked = vec_select(vec_less(vec_zero(), first), vec_load(a->z + tap), picked);
            wanted = vec_select(hit, vec_zero(), wanted);
        }
    vec_store(a->y + out, picked);
}

/* The padding counts: the sum is divided by the whole window. */
INLINE vec share_of(const nacre_pool *p, vec sum) {
    return vec_div(sum, vec_set((float)(p->kernel[0] * p->kernel[1])));
}

INLINE void average_of(const nacre_pool *p, const planes *a, window w, int lane, int64_t out) {
    vec sum = vec_zero();
    for (int64_t r = w.first_row; r < w.end_row; r++)
        for (int64_t c = w.first_column; c < w.end_column; c++)
            sum = vec_add(sum, vec_load(a->x + tap_at(p, r, c, lane)));
    vec_store(a->y + out, share_of(p, sum));
}

INLINE void average_back(const nacre_pool *p, const planes *a, window w, int lane, int64_t out) {
    const vec part = share_of(p, vec_load(a->dy + out));
    for (int64_t r = w.first_row; r < w.end_row; r++)
        for (int64_t c = w.first_column; c < w.end_column; c++)
            add_to(w.only, a->dx + tap_at(p, r, c, lane), part);
}

/* Pixels that no window has, or more than one. */
static void clear(const nacre_pool *p, float *dx) {
    if (by_two(p) && 2 * p->out_rows == p->rows && 2 * p->out_columns == p->columns) return;
    memset(dx, 0, (size_t)(p->rows * p->columns * NACRE_LANES) * sizeof *dx);
}

static void max(const nacre_pool *p, const float *x, float *y) {
    for_each_window(max_of, p, &(planes){.x = x, .y = y});
}

static void max_backward(const nacre_pool *p, const float *x, const float *dy, float *dx) {
    clear(p, dx);
    for_each_window(max_back, p, &(planes){.x = x, .dy = dy, .dx = dx});
}

static void max_relu_backward(const nacre_pool *p, const float *x, const float *dy, float *dx) {
    clear(p, dx);
    for_each_window(max_relu_back, p, &(planes){.x = x, .dy = dy, .dx = dx});
}

static void max_pick(const nacre_pool *p, const float *x, const float *z, float *out) {
    for_each_window(max_pick_of, p, &(planes){.x = x, .z = z, .y = out});
}

static void average(const nacre_pool *p, const float *x, float *y) {
    for_each_window(average_of, p, &(planes){.x = x, .y = y});
}

static void average_backward(const nacre_pool *p, const float *dy, float *dx) {
    clear(p, dx);
    for_each_window(average_back, p, &(planes){.dy = dy, .dx = dx});
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

/* n neighbouring outputs, whose windows have rows x columns taps inside; x: the first of the first window. */
INLINE void pool_vector(const bool maximum, const int stride, const nacre_pool *p, int64_t rows,
                        int64_t columns, size_t n, const float *x, float *y) {
    vec result = maximum ? vec_set(-INFINITY) : vec_zero();
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++) {
            const vec a = load_every(stride, x + r * p->columns + c, n);
            result = maximum ? vec_maximum(result, a) : vec_add(result, a);
        }
    vec_store_n(y, n, maximum ? result : share_of(p, result));
}

/* n columns of outputs from `column` on, all rows, so that what masks cost is paid once. */
INLINE void pool_columns(const bool maximum, const int stride, const bool two, const nacre_pool *p,
                         int64_t column, size_t n, const float *x, float *y) {
    for (int64_t row = 0; row < p->out_rows; row++) {
        const window w = two ? window_of_two(row, column) : window_at(p, row, column);
        pool_vector(maximum, stride, p, two ? 2 : w.end_row - w.first_row, two ? 2 : p->kernel[1],
                    n, x + w.first_row * p->columns + w.first_column,
                    y + row * p->out_columns + column);
    }
}

INLINE void pool_alone(const bool maximum, const int stride, const bool two, const nacre_pool *p,
                       const float *x, float *y) {
    /* Columns whose windows lie inside from side to side. */
    const int64_t inside = p->columns + p->padding[1] - p->kernel[1];
    int64_t first = 0, end = 0;
    if (stride <= MOST_STRIDE && inside >= 0) {
        first = (p->padding[1] + stride - 1) / stride;
        end = larger(first, smaller(p->out_columns, inside / stride + 1));
    }
    for (int64_t column = 0; column < p->out_columns;) {
        if (column >= first && column < end) {
            const int64_t n = smaller(LANES, end - column);
            if (n == LANES)
                pool_columns(maximum, stride, two, p, column, LANES, x, y);
            else
                pool_columns(maximum, stride, two, p, column, (size_t)n, x, y);
            column += n;
            continue;
        }
        for (int64_t row = 0; row < p->out_rows; row++)
            y[row * p->out_columns + column] =
                pool_window(maximum, p, window_at(p, row, column), x);
        column++;
    }
}

INLINE void pool_of_stride(const bool maximum, const nacre_pool *p, const float *x, float *y) {
    if (by_two(p))
        pool_alone(maximum, 2, true, p, x, y);
    else if (p->stride[1] == 1)
        pool_alone(maximum, 1, false, p, x, y);
    else if (p->stride[1] == 2)
        pool_alone(maximum, 2, false, p, x, y);
    else
        pool_alone(maximum, MOST_STRIDE + 1, false, p, x, y);
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
    .max_relu_backward = max_relu_backward,
    .max_pick = max_pick,
    .average = average,
    .average_backward = average_backward,
    .max_alone = max_alone,
    .average_alone = average_alone,
};
