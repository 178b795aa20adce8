/* Convolution, pooling and batch normalisation at the edges, and what wrong calls answer. */
#include "ops/check.h"

#include <nacre/grad.h>

#define AT "src/train.c", 42
#define IMAGE(h, w, ...)                                                                           \
    nacre_from_data(((const double[]){__VA_ARGS__}), NACRE_SHAPE(1, 1, h, w), .dtype = NACRE_F64)

static nacre_tensor *gradient_of(nacre_tensor *y, nacre_tensor *leaf) {
    nacre_tensor *g = NULL;
    if (nacre_gradients(nacre_sum(y), &leaf, 1, &g)) fail_msg("%s", nacre_error_message());
    return g;
}

static void expect_shape(nacre_tensor *t, nacre_shape wanted) {
    if (nacre_is_error(t)) fail_msg("%s", nacre_tensor_message(t));
    nacre_shape shape = nacre_shape_of(t);
    assert_true(nacre_shape_equal(&shape, &wanted));
}

/* ---- edges ---- */

static void zeros_in_options_are_defaults(void **state) {
    (void)state;
    nacre_tensor *x = nacre_ones(NACRE_SHAPE(2, 3, 8, 9)), *w = nacre_ones(NACRE_SHAPE(4, 3, 3, 2));
    expect_shape(nacre_f_conv2d(x, w), NACRE_SHAPE(2, 4, 6, 8));
    expect_shape(nacre_f_conv2d(x, w, .stride = {2}), NACRE_SHAPE(2, 4, 3, 8));
    expect_shape(nacre_f_max_pool2d(x, {2, 3}), NACRE_SHAPE(2, 3, 4, 3));
    expect_shape(nacre_f_avg_pool2d(x, {2, 3}, .stride = {1}), NACRE_SHAPE(2, 3, 7, 3));
}

static void taps_outside_add_nothing(void **state) {
    (void)state;
    nacre_tensor *x = IMAGE(1, 2, 1, 2), *w = IMAGE(1, 3, INFINITY, 1, 3);
    expect_values(nacre_f_conv2d(x, w, .padding = {0, 1}), 1 + 6, INFINITY);
    nacre_tensor *nothing = nacre_f_conv2d(x, IMAGE(1, 1, NAN), .padding = {1, 0});
    expect_values(nothing, 0, 0, NAN, NAN, 0, 0);
}

static void the_sum_of_a_kernel_meets_each_pixel_under_it(void **state) {
    (void)state;
    nacre_tensor *x = IMAGE(3, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9), *w = IMAGE(2, 2, 1, 10, 100, 1000);
    nacre_requires_grad(x, true);
    nacre_requires_grad(w, true);
    nacre_tensor *y = nacre_f_conv2d(x, w);
    expect_values(y, 5421, 6532, 8754, 9865);
    expect_values(gradient_of(y, x), 1, 11, 10, 101, 1111, 1010, 100, 1100, 1000);
    expect_values(gradient_of(y, w), 12, 16, 24, 28);
    nacre_tensor *apart = nacre_f_conv2d(x, IMAGE(2, 2, 1, 10, 100, 1000), .dilation = {2, 2});
    expect_values(apart, 1 + 30 + 700 + 9000);
}

static void each_group_sees_its_own_channels(void **state) {
    (void)state;
    nacre_tensor *x = nacre_from_data(((const float[]){1, 2, 4, 8}), NACRE_SHAPE(1, 4, 1, 1));
    nacre_tensor *w = nacre_from_data(((const float[]){1, 1, 10, 0}), NACRE_SHAPE(2, 2, 1, 1));
    nacre_tensor *b = nacre_from_data(((const float[]){100, 0.5f}), NACRE_SHAPE(2));
    expect_values(nacre_f_conv2d(x, w, b, .groups = 2), 103, 40.5);
}

static void no_images_give_no_images_and_zero_gradients(void **state) {
    (void)state;
    nacre_tensor *x = nacre_zeros(NACRE_SHAPE(0, 2, 4, 4)),
                 *w = nacre_ones(NACRE_SHAPE(3, 2, 3, 3));
    nacre_tensor *b = nacre_ones(NACRE_SHAPE(3));
    nacre_requires_grad(w, true);
    nacre_requires_grad(b, true);
    nacre_tensor *y = nacre_f_conv2d(x, w, b);
    expect_shape(y, NACRE_SHAPE(0, 3, 2, 2));
    expect_values(nacre_sum(gradient_of(y, w)), 0);
    expect_values(gradient_of(y, b), 0, 0, 0);
    expect_shape(nacre_f_max_pool2d(y, {2, 2}), NACRE_SHAPE(0, 3, 1, 1));
    nacre_tensor *mean;
    nacre_tensor *z = nacre_f_batch_norm(y, b, b, .batch_mean = &mean);
    expect_shape(z, NACRE_SHAPE(0, 3, 2, 2));
    expect_values(mean, NAN, NAN, NAN);
}

