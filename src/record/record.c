/* Recording: a call becomes a record once its shapes and dtypes are known to fit. */
#include "record/record.h"

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "record/internal.h"

#include <string.h>

static int output_count(const nacre_op *op) { return op->outputs ? op->outputs : 1; }

/* The first error among the inputs; NULL: none. An absent input that is not optional is one too, and so is what
   another thread has not computed yet. */
static nacre_tensor *first_error(const nacre_recording *recording, const nacre_thread *thread) {
    int required = recording->op->arity - recording->op->optional;
    for (int i = 0; i < recording->inputs; i++) {
        nacre_tensor *in = recording->in[i];
        if (!in && i >= required) {
            continue;
        }
        if (!in || (!in->value && !in->error)) {
            nacre_fail_at(NACRE_INVALID_ARGUMENT, recording->file, recording->line,
                          "%s: input %d is %s", recording->op->name, i,
                          in ? "an empty gradient slot" : "NULL");
            return nacre_error_tensor();
        }
        if (in->error) {
            return in;
        }
        if (nacre_value_foreign(in->value, thread)) {
            nacre_value_refuse_foreign(in->value);
            return nacre_error_tensor();
        }
    }
    return NULL;
}

static bool infer(const nacre_recording *recording, nacre_inference *inference, nacre_word *attrs) {
    inference->op = recording->op;
    inference->inputs = recording->inputs;
    inference->attrs = attrs;
    inference->wanted = recording->wanted;
    inference->wanted_dtype = recording->wanted_dtype;
    inference->file = recording->file;
    inference->line = recording->line;
    for (int i = 0; i < recording->inputs; i++) {
        const nacre_tensor *in = recording->in[i];
        inference->in[i].dtype = in ? in->value->dtype : NACRE_DTYPE_DEFAULT;
        if (in) {
            inference->in[i].shape = in->value->shape;
        }
    }
    return recording->op->shape(inference) == NACRE_OK;
}

static void pending_append(nacre_thread *thread, nacre_record *record) {
    record->owner = thread;
    record->previous = thread->last;
    record->next = NULL;
    *(thread->last ? &thread->last->next : &thread->first) = record;
    thread->last = record;
    thread->pending++;
}

nacre_record *nacre_record_new(const nacre_op *op, int outputs) {
    size_t bytes = nacre_record_bytes(outputs);
    nacre_record *record = nacre_pool_take(bytes);
    if (record) {
        memset(record, 0, bytes);
        record->op = op;
        record->outputs = outputs;
        for (int i = 0; i < outputs; i++) {
            record->out[i].record = record;
            record->out[i].device = NACRE_CPU;
        }
    }
    return record;
}

static nacre_record *make_record(nacre_thread *thread, const nacre_recording *recording,
                                 const nacre_inference *inference, const nacre_word *attrs) {
    const nacre_op *op = recording->op;
    nacre_record *record = nacre_record_new(op, output_count(op));
    if (!record) {
        return NULL;
    }
    record->sequence = ++thread->sequence;
    record->inputs = recording->inputs;
    record->file = recording->file;
    record->line = recording->line;
    record->thread = thread->number;
    memcpy(record->attrs, attrs, sizeof record->attrs);
    bool needs_grad = false;
    for (int i = 0; i < recording->inputs; i++) {
        nacre_value *in = recording->in[i] ? recording->in[i]->value : NULL;
        record->in[i] = in;
        if (in) {
            nacre_value_add_reader(in);
            bool wants = in->needs_grad && !recording->in[i]->plain;
            record->wants |= (unsigned char)(wants << i);
            needs_grad |= wants;
        }
    }
    record->needs_grad = needs_grad && !thread->no_grad && !(op->flags & NACRE_OP_NO_GRADIENT);
    for (int i = 0; i < record->outputs; i++) {
        nacre_value *out = &record->out[i];
        out->dtype = inference->out[i].dtype;
        out->shape = inference->out[i].shape;
        out->needs_grad = record->needs_grad && nacre_dtype_is_float(out->dtype);
    }
    pending_append(thread, record);
    return record;
}

