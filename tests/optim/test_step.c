/* What a step does beside the arithmetic: gradients, clipping, errors, state. */
#include "support.h"

#include "optim/optimizer.h"

#include <math.h>
#include <nacre/nacre.h>
#include <string.h>

static void set(nacre_tensor *t, const float *data) {
    assert_int_equal(nacre_copy_from(t, data, (size_t)nacre_numel(t) * sizeof *data), NACRE_OK);
}

/* Linear 1 -> 2 with SGD at rate 1: a step subtracts the gradient as it was used. */
typedef struct setup {
    nacre_module *module;
    nacre_optimizer *sgd;
    nacre_tensor *weight, *bias;
} setup;

static setup begin(void) {
    setup s = {.module = nacre_linear(1, 2), .sgd = nacre_sgd(.lr = 1)};
    assert_int_equal(nacre_optimizer_bind(s.sgd, s.module), NACRE_OK);
    s.weight = nacre_module_parameter_at(s.module, 0);
    s.bias = nacre_module_parameter_at(s.module, 1);
    return s;
}

static void end(setup *s) {
    nacre_optimizer_free(s->sgd);
    nacre_module_free(s->module);
}

static void give(nacre_tensor *p, float a, float b) {
    nacre_tensor *g = nacre_from_data(((float[]){a, b}), nacre_shape_of(p), .dtype = NACRE_F32);
    assert_int_equal(nacre_accumulate_grad(p, g), NACRE_OK);
}

static void assert_pair(nacre_tensor *p, double a, double b) {
    const float *x = nacre_data(p);
    assert_non_null(x);
    if (!(fabs(x[0] - a) < 1e-5) || !(fabs(x[1] - b) < 1e-5)) {
        fail_msg("(%g, %g), not (%g, %g)", (double)x[0], (double)x[1], a, b);
    }
}

static void clipping_by_value_bounds_each_element(void **state) {
    (void)state;
    setup s = begin();
    assert_int_equal(nacre_optimizer_clip_value(s.sgd, 0.5), NACRE_OK);
    give(s.weight, 3, -0.25f);
    give(s.bias, -100, 0.5f);
    assert_int_equal(nacre_step(s.sgd), NACRE_OK);
    assert_pair(s.weight, -0.5, 0.25);
    assert_pair(s.bias, 0.5, -0.5);
    end(&s);
}

static void clipping_by_norm_scales_all_gradients_together(void **state) {
    (void)state;
    setup s = begin();
    nacre_optimizer_clip_norm(s.sgd, 1);
    give(s.weight, 3, 0);
    give(s.bias, 0, -4); /* joint norm 5 */
    assert_int_equal(nacre_step(s.sgd), NACRE_OK);
    assert_pair(s.weight, -0.6, 0);
    assert_pair(s.bias, 0, 0.8);
    /* Below the bound nothing is scaled. */
    give(s.weight, 0.5f, 0);
    assert_int_equal(nacre_step(s.sgd), NACRE_OK);
    assert_pair(s.weight, -1.1, 0);
    end(&s);
}

static void values_are_clipped_before_the_norm(void **state) {
    (void)state;
    setup s = begin();
    nacre_optimizer_clip_value(s.sgd, 3);
    nacre_optimizer_clip_norm(s.sgd, 1);
    give(s.weight, 300, 0);
    give(s.bias, 0, -400);
    assert_int_equal(nacre_step(s.sgd), NACRE_OK);
    assert_pair(s.weight, -sqrt(0.5), 0);
    assert_pair(s.bias, 0, sqrt(0.5));
    end(&s);
}

static void a_gradient_of_zeros_survives_clipping(void **state) {
    (void)state;
    setup s = begin();
    nacre_optimizer_clip_norm(s.sgd, 1);
    give(s.weight, 0, 0);
    assert_int_equal(nacre_step(s.sgd), NACRE_OK);
    assert_pair(s.weight, 0, 0);
    end(&s);
}

static void bad_bounds_are_refused(void **state) {
    (void)state;
    setup s = begin();
    assert_int_equal(nacre_optimizer_clip_norm(s.sgd, -1), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_optimizer_clip_norm(s.sgd, NAN), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_optimizer_clip_value(s.sgd, INFINITY), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_optimizer_clip_norm(NULL, 1), NACRE_INVALID_ARGUMENT);
    end(&s);
}

static void a_step_without_gradients_is_an_error(void **state) {
    (void)state;
    setup s = begin();
    assert_int_equal(nacre_step(s.sgd), NACRE_INVALID_STATE);
    assert_non_null(strstr(nacre_error_message(), "nacre_backward"));
    give(s.weight, 1, 1);
    assert_int_equal(nacre_step(s.sgd), NACRE_OK);
    assert_int_equal(nacre_step(s.sgd), NACRE_INVALID_STATE); /* it consumed them */
    assert_int_equal(nacre_optimizer_steps(s.sgd), 1);
    end(&s);
}

