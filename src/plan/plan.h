/* The planner's own structures: the work of one evaluation, and the plan it becomes. */
#ifndef NACRE_PLAN_PLAN_H
#define NACRE_PLAN_PLAN_H

#include "base/memory.h"
#include "plan/backend.h"
#include "record/record.h"

#include <nacre/plan.h>

/* A growing array that keeps its memory between evaluations. */
typedef struct nacre_list {
    void **items;
    size_t count, capacity;
} nacre_list;
bool nacre_list_grow(nacre_list *list);
void nacre_list_free(nacre_list *list);
/* false: no memory, error set. */
static inline bool nacre_list_push(nacre_list *list, void *item) {
    if (list->count == list->capacity && !nacre_list_grow(list)) {
        return false;
    }
    list->items[list->count++] = item;
    return true;
}

/* Numbers of addresses, by open addressing. An entry holds in the evaluation of its mark. */
typedef struct nacre_number {
    const void *address;
    uint64_t mark;
    int number;
} nacre_number;
typedef struct nacre_numbers {
    nacre_number *entries;
    size_t slots;
} nacre_numbers;

/* What one evaluation has to do. `values[id]` of everything a record reads or makes, in order of first
   use; leaves are the computed ones. */
typedef struct nacre_work {
    nacre_list records; /* nacre_record *, program order, composites without a kernel expanded */
    nacre_list values;  /* nacre_value * */
    nacre_list leaves;  /* nacre_value *; those of values that are computed */
    nacre_list roots;   /* nacre_value *: to be stored; value->variable says where */
    nacre_list stack, expanded;
    uint64_t *key;
    size_t key_count, key_capacity;
    uint64_t mark;
    nacre_scope frame;      /* holds what expansions made; 0: none */
    nacre_numbers leaf_ids; /* beside the leaves, because other threads may use these too */
    nacre_numbers root_of;  /* of storages: which root is stored there */
} nacre_work;

typedef enum plan_place {
    PLACE_LEAF, /* a computed value's storage */
    PLACE_ROOT, /* storage of a value asked for, or of a variable */
    PLACE_ARENA,
    PLACE_ALIAS, /* view of another value */
} plan_place;

/* One value of a plan. */
typedef struct plan_value {
    nacre_dtype dtype;
    nacre_shape shape;
    int64_t strides[NACRE_MAX_DIMS]; /* in elements */
    int64_t offset; /* in elements, from the base's start; of slot views refreshed at replay */
    int base;       /* id of the value whose memory this is; itself unless a view */
    int index;      /* of the leaf or root */
    plan_place place;
    int view_of;            /* views: the value looked at */
    int record;             /* that makes it; -1: leaf or copy */
    bool laned;             /* see nacre_array */
    bool slot_view;         /* offset depends on slots, its own or its base's */
    int defined, last_read; /* positions of steps; -1: before the first */
    size_t bytes, arena_offset;
} plan_value;

typedef struct plan_step {
    const nacre_op *op; /* NULL: a fused group */
    const nacre_word *attrs;
    int inputs, outputs;
    int own;             /* of the inputs: a product's own, before those of its epilogue */
    nacre_plan_op *call; /* what the backend sees; from prepare.c on */
    int in[NACRE_PROGRAM_INPUTS], out[NACRE_PROGRAM_OUTPUTS]; /* value ids; -1: absent */
    int record;             /* that it stands for: names it in messages */
    nacre_program *program; /* of a group or epilogue */
    size_t scratch_offset;
    enum {
        CHECK_NONE,
        CHECK_FIRST,
        CHECK_LATE
    } check; /* of indices: before all steps, or its own */
    double flops;
    bool laned;        /* a group over laned values */
    const char *label; /* "matmul+add+relu" */
} plan_step;

/* A view whose offset depends on slots: its rule runs again at each replay. op NULL: same as its base. */
typedef struct plan_view {
    int value;
    const nacre_op *op;
    const nacre_word *attrs;
} plan_view;

/* Where an attribute word of a replay comes from. */
typedef struct plan_slot {
    int record, attr;
    nacre_word *to;
} plan_slot;

typedef struct nacre_plan {
    struct nacre_plan *next_in_bucket, *newer, *older;
    uint64_t hash;
    uint64_t *key;
    size_t key_count;
    size_t bytes; /* of memory held by the plan */
    void *chunks; /* everything below lives in these */
    const nacre_backend_table *backend;
    bool watch, unfused; /* see nacre_thread */

    plan_value *values;
    int value_count, leaf_count, root_count, record_count;
    int *root_value;     /* root -> value id */
    bool *root_variable; /* stored to a variable's own memory */
    int *root_leaf;      /* the leaf whose storage that overwrites; -1: none */
    plan_step *steps;
    int step_count;
    int value_capacity, step_capacity;
    plan_view *views;
    int view_count;
    struct plan_keeper {
        nacre_plan_op *call;
        int leaf; /* whose storage keeps a form for it */
    } * keepers;
    int keeper_count;
    int first_effect; /* first step that writes a variable; step_count: none */
    plan_slot *slots;
    int slot_count;
    size_t arena_bytes, live_bound, variable_bytes;
    int fused, recomputed;
    /* Where each value's memory began in the last replay, and whether it has moved since. */
    unsigned char **bases;
    bool *moved, bound; /* bound: there was a replay */
    int *leaf_value;    /* leaf -> value id */
    uint64_t traced;    /* session of the trace that names its steps */
    int *trace_names;
} nacre_plan;

