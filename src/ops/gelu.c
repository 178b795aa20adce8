/* gelu (Hendrycks and Gimpel 2016) and its gradient: x P(x), P the normal distribution function, exact,
   P(x) = erfc(-x / sqrt 2) / 2, or with the paper's approximation
       P(x) = (1 + tanh u) / 2 = 1 / (1 + exp(-2 u)),  u = sqrt(2 / pi) (x + 0.044715 x^3). */
#include "ops/common.h"

#include <math.h>

#define ROOT_2_OVER_PI 0.79788456080286536
#define CUBIC 0.044715
#define ROOT_HALF 0.70710678118654752
#define BELL 0.39894228040143268 /* 1 / sqrt(2 pi) */

/* Beyond it P is 0 or 1 to double precision in either form: the limits, where infinities would make NaN. */
#define FAR 40.0

static const nacre_attr gelu_attrs[] = {[NACRE_GELU_APPROXIMATE] = {"approximate", NACRE_ATTR_INT},
                                        {NULL, NACRE_ATTR_END}};

static nacre_status need_form(const nacre_inference *inference) {
    int64_t form = inference->attrs[NACRE_GELU_APPROXIMATE].i;
    if (form == NACRE_GELU_ERF || form == NACRE_GELU_TANH) return NACRE_OK;
    return nacre_fail_at(
        NACRE_INVALID_ARGUMENT, inference->file, inference->line,
        "%s: there is no approximation %lld: use NACRE_GELU_ERF or NACRE_GELU_TANH",
        inference->op->name, (long long)form);
}

static nacre_status gelu_shape(nacre_inference *inference) {
    nacre_status status = nacre_need_float(inference, 0, "a");
    if (!status) status = need_form(inference);
    return status ? status : nacre_infer_same(inference);
}

static nacre_status backward_shape(nacre_inference *inference) {
    nacre_status status = nacre_need_float(inference, 0, "x");
    if (!status) status = nacre_need_equal_dtypes(inference, 0, "x", 1, "dy");
    if (!status) status = nacre_need_equal_shapes(inference, 0, "x", 1, "dy");
    if (!status) status = need_form(inference);
    return status ? status : nacre_infer_same(inference);
}

static bool by_tanh(const nacre_word *attrs) {
    return attrs[NACRE_GELU_APPROXIMATE].i == NACRE_GELU_TANH;
}

/* exp(-|2 u|): of the size, so that it cannot overflow. P = 1 / (1 + e) on the right, e / (1 + e) on the left. */
static double shrunk(double x) { return exp(-fabs(2 * ROOT_2_OVER_PI * (x + CUBIC * x * x * x))); }

static double tanh_share(double x, double e) { return (x < 0 ? e : 1) / (1 + e); }

static double gelu_float(const double *x, const nacre_word *attrs) {
    if (x[0] < -FAR) return 0;
    double p = by_tanh(attrs) ? tanh_share(x[0], shrunk(x[0])) : 0.5 * erfc(-ROOT_HALF * x[0]);
    return x[0] * p;
}

/* dy (P + x P'):  P' = exp(-x^2 / 2) / sqrt(2 pi),  or  P (1 - P) 2 u' */
static double backward_float(const double *in, const nacre_word *attrs) {
    double x = in[0];
    if (fabs(x) > FAR) return in[1] * (x > 0);
    if (!by_tanh(attrs)) {
        double bell = BELL * exp(-0.5 * x * x);
        return in[1] * (0.5 * erfc(-ROOT_HALF * x) + x * bell);
    }
    double e = shrunk(x), both = e / ((1 + e) * (1 + e)); /* P (1 - P), even in x */
    double slope = 2 * ROOT_2_OVER_PI * (1 + 3 * CUBIC * x * x);
    return in[1] * (tanh_share(x, e) + x * slope * both);
}

static nacre_tensor *record_backward(nacre_gradient *g, nacre_tensor *x, nacre_tensor *dy) {
    nacre_recording recording = {
        .op = &nacre_op_gelu_backward,
        .inputs = 2,
        .in = {x, dy},
        .attrs = {[NACRE_GELU_APPROXIMATE] = g->attrs[NACRE_GELU_APPROXIMATE]},
        .file = g->file,
        .line = g->line};
    return nacre_record_one(&recording);
}

static void gelu_gradient(nacre_gradient *g) {
    g->din[0] = record_backward(g, g->in[0], g->dout[0]);
}

