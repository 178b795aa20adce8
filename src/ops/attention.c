/* Scaled dot-product attention (Vaswani et al. 2017), several heads side by side in the last axis: of head i
   columns [i c, (i + 1) c) of q [batch, queries, heads c], k and v [batch, keys, heads c].
       y = softmax(scale q k^T) v
   causal: query i looks at keys 0 .. i. attention_qkv has q, k and v side by side in one array. */
#include "ops/common.h"

#include <math.h>

static const nacre_attr attention_attrs[] = {
    [NACRE_ATTENTION_HEADS] = {"heads", NACRE_ATTR_INT},
    [NACRE_ATTENTION_CAUSAL] = {"causal", NACRE_ATTR_BOOL},
    [NACRE_ATTENTION_SCALE] = {"scale", NACRE_ATTR_SLOT_FLOAT},
    {NULL, NACRE_ATTR_END}};

/* ---- shapes ---- */

static nacre_status need_settings(const nacre_inference *inference, int64_t width) {
    int64_t heads = inference->attrs[NACRE_ATTENTION_HEADS].i;
    double scale = inference->attrs[NACRE_ATTENTION_SCALE].f;
    if (heads < 1 || width <= 0 || width % heads != 0)
        return nacre_fail_at(NACRE_INVALID_ARGUMENT, inference->file, inference->line,
                             "%s: %lld heads for a width of %lld: there must be at least one, and "
                             "the width a multiple of it",
                             inference->op->name, (long long)heads, (long long)width);
    if (isfinite(scale)) return NACRE_OK;
    return nacre_fail_at(NACRE_INVALID_ARGUMENT, inference->file, inference->line,
                         "%s: scale is %g: it must be finite (0 means 1 / sqrt(head width))",
                         inference->op->name, scale);
}

/* q, k, v fit each other? */
static nacre_status need_three(const nacre_inference *inference) {
    const nacre_shape *q = &inference->in[0].shape, *k = &inference->in[1].shape;
    nacre_status status = nacre_need_float(inference, 0, "q");
    if (!status) status = nacre_need_equal_dtypes(inference, 0, "q", 1, "k");
    if (!status) status = nacre_need_equal_dtypes(inference, 0, "q", 2, "v");
    if (!status) status = nacre_need_equal_shapes(inference, 1, "k", 2, "v");
    if (status) return status;
    if (q->ndim == 3 && k->ndim == 3 && q->dims[0] == k->dims[0] && q->dims[2] == k->dims[2])
        return need_settings(inference, q->dims[2]);
    char text_q[NACRE_SHAPE_TEXT], text_k[NACRE_SHAPE_TEXT];
    return nacre_fail_at(NACRE_SHAPE_MISMATCH, inference->file, inference->line,
                         "%s: q is %s, k and v are %s: they must be [batch, queries, width] and "
                         "[batch, keys, width] with one batch and one width",
                         inference->op->name, nacre_shape_text(q, text_q),
                         nacre_shape_text(k, text_k));
}

static nacre_status attention_shape(nacre_inference *inference) {
    nacre_status status = need_three(inference);
    return status ? status : nacre_infer_same(inference);
}

static nacre_status backward_shape(nacre_inference *inference) {
    nacre_status status = need_three(inference);
    if (!status) status = nacre_need_equal_dtypes(inference, 0, "q", 3, "dy");
    if (!status) status = nacre_need_equal_shapes(inference, 0, "q", 3, "dy");
    for (int i = 0; i < 3; i++) {
        inference->out[i].dtype = inference->in[i].dtype;
        inference->out[i].shape = inference->in[i].shape;
    }
    return status;
}

static nacre_status need_qkv(const nacre_inference *inference) {
    const nacre_shape *qkv = &inference->in[0].shape;
    nacre_status status = nacre_need_float(inference, 0, "qkv");
    if (status) return status;
    if (qkv->ndim == 3 && qkv->dims[2] % 3 == 0) return need_settings(inference, qkv->dims[2] / 3);
    char text[NACRE_SHAPE_TEXT];
    return nacre_fail_at(NACRE_SHAPE_MISMATCH, inference->file, inference->line,
                         "%s: qkv is %s: it must be [batch, positions, 3 width]",
                         inference->op->name, nacre_shape_text(qkv, text));
}

static nacre_status qkv_shape(nacre_inference *inference) {
    nacre_status status = need_qkv(inference);
    if (status) return status;
    nacre_infer_same(inference);
    inference->out[0].shape.dims[2] /= 3;
    return NACRE_OK;
}

