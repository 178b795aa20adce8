/* Sums and extremes of one segment, along a row or down columns, with the same bits either way. */
#include "backend/cpu/kernels.h"
#include "sum.h"

#define RUN(name, join_vec, join_tree, identity)                                                   \
    static float name(int64_t n, const float *x) {                                                 \
        lanes a = lanes_set(identity);                                                             \
        int64_t i = 0;                                                                             \
        for (; i + SUM_LANES <= n; i += SUM_LANES)                                                 \
            EACH (v, SUM_VECS) a.v[v] = join_vec(a.v[v], vec_load(x + i + v * LANES));             \
        if (i < n) {                                                                               \
            const lanes rest = lanes_load_or(x + i, n - i, identity);                              \
            EACH (v, SUM_VECS) a.v[v] = join_vec(a.v[v], rest.v[v]);                               \
        }                                                                                          \
        return join_tree(a);                                                                       \
    }
RUN(sum_run, vec_add, lanes_sum, 0.0f)
RUN(max_run, vec_maximum, lanes_max, -INFINITY)
RUN(min_run, vec_minimum, lanes_min, INFINITY)

/* So many floats are read row by row, NACRE_REDUCE_COLUMNS of each at a time: down strips of one vector they would come
   from memory one by one. */
enum { LONG_FLOATS = 1 << 16 };

/* LANES columns at once: the 16 partial results of each are 16 vectors. */
#define COLUMNS(name, join, identity)                                                              \
    static void name##_near(int64_t n, int64_t width, const float *x, int64_t row, float *out) {   \
        for (int64_t j = 0; j < width; j += LANES) {                                               \
            const size_t count = (size_t)(width - j);                                              \
            vec a[SUM_LANES];                                                                      \
            EACH (l, SUM_LANES) a[l] = vec_set(identity);                                          \
            const float *from = x + j;                                                             \
            int64_t i = 0;                                                                         \
            if (count >= LANES) {                                                                  \
                for (; i + SUM_LANES <= n; i += SUM_LANES, from += SUM_LANES * row)                \
                    EACH (l, SUM_LANES) a[l] = join(a[l], vec_load(from + l * row));               \
            }                                                                                      \
            for (; i < n; i++, from += row)                                                        \
                a[i % SUM_LANES] = join(a[i % SUM_LANES], vec_load_n(from, count));                \
            EACH (l, 8) a[l] = join(a[l], a[l + 8]);                                               \
            EACH (l, 4) a[l] = join(a[l], a[l + 4]);                                               \
            EACH (l, 2) a[l] = join(a[l], a[l + 2]);                                               \
            vec_store_n(out + j, count, join(a[0], a[1]));                                         \
        }                                                                                          \
    }                                                                                              \
    static void name##_far(int64_t n, int64_t width, const float *x, int64_t row, float *out) {    \
        float a[SUM_LANES][NACRE_REDUCE_COLUMNS];                                                  \
        EACH (l, SUM_LANES)                                                                        \
            for (int64_t j = 0; j < width; j++) a[l][j] = identity;                                \
        for (int64_t i = 0; i < n; i++, x += row) {                                                \
            float *to = a[i % SUM_LANES];                                                          \
            int64_t j = 0;                                                                         \
            for (; j + LANES <= width; j += LANES)                                                 \
                vec_store(to + j, join(vec_load(to + j), vec_load(x + j)));                        \
            if (j < width) {                                                                       \
                const size_t rest = (size_t)(width - j);                                           \
                vec_store_n(to + j, rest,                                                          \
                            join(vec_load_n(to + j, rest), vec_load_n(x + j, rest)));              \
            }                                                                                      \
        }                                                                                          \
        name##_near(SUM_LANES, width, a[0], NACRE_REDUCE_COLUMNS, out);                            \
    }                                                                                              \
    static void name(int64_t n, int64_t width, const float *x, int64_t row, float *out) {          \
        if (n * width < LONG_FLOATS) {                                                             \
            name##_near(n, width, x, row, out);                                                    \
            return;                                                                                \
        }                                                                                          \
        for (int64_t j = 0; j < width; j += NACRE_REDUCE_COLUMNS)                                  \
            name##_far(n, width - j < NACRE_REDUCE_COLUMNS ? width - j : NACRE_REDUCE_COLUMNS,     \
                       x + j, row, out + j);                                                       \
    }
COLUMNS(sum_columns, vec_add, 0.0f)
COLUMNS(max_columns, vec_maximum, -INFINITY)
COLUMNS(min_columns, vec_minimum, INFINITY)

static int64_t first(int64_t n, const float *x, float value) {
    int64_t i = 0;
    if (value != value)
        while (i + 1 < n && x[i] == x[i]) i++;
    else
        while (i + 1 < n && x[i] != value) i++;
    return i;
}

static int64_t argmax(int64_t n, const float *x) { return first(n, x, max_run(n, x)); }
static int64_t argmin(int64_t n, const float *x) { return first(n, x, min_run(n, x)); }

const nacre_reduce_kernels NACRE_AT_LEVEL(nacre_reduce_kernels) = {
    .run =
        {[NACRE_REDUCE_SUM] = sum_run, [NACRE_REDUCE_MAX] = max_run, [NACRE_REDUCE_MIN] = min_run},
    .columns = {[NACRE_REDUCE_SUM] = sum_columns,
                [NACRE_REDUCE_MAX] = max_columns,
                [NACRE_REDUCE_MIN] = min_columns},
    .argmax = argmax,
    .argmin = argmin,
};
