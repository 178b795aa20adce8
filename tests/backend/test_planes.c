/* Pools, batch norm and their gradients over laned planes, with guarded memory and lanes that stand for no sample. */
#include "backend/laned.h"
#include "backend/products.h"

#include "ops/reference.h"

/* ---- pools ---- */

/* A pool of images with nine rows, forward or back. */
typedef struct pooling {
    int64_t samples, columns;
    nacre_word attrs[NACRE_MAX_ATTRS];
} pooling;

enum { ROWS = 9, CHANNELS = 3 };

static nacre_shape pooled(const pooling *g) {
    int64_t out[2], in[] = {ROWS, g->columns};
    for (int i = 0; i < 2; i++) {
        int64_t part[3];
        const int which[] = {NACRE_POOL_KERNEL, NACRE_POOL_STRIDE, NACRE_POOL_PADDING};
        for (int a = 0; a < 3; a++) {
            const nacre_word word = g->attrs[which[a]];
            part[a] = i ? nacre_pair_second(word) : nacre_pair_first(word);
        }
        out[i] = (in[i] + 2 * part[2] - part[0]) / part[1] + 1;
    }
    return NACRE_SHAPE(g->samples, CHANNELS, out[0], out[1]);
}

/* The op's own definition, of plain copies. */
static nacre_array defined(const nacre_plan_op *step) {
    nacre_call call = {.attrs = step->attrs, .inputs = step->inputs, .outputs = 1};
    for (int i = 0; i < step->inputs; i++) call.in[i] = plain_of(&step->in[i]);
    call.out[0] = kit_array(NACRE_F32, step->out[0].shape);
    nacre_reference_run(step->op, &call);
    return call.out[0];
}

/* first, second: shapes of the inputs; second NULL: there is one. Sums have at most 63 addends below 1. */
static void check_pool(const nacre_op *op, const pooling *g, const nacre_shape *first,
                       const nacre_shape *second, const nacre_shape *out) {
    nacre_plan_op step = kit_step(op, g->attrs);
    step.inputs = second ? 2 : 1;
    step.outputs = 1;
    step.in[0] = laned_random(*first);
    if (second) step.in[1] = laned_random(*second);
    step.out[0] = laned_array(*out);
    kit_run(&step);
    nacre_array want = defined(&step);
    const int64_t count = nacre_shape_numel(out) / g->samples;
    for (int64_t n = 0; n < g->samples; n++)
        for (int64_t i = 0; i < count; i++) {
            double error = fabs((double)*element(&step.out[0], n, i) - *element(&want, n, i));
            if (!(error <= 4e-6))
                fail_msg("%s: sample %d, element %d is off by %g; %d columns", op->name, (int)n,
                         (int)i, error, (int)g->columns);
        }
    if (!second) check_plain(step);
    kit_end();
}

/* Relu's gradient taken along has the bits of the two steps, also where the pool's own result is wanted beside it. */
static void check_relu(const pooling *g, const nacre_shape *x, const nacre_shape *y) {
    nacre_plan_op step = kit_step(&nacre_op_max_pool2d_backward, g->attrs);
    step.inputs = 2;
    step.outputs = 1;
    step.in[0] = laned_random(*x);
    step.in[1] = laned_random(*y);
    step.out[0] = laned_array(*x);
    kit_run(&step);
    nacre_array raw = step.out[0];
    nacre_program program = program_mask();
    step.own = 2;
    step.inputs = 3;
    step.in[2] = step.in[0];
    step.program = &program;
    const int64_t count = nacre_shape_numel(x) / g->samples;
    for (int beside = 0; beside < 2; beside++) {
        if (beside) program.outputs = 2, program.result[0] = 0, program.result[1] = 2;
        step.outputs = program.outputs;
        for (int k = 0; k < step.outputs; k++) step.out[k] = laned_array(*x);
        kit_run(&step);
        for (int64_t n = 0; n < g->samples; n++)
            for (int64_t i = 0; i < count; i++) {
                const float slope = *element(&raw, n, i);
                const float want = *element(&step.in[0], n, i) > 0 ? slope : 0;
                assert_true(kit_same_bits(element(&step.out[beside], n, i), &want, sizeof want));
                if (beside)
                    assert_true(kit_same_bits(element(&step.out[0], n, i), &slope, sizeof slope));
            }
    }
    kit_end();
}