static nacre_status qkv_backward_shape(nacre_inference *inference) {
    nacre_status status = need_qkv(inference);
    if (!status) status = nacre_need_equal_dtypes(inference, 0, "qkv", 1, "dy");
    if (status) return status;
    nacre_shape wanted = inference->in[0].shape;
    wanted.dims[2] /= 3;
    if (nacre_shape_equal(&wanted, &inference->in[1].shape)) return nacre_infer_same(inference);
    char a[NACRE_SHAPE_TEXT], b[NACRE_SHAPE_TEXT];
    return nacre_fail_at(NACRE_SHAPE_MISMATCH, inference->file, inference->line,
                         "%s: dy is %s: it must be %s, the output's shape", inference->op->name,
                         nacre_shape_text(&inference->in[1].shape, a),
                         nacre_shape_text(&wanted, b));
}

/* ---- the definition ---- */

/* [batch, rows, heads c] -> [batch, heads, rows, c] */
static nacre_tensor *split(nacre_tensor *t, const nacre_expansion *e) {
    int64_t heads = e->attrs[NACRE_ATTENTION_HEADS].i;
    nacre_shape s = nacre_shape_of(t);
    nacre_shape shape = {.ndim = 4, .dims = {s.dims[0], s.dims[1], heads, s.dims[2] / heads}};
    t = nacre_reshape_at(t, shape, e->file, e->line);
    return nacre_transpose_at(t, 1, 2, e->file, e->line);
}

static nacre_tensor *merge(nacre_tensor *t, nacre_tensor *like, const nacre_expansion *e) {
    if (!nacre_usable(like)) return like; /* an error has no shape */
    t = nacre_transpose_at(t, 1, 2, e->file, e->line);
    return nacre_reshape_at(t, nacre_shape_of(like), e->file, e->line);
}

static nacre_tensor *turned(nacre_tensor *t, const nacre_expansion *e) {
    return nacre_transpose_at(t, -2, -1, e->file, e->line);
}

static nacre_tensor *product(nacre_tensor *a, nacre_tensor *b, const nacre_expansion *e) {
    return nacre_matmul_at(a, b, e->file, e->line);
}

static nacre_tensor *scaled(nacre_tensor *t, const nacre_expansion *e) {
    return nacre_mul_scalar_at(t, e->attrs[NACRE_ATTENTION_SCALE].f, e->file, e->line);
}

/* Positions 0, 1, ... as rows or as columns. */
static nacre_tensor *positions(int64_t count, bool rows, const nacre_expansion *e) {
    nacre_arange_options options = {
        .size = sizeof options, .stop = (double)count, .dtype = NACRE_I64};
    nacre_shape shape = {.ndim = 2, .dims = {rows ? count : 1, rows ? 1 : count}};
    return nacre_reshape_at(nacre_arange_at(&options, e->file, e->line), shape, e->file, e->line);
}

/* softmax(scale q k^T); q and k are split. */
static nacre_tensor *probabilities(nacre_tensor *q, nacre_tensor *k, const nacre_expansion *e) {
    nacre_tensor *scores = scaled(product(q, turned(k, e), e), e);
    if (e->attrs[NACRE_ATTENTION_CAUSAL].i) {
        nacre_tensor *seen =
            nacre_greater_equal_at(positions(nacre_size(q, 2), true, e),
                                   positions(nacre_size(k, 2), false, e), e->file, e->line);
        nacre_tensor *never = nacre_scalar(nacre_dtype_of(q), -(double)INFINITY, e->file, e->line);
        scores = nacre_where_at(seen, scores, never, e->file, e->line);
    }
    return nacre_f_softmax_at(scores, -1, e->file, e->line);
}

static void attention_decompose(nacre_expansion *e) {
    nacre_tensor *q = split(e->in[0], e), *k = split(e->in[1], e), *v = split(e->in[2], e);
    e->out[0] = merge(product(probabilities(q, k, e), v, e), e->in[0], e);
}

static void backward_decompose(nacre_expansion *e) {
    nacre_tensor *q = split(e->in[0], e), *k = split(e->in[1], e), *v = split(e->in[2], e);
    nacre_tensor *dy = split(e->in[3], e), *p = probabilities(q, k, e);
    nacre_tensor *dp = product(dy, turned(v, e), e);
    nacre_recording recording = {.op = &nacre_op_softmax_backward,
                                 .inputs = 2,
                                 .in = {p, dp},
                                 .attrs = {[NACRE_SOFTMAX_AXIS] = {.i = -1}},
                                 .file = e->file,
                                 .line = e->line};
    nacre_tensor *ds = scaled(nacre_record_one(&recording), e);
    e->out[0] = merge(product(ds, k, e), e->in[0], e);
    e->out[1] = merge(product(turned(ds, e), q, e), e->in[1], e);
    e->out[2] = merge(product(turned(p, e), dy, e), e->in[2], e);
}

