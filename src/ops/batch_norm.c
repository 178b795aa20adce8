/* batch_norm(x [n, c, ...], weight [c], bias [c]) -> y, mean [c], var [c] (Ioffe and Szegedy 2015), with the
   batch's own statistics over all axes but the second:
       mean = sum(x) / m        var = sum((x - mean)^2) / m
       y = (x - mean) scale + bias, scale = weight / sqrt(var + epsilon)
   All three outputs pass gradients on. */
#include "ops/common.h"

#include <math.h>

static const nacre_attr norm_attrs[] = {
    [NACRE_BATCH_NORM_EPSILON] = {"epsilon", NACRE_ATTR_SLOT_FLOAT}, {NULL, NACRE_ATTR_END}};

/* ---- shapes ---- */

/* Fails unless input i is [c] of x's dtype. */
static nacre_status need_channels(const nacre_inference *inference, int i, const char *name) {
    const nacre_shape *x = &inference->in[0].shape, *t = &inference->in[i].shape;
    nacre_status status = nacre_need_equal_dtypes(inference, 0, "x", i, name);
    if (status || (t->ndim == 1 && t->dims[0] == x->dims[1])) return status;
    char text[2][NACRE_SHAPE_TEXT];
    return nacre_fail_at(NACRE_SHAPE_MISMATCH, inference->file, inference->line,
                         "%s: x is %s, %s is %s: %s must be [channels], here [%lld]",
                         inference->op->name, nacre_shape_text(x, text[0]), name,
                         nacre_shape_text(t, text[1]), name, (long long)x->dims[1]);
}

static nacre_status need_input(const nacre_inference *inference) {
    const nacre_shape *x = &inference->in[0].shape;
    nacre_status status = nacre_need_float(inference, 0, "x");
    if (status || x->ndim >= 2) return status;
    char text[NACRE_SHAPE_TEXT];
    return nacre_fail_at(NACRE_SHAPE_MISMATCH, inference->file, inference->line,
                         "%s: x is %s: it must be [n, channels, ...]", inference->op->name,
                         nacre_shape_text(x, text));
}

/* out[0] like x, out[1] and out[2] [c]. */
static nacre_status infer_outputs(nacre_inference *inference) {
    for (int i = 1; i < 3; i++) {
        inference->out[i].dtype = inference->in[0].dtype;
        inference->out[i].shape =
            (nacre_shape){.ndim = 1, .dims = {inference->in[0].shape.dims[1]}};
    }
    return nacre_infer_same(inference);
}

enum { X, WEIGHT, BIAS, MEAN = 2, VAR, DY }; /* inputs */

static nacre_status norm_shape(nacre_inference *inference) {
    nacre_status status = need_input(inference);
    if (!status) status = need_channels(inference, WEIGHT, "weight");
    if (!status) status = need_channels(inference, BIAS, "bias");
    return status ? status : infer_outputs(inference);
}

static nacre_status backward_shape(nacre_inference *inference) {
    nacre_status status = need_input(inference);
    if (!status) status = need_channels(inference, WEIGHT, "weight");
    if (!status) status = need_channels(inference, MEAN, "mean");
    if (!status) status = need_channels(inference, VAR, "var");
    if (!status) status = nacre_need_equal_dtypes(inference, X, "x", DY, "dy");
    if (!status) status = nacre_need_equal_shapes(inference, X, "x", DY, "dy");
    return status ? status : infer_outputs(inference);
}

/* ---- parts ---- */

/* [c] as [c, 1, ...], so that it broadcasts over x. */
static nacre_tensor *column(nacre_tensor *t, nacre_tensor *x, const char *file, int line) {
    if (!nacre_usable(x)) return x; /* an error has no shape */
    nacre_shape shape = {.ndim = nacre_ndim(x) - 1};
    for (int i = 0; i < shape.ndim; i++) shape.dims[i] = i ? 1 : nacre_size(x, 1);
    return shape.ndim == 1 ? t : nacre_reshape_at(t, shape, file, line);
}

/* Sum or mean over all axes but the channels'. */
static nacre_tensor *over_batch(const nacre_op *op, nacre_tensor *t, const char *file, int line) {
    int64_t axes = (((int64_t)1 << nacre_ndim(t)) - 1) & ~(int64_t)2;
    return nacre_record_reduce(op, t, axes, false, file, line);
}

static nacre_tensor *centred(nacre_tensor *x, nacre_tensor *mean, const char *file, int line) {
    return nacre_sub_at(x, column(mean, x, file, line), file, line);
}

/* sqrt(var + epsilon) */
static nacre_tensor *deviation(nacre_tensor *var, double epsilon, const char *file, int line) {
    nacre_tensor *small = nacre_scalar(nacre_dtype_of(var), epsilon, file, line);
    return nacre_sqrt_at(nacre_add_at(var, small, file, line), file, line);
}

