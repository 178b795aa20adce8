/* layer_norm (Ba et al. 2016) over the last axis, and its gradients:
       y = n weight + bias,  n = (x - mean) rstd,  rstd = 1 / sqrt(variance + epsilon)
   with mean and variance (divided by the extent) of each row. */
#include "ops/common.h"

#include <math.h>

static const nacre_attr norm_attrs[] = {
    [NACRE_LAYER_NORM_EPSILON] = {"epsilon", NACRE_ATTR_SLOT_FLOAT}, {NULL, NACRE_ATTR_END}};

static bool is_given(const nacre_inference *inference, int i) {
    return inference->inputs > i && inference->in[i].dtype != NACRE_DTYPE_DEFAULT;
}

/* Input i is absent, or one number for each element of a row of x. */
static nacre_status need_row(const nacre_inference *inference, int i, const char *name) {
    if (!is_given(inference, i)) return NACRE_OK;
    nacre_status status = nacre_need_equal_dtypes(inference, 0, "x", i, name);
    const nacre_shape *x = &inference->in[0].shape, *row = &inference->in[i].shape;
    if (status || (row->ndim == 1 && row->dims[0] == x->dims[x->ndim - 1])) return status;
    char text_x[NACRE_SHAPE_TEXT], text_row[NACRE_SHAPE_TEXT];
    return nacre_fail_at(NACRE_SHAPE_MISMATCH, inference->file, inference->line,
                         "%s: %s is %s, x is %s: %s must be [%lld], x's last extent",
                         inference->op->name, name, nacre_shape_text(row, text_row),
                         nacre_shape_text(x, text_x), name, (long long)x->dims[x->ndim - 1]);
}

static nacre_status need_axis(const nacre_inference *inference) {
    nacre_status status = nacre_need_float(inference, 0, "x");
    if (status || inference->in[0].shape.ndim > 0) return status;
    return nacre_fail_at(NACRE_SHAPE_MISMATCH, inference->file, inference->line,
                         "%s: x is a scalar: it needs an axis to normalise over",
                         inference->op->name);
}

static nacre_status need_epsilon(const nacre_inference *inference) {
    double epsilon = inference->attrs[NACRE_LAYER_NORM_EPSILON].f;
    if (isfinite(epsilon) && epsilon >= 0) return NACRE_OK;
    return nacre_fail_at(NACRE_INVALID_ARGUMENT, inference->file, inference->line,
                         "%s: epsilon is %g: it must be finite and at least 0, such as 1e-5",
                         inference->op->name, epsilon);
}

static nacre_status norm_shape(nacre_inference *inference) {
    nacre_status status = need_axis(inference);
    if (!status) status = need_row(inference, 1, "weight");
    if (!status) status = need_row(inference, 2, "bias");
    if (!status) status = need_epsilon(inference);
    return status ? status : nacre_infer_same(inference);
}

typedef struct normalised {
    nacre_tensor *n, *rstd;
} normalised;

/* Mean along the last axis, which stays. */
static nacre_tensor *row_mean(nacre_tensor *t, const nacre_expansion *e) {
    if (!nacre_usable(t)) return t; /* an error has no shape */
    int64_t last = (int64_t)1 << (nacre_ndim(t) - 1);
    return nacre_record_reduce(&nacre_op_mean, t, last, true, e->file, e->line);
}

static normalised normalise(const nacre_expansion *e) {
    const char *file = e->file;
    int line = e->line;
    nacre_tensor *centred = nacre_sub_at(e->in[0], row_mean(e->in[0], e), file, line);
    nacre_tensor *variance = row_mean(nacre_mul_at(centred, centred, file, line), e);
    nacre_dtype dtype = nacre_dtype_of(e->in[0]);
    nacre_tensor *epsilon = nacre_scalar(dtype, e->attrs[NACRE_LAYER_NORM_EPSILON].f, file, line);
    nacre_tensor *root = nacre_sqrt_at(nacre_add_at(variance, epsilon, file, line), file, line);
    nacre_tensor *rstd = nacre_div_at(nacre_scalar(dtype, 1, file, line), root, file, line);
    return (normalised){nacre_mul_at(centred, rstd, file, line), rstd};
}

static void norm_decompose(nacre_expansion *e) {
    nacre_tensor *y = normalise(e).n;
    if (e->inputs > 1 && e->in[1]) y = nacre_mul_at(y, e->in[1], e->file, e->line);
    if (e->inputs > 2 && e->in[2]) y = nacre_add_at(y, e->in[2], e->file, e->line);
    e->out[0] = y;
}

