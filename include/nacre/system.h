/* The process: version, memory accounting, worker threads, kernel level, random seed, log. */
#ifndef NACRE_SYSTEM_H
#define NACRE_SYSTEM_H

#include <nacre/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NACRE_VERSION_MAJOR 0
#define NACRE_VERSION_MINOR 1
#define NACRE_VERSION_PATCH 0
#define NACRE_VERSION_STRING "0.1.0-beta"

/* Version of the library that is linked at run time, such as "0.1.0-beta". */
NACRE_API const char *nacre_version(void);

/* Counters of the one allocator that everything in the library goes through. */
typedef struct nacre_memory_stats {
    uint64_t allocations; /* calls so far that allocated or grew a block */
    size_t live_bytes;    /* bytes held now, as asked for */
    size_t peak_bytes;    /* the largest live_bytes so far */
    uint64_t live_blocks; /* blocks held now */
    size_t arena_bytes;   /* largest extent of a plan arena touched so far, all threads' maximum */
} nacre_memory_stats;

NACRE_API nacre_memory_stats nacre_memory(void);

/* For tests: makes the n-th allocation from now fail (1 = the next one), once, on any thread.
   0 switches it off. */
NACRE_API void nacre_memory_fail_at(uint64_t n);

/* Sets how many threads the worker pool uses, the calling one included. 0: automatic, the smaller
   of the CPU affinity and the cgroup's CPU quota. NACRE_THREADS sets the initial value.
   NACRE_INVALID_ARGUMENT above 1024 or while an evaluation runs on the pool. */
NACRE_API nacre_status nacre_set_threads(int threads);
NACRE_API int nacre_threads(void);

/* Kernel level in use: "portable", "avx2", "avx512" or "neon". NACRE_ISA forces one at start. */
NACRE_API const char *nacre_isa(void);

/* Forces a kernel level by name; NULL: the best of this machine. NACRE_UNSUPPORTED when this CPU or
   build lacks it. Plans made before stay valid: the level is part of their key. */
NACRE_API nacre_status nacre_set_isa(const char *name);

/* Seeds the random streams of the calling thread; every draw is a function of (seed, stream, step,
   element). */
NACRE_API void nacre_seed(uint64_t seed);

/* Flag that stops the calling thread's evaluations before their first effect with NACRE_CANCELLED;
   safe from a signal handler or another thread. Process-wide; cleared with nacre_cancel(false). */
NACRE_API void nacre_cancel(bool cancel);

/* Receives log lines, one call each, without a newline. NULL: stderr (the default), the only place where the
   library writes unasked: what a program should know and no call can return, such as a setting of the
   environment that is ignored, a download, plans that differ in one extent (once a thread). A sink that does
   nothing makes the library silent. */
typedef void nacre_log_sink(void *user, const char *line);
NACRE_API void nacre_set_log(nacre_log_sink *sink, void *user);

#ifdef __cplusplus
}
#endif
#endif
