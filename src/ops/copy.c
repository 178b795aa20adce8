/* copy and cast: element-wise on any dtype. */
#include "ops/common.h"

static double same_float(const double *x, const nacre_word *attrs) {
    (void)attrs;
    return x[0];
}

static int64_t same_int(const int64_t *x, const nacre_word *attrs) {
    (void)attrs;
    return x[0];
}

static void copy_gradient(nacre_gradient *g) { g->din[0] = g->dout[0]; }

/* copy: the same elements, contiguous, in memory of their own. */
const nacre_op nacre_op_copy = {
    .name = "copy",
    .onnx = "Identity",
    .arity = 1,
    .flags = NACRE_OP_ELEMENTWISE | NACRE_OP_IN_PLACE,
    .shape = nacre_infer_same,
    .gradient = copy_gradient,
    .element = same_float,
    .element_int = same_int,
};

/* cast: floats round to nearest; to integers they truncate and clamp (NaN is 0); between integers the
   value wraps; to bool it is x != 0. */
static nacre_status cast_shape(nacre_inference *inference) {
    nacre_dtype wanted = inference->wanted_dtype;
    if (!nacre_dtype_get(wanted))
        return nacre_fail_at(NACRE_INVALID_ARGUMENT, inference->file, inference->line,
                             "cast: dtype %d is unknown; use one of enum nacre_dtype", (int)wanted);
    inference->out[0].dtype = wanted;
    inference->out[0].shape = inference->in[0].shape;
    return NACRE_OK;
}

/* No gradient passes through integers. */
static void cast_gradient(nacre_gradient *g) {
    nacre_dtype from = nacre_dtype_of(g->in[0]);
    if (nacre_dtype_is_float(from) && nacre_dtype_is_float(nacre_dtype_of(g->dout[0])))
        g->din[0] = nacre_cast_at(g->dout[0], from, g->file, g->line);
}

const nacre_op nacre_op_cast = {
    .name = "cast",
    .onnx = "Cast",
    .arity = 1,
    .flags = NACRE_OP_ELEMENTWISE,
    .shape = cast_shape,
    .gradient = cast_gradient,
    .element = same_float,
    .element_int = same_int,
    .flops_per_element = 1,
};

nacre_tensor *nacre_cast_at(nacre_tensor *a, nacre_dtype dtype, const char *file, int line) {
    /* To its own dtype a tensor is a view of itself. */
    if (nacre_usable(a) && nacre_dtype_of(a) == dtype)
        return nacre_reshape_at(a, nacre_shape_of(a), file, line);
    nacre_recording recording = {.op = &nacre_op_cast,
                                 .inputs = 1,
                                 .in = {a},
                                 .wanted_dtype = dtype,
                                 .file = file,
                                 .line = line};
    return nacre_record_one(&recording);
}

nacre_tensor *nacre_to_device_at(nacre_tensor *a, nacre_device device, const char *file, int line) {
    if (!nacre_usable(a)) return nacre_record_unary(&nacre_op_copy, a, file, line);
    if (!nacre_device_usable(device, "to_device", file, line)) return nacre_error_tensor();
    return nacre_reshape_at(a, nacre_shape_of(a), file, line);
}
