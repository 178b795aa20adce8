/* Conv2d. */
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

typedef struct conv2d {
    nacre_conv2d_options o;
    nacre_tensor *weight, *bias; /* the module's; bias NULL: none */
} conv2d;

static nacre_tensor *conv2d_forward(nacre_module *module, void *self, nacre_tensor *x) {
    (void)module;
    const conv2d *c = self;
    return nacre_f_conv2d(x, c->weight, c->bias, .stride = {c->o.stride[0], c->o.stride[1]},
                          .padding = {c->o.padding[0], c->o.padding[1]},
                          .dilation = {c->o.dilation[0], c->o.dilation[1]}, .groups = c->o.groups);
}

/* One of conv2d's two gradient ops; `sized`: the tensor whose height and width the result has. */
static void record(const conv2d *c, const nacre_op *op, nacre_tensor *a, nacre_tensor *b,
                   nacre_tensor *sized, nacre_tensor **out) {
    const nacre_conv2d_options *o = &c->o;
    nacre_recording recording = {
        .op = op,
        .inputs = 2,
        .in = {a, b},
        .attrs = {[NACRE_CONV_STRIDE] = nacre_pair(o->stride[0], o->stride[1]),
                  [NACRE_CONV_PADDING] = nacre_pair(o->padding[0], o->padding[1]),
                  [NACRE_CONV_DILATION] = nacre_pair(o->dilation[0], o->dilation[1]),
                  [NACRE_CONV_GROUPS] = {.i = o->groups},
                  [NACRE_CONV_SIZE] = nacre_pair(nacre_size(sized, 2), nacre_size(sized, 3))}};
    nacre_record_many(&recording, out);
}

/* With y[n, o, i, j] = b[o] + sum of x[n, c, i + p, j + q] W[o, c, p, q] over c, p, q (stride 1, no padding):
       dx[n, c, k, l] = sum of dy[n, o, k - p, l - q] W[o, c, p, q] over o, p, q
       dW[o, c, p, q] = sum of dy[n, o, i, j] x[n, c, i + p, j + q] over n, i, j
       db[o] = sum of dy[n, o, i, j] over n, i, j */
static nacre_tensor *conv2d_backward(nacre_module *module, void *self, nacre_tensor *x,
                                     nacre_tensor *y, nacre_tensor *dy) {
    (void)module, (void)y;
    const conv2d *c = self;
    nacre_tensor *out[NACRE_MAX_OUTPUTS];
    record(c, &nacre_op_conv2d_backward_weight, x, dy, c->weight, out);
    nacre_status status = nacre_accumulate_grad(c->weight, out[0]);
    if (status == NACRE_OK && c->bias) {
        status = nacre_accumulate_grad(c->bias, out[1]);
    }
    if (status != NACRE_OK) {
        return NULL;
    }
    record(c, &nacre_op_conv2d_backward_input, dy, c->weight, x, out);
    return out[0];
}

static void describe_pair(char *text, size_t size, size_t *used, const char *name,
                          const int64_t *pair, int64_t usual) {
    if ((pair[0] != usual || pair[1] != usual) && *used < size) {
        *used += (size_t)snprintf(text + *used, size - *used, ", %s=%" PRId64 "x%" PRId64, name,
                                  pair[0], pair[1]);
    }
}

static void conv2d_describe(const void *self, char *text, size_t size) {
    const conv2d *c = self;
    const nacre_conv2d_options *o = &c->o;
    size_t used = (size_t)snprintf(text, size, "in=%" PRId64 ", out=%" PRId64, o->in, o->out);
    describe_pair(text, size, &used, "kernel", o->kernel, 0);
    describe_pair(text, size, &used, "stride", o->stride, 1);
    describe_pair(text, size, &used, "padding", o->padding, 0);
    describe_pair(text, size, &used, "dilation", o->dilation, 1);
    if (o->groups != 1 && used < size) {
        used += (size_t)snprintf(text + used, size - used, ", groups=%" PRId64, o->groups);
    }
    if (!c->bias && used < size) {
        snprintf(text + used, size - used, ", no bias");
    }
}

