/* Counting references that threads may share. An atomic operation takes as long as twenty others, so while the
   process has one thread it is spared: glibc knows (since 2.32; std::shared_ptr asks it the same), elsewhere all
   counting is atomic. */
#ifndef NACRE_BASE_COUNT_H
#define NACRE_BASE_COUNT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#if defined(__has_include)
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#define NACRE_KNOWS_THREADS 1
#endif
#endif

/* No other thread exists: whoever starts one does so on this thread, after what this one did before. */
static inline bool nacre_is_alone(void) {
#if defined(NACRE_KNOWS_THREADS)
    return __libc_single_threaded;
#else
    return false;
#endif
}

/* The count before. */
static inline uint64_t nacre_count_add(_Atomic uint64_t *count, uint64_t more, bool alone) {
    if (!alone) {
        return atomic_fetch_add_explicit(count, more, memory_order_relaxed);
    }
    uint64_t before = atomic_load_explicit(count, memory_order_relaxed);
    atomic_store_explicit(count, before + more, memory_order_relaxed);
    return before;
}

/* What is left; the thread that takes the last one away sees what the others did. */
static inline uint64_t nacre_count_sub(_Atomic uint64_t *count, uint64_t less, bool alone) {
    if (!alone) {
        return atomic_fetch_sub_explicit(count, less, memory_order_acq_rel) - less;
    }
    uint64_t left = atomic_load_explicit(count, memory_order_relaxed) - less;
    atomic_store_explicit(count, left, memory_order_relaxed);
    return left;
}

#endif