static void pools_of_any_window_are_right(void **state) {
    (void)state;
    const int64_t windows[][6] = {{2, 2, 2, 2, 0, 0}, {3, 3, 2, 2, 1, 1}, {1, 4, 1, 3, 0, 2},
                                  {9, 7, 1, 1, 0, 0}, {3, 2, 4, 5, 1, 1}, {5, 5, 1, 2, 2, 2},
                                  {3, 3, 3, 3, 0, 0}, {2, 2, 2, 2, 1, 1}};
    const int64_t columns[] = {7, 8, 17, 31, 32, 33, 35, 66};
    for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++)
        for (int64_t samples = 1, at = (int64_t)i; samples <= 33; samples += samples < 5 ? 1 : 14) {
            const int64_t *w = windows[i];
            pooling g = {.samples = samples,
                         .columns = columns[at++ % 8],
                         .attrs = {[NACRE_POOL_KERNEL] = nacre_pair(w[0], w[1]),
                                   [NACRE_POOL_STRIDE] = nacre_pair(w[2], w[3]),
                                   [NACRE_POOL_PADDING] = nacre_pair(w[4], w[5])}};
            const nacre_shape x = NACRE_SHAPE(samples, CHANNELS, ROWS, g.columns), y = pooled(&g);
            check_pool(&nacre_op_max_pool2d, &g, &x, NULL, &y);
            check_pool(&nacre_op_avg_pool2d, &g, &x, NULL, &y);
            check_pool(&nacre_op_max_pool2d_backward, &g, &x, &y, &x);
            check_relu(&g, &x, &y);
            check_pool(&nacre_op_max_pool2d_pick, &g, &x, &x, &y);
            g.attrs[NACRE_POOL_SIZE] = nacre_pair(ROWS, g.columns);
            check_pool(&nacre_op_avg_pool2d_backward, &g, &y, NULL, &x);
        }
}

/* The plane's whole extent in windows of two, so that nothing is cleared before. */
static void windows_of_two_write_every_pixel_once(void **state) {
    (void)state;
    const nacre_word two = nacre_pair(2, 2);
    nacre_word attrs[NACRE_MAX_ATTRS] = {
        [NACRE_POOL_KERNEL] = two, [NACRE_POOL_STRIDE] = two, [NACRE_POOL_SIZE] = nacre_pair(6, 4)};
    nacre_plan_op step = kit_step(&nacre_op_max_pool2d_backward, attrs);
    step.inputs = 2;
    step.outputs = 1;
    step.in[0] = laned_random(NACRE_SHAPE(17, 2, 6, 4));
    step.in[1] = laned_random(NACRE_SHAPE(17, 2, 3, 2));
    for (int64_t n = 0; n < 17; n++) { /* ties go to the first, -0 becomes 0 */
        *element(&step.in[0], n, 0) = *element(&step.in[0], n, 1) = 2;
        *element(&step.in[1], n, 0) = -0.0f;
    }
    step.out[0] = laned_array(NACRE_SHAPE(17, 2, 6, 4));
    kit_run(&step);
    nacre_array want = defined(&step), got = plain_of(&step.out[0]);
    assert_memory_equal(got.data, want.data, sizeof(float) * 17 * 2 * 6 * 4);
    assert_false(signbit(*element(&step.out[0], 3, 0)));
    kit_end();
}

/* ---- batch norm ---- */

typedef struct moments {
    double mean, var;
} moments;

static moments moments_of(const nacre_array *x, int64_t samples, int64_t channel, int64_t pixels) {
    moments m = {0, 0};
    const double count = (double)(samples * pixels);
    for (int64_t i = 0; i < samples * pixels; i++)
        m.mean += (double)*element(x, i / pixels, channel * pixels + i % pixels) / count;
    for (int64_t i = 0; i < samples * pixels; i++) {
        const double d = *element(x, i / pixels, channel * pixels + i % pixels) - m.mean;
        m.var += d * d / count;
    }
    return m;
}