/* ---- three inputs ---- */

/* Multiply-adds of the products: 2 forward, 5 backward (the scores anew). */
static double flops_of(const nacre_call *call, double products) {
    const nacre_shape *q = &call->in[0].shape, *k = &call->in[call->inputs > 2].shape;
    double width = (double)call->out[0].shape.dims[2] / (call->inputs == 2 ? 3 : 1);
    double pairs = (double)q->dims[0] * (double)q->dims[1] * (double)k->dims[1];
    return pairs * (2 * products * width + 8 * (double)call->attrs[NACRE_ATTENTION_HEADS].i);
}

static double forward_flops(const nacre_call *call) { return flops_of(call, 2); }
static double backward_flops(const nacre_call *call) { return flops_of(call, 5); }

static void copy_attrs(nacre_recording *recording, const nacre_word *attrs) {
    for (int i = 0; i <= NACRE_ATTENTION_SCALE; i++) recording->attrs[i] = attrs[i];
}

static void attention_gradient(nacre_gradient *g) {
    nacre_tensor *out[NACRE_MAX_OUTPUTS];
    nacre_recording recording = {.op = &nacre_op_scaled_dot_product_attention_backward,
                                 .inputs = 4,
                                 .in = {g->in[0], g->in[1], g->in[2], g->dout[0]},
                                 .file = g->file,
                                 .line = g->line};
    copy_attrs(&recording, g->attrs);
    nacre_record_many(&recording, out);
    for (int i = 0; i < 3; i++)
        if (g->wanted[i]) g->din[i] = out[i];
}

const nacre_op nacre_op_scaled_dot_product_attention = {
    .name = "scaled_dot_product_attention",
    .onnx = "Attention",
    .arity = 3,
    .gradient_reads = NACRE_READS_IN(0) | NACRE_READS_IN(1) | NACRE_READS_IN(2),
    .attrs = attention_attrs,
    .shape = attention_shape,
    .gradient = attention_gradient,
    .decompose = attention_decompose,
    .flops = forward_flops,
};

const nacre_op nacre_op_scaled_dot_product_attention_backward = {
    .name = "scaled_dot_product_attention_backward",
    .arity = 4,
    .outputs = 3,
    .gradient_reads = NACRE_READS_IN(0) | NACRE_READS_IN(1) | NACRE_READS_IN(2) | NACRE_READS_IN(3),
    .attrs = attention_attrs,
    .shape = backward_shape,
    .decompose = backward_decompose,
    .flops = backward_flops,
};

/* ---- one input ---- */

/* Third i of the last axis. */
static nacre_tensor *third(nacre_tensor *qkv, int i, const nacre_expansion *e) {
    int64_t width = nacre_size(qkv, 2) / 3;
    return nacre_slice_at(qkv, 2, i * width, (i + 1) * width, 1, e->file, e->line);
}

static nacre_recording of_thirds(const nacre_op *op, const nacre_expansion *e) {
    nacre_recording recording = {.op = op, .inputs = 3, .file = e->file, .line = e->line};
    for (int i = 0; i < 3; i++) recording.in[i] = third(e->in[0], i, e);
    copy_attrs(&recording, e->attrs);
    return recording;
}

static void qkv_decompose(nacre_expansion *e) {
    nacre_recording recording = of_thirds(&nacre_op_scaled_dot_product_attention, e);
    e->out[0] = nacre_record_one(&recording);
}

static void qkv_backward_decompose(nacre_expansion *e) {
    nacre_tensor *out[NACRE_MAX_OUTPUTS];
    nacre_recording recording = of_thirds(&nacre_op_scaled_dot_product_attention_backward, e);
    recording.in[recording.inputs++] = e->in[1];
    nacre_record_many(&recording, out);
    e->out[0] = nacre_concat_at(out, 3, 2, e->file, e->line);
}

static void qkv_gradient(nacre_gradient *g) {
    nacre_recording recording = {.op = &nacre_op_attention_qkv_backward,
                                 .inputs = 2,
                                 .in = {g->in[0], g->dout[0]},
                                 .file = g->file,
                                 .line = g->line};
    copy_attrs(&recording, g->attrs);
    g->din[0] = nacre_record_one(&recording);
}

const nacre_op nacre_op_attention_qkv = {
    .name = "attention_qkv",
    .arity = 1,
    .gradient_reads = NACRE_READS_IN(0),
    .attrs = attention_attrs,
    .shape = qkv_shape,
    .gradient = qkv_gradient,
    .decompose = qkv_decompose,
    .flops = forward_flops,
};