/* Address space for a thread's arena: what a plan may take at most. Pages are only used as it needs them. */
#define NACRE_ARENA_MOST ((size_t)1 << 38)

/* The thread's planner. */
typedef struct nacre_planner {
    nacre_work work;
    nacre_plan *buckets[256];
    nacre_plan *newest, *oldest;
    size_t cached, cache_bytes;
    nacre_region arena;
    nacre_list storages; /* of the roots of the evaluation at hand */
    nacre_plan_stats stats;
    bool churn_logged;
    nacre_explanation **explain_to; /* see nacre_explain_next; NULL: evaluations run */
} nacre_planner;

nacre_planner *nacre_planner_get(nacre_thread *thread); /* NULL: no memory, error set */

/* gather.c: fills the planner's work, with its key, with what evaluating `tensors` now takes. */
nacre_status nacre_work_gather(nacre_work *work, nacre_thread *thread,
                               const nacre_backend_table *backend, nacre_tensor *const *tensors,
                               size_t count);
void nacre_work_finish(nacre_work *work); /* frees the expansions */
/* The value that stands for `value` in the work. */
nacre_value *nacre_work_resolve(nacre_value *value);

/* key.c: numbers the values of the gathered records, and writes the key. false: no memory, error set. */
bool nacre_work_key(nacre_work *work, const nacre_thread *thread);
int nacre_work_id(const nacre_work *work, const nacre_value *value);

/* lower.c, fuse.c (groups.c), lanes.c, prepare.c, layout.c, verify.c: the passes, in this order. false: error set. */
nacre_plan *nacre_plan_make(const nacre_work *work, const nacre_thread *thread);
bool nacre_plan_lower(nacre_plan *plan, const nacre_work *work);
bool nacre_plan_fuse(nacre_plan *plan);
/* Drops and makes again, after fusing, until the values live at once take `wanted` bytes or nothing helps. */
bool nacre_plan_recompute(nacre_plan *plan, size_t wanted);
bool nacre_plan_lanes(nacre_plan *plan);
bool nacre_plan_prepare(nacre_plan *plan);
double nacre_plan_step_flops(const nacre_plan *plan, const plan_step *step);
bool nacre_plan_prepare_step(nacre_plan *plan, plan_step *step);
bool nacre_plan_layout(nacre_plan *plan);
bool nacre_plan_verify(const nacre_plan *plan);
/* Sets the error of a plan that takes more than the limit, the thread's or NACRE_ARENA_MOST, naming what is largest. */
nacre_status nacre_plan_refuse(nacre_plan *plan, const nacre_work *work, size_t limit);
/* "linear.c:21": which line recorded the step, "" where it is not known. */
void nacre_plan_place(const nacre_work *work, const plan_step *step, char *text, size_t size);
/* Names the step by what runs in it, "matmul+relu": `op`, unless NULL, and its group or epilogue; `before` goes first. */
void nacre_plan_label(nacre_plan *plan, plan_step *step, const char *before, const nacre_op *op);
void nacre_plan_free(nacre_plan *plan);
void *nacre_plan_alloc(nacre_plan *plan, size_t count, size_t size); /* zeroed, freed with it */

plan_step *nacre_plan_add_step(nacre_plan *plan, const nacre_op *op, const nacre_word *attrs,
                               int record);
/* Appends a contiguous copy of value `id`; the id of the new value. */
int nacre_plan_add_copy(nacre_plan *plan, int id, int record);
/* Strides and offset of a view from what it looks at. */
bool nacre_plan_apply_view(const nacre_plan *plan, plan_value *out, const nacre_op *op,
                           const nacre_word *attrs);
/* Where values are made and last read, from the steps as they stand; views count for their base. */
void nacre_plan_positions(nacre_plan *plan);

/* cache.c. The newest plan, if it is the one for the work: most evaluations are like the one before. */
nacre_plan *nacre_cache_newest(nacre_planner *planner, const nacre_work *work);
nacre_plan *nacre_cache_find(nacre_planner *planner, const nacre_work *work, uint64_t hash);
void nacre_cache_add(nacre_planner *planner, nacre_plan *plan);

/* explain.c */
/* Fills *out with strings of its own; false: no memory, and those that could be made are there. */
bool nacre_explain_step(const nacre_plan *plan, const nacre_work *work, const plan_step *step,
                        nacre_plan_step *out);
nacre_explanation *nacre_explain_plan(const nacre_plan *plan, const nacre_planner *planner,
                                      const nacre_thread *thread);
/* The calling thread's next evaluation is explained to *out (NULL: no memory) instead of run: it ends with
   NACRE_CANCELLED before its first effect. For calls that record and evaluate in one, such as a step. */
nacre_status nacre_explain_next(nacre_explanation **out);

const nacre_backend_table *nacre_thread_backend(const nacre_thread *thread);

#endif
