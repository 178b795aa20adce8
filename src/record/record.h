/* Records: the work that was asked for and is not done yet, as a graph of single-assignment values. */
#ifndef NACRE_RECORD_RECORD_H
#define NACRE_RECORD_RECORD_H

#include "record/op.h"
#include "tensor/storage.h"

/* One value of the graph. Computed ones have storage; a value whose storage has moved on to a later version
   is stale. */
typedef struct nacre_value {
    struct nacre_record *record; /* that makes it, and owns this struct */
    nacre_dtype dtype;
    nacre_device device;
    nacre_shape shape;
    bool needs_grad;
    bool wanted; /* kept, or a backward pass started here: computed though read */
    _Atomic uint64_t
        uses; /* low half: handles that stand for it, high half: records that read it */
    nacre_storage *storage; /* NULL until computed */
    uint64_t version;
    nacre_tensor *accumulator; /* a leaf's gradient slot, retained; NULL: wants none */
    nacre_tensor *variable;    /* tensor whose pending assignment this is, not retained; or NULL */
    struct nacre_value
        *forward;            /* during an evaluation: stands for this one (expanded composites) */
    nacre_tensor *cotangent; /* during a backward pass */
    uint64_t mark;           /* evaluation that wants it */
    int32_t plan_index;      /* during an evaluation */
} nacre_value;

typedef struct nacre_record {
    const nacre_op *op;
    _Atomic uint64_t refs;                /* outputs that are in use */
    uint64_t sequence;                    /* order of recording */
    uint64_t mark;                        /* evaluation or backward pass that visited it */
    struct nacre_thread *owner;           /* whose pending list holds it; NULL: none */
    struct nacre_record *previous, *next; /* pending list */
    int inputs, outputs;
    bool needs_grad;     /* a gradient may be asked for */
    bool differentiated; /* a backward pass has recorded its gradient */
    bool executed;       /* an evaluation has run it */
    bool shared;         /* computed: other threads may count references too */
    uint32_t thread;     /* whose number recorded it; 0: a leaf */
    nacre_word attrs[NACRE_MAX_ATTRS];
    const char *file;
    int line;
    unsigned char wants; /* bit i: when this was recorded, input i wanted a gradient */
    nacre_value *in[NACRE_MAX_INPUTS]; /* NULL: absent */
    nacre_value out[];
} nacre_record;

typedef struct nacre_message {
    _Atomic uint64_t refs;
    nacre_status status;
    const char *text; /* behind the struct, in the same block */
} nacre_message;

struct nacre_tensor {
    _Atomic uint64_t refs;
    nacre_value *value;   /* NULL: an error tensor, or an empty gradient slot */
    nacre_message *error; /* NULL: none */
    bool wants_grad;
    bool plain; /* shares its value with a variable that wants a gradient, and wants none */
    nacre_storage *variable; /* where assignments go: fixed for life; NULL until needed */
    nacre_tensor *gradient;  /* slot, retained; NULL: wants none */
    nacre_tensor *dirty_previous, *dirty_next; /* assignments not evaluated yet */
    nacre_value *before; /* while dirty: what a failed evaluation goes back to; NULL: nothing */
    bool before_set;     /* and slot_set then */
    struct nacre_thread *dirty_owner;
    bool immortal;   /* the out-of-memory tensor */
    bool is_slot;    /* is a gradient slot */
    bool slot_set;   /* a gradient was added */
    int scope_index; /* place in the owning thread's scope array; -1: none */
    struct nacre_thread *scope_owner;
};

/* ---- the calling thread's state ---- */

#define NACRE_MAX_SCOPES 256

typedef struct nacre_thread {
    uint32_t number;       /* from 1, in order of first use */
    nacre_tensor **scoped; /* tensors owned by scopes, innermost last */
    size_t scoped_count, scoped_capacity;
    size_t marks[NACRE_MAX_SCOPES]; /* scoped_count at each scope's begin */
    int scopes;                     /* open ones */
    nacre_record *first, *last;     /* pending: recorded, never executed, in program order */
    size_t pending;
    nacre_tensor *dirty;
    bool no_grad;
    bool eager, nan_watch;
    bool unfused;        /* plans have a step for each op of an element-wise chain or epilogue */
    size_t memory_limit; /* of a plan's arena; 0: none */
    int frames;          /* library calls in progress: nothing is evaluated inside, eager aside */
    int backend;         /* nacre_backend */
    uint64_t sequence, marks_made;
    uint64_t seed, draws;
    bool overflow_logged, evaluating;
    bool kept;    /* a value was kept that is not computed yet */
    bool capture; /* records of an expansion: never evaluated on their own */
    void *plans;  /* plan layer: cache, arena; freed by plans_free */
    void (*plans_free)(void *plans);
    char described[512];
} nacre_thread;

extern _Thread_local nacre_thread *nacre_thread_current; /* NULL: not made yet */
nacre_thread *nacre_thread_new(void);

/* NULL only when memory is short. */
static inline nacre_thread *nacre_this_thread(void) {
    return nacre_thread_current ? nacre_thread_current : nacre_thread_new();
}

/* ---- recording ---- */

