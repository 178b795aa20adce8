#include <nacre/system.h>

#include "base/cancel.h"

#include <stdatomic.h>

/* A signal handler sets it: only a lock-free atomic is safe there. */
static atomic_int cancelled;
_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "nacre_cancel must be safe in a signal handler");

const char *nacre_version(void) { return NACRE_VERSION_STRING; }

void nacre_cancel(bool cancel) { atomic_store(&cancelled, cancel); }

bool nacre_cancelled(void) { return atomic_load_explicit(&cancelled, memory_order_relaxed) != 0; }