static void nan_is_the_largest_and_the_first_of_equals_takes_the_gradient(void **state) {
    (void)state;
    nacre_tensor *x =
        IMAGE(2, 6, 1, 7, NAN, 9, -INFINITY, -INFINITY, 7, 7, NAN, NAN, -INFINITY, -INFINITY);
    nacre_requires_grad(x, true);
    nacre_tensor *y = nacre_f_max_pool2d(x, {2, 2});
    expect_values(y, 7, NAN, -INFINITY);
    expect_values(gradient_of(y, x), 0, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0);
    nacre_tensor *below = IMAGE(1, 3, -5, -6, -7);
    expect_values(nacre_f_max_pool2d(below, {1, 2}, .stride = {1, 2}, .padding = {0, 1}), -5, -6);
    expect_values(nacre_f_avg_pool2d(below, {1, 2}, .stride = {1, 2}, .padding = {0, 1}), -2.5,
                  -6.5);
}

static void overlapping_windows_add_their_gradients(void **state) {
    (void)state;
    nacre_tensor *x = IMAGE(1, 4, 1, 5, 2, 3);
    nacre_requires_grad(x, true);
    nacre_tensor *y = nacre_f_max_pool2d(x, {1, 2}, .stride = {1, 1});
    expect_values(y, 5, 5, 3);
    expect_values(gradient_of(y, x), 0, 2, 0, 1);
    expect_values(gradient_of(nacre_f_avg_pool2d(x, {1, 2}, .stride = {1, 1}), x), 0.5, 1, 1, 0.5);
}

static void normalised_batches_have_mean_0_and_variance_1(void **state) {
    (void)state;
    static double values[CHECK_ELEMENTS];
    nacre_tensor *x = nacre_add_scalar(nacre_randn(NACRE_SHAPE(9, 2, 4, 5), .dtype = NACRE_F64), 3);
    nacre_tensor *one = nacre_ones(NACRE_SHAPE(2), .dtype = NACRE_F64), *mean, *var;
    nacre_tensor *y = nacre_f_batch_norm(x, one, nacre_mul_scalar(one, 0), .epsilon = 1e-12,
                                         .batch_mean = &mean, .batch_var = &var);
    values_of(nacre_mean(y, .axes = NACRE_AXES(0, 2, 3)), values);
    assert_true(fabs(values[0]) < 1e-12 && fabs(values[1]) < 1e-12);
    values_of(nacre_mean(nacre_mul(y, y), .axes = NACRE_AXES(0, 2, 3)), values);
    assert_true(fabs(values[0] - 1) < 1e-9 && fabs(values[1] - 1) < 1e-9);
    /* With the batch's statistics given the result is the same, up to the order of rounding. */
    nacre_tensor *again =
        nacre_f_batch_norm(x, one, nacre_mul_scalar(one, 0), mean, var, .epsilon = 1e-12);
    assert_true(nacre_item(nacre_max(nacre_sub(again, y))) < 1e-13);
}

/* ---- costs ---- */

static void costs_count_every_tap(void **state) {
    (void)state;
    nacre_tensor *x = nacre_ones(NACRE_SHAPE(2, 4, 6, 6)), *w = nacre_ones(NACRE_SHAPE(8, 2, 3, 3));
    nacre_tensor *y = nacre_f_conv2d(x, w, nacre_ones(NACRE_SHAPE(8)), .groups = 2);
    double step = 0;
    nacre_explanation *e = nacre_explain(y);
    assert_non_null(e);
    for (size_t i = 0; i < e->count; i++)
        if (strstr(e->steps[i].kernel, "conv2d")) step += e->steps[i].flops;
    assert_true(step == 2.0 * 8 * 4 * 4 * (2 * 2 * 9 + 1));
    nacre_explanation_free(e);
}

/* ---- misuse ---- */

static void expect_refused(nacre_tensor *t, nacre_status status, const char *message) {
    assert_true(nacre_is_error(t));
    assert_string_equal(nacre_tensor_message(t), message);
    assert_int_equal(nacre_tensor_status(t), status);
}

static nacre_tensor *conv(nacre_f_conv2d_options o) {
    o.size = sizeof o;
    return nacre_f_conv2d_at(&o, AT);
}

