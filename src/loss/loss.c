/* The interface of losses. */
#include "loss/loss.h"

#include "base/error.h"
#include "base/memory.h"
#include "nn/module.h"
#include "record/record.h"

#include <nacre/grad.h>
#include <stdio.h>
#include <string.h>

struct nacre_loss {
    nacre_loss_class class_;
    void *self;
    nacre_module *module; /* parameters and mode; its errors are the loss's */
    bool immortal;
};

static nacre_loss out_of_memory = {.class_ = {.name = "?"}, .immortal = true};

static nacre_tensor *no_forward(nacre_module *module, void *self, nacre_tensor *x) {
    (void)self, (void)x;
    nacre_fail(NACRE_INVALID_STATE,
               "%s: a loss takes a prediction and a target: use "
               "nacre_loss_compute",
               nacre_module_kind(module));
    return nacre_error_tensor();
}

static nacre_status check_class(const nacre_loss *loss) {
    if (!loss->class_.name || !loss->class_.compute) {
        return nacre_fail(NACRE_INVALID_ARGUMENT, "loss: the class needs a name and a compute");
    }
    return NACRE_OK;
}

nacre_loss *nacre_loss_new(const nacre_loss_class *class_, void *self) {
    nacre_loss *loss = nacre_alloc_zeroed(1, sizeof *loss);
    if (!loss) {
        if (class_ && class_->destroy) {
            class_->destroy(self);
        }
        return &out_of_memory;
    }
    if (class_) {
        memcpy(&loss->class_, class_,
               class_->size < sizeof *class_ ? class_->size : sizeof *class_);
    }
    loss->self = self;
    const nacre_module_class module_class = {
        .size = sizeof module_class,
        .name = loss->class_.name ? loss->class_.name : "Loss",
        .forward = no_forward,
    };
    loss->module = nacre_module_new(&module_class, NULL);
    nacre_module_set_error(loss->module, check_class(loss));
    return loss;
}

void nacre_loss_free(nacre_loss *loss) {
    if (!loss || loss->immortal) {
        return;
    }
    nacre_module_free(loss->module);
    if (loss->class_.destroy) {
        loss->class_.destroy(loss->self);
    }
    nacre_free(loss);
}

nacre_status nacre_loss_status(const nacre_loss *loss) {
    if (!loss) {
        return NACRE_INVALID_ARGUMENT;
    }
    return loss->immortal ? NACRE_OUT_OF_MEMORY : nacre_module_status(loss->module);
}

const char *nacre_loss_message(const nacre_loss *loss) {
    if (!loss) {
        return "the loss is NULL";
    }
    return loss->immortal ? "loss: out of memory" : nacre_module_message(loss->module);
}

const char *nacre_loss_kind(const nacre_loss *loss) {
    return loss && loss->class_.name ? loss->class_.name : "?";
}

nacre_module *nacre_loss_module(nacre_loss *loss) { return loss ? loss->module : NULL; }

nacre_status nacre_loss_check(const nacre_loss *loss, const char *what) {
    if (!loss) {
        return nacre_fail(NACRE_INVALID_ARGUMENT, "%s: the loss is NULL", what);
    }
    nacre_status status = nacre_loss_status(loss);
    return status == NACRE_OK ? NACRE_OK : nacre_fail(status, "%s", nacre_loss_message(loss));
}

nacre_status nacre_loss_simplify(nacre_loss *loss, nacre_module *network) {
    nacre_status status = nacre_loss_check(loss, "loss");
    return status == NACRE_OK && loss->class_.simplify ? loss->class_.simplify(loss->self, network)
                                                       : status;
}

/* ---- values and gradients ---- */

static nacre_status check_inputs(const nacre_loss *loss, const nacre_tensor *prediction,
                                 const nacre_tensor *target) {
    nacre_status status = nacre_loss_check(loss, "loss");
    if (status == NACRE_OK && (!prediction || !target)) {
        status = nacre_fail(NACRE_INVALID_ARGUMENT, "%s: the %s is NULL", nacre_loss_kind(loss),
                            prediction ? "target" : "prediction");
    }
    for (int i = 0; status == NACRE_OK && i < 2; i++) {
        const nacre_tensor *t = i == 0 ? prediction : target;
        if (nacre_is_error(t)) {
            status = nacre_fail(nacre_tensor_status(t), "%s", nacre_tensor_message(t));
        }
    }
    return status;
}

static nacre_tensor *checked(const nacre_loss *loss, nacre_tensor *result, const char *what) {
    if (!result) {
        nacre_fail(NACRE_INVALID_STATE, "%s: %s returned NULL", nacre_loss_kind(loss), what);
        result = nacre_error_tensor();
    }
    return result;
}

nacre_tensor *nacre_loss_compute(nacre_loss *loss, nacre_tensor *prediction, nacre_tensor *target) {
    if (check_inputs(loss, prediction, target) != NACRE_OK) {
        return nacre_error_tensor();
    }
    nacre_scope frame = nacre_frame_begin();
    nacre_tensor *value = loss->class_.compute(loss->self, prediction, target);
    value = checked(loss, value, "compute");
    nacre_frame_end(frame, &value, 1);
    return value;
}

/* The prediction's gradient through autograd; those of the loss's own parameters go to their slots. */
static nacre_tensor *backward_by_autograd(nacre_loss *loss, nacre_tensor *prediction,
                                          nacre_tensor *target) {
    size_t count = nacre_module_parameter_count(loss->module) + 1;
    nacre_tensor **xs = nacre_alloc_zeroed(2 * count, sizeof *xs);
    if (!xs) {
        return nacre_error_tensor();
    }
    nacre_tensor **gradients = xs + count;
    for (size_t i = 1; i < count; i++) {
        xs[i] = nacre_module_parameter_at(loss->module, i - 1);
    }
    bool before = nacre_set_grad_enabled(true);
    xs[0] = nacre_requires_grad(nacre_detach(prediction), true);
    nacre_tensor *value = loss->class_.compute(loss->self, xs[0], target);
    nacre_set_grad_enabled(before);
    nacre_status status = nacre_gradients(checked(loss, value, "compute"), xs, count, gradients);
    for (size_t i = 1; status == NACRE_OK && i < count; i++) {
        status = nacre_accumulate_grad(xs[i], gradients[i]);
    }
    nacre_tensor *result = status == NACRE_OK ? gradients[0] : nacre_error_tensor();
    nacre_free(xs);
    return result;
}

nacre_tensor *nacre_loss_backward(nacre_loss *loss, nacre_tensor *prediction,
                                  nacre_tensor *target) {
    if (check_inputs(loss, prediction, target) != NACRE_OK) {
        return nacre_error_tensor();
    }
    nacre_scope frame = nacre_frame_begin();
    bool before = nacre_set_grad_enabled(false);
    nacre_tensor *gradient = loss->class_.backward
                                 ? loss->class_.backward(loss->self, prediction, target)
                                 : backward_by_autograd(loss, prediction, target);
    nacre_set_grad_enabled(before);
    gradient = checked(loss, gradient, "backward");
    nacre_frame_end(frame, &gradient, 1);
    return gradient;
}
