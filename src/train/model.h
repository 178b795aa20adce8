/* Models from the inside. */
#ifndef NACRE_TRAIN_MODEL_H
#define NACRE_TRAIN_MODEL_H

#include <nacre/train.h>

struct nacre_model {
    nacre_module *network;
    nacre_loss *loss;
    nacre_optimizer *optimizer;
    nacre_status status;
    char message[512];
    bool immortal;
};

/* The model's error as the thread's last one; NULL is an error too. NACRE_OK without one. */
nacre_status nacre_model_check(const nacre_model *model, const char *what);

/* Network and loss in one mode, for a while: what to pass to nacre_model_mode_leave. */
typedef struct nacre_model_mode {
    bool network, loss;
} nacre_model_mode;
nacre_model_mode nacre_model_mode_enter(nacre_model *model, nacre_mode mode);
void nacre_model_mode_leave(nacre_model *model, nacre_model_mode entered);

/* ---- batches ---- */

typedef struct nacre_batch_result {
    double loss;
    int64_t correct, judged; /* judged 0: this target has no classes */
} nacre_batch_result;

/* Zero gradients, forward, loss, backward, update: one evaluation. classes: float targets of the
   output's shape are one-hot rows. Where it fails nothing has changed. */
nacre_status nacre_model_step(nacre_model *model, const nacre_batch *batch, bool classes,
                              nacre_batch_result *out);
/* Forward and loss alone. The caller has set mode and gradients. most: the network sees at most so many samples at once,
   0: all of the batch; the result has the same bits. */
nacre_status nacre_model_judge(nacre_model *model, const nacre_batch *batch, bool classes,
                               int64_t most, nacre_batch_result *out);
/* The network's output, computed at most `most` (> 0) samples at a time, so that no plan is larger than one of so many. A
   sample's output has the same bits in any batch (docs/architecture.md), so the loss of all has them too. An error
   tensor where the output is not of samples: its first extent must grow with theirs. */
nacre_tensor *nacre_forward_in_pieces(nacre_module *network, nacre_tensor *inputs, int64_t most);
/* Where the memory limit refused a plan, says in the error what it was for: "a training step" of so many samples. Returns
   the status. */
nacre_status nacre_name_refused(nacre_status status, const char *what, int64_t samples);
/* What to give for `most` beside training steps of batch_size samples of a set: no more than a step under a memory limit,
   so that what a step may take is enough. */
int64_t nacre_model_most(int64_t batch_size, const nacre_dataset *train);

/* Sums over batches. */
typedef struct nacre_tally {
    double loss;
    int64_t samples, correct, judged;
} nacre_tally;
void nacre_tally_add(nacre_tally *tally, const nacre_batch_result *result, int64_t count);
nacre_metrics nacre_tally_metrics(const nacre_tally *tally);

/* A whole pass over a loader's epoch 0 in eval mode, without gradients. most: see nacre_model_judge. */
nacre_status nacre_model_evaluate(nacre_model *model, nacre_loader *loader, bool classes,
                                  int64_t most, nacre_metrics *out);
/* nacre_evaluate with it. */
nacre_status nacre_model_evaluate_set(nacre_model *model, const nacre_dataset *set,
                                      int64_t batch_size, int64_t most, nacre_metrics *out);

/* Whether float targets of this set are one-hot rows. set may be NULL. */
bool nacre_model_has_classes(const nacre_model *model, const nacre_dataset *set);

#endif
