/* What a tensor is and holds: queries, data, assignment. */
#include "base/error.h"
#include "base/memory.h"
#include "record/internal.h"

#include <inttypes.h>
#include <math.h>
#include <nacre/grad.h>
#include <stdio.h>
#include <string.h>

/* Absent tensors are asked about too: NULL is an error wherever a tensor is. */
bool nacre_is_error(const nacre_tensor *t) { return !t || t->error; }

nacre_status nacre_tensor_status(const nacre_tensor *t) {
    return !t ? NACRE_INVALID_ARGUMENT : t->error ? t->error->status : NACRE_OK;
}

const char *nacre_tensor_message(const nacre_tensor *t) {
    return !t ? "the tensor is NULL" : t->error ? t->error->text : "";
}

nacre_shape nacre_shape_of(const nacre_tensor *t) {
    return t && t->value ? t->value->shape : (nacre_shape){.ndim = 0};
}

int64_t nacre_size(const nacre_tensor *t, int axis) {
    nacre_shape shape = nacre_shape_of(t);
    int normal = nacre_axis_normal(axis, shape.ndim);
    return normal < 0 ? -1 : shape.dims[normal];
}

int64_t nacre_numel(const nacre_tensor *t) {
    return t && t->value ? nacre_shape_numel(&t->value->shape) : 0;
}

int nacre_ndim(const nacre_tensor *t) { return t && t->value ? t->value->shape.ndim : 0; }

nacre_dtype nacre_dtype_of(const nacre_tensor *t) {
    return t && t->value ? t->value->dtype : NACRE_DTYPE_DEFAULT;
}

nacre_device nacre_device_of(const nacre_tensor *t) {
    return t && t->value ? t->value->device : NACRE_DEVICE_DEFAULT;
}

/* Repeats an error tensor's message as the thread's last error. */
static nacre_status raise_error(const nacre_tensor *t) {
    return nacre_fail(t->error->status, "%s", t->error->text);
}

static nacre_status check_handle(const nacre_tensor *t, const char *what) {
    if (!t) {
        return nacre_fail(NACRE_INVALID_ARGUMENT, "%s: the tensor is NULL", what);
    }
    if (t->error) {
        return raise_error(t);
    }
    if (!t->value) {
        return nacre_fail(NACRE_INVALID_ARGUMENT, "%s: an empty gradient slot", what);
    }
    return NACRE_OK;
}

/* ---- values ---- */

nacre_status nacre_eval_all(nacre_tensor *const *tensors, size_t count) {
    for (size_t i = 0; i < count; i++) {
        nacre_status status = check_handle(tensors[i], "eval");
        if (status != NACRE_OK) {
            return status;
        }
    }
    return nacre_evaluate_now(tensors, count);
}

nacre_status nacre_eval(nacre_tensor *t) { return nacre_eval_all(&t, 1); }

/* Computes t if needed; afterwards its storage is there and current. */
static nacre_status materialise(nacre_tensor *t, const char *what) {
    nacre_status status = check_handle(t, what);
    if (status == NACRE_OK && !t->value->storage) {
        status = nacre_evaluate_now(&t, 1);
    }
    return status == NACRE_OK ? nacre_value_check(t->value, NULL) : status;
}

const void *nacre_data(nacre_tensor *t) {
    return materialise(t, "data") == NACRE_OK ? t->value->storage->data : NULL;
}

/* The only element of t; NULL (error set) if it cannot be had. */
static const void *single(nacre_tensor *t, const char *what) {
    if (materialise(t, what) != NACRE_OK) {
        return NULL;
    }
    if (nacre_numel(t) != 1) {
        char text[NACRE_SHAPE_TEXT];
        nacre_fail(NACRE_SHAPE_MISMATCH, "%s: the tensor is %s, not one element", what,
                   nacre_shape_text(&t->value->shape, text));
        return NULL;
    }
    return t->value->storage->data;
}

double nacre_item(nacre_tensor *t) {
    const void *element = single(t, "item");
    return element ? nacre_dtype_get(t->value->dtype)->load(element) : NAN;
}

