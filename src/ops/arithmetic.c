/* Binary element-wise arithmetic with broadcasting: add, sub, mul, div, pow, maximum, minimum. */
#include "ops/binary.h"

#include <math.h>

/* A slot for an integer's wrap-around: C leaves signed overflow undefined, unsigned wraps. */
static int64_t wrap(uint64_t value) { return (int64_t)value; }

nacre_status nacre_infer_broadcast(nacre_inference *inference) {
    if (nacre_shape_broadcast(&inference->in[0].shape, &inference->in[1].shape,
                              &inference->out[0].shape))
        return nacre_need_valid_output(inference);
    char a[NACRE_SHAPE_TEXT], b[NACRE_SHAPE_TEXT];
    return nacre_fail_at(
        NACRE_SHAPE_MISMATCH, inference->file, inference->line,
        "%s: a is %s, b is %s: shapes do not broadcast; counted from the last axis, "
        "extents must be equal or 1",
        inference->op->name, nacre_shape_text(&inference->in[0].shape, a),
        nacre_shape_text(&inference->in[1].shape, b));
}

static nacre_status arithmetic_shape(nacre_inference *inference) {
    nacre_status status = nacre_need_equal_dtypes(inference, 0, "a", 1, "b");
    if (!status) status = nacre_need_number(inference, 0, "a");
    inference->out[0].dtype = inference->in[0].dtype;
    return status ? status : nacre_infer_broadcast(inference);
}

/* maximum and minimum order bool too: they are its or and its and. */
static nacre_status extremum_shape(nacre_inference *inference) {
    nacre_status status = nacre_need_equal_dtypes(inference, 0, "a", 1, "b");
    inference->out[0].dtype = inference->in[0].dtype;
    return status ? status : nacre_infer_broadcast(inference);
}

void nacre_give_input(nacre_gradient *g, int i, nacre_tensor *gradient) {
    nacre_shape shape = nacre_shape_of(g->in[i]);
    g->din[i] = nacre_reduce_to(gradient, &shape, g->file, g->line);
}

/* ---- add ---- */

static double add_float(const double *x, const nacre_word *attrs) {
    (void)attrs;
    return x[0] + x[1];
}

static int64_t add_int(const int64_t *x, const nacre_word *attrs) {
    (void)attrs;
    return wrap((uint64_t)x[0] + (uint64_t)x[1]);
}

static void add_gradient(nacre_gradient *g) {
    for (int i = 0; i < 2; i++)
        if (g->wanted[i]) nacre_give_input(g, i, g->dout[0]);
}

const nacre_op nacre_op_add = {
    .name = "add",
    .onnx = "Add",
    .arity = 2,
    .flags = NACRE_OP_ELEMENTWISE | NACRE_OP_IN_PLACE,
    .shape = arithmetic_shape,
    .gradient = add_gradient,
    .element = add_float,
    .element_int = add_int,
    .flops_per_element = 1,
};

/* ---- sub ---- */

static double sub_float(const double *x, const nacre_word *attrs) {
    (void)attrs;
    return x[0] - x[1];
}

static int64_t sub_int(const int64_t *x, const nacre_word *attrs) {
    (void)attrs;
    return wrap((uint64_t)x[0] - (uint64_t)x[1]);
}

static void sub_gradient(nacre_gradient *g) {
    if (g->wanted[0]) nacre_give_input(g, 0, g->dout[0]);
    if (g->wanted[1]) nacre_give_input(g, 1, nacre_neg_at(g->dout[0], g->file, g->line));
}

const nacre_op nacre_op_sub = {
    .name = "sub",
    .onnx = "Sub",
    .arity = 2,
    .flags = NACRE_OP_ELEMENTWISE | NACRE_OP_IN_PLACE,
    .shape = arithmetic_shape,
    .gradient = sub_gradient,
    .element = sub_float,
    .element_int = sub_int,
    .flops_per_element = 1,
};

/* ---- mul ---- */

static double mul_float(const double *x, const nacre_word *attrs) {
    (void)attrs;
    return x[0] * x[1];
}

static int64_t mul_int(const int64_t *x, const nacre_word *attrs) {
    (void)attrs;
    return wrap((uint64_t)x[0] * (uint64_t)x[1]);
}

