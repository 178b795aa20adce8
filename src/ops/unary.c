/* neg, exp, log, sqrt, relu and relu's gradient. */
#include "ops/common.h"

#include <math.h>

/* ---- neg ---- */

static nacre_status neg_shape(nacre_inference *inference) {
    nacre_status status = nacre_need_number(inference, 0, "a");
    return status ? status : nacre_infer_same(inference);
}

static double neg_float(const double *x, const nacre_word *attrs) {
    (void)attrs;
    return -x[0];
}

static int64_t neg_int(const int64_t *x, const nacre_word *attrs) {
    (void)attrs;
    return (int64_t)(0 - (uint64_t)x[0]);
}

static void neg_gradient(nacre_gradient *g) {
    g->din[0] = nacre_neg_at(g->dout[0], g->file, g->line);
}

const nacre_op nacre_op_neg = {
    .name = "neg",
    .onnx = "Neg",
    .arity = 1,
    .flags = NACRE_OP_ELEMENTWISE | NACRE_OP_IN_PLACE,
    .shape = neg_shape,
    .gradient = neg_gradient,
    .element = neg_float,
    .element_int = neg_int,
    .flops_per_element = 1,
};

/* ---- exp ---- */

static double exp_float(const double *x, const nacre_word *attrs) {
    (void)attrs;
    return exp(x[0]);
}

static void exp_gradient(nacre_gradient *g) {
    g->din[0] = nacre_mul_at(g->dout[0], g->out[0], g->file, g->line);
}

const nacre_op nacre_op_exp = {
    .name = "exp",
    .onnx = "Exp",
    .arity = 1,
    .flags = NACRE_OP_ELEMENTWISE | NACRE_OP_IN_PLACE,
    .gradient_reads = NACRE_READS_OUT(0),
    .shape = nacre_infer_same_float,
    .gradient = exp_gradient,
    .element = exp_float,
    .flops_per_element = 1,
};

/* ---- log: natural; of 0 -inf, of negative numbers NaN ---- */

static double log_float(const double *x, const nacre_word *attrs) {
    (void)attrs;
    return log(x[0]);
}

static void log_gradient(nacre_gradient *g) {
    g->din[0] = nacre_div_at(g->dout[0], g->in[0], g->file, g->line);
}

const nacre_op nacre_op_log = {
    .name = "log",
    .onnx = "Log",
    .arity = 1,
    .flags = NACRE_OP_ELEMENTWISE | NACRE_OP_IN_PLACE,
    .gradient_reads = NACRE_READS_IN(0),
    .shape = nacre_infer_same_float,
    .gradient = log_gradient,
    .element = log_float,
    .flops_per_element = 1,
};

/* ---- sqrt ---- */

static double sqrt_float(const double *x, const nacre_word *attrs) {
    (void)attrs;
    return sqrt(x[0]);
}

/* dx = dy / (2 y) */
static void sqrt_gradient(nacre_gradient *g) {
    nacre_tensor *y = g->out[0];
    nacre_tensor *twice = nacre_add_at(y, y, g->file, g->line);
    g->din[0] = nacre_div_at(g->dout[0], twice, g->file, g->line);
}

const nacre_op nacre_op_sqrt = {
    .name = "sqrt",
    .onnx = "Sqrt",
    .arity = 1,
    .flags = NACRE_OP_ELEMENTWISE | NACRE_OP_IN_PLACE,
    .gradient_reads = NACRE_READS_OUT(0),
    .shape = nacre_infer_same_float,
    .gradient = sqrt_gradient,
    .element = sqrt_float,
    .flops_per_element = 1,
};

/* ---- relu: x < 0 ? 0 : x, so that NaN stays NaN ---- */

static double relu_float(const double *x, const nacre_word *attrs) {
    (void)attrs;
    return x[0] < 0 ? 0 : x[0];
}

static int64_t relu_int(const int64_t *x, const nacre_word *attrs) {
    (void)attrs;
    return x[0] < 0 ? 0 : x[0];
}

static void relu_gradient(nacre_gradient *g) {
    g->din[0] =
        nacre_record_binary(&nacre_op_relu_backward, g->out[0], g->dout[0], g->file, g->line);
}

const nacre_op nacre_op_relu = {
    .name = "relu",
    .onnx = "Relu",
    .arity = 1,
    .flags = NACRE_OP_ELEMENTWISE | NACRE_OP_IN_PLACE,
    .gradient_reads = NACRE_READS_OUT(0),
    .shape = neg_shape,
    .gradient = relu_gradient,
    .element = relu_float,
    .element_int = relu_int,
    .flops_per_element = 1,
};

/* ---- relu_backward(y, dy): y > 0 ? dy : 0, with y = relu(x). At 0 the gradient is 0. ---- */

static nacre_status relu_backward_shape(nacre_inference *inference) {
    nacre_status status = nacre_need_equal_dtypes(inference, 0, "y", 1, "dy");
    if (!status) status = nacre_need_equal_shapes(inference, 0, "y", 1, "dy");
    return status ? status : nacre_infer_same(inference);
}

static double relu_backward_float(const double *x, const nacre_word *attrs) {
    (void)attrs;
    return x[0] > 0 ? x[1] : 0;
}

static int64_t relu_backward_int(const int64_t *x, const nacre_word *attrs) {
    (void)attrs;
    return x[0] > 0 ? x[1] : 0;
}

/* Constant in y where it is differentiable; linear in dy. */
static void relu_backward_gradient(nacre_gradient *g) {
    if (g->wanted[1])
        g->din[1] =
            nacre_record_binary(&nacre_op_relu_backward, g->in[0], g->dout[0], g->file, g->line);
}

const nacre_op nacre_op_relu_backward = {
    .name = "relu_backward",
    .arity = 2,
    .flags = NACRE_OP_ELEMENTWISE | NACRE_OP_IN_PLACE,
    .gradient_reads = NACRE_READS_IN(0),
    .shape = relu_backward_shape,
    .gradient = relu_backward_gradient,
    .element = relu_backward_float,
    .element_int = relu_backward_int,
    .flops_per_element = 1,
    .in_place = {1},
};

/* ---- public ---- */

nacre_tensor *nacre_neg_at(nacre_tensor *a, const char *file, int line) {
    return nacre_record_unary(&nacre_op_neg, a, file, line);
}

nacre_tensor *nacre_exp_at(nacre_tensor *a, const char *file, int line) {
    return nacre_record_unary(&nacre_op_exp, a, file, line);
}

nacre_tensor *nacre_log_at(nacre_tensor *a, const char *file, int line) {
    return nacre_record_unary(&nacre_op_log, a, file, line);
}

nacre_tensor *nacre_sqrt_at(nacre_tensor *a, const char *file, int line) {
    return nacre_record_unary(&nacre_op_sqrt, a, file, line);
}

nacre_tensor *nacre_f_relu_at(nacre_tensor *a, const char *file, int line) {
    return nacre_record_unary(&nacre_op_relu, a, file, line);
}
