/* Softmax, its logarithm, their gradients, and cross-entropy. Each row (or column) is centred by its maximum;
   sums have the 16 lanes and the tree of all sums, along rows and columns alike. */
#include "backend/cpu/kernels.h"
#include "math.h"
#include "sum.h"
#include "transpose.h"

/* ---- rows ---- */

static float row_max(int64_t n, const float *x) {
    lanes most = lanes_load_or(x, n, -INFINITY);
    for (int64_t i = SUM_LANES; i < n; i += SUM_LANES) {
        const lanes a = lanes_load_or(x + i, n - i, -INFINITY);
        EACH (v, SUM_VECS) most.v[v] = vec_maximum(most.v[v], a.v[v]);
    }
    return lanes_max(most);
}

/* out = exp(x - most) (or not stored: NULL); returns its sum. */
INLINE float row_exp(int64_t n, const float *x, float most, float *out) {
    lanes sum = lanes_set(0.0f);
    for (int64_t i = 0; i < n; i += SUM_LANES) {
        lanes e = lanes_load_or(x + i, n - i, -INFINITY);
        EACH (v, SUM_VECS) {
            e.v[v] = vec_exp(vec_sub(e.v[v], vec_set(most)));
            sum.v[v] = vec_add(sum.v[v], e.v[v]);
        }
        if (out) lanes_store_n(out + i, n - i, e);
    }
    return lanes_sum(sum);
}

static float log_of(float x) {
    float lane[LANES];
    vec_store(lane, vec_log(vec_set(x)));
    return lane[0];
}

static void softmax(int64_t rows, int64_t n, const float *x, const float *dy, float *out) {
    (void)dy;
    for (int64_t r = 0; r < rows; r++, x += n, out += n) {
        const vec sum = vec_set(row_exp(n, x, row_max(n, x), out));
        for (int64_t i = 0; i < n; i += LANES) {
            const size_t left = (size_t)(n - i);
            vec_store_n(out + i, left, vec_div(vec_load_n(out + i, left), sum));
        }
    }
}

static void log_softmax(int64_t rows, int64_t n, const float *x, const float *dy, float *out) {
    (void)dy;
    for (int64_t r = 0; r < rows; r++, x += n, out += n) {
        const float most = row_max(n, x);
        const vec log_sum = vec_set(log_of(row_exp(n, x, most, NULL)));
        for (int64_t i = 0; i < n; i += LANES) {
            const size_t left = (size_t)(n - i);
            const vec centred = vec_sub(vec_load_n(x + i, left), vec_set(most));
            vec_store_n(out + i, left, vec_sub(centred, log_sum));
        }
    }
}

/* dx = y (dy - sum(y dy)) */
static void softmax_backward(int64_t rows, int64_t n, const float *y, const float *dy, float *out) {
    for (int64_t r = 0; r < rows; r++, y += n, dy += n, out += n) {
        lanes sum = lanes_set(0.0f);
        for (int64_t i = 0; i < n; i += SUM_LANES) {
            const lanes a = lanes_load_or(y + i, n - i, 0.0f),
                        b = lanes_load_or(dy + i, n - i, 0.0f);
            EACH (v, SUM_VECS) sum.v[v] = vec_add(sum.v[v], vec_mul(a.v[v], b.v[v]));
        }
        const vec total = vec_set(lanes_sum(sum));
        for (int64_t i = 0; i < n; i += LANES) {
            const size_t left = (size_t)(n - i);
            const vec a = vec_load_n(y + i, left), b = vec_load_n(dy + i, left);
            vec_store_n(out + i, left, vec_mul(a, vec_sub(b, total)));
        }
    }
}

