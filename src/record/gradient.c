/* Back-propagation: gradient rules record ordinary ops, in reverse order of recording. */
#include "base/error.h"
#include "base/memory.h"
#include "record/internal.h"

#include <nacre/grad.h>
#include <nacre/ops.h>
#include <stdlib.h>
#include <string.h>

/* ---- leaves and their slots ---- */

static nacre_status slot_make(nacre_tensor *t) {
    nacre_scope frame = nacre_frame_begin();
    /* An empty handle of t's value's kind: it gets a value with the first gradient. */
    nacre_tensor *slot = nacre_tensor_for(t->value);
    if (!slot->immortal) {
        nacre_value_drop_handle(slot->value);
        slot->value = NULL;
        slot->is_slot = true;
        t->gradient = nacre_retain(slot);
        t->value->accumulator = nacre_retain(slot);
    }
    nacre_frame_end(frame, NULL, 0);
    return t->gradient ? NACRE_OK : nacre_fail(NACRE_OUT_OF_MEMORY, "requires_grad: out of memory");
}

nacre_tensor *nacre_requires_grad(nacre_tensor *t, bool wanted) {
    if (!t) {
        nacre_fail(NACRE_INVALID_ARGUMENT, "requires_grad: the tensor is NULL");
        return nacre_error_tensor();
    }
    if (!t->value) {
        return t;
    }
    if (wanted && t->value->needs_grad && !t->wants_grad) {
        nacre_fail(NACRE_INVALID_STATE,
                   "requires_grad: the tensor was computed by %s from others that want a gradient; "
                   "call nacre_detach first",
                   t->value->record->op->name);
        return nacre_error_tensor();
    }
    if (wanted && !nacre_dtype_is_float(t->value->dtype)) {
        nacre_fail(NACRE_DTYPE_MISMATCH,
                   "requires_grad: only floating dtypes have gradients, "
                   "this is %s",
                   nacre_dtype_name(t->value->dtype));
        return nacre_error_tensor();
    }
    if (wanted && !t->gradient && slot_make(t) != NACRE_OK) {
        return nacre_error_tensor();
    }
    if (wanted && !t->value->accumulator) {
        t->value->accumulator = nacre_retain(t->gradient);
    }
    if (!wanted && t->value->accumulator) {
        nacre_release(t->value->accumulator);
        t->value->accumulator = NULL;
    }
    t->wants_grad = wanted;
    t->value->needs_grad = wanted || t->value->record->needs_grad;
    return t;
}

bool nacre_has_requires_grad(const nacre_tensor *t) {
    return t && t->value && t->value->needs_grad && !t->plain;
}

bool nacre_has_grad(const nacre_tensor *t) { return t && t->gradient && t->gradient->slot_set; }

void nacre_zero_grad(nacre_tensor *t) {
    nacre_tensor *slot = t ? t->gradient : NULL;
    if (!slot) {
        return;
    }
    nacre_dirty_remove(slot);
    slot->slot_set = false;
    if (slot->value) {
        if (slot->value->variable == slot) {
            slot->value->variable = NULL;
        }
        nacre_value_drop_handle(slot->value);
        slot->value = NULL;
    }
}

nacre_tensor *nacre_grad(nacre_tensor *t) {
    if (t && t->error) {
        return t;
    }
    if (!t || !t->gradient) {
        nacre_fail(NACRE_INVALID_STATE, "grad: the tensor does not want a gradient; call "
                                        "nacre_requires_grad(t, true) on a leaf");
        return nacre_error_tensor();
    }
    if (!t->gradient->value) {
        nacre_scope frame = nacre_frame_begin();
        nacre_tensor *zeros =
            nacre_zeros_at(&(nacre_create_options){.size = sizeof(nacre_create_options),
                                                   .shape = t->value->shape,
                                                   .dtype = t->value->dtype},
                           NULL, 0);
        nacre_status status =
            zeros->error ? zeros->error->status : nacre_rebind(t->gradient, zeros, NULL, 0);
        nacre_frame_end(frame, NULL, 0);
        if (status != NACRE_OK) {
            return nacre_error_tensor();
        }
    }
    return t->gradient;
}