static void convolutions_that_do_not_fit(void **state) {
    (void)state;
    nacre_tensor *x = nacre_zeros(NACRE_SHAPE(2, 3, 5, 6)),
                 *w = nacre_zeros(NACRE_SHAPE(4, 3, 3, 3));
    expect_refused(
        conv((nacre_f_conv2d_options){.input = w, .weight = nacre_zeros(NACRE_SHAPE(4, 3))}),
        NACRE_SHAPE_MISMATCH,
        "conv2d: weight is [4,3]: it must be [out, channels / groups, height, width], "
        "each at least 1 (train.c:42)");
    expect_refused(
        conv((nacre_f_conv2d_options){.input = nacre_zeros(NACRE_SHAPE(3, 5, 6)), .weight = w}),
        NACRE_SHAPE_MISMATCH,
        "conv2d: x is [3,5,6]: it must be [n, channels, height, width] with at least one "
        "channel, row and column (below 2^31) (train.c:42)");
    expect_refused(
        conv((nacre_f_conv2d_options){.input = x, .weight = nacre_zeros(NACRE_SHAPE(4, 2, 3, 3))}),
        NACRE_SHAPE_MISMATCH,
        "conv2d: x is [2,3,5,6], weight is [4,2,3,3]: weight's second extent must be x's "
        "channels / groups, here 3 (train.c:42)");
    expect_refused(
        conv((nacre_f_conv2d_options){.input = x, .weight = w, .groups = 2}),
        NACRE_INVALID_ARGUMENT,
        "conv2d: 3 channels and 4 filters in 2 groups: both must be multiples of groups, "
        "which must be at least 1 (train.c:42)");
    expect_refused(conv((nacre_f_conv2d_options){.input = x, .weight = w, .groups = -1}),
                   NACRE_INVALID_ARGUMENT,
                   "conv2d: 3 channels and 4 filters in -1 groups: both must be multiples of "
                   "groups, which must be at least 1 (train.c:42)");
    expect_refused(conv((nacre_f_conv2d_options){
                       .input = x, .weight = w, .bias = nacre_zeros(NACRE_SHAPE(3))}),
                   NACRE_SHAPE_MISMATCH,
                   "conv2d: bias is [3], weight is [4,3,3,3]: bias must be [out], here [4] "
                   "(train.c:42)");
    nacre_tensor *wide = nacre_zeros(NACRE_SHAPE(4, 3, 3, 3), .dtype = NACRE_F64);
    expect_refused(
        conv((nacre_f_conv2d_options){.input = x, .weight = wide}), NACRE_DTYPE_MISMATCH,
        "conv2d: x is f32 [2,3,5,6], weight is f64 [4,3,3,3]: dtypes differ; convert one "
        "with nacre_cast (train.c:42)");
    expect_refused(nacre_f_conv2d_at(NULL, AT), NACRE_INVALID_ARGUMENT,
                   "conv2d: options are NULL (train.c:42)");
    assert_int_equal(nacre_tensor_status(nacre_f_conv2d(NULL, w)), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_tensor_status(nacre_f_conv2d(x, NULL)), NACRE_INVALID_ARGUMENT);
}

static void windows_that_do_not_fit(void **state) {
    (void)state;
    nacre_tensor *x = nacre_zeros(NACRE_SHAPE(2, 3, 5, 6)),
                 *w = nacre_zeros(NACRE_SHAPE(4, 3, 3, 3));
    expect_refused(conv((nacre_f_conv2d_options){.input = x, .weight = w, .dilation = {3, 1}}),
                   NACRE_SHAPE_MISMATCH,
                   "conv2d: the height is 5, padded 5, and the kernel spans 7 (3, dilation 3): it "
                   "must be at least 1 and fit, all below 2^31; use a smaller kernel or more "
                   "padding (train.c:42)");
    expect_refused(
        conv((nacre_f_conv2d_options){.input = x, .weight = w, .padding = {0, INT32_MAX}}),
        NACRE_SHAPE_MISMATCH,
        "conv2d: the width is 6, padded 4294967300, and the kernel spans 3 (3, dilation "
        "1): it must be at least 1 and fit, all below 2^31; use a smaller kernel or more "
        "padding (train.c:42)");
    expect_refused(conv((nacre_f_conv2d_options){.input = x, .weight = w, .stride = {1, -2}}),
                   NACRE_INVALID_ARGUMENT,
                   "conv2d: stride is 1x-2: height and width must be 0 to 2147483647 (train.c:42)");
    expect_refused(
        conv((nacre_f_conv2d_options){.input = x, .weight = w, .padding = {INT64_C(1) << 31, 0}}),
        NACRE_INVALID_ARGUMENT,
        "conv2d: padding is 2147483648x0: height and width must be 0 to 2147483647 "
        "(train.c:42)");
}

