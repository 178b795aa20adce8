#include "data/dataset.h"

#include "backend/cpu/kernels.h"
#include "base/error.h"
#include "base/memory.h"

#include <string.h>

bool nacre_data_options_take(void *to, size_t size, const void *from, const char *what) {
    size_t given = 0;
    memset(to, 0, size);
    if (from) memcpy(&given, from, sizeof given);
    if (given < sizeof given) {
        nacre_fail(NACRE_INVALID_ARGUMENT, "%s: %s", what,
                   from ? "options.size is not set: set it to sizeof the struct, or use the macro"
                        : "the options are NULL");
        return false;
    }
    memcpy(to, from, given > size ? size : given);
    return true;
}

nacre_status nacre_sample_bytes(const nacre_shape *shape, nacre_dtype dtype, const char *what,
                                size_t *bytes) {
    *bytes = nacre_dtype_size(dtype);
    if (*bytes == 0)
        return nacre_fail(NACRE_INVALID_ARGUMENT, "dataset: %s: unknown dtype %d", what,
                          (int)dtype);
    if (shape->ndim < 0 || shape->ndim >= NACRE_MAX_DIMS)
        return nacre_fail(
            NACRE_INVALID_ARGUMENT,
            "dataset: %s has %d dimensions; a sample has 0 to %d, the batch is one more", what,
            shape->ndim, NACRE_MAX_DIMS - 1);
    for (int i = 0; i < shape->ndim; i++) {
        if (shape->dims[i] < 1)
            return nacre_fail(NACRE_INVALID_ARGUMENT,
                              "dataset: %s: extent %lld of axis %d; at least 1", what,
                              (long long)shape->dims[i], i);
        if (!nacre_size_multiply(*bytes, (size_t)shape->dims[i], bytes))
            return nacre_fail(NACRE_INVALID_ARGUMENT, "dataset: %s is larger than memory", what);
    }
    return NACRE_OK;
}

static nacre_status check_options(nacre_dataset *set) {
    nacre_dataset_options *o = &set->options;
    if (!o->read) return nacre_fail(NACRE_INVALID_ARGUMENT, "dataset: .read is NULL");
    if (o->count < 1)
        return nacre_fail(NACRE_INVALID_ARGUMENT,
                          "dataset '%s' is empty (count %lld); it needs a sample",
                          o->name ? o->name : "", (long long)o->count);
    if (o->classes < 0)
        return nacre_fail(NACRE_INVALID_ARGUMENT, "dataset: .classes is %lld",
                          (long long)o->classes);
    if (o->input_dtype == NACRE_DTYPE_DEFAULT) o->input_dtype = NACRE_F32;
    if (o->target_dtype == NACRE_DTYPE_DEFAULT) o->target_dtype = NACRE_I64;
    nacre_status status =
        nacre_sample_bytes(&o->input_shape, o->input_dtype, "input_shape", &set->input_bytes);
    if (status != NACRE_OK) return status;
    return nacre_sample_bytes(&o->target_shape, o->target_dtype, "target_shape",
                              &set->target_bytes);
}

nacre_dataset *nacre_dataset_new(const nacre_dataset_options *options) {
    nacre_dataset_options o;
    if (!nacre_data_options_take(&o, sizeof o, options, "dataset_new")) return NULL;
    nacre_dataset *set = nacre_alloc_zeroed(1, sizeof *set);
    if (set) {
        set->options = o;
        if (check_options(set) == NACRE_OK) {
            set->options.name = nacre_strdup(o.name ? o.name : "");
            if (set->options.name) return set;
        }
    }
    nacre_free(set);
    if (o.destroy) o.destroy(o.user);
    return NULL;
}

void nacre_dataset_free(nacre_dataset *set) {
    if (!set) return;
    if (set->options.destroy) set->options.destroy(set->options.user);
    nacre_free((char *)(uintptr_t)set->options.name);
    nacre_free(set);
}

int64_t nacre_dataset_count(const nacre_dataset *set) { return set ? set->options.count : 0; }

nacre_shape nacre_dataset_input_shape(const nacre_dataset *set) {
    return set ? set->options.input_shape : (nacre_shape){0};
}

int64_t nacre_dataset_classes(const nacre_dataset *set) { return set ? set->options.classes : 0; }

const char *nacre_dataset_name(const nacre_dataset *set) { return set ? set->options.name : ""; }

