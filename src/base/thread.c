#ifdef __linux__
#define _GNU_SOURCE
#else
#define _POSIX_C_SOURCE 200809L
#endif

#include "base/thread.h"

#include <signal.h>
#include <stddef.h>

#ifdef __linux__
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

void nacre_mutex_lock(nacre_mutex *mutex) { pthread_mutex_lock(mutex); }

void nacre_mutex_unlock(nacre_mutex *mutex) { pthread_mutex_unlock(mutex); }

void nacre_mutex_reset(nacre_mutex *mutex) { *mutex = (nacre_mutex)NACRE_MUTEX_INIT; }

/* Kernels keep their blocks in the arena; 2 MiB holds every local array, also where the platform's own
   default is small. */
enum { STACK_BYTES = 2 << 20 };

bool nacre_thread_start(nacre_os_thread *thread, void *(*run)(void *), void *argument) {
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) return false;
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(thread, &attributes, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return failed == 0;
}

void nacre_thread_join(nacre_os_thread thread) { pthread_join(thread, NULL); }

void nacre_call_once(nacre_once *once, void (*call)(void)) { pthread_once(once, call); }

void nacre_at_fork(void (*before)(void), void (*parent)(void), void (*child)(void)) {
    pthread_atfork(before, parent, child);
}

#ifdef __linux__

/* The kernel compares the word under its own lock, so a change between the caller's look and the sleep
   is not missed. */
void nacre_word_wait(_Atomic uint32_t *word, uint32_t expected) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

void nacre_word_wake(_Atomic uint32_t *word, int threads) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, threads, NULL, NULL, 0);
}

#else

static pthread_mutex_t word_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t word_changed = PTHREAD_COND_INITIALIZER;

void nacre_word_wait(_Atomic uint32_t *word, uint32_t expected) {
    pthread_mutex_lock(&word_mutex);
    if (atomic_load(word) == expected) pthread_cond_wait(&word_changed, &word_mutex);
    pthread_mutex_unlock(&word_mutex);
}

/* One condition serves all words, so all sleepers look again. */
void nacre_word_wake(_Atomic uint32_t *word, int threads) {
    (void)word, (void)threads;
    pthread_mutex_lock(&word_mutex);
    pthread_cond_broadcast(&word_changed);
    pthread_mutex_unlock(&word_mutex);
}

#endif