nacre_status nacre_slot_add(nacre_tensor *slot, nacre_tensor *g, const char *file, int line) {
    nacre_tensor *sum = slot->slot_set ? nacre_add_at(slot, g, file, line) : g;
    nacre_status status = sum->error ? sum->error->status : nacre_rebind(slot, sum, file, line);
    slot->slot_set |= status == NACRE_OK;
    return status;
}

nacre_status nacre_accumulate_grad(nacre_tensor *t, nacre_tensor *g) {
    if (!t || !g || (!g->value && !g->error)) {
        return nacre_fail(NACRE_INVALID_ARGUMENT, "accumulate_grad: the %s is %s",
                          t ? "gradient" : "tensor", t && g ? "an empty gradient slot" : "NULL");
    }
    if (t->error || g->error) {
        nacre_tensor *error = t->error ? t : g;
        return nacre_fail(error->error->status, "%s", error->error->text);
    }
    if (!t->gradient) {
        return nacre_fail(NACRE_INVALID_STATE, "accumulate_grad: the tensor wants no gradient");
    }
    if (t->value->dtype != g->value->dtype ||
        !nacre_shape_equal(&t->value->shape, &g->value->shape)) {
        char a[NACRE_SHAPE_TEXT], b[NACRE_SHAPE_TEXT];
        return nacre_fail(NACRE_SHAPE_MISMATCH,
                          "accumulate_grad: the tensor is %s %s, the gradient %s %s",
                          nacre_dtype_name(t->value->dtype), nacre_shape_text(&t->value->shape, a),
                          nacre_dtype_name(g->value->dtype), nacre_shape_text(&g->value->shape, b));
    }
    nacre_scope frame = nacre_frame_begin();
    bool before = nacre_set_grad_enabled(false);
    nacre_status status = nacre_slot_add(t->gradient, g, NULL, 0);
    nacre_set_grad_enabled(before);
    nacre_frame_end(frame, NULL, 0);
    return status;
}

nacre_tensor *nacre_detach_at(nacre_tensor *t, const char *file, int line) {
    bool before = nacre_set_grad_enabled(false);
    nacre_tensor *same = nacre_record_one(&(nacre_recording){
        .op = &nacre_op_copy, .inputs = 1, .in = {t}, .file = file, .line = line});
    nacre_set_grad_enabled(before);
    return same;
}

/* ---- the pass ---- */

typedef struct pass {
    nacre_record **order; /* records that a gradient flows through, newest first once sorted */
    size_t count, capacity;
    nacre_value **touched; /* values with a cotangent */
    size_t touched_count, touched_capacity;
    uint64_t mark;
    const char *file;
    int line;
} pass;

static bool grow(void **items, size_t count, size_t *capacity) {
    if (count < *capacity) {
        return true;
    }
    size_t wanted = *capacity ? 2 * *capacity : 128;
    void *grown = nacre_pool_take(wanted * sizeof(void *));
    if (!grown) {
        return false;
    }
    if (*items) {
        memcpy(grown, *items, count * sizeof(void *));
        nacre_pool_give(*items, *capacity * sizeof(void *));
    }
    *items = grown;
    *capacity = wanted;
    return true;
}

static void pass_free(pass *p) {
    for (size_t i = 0; i < p->touched_count; i++) {
        nacre_release(p->touched[i]->cotangent);
        p->touched[i]->cotangent = NULL;
    }
    if (p->order) {
        nacre_pool_give(p->order, p->capacity * sizeof(void *));
    }
    if (p->touched) {
        nacre_pool_give(p->touched, p->touched_capacity * sizeof(void *));
    }
}

static bool visit(pass *p, nacre_value *value) {
    nacre_record *record = value->record;
    if (!value->needs_grad || value->accumulator || record->mark == p->mark ||
        record->inputs == 0) {
        return true;
    }
    if (!grow((void **)&p->order, p->count, &p->capacity)) {
        return false;
    }
    record->mark = p->mark;
    p->order[p->count++] = record;
    return true;
}

static int newest_first(const void *a, const void *b) {
    uint64_t x = (*(nacre_record *const *)a)->sequence, y = (*(nacre_record *const *)b)->sequence;
    return (x < y) - (x > y);
}

