/* The training loop. */
#include "train/fit.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "nn/options.h"
#include "optim/optimizer.h"
#include "record/record.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    DEFAULT_EPOCHS = 1,
    DEFAULT_BATCH = 32,
    DEFAULT_VALIDATION_BATCH = 1000,
    DEFAULT_PREFETCH = 2
};

/* ---- options ---- */

static nacre_status check_positive(int64_t value, const char *name) {
    return value >= 1 ? NACRE_OK
                      : nacre_fail(NACRE_INVALID_ARGUMENT,
                                   "fit: %s is %" PRId64 ": it must be at least 1", name, value);
}

static nacre_status complete_options(nacre_fit_options *o) {
    if (!o->train) {
        return nacre_fail(NACRE_INVALID_ARGUMENT, "fit: the training set is NULL");
    }
    if (o->no_epochs && o->epochs > 0) {
        return nacre_fail(NACRE_INVALID_ARGUMENT, "fit: no_epochs contradicts epochs %" PRId64,
                          o->epochs);
    }
    o->epochs = o->epochs ? o->epochs : DEFAULT_EPOCHS;
    o->batch_size = o->batch_size ? o->batch_size : DEFAULT_BATCH;
    o->validation_batch_size =
        o->validation_batch_size ? o->validation_batch_size : DEFAULT_VALIDATION_BATCH;
    o->prefetch = o->prefetch < 0 ? 0 : o->prefetch ? o->prefetch : DEFAULT_PREFETCH;
    nacre_status status = check_positive(o->epochs, "epochs");
    status = status ? status : check_positive(o->batch_size, "batch_size");
    status = status ? status : check_positive(o->validation_batch_size, "validation_batch_size");
    o->epochs = o->no_epochs ? 0 : o->epochs;
    if (status == NACRE_OK && !(o->target_accuracy >= 0 && o->target_accuracy <= 1)) {
        status = nacre_fail(NACRE_INVALID_ARGUMENT,
                            "fit: target_accuracy is %g: it must be in [0, 1]", o->target_accuracy);
    }
    if (status == NACRE_OK && o->target_accuracy > 0 && !o->validation) {
        status = nacre_fail(NACRE_INVALID_ARGUMENT,
                            "fit: target_accuracy needs a validation set to be measured on");
    }
    return status;
}

/* ---- history ---- */

static nacre_history *history_new(int64_t epochs) {
    nacre_history *history = nacre_alloc_zeroed(1, sizeof *history);
    if (!history) {
        return NULL;
    }
    history->epoch = nacre_alloc_zeroed((size_t)(epochs ? epochs : 1), sizeof *history->epoch);
    history->best_validation_loss = NAN;
    history->diverged_step = -1;
    if (!history->epoch) {
        nacre_free(history);
        nacre_fail(NACRE_OUT_OF_MEMORY,
                   "fit: out of memory: no room for the history of %" PRId64 " epochs", epochs);
        return NULL;
    }
    return history;
}

void nacre_history_free(nacre_history *history) {
    if (history) {
        nacre_free(history->epoch);
        nacre_free(history);
    }
}

static void note_validation(nacre_history *history, const nacre_epoch_report *report) {
    if (report->validation.samples == 0) {
        return;
    }
    double loss = report->validation.loss;
    if (isnan(history->best_validation_loss) || loss < history->best_validation_loss) {
        history->best_validation_loss = loss;
        history->epochs_since_best = 0;
    } else {
        history->epochs_since_best++;
    }
}

static void log_epoch(const nacre_fit_run *run, const nacre_epoch_report *r) {
    char line[256];
    size_t used = (size_t)snprintf(line, sizeof line, "Epoch %" PRId64 "/%" PRId64 ": loss = %.4f",
                                   r->epoch + 1, run->options.epochs, r->train.loss);
    const struct {
        const char *name;
        double value;
        bool shown;
    } parts[] = {
        {"val_loss", r->validation.loss, r->validation.samples > 0},
        {"accuracy", r->train.accuracy, !isnan(r->train.accuracy)},
        {"val_accuracy", r->validation.accuracy,
         r->validation.samples > 0 && !isnan(r->validation.accuracy)},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (parts[i].shown) {
            used += (size_t)snprintf(line + used, sizeof line - used, ", %s = %.4f", parts[i].name,
                                     parts[i].value);
        }
    }
    snprintf(line + used, sizeof line - used, ", %.2f s", r->seconds);
    nacre_log("%s", line);
}

/* ---- epochs ---- */

