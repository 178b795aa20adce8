/* Handles and the scopes that own them. */
#include "base/count.h"
#include "base/error.h"
#include "base/memory.h"
#include "record/internal.h"

#include <string.h>

/* Stands in when not even an error tensor can be made. */
static nacre_message out_of_memory_message = {
    .refs = 1, .status = NACRE_OUT_OF_MEMORY, .text = "out of memory"};
static nacre_tensor out_of_memory = {
    .refs = 1, .immortal = true, .scope_index = -1, .error = &out_of_memory_message};

nacre_tensor *nacre_retain(nacre_tensor *t) {
    if (t && !t->immortal) {
        nacre_count_add(&t->refs, 1, nacre_is_alone());
    }
    return t;
}

static void message_release(nacre_message *message) {
    if (message && nacre_count_sub(&message->refs, 1, nacre_is_alone()) == 0) {
        nacre_free(message);
    }
}

void nacre_release(nacre_tensor *t) {
    /* Who holds the only reference need not count. */
    if (!t || t->immortal ||
        (atomic_load_explicit(&t->refs, memory_order_acquire) != 1 &&
         nacre_count_sub(&t->refs, 1, nacre_is_alone()) != 0)) {
        return;
    }
    nacre_dirty_remove(t);
    if (t->value) {
        if (t->value->variable == t) {
            t->value->variable = NULL;
        }
        nacre_value_drop_handle(t->value);
    }
    nacre_storage_release(t->variable);
    nacre_release(t->gradient);
    message_release(t->error);
    nacre_pool_give(t, sizeof *t);
}

/* Hands t to the innermost scope. false (error set) when the list cannot grow. */
static bool scope_own(nacre_thread *thread, nacre_tensor *t) {
    if (thread->scoped_count == thread->scoped_capacity) {
        size_t capacity = thread->scoped_capacity ? 2 * thread->scoped_capacity : 256;
        nacre_tensor **grown = nacre_realloc(thread->scoped, capacity * sizeof *grown);
        if (!grown) {
            return false;
        }
        thread->scoped = grown;
        thread->scoped_capacity = capacity;
    }
    t->scope_index = (int)thread->scoped_count;
    t->scope_owner = thread;
    thread->scoped[thread->scoped_count++] = t;
    return true;
}

static nacre_tensor *handle_new(void) {
    nacre_thread *thread = nacre_this_thread();
    nacre_tensor *t = thread ? nacre_pool_take(sizeof *t) : NULL;
    if (!t) {
        return NULL;
    }
    memset(t, 0, sizeof *t);
    atomic_init(&t->refs, 1);
    if (!scope_own(thread, t)) {
        nacre_pool_give(t, sizeof *t);
        return NULL;
    }
    return t;
}

nacre_tensor *nacre_tensor_for(nacre_value *value) {
    nacre_tensor *t = handle_new();
    if (!t) {
        return &out_of_memory;
    }
    t->value = value;
    nacre_value_add_handle(value);
    return t;
}

nacre_tensor *nacre_error_tensor(void) {
    const char *text = nacre_error_message();
    size_t length = strlen(text) + 1;
    nacre_status status = nacre_error_code();
    nacre_message *message = nacre_alloc(sizeof *message + length);
    nacre_tensor *t = message ? handle_new() : NULL;
    if (!t) {
        nacre_free(message);
        return &out_of_memory;
    }
    atomic_init(&message->refs, 1);
    message->status = status ? status : NACRE_INTERNAL;
    message->text = memcpy(message + 1, text, length);
    t->error = message;
    return t;
}

nacre_tensor *nacre_error_copy(nacre_tensor *error) {
    nacre_tensor *t = error->immortal ? NULL : handle_new();
    if (!t) {
        return &out_of_memory;
    }
    nacre_count_add(&error->error->refs, 1, nacre_is_alone());
    t->error = error->error;
    return t;
}

/* ---- scopes ---- */

nacre_scope nacre_scope_begin(void) {
    nacre_thread *thread = nacre_this_thread();
    if (!thread) {
        return -1;
    }
    if (thread->scopes == NACRE_MAX_SCOPES) {
        nacre_fail(NACRE_INVALID_STATE, "scope_begin: %d scopes are open already", thread->scopes);
        return -1;
    }
    thread->marks[thread->scopes] = thread->scoped_count;
    return thread->scopes++;
}

/* Frees what the scopes from `depth` up own. Entries are taken off one by one, last first: releasing
   a tensor may release others, never add any. */
static void scopes_close(nacre_thread *thread, int depth) {
    size_t mark = thread->marks[depth];
    while (thread->scoped_count > mark) {
        nacre_tensor *t = thread->scoped[--thread->scoped_count];
        t->scope_index = -1;
        nacre_release(t);
    }
    thread->scopes = depth;
}

nacre_status nacre_scope_end(nacre_scope scope) {
    nacre_thread *thread = nacre_this_thread();
    if (!thread) {
        return NACRE_OUT_OF_MEMORY;
    }
    if (scope < 1 || scope >= thread->scopes) {
        return nacre_fail(NACRE_INVALID_ARGUMENT,
                          "scope_end: %d is not an open scope (%d are open)", scope,
                          thread->scopes - 1);
    }
    nacre_status status = NACRE_OK;
    if ((thread->dirty || thread->kept) && thread->frames == 0 && !thread->evaluating) {
        status = nacre_evaluate_now(NULL, 0);
        thread->kept = false;
    }
    scopes_close(thread, scope);
    return status;
}

/* Moves t below the innermost mark, so that it belongs to the scope around. */
static void move_out(nacre_thread *thread, nacre_tensor *t) {
    int depth = thread->scopes - 1;
    if (depth < 1 || t->scope_owner != thread || t->scope_index < (int)thread->marks[depth]) {
        return;
    }
    size_t from = (size_t)t->scope_index, to = thread->marks[depth]++;
    nacre_tensor *other = thread->scoped[to];
    thread->scoped[from] = other;
    other->scope_index = (int)from;
    thread->scoped[to] = t;
    t->scope_index = (int)to;
}

nacre_tensor *nacre_keep(nacre_tensor *t) {
    nacre_thread *thread = nacre_this_thread();
    if (!thread || !t || t->immortal) {
        return t;
    }
    move_out(thread, t);
    if (t->value && !t->value->storage && !nacre_value_foreign(t->value, thread)) {
        if (!t->value->record->owner) { /* ran before, and was not stored then */
            nacre_pending_insert(thread, t->value->record);
        }
        t->value->wanted = thread->kept = true;
    }
    return t;
}

nacre_scope nacre_frame_begin(void) {
    nacre_scope frame = nacre_scope_begin();
    if (frame > 0) {
        nacre_this_thread()->frames++;
    }
    return frame;
}

void nacre_frame_end(nacre_scope frame, nacre_tensor *const *results, size_t count) {
    if (frame < 1) {
        return;
    }
    nacre_thread *thread = nacre_this_thread();
    for (size_t i = 0; i < count; i++) {
        if (results[i] && !results[i]->immortal) {
            move_out(thread, results[i]);
        }
    }
    scopes_close(thread, frame);
    thread->frames--;
    if (thread->frames == 0) {
        nacre_evaluate_overflow(thread);
    }
}