/* All records between the starting values and the leaves: the list is its own work queue. */
static bool collect(pass *p, nacre_value *const *starts, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!visit(p, starts[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < p->count; i++) {
        nacre_record *record = p->order[i];
        for (int k = 0; k < record->inputs; k++) {
            if (record->in[k] && record->wants >> k & 1 && !visit(p, record->in[k])) {
                return false;
            }
        }
    }
    if (p->count > 0) {
        qsort(p->order, p->count, sizeof *p->order, newest_first);
    }
    return true;
}

/* Adds g to what has reached `value`. */
static nacre_status contribute(pass *p, nacre_value *value, nacre_tensor *g) {
    if (g->error) {
        return nacre_fail(g->error->status, "%s", g->error->text);
    }
    if (!value->cotangent) {
        if (!grow((void **)&p->touched, p->touched_count, &p->touched_capacity)) {
            return NACRE_OUT_OF_MEMORY;
        }
        p->touched[p->touched_count++] = value;
        value->cotangent = nacre_retain(g);
        return NACRE_OK;
    }
    nacre_tensor *sum = nacre_add_at(value->cotangent, g, p->file, p->line);
    nacre_release(value->cotangent);
    value->cotangent = nacre_retain(sum);
    return sum->error ? nacre_fail(sum->error->status, "%s", sum->error->text) : NACRE_OK;
}

static nacre_status run_pass(pass *p, nacre_value *const *starts, nacre_tensor *const *cotangents,
                             size_t count);

/* A composite without a rule: differentiate its decomposition, on inputs of its own so that the two
   passes do not mix. */
static nacre_status through_decomposition(nacre_gradient *g, const nacre_record *record) {
    nacre_expansion expansion = {.attrs = record->attrs,
                                 .inputs = record->inputs,
                                 .out_shape = &record->out[0].shape,
                                 .file = g->file,
                                 .line = g->line};
    bool before = nacre_set_grad_enabled(true), complete = true;
    for (int i = 0; i < record->inputs; i++) {
        expansion.in[i] = !g->in[i] ? NULL
                                    : nacre_record_one(&(nacre_recording){.op = &nacre_op_copy,
                                                                          .inputs = 1,
                                                                          .in = {g->in[i]},
                                                                          .file = g->file,
                                                                          .line = g->line});
        complete &= !expansion.in[i] || !expansion.in[i]->error;
    }
    if (complete) { /* what could not be made has no shape */
        record->op->decompose(&expansion);
    }
    nacre_set_grad_enabled(before);
    if (!complete) {
        return nacre_error_code() ? nacre_error_code() : NACRE_OUT_OF_MEMORY;
    }
    nacre_value *starts[NACRE_MAX_OUTPUTS];
    nacre_tensor *cotangents[NACRE_MAX_OUTPUTS];
    size_t count = 0;
    for (int i = 0; i < record->outputs; i++) {
        if (g->dout[i]) {
            if (expansion.out[i]->error) {
                return nacre_fail(expansion.out[i]->error->status, "%s",
                                  expansion.out[i]->error->text);
            }
            starts[count] = expansion.out[i]->value;
            cotangents[count++] = g->dout[i];
        }
    }
    pass inner = {.mark = ++nacre_this_thread()->marks_made, .file = g->file, .line = g->line};
    /* The inner pass ends at the copies: past them it would take the outer pass's cotangents away. */
    for (int i = 0; i < record->inputs; i++) {
        if (expansion.in[i] && expansion.in[i]->value) {
            expansion.in[i]->value->record->mark = inner.mark;
        }
    }
    nacre_status status = run_pass(&inner, starts, cotangents, count);
    for (int i = 0; status == NACRE_OK && i < record->inputs; i++) {
        if (expansion.in[i] && expansion.in[i]->value && expansion.in[i]->value->cotangent) {
            g->din[i] = nacre_tensor_for(expansion.in[i]->value->cotangent->value);
        }
    }
    pass_free(&inner);
    return status;
}

static nacre_status apply_rule(pass *p, nacre_record *record) {
    nacre_gradient g = {.attrs = record->attrs,
                        .inputs = record->inputs,
                        .file = record->file,
                        .line = record->line};
    bool any = false;
    for (int i = 0; i < record->outputs; i++) {
        g.dout[i] = record->out[i].cotangent;
        any |= g.dout[i] != NULL;
    }
    if (!any) {
        return NACRE_OK;
    }
    for (int i = 0; i < record->inputs; i++) {
        if (record->in[i]) {
            g.in[i] = nacre_tensor_for(record->in[i]);
            bool wants = record->wants >> i & 1;
            g.in[i]->plain = !wants && !g.in[i]->immortal;
            g.wanted[i] = wants && record->in[i]->needs_grad;
        }
    }
    for (int i = 0; i < record->outputs; i++) {
        if (record->op->gradient_reads & NACRE_READS_OUT(i)) {
            g.out[i] = nacre_tensor_for(&record->out[i]);
        }
    }
    /* A handle that could not be made has no shape: a rule would sum to the wrong one. */
    for (int i = 0; i < NACRE_MAX_INPUTS; i++) {
        if ((g.in[i] && g.in[i]->error) || (i < NACRE_MAX_OUTPUTS && g.out[i] && g.out[i]->error)) {
            return nacre_error_code() ? nacre_error_code() : NACRE_OUT_OF_MEMORY;
        }
    }
    nacre_status status = NACRE_OK;
    if (record->op->gradient) {
        record->op->gradient(&g);
    } else if (record->op->decompose) {
        status = through_decomposition(&g, record);
    } else {
        status =
            nacre_fail_at(NACRE_NOT_DIFFERENTIABLE, record->file, record->line,
                          "%s: has no gradient; use nacre_detach on its input", record->op->name);
    }
    for (int i = 0; status == NACRE_OK && i < record->inputs; i++) {
        if (g.wanted[i] && g.din[i]) {
            status = contribute(p, record->in[i], g.din[i]);
        }
    }
    return status;
}

static nacre_status run_pass(pass *p, nacre_value *const *starts, nacre_tensor *const *cotangents,
                             size_t count) {
    if (!collect(p, starts, count)) {
        return NACRE_OUT_OF_MEMORY;
    }
    nacre_status status = NACRE_OK;
    for (size_t i = 0; status == NACRE_OK && i < count; i++) {
        status = contribute(p, starts[i], cotangents[i]);
    }
    for (size_t i = 0; status == NACRE_OK && i < p->count; i++) {
        status = apply_rule(p, p->order[i]);
    }
    return status;
}

static nacre_tensor *ones_like(const nacre_tensor *t, const char *file, int line) {
    return nacre_ones_at(&(nacre_create_options){.size = sizeof(nacre_create_options),
                                                 .shape = t->value->shape,
                                                 .dtype = t->value->dtype},
                         file, line);
}

static nacre_status check_output(const nacre_tensor *y, const char *what, const char *file,
                                 int line) {
    if (!y) {
        return nacre_fail_at(NACRE_INVALID_ARGUMENT, file, line, "%s: the tensor is NULL", what);
    }
    if (y->error) {
        return nacre_fail(y->error->status, "%s", y->error->text);
    }
    if (!nacre_has_requires_grad(y)) {
        return nacre_fail_at(NACRE_INVALID_STATE, file, line,
                             "%s: the tensor does not depend on any that wants a gradient", what);
    }
    return nacre_value_check_thread(y->value);
}

/* ---- public forms ---- */

/* Adds to the slots of all leaves. The slots are written last, so that a failure changes none. */
static nacre_status flush_slots(const pass *p) {
    nacre_status status = NACRE_OK;
    for (size_t i = 0; status == NACRE_OK && i < p->touched_count; i++) {
        nacre_value *value = p->touched[i];
        if (value->accumulator) {
            status = nacre_slot_add(value->accumulator, value->cotangent, p->file, p->line);
        }
    }
    for (size_t i = 0; status == NACRE_OK && i < p->count; i++) {
        p->order[i]->differentiated = true;
    }
    return status;
}

nacre_status nacre_backward_from_at(nacre_tensor *output, nacre_tensor *gradient, const char *file,
                                    int line) {
    nacre_status status = check_output(output, "backward", file, line);
    if (status != NACRE_OK) {
        return status;
    }
    if (!gradient || (!gradient->value && !gradient->error)) {
        return nacre_fail_at(NACRE_INVALID_ARGUMENT, file, line, "backward: the gradient is %s",
                             gradient ? "an empty gradient slot" : "NULL");
    }
    if (gradient->error) {
        return nacre_fail(gradient->error->status, "%s", gradient->error->text);
    }
    if (!nacre_shape_equal(&output->value->shape, &gradient->value->shape) ||
        output->value->dtype != gradient->value->dtype) {
        char a[NACRE_SHAPE_TEXT], b[NACRE_SHAPE_TEXT];
        return nacre_fail_at(
            NACRE_SHAPE_MISMATCH, file, line, "backward: the output is %s %s, its gradient %s %s",
            nacre_dtype_name(output->value->dtype), nacre_shape_text(&output->value->shape, a),
            nacre_dtype_name(gradient->value->dtype), nacre_shape_text(&gradient->value->shape, b));
    }
    nacre_thread *thread = nacre_this_thread();
    nacre_scope frame = nacre_frame_begin();
    bool before = nacre_set_grad_enabled(false);
    pass p = {.mark = ++thread->marks_made, .file = file, .line = line};
    status = run_pass(&p, &output->value, &gradient, 1);
    if (status == NACRE_OK) {
        status = flush_slots(&p);
    }
    pass_free(&p);
    nacre_set_grad_enabled(before);
    nacre_frame_end(frame, NULL, 0);
    if (status == NACRE_OK && !output->value->storage && !output->value->record->executed) {
        output->value->wanted = true;
    }
    return status;
}

nacre_status nacre_backward_at(nacre_tensor *loss, const char *file, int line) {
    nacre_status status = check_output(loss, "backward", file, line);
    if (status == NACRE_OK && nacre_numel(loss) != 1) {
        char text[NACRE_SHAPE_TEXT];
        status = nacre_fail_at(NACRE_SHAPE_MISMATCH, file, line,
                               "backward: the loss is %s, not one element; reduce it with "
                               "nacre_sum or nacre_mean, or use nacre_backward_from",
                               nacre_shape_text(&loss->value->shape, text));
    }
    if (status != NACRE_OK) {
        return status;
    }
    nacre_scope frame = nacre_frame_begin();
    bool before = nacre_set_grad_enabled(false);
    nacre_tensor *one = ones_like(loss, file, line);
    nacre_set_grad_enabled(before);
    status = nacre_backward_from_at(loss, one, file, line);
    nacre_frame_end(frame, NULL, 0);
    return status;
}

nacre_status nacre_gradients_at(nacre_tensor *y, nacre_tensor *const *xs, size_t count,
                                nacre_tensor **gradients, const char *file, int line) {
    nacre_status status = check_output(y, "gradients", file, line);
    for (size_t i = 0; status == NACRE_OK && i < count; i++) {
        status = check_output(xs[i], "gradients", file, line);
    }
    nacre_scope frame = nacre_frame_begin();
    pass p = {.mark = ++nacre_this_thread()->marks_made, .file = file, .line = line};
    if (status == NACRE_OK) {
        nacre_tensor *one = ones_like(y, file, line);
        status = one->error ? one->error->status : run_pass(&p, &y->value, &one, 1);
    }
    for (size_t i = 0; i < count; i++) {
        if (status != NACRE_OK) {
            gradients[i] = nacre_error_tensor();
        } else if (xs[i]->value->cotangent) {
            gradients[i] = nacre_tensor_for(xs[i]->value->cotangent->value);
        } else {
            gradients[i] =
                nacre_zeros_at(&(nacre_create_options){.size = sizeof(nacre_create_options),
                                                       .shape = xs[i]->value->shape,
                                                       .dtype = xs[i]->value->dtype},
                               file, line);
        }
    }
    pass_free(&p);
    nacre_frame_end(frame, gradients, count);
    return status;
}

nacre_tensor *nacre_reduce_to(nacre_tensor *g, const nacre_shape *shape, const char *file,
                              int line) {
    if (!g->value || nacre_shape_equal(&g->value->shape, shape)) {
        return g;
    }
    nacre_shape from = g->value->shape;
    nacre_reduce_options sum = {.size = sizeof sum, .input = g, .keepdims = true};
    int lead = from.ndim - shape->ndim;
    for (int i = 0; i < from.ndim; i++) {
        if (i < lead || (shape->dims[i - lead] == 1 && from.dims[i] != 1)) {
            sum.axes.axis[sum.axes.count++] = i;
        }
    }
    nacre_tensor *reduced = sum.axes.count ? nacre_sum_at(&sum, file, line) : g;
    return lead == 0 ? reduced : nacre_reshape_at(reduced, *shape, file, line);
}
