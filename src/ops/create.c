/* Ops without inputs, and tensors from given data. */
#include "base/random.h"
#include "ops/common.h"
#include "ops/reference.h"

#include <math.h>
#include <string.h>

/* ---- leaf: a value that no op makes (data, parameters, state) ---- */

const nacre_op nacre_op_leaf = {
    .name = "leaf",
    .flags = NACRE_OP_NO_GRADIENT,
    .shape = nacre_infer_created,
};

nacre_tensor *nacre_from_data_at(const nacre_data_options *o, const char *file, int line) {
    nacre_data_options options = {0};
    if (!nacre_options_take(&options, sizeof options, o, "from_data", file, line) ||
        !nacre_device_usable(options.device, "from_data", file, line))
        return nacre_error_tensor();
    nacre_inference inference = {.op = &nacre_op_leaf,
                                 .wanted = options.shape,
                                 .wanted_dtype = options.dtype,
                                 .file = file,
                                 .line = line};
    if (nacre_infer_created(&inference)) return nacre_error_tensor();
    int64_t count = nacre_shape_numel(&options.shape);
    if (!options.data && count > 0) {
        char text[NACRE_SHAPE_TEXT];
        nacre_fail_at(NACRE_INVALID_ARGUMENT, file, line,
                      "from_data: data is NULL, the shape is %s: give a pointer to %lld elements",
                      nacre_shape_text(&options.shape, text), (long long)count);
        return nacre_error_tensor();
    }
    nacre_dtype dtype = inference.out[0].dtype;
    nacre_tensor *t = nacre_tensor_leaf(dtype, &options.shape);
    if (!t) return nacre_error_tensor();
    if (count == 0) return t;
    unsigned char *to = t->value->storage->data;
    memcpy(to, options.data, (size_t)count * nacre_dtype_size(dtype));
    if (dtype == NACRE_BOOL) /* other bytes than 0 and 1 would make true differ from true */
        for (int64_t i = 0; i < count; i++) to[i] = to[i] != 0;
    return t;
}

/* ---- full: every element is `value` ---- */

static const nacre_attr full_attrs[] = {[NACRE_FULL_VALUE] = {"value", NACRE_ATTR_SLOT_FLOAT},
                                        {NULL, NACRE_ATTR_END}};

/* Outputs of ops without inputs are written element by element in row-major order. */
static void store_all(const nacre_call *call,
                      double (*element)(const nacre_call *call, int64_t index)) {
    const nacre_array *out = &call->out[0];
    const nacre_dtype_info *info = nacre_dtype_get(out->dtype);
    int64_t count = nacre_shape_numel(&out->shape);
    for (int64_t i = 0; i < count; i++)
        info->store(nacre_array_at(out, nacre_array_offset(out, i)), element(call, i));
}

static double full_element(const nacre_call *call, int64_t index) {
    (void)index;
    return call->attrs[NACRE_FULL_VALUE].f;
}

static void full_reference(const nacre_call *call) { store_all(call, full_element); }

const nacre_op nacre_op_full = {
    .name = "full",
    .onnx = "ConstantOfShape",
    .flags = NACRE_OP_NO_GRADIENT,
    .attrs = full_attrs,
    .shape = nacre_infer_created,
    .reference = full_reference,
};

static nacre_tensor *record_full(const nacre_full_options *options, const char *name,
                                 const char *file, int line) {
    if (!nacre_device_usable(options->device, name, file, line)) return nacre_error_tensor();
    nacre_recording recording = {.op = &nacre_op_full,
                                 .attrs = {[NACRE_FULL_VALUE] = {.f = options->value}},
                                 .wanted = options->shape,
                                 .wanted_dtype = options->dtype,
                                 .file = file,
                                 .line = line};
    return nacre_record_one(&recording);
}

nacre_tensor *nacre_full_at(const nacre_full_options *o, const char *file, int line) {
    nacre_full_options options = {0};
    if (!nacre_options_take(&options, sizeof options, o, "full", file, line))
        return nacre_error_tensor();
    return record_full(&options, "full", file, line);
}

