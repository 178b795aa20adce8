/* Tensors that no tensor goes into: constants, ranges, the identity, random numbers, given data. */
#include "ops/check.h"

#include <nacre/grad.h>

static void constants_are_what_was_asked_for(void **state) {
    (void)state;
    nacre_tensor *z = nacre_zeros(NACRE_SHAPE(2, 2));
    assert_int_equal(nacre_dtype_of(z), NACRE_F32);
    assert_int_equal(nacre_device_of(z), NACRE_CPU);
    expect_values(z, 0, 0, 0, 0);
    expect_values(nacre_ones(NACRE_SHAPE(3), .dtype = NACRE_I64), 1, 1, 1);
    expect_values(nacre_ones(NACRE_SCALAR, .dtype = NACRE_BOOL), 1);
    expect_values(nacre_full(NACRE_SHAPE(2), -2.5), -2.5, -2.5);
    expect_values(nacre_full(NACRE_SHAPE(2), -2.5, .dtype = NACRE_I32), -2, -2);
    expect_values(nacre_full(NACRE_SHAPE(2), 300, .dtype = NACRE_U8), 255, 255);
    expect_values(nacre_full(NACRE_SCALAR, NAN, .dtype = NACRE_F64), NAN);
    assert_int_equal(nacre_numel(nacre_zeros(NACRE_SHAPE(0, 5))), 0);
    assert_non_null(nacre_data(nacre_zeros(NACRE_SHAPE(0, 5))));
    expect_values(nacre_eye(3), 1, 0, 0, 0, 1, 0, 0, 0, 1);
    expect_values(nacre_eye(1, .dtype = NACRE_U8), 1);
    assert_int_equal(nacre_numel(nacre_eye(0)), 0);
}

static void ranges_have_the_elements_of_numpy(void **state) {
    (void)state;
    expect_values(nacre_arange(4), 0, 1, 2, 3);
    expect_values(nacre_arange(4, .start = 1), 1, 2, 3);
    expect_values(nacre_arange(2, .start = 0.5, .step = 0.5, .dtype = NACRE_F64), 0.5, 1, 1.5);
    expect_values(nacre_arange(0, .start = 3, .step = -1, .dtype = NACRE_I64), 3, 2, 1);
    assert_int_equal(nacre_numel(nacre_arange(0)), 0);
    assert_int_equal(nacre_numel(nacre_arange(5, .start = 9)), 0);
    /* numpy.arange(0, 1, 0.1) has 10 elements, arange(0, 1.05, 0.1) has 11 */
    assert_int_equal(nacre_numel(nacre_arange(1, .step = 0.1)), 10);
    assert_int_equal(nacre_numel(nacre_arange(1.05, .step = 0.1)), 11);
}

static void random_numbers_repeat_with_their_seed(void **state) {
    (void)state;
    static double a[CHECK_ELEMENTS], b[CHECK_ELEMENTS];
    nacre_seed(5);
    values_of(nacre_rand(NACRE_SHAPE(64)), a);
    values_of(nacre_rand(NACRE_SHAPE(64)), b);
    assert_true(memcmp(a, b, 64 * sizeof *a) != 0);
    nacre_seed(5);
    values_of(nacre_rand(NACRE_SHAPE(8, 8)), b);
    assert_memory_equal(a, b, 64 * sizeof *a);
    for (int k = 0; k < 64; k++) /* the documented function of seed, stream, draw and element */
        assert_true(a[k] == (double)nacre_random_f32(5, 0, 0, (uint64_t)k));
    values_of(nacre_rand(NACRE_SHAPE(7), .stream = 9, .dtype = NACRE_F64), a);
    values_of(nacre_rand(NACRE_SHAPE(7), .stream = 9, .dtype = NACRE_F64), b);
    assert_memory_equal(a, b, 7 * sizeof *a);
    for (int k = 0; k < 7; k++) assert_true(a[k] == nacre_random_f64(5, 9, 0, (uint64_t)k));
}

/* Counts around the blocks and tasks of the fast kernel, and a draw and a stream of 64 bits. */
static void uniform_numbers_are_those_of_their_definition(void **state) {
    (void)state;
    static double x[CHECK_ELEMENTS];
    const uint64_t stream = 0xFEDCBA9876543210u;
    nacre_seed(0x123456789ABCDEFu);
    for (int64_t n = 0; n < 40000; n = n < 70 ? n + 1 : n * 3 + 1) {
        values_of(nacre_rand(NACRE_SHAPE(n), .stream = stream), x);
        for (int64_t k = 0; k < n; k++)
            assert_true(x[k] ==
                        (double)nacre_random_f32(0x123456789ABCDEFu, stream, 0, (uint64_t)k));
    }
}

static void normal_numbers_are_normal(void **state) {
    (void)state;
    static double x[CHECK_ELEMENTS];
    enum { N = 40000 };
    nacre_seed(1);
    values_of(nacre_randn(NACRE_SHAPE(N)), x);
    double sum = 0, square = 0, fourth = 0;
    for (int k = 0; k < N; k++) {
        assert_true(x[k] == (double)(float)nacre_random_normal(1, 0, 0, (uint64_t)k));
        sum += x[k];
        square += x[k] * x[k];
        fourth += x[k] * x[k] * x[k] * x[k];
    }
    /* Five standard errors of each moment: 1, 2 and 96 over n. */
    assert_true(fabs(sum / N) < 5 * sqrt(1.0 / N));
    assert_true(fabs(square / N - 1) < 5 * sqrt(2.0 / N));
    assert_true(fabs(fourth / N - 3) < 5 * sqrt(96.0 / N));
}

static void drawing_twice_in_one_evaluation_draws_twice(void **state) {
    (void)state;
    nacre_tensor *a = nacre_rand(NACRE_SHAPE(4)), *b = nacre_rand(NACRE_SHAPE(4));
    double difference = nacre_item(nacre_max(nacre_sub(a, b)));
    assert_true(difference != 0);
}

static void data_is_copied_and_bool_is_0_or_1(void **state) {
    (void)state;
    float source[] = {1, 2, 3};
    nacre_tensor *t = nacre_from_data(source, NACRE_SHAPE(3));
    source[0] = 9;
    expect_values(t, 1, 2, 3);
    assert_string_equal(nacre_grad_fn(t), "");
    const uint8_t flags[] = {0, 1, 2, 255};
    nacre_tensor *b = nacre_from_data(flags, NACRE_SHAPE(4), .dtype = NACRE_BOOL);
    const uint8_t *stored = nacre_data(b);
    assert_memory_equal(stored, "\0\1\1\1", 4);
    assert_int_equal(nacre_numel(nacre_from_data(NULL, NACRE_SHAPE(0, 3))), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        on_both(constants_are_what_was_asked_for),
        on_both(ranges_have_the_elements_of_numpy),
        on_both(random_numbers_repeat_with_their_seed),
        on_both(uniform_numbers_are_those_of_their_definition),
        on_both(normal_numbers_are_normal),
        on_both(drawing_twice_in_one_evaluation_draws_twice),
        on_both(data_is_copied_and_bool_is_0_or_1),
    };
    return run_on_both("ops: creation", tests);
}
