/* Kernels over laned arrays, called by hand with guarded memory: convolutions of every edge size against sums in
   double, copies in and out of lanes, and lanes that stand for no sample. */
#include "backend/laned.h"

typedef struct geometry {
    int64_t samples, in, out, rows, columns, kernel[2], stride[2], padding[2], dilation[2], groups;
} geometry;

static int64_t extent(const geometry *g, int axis) {
    int64_t x = axis ? g->columns : g->rows;
    return (x + 2 * g->padding[axis] - g->dilation[axis] * (g->kernel[axis] - 1) - 1) /
               g->stride[axis] +
           1;
}

static void set_attrs(const geometry *g, nacre_word *attrs) {
    attrs[NACRE_CONV_STRIDE] = nacre_pair(g->stride[0], g->stride[1]);
    attrs[NACRE_CONV_PADDING] = nacre_pair(g->padding[0], g->padding[1]);
    attrs[NACRE_CONV_DILATION] = nacre_pair(g->dilation[0], g->dilation[1]);
    attrs[NACRE_CONV_GROUPS].i = g->groups;
}

typedef struct sums {
    double *y, *dx, *dweight, *dbias;
} sums;

/* All four results from one walk over (sample, output, channel, pixel, tap). */
static void convolve(const geometry *g, const nacre_array *x, const nacre_array *w,
                     const float *bias, const nacre_array *dy, sums s) {
    int64_t oh = extent(g, 0), ow = extent(g, 1), in = g->in / g->groups, out = g->out / g->groups;
    for (int64_t n = 0; n < g->samples; n++)
        for (int64_t o = 0; o < g->out; o++)
            for (int64_t p = 0; p < oh * ow; p++) {
                int64_t at_y = o * oh * ow + p;
                double *y = &s.y[n * g->out * oh * ow + at_y], gradient = *element(dy, n, at_y);
                *y = bias[o];
                s.dbias[o] += gradient;
                for (int64_t t = 0; t < in * g->kernel[0] * g->kernel[1]; t++) {
                    int64_t k = t % g->kernel[1], r = t / g->kernel[1] % g->kernel[0];
                    int64_t c = o / out * in + t / g->kernel[1] / g->kernel[0];
                    int64_t i = p / ow * g->stride[0] - g->padding[0] + r * g->dilation[0];
                    int64_t j = p % ow * g->stride[1] - g->padding[1] + k * g->dilation[1];
                    if (i < 0 || i >= g->rows || j < 0 || j >= g->columns) continue;
                    int64_t at_x = (c * g->rows + i) * g->columns + j;
                    int64_t at_w = o * in * g->kernel[0] * g->kernel[1] + t;
                    double weight = ((const float *)w->data)[at_w], pixel = *element(x, n, at_x);
                    *y += weight * pixel;
                    s.dx[n * g->in * g->rows * g->columns + at_x] += weight * gradient;
                    s.dweight[at_w] += pixel * gradient;
                }
            }
}

static void compare(const nacre_array *got, const double *want, double terms, const char *what,
                    const geometry *g) {
    int64_t samples = got->laned ? got->shape.dims[0] : 1;
    int64_t count = samples ? nacre_shape_numel(&got->shape) / samples : 0;
    for (int64_t n = 0; n < samples; n++)
        for (int64_t i = 0; i < count; i++) {
            double error = fabs((double)*element(got, n, i) - want[n * count + i]);
            /* rounding of a chain of `terms` products of numbers below 1, whose sums on the way, of either sign, stay
               below 1 + sqrt(terms) */
            if (!(error <= 6e-8 * terms * (1 + sqrt(terms)) + 1e-7))
                fail_msg("%s: sample %d, element %d is off by %g; batch %d, channels %d -> %d",
                         what, (int)n, (int)i, error, (int)g->samples, (int)g->in, (int)g->out);
        }
}

/* The input gradient of `step` with a sum, relu's gradient or both behind it has the bits of the steps one by one, also
   written over one of their operands. */
