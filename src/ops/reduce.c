/* sum, max, min and mean over any axes. */
#include "ops/reduce.h"

#include <math.h>

static const nacre_attr reduce_attrs[] = {[NACRE_REDUCE_AXES] = {"axes", NACRE_ATTR_AXES},
                                          [NACRE_REDUCE_KEEPDIMS] = {"keepdims", NACRE_ATTR_BOOL},
                                          {NULL, NACRE_ATTR_END}};

nacre_shape nacre_reduced_shape(const nacre_shape *in, int64_t axes, bool keepdims) {
    nacre_shape out = {.ndim = 0};
    for (int i = 0; i < in->ndim; i++) {
        bool reduced = axes >> i & 1;
        if (!reduced || keepdims) out.dims[out.ndim++] = reduced ? 1 : in->dims[i];
    }
    return out;
}

bool nacre_reduce_axes(const nacre_op *op, const nacre_reduce_options *options, int64_t *axes,
                       const char *file, int line) {
    *axes = 0;
    if (!nacre_usable(options->input)) return true; /* recording reports it */
    nacre_shape shape = nacre_shape_of(options->input);
    if (options->axes.count < 0 || options->axes.count > NACRE_MAX_DIMS) {
        nacre_fail_at(NACRE_INVALID_ARGUMENT, file, line,
                      "%s: axes.count is %d: give 0 (all axes) to %d", op->name,
                      options->axes.count, NACRE_MAX_DIMS);
        return false;
    }
    if (options->axes.count == 0) {
        *axes = ((int64_t)1 << shape.ndim) - 1;
        return true;
    }
    char text[NACRE_SHAPE_TEXT];
    for (int i = 0; i < options->axes.count && i < NACRE_MAX_DIMS; i++) {
        int given = options->axes.axis[i], axis = nacre_axis_normal(given, shape.ndim);
        if (axis < 0) {
            nacre_fail_axis(op->name, given, &shape, file, line);
            return false;
        }
        if (*axes >> axis & 1) {
            nacre_fail_at(NACRE_INVALID_ARGUMENT, file, line,
                          "%s: axis %d of a of shape %s is given twice; name each of -%d to %d at "
                          "most once",
                          op->name, given, nacre_shape_text(&shape, text), shape.ndim,
                          shape.ndim - 1);
            return false;
        }
        *axes |= (int64_t)1 << axis;
    }
    return true;
}

bool nacre_reduction_begin(nacre_reduction *reduction, nacre_walk *outer, const nacre_call *call,
                           int64_t axes) {
    const nacre_array *in = &call->in[0], *out = &call->out[0];
    /* The output's strides with the reduced axes back, along which it does not move. */
    int64_t strides[NACRE_MAX_DIMS];
    nacre_shape kept = in->shape;
    bool keepdims = out->shape.ndim == in->shape.ndim;
    reduction->inner_shape.ndim = 0;
    for (int i = 0, o = 0; i < in->shape.ndim; i++) {
        bool reduced = axes >> i & 1;
        strides[i] = reduced ? 0 : out->strides[o];
        if (!reduced || keepdims) o++;
        if (!reduced) continue;
        kept.dims[i] = 1;
        reduction->inner_strides[reduction->inner_shape.ndim] = in->strides[i];
        reduction->inner_shape.dims[reduction->inner_shape.ndim++] = in->shape.dims[i];
    }
    reduction->count = nacre_shape_numel(&reduction->inner_shape);
    if (!nacre_walk_begin(outer, &kept)) return false;
    nacre_walk_add_strides(outer, strides);
    nacre_walk_add_strides(outer, in->strides);
    return true;
}

/* Runs `fold` for each output with the input's offset of its first element. */
static void reduce(const nacre_call *call,
                   void (*fold)(const nacre_call *call, const nacre_reduction *reduction,
                                int64_t from, void *to)) {
    nacre_reduction reduction;
    nacre_walk outer;
    if (!nacre_reduction_begin(&reduction, &outer, call, call->attrs[NACRE_REDUCE_AXES].i)) return;
    do {
        for (int64_t i = 0; i < outer.inner; i++)
            fold(call, &reduction, outer.offset[1] + i * outer.step[1],
                 nacre_array_at(&call->out[0], outer.offset[0] + i * outer.step[0]));
    } while (nacre_walk_next(&outer));
}

static bool inner_begin(const nacre_reduction *reduction, nacre_walk *walk) {
    if (!nacre_walk_begin(walk, &reduction->inner_shape)) return false;
    nacre_walk_add_strides(walk, reduction->inner_strides);
    return true;
}

/* ---- sum: floats in double, integers and bool in i64 ---- */

static void fold_sum_float(const nacre_call *call, const nacre_reduction *reduction, int64_t from,
                           void *to) {
    const nacre_dtype_info *info = nacre_dtype_get(call->in[0].dtype);
    double sum = 0;
    nacre_walk walk;
    if (inner_begin(reduction, &walk)) {
        do {
            for (int64_t i = 0; i < walk.inner; i++)
                sum += info->load(
                    nacre_array_at(&call->in[0], from + walk.offset[0] + i * walk.step[0]));
        } while (nacre_walk_next(&walk));
    }
    nacre_dtype_get(call->out[0].dtype)->store(to, sum);
}

