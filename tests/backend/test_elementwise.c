/* Element-wise kernels and fused groups: every tail, every way of broadcasting, in place, NaN. */
#include "backend/kit.h"

static nacre_array run_op(const nacre_op *op, int inputs, const nacre_array *in, nacre_dtype dtype,
                          nacre_shape shape) {
    nacre_plan_op step = kit_step(op, NULL);
    step.inputs = inputs;
    step.outputs = 1;
    for (int i = 0; i < inputs; i++) step.in[i] = kit_broadcast(in[i], shape);
    step.out[0] = kit_array(dtype, shape);
    kit_run(&step);
    return step.out[0];
}

static const nacre_op *const float_ops[] = {
    &nacre_op_add,     &nacre_op_sub,           &nacre_op_mul, &nacre_op_div,  &nacre_op_maximum,
    &nacre_op_minimum, &nacre_op_neg,           &nacre_op_exp, &nacre_op_sqrt, &nacre_op_log,
    &nacre_op_relu,    &nacre_op_relu_backward, &nacre_op_pow, &nacre_op_copy};
enum { FLOAT_OPS = sizeof float_ops / sizeof float_ops[0] };

static const nacre_op *const comparisons[] = {&nacre_op_equal,   &nacre_op_not_equal,
                                              &nacre_op_less,    &nacre_op_less_equal,
                                              &nacre_op_greater, &nacre_op_greater_equal};

/* Values that decide comparisons and spread NaN. */
static void sprinkle(nacre_array array, int phase) {
    static const float special[] = {0.0f, -0.0f, NAN, INFINITY, -INFINITY, 1.0f, 2.0f, 0.5f};
    float *x = array.data;
    for (int64_t i = phase; i < nacre_shape_numel(&array.shape); i += 3) x[i] = special[i * 7 % 8];
}

static void check_element(const nacre_op *op, float value, double a, double b) {
    const double x[] = {a, b};
    double want = op->element(x, NULL);
    double bound = op == &nacre_op_exp || op == &nacre_op_log ? 1.0 : 0.5;
    if (fabs(want) < 0x1p-126) want = 0; /* flushed */
    if (kit_ulp(value, want) > bound)
        fail_msg("%s(%a, %a) = %a, not %a", op->name, a, b, (double)value, want);
}

static void every_op_has_every_tail(void **state) {
    (void)state;
    for (int64_t n = 0; n <= 70; n++) {
        nacre_array in[] = {kit_random_f32(NACRE_SHAPE(n)), kit_random_f32(NACRE_SHAPE(n))};
        if (n % 2) {
            sprinkle(in[0], 0);
            sprinkle(in[1], (int)(n % 3));
        }
        const float *a = in[0].data, *b = in[1].data;
        for (int k = 0; k < FLOAT_OPS; k++) {
            const nacre_op *op = float_ops[k];
            nacre_array out = run_op(op, op->arity, in, NACRE_F32, NACRE_SHAPE(n));
            const float *y = out.data;
            for (int64_t i = 0; i < n; i++) check_element(op, y[i], (double)a[i], (double)b[i]);
        }
        for (int k = 0; k < 6; k++) {
            nacre_array out = run_op(comparisons[k], 2, in, NACRE_BOOL, NACRE_SHAPE(n));
            const uint8_t *y = out.data;
            for (int64_t i = 0; i < n; i++) {
                const double x[] = {(double)a[i], (double)b[i]};
                assert_int_equal(y[i], comparisons[k]->element(x, NULL) != 0);
            }
        }
        kit_end();
    }
}

static void powers_of_scalars_take_the_short_way_with_the_same_result(void **state) {
    (void)state;
    static const float exponents[] = {2.0f, 0.5f, 3.0f, -1.0f};
    for (int e = 0; e < 4; e++) {
        nacre_array in[] = {kit_random_f32(NACRE_SHAPE(600)), kit_random_f32(NACRE_SCALAR)};
        sprinkle(in[0], 0);
        *(float *)in[1].data = exponents[e];
        nacre_array out = run_op(&nacre_op_pow, 2, in, NACRE_F32, NACRE_SHAPE(600));
        for (int64_t i = 0; i < 600; i++) {
            float want = (float)pow((double)((float *)in[0].data)[i], (double)exponents[e]);
            float value = ((float *)out.data)[i];
            assert_true(isnan(want) ? isnan(value) : kit_same_bits(&value, &want, sizeof want));
        }
        kit_end();
    }
}

