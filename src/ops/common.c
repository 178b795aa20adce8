#include "ops/common.h"

#include <string.h>

/* ---- recording ---- */

nacre_tensor *nacre_record_unary(const nacre_op *op, nacre_tensor *a, const char *file, int line) {
    nacre_recording recording = {.op = op, .inputs = 1, .in = {a}, .file = file, .line = line};
    return nacre_record_one(&recording);
}

nacre_tensor *nacre_record_binary(const nacre_op *op, nacre_tensor *a, nacre_tensor *b,
                                  const char *file, int line) {
    nacre_recording recording = {.op = op, .inputs = 2, .in = {a, b}, .file = file, .line = line};
    return nacre_record_one(&recording);
}

nacre_tensor *nacre_record_unary_int(const nacre_op *op, nacre_tensor *a, int64_t attr,
                                     const char *file, int line) {
    nacre_recording recording = {
        .op = op, .inputs = 1, .in = {a}, .attrs = {{.i = attr}}, .file = file, .line = line};
    return nacre_record_one(&recording);
}

nacre_tensor *nacre_scalar(nacre_dtype dtype, double value, const char *file, int line) {
    nacre_recording recording = {.op = &nacre_op_full,
                                 .attrs = {[NACRE_FULL_VALUE] = {.f = value}},
                                 .wanted_dtype = dtype,
                                 .file = file,
                                 .line = line};
    return nacre_record_one(&recording);
}

nacre_tensor *nacre_record_reduce(const nacre_op *op, nacre_tensor *a, int64_t axes, bool keepdims,
                                  const char *file, int line) {
    nacre_recording recording = {
        .op = op,
        .inputs = 1,
        .in = {a},
        .attrs = {[NACRE_REDUCE_AXES] = {.i = axes}, [NACRE_REDUCE_KEEPDIMS] = {.i = keepdims}},
        .file = file,
        .line = line};
    return nacre_record_one(&recording);
}

nacre_tensor *nacre_unreduce(nacre_tensor *t, const nacre_shape *input, int64_t axes,
                             const char *file, int line) {
    nacre_shape shape = *input;
    for (int i = 0; i < shape.ndim; i++)
        if (axes >> i & 1) shape.dims[i] = 1;
    nacre_shape now = nacre_shape_of(t);
    return nacre_shape_equal(&now, &shape) ? t : nacre_reshape_at(t, shape, file, line);
}

nacre_tensor *nacre_as_rows(nacre_tensor *t, const char *file, int line) {
    nacre_shape shape = nacre_shape_of(t);
    if (shape.ndim == 2 || !nacre_usable(t)) return t;
    int64_t columns = shape.ndim ? shape.dims[shape.ndim - 1] : 1, rows = 1;
    for (int i = 0; i + 1 < shape.ndim; i++) rows *= shape.dims[i];
    return nacre_reshape_at(t, (nacre_shape){.ndim = 2, .dims = {rows, columns}}, file, line);
}

/* ---- options ---- */

bool nacre_options_take(void *to, size_t size, const void *from, const char *op, const char *file,
                        int line) {
    size_t given = 0;
    if (from) memcpy(&given, from, sizeof given);
    if (given < sizeof given) {
        nacre_fail_at(NACRE_INVALID_ARGUMENT, file, line,
                      from ? "%s: options have size 0; set .size = sizeof(options)"
                           : "%s: options are NULL",
                      op);
        return false;
    }
    memcpy(to, from, given < size ? given : size);
    return true;
}

bool nacre_device_usable(nacre_device device, const char *op, const char *file, int line) {
    if (device == NACRE_DEVICE_DEFAULT || device == NACRE_CPU) return true;
    nacre_fail_at(NACRE_UNSUPPORTED, file, line,
                  "%s: device %d is not in this build; use NACRE_CPU", op, (int)device);
    return false;
}

/* ---- shape rules ---- */

nacre_status nacre_infer_same(nacre_inference *inference) {
    inference->out[0].dtype = inference->in[0].dtype;
    inference->out[0].shape = inference->in[0].shape;
    return NACRE_OK;
}

nacre_status nacre_infer_same_float(nacre_inference *inference) {
    nacre_status status = nacre_need_float(inference, 0, "a");
    return status ? status : nacre_infer_same(inference);
}

nacre_status nacre_infer_created(nacre_inference *inference) {
    nacre_dtype dtype = inference->wanted_dtype ? inference->wanted_dtype : NACRE_F32;
    if (!nacre_dtype_get(dtype))
        return nacre_fail_at(NACRE_INVALID_ARGUMENT, inference->file, inference->line,
                             "%s: dtype %d is unknown; use one of enum nacre_dtype",
                             inference->op->name, (int)dtype);
    if (!nacre_shape_valid(&inference->wanted)) {
        char text[NACRE_SHAPE_TEXT];
        return nacre_fail_at(NACRE_INVALID_ARGUMENT, inference->file, inference->line,
                             "%s: shape %s is not valid: 0 to %d axes, no negative extent, and its "
                             "elements must fit in memory",
                             inference->op->name, nacre_shape_text(&inference->wanted, text),
                             NACRE_MAX_DIMS);
    }
    inference->out[0].dtype = dtype;
    inference->out[0].shape = inference->wanted;
    return NACRE_OK;
}

