/* Attention's kernels against their definition in double: every extent up to more than two tiles, long sequences,
   strided inputs, and the same bits whatever surrounds a head. */
#include "backend/kit.h"

typedef struct problem {
    int64_t batches, heads, width, queries, keys;
    bool causal;
    float scale;
} problem;

static const nacre_word *attrs_of(const problem *p) {
    static nacre_word attrs[3];
    attrs[NACRE_ATTENTION_HEADS].i = p->heads;
    attrs[NACRE_ATTENTION_CAUSAL].i = p->causal;
    attrs[NACRE_ATTENTION_SCALE].f = (double)p->scale;
    return attrs;
}

/* ---- the definition, one head ---- */

typedef struct line {
    const float *x;
    int64_t row;
} line;

enum { MOST = 1100 };

static double dot(line a, int64_t i, line b, int64_t j, int64_t width) {
    double sum = 0;
    for (int64_t c = 0; c < width; c++)
        sum += (double)a.x[i * a.row + c] * (double)b.x[j * b.row + c];
    return sum;
}

/* Probabilities of query i; the number of keys that it looks at. */
static int64_t weigh(const problem *p, line q, line k, int64_t i, double *weight) {
    int64_t n = p->causal && i + 1 < p->keys ? i + 1 : p->keys;
    double most = -INFINITY, sum = 0;
    for (int64_t j = 0; j < n; j++) {
        weight[j] = (double)p->scale * dot(q, i, k, j, p->width);
        most = fmax(most, weight[j]);
    }
    for (int64_t j = 0; j < n; j++) sum += weight[j] = exp(weight[j] - most);
    for (int64_t j = 0; j < n; j++) weight[j] /= sum;
    return n;
}

static void expect_near(float value, double want, double scale) {
    if (!(fabs((double)value - want) <= 4e-6 * scale))
        fail_msg("%.9g is not %.9g", (double)value, want);
}

static line head_of(const nacre_array *array, int64_t batch, int64_t column) {
    return (line){(const float *)array->data + batch * array->strides[0] + column,
                  array->strides[1]};
}

static void check_forward(const problem *p, const nacre_array *in, const nacre_array *out) {
    static double weight[MOST];
    for (int64_t h = 0; h < p->batches * p->heads; h++) {
        int64_t batch = h / p->heads, column = h % p->heads * p->width;
        line q = head_of(&in[0], batch, column), k = head_of(&in[1], batch, column),
             v = head_of(&in[2], batch, column), y = head_of(out, batch, column);
        for (int64_t i = 0; i < p->queries; i++) {
            int64_t n = weigh(p, q, k, i, weight);
            for (int64_t c = 0; c < p->width; c++) {
                double want = 0;
                for (int64_t j = 0; j < n; j++) want += weight[j] * (double)v.x[j * v.row + c];
                expect_near(y.x[i * y.row + c], want, 1);
            }
        }
    }
}

static void check_backward(const problem *p, const nacre_array *in, const nacre_array *out) {
    static double weight[MOST], dp[MOST], dk[MOST * 80], dv[MOST * 80];
    for (int64_t h = 0; h < p->batches * p->heads; h++) {
        int64_t batch = h / p->heads, column = h % p->heads * p->width, width = p->width;
        line q = head_of(&in[0], batch, column), k = head_of(&in[1], batch, column),
             v = head_of(&in[2], batch, column), dy = head_of(&in[3], batch, column);
        line got[3];
        for (int o = 0; o < 3; o++) got[o] = head_of(&out[o], batch, column);
        memset(dk, 0, (size_t)(p->keys * width) * sizeof *dk);
        memset(dv, 0, (size_t)(p->keys * width) * sizeof *dv);
        for (int64_t i = 0; i < p->queries; i++) {
            int64_t n = weigh(p, q, k, i, weight);
            double total = 0, dq[80] = {0};
            for (int64_t j = 0; j < n; j++) {
                dp[j] = dot(dy, i, v, j, width);
                total += weight[j] * dp[j];
            }
            for (int64_t j = 0; j < n; j++) {
                double ds = (double)p->scale * weight[j] * (dp[j] - total);
                for (int64_t c = 0; c < width; c++) {
                    dq[c] += ds * (double)k.x[j * k.row + c];
                    dk[j * width + c] += ds * (double)q.x[i * q.row + c];
                    dv[j * width + c] += weight[j] * (double)dy.x[i * dy.row + c];
                }
            }
            for (int64_t c = 0; c < width; c++) expect_near(got[0].x[i * got[0].row + c], dq[c], 4);
        }
        double scale = 4 + (double)p->queries / 8;
        for (int64_t j = 0; j < p->keys; j++) {
            for (int64_t c = 0; c < width; c++) {
                expect_near(got[1].x[j * got[1].row + c], dk[j * width + c], scale);
                expect_near(got[2].x[j * got[2].row + c], dv[j * width + c], scale);
            }
        }
    }
}