static void mul_gradient(nacre_gradient *g) {
    for (int i = 0; i < 2; i++)
        if (g->wanted[i])
            nacre_give_input(g, i, nacre_mul_at(g->dout[0], g->in[1 - i], g->file, g->line));
}

const nacre_op nacre_op_mul = {
    .name = "mul",
    .onnx = "Mul",
    .arity = 2,
    .flags = NACRE_OP_ELEMENTWISE | NACRE_OP_IN_PLACE,
    .gradient_reads = NACRE_READS_IN(0) | NACRE_READS_IN(1),
    .shape = arithmetic_shape,
    .gradient = mul_gradient,
    .element = mul_float,
    .element_int = mul_int,
    .flops_per_element = 1,
};

/* ---- div ---- */

static double div_float(const double *x, const nacre_word *attrs) {
    (void)attrs;
    return x[0] / x[1];
}

/* Towards zero; by zero 0; the most negative number by -1 wraps to itself. */
static int64_t div_int(const int64_t *x, const nacre_word *attrs) {
    (void)attrs;
    if (x[1] == 0) return 0;
    return x[1] == -1 ? wrap(0 - (uint64_t)x[0]) : x[0] / x[1];
}

/* da = dy / b, db = -dy y / b with y = a / b. */
static void div_gradient(nacre_gradient *g) {
    nacre_tensor *b = g->in[1];
    nacre_tensor *da = nacre_div_at(g->dout[0], b, g->file, g->line);
    if (g->wanted[0]) nacre_give_input(g, 0, da);
    if (g->wanted[1]) {
        nacre_tensor *db = nacre_mul_at(da, g->out[0], g->file, g->line);
        nacre_give_input(g, 1, nacre_neg_at(db, g->file, g->line));
    }
}

const nacre_op nacre_op_div = {
    .name = "div",
    .onnx = "Div",
    .arity = 2,
    .flags = NACRE_OP_ELEMENTWISE | NACRE_OP_IN_PLACE,
    .gradient_reads = NACRE_READS_IN(1) | NACRE_READS_OUT(0),
    .shape = arithmetic_shape,
    .gradient = div_gradient,
    .element = div_float,
    .element_int = div_int,
    .flops_per_element = 1,
};

/* ---- pow ---- */

static double pow_float(const double *x, const nacre_word *attrs) {
    (void)attrs;
    return pow(x[0], x[1]);
}

/* A negative exponent truncates 1 / a^|b| towards zero; of 0 it is 0, as for division. */
static int64_t pow_int(const int64_t *x, const nacre_word *attrs) {
    (void)attrs;
    if (x[1] < 0) {
        if (x[0] == 1) return 1;
        if (x[0] == -1) return x[1] % 2 ? -1 : 1;
        return 0;
    }
    uint64_t base = (uint64_t)x[0], result = 1;
    for (uint64_t n = (uint64_t)x[1]; n; n >>= 1) {
        if (n & 1) result *= base;
        base *= base;
    }
    return wrap(result);
}

/* da = dy b a^(b-1). At a = b = 0 that is 0, not 0 * inf: there the base is replaced by 1. */
static nacre_tensor *pow_base_gradient(nacre_gradient *g) {
    nacre_tensor *a = g->in[0], *b = g->in[1];
    nacre_dtype dtype = nacre_dtype_of(a);
    nacre_tensor *zero = nacre_scalar(dtype, 0, g->file, g->line);
    nacre_tensor *one = nacre_scalar(dtype, 1, g->file, g->line);
    nacre_tensor *both = nacre_where_at(
        nacre_equal_at(b, zero, g->file, g->line), nacre_equal_at(a, zero, g->file, g->line),
        nacre_scalar(NACRE_BOOL, 0, g->file, g->line), g->file, g->line);
    nacre_tensor *base = nacre_where_at(both, one, a, g->file, g->line);
    nacre_tensor *exponent = nacre_sub_at(b, one, g->file, g->line);
    nacre_tensor *slope = nacre_pow_at(base, exponent, g->file, g->line);
    return nacre_mul_at(g->dout[0], nacre_mul_at(b, slope, g->file, g->line), g->file, g->line);
}

