/* Claimed composites against their definitions in double: softmax, cross-entropy, optimisers, rows. */
#include "backend/kit.h"

static nacre_plan_op step_of(const nacre_op *op, const nacre_word *attrs, int inputs,
                             const nacre_array *in) {
    nacre_plan_op step = kit_step(op, attrs);
    step.inputs = inputs;
    step.outputs = 1;
    for (int i = 0; i < inputs; i++) step.in[i] = in[i];
    return step;
}

/* ---- softmax ---- */

static const nacre_op *const softmax_ops[] = {&nacre_op_softmax, &nacre_op_log_softmax,
                                              &nacre_op_softmax_backward,
                                              &nacre_op_log_softmax_backward};

/* One line of n elements `stride` apart. */
static void softmax_line(int kind, int64_t n, int64_t stride, const float *x, const float *dy,
                         double *out) {
    double most = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++) most = fmax(most, (double)x[i * stride]);
    for (int64_t i = 0; i < n; i++) {
        double a = (double)x[i * stride], b = (double)dy[i * stride];
        sum += kind < 2 ? exp(a - most) : kind == 2 ? a * b : b;
    }
    for (int64_t i = 0; i < n; i++) {
        double a = (double)x[i * stride], b = (double)dy[i * stride];
        out[i] = kind == 0   ? exp(a - most) / sum
                 : kind == 1 ? a - most - log(sum)
                 : kind == 2 ? a * (b - sum)
                             : b - exp(a) * sum;
    }
}

static void softmax_matches_its_definition_along_any_axis(void **state) {
    (void)state;
    for (int64_t n = 1; n <= 40; n += n < 20 ? 1 : 9) {
        for (int64_t inner = 1; inner <= 34; inner += 11) {
            nacre_shape shape = NACRE_SHAPE(3, n, inner);
            nacre_array in[] = {kit_random_f32(shape), kit_random_f32(shape)};
            nacre_word attrs[] = {[NACRE_SOFTMAX_AXIS] = {.i = 1}};
            for (int kind = 0; kind < 4; kind++) {
                nacre_plan_op step = step_of(softmax_ops[kind], attrs, kind < 2 ? 1 : 2, in);
                step.out[0] = kit_array(NACRE_F32, shape);
                kit_run(&step);
                for (int64_t line = 0; line < 3 * inner; line++) {
                    int64_t at = line / inner * n * inner + line % inner;
                    double want[64];
                    softmax_line(kind, n, inner, (float *)in[0].data + at, (float *)in[1].data + at,
                                 want);
                    for (int64_t i = 0; i < n; i++) {
                        float value = ((float *)step.out[0].data)[at + i * inner];
                        assert_true(fabs((double)value - want[i]) <= 2e-6 * (1 + fabs(want[i])));
                    }
                }
            }
            kit_end();
        }
    }
}

static void softmax_survives_huge_logits_and_shows_nan(void **state) {
    (void)state;
    nacre_array in = kit_array(NACRE_F32, NACRE_SHAPE(4, 5));
    memcpy(in.data, (float[]){1e30f, 1e30f, -1e30f, 0, 0, -3e38f,   -3e38f, -3e38f, -3e38f, -3e38f,
                              NAN,   1,     2,      3, 4, INFINITY, 0,      0,      0,      0},
           20 * sizeof(float));
    nacre_word attrs[] = {[NACRE_SOFTMAX_AXIS] = {.i = 1}};
    nacre_plan_op step = step_of(&nacre_op_softmax, attrs, 1, &in);
    step.out[0] = kit_array(NACRE_F32, NACRE_SHAPE(4, 5));
    kit_run(&step);
    const float *y = step.out[0].data;
    assert_true(y[0] == 0.5f && y[1] == 0.5f && y[2] == 0.0f);
    for (int i = 5; i < 10; i++) assert_true(y[i] == 0.2f);
    for (int i = 10; i < 20; i++) assert_true(isnan(y[i]));
}

