/* nacre train: settings, data, model, the run itself, and what it leaves. */
#define _XOPEN_SOURCE 700
#include "base/memory.h"
#include "cli/commands.h"
#include "cli/curves.h"
#include "cli/memory_use.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/run_folder.h"
#include "cli/settings.h"
#include "cli/signals.h"
#include "cli/synthetic.h"
#include "train/model.h"

#include <inttypes.h>
#include <math.h>
#include <nacre/nacre.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum outcome { DONE, INTERRUPTED, DIVERGED, TARGET_MISSED } outcome;
static const char *const outcome_names[] = {"done", "interrupted", "diverged", "target_missed"};

typedef struct training {
    nacre_cli_run_settings settings;
    nacre_cli_data data;
    nacre_model *model;
    nacre_cli_run_folder folder;
    nacre_cli_progress progress;
    nacre_cli_curve curve;
    nacre_history *history;
    int64_t steps_per_epoch;
    /* Of the epoch under way; of the last one at its end. */
    double loss_sum, microseconds;
    int64_t loss_count, timed_steps;
    outcome outcome;
    nacre_metrics test; /* of the weights that are saved */
    double train_loss;
    bool tracing;
} training;

static int64_t steps_of(int64_t samples, int64_t batch) {
    return samples / batch + (samples % batch != 0);
}

/* ---- while it runs ---- */

static bool on_step(void *user, const nacre_step_report *report) {
    training *run = user;
    if (report->step % run->steps_per_epoch == 0) {
        run->loss_sum = 0;
        run->loss_count = 0;
    }
    if (isfinite(report->loss)) {
        run->loss_sum += report->loss;
        run->loss_count++;
    }
    run->microseconds += report->microseconds;
    run->timed_steps++;
    nacre_cli_curve_add(&run->curve, report->loss);
    nacre_cli_progress_step(&run->progress, report);
    bool written = nacre_cli_folder_step(&run->folder, report);
    return !written || nacre_cli_signal();
}

static bool on_epoch(void *user, const nacre_epoch_report *report) {
    training *run = user;
    nacre_cli_progress_epoch(&run->progress, report);
    return !nacre_cli_folder_epoch(&run->folder, report) || nacre_cli_signal();
}

static bool fit(training *run) {
    const nacre_cli_settings *values = &run->settings.values;
    if (values->trace && nacre_trace_begin(values->trace) != NACRE_OK) {
        nacre_cli_library_error();
        return false;
    }
    run->tracing = values->trace != NULL;
    nacre_cli_progress_begin(&run->progress, &(nacre_cli_progress_options){
                                                 .quiet = values->quiet,
                                                 .verbose = values->verbose,
                                                 .epochs = values->epochs,
                                                 .samples = nacre_dataset_count(run->data.train),
                                                 .batch_size = values->batch_size,
                                             });
    run->history = nacre_fit(run->model, run->data.train, .validation = run->data.test,
                             .epochs = values->epochs, .no_epochs = values->epochs == 0,
                             .batch_size = values->batch_size, .seed = (uint64_t)values->seed,
                             .target_accuracy = values->target_accuracy, .on_step = on_step,
                             .on_epoch = on_epoch, .user = run);
    nacre_cli_progress_end();
    if (!run->history) {
        nacre_cli_library_error();
    }
    return run->history != NULL;
}

/* ---- afterwards ---- */

/* The figures of the weights that are saved. A run that ended within an epoch has been tested before
   its last steps only, and one without epochs never. */
static bool measure(training *run) {
    const nacre_history *history = run->history;
    bool whole = history->epochs > 0 && history->steps == history->epochs * run->steps_per_epoch &&
                 run->outcome != DIVERGED;
    if (whole) {
        run->test = history->epoch[history->epochs - 1].validation;
        run->train_loss = history->epoch[history->epochs - 1].train.loss;
        return true;
    }
    run->train_loss = run->loss_count ? run->loss_sum / (double)run->loss_count : NAN;
    int64_t most = nacre_model_most(run->settings.values.batch_size, run->data.train);
    if (nacre_model_evaluate_set(run->model, run->data.test, 0, most, &run->test) != NACRE_OK) {
        nacre_cli_library_error();
        return false;
    }
    return true;
}

static void report_divergence(const training *run) {
    const nacre_history *history = run->history;
    nacre_cli_error("the loss is not a finite number at step %" PRId64
                    "%s%s; saved are the weights "
                    "of the last finite loss; try a lower --lr",
                    history->diverged_step + 1, history->diverged_at[0] ? ", first in " : "",
                    history->diverged_at);
}

static void judge(training *run) {
    const nacre_history *history = run->history;
    double target = run->settings.values.target_accuracy;
    run->outcome = DONE;
    if (history->outcome == NACRE_FIT_DIVERGED) {
        run->outcome = DIVERGED;
    } else if (nacre_cli_signal()) {
        run->outcome = INTERRUPTED;
    } else if (target > 0 && !(history->epochs > 0 &&
                               history->epoch[history->epochs - 1].validation.accuracy >= target)) {
        run->outcome = TARGET_MISSED;
    }
}