int64_t nacre_item_i64(nacre_tensor *t) {
    const void *element = single(t, "item_i64");
    return element ? nacre_dtype_get(t->value->dtype)->load_int(element) : 0;
}

static nacre_status check_bytes(const nacre_tensor *t, size_t bytes, const char *what) {
    size_t wanted = (size_t)nacre_numel(t) * nacre_dtype_size(t->value->dtype);
    if (bytes != wanted) {
        char text[NACRE_SHAPE_TEXT];
        return nacre_fail(NACRE_INVALID_ARGUMENT, "%s: %zu bytes given, a %s tensor of %s has %zu",
                          what, bytes, nacre_dtype_name(t->value->dtype),
                          nacre_shape_text(&t->value->shape, text), wanted);
    }
    return NACRE_OK;
}

nacre_status nacre_copy_to(nacre_tensor *t, void *out, size_t bytes) {
    nacre_status status = check_handle(t, "copy_to");
    if (status == NACRE_OK) {
        status = check_bytes(t, bytes, "copy_to");
    }
    if (status == NACRE_OK) {
        status = materialise(t, "copy_to");
    }
    if (status == NACRE_OK && bytes > 0) {
        memcpy(out, t->value->storage->data, bytes);
    }
    return status;
}

/* ---- variables ---- */

void nacre_dirty_unlink(nacre_tensor *t) {
    nacre_thread *thread = t->dirty_owner;
    *(t->dirty_previous ? &t->dirty_previous->dirty_next : &thread->dirty) = t->dirty_next;
    if (t->dirty_next) {
        t->dirty_next->dirty_previous = t->dirty_previous;
    }
    t->dirty_previous = t->dirty_next = NULL;
    t->dirty_owner = NULL;
    if (t->before) {
        nacre_value_drop_reader(t->before);
        t->before = NULL;
    }
}

/* Notes that t is about to stand for another value; the first time, what it stood for before. */
static void dirty_add(nacre_thread *thread, nacre_tensor *t) {
    if (t->dirty_owner) {
        return;
    }
    t->dirty_owner = thread;
    t->dirty_previous = NULL;
    t->dirty_next = thread->dirty;
    if (thread->dirty) {
        thread->dirty->dirty_previous = t;
    }
    thread->dirty = t;
    t->before = t->value;
    t->before_set = t->slot_set;
    if (t->before) {
        nacre_value_add_reader(t->before);
    }
}

/* Puts `value` in the place of t's present one. */
static void replace_value(nacre_tensor *t, nacre_value *value) {
    nacre_value *old = t->value;
    nacre_value_add_handle(value);
    t->value = value;
    t->plain = false;
    if (t->gradient && !value->accumulator) {
        value->accumulator = nacre_retain(t->gradient);
        value->needs_grad = t->wants_grad;
    }
    if (old) {
        if (old->variable == t) {
            old->variable = NULL;
        }
        nacre_value_drop_handle(old);
    }
}

static bool is_leaf(const nacre_value *value) { return value->record->op == &nacre_op_leaf; }

/* The value that v's assignment is stored from: v's own where nobody has it yet, else a copy. The copy is
   never computed eagerly: it is computed into the variable. *frame: begun where there is one. */
static nacre_value *fresh_value(nacre_thread *thread, const nacre_tensor *t, nacre_tensor *v,
                                const char *file, int line, nacre_scope *frame) {
    nacre_value *value = v->value;
    /* Back-propagation tells values apart, not handles: t must not stand in v's history, and as a leaf that wants
       a gradient it shares its value with no handle that could not be told (see nacre_rebind). */
    bool leaf = t->gradient != NULL;
    bool shareable = !value->needs_grad && (!leaf || nacre_value_handles(value) == 1);
    if (!value->storage && !value->variable && !value->accumulator && !value->record->executed) {
        if (shareable) {
            return value;
        }
        value->wanted = true;
    }
    *frame = nacre_frame_begin();
    bool eager = thread->eager, no_grad = thread->no_grad;
    thread->eager = false;
    thread->no_grad = no_grad || leaf;
    nacre_tensor *copy = nacre_record_one(&(nacre_recording){
        .op = &nacre_op_copy, .inputs = 1, .in = {v}, .file = file, .line = line});
    thread->eager = eager;
    thread->no_grad = no_grad;
    return copy->value;
}

