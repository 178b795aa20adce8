#include "tensor/storage.h"

#include "base/count.h"
#include "base/error.h"
#include "base/memory.h"

#include <string.h>

/* Whole cache lines: kernels may load (never store) past the last element of a row's tail. */
static bool padded_size(size_t bytes, size_t *out) {
    if (!nacre_size_add(bytes, 63, out)) {
        return false;
    }
    *out &= ~(size_t)63;
    *out = *out ? *out : 64;
    return true;
}

/* ---- the form ---- */

enum { FORM_NONE, FORM_FILLING, FORM_READY };

static bool reserve_form(nacre_form *form, size_t bytes) {
    if (!form->data || form->bytes != bytes) {
        nacre_free(form->data);
        form->data = nacre_try_alloc(bytes);
        form->bytes = bytes;
    }
    return form->data != NULL;
}

void *nacre_storage_form(nacre_storage *storage, const nacre_form_key *key, size_t bytes,
                         bool *fill) {
    nacre_form *form = &storage->form;
    *fill = false;
    int state = atomic_load_explicit(&form->state, memory_order_acquire);
    if (state == FORM_READY && form->version == storage->version) {
        bool same = memcmp(&form->key, key, sizeof *key) == 0 && form->bytes == bytes;
        return same ? form->data : NULL;
    }
    if (state == FORM_FILLING ||
        !atomic_compare_exchange_strong_explicit(&form->state, &state, FORM_FILLING,
                                                 memory_order_acquire, memory_order_relaxed)) {
        return NULL;
    }
    bool again = form->last_version == storage->version;
    form->last_version = storage->version;
    if (!again || !reserve_form(form, bytes)) {
        atomic_store_explicit(&form->state, FORM_NONE, memory_order_release);
        return NULL;
    }
    form->key = *key;
    form->version = storage->version;
    *fill = true;
    return form->data;
}

void nacre_storage_form_filled(nacre_storage *storage) {
    atomic_store_explicit(&storage->form.state, FORM_READY, memory_order_release);
}

/* ---- the contents ---- */

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
    nacre_count_add(&storage->refs, 1, nacre_is_alone());
    return storage;
}

void nacre_storage_release(nacre_storage *storage) {
    /* Who holds the only reference need not count. */
    if (!storage || (atomic_load_explicit(&storage->refs, memory_order_acquire) != 1 &&
                     nacre_count_sub(&storage->refs, 1, nacre_is_alone()) != 0)) {
        return;
    }
    size_t padded;
    if (padded_size(storage->bytes, &padded)) {
        nacre_pool_give(storage->data, padded);
    }
    nacre_free(storage->form.data);
    nacre_pool_give(storage, sizeof *storage);
}
