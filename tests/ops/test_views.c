/* Views: indexing, slicing, reshaping and transposing give the elements that NumPy gives, and their
   gradients flow back to the right places. */
#include "ops/check.h"

#include <nacre/grad.h>

/* 0, 1, 2, ... in this shape. */
static nacre_tensor *counted(nacre_shape shape) {
    nacre_tensor *flat = nacre_arange((double)nacre_shape_numel(&shape));
    return nacre_reshape(flat, shape);
}

static void expect_shape(const nacre_tensor *t, nacre_shape expected) {
    nacre_shape shape = nacre_shape_of(t);
    char a[NACRE_SHAPE_TEXT], b[NACRE_SHAPE_TEXT];
    if (!nacre_shape_equal(&shape, &expected))
        fail_msg("shape is %s, not %s", nacre_shape_text(&shape, a),
                 nacre_shape_text(&expected, b));
}

static void indices_read_as_in_python(void **state) {
    (void)state;
    nacre_tensor *t = counted(NACRE_SHAPE(3, 4));
    expect_values(nacre_index(t, "1"), 4, 5, 6, 7);
    expect_shape(nacre_index(t, "1"), NACRE_SHAPE(4));
    expect_values(nacre_index(t, "-1, 2"), 10);
    expect_shape(nacre_index(t, "-1, 2"), NACRE_SCALAR);
    expect_values(nacre_index(t, "1:3, ..."), 4, 5, 6, 7, 8, 9, 10, 11);
    expect_values(nacre_index(t, ":, ::2"), 0, 2, 4, 6, 8, 10);
    expect_shape(nacre_index(t, ":, ::2"), NACRE_SHAPE(3, 2));
    expect_values(nacre_index(t, "..., -1"), 3, 7, 11);
    expect_values(nacre_index(t, " 0 , 1 : -1 "), 1, 2);
    expect_values(nacre_index(t, "0:1, 1:2,"), 1);
    expect_values(nacre_index(t, "-2:, 3"), 7, 11);
    expect_values(nacre_index(t, "...,0,0"), 0);
    expect_shape(nacre_index(t, "..."), NACRE_SHAPE(3, 4));
    expect_shape(nacre_index(t, "5:9"), NACRE_SHAPE(0, 4));
    expect_shape(nacre_index(t, ":, 2:1"), NACRE_SHAPE(3, 0));
    nacre_tensor *deep = counted(NACRE_SHAPE(2, 3, 4));
    expect_values(nacre_index(deep, "1, ..., 0"), 12, 16, 20);
    expect_values(nacre_index(nacre_transpose(deep, 0, 2), "0, :, 1"), 12, 16, 20);
}

static void slices_clip_as_in_python(void **state) {
    (void)state;
    nacre_tensor *t = counted(NACRE_SHAPE(5));
    expect_values(nacre_slice(t, 0, 1, 4, 1), 1, 2, 3);
    expect_values(nacre_slice(t, 0, -2, 100, 1), 3, 4);
    expect_values(nacre_slice(t, 0, -100, 2, 1), 0, 1);
    expect_values(nacre_slice(t, -1, 0, 5, 2), 0, 2, 4);
    expect_values(nacre_slice(t, 0, 4, 5, 1000000), 4);
    assert_int_equal(nacre_numel(nacre_slice(t, 0, 4, 2, 1)), 0);
    assert_int_equal(nacre_numel(nacre_slice(t, 0, INT64_MAX, INT64_MIN, 1)), 0);
    expect_values(nacre_slice(t, 0, INT64_MIN, INT64_MAX, INT64_MAX), 0);
    /* Slices of slices, and what is computed from them. */
    nacre_tensor *odd = nacre_slice(nacre_slice(t, 0, 1, 5, 1), 0, 0, 4, 2);
    expect_values(nacre_mul_scalar(odd, 10), 10, 30);
}

