/* What an evaluation has to do: the records that its roots need, in program order. */
#include "base/error.h"
#include "plan/plan.h"

#include <stdlib.h>
#include <string.h>

bool nacre_list_grow(nacre_list *list) {
    size_t capacity = list->capacity ? 2 * list->capacity : 64;
    void **grown = nacre_realloc(list->items, capacity * sizeof *grown);
    if (grown) {
        list->items = grown;
        list->capacity = capacity;
    }
    return grown != NULL;
}

void nacre_list_free(nacre_list *list) {
    nacre_free(list->items);
    *list = (nacre_list){0};
}

nacre_value *nacre_work_resolve(nacre_value *value) {
    while (value->forward) {
        value = value->forward;
    }
    return value;
}

/* ---- roots ---- */

static bool add_root(nacre_work *work, nacre_value *value) {
    if (value->storage || value->mark == work->mark) {
        return true;
    }
    value->mark = work->mark;
    return nacre_list_push(&work->roots, value);
}

/* What was asked for, what was assigned, and each live value that nothing else reads. */
static bool find_roots(nacre_work *work, nacre_thread *thread, nacre_tensor *const *tensors,
                       size_t count) {
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        ok = !tensors[i]->value || add_root(work, tensors[i]->value);
    }
    for (nacre_tensor *t = thread->dirty; ok && t; t = t->dirty_next) {
        ok = add_root(work, t->value);
    }
    for (nacre_record *r = thread->first; ok && r; r = r->next) {
        for (int i = 0; ok && i < r->outputs; i++) {
            nacre_value *out = &r->out[i];
            if (nacre_value_handles(out) > 0 && (out->wanted || nacre_value_readers(out) == 0)) {
                ok = add_root(work, out);
            }
        }
    }
    return ok;
}

/* ---- what the roots need ---- */

static bool reach(nacre_work *work, nacre_record *record, bool *old) {
    if (record->mark == work->mark) {
        return true;
    }
    record->mark = work->mark;
    *old |= record->owner == NULL;
    return nacre_list_push(&work->stack, record) && nacre_list_push(&work->records, record);
}

static int by_sequence(const void *a, const void *b) {
    uint64_t x = (*(nacre_record *const *)a)->sequence, y = (*(nacre_record *const *)b)->sequence;
    return (x > y) - (x < y);
}

static bool reach_all(nacre_work *work, nacre_thread *thread) {
    bool old = false, ok = true;
    for (size_t i = 0; ok && i < work->roots.count; i++) {
        ok = reach(work, ((nacre_value *)work->roots.items[i])->record, &old);
    }
    while (ok && work->stack.count > 0) {
        nacre_record *record = work->stack.items[--work->stack.count];
        for (int i = 0; ok && i < record->inputs; i++) {
            if (record->in[i] && !record->in[i]->storage) {
                ok = reach(work, record->in[i]->record, &old);
            }
        }
    }
    if (!ok) {
        return false;
    }
    if (old) { /* some ran before and are computed again: merge the two orders */
        qsort(work->records.items, work->records.count, sizeof(void *), by_sequence);
        return true;
    }
    size_t count = 0;
    for (nacre_record *r = thread->first; r; r = r->next) {
        if (r->mark == work->mark) {
            work->records.items[count++] = r;
        }
    }
    return true;
}

/* Nothing that a gradient will read later may be lost: such values are stored as well. A view's memory
   is its base's. */
static bool keep_for_gradients(nacre_work *work) {
    for (size_t i = 0; i < work->records.count; i++) {
        nacre_record *r = work->records.items[i];
        if (!r->needs_grad || r->differentiated || r->executed || !r->op->gradient) {
            continue;
        }
        for (int k = 0; k < NACRE_MAX_INPUTS + NACRE_MAX_OUTPUTS; k++) {
            bool is_input = k < NACRE_MAX_INPUTS;
            int at = is_input ? k : k - NACRE_MAX_INPUTS;
            unsigned bit = is_input ? NACRE_READS_IN(at) : NACRE_READS_OUT(at);
            if (!(r->op->gradient_reads & bit) || (is_input && at >= r->inputs)) {
                continue;
            }
            nacre_value *value = is_input ? r->in[at] : &r->out[at];
            while (value && !value->storage && value->record->op->view) {
                value = value->record->in[0];
            }
            if (value && !add_root(work, value)) {
                return false;
            }
        }
    }
    return true;
}

/* ---- expansion of composites that the backend has no kernel for ---- */

static bool must_expand(const nacre_record *record, const nacre_backend_table *backend) {
    if (!record->op->decompose || record->op->reference) {
        return false;
    }
    const nacre_value *first = record->inputs > 0 ? record->in[0] : NULL;
    return !first || !backend->claims(record->op, first->dtype);
}