/* db = dy y log(a), 0 where a <= 0. */
static nacre_tensor *pow_exponent_gradient(nacre_gradient *g) {
    nacre_tensor *a = g->in[0];
    nacre_dtype dtype = nacre_dtype_of(a);
    nacre_tensor *zero = nacre_scalar(dtype, 0, g->file, g->line);
    nacre_tensor *one = nacre_scalar(dtype, 1, g->file, g->line);
    nacre_tensor *positive = nacre_greater_at(a, zero, g->file, g->line);
    nacre_tensor *log =
        nacre_log_at(nacre_where_at(positive, a, one, g->file, g->line), g->file, g->line);
    nacre_tensor *scaled = nacre_mul_at(g->out[0], log, g->file, g->line);
    return nacre_where_at(positive, nacre_mul_at(g->dout[0], scaled, g->file, g->line), zero,
                          g->file, g->line);
}

static void pow_gradient(nacre_gradient *g) {
    if (g->wanted[0]) nacre_give_input(g, 0, pow_base_gradient(g));
    if (g->wanted[1]) nacre_give_input(g, 1, pow_exponent_gradient(g));
}

const nacre_op nacre_op_pow = {
    .name = "pow",
    .onnx = "Pow",
    .arity = 2,
    .flags = NACRE_OP_ELEMENTWISE | NACRE_OP_IN_PLACE,
    .gradient_reads = NACRE_READS_IN(0) | NACRE_READS_IN(1) | NACRE_READS_OUT(0),
    .shape = arithmetic_shape,
    .gradient = pow_gradient,
    .element = pow_float,
    .element_int = pow_int,
    .flops_per_element = 1,
};

/* ---- maximum, minimum: NaN if either is ---- */

static double maximum_float(const double *x, const nacre_word *attrs) {
    (void)attrs;
    if (isnan(x[0])) return x[0];
    return x[0] > x[1] ? x[0] : x[1];
}

static int64_t maximum_int(const int64_t *x, const nacre_word *attrs) {
    (void)attrs;
    return x[0] > x[1] ? x[0] : x[1];
}

static double minimum_float(const double *x, const nacre_word *attrs) {
    (void)attrs;
    if (isnan(x[0])) return x[0];
    return x[0] < x[1] ? x[0] : x[1];
}

static int64_t minimum_int(const int64_t *x, const nacre_word *attrs) {
    (void)attrs;
    return x[0] < x[1] ? x[0] : x[1];
}

/* The chosen side gets dy, equal ones half each. */
static void extremum_gradient(nacre_gradient *g,
                              nacre_tensor *(*beats)(nacre_tensor *, nacre_tensor *, const char *,
                                                     int)) {
    nacre_tensor *a = g->in[0], *b = g->in[1], *dy = g->dout[0];
    nacre_tensor *zero = nacre_scalar(nacre_dtype_of(dy), 0, g->file, g->line);
    nacre_tensor *half = nacre_scalar(nacre_dtype_of(dy), 0.5, g->file, g->line);
    nacre_tensor *tie =
        nacre_where_at(nacre_equal_at(a, b, g->file, g->line),
                       nacre_mul_at(dy, half, g->file, g->line), zero, g->file, g->line);
    for (int i = 0; i < 2; i++) {
        if (!g->wanted[i]) continue;
        nacre_tensor *chosen = beats(g->in[i], g->in[1 - i], g->file, g->line);
        nacre_give_input(g, i, nacre_where_at(chosen, dy, tie, g->file, g->line));
    }
}

static void maximum_gradient(nacre_gradient *g) { extremum_gradient(g, nacre_greater_at); }

static void minimum_gradient(nacre_gradient *g) { extremum_gradient(g, nacre_less_at); }

const nacre_op nacre_op_maximum = {
    .name = "maximum",
    .onnx = "Max",
    .arity = 2,
    .flags = NACRE_OP_ELEMENTWISE | NACRE_OP_IN_PLACE,
    .gradient_reads = NACRE_READS_IN(0) | NACRE_READS_IN(1),
    .shape = extremum_shape,
    .gradient = maximum_gradient,
    .element = maximum_float,
    .element_int = maximum_int,
    .flops_per_element = 1,
};

