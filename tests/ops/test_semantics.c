/* What the ops promise at the edges: NaN, ties, integers, zero, masked classes. On both backends. */
#include "ops/check.h"

#include <nacre/grad.h>

#define F32(...)                                                                                   \
    nacre_from_data(((const float[]){__VA_ARGS__}),                                                \
                    NACRE_SHAPE(sizeof((const float[]){__VA_ARGS__}) / sizeof(float)))
#define F64(...)                                                                                   \
    nacre_from_data(((const double[]){__VA_ARGS__}),                                               \
                    NACRE_SHAPE(sizeof((const double[]){__VA_ARGS__}) / sizeof(double)),           \
                    .dtype = NACRE_F64)
#define I32(...)                                                                                   \
    nacre_from_data(((const int32_t[]){__VA_ARGS__}),                                              \
                    NACRE_SHAPE(sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t)),         \
                    .dtype = NACRE_I32)
#define I64(...)                                                                                   \
    nacre_from_data(((const int64_t[]){__VA_ARGS__}),                                              \
                    NACRE_SHAPE(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),         \
                    .dtype = NACRE_I64)
#define U8(...)                                                                                    \
    nacre_from_data(((const uint8_t[]){__VA_ARGS__}),                                              \
                    NACRE_SHAPE(sizeof((const uint8_t[]){__VA_ARGS__})), .dtype = NACRE_U8)

/* Gradients of sum(y) with respect to one leaf. */
static nacre_tensor *gradient_of(nacre_tensor *y, nacre_tensor *leaf) {
    nacre_tensor *g = NULL;
    if (nacre_gradients(nacre_sum(y), &leaf, 1, &g)) fail_msg("%s", nacre_error_message());
    return g;
}

static void nan_is_not_hidden(void **state) {
    (void)state;
    nacre_tensor *a = F32(NAN, 1, NAN), *b = F32(1, NAN, NAN);
    expect_values(nacre_maximum(a, b), NAN, NAN, NAN);
    expect_values(nacre_minimum(a, b), NAN, NAN, NAN);
    expect_values(nacre_max(a), NAN);
    expect_values(nacre_min(a), NAN);
    expect_values(nacre_f_relu(a), NAN, 1, NAN);
    expect_values(nacre_equal(a, a), 0, 1, 0);
    expect_values(nacre_not_equal(a, a), 1, 0, 1);
    expect_values(nacre_less_equal(a, b), 0, 0, 0);
    expect_values(nacre_argmax(F32(1, 5, NAN, 7, NAN)), 2);
    expect_values(nacre_argmin(F32(1, NAN, 0)), 1);
    expect_values(nacre_f_softmax(F32(1, NAN), 0), NAN, NAN);
}

static void first_of_equal_extremes_is_found(void **state) {
    (void)state;
    expect_values(nacre_argmax(F32(1, 3, 3, 0)), 1);
    expect_values(nacre_argmin(I32(2, 0, 0)), 1);
    expect_values(nacre_argmax(F32(-INFINITY, -INFINITY)), 0);
    nacre_tensor *grid = nacre_reshape(F32(1, 9, 2, 8, 3, 7), NACRE_SHAPE(2, 3));
    expect_values(nacre_argmax(grid), 1);
    expect_values(nacre_argmax(grid, .axes = NACRE_AXES(0)), 1, 0, 1);
    expect_values(nacre_argmax(grid, .axes = NACRE_AXES(-1)), 1, 0);
    /* Into the flattened tensor as its reader sees it, not as memory holds it. */
    expect_values(nacre_argmin(nacre_transpose(grid, 0, 1)), 0);
    expect_values(nacre_argmax(nacre_transpose(grid, 0, 1)), 2);
}

