/* Kernels that move or draw numbers, at every small extent and with guarded memory: concat, its inverse, rand. */
#include "backend/kit.h"

#include "base/random.h"
#include "ops/reference.h"

/* Runs the step and the op's own definition; both write every byte of the output, and the same. */
static void check_step(nacre_plan_op *step) {
    const size_t bytes =
        (size_t)nacre_shape_numel(&step->out[0].shape) * nacre_dtype_size(step->out[0].dtype);
    step->outputs = 1;
    kit_run(step);
    assert_string_not_equal(step->kernel, "reference");
    nacre_call call = {.attrs = step->attrs, .inputs = step->inputs, .outputs = 1};
    for (int i = 0; i < step->inputs; i++) call.in[i] = step->in[i];
    call.out[0] = kit_array(step->out[0].dtype, step->out[0].shape);
    nacre_reference_run(step->op, &call);
    assert_memory_equal(step->out[0].data, call.out[0].data, bytes);
    kit_end();
}

static nacre_array numbered(nacre_dtype dtype, nacre_shape shape) {
    nacre_array array = kit_array(dtype, shape);
    unsigned char *bytes = array.data;
    const size_t count = (size_t)nacre_shape_numel(&shape) * nacre_dtype_size(dtype);
    for (size_t i = 0; i < count; i++) bytes[i] = (unsigned char)(kit_random() * 100 + 100);
    return array;
}

/* Parts of `first`, 1, 0 and `last` rows joined along each axis of [2, ., 3]. */
static void parts_of_any_extent_are_joined(void **state) {
    (void)state;
    const nacre_dtype dtypes[] = {NACRE_F32, NACRE_F64, NACRE_U8};
    for (int64_t first = 0; first <= 33; first++)
        for (int64_t last = 1; last <= 17; last += 4)
            for (int64_t axis = 0; axis < 3; axis++) {
                const nacre_dtype dtype = dtypes[(first + last) % 3];
                const int64_t parts[] = {first, 1, 0, last};
                const nacre_word attrs[NACRE_MAX_ATTRS] = {[NACRE_CONCAT_AXIS] = {.i = axis}};
                nacre_plan_op step = kit_step(&nacre_op_concat, attrs);
                nacre_shape shape = NACRE_SHAPE(2, 5, 3);
                step.inputs = 4;
                for (int i = 0; i < 4; i++) {
                    shape.dims[axis] = parts[i];
                    step.in[i] = numbered(dtype, shape);
                }
                shape.dims[axis] = first + 1 + last;
                step.out[0] = kit_array(dtype, shape);
                check_step(&step);
            }
}

/* Every step-th row from `start` on of zeros is the input, along each axis. */
static void slices_of_any_extent_go_back(void **state) {
    (void)state;
    for (int64_t extent = 1; extent <= 33; extent += 2)
        for (int64_t every = 1; every <= 3; every++)
            for (int64_t axis = 0; axis < 3; axis++) {
                const int64_t start = every - 1;
                const nacre_word attrs[NACRE_MAX_ATTRS] = {[NACRE_SLICE_AXIS] = {.i = axis},
                                                           [NACRE_SLICE_STEP] = {.i = every},
                                                           [NACRE_SLICE_START] = {.i = start}};
                nacre_plan_op step = kit_step(&nacre_op_unslice, attrs);
                nacre_shape shape = NACRE_SHAPE(3, 2, 5);
                shape.dims[axis] = extent;
                step.inputs = 1;
                step.in[0] = numbered(NACRE_F32, shape);
                shape.dims[axis] = start + (extent - 1) * every + 1 + extent % 4;
                step.out[0] = kit_array(NACRE_F32, shape);
                check_step(&step);
            }
}

static void any_number_of_numbers_is_drawn(void **state) {
    (void)state;
    const nacre_word attrs[NACRE_MAX_ATTRS] = {
        [NACRE_RAND_SEED] = {.i = 5}, [NACRE_RAND_STREAM] = {.i = 6}, [NACRE_RAND_DRAW] = {.i = 7}};
    const int64_t more[] = {8191, 8192, 8193, 16397};
    for (int64_t i = 0; i <= 132 + 3; i++) {
        const int64_t count = i <= 132 ? i : more[i - 132];
        nacre_plan_op step = kit_step(&nacre_op_rand, attrs);
        step.outputs = 1;
        step.out[0] = kit_array(NACRE_F32, NACRE_SHAPE(count));
        kit_run(&step);
        const float *x = step.out[0].data;
        for (int64_t k = 0; k < count; k++)
            assert_true(x[k] == nacre_random_f32(5, 6, 7, (uint64_t)k));
        kit_end();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_TEST(parts_of_any_extent_are_joined),
        KIT_TEST(slices_of_any_extent_go_back),
        KIT_TEST(any_number_of_numbers_is_drawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