static void results_that_no_memory_holds(void **state) {
    (void)state;
    nacre_tensor *x = nacre_broadcast_to(nacre_zeros(NACRE_SHAPE(1, 1, 1, 1)),
                                         NACRE_SHAPE(INT64_C(1) << 40, 1, 1, 1));
    nacre_tensor *w = nacre_zeros(NACRE_SHAPE(4, 1, 1, 1));
    expect_refused(
        conv((nacre_f_conv2d_options){.input = x, .weight = w, .padding = {1 << 20, 1 << 20}}),
        NACRE_OUT_OF_MEMORY,
        "conv2d: the result would be [1099511627776,4,2097153,2097153], more elements than memory "
        "can hold; use smaller inputs (train.c:42)");
}

static void pools_that_do_not_fit(void **state) {
    (void)state;
    nacre_tensor *x = nacre_zeros(NACRE_SHAPE(2, 3, 5, 6));
    nacre_f_pool2d_options o = {.size = sizeof o, .input = x, .kernel = {2, 2}, .padding = {1, 2}};
    expect_refused(nacre_f_max_pool2d_at(&o, AT), NACRE_INVALID_ARGUMENT,
                   "max_pool2d: padding is 1x2, the kernel 2x2: padding must be at most half the "
                   "kernel (train.c:42)");
    o = (nacre_f_pool2d_options){.size = sizeof o, .input = x, .kernel = {2, 0}};
    expect_refused(nacre_f_avg_pool2d_at(&o, AT), NACRE_SHAPE_MISMATCH,
                   "avg_pool2d: the width is 6, padded 6, and the kernel spans 0 (0, dilation 1): "
                   "it must be at least 1 and fit, all below 2^31; use a smaller kernel or more "
                   "padding (train.c:42)");
    o.kernel[1] = 7;
    expect_refused(nacre_f_max_pool2d_at(&o, AT), NACRE_SHAPE_MISMATCH,
                   "max_pool2d: the width is 6, padded 6, and the kernel spans 7 (7, dilation 1): "
                   "it must be at least 1 and fit, all below 2^31; use a smaller kernel or more "
                   "padding (train.c:42)");
    o.kernel[1] = -7;
    expect_refused(nacre_f_max_pool2d_at(&o, AT), NACRE_INVALID_ARGUMENT,
                   "max_pool2d: kernel is 2x-7: height and width must be 0 to 2147483647 "
                   "(train.c:42)");
    o = (nacre_f_pool2d_options){.size = sizeof o,
                                 .input = nacre_zeros(NACRE_SHAPE(1, 1, 2, 2), .dtype = NACRE_I32),
                                 .kernel = {2, 2}};
    expect_refused(nacre_f_max_pool2d_at(&o, AT), NACRE_DTYPE_MISMATCH,
                   "max_pool2d: x is i32 [1,1,2,2]: a floating dtype is needed; convert it with "
                   "nacre_cast, such as to NACRE_F32 (train.c:42)");
    assert_int_equal(nacre_tensor_status(nacre_f_max_pool2d(NULL, {2, 2})), NACRE_INVALID_ARGUMENT);
}

static void norms_that_do_not_fit(void **state) {
    (void)state;
    nacre_tensor *x = nacre_zeros(NACRE_SHAPE(2, 3, 5)), *c = nacre_zeros(NACRE_SHAPE(3)), *mean;
    nacre_f_batch_norm_options o = {
        .size = sizeof o, .input = x, .weight = c, .bias = nacre_zeros(NACRE_SHAPE(5))};
    expect_refused(nacre_f_batch_norm_at(&o, AT), NACRE_SHAPE_MISMATCH,
                   "batch_norm: x is [2,3,5], bias is [5]: bias must be [channels], here [3] "
                   "(train.c:42)");
    o.bias = c;
    o.input = c;
    expect_refused(nacre_f_batch_norm_at(&o, AT), NACRE_SHAPE_MISMATCH,
                   "batch_norm: x is [3]: it must be [n, channels, ...] (train.c:42)");
    o.input = x;
    o.mean = c;
    expect_refused(nacre_f_batch_norm_at(&o, AT), NACRE_INVALID_ARGUMENT,
                   "batch_norm: var is NULL (train.c:42)");
    o.var = x;
    expect_refused(nacre_f_batch_norm_at(&o, AT), NACRE_SHAPE_MISMATCH,
                   "batch_norm: x is [2,3,5], var is [2,3,5]: var must be [channels], here [3] "
                   "(train.c:42)");
    o.var = c;
    o.batch_mean = &mean;
    expect_refused(nacre_f_batch_norm_at(&o, AT), NACRE_INVALID_ARGUMENT,
                   "batch_norm: mean and var are given, so the batch's are not computed; leave one "
                   "of the two out (train.c:42)");
    assert_true(nacre_is_error(mean));
    o.epsilon = -1;
    expect_refused(nacre_f_batch_norm_at(&o, AT), NACRE_INVALID_ARGUMENT,
                   "batch_norm: epsilon is -1: it must be positive and finite (0 means 1e-5) "
                   "(train.c:42)");
    assert_int_equal(nacre_tensor_status(nacre_f_batch_norm(x, c, NULL)), NACRE_INVALID_ARGUMENT);
}

