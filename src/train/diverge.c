/* When the loss is not finite: back to the weights of the last finite loss, and what went wrong.

   Steps are functions of weights, optimiser state and data, and the loader's order of its epoch: so the
   run goes back to a snapshot and takes the same steps again, to the same bits. */
#include "base/error.h"
#include "nn/module.h"
#include "record/record.h"
#include "train/fit.h"

#include <inttypes.h>
#include <nacre/grad.h>
#include <nacre/plan.h>
#include <stdio.h>

/* ---- going back ---- */

/* The next batch of the epoch; an error when there is none. */
static nacre_status next_batch(nacre_fit_run *run, nacre_batch *batch) {
    nacre_status status = NACRE_OK;
    if (nacre_loader_next(run->loader, batch, &status)) {
        return NACRE_OK;
    }
    return status != NACRE_OK
               ? status
               : nacre_fail(NACRE_INTERNAL, "fit: an epoch is shorter the second time");
}

/* To the state before step `target`, with the loader at its batch. The snapshots reach back at least one
   step, in the same epoch. */
static nacre_status go_back(nacre_fit_run *run, int64_t target) {
    const nacre_snapshot *from = &run->snapshots[run->latest];
    if (!from->taken || from->step > target) {
        from = &run->snapshots[1 - run->latest];
    }
    if (!from->taken || from->step > target) {
        return nacre_fail(NACRE_INTERNAL, "fit: no snapshot before step %" PRId64, target);
    }
    nacre_status status = nacre_snapshot_restore(from, run->model);
    if (status == NACRE_OK) {
        status = nacre_loader_start(run->loader, from->epoch, from->batch);
    }
    for (int64_t step = from->step; status == NACRE_OK && step < target; step++) {
        nacre_batch batch;
        nacre_batch_result result;
        status = next_batch(run, &batch);
        if (status == NACRE_OK) {
            status = nacre_model_step(run->model, &batch, run->classes, &result);
        }
    }
    return status;
}

/* ---- the first op ---- */

/* Runs one batch op by op under the NaN watch; NACRE_NUMERICAL with its message when an op made the
   first NaN or Inf. */
static nacre_status watch_batch(nacre_fit_run *run, const nacre_batch *batch, bool update) {
    nacre_thread *thread = nacre_this_thread();
    bool eager = thread->eager, watch = thread->nan_watch;
    nacre_batch_result result;
    nacre_set_eager(true);
    nacre_set_nan_watch(true);
    nacre_status status = update ? nacre_model_step(run->model, batch, run->classes, &result)
                                 : nacre_model_judge(run->model, batch, run->classes, 0, &result);
    nacre_set_eager(eager);
    nacre_set_nan_watch(watch);
    return status;
}

/* The weights are those before step `target`; first_batch: its own, then the one that failed. */
static void find_culprit(nacre_fit_run *run, int64_t target, int64_t epoch, int64_t batch_index) {
    nacre_batch batch;
    bool had_update = target < run->step;
    nacre_status status = had_update ? next_batch(run, &batch) : NACRE_OK;
    if (status == NACRE_OK && had_update) {
        status = watch_batch(run, &batch, true);
        /* Updated without a NaN: then the new weights make one on the way forward. */
        if (status == NACRE_OK && batch_index == NACRE_AT_VALIDATION) {
            status = watch_batch(run, &batch, false);
        }
    }
    if (status == NACRE_OK && batch_index >= 0) {
        status = nacre_loader_start(run->loader, epoch, batch_index);
        status = status ? status : next_batch(run, &batch);
        status = status ? status : watch_batch(run, &batch, false);
    }
    snprintf(run->history->diverged_at, sizeof run->history->diverged_at, "%.250s",
             status == NACRE_NUMERICAL ? nacre_error_message()
                                       : "no single op: not found on a second run");
}

nacre_status nacre_fit_diverged(nacre_fit_run *run, int64_t epoch, int64_t batch, double loss) {
    /* The last finite loss was that of the step before; of the first step there is none. */
    int64_t target = run->step > 0 ? run->step - 1 : 0;
    nacre_status status = go_back(run, target);
    if (status != NACRE_OK) {
        return status;
    }
    /* The snapshot that is not needed any more keeps the result while the culprit is looked for. */
    nacre_snapshot *found = &run->snapshots[1 - run->latest];
    status = nacre_snapshot_take(found, run->model);
    if (status == NACRE_OK) {
        find_culprit(run, target, epoch, batch);
        status = nacre_snapshot_restore(found, run->model);
    }
    if (status != NACRE_OK) {
        return status;
    }
    run->history->steps = target;
    run->history->diverged_step = run->step;
    nacre_fail(NACRE_NUMERICAL,
               "fit: diverged at step %" PRId64 ": %s became %g: %s; the weights are those of the "
               "last finite loss: lower the learning rate or clip the gradients",
               run->step,
               batch == NACRE_AT_VALIDATION ? "the validation loss"
               : batch < 0                  ? "a weight"
                                            : "the loss",
               loss, run->history->diverged_at);
    return NACRE_OK;
}
