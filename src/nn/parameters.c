/* Parameters: how they start, their gradients, and state dictionaries. */
#include "nn/module.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/random.h"
#include "record/record.h"

#include <math.h>
#include <nacre/grad.h>
#include <string.h>

nacre_tensor *nacre_parameter_new(nacre_shape shape) {
    if (!nacre_shape_valid(&shape)) {
        nacre_fail(
            NACRE_INVALID_ARGUMENT,
            "module_parameter: a bad shape: at most %d axes, none negative, and not too many "
            "elements",
            NACRE_MAX_DIMS);
        return NULL;
    }
    nacre_scope frame = nacre_frame_begin();
    nacre_tensor *t = frame < 1 ? NULL : nacre_tensor_leaf(NACRE_F32, &shape);
    if (t) {
        memset(t->value->storage->data, 0, t->value->storage->bytes);
        t = nacre_is_error(nacre_requires_grad(t, true)) ? NULL : nacre_retain(t);
    }
    nacre_frame_end(frame, NULL, 0);
    return t;
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
        if (d->init == NACRE_INIT_HE) {
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
    size_t prefix; /* of the module that is assembled */
    float *buffer;
    size_t bytes; /* of the largest parameter */
} init_walk;

/* Values of a parameter: element i is a function of (seed, full name, i). */
static void draw_values(const nacre_parameter *parameter, const char *name, const init_walk *walk) {
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
    }
    nacre_parallel((d.count + DRAW_CHUNK - 1) / DRAW_CHUNK, draw_chunk, &d);
}

static nacre_status find_largest(nacre_module *module, void *context) {
    init_walk *walk = context;
    for (size_t i = 0; i < module->parameter_count; i++) {
        size_t bytes = (size_t)nacre_numel(module->parameters[i].tensor) * sizeof(float);
        walk->bytes = bytes > walk->bytes ? bytes : walk->bytes;
    }
    return nacre_module_check(module, "module_init");
}

static nacre_status init_own(nacre_module *module, void *context) {
    const init_walk *walk = context;
    nacre_status status = NACRE_OK;
    for (size_t i = 0; status == NACRE_OK && i < module->parameter_count; i++) {
        const nacre_parameter *p = &module->parameters[i];
        draw_values(p, p->name + walk->prefix, walk);
        status = nacre_copy_from(p->tensor, walk->buffer,
                                 (size_t)nacre_numel(p->tensor) * sizeof(float));
    }
    return status;
}

nacre_status nacre_module_init(nacre_module *module, uint64_t seed) {
    nacre_status status = nacre_module_check(module, "module_init");
    if (status != NACRE_OK) {
        return status;
    }
    init_walk walk = {.seed = seed, .prefix = module->prefix};
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
    for (size_t i = 0; i < module->parameter_count; i++) {
        nacre_zero_grad(module->parameters[i].tensor);
    }
    return NACRE_OK;
}

void nacre_module_zero_grad(nacre_module *module) {
    if (module) {
        nacre_module_walk(module, zero_own, NULL);
    }
}

/* ---- dictionaries ---- */

nacre_state_dict *nacre_named_save(const nacre_named *entries, size_t count) {
    nacre_state_dict *dict = nacre_state_dict_new();
    for (size_t i = 0; dict && i < count; i++) {
        if (nacre_state_dict_add(dict, entries[i].name, entries[i].tensor) != NACRE_OK) {
            nacre_state_dict_free(dict);
            dict = NULL;
        }
    }
    return dict;
}

