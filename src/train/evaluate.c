/* Passes over data outside nacre_fit. */
#include "base/error.h"
#include "record/record.h"
#include "train/model.h"

#include <inttypes.h>
#include <math.h>
#include <nacre/grad.h>

enum { EVALUATION_BATCH = 1000 };

int64_t nacre_model_most(int64_t batch_size, const nacre_dataset *train) {
    const nacre_thread *thread = nacre_this_thread();
    int64_t samples = nacre_dataset_count(train);
    if (!thread || thread->memory_limit == 0) {
        return 0;
    }
    return batch_size < samples ? batch_size : samples;
}

nacre_status nacre_model_evaluate(nacre_model *model, nacre_loader *loader, bool classes,
                                  int64_t most, nacre_metrics *out) {
    nacre_model_mode mode = nacre_model_mode_enter(model, NACRE_EVAL);
    bool grad = nacre_set_grad_enabled(false);
    nacre_tally tally = {0};
    nacre_batch batch;
    nacre_status status = nacre_loader_start(loader, 0, 0);
    while (status == NACRE_OK && nacre_loader_next(loader, &batch, &status)) {
        nacre_batch_result result;
        status = nacre_model_judge(model, &batch, classes, most, &result);
        if (status == NACRE_OK) {
            nacre_tally_add(&tally, &result, batch.count);
        }
    }
    nacre_set_grad_enabled(grad);
    nacre_model_mode_leave(model, mode);
    if (status == NACRE_OK) {
        *out = nacre_tally_metrics(&tally);
    }
    return status;
}

nacre_status nacre_model_evaluate_set(nacre_model *model, const nacre_dataset *set,
                                      int64_t batch_size, int64_t most, nacre_metrics *out) {
    nacre_status status = nacre_model_check(model, "evaluate");
    if (status == NACRE_OK && (!set || !out)) {
        status =
            nacre_fail(NACRE_INVALID_ARGUMENT, "evaluate: %s is NULL", set ? "out" : "the set");
    }
    if (status == NACRE_OK && batch_size < 0) {
        status =
            nacre_fail(NACRE_INVALID_ARGUMENT,
                       "evaluate: batch_size is %" PRId64 ": it must be at least 1, or 0 for %d",
                       batch_size, EVALUATION_BATCH);
    }
    if (status != NACRE_OK) {
        return status;
    }
    nacre_loader *loader =
        nacre_loader_create(set, .batch_size = batch_size ? batch_size : EVALUATION_BATCH);
    if (!loader) {
        return nacre_error_code();
    }
    status = nacre_model_evaluate(model, loader, nacre_model_has_classes(model, set), most, out);
    nacre_loader_free(loader);
    return status;
}

nacre_status nacre_evaluate(nacre_model *model, const nacre_dataset *set, int64_t batch_size,
                            nacre_metrics *out) {
    return nacre_model_evaluate_set(model, set, batch_size, 0, out);
}

nacre_status nacre_train_epoch(nacre_model *model, nacre_loader *loader, nacre_metrics *out) {
    nacre_status status = nacre_model_check(model, "train_epoch");
    if (status == NACRE_OK && !loader) {
        status = nacre_fail(NACRE_INVALID_ARGUMENT, "train_epoch: the loader is NULL");
    }
    if (status != NACRE_OK) {
        return status;
    }
    nacre_model_mode mode = nacre_model_mode_enter(model, NACRE_TRAIN);
    bool classes = nacre_model_has_classes(model, NULL);
    nacre_tally tally = {0};
    nacre_batch batch;
    while (status == NACRE_OK && nacre_loader_next(loader, &batch, &status)) {
        nacre_batch_result result;
        status = nacre_model_step(model, &batch, classes, &result);
        if (status == NACRE_OK && !isfinite(result.loss)) {
            status = nacre_fail(NACRE_NUMERICAL, "train_epoch: the loss is %g in batch %" PRId64,
                                result.loss, batch.index);
        }
        if (status == NACRE_OK) {
            nacre_tally_add(&tally, &result, batch.count);
        }
    }
    nacre_model_mode_leave(model, mode);
    if (out) {
        *out = nacre_tally_metrics(&tally);
    }
    return status;
}
