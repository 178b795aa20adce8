/* The functions of the founding documents and the products of an MLP as plain loops, one thread, f32: the 1x of every
   speed-up. Their names and shapes are those of `nacre bench kernels`. */
#include "experiments.h"

#include "base/clock.h"

#include <math.h>
#include <nacre/nacre.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct work {
    const char *name;
    int64_t m, n, k;
} work;

/* A vector has its length in n. x [m,k], weight [n,k]. */
#define LINEAR(m, n, k)                                                                            \
    {"linear", m, n, k}, {"linear input gradient", m, n, k}, { "linear weight gradient", m, n, k }
static const work works[] = {
    {"dot", 0, 100000, 0},     {"sum", 0, 100000, 0},     {"mean", 0, 100000, 0},
    {"zeros", 0, 1000000, 0},  LINEAR(32, 128, 784),      LINEAR(64, 128, 784),
    LINEAR(128, 128, 784),     LINEAR(256, 128, 784),     LINEAR(64, 128, 128),
    {"matmul", 256, 256, 256}, {"matmul", 512, 512, 512}, {"matmul", 1024, 1024, 1024},
};
enum { WORKS = sizeof works / sizeof works[0], ARRAYS = 4, CHECKED_VOLUME = 1 << 23 };
/* Larger products take seconds and show nothing but that a cache is full. */
enum { PLAIN_VOLUME = 1 << 27 };

/* x, weight or second factor, bias and output gradient, result. */
typedef struct arrays {
    float *x, *w, *dy, *out;
    size_t size[ARRAYS];
} arrays;

static bool is(const work *w, const char *name) { return strcmp(w->name, name) == 0; }

static bool arrays_new(arrays *a, const work *w) {
    const size_t m = (size_t)w->m, n = (size_t)w->n, k = (size_t)w->k;
    const size_t sizes[ARRAYS] = {m ? m * k : n, m ? n * k : n, m * n + n,
                                  is(w, "linear weight gradient")  ? n * k
                                  : is(w, "linear input gradient") ? m * k
                                                                   : m * n + n};
    float **all[ARRAYS] = {&a->x, &a->w, &a->dy, &a->out};
    memcpy(a->size, sizes, sizeof sizes);
    bool good = true;
    for (int i = 0; i < ARRAYS; i++) {
        *all[i] = malloc(sizes[i] * sizeof(float));
        for (size_t j = 0; *all[i] && j < sizes[i]; j++) {
            (*all[i])[j] = 0.01f * (float)(j * (size_t)(37 + 2 * i) % 101) - 0.3f;
        }
        good = good && *all[i];
    }
    return good;
}

static void arrays_free(arrays *a) {
    free(a->x);
    free(a->w);
    free(a->dy);
    free(a->out);
}

static void plain_linear(const work *w, const arrays *a) {
    for (int64_t i = 0; i < w->m; i++) {
        for (int64_t o = 0; o < w->n; o++) {
            float sum = 0;
            for (int64_t k = 0; k < w->k; k++) {
                sum += a->x[i * w->k + k] * a->w[o * w->k + k];
            }
            sum += a->dy[o];
            a->out[i * w->n + o] = sum < 0 ? 0 : sum;
        }
    }
}

/* dx = dy weight */
static void plain_input_gradient(const work *w, const arrays *a) {
    for (int64_t i = 0; i < w->m; i++) {
        for (int64_t k = 0; k < w->k; k++) {
            float sum = 0;
            for (int64_t o = 0; o < w->n; o++) {
                sum += a->dy[i * w->n + o] * a->w[o * w->k + k];
            }
            a->out[i * w->k + k] = sum;
        }
    }
}

/* dW = dy^T x */
static void plain_weight_gradient(const work *w, const arrays *a) {
    for (int64_t o = 0; o < w->n; o++) {
        for (int64_t k = 0; k < w->k; k++) {
            a->out[o * w->k + k] = 0;
        }
        for (int64_t i = 0; i < w->m; i++) {
            for (int64_t k = 0; k < w->k; k++) {
                a->out[o * w->k + k] += a->dy[i * w->n + o] * a->x[i * w->k + k];
            }
        }
    }
}

static void plain_matmul(const work *w, const arrays *a) {
    for (int64_t i = 0; i < w->m; i++) {
        for (int64_t j = 0; j < w->n; j++) {
            float sum = 0;
            for (int64_t k = 0; k < w->k; k++) {
                sum += a->x[i * w->k + k] * a->w[k * w->n + j];
            }
            a->out[i * w->n + j] = sum;
        }
    }
}

static float plain_sum(const float *x, int64_t n) {
    float sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += x[i];
    }
    return sum;
}

static float plain_dot(const float *x, const float *y, int64_t n) {
    float sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += x[i] * y[i];
    }
    return sum;
}

static void plain_zeros(float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        x[i] = 0;
    }
}