static bool write_model(training *run) {
    nacre_module *network = nacre_model_network(run->model);
    nacre_state_dict *state = nacre_module_state(network);
    char path[4200];
    nacre_cli_folder_file(&run->folder, "model.safetensors", path, sizeof path);
    bool written =
        state &&
        nacre_state_dict_set_metadata(state, "recipe", run->settings.recipe->name) == NACRE_OK &&
        nacre_state_dict_set_metadata(state, "nacre", nacre_version()) == NACRE_OK &&
        nacre_state_dict_save(state, path) == NACRE_OK;
    nacre_state_dict_free(state);
    return written;
}

/* The weights are what a run is for: where the disk has no room for them, the table of steps goes. One line
   says so, unless a table's failure was said already. */
static bool save_model(training *run) {
    if (write_model(run)) {
        return true;
    }
    bool told = run->folder.failed;
    nacre_cli_folder_drop_steps(&run->folder);
    bool written = write_model(run);
    if (!told && written) {
        nacre_cli_error("%s: the disk is full: steps.csv was removed to make room for the weights; "
                        "make room or give another --out",
                        run->folder.path);
    } else if (!told) {
        nacre_cli_error("%s; make room or give another --out", nacre_error_message());
    }
    run->folder.failed = true;
    return written;
}

static bool save_curves(training *run) {
    nacre_text svg = {0};
    char title[256];
    snprintf(title, sizeof title, "%s on %s, seed %" PRId64, run->settings.recipe->name,
             run->data.kind, run->settings.values.seed);
    nacre_cli_curves_draw(&run->curve, run->history->epoch, run->history->epochs,
                          run->steps_per_epoch, title, &svg);
    return nacre_cli_folder_write(&run->folder, "curves.svg", &svg);
}

static bool save_config(training *run) {
    nacre_text text = {0};
    nacre_cli_write_config(&run->settings, run->data.folder, &text);
    return nacre_cli_folder_write(&run->folder, "config.json", &text);
}

/* All files but the tables and config.json, which are there already. A run whose tables could not be
   written keeps its weights if there is room for them; one without weights is worth nothing. */
static bool save(training *run) {
    bool saved = save_model(run);
    if (!saved) {
        nacre_cli_folder_remove(&run->folder);
        return false;
    }
    bool tables = nacre_cli_folder_close(&run->folder) && !run->folder.failed;
    return tables && save_curves(run);
}

static void append_string_or_null(const char *string, nacre_text *text) {
    if (string) {
        nacre_text_append_json(text, string);
    } else {
        nacre_text_append(text, "null");
    }
}

static void append_result(const training *run, nacre_text *text) {
    const struct {
        const char *key;
        double number;
    } numbers[] = {
        {"train_loss", run->train_loss},
        {"test_loss", run->test.loss},
        {"test_accuracy", run->test.accuracy},
    };
    double steps = (double)run->timed_steps;
    nacre_text_append(text, "{\"status\":\"%s\",\"data\":", outcome_names[run->outcome]);
    append_string_or_null(run->data.kind, text);
    nacre_text_append(text, ",\"epochs\":%" PRId64 ",\"steps\":%" PRId64,
                      run->history ? run->history->epochs : 0,
                      run->history ? run->history->steps : 0);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        nacre_text_append(text, ",\"%s\":", numbers[i].key);
        nacre_text_append_number(text, numbers[i].number);
    }
    nacre_cli_append_figure(text, "seconds", nacre_cli_seconds());
    nacre_cli_append_figure(text, "step_us", steps > 0 ? run->microseconds / steps : NAN);
    nacre_text_append(text, ",\"peak_rss_bytes\":");
    nacre_text_append_number(text, nacre_cli_peak_memory());
    nacre_text_append(text, ",\"run\":");
    append_string_or_null(run->history ? run->folder.path : NULL, text);
    nacre_text_append(text, "}\n");
}

static int print_result(const training *run) {
    const nacre_cli_settings *values = &run->settings.values;
    nacre_text text = {0};
    if (values->json) {
        append_result(run, &text);
        return nacre_cli_print(&text);
    }
    if (values->quiet) {
        return NACRE_CLI_DONE;
    }
    nacre_text_append(&text,
                      "%s after %" PRId64 " epoch%s, %" PRId64 " step%s, %.2f s: test accuracy "
                      "%.2f %%, test loss %.4f\nrun folder: %s\n",
                      outcome_names[run->outcome], run->history->epochs,
                      nacre_cli_plural((size_t)run->history->epochs), run->history->steps,
                      nacre_cli_plural((size_t)run->history->steps), nacre_cli_seconds(),
                      100 * run->test.accuracy, run->test.loss, run->folder.path);
    return nacre_cli_print(&text);
}

/* ---- the run ---- */

