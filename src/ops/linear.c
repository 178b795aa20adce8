/* linear: x [..., in] times weight [out, in] transposed, plus bias [out] -> [..., out]. */
#include "ops/common.h"

static nacre_status linear_shape(nacre_inference *inference) {
    const nacre_shape *x = &inference->in[0].shape, *w = &inference->in[1].shape;
    bool has_bias = inference->inputs > 2 && inference->in[2].dtype != NACRE_DTYPE_DEFAULT;
    nacre_status status = nacre_need_float(inference, 0, "x");
    if (!status) status = nacre_need_equal_dtypes(inference, 0, "x", 1, "weight");
    if (!status && has_bias) status = nacre_need_equal_dtypes(inference, 0, "x", 2, "bias");
    if (status) return status;
    char text_x[NACRE_SHAPE_TEXT], text_w[NACRE_SHAPE_TEXT];
    if (x->ndim < 1 || w->ndim != 2 || x->dims[x->ndim - 1] != w->dims[1])
        return nacre_fail_at(
            NACRE_SHAPE_MISMATCH, inference->file, inference->line,
            "linear: x is %s, weight is %s: x must be [..., in] and weight [out, in]%s",
            nacre_shape_text(x, text_x), nacre_shape_text(w, text_w),
            x->ndim && w->ndim == 2 && x->dims[x->ndim - 1] == w->dims[0]
                ? "; did you mean nacre_transpose(weight, 0, 1)?"
                : "; the last extents must be equal");
    const nacre_shape *b = &inference->in[2].shape;
    if (has_bias && (b->ndim != 1 || b->dims[0] != w->dims[0]))
        return nacre_fail_at(NACRE_SHAPE_MISMATCH, inference->file, inference->line,
                             "linear: bias is %s, weight is %s: bias must be [out], here [%lld]",
                             nacre_shape_text(b, text_x), nacre_shape_text(w, text_w),
                             (long long)w->dims[0]);
    inference->out[0].dtype = inference->in[0].dtype;
    inference->out[0].shape = *x;
    inference->out[0].shape.dims[x->ndim - 1] = w->dims[0];
    return nacre_need_valid_output(inference);
}

static void linear_decompose(nacre_expansion *e) {
    nacre_tensor *x = nacre_as_rows(e->in[0], e->file, e->line);
    nacre_tensor *columns = nacre_transpose_at(e->in[1], 0, 1, e->file, e->line);
    nacre_tensor *y = nacre_matmul_at(x, columns, e->file, e->line);
    if (e->inputs > 2 && e->in[2]) y = nacre_add_at(y, e->in[2], e->file, e->line);
    if (e->out_shape->ndim != 2) y = nacre_reshape_at(y, *e->out_shape, e->file, e->line);
    e->out[0] = y;
}

/* dx = dy weight, dweight = dy^T x, dbias = sum of dy's rows. */
static void linear_gradient(nacre_gradient *g) {
    const char *file = g->file;
    int line = g->line;
    nacre_tensor *dy = nacre_as_rows(g->dout[0], file, line);
    if (g->wanted[0]) {
        nacre_tensor *dx = nacre_matmul_at(dy, g->in[1], file, line);
        if (nacre_ndim(g->in[0]) != 2)
            dx = nacre_reshape_at(dx, nacre_shape_of(g->in[0]), file, line);
        g->din[0] = dx;
    }
    if (g->wanted[1]) {
        nacre_tensor *columns = nacre_transpose_at(dy, 0, 1, file, line);
        g->din[1] = nacre_matmul_at(columns, nacre_as_rows(g->in[0], file, line), file, line);
    }
    if (g->inputs > 2 && g->wanted[2])
        g->din[2] = nacre_record_reduce(&nacre_op_sum, dy, 1, false, file, line);
}

static double linear_flops(const nacre_call *call) {
    double out = (double)nacre_shape_numel(&call->out[0].shape);
    bool has_bias = call->inputs > 2 && call->in[2].data;
    return out * (2 * (double)call->in[1].shape.dims[1] + has_bias);
}

const nacre_op nacre_op_linear = {
    .name = "linear",
    .onnx = "Gemm",
    .arity = 3,
    .optional = 1,
    .gradient_reads = NACRE_READS_IN(0) | NACRE_READS_IN(1),
    .shape = linear_shape,
    .gradient = linear_gradient,
    .decompose = linear_decompose,
    .flops = linear_flops,
};

nacre_tensor *nacre_f_linear_at(nacre_tensor *x, nacre_tensor *weight, nacre_tensor *bias,
                                const char *file, int line) {
    nacre_recording recording = {.op = &nacre_op_linear,
                                 .inputs = bias ? 3 : 2,
                                 .in = {x, weight, bias},
                                 .file = file,
                                 .line = line};
    return nacre_record_one(&recording);
}
