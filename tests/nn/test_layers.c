/* What layers compute, and their hand-written backward against autograd. */
#include "layers.h"
#include "support.h"

#include <math.h>
#include <nacre/nacre.h>

static nacre_tensor *values(const float *data, nacre_shape shape) {
    return nacre_from_data(data, shape, .dtype = NACRE_F32);
}

static void linear_multiplies_by_the_transposed_weight(void **state) {
    (void)state;
    nacre_module *layer = nacre_linear(3, 2);
    set_parameter(layer, 0, (float[]){1, 2, 3, 4, 5, 6}, 6);
    set_parameter(layer, 1, (float[]){10, 20}, 2);
    nacre_tensor *x = values((float[]){1, 0, -1, 2, 1, 0}, NACRE_SHAPE(2, 3));
    assert_values(nacre_module_forward(layer, x), (float[]){8, 18, 14, 33}, 4);
    nacre_tensor *one = values((float[]){1, 0, -1}, NACRE_SHAPE(3));
    assert_values(nacre_module_forward(layer, one), (float[]){8, 18}, 2);
    nacre_tensor *three = nacre_reshape(x, NACRE_SHAPE(2, 1, 3));
    nacre_tensor *y = nacre_module_forward(layer, three);
    assert_int_equal(nacre_ndim(y), 3);
    assert_values(y, (float[]){8, 18, 14, 33}, 4);
    nacre_module_free(layer);
}

static void relu_and_softmax_and_flatten_are_themselves(void **state) {
    (void)state;
    nacre_module *relu = nacre_relu(), *softmax = nacre_softmax(-1), *flatten = nacre_flatten();
    nacre_tensor *x = values((float[]){-1, 0, 2, -3}, NACRE_SHAPE(2, 2));
    assert_values(nacre_module_forward(relu, x), (float[]){0, 0, 2, 0}, 4);
    nacre_tensor *logits = values((float[]){0, 0, 1000, 0}, NACRE_SHAPE(2, 2));
    assert_values(nacre_module_forward(softmax, logits), (float[]){0.5f, 0.5f, 1, 0}, 4);
    nacre_tensor *flat = nacre_module_forward(flatten, nacre_zeros(NACRE_SHAPE(5, 2, 3)));
    assert_int_equal(nacre_ndim(flat), 2);
    assert_int_equal(nacre_size(flat, 1), 6);
    assert_int_equal(nacre_size(nacre_module_forward(flatten, nacre_zeros(NACRE_SHAPE(5))), 1), 1);
    assert_true(nacre_is_error(nacre_module_forward(flatten, nacre_zeros(NACRE_SCALAR))));
    nacre_module_free(relu);
    nacre_module_free(softmax);
    nacre_module_free(flatten);
    softmax = nacre_softmax(99);
    assert_int_equal(nacre_module_status(softmax), NACRE_OUT_OF_RANGE);
    nacre_module_free(softmax);
}

static void mlp_is_linear_and_relu_without_a_last_relu(void **state) {
    (void)state;
    nacre_module *net = nacre_mlp((int64_t[]){784, 128, 128, 128, 10}, 5);
    assert_int_equal(nacre_module_status(net), NACRE_OK);
    assert_int_equal(nacre_module_child_count(net), 7);
    assert_int_equal(nacre_module_parameter_count(net), 8);
    assert_string_equal(nacre_module_kind(nacre_module_child(net, 5)), "ReLU");
    assert_string_equal(nacre_module_kind(nacre_module_child(net, 6)), "Linear");
    nacre_module_free(net);
    net = nacre_mlp((int64_t[]){3}, 1);
    assert_int_equal(nacre_module_status(net), NACRE_INVALID_ARGUMENT);
    nacre_module_free(net);
}

/* ---- both ways to a gradient ---- */

