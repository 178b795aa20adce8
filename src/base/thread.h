/* The platform's threads, as far as the library needs them. Everything else of the pool is portable. */
#ifndef NACRE_BASE_THREAD_H
#define NACRE_BASE_THREAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef pthread_mutex_t nacre_mutex;
#define NACRE_MUTEX_INIT PTHREAD_MUTEX_INITIALIZER

void nacre_mutex_lock(nacre_mutex *mutex);
void nacre_mutex_unlock(nacre_mutex *mutex);
/* In the child of a fork: unlocked, whoever held it in the parent. */
void nacre_mutex_reset(nacre_mutex *mutex);

typedef pthread_t nacre_os_thread;

/* Starts a thread that gets no signals: the program's handlers run on the program's own threads. */
bool nacre_thread_start(nacre_os_thread *thread, void *(*run)(void *), void *argument);
void nacre_thread_join(nacre_os_thread thread);

typedef pthread_once_t nacre_once;
#define NACRE_ONCE_INIT PTHREAD_ONCE_INIT
void nacre_call_once(nacre_once *once, void (*call)(void));

/* Calls around fork(); each may be NULL. */
void nacre_at_fork(void (*before)(void), void (*parent)(void), void (*child)(void));

/* Sleeps while *word is `expected`; may return earlier. A thread that changes the word and then calls
   nacre_word_wake wakes every sleeper that saw the old value. */
void nacre_word_wait(_Atomic uint32_t *word, uint32_t expected);
void nacre_word_wake(_Atomic uint32_t *word, int threads);

/* Tells the CPU that this is a spin loop. */
static inline void nacre_spin_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

#endif