static void empty_reductions_have_their_neutral_values(void **state) {
    (void)state;
    nacre_tensor *none = nacre_zeros(NACRE_SHAPE(0));
    expect_values(nacre_sum(none), 0);
    expect_values(nacre_mean(none), NAN);
    expect_values(nacre_sum(nacre_zeros(NACRE_SHAPE(2, 0)), .axes = NACRE_AXES(1)), 0, 0);
    expect_values(nacre_matmul(nacre_zeros(NACRE_SHAPE(2, 0)), nacre_zeros(NACRE_SHAPE(0, 1))), 0,
                  0);
}

static void the_mean_of_equal_numbers_is_that_number(void **state) {
    (void)state;
    for (int n = 1; n < 100; n++) {
        nacre_tensor *t = nacre_full(((nacre_shape){.ndim = 1, .dims = {n}}), 3);
        expect_values(nacre_mean(t), 3);
    }
}

static void integers_wrap_and_never_trap(void **state) {
    (void)state;
    expect_values(nacre_div(I32(7, -7, 7, 5), I32(2, 2, -2, 0)), 3, -3, -3, 0);
    expect_values(nacre_div(I32(INT32_MIN), I32(-1)), INT32_MIN);
    assert_true(nacre_item_i64(nacre_div(I64(INT64_MIN), I64(-1))) == INT64_MIN);
    assert_true(nacre_item_i64(nacre_add(I64(INT64_MAX), I64(1))) == INT64_MIN);
    assert_true(nacre_item_i64(nacre_mul(I64(INT64_MAX), I64(2))) == -2);
    assert_true(nacre_item_i64(nacre_neg(I64(INT64_MIN))) == INT64_MIN);
    assert_true(nacre_item_i64(nacre_sum(I64(INT64_MAX, 1))) == INT64_MIN);
    expect_values(nacre_add(I32(INT32_MAX), I32(1)), INT32_MIN);
    expect_values(nacre_mul(U8(200), U8(2)), 144);
    expect_values(nacre_sub(U8(1), U8(2)), 255);
    expect_values(nacre_pow(I32(2, -2, 3, 0, 1, -1, 2, 0), I32(3, 3, 0, 0, -1, -3, -1, -1)), 8, -8,
                  1, 1, 1, -1, 0, 0);
    /* 2^53 + 1 is no double: i64 stays exact. */
    assert_true(nacre_item_i64(nacre_add(I64(9007199254740993), I64(0))) == 9007199254740993);
    assert_true(nacre_item_i64(nacre_max(I64(9007199254740993, 9007199254740992))) ==
                9007199254740993);
    assert_true(nacre_item_i64(nacre_argmax(I64(9007199254740992, 9007199254740993))) == 1);
    assert_true(nacre_item(nacre_less(I64(9007199254740992), I64(9007199254740993))) == 1);
}

static void sums_of_integers_and_bool_count_in_i64(void **state) {
    (void)state;
    nacre_tensor *bytes = nacre_full(NACRE_SHAPE(1000), 255, .dtype = NACRE_U8);
    assert_int_equal(nacre_dtype_of(nacre_sum(bytes)), NACRE_I64);
    expect_values(nacre_sum(bytes), 255000);
    nacre_tensor *hits = nacre_equal(I32(1, 2, 3), I32(1, 0, 3));
    expect_values(nacre_sum(hits), 2);
}

static void casts_truncate_clamp_and_keep_truth(void **state) {
    (void)state;
    expect_values(nacre_cast(F32(1.9f, -1.9f, 3e9f, -3e9f, NAN), NACRE_I32), 1, -1, INT32_MAX,
                  INT32_MIN, 0);
    expect_values(nacre_cast(F32(-5, 300, INFINITY), NACRE_U8), 0, 255, 255);
    expect_values(nacre_cast(F32(0, -0.0f, 0.25f, NAN), NACRE_BOOL), 0, 0, 1, 1);
    expect_values(nacre_cast(I32(300, -1), NACRE_U8), 44, 255);
    expect_values(nacre_float(I64(3, -4)), 3, -4);
    assert_int_equal(nacre_dtype_of(nacre_int(F32(1))), NACRE_I32);
    nacre_tensor *same = F32(1, 2);
    expect_values(nacre_cast(same, NACRE_F32), 1, 2);
    expect_values(nacre_to_device(same, NACRE_CPU), 1, 2);
}

