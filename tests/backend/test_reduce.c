/* Reductions: one order of addition whatever the layout, NaN, arg. */
#include "backend/kit.h"

static nacre_array reduce(const nacre_op *op, nacre_array in, int64_t axes) {
    nacre_word attrs[] = {[NACRE_REDUCE_AXES] = {.i = axes}, [NACRE_REDUCE_KEEPDIMS] = {.i = 0}};
    nacre_plan_op step = kit_step(op, attrs);
    nacre_shape shape = {.ndim = 0};
    for (int i = 0; i < in.shape.ndim; i++)
        if (!(axes >> i & 1)) shape.dims[shape.ndim++] = in.shape.dims[i];
    step.inputs = step.outputs = 1;
    step.in[0] = in;
    step.out[0] = kit_array(NACRE_F32, shape);
    kit_run(&step);
    return step.out[0];
}

/* The definition: 16 lanes, then the tree; segments of 8192 reduced the same way. */
static float lanes_of(const float *x, int64_t n) {
    float lane[16] = {0};
    for (int64_t i = 0; i < n; i++) lane[i % 16] += x[i];
    for (int half = 8; half > 0; half /= 2)
        for (int l = 0; l < half; l++) lane[l] += lane[l + half];
    return lane[0];
}

static float sum_of(const float *x, int64_t n) {
    enum { SEGMENT = 8192 };
    float part[64];
    int64_t parts = 0;
    if (n <= SEGMENT) return lanes_of(x, n);
    for (int64_t i = 0; i < n; i += SEGMENT)
        part[parts++] = lanes_of(x + i, n - i < SEGMENT ? n - i : SEGMENT);
    return lanes_of(part, parts);
}

static void sums_of_any_length_follow_the_fixed_tree(void **state) {
    (void)state;
    static const int64_t more[] = {511, 512, 513, 8191, 8192, 8193, 100480};
    for (int64_t i = 0; i < 90; i++) {
        int64_t n = i < 83 ? i : more[i - 83];
        nacre_array in = kit_random_f32(NACRE_SHAPE(n));
        nacre_array out = reduce(&nacre_op_sum, in, 1);
        float want = sum_of(in.data, n);
        assert_true(kit_same_bits(&want, out.data, sizeof want));
        kit_end();
    }
}

/* The same numbers as rows, as columns, and scattered by a permutation: [rows, n]. */
static void rows_columns_and_scattered_elements_agree_in_bits(void **state) {
    (void)state;
    static const int64_t sizes[][2] = {{1, 1},      {5, 3},     {17, 16},  {33, 31},
                                       {128, 64},   {7, 100},   {70, 200}, {3, 9000},
                                       {40, 17000}, {515, 300}, {256, 257}};
    const nacre_op *ops[] = {&nacre_op_sum, &nacre_op_max, &nacre_op_min};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        int64_t rows = sizes[s][0], n = sizes[s][1];
        nacre_array in = kit_random_f32(NACRE_SHAPE(rows, n)), columns, spread;
        columns = kit_array(NACRE_F32, NACRE_SHAPE(n, rows));
        spread = kit_array(NACRE_F32, NACRE_SHAPE(rows, n, 2));
        for (int64_t r = 0; r < rows; r++)
            for (int64_t i = 0; i < n; i++) {
                float x = ((float *)in.data)[r * n + i];
                ((float *)columns.data)[i * rows + r] = x;
                ((float *)spread.data)[(r * n + i) * 2] = x;
                ((float *)spread.data)[(r * n + i) * 2 + 1] = NAN;
            }
        spread.shape = NACRE_SHAPE(rows, n);
        for (int k = 0; k < 3; k++) {
            nacre_array a = reduce(ops[k], in, 2), b = reduce(ops[k], columns, 1);
            nacre_array c = reduce(ops[k], spread, 2);
            assert_true(kit_same_bits(a.data, b.data, (size_t)rows * sizeof(float)));
            assert_true(kit_same_bits(a.data, c.data, (size_t)rows * sizeof(float)));
            if (k > 0) continue;
            for (int64_t r = 0; r < rows; r++) {
                float want = sum_of((float *)in.data + r * n, n);
                assert_true(kit_same_bits(&want, (float *)a.data + r, sizeof want));
            }
        }
        kit_end();
    }
}

static void any_set_of_axes_is_reduced(void **state) {
    (void)state;
    nacre_shape shape = NACRE_SHAPE(4, 3, 5, 19);
    nacre_array in = kit_random_f32(shape);
    for (int64_t axes = 0; axes < 16; axes++) {
        nacre_array out = reduce(&nacre_op_sum, in, axes);
        double want[4 * 3 * 5 * 19] = {0};
        for (int64_t i = 0; i < 4 * 3 * 5 * 19; i++) {
            int64_t index[] = {i / 285, i / 95 % 3, i / 19 % 5, i % 19}, at = 0;
            for (int a = 0; a < 4; a++)
                if (!(axes >> a & 1)) at = at * shape.dims[a] + index[a];
            want[at] += (double)((float *)in.data)[i];
        }
        for (int64_t i = 0; i < nacre_shape_numel(&out.shape); i++)
            assert_true(fabs((double)((float *)out.data)[i] - want[i]) < 1e-4);
    }
}

