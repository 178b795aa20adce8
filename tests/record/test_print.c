/* Printing: what a user reads is the value, whole or with its middle left out. */
#include "support.h"

#include <math.h>
#include <nacre/nacre.h>
#include <stdio.h>
#include <string.h>

/* What nacre_fprint writes for t, in a static buffer. */
static const char *printed(nacre_tensor *t) {
    static char text[65536];
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(nacre_fprint(file, t), NACRE_OK);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void columns_are_aligned(void **state) {
    (void)state;
    const float values[] = {1, -2.5F, 1000000, 0.125F};
    nacre_tensor *t = nacre_from_data(values, NACRE_SHAPE(2, 2));
    assert_string_equal(printed(t), "[[    1,  -2.5],\n [1e+06, 0.125]] f32 [2,2]\n");
}

static void every_kind_of_element_is_readable(void **state) {
    (void)state;
    const double odd[] = {NAN, INFINITY, -INFINITY, 0.1};
    assert_string_equal(printed(nacre_from_data(odd, NACRE_SHAPE(4), .dtype = NACRE_F64)),
                        "[ nan,  inf, -inf,  0.1] f64 [4]\n");
    const int64_t whole[] = {INT64_MIN, 7};
    assert_string_equal(printed(nacre_from_data(whole, NACRE_SHAPE(2), .dtype = NACRE_I64)),
                        "[-9223372036854775808,                    7] i64 [2]\n");
    const uint8_t truth[] = {1, 0};
    assert_string_equal(printed(nacre_from_data(truth, NACRE_SHAPE(2), .dtype = NACRE_BOOL)),
                        "[ true, false] bool [2]\n");
    assert_string_equal(printed(nacre_full(NACRE_SCALAR, 3)), "3 f32 []\n");
    assert_string_equal(printed(nacre_zeros(NACRE_SHAPE(0))), "[] f32 [0]\n");
    assert_string_equal(printed(nacre_mean(nacre_zeros(NACRE_SHAPE(0)))), "nan f32 []\n");
}

static void long_axes_lose_their_middle(void **state) {
    (void)state;
    assert_string_equal(printed(nacre_arange(1001)),
                        "[   0,    1,    2, ...,  998,  999, 1000] f32 [1001]\n");
    const char *text = printed(nacre_reshape(nacre_arange(2000), NACRE_SHAPE(1000, 2)));
    assert_non_null(strstr(text, " [   4,    5],\n ...,\n [1994, 1995],\n"));
    assert_null(strstr(text, "[   6,"));
    assert_null(strstr(printed(nacre_arange(1000)), "..."));
}

static void an_error_is_not_printed_as_a_value(void **state) {
    (void)state;
    nacre_tensor *bad = nacre_add(nacre_ones(NACRE_SHAPE(2)), nacre_ones(NACRE_SHAPE(3)));
    assert_int_equal(nacre_print(bad), NACRE_SHAPE_MISMATCH);
    FILE *closed = fopen("/dev/full", "w");
    if (closed) { /* Linux: a device that is always full */
        setvbuf(closed, NULL, _IONBF, 0);
        assert_int_equal(nacre_fprint(closed, nacre_ones(NACRE_SHAPE(4))), NACRE_IO_ERROR);
        fclose(closed);
    }
    nacre_error_clear();
}

static void shapes_with_too_many_axes_are_refused_without_reading_past_them(void **state) {
    (void)state;
    nacre_shape huge = {.ndim = 1000000};
    nacre_tensor *t = nacre_zeros(huge);
    assert_true(nacre_is_error(t));
    assert_non_null(strstr(nacre_tensor_message(t), "[1000000 axes]"));
    t = nacre_reshape(nacre_ones(NACRE_SHAPE(1)), huge);
    assert_true(nacre_is_error(t));
    t = nacre_sum(nacre_ones(NACRE_SHAPE(2)), .axes = {.count = -5});
    assert_int_equal(nacre_tensor_status(t), NACRE_INVALID_ARGUMENT);
    nacre_error_clear();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_aligned),
        cmocka_unit_test(every_kind_of_element_is_readable),
        cmocka_unit_test(long_axes_lose_their_middle),
        cmocka_unit_test(an_error_is_not_printed_as_a_value),
        cmocka_unit_test(shapes_with_too_many_axes_are_refused_without_reading_past_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
