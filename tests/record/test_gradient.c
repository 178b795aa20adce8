/* Back-propagation through the graph: who gets which gradient, and when it is refused. */
#include "base/memory.h"
#include "support.h"

#include <math.h>
#include <nacre/nacre.h>
#include <string.h>

static nacre_tensor *scalar(double value) {
    nacre_tensor *t = nacre_from_data(&(double){value}, NACRE_SCALAR, .dtype = NACRE_F64);
    return nacre_requires_grad(t, true);
}

static void a_tensor_used_twice_gets_the_sum(void **state) {
    (void)state;
    nacre_tensor *x = scalar(3), *y = scalar(4);
    nacre_tensor *z = nacre_add(nacre_mul(x, y), x);
    assert_int_equal(nacre_backward(z), NACRE_OK);
    assert_float_equal(nacre_item(nacre_grad(x)), 5, 0);
    assert_float_equal(nacre_item(nacre_grad(y)), 3, 0);
    assert_float_equal(nacre_item(z), 15, 0);
}

static void a_second_backward_adds_and_zero_grad_clears(void **state) {
    (void)state;
    nacre_tensor *x = scalar(3);
    nacre_tensor *z = nacre_mul(x, x);
    assert_false(nacre_has_grad(x));
    assert_int_equal(nacre_backward(z), NACRE_OK);
    assert_int_equal(nacre_backward(z), NACRE_OK);
    assert_float_equal(nacre_item(nacre_grad(x)), 12, 0);
    assert_int_equal(nacre_backward(z), NACRE_OK); /* adds in place to what is stored */
    assert_float_equal(nacre_item(nacre_grad(x)), 18, 0);
    nacre_zero_grad(x);
    assert_false(nacre_has_grad(x));
    assert_float_equal(nacre_item(nacre_grad(x)), 0, 0);
    assert_int_equal(nacre_backward(nacre_mul(x, x)), NACRE_OK);
    assert_float_equal(nacre_item(nacre_grad(x)), 6, 0);
}

static void the_gradient_is_zero_before_any_backward(void **state) {
    (void)state;
    nacre_tensor *x = nacre_requires_grad(nacre_ones(NACRE_SHAPE(2, 3)), true);
    nacre_tensor *g = nacre_grad(x);
    assert_int_equal(nacre_size(g, 1), 3);
    assert_float_equal(((const float *)nacre_data(g))[5], 0, 0);
}

static void no_history_inside_a_no_gradient_region_or_after_detach(void **state) {
    (void)state;
    nacre_tensor *x = scalar(3);
    bool before = nacre_set_grad_enabled(false);
    nacre_tensor *quiet = nacre_mul(x, x);
    nacre_set_grad_enabled(before);
    assert_false(nacre_has_requires_grad(quiet));
    assert_int_equal(nacre_backward(quiet), NACRE_INVALID_STATE);
    nacre_tensor *cut = nacre_detach(nacre_mul(x, x));
    assert_false(nacre_has_requires_grad(cut));
    assert_int_equal(nacre_backward(nacre_mul(cut, x)), NACRE_OK);
    assert_float_equal(nacre_item(nacre_grad(x)), 9, 0);
    nacre_error_clear();
}

static void gradients_of_gradients(void **state) {
    (void)state;
    nacre_tensor *x = scalar(2), *first, *second;
    nacre_tensor *y = nacre_mul(nacre_mul(x, x), x);
    assert_int_equal(nacre_gradients(y, &x, 1, &first), NACRE_OK);
    assert_int_equal(nacre_gradients(first, &x, 1, &second), NACRE_OK);
    assert_float_equal(nacre_item(first), 12, 1e-12);
    assert_float_equal(nacre_item(second), 12, 1e-12);
    assert_false(nacre_has_grad(x));
}

static void an_input_that_does_not_matter_has_zero_gradient(void **state) {
    (void)state;
    nacre_tensor *x = scalar(2), *other = scalar(5), *out[2];
    nacre_tensor *xs[] = {x, other};
    assert_int_equal(nacre_gradients(nacre_mul(x, x), xs, 2, out), NACRE_OK);
    assert_float_equal(nacre_item(out[0]), 4, 0);
    assert_float_equal(nacre_item(out[1]), 0, 0);
}

