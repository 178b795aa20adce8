/* Values that several handles share, or outlive their inputs: no gradient strays, no memory is shared by two
   variables, and one value that cannot be had does not take others along. */
#include "pairs.h"
#include "support.h"

#include <nacre/nacre.h>

static nacre_tensor *parameter(float a, float b) {
    return nacre_requires_grad(variable(a, b), true);
}

static void two_variables_never_share_memory(void **state) {
    (void)state;
    nacre_tensor *a = variable(1, 2), *b = nacre_add_scalar(a, 1);
    assert_int_equal(nacre_assign(a, b), NACRE_OK);
    assert_int_equal(nacre_eval(a), NACRE_OK);
    assert_int_equal(nacre_assign(a, nacre_mul_scalar(a, 10)), NACRE_OK);
    assert_int_equal(nacre_assign(b, nacre_mul_scalar(b, 100)), NACRE_OK);
    assert_values(a, 20, 30);
    assert_values(b, 200, 300);
}

static void an_initial_value_used_elsewhere_wants_no_gradient(void **state) {
    (void)state;
    nacre_tensor *w = parameter(0, 0);
    nacre_tensor *initial = nacre_full(NACRE_SHAPE(2), 3.0);
    nacre_tensor *scaled = nacre_mul(variable(1, 2), initial); /* read before it is assigned */
    assert_int_equal(nacre_assign(w, initial), NACRE_OK);
    assert_false(nacre_has_requires_grad(initial));
    nacre_tensor *loss = nacre_sum(nacre_mul(nacre_mul(w, initial), scaled));
    assert_int_equal(nacre_backward(loss), NACRE_OK);
    assert_values(nacre_grad(w), 9, 18);
    assert_int_equal(nacre_backward(initial), NACRE_INVALID_STATE);
    nacre_error_clear();
}

static void a_reader_recorded_before_the_assignment_keeps_its_gradient(void **state) {
    (void)state;
    nacre_tensor *w = parameter(1, 2), *u = parameter(5, 6);
    nacre_tensor *constant = nacre_full(NACRE_SHAPE(2), 3.0), *y = nacre_mul(u, constant);
    assert_int_equal(nacre_assign(w, constant), NACRE_OK);
    assert_int_equal(nacre_backward(nacre_sum(y)), NACRE_OK);
    assert_false(nacre_has_grad(w));
    assert_values(nacre_grad(u), 3, 3);
}

static void gradients_flow_past_a_value_that_was_assigned(void **state) {
    (void)state;
    nacre_tensor *w = parameter(1, 2);
    nacre_tensor *twice = nacre_mul_scalar(w, 2), *loss = nacre_sum(nacre_mul(twice, twice));
    assert_int_equal(nacre_assign(w, twice), NACRE_OK);
    assert_int_equal(nacre_backward(loss), NACRE_OK);
    assert_values(nacre_grad(w), 8, 16);
    assert_values(w, 2, 4);
    assert_values(twice, 2, 4);
}

static void a_copy_in_a_buffer_is_no_part_of_its_source_s_history(void **state) {
    (void)state;
    for (int eager = 0; eager < 2; eager++) {
        nacre_set_eager(eager);
        nacre_tensor *w = parameter(1, 2), *buffer = variable(0, 0);
        nacre_tensor *h = nacre_mul_scalar(w, 3), *y = nacre_mul(h, h), *g[2];
        assert_int_equal(nacre_assign(buffer, h), NACRE_OK);
        assert_int_equal(nacre_gradients(y, ((nacre_tensor *[]){buffer, w}), 2, g), NACRE_OK);
        assert_values(g[0], 0, 0);
        assert_values(g[1], 18, 36);
    }
    nacre_set_eager(false);
}

static void a_stale_gradient_fails_once_and_training_goes_on(void **state) {
    (void)state;
    nacre_tensor *w = parameter(1, 2), *inner = nacre_exp(w), *loss = nacre_sum(inner);
    bool before = nacre_set_grad_enabled(false); /* so the evaluation keeps nothing for gradients */
    assert_int_equal(nacre_eval(loss), NACRE_OK);
    nacre_set_grad_enabled(before);
    assert_int_equal(nacre_assign(w, variable(5, 6)), NACRE_OK);
    assert_int_equal(nacre_eval(w), NACRE_OK);
    assert_int_equal(nacre_backward(loss), NACRE_OK); /* recorded only */
    assert_int_equal(nacre_eval(w), NACRE_STALE);
    assert_false(nacre_has_grad(w));
    assert_int_equal(nacre_eval(w), NACRE_OK);
    assert_int_equal(nacre_backward(nacre_sum(nacre_mul(w, w))), NACRE_OK);
    assert_values(nacre_grad(w), 10, 12);
    nacre_error_clear();
}

static void an_unread_stale_value_holds_up_nothing(void **state) {
    (void)state;
    nacre_tensor *p = variable(1, 2), *inner = nacre_exp(p), *outer = nacre_sum(inner);
    assert_int_equal(nacre_eval(outer), NACRE_OK); /* inner ran, but was not stored */
    assert_int_equal(nacre_assign(p, variable(3, 4)), NACRE_OK);
    assert_int_equal(nacre_eval(p), NACRE_OK);
    nacre_tensor *late = nacre_mul_scalar(inner, 2);
    nacre_scope scope = nacre_scope_begin();
    assert_int_equal(nacre_assign(p, nacre_add_scalar(p, 1)), NACRE_OK);
    nacre_error_clear();
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    assert_int_equal(nacre_error_code(), NACRE_OK);
    assert_values(p, 4, 5);
    assert_int_equal(nacre_eval(late), NACRE_STALE);
    assert_int_equal(nacre_eval(p), NACRE_OK);
    nacre_error_clear();
}

static void keeping_a_value_that_ran_computes_it_with_its_scope(void **state) {
    (void)state;
    nacre_tensor *p = variable(1, 2);
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *inner = nacre_add_scalar(p, 1), *outer = nacre_sum(inner);
    assert_int_equal(nacre_eval(outer), NACRE_OK);
    assert_int_equal(nacre_assign(p, nacre_mul_scalar(p, 10)), NACRE_OK);
    nacre_keep(inner);
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    assert_values(p, 10, 20);
    assert_values(inner, 2, 3);
    assert_null(nacre_keep(NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_variables_never_share_memory),
        cmocka_unit_test(an_initial_value_used_elsewhere_wants_no_gradient),
        cmocka_unit_test(a_reader_recorded_before_the_assignment_keeps_its_gradient),
        cmocka_unit_test(gradients_flow_past_a_value_that_was_assigned),
        cmocka_unit_test(a_copy_in_a_buffer_is_no_part_of_its_source_s_history),
        cmocka_unit_test(a_stale_gradient_fails_once_and_training_goes_on),
        cmocka_unit_test(an_unread_stale_value_holds_up_nothing),
        cmocka_unit_test(keeping_a_value_that_ran_computes_it_with_its_scope),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