nacre_status nacre_dataset_read(const nacre_dataset *set, const int64_t *indices, int64_t n,
                                void *inputs, void *targets) {
    if (!set || n < 0 || (n > 0 && (!indices || !inputs || !targets)))
        return nacre_fail(NACRE_INVALID_ARGUMENT, "dataset_read: %s",
                          !set    ? "the set is NULL"
                          : n < 0 ? "n is negative"
                                  : "an array is NULL");
    for (int64_t i = 0; i < n; i++) {
        if (indices[i] < 0 || indices[i] >= set->options.count)
            return nacre_fail(NACRE_OUT_OF_RANGE,
                              "dataset_read: index %lld of a set of %lld samples",
                              (long long)indices[i], (long long)set->options.count);
    }
    return n == 0 ? NACRE_OK : set->options.read(set->options.user, indices, n, inputs, targets);
}

/* ---- what is in memory ---- */

enum { LOOK_AHEAD = 4, CACHE_LINE = 64, MAX_FETCH = 4096 }; /* samples; bytes */

/* A shuffled set is read all over its memory: asks for a later sample while this one is read. What follows the first
   pages of a long one the machine asks for by itself. */
static void fetch_ahead(const uint8_t *all, size_t at, size_t bytes) {
    if (bytes > MAX_FETCH) bytes = MAX_FETCH;
    for (size_t i = 0; i < bytes; i += CACHE_LINE) __builtin_prefetch(all + at + i, 0, 0);
}

/* The set, if there is one. */
static nacre_dataset *in_memory(nacre_dataset *set) {
    if (set) set->in_memory = true;
    return set;
}

/* ---- arrays ---- */

typedef struct arrays {
    const uint8_t *inputs, *targets;
    size_t input_bytes, target_bytes;
    void *owned_inputs, *owned_targets; /* NULL: borrowed */
} arrays;

static nacre_status arrays_read(void *user, const int64_t *indices, int64_t n, void *inputs,
                                void *targets) {
    const arrays *a = user;
    uint8_t *input = inputs, *target = targets;
    for (int64_t i = 0; i < n; i++) {
        size_t index = (size_t)indices[i];
        if (i + LOOK_AHEAD < n)
            fetch_ahead(a->inputs, (size_t)indices[i + LOOK_AHEAD] * a->input_bytes,
                        a->input_bytes);
        memcpy(input + (size_t)i * a->input_bytes, a->inputs + index * a->input_bytes,
               a->input_bytes);
        memcpy(target + (size_t)i * a->target_bytes, a->targets + index * a->target_bytes,
               a->target_bytes);
    }
    return NACRE_OK;
}

static void arrays_destroy(void *user) {
    arrays *a = user;
    if (!a) return;
    nacre_free(a->owned_inputs);
    nacre_free(a->owned_targets);
    nacre_free(a);
}

/* A copy of count * size bytes; NULL (last error set) when there is none. */
static void *copied(const void *data, int64_t count, size_t size) {
    size_t bytes;
    if (!nacre_size_multiply((size_t)count, size, &bytes)) {
        nacre_fail(NACRE_OUT_OF_MEMORY,
                   "dataset_from_arrays: %lld samples of %zu bytes exceed memory", (long long)count,
                   size);
        return NULL;
    }
    void *copy = nacre_alloc(bytes);
    if (copy) memcpy(copy, data, bytes);
    return copy;
}

/* NULL on error. The sizes are those of one sample. */
static arrays *arrays_new(const nacre_arrays_options *o, size_t input_bytes, size_t target_bytes) {
    arrays *a = nacre_alloc_zeroed(1, sizeof *a);
    if (!a) return NULL;
    a->input_bytes = input_bytes;
    a->target_bytes = target_bytes;
    a->inputs = o->inputs;
    a->targets = o->targets;
    if (!o->borrow) {
        a->inputs = a->owned_inputs = copied(o->inputs, o->count, input_bytes);
        if (a->inputs) a->targets = a->owned_targets = copied(o->targets, o->count, target_bytes);
        if (!a->inputs || !a->targets) {
            arrays_destroy(a);
            return NULL;
        }
    }
    return a;
}

