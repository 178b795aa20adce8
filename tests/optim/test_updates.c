/* Optimisers against golden values and on problems whose answer is known. */
#include "support.h"

#include "golden.h"

#include <math.h>
#include <nacre/nacre.h>
#include <string.h>

enum { STEPS = 6, WIDTH = 4 };

/* A module that is one parameter "p" [4]. */
static nacre_tensor *no_forward(nacre_module *module, void *self, nacre_tensor *x) {
    (void)module, (void)self;
    return x;
}

static nacre_module *one_parameter(const float start[WIDTH]) {
    const nacre_module_class class_ = {.size = sizeof class_, .name = "P", .forward = no_forward};
    nacre_module *module = nacre_module_new(&class_, NULL);
    nacre_tensor *p = nacre_module_parameter(module, "p", NACRE_SHAPE(WIDTH), NACRE_INIT_ZEROS);
    assert_int_equal(nacre_copy_from(p, start, WIDTH * sizeof(float)), NACRE_OK);
    return module;
}

static const float start[WIDTH] = {1, -2, 0.5f, 3};

static void give_gradient(nacre_tensor *p, const double *gradient) {
    float g[WIDTH];
    for (int i = 0; i < WIDTH; i++) {
        g[i] = (float)gradient[i];
    }
    assert_int_equal(
        nacre_accumulate_grad(p, nacre_from_data(g, NACRE_SHAPE(WIDTH), .dtype = NACRE_F32)),
        NACRE_OK);
}

static void check_golden(nacre_optimizer *optimizer, const double golden[STEPS][WIDTH]) {
    nacre_module *module = one_parameter(start);
    nacre_tensor *p = nacre_module_parameter_at(module, 0);
    assert_int_equal(nacre_optimizer_bind(optimizer, module), NACRE_OK);
    for (int t = 0; t < STEPS; t++) {
        nacre_scope scope = nacre_scope_begin();
        give_gradient(p, golden_gradients[t]);
        assert_int_equal(nacre_step(optimizer), NACRE_OK);
        assert_int_equal(nacre_optimizer_steps(optimizer), t + 1);
        nacre_scope_end(scope);
        const float *x = nacre_data(p);
        for (int i = 0; i < WIDTH; i++) {
            if (fabs(x[i] - golden[t][i]) > 3e-6 * (1 + fabs(golden[t][i]))) {
                fail_msg("step %d, element %d: %.9g, not %.9g", t, i, (double)x[i], golden[t][i]);
            }
        }
    }
    nacre_optimizer_free(optimizer);
    nacre_module_free(module);
}

static void updates_are_those_of_the_papers(void **state) {
    (void)state;
    check_golden(nacre_sgd(.lr = 0.1), golden_sgd);
    check_golden(nacre_sgd(.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01), golden_momentum);
    check_golden(nacre_adam(.lr = 0.05), golden_adam);
    check_golden(nacre_adam(.lr = 0.05, .betas = {0.8, 0.95}, .weight_decay = 0.1), golden_adamw);
    check_golden(nacre_adamw(.lr = 0.05, .betas = {0.8, 0.95}, .weight_decay = 0.1), golden_adamw);
    check_golden(nacre_adamw(.lr = 0.05, .weight_decay = NACRE_ZERO), golden_adam);
}

static void adamw_decays_by_a_hundredth_unless_told_otherwise(void **state) {
    (void)state;
    float weights[2][4];
    for (int i = 0; i < 2; i++) {
        nacre_module *module = one_parameter(start);
        nacre_optimizer *optimizer =
            i ? nacre_adam(.lr = 0.5, .weight_decay = 0.01) : nacre_adamw(.lr = 0.5);
        assert_string_equal(nacre_optimizer_kind(optimizer), i ? "Adam" : "AdamW");
        assert_int_equal(nacre_optimizer_bind(optimizer, module), NACRE_OK);
        nacre_tensor *p = nacre_module_parameter_at(module, 0);
        for (int k = 0; k < 3; k++) {
            nacre_backward(nacre_sum(nacre_mul(p, p)));
            assert_int_equal(nacre_step(optimizer), NACRE_OK);
        }
        assert_int_equal(nacre_copy_to(p, weights[i], sizeof weights[i]), NACRE_OK);
        nacre_optimizer_free(optimizer);
        nacre_module_free(module);
    }
    assert_memory_equal(weights[0], weights[1], sizeof weights[0]);
}