static void parameters_without_a_gradient_stay(void **state) {
    (void)state;
    setup s = begin();
    set(s.bias, (float[]){5, 6});
    give(s.weight, 1, 2);
    assert_int_equal(nacre_step(s.sgd), NACRE_OK);
    assert_pair(s.weight, -1, -2);
    assert_pair(s.bias, 5, 6);
    end(&s);
}

static void kept_gradients_are_used_again(void **state) {
    (void)state;
    setup s = begin();
    give(s.weight, 1, 2);
    assert_int_equal(nacre_step(s.sgd, .keep_grads = true), NACRE_OK);
    assert_true(nacre_has_grad(s.weight));
    assert_pair(nacre_grad(s.weight), 1, 2);
    assert_int_equal(nacre_step(s.sgd), NACRE_OK);
    assert_false(nacre_has_grad(s.weight));
    assert_pair(s.weight, -2, -4);
    end(&s);
}

static nacre_tensor *flag(bool value) {
    nacre_tensor *one = nacre_full(NACRE_SCALAR, 1);
    return value ? nacre_greater(one, nacre_full(NACRE_SCALAR, 0)) : nacre_less(one, one);
}

static void a_step_that_is_not_ok_changes_nothing(void **state) {
    (void)state;
    nacre_module *module = nacre_linear(1, 2);
    nacre_optimizer *adam = nacre_adam(.lr = 0.5);
    nacre_optimizer_bind(adam, module);
    nacre_tensor *weight = nacre_module_parameter_at(module, 0);
    give(weight, 1, -1);
    assert_int_equal(nacre_step(adam, .ok = flag(false)), NACRE_OK);
    assert_pair(weight, 0, 0);
    assert_int_equal(nacre_optimizer_steps(adam), 0);
    nacre_state_dict *dict = nacre_optimizer_state(adam);
    assert_int_equal(nacre_item_i64(nacre_state_dict_find(dict, "step")), 0);
    assert_pair(nacre_state_dict_find(dict, "weight.m"), 0, 0);
    give(weight, 1, -1);
    assert_int_equal(nacre_step(adam, .ok = flag(true)), NACRE_OK);
    assert_pair(weight, -0.5, 0.5);
    assert_int_equal(nacre_optimizer_steps(adam), 1);
    give(weight, 1, -1);
    assert_int_equal(nacre_step(adam, .ok = nacre_full(NACRE_SCALAR, 1)), NACRE_INVALID_ARGUMENT);
    nacre_state_dict_free(dict);
    nacre_optimizer_free(adam);
    nacre_module_free(module);
}

static void a_rate_of_zero_changes_no_weight(void **state) {
    (void)state;
    nacre_module *module = nacre_linear(1, 2);
    nacre_optimizer *adam = nacre_adam(.lr = NACRE_ZERO), *sgd = nacre_sgd(0);
    assert_true(nacre_optimizer_rate(adam) == 0);
    assert_true(nacre_optimizer_rate(sgd) == 0.01);
    nacre_optimizer_bind(adam, module);
    nacre_tensor *weight = nacre_module_parameter_at(module, 0);
    set(weight, (float[]){1, 2});
    give(weight, 1, -1);
    assert_int_equal(nacre_step(adam), NACRE_OK);
    assert_pair(weight, 1, 2);
    assert_int_equal(nacre_optimizer_steps(adam), 1);
    nacre_optimizer_free(adam);
    nacre_optimizer_free(sgd);
    nacre_module_free(module);
}

static void bad_options_stay_with_the_optimizer(void **state) {
    (void)state;
    nacre_optimizer *bad[] = {
        nacre_sgd(.lr = -1),
        nacre_sgd(.lr = NAN),
        nacre_sgd(.lr = INFINITY),
        nacre_sgd(.momentum = 1),
        nacre_sgd(.weight_decay = -1),
        nacre_adam(.betas = {0.9, 1}),
        nacre_adam(.epsilon = -1),
        nacre_adam(.weight_decay = NAN),
        nacre_adamw(.weight_decay = -1),
        nacre_sgd_at(NULL),
        nacre_optimizer_new(NULL, NULL, 1),
    };
    nacre_module *module = nacre_linear(1, 2);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(nacre_optimizer_status(bad[i]), NACRE_INVALID_ARGUMENT);
        assert_true(strlen(nacre_optimizer_message(bad[i])) > 10);
        assert_int_equal(nacre_optimizer_bind(bad[i], module), NACRE_INVALID_ARGUMENT);
        assert_int_equal(nacre_step(bad[i]), NACRE_INVALID_ARGUMENT);
        nacre_optimizer_free(bad[i]);
    }
    assert_int_equal(nacre_step(NULL), NACRE_INVALID_ARGUMENT);
    nacre_optimizer *unbound = nacre_sgd(0);
    assert_int_equal(nacre_step(unbound), NACRE_INVALID_STATE);
    assert_null(nacre_optimizer_state(unbound));
    assert_int_equal(nacre_optimizer_bind(unbound, module), NACRE_OK);
    assert_int_equal(nacre_optimizer_bind(unbound, module), NACRE_INVALID_STATE);
    nacre_optimizer_free(unbound);
    nacre_module_free(module);
}

