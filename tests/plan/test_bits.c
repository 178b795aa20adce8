/* The bit contract: the same bits for 1, 2 and 7 threads, for a sample alone or in a batch, fused, unfused or eager,
   observed or not. Random graphs are the oracle's input. */
#include "support.h"

#include <math.h>
#include <nacre/nacre.h>
#include <stdlib.h>
#include <string.h>

#define NODES 24
#define ROWS 37
#define COLUMNS 53

typedef struct generator {
    uint64_t state;
} generator;

static int draw(generator *g, int bound) {
    g->state = g->state * 6364136223846793005u + 1442695040888963407u;
    return (int)((g->state >> 33) % (uint64_t)bound);
}

/* One more [ROWS, COLUMNS] value from those so far. */
static nacre_tensor *grow(generator *g, nacre_tensor **nodes, int count) {
    nacre_tensor *a = nodes[draw(g, count)], *b = nodes[draw(g, count)];
    switch (draw(g, 12)) {
    case 0:
        return nacre_add(a, b);
    case 1:
        return nacre_mul(a, b);
    case 2:
        return nacre_sub(a, nacre_sum(b, .axes = NACRE_AXES(0), .keepdims = true));
    case 3:
        return nacre_f_relu(nacre_sub_scalar(a, 0.25));
    case 4:
        return nacre_exp(nacre_minimum(a, nacre_full(NACRE_SCALAR, 1.0)));
    case 5:
        return nacre_maximum(a, nacre_max(b, .axes = NACRE_AXES(1), .keepdims = true));
    case 6: /* a product with everything that may fold into it */
        return nacre_f_relu(nacre_add(
            nacre_matmul(nacre_matmul(a, nacre_transpose(b, 0, 1)), nacre_mul_scalar(a, 0.01)),
            nacre_mean(b, .axes = NACRE_AXES(0))));
    case 7:
        return nacre_f_softmax(a, 1);
    case 8:
        return nacre_where(nacre_less(a, b), nacre_neg(a), b);
    case 9:
        return nacre_reshape(nacre_transpose(nacre_reshape(a, NACRE_SHAPE(COLUMNS, ROWS)), 0, 1),
                             NACRE_SHAPE(ROWS, COLUMNS));
    case 10:
        return nacre_div(a, nacre_add_scalar(nacre_mul(b, b), 1));
    default:
        return nacre_sqrt(nacre_add_scalar(nacre_mul(a, a), 0.5));
    }
}

typedef struct run {
    int threads;
    bool eager, observe, unfused;
} run;

/* Builds and evaluates the graph of a seed; the last node's elements. */
static void evaluate(uint64_t seed, run how, float *out) {
    assert_int_equal(nacre_set_threads(how.threads), NACRE_OK);
    nacre_set_eager(how.eager);
    nacre_set_fusion(!how.unfused);
    nacre_scope scope = nacre_scope_begin();
    generator g = {seed};
    nacre_tensor *nodes[NODES];
    for (int i = 0; i < NODES; i++) {
        nodes[i] =
            i < 3 ? nacre_rand(NACRE_SHAPE(ROWS, COLUMNS), .stream = seed * 8 + (unsigned)i + 1)
                  : grow(&g, nodes, i);
        if (how.observe && i % 5 == 4) {
            assert_int_equal(nacre_eval(nodes[i]), NACRE_OK);
        }
    }
    assert_int_equal(nacre_copy_to(nodes[NODES - 1], out, sizeof(float) * ROWS * COLUMNS),
                     NACRE_OK);
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    nacre_set_eager(false);
    nacre_set_fusion(true);
    assert_int_equal(nacre_set_threads(0), NACRE_OK);
}

static void assert_same_bits(const float *a, const float *b, size_t count, uint64_t seed) {
    for (size_t i = 0; i < count; i++) {
        if (memcmp(&a[i], &b[i], sizeof a[i]) != 0 && !(isnan(a[i]) && isnan(b[i]))) {
            fail_msg("seed %llu, element %zu: %.9g and %.9g", (unsigned long long)seed, i,
                     (double)a[i], (double)b[i]);
        }
    }
}

static void random_graphs_give_the_same_bits_however_they_run(void **state) {
    (void)state;
    static float first[ROWS * COLUMNS], other[ROWS * COLUMNS];
    const run ways[] = {{.threads = 2},
                        {.threads = 7},
                        {.threads = 1, .eager = true},
                        {.threads = 1, .observe = true},
                        {.threads = 1, .unfused = true}};
    for (uint64_t seed = 1; seed <= 40; seed++) {
        evaluate(seed, (run){.threads = 1}, first);
        for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
            evaluate(seed, ways[w], other);
            assert_same_bits(first, other, ROWS * COLUMNS, seed);
        }
    }
}

static nacre_tensor *network(nacre_tensor *x, nacre_tensor *const *w) {
    nacre_tensor *h = x;
    for (int i = 0; i < 3; i++) {
        h = nacre_f_linear(h, w[2 * i], w[2 * i + 1]);
        h = i < 2 ? nacre_f_relu(h) : nacre_f_softmax(h, 1);
    }
    return h;
}

static void a_sample_alone_gives_the_bits_it_gives_in_a_batch(void **state) {
    (void)state;
    const int64_t widths[] = {784, 128, 128, 10};
    nacre_tensor *w[6];
    for (int i = 0; i < 3; i++) {
        w[2 * i] = nacre_randn(NACRE_SHAPE(widths[i + 1], widths[i]));
        w[2 * i + 1] = nacre_randn(NACRE_SHAPE(widths[i + 1]));
    }
    nacre_tensor *x = nacre_rand(NACRE_SHAPE(131, 784));
    nacre_tensor *all = network(x, w);
    assert_int_equal(nacre_eval(all), NACRE_OK);
    const float *whole = nacre_data(all);
    const int64_t sizes[] = {1, 2, 13, 64, 100};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        for (int64_t at = 0; at + sizes[s] <= 131; at += 31) {
            nacre_tensor *part = network(nacre_slice(x, 0, at, at + sizes[s], 1), w);
            assert_same_bits(whole + at * 10, nacre_data(part), (size_t)sizes[s] * 10,
                             (uint64_t)at);
        }
    }
}

static void the_reference_backend_agrees_within_rounding(void **state) {
    (void)state;
    static float fast[ROWS * COLUMNS], exact[ROWS * COLUMNS];
    int compared = 0;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        evaluate(seed, (run){.threads = 1}, fast);
        assert_int_equal(nacre_set_backend(NACRE_BACKEND_REFERENCE), NACRE_OK);
        evaluate(seed, (run){.threads = 1}, exact);
        assert_int_equal(nacre_set_backend(NACRE_BACKEND_CPU), NACRE_OK);
        for (size_t i = 0; i < ROWS * COLUMNS; i++) {
            /* 24 ops deep, with sums of 53 and 37 terms: a few hundred roundings of 6e-8 each, and
               differences of nearly equal terms on the way. */
            double scale = fabs((double)exact[i]) + 1;
            if (isfinite(exact[i])) {
                assert_true(fabs((double)fast[i] - (double)exact[i]) <= 1e-3 * scale);
                compared++;
            }
        }
    }
    assert_true(compared > 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_graphs_give_the_same_bits_however_they_run),
        cmocka_unit_test(a_sample_alone_gives_the_bits_it_gives_in_a_batch),
        cmocka_unit_test(the_reference_backend_agrees_within_rounding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