static void check_after(nacre_plan_op step, const geometry *g) {
    const nacre_array raw = step.out[0];
    const nacre_shape shape = raw.shape;
    const int64_t count = g->in * g->rows * g->columns;
    const int order = (int)(g->samples + g->columns) % 2; /* of the addends */
    step.own = 2;
    for (int with = 1; with < 4; with++) {
        const bool add = with & 1, mask = with & 2;
        nacre_program program = {.inputs = 1 + add + mask, .outputs = 1};
        nacre_array operands[2] = {laned_array(shape), laned_array(shape)};
        nacre_array want = laned_array(shape);
        for (int64_t n = 0; n < g->samples; n++)
            for (int64_t i = 0; i < count; i++) {
                float y = *element(&raw, n, i), *gate = element(&operands[add], n, i);
                *element(&operands[0], n, i) = (float)((n * 31 + i * 17) % 23 - 11) / 8;
                *gate = (float)((n * 7 + i * 5) % 13 - 6) / 4; /* zeros among them */
                if (add) y += *element(&operands[0], n, i);
                *element(&want, n, i) = mask && !(*gate > 0) ? 0 : y;
            }
        if (add)
            program.code[program.codes++] =
                (nacre_instruction){.op = &nacre_op_add, .argument = {order, 1 - order}};
        if (mask)
            program.code[program.codes++] = (nacre_instruction){
                .op = &nacre_op_relu_backward, .argument = {1 + add, add ? program.inputs : 0}};
        program.result[0] = program.inputs + program.codes - 1;
        step.program = &program;
        step.inputs = 2 + add + mask;
        for (int i = 0; i < add + mask; i++) step.in[2 + i] = operands[i];
        for (int over = 0; over <= add + mask; over++) {
            nacre_array backup = laned_array(shape);
            const size_t bytes = (size_t)(blocks_of(g->samples) * NACRE_LANES * count) * 4;
            step.out[0] = over ? operands[over - 1] : laned_array(shape);
            if (bytes) memcpy(backup.data, step.out[0].data, bytes);
            kit_run(&step);
            for (int64_t n = 0; n < g->samples; n++)
                for (int64_t i = 0; i < count; i++)
                    assert_true(*element(&step.out[0], n, i) == *element(&want, n, i));
            if (over && bytes) memcpy(step.out[0].data, backup.data, bytes);
        }
    }
}

enum { NORM = 7, ADD = 8, RELU = 16 }; /* NORM: a difference 1, a product 2, a sum 4 */

/* What follows a convolution, op by op; other: the array that is added, numbers: of the channels. */
static float followed(unsigned with, float y, const float *numbers, float other) {
    if (with & 1) y -= numbers[0];
    if (with & 2) y *= numbers[1];
    if (with & 4) y += numbers[2];
    if (with & ADD) y += other;
    return with & RELU && y < 0 ? 0 : y;
}

/* The program of that, and its operands behind the step's own inputs: the numbers, broadcast, and `other`. */
static void follow(unsigned with, nacre_plan_op *step, nacre_program *program, bool swapped,
                   const nacre_array numbers[3], const nacre_array *other) {
    const nacre_op *const ops[] = {&nacre_op_sub, &nacre_op_mul, &nacre_op_add, &nacre_op_add,
                                   &nacre_op_relu};
    *program = (nacre_program){.inputs = 1, .outputs = 1};
    for (unsigned k = 0; k < 4; k++)
        if (with >> k & 1) {
            step->in[step->own + program->inputs - 1] = k < 3 ? numbers[k] : *other;
            program->inputs++;
        }
    for (unsigned k = 0, reg = 1; k < 5; k++) {
        if (!(with >> k & 1)) continue;
        const int made = program->codes ? program->inputs + program->codes - 1 : 0;
        const bool turned = swapped && k > 0 && k < 4;
        nacre_instruction *code = &program->code[program->codes++];
        code->op = ops[k];
        code->argument[turned] = made;
        if (k < 4) code->argument[!turned] = (int)reg++;
    }
    program->result[0] = program->inputs + program->codes - 1;
    step->program = program;
    step->inputs = step->own + program->inputs - 1;
}

