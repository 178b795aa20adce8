/* MaxPool2d, AvgPool2d and the mean over whole images. */
#include "base/error.h"
#include "base/memory.h"
#include "nn/module.h"
#include "nn/options.h"
#include "ops/attrs.h"
#include "ops/ops.h"
#include "record/record.h"

#include <inttypes.h>
#include <nacre/grad.h>
#include <nacre/ops.h>
#include <stdio.h>

/* ---- windows ---- */

static nacre_tensor *max_forward(nacre_module *module, void *self, nacre_tensor *x) {
    (void)module;
    const nacre_pool2d_options *o = self;
    return nacre_f_max_pool2d(x, {o->kernel[0], o->kernel[1]},
                              .stride = {o->stride[0], o->stride[1]},
                              .padding = {o->padding[0], o->padding[1]});
}

static nacre_tensor *average_forward(nacre_module *module, void *self, nacre_tensor *x) {
    (void)module;
    const nacre_pool2d_options *o = self;
    return nacre_f_avg_pool2d(x, {o->kernel[0], o->kernel[1]},
                              .stride = {o->stride[0], o->stride[1]},
                              .padding = {o->padding[0], o->padding[1]});
}

static nacre_tensor *record(const nacre_pool2d_options *o, const nacre_op *op, nacre_tensor *a,
                            nacre_tensor *b, nacre_word size) {
    nacre_recording recording = {
        .op = op,
        .inputs = op->arity,
        .in = {a, b},
        .attrs = {[NACRE_POOL_KERNEL] = nacre_pair(o->kernel[0], o->kernel[1]),
                  [NACRE_POOL_STRIDE] = nacre_pair(o->stride[0], o->stride[1]),
                  [NACRE_POOL_PADDING] = nacre_pair(o->padding[0], o->padding[1]),
                  [NACRE_POOL_SIZE] = size}};
    return nacre_record_one(&recording);
}

/* dx = the sum of dy over the windows whose first largest element x is. */
static nacre_tensor *max_backward(nacre_module *module, void *self, nacre_tensor *x,
                                  nacre_tensor *y, nacre_tensor *dy) {
    (void)module, (void)y;
    return record(self, &nacre_op_max_pool2d_backward, x, dy, (nacre_word){0});
}

/* dx = the sum of dy / (kh kw) over the windows above x. */
static nacre_tensor *average_backward(nacre_module *module, void *self, nacre_tensor *x,
                                      nacre_tensor *y, nacre_tensor *dy) {
    (void)module, (void)y;
    nacre_word size = nacre_pair(nacre_size(x, 2), nacre_size(x, 3));
    return record(self, &nacre_op_avg_pool2d_backward, dy, NULL, size);
}

static void pool_describe(const void *self, char *text, size_t size) {
    const nacre_pool2d_options *o = self;
    int used = snprintf(text, size, "kernel=%" PRId64 "x%" PRId64, o->kernel[0], o->kernel[1]);
    if (o->stride[0] != o->kernel[0] || o->stride[1] != o->kernel[1]) {
        used += snprintf(text + used, size - (size_t)used, ", stride=%" PRId64 "x%" PRId64,
                         o->stride[0], o->stride[1]);
    }
    if (o->padding[0] || o->padding[1]) {
        snprintf(text + used, size - (size_t)used, ", padding=%" PRId64 "x%" PRId64, o->padding[0],
                 o->padding[1]);
    }
}

/* A comparison or an addition for each tap. */
static double pool_flops(const void *self, nacre_shape input) {
    const nacre_pool2d_options *o = self;
    double taps = input.ndim == 4 ? (double)input.dims[0] * (double)input.dims[1] : 0;
    for (int i = 0; taps > 0 && i < 2; i++) {
        int64_t room = input.dims[2 + i] + 2 * o->padding[i] - o->kernel[i];
        int64_t windows = room < 0 ? 0 : room / o->stride[i] + 1;
        taps *= (double)(windows * o->kernel[i]);
    }
    return taps;
}

