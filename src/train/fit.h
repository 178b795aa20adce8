/* One call of nacre_fit. */
#ifndef NACRE_TRAIN_FIT_H
#define NACRE_TRAIN_FIT_H

#include "train/snapshot.h"

/* A snapshot at the start of every epoch and after this many steps. */
#define NACRE_SNAPSHOT_STEPS 256

typedef struct nacre_fit_run {
    nacre_model *model;
    nacre_fit_options options; /* defaults filled in */
    nacre_history *history;
    nacre_loader *loader, *validation; /* validation NULL: none */
    bool classes, validation_classes;
    nacre_snapshot snapshots[2]; /* taken in turn */
    int latest;
    int64_t step;        /* of this run, from 0; the next one */
    nacre_status status; /* why it failed */
} nacre_fit_run;

/* Takes a snapshot before step run->step, which is batch `batch` of `epoch`. */
nacre_status nacre_fit_snapshot(nacre_fit_run *run, int64_t epoch, int64_t batch);

/* Under a memory limit: the error of an evaluation that it does not allow, or of a step where it does not allow that
   either. The run has changed nothing. */
nacre_status nacre_fit_within(nacre_fit_run *run);

/* Instead of a batch: what was not finite after the last step. */
enum { NACRE_AT_WEIGHTS = -1, NACRE_AT_VALIDATION = -2 };

/* The loss of step run->step was not finite, batch `batch` of `epoch`, or what comes after all steps. Goes back to
   the weights of the last finite loss and finds out what made the first NaN or Inf. */
nacre_status nacre_fit_diverged(nacre_fit_run *run, int64_t epoch, int64_t batch, double loss);

#endif