nacre_status nacre_need_valid_output(const nacre_inference *inference) {
    const nacre_shape *out = &inference->out[0].shape;
    if (nacre_shape_valid(out)) return NACRE_OK;
    char text[NACRE_SHAPE_TEXT];
    return nacre_fail_at(NACRE_OUT_OF_MEMORY, inference->file, inference->line,
                         "%s: the result would be %s, more elements than memory can hold; use "
                         "smaller inputs",
                         inference->op->name, nacre_shape_text(out, text));
}

static nacre_status dtype_error(const nacre_inference *inference, int i, const char *argument,
                                const char *reason) {
    char text[NACRE_SHAPE_TEXT];
    return nacre_fail_at(NACRE_DTYPE_MISMATCH, inference->file, inference->line,
                         "%s: %s is %s %s: %s", inference->op->name, argument,
                         nacre_dtype_name(inference->in[i].dtype),
                         nacre_shape_text(&inference->in[i].shape, text), reason);
}

nacre_status nacre_need_float(const nacre_inference *inference, int i, const char *argument) {
    if (nacre_dtype_get(inference->in[i].dtype)->kind == NACRE_CLASS_FLOAT) return NACRE_OK;
    return dtype_error(
        inference, i, argument,
        "a floating dtype is needed; convert it with nacre_cast, such as to NACRE_F32");
}

nacre_status nacre_need_number(const nacre_inference *inference, int i, const char *argument) {
    if (nacre_dtype_get(inference->in[i].dtype)->kind != NACRE_CLASS_BOOL) return NACRE_OK;
    return dtype_error(
        inference, i, argument,
        "arithmetic needs numbers; convert it with nacre_cast, such as to NACRE_F32");
}

nacre_status nacre_need_index(const nacre_inference *inference, int i, const char *argument) {
    if (nacre_dtype_get(inference->in[i].dtype)->kind == NACRE_CLASS_INT) return NACRE_OK;
    return dtype_error(inference, i, argument,
                       "indices are i64, i32 or u8; convert them with nacre_cast(.., NACRE_I64)");
}

nacre_status nacre_need_equal_dtypes(const nacre_inference *inference, int i, const char *name_i,
                                     int j, const char *name_j) {
    if (inference->in[i].dtype == inference->in[j].dtype) return NACRE_OK;
    char a[NACRE_SHAPE_TEXT], b[NACRE_SHAPE_TEXT];
    return nacre_fail_at(NACRE_DTYPE_MISMATCH, inference->file, inference->line,
                         "%s: %s is %s %s, %s is %s %s: dtypes differ; convert one with nacre_cast",
                         inference->op->name, name_i, nacre_dtype_name(inference->in[i].dtype),
                         nacre_shape_text(&inference->in[i].shape, a), name_j,
                         nacre_dtype_name(inference->in[j].dtype),
                         nacre_shape_text(&inference->in[j].shape, b));
}

nacre_status nacre_need_equal_shapes(const nacre_inference *inference, int i, const char *name_i,
                                     int j, const char *name_j) {
    if (nacre_shape_equal(&inference->in[i].shape, &inference->in[j].shape)) return NACRE_OK;
    char a[NACRE_SHAPE_TEXT], b[NACRE_SHAPE_TEXT];
    return nacre_fail_at(NACRE_SHAPE_MISMATCH, inference->file, inference->line,
                         "%s: %s is %s, %s is %s: shapes must be equal", inference->op->name,
                         name_i, nacre_shape_text(&inference->in[i].shape, a), name_j,
                         nacre_shape_text(&inference->in[j].shape, b));
}

nacre_status nacre_fail_axis(const char *op, int64_t axis, const nacre_shape *shape,
                             const char *file, int line) {
    if (shape->ndim == 0)
        return nacre_fail_at(NACRE_INVALID_ARGUMENT, file, line,
                             "%s: axis %lld is out of range: a is a scalar and has no axes; "
                             "reshape it to [1]",
                             op, (long long)axis);
    char text[NACRE_SHAPE_TEXT];
    return nacre_fail_at(NACRE_INVALID_ARGUMENT, file, line,
                         "%s: axis %lld is out of range for a of shape %s: use -%d to %d", op,
                         (long long)axis, nacre_shape_text(shape, text), shape->ndim,
                         shape->ndim - 1);
}

nacre_status nacre_need_axis(const nacre_inference *inference, int attr) {
    int64_t given = inference->attrs[attr].i;
    int ndim = inference->in[0].shape.ndim;
    int axis = given < -ndim || given >= ndim ? -1 : nacre_axis_normal((int)given, ndim);
    if (axis < 0)
        return nacre_fail_axis(inference->op->name, given, &inference->in[0].shape, inference->file,
                               inference->line);
    inference->attrs[attr].i = axis;
    return NACRE_OK;
}

double nacre_flops_of_input(const nacre_call *call) {
    return (double)nacre_shape_numel(&call->in[0].shape);
}