/* From here on t stands for `value`, which nobody else is stored from. */
static void take_value(nacre_thread *thread, nacre_tensor *t, nacre_value *value) {
    nacre_value *old = t->value;
    /* A computed value that nobody else holds becomes the variable's memory, unless it is another's. */
    if (!t->variable && old && old->storage && nacre_value_handles(old) == 1 &&
        atomic_load_explicit(&old->storage->refs, memory_order_relaxed) == 1) {
        t->variable = nacre_storage_retain(old->storage);
    }
    dirty_add(thread, t);
    replace_value(t, value);
    value->variable = t;
}

nacre_status nacre_rebind(nacre_tensor *t, nacre_tensor *v, const char *file, int line) {
    nacre_status status = t->value ? nacre_value_check_thread(t->value) : NACRE_OK;
    status = status ? status : nacre_value_check_thread(v->value);
    if (status != NACRE_OK) {
        return status;
    }
    nacre_thread *thread = nacre_this_thread();
    nacre_scope frame = -1;
    nacre_value *value = fresh_value(thread, t, v, file, line, &frame);
    if (value) {
        take_value(thread, t, value);
        v->plain |= value == v->value && t->gradient;
    }
    nacre_frame_end(frame, NULL, 0);
    if (!value) {
        return nacre_error_code();
    }
    return thread->eager && !thread->evaluating ? nacre_evaluate_now(&t, 1) : NACRE_OK;
}

nacre_status nacre_record_assign(const nacre_recording *recording, nacre_tensor *const *targets,
                                 int count) {
    nacre_thread *thread = nacre_this_thread();
    if (!thread) {
        return NACRE_OUT_OF_MEMORY;
    }
    nacre_tensor *error, *assigned[NACRE_MAX_OUTPUTS];
    size_t n = 0;
    nacre_status status = NACRE_OK;
    nacre_scope frame = nacre_frame_begin(); /* an error tensor's */
    nacre_record *record = nacre_record_make(thread, recording, &error);
    if (record) {
        nacre_record_hold(record);
        for (int i = 0; i < count; i++) {
            if (targets[i]) {
                take_value(thread, targets[i], &record->out[i]);
                assigned[n++] = targets[i];
            }
        }
        nacre_record_let_go(record);
    } else {
        status = nacre_fail(nacre_tensor_status(error), "%s", nacre_tensor_message(error));
    }
    nacre_frame_end(frame, NULL, 0);
    bool now = status == NACRE_OK && thread->eager && !thread->evaluating && !thread->capture;
    return now ? nacre_evaluate_now(assigned, n) : status;
}

/* Takes t back to what it stood for before its pending assignments. */
static void restore(nacre_tensor *t) {
    nacre_value *before = t->before;
    t->slot_set = t->before_set;
    if (before) {
        replace_value(t, before);
    } else if (t->value) {
        t->value->variable = NULL;
        nacre_value_drop_handle(t->value);
        t->value = NULL;
    }
    nacre_dirty_remove(t);
}

void nacre_rollback(nacre_thread *thread) {
    while (thread->dirty) {
        restore(thread->dirty);
    }
    while (thread->first) {
        thread->first->executed = true;
        nacre_pending_remove(thread->first);
    }
    thread->kept = false;
}

