/* Stochastic gradient descent, with momentum and weight decay as PyTorch has them. */
#include "base/error.h"
#include "base/memory.h"
#include "nn/options.h"
#include "optim/optimizer.h"

#include <math.h>
#include <nacre/grad.h>

static nacre_status sgd_update(const void *self, double lr, nacre_tensor *parameter,
                               nacre_tensor *gradient, nacre_tensor *const *state,
                               nacre_tensor *step, nacre_tensor *ok) {
    (void)step;
    const nacre_sgd_options *o = self;
    const nacre_sgd_update_options update = {.size = sizeof update,
                                             .lr = lr,
                                             .momentum = o->momentum,
                                             .weight_decay = o->weight_decay,
                                             .ok = ok};
    return nacre_sgd_update(parameter, gradient, o->momentum != 0 ? state[0] : NULL, &update);
}

static nacre_status check_options(const nacre_sgd_options *o) {
    if (!(o->momentum >= 0 && o->momentum < 1)) {
        return nacre_fail(NACRE_INVALID_ARGUMENT, "sgd: momentum is %g: it must be in [0, 1)",
                          o->momentum);
    }
    if (!isfinite(o->weight_decay) || o->weight_decay < 0) {
        return nacre_fail(NACRE_INVALID_ARGUMENT,
                          "sgd: weight_decay is %g: it must be finite and at least 0",
                          o->weight_decay);
    }
    return NACRE_OK;
}

nacre_optimizer *nacre_sgd_at(const nacre_sgd_options *options) {
    static const char *const names[] = {"velocity"};
    nacre_optimizer_class class_ = {.size = sizeof class_,
                                    .name = "SGD",
                                    .state_names = names,
                                    .update = sgd_update,
                                    .destroy = nacre_free,
                                    .lr = 0.01};
    nacre_sgd_options *self = nacre_alloc_zeroed(1, sizeof *self);
    nacre_status status = NACRE_OUT_OF_MEMORY;
    double lr = 0;
    if (self) {
        status = nacre_options_take(self, sizeof *self, options, "sgd");
        status = status ? status : check_options(self);
        lr = self->lr != 0 || signbit(self->lr) ? self->lr + 0.0 : class_.lr;
        class_.state_count = self->momentum != 0;
    }
    nacre_optimizer *optimizer = nacre_optimizer_new(&class_, self, lr);
    nacre_optimizer_set_error(optimizer, status);
    return optimizer;
}