static void norm_gradient(nacre_gradient *g) {
    nacre_tensor *out[NACRE_MAX_OUTPUTS];
    nacre_tensor *weight = g->inputs > 1 ? g->in[1] : NULL;
    nacre_recording recording = {
        .op = &nacre_op_layer_norm_backward,
        .inputs = weight ? 3 : 2,
        .in = {g->in[0], g->dout[0], weight},
        .attrs = {[NACRE_LAYER_NORM_EPSILON] = g->attrs[NACRE_LAYER_NORM_EPSILON]},
        .file = g->file,
        .line = g->line};
    nacre_record_many(&recording, out);
    for (int i = 0; i < g->inputs; i++)
        if (g->wanted[i]) g->din[i] = out[i];
}

const nacre_op nacre_op_layer_norm = {
    .name = "layer_norm",
    .onnx = "LayerNormalization",
    .arity = 3,
    .optional = 2,
    .gradient_reads = NACRE_READS_IN(0) | NACRE_READS_IN(1),
    .attrs = norm_attrs,
    .shape = norm_shape,
    .gradient = norm_gradient,
    .decompose = norm_decompose,
    .flops_per_element = 8,
};

/* ---- layer_norm_backward(x, dy, weight) -> dx, dweight, dbias; with d = dy weight
       dx = rstd (d - mean(d) - n mean(d n)),  dweight = sum of dy n,  dbias = sum of dy over all rows ---- */

static nacre_status backward_shape(nacre_inference *inference) {
    nacre_status status = need_axis(inference);
    if (!status) status = nacre_need_equal_dtypes(inference, 0, "x", 1, "dy");
    if (!status) status = nacre_need_equal_shapes(inference, 0, "x", 1, "dy");
    if (!status) status = need_row(inference, 2, "weight");
    if (status) return status;
    const nacre_shape *x = &inference->in[0].shape;
    for (int i = 1; i < 3; i++) {
        inference->out[i].dtype = inference->in[0].dtype;
        inference->out[i].shape = (nacre_shape){.ndim = 1, .dims = {x->dims[x->ndim - 1]}};
    }
    return nacre_infer_same(inference);
}

static nacre_tensor *sum_of_rows(nacre_tensor *t, const nacre_expansion *e) {
    if (!nacre_usable(t)) return t;
    int64_t rows = ((int64_t)1 << (nacre_ndim(t) - 1)) - 1;
    return rows ? nacre_record_reduce(&nacre_op_sum, t, rows, false, e->file, e->line)
                : nacre_record_unary(&nacre_op_copy, t, e->file, e->line);
}

static void backward_decompose(nacre_expansion *e) {
    const char *file = e->file;
    int line = e->line;
    normalised x = normalise(e);
    nacre_tensor *dy = e->in[1], *d = dy;
    if (e->inputs > 2 && e->in[2]) d = nacre_mul_at(dy, e->in[2], file, line);
    nacre_tensor *along =
        nacre_mul_at(x.n, row_mean(nacre_mul_at(d, x.n, file, line), e), file, line);
    nacre_tensor *rest =
        nacre_sub_at(nacre_sub_at(d, row_mean(d, e), file, line), along, file, line);
    e->out[0] = nacre_mul_at(x.rstd, rest, file, line);
    e->out[1] = sum_of_rows(nacre_mul_at(dy, x.n, file, line), e);
    e->out[2] = sum_of_rows(dy, e);
}

const nacre_op nacre_op_layer_norm_backward = {
    .name = "layer_norm_backward",
    .arity = 3,
    .optional = 1,
    .outputs = 3,
    .gradient_reads = NACRE_READS_IN(0) | NACRE_READS_IN(1) | NACRE_READS_IN(2),
    .attrs = norm_attrs,
    .shape = backward_shape,
    .decompose = backward_decompose,
    .flops_per_element = 16,
};

nacre_tensor *nacre_f_layer_norm_at(nacre_tensor *x, nacre_tensor *weight, nacre_tensor *bias,
                                    double epsilon, const char *file, int line) {
    nacre_recording recording = {.op = &nacre_op_layer_norm,
                                 .inputs = bias     ? 3
                                           : weight ? 2
                                                    : 1,
                                 .in = {x, weight, bias},
                                 .attrs = {[NACRE_LAYER_NORM_EPSILON] = {.f = epsilon}},
                                 .file = file,
                                 .line = line};
    return nacre_record_one(&recording);
}
