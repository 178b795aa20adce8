#include "tensor/storage.h"

#include "base/error.h"
#include "base/memory.h"

/* Whole cache lines: kernels may load (never store) past the last element of a row's tail. */
static bool padded_size(size_t bytes, size_t *out) {
    if (!nacre_size_add(bytes, 63, out)) {
        return false;
    }
    *out &= ~(size_t)63;
    *out = *out ? *out : 64;
    return true;
}

nacre_storage *nacre_storage_new(size_t bytes) {
    size_t padded;
    if (!padded_size(bytes, &padded)) {
        nacre_fail(NACRE_OUT_OF_MEMORY, "out of memory: %zu bytes asked for", bytes);
        return NULL;
    }
    nacre_storage *storage = nacre_pool_take(sizeof *storage);
    unsigned char *data = storage ? nacre_pool_take(padded) : NULL;
    if (!data) {
        if (storage) {
            nacre_pool_give(storage, sizeof *storage);
        }
        return NULL;
    }
    *storage = (nacre_storage){.version = 1, .bytes = bytes, .data = data};
    atomic_init(&storage->refs, 1);
    return storage;
}

nacre_storage *nacre_storage_retain(nacre_storage *storage) {
    atomic_fetch_add_explicit(&storage->refs, 1, memory_order_relaxed);
    return storage;
}

void nacre_storage_release(nacre_storage *storage) {
    /* Who holds the only reference need not count. */
    if (!storage || (atomic_load_explicit(&storage->refs, memory_order_acquire) != 1 &&
                     atomic_fetch_sub_explicit(&storage->refs, 1, memory_order_acq_rel) != 1)) {
        return;
    }
    size_t padded;
    if (padded_size(storage->bytes, &padded)) {
        nacre_pool_give(storage->data, padded);
    }
    nacre_pool_give(storage, sizeof *storage);
}