static void a_softmax_row_alone_has_the_bits_it_has_in_a_batch(void **state) {
    (void)state;
    nacre_array in = kit_random_f32(NACRE_SHAPE(700, 10));
    nacre_word attrs[] = {[NACRE_SOFTMAX_AXIS] = {.i = 1}};
    nacre_plan_op step = step_of(&nacre_op_softmax, attrs, 1, &in);
    step.out[0] = kit_array(NACRE_F32, NACRE_SHAPE(700, 10));
    kit_run(&step);
    for (int64_t r = 0; r < 700; r += 123) {
        nacre_array row = in;
        row.shape = NACRE_SHAPE(1, 10);
        row.data = (float *)in.data + r * 10;
        nacre_plan_op alone = step_of(&nacre_op_softmax, attrs, 1, &row);
        alone.out[0] = kit_array(NACRE_F32, row.shape);
        kit_run(&alone);
        assert_true(kit_same_bits(alone.out[0].data, (float *)step.out[0].data + r * 10, 40));
    }
}

static void strided_softmax_input_is_refused_not_misread(void **state) {
    (void)state;
    nacre_array in = kit_transposed(kit_random_f32(NACRE_SHAPE(5, 6)));
    nacre_word attrs[] = {[NACRE_SOFTMAX_AXIS] = {.i = 1}};
    nacre_plan_op step = step_of(&nacre_op_softmax, attrs, 1, &in);
    step.out[0] = kit_array(NACRE_F32, in.shape);
    assert_false(kit_try(&step));
}

/* ---- cross-entropy ---- */

static void check_loss(int64_t n, int64_t classes, nacre_dtype dtype) {
    nacre_array logits = kit_random_f32(NACRE_SHAPE(n, classes)),
                dloss = kit_random_f32(NACRE_SCALAR);
    bool rows = dtype == NACRE_F32;
    nacre_array target = rows ? kit_random_f32(logits.shape) : kit_array(dtype, NACRE_SHAPE(n));
    double loss = 0, want[4000];
    for (int64_t i = 0; i < n; i++) {
        double logp[300], sum = 0;
        const float *x = (float *)logits.data + i * classes;
        softmax_line(1, classes, 1, x, x, logp);
        if (!rows)
            nacre_dtype_get(dtype)->store_int(
                (char *)target.data + (size_t)i * nacre_dtype_size(dtype), i * 7 % classes);
        for (int64_t j = 0; j < classes; j++)
            sum += rows ? (double)((float *)target.data)[i * classes + j] : 1.0 / (double)classes;
        for (int64_t j = 0; j < classes; j++) {
            double p =
                rows ? (double)((float *)target.data)[i * classes + j] : j == i * 7 % classes;
            loss -= p * logp[j];
            want[i * classes + j] =
                (exp(logp[j]) * sum - p) * (double)*(float *)dloss.data / (double)n;
        }
    }
    nacre_plan_op step = step_of(&nacre_op_cross_entropy, NULL, 2, (nacre_array[]){logits, target});
    step.out[0] = kit_array(NACRE_F32, NACRE_SCALAR);
    kit_run(&step);
    loss /= (double)n;
    assert_true(fabs((double)*(float *)step.out[0].data - loss) <= 3e-6 * (1 + fabs(loss)));
    step =
        step_of(&nacre_op_cross_entropy_backward, NULL, 3, (nacre_array[]){logits, target, dloss});
    step.out[0] = kit_array(NACRE_F32, logits.shape);
    kit_run(&step);
    for (int64_t i = 0; i < n * classes; i++)
        assert_true(fabs((double)((float *)step.out[0].data)[i] - want[i]) <=
                    1e-6 * (1 / (double)n + fabs(want[i])));
    kit_end();
}

static void cross_entropy_matches_its_definition(void **state) {
    (void)state;
    static const nacre_dtype dtypes[] = {NACRE_I64, NACRE_I32, NACRE_U8, NACRE_F32};
    for (int d = 0; d < 4; d++) {
        for (int64_t classes = 1; classes < 40; classes += 4) check_loss(7, classes, dtypes[d]);
        check_loss(1, 10, dtypes[d]);
        check_loss(400, 10, dtypes[d]);
        check_loss(2, 251, dtypes[d]);
    }
}

/* Around the number of classes up to which rows are turned into lanes, and of rows that fill a vector. */
static void cross_entropy_of_rows_in_lanes_matches_its_definition(void **state) {
    (void)state;
    static const nacre_dtype dtypes[] = {NACRE_I64, NACRE_I32, NACRE_U8};
    for (int d = 0; d < 3; d++) {
        for (int64_t classes = 62; classes < 67; classes++) check_loss(18, classes, dtypes[d]);
        for (int64_t rows = 1; rows < 34; rows++) check_loss(rows, 10, dtypes[d]);
    }
}

