/* A memory limit: plans recompute what is cheap instead of keeping it, with the same bits, or refuse before any work,
   naming what is largest. */
#include "support.h"

#include <nacre/nacre.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LAYERS = 4, ROWS = 64, WIDTH = 96, COUNT = ROWS * WIDTH };

static nacre_tensor *x, *weights[LAYERS];

static int make_weights(void **state) {
    (void)state;
    x = nacre_rand(NACRE_SHAPE(ROWS, WIDTH));
    for (int i = 0; i < LAYERS; i++) {
        weights[i] = nacre_mul_scalar(
            nacre_randn(NACRE_SHAPE(WIDTH, WIDTH), .stream = (uint64_t)i + 1), 0.1);
        if (nacre_eval(weights[i]) != NACRE_OK) return -1;
        nacre_requires_grad(weights[i], true);
    }
    return nacre_eval(x) != NACRE_OK;
}

static int release_limit(void **state) {
    (void)state;
    nacre_set_memory_limit(0);
    return 0;
}

/* Products with gelu between: its gradient needs what it was given, the next product's what it gave. */
static nacre_tensor *record_loss(void) {
    nacre_tensor *h = x;
    for (int i = 0; i < LAYERS; i++)
        h = nacre_f_gelu(nacre_f_linear(h, weights[i], NULL), NACRE_GELU_TANH);
    return nacre_sum(nacre_mul(h, h));
}

/* The first weight's gradient, and what the plan took; an error leaves the gradient alone. */
static nacre_status run(float *gradient, size_t *peak) {
    nacre_scope scope = nacre_scope_begin();
    assert_int_equal(nacre_backward(record_loss()), NACRE_OK);
    nacre_tensor *wanted[LAYERS];
    for (int i = 0; i < LAYERS; i++) wanted[i] = nacre_grad(weights[i]);
    nacre_status status = nacre_eval_all(wanted, LAYERS);
    if (status == NACRE_OK) {
        assert_int_equal(nacre_copy_to(wanted[0], gradient, WIDTH * WIDTH * sizeof *gradient),
                         NACRE_OK);
        *peak = nacre_plan_statistics().last_peak_bytes;
    }
    for (int i = 0; i < LAYERS; i++) nacre_zero_grad(weights[i]);
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    return status;
}

static float first[WIDTH * WIDTH], other[WIDTH * WIDTH];

static void a_tighter_limit_recomputes_and_changes_no_bit(void **state) {
    (void)state;
    size_t whole, peak;
    assert_int_equal(run(first, &whole), NACRE_OK);
    nacre_set_memory_limit(whole);
    assert_int_equal(run(other, &peak), NACRE_OK);
    assert_int_equal(peak, whole);
    size_t value = COUNT * sizeof(float);
    nacre_set_memory_limit(whole - 2 * value);
    assert_int_equal(run(other, &peak), NACRE_OK);
    assert_true(peak <= whole - 2 * value);
    assert_memory_equal(first, other, sizeof first);
}

static void the_explanation_says_what_is_repeated(void **state) {
    (void)state;
    size_t whole;
    assert_int_equal(run(first, &whole), NACRE_OK);
    nacre_set_memory_limit(whole - 2 * COUNT * sizeof(float));
    nacre_scope scope = nacre_scope_begin();
    assert_int_equal(nacre_backward(record_loss()), NACRE_OK);
    nacre_explanation *e = nacre_explain(nacre_grad(weights[0]));
    assert_non_null(e);
    size_t repeated = 0;
    for (size_t i = 0; i < e->count; i++)
        repeated += strncmp(e->steps[i].kernel, "recompute ", 10) == 0;
    assert_true(repeated >= 2 && e->recomputed == repeated);
    assert_true(e->peak_bytes <= whole - 2 * COUNT * sizeof(float));
    nacre_explanation_free(e);
    for (int i = 0; i < LAYERS; i++) nacre_zero_grad(weights[i]);
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
}

