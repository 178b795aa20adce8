/* nacre evaluate: loss and accuracy of saved weights on the test set. */
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/model_file.h"
#include "cli/output.h"

#include <inttypes.h>
#include <math.h>
#include <nacre/train.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct evaluation {
    const char *data;
    int64_t threads;
    int backend;
    bool json;
} evaluation;

#define AT(member) offsetof(evaluation, member)
enum { DATA, THREADS, BACKEND, JSON };
static const nacre_cli_option options[] = {
    [DATA] = {.name = "data",
              .kind = NACRE_CLI_STRING,
              .offset = AT(data),
              .value = "DIR",
              .help = "folder of the data (default: NACRE_DATA, then the run's own)"},
    [THREADS] = {NACRE_FLAG_THREADS(AT(threads))},
    [BACKEND] = {NACRE_FLAG_BACKEND(AT(backend), "what computes, else as the run did")},
    [JSON] = {NACRE_FLAG_JSON(AT(json))},
};
static const evaluation defaults = {0};

const nacre_cli_syntax nacre_cli_evaluate_syntax = {
    .command = "evaluate",
    .arguments = "RUN|FILE",
    .summary = "Loss and accuracy of a run's or a file's weights on the test set.",
    .options = options,
    .count = sizeof options / sizeof *options,
    .defaults = &defaults,
    .most_arguments = 1,
};

static int print_metrics(const nacre_metrics *metrics, const char *kind, bool json) {
    nacre_text text = {0};
    if (json) {
        nacre_text_append(&text, "{\"test_loss\":");
        nacre_text_append_number(&text, metrics->loss);
        nacre_text_append(&text, ",\"test_accuracy\":");
        nacre_text_append_number(&text, metrics->accuracy);
        nacre_text_append(&text, ",\"samples\":%" PRId64 "}\n", metrics->samples);
    } else {
        nacre_text_append(&text,
                          "test accuracy %.2f %%, test loss %.4f over %" PRId64 " samples of %s\n",
                          100 * metrics->accuracy, metrics->loss, metrics->samples, kind);
    }
    return nacre_cli_print(&text);
}

static int evaluate(const evaluation *values, nacre_cli_model *model) {
    const char *environment = getenv("NACRE_DATA");
    const char *folder = values->data;
    if (!folder && !(environment && environment[0]) && model->data[0]) {
        folder = model->data;
    }
    nacre_cli_data data = {0};
    if (model->recipe->open(folder, &data) != NACRE_OK) {
        return nacre_cli_library_error();
    }
    if (!values->data && model->data[0] && strcmp(data.folder, model->data) != 0) {
        fprintf(stderr, "nacre evaluate: on the data in %s (NACRE_DATA); the run's own was in %s\n",
                data.folder, model->data);
    }
    nacre_metrics metrics;
    nacre_status status = nacre_evaluate(model->model, data.test, 0, &metrics);
    if (status == NACRE_OK && !isfinite(metrics.loss)) {
        status = nacre_cli_not_finite();
    }
    int code = status == NACRE_OK ? print_metrics(&metrics, data.kind, values->json)
                                  : nacre_cli_library_error();
    nacre_cli_data_close(&data);
    return code;
}

int nacre_cli_evaluate(int argc, char **argv) {
    evaluation values = defaults;
    nacre_cli_given given;
    if (!nacre_cli_parse(&nacre_cli_evaluate_syntax, argc, argv, &values, &given)) {
        return NACRE_CLI_USAGE;
    }
    if (given.help) {
        return nacre_cli_print_help(&nacre_cli_evaluate_syntax);
    }
    if (given.count == 0) {
        return nacre_cli_usage("no model given; give a run folder or a .safetensors file");
    }
    nacre_cli_model model;
    if (!nacre_cli_model_open(given.arguments[0], &model)) {
        return NACRE_CLI_FAILED;
    }
    int backend = given.option[BACKEND] ? values.backend : model.backend;
    int code = nacre_cli_apply(given.option[THREADS] ? values.threads : -1, backend) == NACRE_OK
                   ? evaluate(&values, &model)
                   : nacre_cli_library_error();
    nacre_cli_model_close(&model);
    return code;
}
