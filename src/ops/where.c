/* where(condition, a, b): condition ? a : b, element by element; all three broadcast. */
#include "ops/binary.h"

static nacre_status where_shape(nacre_inference *inference) {
    char c[NACRE_SHAPE_TEXT], a[NACRE_SHAPE_TEXT], b[NACRE_SHAPE_TEXT];
    if (inference->in[0].dtype != NACRE_BOOL)
        return nacre_fail_at(
            NACRE_DTYPE_MISMATCH, inference->file, inference->line,
            "where: condition is %s %s: it must be bool; compare or use nacre_cast",
            nacre_dtype_name(inference->in[0].dtype), nacre_shape_text(&inference->in[0].shape, c));
    nacre_status status = nacre_need_equal_dtypes(inference, 1, "a", 2, "b");
    if (status) return status;
    nacre_shape values;
    if (!nacre_shape_broadcast(&inference->in[1].shape, &inference->in[2].shape, &values) ||
        !nacre_shape_broadcast(&values, &inference->in[0].shape, &inference->out[0].shape))
        return nacre_fail_at(NACRE_SHAPE_MISMATCH, inference->file, inference->line,
                             "where: condition is %s, a is %s, b is %s: shapes do not broadcast; "
                             "counted from the last axis, extents must be equal or 1",
                             nacre_shape_text(&inference->in[0].shape, c),
                             nacre_shape_text(&inference->in[1].shape, a),
                             nacre_shape_text(&inference->in[2].shape, b));
    inference->out[0].dtype = inference->in[1].dtype;
    return nacre_need_valid_output(inference);
}

static double where_float(const double *x, const nacre_word *attrs) {
    (void)attrs;
    return x[0] != 0 ? x[1] : x[2];
}

static int64_t where_int(const int64_t *x, const nacre_word *attrs) {
    (void)attrs;
    return x[0] ? x[1] : x[2];
}

static void where_gradient(nacre_gradient *g) {
    nacre_tensor *condition = g->in[0], *dy = g->dout[0];
    nacre_tensor *zero = nacre_scalar(nacre_dtype_of(dy), 0, g->file, g->line);
    if (g->wanted[1]) nacre_give_input(g, 1, nacre_where_at(condition, dy, zero, g->file, g->line));
    if (g->wanted[2]) nacre_give_input(g, 2, nacre_where_at(condition, zero, dy, g->file, g->line));
}

const nacre_op nacre_op_where = {
    .name = "where",
    .onnx = "Where",
    .arity = 3,
    .flags = NACRE_OP_ELEMENTWISE | NACRE_OP_IN_PLACE,
    .gradient_reads = NACRE_READS_IN(0),
    .shape = where_shape,
    .gradient = where_gradient,
    .element = where_float,
    .element_int = where_int,
    .flops_per_element = 1,
    .in_place = {1},
};

nacre_tensor *nacre_where_at(nacre_tensor *condition, nacre_tensor *a, nacre_tensor *b,
                             const char *file, int line) {
    nacre_recording recording = {
        .op = &nacre_op_where, .inputs = 3, .in = {condition, a, b}, .file = file, .line = line};
    return nacre_record_one(&recording);
}