/* A convolution with an epilogue has the bits of the steps one by one, in lanes and samples alone, also written over
   what it adds. step: has run, raw: its result. */
static void check_followed(nacre_plan_op step, unsigned with, const geometry *g) {
    const nacre_array raw = step.out[0];
    const nacre_shape shape = raw.shape;
    const int64_t pixels = shape.dims[2] * shape.dims[3], count = g->out * pixels;
    nacre_array numbers[3], other = laned_array(shape), want = laned_array(shape);
    for (int k = 0; k < 3; k++) {
        numbers[k] = kit_array(NACRE_F32, NACRE_SHAPE(g->out * (k + 1)));
        for (int64_t i = 0; i < g->out * (k + 1); i++)
            ((float *)numbers[k].data)[i] = (float)((i * 13 + k) % 19 - 9) / 7;
        numbers[k].shape = shape;
        memset(numbers[k].strides, 0, sizeof numbers[k].strides);
        numbers[k].strides[1] = k == 1 && with & RELU ? 0 : k + 1; /* of all channels; apart */
    }
    for (int64_t n = 0; n < g->samples; n++)
        for (int64_t i = 0; i < count; i++) {
            float of[3];
            for (int k = 0; k < 3; k++)
                of[k] = ((const float *)numbers[k].data)[i / pixels * numbers[k].strides[1]];
            *element(&other, n, i) = (float)((n * 31 + i * 17) % 23 - 11) / 7;
            *element(&want, n, i) =
                followed(with, *element(&raw, n, i), of, *element(&other, n, i));
        }
    nacre_program program;
    step.own = 3;
    follow(with, &step, &program, g->columns % 2, numbers, &other);
    step.out[0] = with & ADD ? laned_array(shape) : raw;
    for (int over = 0; over <= (with & ADD ? 1 : 0); over++) {
        if (over) step.out[0] = other;
        kit_run(&step);
        for (int64_t n = 0; n < g->samples; n++)
            for (int64_t i = 0; i < count; i++)
                assert_memory_equal(element(&step.out[0], n, i), element(&want, n, i), 4);
        if (!over) check_plain(step);
    }
}

/* Whole norms with all that may follow, and a part of them that differs from geometry to geometry. */
static void check_epilogues(nacre_plan_op step, const geometry *g) {
    const unsigned part = (unsigned)(g->in * 5 + g->out * 3 + g->rows + g->columns) % 31 + 1;
    const unsigned with[] = {NORM | ADD | RELU, NORM | RELU, part};
    nacre_array raw = laned_array(step.out[0].shape);
    const size_t bytes = (size_t)(blocks_of(g->samples) * NACRE_LANES * g->out *
                                  step.out[0].shape.dims[2] * step.out[0].shape.dims[3]) *
                         sizeof(float);
    for (int k = 0; k < 3; k++) {
        const int kept = kit_count;
        nacre_plan_op copy = step;
        if (bytes) memcpy(raw.data, step.out[0].data, bytes);
        copy.out[0] = raw;
        check_followed(copy, with[k], g);
        kit_check_guards();
        while (kit_count > kept) free(kit_blocks[--kit_count].start);
    }
}