static nacre_tensor *create_filled(const nacre_create_options *o, double value, const char *name,
                                   const char *file, int line) {
    nacre_create_options options = {0};
    if (!nacre_options_take(&options, sizeof options, o, name, file, line))
        return nacre_error_tensor();
    nacre_full_options full = {
        .shape = options.shape, .value = value, .dtype = options.dtype, .device = options.device};
    return record_full(&full, name, file, line);
}

nacre_tensor *nacre_zeros_at(const nacre_create_options *o, const char *file, int line) {
    return create_filled(o, 0, "zeros", file, line);
}

nacre_tensor *nacre_ones_at(const nacre_create_options *o, const char *file, int line) {
    return create_filled(o, 1, "ones", file, line);
}

/* ---- eye: the identity matrix ---- */

static double eye_element(const nacre_call *call, int64_t index) {
    return index % (call->out[0].shape.dims[1] + 1) == 0;
}

static void eye_reference(const nacre_call *call) { store_all(call, eye_element); }

const nacre_op nacre_op_eye = {
    .name = "eye",
    .onnx = "EyeLike",
    .flags = NACRE_OP_NO_GRADIENT,
    .shape = nacre_infer_created,
    .reference = eye_reference,
};

nacre_tensor *nacre_eye_at(const nacre_eye_options *o, const char *file, int line) {
    nacre_eye_options options = {0};
    if (!nacre_options_take(&options, sizeof options, o, "eye", file, line) ||
        !nacre_device_usable(options.device, "eye", file, line))
        return nacre_error_tensor();
    nacre_recording recording = {.op = &nacre_op_eye,
                                 .wanted = {.ndim = 2, .dims = {options.n, options.n}},
                                 .wanted_dtype = options.dtype,
                                 .file = file,
                                 .line = line};
    return nacre_record_one(&recording);
}

/* ---- arange: start + i * step ---- */

static const nacre_attr arange_attrs[] = {[NACRE_ARANGE_START] = {"start", NACRE_ATTR_SLOT_FLOAT},
                                          [NACRE_ARANGE_STEP] = {"step", NACRE_ATTR_SLOT_FLOAT},
                                          {NULL, NACRE_ATTR_END}};

static double arange_element(const nacre_call *call, int64_t index) {
    return call->attrs[NACRE_ARANGE_START].f + (double)index * call->attrs[NACRE_ARANGE_STEP].f;
}

static void arange_reference(const nacre_call *call) { store_all(call, arange_element); }

const nacre_op nacre_op_arange = {
    .name = "arange",
    .onnx = "Range",
    .flags = NACRE_OP_NO_GRADIENT,
    .attrs = arange_attrs,
    .shape = nacre_infer_created,
    .reference = arange_reference,
    .flops_per_element = 2,
};

nacre_tensor *nacre_arange_at(const nacre_arange_options *o, const char *file, int line) {
    nacre_arange_options options = {0};
    if (!nacre_options_take(&options, sizeof options, o, "arange", file, line) ||
        !nacre_device_usable(options.device, "arange", file, line))
        return nacre_error_tensor();
    double step = options.step != 0 ? options.step : 1;
    double count = ceil((options.stop - options.start) / step);
    if (!isfinite(count) || count > 0x1p60) {
        nacre_fail_at(
            NACRE_INVALID_ARGUMENT, file, line,
            "arange: start %g, stop %g, step %g give no countable range; use finite values",
            options.start, options.stop, step);
        return nacre_error_tensor();
    }
    nacre_recording recording = {
        .op = &nacre_op_arange,
        .attrs = {[NACRE_ARANGE_START] = {.f = options.start}, [NACRE_ARANGE_STEP] = {.f = step}},
        .wanted = {.ndim = 1, .dims = {count > 0 ? (int64_t)count : 0}},
        .wanted_dtype = options.dtype,
        .file = file,
        .line = line};
    return nacre_record_one(&recording);
}