/* dx = dy - exp(y) sum(dy) */
static void log_softmax_backward(int64_t rows, int64_t n, const float *y, const float *dy,
                                 float *out) {
    for (int64_t r = 0; r < rows; r++, y += n, dy += n, out += n) {
        lanes sum = lanes_set(0.0f);
        for (int64_t i = 0; i < n; i += SUM_LANES) {
            const lanes b = lanes_load_or(dy + i, n - i, 0.0f);
            EACH (v, SUM_VECS) sum.v[v] = vec_add(sum.v[v], b.v[v]);
        }
        const vec total = vec_set(lanes_sum(sum));
        for (int64_t i = 0; i < n; i += LANES) {
            const size_t left = (size_t)(n - i);
            const vec p = vec_exp(vec_load_n(y + i, left)), b = vec_load_n(dy + i, left);
            vec_store_n(out + i, left, vec_sub(b, vec_mul(p, total)));
        }
    }
}

/* ---- columns: LANES of them at once; the 16 partial sums of each are 16 vectors ---- */

typedef struct partial_sums {
    vec lane[SUM_LANES];
} partial_sums;

INLINE void partial_zero(partial_sums *sums) {
    EACH (l, SUM_LANES) sums->lane[l] = vec_zero();
}
INLINE void partial_add(partial_sums *sums, int64_t i, vec a) {
    sums->lane[i % SUM_LANES] = vec_add(sums->lane[i % SUM_LANES], a);
}
INLINE vec partial_total(partial_sums *sums) {
    vec *a = sums->lane;
    EACH (l, 8) a[l] = vec_add(a[l], a[l + 8]);
    EACH (l, 4) a[l] = vec_add(a[l], a[l + 4]);
    EACH (l, 2) a[l] = vec_add(a[l], a[l + 2]);
    return vec_add(a[0], a[1]);
}

INLINE vec column_max(int64_t n, int64_t stride, size_t count, const float *x) {
    vec most = vec_load_n(x, count);
    for (int64_t i = 1; i < n; i++) most = vec_maximum(most, vec_load_n(x + i * stride, count));
    return most;
}

static void softmax_columns(int64_t n, int64_t width, int64_t stride, const float *x,
                            const float *dy, float *out) {
    (void)dy;
    for (int64_t j = 0; j < width; j += LANES) {
        const size_t count = (size_t)(width - j);
        const vec most = column_max(n, stride, count, x + j);
        partial_sums sums;
        partial_zero(&sums);
        for (int64_t i = 0; i < n; i++) {
            const vec e = vec_exp(vec_sub(vec_load_n(x + i * stride + j, count), most));
            partial_add(&sums, i, e);
            vec_store_n(out + i * stride + j, count, e);
        }
        const vec sum = partial_total(&sums);
        for (int64_t i = 0; i < n; i++) {
            float *to = out + i * stride + j;
            vec_store_n(to, count, vec_div(vec_load_n(to, count), sum));
        }
    }
}

static void log_softmax_columns(int64_t n, int64_t width, int64_t stride, const float *x,
                                const float *dy, float *out) {
    (void)dy;
    for (int64_t j = 0; j < width; j += LANES) {
        const size_t count = (size_t)(width - j);
        const vec most = column_max(n, stride, count, x + j);
        partial_sums sums;
        partial_zero(&sums);
        for (int64_t i = 0; i < n; i++)
            partial_add(&sums, i, vec_exp(vec_sub(vec_load_n(x + i * stride + j, count), most)));
        const vec log_sum = vec_log(partial_total(&sums));
        for (int64_t i = 0; i < n; i++) {
            const vec centred = vec_sub(vec_load_n(x + i * stride + j, count), most);
            vec_store_n(out + i * stride + j, count, vec_sub(centred, log_sum));
        }
    }
}

static void softmax_backward_columns(int64_t n, int64_t width, int64_t stride, const float *y,
                                     const float *dy, float *out) {
    for (int64_t j = 0; j < width; j += LANES) {
        const size_t count = (size_t)(width - j);
        partial_sums sums;
        partial_zero(&sums);
        for (int64_t i = 0; i < n; i++) {
            const int64_t at = i * stride + j;
            partial_add(&sums, i, vec_mul(vec_load_n(y + at, count), vec_load_n(dy + at, count)));
        }
        const vec total = partial_total(&sums);
        for (int64_t i = 0; i < n; i++) {
            const int64_t at = i * stride + j;
            const vec b = vec_sub(vec_load_n(dy + at, count), total);
            vec_store_n(out + at, count, vec_mul(vec_load_n(y + at, count), b));
        }
    }
}

