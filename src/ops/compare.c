/* Comparisons with broadcasting: inputs of one dtype, output bool. With NaN all are false but
   not_equal. */
#include "ops/binary.h"

static nacre_status compare_shape(nacre_inference *inference) {
    nacre_status status = nacre_need_equal_dtypes(inference, 0, "a", 1, "b");
    inference->out[0].dtype = NACRE_BOOL;
    return status ? status : nacre_infer_broadcast(inference);
}

static double equal_float(const double *x, const nacre_word *attrs) {
    (void)attrs;
    return x[0] == x[1];
}

static int64_t equal_int(const int64_t *x, const nacre_word *attrs) {
    (void)attrs;
    return x[0] == x[1];
}

const nacre_op nacre_op_equal = {
    .name = "equal",
    .onnx = "Equal",
    .arity = 2,
    .flags = NACRE_OP_ELEMENTWISE | NACRE_OP_NO_GRADIENT,
    .shape = compare_shape,
    .element = equal_float,
    .element_int = equal_int,
    .flops_per_element = 1,
};

static double not_equal_float(const double *x, const nacre_word *attrs) {
    (void)attrs;
    return x[0] != x[1];
}

static int64_t not_equal_int(const int64_t *x, const nacre_word *attrs) {
    (void)attrs;
    return x[0] != x[1];
}

const nacre_op nacre_op_not_equal = {
    .name = "not_equal",
    .arity = 2,
    .flags = NACRE_OP_ELEMENTWISE | NACRE_OP_NO_GRADIENT,
    .shape = compare_shape,
    .element = not_equal_float,
    .element_int = not_equal_int,
    .flops_per_element = 1,
};

static double less_float(const double *x, const nacre_word *attrs) {
    (void)attrs;
    return x[0] < x[1];
}

static int64_t less_int(const int64_t *x, const nacre_word *attrs) {
    (void)attrs;
    return x[0] < x[1];
}

const nacre_op nacre_op_less = {
    .name = "less",
    .onnx = "Less",
    .arity = 2,
    .flags = NACRE_OP_ELEMENTWISE | NACRE_OP_NO_GRADIENT,
    .shape = compare_shape,
    .element = less_float,
    .element_int = less_int,
    .flops_per_element = 1,
};

static double less_equal_float(const double *x, const nacre_word *attrs) {
    (void)attrs;
    return x[0] <= x[1];
}

static int64_t less_equal_int(const int64_t *x, const nacre_word *attrs) {
    (void)attrs;
    return x[0] <= x[1];
}

const nacre_op nacre_op_less_equal = {
    .name = "less_equal",
    .onnx = "LessOrEqual",
    .arity = 2,
    .flags = NACRE_OP_ELEMENTWISE | NACRE_OP_NO_GRADIENT,
    .shape = compare_shape,
    .element = less_equal_float,
    .element_int = less_equal_int,
    .flops_per_element = 1,
};

static double greater_float(const double *x, const nacre_word *attrs) {
    (void)attrs;
    return x[0] > x[1];
}

static int64_t greater_int(const int64_t *x, const nacre_word *attrs) {
    (void)attrs;
    return x[0] > x[1];
}

const nacre_op nacre_op_greater = {
    .name = "greater",
    .onnx = "Greater",
    .arity = 2,
    .flags = NACRE_OP_ELEMENTWISE | NACRE_OP_NO_GRADIENT,
    .shape = compare_shape,
    .element = greater_float,
    .element_int = greater_int,
    .flops_per_element = 1,
};

static double greater_equal_float(const double *x, const nacre_word *attrs) {
    (void)attrs;
    return x[0] >= x[1];
}

static int64_t greater_equal_int(const int64_t *x, const nacre_word *attrs) {
    (void)attrs;
    return x[0] >= x[1];
}

const nacre_op nacre_op_greater_equal = {
    .name = "greater_equal",
    .onnx = "GreaterOrEqual",
    .arity = 2,
    .flags = NACRE_OP_ELEMENTWISE | NACRE_OP_NO_GRADIENT,
    .shape = compare_shape,
    .element = greater_equal_float,
    .element_int = greater_equal_int,
    .flops_per_element = 1,
};

nacre_tensor *nacre_equal_at(nacre_tensor *a, nacre_tensor *b, const char *file, int line) {
    return nacre_record_binary(&nacre_op_equal, a, b, file, line);
}

nacre_tensor *nacre_not_equal_at(nacre_tensor *a, nacre_tensor *b, const char *file, int line) {
    return nacre_record_binary(&nacre_op_not_equal, a, b, file, line);
}

nacre_tensor *nacre_less_at(nacre_tensor *a, nacre_tensor *b, const char *file, int line) {
    return nacre_record_binary(&nacre_op_less, a, b, file, line);
}

nacre_tensor *nacre_less_equal_at(nacre_tensor *a, nacre_tensor *b, const char *file, int line) {
    return nacre_record_binary(&nacre_op_less_equal, a, b, file, line);
}

nacre_tensor *nacre_greater_at(nacre_tensor *a, nacre_tensor *b, const char *file, int line) {
    return nacre_record_binary(&nacre_op_greater, a, b, file, line);
}

nacre_tensor *nacre_greater_equal_at(nacre_tensor *a, nacre_tensor *b, const char *file, int line) {
    return nacre_record_binary(&nacre_op_greater_equal, a, b, file, line);
}
