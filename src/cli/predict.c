/* nacre predict: the digit on pictures. */
#include "base/error.h"
#include "base/memory.h"
#include "cli/commands.h"
#include "cli/digit.h"
#include "cli/flags.h"
#include "cli/model_file.h"
#include "cli/output.h"

#include <math.h>
#include <nacre/ops.h>
#include <nacre/train.h>
#include <string.h>

typedef struct prediction {
    int64_t threads;
    bool json;
} prediction;

enum { THREADS, JSON };
static const nacre_cli_option options[] = {
    [THREADS] = {NACRE_FLAG_THREADS(offsetof(prediction, threads))},
    [JSON] = {NACRE_FLAG_SWITCH("json", offsetof(prediction, json),
                                "one JSON object per picture and line on stdout")},
};
static const prediction defaults = {0};

const nacre_cli_syntax nacre_cli_predict_syntax = {
    .command = "predict",
    .arguments = "RUN|FILE IMAGE...",
    .summary = "The digit on pictures, with the probability of each.",
    .details =
        "Pictures are PNG or PGM of any size, dark on light or light on dark. They are brought\n"
        "into MNIST's form: the digit is scaled into 20 x 20 pixels and centred in 28 x 28.\n",
    .options = options,
    .count = sizeof options / sizeof *options,
    .defaults = &defaults,
    .most_arguments = -1,
};

enum { PIXELS = 28 * 28, MOST_CLASSES = 64 };

/* Softmax in double: exp(z - max) / sum. */
static void softmax(const float *logits, int64_t count, double *probabilities) {
    double highest = -INFINITY, sum = 0;
    for (int64_t i = 0; i < count; i++) {
        if (logits[i] > highest) {
            highest = logits[i];
        }
    }
    for (int64_t i = 0; i < count; i++) {
        probabilities[i] = exp(logits[i] - highest);
        sum += probabilities[i];
    }
    for (int64_t i = 0; i < count; i++) {
        probabilities[i] /= sum;
    }
}

static bool all_finite(const float *values, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i])) {
            return false;
        }
    }
    return true;
}

static void append_prediction(const char *file, const float *logits, int64_t classes, bool json,
                              nacre_text *text) {
    double probabilities[MOST_CLASSES];
    softmax(logits, classes, probabilities);
    int64_t digit = 0;
    for (int64_t i = 1; i < classes; i++) {
        digit = logits[i] > logits[digit] ? i : digit;
    }
    if (!json) {
        nacre_text_append(text, "%s: %lld (%.1f %%)\n", file, (long long)digit,
                          100 * probabilities[digit]);
        return;
    }
    nacre_text_append(text, "{\"file\":");
    nacre_text_append_json(text, file);
    nacre_text_append(text, ",\"digit\":%lld,\"probabilities\":[", (long long)digit);
    for (int64_t i = 0; i < classes; i++) {
        nacre_text_append(text, i ? "," : "");
        nacre_text_append_number(text, probabilities[i]);
    }
    nacre_text_append(text, "]}\n");
}

static nacre_status read_picture(const char *path, float *pixels) {
    nacre_image image;
    nacre_status status = nacre_image_load(path, &image);
    if (status == NACRE_OK) {
        status = nacre_cli_digit(&image, path, pixels);
        nacre_image_free(&image);
    }
    return status;
}

static nacre_shape with_batch(int64_t count, const nacre_shape *sample) {
    nacre_shape shape = {.ndim = sample->ndim + 1, .dims = {count}};
    for (int i = 0; i < sample->ndim; i++) {
        shape.dims[i + 1] = sample->dims[i];
    }
    return shape;
}

/* All pictures as one batch: a sample's result does not depend on its company. */
static nacre_status predict(nacre_cli_model *model, const char *const *files, int count, bool json,
                            nacre_text *text) {
    int64_t classes = model->recipe->classes;
    float *pixels = nacre_alloc_zeroed((size_t)count, PIXELS * sizeof *pixels);
    nacre_status status = pixels ? NACRE_OK : NACRE_OUT_OF_MEMORY;
    for (int i = 0; status == NACRE_OK && i < count; i++) {
        status = read_picture(files[i], pixels + (size_t)i * PIXELS);
    }
    if (status == NACRE_OK) {
        nacre_shape shape = with_batch(count, &model->recipe->input);
        nacre_scope scope = nacre_scope_begin();
        nacre_tensor *inputs = nacre_from_data(pixels, .shape = shape);
        nacre_tensor *outputs = nacre_predict(model->model, inputs);
        const float *logits = nacre_data(outputs);
        status = logits ? NACRE_OK : nacre_error_code();
        if (logits && !all_finite(logits, (size_t)count * (size_t)classes)) {
            status = nacre_cli_not_finite();
            logits = NULL;
        }
        for (int i = 0; logits && i < count; i++) {
            append_prediction(files[i], logits + (size_t)i * (size_t)classes, classes, json, text);
        }
        nacre_status ended = nacre_scope_end(scope);
        status = status == NACRE_OK ? ended : status;
    }
    nacre_free(pixels);
    return status;
}

int nacre_cli_predict(int argc, char **argv) {
    prediction values = defaults;
    nacre_cli_given given;
    if (!nacre_cli_parse(&nacre_cli_predict_syntax, argc, argv, &values, &given)) {
        return NACRE_CLI_USAGE;
    }
    if (given.help) {
        return nacre_cli_print_help(&nacre_cli_predict_syntax);
    }
    if (given.count < 2) {
        return nacre_cli_usage(given.count ? "no picture given; give PNG or PGM files"
                                           : "no model given; give a run folder or a .safetensors "
                                             "file, then pictures");
    }
    nacre_cli_model model;
    if (!nacre_cli_model_open(given.arguments[0], &model)) {
        return NACRE_CLI_FAILED;
    }
    nacre_text text = {0};
    nacre_status status =
        nacre_cli_apply(given.option[THREADS] ? values.threads : -1, model.backend);
    if (status == NACRE_OK) {
        status = predict(&model, given.arguments + 1, given.count - 1, values.json, &text);
    }
    nacre_cli_model_close(&model);
    if (status != NACRE_OK) {
        nacre_text_free(&text);
        return nacre_cli_library_error();
    }
    return nacre_cli_print(&text);
}
