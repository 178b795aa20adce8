/* Whether a run keeps within the memory limit of its thread, told before its first step. */
#include "base/error.h"
#include "plan/plan.h"
#include "train/fit.h"

#include <nacre/grad.h>
#include <stdio.h>

/* The first batch of a loader is as large as any. false: there is none, *status says why. */
static bool first_of(nacre_loader *loader, nacre_batch *out, nacre_status *status) {
    *status = nacre_loader_start(loader, 0, 0);
    return *status == NACRE_OK && nacre_loader_next(loader, out, status);
}

/* The evaluation of the first batch: what it gives is dropped, its plans are those of each epoch's. */
static nacre_status evaluate_first(nacre_fit_run *run) {
    int64_t most = nacre_model_most(run->options.batch_size, run->options.train);
    nacre_model_mode mode = nacre_model_mode_enter(run->model, NACRE_EVAL);
    bool grad = nacre_set_grad_enabled(false);
    nacre_batch batch;
    nacre_batch_result result;
    nacre_status status;
    if (first_of(run->validation, &batch, &status)) {
        status = nacre_model_judge(run->model, &batch, run->validation_classes, most, &result);
    }
    nacre_set_grad_enabled(grad);
    nacre_model_mode_leave(run->model, mode);
    return status;
}

/* Whether a training step is refused too, which is the error then; nothing is computed. */
static bool refuses_step(nacre_fit_run *run, nacre_planner *planner) {
    nacre_explanation *plan = NULL;
    nacre_batch batch;
    nacre_batch_result result;
    nacre_status status;
    if (!first_of(run->loader, &batch, &status) || nacre_explain_next(&plan) != NACRE_OK) {
        return false;
    }
    status = nacre_model_step(run->model, &batch, run->classes, &result);
    planner->explain_to = NULL; /* where no evaluation was asked for it is still set */
    nacre_explanation_free(plan);
    return status == NACRE_OUT_OF_MEMORY;
}

nacre_status nacre_fit_within(nacre_fit_run *run) {
    nacre_thread *thread = nacre_this_thread();
    nacre_planner *planner = thread ? nacre_planner_get(thread) : NULL;
    if (!planner) {
        return NACRE_OUT_OF_MEMORY;
    }
    if (thread->memory_limit == 0 || !run->validation || run->options.epochs == 0) {
        return NACRE_OK;
    }
    uint64_t draws = thread->draws; /* the run draws as it does without a limit */
    nacre_status status = evaluate_first(run);
    if (status == NACRE_OUT_OF_MEMORY) {
        char message[1024];
        snprintf(message, sizeof message, "%s", nacre_error_message());
        if (!refuses_step(run, planner)) {
            nacre_fail(status, "%s", message);
        }
    } else if (status != NACRE_OK) { /* another error is the first epoch's */
        nacre_error_clear();
        status = NACRE_OK;
    }
    thread->draws = draws;
    return status;
}