static void check_geometry(geometry g) {
    int64_t oh = extent(&g, 0), ow = extent(&g, 1), per_group = g.in / g.groups;
    nacre_shape x_shape = NACRE_SHAPE(g.samples, g.in, g.rows, g.columns);
    nacre_shape y_shape = NACRE_SHAPE(g.samples, g.out, oh, ow);
    nacre_shape w_shape = NACRE_SHAPE(g.out, per_group, g.kernel[0], g.kernel[1]);
    nacre_array x = laned_random(x_shape), dy = laned_random(y_shape);
    nacre_array w = kit_random_f32(w_shape), bias = kit_random_f32(NACRE_SHAPE(g.out));
    sums want = {calloc((size_t)nacre_shape_numel(&y_shape) + 1, sizeof(double)),
                 calloc((size_t)nacre_shape_numel(&x_shape) + 1, sizeof(double)),
                 calloc((size_t)nacre_shape_numel(&w_shape) + 1, sizeof(double)),
                 calloc((size_t)g.out + 1, sizeof(double))};
    convolve(&g, &x, &w, bias.data, &dy, want);
    nacre_word attrs[NACRE_MAX_ATTRS] = {0};
    set_attrs(&g, attrs);

    nacre_plan_op step = kit_step(&nacre_op_conv2d, attrs);
    step.inputs = 3;
    step.outputs = 1;
    step.in[0] = x, step.in[1] = w, step.in[2] = bias;
    step.out[0] = laned_array(y_shape);
    kit_run(&step);
    double taps = (double)(g.kernel[0] * g.kernel[1]);
    compare(&step.out[0], want.y, (double)per_group * taps, "conv2d", &g);
    check_plain(step);
    check_epilogues(step, &g);

    step = kit_step(&nacre_op_conv2d_backward_input, attrs);
    step.inputs = 2;
    step.outputs = 1;
    step.in[0] = dy, step.in[1] = w;
    step.out[0] = laned_array(x_shape);
    kit_run(&step);
    compare(&step.out[0], want.dx, (double)(g.out / g.groups) * taps, "backward_input", &g);
    check_after(step, &g);

    step = kit_step(&nacre_op_conv2d_backward_weight, attrs);
    step.inputs = step.outputs = 2;
    step.in[0] = x, step.in[1] = dy;
    step.out[0] = kit_array(NACRE_F32, w_shape);
    step.out[1] = kit_array(NACRE_F32, NACRE_SHAPE(g.out));
    kit_run(&step);
    double terms = (double)(g.samples * oh * ow);
    compare(&step.out[0], want.dweight, terms, "backward_weight", &g);
    compare(&step.out[1], want.dbias, terms, "bias", &g);
    free(want.y), free(want.dx), free(want.dweight), free(want.dbias);
    kit_end();
}

static void convolutions_of_any_number_of_channels_are_right(void **state) {
    (void)state;
    for (int64_t channels = 1; channels <= 18; channels++) {
        check_geometry((geometry){3, channels, 2, 5, 6, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1});
        check_geometry((geometry){3, 2, channels, 5, 6, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1});
        check_geometry((geometry){2, channels, 3, 4, 4, {1, 1}, {1, 1}, {0, 0}, {1, 1}, 1});
    }
    check_geometry((geometry){2, 50, 35, 3, 3, {1, 1}, {1, 1}, {0, 0}, {1, 1}, 1});
    check_geometry((geometry){2, 33, 34, 3, 3, {2, 2}, {1, 1}, {0, 0}, {1, 1}, 1});
}

static void convolutions_of_any_number_of_samples_are_right(void **state) {
    (void)state;
    const int64_t samples[] = {0, 1, 2, 15, 16, 17, 31, 33, 48, 81, 96};
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++)
        check_geometry((geometry){samples[i], 3, 4, 6, 5, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1});
}

static void convolutions_of_any_width_are_right(void **state) {
    (void)state;
    for (int64_t width = 1; width <= 13; width++)
        for (int64_t outs = 1; outs <= 8; outs++)
            check_geometry((geometry){2, 1, outs, 3, width, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1});
}

/* Vectors of a plain row's columns: every number of whole ones and rests, with the padding in any of them. */
static void wide_convolutions_are_right(void **state) {
    (void)state;
    const int64_t outs[] = {1, 4, 5, 8, 11, 19};
    for (int64_t width = 14; width <= 34; width++)
        for (size_t i = 0; i < sizeof outs / sizeof outs[0]; i++)
            check_geometry(
                (geometry){1, 2, outs[i], 3, width, {2, 5}, {1, 1}, {1, width % 4}, {1, 1}, 1});
    check_geometry((geometry){2, 4, 6, 3, 40, {1, 3}, {1, 1}, {0, 9}, {1, 9}, 2});
}

