/* Batches as tensors. A loader makes a ring of tensors for each size of batch (full, and the smaller last one), whose
   own memory batches are read to, so a steady state copies and allocates nothing. */
#include "base/error.h"
#include "base/memory.h"
#include "data/batches.h"
#include "data/dataset.h"
#include "record/record.h"

enum { MAX_PREFETCH = 1024 };

typedef struct pair {
    nacre_tensor *inputs, *targets; /* retained; NULL until the first start */
} pair;

struct nacre_loader {
    nacre_batches *batches;
    const nacre_dataset *set;
    pair *pairs[NACRE_BATCH_SIZES]; /* one for each place */
};

static nacre_status check_options(const nacre_loader_options *o) {
    if (!o->set) return nacre_fail(NACRE_INVALID_ARGUMENT, "loader: .set is NULL");
    if (o->batch_size < 1)
        return nacre_fail(NACRE_INVALID_ARGUMENT, "loader: .batch_size is %lld; at least 1",
                          (long long)o->batch_size);
    if (o->prefetch < 0 || o->prefetch > MAX_PREFETCH)
        return nacre_fail(NACRE_INVALID_ARGUMENT, "loader: .prefetch is %d; 0 to %d batches",
                          o->prefetch, MAX_PREFETCH);
    return NACRE_OK;
}

static void drop(nacre_tensor **t) {
    if (*t) nacre_release(*t);
    *t = NULL;
}

void nacre_loader_free(nacre_loader *loader) {
    if (!loader) return;
    int64_t places[NACRE_BATCH_SIZES] = {0};
    for (int size = 0; size < NACRE_BATCH_SIZES; size++) {
        if (loader->pairs[size])
            places[size] = nacre_batches_places(loader->batches, (nacre_batch_size)size);
    }
    nacre_batches_free(loader->batches); /* first: its thread writes to the tensors' memory */
    for (int size = 0; size < NACRE_BATCH_SIZES; size++) {
        for (int64_t i = 0; i < places[size]; i++) {
            drop(&loader->pairs[size][i].inputs);
            drop(&loader->pairs[size][i].targets);
        }
        nacre_free(loader->pairs[size]);
    }
    nacre_free(loader);
}

nacre_loader *nacre_loader_new(const nacre_loader_options *options) {
    nacre_loader_options o;
    if (!nacre_data_options_take(&o, sizeof o, options, "loader_new")) return NULL;
    if (check_options(&o) != NACRE_OK) return NULL;
    nacre_loader *loader = nacre_alloc_zeroed(1, sizeof *loader);
    if (!loader) return NULL;
    loader->set = o.set;
    loader->batches = nacre_batches_new(&o);
    bool made = loader->batches != NULL;
    for (int size = 0; made && size < NACRE_BATCH_SIZES; size++) {
        int64_t count = nacre_batches_places(loader->batches, (nacre_batch_size)size);
        if (count == 0) continue;
        loader->pairs[size] = nacre_alloc_zeroed((size_t)count, sizeof *loader->pairs[size]);
        made = loader->pairs[size] != NULL;
    }
    if (made) return loader;
    nacre_loader_free(loader);
    return NULL;
}

int64_t nacre_loader_batches(const nacre_loader *loader) {
    return loader ? nacre_batches_per_epoch(loader->batches) : 0;
}

/* A tensor of n samples of that shape, outside all scopes of the program. NULL on error. */
static nacre_tensor *make_tensor(const nacre_shape *sample, nacre_dtype dtype, int64_t n) {
    nacre_shape shape = {.ndim = sample->ndim + 1};
    shape.dims[0] = n;
    for (int i = 0; i < sample->ndim; i++) shape.dims[i + 1] = sample->dims[i];
    nacre_scope frame = nacre_frame_begin();
    nacre_tensor *t = nacre_tensor_leaf(dtype, &shape);
    if (t) nacre_retain(t);
    nacre_frame_end(frame, NULL, 0);
    return t;
}

/* Readies a pair for other contents: it is made the first time. */
static nacre_status prepare(nacre_loader *loader, nacre_batch_size size, int64_t place) {
    const nacre_dataset_options *o = &loader->set->options;
    pair *to = &loader->pairs[size][place];
    int64_t n = nacre_batches_samples(loader->batches, size);
    if (!to->inputs) to->inputs = make_tensor(&o->input_shape, o->input_dtype, n);
    if (!to->targets) to->targets = make_tensor(&o->target_shape, o->target_dtype, n);
    if (!to->inputs || !to->targets) return nacre_error_code();
    nacre_place memory = {.inputs = nacre_tensor_overwrite(to->inputs)};
    if (memory.inputs) memory.targets = nacre_tensor_overwrite(to->targets);
    if (!memory.targets) return nacre_error_code();
    nacre_batches_put(loader->batches, size, place, memory);
    return NACRE_OK;
}

/* All tensors, at the first start: memory is steady from there on. */
static nacre_status prepare_all(nacre_loader *loader) {
    nacre_status status = NACRE_OK;
    for (int size = 0; size < NACRE_BATCH_SIZES; size++) {
        int64_t count = nacre_batches_places(loader->batches, (nacre_batch_size)size);
        for (int64_t i = 0; i < count && status == NACRE_OK; i++) {
            if (!loader->pairs[size][i].targets)
                status = prepare(loader, (nacre_batch_size)size, i);
        }
    }
    return status;
}

nacre_status nacre_loader_start(nacre_loader *loader, int64_t epoch, int64_t first) {
    if (!loader) return nacre_fail(NACRE_INVALID_ARGUMENT, "loader_start: the loader is NULL");
    nacre_status status = prepare_all(loader);
    return status == NACRE_OK ? nacre_batches_start(loader->batches, epoch, first) : status;
}

bool nacre_loader_next(nacre_loader *loader, nacre_batch *out, nacre_status *status) {
    nacre_status ignored;
    if (!status) status = &ignored;
    if (!loader || !out) {
        *status = nacre_fail(NACRE_INVALID_ARGUMENT, "loader_next: %s is NULL",
                             loader ? "out" : "loader");
        return false;
    }
    *out = (nacre_batch){0};
    nacre_turn turn;
    if (!nacre_batches_turn(loader->batches, &turn, status)) return false;
    /* Fails before the batch is taken: next tries it again. */
    *status = prepare(loader, turn.size, turn.freed);
    if (*status == NACRE_OK) *status = nacre_batches_take(loader->batches);
    if (*status != NACRE_OK) return false;
    const pair *p = &loader->pairs[turn.size][turn.place];
    *out = (nacre_batch){p->inputs, p->targets, turn.count, turn.index};
    return true;
}
