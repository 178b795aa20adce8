/* Conv2d, pools, BatchNorm2d and Residual: what they compute, keep and refuse. */
#include "layers.h"
#include "support.h"

#include <math.h>
#include <nacre/nacre.h>
#include <string.h>

static void assert_shape(nacre_tensor *t, nacre_shape wanted) {
    if (nacre_is_error(t)) {
        fail_msg("%s", nacre_tensor_message(t));
    }
    nacre_shape shape = nacre_shape_of(t);
    assert_int_equal(shape.ndim, wanted.ndim);
    assert_memory_equal(shape.dims, wanted.dims, (size_t)wanted.ndim * sizeof *wanted.dims);
}

/* ---- what they compute ---- */

static void conv2d_is_the_op_with_its_parameters(void **state) {
    (void)state;
    nacre_module *layer = nacre_conv2d(1, 2, {2, 2}, .stride = {1, 2}, .padding = {0, 1});
    assert_string_equal(nacre_module_parameter_name(layer, 0), "weight");
    assert_string_equal(nacre_module_parameter_name(layer, 1), "bias");
    assert_shape(nacre_module_parameter_at(layer, 0), NACRE_SHAPE(2, 1, 2, 2));
    set(nacre_module_parameter_at(layer, 0), (float[]){1, 2, 3, 4, 0, 0, 0, 1}, 8);
    set(nacre_module_parameter_at(layer, 1), (float[]){0.5f, -1}, 2);
    nacre_tensor *x = nacre_from_data(((float[]){1, 2, 3, 4}), NACRE_SHAPE(1, 1, 2, 2));
    nacre_tensor *y = nacre_module_forward(layer, x);
    assert_shape(y, NACRE_SHAPE(1, 2, 1, 2));
    assert_values(y, (float[]){14.5f, 14.5f, 2, -1}, 4);
    nacre_module_free(layer);
    layer = nacre_conv2d(4, 6, {3, 3}, .groups = 2, .no_bias = true);
    assert_int_equal(nacre_module_parameter_count(layer), 1);
    assert_shape(nacre_module_parameter_at(layer, 0), NACRE_SHAPE(6, 2, 3, 3));
    nacre_module_free(layer);
}

/* He: the standard deviation is sqrt(2 / (in / groups kh kw)). */
static void conv2d_starts_as_he_says(void **state) {
    (void)state;
    nacre_module *layer = nacre_conv2d(32, 64, {3, 3}, .groups = 2);
    assert_int_equal(nacre_module_init(layer, 3), NACRE_OK);
    nacre_tensor *w = nacre_module_parameter_at(layer, 0);
    double variance = nacre_item(nacre_mean(nacre_mul(w, w)));
    /* 9216 draws: the estimate's own deviation is 1.5 %. */
    assert_true(fabs(variance / (2.0 / (16 * 9)) - 1) < 0.06);
    assert_true(nacre_item(nacre_max(nacre_module_parameter_at(layer, 1))) == 0);
    nacre_module_free(layer);
}

static void pools_take_the_largest_and_the_mean(void **state) {
    (void)state;
    nacre_module *max = nacre_max_pool2d({2, 2}), *average = nacre_avg_pool2d({2, 2});
    nacre_module *all = nacre_global_avg_pool2d();
    nacre_tensor *x = nacre_from_data(((float[]){1, 2, 3, 4, 8, 7, 6, 5}), NACRE_SHAPE(1, 1, 2, 4));
    assert_values(nacre_module_forward(max, x), (float[]){8, 6}, 2);
    assert_values(nacre_module_forward(average, x), (float[]){4.5f, 4.5f}, 2);
    nacre_tensor *y = nacre_module_forward(all, nacre_reshape(x, NACRE_SHAPE(1, 2, 2, 2)));
    assert_shape(y, NACRE_SHAPE(1, 2));
    assert_values(y, (float[]){2.5f, 6.5f}, 2);
    assert_int_equal(nacre_tensor_status(nacre_module_forward(all, nacre_zeros(NACRE_SHAPE(2, 3)))),
                     NACRE_SHAPE_MISMATCH);
    nacre_module_free(max);
    nacre_module_free(average);
    nacre_module_free(all);
}

