/* Layers without parameters: ReLU, Softmax, Flatten. */
#include "nn/module.h"

#include "base/error.h"
#include "base/memory.h"
#include "record/record.h"

#include <nacre/grad.h>
#include <nacre/ops.h>
#include <stdio.h>

static double elements(nacre_shape shape) { return (double)nacre_shape_numel(&shape); }

/* ---- ReLU ---- */

static nacre_tensor *relu_forward(nacre_module *module, void *self, nacre_tensor *x) {
    (void)module, (void)self;
    return nacre_f_relu(x);
}

/* dx = dy where y > 0, else 0. */
static nacre_tensor *relu_backward(nacre_module *module, void *self, nacre_tensor *x,
                                   nacre_tensor *y, nacre_tensor *dy) {
    (void)module, (void)self, (void)x;
    nacre_tensor *zero = nacre_full(NACRE_SCALAR, 0, .dtype = nacre_dtype_of(y));
    return nacre_where(nacre_greater(y, zero), dy, zero);
}

static double relu_flops(const void *self, nacre_shape input) {
    (void)self;
    return elements(input);
}

nacre_module *nacre_relu(void) {
    static const nacre_module_class class_ = {.size = sizeof class_,
                                              .name = "ReLU",
                                              .forward = relu_forward,
                                              .backward = relu_backward,
                                              .flops = relu_flops};
    return nacre_layer_new(&class_, NULL);
}

/* ---- Softmax ---- */

typedef struct softmax {
    int axis;
} softmax;

static nacre_tensor *softmax_forward(nacre_module *module, void *self, nacre_tensor *x) {
    (void)module;
    return nacre_f_softmax(x, ((const softmax *)self)->axis);
}

/* dx = y (dy - sum(dy y)), the sum along the axis. */
static nacre_tensor *softmax_backward(nacre_module *module, void *self, nacre_tensor *x,
                                      nacre_tensor *y, nacre_tensor *dy) {
    (void)module, (void)x;
    nacre_tensor *sum = nacre_sum(
        nacre_mul(dy, y), .axes = NACRE_AXES(((const softmax *)self)->axis), .keepdims = true);
    return nacre_mul(y, nacre_sub(dy, sum));
}

static void softmax_describe(const void *self, char *text, size_t size) {
    snprintf(text, size, "axis=%d", ((const softmax *)self)->axis);
}

/* Maximum, difference, exponential, sum, quotient. */
static double softmax_flops(const void *self, nacre_shape input) {
    (void)self;
    return 5 * elements(input);
}

nacre_module *nacre_softmax(int axis) {
    static const nacre_module_class class_ = {.size = sizeof class_,
                                              .name = "Softmax",
                                              .forward = softmax_forward,
                                              .backward = softmax_backward,
                                              .describe = softmax_describe,
                                              .flops = softmax_flops,
                                              .destroy = nacre_free};
    softmax *self = nacre_alloc(sizeof *self);
    nacre_module *module = nacre_layer_new(&class_, self);
    if (!self) {
        nacre_module_set_error(module, NACRE_OUT_OF_MEMORY);
    } else if (axis < -NACRE_MAX_DIMS || axis >= NACRE_MAX_DIMS) {
        nacre_module_set_error(module, nacre_fail(NACRE_OUT_OF_RANGE,
                                                  "softmax: axis %d: a tensor has at most %d axes",
                                                  axis, NACRE_MAX_DIMS));
    } else if (nacre_module_status(module) == NACRE_OK) {
        self->axis = axis;
    }
    return module;
}

/* ---- Flatten ---- */

static nacre_tensor *flatten_forward(nacre_module *module, void *self, nacre_tensor *x) {
    (void)module, (void)self;
    nacre_shape shape = nacre_shape_of(x);
    if (shape.ndim == 0) {
        nacre_fail(NACRE_SHAPE_MISMATCH, "flatten: the input is a scalar, it needs a batch axis");
        return nacre_error_tensor();
    }
    int64_t columns = 1;
    for (int i = 1; i < shape.ndim; i++) {
        columns *= shape.dims[i];
    }
    nacre_shape flat = {.ndim = 2, .dims = {shape.dims[0], columns}};
    return nacre_shape_equal(&shape, &flat) ? x : nacre_reshape(x, flat);
}

static nacre_tensor *flatten_backward(nacre_module *module, void *self, nacre_tensor *x,
                                      nacre_tensor *y, nacre_tensor *dy) {
    (void)module, (void)self, (void)y;
    return nacre_reshape(dy, nacre_shape_of(x));
}

nacre_module *nacre_flatten(void) {
    static const nacre_module_class class_ = {.size = sizeof class_,
                                              .name = "Flatten",
                                              .forward = flatten_forward,
                                              .backward = flatten_backward};
    return nacre_layer_new(&class_, NULL);
}
