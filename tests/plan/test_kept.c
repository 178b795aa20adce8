/* Weights that evaluations only read are kept in the form that their kernels read best: with the same bits, and never
   older than the weights. */
#include "support.h"

#include <nacre/nacre.h>
#include <string.h>

enum { MOST_ROWS = 33, IN = 70, OUT = 53 };

static nacre_tensor *parameter(nacre_shape shape, uint64_t stream) {
    nacre_tensor *t = nacre_rand(shape, .stream = stream);
    assert_int_equal(nacre_eval(t), NACRE_OK);
    return nacre_keep(t);
}

static void predict(nacre_tensor *w, nacre_tensor *b, int64_t rows, float *out) {
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *x = nacre_rand(NACRE_SHAPE(rows, IN), .stream = 7);
    assert_int_equal(nacre_eval(x), NACRE_OK);
    nacre_tensor *y = nacre_f_relu(nacre_f_linear(x, w, b));
    assert_int_equal(nacre_copy_to(y, out, sizeof(float) * (size_t)(rows * OUT)), NACRE_OK);
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
}

static void repeated_uses_have_the_same_bits(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *w = parameter(NACRE_SHAPE(OUT, IN), 1), *b = parameter(NACRE_SHAPE(OUT), 2);
    for (int64_t rows = 1; rows <= MOST_ROWS; rows += rows < 6 ? 1 : 9) {
        float first[MOST_ROWS * OUT], again[MOST_ROWS * OUT];
        assert_int_equal(nacre_assign(w, nacre_mul_scalar(w, 1.0)), NACRE_OK);
        predict(w, b, rows, first);
        for (int i = 0; i < 4; i++) {
            predict(w, b, rows, again);
            assert_memory_equal(again, first, sizeof(float) * (size_t)(rows * OUT));
        }
    }
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
}

static void an_assignment_is_seen_at_once(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *w = parameter(NACRE_SHAPE(OUT, IN), 1), *b = parameter(NACRE_SHAPE(OUT), 2);
    float before[OUT], after[OUT], fresh[OUT];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 3; i++) predict(w, b, 1, before);
        assert_int_equal(nacre_assign(w, nacre_mul_scalar(w, -0.5)), NACRE_OK);
        predict(w, b, 1, after);
        nacre_tensor *copy = nacre_mul_scalar(w, 1.0);
        assert_int_equal(nacre_eval(copy), NACRE_OK);
        predict(copy, b, 1, fresh);
        assert_memory_equal(after, fresh, sizeof after);
        assert_memory_not_equal(after, before, sizeof after);
    }
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
}

static void copied_data_are_seen_at_once(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *w = parameter(NACRE_SHAPE(OUT, IN), 1), *b = parameter(NACRE_SHAPE(OUT), 2);
    float values[OUT * IN], after[OUT], fresh[OUT];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 3; i++) predict(w, b, 1, after);
        for (int i = 0; i < OUT * IN; i++) values[i] = (float)(i % 7 + round);
        assert_int_equal(nacre_copy_from(w, values, sizeof values), NACRE_OK);
        predict(w, b, 1, after);
        predict(nacre_from_data(values, .shape = NACRE_SHAPE(OUT, IN)), b, 1, fresh);
        assert_memory_equal(after, fresh, sizeof after);
    }
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
}

/* A convolution directly and one by Winograd's algorithm, of few samples and of many. */
static void convolve(nacre_tensor *w, int64_t samples, float *out, size_t floats) {
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *x =
        nacre_rand(NACRE_SHAPE(samples, nacre_shape_of(w).dims[1], 6, 7), .stream = 9);
    assert_int_equal(nacre_eval(x), NACRE_OK);
    nacre_tensor *y = nacre_f_relu(nacre_f_conv2d(x, w, NULL, .padding = {1, 1}));
    assert_int_equal((int)nacre_numel(y), (int)floats);
    assert_int_equal(nacre_copy_to(y, out, sizeof(float) * floats), NACRE_OK);
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
}

static void convolutions_keep_their_weights_too(void **state) {
    (void)state;
    enum { OUTS = 9, PIXELS = 42, MOST_SAMPLES = 18 };
    static float before[MOST_SAMPLES * OUTS * PIXELS], now[MOST_SAMPLES * OUTS * PIXELS];
    nacre_scope scope = nacre_scope_begin();
    for (int64_t channels = 2; channels <= 8; channels += 6) {
        nacre_tensor *w = parameter(NACRE_SHAPE(OUTS, channels, 3, 3), 4);
        for (int64_t samples = 1; samples <= MOST_SAMPLES; samples += 17) {
            size_t floats = (size_t)(samples * OUTS * PIXELS);
            convolve(w, samples, before, floats);
            for (int i = 0; i < 4; i++) {
                convolve(w, samples, now, floats);
                assert_memory_equal(now, before, sizeof(float) * floats);
            }
            assert_int_equal(nacre_assign(w, nacre_mul_scalar(w, -0.5)), NACRE_OK);
            convolve(w, samples, now, floats);
            assert_memory_not_equal(now, before, sizeof(float) * floats);
            nacre_tensor *copy = nacre_mul_scalar(w, 1.0);
            assert_int_equal(nacre_eval(copy), NACRE_OK);
            convolve(copy, samples, before, floats);
            assert_memory_equal(now, before, sizeof(float) * floats);
        }
    }
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
}

/* Training between two validations fills a form anew where it was. */
static void overwriting_and_reading_again_allocates_nothing(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *w = parameter(NACRE_SHAPE(OUT, IN), 1), *b = parameter(NACRE_SHAPE(OUT), 2);
    float out[OUT];
    uint64_t allocations = 0;
    size_t live = 0;
    for (int round = 0; round < 8; round++) {
        if (round == 3) {
            allocations = nacre_memory().allocations;
            live = nacre_memory().live_bytes;
        }
        nacre_scope step = nacre_scope_begin();
        assert_int_equal(nacre_assign(w, nacre_mul_scalar(w, -0.5)), NACRE_OK);
        assert_int_equal(nacre_scope_end(step), NACRE_OK);
        for (int i = 0; i < 3; i++) predict(w, b, 1, out);
    }
    assert_int_equal(nacre_memory().allocations, allocations);
    assert_int_equal(nacre_memory().live_bytes, live);
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
}

/* Two views of one tensor want two forms; only one is kept. */
static void views_of_one_tensor_do_not_mix(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *both = parameter(NACRE_SHAPE(2 * OUT, IN), 3),
                 *b = parameter(NACRE_SHAPE(OUT), 2);
    float want[2][OUT], got[OUT];
    for (int half = 0; half < 2; half++) {
        nacre_tensor *w =
            nacre_mul_scalar(nacre_slice(both, 0, half * OUT, (half + 1) * OUT, 1), 1.0);
        assert_int_equal(nacre_eval(w), NACRE_OK);
        predict(w, b, 1, want[half]);
    }
    for (int i = 0; i < 6; i++) {
        nacre_tensor *w = nacre_slice(both, 0, i % 2 * OUT, (i % 2 + 1) * OUT, 1);
        predict(w, b, 1, got);
        assert_memory_equal(got, want[i % 2], sizeof got);
    }
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(repeated_uses_have_the_same_bits),
        cmocka_unit_test(an_assignment_is_seen_at_once),
        cmocka_unit_test(copied_data_are_seen_at_once),
        cmocka_unit_test(convolutions_keep_their_weights_too),
        cmocka_unit_test(overwriting_and_reading_again_allocates_nothing),
        cmocka_unit_test(views_of_one_tensor_do_not_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