static void assert_close(nacre_tensor *a, nacre_tensor *b, const char *what) {
    assert_int_equal(nacre_numel(a), nacre_numel(b));
    const float *x = nacre_data(a), *y = nacre_data(b);
    assert_non_null(x);
    assert_non_null(y);
    float largest = 0;
    for (int64_t i = 0; i < nacre_numel(a); i++) {
        largest = fmaxf(largest, fabsf(x[i]));
    }
    assert_true(largest > 0);
    for (int64_t i = 0; i < nacre_numel(a); i++) {
        if (fabsf(x[i] - y[i]) > 1e-6f * fmaxf(largest, 1)) {
            fail_msg("%s: element %lld is %g by autograd, %g by hand", what, (long long)i,
                     (double)x[i], (double)y[i]);
        }
    }
}

/* Gradients of x and of all parameters, both ways, from the same dy. */
static void check_both_ways(nacre_module *module, nacre_shape shape) {
    assert_int_equal(nacre_module_status(module), NACRE_OK);
    nacre_scope scope = nacre_scope_begin();
    nacre_module_init(module, 11);
    nacre_tensor *x = nacre_detach(nacre_randn(shape));
    assert_int_equal(nacre_eval(x), NACRE_OK);
    nacre_requires_grad(x, true);
    nacre_tensor *y = nacre_module_forward(module, x);
    nacre_tensor *dy = nacre_randn(nacre_shape_of(y));
    assert_int_equal(nacre_eval(dy), NACRE_OK);
    assert_int_equal(nacre_backward_from(y, dy), NACRE_OK);
    size_t count = nacre_module_parameter_count(module);
    nacre_tensor *automatic[16];
    for (size_t i = 0; i < count; i++) {
        nacre_tensor *p = nacre_module_parameter_at(module, i);
        assert_true(nacre_has_grad(p));
        automatic[i] = nacre_detach(nacre_grad(p));
    }
    assert_int_equal(nacre_eval_all(automatic, count), NACRE_OK);
    nacre_tensor *dx = nacre_grad(x);
    assert_int_equal(nacre_eval(dx), NACRE_OK);

    nacre_module_zero_grad(module);
    nacre_tensor *by_hand = nacre_module_backward(module, nacre_detach(x), y, dy);
    assert_close(dx, by_hand, nacre_module_kind(module));
    for (size_t i = 0; i < count; i++) {
        assert_close(automatic[i], nacre_grad(nacre_module_parameter_at(module, i)),
                     nacre_module_parameter_name(module, i));
    }
    nacre_module_zero_grad(module);
    nacre_scope_end(scope);
    nacre_module_free(module);
}

static void autograd_and_backward_by_hand_agree(void **state) {
    (void)state;
    check_both_ways(nacre_linear(7, 5), NACRE_SHAPE(3, 7));
    check_both_ways(nacre_linear(7, 5, .no_bias = true), NACRE_SHAPE(3, 7));
    check_both_ways(nacre_linear(7, 5), NACRE_SHAPE(2, 3, 7));
    check_both_ways(nacre_relu(), NACRE_SHAPE(3, 7));
    check_both_ways(nacre_softmax(-1), NACRE_SHAPE(3, 7));
    check_both_ways(nacre_softmax(0), NACRE_SHAPE(3, 7));
    check_both_ways(nacre_flatten(), NACRE_SHAPE(3, 2, 7));
    check_both_ways(nacre_sequential(nacre_flatten(), nacre_mlp((int64_t[]){12, 8, 8, 8, 4}, 5),
                                     nacre_softmax(-1)),
                    NACRE_SHAPE(6, 3, 4));
    check_both_ways(
        nacre_sequential(nacre_flatten(), nacre_mlp((int64_t[]){784, 128, 128, 128, 10}, 5)),
        NACRE_SHAPE(5, 28, 28));
}