static void a_parameter_listed_twice_is_refused(void **state) {
    (void)state;
    nacre_module *a = nacre_linear(1, 2), *b = nacre_linear(1, 2);
    nacre_module *const twice[] = {a, b, a}, *const once[] = {a, b};
    const char *const prefixes[] = {"first.", "second.", "third."};
    nacre_optimizer *adam = nacre_adam(.lr = 0.5);
    assert_int_equal(nacre_optimizer_bind_all(adam, twice, prefixes, 3), NACRE_INVALID_ARGUMENT);
    assert_string_equal(nacre_error_message(),
                        "Adam: parameters \"first.weight\" and \"third.weight\" are the same "
                        "tensor: a step would change it twice; list it once");
    assert_int_equal(nacre_step(adam), NACRE_INVALID_STATE); /* it has no parameters */
    assert_int_equal(nacre_optimizer_bind_all(adam, once, prefixes, 2), NACRE_OK);
    nacre_tensor *weight = nacre_module_parameter_at(a, 0);
    set(weight, (float[]){0, 0});
    give(weight, 1, -1);
    assert_int_equal(nacre_step(adam), NACRE_OK);
    assert_pair(weight, -0.5, 0.5);
    nacre_optimizer_free(adam);
    nacre_module_free(a);
    nacre_module_free(b);
}

static void state_continues_in_another_optimizer(void **state) {
    (void)state;
    nacre_module *a = nacre_linear(1, 2), *b = nacre_linear(1, 2);
    nacre_optimizer *first = nacre_adam(.lr = 0.1), *second = nacre_adam(.lr = 0.1);
    nacre_optimizer_bind(first, a);
    nacre_optimizer_bind(second, b);
    nacre_tensor *x = nacre_module_parameter_at(a, 0), *y = nacre_module_parameter_at(b, 0);
    give(x, 1, -3);
    assert_int_equal(nacre_step(first), NACRE_OK);

    nacre_state_dict *weights = nacre_module_state(a), *own = nacre_optimizer_state(first);
    assert_int_equal(nacre_state_dict_count(own), 5);
    assert_string_equal(nacre_state_dict_name(own, 0), "step");
    assert_non_null(nacre_state_dict_find(own, "bias.v"));
    assert_int_equal(nacre_module_load_state(b, weights), NACRE_OK);
    assert_int_equal(nacre_optimizer_load_state(second, own), NACRE_OK);
    assert_int_equal(nacre_optimizer_steps(second), 1);
    give(x, 2, 5);
    give(y, 2, 5);
    assert_int_equal(nacre_step(first), NACRE_OK);
    assert_int_equal(nacre_step(second), NACRE_OK);
    assert_memory_equal(nacre_data(x), nacre_data(y), 2 * sizeof(float));

    nacre_optimizer *sgd = nacre_sgd(.momentum = 0.5);
    nacre_optimizer_bind(sgd, b);
    assert_int_not_equal(nacre_optimizer_load_state(sgd, own), NACRE_OK);
    assert_non_null(strstr(nacre_error_message(), "velocity"));
    nacre_state_dict_free(weights);
    nacre_state_dict_free(own);
    nacre_optimizer_free(first);
    nacre_optimizer_free(second);
    nacre_optimizer_free(sgd);
    nacre_module_free(a);
    nacre_module_free(b);
}

static void a_hundred_steps_allocate_nothing(void **state) {
    (void)state;
    setup s = begin();
    uint64_t before = 0;
    nacre_optimizer_clip_norm(s.sgd, 1);
    for (int i = 0; i < 110; i++) {
        if (i == 10) {
            before = nacre_memory().allocations;
        }
        nacre_scope scope = nacre_scope_begin();
        nacre_tensor *y = nacre_module_forward(s.module, nacre_full(NACRE_SHAPE(3, 1), 2));
        nacre_tensor *loss = nacre_mean(nacre_mul(y, y));
        assert_int_equal(nacre_backward(loss), NACRE_OK);
        assert_int_equal(nacre_step(s.sgd), NACRE_OK);
        assert_true(isfinite(nacre_item(loss)));
        nacre_scope_end(scope);
    }
    assert_int_equal(nacre_memory().allocations, before);
    end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clipping_by_value_bounds_each_element),
        cmocka_unit_test(clipping_by_norm_scales_all_gradients_together),
        cmocka_unit_test(values_are_clipped_before_the_norm),
        cmocka_unit_test(a_gradient_of_zeros_survives_clipping),
        cmocka_unit_test(bad_bounds_are_refused),
        cmocka_unit_test(a_step_without_gradients_is_an_error),
        cmocka_unit_test(parameters_without_a_gradient_stay),
        cmocka_unit_test(kept_gradients_are_used_again),
        cmocka_unit_test(a_step_that_is_not_ok_changes_nothing),
        cmocka_unit_test(a_rate_of_zero_changes_no_weight),
        cmocka_unit_test(bad_options_stay_with_the_optimizer),
        cmocka_unit_test(a_parameter_listed_twice_is_refused),
        cmocka_unit_test(state_continues_in_another_optimizer),
        cmocka_unit_test(a_hundred_steps_allocate_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