static void log_softmax_backward_columns(int64_t n, int64_t width, int64_t stride, const float *y,
                                         const float *dy, float *out) {
    for (int64_t j = 0; j < width; j += LANES) {
        const size_t count = (size_t)(width - j);
        partial_sums sums;
        partial_zero(&sums);
        for (int64_t i = 0; i < n; i++)
            partial_add(&sums, i, vec_load_n(dy + i * stride + j, count));
        const vec total = partial_total(&sums);
        for (int64_t i = 0; i < n; i++) {
            const int64_t at = i * stride + j;
            const vec p = vec_exp(vec_load_n(y + at, count));
            vec_store_n(out + at, count, vec_sub(vec_load_n(dy + at, count), vec_mul(p, total)));
        }
    }
}

/* ---- cross-entropy of one row; an index outside the classes picks nothing ---- */

static float loss_index(int64_t n, const float *x, int64_t target) {
    const float most = row_max(n, x), log_sum = log_of(row_exp(n, x, most, NULL));
    return target < 0 || target >= n ? 0.0f : -((x[target] - most) - log_sum);
}

static float loss_rows(int64_t n, const float *x, const float *target) {
    const float most = row_max(n, x);
    const vec log_sum = vec_set(log_of(row_exp(n, x, most, NULL)));
    lanes sum = lanes_set(0.0f);
    for (int64_t i = 0; i < n; i += SUM_LANES) {
        /* Padding: (most - most - log sum) * 0. */
        const lanes a = lanes_load_or(x + i, n - i, most);
        const lanes p = lanes_load_or(target + i, n - i, 0.0f);
        EACH (v, SUM_VECS) {
            const vec logp = vec_sub(vec_sub(a.v[v], vec_set(most)), log_sum);
            sum.v[v] = vec_add(sum.v[v], vec_mul(p.v[v], logp));
        }
    }
    return -lanes_sum(sum);
}

static void loss_index_backward(int64_t n, const float *x, int64_t target, float scale,
                                float *out) {
    softmax(1, n, x, NULL, out);
    const float picked = target < 0 || target >= n ? 0.0f : out[target];
    for (int64_t i = 0; i < n; i += LANES) {
        const size_t left = (size_t)(n - i);
        vec_store_n(out + i, left, vec_mul(vec_load_n(out + i, left), vec_set(scale)));
    }
    if (target >= 0 && target < n) out[target] = (picked - 1.0f) * scale;
}

static void loss_rows_backward(int64_t n, const float *x, const float *target, float scale,
                               float *out) {
    softmax(1, n, x, NULL, out);
    lanes sum = lanes_set(0.0f);
    for (int64_t i = 0; i < n; i += SUM_LANES) {
        const lanes p = lanes_load_or(target + i, n - i, 0.0f);
        EACH (v, SUM_VECS) sum.v[v] = vec_add(sum.v[v], p.v[v]);
    }
    const vec total = vec_set(lanes_sum(sum));
    for (int64_t i = 0; i < n; i += LANES) {
        const size_t left = (size_t)(n - i);
        const vec p = vec_mul(vec_load_n(out + i, left), total);
        const vec difference = vec_sub(p, vec_load_n(target + i, left));
        vec_store_n(out + i, left, vec_mul(difference, vec_set(scale)));
    }
}

/* ---- cross-entropy of few classes: LANES rows at once, transposed into the lanes of columns ---- */

#define FEW_CLASSES 64

/* x[i], lane r: element i of row r, zeros past the rows and classes that there are. */
INLINE void turn_rows(int64_t rows, int64_t n, const float *from, vec x[FEW_CLASSES]) {
    float padded[LANES * LANES];
    for (int64_t i = 0; i < n; i += LANES) {
        if (rows >= LANES && n - i >= LANES) {
            load_columns(x + i, from + i, n);
        } else {
            pad_block(padded, from + i, n, rows, n - i);
            load_columns(x + i, padded, LANES);
        }
    }
}