nacre_dataset *nacre_dataset_from_arrays(const nacre_arrays_options *options) {
    nacre_arrays_options o;
    if (!nacre_data_options_take(&o, sizeof o, options, "dataset_from_arrays")) return NULL;
    if (o.input_dtype == NACRE_DTYPE_DEFAULT) o.input_dtype = NACRE_F32;
    if (o.target_dtype == NACRE_DTYPE_DEFAULT) o.target_dtype = NACRE_I64;
    if (!o.inputs || !o.targets || o.count < 1) {
        nacre_fail(NACRE_INVALID_ARGUMENT, "dataset_from_arrays: %s",
                   !o.inputs    ? ".inputs is NULL"
                   : !o.targets ? ".targets is NULL"
                                : "it is empty");
        return NULL;
    }
    size_t input_bytes, target_bytes;
    if (nacre_sample_bytes(&o.input_shape, o.input_dtype, "input_shape", &input_bytes) !=
            NACRE_OK ||
        nacre_sample_bytes(&o.target_shape, o.target_dtype, "target_shape", &target_bytes) !=
            NACRE_OK)
        return NULL;
    arrays *a = arrays_new(&o, input_bytes, target_bytes);
    if (!a) return NULL;
    return in_memory(
        nacre_dataset_new(&(nacre_dataset_options){.size = sizeof(nacre_dataset_options),
                                                   .count = o.count,
                                                   .input_shape = o.input_shape,
                                                   .input_dtype = o.input_dtype,
                                                   .target_shape = o.target_shape,
                                                   .target_dtype = o.target_dtype,
                                                   .classes = o.classes,
                                                   .read = arrays_read,
                                                   .destroy = arrays_destroy,
                                                   .user = a,
                                                   .name = "arrays"}));
}

/* ---- the head of a set ---- */

static nacre_status head_read(void *user, const int64_t *indices, int64_t n, void *inputs,
                              void *targets) {
    const nacre_dataset *set = user;
    return set->options.read(set->options.user, indices, n, inputs, targets);
}

nacre_dataset *nacre_dataset_head(const nacre_dataset *set, int64_t count) {
    if (!set || count < 1 || count > set->options.count) {
        nacre_fail(NACRE_INVALID_ARGUMENT, "dataset_head: %lld samples of a set of %lld",
                   (long long)count, (long long)nacre_dataset_count(set));
        return NULL;
    }
    nacre_dataset_options o = set->options;
    o.size = sizeof o;
    o.count = count;
    o.read = head_read;
    o.destroy = NULL;
    o.user = (void *)(uintptr_t)set; /* only read */
    nacre_dataset *head = nacre_dataset_new(&o);
    return set->in_memory ? in_memory(head) : head;
}

/* ---- images ---- */

static nacre_status images_read(void *user, const int64_t *indices, int64_t n, void *inputs,
                                void *targets) {
    const nacre_images *images = user;
    const nacre_elementwise_kernels *kernels = nacre_cpu_level_at(nacre_isa_in_use())->elementwise;
    size_t pixels = (size_t)(images->height * images->width);
    float *input = inputs;
    for (int64_t i = 0; i < n; i++) {
        if (i + LOOK_AHEAD < n)
            fetch_ahead(images->pixels, (size_t)indices[i + LOOK_AHEAD] * pixels, pixels);
        kernels->pixels(pixels, images->pixels + (size_t)indices[i] * pixels, (float)images->mean,
                        (float)images->std, input + (size_t)i * pixels);
    }
    if (!images->one_hot) {
        int64_t *target = targets;
        for (int64_t i = 0; i < n; i++) target[i] = images->labels[indices[i]];
        return NACRE_OK;
    }
    float *target = targets;
    memset(target, 0, (size_t)(n * images->classes) * sizeof *target);
    for (int64_t i = 0; i < n; i++) target[i * images->classes + images->labels[indices[i]]] = 1;
    return NACRE_OK;
}

static void images_destroy(void *user) {
    nacre_images *images = user;
    nacre_free(images->pixels);
    nacre_free(images->labels);
    nacre_free(images);
}

nacre_dataset *nacre_dataset_from_images(const nacre_images *images) {
    nacre_images *set = nacre_alloc(sizeof *set);
    if (!set) {
        nacre_free(images->pixels);
        nacre_free(images->labels);
        return NULL;
    }
    *set = *images;
    nacre_dataset_options o = {.size = sizeof o,
                               .count = images->count,
                               .input_shape = {2, {images->height, images->width}},
                               .classes = images->classes,
                               .read = images_read,
                               .destroy = images_destroy,
                               .user = set,
                               .name = images->name};
    if (images->channel) o.input_shape = (nacre_shape){3, {1, images->height, images->width}};
    if (images->one_hot) {
        o.target_shape = (nacre_shape){1, {images->classes}};
        o.target_dtype = NACRE_F32;
    }
    return in_memory(nacre_dataset_new(&o));
}