/* In training mode; batch norm in both. */
static void layers_of_images_agree_both_ways(void **state) {
    (void)state;
    nacre_shape shape = NACRE_SHAPE(3, 4, 6, 5);
    check_both_ways(nacre_conv2d(4, 3, {3, 2}), shape);
    check_both_ways(nacre_conv2d(4, 3, {3, 2}, .no_bias = true), shape);
    check_both_ways(nacre_conv2d(4, 6, {2, 2}, .stride = {2, 1}, .padding = {1, 0},
                                 .dilation = {1, 2}, .groups = 2),
                    shape);
    check_both_ways(nacre_max_pool2d({2, 2}), shape);
    check_both_ways(nacre_max_pool2d({3, 3}, .stride = {1, 2}, .padding = {1, 1}), shape);
    check_both_ways(nacre_avg_pool2d({2, 3}, .stride = {1, 1}, .padding = {1, 0}), shape);
    check_both_ways(nacre_global_avg_pool2d(), shape);
    check_both_ways(nacre_batch_norm2d(4), shape);
    nacre_module *norm = nacre_batch_norm2d(4);
    nacre_module_set_mode(norm, NACRE_EVAL);
    check_both_ways(norm, shape);
    check_both_ways(nacre_residual(nacre_conv2d(4, 4, {1, 1}), NULL), shape);
    check_both_ways(nacre_residual(nacre_conv2d(4, 5, {2, 2}, .stride = {2, 2}),
                                   nacre_sequential(nacre_max_pool2d({2, 2}),
                                                    nacre_conv2d(4, 5, {1, 1}, .padding = {0, 0}))),
                    NACRE_SHAPE(3, 4, 6, 4));
    nacre_module *block = nacre_residual(
        nacre_sequential(nacre_conv2d(4, 4, {3, 3}, .padding = {1, 1}, .no_bias = true),
                         nacre_batch_norm2d(4), nacre_relu(),
                         nacre_conv2d(4, 4, {3, 3}, .padding = {1, 1}, .no_bias = true),
                         nacre_batch_norm2d(4)),
        NULL);
    check_both_ways(
        nacre_sequential(block, nacre_relu(), nacre_global_avg_pool2d(), nacre_linear(4, 2)),
        shape);
}

static void layers_of_transformers_agree_both_ways(void **state) {
    (void)state;
    check_both_ways(nacre_layer_norm(5), NACRE_SHAPE(3, 5));
    check_both_ways(nacre_layer_norm(5, .plain = true), NACRE_SHAPE(2, 3, 5));
    check_both_ways(nacre_gelu(NACRE_GELU_ERF), NACRE_SHAPE(3, 7));
    check_both_ways(nacre_gelu(NACRE_GELU_TANH), NACRE_SHAPE(3, 7));
    check_both_ways(nacre_tanh(), NACRE_SHAPE(3, 7));
    check_both_ways(nacre_multi_head_attention(6, 2), NACRE_SHAPE(2, 5, 6));
    check_both_ways(nacre_transformer_block(6, 3, .causal = true, .gelu = NACRE_GELU_TANH),
                    NACRE_SHAPE(2, 5, 6));
    check_both_ways(nacre_sequential(nacre_transformer_block(4, 2), nacre_layer_norm(4)),
                    NACRE_SHAPE(2, 3, 4));
}

/* What a container computes anew on its way back is what it computed first: the same masks. */
static void random_layers_agree_both_ways(void **state) {
    (void)state;
    nacre_seed(2);
    nacre_shape shape = NACRE_SHAPE(6, 9);
    check_both_ways(nacre_sequential(nacre_linear(9, 12), nacre_dropout(0.5), nacre_linear(12, 5),
                                     nacre_dropout(0.25), nacre_linear(5, 3)),
                    shape);
    nacre_module *body = nacre_sequential(nacre_dropout(0.5), nacre_linear(9, 9), nacre_relu(),
                                          nacre_dropout(0.5), nacre_linear(9, 9));
    nacre_module *shortcut = nacre_sequential(nacre_linear(9, 9), nacre_dropout(0.5), nacre_relu());
    check_both_ways(nacre_sequential(nacre_linear(9, 9), nacre_residual(body, shortcut),
                                     nacre_dropout(0.5), nacre_linear(9, 2)),
                    shape);
}