static nacre_status check(nacre_pool2d_options *o, const char *what) {
    for (int i = 0; i < 2; i++) {
        o->stride[i] = o->stride[i] ? o->stride[i] : o->kernel[i];
    }
    for (int i = 0; i < 2; i++) {
        if (o->kernel[i] < 1 || o->kernel[i] > INT32_MAX || o->stride[i] < 1 ||
            o->stride[i] > INT32_MAX || o->padding[i] < 0 || o->padding[i] > o->kernel[i] / 2) {
            return nacre_fail(NACRE_INVALID_ARGUMENT,
                              "%s: kernel %" PRId64 "x%" PRId64 ", stride %" PRId64 "x%" PRId64
                              ", padding %" PRId64 "x%" PRId64 ": the first two must be 1 to %d, "
                              "padding 0 to half the kernel",
                              what, o->kernel[0], o->kernel[1], o->stride[0], o->stride[1],
                              o->padding[0], o->padding[1], INT32_MAX);
        }
    }
    return NACRE_OK;
}

static nacre_module *pool_new(const nacre_module_class *class_, const nacre_pool2d_options *options,
                              const char *what) {
    nacre_pool2d_options *self = nacre_alloc_zeroed(1, sizeof *self);
    nacre_module *module = nacre_layer_new(class_, self);
    if (nacre_module_status(module) != NACRE_OK) {
        return module; /* self is freed */
    }
    nacre_status status =
        self ? nacre_options_take(self, sizeof *self, options, what) : NACRE_OUT_OF_MEMORY;
    nacre_module_set_error(module, status ? status : check(self, what));
    return module;
}

nacre_module *nacre_max_pool2d_at(const nacre_pool2d_options *options) {
    static const nacre_module_class class_ = {.size = sizeof class_,
                                              .name = "MaxPool2d",
                                              .forward = max_forward,
                                              .backward = max_backward,
                                              .describe = pool_describe,
                                              .flops = pool_flops,
                                              .destroy = nacre_free};
    return pool_new(&class_, options, "max_pool2d");
}

nacre_module *nacre_avg_pool2d_at(const nacre_pool2d_options *options) {
    static const nacre_module_class class_ = {.size = sizeof class_,
                                              .name = "AvgPool2d",
                                              .forward = average_forward,
                                              .backward = average_backward,
                                              .describe = pool_describe,
                                              .flops = pool_flops,
                                              .destroy = nacre_free};
    return pool_new(&class_, options, "avg_pool2d");
}

/* ---- whole images ---- */

static nacre_tensor *global_forward(nacre_module *module, void *self, nacre_tensor *x) {
    (void)module, (void)self;
    if (nacre_ndim(x) != 4) {
        char text[NACRE_SHAPE_TEXT];
        nacre_shape shape = nacre_shape_of(x);
        nacre_fail(NACRE_SHAPE_MISMATCH,
                   "global_avg_pool2d: the input is %s, not [n, channels, height, width]",
                   nacre_shape_text(&shape, text));
        return nacre_error_tensor();
    }
    return nacre_mean(x, .axes = NACRE_AXES(2, 3));
}

/* dx = dy / (h w), everywhere in the image. */
static nacre_tensor *global_backward(nacre_module *module, void *self, nacre_tensor *x,
                                     nacre_tensor *y, nacre_tensor *dy) {
    (void)module, (void)self, (void)y;
    nacre_shape shape = nacre_shape_of(x);
    nacre_tensor *share = nacre_div_scalar(dy, (double)shape.dims[2] * (double)shape.dims[3]);
    share = nacre_reshape(share, NACRE_SHAPE(shape.dims[0], shape.dims[1], 1, 1));
    return nacre_broadcast_to(share, shape);
}

static double global_flops(const void *self, nacre_shape input) {
    (void)self;
    return (double)nacre_shape_numel(&input);
}

nacre_module *nacre_global_avg_pool2d(void) {
    static const nacre_module_class class_ = {.size = sizeof class_,
                                              .name = "GlobalAvgPool2d",
                                              .forward = global_forward,
                                              .backward = global_backward,
                                              .flops = global_flops};
    return nacre_layer_new(&class_, NULL);
}
