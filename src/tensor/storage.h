/* Storage: the bytes behind computed values, reference counted. Contents are contiguous, row-major. */
#ifndef NACRE_TENSOR_STORAGE_H
#define NACRE_TENSOR_STORAGE_H

#include <nacre/tensor.h>
#include <stdatomic.h>
#include <stdbool.h>

/* What says how the contents are arranged: shapes, strides and the like. */
#define NACRE_FORM_KEY 8
typedef struct nacre_form_key {
    int64_t words[NACRE_FORM_KEY];
} nacre_form_key;

/* The contents once more, as a backend's kernels read them best. */
typedef struct nacre_form {
    atomic_int state;      /* FORM_* in storage.c */
    uint64_t version;      /* of the contents that it holds */
    uint64_t last_version; /* at which somebody asked for it last */
    nacre_form_key key;
    size_t bytes;
    void *data;
} nacre_form;

typedef struct nacre_storage {
    _Atomic uint64_t refs;
    uint64_t version; /* counts overwrites; a value remembers the one it was computed at */
    size_t bytes;
    unsigned char *data; /* aligned to 64 bytes, never NULL, padded to a multiple of 64 bytes */
    void *holder;        /* the value whose contents these are now (record layer), or NULL */
    nacre_form form;
} nacre_storage;

/* NULL when memory is short. Contents undefined. */
nacre_storage *nacre_storage_new(size_t bytes);
nacre_storage *nacre_storage_retain(nacre_storage *storage);
void nacre_storage_release(nacre_storage *storage); /* NULL is fine */

/* The form of `key` and `bytes`, kept beside the contents for life and made anew when they were overwritten. NULL: there
   is none now, use the contents. *fill: the caller alone has it, fills it and says nacre_storage_form_filled.
   A storage keeps one form, and makes it the second time that the same contents are asked for, so that what changes
   with every use costs nothing. Any thread may ask. */
void *nacre_storage_form(nacre_storage *storage, const nacre_form_key *key, size_t bytes,
                         bool *fill);
void nacre_storage_form_filled(nacre_storage *storage);

#endif
