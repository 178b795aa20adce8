/* Every layer's gradients, of its input and of each parameter, against central differences of its outputs. */
#include "support.h"

#include <math.h>
#include <nacre/nacre.h>
#include <stdlib.h>

enum { SEED = 7 };

/* sum of y dy, added in double. The same draws in every pass: a dropout's mask is part of the function. */
static double weighted_output(nacre_module *module, nacre_tensor *x, const float *dy) {
    nacre_seed(SEED);
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *y = nacre_module_forward(module, x);
    const float *values = nacre_data(y);
    assert_non_null(values);
    double sum = 0;
    for (int64_t i = 0; i < nacre_numel(y); i++) {
        sum += (double)values[i] * (double)dy[i];
    }
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    return sum;
}

/* A tensor whose elements are moved one at a time. */
typedef struct variable {
    nacre_tensor *tensor;
    float *values;
    size_t bytes;
} variable;

static double slope(nacre_module *module, nacre_tensor *x, const float *dy, variable *v, int64_t at,
                    float h) {
    const float before = v->values[at];
    double sum[2], place[2];
    for (int side = 0; side < 2; side++) {
        v->values[at] = side ? before + h : before - h;
        place[side] = (double)v->values[at];
        assert_int_equal(nacre_copy_from(v->tensor, v->values, v->bytes), NACRE_OK);
        sum[side] = weighted_output(module, x, dy);
    }
    v->values[at] = before;
    assert_int_equal(nacre_copy_from(v->tensor, v->values, v->bytes), NACRE_OK);
    return (sum[1] - sum[0]) / (place[1] - place[0]);
}

/* Two steps and Richardson's extrapolation leave an error of h^4, 1e-6 times a fifth derivative, which near a norm is
   in the hundreds. Outputs in f32 add 1e-7 / h times the root of how many an element reaches: some 1e-4. */
static void check_variable(nacre_module *module, nacre_tensor *x, const float *dy, nacre_tensor *t,
                           const char *name) {
    const float h = 0.03125f;
    const double tolerance = 1e-3;
    variable v = {.tensor = t, .bytes = (size_t)nacre_numel(t) * sizeof(float)};
    v.values = malloc(v.bytes);
    float *gradient = malloc(v.bytes);
    assert_int_equal(nacre_copy_to(t, v.values, v.bytes), NACRE_OK);
    assert_int_equal(nacre_copy_to(nacre_grad(t), gradient, v.bytes), NACRE_OK);
    for (int64_t i = 0; i < nacre_numel(t); i++) {
        const double numeric =
            (4 * slope(module, x, dy, &v, i, h / 2) - slope(module, x, dy, &v, i, h)) / 3;
        if (!(fabs(numeric - (double)gradient[i]) <= tolerance * (1 + fabs(numeric)))) {
            fail_msg("%s, %s: element %d is %.7g, numeric %.7g", nacre_module_kind(module), name,
                     (int)i, (double)gradient[i], numeric);
        }
    }
    free(v.values);
    free(gradient);
}

/* x: f32, or indices, which have no gradient. Frees the module. */
static void check_layer(nacre_module *module, nacre_tensor *x) {
    assert_int_equal(nacre_module_status(module), NACRE_OK);
    nacre_scope scope = nacre_scope_begin();
    assert_int_equal(nacre_module_init(module, 11), NACRE_OK);
    for (size_t i = 0; i < nacre_module_parameter_count(module); i++) {
        /* Away from zeros and ones, at which a wrong factor would not show. */
        nacre_tensor *p = nacre_module_parameter_at(module, i);
        nacre_tensor *noise = nacre_randn(nacre_shape_of(p), .stream = 50 + i);
        assert_int_equal(nacre_assign(p, nacre_add(p, nacre_mul_scalar(noise, 0.3))), NACRE_OK);
        assert_int_equal(nacre_eval(p), NACRE_OK);
    }
    const bool indices = nacre_dtype_of(x) == NACRE_I64;
    if (!indices) {
        nacre_requires_grad(x, true);
    }
    nacre_seed(SEED);
    nacre_tensor *y = nacre_module_forward(module, x);
    nacre_tensor *dy = nacre_randn(nacre_shape_of(y), .stream = 49);
    const float *weights = nacre_data(dy);
    assert_int_equal(nacre_backward_from(y, dy), NACRE_OK);
    nacre_set_grad_enabled(false);
    if (!indices) {
        check_variable(module, x, weights, x, "input");
    }
    for (size_t i = 0; i < nacre_module_parameter_count(module); i++) {
        check_variable(module, x, weights, nacre_module_parameter_at(module, i),
                       nacre_module_parameter_name(module, i));
    }
    nacre_set_grad_enabled(true);
    nacre_module_zero_grad(module);
    nacre_scope_end(scope);
    nacre_module_free(module);
    nacre_seed(1);
}

static nacre_tensor *normal(nacre_shape shape) {
    nacre_tensor *x = nacre_detach(nacre_randn(shape, .stream = 48));
    assert_int_equal(nacre_eval(x), NACRE_OK);
    return x;
}