const nacre_op nacre_op_gelu = {
    .name = "gelu",
    .onnx = "Gelu",
    .arity = 1,
    .flags = NACRE_OP_ELEMENTWISE | NACRE_OP_IN_PLACE,
    .gradient_reads = NACRE_READS_IN(0),
    .attrs = gelu_attrs,
    .shape = gelu_shape,
    .gradient = gelu_gradient,
    .element = gelu_float,
    .flops_per_element = 8,
};

/* ---- the second derivative, in ordinary ops ---- */

/* x between -FAR and FAR, beyond which it is 0, so that no power overflows; NaN passes. */
static nacre_tensor *cut(nacre_tensor *x, const char *file, int line) {
    nacre_dtype dtype = nacre_dtype_of(x);
    x = nacre_maximum_at(x, nacre_scalar(dtype, -FAR, file, line), file, line);
    return nacre_minimum_at(x, nacre_scalar(dtype, FAR, file, line), file, line);
}

/* (2 - x^2) exp(-x^2 / 2) / sqrt(2 pi) */
static nacre_tensor *curvature_erf(nacre_tensor *x, const char *file, int line) {
    nacre_tensor *square = nacre_mul_at(x, x, file, line);
    nacre_tensor *bell = nacre_exp_at(nacre_mul_scalar_at(square, -0.5, file, line), file, line);
    nacre_tensor *two_less = nacre_add_scalar_at(nacre_neg_at(square, file, line), 2, file, line);
    return nacre_mul_at(nacre_mul_scalar_at(bell, BELL, file, line), two_less, file, line);
}

/* (1 - t^2) (u' + x u'' / 2 - x t u'^2) with t = tanh u, u' = c (1 + 3 k x^2), x u'' / 2 = 3 c k x^2 */
static nacre_tensor *curvature_tanh(nacre_tensor *x, const char *file, int line) {
    nacre_tensor *square = nacre_mul_at(x, x, file, line);
    nacre_tensor *bent = nacre_mul_scalar_at(square, 3 * ROOT_2_OVER_PI * CUBIC, file, line);
    nacre_tensor *slope = nacre_add_scalar_at(bent, ROOT_2_OVER_PI, file, line);
    nacre_tensor *factor =
        nacre_add_scalar_at(nacre_mul_scalar_at(square, ROOT_2_OVER_PI * CUBIC, file, line),
                            ROOT_2_OVER_PI, file, line);
    nacre_tensor *t = nacre_f_tanh_at(nacre_mul_at(x, factor, file, line), file, line);
    nacre_tensor *rest = nacre_neg_at(nacre_mul_at(t, t, file, line), file, line);
    rest = nacre_add_scalar_at(rest, 1, file, line);
    nacre_tensor *pull = nacre_mul_at(nacre_mul_at(x, t, file, line),
                                      nacre_mul_at(slope, slope, file, line), file, line);
    nacre_tensor *sum = nacre_sub_at(nacre_add_at(slope, bent, file, line), pull, file, line);
    return nacre_mul_at(rest, sum, file, line);
}

static void backward_gradient(nacre_gradient *g) {
    const char *file = g->file;
    int line = g->line;
    if (g->wanted[1]) g->din[1] = record_backward(g, g->in[0], g->dout[0]);
    if (!g->wanted[0]) return;
    nacre_tensor *x = cut(g->in[0], file, line);
    nacre_tensor *bend =
        by_tanh(g->attrs) ? curvature_tanh(x, file, line) : curvature_erf(x, file, line);
    nacre_tensor *both = nacre_mul_at(g->in[1], g->dout[0], file, line);
    g->din[0] = nacre_mul_at(both, bend, file, line);
}

const nacre_op nacre_op_gelu_backward = {
    .name = "gelu_backward",
    .arity = 2,
    .flags = NACRE_OP_ELEMENTWISE | NACRE_OP_IN_PLACE,
    .gradient_reads = NACRE_READS_IN(0) | NACRE_READS_IN(1),
    .attrs = gelu_attrs,
    .shape = backward_shape,
    .gradient = backward_gradient,
    .element = backward_float,
    .flops_per_element = 14,
    .in_place = {1},
};

/* ---- public ---- */

nacre_tensor *nacre_f_gelu_at(nacre_tensor *a, nacre_gelu_form form, const char *file, int line) {
    return nacre_record_unary_int(&nacre_op_gelu, a, (int64_t)form, file, line);
}