static void assert_near(double got, double want, double scale, const char *what, int64_t samples,
                        int64_t pixels) {
    if (!(fabs(got - want) <= 2e-6 * (scale + fabs(want))))
        fail_msg("%s is %g, not %g: %d samples of %d pixels", what, got, want, (int)samples,
                 (int)pixels);
}

static void check_norm(int64_t samples, int64_t pixels) {
    enum { C = 3 };
    const double epsilon = 0.01;
    const nacre_shape shape = NACRE_SHAPE(samples, C, 1, pixels), channels = NACRE_SHAPE(C);
    nacre_word attrs[NACRE_MAX_ATTRS] = {[NACRE_BATCH_NORM_EPSILON] = {.f = epsilon}};
    nacre_plan_op step = kit_step(&nacre_op_batch_norm, attrs);
    step.inputs = step.outputs = 3;
    nacre_array x = step.in[0] = laned_random(shape);
    nacre_array weight = step.in[1] = kit_random_f32(channels);
    nacre_array bias = step.in[2] = kit_random_f32(channels);
    nacre_array y = step.out[0] = laned_array(shape);
    nacre_array mean = step.out[1] = kit_array(NACRE_F32, channels);
    nacre_array var = step.out[2] = kit_array(NACRE_F32, channels);
    kit_run(&step);

    step = kit_step(&nacre_op_batch_norm_backward, attrs);
    step.inputs = 5;
    step.outputs = 3;
    step.in[0] = x, step.in[1] = weight, step.in[2] = mean, step.in[3] = var;
    nacre_array dy = step.in[4] = laned_random(shape);
    nacre_array dx = step.out[0] = laned_array(shape);
    nacre_array dweight = step.out[1] = kit_array(NACRE_F32, channels);
    nacre_array dbias = step.out[2] = kit_array(NACRE_F32, channels);
    kit_run(&step);

    for (int64_t c = 0; c < C; c++) {
        const moments m = moments_of(&x, samples, c, pixels);
        const double r = 1 / sqrt(m.var + epsilon), n = (double)(samples * pixels);
        const double w = ((float *)weight.data)[c];
        double s = 0, t = 0;
        assert_near(((float *)mean.data)[c], m.mean, 1, "mean", samples, pixels);
        assert_near(((float *)var.data)[c], m.var, 1, "var", samples, pixels);
        for (int64_t i = 0; i < samples * pixels; i++) {
            const int64_t at = c * pixels + i % pixels;
            const double d = *element(&x, i / pixels, at) - m.mean,
                         g = *element(&dy, i / pixels, at);
            s += g, t += g * d;
            assert_near(*element(&y, i / pixels, at), d * r * w + ((float *)bias.data)[c], r, "y",
                        samples, pixels);
        }
        /* Sums of up to n numbers below 1. */
        assert_near(((float *)dbias.data)[c], s, sqrt(n), "dbias", samples, pixels);
        assert_near(((float *)dweight.data)[c], r * t, r * sqrt(n), "dweight", samples, pixels);
        for (int64_t i = 0; i < samples * pixels; i++) {
            const int64_t at = c * pixels + i % pixels;
            const double d = *element(&x, i / pixels, at) - m.mean,
                         g = *element(&dy, i / pixels, at);
            const double want = w * r * (g - s / n - d * r * r * t / n);
            assert_near(*element(&dx, i / pixels, at), want, r * (1 + r * r), "dx", samples,
                        pixels);
        }
    }
    kit_end();
}

static void batch_norm_is_right_at_every_edge(void **state) {
    (void)state;
    for (int64_t samples = 1; samples <= 33; samples += samples < 3 ? 1 : 5)
        for (int64_t pixels = 1; pixels <= 33; pixels += pixels < 9 ? 1 : 4)
            check_norm(samples, pixels);
    check_norm(40, 300);
}