static void gradients_pass_through_casts(void **state) {
    (void)state;
    nacre_tensor *x = F32(1, 2);
    nacre_requires_grad(x, true);
    nacre_tensor *y = nacre_mul(nacre_cast(x, NACRE_F64), F64(3, 5));
    nacre_tensor *g = gradient_of(y, x);
    assert_int_equal(nacre_dtype_of(g), NACRE_F32);
    expect_values(g, 3, 5);
    assert_false(nacre_has_requires_grad(nacre_cast(x, NACRE_I64)));
}

static void ties_share_the_gradient(void **state) {
    (void)state;
    nacre_tensor *x = F64(3, 1, 3, 3);
    nacre_requires_grad(x, true);
    expect_values(gradient_of(nacre_max(x), x), 1.0 / 3, 0, 1.0 / 3, 1.0 / 3);
    expect_values(gradient_of(nacre_min(x), x), 0, 1, 0, 0);
    nacre_tensor *other = F64(3, 2, 0, 3);
    expect_values(gradient_of(nacre_maximum(x, other), x), 0.5, 0, 1, 0.5);
    expect_values(gradient_of(nacre_minimum(x, other), x), 0.5, 1, 0, 0.5);
    expect_values(gradient_of(nacre_f_relu(nacre_sub(x, other)), x), 0, 0, 1, 0);
}

static void powers_of_zero_and_less_have_finite_gradients(void **state) {
    (void)state;
    nacre_tensor *a = F64(0, 0, 0, -2, 4), *b = F64(0, 1, 2, 2, 0.5);
    nacre_requires_grad(a, true);
    nacre_requires_grad(b, true);
    expect_values(nacre_pow(a, b), 1, 0, 0, 4, 2);
    expect_values(gradient_of(nacre_pow(a, b), a), 0, 1, 0, -4, 0.25);
    expect_values(gradient_of(nacre_pow(a, b), b), 0, 0, 0, 0, 2 * log(4));
}

static void an_input_used_twice_gets_both_gradients(void **state) {
    (void)state;
    nacre_tensor *x = F64(2, 3), *y = F64(5, 7);
    nacre_requires_grad(x, true);
    nacre_requires_grad(y, true);
    nacre_tensor *z = nacre_add(nacre_mul(x, y), x);
    expect_values(gradient_of(z, x), 6, 8);
    expect_values(gradient_of(z, y), 2, 3);
    expect_values(gradient_of(nacre_mul(x, x), x), 4, 6);
}

static void large_logits_do_not_overflow(void **state) {
    (void)state;
    nacre_tensor *x = F32(1000, 999, -1000);
    static double y[CHECK_ELEMENTS];
    values_of(nacre_f_log_softmax(x, 0), y);
    double rest = log1p(exp(-1));
    assert_true(fabs(y[0] + rest) < 1e-6 && fabs(y[1] + 1 + rest) < 1e-6);
    assert_true(fabs(y[2] + 2000 + rest) < 1e-3);
    values_of(nacre_f_softmax(x, 0), y);
    assert_true(fabs(y[0] + y[1] - 1) < 1e-6 && y[2] == 0);
}