/* The pass back draws nothing that a later layer would have drawn. */
static void going_back_takes_no_draws(void **state) {
    (void)state;
    nacre_module *net =
        nacre_sequential(nacre_linear(3, 8), nacre_dropout(0.5), nacre_linear(8, 2));
    float after[2][4];
    for (int i = 0; i < 2; i++) {
        nacre_seed(7);
        nacre_tensor *x = nacre_ones(NACRE_SHAPE(2, 3)), *y = nacre_module_forward(net, x);
        if (i == 1) {
            nacre_module_backward(net, x, y, nacre_ones(NACRE_SHAPE(2, 2)));
        }
        nacre_tensor *drawn = nacre_rand(NACRE_SHAPE(4));
        assert_int_equal(nacre_copy_to(drawn, after[i], sizeof after[i]), NACRE_OK);
    }
    assert_memory_equal(after[0], after[1], sizeof after[0]);
    nacre_module_zero_grad(net);
    nacre_module_free(net);
}

/* A layer that brings a forward alone. */
static nacre_tensor *square(nacre_module *module, void *self, nacre_tensor *x) {
    (void)module, (void)self;
    return nacre_mul(x, x);
}

static void a_layer_without_backward_is_differentiated(void **state) {
    (void)state;
    const nacre_module_class class_ = {.size = sizeof class_, .name = "Square", .forward = square};
    nacre_module *net = nacre_sequential(nacre_linear(2, 2), nacre_module_new(&class_, NULL));
    check_both_ways(net, NACRE_SHAPE(3, 2));
}

static void gradients_of_two_backward_calls_add_up(void **state) {
    (void)state;
    nacre_module *layer = nacre_linear(1, 1);
    set_parameter(layer, 0, (float[]){2}, 1);
    nacre_tensor *x = nacre_full(NACRE_SHAPE(1, 1), 3), *dy = nacre_full(NACRE_SHAPE(1, 1), 1);
    nacre_tensor *y = nacre_module_forward(layer, x);
    nacre_module_backward(layer, x, y, dy);
    nacre_module_backward(layer, x, y, dy);
    assert_values(nacre_grad(nacre_module_parameter_at(layer, 0)), (float[]){6}, 1);
    assert_true(nacre_has_grad(nacre_module_parameter_at(layer, 0)));
    nacre_module_zero_grad(layer);
    assert_false(nacre_has_grad(nacre_module_parameter_at(layer, 0)));
    nacre_module_free(layer);
}

static void a_gradient_of_the_wrong_shape_is_refused(void **state) {
    (void)state;
    nacre_module *layer = nacre_linear(2, 3);
    nacre_tensor *x = nacre_zeros(NACRE_SHAPE(4, 2)), *y = nacre_module_forward(layer, x);
    nacre_tensor *dx = nacre_module_backward(layer, x, y, nacre_zeros(NACRE_SHAPE(4, 2)));
    assert_int_equal(nacre_tensor_status(dx), NACRE_SHAPE_MISMATCH);
    assert_false(nacre_has_grad(nacre_module_parameter_at(layer, 0)));
    nacre_module_free(layer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_multiplies_by_the_transposed_weight),
        cmocka_unit_test(relu_and_softmax_and_flatten_are_themselves),
        cmocka_unit_test(mlp_is_linear_and_relu_without_a_last_relu),
        cmocka_unit_test(autograd_and_backward_by_hand_agree),
        cmocka_unit_test(layers_of_images_agree_both_ways),
        cmocka_unit_test(layers_of_transformers_agree_both_ways),
        cmocka_unit_test(random_layers_agree_both_ways),
        cmocka_unit_test(going_back_takes_no_draws),
        cmocka_unit_test(a_layer_without_backward_is_differentiated),
        cmocka_unit_test(gradients_of_two_backward_calls_add_up),
        cmocka_unit_test(a_gradient_of_the_wrong_shape_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
