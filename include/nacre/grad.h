/* Gradients: which tensors want one, back-propagation, and the optimisers' update ops. */
#ifndef NACRE_GRAD_H
#define NACRE_GRAD_H

#include <nacre/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Marks a leaf (a tensor that no op made, of floating dtype) as wanting a gradient. On a computed
   tensor `true` is an error; use nacre_detach first. Returns t. */
NACRE_API nacre_tensor *nacre_requires_grad(nacre_tensor *t, bool wanted);
NACRE_API bool nacre_has_requires_grad(const nacre_tensor *t); /* wants one, or depends on such */

/* Name of the op that made t, "" for a leaf (PyTorch's grad_fn). */
NACRE_API const char *nacre_grad_fn(const nacre_tensor *t);

/* The same value without its history. */
NACRE_API nacre_tensor *nacre_detach_at(nacre_tensor *t, const char *file, int line);

/* Adds d(loss)/d(leaf) to the gradient slot of every leaf that wants one. loss: one element.
   Records only: the gradients are computed with the next evaluation. */
NACRE_API nacre_status nacre_backward_at(nacre_tensor *loss, const char *file, int line);

/* The same from an output of any shape, with its gradient given. */
NACRE_API nacre_status nacre_backward_from_at(nacre_tensor *output, nacre_tensor *gradient,
                                              const char *file, int line);

/* Functional form: gradients[i] = d(y)/d(xs[i]), without touching any slot; zeros where y does not
   depend on xs[i]. The results are themselves differentiable. */
NACRE_API nacre_status nacre_gradients_at(nacre_tensor *y, nacre_tensor *const *xs, size_t count,
                                          nacre_tensor **gradients, const char *file, int line);

/* The gradient slot of a leaf: zeros of its shape before the first backward. Owned by the leaf. */
NACRE_API nacre_tensor *nacre_grad(nacre_tensor *t);

/* Adds g to t's gradient slot, as a backward pass would. */
NACRE_API nacre_status nacre_accumulate_grad(nacre_tensor *t, nacre_tensor *g);

/* True if a gradient was added since the slot was last cleared or consumed. */
NACRE_API bool nacre_has_grad(const nacre_tensor *t);

/* Clears the slot. */
NACRE_API void nacre_zero_grad(nacre_tensor *t);

/* No-gradient region: ops recorded inside keep no history. Returns the mode before, to restore.
       bool before = nacre_set_grad_enabled(false); ...; nacre_set_grad_enabled(before); */
NACRE_API bool nacre_set_grad_enabled(bool enabled);
NACRE_API bool nacre_grad_enabled(void);

/* ---- update ops: new values; assign them to the parameter and its state ---- */

/* Clipping and updates read a step's scalars from the options: they are slots of the plan, so a
   schedule makes no new plan. */
typedef struct nacre_sgd_update_options {
    size_t size;
    double lr, momentum, weight_decay;
    nacre_tensor *ok; /* NULL, or a bool scalar: where false, everything stays as it is */
} nacre_sgd_update_options;
/* v' = momentum v + g + weight_decay p; p' = p - lr v'. velocity may be NULL when momentum is 0.
   Writes into *p and *velocity (nacre_assign). PyTorch's SGD. lr and weight_decay must be finite and at least 0,
   momentum in [0, 1), p and velocity two tensors: else NACRE_INVALID_ARGUMENT, and nothing is written. */
NACRE_API nacre_status nacre_sgd_update(nacre_tensor *p, nacre_tensor *gradient,
                                        nacre_tensor *velocity, const nacre_sgd_update_options *o);

typedef struct nacre_adam_update_options {
    size_t size;
    double lr, beta1, beta2, epsilon, weight_decay;
    nacre_tensor *ok;
} nacre_adam_update_options;
/* Adam (Kingma and Ba 2015, algorithm 1), decoupled weight decay (AdamW). step: i64 scalar, the number
   of this update, 1 for the first. Assigns p, m, v. lr, epsilon and weight_decay must be finite and at least 0,
   beta1 and beta2 in [0, 1), p, m and v three tensors: else NACRE_INVALID_ARGUMENT, and nothing is written. */
NACRE_API nacre_status nacre_adam_update(nacre_tensor *p, nacre_tensor *gradient, nacre_tensor *m,
                                         nacre_tensor *v, nacre_tensor *step,
                                         const nacre_adam_update_options *o);

#ifndef __cplusplus
#define nacre_detach(t) nacre_detach_at((t), __FILE__, __LINE__)
#define nacre_backward(loss) nacre_backward_at((loss), __FILE__, __LINE__)
#define nacre_backward_from(y, dy) nacre_backward_from_at((y), (dy), __FILE__, __LINE__)
#define nacre_gradients(y, xs, count, out)                                                         \
    nacre_gradients_at((y), (xs), (count), (out), __FILE__, __LINE__)
#endif

#ifdef __cplusplus
}
#endif
#endif