static void nan_is_the_extreme_of_whatever_holds_it(void **state) {
    (void)state;
    for (int64_t n = 1; n < 40; n++) {
        nacre_array in = kit_random_f32(NACRE_SHAPE(n, 20));
        ((float *)in.data)[(n - 1) * 20 + 7] = NAN;
        for (int k = 0; k < 2; k++) {
            const nacre_op *op = k ? &nacre_op_max : &nacre_op_min;
            float *down = reduce(op, in, 1).data, *across = reduce(op, in, 2).data;
            for (int64_t j = 0; j < 20; j++) assert_int_equal(isnan(down[j]) != 0, j == 7);
            for (int64_t j = 0; j < n; j++) assert_int_equal(isnan(across[j]) != 0, j == n - 1);
        }
        kit_end();
    }
}

static void threads_change_no_bit_of_a_sum(void **state) {
    (void)state;
    nacre_array in = kit_random_f32(NACRE_SHAPE(20000, 70));
    static const int threads[] = {1, 2, 7};
    for (int64_t axes = 1; axes < 4; axes++) {
        nacre_array out[3];
        for (int t = 0; t < 3; t++) {
            assert_int_equal(nacre_set_threads(threads[t]), NACRE_OK);
            out[t] = reduce(&nacre_op_sum, in, axes);
        }
        size_t bytes = (size_t)nacre_shape_numel(&out[0].shape) * sizeof(float);
        assert_true(kit_same_bits(out[0].data, out[1].data, bytes));
        assert_true(kit_same_bits(out[0].data, out[2].data, bytes));
    }
}

static void other_dtypes_reduce_through_the_reference(void **state) {
    (void)state;
    nacre_word attrs[] = {[NACRE_REDUCE_AXES] = {.i = 1}, [NACRE_REDUCE_KEEPDIMS] = {.i = 0}};
    nacre_plan_op step = kit_step(&nacre_op_sum, attrs);
    step.inputs = step.outputs = 1;
    step.in[0] = kit_array(NACRE_BOOL, NACRE_SHAPE(3));
    step.out[0] = kit_array(NACRE_I64, NACRE_SCALAR);
    memcpy(step.in[0].data, (uint8_t[]){1, 0, 1}, 3);
    kit_run(&step);
    assert_int_equal(*(int64_t *)step.out[0].data, 2);
}

/* ---- arg ---- */

static nacre_array arg(const nacre_op *op, nacre_array in, int64_t axis, nacre_shape shape) {
    nacre_word attrs[] = {[NACRE_ARG_AXIS] = {.i = axis}, [NACRE_ARG_KEEPDIMS] = {.i = 0}};
    nacre_plan_op step = kit_step(op, attrs);
    step.inputs = step.outputs = 1;
    step.in[0] = in;
    step.out[0] = kit_array(NACRE_I64, shape);
    kit_run(&step);
    return step.out[0];
}

static void arg_finds_the_first_extreme_or_the_first_nan(void **state) {
    (void)state;
    for (int64_t n = 1; n < 50; n++) {
        nacre_array in = kit_random_f32(NACRE_SHAPE(4, n));
        float *x = in.data;
        for (int64_t i = 0; i < n; i++) x[i] = 1.0f;        /* all equal */
        for (int64_t i = n / 2; i < n; i++) x[n + i] = NAN; /* NaN from the middle on */
        x[2 * n + n - 1] = 5.0f;                            /* largest last */
        x[3 * n + n / 3] = -5.0f;                           /* smallest in between */
        int64_t *most = arg(&nacre_op_argmax, in, 1, NACRE_SHAPE(4)).data;
        int64_t *least = arg(&nacre_op_argmin, in, 1, NACRE_SHAPE(4)).data;
        assert_int_equal(most[0], 0);
        assert_int_equal(least[0], 0);
        assert_int_equal(most[1], n / 2);
        assert_int_equal(least[1], n / 2);
        assert_int_equal(most[2], n - 1);
        assert_int_equal(least[3], n / 3);
        int64_t *flat = arg(&nacre_op_argmax, in, -1, NACRE_SCALAR).data;
        assert_int_equal(flat[0], n + n / 2);
        assert_int_equal(((int64_t *)arg(&nacre_op_argmax, in, 0, NACRE_SHAPE(n)).data)[n / 2], 1);
        kit_end();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_TEST(sums_of_any_length_follow_the_fixed_tree),
        KIT_TEST(rows_columns_and_scattered_elements_agree_in_bits),
        KIT_TEST(any_set_of_axes_is_reduced),
        KIT_TEST(nan_is_the_extreme_of_whatever_holds_it),
        KIT_TEST(threads_change_no_bit_of_a_sum),
        KIT_TEST(other_dtypes_reduce_through_the_reference),
        KIT_TEST(arg_finds_the_first_extreme_or_the_first_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
