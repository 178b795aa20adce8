/* Gradients in double agree with central differences, and gradients of gradients too; whichever layout
   the inputs have and whichever backend computes them. */
#include "ops/check.h"

#include <nacre/grad.h>

enum { INPUT_ELEMENTS = 64 };

/* Values of every input, f64, and gradients with respect to them. */
typedef struct point {
    double in[CASE_INPUTS][INPUT_ELEMENTS];
} point;

static bool differentiable(const nacre_op_case *c, int i) {
    return c->kind[i] == KIND_VALUE || c->kind[i] == KIND_POSITIVE;
}

/* sum(t * w), w fixed random weights of t's shape, so that every output element matters differently. */
static nacre_tensor *weighted(nacre_tensor *t, uint64_t stream) {
    static double values[CHECK_ELEMENTS];
    nacre_shape shape = nacre_shape_of(t);
    int64_t count = nacre_shape_numel(&shape);
    for (int64_t k = 0; k < count; k++)
        values[k] = 2 * nacre_random_f64(11, stream, 1, (uint64_t)k) - 1;
    return nacre_sum(nacre_mul(t, tensor_of(values, &shape, NACRE_F64)));
}

/* The function under test: a weighted sum of the outputs (order 0), or of its gradients (order 1). */
static nacre_tensor *function(const nacre_op_case *c, nacre_tensor *const *leaves,
                              nacre_tensor *const *in, int order) {
    nacre_tensor *y = weighted(c->apply(in), 100);
    if (nacre_is_error(y)) fail_msg("%s: %s", check_subject, nacre_tensor_message(y));
    if (order == 0) return y;
    nacre_tensor *wanted[CASE_INPUTS], *gradient[CASE_INPUTS], *total = NULL;
    size_t count = 0;
    for (int i = 0; i < c->inputs; i++)
        if (differentiable(c, i)) wanted[count++] = leaves[i];
    if (nacre_gradients(y, wanted, count, gradient))
        fail_msg("%s: %s", check_subject, nacre_error_message());
    for (size_t k = 0; k < count; k++) {
        nacre_tensor *part = weighted(gradient[k], 200 + k);
        total = total ? nacre_add(total, part) : part;
    }
    return total;
}

/* Value of the function; its gradients too where `gradients` is given. */
static double evaluate(const nacre_op_case *c, const point *at, int order, check_layout layout,
                       point *gradients) {
    nacre_scope mark = nacre_scope_begin();
    nacre_tensor *leaves[CASE_INPUTS] = {NULL}, *in[CASE_INPUTS] = {NULL}, *wanted[CASE_INPUTS];
    size_t count = 0;
    for (int i = 0; i < c->inputs; i++) {
        leaves[i] = in[i] = tensor_of(at->in[i], &c->shape[i], input_dtype(c, i, NACRE_F64));
        if (!differentiable(c, i)) continue;
        nacre_requires_grad(leaves[i], true);
        wanted[count++] = leaves[i];
        /* Through two transpositions the op sees strides, the leaf its own order. */
        if (layout == LAYOUT_TRANSPOSED && c->shape[i].ndim > 1) {
            nacre_tensor *turned = nacre_mul_scalar(nacre_transpose(leaves[i], 0, 1), 1);
            in[i] = nacre_transpose(turned, 0, 1);
        }
    }
    nacre_tensor *y = function(c, leaves, in, order);
    if (gradients) {
        memset(gradients, 0, sizeof *gradients);
        nacre_tensor *d[CASE_INPUTS];
        bool depends = nacre_has_requires_grad(y); /* a linear op's gradient is constant */
        if (depends && nacre_gradients(y, wanted, count, d))
            fail_msg("%s: %s", check_subject, nacre_error_message());
        size_t k = 0;
        for (int i = 0; i < c->inputs; i++)
            if (differentiable(c, i) && depends) values_of(d[k++], gradients->in[i]);
    }
    double value = nacre_item(y);
    if (nacre_error_code()) fail_msg("%s: %s", check_subject, nacre_error_message());
    close_scope(mark);
    return value;
}

static void check_differences(const nacre_op_case *c, const point *at, const point *gradients,
                              int order) {
    const double h = 1e-5;
    point moved = *at;
    for (int i = 0; i < c->inputs; i++) {
        if (!differentiable(c, i)) continue;
        int64_t count = nacre_shape_numel(&c->shape[i]);
        for (int64_t k = 0; k < count; k++) {
            double x = at->in[i][k];
            moved.in[i][k] = x + h;
            double above = evaluate(c, &moved, order, LAYOUT_CONTIGUOUS, NULL);
            moved.in[i][k] = x - h;
            double below = evaluate(c, &moved, order, LAYOUT_CONTIGUOUS, NULL);
            moved.in[i][k] = x;
            double difference = (above - below) / (2 * h), given = gradients->in[i][k];
            if (!close_to(given, difference, 1e-6, fabs(difference)))
                fail_msg("%s: d/d(input %d)[%lld] is %.12g, differences give %.12g", check_subject,
                         i, (long long)k, given, difference);
        }
    }
}

static void expect_same(const point *a, const point *b, const char *what) {
    for (int i = 0; i < CASE_INPUTS; i++)
        for (int k = 0; k < INPUT_ELEMENTS; k++)
            if (!close_to(a->in[i][k], b->in[i][k], 1e-12, fabs(a->in[i][k])))
                fail_msg("%s: gradient of input %d, element %d: %.17g, %s %.17g", check_subject, i,
                         k, a->in[i][k], what, b->in[i][k]);
}

static void check_order(int order) {
    static point at, gradients, others;
    for (int n = 0; n < CASE_COUNT; n++) {
        const nacre_op_case *c = &cases[n];
        if (c->derivatives <= order) continue;
        snprintf(check_subject, sizeof check_subject, "%s %s, order %d", c->op, c->label,
                 order + 1);
        memset(&at, 0, sizeof at);
        for (int i = 0; i < c->inputs; i++) {
            int64_t count = nacre_shape_numel(&c->shape[i]);
            assert_true(count <= INPUT_ELEMENTS);
            for (int64_t k = 0; k < count; k++)
                at.in[i][k] = input_value(c, i, input_dtype(c, i, NACRE_F64), k);
        }
        evaluate(c, &at, order, LAYOUT_CONTIGUOUS, &gradients);
        check_differences(c, &at, &gradients, order);
        evaluate(c, &at, order, LAYOUT_TRANSPOSED, &others);
        expect_same(&gradients, &others, "transposed");
        nacre_set_backend(NACRE_BACKEND_REFERENCE);
        evaluate(c, &at, order, LAYOUT_CONTIGUOUS, &others);
        nacre_set_backend(NACRE_BACKEND_DEFAULT);
        expect_same(&gradients, &others, "in the reference");
    }
}

static void gradients_agree_with_differences(void **state) {
    (void)state;
    check_order(0);
}

static void gradients_of_gradients_agree_with_differences(void **state) {
    (void)state;
    check_order(1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_agree_with_differences),
        cmocka_unit_test(gradients_of_gradients_agree_with_differences),
    };
    return cmocka_run_group_tests_name("ops: gradients", tests, NULL, NULL);
}
