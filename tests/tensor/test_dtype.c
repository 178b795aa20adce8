/* Dtypes: every one is described, and a number that does not fit is clamped rather than wrapped. */
#include "tensor/dtype.h"

#include "support.h"

#include <math.h>

static int64_t stored(nacre_dtype dtype, double value) {
    const nacre_dtype_info *info = nacre_dtype_get(dtype);
    union {
        int64_t aligned;
        unsigned char bytes[8];
    } element = {0};
    info->store(element.bytes, value);
    return info->load_int(element.bytes);
}

static void every_dtype_has_a_name_and_a_size(void **state) {
    (void)state;
    static const struct {
        nacre_dtype dtype;
        const char *name;
        size_t size;
        bool floating;
    } rows[] = {{NACRE_F32, "f32", 4, true},  {NACRE_F64, "f64", 8, true},
                {NACRE_I32, "i32", 4, false}, {NACRE_I64, "i64", 8, false},
                {NACRE_U8, "u8", 1, false},   {NACRE_BOOL, "bool", 1, false}};
    assert_int_equal(sizeof rows / sizeof *rows, NACRE_DTYPE_COUNT - 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_string_equal(nacre_dtype_name(rows[i].dtype), rows[i].name);
        assert_int_equal(nacre_dtype_size(rows[i].dtype), rows[i].size);
        assert_true(nacre_dtype_is_float(rows[i].dtype) == rows[i].floating);
    }
}

static void a_number_that_is_no_dtype_is_harmless(void **state) {
    (void)state;
    const int numbers[] = {0, -1, NACRE_DTYPE_COUNT, 1 << 20};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        nacre_dtype dtype = (nacre_dtype)numbers[i];
        assert_null(nacre_dtype_get(dtype));
        assert_int_equal(nacre_dtype_size(dtype), 0);
        assert_string_equal(nacre_dtype_name(dtype), "?");
        assert_false(nacre_dtype_is_float(dtype));
    }
}

static void numbers_beyond_an_integers_range_are_clamped(void **state) {
    (void)state;
    assert_int_equal(stored(NACRE_U8, 256), 255);
    assert_int_equal(stored(NACRE_U8, -1), 0);
    assert_int_equal(stored(NACRE_I32, 1e10), INT32_MAX);
    assert_int_equal(stored(NACRE_I32, -1e10), INT32_MIN);
    assert_true(stored(NACRE_I64, 0x1p63) == INT64_MAX);
    assert_true(stored(NACRE_I64, -0x1p63) == INT64_MIN);
    assert_true(stored(NACRE_I64, (double)INFINITY) == INT64_MAX);
    assert_true(stored(NACRE_I64, -(double)INFINITY) == INT64_MIN);
    assert_true(stored(NACRE_F64, 1e300) == INT64_MAX); /* clamped on the way out */
}

static void fractions_are_cut_towards_zero(void **state) {
    (void)state;
    const nacre_dtype integers[] = {NACRE_I32, NACRE_I64};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(stored(integers[i], 2.9), 2);
        assert_int_equal(stored(integers[i], -2.9), -2);
    }
    assert_int_equal(stored(NACRE_U8, 254.99), 254);
    assert_int_equal(stored(NACRE_U8, -0.5), 0);
}

static void not_a_number_becomes_the_integer_zero(void **state) {
    (void)state;
    const nacre_dtype integers[] = {NACRE_I32, NACRE_I64, NACRE_U8};
    for (size_t i = 0; i < 3; i++) assert_int_equal(stored(integers[i], (double)NAN), 0);
    assert_int_equal(stored(NACRE_F32, (double)NAN), 0);
}

static void whatever_is_not_zero_is_true(void **state) {
    (void)state;
    assert_int_equal(stored(NACRE_BOOL, 0), 0);
    assert_int_equal(stored(NACRE_BOOL, -0.0), 0);
    assert_int_equal(stored(NACRE_BOOL, 0.25), 1);
    assert_int_equal(stored(NACRE_BOOL, -7), 1);
    assert_int_equal(stored(NACRE_BOOL, (double)NAN), 1);
}

static void large_integers_keep_every_bit(void **state) {
    (void)state;
    const int64_t odd = (INT64_C(1) << 53) + 1; /* no double holds it */
    const nacre_dtype_info *info = nacre_dtype_get(NACRE_I64);
    int64_t element = 0;
    info->store_int(&element, odd);
    assert_true(element == odd);
    assert_true(info->load_int(&element) == odd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_dtype_has_a_name_and_a_size),
        cmocka_unit_test(a_number_that_is_no_dtype_is_harmless),
        cmocka_unit_test(numbers_beyond_an_integers_range_are_clamped),
        cmocka_unit_test(fractions_are_cut_towards_zero),
        cmocka_unit_test(not_a_number_becomes_the_integer_zero),
        cmocka_unit_test(whatever_is_not_zero_is_true),
        cmocka_unit_test(large_integers_keep_every_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