/* Whether the dictionary's tensor can become this entry's value; computes it. */
static nacre_status check_entry(const nacre_named *entry, const nacre_state_dict *dict,
                                const char *what) {
    nacre_tensor *from = nacre_state_dict_find(dict, entry->name);
    if (!from) {
        return nacre_fail(NACRE_NOT_FOUND, "%s: \"%s\" is missing in the state", what, entry->name);
    }
    if (nacre_is_error(from)) {
        return nacre_fail(nacre_tensor_status(from), "%s: \"%s\": %s", what, entry->name,
                          nacre_tensor_message(from));
    }
    nacre_shape wanted = nacre_shape_of(entry->tensor), given = nacre_shape_of(from);
    if (!nacre_shape_equal(&wanted, &given)) {
        char a[NACRE_SHAPE_TEXT], b[NACRE_SHAPE_TEXT];
        return nacre_fail(NACRE_SHAPE_MISMATCH,
                          "%s: \"%s\" is %s here and %s in the state: it is another network's",
                          what, entry->name, nacre_shape_text(&wanted, a),
                          nacre_shape_text(&given, b));
    }
    if (nacre_dtype_of(entry->tensor) != nacre_dtype_of(from)) {
        return nacre_fail(NACRE_DTYPE_MISMATCH, "%s: \"%s\" is %s here and %s in the state", what,
                          entry->name, nacre_dtype_name(nacre_dtype_of(entry->tensor)),
                          nacre_dtype_name(nacre_dtype_of(from)));
    }
    return nacre_data(from) ? NACRE_OK : nacre_error_code();
}

static nacre_status check_surplus(const nacre_named *entries, size_t count,
                                  const nacre_state_dict *dict, const char *what) {
    for (size_t i = 0; i < nacre_state_dict_count(dict); i++) {
        const char *name = nacre_state_dict_name(dict, i);
        bool known = false;
        for (size_t k = 0; !known && k < count; k++) {
            known = strcmp(entries[k].name, name) == 0;
        }
        if (!known) {
            return nacre_fail(NACRE_INVALID_ARGUMENT,
                              "%s: the state holds \"%s\", which does not exist here", what, name);
        }
    }
    return NACRE_OK;
}

nacre_status nacre_named_load(const nacre_named *entries, size_t count,
                              const nacre_state_dict *dict, const char *what) {
    if (!dict) {
        return nacre_fail(NACRE_INVALID_ARGUMENT, "%s: the state is NULL", what);
    }
    nacre_status status = NACRE_OK;
    for (size_t i = 0; status == NACRE_OK && i < count; i++) {
        status = check_entry(&entries[i], dict, what);
        /* Pending work on the tensor runs before it is overwritten. */
        if (status == NACRE_OK && !nacre_data(entries[i].tensor)) {
            status = nacre_error_code();
        }
    }
    if (status == NACRE_OK) {
        status = check_surplus(entries, count, dict, what);
    }
    for (size_t i = 0; status == NACRE_OK && i < count; i++) {
        nacre_tensor *from = nacre_state_dict_find(dict, entries[i].name);
        if (from != entries[i].tensor) {
            size_t bytes = (size_t)nacre_numel(from) * nacre_dtype_size(nacre_dtype_of(from));
            status = nacre_copy_from(entries[i].tensor, nacre_data(from), bytes);
        }
    }
    return status;
}

/* The tree's parameters as a list, freed by the caller. NULL when memory is short. */
static nacre_named *list_parameters(const nacre_module *module, size_t *count) {
    *count = nacre_module_parameter_count(module);
    nacre_named *entries = nacre_alloc_zeroed(*count ? *count : 1, sizeof *entries);
    for (size_t i = 0; entries && i < *count; i++) {
        entries[i].name = nacre_module_parameter_name(module, i);
        entries[i].tensor = nacre_module_parameter_at(module, i);
    }
    return entries;
}

nacre_state_dict *nacre_module_state(const nacre_module *module) {
    if (nacre_module_check(module, "module_state") != NACRE_OK) {
        return NULL;
    }
    size_t count;
    nacre_named *entries = list_parameters(module, &count);
    nacre_state_dict *dict = entries ? nacre_named_save(entries, count) : NULL;
    nacre_free(entries);
    return dict;
}

nacre_status nacre_module_load_state(nacre_module *module, const nacre_state_dict *dict) {
    nacre_status status = nacre_module_check(module, "load_state");
    if (status != NACRE_OK) {
        return status;
    }
    size_t count;
    nacre_named *entries = list_parameters(module, &count);
    status = entries ? nacre_named_load(entries, count, dict, "load_state") : NACRE_OUT_OF_MEMORY;
    nacre_free(entries);
    return status;
}