/* Far from 0 gelu is x or nothing, its slope 1 or 0 and its bend 0; the tails themselves are below 1e-35. */
static void gelu_far_out_is_its_limit(void **state) {
    (void)state;
    static const double far[] = {25, 40, 41, 100, 1e4, 1e19, 1e38, INFINITY};
    enum { COUNT = 2 * sizeof far / sizeof far[0] };
    static double x[COUNT], y[CHECK_ELEMENTS], slope[CHECK_ELEMENTS], bend[CHECK_ELEMENTS];
    for (int i = 0; i < COUNT; i++) x[i] = i % 2 ? far[i / 2] : -far[i / 2];
    for (int k = 0; k < 4; k++) {
        nacre_dtype dtype = k / 2 ? NACRE_F64 : NACRE_F32;
        nacre_tensor *t = tensor_of(x, &(nacre_shape){.ndim = 1, .dims = {COUNT}}, dtype);
        nacre_requires_grad(t, true);
        nacre_tensor *a = nacre_f_gelu(t, (nacre_gelu_form)(k % 2)), *g = gradient_of(a, t);
        values_of(a, y);
        values_of(g, slope);
        values_of(gradient_of(g, t), bend);
        for (int i = 0; i < COUNT; i++)
            if (!close_to(y[i], i % 2 ? x[i] : 0, i % 2 ? 1e-7 : 1e-35, i % 2 ? x[i] : 1) ||
                !close_to(slope[i], i % 2, 1e-35, 1) || !close_to(bend[i], 0, 1e-35, 1))
                fail_msg("form %d, %s, x = %g: %g, slope %g, bend %g", k % 2,
                         nacre_dtype_name(dtype), x[i], y[i], slope[i], bend[i]);
        assert_true(y[COUNT - 2] == 0); /* of -infinity, exactly */
    }
}

/* Where exp(-2 u) overflows, from -21.2 down in f64 and from -10.4 in f32: no NaN on either side. */
static void gelu_has_a_slope_everywhere(void **state) {
    (void)state;
    static double x[1001], slope[CHECK_ELEMENTS];
    for (int i = 0; i < 1001; i++) x[i] = (i - 500) * 0.1;
    for (int k = 0; k < 4; k++) {
        nacre_shape shape = {.ndim = 1, .dims = {1001}};
        nacre_tensor *t = tensor_of(x, &shape, k / 2 ? NACRE_F64 : NACRE_F32);
        nacre_requires_grad(t, true);
        values_of(gradient_of(nacre_f_gelu(t, (nacre_gelu_form)(k % 2)), t), slope);
        /* The slope's extremes are -0.13 and 1.13, and beyond 10 it is flat. */
        for (int i = 0; i < 1001; i++) {
            assert_true(slope[i] > -0.14 && slope[i] < 1.14);
            if (fabs(x[i]) > 10) assert_true(close_to(slope[i], x[i] > 0, 1e-15, 1));
        }
    }
}

/* Of any size, as long as they are finite: 0 times NaN would be NaN. */
static void masked_numbers_have_no_influence(void **state) {
    (void)state;
    enum { WIDTH = 4, MOST = 40 };
    static double x[MOST * WIDTH], first[CHECK_ELEMENTS], second[CHECK_ELEMENTS];
    for (int n = 2; n <= MOST; n += 19) {
        nacre_shape shape = {.ndim = 3, .dims = {1, n, WIDTH}};
        for (int i = 0; i < n * WIDTH; i++) x[i] = (i % 7) * 0.25 - 0.75;
        nacre_tensor *q = tensor_of(x, &shape, NACRE_F32);
        values_of(nacre_f_attention(q, q, q, .causal = true), first);
        for (int i = (n - 1) * WIDTH; i < n * WIDTH; i++) x[i] = i % 2 ? 1e30 : -1e18;
        nacre_tensor *k = tensor_of(x, &shape, NACRE_F32);
        values_of(nacre_f_attention(q, k, k, .causal = true), second);
        size_t rows = (size_t)(n - 1) * WIDTH * sizeof *first;
        assert_memory_equal(first, second, rows);
    }
}

static void a_masked_class_does_not_spoil_the_loss(void **state) {
    (void)state;
    nacre_tensor *logits = nacre_reshape(F32(1, -INFINITY, 1), NACRE_SHAPE(1, 3));
    double loss = nacre_item(nacre_f_cross_entropy(logits, I64(0)));
    assert_true(fabs(loss - log(2)) < 1e-6);
}