/* ---- rand, randn: element i of draw `draw` of stream `stream` ---- */

static const nacre_attr rand_attrs[] = {[NACRE_RAND_SEED] = {"seed", NACRE_ATTR_SLOT_INT},
                                        [NACRE_RAND_STREAM] = {"stream", NACRE_ATTR_SLOT_INT},
                                        [NACRE_RAND_DRAW] = {"draw", NACRE_ATTR_SLOT_INT},
                                        {NULL, NACRE_ATTR_END}};

static nacre_status rand_shape(nacre_inference *inference) {
    nacre_status status = nacre_infer_created(inference);
    if (status || nacre_dtype_is_float(inference->out[0].dtype)) return status;
    return nacre_fail_at(NACRE_DTYPE_MISMATCH, inference->file, inference->line,
                         "%s: dtype %s: a floating dtype is needed; draw f32 and use nacre_cast",
                         inference->op->name, nacre_dtype_name(inference->out[0].dtype));
}

static double rand_element(const nacre_call *call, int64_t index) {
    uint64_t seed = (uint64_t)call->attrs[NACRE_RAND_SEED].i;
    uint64_t stream = (uint64_t)call->attrs[NACRE_RAND_STREAM].i;
    uint64_t draw = (uint64_t)call->attrs[NACRE_RAND_DRAW].i;
    if (call->out[0].dtype == NACRE_F64)
        return nacre_random_f64(seed, stream, draw, (uint64_t)index);
    return (double)nacre_random_f32(seed, stream, draw, (uint64_t)index);
}

static double randn_element(const nacre_call *call, int64_t index) {
    return nacre_random_normal((uint64_t)call->attrs[NACRE_RAND_SEED].i,
                               (uint64_t)call->attrs[NACRE_RAND_STREAM].i,
                               (uint64_t)call->attrs[NACRE_RAND_DRAW].i, (uint64_t)index);
}

static void rand_reference(const nacre_call *call) { store_all(call, rand_element); }

static void randn_reference(const nacre_call *call) { store_all(call, randn_element); }

const nacre_op nacre_op_rand = {
    .name = "rand",
    .onnx = "RandomUniform",
    .flags = NACRE_OP_NO_GRADIENT | NACRE_OP_RANDOM,
    .attrs = rand_attrs,
    .shape = rand_shape,
    .reference = rand_reference,
    .flops_per_element = 10,
};

const nacre_op nacre_op_randn = {
    .name = "randn",
    .onnx = "RandomNormal",
    .flags = NACRE_OP_NO_GRADIENT | NACRE_OP_RANDOM,
    .attrs = rand_attrs,
    .shape = rand_shape,
    .reference = randn_reference,
    .flops_per_element = 30,
};

static nacre_tensor *draw(const nacre_op *op, const nacre_create_options *o, const char *file,
                          int line) {
    nacre_create_options options = {0};
    if (!nacre_options_take(&options, sizeof options, o, op->name, file, line) ||
        !nacre_device_usable(options.device, op->name, file, line))
        return nacre_error_tensor();
    nacre_thread *thread = nacre_this_thread();
    if (!thread) return nacre_error_tensor();
    uint64_t number = options.stream ? 0 : thread->draws++;
    nacre_recording recording = {.op = op,
                                 .attrs = {[NACRE_RAND_SEED] = {.i = (int64_t)thread->seed},
                                           [NACRE_RAND_STREAM] = {.i = (int64_t)options.stream},
                                           [NACRE_RAND_DRAW] = {.i = (int64_t)number}},
                                 .wanted = options.shape,
                                 .wanted_dtype = options.dtype,
                                 .file = file,
                                 .line = line};
    return nacre_record_one(&recording);
}

nacre_tensor *nacre_rand_at(const nacre_create_options *o, const char *file, int line) {
    return draw(&nacre_op_rand, o, file, line);
}

nacre_tensor *nacre_randn_at(const nacre_create_options *o, const char *file, int line) {
    return draw(&nacre_op_randn, o, file, line);
}
