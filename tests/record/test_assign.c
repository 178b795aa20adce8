/* Assignment: a view is a value, old handles keep old values, and no wrong number is ever given. */
#include "pairs.h"
#include "support.h"

#include <nacre/nacre.h>
#include <string.h>

static void later_readers_see_the_new_value_and_earlier_ones_the_old(void **state) {
    (void)state;
    nacre_tensor *p = variable(1, 2);
    nacre_tensor *before = nacre_mul_scalar(p, 10);
    assert_int_equal(nacre_assign(p, nacre_add_scalar(p, 1)), NACRE_OK);
    nacre_tensor *after = nacre_mul_scalar(p, 10);
    assert_values(before, 10, 20);
    assert_values(after, 20, 30);
    assert_values(p, 2, 3);
}

static void two_variables_can_swap(void **state) {
    (void)state;
    nacre_tensor *a = variable(1, 2), *b = variable(3, 4), *old_a = nacre_detach(a);
    assert_int_equal(nacre_assign(a, b), NACRE_OK);
    assert_int_equal(nacre_assign(b, old_a), NACRE_OK);
    assert_values(a, 3, 4);
    assert_values(b, 1, 2);
    assert_values(old_a, 1, 2);
}

static void views_taken_earlier_keep_the_old_value(void **state) {
    (void)state;
    nacre_tensor *p = variable(1, 2), *view = nacre_reshape(p, NACRE_SHAPE(2, 1));
    nacre_tensor *part = nacre_slice(p, 0, 1, 2, 1);
    assert_int_equal(nacre_assign(p, nacre_full(NACRE_SHAPE(2), 7.0)), NACRE_OK);
    assert_int_equal(nacre_eval(p), NACRE_OK);
    assert_float_equal(nacre_item(part), 2, 0);
    assert_values(nacre_reshape(view, NACRE_SHAPE(2)), 1, 2);
}

static void a_variable_never_moves(void **state) {
    (void)state;
    nacre_tensor *p = variable(1, 2);
    const void *place = nacre_data(p);
    for (int i = 0; i < 5; i++) {
        nacre_scope scope = nacre_scope_begin();
        assert_int_equal(nacre_assign(p, nacre_mul(p, p)), NACRE_OK);
        assert_ptr_equal(nacre_data(p), place);
        assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    }
    float fresh[] = {5, 6};
    assert_int_equal(nacre_copy_from(p, fresh, sizeof fresh), NACRE_OK);
    assert_ptr_equal(nacre_data(p), place);
    assert_values(p, 5, 6);
}

static void a_value_whose_input_was_overwritten_is_stale_not_wrong(void **state) {
    (void)state;
    nacre_tensor *p = variable(1, 2);
    nacre_tensor *inner = nacre_exp(p), *outer = nacre_sum(inner);
    assert_int_equal(nacre_eval(outer), NACRE_OK); /* inner ran, but was not stored */
    assert_int_equal(nacre_assign(p, nacre_zeros(NACRE_SHAPE(2))), NACRE_OK);
    assert_int_equal(nacre_eval(p), NACRE_OK);
    assert_null(nacre_data(inner));
    assert_int_equal(nacre_error_code(), NACRE_STALE);
    assert_non_null(strstr(nacre_error_message(), "exp"));
    assert_non_null(strstr(nacre_error_message(), "nacre_keep"));
    assert_non_null(strstr(nacre_error_message(), "test_assign.c:"));
    assert_false(nacre_is_error(outer));
    nacre_error_clear();
}

static void a_wrong_shape_or_dtype_changes_nothing(void **state) {
    (void)state;
    nacre_tensor *p = variable(1, 2);
    assert_int_equal(nacre_assign(p, nacre_ones(NACRE_SHAPE(3))), NACRE_SHAPE_MISMATCH);
    assert_int_equal(nacre_assign(p, nacre_ones(NACRE_SHAPE(2), .dtype = NACRE_F64)),
                     NACRE_DTYPE_MISMATCH);
    float one = 1;
    assert_int_equal(nacre_copy_from(p, &one, sizeof one), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_assign(p, p), NACRE_OK);
    assert_values(p, 1, 2);
    nacre_error_clear();
}

static void refilling_a_read_tensor_leaves_recorded_work_alone(void **state) {
    (void)state;
    nacre_tensor *p = variable(1, 2), *twice = nacre_add(p, p);
    float fresh[] = {5, 6};
    assert_int_equal(nacre_copy_from(p, fresh, sizeof fresh), NACRE_OK);
    assert_values(twice, 2, 4);
    assert_values(p, 5, 6);
}

static void an_assignment_runs_at_the_end_of_its_scope(void **state) {
    (void)state;
    nacre_tensor *p = variable(1, 2);
    nacre_scope scope = nacre_scope_begin();
    assert_int_equal(nacre_assign(p, nacre_add_scalar(p, 1)), NACRE_OK);
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    assert_int_equal(nacre_plan_statistics().pending, 0);
    assert_values(p, 2, 3);
}

static void many_assignments_before_an_evaluation_keep_program_order(void **state) {
    (void)state;
    nacre_tensor *p = variable(1, 2);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(nacre_assign(p, nacre_add(p, p)), NACRE_OK);
    }
    assert_values(p, 1024, 2048);
}

static void eager_mode_assigns_the_same(void **state) {
    (void)state;
    nacre_set_eager(true);
    two_variables_can_swap(state);
    later_readers_see_the_new_value_and_earlier_ones_the_old(state);
    a_variable_never_moves(state);
    nacre_set_eager(false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(later_readers_see_the_new_value_and_earlier_ones_the_old),
        cmocka_unit_test(two_variables_can_swap),
        cmocka_unit_test(views_taken_earlier_keep_the_old_value),
        cmocka_unit_test(a_variable_never_moves),
        cmocka_unit_test(a_value_whose_input_was_overwritten_is_stale_not_wrong),
        cmocka_unit_test(a_wrong_shape_or_dtype_changes_nothing),
        cmocka_unit_test(refilling_a_read_tensor_leaves_recorded_work_alone),
        cmocka_unit_test(an_assignment_runs_at_the_end_of_its_scope),
        cmocka_unit_test(many_assignments_before_an_evaluation_keep_program_order),
        cmocka_unit_test(eager_mode_assigns_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