nacre_status nacre_fit_snapshot(nacre_fit_run *run, int64_t epoch, int64_t batch) {
    run->latest = 1 - run->latest;
    nacre_snapshot *snapshot = &run->snapshots[run->latest];
    nacre_status status = nacre_snapshot_take(snapshot, run->model);
    snapshot->epoch = epoch;
    snapshot->batch = batch;
    snapshot->step = run->step;
    return status;
}

/* How an epoch went on: DONE means that the next one may start. */
static nacre_fit_outcome failed(nacre_fit_run *run, nacre_status status) {
    run->status = status;
    return status == NACRE_CANCELLED ? NACRE_FIT_INTERRUPTED : NACRE_FIT_FAILED;
}

static nacre_fit_outcome diverged(nacre_fit_run *run, int64_t epoch, int64_t batch, double loss) {
    nacre_status status = nacre_fit_diverged(run, epoch, batch, loss);
    return status == NACRE_OK ? NACRE_FIT_DIVERGED : failed(run, status);
}

static nacre_fit_outcome train_batch(nacre_fit_run *run, int64_t epoch, const nacre_batch *batch,
                                     nacre_tally *tally) {
    if (run->step - run->snapshots[run->latest].step >= NACRE_SNAPSHOT_STEPS) {
        nacre_status status = nacre_fit_snapshot(run, epoch, batch->index);
        if (status != NACRE_OK) {
            return failed(run, status);
        }
    }
    nacre_step_report report = {.epoch = epoch, .step = run->step};
    report.lr = nacre_optimizer_rate(run->model->optimizer);
    nacre_batch_result result;
    uint64_t start = nacre_clock_ns();
    nacre_status status = nacre_model_step(run->model, batch, run->classes, &result);
    report.microseconds = (double)(nacre_clock_ns() - start) / 1e3;
    if (status == NACRE_NUMERICAL || (status == NACRE_OK && !isfinite(result.loss))) {
        return diverged(run, epoch, batch->index, status == NACRE_OK ? result.loss : NAN);
    }
    if (status != NACRE_OK) {
        return failed(run, status);
    }
    report.loss = result.loss;
    report.accuracy = result.judged ? (double)result.correct / (double)result.judged : NAN;
    nacre_tally_add(tally, &result, batch->count);
    run->history->steps = ++run->step;
    bool stop = run->options.on_step && run->options.on_step(run->options.user, &report);
    return stop ? NACRE_FIT_INTERRUPTED : NACRE_FIT_DONE;
}

static bool weights_finite(const nacre_model *model) {
    size_t count = nacre_module_parameter_count(model->network);
    for (size_t i = 0; i < count; i++) {
        nacre_tensor *t = nacre_module_parameter_at(model->network, i);
        const nacre_dtype_info *info = nacre_dtype_get(nacre_dtype_of(t));
        const unsigned char *values = nacre_data(t);
        int64_t elements = nacre_numel(t);
        for (int64_t k = 0; values && k < elements; k++) {
            if (!isfinite(info->load(values + (size_t)k * info->size))) {
                return false;
            }
        }
    }
    return true;
}

static nacre_fit_outcome train_epoch(nacre_fit_run *run, int64_t epoch, nacre_metrics *out) {
    nacre_tally tally = {0};
    nacre_batch batch;
    nacre_fit_outcome outcome = NACRE_FIT_DONE;
    nacre_status status = nacre_loader_start(run->loader, epoch, 0);
    if (status == NACRE_OK) {
        status = nacre_fit_snapshot(run, epoch, 0);
    }
    while (status == NACRE_OK && outcome == NACRE_FIT_DONE &&
           nacre_loader_next(run->loader, &batch, &status)) {
        outcome = train_batch(run, epoch, &batch, &tally);
    }
    if (status != NACRE_OK) {
        return failed(run, status);
    }
    *out = nacre_tally_metrics(&tally);
    /* The last update of an epoch has no loss of its own to show that it went wrong. */
    if (outcome == NACRE_FIT_DONE && !weights_finite(run->model)) {
        outcome = diverged(run, epoch, NACRE_AT_WEIGHTS, NAN);
    }
    return outcome;
}

