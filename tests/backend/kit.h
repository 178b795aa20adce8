/* Steps built by hand: arrays with guards around them, run through the CPU backend without records or plans. */
#ifndef NACRE_TESTS_BACKEND_KIT_H
#define NACRE_TESTS_BACKEND_KIT_H

#include "base/pool.h"
#include "ops/attrs.h"
#include "ops/ops.h"
#include "plan/backend.h"
#include "support.h"

#include <math.h>
#include <nacre/system.h>
#include <stdlib.h>
#include <string.h>

enum { KIT_GUARD = 256, KIT_MOST = 64 };

/* Every array of the running test; freed, and their guards checked, by kit_end. */
static struct kit_block {
    unsigned char *start;
    size_t bytes;
} kit_blocks[KIT_MOST];
static int kit_count;

static inline void *kit_new(size_t bytes) {
    assert_true(kit_count < KIT_MOST);
    size_t padded = (bytes + 63) / 64 * 64;
    unsigned char *start = aligned_alloc(64, padded + 2 * KIT_GUARD);
    assert_non_null(start);
    memset(start, 0xA5, padded + 2 * KIT_GUARD);
    kit_blocks[kit_count++] = (struct kit_block){start, bytes};
    return start + KIT_GUARD;
}

static inline void kit_check_guards(void) {
    for (int i = 0; i < kit_count; i++) {
        size_t bytes = kit_blocks[i].bytes, padded = (bytes + 63) / 64 * 64;
        for (size_t k = 0; k < KIT_GUARD; k++) assert_int_equal(kit_blocks[i].start[k], 0xA5);
        for (size_t k = KIT_GUARD + bytes; k < padded + 2 * KIT_GUARD; k++)
            assert_int_equal(kit_blocks[i].start[k], 0xA5);
    }
}

static inline void kit_end(void) {
    kit_check_guards();
    while (kit_count > 0) free(kit_blocks[--kit_count].start);
}

/* Uniform in [-1, 1), the same in every run. */
static inline double kit_random(void) {
    static uint64_t state = 0x9E3779B97F4A7C15u;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(int64_t)state * 0x1p-63;
}

/* A contiguous array; contents undefined. */
static inline nacre_array kit_array(nacre_dtype dtype, nacre_shape shape) {
    nacre_array array = {.dtype = dtype, .shape = shape};
    nacre_shape_strides(&shape, array.strides);
    array.data = kit_new((size_t)nacre_shape_numel(&shape) * nacre_dtype_size(dtype));
    return array;
}

static inline nacre_array kit_random_f32(nacre_shape shape) {
    nacre_array array = kit_array(NACRE_F32, shape);
    float *x = array.data;
    for (int64_t i = 0; i < nacre_shape_numel(&shape); i++) x[i] = (float)kit_random();
    return array;
}

/* The last two axes swapped, without moving anything. */
static inline nacre_array kit_transposed(nacre_array array) {
    int last = array.shape.ndim - 1;
    int64_t dim = array.shape.dims[last], stride = array.strides[last];
    array.shape.dims[last] = array.shape.dims[last - 1];
    array.strides[last] = array.strides[last - 1];
    array.shape.dims[last - 1] = dim;
    array.strides[last - 1] = stride;
    return array;
}

/* Seen with another shape: 0 strides along the axes where it has one element or none. */
static inline nacre_array kit_broadcast(nacre_array array, nacre_shape shape) {
    nacre_array out = array;
    out.shape = shape;
    for (int i = 0; i < shape.ndim; i++) {
        int from = i - (shape.ndim - array.shape.ndim);
        out.strides[i] = from < 0 || array.shape.dims[from] == 1 ? 0 : array.strides[from];
    }
    return out;
}

static inline float kit_at(const nacre_array *array, const int64_t *index) {
    int64_t offset = 0;
    for (int i = 0; i < array->shape.ndim; i++) offset += index[i] * array->strides[i];
    return ((const float *)array->data)[offset];
}

/* Prepares and runs; false when the backend wants contiguous inputs. Guards are checked. */
static inline bool kit_try(nacre_plan_op *step) {
    if (!nacre_backend_cpu.prepare(step)) return false;
    void *scratch = kit_new(step->scratch);
    step->run(step, scratch);
    kit_check_guards();
    free(kit_blocks[--kit_count].start);
    return true;
}

static inline void kit_run(nacre_plan_op *step) { assert_true(kit_try(step)); }

static inline nacre_plan_op kit_step(const nacre_op *op, const nacre_word *attrs) {
    return (nacre_plan_op){.op = op, .attrs = attrs};
}

/* Distance in units of the last place of the expected value, as f32. */
static inline double kit_ulp(float value, double expected) {
    if (isnan(expected)) return isnan(value) ? 0 : INFINITY;
    if (isinf(expected)) return (double)value == expected ? 0 : INFINITY;
    int exponent;
    frexp(expected, &exponent);
    if (expected == 0 || exponent < -125) exponent = -125;
    return fabs((double)value - expected) / ldexp(1, exponent - 24);
}

/* fma where the level in use has one. */
static inline float kit_fma(float a, float b, float c) {
    if (strcmp(nacre_isa(), "portable") == 0) {
        volatile float product = a * b;
        return product + c;
    }
    return fmaf(a, b, c);
}

static inline bool kit_same_bits(const void *a, const void *b, size_t bytes) {
    return memcmp(a, b, bytes) == 0;
}

static inline int kit_setup(void **state) {
    (void)state;
    nacre_fp_enter();
    return 0;
}
static inline int kit_teardown(void **state) {
    (void)state;
    kit_end();
    return nacre_set_threads(0) != NACRE_OK;
}

#define KIT_TEST(function) cmocka_unit_test_setup_teardown(function, kit_setup, kit_teardown)

#endif
