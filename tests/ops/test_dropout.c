/* dropout: what is kept, how often, and the same mask for the gradient; embedding as a view of gather. */
#include "ops/check.h"

#include <nacre/grad.h>

enum { N = 40000 };

static void a_part_is_dropped_and_the_rest_scaled(void **state) {
    (void)state;
    static double y[CHECK_ELEMENTS];
    for (int k = 1; k < 10; k += 4) {
        double p = k / 10.0;
        nacre_seed(3);
        values_of(nacre_f_dropout(nacre_ones(NACRE_SHAPE(N)), p), y);
        int dropped = 0;
        for (int i = 0; i < N; i++) {
            bool kept = (double)nacre_random_f32(3, 0, 0, (uint64_t)i) >= (double)(float)p;
            assert_true(y[i] == (kept ? (double)(float)(1 / (1 - p)) : 0));
            dropped += !kept;
        }
        /* Five standard deviations of a binomial count. */
        assert_true(fabs(dropped - p * N) < 5 * sqrt(p * (1 - p) * N));
    }
}

static void nothing_and_everything_can_be_dropped(void **state) {
    (void)state;
    nacre_tensor *x = nacre_from_data(((float[]){1, -2, 3}), NACRE_SHAPE(3));
    expect_values(nacre_f_dropout(x, 0), 1, -2, 3);
    expect_values(nacre_f_dropout(x, 1), 0, 0, 0);
    /* Dropped is dropped, whatever it was: no NaN from infinity times 0, nor in the gradient. */
    const float ends[3] = {INFINITY, -INFINITY, NAN};
    nacre_tensor *huge = nacre_requires_grad(nacre_from_data(ends, NACRE_SHAPE(3)), true);
    nacre_tensor *none = nacre_f_dropout(huge, 1);
    expect_values(none, 0, 0, 0);
    assert_int_equal(nacre_backward_from(none, nacre_from_data(ends, NACRE_SHAPE(3))), NACRE_OK);
    expect_values(nacre_grad(huge), 0, 0, 0);
    assert_int_equal(nacre_numel(nacre_f_dropout(nacre_zeros(NACRE_SHAPE(0, 3)), 0.5)), 0);
}

static void the_gradient_has_the_mask_of_the_result(void **state) {
    (void)state;
    static double y[CHECK_ELEMENTS], g[CHECK_ELEMENTS];
    nacre_tensor *x = nacre_requires_grad(nacre_full(NACRE_SHAPE(7, 91), 2), true);
    nacre_tensor *out = nacre_f_dropout(x, 0.25), *gradient[1];
    assert_int_equal(nacre_gradients(nacre_sum(out), &x, 1, gradient), NACRE_OK);
    values_of(out, y);
    values_of(gradient[0], g);
    for (int i = 0; i < 7 * 91; i++) assert_true(y[i] == 2 * g[i]);
}

static void two_calls_draw_two_masks(void **state) {
    (void)state;
    nacre_tensor *x = nacre_ones(NACRE_SHAPE(64));
    nacre_tensor *difference = nacre_sub(nacre_f_dropout(x, 0.5), nacre_f_dropout(x, 0.5));
    assert_true(nacre_item(nacre_max(difference)) != 0);
}

static void wrong_calls_are_refused(void **state) {
    (void)state;
    nacre_tensor *x = nacre_ones(NACRE_SHAPE(3));
    assert_string_equal(nacre_tensor_message(nacre_f_dropout_at(x, 1.5, "train.c", 42)),
                        "dropout: p is 1.5: it is the part that is dropped, from 0 to 1 "
                        "(train.c:42)");
    assert_true(nacre_is_error(nacre_f_dropout(x, (double)NAN)));
    assert_string_equal(
        nacre_tensor_message(nacre_f_dropout_at(nacre_cast(x, NACRE_I32), 0.5, "train.c", 42)),
        "dropout: a is i32: a floating dtype is needed; convert it with nacre_cast (train.c:42)");
    assert_true(nacre_is_error(nacre_f_dropout(NULL, 0.5)));
}

static void embedding_gathers_rows(void **state) {
    (void)state;
    nacre_tensor *weight = nacre_from_data(((float[]){1, 2, 3, 4, 5, 6}), NACRE_SHAPE(3, 2));
    nacre_tensor *at = nacre_from_data(((int64_t[]){2, 0}), NACRE_SHAPE(1, 2), .dtype = NACRE_I64);
    nacre_tensor *rows = nacre_f_embedding(at, weight);
    assert_int_equal(nacre_ndim(rows), 3);
    expect_values(rows, 5, 6, 1, 2);
    assert_string_equal(
        nacre_tensor_message(nacre_f_embedding_at(at, nacre_ones(NACRE_SHAPE(3)), "train.c", 42)),
        "embedding: weight is [3]: it must be [n, features] (train.c:42)");
    assert_true(nacre_is_error(nacre_f_embedding(NULL, weight)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        on_both(a_part_is_dropped_and_the_rest_scaled),
        on_both(nothing_and_everything_can_be_dropped),
        on_both(the_gradient_has_the_mask_of_the_result),
        on_both(two_calls_draw_two_masks),
        on_both(wrong_calls_are_refused),
        on_both(embedding_gathers_rows),
    };
    return run_on_both("ops: dropout", tests);
}