/* Pixels row after row: images of many rows, cut into tasks and strips, with every stride and with more padding than
   window. */
static void tall_convolutions_are_right(void **state) {
    (void)state;
    for (int64_t stride = 1; stride <= 4; stride++)
        for (int64_t rows = 15; rows <= 67; rows += 26) {
            check_geometry(
                (geometry){1, 3, 9, rows, 19, {3, 2}, {stride, 5 - stride}, {1, 2}, {2, 1}, 1});
            check_geometry((geometry){2, 4, 10, rows, 7, {2, 3}, {stride, 1}, {3, 4}, {1, 2}, 2});
        }
    check_geometry((geometry){1, 40, 17, 30, 31, {1, 1}, {1, 1}, {0, 0}, {1, 1}, 1});
    check_geometry((geometry){1, 1, 6, 28, 28, {5, 5}, {1, 1}, {2, 2}, {1, 1}, 1});
    check_geometry((geometry){8, 6, 16, 14, 14, {5, 5}, {1, 1}, {0, 0}, {1, 1}, 1});
    check_geometry((geometry){1, 2, 3, 400, 151, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1});
    check_geometry((geometry){1, 2, 3, 701, 90, {5, 3}, {2, 1}, {2, 1}, {1, 1}, 1});
}

static void convolutions_of_any_window_are_right(void **state) {
    (void)state;
    for (int64_t h = 1; h <= 6; h++)
        for (int64_t w = 1; w <= 11; w += w < 6 ? 1 : 5)
            for (int64_t stride = 1; stride <= 3; stride++)
                for (int64_t padding = 0; padding <= 2; padding++) {
                    geometry g = {
                        2,      3, 7, 11, 12, {h, w}, {stride, 4 - stride}, {padding, 2 - padding},
                        {1, 1}, 1};
                    check_geometry(g);
                }
}

/* Three by three with eight channels or more goes through Winograd's tiles. */
static void convolutions_by_tiles_of_four_are_right(void **state) {
    (void)state;
    for (int64_t extent = 3; extent <= 9; extent++)
        for (int64_t padding = 0; padding <= 2; padding++)
            check_geometry((geometry){
                2, 8, 9, extent, 11 - extent, {3, 3}, {1, 1}, {padding, 2 - padding}, {1, 1}, 1});
    check_geometry((geometry){18, 40, 23, 6, 5, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1});
    check_geometry((geometry){1, 9, 70, 4, 20, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1});
    check_geometry((geometry){1, 8, 9, 5, 71, {3, 3}, {1, 1}, {1, 2}, {1, 1}, 1});
    check_geometry((geometry){3, 9, 8, 34, 33, {3, 3}, {1, 1}, {0, 1}, {1, 1}, 1});
    check_geometry((geometry){2, 100, 61, 3, 4, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1});
    check_geometry((geometry){6, 8, 18, 9, 13, {3, 3}, {1, 1}, {1, 0}, {1, 1}, 1});
    check_geometry((geometry){1, 9, 11, 67, 43, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1});
    check_geometry((geometry){33, 31, 25, 13, 14, {3, 3}, {1, 1}, {2, 0}, {1, 1}, 1});
}