static void residual_adds_what_it_was_given(void **state) {
    (void)state;
    nacre_module *plain = nacre_residual(nacre_relu(), NULL);
    nacre_tensor *x = nacre_from_data(((float[]){-1, 2}), NACRE_SHAPE(1, 2));
    assert_values(nacre_module_forward(plain, x), (float[]){-1, 4}, 2);
    nacre_module_free(plain);
    nacre_module *both = nacre_residual(nacre_relu(), nacre_linear(2, 2));
    assert_string_equal(nacre_module_parameter_name(both, 0), "shortcut.weight");
    set(nacre_module_parameter_at(both, 0), (float[]){0, 1, 1, 0}, 4);
    assert_values(nacre_module_forward(both, x), (float[]){2, 1}, 2);
    nacre_module_free(both);
    nacre_module *wrong = nacre_residual(nacre_linear(2, 3), NULL);
    nacre_tensor *y = (nacre_module_forward)(wrong, x);
    assert_int_equal(nacre_tensor_status(y), NACRE_SHAPE_MISMATCH);
    assert_string_equal(nacre_tensor_message(y), "the network (Residual): residual: the body gives "
                                                 "[1,3], the input is [1,2]: the shapes must be "
                                                 "equal");
    nacre_module_free(wrong);
    wrong = nacre_residual(NULL, nacre_relu());
    assert_int_equal(nacre_module_status(wrong), NACRE_INVALID_ARGUMENT);
    nacre_module_free(wrong);
}

/* ---- statistics ---- */

static nacre_tensor *images(void) {
    /* Channel 0: 1 2 3 6, mean 3, variance 3.5; channel 1: all 4. */
    return nacre_from_data(((float[]){1, 2, 4, 4, 3, 6, 4, 4}), NACRE_SHAPE(2, 2, 1, 2));
}

static void batch_norm_runs_its_statistics_while_it_trains(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_module *norm = nacre_batch_norm2d(2, .momentum = 0.25, .epsilon = 0.5);
    assert_int_equal(nacre_module_init(norm, 1), NACRE_OK);
    assert_int_equal(nacre_module_parameter_count(norm), 2);
    assert_int_equal(nacre_module_buffer_count(norm), 3);
    assert_string_equal(nacre_module_buffer_name(norm, 1), "running_var");
    float r = 1 / sqrtf(3.5f + 0.5f);
    nacre_tensor *y = nacre_module_forward(norm, images());
    assert_values(y, (float[]){-2 * r, -1 * r, 0, 0, 0, 3 * r, 0, 0}, 8);
    /* A quarter of the batch's; the variance over m - 1 = 3. */
    assert_values(nacre_module_buffer_at(norm, 0), (float[]){0.75f, 1}, 2);
    assert_values(nacre_module_buffer_at(norm, 1), (float[]){0.75f + 3.5f / 3, 0.75f}, 2);
    nacre_module_forward(norm, images());
    assert_values(nacre_module_buffer_at(norm, 0), (float[]){1.3125f, 1.75f}, 2);
    assert_true(nacre_item_i64(nacre_module_buffer_at(norm, 2)) == 2);

    nacre_module_set_mode(norm, NACRE_EVAL);
    set(nacre_module_buffer_at(norm, 0), (float[]){1, 2}, 2);
    set(nacre_module_buffer_at(norm, 1), (float[]){3.5f, 0.5f}, 2);
    set(nacre_module_parameter_at(norm, 0), (float[]){2, 3}, 2);
    set(nacre_module_parameter_at(norm, 1), (float[]){5, -1}, 2);
    nacre_tensor *one = nacre_slice(images(), 0, 1, 2, 1); /* a single image has no statistics */
    assert_values(nacre_module_forward(norm, one), (float[]){7, 10, 5, 5}, 4);
    assert_values(nacre_module_buffer_at(norm, 0), (float[]){1, 2}, 2);
    assert_true(nacre_item_i64(nacre_module_buffer_at(norm, 2)) == 2);
    assert_int_equal(nacre_module_init(norm, 1), NACRE_OK);
    assert_values(nacre_module_buffer_at(norm, 0), (float[]){0, 0}, 2);
    assert_values(nacre_module_buffer_at(norm, 1), (float[]){1, 1}, 2);
    nacre_scope_end(scope);
    nacre_module_free(norm);
}

static void the_backward_pass_does_not_count_a_batch_twice(void **state) {
    (void)state;
    nacre_module *net = nacre_sequential(nacre_residual(nacre_batch_norm2d(2), NULL),
                                         nacre_batch_norm2d(2), nacre_relu());
    assert_int_equal(nacre_module_init(net, 1), NACRE_OK);
    nacre_tensor *x = images(), *y = nacre_module_forward(net, x);
    nacre_tensor *dx = nacre_module_backward(net, x, y, nacre_ones(NACRE_SHAPE(2, 2, 1, 2)));
    assert_int_equal(nacre_eval(dx), NACRE_OK);
    assert_true(nacre_item_i64(nacre_module_buffer_at(net, 2)) == 1);
    assert_true(nacre_item_i64(nacre_module_buffer_at(net, 5)) == 1);
    assert_false(nacre_module_recomputes());
    nacre_module_zero_grad(net);
    nacre_module_free(net);
}

