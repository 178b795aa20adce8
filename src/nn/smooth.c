/* Layers without parameters that transformers use: GELU, Tanh, Dropout. */
#include "base/error.h"
#include "base/memory.h"
#include "nn/module.h"
#include "record/record.h"

#include <nacre/grad.h>
#include <nacre/ops.h>
#include <stdio.h>

static double elements(nacre_shape shape) { return (double)nacre_shape_numel(&shape); }

/* ---- Tanh ---- */

static nacre_tensor *tanh_forward(nacre_module *module, void *self, nacre_tensor *x) {
    (void)module, (void)self;
    return nacre_f_tanh(x);
}

/* dx = dy (1 - y^2) */
static nacre_tensor *tanh_backward(nacre_module *module, void *self, nacre_tensor *x,
                                   nacre_tensor *y, nacre_tensor *dy) {
    (void)module, (void)self, (void)x;
    return nacre_mul(dy, nacre_add_scalar(nacre_neg(nacre_mul(y, y)), 1));
}

static double tanh_flops(const void *self, nacre_shape input) {
    (void)self;
    return elements(input);
}

nacre_module *nacre_tanh(void) {
    static const nacre_module_class class_ = {.size = sizeof class_,
                                              .name = "Tanh",
                                              .forward = tanh_forward,
                                              .backward = tanh_backward,
                                              .flops = tanh_flops};
    return nacre_layer_new(&class_, NULL);
}

/* ---- GELU ---- */

typedef struct gelu {
    nacre_gelu_form form;
} gelu;

static nacre_tensor *gelu_forward(nacre_module *module, void *self, nacre_tensor *x) {
    (void)module;
    return nacre_f_gelu(x, ((const gelu *)self)->form);
}

/* P(x) + x exp(-x^2 / 2) / sqrt(2 pi), P the normal distribution function. */
static nacre_tensor *slope_erf(nacre_tensor *x) {
    nacre_tensor *p = nacre_erf(nacre_mul_scalar(x, 0.70710678118654752));
    nacre_tensor *bell = nacre_exp(nacre_mul_scalar(nacre_mul(x, x), -0.5));
    return nacre_add(nacre_add_scalar(nacre_mul_scalar(p, 0.5), 0.5),
                     nacre_mul_scalar(nacre_mul(x, bell), 0.39894228040143268));
}

/* (1 + t) / 2 + x (1 - t^2) u' / 2 with t = tanh u, u = c (x + 0.044715 x^3), c = sqrt(2 / pi). */
static nacre_tensor *slope_tanh(nacre_tensor *x) {
    const double c = 0.79788456080286536, k = 0.044715;
    nacre_tensor *square = nacre_mul(x, x);
    nacre_tensor *u = nacre_mul(x, nacre_add_scalar(nacre_mul_scalar(square, c * k), c));
    nacre_tensor *du = nacre_add_scalar(nacre_mul_scalar(square, 3 * c * k), c);
    nacre_tensor *t = nacre_f_tanh(u);
    nacre_tensor *rest = nacre_add_scalar(nacre_neg(nacre_mul(t, t)), 1);
    nacre_tensor *bent = nacre_mul(nacre_mul(x, rest), du);
    return nacre_mul_scalar(nacre_add(nacre_add_scalar(t, 1), bent), 0.5);
}

static nacre_tensor *gelu_backward(nacre_module *module, void *self, nacre_tensor *x,
                                   nacre_tensor *y, nacre_tensor *dy) {
    (void)module, (void)y;
    bool by_tanh = ((const gelu *)self)->form == NACRE_GELU_TANH;
    return nacre_mul(dy, by_tanh ? slope_tanh(x) : slope_erf(x));
}

static void gelu_describe(const void *self, char *text, size_t size) {
    snprintf(text, size, "%s", ((const gelu *)self)->form == NACRE_GELU_TANH ? "tanh" : "erf");
}

static double gelu_flops(const void *self, nacre_shape input) {
    (void)self;
    return 8 * elements(input);
}

nacre_module *nacre_gelu(nacre_gelu_form form) {
    static const nacre_module_class class_ = {.size = sizeof class_,
                                              .name = "GELU",
                                              .forward = gelu_forward,
                                              .backward = gelu_backward,
                                              .describe = gelu_describe,
                                              .flops = gelu_flops,
                                              .destroy = nacre_free};
    gelu *self = nacre_alloc(sizeof *self);
    nacre_module *module = nacre_layer_new(&class_, self);
    if (!self) {
        nacre_module_set_error(module, NACRE_OUT_OF_MEMORY);
    } else if (form != NACRE_GELU_ERF && form != NACRE_GELU_TANH) {
        nacre_module_set_error(
            module, nacre_fail(NACRE_INVALID_ARGUMENT,
                               "gelu: there is no approximation %d: use NACRE_GELU_ERF or "
                               "NACRE_GELU_TANH",
                               (int)form));
    } else if (nacre_module_status(module) == NACRE_OK) {
        self->form = form;
    }
    return module;
}

/* ---- Dropout ---- */

typedef struct dropout {
    double p;
} dropout;

static nacre_tensor *dropout_forward(nacre_module *module, void *self, nacre_tensor *x) {
    return nacre_module_mode(module) == NACRE_EVAL ? x : nacre_f_dropout(x, ((dropout *)self)->p);
}

/* dx = dy / (1 - p) where something came through. The mask is read off y: drawing it again would draw
   another; an x of exactly 0 counts as dropped. */
static nacre_tensor *dropout_backward(nacre_module *module, void *self, nacre_tensor *x,
                                      nacre_tensor *y, nacre_tensor *dy) {
    (void)x;
    double p = ((const dropout *)self)->p;
    if (nacre_module_mode(module) == NACRE_EVAL || p == 0) {
        return dy;
    }
    nacre_tensor *zero = nacre_full(NACRE_SCALAR, 0, .dtype = nacre_dtype_of(y));
    nacre_tensor *scaled = nacre_mul_scalar(dy, p < 1 ? 1 / (1 - p) : 0);
    return nacre_where(nacre_equal(y, zero), zero, scaled);
}

static void dropout_describe(const void *self, char *text, size_t size) {
    snprintf(text, size, "p=%g", ((const dropout *)self)->p);
}

nacre_module *nacre_dropout(double p) {
    static const nacre_module_class class_ = {.size = sizeof class_,
                                              .name = "Dropout",
                                              .forward = dropout_forward,
                                              .backward = dropout_backward,
                                              .describe = dropout_describe,
                                              .destroy = nacre_free};
    dropout *self = nacre_alloc(sizeof *self);
    nacre_module *module = nacre_layer_new(&class_, self);
    if (!self) {
        nacre_module_set_error(module, NACRE_OUT_OF_MEMORY);
    } else if (!(p >= 0 && p <= 1)) {
        nacre_module_set_error(
            module, nacre_fail(NACRE_INVALID_ARGUMENT,
                               "dropout: p is %g: it is the part that is dropped, from 0 to 1", p));
    } else if (nacre_module_status(module) == NACRE_OK) {
        self->p = p;
    }
    return module;
}
