/* Plans: how pending work would run, before it runs. */
#ifndef NACRE_PLAN_H
#define NACRE_PLAN_H

#include <nacre/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Which backend evaluates the calling thread's work. */
typedef enum nacre_backend {
    NACRE_BACKEND_DEFAULT = 0,   /* cpu */
    NACRE_BACKEND_CPU = 1,       /* vectorised, multi-threaded */
    NACRE_BACKEND_REFERENCE = 2, /* the ops' own definitions in double, one thread */
} nacre_backend;
NACRE_API nacre_status nacre_set_backend(nacre_backend backend);
NACRE_API nacre_backend nacre_backend_in_use(void);

/* One by one, as each op is called, instead of planned together. NACRE_EAGER=1 sets it at start. */
NACRE_API void nacre_set_eager(bool eager);

/* Whether the calling thread's plans fuse: chains of element-wise ops into one step, and such ops into the products,
   convolutions and norms before them. On unless NACRE_FUSE=0 turns it off at start. Without, each of these ops is a
   step of its own in the same plan, with the same bits; an op that is one kernel by itself, such as a softmax, stays
   one. Plans made with and without are kept apart. */
NACRE_API void nacre_set_fusion(bool fuse);
NACRE_API bool nacre_fusion_enabled(void);

/* Watches every result for NaN and Inf; an evaluation that makes one fails with NACRE_NUMERICAL,
   naming op, shapes and line. Implied by NACRE_EAGER=1. */
NACRE_API void nacre_set_nan_watch(bool watch);

/* The most that the calling thread's evaluations may take for what they compute on the way, in bytes; parameters,
   inputs and results are not counted. 0: no limit. A plan that would take more recomputes element-wise values,
   norms, pools and the like instead of keeping them, with the same bits; if that does not suffice, the evaluation
   fails with NACRE_OUT_OF_MEMORY before any work, names the largest values, and nothing has changed. */
NACRE_API void nacre_set_memory_limit(size_t bytes);

typedef struct nacre_plan_stats {
    uint64_t made;    /* plans made by this thread */
    uint64_t replays; /* replays of a cached plan by this thread */
    size_t cached;    /* plans in the cache */
    size_t cache_bytes;
    size_t last_peak_bytes; /* arena bytes of the plan that ran last on this thread */
    uint64_t pending;       /* records not evaluated yet */
} nacre_plan_stats;
NACRE_API nacre_plan_stats nacre_plan_statistics(void);
NACRE_API void nacre_plan_cache_clear(void);

/* One step of a plan, as explained. Strings live as long as the explanation. */
typedef struct nacre_plan_step {
    const char *kernel; /* "matmul+add+relu" */
    const char *shapes; /* "[64,784] x [784,128] -> [64,128]" */
    const char *where;  /* "train.c:42" */
    const char *way; /* how the backend does it: "Winograd in lanes", "straight, B packed before" */
    double flops;
    double bytes;   /* read and written, at least */
    int64_t offset; /* arena offset of its first output in bytes; -1: not in the arena */
    size_t output_bytes;
} nacre_plan_step;

typedef struct nacre_explanation {
    size_t count;
    nacre_plan_step *steps;
    double flops, bytes;
    size_t peak_bytes;       /* of the arena */
    size_t live_lower_bound; /* largest sum of arena values live at once */
    size_t variable_bytes;   /* parameters, state and inputs read or written */
    size_t records, dropped, fused;
    size_t recomputed; /* steps that run again, for a memory limit */
} nacre_explanation;

/* The plan that evaluating `t` (and all that is pending) now would run; nothing is evaluated.
   NULL on error. Free with nacre_explanation_free. */
NACRE_API nacre_explanation *nacre_explain(nacre_tensor *t);
NACRE_API void nacre_explanation_free(nacre_explanation *explanation);

/* A trace of the calling thread's evaluations, as a file that chrome://tracing and ui.perfetto.dev open
   (Trace Event Format, JSON): each step of each replay with its kernel, shapes, time, GFLOP/s and GB/s; beside
   it a row per thread of the pool: handed-off, busy, waiting for the end of a parallel region.

   nacre_trace_begin checks that `path` can be written; nacre_trace_end, on the same thread, writes it, whole or
   not at all. Memory is fixed (4 MB): of more than 65,536 events the newest are kept, and the file says how many
   were dropped. Evaluations on other threads are not traced. One trace at a time: else NACRE_INVALID_STATE.

       nacre_trace_begin("step.json");
       ... a few training steps ...
       nacre_trace_end();
*/
NACRE_API nacre_status nacre_trace_begin(const char *path);
NACRE_API nacre_status nacre_trace_end(void);

#ifdef __cplusplus
}
#endif
#endif