static void operands_broadcast_along_any_axis(void **state) {
    (void)state;
    const nacre_shape whole = NACRE_SHAPE(3, 5, 70);
    const nacre_shape shapes[] = {NACRE_SCALAR,         NACRE_SHAPE(70),      NACRE_SHAPE(5, 1),
                                  NACRE_SHAPE(3, 1, 1), NACRE_SHAPE(1),       NACRE_SHAPE(3, 1, 70),
                                  NACRE_SHAPE(5, 70),   NACRE_SHAPE(3, 5, 70)};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        for (int side = 0; side < 2; side++) {
            nacre_array in[2];
            in[side] = kit_random_f32(shapes[s]);
            in[1 - side] = kit_random_f32(whole);
            nacre_array out = run_op(&nacre_op_sub, 2, in, NACRE_F32, whole);
            nacre_array a = kit_broadcast(in[0], whole), b = kit_broadcast(in[1], whole);
            for (int64_t i = 0; i < 3 * 5 * 70; i++) {
                int64_t index[] = {i / 350, i / 70 % 5, i % 70};
                assert_true(((float *)out.data)[i] == kit_at(&a, index) - kit_at(&b, index));
            }
            kit_end();
        }
    }
}

/* Runs of one number that are shorter than a block, as long, longer, and longer than a task. */
static void a_number_repeats_over_its_run(void **state) {
    (void)state;
    static const int64_t runs[][3] = {{3, 2, 40},   {7, 3, 512},   {2, 5, 513},   {3, 4, 1000},
                                      {2, 3, 1024}, {1, 2, 40000}, {2, 2, 16384}, {1, 90, 511}};
    for (size_t r = 0; r < sizeof runs / sizeof runs[0]; r++) {
        const int64_t channels = runs[r][1], run = runs[r][2];
        const nacre_shape whole = NACRE_SHAPE(runs[r][0], channels, run);
        nacre_array number = kit_random_f32(NACRE_SHAPE(channels, 1));
        nacre_array flag = kit_array(NACRE_BOOL, NACRE_SHAPE(channels, 1));
        for (int64_t c = 0; c < channels; c++) ((uint8_t *)flag.data)[c] = c % 3 != 1;
        nacre_array in[] = {flag, kit_random_f32(whole), number};
        nacre_array difference = run_op(&nacre_op_sub, 2, in + 1, NACRE_F32, whole);
        nacre_array chosen = run_op(&nacre_op_where, 3, in, NACRE_F32, whole);
        const float *x = in[1].data, *numbers = number.data;
        for (int64_t i = 0; i < nacre_shape_numel(&whole); i++) {
            const int64_t c = i / run % channels;
            assert_true(((float *)difference.data)[i] == x[i] - numbers[c]);
            assert_true(((float *)chosen.data)[i] == (c % 3 != 1 ? x[i] : numbers[c]));
        }
        kit_end();
    }
}

static void permuted_operands_are_read_where_they_are(void **state) {
    (void)state;
    nacre_array in = kit_random_f32(NACRE_SHAPE(40, 37, 3));
    nacre_array view = in;
    view.shape = NACRE_SHAPE(3, 40, 37);
    view.strides[0] = 1;
    view.strides[1] = 111;
    view.strides[2] = 3;
    nacre_plan_op step = kit_step(&nacre_op_copy, NULL);
    step.inputs = step.outputs = 1;
    step.in[0] = view;
    step.out[0] = kit_array(NACRE_F32, view.shape);
    kit_run(&step);
    for (int64_t i = 0; i < 3 * 40 * 37; i++) {
        int64_t index[] = {i / 1480, i / 37 % 40, i % 37};
        assert_true(((float *)step.out[0].data)[i] == kit_at(&view, index));
    }
}