/* Elements behind one channel's statistics. */
static double count_of(nacre_tensor *x) {
    double count = 1;
    for (int i = 0; i < nacre_ndim(x); i++) count *= i == 1 ? 1 : (double)nacre_size(x, i);
    return count;
}

static nacre_tensor *scaled_by(nacre_tensor *t, double factor, const char *file, int line) {
    return nacre_mul_at(t, nacre_scalar(nacre_dtype_of(t), factor, file, line), file, line);
}

/* d scale + bias, d the centred x */
static nacre_tensor *scale_shift(nacre_tensor *d, nacre_tensor *weight, nacre_tensor *bias,
                                 nacre_tensor *var, double epsilon, const char *file, int line) {
    nacre_tensor *scale = nacre_div_at(weight, deviation(var, epsilon, file, line), file, line);
    nacre_tensor *y = nacre_mul_at(d, column(scale, d, file, line), file, line);
    return nacre_add_at(y, column(bias, d, file, line), file, line);
}

/* ---- batch_norm ---- */

static void norm_decompose(nacre_expansion *e) {
    const char *file = e->file;
    int line = e->line;
    nacre_tensor *x = e->in[X], *mean = over_batch(&nacre_op_mean, x, file, line);
    nacre_tensor *d = centred(x, mean, file, line);
    nacre_tensor *var = over_batch(&nacre_op_mean, nacre_mul_at(d, d, file, line), file, line);
    e->out[0] = scale_shift(d, e->in[WEIGHT], e->in[BIAS], var,
                            e->attrs[NACRE_BATCH_NORM_EPSILON].f, file, line);
    e->out[1] = mean;
    e->out[2] = var;
}

/* What reaches x by way of mean and var: dmean / m + dvar 2 (x - mean) / m. NULL: nothing does. */
static nacre_tensor *through_statistics(nacre_gradient *g) {
    const char *file = g->file;
    int line = g->line;
    nacre_tensor *x = g->in[X], *dmean = g->dout[1], *dvar = g->dout[2], *sum = NULL;
    double share = 1 / count_of(x);
    if (dvar) {
        nacre_tensor *factor = column(scaled_by(dvar, 2 * share, file, line), x, file, line);
        sum = nacre_mul_at(centred(x, g->out[1], file, line), factor, file, line);
    }
    if (dmean) {
        nacre_tensor *all = column(scaled_by(dmean, share, file, line), x, file, line);
        sum = sum ? nacre_add_at(sum, all, file, line)
                  : nacre_broadcast_to_at(all, nacre_shape_of(x), file, line);
    }
    return sum;
}

static void norm_gradient(nacre_gradient *g) {
    nacre_tensor *statistics = g->wanted[X] ? through_statistics(g) : NULL;
    if (g->dout[0]) {
        nacre_tensor *out[NACRE_MAX_OUTPUTS];
        nacre_recording recording = {
            .op = &nacre_op_batch_norm_backward,
            .inputs = 5,
            .in = {g->in[X], g->in[WEIGHT], g->out[1], g->out[2], g->dout[0]},
            .attrs = {g->attrs[NACRE_BATCH_NORM_EPSILON]},
            .file = g->file,
            .line = g->line};
        nacre_record_many(&recording, out);
        for (int i = 0; i < 3; i++) g->din[i] = out[i];
    }
    if (statistics)
        g->din[X] = g->din[X] ? nacre_add_at(g->din[X], statistics, g->file, g->line) : statistics;
}

const nacre_op nacre_op_batch_norm = {
    .name = "batch_norm",
    .onnx = "BatchNormalization",
    .arity = 3,
    .outputs = 3,
    .gradient_reads =
        NACRE_READS_IN(X) | NACRE_READS_IN(WEIGHT) | NACRE_READS_OUT(1) | NACRE_READS_OUT(2),
    .attrs = norm_attrs,
    .shape = norm_shape,
    .gradient = norm_gradient,
    .decompose = norm_decompose,
    .flops_per_element = 8,
};

/* ---- batch_norm_backward(x, weight, mean, var, dy): y's gradients with the statistics' part in them. With
   d = x - mean, r = 1 / sqrt(var + epsilon):
       dbias = sum(dy)      dweight = sum(dy d) r
       dx = (dy - dbias / m - d (dweight r / m)) (weight r) ---- */

