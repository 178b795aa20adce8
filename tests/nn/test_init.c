/* How parameters start. */
#include "support.h"

#include <math.h>
#include <nacre/nacre.h>
#include <string.h>

static void moments(nacre_tensor *t, double *mean, double *std, double *largest) {
    const float *x = nacre_data(t);
    int64_t n = nacre_numel(t);
    double sum = 0, square = 0;
    *largest = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += x[i];
        square += (double)x[i] * x[i];
        *largest = fmax(*largest, fabs(x[i]));
    }
    *mean = sum / (double)n;
    *std = sqrt(square / (double)n - *mean * *mean);
}

static void he_weights_keep_the_variance(void **state) {
    (void)state;
    nacre_module *layer = nacre_linear(784, 128);
    nacre_module_init(layer, 1);
    nacre_tensor *weight = nacre_module_parameter_at(layer, 0);
    assert_int_equal(nacre_size(weight, 0), 128);
    assert_int_equal(nacre_size(weight, 1), 784);
    double mean, std, largest, wanted = sqrt(2.0 / 784);
    moments(weight, &mean, &std, &largest);
    assert_true(fabs(mean) < 4 * wanted / sqrt(128.0 * 784));
    assert_true(fabs(std / wanted - 1) < 0.01);
    assert_true(largest > 3.5 * wanted && largest < 6.5 * wanted);
    moments(nacre_module_parameter_at(layer, 1), &mean, &std, &largest);
    assert_true(largest == 0); /* biases */
    nacre_module_free(layer);
}

static void xavier_weights_fill_their_interval(void **state) {
    (void)state;
    nacre_module *layer = nacre_linear(300, 200, .init = NACRE_INIT_XAVIER);
    nacre_module_init(layer, 1);
    double mean, std, largest, bound = sqrt(6.0 / 500);
    moments(nacre_module_parameter_at(layer, 0), &mean, &std, &largest);
    assert_true(largest <= bound && largest > 0.999 * bound);
    assert_true(fabs(std / (bound / sqrt(3)) - 1) < 0.01);
    nacre_module_free(layer);
}

static void constants_are_constant(void **state) {
    (void)state;
    nacre_module *zeros = nacre_linear(3, 3, .init = NACRE_INIT_ZEROS);
    nacre_module *ones = nacre_linear(3, 3, .init = NACRE_INIT_ONES);
    nacre_module_init(zeros, 1);
    nacre_module_init(ones, 1);
    const float *a = nacre_data(nacre_module_parameter_at(zeros, 0));
    const float *b = nacre_data(nacre_module_parameter_at(ones, 0));
    for (int i = 0; i < 9; i++) {
        assert_true(a[i] == 0 && b[i] == 1);
    }
    nacre_module_free(zeros);
    nacre_module_free(ones);
}

static bool same(nacre_tensor *a, nacre_tensor *b) {
    return memcmp(nacre_data(a), nacre_data(b), (size_t)nacre_numel(a) * sizeof(float)) == 0;
}

/* C leaves the order in which arguments are evaluated open: it must not matter. */
static void weights_depend_on_name_and_seed_alone(void **state) {
    (void)state;
    nacre_module *late = nacre_linear(8, 8), *early = nacre_linear(8, 8);
    nacre_module *a = nacre_sequential(early, nacre_relu(), late);
    nacre_module *b = nacre_sequential(nacre_linear(8, 8), nacre_relu(), nacre_linear(8, 8));
    nacre_module_init(a, 5);
    nacre_module_init(b, 5);
    nacre_tensor *first = nacre_module_parameter_at(a, 0), *third = nacre_module_parameter_at(a, 2);
    assert_true(same(first, nacre_module_parameter_at(b, 0)));
    assert_true(same(third, nacre_module_parameter_at(b, 2)));
    assert_false(same(first, third));
    nacre_module_init(b, 6);
    assert_false(same(first, nacre_module_parameter_at(b, 0)));
    nacre_module_init(b, 5);
    assert_true(same(first, nacre_module_parameter_at(b, 0)));
    nacre_module_free(a);
    nacre_module_free(b);
}

static void weights_do_not_depend_on_threads(void **state) {
    (void)state;
    nacre_module *a = nacre_linear(200, 100), *b = nacre_linear(200, 100);
    nacre_set_threads(1);
    nacre_module_init(a, 1);
    nacre_set_threads(7);
    nacre_module_init(b, 1);
    nacre_set_threads(0);
    assert_true(same(nacre_module_parameter_at(a, 0), nacre_module_parameter_at(b, 0)));
    nacre_module_free(a);
    nacre_module_free(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(he_weights_keep_the_variance),
        cmocka_unit_test(xavier_weights_fill_their_interval),
        cmocka_unit_test(constants_are_constant),
        cmocka_unit_test(weights_depend_on_name_and_seed_alone),
        cmocka_unit_test(weights_do_not_depend_on_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
