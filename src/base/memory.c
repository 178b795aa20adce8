#define _POSIX_C_SOURCE 200809L

#include "base/memory.h"

#include "base/accounting.h"
#include "base/error.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* A whole cache line before each block keeps the block itself aligned to 64. */
enum { HEADER_BYTES = 64 };

typedef struct header {
    size_t size;     /* as asked for */
    size_t capacity; /* what the block can hold */
} header;

atomic_ullong nacre_account_countdown;
static atomic_ullong allocations, live_blocks;
static atomic_size_t live_bytes, peak_bytes, arena_bytes;

static void raise_to(atomic_size_t *highest, size_t value) {
    size_t seen = atomic_load_explicit(highest, memory_order_relaxed);
    while (seen < value && !atomic_compare_exchange_weak_explicit(
                               highest, &seen, value, memory_order_relaxed, memory_order_relaxed))
        continue;
}

void nacre_account_grow(size_t bytes, size_t blocks, bool counted) {
    if (counted) atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    if (blocks) atomic_fetch_add_explicit(&live_blocks, blocks, memory_order_relaxed);
    size_t before = atomic_fetch_add_explicit(&live_bytes, bytes, memory_order_relaxed);
    raise_to(&peak_bytes, before + bytes);
}

void nacre_account_shrink(size_t bytes, size_t blocks) {
    if (blocks) atomic_fetch_sub_explicit(&live_blocks, blocks, memory_order_relaxed);
    atomic_fetch_sub_explicit(&live_bytes, bytes, memory_order_relaxed);
}

void nacre_account_arena(size_t extent) { raise_to(&arena_bytes, extent); }

/* Is this the allocation that nacre_memory_fail_at asked to fail? */
static bool counts_down(void) {
    unsigned long long left = atomic_load_explicit(&nacre_account_countdown, memory_order_relaxed);
    while (left != 0 &&
           !atomic_compare_exchange_weak_explicit(&nacre_account_countdown, &left, left - 1,
                                                  memory_order_relaxed, memory_order_relaxed))
        continue;
    return left == 1;
}

bool nacre_account_count_down(size_t bytes) {
    if (!counts_down()) return false;
    nacre_fail(NACRE_OUT_OF_MEMORY,
               "out of memory: cannot allocate %zu bytes (failure asked for by "
               "nacre_memory_fail_at)",
               bytes);
    return true;
}

void nacre_memory_fail_at(uint64_t n) { atomic_store(&nacre_account_countdown, n); }

nacre_memory_stats nacre_memory(void) {
    return (nacre_memory_stats){
        .allocations = atomic_load(&allocations),
        .live_bytes = atomic_load(&live_bytes),
        .peak_bytes = atomic_load(&peak_bytes),
        .live_blocks = atomic_load(&live_blocks),
        .arena_bytes = atomic_load(&arena_bytes),
    };
}

static header *header_of(void *block) {
    return (header *)(void *)((unsigned char *)block - HEADER_BYTES);
}

/* NULL without an error. */
static void *try_raw(size_t size) {
    void *raw = NULL;
    /* Above PTRDIFF_MAX pointer differences would overflow. */
    if (size > (size_t)PTRDIFF_MAX - HEADER_BYTES ||
        posix_memalign(&raw, HEADER_BYTES, HEADER_BYTES + size) != 0)
        return NULL;
    *(header *)raw = (header){.size = size, .capacity = size};
    return (unsigned char *)raw + HEADER_BYTES;
}

static void *obtain_raw(size_t size) {
    void *block = try_raw(size);
    if (!block) nacre_fail(NACRE_OUT_OF_MEMORY, "out of memory: cannot allocate %zu bytes", size);
    return block;
}

void *nacre_obtain(size_t size, bool counted) {
    void *block = obtain_raw(size);
    if (block) nacre_account_grow(size, 1, counted);
    return block;
}

void *nacre_alloc(size_t size) {
    return nacre_account_fails(size) ? NULL : nacre_obtain(size, true);
}

void *nacre_try_alloc(size_t size) {
    void *block = counts_down() ? NULL : try_raw(size);
    if (block) nacre_account_grow(size, 1, true);
    return block;
}

void *nacre_alloc_zeroed(size_t count, size_t size) {
    size_t bytes;
    if (!nacre_size_multiply(count, size, &bytes)) {
        nacre_fail(NACRE_OUT_OF_MEMORY, "out of memory: %zu elements of %zu bytes", count, size);
        return NULL;
    }
    void *block = nacre_alloc(bytes);
    if (block) memset(block, 0, bytes);
    return block;
}

void nacre_free(void *block) {
    if (!block) return;
    header *h = header_of(block);
    nacre_account_shrink(h->size, 1);
    free(h);
}

/* Gives memory back when less than half is still used; keeps the block when there is none to move to. */
static void *shrink(void *block, size_t size) {
    header *h = header_of(block);
    nacre_account_shrink(h->size - size, 0);
    h->size = size;
    if (size >= h->capacity / 2) return block;
    void *raw = NULL;
    if (posix_memalign(&raw, HEADER_BYTES, HEADER_BYTES + size) != 0) return block;
    memcpy(raw, h, HEADER_BYTES + size);
    ((header *)raw)->capacity = size;
    free(h);
    return (unsigned char *)raw + HEADER_BYTES;
}

void *nacre_realloc(void *block, size_t size) {
    if (!block) return nacre_alloc(size);
    header *h = header_of(block);
    size_t old = h->size;
    if (size <= old) return shrink(block, size);
    if (nacre_account_fails(size)) return NULL;
    if (size <= h->capacity) {
        h->size = size;
        nacre_account_grow(size - old, 0, true);
        return block;
    }
    void *grown = obtain_raw(size);
    if (!grown) return NULL;
    memcpy(grown, block, old);
    free(h);
    nacre_account_grow(size - old, 0, true);
    return grown;
}

char *nacre_strdup(const char *text) {
    size_t bytes = strlen(text) + 1;
    char *copy = nacre_alloc(bytes);
    if (copy) memcpy(copy, text, bytes);
    return copy;
}

bool nacre_size_multiply(size_t a, size_t b, size_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}

bool nacre_size_add(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }
