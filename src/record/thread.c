/* The calling thread's state: made on first use, freed when the thread ends. */
#include "base/error.h"
#include "base/memory.h"
#include "record/record.h"

#include <nacre/grad.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

_Thread_local nacre_thread *nacre_thread_current;
static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Atomic uint32_t threads_made;

static void thread_free(void *state) {
    nacre_thread *thread = state;
    nacre_thread_current = thread;
    for (size_t i = thread->scoped_count; i-- > 0;) {
        nacre_tensor *t = thread->scoped[i];
        thread->scoped_count = i;
        t->scope_index = -1;
        nacre_release(t);
    }
    nacre_rollback(thread); /* nobody else could compute what is pending here */
    if (thread->plans_free) {
        thread->plans_free(thread->plans);
    }
    nacre_free(thread->scoped);
    nacre_free(thread);
    nacre_thread_current = NULL;
}

static void make_key(void) { pthread_key_create(&key, thread_free); }

/* 0 is off, anything else on; `unset`: what no text means. */
static bool environment_flag(const char *name, bool unset) {
    const char *text = getenv(name);
    return text && *text ? strcmp(text, "0") != 0 : unset;
}

nacre_thread *nacre_thread_new(void) {
    pthread_once(&once, make_key);
    nacre_thread *thread = nacre_alloc_zeroed(1, sizeof *thread);
    if (!thread) {
        return NULL;
    }
    thread->eager = thread->nan_watch = environment_flag("NACRE_EAGER", false);
    thread->unfused = !environment_flag("NACRE_FUSE", true);
    thread->number = atomic_fetch_add_explicit(&threads_made, 1, memory_order_relaxed) + 1;
    thread->scopes = 1; /* the outermost scope is always open */
    thread->seed = 1;
    if (pthread_setspecific(key, thread) != 0) {
        nacre_free(thread);
        nacre_fail(NACRE_OUT_OF_MEMORY, "out of memory: no room for the thread's state");
        return NULL;
    }
    nacre_thread_current = thread;
    return thread;
}

void nacre_seed(uint64_t seed) {
    nacre_thread *thread = nacre_this_thread();
    if (thread) {
        thread->seed = seed;
        thread->draws = 0;
    }
}

bool nacre_set_grad_enabled(bool enabled) {
    nacre_thread *thread = nacre_this_thread();
    if (!thread) {
        return true;
    }
    bool before = !thread->no_grad;
    thread->no_grad = !enabled;
    return before;
}

bool nacre_grad_enabled(void) { return !nacre_thread_current || !nacre_thread_current->no_grad; }