static void composites_without_a_rule_are_differentiated_through(void **state) {
    (void)state;
    nacre_tensor *p = nacre_requires_grad(nacre_full(NACRE_SHAPE(2, 2), 3.0), true);
    nacre_tensor *loss = nacre_f_mse(p, nacre_ones(NACRE_SHAPE(2, 2)));
    assert_int_equal(nacre_backward(loss), NACRE_OK);
    assert_float_equal(((const float *)nacre_data(nacre_grad(p)))[3], 1.0, 1e-6);
    assert_float_equal(nacre_item(loss), 4.0, 1e-6);
}

static void reading_the_loss_first_costs_no_second_forward(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *x = nacre_requires_grad(nacre_rand(NACRE_SHAPE(16, 16)), true);
    assert_int_equal(nacre_eval(x), NACRE_OK);
    nacre_tensor *loss = nacre_sum(nacre_exp(nacre_matmul(x, x)));
    double value = nacre_item(loss);
    assert_int_equal(nacre_backward(loss), NACRE_OK);
    nacre_explanation *plan = nacre_explain(nacre_grad(x));
    assert_non_null(plan);
    for (size_t i = 0; i < plan->count; i++) {
        assert_null(strstr(plan->steps[i].kernel, "exp")); /* stored by the first evaluation */
    }
    nacre_explanation_free(plan);
    assert_true(isfinite(value));
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
}

static void misuse_is_named(void **state) {
    (void)state;
    nacre_tensor *x = nacre_requires_grad(nacre_ones(NACRE_SHAPE(3)), true);
    assert_int_equal(nacre_backward(nacre_mul(x, x)), NACRE_SHAPE_MISMATCH);
    assert_non_null(strstr(nacre_error_message(), "[3], not one element"));
    assert_true(nacre_is_error(nacre_requires_grad(nacre_mul(x, x), true)));
    nacre_tensor *whole = nacre_ones(NACRE_SHAPE(3), .dtype = NACRE_I64);
    assert_true(nacre_is_error(nacre_requires_grad(whole, true)));
    assert_true(nacre_is_error(nacre_grad(nacre_ones(NACRE_SHAPE(1)))));
    assert_int_equal(nacre_backward_from(nacre_mul(x, x), nacre_ones(NACRE_SHAPE(2))),
                     NACRE_SHAPE_MISMATCH);
    assert_int_equal(nacre_accumulate_grad(x, nacre_ones(NACRE_SHAPE(4))), NACRE_SHAPE_MISMATCH);
    assert_false(nacre_has_grad(x));
    nacre_error_clear();
}

static void an_absent_tensor_is_named_wherever_gradients_are_asked_for(void **state) {
    (void)state;
    nacre_tensor *x = nacre_requires_grad(nacre_ones(NACRE_SHAPE(3)), true), *none = NULL, *g;
    nacre_tensor *y = nacre_mul(x, x), *empty = nacre_grad(x);
    nacre_zero_grad(x);
    nacre_zero_grad(NULL);
    assert_int_equal(nacre_backward(NULL), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_backward_from(y, NULL), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_backward_from(y, empty), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_gradients(NULL, &x, 1, &g), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_gradients(y, &none, 1, &g), NACRE_INVALID_ARGUMENT);
    assert_true(nacre_is_error(g));
    assert_int_equal(nacre_accumulate_grad(NULL, x), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_accumulate_grad(x, NULL), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_accumulate_grad(x, empty), NACRE_INVALID_ARGUMENT);
    assert_non_null(strstr(nacre_error_message(), "empty gradient slot"));
    assert_true(nacre_is_error(nacre_requires_grad(NULL, true)));
    assert_true(nacre_is_error(nacre_grad(NULL)));
    assert_true(nacre_is_error(nacre_detach(NULL)));
    assert_true(nacre_is_error(nacre_detach(empty)));
    assert_false(nacre_has_grad(NULL) || nacre_has_requires_grad(NULL));
    assert_true(nacre_is_error(NULL));
    assert_int_equal(nacre_tensor_status(NULL), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_numel(NULL), 0);
    assert_string_equal(nacre_grad_fn(NULL), "");
    nacre_error_clear();
}

