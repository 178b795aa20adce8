/* The one allocator: counted, and made to fail by tests. All sizes are in bytes. */
#ifndef NACRE_BASE_MEMORY_H
#define NACRE_BASE_MEMORY_H

#include <nacre/system.h>

/* Blocks are aligned to 64 bytes. size 0 gives a valid block. NULL when memory is short: the
   thread's last error is then set. */
void *nacre_alloc(size_t size);
void *nacre_alloc_zeroed(size_t count, size_t size); /* overflow of count * size is NULL too */
void *nacre_realloc(void *block, size_t size);       /* on failure the old block stays valid */
void *nacre_try_alloc(size_t size); /* for what can be done without: no error is set */
void nacre_free(void *block);       /* NULL is fine */
char *nacre_strdup(const char *text);

/* Small blocks that are taken and returned all the time (records, handles, scalars): a free list per
   thread and size class, so that a steady state calls no allocator. Contents are undefined, `size` is
   the same in both calls, and a block may be given back on another thread. Above 1 MiB the allocator is
   called each time. While nacre_memory_fail_at is armed every take counts as an allocation, whatever
   the lists hold, so that failing each n in turn reaches all of them. Under AddressSanitizer blocks are
   not kept, so that a use after the give is seen. */
void *nacre_pool_take(size_t size);
void nacre_pool_give(void *block, size_t size);

/* Releases the free lists of the calling thread and those that all threads share. A thread's own lists
   are released when it ends. */
void nacre_pool_trim(void);

/* Reserved address space that grows in place: variables and arenas never move.
   Growth is counted like an allocation; it and the reservation can be made to fail. The largest growth
   of any region is nacre_memory's arena_bytes. Where address space is short, `reserved` may be less
   than asked for. New bytes are zero. */
typedef struct nacre_region {
    unsigned char *base;
    size_t reserved, committed;
    bool limited; /* less was reserved than asked for */
} nacre_region;
nacre_status nacre_region_reserve(nacre_region *region, size_t bytes);
nacre_status nacre_region_grow(nacre_region *region, size_t bytes); /* makes [0, bytes) usable */
void nacre_region_release(nacre_region *region);

/* true and *out = a * b, or false on overflow. */
bool nacre_size_multiply(size_t a, size_t b, size_t *out);
bool nacre_size_add(size_t a, size_t b, size_t *out);

#endif
