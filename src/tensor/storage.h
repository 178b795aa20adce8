/* Storage: the bytes behind computed values, reference counted. Contents are contiguous, row-major. */
#ifndef NACRE_TENSOR_STORAGE_H
#define NACRE_TENSOR_STORAGE_H

#include <nacre/tensor.h>
#include <stdatomic.h>

typedef struct nacre_storage {
    atomic_uint refs;
    uint64_t version; /* counts overwrites; a value remembers the one it was computed at */
    size_t bytes;
    unsigned char *data; /* aligned to 64 bytes, never NULL, padded to a multiple of 64 bytes */
    void *holder;        /* the value whose contents these are now (record layer), or NULL */
} nacre_storage;

/* NULL when memory is short. Contents undefined. */
nacre_storage *nacre_storage_new(size_t bytes);
nacre_storage *nacre_storage_retain(nacre_storage *storage);
void nacre_storage_release(nacre_storage *storage); /* NULL is fine */

#endif
