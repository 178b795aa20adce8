/* Parameters and buffers: how they start, their gradients, and state dictionaries. */
#include "nn/module.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/random.h"
#include "record/record.h"

#include <math.h>
#include <nacre/grad.h>
#include <string.h>

nacre_tensor *nacre_entry_tensor(nacre_dtype dtype, nacre_shape shape, bool trained) {
    if (!nacre_shape_valid(&shape)) {
        nacre_fail(NACRE_INVALID_ARGUMENT,
                   "module_%s: a bad shape: at most %d axes, none negative, and not too many "
                   "elements",
                   trained ? "parameter" : "buffer", NACRE_MAX_DIMS);
        return NULL;
    }
    nacre_scope frame = nacre_frame_begin();
    nacre_tensor *t = frame < 1 ? NULL : nacre_tensor_leaf(dtype, &shape);
    if (t) {
        memset(t->value->storage->data, 0, t->value->storage->bytes);
        bool failed = trained && nacre_is_error(nacre_requires_grad(t, true));
        t = failed ? NULL : nacre_retain(t);
    }
    nacre_frame_end(frame, NULL, 0);
    return t;
}

nacre_status nacre_entry_reset(const nacre_entry *entry) {
    const nacre_dtype_info *info = nacre_dtype_get(nacre_dtype_of(entry->tensor));
    size_t count = (size_t)nacre_numel(entry->tensor);
    unsigned char *values = nacre_alloc_zeroed(count ? count : 1, info->size);
    if (!values) {
        return NACRE_OUT_OF_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        info->store(values + i * info->size, entry->value);
    }
    nacre_status status = nacre_copy_from(entry->tensor, values, count * info->size);
    nacre_free(values);
    return status;
}

/* ---- first values ---- */

/* fan_in and fan_out of a weight [out, in, ...]: the inputs and outputs that one element of the output
   and the input is connected to. */
static void fans(const nacre_shape *shape, double *in, double *out) {
    double receptive = 1;
    for (int i = 2; i < shape->ndim; i++) {
        receptive *= (double)shape->dims[i];
    }
    double rows = shape->ndim > 0 ? (double)shape->dims[0] : 1;
    double columns = shape->ndim > 1 ? (double)shape->dims[1] : rows;
    *in = columns * receptive;
    *out = rows * receptive;
}

typedef struct draw {
    float *out;
    size_t count;
    nacre_init init;
    double scale;
    uint64_t seed, stream;
} draw;

enum { DRAW_CHUNK = 4096 };

static void draw_chunk(void *context, size_t index) {
    const draw *d = context;
    size_t end = (index + 1) * DRAW_CHUNK < d->count ? (index + 1) * DRAW_CHUNK : d->count;
    for (size_t i = index * DRAW_CHUNK; i < end; i++) {
        double value = 0;
        if (d->init == NACRE_INIT_HE || d->init >= NACRE_INIT_NORMAL) {
            value = d->scale * nacre_random_normal(d->seed, d->stream, 0, i);
        } else if (d->init == NACRE_INIT_XAVIER) {
            value = d->scale * (2 * nacre_random_f64(d->seed, d->stream, 0, i) - 1);
        } else if (d->init == NACRE_INIT_ONES) {
            value = 1;
        }
        d->out[i] = (float)value;
    }
}

typedef struct init_walk {
    uint64_t seed;
    const nacre_module *root; /* what is assembled */
    float *buffer;
    size_t bytes; /* of the largest parameter */
} init_walk;

