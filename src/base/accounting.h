/* Counters of nacre_memory, for the files that obtain memory: memory.c, blocks.c, region.c. */
#ifndef NACRE_BASE_ACCOUNTING_H
#define NACRE_BASE_ACCOUNTING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* Allocations until the one that nacre_memory_fail_at asked to fail; 0: none was asked for. */
extern atomic_ullong nacre_account_countdown;
bool nacre_account_count_down(size_t bytes);

/* True when this allocation is the one to fail. The thread's last error is then set for a request of `bytes`. */
static inline bool nacre_account_fails(size_t bytes) {
    return atomic_load_explicit(&nacre_account_countdown, memory_order_relaxed) != 0 &&
           nacre_account_count_down(bytes);
}

/* `counted` adds 1 to `allocations`. */
void nacre_account_grow(size_t bytes, size_t blocks, bool counted);
void nacre_account_shrink(size_t bytes, size_t blocks);
void nacre_account_arena(size_t extent);

/* nacre_alloc without nacre_account_fails, and counted only if asked for. */
void *nacre_obtain(size_t size, bool counted);

#endif