/* The norm of `step`, perhaps with an array added, and its relu: registers 0, 2 and 3. */
static nacre_program norm_then(bool add, bool relu) {
    nacre_program p = {.inputs = 1 + add};
    if (add) p.code[p.codes++] = (nacre_instruction){.op = &nacre_op_add, .argument = {0, 1}};
    if (relu)
        p.code[p.codes++] =
            (nacre_instruction){.op = &nacre_op_relu, .argument = {add ? p.inputs : 0}};
    return p;
}

/* What is wanted of norm, sum and relu has the bits of the steps one by one, also where it is written over the
   addend. */
static void check_epilogue(bool add, bool relu, unsigned wanted, bool over) {
    const int64_t samples = 19, pixels = 7, count = 3 * pixels;
    const nacre_shape shape = NACRE_SHAPE(samples, 3, 1, pixels), channels = NACRE_SHAPE(3);
    nacre_word attrs[NACRE_MAX_ATTRS] = {[NACRE_BATCH_NORM_EPSILON] = {.f = 0.01}};
    nacre_plan_op step = kit_step(&nacre_op_batch_norm, attrs);
    step.inputs = step.outputs = step.own = 3;
    step.in[0] = laned_random(shape);
    step.in[1] = kit_random_f32(channels);
    step.in[2] = kit_random_f32(channels);
    *element(&step.in[0], 18, 4) = 3e38f; /* the first channel overflows: NaN */
    nacre_array addend = laned_random(shape);
    for (int i = 0; i < 3; i++)
        step.out[i] = i ? kit_array(NACRE_F32, channels) : laned_array(shape);
    kit_run(&step);
    nacre_array norm[3] = {step.out[0], step.out[1], step.out[2]};

    nacre_program program = norm_then(add, relu);
    if (add) step.in[step.inputs++] = addend;
    nacre_array sum = laned_random(shape);
    for (int64_t n = 0; n < samples; n++)
        for (int64_t i = 0; i < count; i++)
            *element(&sum, n, i) = *element(&norm[0], n, i) + (add ? *element(&addend, n, i) : 0);
    step.outputs = 0;
    for (int k = 0; k <= program.codes; k++) {
        if (!(wanted & 1u << k)) continue;
        program.result[program.outputs++] = k ? program.inputs + k - 1 : 0;
        const bool last = over && k == program.codes;
        step.out[step.outputs++] = last ? addend : laned_array(shape);
    }
    if (over && program.outputs > 1) { /* whichever comes first, the addend is read by all */
        const int end = program.outputs - 1, result = program.result[0];
        nacre_array out = step.out[0];
        step.out[0] = step.out[end], program.result[0] = program.result[end];
        step.out[end] = out, program.result[end] = result;
    }
    for (int i = 0; i < 2; i++) step.out[step.outputs++] = kit_array(NACRE_F32, channels);
    step.program = &program;
    kit_run(&step);
    for (int k = 0; k < program.outputs; k++) {
        const int code = program.result[k] - program.inputs;
        const bool is_relu = code >= 0 && program.code[code].op == &nacre_op_relu;
        for (int64_t n = 0; n < samples; n++)
            for (int64_t i = 0; i < count; i++) {
                const float got = *element(&step.out[k], n, i);
                float want = *element(code < 0 ? &norm[0] : &sum, n, i);
                if (is_relu && want < 0) want = 0;
                assert_true(got == want || (isnan(got) && isnan(want)));
            }
    }
    for (int i = 1; i < 3; i++)
        assert_true(kit_same_bits(step.out[program.outputs + i - 1].data, norm[i].data, 12));
    kit_end();
}

static void batch_norm_takes_a_sum_and_a_relu_along(void **state) {
    (void)state;
    check_epilogue(false, true, 2, false);
    check_epilogue(false, true, 3, false);
    for (unsigned over = 0; over < 2; over++) {
        for (unsigned wanted = 2; wanted < 4; wanted++) check_epilogue(true, false, wanted, over);
        for (unsigned wanted = 4; wanted < 8; wanted++) check_epilogue(true, true, wanted, over);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_TEST(pools_of_any_window_are_right),
        KIT_TEST(windows_of_two_write_every_pixel_once),
        KIT_TEST(batch_norm_is_right_at_every_edge),
        KIT_TEST(batch_norm_takes_a_sum_and_a_relu_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
