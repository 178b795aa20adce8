/* One step: clipping and updates are recorded, then everything runs in one evaluation. */
#include "base/error.h"
#include "nn/options.h"
#include "optim/optimizer.h"
#include "record/record.h"

#include <nacre/grad.h>
#include <nacre/ops.h>

/* ---- clipping ---- */

static nacre_tensor *scalar(double value, nacre_dtype dtype) {
    return nacre_full(NACRE_SCALAR, value, .dtype = dtype);
}

static nacre_tensor *clip_value(nacre_tensor *g, double bound) {
    nacre_dtype dtype = nacre_dtype_of(g);
    return nacre_minimum(nacre_maximum(g, scalar(-bound, dtype)), scalar(bound, dtype));
}

/* The gradients as the updates see them, before clipping by norm; NULL: none. */
static void take_gradients(nacre_optimizer *optimizer) {
    for (size_t i = 0; i < optimizer->count; i++) {
        nacre_slot *slot = &optimizer->slots[i];
        slot->gradient = nacre_has_grad(slot->parameter) ? nacre_grad(slot->parameter) : NULL;
        if (slot->gradient && optimizer->clip_value > 0) {
            slot->gradient = clip_value(slot->gradient, optimizer->clip_value);
        }
    }
}

/* min(1, c / (norm + 1e-6)) with the joint 2-norm of all gradients, as torch.nn.utils.clip_grad_norm_;
   f64 where any gradient is. */
static nacre_tensor *norm_scale(const nacre_optimizer *optimizer) {
    nacre_tensor *total = NULL;
    for (size_t i = 0; i < optimizer->count; i++) {
        nacre_tensor *g = optimizer->slots[i].gradient;
        if (!g) {
            continue;
        }
        nacre_tensor *square = nacre_sum(nacre_mul(g, g));
        if (total && nacre_dtype_of(total) != nacre_dtype_of(square)) {
            total = nacre_cast(total, NACRE_F64);
            square = nacre_cast(square, NACRE_F64);
        }
        total = total ? nacre_add(total, square) : square;
    }
    nacre_dtype dtype = nacre_dtype_of(total);
    nacre_tensor *norm = nacre_add_scalar(nacre_sqrt(total), 1e-6);
    return nacre_minimum(scalar(1, dtype), nacre_div(scalar(optimizer->clip_norm, dtype), norm));
}

static nacre_tensor *scaled(nacre_tensor *g, nacre_tensor *scale) {
    if (nacre_dtype_of(scale) != nacre_dtype_of(g)) {
        scale = nacre_cast(scale, nacre_dtype_of(g));
    }
    return nacre_mul(g, scale);
}

/* ---- the step ---- */

static nacre_status check_step(const nacre_step_options *o) {
    nacre_status status = nacre_optimizer_check(o->optimizer, "step");
    if (status != NACRE_OK) {
        return status;
    }
    if (!o->optimizer->bound) {
        return nacre_fail(NACRE_INVALID_STATE,
                          "step: this %s has no parameters yet: call nacre_optimizer_bind first",
                          nacre_optimizer_kind(o->optimizer));
    }
    if (o->ok && nacre_is_error(o->ok)) {
        return nacre_fail(nacre_tensor_status(o->ok), "%s", nacre_tensor_message(o->ok));
    }
    if (o->ok && (nacre_dtype_of(o->ok) != NACRE_BOOL || nacre_ndim(o->ok) != 0)) {
        return nacre_fail(NACRE_INVALID_ARGUMENT, "step: ok must be a bool scalar");
    }
    for (size_t i = 0; i < o->optimizer->count; i++) {
        if (nacre_has_grad(o->optimizer->slots[i].parameter)) {
            return NACRE_OK;
        }
    }
    return nacre_fail(NACRE_INVALID_STATE, "step: no parameter has a gradient: call nacre_backward "
                                           "on the loss first; a step consumes the gradients");
}

static nacre_status record_step(const nacre_step_options *o) {
    nacre_optimizer *optimizer = o->optimizer;
    double lr = nacre_optimizer_rate(optimizer);
    nacre_tensor *next = nacre_add_scalar(optimizer->step, 1);
    nacre_tensor *stored = o->ok ? nacre_where(o->ok, next, optimizer->step) : next;
    take_gradients(optimizer);
    nacre_tensor *scale = optimizer->clip_norm > 0 ? norm_scale(optimizer) : NULL;
    nacre_status status = NACRE_OK;
    for (size_t i = 0; status == NACRE_OK && i < optimizer->count; i++) {
        nacre_slot *slot = &optimizer->slots[i];
        nacre_tensor *g = slot->gradient;
        if (g) {
            status =
                optimizer->class_.update(optimizer->self, lr, slot->parameter,
                                         scale ? scaled(g, scale) : g, slot->state, next, o->ok);
        }
    }
    /* Last: `next` stands for the step's number until every update has read it. */
    return status == NACRE_OK ? nacre_assign(optimizer->step, stored) : status;
}

static void consume_gradients(const nacre_optimizer *optimizer) {
    for (size_t i = 0; i < optimizer->count; i++) {
        nacre_zero_grad(optimizer->slots[i].parameter);
    }
}

nacre_status nacre_step_at(const nacre_step_options *options) {
    nacre_step_options o;
    nacre_status status = nacre_options_take(&o, sizeof o, options, "step");
    status = status ? status : check_step(&o);
    if (status != NACRE_OK) {
        return status;
    }
    nacre_optimizer *optimizer = o.optimizer;
    nacre_scope frame = nacre_frame_begin();
    bool before = nacre_set_grad_enabled(false);
    status = frame < 1 ? NACRE_INVALID_STATE : record_step(&o);
    nacre_set_grad_enabled(before);
    nacre_frame_end(frame, NULL, 0);
    if (status != NACRE_OK) {
        /* Some updates are recorded, some are not: none may run. */
        nacre_rollback(nacre_this_thread());
        return status;
    }
    /* Before the evaluation, so that the gradients need no memory of their own beyond it. */
    if (!o.keep_grads) {
        consume_gradients(optimizer);
    }
    status = nacre_eval(optimizer->step);
    if (status == NACRE_OK) {
        optimizer->steps = o.ok ? nacre_item_i64(optimizer->step) : optimizer->steps + 1;
    }
    return status;
}