static void fold_sum_int(const nacre_call *call, const nacre_reduction *reduction, int64_t from,
                         void *to) {
    const nacre_dtype_info *info = nacre_dtype_get(call->in[0].dtype);
    uint64_t sum = 0;
    nacre_walk walk;
    if (inner_begin(reduction, &walk)) {
        do {
            for (int64_t i = 0; i < walk.inner; i++)
                sum += (uint64_t)info->load_int(
                    nacre_array_at(&call->in[0], from + walk.offset[0] + i * walk.step[0]));
        } while (nacre_walk_next(&walk));
    }
    nacre_dtype_get(call->out[0].dtype)->store_int(to, (int64_t)sum);
}

static void sum_reference(const nacre_call *call) {
    reduce(call, nacre_dtype_is_float(call->in[0].dtype) ? fold_sum_float : fold_sum_int);
}

static nacre_status reduce_shape(nacre_inference *inference) {
    inference->out[0].dtype = inference->in[0].dtype;
    inference->out[0].shape =
        nacre_reduced_shape(&inference->in[0].shape, inference->attrs[NACRE_REDUCE_AXES].i,
                            inference->attrs[NACRE_REDUCE_KEEPDIMS].i != 0);
    return NACRE_OK;
}

static nacre_status sum_shape(nacre_inference *inference) {
    nacre_status status = reduce_shape(inference);
    if (!nacre_dtype_is_float(inference->in[0].dtype)) inference->out[0].dtype = NACRE_I64;
    return status;
}

/* dx = dy, repeated along the reduced axes. */
static nacre_tensor *spread(nacre_gradient *g, nacre_tensor *dy) {
    nacre_shape shape = nacre_shape_of(g->in[0]);
    dy = nacre_unreduce(dy, &shape, g->attrs[NACRE_REDUCE_AXES].i, g->file, g->line);
    return nacre_broadcast_to_at(dy, shape, g->file, g->line);
}

static void sum_gradient(nacre_gradient *g) { g->din[0] = spread(g, g->dout[0]); }

const nacre_op nacre_op_sum = {
    .name = "sum",
    .onnx = "ReduceSum",
    .arity = 1,
    .attrs = reduce_attrs,
    .shape = sum_shape,
    .gradient = sum_gradient,
    .reference = sum_reference,
    .flops = nacre_flops_of_input,
};

/* ---- max, min: NaN if any is NaN ---- */

static void fold_extreme_float(const nacre_call *call, const nacre_reduction *reduction,
                               int64_t from, void *to, double sign) {
    const nacre_dtype_info *info = nacre_dtype_get(call->in[0].dtype);
    double best = -INFINITY;
    nacre_walk walk;
    if (inner_begin(reduction, &walk)) {
        do {
            for (int64_t i = 0; i < walk.inner; i++) {
                double x = sign * info->load(nacre_array_at(&call->in[0], from + walk.offset[0] +
                                                                              i * walk.step[0]));
                if (x > best || isnan(x)) best = x;
            }
        } while (!isnan(best) && nacre_walk_next(&walk));
    }
    nacre_dtype_get(call->out[0].dtype)->store(to, sign * best);
}

static void fold_extreme_int(const nacre_call *call, const nacre_reduction *reduction, int64_t from,
                             void *to, bool largest) {
    const nacre_dtype_info *info = nacre_dtype_get(call->in[0].dtype);
    int64_t best = largest ? INT64_MIN : INT64_MAX;
    nacre_walk walk;
    if (inner_begin(reduction, &walk)) {
        do {
            for (int64_t i = 0; i < walk.inner; i++) {
                int64_t x = info->load_int(
                    nacre_array_at(&call->in[0], from + walk.offset[0] + i * walk.step[0]));
                if (largest ? x > best : x < best) best = x;
            }
        } while (nacre_walk_next(&walk));
    }
    nacre_dtype_get(call->out[0].dtype)->store_int(to, best);
}

static void fold_max(const nacre_call *call, const nacre_reduction *reduction, int64_t from,
                     void *to) {
    if (nacre_dtype_is_float(call->in[0].dtype))
        fold_extreme_float(call, reduction, from, to, 1);
    else
        fold_extreme_int(call, reduction, from, to, true);
}

static void fold_min(const nacre_call *call, const nacre_reduction *reduction, int64_t from,
                     void *to) {
    if (nacre_dtype_is_float(call->in[0].dtype))
        fold_extreme_float(call, reduction, from, to, -1);
    else
        fold_extreme_int(call, reduction, from, to, false);
}

static void max_reference(const nacre_call *call) { reduce(call, fold_max); }

static void min_reference(const nacre_call *call) { reduce(call, fold_min); }