static void a_failed_forward_leaves_the_statistics(void **state) {
    (void)state;
    nacre_module *norm = nacre_batch_norm2d(2);
    assert_int_equal(nacre_module_init(norm, 1), NACRE_OK);
    nacre_tensor *y = (nacre_module_forward)(norm, nacre_ones(NACRE_SHAPE(1, 2, 1, 1)));
    assert_string_equal(nacre_tensor_message(y),
                        "layer (BatchNorm2d): batch_norm2d: training needs at least two elements "
                        "per channel, here are "
                        "1; use a larger batch, or eval mode");
    y = (nacre_module_forward)(norm, nacre_ones(NACRE_SHAPE(2, 3, 2, 2)));
    assert_string_equal(
        nacre_tensor_message(y),
        "layer (BatchNorm2d): batch_norm2d: the input is [2,3,2,2], not [n, 2, height, width]");
    assert_true(nacre_item_i64(nacre_module_buffer_at(norm, 2)) == 0);
    assert_values(nacre_module_buffer_at(norm, 1), (float[]){1, 1}, 2);
    nacre_module_free(norm);
}

/* A network of all of them trains, is saved with its statistics and judges alike when loaded. */
static nacre_module *small_network(void) {
    nacre_module *body = nacre_sequential(
        nacre_conv2d(4, 4, {3, 3}, .padding = {1, 1}, .no_bias = true), nacre_batch_norm2d(4));
    return nacre_sequential(nacre_conv2d(1, 4, {3, 3}, .stride = {2, 2}, .no_bias = true),
                            nacre_batch_norm2d(4), nacre_relu(), nacre_residual(body, NULL),
                            nacre_relu(), nacre_max_pool2d({2, 2}), nacre_avg_pool2d({2, 2}),
                            nacre_global_avg_pool2d(), nacre_linear(4, 2));
}

static void trained_statistics_go_with_the_weights(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_seed(5);
    nacre_model *model =
        nacre_model_new(small_network(), nacre_cross_entropy(), nacre_adam(.lr = 0.02));
    assert_int_equal(nacre_model_status(model), NACRE_OK);
    nacre_module *net = nacre_model_network(model);
    nacre_tensor *x = nacre_randn(NACRE_SHAPE(6, 1, 19, 19), .stream = 9);
    const int64_t classes[] = {0, 1, 0, 1, 1, 0};
    nacre_tensor *target = nacre_from_data(classes, NACRE_SHAPE(6), .dtype = NACRE_I64);
    double first = 0, last = 0;
    for (int i = 0; i < 40; i++) {
        nacre_module_zero_grad(net);
        nacre_tensor *loss =
            nacre_loss_compute(nacre_model_loss(model), nacre_module_forward(net, x), target);
        assert_int_equal(nacre_backward(loss), NACRE_OK);
        assert_int_equal(nacre_step(nacre_model_optimizer(model)), NACRE_OK);
        last = nacre_item(loss);
        first = i ? first : last;
    }
    assert_true(last < 0.5 * first);
    assert_true(nacre_item_i64(nacre_module_buffer_at(net, 2)) == 40);

    nacre_state_dict *dict = nacre_module_state(net);
    assert_non_null(dict);
    const char *const names[] = {"0.weight",       "1.weight",      "1.bias",
                                 "1.running_mean", "1.running_var", "1.num_batches_tracked",
                                 "3.body.0.weight"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_string_equal(nacre_state_dict_name(dict, i), names[i]);
    }
    nacre_module *other = small_network();
    assert_int_equal(nacre_module_load_state(other, dict), NACRE_OK);
    nacre_module_set_mode(net, NACRE_EVAL);
    nacre_module_set_mode(other, NACRE_EVAL);
    nacre_tensor *a = nacre_module_forward(net, x), *b = nacre_module_forward(other, x);
    assert_memory_equal(nacre_data(a), nacre_data(b), 12 * sizeof(float));
    nacre_state_dict_free(dict);
    nacre_module_free(other);
    nacre_model_free(model);
    nacre_scope_end(scope);
}

/* ---- table ---- */

static void the_table_knows_their_costs(void **state) {
    (void)state;
    nacre_module *net = small_network();
    char *text = nacre_module_summary(net, NACRE_SHAPE(1, 19, 19));
    assert_non_null(text);
    /* 9 x 9 outputs of 4 filters of 9 taps; 9 x 9 of 4 of 36. */
    const char *const wanted[] = {
        "[4,9,9]          36   5,832  in=1, out=4, kernel=3x3, stride=2x2, no bias",
        "1 BatchNorm2d         [4,9,9]           8     972  channels=4",
        "3.body.0 Conv2d       [4,9,9]         144  23,328  in=4, out=4, kernel=3x3, padding=1x1",
        "5 MaxPool2d           [4,4,4]           0     256  kernel=2x2",
        "7 GlobalAvgPool2d     [4]               0      16"};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        if (!strstr(text, wanted[i])) {
            fail_msg("\"%s\" is missing in\n%s", wanted[i], text);
        }
    }
    nacre_text_release(text);
    nacre_module_free(net);
    nacre_module *layer = nacre_conv2d(4, 2, {1, 3}, .dilation = {1, 2}, .groups = 2);
    text = nacre_module_summary(layer, NACRE_SHAPE(4, 5, 7));
    assert_non_null(strstr(text, "  14    390  in=4, out=2, kernel=1x3, dilation=1x2, groups=2"));
    nacre_text_release(text);
    nacre_module_free(layer);
    layer = nacre_avg_pool2d({3, 3}, .stride = {2, 1}, .padding = {1, 1});
    text = nacre_module_summary(layer, NACRE_SHAPE(2, 5, 5));
    assert_non_null(strstr(text, "  0    270  kernel=3x3, stride=2x1, padding=1x1"));
    nacre_text_release(text);
    nacre_module_free(layer);
}