static void where_and_casts_choose_elements(void **state) {
    (void)state;
    for (int64_t n = 1; n < 2000; n = n * 3 + 1) {
        nacre_array in[] = {kit_array(NACRE_BOOL, NACRE_SHAPE(n)), kit_random_f32(NACRE_SHAPE(n)),
                            kit_random_f32(NACRE_SCALAR)};
        nacre_array bytes = kit_array(NACRE_U8, NACRE_SHAPE(n));
        for (int64_t i = 0; i < n; i++) {
            ((uint8_t *)in[0].data)[i] = i % 3 == 0;
            ((uint8_t *)bytes.data)[i] = (uint8_t)(i * 7);
        }
        nacre_array out = run_op(&nacre_op_where, 3, in, NACRE_F32, NACRE_SHAPE(n));
        nacre_array wide = run_op(&nacre_op_cast, 1, &bytes, NACRE_F32, NACRE_SHAPE(n));
        nacre_array flags = run_op(&nacre_op_cast, 1, in, NACRE_F32, NACRE_SHAPE(n));
        for (int64_t i = 0; i < n; i++) {
            float yes = ((float *)in[1].data)[i], no = *(float *)in[2].data;
            assert_true(((float *)out.data)[i] == (i % 3 == 0 ? yes : no));
            assert_true(((float *)wide.data)[i] == (float)(uint8_t)(i * 7));
            assert_true(((float *)flags.data)[i] == (i % 3 == 0 ? 1.0f : 0.0f));
        }
        /* a broadcast condition */
        in[0].shape = NACRE_SCALAR;
        out = run_op(&nacre_op_where, 3, in, NACRE_F32, NACRE_SHAPE(n));
        assert_true(kit_same_bits(out.data, in[1].data, (size_t)n * sizeof(float)));
        kit_end();
    }
}

static void integers_and_doubles_go_through_the_reference(void **state) {
    (void)state;
    nacre_array in[] = {kit_array(NACRE_I64, NACRE_SHAPE(3)), kit_array(NACRE_I64, NACRE_SCALAR)};
    memcpy(in[0].data, (int64_t[]){1, 2, 3}, 24);
    *(int64_t *)in[1].data = 2;
    nacre_array sum = run_op(&nacre_op_add, 2, in, NACRE_I64, NACRE_SHAPE(3));
    nacre_array equal = run_op(&nacre_op_equal, 2, in, NACRE_BOOL, NACRE_SHAPE(3));
    assert_memory_equal(sum.data, ((int64_t[]){3, 4, 5}), 24);
    assert_memory_equal(equal.data, ((uint8_t[]){0, 1, 0}), 3);
}

/* ---- groups ---- */

/* y0 = relu(a + row), y1 = exp(neg(y0)) * scale, y2 = a: three outputs, four inputs. */
static nacre_program chain(void) {
    nacre_program p = {.inputs = 3, .codes = 5, .outputs = 3, .result = {4, 7, 0}};
    p.code[0] = (nacre_instruction){.op = &nacre_op_add, .argument = {0, 1}};
    p.code[1] = (nacre_instruction){.op = &nacre_op_relu, .argument = {3}};
    p.code[2] = (nacre_instruction){.op = &nacre_op_neg, .argument = {4}};
    p.code[3] = (nacre_instruction){.op = &nacre_op_exp, .argument = {5}};
    p.code[4] = (nacre_instruction){.op = &nacre_op_mul, .argument = {6, 2}};
    return p;
}