static void one_hot_rows_and_indices_give_one_loss(void **state) {
    (void)state;
    nacre_tensor *logits = nacre_reshape(F64(1, 2, 3, 0.5, -1, 2), NACRE_SHAPE(2, 3));
    nacre_requires_grad(logits, true);
    nacre_tensor *target = I64(2, 0), *rows = nacre_one_hot(target, 3, NACRE_F64);
    nacre_tensor *a = nacre_f_cross_entropy(logits, target);
    nacre_tensor *b = nacre_f_cross_entropy(logits, rows);
    assert_true(close_to(nacre_item(a), nacre_item(b), 1e-15, 1));
    static double x[CHECK_ELEMENTS], y[CHECK_ELEMENTS];
    values_of(gradient_of(a, logits), x);
    values_of(gradient_of(b, logits), y);
    for (int k = 0; k < 6; k++) assert_true(close_to(x[k], y[k], 1e-15, 1));
    assert_true(close_to(nacre_item(nacre_f_cross_entropy(logits, U8(2, 0))), nacre_item(a), 0, 1));
    assert_true(
        close_to(nacre_item(nacre_f_cross_entropy(logits, I32(2, 0))), nacre_item(a), 0, 1));
}

static void an_index_out_of_range_fails_and_says_which(void **state) {
    (void)state;
    nacre_tensor *table = nacre_zeros(NACRE_SHAPE(3, 2));
    const int64_t bad[] = {3, -1};
    for (int i = 0; i < 2; i++) {
        nacre_tensor *index = I64(0, bad[i]);
        assert_int_equal(nacre_eval(nacre_gather(table, index)), NACRE_OUT_OF_RANGE);
        assert_non_null(strstr(nacre_error_message(), i ? "-1" : "3"));
        assert_non_null(strstr(nacre_error_message(), "test_semantics.c"));
        nacre_tensor *logits = nacre_zeros(NACRE_SHAPE(2, 3));
        assert_int_equal(nacre_eval(nacre_f_cross_entropy(logits, index)), NACRE_OUT_OF_RANGE);
        assert_int_equal(nacre_eval(nacre_one_hot(index, 3, NACRE_F32)), NACRE_OUT_OF_RANGE);
        nacre_error_clear();
    }
}

static void scalars_take_the_dtype_of_the_tensor(void **state) {
    (void)state;
    expect_values(nacre_add_scalar(I32(1, 2), 3), 4, 5);
    expect_values(nacre_sub_scalar(F32(1, 2), 0.5), 0.5, 1.5);
    expect_values(nacre_mul_scalar(F64(1, 2), 0.1), 0.1, 0.2);
    expect_values(nacre_div_scalar(F32(1, 2), 0), INFINITY, INFINITY);
    expect_values(nacre_pow_scalar(F32(3, -3), 2), 9, 9);
    assert_int_equal(nacre_dtype_of(nacre_add_scalar(U8(1), 1)), NACRE_U8);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        on_both(nan_is_not_hidden),
        on_both(first_of_equal_extremes_is_found),
        on_both(empty_reductions_have_their_neutral_values),
        on_both(the_mean_of_equal_numbers_is_that_number),
        on_both(integers_wrap_and_never_trap),
        on_both(sums_of_integers_and_bool_count_in_i64),
        on_both(casts_truncate_clamp_and_keep_truth),
        on_both(gradients_pass_through_casts),
        on_both(ties_share_the_gradient),
        on_both(powers_of_zero_and_less_have_finite_gradients),
        on_both(an_input_used_twice_gets_both_gradients),
        on_both(large_logits_do_not_overflow),
        on_both(gelu_far_out_is_its_limit),
        on_both(gelu_has_a_slope_everywhere),
        on_both(masked_numbers_have_no_influence),
        on_both(a_masked_class_does_not_spoil_the_loss),
        on_both(one_hot_rows_and_indices_give_one_loss),
        on_both(an_index_out_of_range_fails_and_says_which),
        on_both(scalars_take_the_dtype_of_the_tensor),
    };
    return run_on_both("ops: semantics", tests);
}
