/* Gradients against central differences in double. */
#include "support.h"

#include <math.h>
#include <nacre/nacre.h>
#include <stdlib.h>

enum { MAX_LAYERS = 4 };

/* A multi-layer perceptron in f64, built from ops: modules are f32. */
typedef struct net {
    int layers;
    nacre_tensor *weight[MAX_LAYERS], *bias[MAX_LAYERS], *x, *target;
} net;

static nacre_tensor *leaf(nacre_shape shape, double scale) {
    nacre_tensor *t = nacre_mul_scalar(nacre_randn(shape, .dtype = NACRE_F64), scale);
    size_t bytes = (size_t)nacre_numel(t) * sizeof(double);
    nacre_tensor *copy = nacre_from_data(nacre_data(t), shape, .dtype = NACRE_F64);
    assert_true(bytes > 0);
    return nacre_requires_grad(copy, true);
}

static net build(const int64_t *widths, int count, int64_t batch) {
    net n = {.layers = count - 1};
    for (int i = 0; i + 1 < count; i++) {
        n.weight[i] = leaf(NACRE_SHAPE(widths[i + 1], widths[i]), sqrt(2.0 / (double)widths[i]));
        n.bias[i] = leaf(NACRE_SHAPE(widths[i + 1]), 0.1);
    }
    n.x = nacre_randn(NACRE_SHAPE(batch, widths[0]), .dtype = NACRE_F64);
    int64_t targets[64];
    for (int64_t i = 0; i < batch; i++) {
        targets[i] = (i * 7 + 1) % widths[count - 1];
    }
    n.target = nacre_from_data(targets, NACRE_SHAPE(batch), .dtype = NACRE_I64);
    assert_int_equal(nacre_eval(n.x), NACRE_OK);
    return n;
}

static nacre_tensor *loss_of(const net *n) {
    nacre_tensor *y = n->x;
    for (int i = 0; i < n->layers; i++) {
        y = nacre_f_linear(y, n->weight[i], n->bias[i]);
        y = i + 1 < n->layers ? nacre_f_relu(y) : y;
    }
    return nacre_f_cross_entropy(y, n->target);
}

static double loss_with(const net *n, nacre_tensor *p, double *values, int64_t i, double value) {
    double before = values[i];
    size_t bytes = (size_t)nacre_numel(p) * sizeof(double);
    values[i] = value;
    nacre_scope scope = nacre_scope_begin();
    assert_int_equal(nacre_copy_from(p, values, bytes), NACRE_OK);
    double loss = nacre_item(loss_of(n));
    nacre_scope_end(scope);
    values[i] = before;
    return loss;
}

/* Every stride-th element of a parameter. */
static void check_parameter(const net *n, nacre_tensor *p, int64_t stride) {
    int64_t count = nacre_numel(p);
    size_t bytes = (size_t)count * sizeof(double);
    double *values = malloc(bytes), *gradient = malloc(bytes);
    assert_int_equal(nacre_copy_to(p, values, bytes), NACRE_OK);
    assert_int_equal(nacre_copy_to(nacre_grad(p), gradient, bytes), NACRE_OK);
    const double h = 1e-6;
    bool before = nacre_set_grad_enabled(false);
    for (int64_t i = 0; i < count; i += stride) {
        double up = loss_with(n, p, values, i, values[i] + h);
        double down = loss_with(n, p, values, i, values[i] - h);
        double numeric = (up - down) / (2 * h);
        if (!(fabs(numeric - gradient[i]) <= 1e-7 + 1e-5 * fabs(gradient[i]))) {
            fail_msg("element %lld: %.10g, numeric %.10g", (long long)i, gradient[i], numeric);
        }
    }
    assert_int_equal(nacre_copy_from(p, values, bytes), NACRE_OK);
    nacre_set_grad_enabled(before);
    free(values);
    free(gradient);
}

static void check_network(const int64_t *widths, int count, int64_t batch, int64_t samples) {
    nacre_seed(3);
    nacre_scope scope = nacre_scope_begin();
    net n = build(widths, count, batch);
    nacre_tensor *loss = loss_of(&n);
    assert_int_equal(nacre_backward(loss), NACRE_OK);
    assert_int_equal(nacre_eval(loss), NACRE_OK);
    for (int i = 0; i < n.layers; i++) {
        int64_t weights = nacre_numel(n.weight[i]);
        check_parameter(&n, n.weight[i], samples ? weights / samples + 1 : 1);
        check_parameter(&n, n.bias[i], samples ? nacre_numel(n.bias[i]) / 4 + 1 : 1);
    }
    nacre_scope_end(scope);
    nacre_seed(1);
}

static void every_parameter_of_a_small_network(void **state) {
    (void)state;
    check_network((int64_t[]){12, 8, 8, 8, 4}, 5, 6, 0);
}

static void sampled_parameters_of_the_mnist_network(void **state) {
    (void)state;
    check_network((int64_t[]){784, 128, 128, 128, 10}, 5, 4, 12);
}

/* The modules' gradients in f32 against the same network in f64. */
static void the_networks_f32_gradients_are_those_of_f64(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    net n = build((int64_t[]){784, 128, 128, 128, 10}, 5, 8);
    nacre_module *module = nacre_mlp((int64_t[]){784, 128, 128, 128, 10}, 5);
    for (int i = 0; i < n.layers; i++) {
        for (int k = 0; k < 2; k++) {
            nacre_tensor *from = nacre_float(k == 0 ? n.weight[i] : n.bias[i]);
            nacre_tensor *to = nacre_module_parameter_at(module, (size_t)(2 * i + k));
            nacre_copy_from(to, nacre_data(from), (size_t)nacre_numel(to) * sizeof(float));
        }
    }
    nacre_tensor *y = nacre_module_forward(module, nacre_float(n.x));
    nacre_loss *loss = nacre_cross_entropy();
    assert_int_equal(nacre_backward(nacre_loss_compute(loss, y, n.target)), NACRE_OK);
    assert_int_equal(nacre_backward(loss_of(&n)), NACRE_OK);
    for (int i = 0; i < n.layers; i++) {
        nacre_tensor *weight = nacre_module_parameter_at(module, (size_t)(2 * i));
        const float *x = nacre_data(nacre_grad(weight));
        const double *wanted = nacre_data(nacre_grad(n.weight[i]));
        double difference = 0, norm = 0;
        for (int64_t k = 0; k < nacre_numel(weight); k++) {
            difference += pow(x[k] - wanted[k], 2);
            norm += wanted[k] * wanted[k];
        }
        assert_true(norm > 0 && sqrt(difference / norm) < 1e-5);
    }
    nacre_module_zero_grad(module);
    nacre_scope_end(scope);
    nacre_loss_free(loss);
    nacre_module_free(module);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_parameter_of_a_small_network),
        cmocka_unit_test(sampled_parameters_of_the_mnist_network),
        cmocka_unit_test(the_networks_f32_gradients_are_those_of_f64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