/* A tap outside takes no part, so that a NaN among the weights reaches only the outputs that it meets. */
static void padding_is_passed_over(void **state) {
    (void)state;
    for (int axis = 0; axis < 2; axis++) {
        nacre_word attrs[NACRE_MAX_ATTRS] = {0};
        geometry g = {1,      1, 1, 3, 20, {axis ? 1 : 3, axis ? 3 : 1}, {1, 1}, {!axis, axis},
                      {1, 1}, 1};
        set_attrs(&g, attrs);
        nacre_plan_op step = kit_step(&nacre_op_conv2d, attrs);
        step.inputs = 2;
        step.outputs = 1;
        step.in[0] = kit_random_f32(NACRE_SHAPE(1, 1, 3, 20));
        step.in[1] = kit_random_f32(NACRE_SHAPE(1, 1, g.kernel[0], g.kernel[1]));
        ((float *)step.in[1].data)[0] = NAN;
        step.out[0] = kit_array(NACRE_F32, NACRE_SHAPE(1, 1, 3, 20));
        kit_run(&step);
        const float *y = step.out[0].data;
        for (int i = 0; i < 60; i++) assert_true(isnan(y[i]) == (axis ? i % 20 > 0 : i >= 20));
        kit_end();
    }
}

static void dilated_and_grouped_convolutions_are_right(void **state) {
    (void)state;
    for (int64_t d = 1; d <= 3; d++)
        for (int64_t stride = 1; stride <= 3; stride++)
            check_geometry((geometry){2, 2, 3, 9, 10, {3, 2}, {stride, 2}, {2, 3}, {d, 4 - d}, 1});
    check_geometry((geometry){5, 8, 8, 7, 7, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 8});
    check_geometry((geometry){5, 6, 40, 5, 5, {3, 3}, {2, 2}, {1, 1}, {1, 1}, 2});
    check_geometry((geometry){2, 12, 6, 5, 5, {1, 1}, {1, 1}, {0, 0}, {1, 1}, 3});
}

/* Sums over samples and pixels have the same order at every level with a hardware fma. */
static void weight_gradients_have_the_same_bits_at_every_level(void **state) {
    (void)state;
    char before[16];
    snprintf(before, sizeof before, "%s", nacre_isa());
    const geometry geometries[] = {
        {33, 1, 6, 14, 15, {5, 5}, {1, 1}, {2, 2}, {1, 1}, 1},
        {70, 6, 16, 9, 9, {5, 5}, {1, 1}, {0, 0}, {1, 1}, 1},
        {65, 16, 16, 12, 30, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1},
        {40, 33, 31, 6, 5, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1},
        {40, 60, 20, 4, 5, {1, 1}, {2, 2}, {0, 0}, {1, 1}, 1},
    };
    for (size_t i = 0; i < sizeof geometries / sizeof geometries[0]; i++) {
        const geometry *g = &geometries[i];
        nacre_word attrs[NACRE_MAX_ATTRS] = {0};
        set_attrs(g, attrs);
        nacre_plan_op step = kit_step(&nacre_op_conv2d_backward_weight, attrs);
        step.inputs = step.outputs = 2;
        step.in[0] = laned_random(NACRE_SHAPE(g->samples, g->in, g->rows, g->columns));
        step.in[1] = laned_random(NACRE_SHAPE(g->samples, g->out, extent(g, 0), extent(g, 1)));
        nacre_shape shape = NACRE_SHAPE(g->out, g->in, g->kernel[0], g->kernel[1]);
        size_t bytes = (size_t)nacre_shape_numel(&shape) * sizeof(float);
        const char *levels[] = {"avx2", "avx512", "neon"};
        const float *first = NULL;
        for (size_t k = 0; k < 3; k++) {
            if (nacre_set_isa(levels[k]) != NACRE_OK) continue;
            step.out[0] = kit_array(NACRE_F32, shape);
            step.out[1] = kit_array(NACRE_F32, NACRE_SHAPE(g->out));
            kit_run(&step);
            if (first) assert_memory_equal(first, step.out[0].data, bytes);
            first = step.out[0].data;
        }
        kit_end();
    }
    assert_int_equal(nacre_set_isa(before), NACRE_OK);
}