static nacre_tensor *record(const nacre_op *op, nacre_tensor *a, nacre_tensor *b, nacre_word first,
                            nacre_word last) {
    nacre_recording r = {.op = op, .inputs = op->arity, .in = {a, b}, .attrs = {first}};
    r.attrs[op->outputs == 2 || strstr(op->name, "conv") ? (int)NACRE_CONV_SIZE
                                                         : (int)NACRE_POOL_SIZE] = last;
    nacre_tensor *out[NACRE_MAX_OUTPUTS];
    nacre_record_many(&r, out);
    return out[0];
}

static void gradients_own_ops_refuse_what_does_not_fit(void **state) {
    (void)state;
    nacre_tensor *x = nacre_zeros(NACRE_SHAPE(2, 3, 5, 6)),
                 *w = nacre_zeros(NACRE_SHAPE(4, 3, 2, 2));
    nacre_word one = nacre_pair(1, 1), two = nacre_pair(2, 2), size = nacre_pair(5, 6);
    expect_refused(
        record(&nacre_op_conv2d_backward_input, w, nacre_zeros(NACRE_SHAPE(4, 1, 1, 1)), one, size),
        NACRE_SHAPE_MISMATCH,
        "conv2d_backward_input: dy is [4,3,2,2]: conv2d's result is [4,4,5,6] here");
    expect_refused(record(&nacre_op_conv2d_backward_weight, x, x, one, two), NACRE_SHAPE_MISMATCH,
                   "conv2d_backward_weight: dy is [2,3,5,6]: conv2d's result is [2,3,4,5] here");
    expect_refused(record(&nacre_op_max_pool2d_backward, x, x, two, one), NACRE_SHAPE_MISMATCH,
                   "max_pool2d_backward: dy is [2,3,5,6]: the pool's result is [2,3,2,3] here");
    expect_refused(record(&nacre_op_max_pool2d_pick, x, w, two, one), NACRE_SHAPE_MISMATCH,
                   "max_pool2d_pick: x is [2,3,5,6], z is [4,3,2,2]: shapes must be equal");
    expect_refused(record(&nacre_op_avg_pool2d_backward, x, NULL, two, size), NACRE_SHAPE_MISMATCH,
                   "avg_pool2d_backward: dy is [2,3,5,6]: the pool's result is [2,3,2,3] here");
}

int main(void) {
    const struct CMUnitTest edges[] = {
        on_both(zeros_in_options_are_defaults),
        on_both(taps_outside_add_nothing),
        on_both(the_sum_of_a_kernel_meets_each_pixel_under_it),
        on_both(each_group_sees_its_own_channels),
        on_both(no_images_give_no_images_and_zero_gradients),
        on_both(nan_is_the_largest_and_the_first_of_equals_takes_the_gradient),
        on_both(overlapping_windows_add_their_gradients),
        on_both(normalised_batches_have_mean_0_and_variance_1),
        on_both(costs_count_every_tap),
    };
    const struct CMUnitTest misuse[] = {
        on_both(convolutions_that_do_not_fit), on_both(windows_that_do_not_fit),
        on_both(results_that_no_memory_holds), on_both(pools_that_do_not_fit),
        on_both(norms_that_do_not_fit),        on_both(gradients_own_ops_refuse_what_does_not_fit),
    };
    int failed = run_on_both("ops: images", edges);
    check_backend = NACRE_BACKEND_CPU; /* nothing is computed */
    return failed + cmocka_run_group_tests_name("ops: images, misuse", misuse, NULL, NULL);
}