static void run_plain(const work *w, const arrays *a) {
    if (is(w, "dot")) {
        a->out[0] = plain_dot(a->x, a->w, w->n);
    } else if (is(w, "sum")) {
        a->out[0] = plain_sum(a->x, w->n);
    } else if (is(w, "mean")) {
        a->out[0] = plain_sum(a->x, w->n) / (float)w->n;
    } else if (is(w, "zeros")) {
        plain_zeros(a->out, w->n);
    } else if (is(w, "linear")) {
        plain_linear(w, a);
    } else if (is(w, "linear input gradient")) {
        plain_input_gradient(w, a);
    } else if (is(w, "linear weight gradient")) {
        plain_weight_gradient(w, a);
    } else {
        plain_matmul(w, a);
    }
}

/* ---- the library's, to compare ---- */

static nacre_tensor *library(const work *w, const arrays *a) {
    if (is(w, "zeros")) {
        return nacre_zeros(NACRE_SHAPE(w->n));
    }
    const nacre_shape vector = NACRE_SHAPE(w->n);
    nacre_tensor *x = nacre_from_data(a->x, .shape = w->m ? NACRE_SHAPE(w->m, w->k) : vector);
    if (is(w, "sum")) {
        return nacre_sum(x);
    }
    if (is(w, "mean")) {
        return nacre_mean(x);
    }
    if (is(w, "dot") || is(w, "matmul")) {
        const nacre_shape shape = w->m ? NACRE_SHAPE(w->k, w->n) : vector;
        return nacre_matmul(x, nacre_from_data(a->w, .shape = shape));
    }
    nacre_tensor *weight = nacre_from_data(a->w, NACRE_SHAPE(w->n, w->k));
    nacre_tensor *dy = nacre_from_data(a->dy, NACRE_SHAPE(w->m, w->n));
    if (is(w, "linear input gradient")) {
        return nacre_matmul(dy, weight);
    }
    if (is(w, "linear weight gradient")) {
        return nacre_matmul(nacre_transpose(dy, 0, 1), x);
    }
    return nacre_f_relu(nacre_f_linear(x, weight, nacre_from_data(a->dy, vector)));
}

/* Partial sums are below 0.7 per term here, and each addition rounds by at most 6e-8 of them; in the plain loop as
   in the library's, the errors add up like a random walk. */
static int check(const work *w, const arrays *a) {
    run_plain(w, a);
    nacre_tensor *t = library(w, a);
    const float *ours = nacre_data(t);
    if (!ours) {
        return experiment_fail(w->name);
    }
    double terms = w->m == 0 ? (double)w->n : (double)(w->m > w->k ? w->m : w->k) + (double)w->n;
    double bound = (is(w, "mean") ? 0.7 : 0.7 * terms) * sqrt(terms) * 1.2e-7;
    for (int64_t i = 0; i < nacre_numel(t); i++) {
        if (!(fabs((double)ours[i] - (double)a->out[i]) <= bound)) {
            fprintf(stderr, "experiments: %s: %.9g at %lld, by plain loops %.9g\n", w->name,
                    (double)ours[i], (long long)i, (double)a->out[i]);
            return 1;
        }
    }
    return 0;
}

/* Until the time is over, once at least. */
static void time_work(const work *w, const arrays *a, double seconds, bool first) {
    experiment_times times = {0};
    const bool plain = w->m * w->n * w->k <= PLAIN_VOLUME;
    uint64_t end = nacre_clock_ns() + (uint64_t)(seconds * 1e9);
    do {
        uint64_t begin = nacre_clock_ns();
        if (plain) {
            run_plain(w, a);
        }
        experiment_note(&times, begin);
    } while (plain && nacre_clock_ns() < end);
    printf("%s{\"name\":\"%s\",\"m\":%lld,\"n\":%lld,\"k\":%lld,\"us_min\":", first ? "" : ",",
           w->name, (long long)w->m, (long long)w->n, (long long)w->k);
    if (plain) {
        printf("%.3f}", experiment_least(&times));
    } else {
        printf("null}");
    }
    experiment_times_free(&times);
}

int experiment_loops(const experiment *e) {
    int failed = 0;
    if (!e->check) {
        printf("{\"kernels\":[");
    }
    for (int i = 0; !failed && i < WORKS; i++) {
        const work *w = &works[i];
        if (e->check && w->m * w->n * w->k > CHECKED_VOLUME) {
            continue;
        }
        arrays a = {0};
        failed = arrays_new(&a, w) ? 0 : experiment_fail("no memory");
        if (!failed && e->check) {
            nacre_scope scope = nacre_scope_begin();
            failed = check(w, &a);
            nacre_scope_end(scope);
        } else if (!failed) {
            time_work(w, &a, e->seconds / WORKS, i == 0);
        }
        arrays_free(&a);
    }
    if (!e->check) {
        printf("]}\n");
    }
    return failed;
}
