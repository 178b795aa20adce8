/* Models: a network, a loss and an optimiser, trained, evaluated and asked. */
#ifndef NACRE_TRAIN_H
#define NACRE_TRAIN_H

#include <nacre/data.h>
#include <nacre/loss.h>
#include <nacre/nn.h>
#include <nacre/optim.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nacre_model nacre_model;

/* Takes ownership of all three even when it fails; never NULL: see nacre_model_status. Assembles the
   network (nacre_module_init with the thread's seed) and binds the optimiser. */
NACRE_API nacre_model *nacre_model_new(nacre_module *network, nacre_loss *loss,
                                       nacre_optimizer *optimizer);
NACRE_API void nacre_model_free(nacre_model *model);
NACRE_API nacre_status nacre_model_status(const nacre_model *model);
NACRE_API const char *nacre_model_message(const nacre_model *model);
NACRE_API nacre_module *nacre_model_network(nacre_model *model);
NACRE_API nacre_loss *nacre_model_loss(nacre_model *model);
NACRE_API nacre_optimizer *nacre_model_optimizer(nacre_model *model);

typedef struct nacre_metrics {
    double loss;     /* mean over samples */
    double accuracy; /* share of samples whose largest output is the target; NaN without classes */
    int64_t samples;
} nacre_metrics;

/* What happened in one step. */
typedef struct nacre_step_report {
    int64_t epoch, step; /* from 0; step counts over the whole run */
    double loss, lr;
    double microseconds; /* of the step, without waiting for data */
    double accuracy;     /* of this batch, before the update; NaN without classes */
} nacre_step_report;

typedef struct nacre_epoch_report {
    int64_t epoch;                   /* from 0 */
    nacre_metrics train, validation; /* validation.samples 0: there was none */
    double lr, seconds, samples_per_second;
} nacre_epoch_report;

typedef enum nacre_fit_outcome {
    NACRE_FIT_DONE = 0,
    NACRE_FIT_TARGET,      /* target accuracy reached */
    NACRE_FIT_INTERRUPTED, /* a callback asked to stop, or nacre_cancel */
    NACRE_FIT_DIVERGED, /* the loss became NaN or Inf: weights are those of the last finite loss */
    NACRE_FIT_FAILED,   /* see nacre_error_message */
} nacre_fit_outcome;

typedef struct nacre_fit_options {
    size_t size;
    const nacre_dataset *train;
    const nacre_dataset *validation; /* may be NULL */
    int64_t epochs;                  /* default 1; see no_epochs */
    int64_t batch_size;              /* default 32 */
    int64_t validation_batch_size;   /* default 1000 */
    bool no_shuffle, drop_last;
    bool no_epochs;         /* train nothing: for epochs == 0 meant as such */
    uint64_t seed;          /* of the shuffle */
    int prefetch;           /* batches; default 2, -1 for none */
    double target_accuracy; /* validation accuracy that ends the run; 0: none */
    bool verbose;           /* "Epoch 1/10: loss = 0.5234, val_loss = 0.4821, ..." to the log */
    /* Called after every step and epoch; true stops the run. May be NULL. */
    bool (*on_step)(void *user, const nacre_step_report *report);
    bool (*on_epoch)(void *user, const nacre_epoch_report *report);
    void *user;
} nacre_fit_options;

/* One entry per epoch, all memory reserved when the run starts. */
typedef struct nacre_history {
    nacre_fit_outcome outcome;
    int64_t epochs, steps;       /* done */
    nacre_epoch_report *epoch;   /* [epochs] */
    double best_validation_loss; /* NaN without validation */
    int64_t epochs_since_best;
    int64_t diverged_step; /* -1, or the step whose loss was not finite */
    char diverged_at[256]; /* the first op that made it, with shapes and line */
} nacre_history;

/* Trains: for each batch zero gradients, forward, loss, backward, step. NULL when it could not start;
   otherwise free with nacre_history_free, also after a failure (see .outcome).

   Under nacre_set_memory_limit the validation's forward passes take at most batch_size samples at once, so that what a
   step may take is enough for them; a sample's output does not depend on those beside it, and the loss is still that of
   validation_batch_size samples, so results have the same bits. The output's first extent must be the number of
   samples, or a multiple of it. A refusal says whether a step or the evaluation needs more, and
   comes before the first update, with the outcome NACRE_FIT_FAILED. */
NACRE_API nacre_history *nacre_fit_at(nacre_model *model, const nacre_fit_options *options);
NACRE_API void nacre_history_free(nacre_history *history);

/* One pass over the loader's current epoch, with updates. */
NACRE_API nacre_status nacre_train_epoch(nacre_model *model, nacre_loader *loader,
                                         nacre_metrics *out);
/* Loss and accuracy over a whole set, in eval mode, without gradients. batch_size 0: 1000. A sample's result does not
   depend on batch_size. */
NACRE_API nacre_status nacre_evaluate(nacre_model *model, const nacre_dataset *set,
                                      int64_t batch_size, nacre_metrics *out);
/* The network's output for a batch of inputs, evaluated in eval mode without gradients. */
NACRE_API nacre_tensor *nacre_predict(nacre_model *model, nacre_tensor *inputs);

#ifndef __cplusplus
#define nacre_fit(model, ...)                                                                      \
    nacre_fit_at((model),                                                                          \
                 &(nacre_fit_options){.size = sizeof(nacre_fit_options), .train = __VA_ARGS__})
#endif

#ifdef __cplusplus
}
#endif
#endif