static void a_fused_chain_has_the_bits_of_its_ops(void **state) {
    (void)state;
    static const int64_t sizes[][2] = {{1, 1},  {3, 7},     {1, 511},  {2, 512},
                                       {9, 57}, {300, 101}, {3, 1536}, {4, 9000}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        nacre_shape shape = NACRE_SHAPE(sizes[i][0], sizes[i][1]);
        size_t bytes = (size_t)nacre_shape_numel(&shape) * sizeof(float);
        nacre_array a = kit_random_f32(shape), row = kit_random_f32(NACRE_SHAPE(shape.dims[1]));
        nacre_array scale = kit_random_f32(NACRE_SHAPE(shape.dims[0], 1));
        nacre_array y0 = run_op(&nacre_op_add, 2, (nacre_array[]){a, row}, NACRE_F32, shape);
        y0 = run_op(&nacre_op_relu, 1, &y0, NACRE_F32, shape);
        nacre_array y1 = run_op(&nacre_op_neg, 1, &y0, NACRE_F32, shape);
        y1 = run_op(&nacre_op_exp, 1, &y1, NACRE_F32, shape);
        y1 = run_op(&nacre_op_mul, 2, (nacre_array[]){y1, scale}, NACRE_F32, shape);
        nacre_array before = run_op(&nacre_op_copy, 1, &a, NACRE_F32, shape);

        nacre_program program = chain();
        for (int in_place = 0; in_place < 2; in_place++) {
            nacre_plan_op step = {.program = &program, .inputs = 3, .outputs = 3};
            step.in[0] = a;
            step.in[1] = kit_broadcast(row, shape);
            step.in[2] = kit_broadcast(scale, shape);
            for (int k = 0; k < 3; k++) step.out[k] = kit_array(NACRE_F32, shape);
            if (in_place) step.out[0] = a; /* written while a is still to be stored to output 2 */
            kit_run(&step);
            assert_true(kit_same_bits(step.out[0].data, y0.data, bytes));
            assert_true(kit_same_bits(step.out[1].data, y1.data, bytes));
            assert_true(kit_same_bits(step.out[2].data, before.data, bytes));
        }
        kit_end();
    }
}

static void the_number_of_threads_changes_no_bit(void **state) {
    (void)state;
    nacre_shape shape = NACRE_SHAPE(333, 301);
    nacre_array a = kit_random_f32(shape), row = kit_random_f32(NACRE_SHAPE(301));
    nacre_array scale = kit_random_f32(NACRE_SHAPE(333, 1));
    nacre_program program = chain();
    static const int threads[] = {1, 2, 7};
    nacre_array out[3];
    for (int t = 0; t < 3; t++) {
        assert_int_equal(nacre_set_threads(threads[t]), NACRE_OK);
        nacre_plan_op step = {.program = &program, .inputs = 3, .outputs = 3};
        step.in[0] = a;
        step.in[1] = kit_broadcast(row, shape);
        step.in[2] = kit_broadcast(scale, shape);
        for (int k = 0; k < 3; k++) step.out[k] = kit_array(NACRE_F32, shape);
        kit_run(&step);
        out[t] = step.out[1];
    }
    size_t bytes = (size_t)nacre_shape_numel(&shape) * sizeof(float);
    assert_true(kit_same_bits(out[0].data, out[1].data, bytes));
    assert_true(kit_same_bits(out[0].data, out[2].data, bytes));
}

static void full_fills(void **state) {
    (void)state;
    for (int64_t n = 0; n < 200000; n = n * 5 + 1) {
        nacre_word attrs[] = {[NACRE_FULL_VALUE] = {.f = 2.5}};
        nacre_plan_op step = kit_step(&nacre_op_full, attrs);
        step.outputs = 1;
        step.out[0] = kit_array(NACRE_F32, NACRE_SHAPE(n));
        kit_run(&step);
        for (int64_t i = 0; i < n; i++) assert_true(((float *)step.out[0].data)[i] == 2.5f);
        kit_end();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_TEST(every_op_has_every_tail),
        KIT_TEST(powers_of_scalars_take_the_short_way_with_the_same_result),
        KIT_TEST(operands_broadcast_along_any_axis),
        KIT_TEST(a_number_repeats_over_its_run),
        KIT_TEST(permuted_operands_are_read_where_they_are),
        KIT_TEST(where_and_casts_choose_elements),
        KIT_TEST(integers_and_doubles_go_through_the_reference),
        KIT_TEST(a_fused_chain_has_the_bits_of_its_ops),
        KIT_TEST(the_number_of_threads_changes_no_bit),
        KIT_TEST(full_fills),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
