/* LayerNorm over the last axis, and Embedding. */
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

/* [..., columns] -> [rows, columns]. */
static nacre_tensor *as_matrix(nacre_tensor *t, int64_t columns) {
    return nacre_ndim(t) == 2 ? t : nacre_reshape(t, NACRE_SHAPE(-1, columns));
}

/* ---- LayerNorm ---- */

typedef struct layer_norm {
    int64_t features;
    double epsilon;
    nacre_tensor *weight, *bias; /* the module's; NULL: none */
} layer_norm;

static nacre_tensor *norm_forward(nacre_module *module, void *self, nacre_tensor *x) {
    (void)module;
    const layer_norm *l = self;
    nacre_shape shape = nacre_shape_of(x);
    if (!nacre_is_error(x) && (shape.ndim < 1 || shape.dims[shape.ndim - 1] != l->features)) {
        char text[NACRE_SHAPE_TEXT];
        nacre_fail(NACRE_SHAPE_MISMATCH,
                   "layer_norm: x is %s: its last extent must be %" PRId64 ", the layer's features",
                   nacre_shape_text(&shape, text), l->features);
        return nacre_error_tensor();
    }
    return nacre_f_layer_norm(x, l->weight, l->bias, l->epsilon);
}

static nacre_tensor *row_mean(nacre_tensor *t) {
    return nacre_mean(t, .axes = NACRE_AXES(-1), .keepdims = true);
}

/* With n = (x - mean) / s, s = sqrt(variance + epsilon), d = dy weight:
       dweight = sum of dy n,  dbias = sum of dy,  dx = (d - mean(d) - n mean(d n)) / s. */
static nacre_tensor *norm_backward(nacre_module *module, void *self, nacre_tensor *x,
                                   nacre_tensor *y, nacre_tensor *dy) {
    (void)module, (void)y;
    const layer_norm *l = self;
    nacre_tensor *centred = nacre_sub(x, row_mean(x));
    nacre_tensor *variance = row_mean(nacre_mul(centred, centred));
    nacre_tensor *s = nacre_sqrt(nacre_add_scalar(variance, l->epsilon));
    nacre_tensor *n = nacre_div(centred, s), *d = dy;
    nacre_status status = NACRE_OK;
    if (l->weight) {
        nacre_tensor *dweight = as_matrix(nacre_mul(dy, n), l->features);
        nacre_tensor *dbias = as_matrix(dy, l->features);
        status = nacre_accumulate_grad(l->weight, nacre_sum(dweight, .axes = NACRE_AXES(0)));
        status = status ? status
                        : nacre_accumulate_grad(l->bias, nacre_sum(dbias, .axes = NACRE_AXES(0)));
        d = nacre_mul(dy, l->weight);
    }
    nacre_tensor *along = nacre_mul(n, row_mean(nacre_mul(d, n)));
    nacre_tensor *dx = nacre_div(nacre_sub(nacre_sub(d, row_mean(d)), along), s);
    return status == NACRE_OK ? dx : NULL;
}

static void norm_describe(const void *self, char *text, size_t size) {
    const layer_norm *l = self;
    snprintf(text, size, "features=%" PRId64 "%s", l->features, l->weight ? "" : ", plain");
}

static double norm_flops(const void *self, nacre_shape input) {
    (void)self;
    return 8 * (double)nacre_shape_numel(&input);
}

static nacre_status norm_make(nacre_module *module, layer_norm *self,
                              const nacre_layer_norm_options *o) {
    if (o->features < 1) {
        return nacre_fail(NACRE_INVALID_ARGUMENT,
                          "layer_norm: features is %" PRId64 ": it must be at least 1",
                          o->features);
    }
    if (!isfinite(o->epsilon) || o->epsilon < 0) {
        return nacre_fail(NACRE_INVALID_ARGUMENT,
                          "layer_norm: epsilon is %g: it must be finite and not negative",
                          o->epsilon);
    }
    self->features = o->features;
    self->epsilon = o->epsilon > 0 ? o->epsilon : 1e-5;
    if (!o->plain) {
        nacre_shape row = NACRE_SHAPE(o->features);
        self->weight = nacre_module_parameter(module, "weight", row, NACRE_INIT_ONES);
        self->bias = nacre_module_parameter(module, "bias", row, NACRE_INIT_ZEROS);
    }
    return nacre_module_status(module);
}

