/* Cross-entropy on logits. */
#include "nn/module.h"

#include <nacre/loss.h>
#include <nacre/ops.h>
#include <string.h>

static nacre_tensor *cross_entropy_compute(void *self, nacre_tensor *prediction,
                                           nacre_tensor *target) {
    (void)self;
    return nacre_f_cross_entropy_at(prediction, target, "CrossEntropy", 0);
}

/* d/dz of the mean over n rows of -sum(t log softmax(z)): (softmax(z) sum(t) - t) / n. */
static nacre_tensor *cross_entropy_backward(void *self, nacre_tensor *prediction,
                                            nacre_tensor *target) {
    (void)self;
    nacre_tensor *p = nacre_f_softmax(prediction, -1);
    if (nacre_ndim(target) + 1 == nacre_ndim(prediction)) {
        target = nacre_one_hot(target, nacre_size(prediction, -1), nacre_dtype_of(prediction));
    } else {
        p = nacre_mul(p, nacre_sum(target, .axes = NACRE_AXES(-1), .keepdims = true));
    }
    return nacre_div_scalar(nacre_sub(p, target), (double)nacre_size(prediction, 0));
}

/* softmax(softmax(z)) learns badly and says nothing: the network's own Softmax goes. */
static nacre_status drop_final_softmax(void *self, nacre_module *network) {
    (void)self;
    nacre_module *module = network;
    while (strcmp(nacre_module_kind(module), "Sequential") == 0 &&
           nacre_module_child_count(module) > 0) {
        nacre_module *last = nacre_module_child(module, nacre_module_child_count(module) - 1);
        if (strcmp(nacre_module_kind(last), "Softmax") == 0) {
            nacre_module_drop_last(module);
            break;
        }
        module = last;
    }
    return NACRE_OK;
}

nacre_loss *nacre_cross_entropy(void) {
    static const nacre_loss_class class_ = {.size = sizeof class_,
                                            .name = "CrossEntropy",
                                            .compute = cross_entropy_compute,
                                            .backward = cross_entropy_backward,
                                            .simplify = drop_final_softmax};
    return nacre_loss_new(&class_, NULL);
}