typedef struct nacre_recording {
    const nacre_op *op;
    int inputs;
    nacre_tensor *in[NACRE_MAX_INPUTS];
    nacre_word attrs[NACRE_MAX_ATTRS];
    nacre_shape wanted;
    nacre_dtype wanted_dtype;
    const char *file;
    int line;
} nacre_recording;

/* Checks and appends; fills out[op->outputs] with new handles owned by the innermost scope, error tensors on
   failure. */
void nacre_record_many(const nacre_recording *recording, nacre_tensor **out);
/* For ops with one output. */
nacre_tensor *nacre_record_one(const nacre_recording *recording);

/* An error tensor of the thread's scope from the thread's last error. Never NULL. */
nacre_tensor *nacre_error_tensor(void);

/* A handle for an existing value, owned by the innermost scope. */
nacre_tensor *nacre_tensor_for(nacre_value *value);
/* A leaf with storage of its own, contents undefined. NULL (last error set) when memory is short. */
nacre_tensor *nacre_tensor_leaf(nacre_dtype dtype, const nacre_shape *shape);
/* Memory of t's own for new contents, all of which the caller writes before anybody reads t; what still refers to the
   old contents keeps them. t: no error tensor. NULL (last error set, t unchanged) when memory is short. */
void *nacre_tensor_overwrite(nacre_tensor *t);

/* Frames: like scopes for a library call, but never evaluate. The results are kept. */
nacre_scope nacre_frame_begin(void);
void nacre_frame_end(nacre_scope frame, nacre_tensor *const *results, size_t count);

/* ---- values ---- */

/* Counting: a handle or a reader more or less; the last one frees the record and all that only it read. One count
   for both, because counting shared values is atomic, and so is most of what recording costs. */
static inline unsigned nacre_value_handles(const nacre_value *value) {
    return (unsigned)(atomic_load_explicit(&value->uses, memory_order_relaxed) & UINT32_MAX);
}
static inline unsigned nacre_value_readers(const nacre_value *value) {
    return (unsigned)(atomic_load_explicit(&value->uses, memory_order_relaxed) >> 32);
}
void nacre_value_add_handle(nacre_value *value);
void nacre_value_drop_handle(nacre_value *value);
/* NACRE_STALE (set, naming who wants it) when the storage has moved on; the value must be computed. */
nacre_status nacre_value_check(const nacre_value *value, const nacre_record *reader);
/* What is not computed belongs to the thread that recorded it: nobody else may count, compute or read it. Looks at
   nothing that its thread changes but for the evaluation that would make it anybody's. */
static inline bool nacre_value_foreign(const nacre_value *value, const nacre_thread *thread) {
    return !value->storage && value->record->thread != thread->number;
}
/* NACRE_INVALID_STATE, set, saying where such a value was recorded. */
nacre_status nacre_value_refuse_foreign(const nacre_value *value);
static inline nacre_status nacre_value_check_thread(const nacre_value *value) {
    const nacre_thread *thread = nacre_this_thread();
    if (!thread) {
        return NACRE_OUT_OF_MEMORY;
    }
    return nacre_value_foreign(value, thread) ? nacre_value_refuse_foreign(value) : NACRE_OK;
}
/* Computed now: takes a reference to storage, at its present version. */
void nacre_value_bind(nacre_value *value, nacre_storage *storage);
/* The same with the caller's reference. */
void nacre_value_bind_own(nacre_value *value, nacre_storage *storage);
/* Cuts a computed record off what it was made from. */
void nacre_record_cut(nacre_record *record);
/* Keeps a record from being freed, until it is let go. */
void nacre_record_hold(nacre_record *record);
void nacre_record_let_go(nacre_record *record);
void nacre_pending_remove(nacre_record *record);
/* Back into the list, at its place in program order. */
void nacre_pending_insert(nacre_thread *thread, nacre_record *record);

/* ---- variables: tensors whose value is reassigned ---- */

/* t stands for v's value from here on; stored to t's own storage by the next evaluation. */
nacre_status nacre_rebind(nacre_tensor *t, nacre_tensor *v, const char *file, int line);
/* Records and assigns output k to targets[k] (NULL: to nobody), of the same dtype and shape each and no two the same:
   as nacre_rebind does, with no handles between. All or nothing. */
nacre_status nacre_record_assign(const nacre_recording *recording, nacre_tensor *const *targets,
                                 int count);
void nacre_dirty_unlink(nacre_tensor *t);
static inline void nacre_dirty_remove(nacre_tensor *t) {
    if (t->dirty_owner) {
        nacre_dirty_unlink(t);
    }
}
/* After a failed evaluation: every pending assignment is forgotten, and pending work runs only when it is asked
   for again. */
void nacre_rollback(nacre_thread *thread);
/* Adds g to a gradient slot. */
nacre_status nacre_slot_add(nacre_tensor *slot, nacre_tensor *g, const char *file, int line);

/* g summed over the axes along which `shape` was broadcast. */
nacre_tensor *nacre_reduce_to(nacre_tensor *g, const nacre_shape *shape, const char *file,
                              int line);

/* The one hook that evaluates, defined by the plan layer: computes the given tensors and all that is pending as
   described in the design. */
nacre_status nacre_evaluate_now(nacre_tensor *const *tensors, size_t count);

#endif
