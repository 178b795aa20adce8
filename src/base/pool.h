/* The worker pool: fork-join over a number of tasks. */
#ifndef NACRE_BASE_POOL_H
#define NACRE_BASE_POOL_H

#include <stddef.h>

typedef void nacre_task(void *context, size_t index);

/* Runs task(context, i) for i in [0, count), on the pool's threads and the calling one, and returns
   when all are done. Which thread runs which index is not fixed: results must not depend on it.
   count <= 1, one thread, or a call from inside a task runs inline. One evaluation uses the pool at a
   time; a second caller runs inline rather than wait. Idle workers spin for a bounded time, then park;
   with fewer usable CPUs than threads they park at once. Never allocates once the pool is up.
   Each worker runs with flush-to-zero and round-to-nearest. */
void nacre_parallel(size_t count, nacre_task *task, void *context);

/* Floating-point mode of every evaluation: nearest, flush to zero, denormals are zero. Pairs may nest on a thread;
   each nacre_fp_restore gets what its nacre_fp_enter returned. */
unsigned long long nacre_fp_enter(void);
void nacre_fp_restore(unsigned long long mode);

#endif