static nacre_status extreme_shape(nacre_inference *inference) {
    nacre_status status = reduce_shape(inference);
    int64_t in = nacre_shape_numel(&inference->in[0].shape);
    if (in > 0 || nacre_shape_numel(&inference->out[0].shape) == 0) return status;
    char text[NACRE_SHAPE_TEXT];
    return nacre_fail_at(NACRE_INVALID_ARGUMENT, inference->file, inference->line,
                         "%s: a is %s: no elements have no %simum; check its extents first",
                         inference->op->name, nacre_shape_text(&inference->in[0].shape, text),
                         inference->op->name);
}

/* dx = dy / n where x is the extreme, n the number of those; elsewhere 0. */
static void extreme_gradient(nacre_gradient *g) {
    nacre_tensor *x = g->in[0];
    nacre_shape shape = nacre_shape_of(x);
    int64_t axes = g->attrs[NACRE_REDUCE_AXES].i;
    nacre_tensor *y = nacre_unreduce(g->out[0], &shape, axes, g->file, g->line);
    nacre_tensor *dy = nacre_unreduce(g->dout[0], &shape, axes, g->file, g->line);
    nacre_tensor *is_extreme =
        nacre_cast_at(nacre_equal_at(x, y, g->file, g->line), nacre_dtype_of(x), g->file, g->line);
    nacre_tensor *count =
        nacre_record_reduce(&nacre_op_sum, is_extreme, axes, true, g->file, g->line);
    nacre_tensor *share = nacre_div_at(dy, count, g->file, g->line);
    g->din[0] = nacre_mul_at(is_extreme, share, g->file, g->line);
}

const nacre_op nacre_op_max = {
    .name = "max",
    .onnx = "ReduceMax",
    .arity = 1,
    .gradient_reads = NACRE_READS_IN(0) | NACRE_READS_OUT(0),
    .attrs = reduce_attrs,
    .shape = extreme_shape,
    .gradient = extreme_gradient,
    .reference = max_reference,
    .flops = nacre_flops_of_input,
};

const nacre_op nacre_op_min = {
    .name = "min",
    .onnx = "ReduceMin",
    .arity = 1,
    .gradient_reads = NACRE_READS_IN(0) | NACRE_READS_OUT(0),
    .attrs = reduce_attrs,
    .shape = extreme_shape,
    .gradient = extreme_gradient,
    .reference = min_reference,
    .flops = nacre_flops_of_input,
};

/* ---- mean: sum / n ---- */

static nacre_status mean_shape(nacre_inference *inference) {
    nacre_status status = nacre_need_float(inference, 0, "a");
    return status ? status : reduce_shape(inference);
}

static nacre_tensor *over_count(nacre_tensor *t, const nacre_shape *in, int64_t axes,
                                const char *file, int line) {
    double count = 1;
    for (int i = 0; i < in->ndim; i++)
        if (axes >> i & 1) count *= (double)in->dims[i];
    return nacre_div_at(t, nacre_scalar(nacre_dtype_of(t), count, file, line), file, line);
}

static void mean_decompose(nacre_expansion *e) {
    nacre_shape shape = nacre_shape_of(e->in[0]);
    int64_t axes = e->attrs[NACRE_REDUCE_AXES].i;
    nacre_tensor *sum = nacre_record_reduce(
        &nacre_op_sum, e->in[0], axes, e->attrs[NACRE_REDUCE_KEEPDIMS].i != 0, e->file, e->line);
    e->out[0] = over_count(sum, &shape, axes, e->file, e->line);
}

static void mean_gradient(nacre_gradient *g) {
    nacre_shape shape = nacre_shape_of(g->in[0]);
    g->din[0] =
        spread(g, over_count(g->dout[0], &shape, g->attrs[NACRE_REDUCE_AXES].i, g->file, g->line));
}

const nacre_op nacre_op_mean = {
    .name = "mean",
    .onnx = "ReduceMean",
    .arity = 1,
    .attrs = reduce_attrs,
    .shape = mean_shape,
    .gradient = mean_gradient,
    .decompose = mean_decompose,
    .flops = nacre_flops_of_input,
};

/* ---- public ---- */

static nacre_tensor *reduce_options(const nacre_op *op, const nacre_reduce_options *o,
                                    const char *file, int line) {
    nacre_reduce_options options = {0};
    int64_t axes;
    if (!nacre_options_take(&options, sizeof options, o, op->name, file, line) ||
        !nacre_reduce_axes(op, &options, &axes, file, line))
        return nacre_error_tensor();
    return nacre_record_reduce(op, options.input, axes, options.keepdims, file, line);
}

nacre_tensor *nacre_sum_at(const nacre_reduce_options *o, const char *file, int line) {
    return reduce_options(&nacre_op_sum, o, file, line);
}

nacre_tensor *nacre_mean_at(const nacre_reduce_options *o, const char *file, int line) {
    return reduce_options(&nacre_op_mean, o, file, line);
}

nacre_tensor *nacre_max_at(const nacre_reduce_options *o, const char *file, int line) {
    return reduce_options(&nacre_op_max, o, file, line);
}

nacre_tensor *nacre_min_at(const nacre_reduce_options *o, const char *file, int line) {
    return reduce_options(&nacre_op_min, o, file, line);
}