/* ---- steps ---- */

static nacre_shape shape_of(const problem *p, int64_t rows) {
    return NACRE_SHAPE(p->batches, rows, p->heads * p->width);
}

static void random_inputs(const problem *p, nacre_array in[4]) {
    for (int i = 0; i < 4; i++)
        in[i] = kit_random_f32(shape_of(p, i == 1 || i == 2 ? p->keys : p->queries));
}

static nacre_plan_op step_of(const problem *p, const nacre_array *in, bool backward) {
    nacre_plan_op step = kit_step(backward ? &nacre_op_scaled_dot_product_attention_backward
                                           : &nacre_op_scaled_dot_product_attention,
                                  attrs_of(p));
    step.inputs = backward ? 4 : 3;
    step.outputs = backward ? 3 : 1;
    for (int i = 0; i < step.inputs; i++) step.in[i] = in[i];
    for (int i = 0; i < step.outputs; i++) step.out[i] = kit_array(NACRE_F32, in[i].shape);
    return step;
}

static void check(const problem *p) {
    nacre_array in[4];
    random_inputs(p, in);
    nacre_plan_op step = step_of(p, in, false);
    kit_run(&step);
    check_forward(p, in, step.out);
    step = step_of(p, in, true);
    kit_run(&step);
    check_backward(p, in, step.out);
    kit_end();
}

static void every_extent_up_to_two_tiles_and_one(void **state) {
    (void)state;
    for (int64_t n = 1; n <= 29; n++) {
        check(&(problem){2, 2, 16, n, 17, false, 0.25f});
        check(&(problem){1, 2, 16, 17, n, false, 0.25f});
        check(&(problem){1, 1, 16, n, n, true, 0.25f});
        check(&(problem){1, 1, 32, 31 - n, n, true, 0.25f});
    }
    for (int64_t width = 1; width <= 65; width++)
        check(&(problem){1, 2, width, 5, 18, width % 2 == 0, 0.3f});
    for (int64_t n = 60; n <= 70; n++) {
        check(&(problem){1, 1, 32, n, n, true, 0.2f});
        check(&(problem){1, 1, 48, 7, 2 * n, false, 0.2f});
    }
}

static void long_sequences_are_cut_into_blocks_of_queries(void **state) {
    (void)state;
    check(&(problem){1, 1, 16, 130, 129, false, 0.25f});
    check(&(problem){2, 20, 16, 33, 300, false, 0.25f});
    check(&(problem){1, 2, 24, 150, 150, true, 0.25f});
    check(&(problem){1, 1, 8, 40, 1050, false, 1.0f});
    check(&(problem){1, 1, 16, 1050, 1050, true, 1.0f});
}

static void huge_scores_do_not_overflow_and_nan_shows(void **state) {
    (void)state;
    const problem p = {1, 1, 16, 3, 5, false, -2.0f};
    nacre_array in[4];
    random_inputs(&p, in);
    for (int i = 0; i < 3 * 16; i++) ((float *)in[0].data)[i] *= 1e4f;
    ((float *)in[0].data)[2 * 16] = NAN;
    nacre_plan_op step = step_of(&p, in, false);
    kit_run(&step);
    const float *y = step.out[0].data;
    for (int i = 0; i < 2 * 16; i++) assert_true(fabsf(y[i]) <= 1);
    for (int i = 2 * 16; i < 3 * 16; i++) assert_true(isnan(y[i]));
}