INLINE vec turned_max(int64_t n, const vec x[FEW_CLASSES]) {
    vec most = vec_set(-INFINITY);
    for (int64_t i = 0; i < n; i++) most = vec_maximum(most, x[i]);
    return most;
}

/* x becomes exp(x - most); returns the sums. */
INLINE vec turned_exp(int64_t n, vec most, vec x[FEW_CLASSES]) {
    partial_sums sums;
    partial_zero(&sums);
    for (int64_t i = 0; i < n; i++) {
        x[i] = vec_exp(vec_sub(x[i], most));
        partial_add(&sums, i, x[i]);
    }
    return partial_total(&sums);
}

static void losses(int64_t rows, int64_t n, const float *x, const int64_t *target, float *out) {
    if (n > FEW_CLASSES) {
        for (int64_t r = 0; r < rows; r++) out[r] = loss_index(n, x + r * n, target[r]);
        return;
    }
    for (int64_t first = 0; first < rows; first += LANES) {
        const int64_t count = rows - first < LANES ? rows - first : LANES;
        const float *from = x + first * n;
        float most[LANES], log_sum[LANES];
        vec turned[FEW_CLASSES];
        turn_rows(count, n, from, turned);
        const vec largest = turned_max(n, turned);
        vec_store(most, largest);
        vec_store(log_sum, vec_log(turned_exp(n, largest, turned)));
        for (int64_t r = 0; r < count; r++) {
            const int64_t t = target[first + r];
            const bool valid = t >= 0 && t < n;
            out[first + r] = valid ? -((from[r * n + t] - most[r]) - log_sum[r]) : 0.0f;
        }
    }
}

/* Rows of the classes' vectors, turned back. */
INLINE void turn_back(int64_t rows, int64_t n, const float *classes, float *out) {
    for (int64_t i = 0; i < n; i += LANES) {
        vec row[LANES];
        load_columns(row, classes + i * LANES, LANES);
        for (int64_t r = 0; r < rows; r++) vec_store_n(out + r * n + i, (size_t)(n - i), row[r]);
    }
}

static void losses_backward(int64_t rows, int64_t n, const float *x, const int64_t *target,
                            float scale, float *out) {
    if (n > FEW_CLASSES) {
        for (int64_t r = 0; r < rows; r++)
            loss_index_backward(n, x + r * n, target[r], scale, out + r * n);
        return;
    }
    float classes[FEW_CLASSES * LANES] = {0};
    for (int64_t first = 0; first < rows; first += LANES) {
        const int64_t count = rows - first < LANES ? rows - first : LANES;
        float chosen[LANES] = {0};
        for (int64_t r = 0; r < count; r++) {
            const int64_t t = target[first + r];
            chosen[r] = t >= 0 && t < n ? (float)t : -1.0f;
        }
        vec turned[FEW_CLASSES];
        turn_rows(count, n, x + first * n, turned);
        const vec sum = turned_exp(n, turned_max(n, turned), turned), wanted = vec_load(chosen);
        for (int64_t i = 0; i < n; i++) {
            const vec p = vec_div(turned[i], sum), one = vec_set(1.0f);
            const vec g = vec_select(vec_equal(wanted, vec_set((float)i)), vec_sub(p, one), p);
            store_halves(classes + i * LANES, vec_mul(g, vec_set(scale)));
        }
        turn_back(count, n, classes, out + first * n);
    }
}

const nacre_softmax_kernels NACRE_AT_LEVEL(nacre_softmax_kernels) = {
    .softmax = softmax,
    .log_softmax = log_softmax,
    .softmax_backward = softmax_backward,
    .log_softmax_backward = log_softmax_backward,
    .softmax_columns = softmax_columns,
    .log_softmax_columns = log_softmax_columns,
    .softmax_backward_columns = softmax_backward_columns,
    .log_softmax_backward_columns = log_softmax_backward_columns,
    .losses = losses,
    .losses_backward = losses_backward,
    .loss_rows = loss_rows,
    .loss_rows_backward = loss_rows_backward,
};