/* ---- misuse ---- */

static void options_without_a_meaning_are_refused(void **state) {
    (void)state;
    assert_refused(nacre_conv2d(0, 2, {3, 3}),
                   "conv2d: in is 0, out is 2, the kernel 3x3: all must be at least 1");
    assert_refused(nacre_conv2d(1, 2, {3}),
                   "conv2d: in is 1, out is 2, the kernel 3x0: all must be at least 1");
    assert_refused(nacre_conv2d(4, 6, {3, 3}, .groups = 4),
                   "conv2d: 4 groups for in 4 and out 6: both must be multiples of groups");
    assert_refused(nacre_conv2d(4, 6, {3, 3}, .groups = -1),
                   "conv2d: -1 groups for in 4 and out 6: both must be multiples of groups");
    assert_refused(nacre_conv2d(4, 6, {3, 3}, .padding = {0, -1}),
                   "conv2d: kernel, stride, padding and dilation must be 0 to 2147483647");
    assert_refused(nacre_conv2d(4, 6, {3, 3}, .stride = {INT64_MAX, 1}),
                   "conv2d: kernel, stride, padding and dilation must be 0 to 2147483647");
    assert_refused(nacre_max_pool2d({2, 2}, .padding = {2, 0}),
                   "max_pool2d: kernel 2x2, stride 2x2, padding 2x0: the first two must be 1 to "
                   "2147483647, padding 0 to half the kernel");
    assert_refused(nacre_avg_pool2d({0, 2}),
                   "avg_pool2d: kernel 0x2, stride 0x2, padding 0x0: the first two must be 1 to "
                   "2147483647, padding 0 to half the kernel");
    assert_refused(nacre_batch_norm2d(0),
                   "batch_norm2d: 0 channels, epsilon 1e-05, momentum 0.1: it needs a channel, a "
                   "positive epsilon and a momentum above 0 and at most 1");
    assert_refused(nacre_batch_norm2d(2, .momentum = 1.5),
                   "batch_norm2d: 2 channels, epsilon 1e-05, momentum 1.5: it needs a channel, a "
                   "positive epsilon and a momentum above 0 and at most 1");
    assert_refused(nacre_batch_norm2d(2, .epsilon = -1),
                   "batch_norm2d: 2 channels, epsilon -1, momentum 0.1: it needs a channel, a "
                   "positive epsilon and a momentum above 0 and at most 1");
    assert_refused(nacre_conv2d_at(NULL), "conv2d: the options are NULL");
    assert_refused(nacre_max_pool2d_at(NULL), "max_pool2d: the options are NULL");
    assert_refused(nacre_batch_norm2d_at(NULL), "batch_norm2d: the options are NULL");
}

static void every_failing_allocation_is_reported(void **state) {
    (void)state;
    uint64_t before = nacre_memory().allocations;
    nacre_module_free(small_network());
    uint64_t allocations = nacre_memory().allocations - before;
    for (uint64_t n = 1; n <= allocations; n++) {
        nacre_memory_fail_at(n);
        nacre_module *net = small_network();
        nacre_memory_fail_at(0);
        assert_int_equal(nacre_module_status(net), NACRE_OUT_OF_MEMORY);
        nacre_module_free(net);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conv2d_is_the_op_with_its_parameters),
        cmocka_unit_test(conv2d_starts_as_he_says),
        cmocka_unit_test(pools_take_the_largest_and_the_mean),
        cmocka_unit_test(residual_adds_what_it_was_given),
        cmocka_unit_test(batch_norm_runs_its_statistics_while_it_trains),
        cmocka_unit_test(the_backward_pass_does_not_count_a_batch_twice),
        cmocka_unit_test(a_failed_forward_leaves_the_statistics),
        cmocka_unit_test(trained_statistics_go_with_the_weights),
        cmocka_unit_test(the_table_knows_their_costs),
        cmocka_unit_test(options_without_a_meaning_are_refused),
        cmocka_unit_test(every_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