static void reshapes_keep_reading_order(void **state) {
    (void)state;
    nacre_tensor *t = counted(NACRE_SHAPE(2, 3));
    expect_values(nacre_reshape(t, NACRE_SHAPE(3, 2)), 0, 1, 2, 3, 4, 5);
    expect_shape(nacre_reshape(t, NACRE_SHAPE(-1)), NACRE_SHAPE(6));
    expect_shape(nacre_view(t, NACRE_SHAPE(3, -1, 1)), NACRE_SHAPE(3, 2, 1));
    expect_shape(nacre_reshape(nacre_zeros(NACRE_SHAPE(0, 4)), NACRE_SHAPE(-1, 2)),
                 NACRE_SHAPE(0, 2));
    expect_shape(nacre_reshape(nacre_ones(NACRE_SCALAR), NACRE_SHAPE(1, 1)), NACRE_SHAPE(1, 1));
    /* Where strides cannot say it, a copy must. */
    expect_values(nacre_reshape(nacre_transpose(t, 0, 1), NACRE_SHAPE(6)), 0, 3, 1, 4, 2, 5);
    nacre_tensor *wide = nacre_broadcast_to(nacre_arange(2), NACRE_SHAPE(2, 2));
    expect_values(nacre_reshape(wide, NACRE_SHAPE(4)), 0, 1, 0, 1);
    /* Groups of axes: [2, 3, 4] permuted to [4, 2, 3] still joins its last two. */
    nacre_tensor *turned = nacre_permute(counted(NACRE_SHAPE(2, 3, 4)), NACRE_AXES(2, 0, 1));
    expect_values(nacre_index(nacre_reshape(turned, NACRE_SHAPE(4, 6)), "1"), 1, 5, 9, 13, 17, 21);
    nacre_tensor *columns = nacre_slice(counted(NACRE_SHAPE(4, 6)), 1, 0, 6, 3);
    expect_values(nacre_reshape(columns, NACRE_SHAPE(2, 2, 2)), 0, 3, 6, 9, 12, 15, 18, 21);
}

static void permutations_and_transposes_move_axes(void **state) {
    (void)state;
    nacre_tensor *t = counted(NACRE_SHAPE(2, 3));
    expect_values(nacre_transpose(t, 0, 1), 0, 3, 1, 4, 2, 5);
    expect_values(nacre_transpose(t, -1, -2), 0, 3, 1, 4, 2, 5);
    expect_values(nacre_transpose(t, 1, 1), 0, 1, 2, 3, 4, 5);
    nacre_tensor *deep = counted(NACRE_SHAPE(2, 3, 2));
    expect_shape(nacre_permute(deep, NACRE_AXES(-1, 0, 1)), NACRE_SHAPE(2, 2, 3));
    expect_values(nacre_permute(deep, NACRE_AXES(2, 0, 1)), 0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11);
    nacre_tensor *back =
        nacre_permute(nacre_permute(deep, NACRE_AXES(2, 0, 1)), NACRE_AXES(1, 2, 0));
    expect_values(back, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11);
}

static void views_of_views_feed_every_op(void **state) {
    (void)state;
    nacre_tensor *t = nacre_transpose(counted(NACRE_SHAPE(3, 4)), 0, 1);
    nacre_tensor *part = nacre_index(t, "1:, ::2"); /* [[1, 9], [2, 10], [3, 11]] */
    expect_values(nacre_sum(part, .axes = NACRE_AXES(0)), 6, 30);
    expect_values(nacre_matmul(part, nacre_ones(NACRE_SHAPE(2))), 10, 12, 14);
    expect_values(nacre_argmax(part), 5);
    expect_values(nacre_add(part, nacre_index(part, "0")), 2, 18, 3, 19, 4, 20);
}

static void gradients_return_to_the_places_read(void **state) {
    (void)state;
    nacre_tensor *t = nacre_ones(NACRE_SHAPE(3, 4), .dtype = NACRE_F64);
    double zeros[12] = {0};
    nacre_tensor *leaf = nacre_from_data(zeros, NACRE_SHAPE(3, 4), .dtype = NACRE_F64);
    nacre_requires_grad(leaf, true);
    nacre_tensor *part = nacre_index(nacre_transpose(leaf, 0, 1), "::2, -1");
    nacre_tensor *y = nacre_sum(nacre_mul(part, nacre_index(t, "0, :2")));
    assert_int_equal(nacre_backward(y), NACRE_OK);
    expect_values(nacre_grad(leaf), 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0);
    nacre_zero_grad(leaf);
    nacre_tensor *twice = nacre_add(nacre_index(leaf, "0"), nacre_index(leaf, "0:1, :"));
    assert_int_equal(nacre_backward(nacre_sum(twice)), NACRE_OK);
    expect_values(nacre_grad(leaf), 2, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0);
}

static void a_slice_that_moves_makes_no_new_plan(void **state) {
    (void)state;
    nacre_tensor *t = counted(NACRE_SHAPE(64));
    nacre_eval(t);
    uint64_t made = 0;
    for (int64_t i = 0; i < 8; i++) {
        nacre_scope mark = nacre_scope_begin();
        assert_true(nacre_item(nacre_sum(nacre_slice(t, 0, 8 * i, 8 * i + 8, 1))) ==
                    (double)(64 * i + 28));
        if (i == 0) made = nacre_plan_statistics().made;
        close_scope(mark);
    }
    assert_int_equal(nacre_plan_statistics().made, made);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        on_both(indices_read_as_in_python),
        on_both(slices_clip_as_in_python),
        on_both(reshapes_keep_reading_order),
        on_both(permutations_and_transposes_move_axes),
        on_both(views_of_views_feed_every_op),
        on_both(gradients_return_to_the_places_read),
        on_both(a_slice_that_moves_makes_no_new_plan),
    };
    return run_on_both("ops: views", tests);
}
