/* Layer norm and its gradients, a row at a time: a row is read from memory once and from L1 after that. Sums
   along rows have the 16 lanes and the tree of all sums. */
#include "backend/cpu/kernels.h"
#include "sum.h"

typedef struct row_moments {
    float mean, rstd;
} row_moments;

/* Variance from the centred row: sums of squares would lose what mean and spread differ by. */
INLINE row_moments moments_of(int64_t n, float epsilon, const float *x) {
    lanes sum = lanes_set(0.0f);
    for (int64_t i = 0; i < n; i += SUM_LANES) {
        const lanes a = lanes_load_or(x + i, n - i, 0.0f);
        EACH (v, SUM_VECS) sum.v[v] = vec_add(sum.v[v], a.v[v]);
    }
    const float mean = lanes_sum(sum) / (float)n;
    lanes squares = lanes_set(0.0f);
    for (int64_t i = 0; i < n; i += SUM_LANES) {
        const lanes a = lanes_load_or(x + i, n - i, mean);
        EACH (v, SUM_VECS) {
            const vec c = vec_sub(a.v[v], vec_set(mean));
            squares.v[v] = vec_fma(c, c, squares.v[v]);
        }
    }
    const float variance = lanes_sum(squares) / (float)n;
    const vec root = vec_sqrt(vec_set(variance + epsilon));
    return (row_moments){mean, vec_first(vec_div(vec_set(1.0f), root))};
}

/* weight, bias: NULL where there is none. */
static void forward(int64_t rows, int64_t n, float epsilon, const float *x, const float *weight,
                    const float *bias, float *out) {
    for (int64_t r = 0; r < rows; r++, x += n, out += n) {
        const row_moments m = moments_of(n, epsilon, x);
        const vec mean = vec_set(m.mean), rstd = vec_set(m.rstd);
        for (int64_t i = 0; i < n; i += LANES) {
            const size_t left = (size_t)(n - i);
            vec y = vec_mul(vec_sub(vec_load_n(x + i, left), mean), rstd);
            if (weight) y = vec_mul(y, vec_load_n(weight + i, left));
            if (bias) y = vec_add(y, vec_load_n(bias + i, left));
            vec_store_n(out + i, left, y);
        }
    }
}

/* sum(d) and sum(d n), d = dy weight, and the row's share of dweight and dbias, which are added to. */
INLINE void backward_sums(int64_t n, row_moments m, const float *x, const float *dy,
                          const float *weight, float *dweight, float *dbias, float *sum_d,
                          float *sum_dn) {
    lanes first = lanes_set(0.0f), second = lanes_set(0.0f);
    for (int64_t i = 0; i < n; i += SUM_LANES) {
        const int64_t left = n - i;
        const lanes a = lanes_load_or(x + i, left, m.mean), b = lanes_load_or(dy + i, left, 0.0f);
        lanes w = lanes_set(1.0f), to_weight = lanes_load_or(dweight + i, left, 0.0f),
              to_bias = lanes_load_or(dbias + i, left, 0.0f);
        if (weight) w = lanes_load_or(weight + i, left, 0.0f);
        EACH (v, SUM_VECS) {
            const vec normal = vec_mul(vec_sub(a.v[v], vec_set(m.mean)), vec_set(m.rstd));
            const vec d = weight ? vec_mul(b.v[v], w.v[v]) : b.v[v];
            first.v[v] = vec_add(first.v[v], d);
            second.v[v] = vec_fma(d, normal, second.v[v]);
            to_weight.v[v] = vec_fma(b.v[v], normal, to_weight.v[v]);
            to_bias.v[v] = vec_add(to_bias.v[v], b.v[v]);
        }
        lanes_store_n(dweight + i, left, to_weight);
        lanes_store_n(dbias + i, left, to_bias);
    }
    *sum_d = lanes_sum(first);
    *sum_dn = lanes_sum(second);
}

static void backward(int64_t rows, int64_t n, float epsilon, const float *x, const float *dy,
                     const float *weight, float *dx, float *dweight, float *dbias) {
    for (int64_t r = 0; r < rows; r++, x += n, dy += n, dx += n) {
        const row_moments m = moments_of(n, epsilon, x);
        float sum_d, sum_dn;
        backward_sums(n, m, x, dy, weight, dweight, dbias, &sum_d, &sum_dn);
        const vec mean = vec_set(m.mean), rstd = vec_set(m.rstd);
        const vec mean_d = vec_set(sum_d / (float)n), mean_dn = vec_set(sum_dn / (float)n);
        for (int64_t i = 0; i < n; i += LANES) {
            const size_t left = (size_t)(n - i);
            const vec normal = vec_mul(vec_sub(vec_load_n(x + i, left), mean), rstd);
            vec d = vec_load_n(dy + i, left);
            if (weight) d = vec_mul(d, vec_load_n(weight + i, left));
            d = vec_sub(vec_sub(d, mean_d), vec_mul(normal, mean_dn));
            vec_store_n(dx + i, left, vec_mul(rstd, d));
        }
    }
}

const nacre_layer_norm_kernels NACRE_AT_LEVEL(nacre_layer_norm_kernels) = {
    .forward = forward,
    .backward = backward,
};