static void a_limit_that_cannot_be_met_is_refused_before_any_work(void **state) {
    (void)state;
    size_t whole, peak = 0;
    assert_int_equal(run(first, &whole), NACRE_OK);
    memcpy(other, first, sizeof first);
    nacre_tensor *counter = nacre_full(NACRE_SCALAR, 1);
    assert_int_equal(nacre_eval(counter), NACRE_OK);
    nacre_set_memory_limit(1000);
    assert_int_equal(
        nacre_assign(counter, nacre_sum(nacre_f_gelu(nacre_matmul(x, weights[0]), NACRE_GELU_ERF))),
        NACRE_OK);
    assert_int_equal(nacre_eval(counter), NACRE_OUT_OF_MEMORY);
    const char *message = nacre_error_message();
    assert_non_null(strstr(message, "the limit is 1000"));
    /* Results of one size are told apart by the lines and the steps that make them. */
    assert_non_null(strstr(message, "[64,96] at test_budget.c:"));
    assert_non_null(strstr(message, " in step 1 (24576 bytes)"));
    nacre_set_memory_limit(0);
    assert_true(nacre_item(counter) == 1.0);
    assert_int_equal(run(other, &peak), NACRE_OK);
    assert_memory_equal(first, other, sizeof first);
}

/* A plan whose one step writes to its result needs memory for nothing but its kernel's own. */
static void a_refusal_names_what_a_kernel_works_in(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *a = nacre_ones(NACRE_SHAPE(64, 784)), *b = nacre_ones(NACRE_SHAPE(128, 784));
    nacre_tensor *both[] = {a, b};
    assert_int_equal(nacre_eval_all(both, 2), NACRE_OK);
    nacre_tensor *y = nacre_matmul(a, nacre_transpose(b, 0, 1));
    nacre_explanation *e = nacre_explain(y);
    assert_non_null(e);
    size_t needed = e->peak_bytes;
    assert_true(e->count == 1 && e->steps[0].offset == -1);
    nacre_explanation_free(e);
    if (needed > 1) { /* this level packs an operand */
        nacre_set_memory_limit(needed - 1);
        assert_null(nacre_explain(y));
        const char *named = strstr(
            nacre_error_message(),
            "largest at its peak (step 1 of 1): scratch of matmul [64,128] at test_budget.c:");
        assert_true(named && strstr(named, " in step 1 ("));
    }
    nacre_set_memory_limit(0);
    nacre_error_clear();
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
}

static void every_limit_is_kept_or_refused(void **state) {
    (void)state;
    size_t whole, peak = 0;
    assert_int_equal(run(first, &whole), NACRE_OK);
    int kept = 0, refused = 0;
    for (size_t limit = whole; limit > whole / 4; limit -= whole / 24) {
        nacre_set_memory_limit(limit);
        if (run(other, &peak) == NACRE_OK) {
            assert_true(peak <= limit);
            assert_memory_equal(first, other, sizeof first);
            assert_int_equal(refused, 0); /* what fits once fits with more room */
            kept++;
        } else {
            assert_int_equal(nacre_error_code(), NACRE_OUT_OF_MEMORY);
            refused++;
        }
    }
    assert_true(kept > 2 && refused > 2);
}

/* ---- convolutions and norms ---- */

enum { BLOCKS = 6, SAMPLES = 16, CHANNELS = 8, SIDE = 12, TAPS = CHANNELS * CHANNELS * 9 };
static const size_t image_bytes = sizeof(float) * SAMPLES * CHANNELS * SIDE * SIDE;

static nacre_tensor *images, *filters[BLOCKS], *ones, *zeros;

static int make_filters(void **state) {
    (void)state;
    images = nacre_randn(NACRE_SHAPE(SAMPLES, CHANNELS, SIDE, SIDE));
    ones = nacre_full(NACRE_SHAPE(CHANNELS), 1);
    zeros = nacre_full(NACRE_SHAPE(CHANNELS), 0);
    nacre_tensor *all[BLOCKS + 3] = {images, ones, zeros};
    for (int i = 0; i < BLOCKS; i++)
        all[i + 3] = filters[i] =
            nacre_randn(NACRE_SHAPE(CHANNELS, CHANNELS, 3, 3), .stream = (uint64_t)i + 20);
    if (nacre_eval_all(all, BLOCKS + 3) != NACRE_OK) return -1;
    for (int i = 0; i < BLOCKS; i++) nacre_requires_grad(filters[i], true);
    return 0;
}

static nacre_tensor *record_blocks(void) {
    nacre_tensor *h = images;
    for (int i = 0; i < BLOCKS; i++) {
        nacre_tensor *y = nacre_f_conv2d(h, filters[i], NULL, .padding = {1, 1});
        h = nacre_f_relu(nacre_f_batch_norm(y, ones, zeros));
    }
    return nacre_mean(nacre_mul(h, h));
}