static void a_window_may_be_as_large_as_its_image(void **state) {
    (void)state;
    check_geometry((geometry){2, 2, 3, 7, 9, {7, 9}, {1, 1}, {0, 0}, {1, 1}, 1});
    check_geometry((geometry){2, 1, 2, 3, 64, {3, 64}, {1, 1}, {0, 0}, {1, 1}, 1});
    check_geometry((geometry){2, 1, 2, 2, 2, {4, 4}, {1, 1}, {1, 1}, {1, 1}, 1});
}

/* What a convolution knows of its columns is as much for a wide image as for a narrow one. */
static void a_wide_image_takes_no_more_scratch(void **state) {
    (void)state;
    const nacre_op *ops[] = {&nacre_op_conv2d, &nacre_op_conv2d_backward_input};
    for (int i = 0; i < 2; i++) {
        size_t scratch[2];
        for (int wide = 0; wide < 2; wide++) {
            geometry g = {2, 1, 1, 1, wide ? 3001 : 101, {1, 3}, {1, 2}, {0, 1}, {1, 1}, 1};
            nacre_shape x = NACRE_SHAPE(g.samples, 1, 1, g.columns);
            nacre_shape y = NACRE_SHAPE(g.samples, 1, 1, extent(&g, 1));
            nacre_word attrs[NACRE_MAX_ATTRS] = {0};
            set_attrs(&g, attrs);
            nacre_plan_op step = kit_step(ops[i], attrs);
            step.inputs = 2;
            step.outputs = 1;
            step.in[0] = laned_array(i ? y : x);
            step.in[1] = kit_array(NACRE_F32, NACRE_SHAPE(1, 1, 1, 3));
            step.out[0] = laned_array(i ? x : y);
            assert_true(nacre_backend_cpu.prepare(&step));
            scratch[wide] = step.scratch;
            kit_end();
        }
        assert_int_equal(scratch[0], scratch[1]);
    }
    check_geometry((geometry){2, 2, 3, 1, 501, {1, 3}, {1, 2}, {0, 1}, {1, 1}, 1});
    check_geometry((geometry){2, 2, 3, 1, 400, {1, 9}, {1, 4}, {0, 4}, {1, 3}, 1});
}

static void samples_go_into_lanes_and_back(void **state) {
    (void)state;
    for (int64_t samples = 1; samples <= 34; samples += 3)
        for (int64_t pixels = 1; pixels <= 37; pixels += 4) {
            nacre_shape shape = NACRE_SHAPE(samples, pixels);
            nacre_array plain = kit_random_f32(shape), laned = laned_array(shape);
            nacre_plan_op step = kit_step(&nacre_op_copy, NULL);
            step.inputs = step.outputs = 1;
            step.in[0] = plain;
            step.out[0] = laned;
            kit_run(&step);
            for (int64_t n = 0; n < samples; n++)
                for (int64_t i = 0; i < pixels; i++)
                    assert_true(*element(&laned, n, i) == *element(&plain, n, i));
            nacre_array back = kit_array(NACRE_F32, shape);
            step.in[0] = laned;
            step.out[0] = back;
            kit_run(&step);
            assert_memory_equal(back.data, plain.data, (size_t)(samples * pixels) * sizeof(float));
            kit_end();
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_TEST(convolutions_of_any_number_of_channels_are_right),
        KIT_TEST(convolutions_of_any_number_of_samples_are_right),
        KIT_TEST(convolutions_of_any_width_are_right),
        KIT_TEST(wide_convolutions_are_right),
        KIT_TEST(tall_convolutions_are_right),
        KIT_TEST(padding_is_passed_over),
        KIT_TEST(convolutions_of_any_window_are_right),
        KIT_TEST(convolutions_by_tiles_of_four_are_right),
        KIT_TEST(dilated_and_grouped_convolutions_are_right),
        KIT_TEST(weight_gradients_have_the_same_bits_at_every_level),
        KIT_TEST(a_window_may_be_as_large_as_its_image),
        KIT_TEST(a_wide_image_takes_no_more_scratch),
        KIT_TEST(samples_go_into_lanes_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