/* The first step of Adam is lr * sign(g), whatever g's size: by hand. */
static void adams_first_step_is_the_learning_rate(void **state) {
    (void)state;
    nacre_module *module = one_parameter(start);
    nacre_optimizer *adam = nacre_adam(.lr = 0.5);
    nacre_tensor *p = nacre_module_parameter_at(module, 0);
    nacre_optimizer_bind(adam, module);
    give_gradient(p, (double[]){1e-3, -20, 1e3, -1});
    assert_int_equal(nacre_step(adam), NACRE_OK);
    const float *x = nacre_data(p), wanted[] = {0.5f, -1.5f, 0, 3.5f};
    for (int i = 0; i < WIDTH; i++) {
        assert_true(fabsf(x[i] - wanted[i]) < 1e-4f);
    }
    nacre_optimizer_free(adam);
    nacre_module_free(module);
}

/* sum((p - c)^2) */
static double quadratic_after(nacre_optimizer *optimizer, int steps) {
    nacre_module *module = one_parameter(start);
    nacre_tensor *p = nacre_module_parameter_at(module, 0);
    assert_int_equal(nacre_optimizer_bind(optimizer, module), NACRE_OK);
    double value = NAN, first = NAN;
    for (int t = 0; t < steps; t++) {
        nacre_scope scope = nacre_scope_begin();
        nacre_tensor *c =
            nacre_from_data(((float[]){4, 3, 2, 1}), NACRE_SHAPE(WIDTH), .dtype = NACRE_F32);
        nacre_tensor *difference = nacre_sub(p, c);
        nacre_tensor *loss = nacre_sum(nacre_mul(difference, difference));
        assert_int_equal(nacre_backward(loss), NACRE_OK);
        assert_int_equal(nacre_step(optimizer), NACRE_OK);
        value = nacre_item(loss);
        first = t == 0 ? value : first;
        assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    }
    assert_true(fabs(first - 40.25) < 1e-4);
    nacre_optimizer_free(optimizer);
    nacre_module_free(module);
    return value;
}

static void every_optimizer_finds_the_minimum_of_a_quadratic(void **state) {
    (void)state;
    assert_true(quadratic_after(nacre_sgd(.lr = 0.1), 100) < 1e-8);
    assert_true(quadratic_after(nacre_sgd(.lr = 0.05, .momentum = 0.8), 200) < 1e-8);
    assert_true(quadratic_after(nacre_adam(.lr = 0.1), 400) < 1e-4);
}

static void linear_regression_finds_its_line(void **state) {
    (void)state;
    nacre_module *line = nacre_linear(1, 1);
    nacre_loss *mse = nacre_mse();
    nacre_optimizer *sgd = nacre_sgd(.lr = 0.1);
    nacre_module_init(line, 1);
    nacre_optimizer_bind(sgd, line);
    float x[16], y[16];
    for (int i = 0; i < 16; i++) {
        x[i] = (float)i / 8 - 1;
        y[i] = 3 * x[i] - 2;
    }
    nacre_tensor *inputs = nacre_from_data(x, NACRE_SHAPE(16, 1), .dtype = NACRE_F32);
    nacre_tensor *targets = nacre_from_data(y, NACRE_SHAPE(16, 1), .dtype = NACRE_F32);
    double before = INFINITY;
    for (int t = 0; t < 200; t++) {
        nacre_scope scope = nacre_scope_begin();
        nacre_tensor *loss = nacre_loss_compute(mse, nacre_module_forward(line, inputs), targets);
        nacre_backward(loss);
        assert_int_equal(nacre_step(sgd), NACRE_OK);
        double value = nacre_item(loss);
        assert_true(value <= before);
        before = value;
        nacre_scope_end(scope);
    }
    assert_true(before < 1e-6);
    assert_true(fabs(nacre_item(nacre_module_parameter_at(line, 0)) - 3) < 1e-3);
    assert_true(fabs(nacre_item(nacre_module_parameter_at(line, 1)) + 2) < 1e-3);
    nacre_optimizer_free(sgd);
    nacre_loss_free(mse);
    nacre_module_free(line);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(updates_are_those_of_the_papers),
        cmocka_unit_test(adamw_decays_by_a_hundredth_unless_told_otherwise),
        cmocka_unit_test(adams_first_step_is_the_learning_rate),
        cmocka_unit_test(every_optimizer_finds_the_minimum_of_a_quadratic),
        cmocka_unit_test(linear_regression_finds_its_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
