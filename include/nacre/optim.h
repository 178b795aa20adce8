/* Optimisers and learning-rate schedules, each behind one interface, and gradient clipping. */
#ifndef NACRE_OPTIM_H
#define NACRE_OPTIM_H

#include <nacre/nn.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- schedules ---- */

typedef struct nacre_schedule nacre_schedule;

typedef struct nacre_schedule_class {
    size_t size;
    const char *name;
    /* Learning rate of step `step` (from 0) of `total`; peak is the optimiser's own lr. */
    double (*rate)(const void *self, double peak, int64_t step, int64_t total);
    void (*destroy)(void *self);
} nacre_schedule_class;

NACRE_API nacre_schedule *nacre_schedule_new(const nacre_schedule_class *class_, void *self);
NACRE_API void nacre_schedule_free(nacre_schedule *schedule);
NACRE_API double nacre_schedule_rate(const nacre_schedule *schedule, double peak, int64_t step,
                                     int64_t total);
NACRE_API const char *nacre_schedule_kind(const nacre_schedule *schedule);

NACRE_API nacre_schedule *nacre_constant(void);

typedef struct nacre_onecycle_options {
    size_t size;
    double warmup;    /* share of the steps that rise; default 0.3 */
    double start_div; /* first rate is peak / start_div; default 25 */
    double final_div; /* last rate is first / final_div; default 1e4 */
    bool three_phase; /* down to the first rate as fast as up, then slowly to the last */
} nacre_onecycle_options;
/* Cosine up to the peak, then cosine down. With .three_phase the cycle ends after twice the warmup, and the rest
   of the run anneals from the first rate to the last (Smith and Topin 2019; PyTorch's OneCycleLR has both). */
NACRE_API nacre_schedule *nacre_onecycle_at(const nacre_onecycle_options *options);

/* ---- optimisers ---- */

typedef struct nacre_optimizer nacre_optimizer;

typedef struct nacre_optimizer_class {
    size_t size;
    const char *name;               /* "Adam" */
    size_t state_count;             /* tensors of state per parameter, shaped like it */
    const char *const *state_names; /* "m", "v" */
    /* Records the update of one parameter; step: i64 scalar, 1 at the first update. ok: bool scalar or
       NULL; where false everything must stay as it is. */
    nacre_status (*update)(const void *self, double lr, nacre_tensor *parameter,
                           nacre_tensor *gradient, nacre_tensor *const *state, nacre_tensor *step,
                           nacre_tensor *ok);
    void (*destroy)(void *self);
    double lr; /* default learning rate of this class */
} nacre_optimizer_class;

/* Takes ownership of `self` even when it fails; never NULL (see nacre_optimizer_status). lr: the peak
   rate, must be finite and >= 0. */
NACRE_API nacre_optimizer *nacre_optimizer_new(const nacre_optimizer_class *class_, void *self,
                                               double lr);
NACRE_API void nacre_optimizer_free(nacre_optimizer *optimizer);
NACRE_API nacre_status nacre_optimizer_status(const nacre_optimizer *optimizer);
NACRE_API const char *nacre_optimizer_message(const nacre_optimizer *optimizer);
NACRE_API const char *nacre_optimizer_kind(const nacre_optimizer *optimizer);

/* Binds the optimiser to a module's parameters and makes its state (zeros). Once per optimiser. */
NACRE_API nacre_status nacre_optimizer_bind(nacre_optimizer *optimizer, nacre_module *module);

typedef struct nacre_sgd_options {
    size_t size;
    double lr;       /* default 0.01; NACRE_ZERO for a rate of 0 */
    double momentum; /* default 0 */
    double weight_decay;
} nacre_sgd_options;
NACRE_API nacre_optimizer *nacre_sgd_at(const nacre_sgd_options *options);

typedef struct nacre_adam_options {
    size_t size;
    double lr;           /* default 1e-3; NACRE_ZERO for a rate of 0 */
    double betas[2];     /* default {0.9, 0.999} (both zero) */
    double epsilon;      /* default 1e-8 */
    double weight_decay; /* decoupled; default 0 */
} nacre_adam_options;
NACRE_API nacre_optimizer *nacre_adam_at(const nacre_adam_options *options);
/* AdamW (Loshchilov and Hutter 2019): the same with a weight_decay of 0.01 where none is given; NACRE_ZERO for
   none. */
NACRE_API nacre_optimizer *nacre_adamw_at(const nacre_adam_options *options);

/* Where 0 means "default" and 0 itself is meant. */
#define NACRE_ZERO (-0.0)

/* Takes ownership of the schedule; total: steps of the whole run, 0: nacre_fit sets it for its own. */
NACRE_API nacre_status nacre_optimizer_set_schedule(nacre_optimizer *optimizer,
                                                    nacre_schedule *schedule, int64_t total);
/* Rescales all gradients of a step so that their joint 2-norm is at most `norm`; 0: off. */
NACRE_API nacre_status nacre_optimizer_clip_norm(nacre_optimizer *optimizer, double norm);
/* Clamps every gradient element to [-value, value]; 0: off. */
NACRE_API nacre_status nacre_optimizer_clip_value(nacre_optimizer *optimizer, double value);

/* What a step does; the macro nacre_step(optimizer, ...) fills it. */
typedef struct nacre_step_options {
    size_t size;
    nacre_optimizer *optimizer;
    bool keep_grads;  /* leave the gradient slots as they are */
    nacre_tensor *ok; /* bool scalar: where false the step changes nothing; NULL: always */
} nacre_step_options;
/* Records the update of every parameter that has a gradient and evaluates; consumes the gradients. No
   gradient at all is NACRE_INVALID_STATE. On failure parameters and state are unchanged. */
NACRE_API nacre_status nacre_step_at(const nacre_step_options *options);

NACRE_API int64_t nacre_optimizer_steps(const nacre_optimizer *optimizer); /* taken so far */
NACRE_API double nacre_optimizer_rate(const nacre_optimizer *optimizer);   /* of the next step */

/* State by name: "step", "<parameter>.m", ...; a new dictionary, free it. NULL on error. */
NACRE_API nacre_state_dict *nacre_optimizer_state(const nacre_optimizer *optimizer);
NACRE_API nacre_status nacre_optimizer_load_state(nacre_optimizer *optimizer,
                                                  const nacre_state_dict *dict);

#ifndef __cplusplus
#define nacre_sgd(...)                                                                             \
    nacre_sgd_at(&(nacre_sgd_options){.size = sizeof(nacre_sgd_options), __VA_ARGS__})
#define nacre_adam(...)                                                                            \
    nacre_adam_at(&(nacre_adam_options){.size = sizeof(nacre_adam_options), __VA_ARGS__})
#define nacre_adamw(...)                                                                           \
    nacre_adamw_at(&(nacre_adam_options){.size = sizeof(nacre_adam_options), __VA_ARGS__})
#define nacre_onecycle(...)                                                                        \
    nacre_onecycle_at(                                                                             \
        &(nacre_onecycle_options){.size = sizeof(nacre_onecycle_options), __VA_ARGS__})
#define nacre_step(...)                                                                            \
    nacre_step_at(                                                                                 \
        &(nacre_step_options){.size = sizeof(nacre_step_options), .optimizer = __VA_ARGS__})
#endif

#ifdef __cplusplus
}
#endif
#endif