/* Gradient rows of `count` rows from `first` on. */
static nacre_array loss_gradient(nacre_array logits, nacre_array target, int64_t first,
                                 int64_t count) {
    int64_t classes = logits.shape.dims[1];
    nacre_array dloss = kit_array(NACRE_F32, NACRE_SCALAR);
    *(float *)dloss.data = (float)count; /* divided by the rows again */
    logits.data = (float *)logits.data + first * classes;
    logits.shape.dims[0] = count;
    target.data = (int64_t *)target.data + first;
    target.shape.dims[0] = count;
    nacre_plan_op step =
        step_of(&nacre_op_cross_entropy_backward, NULL, 3, (nacre_array[]){logits, target, dloss});
    step.out[0] = kit_array(NACRE_F32, logits.shape);
    kit_run(&step);
    return step.out[0];
}

static void a_row_of_cross_entropy_does_not_know_its_neighbours(void **state) {
    (void)state;
    static const int64_t widths[] = {1, 3, 10, 16, 17, 64, 65};
    for (int w = 0; w < 7; w++) {
        int64_t rows = 19, n = widths[w]; /* more than a vector, and a rest */
        nacre_array logits = kit_random_f32(NACRE_SHAPE(rows, n));
        nacre_array target = kit_array(NACRE_I64, NACRE_SHAPE(rows));
        for (int64_t i = 0; i < rows; i++) ((int64_t *)target.data)[i] = i * 5 % n;
        ((float *)logits.data)[3 * n] = NAN;
        ((float *)logits.data)[4 * n + n - 1] = INFINITY;
        const float *all = loss_gradient(logits, target, 0, rows).data;
        for (int64_t i = 0; i < rows; i++) {
            const float *alone = loss_gradient(logits, target, i, 1).data;
            for (int64_t j = 0; j < n; j++)
                assert_true(memcmp(&alone[j], &all[i * n + j], sizeof(float)) == 0 ||
                            (isnan(alone[j]) && isnan(all[i * n + j])));
        }
        kit_end();
    }
}

static void a_bad_label_touches_no_foreign_memory(void **state) {
    (void)state;
    nacre_array logits = kit_random_f32(NACRE_SHAPE(2, 10)),
                target = kit_array(NACRE_I64, NACRE_SHAPE(2));
    nacre_array dloss = kit_random_f32(NACRE_SCALAR);
    memcpy(target.data, (int64_t[]){-1, INT64_MAX}, 16);
    nacre_plan_op step = step_of(&nacre_op_cross_entropy, NULL, 2, (nacre_array[]){logits, target});
    step.out[0] = kit_array(NACRE_F32, NACRE_SCALAR);
    kit_run(&step);
    assert_true(*(float *)step.out[0].data == 0.0f);
    step =
        step_of(&nacre_op_cross_entropy_backward, NULL, 3, (nacre_array[]){logits, target, dloss});
    step.out[0] = kit_array(NACRE_F32, logits.shape);
    kit_run(&step);
}

/* ---- optimisers ---- */

enum { P, G, M, V, STEP, OK };