nacre_module *nacre_layer_norm_at(const nacre_layer_norm_options *options) {
    static const nacre_module_class class_ = {.size = sizeof class_,
                                              .name = "LayerNorm",
                                              .forward = norm_forward,
                                              .backward = norm_backward,
                                              .describe = norm_describe,
                                              .flops = norm_flops,
                                              .destroy = nacre_free};
    layer_norm *self = nacre_alloc_zeroed(1, sizeof *self);
    nacre_module *module = nacre_layer_new(&class_, self);
    if (nacre_module_status(module) != NACRE_OK) {
        return module; /* self is freed */
    }
    nacre_layer_norm_options o;
    nacre_status status =
        self ? nacre_options_take(&o, sizeof o, options, "layer_norm") : NACRE_OUT_OF_MEMORY;
    status = status ? status : norm_make(module, self, &o);
    nacre_module_set_error(module, status);
    return module;
}

/* ---- Embedding ---- */

typedef struct embedding {
    int64_t count, features;
    nacre_tensor *weight;
} embedding;

static nacre_tensor *embedding_forward(nacre_module *module, void *self, nacre_tensor *x) {
    (void)module;
    /* An index out of range is found when it is evaluated, where nobody knows the layer any more. */
    return nacre_f_embedding_at(x, ((const embedding *)self)->weight, "Embedding", 0);
}

/* Row i of dweight is the sum of dy's rows whose index is i. Indices have no gradient: zeros. */
static nacre_tensor *embedding_backward(nacre_module *module, void *self, nacre_tensor *x,
                                        nacre_tensor *y, nacre_tensor *dy) {
    (void)module, (void)y;
    const embedding *e = self;
    nacre_tensor *flat = nacre_reshape(x, NACRE_SHAPE(-1));
    nacre_tensor *is_row = nacre_transpose(nacre_one_hot(flat, e->count, NACRE_F32), 0, 1);
    nacre_tensor *dweight = nacre_matmul(is_row, nacre_reshape(dy, NACRE_SHAPE(-1, e->features)));
    nacre_status status = nacre_accumulate_grad(e->weight, dweight);
    return status == NACRE_OK ? nacre_zeros(nacre_shape_of(x)) : NULL;
}

static void embedding_describe(const void *self, char *text, size_t size) {
    const embedding *e = self;
    snprintf(text, size, "count=%" PRId64 ", features=%" PRId64, e->count, e->features);
}

static nacre_status embedding_make(nacre_module *module, embedding *self,
                                   const nacre_embedding_options *o) {
    if (o->count < 1 || o->features < 1) {
        return nacre_fail(NACRE_INVALID_ARGUMENT,
                          "embedding: count is %" PRId64 ", features is %" PRId64
                          ": both must be at least 1",
                          o->count, o->features);
    }
    self->count = o->count;
    self->features = o->features;
    nacre_init init = o->init == NACRE_INIT_DEFAULT ? NACRE_INIT_NORMAL : o->init;
    nacre_shape shape = NACRE_SHAPE(o->count, o->features);
    self->weight = nacre_module_parameter(module, "weight", shape, init);
    return nacre_module_status(module);
}

nacre_module *nacre_embedding_at(const nacre_embedding_options *options) {
    static const nacre_module_class class_ = {.size = sizeof class_,
                                              .name = "Embedding",
                                              .forward = embedding_forward,
                                              .backward = embedding_backward,
                                              .describe = embedding_describe,
                                              .destroy = nacre_free};
    embedding *self = nacre_alloc_zeroed(1, sizeof *self);
    nacre_module *module = nacre_layer_new(&class_, self);
    if (nacre_module_status(module) != NACRE_OK) {
        return module; /* self is freed */
    }
    nacre_embedding_options o;
    nacre_status status =
        self ? nacre_options_take(&o, sizeof o, options, "embedding") : NACRE_OUT_OF_MEMORY;
    status = status ? status : embedding_make(module, self, &o);
    nacre_module_set_error(module, status);
    return module;
}