/* One epoch with its validation, entered into the history. */
static nacre_fit_outcome run_epoch(nacre_fit_run *run, int64_t epoch) {
    nacre_epoch_report report = {.epoch = epoch};
    uint64_t start = nacre_clock_ns();
    report.lr = nacre_optimizer_rate(run->model->optimizer);
    nacre_fit_outcome outcome = train_epoch(run, epoch, &report.train);
    if (outcome != NACRE_FIT_DONE) {
        return outcome;
    }
    double trained = (double)(nacre_clock_ns() - start) / 1e9;
    report.samples_per_second = trained > 0 ? (double)report.train.samples / trained : 0;
    if (run->validation) {
        nacre_status status = nacre_model_evaluate(
            run->model, run->validation, run->validation_classes,
            nacre_model_most(run->options.batch_size, run->options.train), &report.validation);
        outcome = status == NACRE_OK ? NACRE_FIT_DONE : failed(run, status);
        /* Weights may be finite and yet useless: the epoch's last update shows only here. */
        if (outcome == NACRE_FIT_DONE && !isfinite(report.validation.loss)) {
            return diverged(run, epoch, NACRE_AT_VALIDATION, report.validation.loss);
        }
    }
    report.seconds = (double)(nacre_clock_ns() - start) / 1e9;
    note_validation(run->history, &report);
    run->history->epoch[run->history->epochs++] = report;
    if (run->options.verbose) {
        log_epoch(run, &report);
    }
    bool stop = run->options.on_epoch && run->options.on_epoch(run->options.user, &report);
    if (outcome != NACRE_FIT_DONE || stop) {
        return outcome != NACRE_FIT_DONE ? outcome : NACRE_FIT_INTERRUPTED;
    }
    bool reached = run->options.target_accuracy > 0 &&
                   report.validation.accuracy >= run->options.target_accuracy;
    return reached ? NACRE_FIT_TARGET : NACRE_FIT_DONE;
}

/* ---- the run ---- */

static nacre_status prepare(nacre_fit_run *run) {
    const nacre_fit_options *o = &run->options;
    run->loader =
        nacre_loader_create(o->train, .batch_size = o->batch_size, .shuffle = !o->no_shuffle,
                            .drop_last = o->drop_last, .seed = o->seed, .prefetch = o->prefetch);
    if (!run->loader) {
        return nacre_error_code();
    }
    if (nacre_loader_batches(run->loader) == 0) {
        return nacre_fail(NACRE_INVALID_ARGUMENT,
                          "fit: drop_last leaves no batch: the set has %" PRId64
                          " samples, batch_size is %" PRId64,
                          nacre_dataset_count(o->train), o->batch_size);
    }
    if (o->validation) {
        run->validation =
            nacre_loader_create(o->validation, .batch_size = o->validation_batch_size);
        if (!run->validation) {
            return nacre_error_code();
        }
        run->validation_classes = nacre_model_has_classes(run->model, o->validation);
    }
    run->classes = nacre_model_has_classes(run->model, o->train);
    run->history = history_new(o->epochs);
    nacre_status status = run->history ? NACRE_OK : NACRE_OUT_OF_MEMORY;
    for (int i = 0; status == NACRE_OK && i < 2; i++) {
        status = nacre_snapshot_make(&run->snapshots[i], run->model);
    }
    return status;
}

static void run_epochs(nacre_fit_run *run) {
    nacre_optimizer *optimizer = run->model->optimizer;
    nacre_history *history = run->history;
    int64_t total = run->options.epochs * nacre_loader_batches(run->loader), open = -1;
    if (optimizer->schedule && optimizer->total == 0) {
        open = nacre_optimizer_set_total(optimizer, optimizer->steps + total);
    }
    nacre_model_mode mode = nacre_model_mode_enter(run->model, NACRE_TRAIN);
    nacre_status status = nacre_fit_within(run);
    if (status != NACRE_OK) {
        history->outcome = failed(run, status);
    }
    for (int64_t e = 0; e < run->options.epochs && history->outcome == NACRE_FIT_DONE; e++) {
        history->outcome = run_epoch(run, e);
    }
    nacre_model_mode_leave(run->model, mode);
    if (open == 0) {
        nacre_optimizer_set_total(optimizer, 0);
    }
}

nacre_history *nacre_fit_at(nacre_model *model, const nacre_fit_options *options) {
    nacre_fit_run run = {.model = model};
    nacre_status status = nacre_model_check(model, "fit");
    status = status ? status : nacre_options_take(&run.options, sizeof run.options, options, "fit");
    status = status ? status : complete_options(&run.options);
    status = status ? status : prepare(&run);
    if (status == NACRE_OK) {
        run_epochs(&run);
    } else {
        nacre_history_free(run.history);
        run.history = NULL;
    }
    nacre_loader_free(run.loader);
    nacre_loader_free(run.validation);
    nacre_snapshot_free(&run.snapshots[0]);
    nacre_snapshot_free(&run.snapshots[1]);
    return run.history;
}