/* A multiplication and an addition for each tap of each output, an addition for its bias. */
static double conv2d_flops(const void *self, nacre_shape input) {
    const conv2d *c = self;
    const nacre_conv2d_options *o = &c->o;
    if (input.ndim != 4) {
        return 0;
    }
    int64_t per_group = o->in / o->groups;
    double outputs = (double)input.dims[0] * (double)o->out, taps = (double)per_group;
    for (int i = 0; i < 2; i++) {
        int64_t span = o->dilation[i] * (o->kernel[i] - 1) + 1;
        int64_t room = input.dims[2 + i] + 2 * o->padding[i] - span;
        int64_t windows = room < 0 ? 0 : room / o->stride[i] + 1;
        outputs *= (double)windows;
        taps *= (double)o->kernel[i];
    }
    return outputs * (2 * taps + (c->bias ? 1 : 0));
}

static nacre_status check(nacre_conv2d_options *o) {
    if (o->in < 1 || o->out < 1 || o->kernel[0] < 1 || o->kernel[1] < 1) {
        return nacre_fail(NACRE_INVALID_ARGUMENT,
                          "conv2d: in is %" PRId64 ", out is %" PRId64 ", the kernel %" PRId64
                          "x%" PRId64 ": all must be at least 1",
                          o->in, o->out, o->kernel[0], o->kernel[1]);
    }
    o->groups = o->groups ? o->groups : 1;
    if (o->groups < 0 || o->in % o->groups != 0 || o->out % o->groups != 0) {
        return nacre_fail(NACRE_INVALID_ARGUMENT,
                          "conv2d: %" PRId64 " groups for in %" PRId64 " and out %" PRId64
                          ": both must be multiples of groups",
                          o->groups, o->in, o->out);
    }
    for (int i = 0; i < 2; i++) {
        o->stride[i] = o->stride[i] ? o->stride[i] : 1;
        o->dilation[i] = o->dilation[i] ? o->dilation[i] : 1;
        int64_t least = o->stride[i] < o->dilation[i] ? o->stride[i] : o->dilation[i];
        int64_t most = o->stride[i] > o->dilation[i] ? o->stride[i] : o->dilation[i];
        most = most > o->kernel[i] ? most : o->kernel[i];
        if (least < 0 || o->padding[i] < 0 || most > INT32_MAX || o->padding[i] > INT32_MAX) {
            return nacre_fail(NACRE_INVALID_ARGUMENT,
                              "conv2d: kernel, stride, padding and dilation must be 0 to %d",
                              INT32_MAX);
        }
    }
    return NACRE_OK;
}

static nacre_status conv2d_make(nacre_module *module, conv2d *self) {
    const nacre_conv2d_options *o = &self->o;
    nacre_status status = check(&self->o);
    if (status == NACRE_OK) {
        self->weight = nacre_module_parameter(
            module, "weight", NACRE_SHAPE(o->out, o->in / o->groups, o->kernel[0], o->kernel[1]),
            o->init);
        if (!o->no_bias) {
            self->bias =
                nacre_module_parameter(module, "bias", NACRE_SHAPE(o->out), NACRE_INIT_ZEROS);
        }
        status = nacre_module_status(module);
    }
    return status;
}

nacre_module *nacre_conv2d_at(const nacre_conv2d_options *options) {
    static const nacre_module_class class_ = {.size = sizeof class_,
                                              .name = "Conv2d",
                                              .forward = conv2d_forward,
                                              .backward = conv2d_backward,
                                              .describe = conv2d_describe,
                                              .flops = conv2d_flops,
                                              .destroy = nacre_free};
    conv2d *self = nacre_alloc_zeroed(1, sizeof *self);
    nacre_module *module = nacre_layer_new(&class_, self);
    if (nacre_module_status(module) != NACRE_OK) {
        return module; /* self is freed */
    }
    nacre_status status = self ? nacre_options_take(&self->o, sizeof self->o, options, "conv2d")
                               : NACRE_OUT_OF_MEMORY;
    status = status ? status : conv2d_make(module, self);
    nacre_module_set_error(module, status);
    return module;
}
