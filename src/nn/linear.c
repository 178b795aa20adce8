/* Linear: y = x W^T + b. */
#include "base/error.h"
#include "base/memory.h"
#include "nn/module.h"
#include "nn/options.h"
#include "record/record.h"

#include <inttypes.h>
#include <nacre/grad.h>
#include <nacre/ops.h>
#include <stdio.h>

typedef struct linear {
    int64_t in, out;
    nacre_tensor *weight, *bias; /* the module's; bias NULL: none */
} linear;

static nacre_tensor *linear_forward(nacre_module *module, void *self, nacre_tensor *x) {
    (void)module;
    const linear *l = self;
    return nacre_f_linear(x, l->weight, l->bias);
}

/* [..., columns] -> [rows, columns]. */
static nacre_tensor *as_matrix(nacre_tensor *t, int64_t columns) {
    return nacre_ndim(t) == 2 ? t : nacre_reshape(t, NACRE_SHAPE(-1, columns));
}

/* dx = dy W, dW = dy^T x, db = the sum of dy's rows. */
static nacre_tensor *linear_backward(nacre_module *module, void *self, nacre_tensor *x,
                                     nacre_tensor *y, nacre_tensor *dy) {
    (void)module, (void)y;
    const linear *l = self;
    nacre_tensor *rows = as_matrix(dy, l->out);
    nacre_tensor *dw = nacre_matmul(nacre_transpose(rows, 0, 1), as_matrix(x, l->in));
    nacre_status status = nacre_accumulate_grad(l->weight, dw);
    if (status == NACRE_OK && l->bias) {
        status = nacre_accumulate_grad(l->bias, nacre_sum(rows, .axes = NACRE_AXES(0)));
    }
    return status == NACRE_OK ? nacre_matmul(dy, l->weight) : NULL;
}

static void linear_describe(const void *self, char *text, size_t size) {
    const linear *l = self;
    snprintf(text, size, "in=%" PRId64 ", out=%" PRId64 "%s", l->in, l->out,
             l->bias ? "" : ", no bias");
}

/* A multiplication and an addition per weight, an addition per bias. */
static double linear_flops(const void *self, nacre_shape input) {
    const linear *l = self;
    double rows = 1;
    for (int i = 0; i + 1 < input.ndim; i++) {
        rows *= (double)input.dims[i];
    }
    return rows * (double)l->out * (2 * (double)l->in + (l->bias ? 1 : 0));
}

static nacre_status linear_make(nacre_module *module, linear *self, const nacre_linear_options *o) {
    if (o->in < 1 || o->out < 1) {
        return nacre_fail(NACRE_INVALID_ARGUMENT,
                          "linear: in is %" PRId64 ", out is %" PRId64 ": both must be at least 1",
                          o->in, o->out);
    }
    self->in = o->in;
    self->out = o->out;
    nacre_shape shape = NACRE_SHAPE(o->out, o->in);
    if (o->weight) {
        nacre_shape given = nacre_shape_of(o->weight);
        if (!nacre_is_error(o->weight) && !nacre_shape_equal(&given, &shape)) {
            char text[NACRE_SHAPE_TEXT];
            return nacre_fail(NACRE_SHAPE_MISMATCH,
                              "linear: the tied weight is %s, not [%" PRId64 ",%" PRId64 "]",
                              nacre_shape_text(&given, text), o->out, o->in);
        }
        self->weight = nacre_module_tie(module, "weight", o->weight);
    } else {
        self->weight = nacre_module_parameter(module, "weight", shape, o->init);
    }
    if (!o->no_bias) {
        self->bias = nacre_module_parameter(module, "bias", NACRE_SHAPE(o->out), NACRE_INIT_ZEROS);
    }
    return nacre_module_status(module);
}

nacre_module *nacre_linear_at(const nacre_linear_options *options) {
    static const nacre_module_class class_ = {.size = sizeof class_,
                                              .name = "Linear",
                                              .forward = linear_forward,
                                              .backward = linear_backward,
                                              .describe = linear_describe,
                                              .flops = linear_flops,
                                              .destroy = nacre_free};
    linear *self = nacre_alloc_zeroed(1, sizeof *self);
    nacre_module *module = nacre_layer_new(&class_, self);
    if (nacre_module_status(module) != NACRE_OK) {
        return module; /* self is freed */
    }
    nacre_linear_options o;
    nacre_status status =
        self ? nacre_options_take(&o, sizeof o, options, "linear") : NACRE_OUT_OF_MEMORY;
    status = status ? status : linear_make(module, self, &o);
    nacre_module_set_error(module, status);
    return module;
}
