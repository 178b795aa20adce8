/* Scopes, handles and error tensors: what a user owns, and what is freed when. */
#include "support.h"

#include <nacre/grad.h>
#include <nacre/nacre.h>
#include <string.h>

static void freed_with_their_scope(void **state) {
    (void)state;
    nacre_scope warm = nacre_scope_begin();
    for (int i = 0; i < 100; i++) {
        nacre_eval(nacre_add_scalar(nacre_ones(NACRE_SHAPE(8)), i));
    }
    assert_int_equal(nacre_scope_end(warm), NACRE_OK);
    size_t before = nacre_memory().live_bytes;
    nacre_scope scope = nacre_scope_begin();
    for (int i = 0; i < 100; i++) {
        nacre_eval(nacre_add_scalar(nacre_ones(NACRE_SHAPE(8)), i));
    }
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    assert_int_equal(nacre_memory().live_bytes, before);
}

static void kept_values_outlive_their_scope_and_are_computed(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *x = nacre_full(NACRE_SHAPE(3), 2.0);
    nacre_tensor *kept = nacre_keep(nacre_mul(x, x));
    nacre_tensor *reader = nacre_sum(kept);
    (void)reader;
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    assert_int_equal(nacre_plan_statistics().pending, 0);
    assert_float_equal(((const float *)nacre_data(kept))[2], 4.0, 0);
}

static void ending_a_scope_ends_those_inside(void **state) {
    (void)state;
    nacre_scope outer = nacre_scope_begin();
    nacre_scope inner = nacre_scope_begin();
    nacre_ones(NACRE_SHAPE(2));
    assert_int_equal(nacre_scope_end(outer), NACRE_OK);
    assert_int_equal(nacre_scope_end(inner), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_scope_end(outer), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_scope_end(-1), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_scope_end(0), NACRE_INVALID_ARGUMENT);
}

static void too_many_scopes_are_refused_not_corrupting(void **state) {
    (void)state;
    nacre_scope first = nacre_scope_begin(), last = first;
    while (last > 0) {
        nacre_scope next = nacre_scope_begin();
        if (next < 0) {
            break;
        }
        last = next;
    }
    assert_int_equal(nacre_error_code(), NACRE_INVALID_STATE);
    assert_int_equal(nacre_scope_end(first), NACRE_OK);
}

static void retained_tensors_live_until_released(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *t = nacre_retain(nacre_full(NACRE_SHAPE(2), 3.0));
    assert_int_equal(nacre_eval(t), NACRE_OK);
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    assert_float_equal(((const float *)nacre_data(t))[1], 3.0, 0);
    nacre_release(t);
    nacre_release(NULL);
}

static void the_first_error_of_a_chain_is_the_one_reported(void **state) {
    (void)state;
    nacre_tensor *a = nacre_ones(NACRE_SHAPE(2, 3)), *b = nacre_ones(NACRE_SHAPE(4, 5));
    nacre_tensor *end = nacre_sum(nacre_add(nacre_exp(nacre_matmul(a, b)), nacre_add(a, b)));
    assert_true(nacre_is_error(end));
    assert_int_equal(nacre_tensor_status(end), NACRE_SHAPE_MISMATCH);
    assert_non_null(strstr(nacre_tensor_message(end), "matmul"));
    assert_non_null(strstr(nacre_tensor_message(end), "[2,3]"));
    assert_non_null(strstr(nacre_tensor_message(end), "[4,5]"));
    assert_non_null(strstr(nacre_tensor_message(end), "test_scope.c:"));
    assert_int_equal(nacre_eval(end), NACRE_SHAPE_MISMATCH);
    assert_null(nacre_data(end));
    assert_int_equal(nacre_backward(end), NACRE_SHAPE_MISMATCH);
    assert_int_equal(nacre_ndim(end), 0);
    nacre_error_clear();
}

static void null_is_an_error_not_a_crash(void **state) {
    (void)state;
    nacre_tensor *t = nacre_add(NULL, nacre_ones(NACRE_SHAPE(1)));
    assert_int_equal(nacre_tensor_status(t), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_eval(NULL), NACRE_INVALID_ARGUMENT);
}

static void every_failed_allocation_gives_an_error_tensor_and_loses_nothing(void **state) {
    (void)state;
    nacre_plan_cache_clear();
    bool finished = false;
    for (uint64_t n = 1; !finished && n < 2000; n++) {
        size_t before = nacre_memory().live_blocks;
        nacre_scope scope = nacre_scope_begin();
        nacre_memory_fail_at(n);
        nacre_tensor *a = nacre_rand(NACRE_SHAPE(40, 30));
        nacre_tensor *y = nacre_sum(nacre_exp(nacre_matmul(a, nacre_transpose(a, 0, 1))));
        nacre_status status = nacre_eval(y);
        finished = status == NACRE_OK;
        nacre_memory_fail_at(0);
        if (!finished) {
            assert_int_equal(status, NACRE_OUT_OF_MEMORY);
        }
        nacre_scope_end(scope);
        if (!finished) {
            (void)before;
            nacre_error_clear();
        }
    }
    assert_true(finished);
}

static void descriptions_do_not_evaluate(void **state) {
    (void)state;
    nacre_tensor *t = nacre_exp(nacre_ones(NACRE_SHAPE(2, 2)));
    uint64_t pending = nacre_plan_statistics().pending;
    const char *text = nacre_describe(t);
    assert_non_null(strstr(text, "f32 [2,2], pending, made by exp at "));
    assert_int_equal(nacre_plan_statistics().pending, pending);
    assert_string_equal(nacre_describe(NULL), "NULL");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(freed_with_their_scope),
        cmocka_unit_test(kept_values_outlive_their_scope_and_are_computed),
        cmocka_unit_test(ending_a_scope_ends_those_inside),
        cmocka_unit_test(too_many_scopes_are_refused_not_corrupting),
        cmocka_unit_test(retained_tensors_live_until_released),
        cmocka_unit_test(the_first_error_of_a_chain_is_the_one_reported),
        cmocka_unit_test(null_is_an_error_not_a_crash),
        cmocka_unit_test(every_failed_allocation_gives_an_error_tensor_and_loses_nothing),
        cmocka_unit_test(descriptions_do_not_evaluate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