static void fill_error(nacre_tensor *error, int count, nacre_tensor **out) {
    for (int i = 0; i < count; i++) {
        out[i] = nacre_error_copy(error);
    }
}

nacre_status nacre_evaluate_overflow(nacre_thread *thread) {
    if (thread->pending <= NACRE_PENDING_LIMIT || thread->evaluating || thread->capture) {
        return NACRE_OK;
    }
    if (!thread->overflow_logged) {
        thread->overflow_logged = true;
        nacre_log("more than %d operations pending: evaluating them now; call nacre_eval "
                  "or end a scope in long loops",
                  NACRE_PENDING_LIMIT);
    }
    return nacre_evaluate_now(NULL, 0);
}

/* Eager mode, and the bound on pending work. A failure turns the results into error tensors. */
static void evaluate_early(nacre_thread *thread, int count, nacre_tensor **out) {
    if (thread->capture || thread->evaluating) {
        return;
    }
    nacre_status status = NACRE_OK;
    if (thread->eager) {
        status = nacre_evaluate_now(out, (size_t)count);
    } else if (thread->frames == 0) {
        status = nacre_evaluate_overflow(thread);
    }
    if (status != NACRE_OK) {
        for (int i = 0; i < count; i++) {
            out[i] = nacre_error_tensor();
        }
    }
}

nacre_record *nacre_record_make(nacre_thread *thread, const nacre_recording *recording,
                                nacre_tensor **error) {
    *error = first_error(recording, thread);
    if (*error) {
        return NULL;
    }
    nacre_inference inference;
    nacre_word attrs[NACRE_MAX_ATTRS];
    memcpy(attrs, recording->attrs, sizeof attrs);
    nacre_record *record = NULL;
    if (infer(recording, &inference, attrs)) {
        record = make_record(thread, recording, &inference, attrs);
    }
    *error = record ? NULL : nacre_error_tensor();
    return record;
}

void nacre_record_many(const nacre_recording *recording, nacre_tensor **out) {
    int count = output_count(recording->op);
    nacre_thread *thread = nacre_this_thread();
    nacre_tensor *error = NULL;
    nacre_record *record = thread ? nacre_record_make(thread, recording, &error) : NULL;
    if (!record) {
        fill_error(error ? error : nacre_error_tensor(), count, out);
        return;
    }
    for (int i = 0; i < count; i++) {
        out[i] = nacre_tensor_for(&record->out[i]);
    }
    if (atomic_load_explicit(&record->refs, memory_order_relaxed) == 0) { /* no handle was made */
        nacre_record_hold(record);
        nacre_record_let_go(record);
    }
    if (thread->eager || thread->pending > NACRE_PENDING_LIMIT) {
        evaluate_early(thread, count, out);
    }
}

nacre_tensor *nacre_record_one(const nacre_recording *recording) {
    nacre_tensor *out[NACRE_MAX_OUTPUTS];
    nacre_record_many(recording, out);
    return out[0];
}

nacre_tensor *nacre_tensor_leaf(nacre_dtype dtype, const nacre_shape *shape) {
    size_t bytes;
    if (!nacre_size_multiply((size_t)nacre_shape_numel(shape), nacre_dtype_size(dtype), &bytes)) {
        nacre_fail(NACRE_OUT_OF_MEMORY, "out of memory: a tensor of that size has no address");
        return NULL;
    }
    nacre_storage *storage = nacre_storage_new(bytes);
    nacre_record *record = storage ? nacre_record_new(&nacre_op_leaf, 1) : NULL;
    if (!record) {
        nacre_storage_release(storage);
        return NULL;
    }
    nacre_value *value = &record->out[0];
    record->executed = true;
    value->dtype = dtype;
    value->shape = *shape;
    nacre_value_bind(value, storage);
    nacre_value_add_handle(value);
    nacre_tensor *t = nacre_tensor_for(value);
    nacre_value_drop_handle(value);
    if (t->error) {
        nacre_storage_release(storage);
        return NULL;
    }
    t->variable = storage;
    return t;
}
