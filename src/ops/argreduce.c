/* argmax, argmin: index of the first largest or smallest element, the first NaN if there is one; along
   one axis, or into the flattened input. */
#include "ops/reduce.h"

#include <math.h>

static const nacre_attr arg_attrs[] = {[NACRE_ARG_AXIS] = {"axis", NACRE_ATTR_INT},
                                       [NACRE_ARG_KEEPDIMS] = {"keepdims", NACRE_ATTR_BOOL},
                                       {NULL, NACRE_ATTR_END}};

/* The attribute's axes as a bit set. */
static int64_t reduced_axes(const nacre_word *attrs, int ndim) {
    int64_t axis = attrs[NACRE_ARG_AXIS].i;
    return axis < 0 ? ((int64_t)1 << ndim) - 1 : (int64_t)1 << axis;
}

static nacre_status arg_shape(nacre_inference *inference) {
    const nacre_shape *in = &inference->in[0].shape;
    inference->out[0].dtype = NACRE_I64;
    inference->out[0].shape = nacre_reduced_shape(in, reduced_axes(inference->attrs, in->ndim),
                                                  inference->attrs[NACRE_ARG_KEEPDIMS].i != 0);
    if (nacre_shape_numel(in) > 0 || nacre_shape_numel(&inference->out[0].shape) == 0)
        return NACRE_OK;
    char text[NACRE_SHAPE_TEXT];
    return nacre_fail_at(NACRE_INVALID_ARGUMENT, inference->file, inference->line,
                         "%s: a is %s: no elements have no %simum; check its extents first",
                         inference->op->name, nacre_shape_text(in, text), inference->op->name + 3);
}

/* Is a strictly better than b? A NaN beats every number. */
static bool beats_float(double a, double b, bool largest) {
    if (isnan(a) || isnan(b)) return !isnan(b);
    return largest ? a > b : a < b;
}

static int64_t find(const nacre_call *call, const nacre_reduction *reduction, int64_t from,
                    bool largest) {
    const nacre_array *in = &call->in[0];
    const nacre_dtype_info *info = nacre_dtype_get(in->dtype);
    bool is_float = info->kind == NACRE_CLASS_FLOAT;
    int64_t best = 0, number = 0, best_int = 0;
    double best_float = 0;
    nacre_walk walk;
    if (!nacre_walk_begin(&walk, &reduction->inner_shape)) return 0;
    nacre_walk_add_strides(&walk, reduction->inner_strides);
    do {
        for (int64_t i = 0; i < walk.inner; i++, number++) {
            const void *x = nacre_array_at(in, from + walk.offset[0] + i * walk.step[0]);
            bool better = number == 0;
            if (is_float) {
                double value = info->load(x);
                better = better || beats_float(value, best_float, largest);
                if (better) best_float = value;
            } else {
                int64_t value = info->load_int(x);
                better = better || (largest ? value > best_int : value < best_int);
                if (better) best_int = value;
            }
            if (better) best = number;
        }
    } while (nacre_walk_next(&walk));
    return best;
}

static void arg_reference(const nacre_call *call, bool largest) {
    nacre_reduction reduction;
    nacre_walk outer;
    int64_t axes = reduced_axes(call->attrs, call->in[0].shape.ndim);
    if (!nacre_reduction_begin(&reduction, &outer, call, axes)) return;
    do {
        for (int64_t i = 0; i < outer.inner; i++) {
            int64_t best = find(call, &reduction, outer.offset[1] + i * outer.step[1], largest);
            void *to = nacre_array_at(&call->out[0], outer.offset[0] + i * outer.step[0]);
            nacre_dtype_get(call->out[0].dtype)->store_int(to, best);
        }
    } while (nacre_walk_next(&outer));
}

static void argmax_reference(const nacre_call *call) { arg_reference(call, true); }

static void argmin_reference(const nacre_call *call) { arg_reference(call, false); }

const nacre_op nacre_op_argmax = {
    .name = "argmax",
    .onnx = "ArgMax",
    .arity = 1,
    .flags = NACRE_OP_NO_GRADIENT,
    .attrs = arg_attrs,
    .shape = arg_shape,
    .reference = argmax_reference,
    .flops = nacre_flops_of_input,
};

const nacre_op nacre_op_argmin = {
    .name = "argmin",
    .onnx = "ArgMin",
    .arity = 1,
    .flags = NACRE_OP_NO_GRADIENT,
    .attrs = arg_attrs,
    .shape = arg_shape,
    .reference = argmin_reference,
    .flops = nacre_flops_of_input,
};

static nacre_tensor *record_arg(const nacre_op *op, const nacre_reduce_options *o, const char *file,
                                int line) {
    nacre_reduce_options options = {0};
    int64_t axes, axis = -1;
    if (!nacre_options_take(&options, sizeof options, o, op->name, file, line) ||
        !nacre_reduce_axes(op, &options, &axes, file, line))
        return nacre_error_tensor();
    if (options.axes.count > 1) {
        nacre_fail_at(NACRE_INVALID_ARGUMENT, file, line,
                      "%s: %d axes are given: name one, or none for an index into all elements",
                      op->name, options.axes.count);
        return nacre_error_tensor();
    }
    for (int i = 0; options.axes.count == 1 && i < NACRE_MAX_DIMS; i++)
        if (axes >> i & 1) axis = i;
    nacre_recording recording = {
        .op = op,
        .inputs = 1,
        .in = {options.input},
        .attrs = {[NACRE_ARG_AXIS] = {.i = axis}, [NACRE_ARG_KEEPDIMS] = {.i = options.keepdims}},
        .file = file,
        .line = line};
    return nacre_record_one(&recording);
}

nacre_tensor *nacre_argmax_at(const nacre_reduce_options *o, const char *file, int line) {
    return record_arg(&nacre_op_argmax, o, file, line);
}

nacre_tensor *nacre_argmin_at(const nacre_reduce_options *o, const char *file, int line) {
    return record_arg(&nacre_op_argmin, o, file, line);
}