/* Records the decomposition of `record` into a list of its own, which may be empty. */
static bool expand(nacre_thread *thread, nacre_record *record, nacre_record **first_made) {
    nacre_expansion expansion = {.attrs = record->attrs,
                                 .inputs = record->inputs,
                                 .out_shape = &record->out[0].shape,
                                 .file = record->file,
                                 .line = record->line};
    nacre_record *first = thread->first, *last = thread->last;
    size_t pending = thread->pending;
    thread->first = thread->last = NULL;
    thread->pending = 0;
    bool complete = true;
    for (int i = 0; i < record->inputs; i++) {
        expansion.in[i] = record->in[i] ? nacre_tensor_for(record->in[i]) : NULL;
        complete &= !expansion.in[i] || !expansion.in[i]->error;
    }
    if (complete) { /* a handle that could not be made has no shape */
        record->op->decompose(&expansion);
    }
    *first_made = thread->first;
    thread->first = first;
    thread->last = last;
    thread->pending = pending;
    for (nacre_record *r = *first_made; r; r = r->next) {
        r->owner = NULL; /* never pending; the order is read before anything else links them */
        r->executed = true;
    }
    for (int i = 0; complete && i < record->outputs; i++) {
        nacre_tensor *out = expansion.out[i];
        if (!out || out->error || !nacre_shape_equal(&out->value->shape, &record->out[i].shape) ||
            out->value->dtype != record->out[i].dtype) {
            nacre_fail_at(out && out->error ? out->error->status : NACRE_INTERNAL, record->file,
                          record->line, "%s: its decomposition %s", record->op->name,
                          out && out->error ? out->error->text : "has another shape or dtype");
            return false;
        }
        record->out[i].forward = out->value;
    }
    return complete;
}

static bool expand_into(nacre_work *work, nacre_thread *thread, const nacre_backend_table *backend,
                        nacre_record *record, int depth) {
    if (!must_expand(record, backend)) {
        record->mark = work->mark;
        return nacre_list_push(&work->expanded, record);
    }
    if (depth == 8) {
        nacre_fail(NACRE_INTERNAL, "%s: decompositions nest too deeply", record->op->name);
        return false;
    }
    nacre_record *made;
    bool ok = expand(thread, record, &made);
    while (ok && made) {
        nacre_record *next = made->next;
        made->previous = made->next = NULL;
        ok = expand_into(work, thread, backend, made, depth + 1);
        made = next;
    }
    return ok;
}

static bool expand_all(nacre_work *work, nacre_thread *thread, const nacre_backend_table *backend) {
    bool any = false;
    for (size_t i = 0; i < work->records.count && !any; i++) {
        any = must_expand(work->records.items[i], backend);
    }
    if (!any) {
        return true;
    }
    work->frame = nacre_frame_begin();
    if (work->frame < 1) {
        return false;
    }
    bool no_grad = thread->no_grad, eager = thread->eager;
    thread->no_grad = thread->capture = true;
    thread->eager = false;
    work->expanded.count = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < work->records.count; i++) {
        ok = expand_into(work, thread, backend, work->records.items[i], 0);
    }
    thread->no_grad = no_grad;
    thread->capture = false;
    thread->eager = eager;
    return ok;
}

/* ---- the whole ---- */

nacre_status nacre_work_gather(nacre_work *work, nacre_thread *thread,
                               const nacre_backend_table *backend, nacre_tensor *const *tensors,
                               size_t count) {
    work->records.count = work->roots.count = work->stack.count = 0;
    work->frame = 0;
    work->mark = ++thread->marks_made;
    if (!find_roots(work, thread, tensors, count) || !reach_all(work, thread)) {
        return NACRE_OUT_OF_MEMORY;
    }
    if (!thread->no_grad && !keep_for_gradients(work)) {
        return NACRE_OUT_OF_MEMORY;
    }
    if (!expand_all(work, thread, backend)) {
        return nacre_error_code();
    }
    if (work->frame) { /* the originals stay in `expanded` */
        nacre_list swapped = work->records;
        work->records = work->expanded;
        work->expanded = swapped;
    }
    return nacre_work_key(work, thread) ? NACRE_OK : NACRE_OUT_OF_MEMORY;
}

void nacre_work_finish(nacre_work *work) {
    if (!work->frame) {
        return;
    }
    for (size_t i = 0; i < work->expanded.count; i++) {
        nacre_record *r = work->expanded.items[i];
        for (int k = 0; k < r->outputs; k++) {
            r->out[k].forward = NULL;
        }
    }
    nacre_frame_end(work->frame, NULL, 0);
    work->frame = 0;
}
