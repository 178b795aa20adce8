/* Making inputs, evaluating and comparing: shared by the op tests. */
#ifndef NACRE_TESTS_OPS_CHECK_H
#define NACRE_TESTS_OPS_CHECK_H

#include "ops/ops.h"
#include "support.h"

#include "base/random.h"
#include "ops/cases.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHECK_ELEMENTS = 65536 };

/* What is being checked, for messages. */
static char check_subject[160];

typedef enum check_layout {
    LAYOUT_CONTIGUOUS,
    LAYOUT_TRANSPOSED,
    LAYOUT_SLICED,
    LAYOUT_BROADCAST,
    LAYOUT_COUNT
} check_layout;

static inline const char *layout_name(check_layout layout) {
    static const char *const names[] = {"contiguous", "transposed", "sliced", "broadcast"};
    return names[layout];
}

static inline void close_scope(nacre_scope mark) {
    nacre_status status = nacre_scope_end(mark);
    if (status) fail_msg("scope_end: %s", nacre_error_message());
}

/* Dtype of input i of a case run on `dtype`. */
static inline nacre_dtype input_dtype(const nacre_op_case *c, int i, nacre_dtype dtype) {
    switch (c->kind[i]) {
    case KIND_INDEX:
    case KIND_STEP:
        return NACRE_I64;
    case KIND_BOOL:
        return NACRE_BOOL;
    default:
        return dtype;
    }
}

/* Element k of input i, as it is stored: a function of the case's shape and the numbers only. */
static inline double input_value(const nacre_op_case *c, int i, nacre_dtype dtype, int64_t k) {
    double u = nacre_random_f64(7, (uint64_t)(i + 1), 1, (uint64_t)k);
    bool is_float = nacre_dtype_is_float(dtype);
    switch (c->kind[i]) {
    case KIND_INDEX:
        return floor(u * (double)c->bound);
    case KIND_STEP:
        return 3;
    case KIND_BOOL:
        return u < 0.6;
    case KIND_POSITIVE:
        return is_float ? 0.3 + 1.6 * u : floor(1 + 8 * u);
    default:
        break;
    }
    if (is_float) return 4 * u - 2;
    if (dtype == NACRE_BOOL) return u < 0.5;
    return dtype == NACRE_U8 ? floor(256 * u) : floor(19 * u) - 9;
}

/* A tensor of these values (rounded to the dtype), contiguous. */
static inline nacre_tensor *tensor_of(const double *values, const nacre_shape *shape,
                                      nacre_dtype dtype) {
    static unsigned char bytes[8 * CHECK_ELEMENTS];
    const nacre_dtype_info *info = nacre_dtype_get(dtype);
    int64_t count = nacre_shape_numel(shape);
    assert_true(count <= CHECK_ELEMENTS);
    for (int64_t k = 0; k < count; k++) info->store(bytes + (size_t)k * info->size, values[k]);
    nacre_tensor *t = nacre_from_data(bytes, *shape, .dtype = dtype);
    if (nacre_is_error(t)) fail_msg("%s", nacre_tensor_message(t));
    return t;
}

/* All elements as doubles; returns their number. */
static inline int64_t values_of(nacre_tensor *t, double *values) {
    const void *data = nacre_data(t);
    if (!data) fail_msg("%s: %s", check_subject, nacre_error_message());
    const nacre_dtype_info *info = nacre_dtype_get(nacre_dtype_of(t));
    int64_t count = nacre_numel(t);
    assert_true(count <= CHECK_ELEMENTS);
    for (int64_t k = 0; k < count; k++)
        values[k] = info->load((const unsigned char *)data + (size_t)k * info->size);
    return count;
}