static void adam_follows_kingma_and_ba_in_place(void **state) {
    (void)state;
    nacre_word attrs[] = {[NACRE_ADAM_LR] = {.f = 1e-3},
                          [NACRE_ADAM_BETA1] = {.f = 0.9},
                          [NACRE_ADAM_BETA2] = {.f = 0.999},
                          [NACRE_ADAM_EPSILON] = {.f = 1e-8},
                          [NACRE_ADAM_WEIGHT_DECAY] = {.f = 0.01}};
    for (int64_t n = 0; n < 40000; n = n < 40 ? n + 1 : n * 9) {
        nacre_array in[6] = {
            kit_random_f32(NACRE_SHAPE(n)),     kit_random_f32(NACRE_SHAPE(n)),
            kit_random_f32(NACRE_SHAPE(n)),     kit_random_f32(NACRE_SHAPE(n)),
            kit_array(NACRE_I64, NACRE_SCALAR), kit_array(NACRE_BOOL, NACRE_SCALAR)};
        float *p = in[P].data, *g = in[G].data, *m = in[M].data, *v = in[V].data;
        int64_t t = *(int64_t *)in[STEP].data = 1 + n % 5;
        double want[3][64];
        for (int64_t i = 0; i < n; i++) v[i] *= v[i] * 1e-3f;
        for (int64_t i = 0; i < n && i < 64; i++) {
            double m1 = 0.9 * (double)m[i] + 0.1 * (double)g[i];
            double v1 = 0.999 * (double)v[i] + 0.001 * (double)g[i] * (double)g[i];
            double step = 1e-3 * (m1 / (1 - pow(0.9, (double)t))) /
                          (sqrt(v1 / (1 - pow(0.999, (double)t))) + 1e-8);
            want[0][i] = (double)p[i] * (1 - 1e-5) - step;
            want[1][i] = m1;
            want[2][i] = v1;
        }
        nacre_plan_op step = step_of(&nacre_op_adam_update, attrs, 6, in);
        step.outputs = 3;
        step.out[0] = in[P];
        step.out[1] = in[M];
        step.out[2] = in[V];
        *(uint8_t *)in[OK].data = 1;
        kit_run(&step);
        for (int64_t i = 0; i < n && i < 64; i++) {
            assert_true(fabs((double)p[i] - want[0][i]) <= 2e-7 * (fabs(want[0][i]) + 1e-2));
            assert_true(fabs((double)m[i] - want[1][i]) <= 2e-7);
            assert_true(kit_ulp(v[i], want[2][i]) <= 3);
        }
        kit_end();
    }
}

static void a_skipped_update_leaves_every_bit(void **state) {
    (void)state;
    nacre_word attrs[NACRE_MAX_ATTRS] = {{.f = 0.1}, {.f = 0.5}, {.f = 0.5}, {.f = 0.5}};
    nacre_shape shape = NACRE_SHAPE(37);
    nacre_array in[6] = {kit_random_f32(shape),
                         kit_random_f32(shape),
                         kit_random_f32(shape),
                         kit_random_f32(shape),
                         kit_array(NACRE_I64, NACRE_SCALAR),
                         kit_array(NACRE_BOOL, NACRE_SCALAR)};
    *(int64_t *)in[STEP].data = 1;
    *(uint8_t *)in[OK].data = 0;
    for (int in_place = 0; in_place < 2; in_place++) {
        float before[3][37];
        const int from[] = {P, M, V};
        nacre_plan_op step = step_of(&nacre_op_adam_update, attrs, 6, in);
        step.outputs = 3;
        for (int k = 0; k < 3; k++) {
            memcpy(before[k], in[from[k]].data, sizeof before[k]);
            step.out[k] = in_place ? in[from[k]] : kit_array(NACRE_F32, shape);
        }
        kit_run(&step);
        for (int k = 0; k < 3; k++)
            assert_memory_equal(step.out[k].data, before[k], sizeof before[k]);

        attrs[NACRE_SGD_HAS_MOMENTUM].i = 1;
        nacre_array sgd_in[] = {in[P], in[G], in[M], in[OK]};
        step = step_of(&nacre_op_sgd_update, attrs, 4, sgd_in);
        step.outputs = 2;
        for (int k = 0; k < 2; k++)
            step.out[k] = in_place ? in[from[k]] : kit_array(NACRE_F32, shape);
        kit_run(&step);
        for (int k = 0; k < 2; k++)
            assert_memory_equal(step.out[k].data, before[k], sizeof before[k]);
        attrs[NACRE_SGD_HAS_MOMENTUM].f = 0.5;
    }
}