const nacre_op nacre_op_minimum = {
    .name = "minimum",
    .onnx = "Min",
    .arity = 2,
    .flags = NACRE_OP_ELEMENTWISE | NACRE_OP_IN_PLACE,
    .gradient_reads = NACRE_READS_IN(0) | NACRE_READS_IN(1),
    .shape = extremum_shape,
    .gradient = minimum_gradient,
    .element = minimum_float,
    .element_int = minimum_int,
    .flops_per_element = 1,
};

/* ---- public ---- */

nacre_tensor *nacre_add_at(nacre_tensor *a, nacre_tensor *b, const char *file, int line) {
    return nacre_record_binary(&nacre_op_add, a, b, file, line);
}

nacre_tensor *nacre_sub_at(nacre_tensor *a, nacre_tensor *b, const char *file, int line) {
    return nacre_record_binary(&nacre_op_sub, a, b, file, line);
}

nacre_tensor *nacre_mul_at(nacre_tensor *a, nacre_tensor *b, const char *file, int line) {
    return nacre_record_binary(&nacre_op_mul, a, b, file, line);
}

nacre_tensor *nacre_div_at(nacre_tensor *a, nacre_tensor *b, const char *file, int line) {
    return nacre_record_binary(&nacre_op_div, a, b, file, line);
}

nacre_tensor *nacre_pow_at(nacre_tensor *a, nacre_tensor *b, const char *file, int line) {
    return nacre_record_binary(&nacre_op_pow, a, b, file, line);
}

nacre_tensor *nacre_maximum_at(nacre_tensor *a, nacre_tensor *b, const char *file, int line) {
    return nacre_record_binary(&nacre_op_maximum, a, b, file, line);
}

nacre_tensor *nacre_minimum_at(nacre_tensor *a, nacre_tensor *b, const char *file, int line) {
    return nacre_record_binary(&nacre_op_minimum, a, b, file, line);
}

/* The scalar takes a's dtype; one that this dtype cannot hold would be silently another number. */
static nacre_tensor *with_scalar(const nacre_op *op, nacre_tensor *a, double b, const char *file,
                                 int line) {
    if (!nacre_usable(a)) return nacre_record_unary(&nacre_op_copy, a, file, line);
    const nacre_dtype_info *info = nacre_dtype_get(nacre_dtype_of(a));
    union {
        int64_t i;
        double f;
    } held = {0};
    info->store(&held, b);
    if (info->kind == NACRE_CLASS_INT && info->load(&held) != b) {
        nacre_shape shape = nacre_shape_of(a);
        char text[NACRE_SHAPE_TEXT];
        nacre_fail_at(NACRE_DTYPE_MISMATCH, file, line,
                      "%s: a is %s %s, the scalar %g is not: convert a with nacre_cast", op->name,
                      info->name, nacre_shape_text(&shape, text), b);
        return nacre_error_tensor();
    }
    nacre_scope frame = nacre_frame_begin();
    nacre_tensor *scalar = nacre_scalar(nacre_dtype_of(a), b, file, line);
    nacre_tensor *y = nacre_record_binary(op, a, scalar, file, line);
    nacre_frame_end(frame, &y, 1);
    return y;
}

nacre_tensor *nacre_add_scalar_at(nacre_tensor *a, double b, const char *file, int line) {
    return with_scalar(&nacre_op_add, a, b, file, line);
}

nacre_tensor *nacre_sub_scalar_at(nacre_tensor *a, double b, const char *file, int line) {
    return with_scalar(&nacre_op_sub, a, b, file, line);
}

nacre_tensor *nacre_mul_scalar_at(nacre_tensor *a, double b, const char *file, int line) {
    return with_scalar(&nacre_op_mul, a, b, file, line);
}

nacre_tensor *nacre_div_scalar_at(nacre_tensor *a, double b, const char *file, int line) {
    return with_scalar(&nacre_op_div, a, b, file, line);
}

nacre_tensor *nacre_pow_scalar_at(nacre_tensor *a, double b, const char *file, int line) {
    return with_scalar(&nacre_op_pow, a, b, file, line);
}