static size_t run_blocks(float *gradient) {
    nacre_scope scope = nacre_scope_begin();
    assert_int_equal(nacre_backward(record_blocks()), NACRE_OK);
    nacre_tensor *wanted[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) wanted[i] = nacre_grad(filters[i]);
    assert_int_equal(nacre_eval_all(wanted, BLOCKS), NACRE_OK);
    size_t peak = nacre_plan_statistics().last_peak_bytes;
    assert_int_equal(nacre_copy_to(wanted[0], gradient, TAPS * sizeof *gradient), NACRE_OK);
    for (int i = 0; i < BLOCKS; i++) nacre_zero_grad(filters[i]);
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    return peak;
}

/* Steps of the plan of a gradient that run again; none of them a convolution, which is not cheap. */
static size_t count_repeated_norms(void) {
    nacre_scope scope = nacre_scope_begin();
    assert_int_equal(nacre_backward(record_blocks()), NACRE_OK);
    nacre_explanation *e = nacre_explain(nacre_grad(filters[0]));
    assert_non_null(e);
    size_t repeated = 0;
    for (size_t i = 0; i < e->count; i++) {
        if (strncmp(e->steps[i].kernel, "recompute ", 10) != 0) continue;
        assert_non_null(strstr(e->steps[i].kernel, "norm")); /* what is repeated is named */
        assert_null(strstr(e->steps[i].shapes, "[8,8,3,3]"));
        repeated++;
    }
    nacre_explanation_free(e);
    for (int i = 0; i < BLOCKS; i++) nacre_zero_grad(filters[i]);
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    return repeated;
}

/* Backward reads what each norm gave and what it was given: half of these can be made again from the others. */
static void norms_are_repeated_with_the_same_bits(void **state) {
    (void)state;
    float kept[TAPS], again[TAPS];
    size_t whole = run_blocks(kept);
    assert_true(whole > (2 * BLOCKS - 2) * image_bytes);
    size_t limit = whole - (BLOCKS - 2) * image_bytes;
    nacre_set_memory_limit(limit);
    assert_true(run_blocks(again) <= limit);
    assert_memory_equal(kept, again, sizeof kept);
    assert_true(count_repeated_norms() > 0);
}

/* Evaluated before the backward pass, what a gradient will read is stored beside the arena, which holds
   what is passed from step to step alone. */
static void what_is_stored_for_a_gradient_leaves_the_arena_at_once(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    assert_int_equal(nacre_eval(record_blocks()), NACRE_OK);
    assert_true(nacre_plan_statistics().last_peak_bytes < (BLOCKS + 2) * image_bytes);
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
}

static int make_all(void **state) { return make_weights(state) || make_filters(state); }

/* There is a bound that no limit on address space moves: only smaller shapes help. */
static void more_than_any_plan_may_take_is_refused_before_any_work(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *image = nacre_ones(NACRE_SHAPE(5, 1, 28, 28));
    nacre_tensor *kernel = nacre_ones(NACRE_SHAPE(8, 1, 3, 3));
    assert_int_equal(nacre_eval_all((nacre_tensor *[]){image, kernel}, 2), NACRE_OK);
    nacre_tensor *y = nacre_f_conv2d(image, kernel, NULL, .padding = {1000000, 1000000});
    assert_int_equal(nacre_eval(nacre_sum(y)), NACRE_OUT_OF_MEMORY);
    const char *message = nacre_error_message();
    assert_non_null(strstr(message, "more than the 256 GiB that any plan may take; largest"));
    assert_non_null(strstr(message, "[5,8,2000026,2000026]"));
    assert_non_null(strstr(message, "make the batch or shapes smaller"));
    assert_null(strstr(message, "ulimit"));
    nacre_scope_end(scope);
    assert_int_equal(nacre_error_code(), NACRE_OUT_OF_MEMORY);
    assert_float_equal(nacre_item(nacre_sum(nacre_ones(NACRE_SHAPE(3)))), 3, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_tighter_limit_recomputes_and_changes_no_bit, release_limit),
        cmocka_unit_test_teardown(the_explanation_says_what_is_repeated, release_limit),
        cmocka_unit_test_teardown(a_limit_that_cannot_be_met_is_refused_before_any_work,
                                  release_limit),
        cmocka_unit_test_teardown(a_refusal_names_what_a_kernel_works_in, release_limit),
        cmocka_unit_test_teardown(every_limit_is_kept_or_refused, release_limit),
        cmocka_unit_test_teardown(norms_are_repeated_with_the_same_bits, release_limit),
        cmocka_unit_test(what_is_stored_for_a_gradient_leaves_the_arena_at_once),
        cmocka_unit_test(more_than_any_plan_may_take_is_refused_before_any_work),
    };
    return cmocka_run_group_tests(tests, make_all, NULL);
}