static void sgd_moves_against_the_gradient_with_and_without_momentum(void **state) {
    (void)state;
    nacre_word attrs[] = {[NACRE_SGD_LR] = {.f = 0.1},
                          [NACRE_SGD_MOMENTUM] = {.f = 0.9},
                          [NACRE_SGD_WEIGHT_DECAY] = {.f = 0.01},
                          [NACRE_SGD_HAS_MOMENTUM] = {.i = 0}};
    for (int64_t n = 1; n < 40000; n = n < 40 ? n + 1 : n * 9) {
        for (int momentum = 0; momentum < 2; momentum++) {
            nacre_array none = {0};
            nacre_array in[] = {kit_random_f32(NACRE_SHAPE(n)), kit_random_f32(NACRE_SHAPE(n)),
                                momentum ? kit_random_f32(NACRE_SHAPE(n)) : none, none};
            attrs[NACRE_SGD_HAS_MOMENTUM].i = momentum;
            nacre_plan_op step = step_of(&nacre_op_sgd_update, attrs, 4, in);
            step.outputs = 2;
            step.out[0] = kit_array(NACRE_F32, NACRE_SHAPE(n));
            step.out[1] = kit_array(NACRE_F32, NACRE_SHAPE(momentum ? n : 0));
            kit_run(&step);
            for (int64_t i = 0; i < n; i++) {
                double p = (double)((float *)in[0].data)[i];
                double v = (double)((float *)in[1].data)[i] + 0.01 * p;
                if (momentum) v += 0.9 * (double)((float *)in[2].data)[i];
                assert_true(fabs((double)((float *)step.out[0].data)[i] - (p - 0.1 * v)) < 3e-7);
                if (momentum) assert_true(fabs((double)((float *)step.out[1].data)[i] - v) < 3e-7);
            }
            kit_end();
        }
    }
}

/* ---- layer norm ---- */

static nacre_plan_op norm_step(const nacre_op *op, int inputs, const nacre_array *in) {
    static const nacre_word attrs[] = {[NACRE_LAYER_NORM_EPSILON] = {.f = 1e-5}};
    nacre_plan_op step = step_of(op, attrs, inputs, in);
    int64_t n = in[0].shape.dims[1];
    step.out[0] = kit_array(NACRE_F32, in[0].shape);
    if (op == &nacre_op_layer_norm) return step;
    step.outputs = 3;
    step.out[1] = kit_array(NACRE_F32, NACRE_SHAPE(n));
    step.out[2] = kit_array(NACRE_F32, NACRE_SHAPE(n));
    return step;
}

/* Means 1000 times the spread cost no more than their own rounding. */
static void layer_norm_centres_and_scales_rows_of_any_length(void **state) {
    (void)state;
    for (int64_t n = 2; n < 5000; n = n < 70 ? n + 1 : n * 3) {
        nacre_array in[] = {kit_random_f32(NACRE_SHAPE(5, n)), kit_random_f32(NACRE_SHAPE(n)),
                            kit_random_f32(NACRE_SHAPE(n))};
        float *x = in[0].data;
        for (int64_t i = 0; i < 5 * n; i++) x[i] += i / n % 2 ? 1000.0f : 0.0f;
        nacre_plan_op step = norm_step(&nacre_op_layer_norm, 3, in);
        kit_run(&step);
        for (int64_t r = 0; r < 5; r++) {
            double mean = 0, variance = 0;
            for (int64_t i = 0; i < n; i++) mean += (double)x[r * n + i] / (double)n;
            for (int64_t i = 0; i < n; i++)
                variance += pow((double)x[r * n + i] - mean, 2) / (double)n;
            for (int64_t i = 0; i < n; i++) {
                double normal = ((double)x[r * n + i] - mean) / sqrt(variance + 1e-5);
                double w = (double)((float *)in[1].data)[i], b = (double)((float *)in[2].data)[i];
                double error =
                    fabs((double)((float *)step.out[0].data)[r * n + i] - normal * w - b);
                /* the mean is rounded to f32: 2^-24 of it, in units of the spread */
                double bound = 2e-6 * fabs(normal) + fabs(mean) * 0x1p-23 / sqrt(variance + 1e-5);
                assert_true(error <= bound + 1e-6);
            }
        }
        kit_end();
    }
}

