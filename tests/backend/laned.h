/* Laned arrays for steps built by hand: 16 samples beside each other, and NaN where no sample is. */
#ifndef NACRE_TESTS_BACKEND_LANED_H
#define NACRE_TESTS_BACKEND_LANED_H

#include "backend/kit.h"

static inline int64_t blocks_of(int64_t samples) {
    return (samples + NACRE_LANES - 1) / NACRE_LANES;
}

static inline nacre_array laned_array(nacre_shape shape) {
    nacre_shape memory = shape;
    memory.dims[0] = blocks_of(shape.dims[0]) * NACRE_LANES;
    nacre_array array = kit_array(NACRE_F32, memory);
    array.shape = shape;
    array.laned = true;
    float *x = array.data;
    for (int64_t i = 0; i < nacre_shape_numel(&memory); i++) x[i] = NAN;
    return array;
}

/* Element `at` (within its sample) of a sample. */
static inline float *element(const nacre_array *array, int64_t sample, int64_t at) {
    int64_t pixels = 1;
    for (int i = 1; i < array->shape.ndim; i++) pixels *= array->shape.dims[i];
    if (!array->laned) return (float *)array->data + sample * pixels + at;
    return (float *)array->data + (sample / NACRE_LANES * pixels + at) * NACRE_LANES +
           sample % NACRE_LANES;
}

/* Random samples; the lanes beyond them hold NaN. */
static inline nacre_array laned_random(nacre_shape shape) {
    nacre_array array = laned_array(shape);
    int64_t count = shape.dims[0] ? nacre_shape_numel(&shape) / shape.dims[0] : 0;
    for (int64_t n = 0; n < shape.dims[0]; n++)
        for (int64_t i = 0; i < count; i++) *element(&array, n, i) = (float)kit_random();
    return array;
}

static inline nacre_array plain_of(const nacre_array *laned) {
    nacre_array plain = kit_array(NACRE_F32, laned->shape);
    int64_t samples = laned->shape.dims[0];
    int64_t count = samples ? nacre_shape_numel(&laned->shape) / samples : 0;
    for (int64_t n = 0; n < samples; n++)
        for (int64_t i = 0; i < count; i++) *element(&plain, n, i) = *element(laned, n, i);
    return plain;
}

/* A few samples, which stay where they are, must give the bits that lanes gave. */
static inline void check_plain(nacre_plan_op step) {
    nacre_array laned = step.out[0];
    for (int i = 0; i < step.inputs; i++)
        if (step.in[i].laned) step.in[i] = plain_of(&step.in[i]);
    if (!nacre_backend_cpu.prepare(&step) || strncmp(step.kernel, "laned", 5) == 0) return;
    if (strcmp(step.kernel, "reference") == 0) return;
    step.out[0] = kit_array(NACRE_F32, laned.shape);
    kit_run(&step);
    nacre_array want = plain_of(&laned);
    assert_memory_equal(step.out[0].data, want.data,
                        (size_t)nacre_shape_numel(&want.shape) * sizeof(float));
}

#endif
