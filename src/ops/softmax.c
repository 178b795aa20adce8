/* softmax and log_softmax along one axis, and their gradients. */
#include "ops/common.h"

static const nacre_attr softmax_attrs[] = {[NACRE_SOFTMAX_AXIS] = {"axis", NACRE_ATTR_INT},
                                           {NULL, NACRE_ATTR_END}};

static nacre_status softmax_shape(nacre_inference *inference) {
    nacre_status status = nacre_need_float(inference, 0, "a");
    if (!status) status = nacre_need_axis(inference, NACRE_SOFTMAX_AXIS);
    return status ? status : nacre_infer_same(inference);
}

static nacre_status backward_shape(nacre_inference *inference) {
    nacre_status status = nacre_need_float(inference, 0, "y");
    if (!status) status = nacre_need_equal_dtypes(inference, 0, "y", 1, "dy");
    if (!status) status = nacre_need_equal_shapes(inference, 0, "y", 1, "dy");
    if (!status) status = nacre_need_axis(inference, NACRE_SOFTMAX_AXIS);
    return status ? status : nacre_infer_same(inference);
}

/* Sum or maximum along the axis, which stays with extent 1. */
static nacre_tensor *along(const nacre_op *op, nacre_tensor *t, const nacre_expansion *e) {
    return nacre_record_reduce(op, t, (int64_t)1 << e->attrs[NACRE_SOFTMAX_AXIS].i, true, e->file,
                               e->line);
}

/* x - max(x): no exponential overflows. NULL when there are no elements, which have no maximum. */
static nacre_tensor *shifted(const nacre_expansion *e) {
    if (nacre_numel(e->in[0]) == 0) return NULL;
    return nacre_sub_at(e->in[0], along(&nacre_op_max, e->in[0], e), e->file, e->line);
}

static nacre_tensor *record_backward(nacre_gradient *g, const nacre_op *op) {
    nacre_recording recording = {.op = op,
                                 .inputs = 2,
                                 .in = {g->out[0], g->dout[0]},
                                 .attrs = {g->attrs[NACRE_SOFTMAX_AXIS]},
                                 .file = g->file,
                                 .line = g->line};
    return nacre_record_one(&recording);
}

/* ---- softmax: exp(x - max) / sum(exp(x - max)) ---- */

static void softmax_decompose(nacre_expansion *e) {
    nacre_tensor *x = shifted(e);
    if (!x) {
        e->out[0] = nacre_record_unary(&nacre_op_copy, e->in[0], e->file, e->line);
        return;
    }
    nacre_tensor *power = nacre_exp_at(x, e->file, e->line);
    e->out[0] = nacre_div_at(power, along(&nacre_op_sum, power, e), e->file, e->line);
}

static void softmax_gradient(nacre_gradient *g) {
    g->din[0] = record_backward(g, &nacre_op_softmax_backward);
}

const nacre_op nacre_op_softmax = {
    .name = "softmax",
    .onnx = "Softmax",
    .arity = 1,
    .gradient_reads = NACRE_READS_OUT(0),
    .attrs = softmax_attrs,
    .shape = softmax_shape,
    .gradient = softmax_gradient,
    .decompose = softmax_decompose,
    .flops_per_element = 5,
};

/* softmax_backward(y, dy) = y (dy - sum(y dy)) */
static void softmax_backward_decompose(nacre_expansion *e) {
    nacre_tensor *y = e->in[0], *dy = e->in[1];
    nacre_tensor *mean = along(&nacre_op_sum, nacre_mul_at(y, dy, e->file, e->line), e);
    e->out[0] = nacre_mul_at(y, nacre_sub_at(dy, mean, e->file, e->line), e->file, e->line);
}

const nacre_op nacre_op_softmax_backward = {
    .name = "softmax_backward",
    .arity = 2,
    .gradient_reads = NACRE_READS_IN(0) | NACRE_READS_IN(1),
    .attrs = softmax_attrs,
    .shape = backward_shape,
    .decompose = softmax_backward_decompose,
    .flops_per_element = 4,
};

/* ---- log_softmax: x - max - log(sum(exp(x - max))) ---- */

static void log_softmax_decompose(nacre_expansion *e) {
    nacre_tensor *x = shifted(e);
    if (!x) {
        e->out[0] = nacre_record_unary(&nacre_op_copy, e->in[0], e->file, e->line);
        return;
    }
    nacre_tensor *sum = along(&nacre_op_sum, nacre_exp_at(x, e->file, e->line), e);
    e->out[0] = nacre_sub_at(x, nacre_log_at(sum, e->file, e->line), e->file, e->line);
}

static void log_softmax_gradient(nacre_gradient *g) {
    g->din[0] = record_backward(g, &nacre_op_log_softmax_backward);
}

const nacre_op nacre_op_log_softmax = {
    .name = "log_softmax",
    .onnx = "LogSoftmax",
    .arity = 1,
    .gradient_reads = NACRE_READS_OUT(0),
    .attrs = softmax_attrs,
    .shape = softmax_shape,
    .gradient = log_softmax_gradient,
    .decompose = log_softmax_decompose,
    .flops_per_element = 5,
};

/* log_softmax_backward(y, dy) = dy - exp(y) sum(dy) */
static void log_softmax_backward_decompose(nacre_expansion *e) {
    nacre_tensor *power = nacre_exp_at(e->in[0], e->file, e->line);
    nacre_tensor *part = nacre_mul_at(power, along(&nacre_op_sum, e->in[1], e), e->file, e->line);
    e->out[0] = nacre_sub_at(e->in[1], part, e->file, e->line);
}

const nacre_op nacre_op_log_softmax_backward = {
    .name = "log_softmax_backward",
    .arity = 2,
    .gradient_reads = NACRE_READS_IN(0) | NACRE_READS_IN(1),
    .attrs = softmax_attrs,
    .shape = backward_shape,
    .decompose = log_softmax_backward_decompose,
    .flops_per_element = 4,
};

/* ---- public ---- */

nacre_tensor *nacre_f_softmax_at(nacre_tensor *a, int axis, const char *file, int line) {
    return nacre_record_unary_int(&nacre_op_softmax, a, axis, file, line);
}

nacre_tensor *nacre_f_log_softmax_at(nacre_tensor *a, int axis, const char *file, int line) {
    return nacre_record_unary_int(&nacre_op_log_softmax, a, axis, file, line);
}