static void layer_norm_has_the_bits_of_a_row_alone_and_of_any_threads(void **state) {
    (void)state;
    enum { ROWS = 3000, N = 67 };
    nacre_array in[] = {kit_random_f32(NACRE_SHAPE(ROWS, N)), kit_random_f32(NACRE_SHAPE(ROWS, N)),
                        kit_random_f32(NACRE_SHAPE(N))};
    nacre_plan_op step = norm_step(&nacre_op_layer_norm_backward, 3, in);
    kit_run(&step);
    nacre_array row[] = {in[0], in[1], in[2]};
    for (int64_t r = 0; r < ROWS; r += 401) {
        for (int i = 0; i < 2; i++) {
            row[i].shape = NACRE_SHAPE(1, N);
            row[i].data = (float *)in[i].data + r * N;
        }
        nacre_plan_op alone = norm_step(&nacre_op_layer_norm_backward, 3, row);
        kit_run(&alone);
        assert_true(kit_same_bits(alone.out[0].data, (float *)step.out[0].data + r * N, 4 * N));
    }
    for (int threads = 1; threads < 8; threads += 2) {
        assert_int_equal(nacre_set_threads(threads), NACRE_OK);
        nacre_plan_op again = norm_step(&nacre_op_layer_norm_backward, 3, in);
        kit_run(&again);
        for (int k = 0; k < 3; k++)
            assert_true(
                kit_same_bits(again.out[k].data, step.out[k].data, k ? 4 * N : 4 * ROWS * N));
    }
}

/* ---- rows by index ---- */

static void gather_scatter_and_one_hot_follow_their_indices(void **state) {
    (void)state;
    for (int64_t width = 1; width < 50; width += 7) {
        nacre_array in[] = {kit_random_f32(NACRE_SHAPE(9, width)),
                            kit_array(NACRE_I64, NACRE_SHAPE(2, 6))};
        int64_t *index = in[1].data;
        for (int64_t i = 0; i < 12; i++) index[i] = i * 5 % 8;
        index[3] = 9; /* outside: reads zeros, adds nothing */
        index[4] = -1;
        nacre_plan_op step = step_of(&nacre_op_gather, NULL, 2, in);
        step.out[0] = kit_array(NACRE_F32, NACRE_SHAPE(2, 6, width));
        kit_run(&step);
        nacre_array rows = step.out[0];
        double want[9 * 50] = {0};
        for (int64_t i = 0; i < 12; i++)
            for (int64_t j = 0; j < width; j++) {
                bool inside = index[i] >= 0 && index[i] < 9;
                float x = inside ? ((float *)in[0].data)[index[i] * width + j] : 0.0f;
                assert_true(((float *)rows.data)[i * width + j] == x);
                if (inside) want[index[i] * width + j] += (double)x;
            }
        step = step_of(&nacre_op_scatter_rows, NULL, 2, (nacre_array[]){rows, in[1]});
        step.out[0] = kit_array(NACRE_F32, NACRE_SHAPE(9, width));
        kit_run(&step);
        for (int64_t i = 0; i < 9 * width; i++)
            assert_true(fabs((double)((float *)step.out[0].data)[i] - want[i]) < 1e-6);
        nacre_word attrs[] = {[NACRE_ONE_HOT_CLASSES] = {.i = 8}};
        step = step_of(&nacre_op_one_hot, attrs, 1, &in[1]);
        step.out[0] = kit_array(NACRE_F32, NACRE_SHAPE(2, 6, 8));
        kit_run(&step);
        for (int64_t i = 0; i < 12 * 8; i++)
            assert_true(((float *)step.out[0].data)[i] == (i % 8 == index[i / 8] ? 1.0f : 0.0f));
        kit_end();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_TEST(softmax_matches_its_definition_along_any_axis),
        KIT_TEST(softmax_survives_huge_logits_and_shows_nan),
        KIT_TEST(a_softmax_row_alone_has_the_bits_it_has_in_a_batch),
        KIT_TEST(strided_softmax_input_is_refused_not_misread),
        KIT_TEST(cross_entropy_matches_its_definition),
        KIT_TEST(a_bad_label_touches_no_foreign_memory),
        KIT_TEST(adam_follows_kingma_and_ba_in_place),
        KIT_TEST(a_skipped_update_leaves_every_bit),
        KIT_TEST(sgd_moves_against_the_gradient_with_and_without_momentum),
        KIT_TEST(layer_norm_centres_and_scales_rows_of_any_length),
        KIT_TEST(layer_norm_has_the_bits_of_a_row_alone_and_of_any_threads),
        KIT_TEST(gather_scatter_and_one_hot_follow_their_indices),
        KIT_TEST(cross_entropy_of_rows_in_lanes_matches_its_definition),
        KIT_TEST(a_row_of_cross_entropy_does_not_know_its_neighbours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