/* The tensor of these values under another layout; a broadcast one repeats its first elements. */
static inline nacre_tensor *laid_out(const double *values, const nacre_shape *shape,
                                     nacre_dtype dtype, check_layout layout) {
    static double moved[CHECK_ELEMENTS];
    nacre_shape stored = *shape;
    int64_t count = nacre_shape_numel(shape);
    int ndim = shape->ndim;
    if (layout == LAYOUT_CONTIGUOUS || ndim == 0 || count == 0)
        return tensor_of(values, shape, dtype);
    if (layout == LAYOUT_BROADCAST) {
        stored.dims[0] = 1;
        return nacre_broadcast_to(tensor_of(values, &stored, dtype), *shape);
    }
    if (layout == LAYOUT_SLICED) {
        stored.dims[ndim - 1] = 2 * shape->dims[ndim - 1] + 1;
        int64_t row = shape->dims[ndim - 1], wide = stored.dims[ndim - 1];
        memset(moved, 0, sizeof moved);
        assert_true(nacre_shape_numel(&stored) <= CHECK_ELEMENTS);
        for (int64_t k = 0; k < count; k++) moved[k / row * wide + 1 + 2 * (k % row)] = values[k];
        return nacre_slice(tensor_of(moved, &stored, dtype), -1, 1, wide, 2);
    }
    nacre_axes axes = {.count = ndim};
    for (int i = 0; i < ndim; i++) {
        stored.dims[i] = shape->dims[ndim - 1 - i];
        axes.axis[i] = ndim - 1 - i;
    }
    for (int64_t k = 0; k < count; k++) {
        int64_t rest = k, at = 0, stride = 1;
        int64_t index[NACRE_MAX_DIMS];
        for (int i = ndim - 1; i >= 0; i--) {
            index[i] = rest % shape->dims[i];
            rest /= shape->dims[i];
        }
        for (int i = 0; i < ndim; i++) { /* axis i of the shape is axis ndim - 1 - i as stored */
            at += index[i] * stride;
            stride *= shape->dims[i];
        }
        moved[at] = values[k];
    }
    return nacre_permute(tensor_of(moved, &stored, dtype), axes);
}

/* Equal up to `tolerance` relative to `scale`; NaN equals NaN, infinities themselves. */
static inline bool close_to(double a, double b, double tolerance, double scale) {
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
    if (isinf(a) || isinf(b)) return a == b;
    return fabs(a - b) <= tolerance * (scale > 1 ? scale : 1);
}

/* Test by test a scope of its own, on the backend that check_on_both runs the group with. */
static nacre_backend check_backend = NACRE_BACKEND_CPU;
static nacre_scope check_scope;

static inline int open_test(void **state) {
    (void)state;
    nacre_error_clear();
    nacre_set_eager(false); /* its watch would refuse the NaN that these tests are about */
    nacre_set_nan_watch(false);
    check_scope = nacre_scope_begin();
    return (int)nacre_set_backend(check_backend);
}

static inline int close_test(void **state) {
    (void)state;
    nacre_status status = nacre_scope_end(check_scope);
    nacre_set_backend(NACRE_BACKEND_DEFAULT);
    return (int)status;
}

#define on_both(test) cmocka_unit_test_setup_teardown(test, open_test, close_test)

static inline int *check_failed(void) {
    static int failed;
    return &failed;
}

/* Runs the group on the CPU backend, then on the reference: how many tests failed. */
#define run_on_both(name, tests)                                                                   \
    (check_backend = NACRE_BACKEND_CPU,                                                            \
     *check_failed() = cmocka_run_group_tests_name(name ", cpu", tests, NULL, NULL),               \
     check_backend = NACRE_BACKEND_REFERENCE,                                                      \
     *check_failed() + cmocka_run_group_tests_name(name ", reference", tests, NULL, NULL))

/* All elements of t, exactly. */
#define expect_values(t, ...)                                                                      \
    expect_list((t), (const double[]){__VA_ARGS__},                                                \
                sizeof((const double[]){__VA_ARGS__}) / sizeof(double))

static inline void expect_list(nacre_tensor *t, const double *expected, size_t count) {
    static double got[CHECK_ELEMENTS];
    if (nacre_is_error(t)) fail_msg("%s", nacre_tensor_message(t));
    assert_int_equal(values_of(t, got), count);
    for (size_t k = 0; k < count; k++)
        if (!close_to(got[k], expected[k], 0, 1))
            fail_msg("element %zu is %g, not %g", k, got[k], expected[k]);
}

#endif