const nacre_op nacre_op_attention_qkv_backward = {
    .name = "attention_qkv_backward",
    .arity = 2,
    .gradient_reads = NACRE_READS_IN(0) | NACRE_READS_IN(1),
    .attrs = attention_attrs,
    .shape = qkv_backward_shape,
    .decompose = qkv_backward_decompose,
    .flops = backward_flops,
};

/* ---- public ---- */

/* 0: one over the root of a head's width, for `width` columns of `heads` heads. */
static double scale_or_default(double scale, int64_t width, int64_t heads) {
    if (scale != 0 || signbit(scale)) return scale;
    return width > 0 && heads > 0 ? 1 / sqrt((double)width / (double)heads) : 1;
}

/* Exactly one of k and v is a mistake that an op with fewer inputs would hide. */
static bool take(nacre_attention_options *options, const nacre_attention_options *o,
                 const char *name, bool all, const char *file, int line) {
    if (!nacre_options_take(options, sizeof *options, o, name, file, line)) return false;
    if (options->q && (options->k || !all) && !options->k == !options->v) return true;
    nacre_fail_at(NACRE_INVALID_ARGUMENT, file, line, "%s: %s is NULL", name,
                  !options->q   ? "q"
                  : !options->k ? "k"
                                : "v");
    return false;
}

nacre_tensor *nacre_f_attention_at(const nacre_attention_options *o, const char *file, int line) {
    nacre_attention_options options = {0};
    if (!take(&options, o, "attention", false, file, line)) return nacre_error_tensor();
    nacre_shape shape = nacre_usable(options.q) ? nacre_shape_of(options.q) : (nacre_shape){0};
    int64_t heads = options.heads ? options.heads : 1;
    int64_t width = shape.ndim == 3 ? shape.dims[2] : 0;
    bool packed = !options.k;
    if (packed) width /= 3;
    nacre_recording recording = {
        .op = packed ? &nacre_op_attention_qkv : &nacre_op_scaled_dot_product_attention,
        .inputs = packed ? 1 : 3,
        .in = {options.q, options.k, options.v},
        .attrs = {[NACRE_ATTENTION_HEADS] = {.i = heads},
                  [NACRE_ATTENTION_CAUSAL] = {.i = options.causal},
                  [NACRE_ATTENTION_SCALE] = {.f = scale_or_default(options.scale, width, heads)}},
        .file = file,
        .line = line};
    return nacre_record_one(&recording);
}

/* [batch, heads, rows, c] -> [batch, rows, heads c] */
static nacre_tensor *side_by_side(nacre_tensor *t, const char *file, int line) {
    nacre_shape s = nacre_shape_of(t);
    nacre_shape flat = {.ndim = 3, .dims = {s.dims[0], s.dims[2], s.dims[1] * s.dims[3]}};
    return nacre_reshape_at(nacre_transpose_at(t, 1, 2, file, line), flat, file, line);
}

nacre_tensor *nacre_f_scaled_dot_product_attention_at(const nacre_attention_options *o,
                                                      const char *file, int line) {
    nacre_attention_options options = {0};
    if (!take(&options, o, "scaled_dot_product_attention", true, file, line))
        return nacre_error_tensor();
    nacre_tensor **in[] = {&options.q, &options.k, &options.v};
    nacre_shape first = nacre_shape_of(options.q);
    for (int i = 0; i < 3; i++) {
        static const char *const names[] = {"q", "k", "v"};
        char text[NACRE_SHAPE_TEXT];
        if (!nacre_usable(*in[i])) return nacre_record_unary(&nacre_op_copy, *in[i], file, line);
        nacre_shape shape = nacre_shape_of(*in[i]);
        if (shape.ndim != 4 || shape.dims[1] != first.dims[1] || shape.dims[1] == 0) {
            nacre_fail_at(NACRE_SHAPE_MISMATCH, file, line,
                          "scaled_dot_product_attention: %s is %s: it must be [batch, heads, rows, "
                          "head width], with as many heads as q",
                          names[i], nacre_shape_text(&shape, text));
            return nacre_error_tensor();
        }
        *in[i] = side_by_side(*in[i], file, line);
    }
    options.size = sizeof options;
    options.heads = first.dims[1];
    nacre_tensor *y = nacre_f_attention_at(&options, file, line);
    nacre_shape split = {.ndim = 4,
                         .dims = {first.dims[0], first.dims[2], first.dims[1], first.dims[3]}};
    return nacre_transpose_at(nacre_reshape_at(y, split, file, line), 1, 2, file, line);
}