/* No two values nearer to each other than 0.15, none nearer to 0 than 0.075: no step crosses a kink. */
static nacre_tensor *apart(nacre_shape shape) {
    float values[256];
    int64_t count = 1;
    for (int i = 0; i < shape.ndim; i++) {
        count *= shape.dims[i];
    }
    assert_true(count <= 256 && count % 7 != 0 && count % 2 == 0);
    for (int64_t i = 0; i < count; i++) {
        const int64_t rank = i * 7 % count - count / 2;
        values[i] = 0.15f * ((float)rank + 0.5f);
    }
    return nacre_from_data(values, shape);
}

static void layers_of_perceptrons(void **state) {
    (void)state;
    check_layer(nacre_linear(5, 3), normal(NACRE_SHAPE(4, 5)));
    check_layer(nacre_linear(5, 3, .no_bias = true), normal(NACRE_SHAPE(2, 2, 5)));
    check_layer(nacre_relu(), apart(NACRE_SHAPE(2, 3, 4)));
    check_layer(nacre_tanh(), normal(NACRE_SHAPE(3, 5)));
    check_layer(nacre_gelu(NACRE_GELU_ERF), normal(NACRE_SHAPE(3, 5)));
    check_layer(nacre_gelu(NACRE_GELU_TANH), normal(NACRE_SHAPE(3, 5)));
    check_layer(nacre_softmax(-1), normal(NACRE_SHAPE(3, 5)));
    check_layer(nacre_softmax(0), normal(NACRE_SHAPE(3, 5)));
    check_layer(nacre_flatten(), normal(NACRE_SHAPE(2, 3, 2)));
    check_layer(nacre_dropout(0.5), normal(NACRE_SHAPE(6, 5)));
    check_layer(nacre_sequential(nacre_linear(4, 6), nacre_tanh(), nacre_dropout(0.25),
                                 nacre_linear(6, 3), nacre_softmax(-1)),
                normal(NACRE_SHAPE(3, 4)));
}

static void layers_of_images(void **state) {
    (void)state;
    const nacre_shape shape = NACRE_SHAPE(2, 4, 4, 3);
    check_layer(nacre_conv2d(4, 3, {3, 2}), normal(shape));
    check_layer(nacre_conv2d(4, 6, {2, 2}, .stride = {2, 1}, .padding = {1, 0}, .dilation = {1, 2},
                             .groups = 2, .no_bias = true),
                normal(shape));
    check_layer(nacre_conv2d(4, 2, {3, 3}, .padding = {1, 1}), normal(shape));
    check_layer(nacre_max_pool2d({2, 2}), apart(NACRE_SHAPE(1, 2, 5, 4)));
    check_layer(nacre_max_pool2d({3, 3}, .stride = {1, 2}, .padding = {1, 1}),
                apart(NACRE_SHAPE(2, 1, 5, 4)));
    check_layer(nacre_avg_pool2d({2, 3}, .stride = {1, 1}, .padding = {1, 0}), normal(shape));
    check_layer(nacre_global_avg_pool2d(), normal(shape));
    check_layer(nacre_batch_norm2d(4), normal(shape));
    nacre_module *norm = nacre_batch_norm2d(4);
    nacre_module_set_mode(norm, NACRE_EVAL);
    check_layer(norm, normal(shape));
    nacre_module *body = nacre_sequential(nacre_conv2d(4, 4, {3, 3}, .padding = {1, 1}),
                                          nacre_batch_norm2d(4), nacre_gelu(NACRE_GELU_ERF));
    check_layer(nacre_residual(body, NULL), normal(shape));
    check_layer(nacre_residual(nacre_conv2d(4, 2, {1, 1}), nacre_conv2d(4, 2, {1, 1})),
                normal(shape));
}

/* Rows of eight and more: the fewer numbers, the more likely a small variance, near which a norm is steep. */
static void layers_of_transformers(void **state) {
    (void)state;
    check_layer(nacre_layer_norm(8), normal(NACRE_SHAPE(3, 8)));
    check_layer(nacre_layer_norm(9, .plain = true), normal(NACRE_SHAPE(2, 2, 9)));
    check_layer(nacre_multi_head_attention(4, 2), normal(NACRE_SHAPE(2, 3, 4)));
    check_layer(nacre_multi_head_attention(4, 1, .causal = true, .no_bias = true),
                normal(NACRE_SHAPE(1, 4, 4)));
    check_layer(nacre_transformer_block(8, 2, .hidden = 6), normal(NACRE_SHAPE(1, 3, 8)));
    check_layer(nacre_transformer_block(8, 4, .causal = true, .gelu = NACRE_GELU_TANH),
                normal(NACRE_SHAPE(2, 3, 8)));
    nacre_tensor *x =
        nacre_from_data(((int64_t[]){2, 0, 2, 4, 1, 4}), NACRE_SHAPE(2, 3), .dtype = NACRE_I64);
    check_layer(nacre_embedding(5, 4), x);
    /* One tensor that looks words up and scores them: its gradient comes from both places. */
    nacre_module *words = nacre_embedding(5, 4);
    nacre_module *scores =
        nacre_linear(4, 5, .no_bias = true, .weight = nacre_module_parameter_at(words, 0));
    check_layer(nacre_sequential(words, nacre_tanh(), scores), x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_of_perceptrons),
        cmocka_unit_test(layers_of_images),
        cmocka_unit_test(layers_of_transformers),
    };
    return cmocka_run_group_tests_name("nn: gradients are those of differences", tests, NULL, NULL);
}