static int finish(training *run) {
    if (run->history->outcome == NACRE_FIT_FAILED) {
        nacre_cli_library_error();
    }
    bool failed = run->history->outcome == NACRE_FIT_FAILED || run->folder.failed;
    if (failed && run->history->steps == 0) {
        nacre_cli_folder_remove(&run->folder);
        return NACRE_CLI_FAILED;
    }
    judge(run);
    if (run->outcome == DIVERGED) {
        report_divergence(run);
    }
    bool measured = failed || measure(run);
    if (!save(run) || failed || !measured) {
        return NACRE_CLI_FAILED;
    }
    int printed = print_result(run);
    if (printed != NACRE_CLI_DONE) {
        return printed;
    }
    if (run->outcome == TARGET_MISSED && !run->settings.values.json) {
        nacre_cli_error("the test accuracy never reached %g; more --epochs may help",
                        run->settings.values.target_accuracy);
    }
    if (run->outcome == INTERRUPTED) {
        return 128 + nacre_cli_signal();
    }
    return run->outcome == DONE ? NACRE_CLI_DONE : NACRE_CLI_FAILED;
}

/* Bytes of model.safetensors and of the smaller files, generously. */
static long long bytes_needed(nacre_model *model) {
    long long bytes = 1 << 16;
    const nacre_module *network = nacre_model_network(model);
    for (size_t i = 0; i < nacre_module_parameter_count(network); i++) {
        const nacre_tensor *parameter = nacre_module_parameter_at(network, i);
        bytes += (long long)nacre_numel(parameter) *
                     (long long)nacre_dtype_size(nacre_dtype_of(parameter)) +
                 256;
    }
    return bytes;
}

static int stop_before_training(training *run) {
    run->outcome = INTERRUPTED;
    run->train_loss = run->test.loss = run->test.accuracy = NAN;
    nacre_cli_error("interrupted before the first step; nothing was written");
    nacre_text text = {0};
    if (run->settings.values.json) {
        append_result(run, &text);
        int printed = nacre_cli_print(&text);
        if (printed != NACRE_CLI_DONE) {
            return printed;
        }
    }
    return 128 + nacre_cli_signal();
}

/* Where no folder is named the data may have to be downloaded: a limit that a step cannot keep is told before. Such
   data have more samples than this. A folder is opened at once, and its set may be smaller than a batch. */
static nacre_status check_memory_limit(const training *run) {
    enum { SAMPLES = 20000 };
    const nacre_cli_settings *values = &run->settings.values;
    const char *named = values->data ? values->data : getenv("NACRE_DATA");
    if (!values->memory || values->epochs == 0 ||
        (named && named[0] && strcmp(named, "procedural") != 0)) {
        return NACRE_OK;
    }
    nacre_cli_synthetic step;
    nacre_explanation *plan = NULL;
    int64_t batch = values->batch_size < SAMPLES ? values->batch_size : SAMPLES;
    if (nacre_cli_synthetic_make(run->settings.recipe, values, batch, &step) == NACRE_OK) {
        plan = nacre_cli_synthetic_explain(&step, false);
    }
    nacre_status status = plan ? NACRE_OK : nacre_error_code();
    nacre_explanation_free(plan);
    nacre_cli_synthetic_free(&step);
    return status;
}

static int train(training *run) {
    const nacre_cli_settings *values = &run->settings.values;
    const nacre_cli_recipe *recipe = run->settings.recipe;
    if (!nacre_cli_folder_free(values->out) ||
        (values->trace && !nacre_cli_check_trace(values->trace))) {
        return NACRE_CLI_FAILED;
    }
    if (nacre_cli_apply(run->settings.threads_given ? values->threads : -1, values->backend) !=
        NACRE_OK) {
        return nacre_cli_library_error();
    }
    nacre_set_memory_limit((size_t)values->memory);
    if (check_memory_limit(run) != NACRE_OK) {
        return nacre_cli_library_error();
    }
    /* A download may take long: a signal ends it. */
    nacre_cli_signals_cancel(true);
    nacre_status status = recipe->open(values->data, &run->data);
    nacre_cli_signals_cancel(false);
    if (status != NACRE_OK) {
        return nacre_cli_signal() ? stop_before_training(run) : nacre_cli_library_error();
    }
    run->steps_per_epoch = steps_of(nacre_dataset_count(run->data.train), values->batch_size);
    run->model = nacre_cli_make_model(recipe, values, values->epochs * run->steps_per_epoch);
    if (nacre_model_status(run->model) != NACRE_OK) {
        return nacre_cli_error("%s", nacre_model_message(run->model));
    }
    if (!nacre_cli_folder_make(&run->folder, values->out, recipe->name, bytes_needed(run->model))) {
        return NACRE_CLI_FAILED;
    }
    if (!save_config(run) || !fit(run)) {
        nacre_cli_folder_remove(&run->folder);
        return NACRE_CLI_FAILED;
    }
    return finish(run);
}

int nacre_cli_train(int argc, char **argv) {
    training run = {0};
    int code;
    if (!nacre_cli_settle(argc, argv, &run.settings, &code)) {
        return code;
    }
    nacre_cli_signals_hold();
    code = train(&run);
    if (run.tracing && nacre_trace_end() != NACRE_OK) {
        nacre_cli_library_error();
        code = code == NACRE_CLI_DONE ? NACRE_CLI_FAILED : code;
    }
    nacre_history_free(run.history);
    nacre_model_free(run.model);
    nacre_cli_data_close(&run.data);
    nacre_cli_settings_free(&run.settings);
    return code;
}
