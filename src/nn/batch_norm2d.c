/* BatchNorm2d (Ioffe and Szegedy 2015), with running statistics as PyTorch keeps them. */
#include "base/error.h"
#include "base/memory.h"
#include "nn/module.h"
#include "nn/options.h"
#include "record/record.h"

#include <inttypes.h>
#include <math.h>
#include <nacre/grad.h>
#include <nacre/ops.h>
#include <stdio.h>

typedef struct batch_norm {
    nacre_batch_norm2d_options o;
    nacre_tensor *weight, *bias;                        /* the module's parameters */
    nacre_tensor *running_mean, *running_var, *batches; /* and buffers */
} batch_norm;

/* Elements behind one channel's statistics. */
static double count_of(nacre_tensor *x) {
    return (double)nacre_size(x, 0) * (double)nacre_size(x, 2) * (double)nacre_size(x, 3);
}

/* ---- forward ---- */

/* running = (1 - momentum) running + momentum fresh, as a chain that is fused into one pass. */
static nacre_status move(nacre_tensor *running, nacre_tensor *fresh, double momentum) {
    nacre_tensor *way = nacre_sub(fresh, running);
    return nacre_assign(running, nacre_add(nacre_mul_scalar(way, momentum), running));
}

/* The variance that runs is the estimate for the population: over m - 1. */
static nacre_status track(const batch_norm *b, nacre_tensor *mean, nacre_tensor *var, double m) {
    bool before = nacre_set_grad_enabled(false);
    nacre_status status = move(b->running_mean, mean, b->o.momentum);
    if (status == NACRE_OK) {
        status = move(b->running_var, nacre_mul_scalar(var, m / (m - 1)), b->o.momentum);
    }
    if (status == NACRE_OK) {
        status = nacre_assign(b->batches, nacre_add_scalar(b->batches, 1));
    }
    nacre_set_grad_enabled(before);
    return status;
}

static nacre_tensor *train_forward(const batch_norm *b, nacre_tensor *x) {
    double m = count_of(x);
    if (m < 2) {
        nacre_fail(NACRE_INVALID_ARGUMENT,
                   "batch_norm2d: training needs at least two elements per channel, here are %g; "
                   "use a larger batch, or eval mode",
                   m);
        return nacre_error_tensor();
    }
    nacre_tensor *mean, *var;
    nacre_tensor *y = nacre_f_batch_norm(x, b->weight, b->bias, .epsilon = b->o.epsilon,
                                         .batch_mean = &mean, .batch_var = &var);
    if (nacre_is_error(y) || nacre_module_recomputes()) {
        return y;
    }
    return track(b, mean, var, m) == NACRE_OK ? y : nacre_error_tensor();
}

static nacre_tensor *norm_forward(nacre_module *module, void *self, nacre_tensor *x) {
    const batch_norm *b = self;
    nacre_shape shape = nacre_shape_of(x);
    if (shape.ndim != 4 || shape.dims[1] != b->o.channels) {
        char text[NACRE_SHAPE_TEXT];
        nacre_fail(NACRE_SHAPE_MISMATCH,
                   "batch_norm2d: the input is %s, not [n, %" PRId64 ", height, width]",
                   nacre_shape_text(&shape, text), b->o.channels);
        return nacre_error_tensor();
    }
    if (nacre_module_mode(module) == NACRE_TRAIN) {
        return train_forward(b, x);
    }
    return nacre_f_batch_norm(x, b->weight, b->bias, b->running_mean, b->running_var,
                              .epsilon = b->o.epsilon);
}

/* ---- backward ---- */

/* [c] as [c, 1, 1], so that it broadcasts over images. */
static nacre_tensor *column(nacre_tensor *t) {
    return nacre_reshape(t, NACRE_SHAPE(nacre_size(t, 0), 1, 1));
}

static nacre_tensor *sum_images(nacre_tensor *t) {
    return nacre_sum(t, .axes = NACRE_AXES(0, 2, 3));
}

static nacre_tensor *mean_images(nacre_tensor *t) {
    return nacre_mean(t, .axes = NACRE_AXES(0, 2, 3));
}

/* With d = x - mean, r = 1 / sqrt(var + epsilon), so that y = d r weight + bias:
       dbias = sum(dy)      dweight = sum(dy d) r
       dx = dy r weight                                       for given statistics
       dx = (dy - dbias / m - d r dweight / m) r weight       when mean and var are x's own */