/* q, k and v as thirds of one array, as they are and as slices; and one gradient for all three. */
static void thirds_of_one_array_are_read_and_written_in_place(void **state) {
    (void)state;
    for (int64_t width = 12; width <= 16; width += 4) {
        const problem p = {3, 2, width, 17, 17, true, 0.25f};
        int64_t all = p.heads * width;
        nacre_array qkv = kit_random_f32(NACRE_SHAPE(3, 17, 3 * all));
        nacre_array in[4];
        for (int i = 0; i < 3; i++) {
            in[i] = qkv;
            in[i].shape.dims[2] = all;
            in[i].data = (float *)qkv.data + i * all;
        }
        in[3] = kit_random_f32(shape_of(&p, 17));
        nacre_plan_op step = step_of(&p, in, false),
                      packed = kit_step(&nacre_op_attention_qkv, attrs_of(&p));
        kit_run(&step);
        check_forward(&p, in, step.out);
        packed.inputs = packed.outputs = 1;
        packed.in[0] = qkv;
        packed.out[0] = kit_array(NACRE_F32, in[3].shape);
        kit_run(&packed);
        assert_true(
            kit_same_bits(packed.out[0].data, step.out[0].data, (size_t)(3 * 17 * all) * 4));

        step = step_of(&p, in, true);
        kit_run(&step);
        packed.op = &nacre_op_attention_qkv_backward;
        packed.inputs = 2;
        packed.in[1] = in[3];
        packed.out[0] = kit_array(NACRE_F32, qkv.shape);
        kit_run(&packed);
        for (int64_t r = 0; r < 3 * 17; r++)
            for (int i = 0; i < 3; i++)
                assert_true(kit_same_bits((float *)packed.out[0].data + (3 * r + i) * all,
                                          (float *)step.out[i].data + r * all, (size_t)all * 4));
        kit_end();
    }
}

static void a_head_has_its_bits_alone_in_a_batch_and_with_any_threads(void **state) {
    (void)state;
    const problem many = {5, 2, 16, 70, 70, true, 0.25f}, one = {1, 1, 16, 70, 70, true, 0.25f};
    nacre_array in[4], alone[4];
    random_inputs(&many, in);
    for (int threads = 1; threads < 6; threads += 2) {
        assert_int_equal(nacre_set_threads(threads), NACRE_OK);
        nacre_plan_op step = step_of(&many, in, true);
        kit_run(&step);
        for (int64_t h = 0; h < 10; h += 3) {
            for (int i = 0; i < 4; i++) {
                alone[i] = in[i];
                alone[i].shape = shape_of(&one, 70);
                alone[i].data = (float *)in[i].data + h / 2 * 70 * 32 + h % 2 * 16;
            }
            nacre_plan_op single = step_of(&one, alone, true);
            kit_run(&single);
            for (int o = 0; o < 3; o++)
                for (int64_t r = 0; r < 70; r++)
                    assert_true(kit_same_bits(
                        (float *)single.out[o].data + r * 16,
                        (float *)step.out[o].data + h / 2 * 70 * 32 + r * 32 + h % 2 * 16, 64));
        }
    }
}

static void columns_that_lie_apart_are_refused_not_misread(void **state) {
    (void)state;
    const problem p = {2, 1, 16, 16, 16, false, 0.25f};
    nacre_array in[4];
    random_inputs(&p, in);
    in[1] = kit_transposed(in[1]);
    nacre_plan_op step = step_of(&p, in, false);
    assert_false(kit_try(&step));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_TEST(every_extent_up_to_two_tiles_and_one),
        KIT_TEST(long_sequences_are_cut_into_blocks_of_queries),
        KIT_TEST(huge_scores_do_not_overflow_and_nan_shows),
        KIT_TEST(thirds_of_one_array_are_read_and_written_in_place),
        KIT_TEST(a_head_has_its_bits_alone_in_a_batch_and_with_any_threads),
        KIT_TEST(columns_that_lie_apart_are_refused_not_misread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
