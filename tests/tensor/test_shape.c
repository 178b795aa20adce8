/* Shapes: which sizes are accepted, how two combine, where elements lie, how they read in messages. */
#include "tensor/shape.h"

#include "support.h"

#include <string.h>

static void expect_broadcast(nacre_shape a, nacre_shape b, nacre_shape expected) {
    nacre_shape out;
    assert_true(nacre_shape_broadcast(&a, &b, &out));
    assert_true(nacre_shape_equal(&out, &expected));
    assert_true(nacre_shape_broadcast(&b, &a, &out));
    assert_true(nacre_shape_equal(&out, &expected));
}

static void shapes_combine_by_numpys_rule(void **state) {
    (void)state;
    const nacre_shape scalar = {0};
    expect_broadcast(NACRE_SHAPE(3, 4), NACRE_SHAPE(4), NACRE_SHAPE(3, 4));
    expect_broadcast(NACRE_SHAPE(3, 1), NACRE_SHAPE(1, 4), NACRE_SHAPE(3, 4));
    expect_broadcast(NACRE_SHAPE(5, 1, 4), NACRE_SHAPE(3, 1), NACRE_SHAPE(5, 3, 4));
    expect_broadcast(scalar, NACRE_SHAPE(2, 3), NACRE_SHAPE(2, 3));
    expect_broadcast(scalar, scalar, scalar);
    expect_broadcast(NACRE_SHAPE(0, 4), NACRE_SHAPE(1, 4), NACRE_SHAPE(0, 4)); /* 1 becomes 0 */
}

static void shapes_that_do_not_match_are_not_combined(void **state) {
    (void)state;
    const nacre_shape a = NACRE_SHAPE(3, 4), pairs[] = {NACRE_SHAPE(3), NACRE_SHAPE(2, 4),
                                                        NACRE_SHAPE(4, 3), NACRE_SHAPE(0, 4)};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        nacre_shape out = NACRE_SHAPE(77);
        assert_false(nacre_shape_broadcast(&a, &pairs[i], &out));
        assert_int_equal(out.dims[0], 77);
    }
}

static void sizes_that_overflow_are_refused(void **state) {
    (void)state;
    const int64_t most = INT64_MAX / 8;
    const nacre_shape good[] = {{0},
                                NACRE_SHAPE(0),
                                NACRE_SHAPE(most),
                                NACRE_SHAPE(1, most, 1),
                                NACRE_SHAPE(1, 1, 1, 1, 1, 1, 1, 1),
                                NACRE_SHAPE(0, most)};
    const nacre_shape bad[] = {
        NACRE_SHAPE(-1),
        NACRE_SHAPE(most + 1),
        NACRE_SHAPE(INT64_MAX),
        NACRE_SHAPE(INT64_C(1) << 32, INT64_C(1) << 32), /* wraps to 0 */
        NACRE_SHAPE(0, most, 2), /* no element, and strides that do not fit */
        {.ndim = -1},
        {.ndim = NACRE_MAX_DIMS + 1}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(nacre_shape_valid(&good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(nacre_shape_valid(&bad[i]));
    assert_int_equal(nacre_shape_numel(&good[0]), 1); /* a scalar */
    assert_int_equal(nacre_shape_numel(&good[1]), 0);
    assert_int_equal(nacre_shape_numel(&good[2]), most);
}

static void elements_lie_in_row_major_order(void **state) {
    (void)state;
    int64_t strides[NACRE_MAX_DIMS];
    nacre_shape shape = NACRE_SHAPE(2, 3, 4);
    nacre_shape_strides(&shape, strides);
    assert_int_equal(strides[0], 12);
    assert_int_equal(strides[1], 4);
    assert_int_equal(strides[2], 1);
    assert_true(nacre_strides_contiguous(&shape, strides));
    strides[0] = 4, strides[1] = 8; /* transposed */
    assert_false(nacre_strides_contiguous(&shape, strides));

    nacre_shape one = NACRE_SHAPE(3, 1, 4);
    const int64_t any[NACRE_MAX_DIMS] = {4, 999, 1}; /* the stride of a single row is never taken */
    assert_true(nacre_strides_contiguous(&one, any));
    const int64_t repeated[NACRE_MAX_DIMS] = {0, 4, 1};
    assert_false(nacre_strides_contiguous(&one, repeated));
    nacre_shape empty = NACRE_SHAPE(0, 4);
    nacre_shape_strides(&empty, strides);
    assert_true(nacre_strides_contiguous(&empty, strides));
}

static void axes_count_from_either_end(void **state) {
    (void)state;
    assert_int_equal(nacre_axis_normal(0, 3), 0);
    assert_int_equal(nacre_axis_normal(-1, 3), 2);
    assert_int_equal(nacre_axis_normal(-3, 3), 0);
    assert_int_equal(nacre_axis_normal(3, 3), -1);
    assert_int_equal(nacre_axis_normal(-4, 3), -1);
    assert_int_equal(nacre_axis_normal(0, 0), -1); /* a scalar has none */
}

static void equal_shapes_agree_in_every_axis(void **state) {
    (void)state;
    const nacre_shape a = NACRE_SHAPE(2, 3), b = NACRE_SHAPE(2, 4), c = NACRE_SHAPE(2, 3, 1);
    assert_true(nacre_shape_equal(&a, &a));
    assert_false(nacre_shape_equal(&a, &b));
    assert_false(nacre_shape_equal(&a, &c));
}

static void a_message_shows_the_whole_shape(void **state) {
    (void)state;
    char text[NACRE_SHAPE_TEXT];
    const nacre_shape scalar = {0}, one = NACRE_SHAPE(64), two = NACRE_SHAPE(64, 784);
    assert_string_equal(nacre_shape_text(&scalar, text), "[]");
    assert_string_equal(nacre_shape_text(&one, text), "[64]");
    assert_string_equal(nacre_shape_text(&two, text), "[64,784]");
    nacre_shape longest = {.ndim = NACRE_MAX_DIMS};
    for (int i = 0; i < NACRE_MAX_DIMS; i++) longest.dims[i] = INT64_MIN;
    assert_true(strlen(nacre_shape_text(&longest, text)) < NACRE_SHAPE_TEXT);
    const nacre_shape wrong = {.ndim = 99};
    assert_string_equal(nacre_shape_text(&wrong, text), "[99 axes]");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_combine_by_numpys_rule),
        cmocka_unit_test(shapes_that_do_not_match_are_not_combined),
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(elements_lie_in_row_major_order),
        cmocka_unit_test(axes_count_from_either_end),
        cmocka_unit_test(equal_shapes_agree_in_every_axis),
        cmocka_unit_test(a_message_shows_the_whole_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
