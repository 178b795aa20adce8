/* tanh and the error function. */
#include "ops/common.h"

#include <math.h>

/* ---- tanh ---- */

static double tanh_float(const double *x, const nacre_word *attrs) {
    (void)attrs;
    return tanh(x[0]);
}

/* dx = dy (1 - y^2) */
static void tanh_gradient(nacre_gradient *g) {
    nacre_tensor *square = nacre_mul_at(g->out[0], g->out[0], g->file, g->line);
    nacre_tensor *lost = nacre_mul_at(g->dout[0], square, g->file, g->line);
    g->din[0] = nacre_sub_at(g->dout[0], lost, g->file, g->line);
}

const nacre_op nacre_op_tanh = {
    .name = "tanh",
    .onnx = "Tanh",
    .arity = 1,
    .flags = NACRE_OP_ELEMENTWISE | NACRE_OP_IN_PLACE,
    .gradient_reads = NACRE_READS_OUT(0),
    .shape = nacre_infer_same_float,
    .gradient = tanh_gradient,
    .element = tanh_float,
    .flops_per_element = 1,
};

/* ---- erf ---- */

static double erf_float(const double *x, const nacre_word *attrs) {
    (void)attrs;
    return erf(x[0]);
}

/* dx = dy 2 / sqrt(pi) exp(-x^2) */
static void erf_gradient(nacre_gradient *g) {
    const char *file = g->file;
    int line = g->line;
    nacre_tensor *square = nacre_mul_at(g->in[0], g->in[0], file, line);
    nacre_tensor *bell = nacre_exp_at(nacre_neg_at(square, file, line), file, line);
    nacre_tensor *slope = nacre_mul_scalar_at(bell, 1.1283791670955126, file, line);
    g->din[0] = nacre_mul_at(g->dout[0], slope, file, line);
}

const nacre_op nacre_op_erf = {
    .name = "erf",
    .onnx = "Erf",
    .arity = 1,
    .flags = NACRE_OP_ELEMENTWISE | NACRE_OP_IN_PLACE,
    .gradient_reads = NACRE_READS_IN(0),
    .shape = nacre_infer_same_float,
    .gradient = erf_gradient,
    .element = erf_float,
    .flops_per_element = 1,
};

/* ---- public ---- */

nacre_tensor *nacre_f_tanh_at(nacre_tensor *a, const char *file, int line) {
    return nacre_record_unary(&nacre_op_tanh, a, file, line);
}

nacre_tensor *nacre_erf_at(nacre_tensor *a, const char *file, int line) {
    return nacre_record_unary(&nacre_op_erf, a, file, line);
}