static nacre_tensor *norm_backward(nacre_module *module, void *self, nacre_tensor *x,
                                   nacre_tensor *y, nacre_tensor *dy) {
    (void)y;
    const batch_norm *b = self;
    bool train = nacre_module_mode(module) == NACRE_TRAIN;
    nacre_tensor *mean = train ? mean_images(x) : b->running_mean;
    nacre_tensor *d = nacre_sub(x, column(mean));
    nacre_tensor *var = train ? mean_images(nacre_mul(d, d)) : b->running_var;
    nacre_tensor *deviation = nacre_sqrt(nacre_add_scalar(var, b->o.epsilon));
    nacre_tensor *dbias = sum_images(dy);
    nacre_tensor *dweight = nacre_div(sum_images(nacre_mul(dy, d)), deviation);
    if (nacre_accumulate_grad(b->weight, dweight) != NACRE_OK ||
        nacre_accumulate_grad(b->bias, dbias) != NACRE_OK) {
        return NULL;
    }
    if (train) {
        double m = count_of(x);
        nacre_tensor *slope = nacre_div_scalar(nacre_div(dweight, deviation), m);
        dy = nacre_sub(dy, column(nacre_div_scalar(dbias, m)));
        dy = nacre_sub(dy, nacre_mul(d, column(slope)));
    }
    return nacre_mul(dy, column(nacre_div(b->weight, deviation)));
}

/* ---- the module ---- */

static void norm_describe(const void *self, char *text, size_t size) {
    const nacre_batch_norm2d_options *o = &((const batch_norm *)self)->o;
    int used = snprintf(text, size, "channels=%" PRId64, o->channels);
    if (o->epsilon != 1e-5) {
        used += snprintf(text + used, size - (size_t)used, ", epsilon=%g", o->epsilon);
    }
    if (o->momentum != 0.1) {
        snprintf(text + used, size - (size_t)used, ", momentum=%g", o->momentum);
    }
}

/* Inference: a difference, a product and a sum for each element. */
static double norm_flops(const void *self, nacre_shape input) {
    (void)self;
    return 3 * (double)nacre_shape_numel(&input);
}

static nacre_status norm_make(nacre_module *module, batch_norm *self) {
    nacre_batch_norm2d_options *o = &self->o;
    o->epsilon = o->epsilon == 0 ? 1e-5 : o->epsilon;
    o->momentum = o->momentum == 0 ? 0.1 : o->momentum;
    if (o->channels < 1 || !(o->epsilon > 0) || isinf(o->epsilon) || !(o->momentum > 0) ||
        o->momentum > 1) {
        return nacre_fail(NACRE_INVALID_ARGUMENT,
                          "batch_norm2d: %" PRId64 " channels, epsilon %g, momentum %g: it needs a "
                          "channel, a positive epsilon and a momentum above 0 and at most 1",
                          o->channels, o->epsilon, o->momentum);
    }
    nacre_shape shape = NACRE_SHAPE(o->channels);
    self->weight = nacre_module_parameter(module, "weight", shape, NACRE_INIT_ONES);
    self->bias = nacre_module_parameter(module, "bias", shape, NACRE_INIT_ZEROS);
    self->running_mean = nacre_module_buffer(module, "running_mean", shape, NACRE_F32, 0);
    self->running_var = nacre_module_buffer(module, "running_var", shape, NACRE_F32, 1);
    self->batches = nacre_module_buffer(module, "num_batches_tracked", NACRE_SCALAR, NACRE_I64, 0);
    return nacre_module_status(module);
}

nacre_module *nacre_batch_norm2d_at(const nacre_batch_norm2d_options *options) {
    static const nacre_module_class class_ = {.size = sizeof class_,
                                              .name = "BatchNorm2d",
                                              .forward = norm_forward,
                                              .backward = norm_backward,
                                              .describe = norm_describe,
                                              .flops = norm_flops,
                                              .destroy = nacre_free};
    batch_norm *self = nacre_alloc_zeroed(1, sizeof *self);
    nacre_module *module = nacre_layer_new(&class_, self);
    if (nacre_module_status(module) != NACRE_OK) {
        return module; /* self is freed */
    }
    nacre_status status =
        self ? nacre_options_take(&self->o, sizeof self->o, options, "batch_norm2d")
             : NACRE_OUT_OF_MEMORY;
    status = status ? status : norm_make(module, self);
    nacre_module_set_error(module, status);
    return module;
}
