/* Batches as tensors. A loader makes two sets of tensors for each size of batch (full, and the smaller
   last one) and refills them in turn, so a steady state allocates nothing. */
#include "base/error.h"
#include "base/memory.h"
#include "data/batches.h"
#include "data/dataset.h"
#include "record/record.h"

#include <nacre/ops.h>

enum { SIZES = 2, TURNS = 2, MAX_PREFETCH = 1024 };

typedef struct pair {
    nacre_tensor *inputs, *targets; /* retained; NULL until first used */
} pair;

struct nacre_loader {
    nacre_batches *batches;
    const nacre_dataset *set;
    pair pairs[SIZES][TURNS];
    unsigned turn;
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

nacre_loader *nacre_loader_new(const nacre_loader_options *options) {
    nacre_loader_options o;
    if (!nacre_data_options_take(&o, sizeof o, options, "loader_new")) return NULL;
    if (check_options(&o) != NACRE_OK) return NULL;
    nacre_loader *loader = nacre_alloc_zeroed(1, sizeof *loader);
    if (!loader) return NULL;
    loader->set = o.set;
    loader->batches = nacre_batches_new(&o);
    if (loader->batches) return loader;
    nacre_free(loader);
    return NULL;
}

static void drop(nacre_tensor **t) {
    if (*t) nacre_release(*t);
    *t = NULL;
}

void nacre_loader_free(nacre_loader *loader) {
    if (!loader) return;
    nacre_batches_free(loader->batches);
    for (int size = 0; size < SIZES; size++) {
        for (int turn = 0; turn < TURNS; turn++) {
            drop(&loader->pairs[size][turn].inputs);
            drop(&loader->pairs[size][turn].targets);
        }
    }
    nacre_free(loader);
}

int64_t nacre_loader_batches(const nacre_loader *loader) {
    return loader ? nacre_batches_per_epoch(loader->batches) : 0;
}

nacre_status nacre_loader_start(nacre_loader *loader, int64_t epoch, int64_t first) {
    if (!loader) return nacre_fail(NACRE_INVALID_ARGUMENT, "loader_start: the loader is NULL");
    return nacre_batches_start(loader->batches, epoch, first);
}

/* A tensor of n samples of that shape, outside all scopes of the program. NULL on error. */
static nacre_tensor *make_tensor(const void *data, const nacre_shape *sample, nacre_dtype dtype,
                                 int64_t n) {
    nacre_data_options o = {.size = sizeof o, .data = data, .dtype = dtype};
    o.shape.ndim = sample->ndim + 1;
    o.shape.dims[0] = n;
    for (int i = 0; i < sample->ndim; i++) o.shape.dims[i + 1] = sample->dims[i];
    nacre_scope frame = nacre_frame_begin();
    nacre_tensor *t = nacre_from_data_at(&o, NULL, 0);
    t = nacre_is_error(t) ? NULL : nacre_retain(t);
    nacre_frame_end(frame, NULL, 0);
    return t;
}

/* Puts n samples into *t, which is made the first time. */
static nacre_status refill(nacre_tensor **t, const void *data, const nacre_shape *sample,
                           nacre_dtype dtype, size_t sample_bytes, int64_t n) {
    if (*t) return nacre_copy_from(*t, data, sample_bytes * (size_t)n);
    *t = make_tensor(data, sample, dtype, n);
    return *t ? NACRE_OK : nacre_error_code();
}

static nacre_status fill(pair *to, const nacre_dataset *set, const nacre_filled *from) {
    const nacre_dataset_options *o = &set->options;
    nacre_status status = refill(&to->inputs, from->inputs, &o->input_shape, o->input_dtype,
                                 set->input_bytes, from->count);
    if (status != NACRE_OK) return status;
    return refill(&to->targets, from->targets, &o->target_shape, o->target_dtype, set->target_bytes,
                  from->count);
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
    nacre_filled from;
    if (!nacre_batches_take(loader->batches, &from, status)) return false;
    const nacre_dataset *set = loader->set;
    bool full = from.count == nacre_batches_full_size(loader->batches);
    /* The first batch of a size makes the tensors of every turn: memory is steady from there on. */
    pair *turns = loader->pairs[full ? 0 : 1], *to = &turns[loader->turn++ % TURNS];
    *status = fill(to, set, &from);
    for (int turn = 0; turn < TURNS && *status == NACRE_OK; turn++) {
        if (!turns[turn].targets) *status = fill(&turns[turn], set, &from);
    }
    if (*status != NACRE_OK) return false; /* the batch was not given back: next tries it again */
    nacre_batches_give(loader->batches);
    *out = (nacre_batch){to->inputs, to->targets, from.count, from.index};
    return true;
}