/* Values of a parameter: element i is a function of (seed, full name, i). */
static void draw_values(const nacre_entry *parameter, const char *name, const init_walk *walk) {
    nacre_shape shape = nacre_shape_of(parameter->tensor);
    draw d = {.out = walk->buffer,
              .count = (size_t)nacre_numel(parameter->tensor),
              .init = parameter->init,
              .seed = walk->seed,
              .stream = nacre_random_stream(name)};
    if (d.init == NACRE_INIT_DEFAULT) {
        d.init = shape.ndim >= 2 ? NACRE_INIT_HE : NACRE_INIT_ZEROS;
    }
    double in, total;
    fans(&shape, &in, &total);
    total += in;
    if (d.init == NACRE_INIT_HE) {
        d.scale = sqrt(2 / in);
    } else if (d.init == NACRE_INIT_XAVIER) {
        d.scale = sqrt(6 / total);
    } else if (d.init >= NACRE_INIT_NORMAL) {
        d.scale = d.init == NACRE_INIT_SMALL ? 0.02 : 1;
    }
    nacre_parallel((d.count + DRAW_CHUNK - 1) / DRAW_CHUNK, draw_chunk, &d);
}

/* The parameter must have its own place in the network: there it is drawn, trained and saved. */
static nacre_status check_tie(const nacre_module *root, const nacre_entry *entry) {
    size_t count = nacre_module_parameter_count(root);
    for (size_t i = 0; i < count; i++) {
        if (nacre_module_parameter_at(root, i) == entry->tensor) {
            return NACRE_OK;
        }
    }
    return nacre_fail(NACRE_INVALID_STATE,
                      "module_init: \"%s\" is tied to a parameter that is not in this network: add "
                      "the module that owns it",
                      entry->name + root->prefix);
}

static nacre_status find_largest(nacre_module *module, void *context) {
    init_walk *walk = context;
    nacre_status status = nacre_module_check(module, "module_init");
    for (size_t i = 0; status == NACRE_OK && i < module->entry_count; i++) {
        const nacre_entry *entry = &module->entries[i];
        if (entry->kind == NACRE_ENTRY_PARAMETER) {
            size_t bytes = (size_t)nacre_numel(entry->tensor) * sizeof(float);
            walk->bytes = bytes > walk->bytes ? bytes : walk->bytes;
        } else if (entry->kind == NACRE_ENTRY_TIED) {
            status = check_tie(walk->root, entry);
        }
    }
    return status;
}

static nacre_status init_own(nacre_module *module, void *context) {
    const init_walk *walk = context;
    nacre_status status = NACRE_OK;
    for (size_t i = 0; status == NACRE_OK && i < module->entry_count; i++) {
        const nacre_entry *p = &module->entries[i];
        if (p->kind == NACRE_ENTRY_PARAMETER) {
            draw_values(p, p->name + walk->root->prefix, walk);
            status = nacre_copy_from(p->tensor, walk->buffer,
                                     (size_t)nacre_numel(p->tensor) * sizeof(float));
        } else if (p->kind == NACRE_ENTRY_BUFFER) {
            status = nacre_entry_reset(p);
        }
    }
    return status;
}

nacre_status nacre_module_init(nacre_module *module, uint64_t seed) {
    nacre_status status = nacre_module_check(module, "module_init");
    if (status != NACRE_OK) {
        return status;
    }
    init_walk walk = {.seed = seed, .root = module};
    status = nacre_module_walk(module, find_largest, &walk);
    if (status != NACRE_OK) {
        return status;
    }
    walk.buffer = nacre_alloc(walk.bytes);
    status = walk.buffer ? nacre_module_walk(module, init_own, &walk) : NACRE_OUT_OF_MEMORY;
    nacre_free(walk.buffer);
    return status;
}

/* ---- gradients ---- */

static nacre_status zero_own(nacre_module *module, void *context) {
    (void)context;
    for (size_t i = 0; i < module->entry_count; i++) {
        if (module->entries[i].kind == NACRE_ENTRY_PARAMETER) {
            nacre_zero_grad(module->entries[i].tensor);
        }
    }
    return NACRE_OK;
}

void nacre_module_zero_grad(nacre_module *module) {
    if (module) {
        nacre_module_walk(module, zero_own, NULL);
    }
}
