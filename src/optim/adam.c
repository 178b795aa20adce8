/* Adam (Kingma and Ba 2015) and, with weight decay, AdamW (Loshchilov and Hutter 2019). */
#include "base/error.h"
#include "base/memory.h"
#include "nn/options.h"
#include "optim/optimizer.h"

#include <math.h>
#include <nacre/grad.h>

static nacre_status adam_update(const void *self, double lr, nacre_tensor *parameter,
                                nacre_tensor *gradient, nacre_tensor *const *state,
                                nacre_tensor *step, nacre_tensor *ok) {
    const nacre_adam_options *o = self;
    const nacre_adam_update_options update = {.size = sizeof update,
                                              .lr = lr,
                                              .beta1 = o->betas[0],
                                              .beta2 = o->betas[1],
                                              .epsilon = o->epsilon,
                                              .weight_decay = o->weight_decay,
                                              .ok = ok};
    return nacre_adam_update(parameter, gradient, state[0], state[1], step, &update);
}

static nacre_status check_options(const nacre_adam_options *o, const char *name) {
    for (int i = 0; i < 2; i++) {
        if (!(o->betas[i] >= 0 && o->betas[i] < 1)) {
            return nacre_fail(NACRE_INVALID_ARGUMENT, "%s: betas[%d] is %g: it must be in [0, 1)",
                              name, i, o->betas[i]);
        }
    }
    if (!isfinite(o->epsilon) || o->epsilon < 0) {
        return nacre_fail(NACRE_INVALID_ARGUMENT,
                          "%s: epsilon is %g: it must be finite and at least 0", name, o->epsilon);
    }
    if (!isfinite(o->weight_decay) || o->weight_decay < 0) {
        return nacre_fail(NACRE_INVALID_ARGUMENT,
                          "%s: weight_decay is %g: it must be finite and at least 0", name,
                          o->weight_decay);
    }
    return NACRE_OK;
}

/* The value, or the default where it is 0; NACRE_ZERO is 0 itself. */
static double or_default(double value, double otherwise) {
    return value != 0 || signbit(value) ? value + 0.0 : otherwise;
}

static nacre_optimizer *make(const nacre_optimizer_class *class_, const nacre_adam_options *options,
                             const char *name, double weight_decay) {
    nacre_adam_options *self = nacre_alloc_zeroed(1, sizeof *self);
    nacre_status status = NACRE_OUT_OF_MEMORY;
    double lr = 0;
    if (self) {
        status = nacre_options_take(self, sizeof *self, options, name);
        if (self->betas[0] == 0 && self->betas[1] == 0) {
            self->betas[0] = 0.9;
            self->betas[1] = 0.999;
        }
        self->epsilon = or_default(self->epsilon, 1e-8);
        self->weight_decay = or_default(self->weight_decay, weight_decay);
        status = status ? status : check_options(self, name);
        lr = or_default(self->lr, class_->lr);
    }
    nacre_optimizer *optimizer = nacre_optimizer_new(class_, self, lr);
    nacre_optimizer_set_error(optimizer, status);
    return optimizer;
}

static const char *const state_names[] = {"m", "v"};

nacre_optimizer *nacre_adam_at(const nacre_adam_options *options) {
    static const nacre_optimizer_class class_ = {.size = sizeof class_,
                                                 .name = "Adam",
                                                 .state_count = 2,
                                                 .state_names = state_names,
                                                 .update = adam_update,
                                                 .destroy = nacre_free,
                                                 .lr = 1e-3};
    return make(&class_, options, "adam", 0);
}

nacre_optimizer *nacre_adamw_at(const nacre_adam_options *options) {
    static const nacre_optimizer_class class_ = {.size = sizeof class_,
                                                 .name = "AdamW",
                                                 .state_count = 2,
                                                 .state_names = state_names,
                                                 .update = adam_update,
                                                 .destroy = nacre_free,
                                                 .lr = 1e-3};
    return make(&class_, options, "adamw", 0.01);
}