nacre_status nacre_assign_at(nacre_tensor *t, nacre_tensor *value, const char *file, int line) {
    nacre_status status = check_handle(t, "assign");
    if (status == NACRE_OK) {
        status = check_handle(value, "assign");
    }
    if (status != NACRE_OK) {
        return status;
    }
    if (t->value->dtype != value->value->dtype) {
        return nacre_fail_at(NACRE_DTYPE_MISMATCH, file, line,
                             "assign: the tensor is %s, the value %s: cast it with nacre_cast",
                             nacre_dtype_name(t->value->dtype),
                             nacre_dtype_name(value->value->dtype));
    }
    if (!nacre_shape_equal(&t->value->shape, &value->value->shape)) {
        char a[NACRE_SHAPE_TEXT], b[NACRE_SHAPE_TEXT];
        return nacre_fail_at(NACRE_SHAPE_MISMATCH, file, line,
                             "assign: the tensor is %s, the value %s: shapes must be equal",
                             nacre_shape_text(&t->value->shape, a),
                             nacre_shape_text(&value->value->shape, b));
    }
    return t == value ? NACRE_OK : nacre_rebind(t, value, file, line);
}

/* Nobody but t looks at its value or storage: it may be overwritten in place. */
static bool sole_owner(const nacre_tensor *t) {
    const nacre_value *value = t->value;
    return value->storage && value->record->inputs == 0 && value->storage == t->variable &&
           nacre_value_handles(value) == 1 && nacre_value_readers(value) == 0 &&
           atomic_load_explicit(&value->storage->refs, memory_order_relaxed) == 2;
}

void *nacre_tensor_overwrite(nacre_tensor *t) {
    if (!sole_owner(t)) {
        nacre_scope frame = nacre_frame_begin();
        nacre_tensor *fresh = nacre_tensor_leaf(t->value->dtype, &t->value->shape);
        if (fresh) {
            nacre_dirty_remove(t);
            replace_value(t, fresh->value);
            nacre_storage_release(t->variable);
            t->variable = nacre_storage_retain(fresh->value->storage);
        }
        nacre_frame_end(frame, NULL, 0);
        if (!fresh) {
            return NULL;
        }
    }
    nacre_storage *storage = t->value->storage;
    t->value->version = ++storage->version; /* outdates the forms that kernels keep */
    return storage->data;
}

nacre_status nacre_copy_from(nacre_tensor *t, const void *data, size_t bytes) {
    nacre_status status = check_handle(t, "copy_from");
    if (status == NACRE_OK) {
        status = check_bytes(t, bytes, "copy_from");
    }
    if (status == NACRE_OK) {
        status = nacre_value_check_thread(t->value);
    }
    if (status != NACRE_OK) {
        return status;
    }
    void *to = nacre_tensor_overwrite(t);
    if (!to) {
        return NACRE_OUT_OF_MEMORY;
    }
    if (bytes > 0) {
        memcpy(to, data, bytes);
    }
    return NACRE_OK;
}

/* ---- description ---- */

const char *nacre_describe(const nacre_tensor *t) {
    nacre_thread *thread = nacre_this_thread();
    if (!thread) {
        return "out of memory";
    }
    char *text = thread->described;
    size_t size = sizeof thread->described;
    if (!t || t->error || !t->value) {
        snprintf(text, size, "%s%s",
                 !t         ? "NULL"
                 : t->error ? "error: "
                            : "empty gradient slot",
                 t && t->error ? t->error->text : "");
        return text;
    }
    const nacre_record *record = t->value->record;
    char shape[NACRE_SHAPE_TEXT];
    char line[16] = "";
    if (record->line) {
        snprintf(line, sizeof line, ":%d", record->line);
    }
    snprintf(text, size, "%s %s, %s%s%s, made by %s at %s%s", nacre_dtype_name(t->value->dtype),
             nacre_shape_text(&t->value->shape, shape), t->value->storage ? "computed" : "pending",
             t->wants_grad ? ", wants a gradient" : "", t->dirty_owner ? ", assigned to" : "",
             record->op->name, record->file ? record->file : "?", line);
    return text;
}

const char *nacre_grad_fn(const nacre_tensor *t) {
    return !t || !t->value || is_leaf(t->value) || t->wants_grad ? "" : t->value->record->op->name;
}