static void backward_decompose(nacre_expansion *e) {
    const char *file = e->file;
    int line = e->line;
    nacre_tensor *x = e->in[X], *dy = e->in[DY], *var = e->in[VAR];
    double share = 1 / count_of(x);
    nacre_tensor *d = centred(x, e->in[MEAN], file, line);
    nacre_tensor *one = nacre_scalar(nacre_dtype_of(x), 1, file, line);
    nacre_tensor *r = nacre_div_at(
        one, deviation(var, e->attrs[NACRE_BATCH_NORM_EPSILON].f, file, line), file, line);
    nacre_tensor *dbias = over_batch(&nacre_op_sum, dy, file, line);
    nacre_tensor *dot = over_batch(&nacre_op_sum, nacre_mul_at(dy, d, file, line), file, line);
    nacre_tensor *dweight = nacre_mul_at(dot, r, file, line);

    nacre_tensor *level = column(scaled_by(dbias, share, file, line), x, file, line);
    nacre_tensor *slope = scaled_by(nacre_mul_at(dweight, r, file, line), share, file, line);
    nacre_tensor *rest = nacre_mul_at(d, column(slope, x, file, line), file, line);
    nacre_tensor *inner = nacre_sub_at(nacre_sub_at(dy, level, file, line), rest, file, line);
    nacre_tensor *scale = nacre_mul_at(e->in[WEIGHT], r, file, line);
    e->out[0] = nacre_mul_at(inner, column(scale, x, file, line), file, line);
    e->out[1] = dweight;
    e->out[2] = dbias;
}

const nacre_op nacre_op_batch_norm_backward = {
    .name = "batch_norm_backward",
    .arity = 5,
    .outputs = 3,
    .gradient_reads = NACRE_READS_IN(X) | NACRE_READS_IN(WEIGHT) | NACRE_READS_IN(MEAN) |
                      NACRE_READS_IN(VAR) | NACRE_READS_IN(DY),
    .attrs = norm_attrs,
    .shape = backward_shape,
    .decompose = backward_decompose,
    .flops_per_element = 10,
};

/* ---- public ---- */

/* The last error, as every result that was asked for. */
static nacre_tensor *refused(const nacre_f_batch_norm_options *o) {
    nacre_tensor *error = nacre_error_tensor();
    if (o->batch_mean) *o->batch_mean = error;
    if (o->batch_var) *o->batch_var = error;
    return error;
}

/* With given statistics: element by element, checked as the op is. */
static nacre_tensor *with_statistics(const nacre_f_batch_norm_options *o, const char *file,
                                     int line) {
    nacre_inference inference = {
        .op = &nacre_op_batch_norm, .inputs = 5, .file = file, .line = line};
    nacre_tensor *const in[] = {o->input, o->weight, o->bias, o->mean, o->var};
    static const char *const names[] = {"x", "weight", "bias", "mean", "var"};
    for (int i = 0; i < 5; i++) {
        if (!in[i]) {
            nacre_fail_at(NACRE_INVALID_ARGUMENT, file, line, "batch_norm: %s is NULL", names[i]);
            return nacre_error_tensor();
        }
        if (nacre_is_error(in[i])) return in[i];
        inference.in[i].dtype = nacre_dtype_of(in[i]);
        inference.in[i].shape = nacre_shape_of(in[i]);
    }
    nacre_status status = need_input(&inference);
    for (int i = 1; !status && i < 5; i++) status = need_channels(&inference, i, names[i]);
    if (status) return nacre_error_tensor();
    nacre_scope frame = nacre_frame_begin();
    nacre_tensor *d = centred(o->input, o->mean, file, line);
    nacre_tensor *y = scale_shift(d, o->weight, o->bias, o->var, o->epsilon, file, line);
    nacre_frame_end(frame, &y, 1);
    return y;
}

nacre_tensor *nacre_f_batch_norm_at(const nacre_f_batch_norm_options *o, const char *file,
                                    int line) {
    nacre_f_batch_norm_options options = {0};
    if (!nacre_options_take(&options, sizeof options, o, "batch_norm", file, line))
        return nacre_error_tensor();
    if (options.epsilon == 0) options.epsilon = 1e-5;
    if (!(options.epsilon > 0) || isinf(options.epsilon)) {
        nacre_fail_at(NACRE_INVALID_ARGUMENT, file, line,
                      "batch_norm: epsilon is %g: it must be positive and finite (0 means 1e-5)",
                      options.epsilon);
        return refused(&options);
    }
    if (options.mean || options.var) {
        if (options.batch_mean || options.batch_var) {
            nacre_fail_at(NACRE_INVALID_ARGUMENT, file, line,
                          "batch_norm: mean and var are given, so the batch's are not computed; "
                          "leave one of the two out");
            return refused(&options);
        }
        return with_statistics(&options, file, line);
    }
    nacre_recording recording = {.op = &nacre_op_batch_norm,
                                 .inputs = 3,
                                 .in = {options.input, options.weight, options.bias},
                                 .attrs = {[NACRE_BATCH_NORM_EPSILON] = {.f = options.epsilon}},
                                 .file = file,
                                 .line = line};
    nacre_tensor *out[NACRE_MAX_OUTPUTS];
    nacre_record_many(&recording, out);
    if (options.batch_mean) *options.batch_mean = out[1];
    if (options.batch_var) *options.batch_var = out[2];
    return out[0];
}
