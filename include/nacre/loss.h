/* Losses behind one interface: a loss is a component with forward, backward, parameters and a mode. */
#ifndef NACRE_LOSS_H
#define NACRE_LOSS_H

#include <nacre/nn.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nacre_loss nacre_loss;

typedef struct nacre_loss_class {
    size_t size;
    const char *name; /* "CrossEntropy" */
    /* Scalar loss from prediction and target: records ops only. */
    nacre_tensor *(*compute)(void *self, nacre_tensor *prediction, nacre_tensor *target);
    /* Hand-written gradient with respect to the prediction; may be NULL: autograd. */
    nacre_tensor *(*backward)(void *self, nacre_tensor *prediction, nacre_tensor *target);
    void (*destroy)(void *self);
    /* Called once by nacre_model_new: may change the network that feeds this loss. NULL: it does not. */
    nacre_status (*simplify)(void *self, nacre_module *network);
} nacre_loss_class;

/* Takes ownership of `self` even when it fails; never NULL (see nacre_loss_status). */
NACRE_API nacre_loss *nacre_loss_new(const nacre_loss_class *class_, void *self);
NACRE_API void nacre_loss_free(nacre_loss *loss);
NACRE_API nacre_status nacre_loss_status(const nacre_loss *loss);
NACRE_API const char *nacre_loss_message(const nacre_loss *loss);
NACRE_API const char *nacre_loss_kind(const nacre_loss *loss);

/* Cross-entropy of softmax(prediction): targets are class indices [n] or one-hot rows [n, classes]. The
   prediction is logits, so in a model it takes a Softmax at a network's end away. */
NACRE_API nacre_loss *nacre_cross_entropy(void);
/* Mean squared error. */
NACRE_API nacre_loss *nacre_mse(void);

NACRE_API nacre_tensor *nacre_loss_compute(nacre_loss *loss, nacre_tensor *prediction,
                                           nacre_tensor *target);
NACRE_API nacre_tensor *nacre_loss_backward(nacre_loss *loss, nacre_tensor *prediction,
                                            nacre_tensor *target);
/* A stateful loss keeps its learnable parameters in this module (empty for the built-in ones). */
NACRE_API nacre_module *nacre_loss_module(nacre_loss *loss);

#ifdef __cplusplus
}
#endif
#endif