static void a_failed_backward_changes_no_slot(void **state) {
    (void)state;
    nacre_tensor *x = nacre_requires_grad(nacre_ones(NACRE_SHAPE(64)), true);
    nacre_tensor *w = nacre_requires_grad(nacre_ones(NACRE_SHAPE(64)), true);
    assert_int_equal(nacre_eval(x), NACRE_OK);
    assert_int_equal(nacre_eval(w), NACRE_OK);
    bool done = false;
    for (uint64_t n = 1; !done && n < 500; n++) {
        nacre_scope scope = nacre_scope_begin();
        nacre_tensor *loss = nacre_sum(nacre_mul(nacre_exp(x), w));
        nacre_memory_fail_at(n);
        nacre_status status = nacre_backward(loss);
        nacre_memory_fail_at(0);
        done = status == NACRE_OK;
        if (!done) {
            assert_int_equal(status, NACRE_OUT_OF_MEMORY);
            assert_false(nacre_has_grad(x) && !nacre_has_grad(w));
        }
        nacre_zero_grad(x);
        nacre_zero_grad(w);
        nacre_scope_end(scope);
    }
    assert_true(done);
    nacre_error_clear();
}

/* A gradient of several results, one of them never stored, must let go of what it was made from: it held the leaves,
   whose slots held it. */
static void gradients_with_several_results_free_their_graph(void **state) {
    (void)state;
    size_t live = 0;
    for (int step = 0; step < 4; step++) {
        nacre_scope scope = nacre_scope_begin();
        nacre_tensor *x = nacre_rand(NACRE_SHAPE(6, 2, 5, 5)),
                     *w = nacre_rand(NACRE_SHAPE(3, 2, 3, 3));
        nacre_tensor *scale = nacre_rand(NACRE_SHAPE(3)), *shift = nacre_rand(NACRE_SHAPE(3));
        assert_int_equal(nacre_eval_all((nacre_tensor *[]){x, w, scale, shift}, 4), NACRE_OK);
        nacre_requires_grad(w, true), nacre_requires_grad(scale, true);
        nacre_tensor *y = nacre_f_batch_norm(nacre_f_conv2d(x, w), scale, shift);
        assert_int_equal(nacre_backward(nacre_sum(nacre_mul(y, y))), NACRE_OK);
        assert_int_equal(nacre_eval(y), NACRE_OK);
        assert_int_equal(nacre_eval(nacre_grad(w)), NACRE_OK);
        assert_int_equal(nacre_eval(nacre_grad(scale)), NACRE_OK);
        assert_int_equal(nacre_scope_end(scope), NACRE_OK);
        nacre_pool_trim();
        if (step == 1) live = nacre_memory().live_bytes; /* the plans are made */
    }
    assert_int_equal(nacre_memory().live_bytes, live);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tensor_used_twice_gets_the_sum),
        cmocka_unit_test(a_second_backward_adds_and_zero_grad_clears),
        cmocka_unit_test(the_gradient_is_zero_before_any_backward),
        cmocka_unit_test(no_history_inside_a_no_gradient_region_or_after_detach),
        cmocka_unit_test(gradients_of_gradients),
        cmocka_unit_test(an_input_that_does_not_matter_has_zero_gradient),
        cmocka_unit_test(composites_without_a_rule_are_differentiated_through),
        cmocka_unit_test(reading_the_loss_first_costs_no_second_forward),
        cmocka_unit_test(misuse_is_named),
        cmocka_unit_test(an_absent_tensor_is_named_wherever_gradients_are_asked_for),
        cmocka_unit_test(a_failed_backward_changes_no_slot),
        cmocka_unit_test(gradients_with_several_results_free_their_graph),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
