#include "cli/settings.h"

#include "base/error.h"
#include "base/memory.h"
#include "cli/flags.h"
#include "cli/output.h"
#include "io/file.h"

#include <math.h>
#include <nacre/plan.h>
#include <nacre/system.h>
#include <stdio.h>
#include <string.h>

static const char *const optimizers[] = {"adam", "sgd", NULL};
static const char *const schedules[] = {"onecycle", "constant", NULL};
const char *const nacre_cli_backends[] = {"cpu", "reference", NULL};

#define AT(member) offsetof(nacre_cli_settings, member)
static const nacre_cli_option train_options[] = {
    {"data", NACRE_CLI_STRING, AT(data), "DIR", "folder of the data; \"procedural\": drawn digits",
     .configured = true},
    {"config", NACRE_CLI_STRING, AT(config), "FILE",
     "a run's config.json: repeats the run; flags given here win", .configured = false},
    {"epochs", NACRE_CLI_INTEGER, AT(epochs), "N", "passes over the training set", .least = 0,
     .most = 100000, .configured = true},
    {"batch-size", NACRE_CLI_INTEGER, AT(batch_size), "N", "samples of a step", .least = 1,
     .most = 1000000000, .configured = true},
    {"optimizer", NACRE_CLI_CHOICE, AT(optimizer), "NAME", "how weights follow gradients",
     .choices = optimizers, .configured = true},
    {"lr", NACRE_CLI_REAL, AT(lr), "X", "learning rate, the peak of the schedule", .low = 0,
     .high = INFINITY, .configured = true},
    {"schedule", NACRE_CLI_CHOICE, AT(schedule), "NAME", "learning rate over the run",
     .choices = schedules, .configured = true},
    {"momentum", NACRE_CLI_REAL, AT(momentum), "X", "of sgd, below 1", .low = 0, .high = 0.999999,
     .configured = true},
    {"clip-norm", NACRE_CLI_REAL, AT(clip_norm), "X", "largest 2-norm of all gradients; 0: off",
     .low = 0, .high = INFINITY, .configured = true},
    {"clip-value", NACRE_CLI_REAL, AT(clip_value), "X", "largest element of a gradient; 0: off",
     .low = 0, .high = INFINITY, .configured = true},
    {"seed", NACRE_CLI_INTEGER, AT(seed), "N", "of the first weights and the shuffle", .least = 0,
     .most = INT64_MAX, .configured = true},
    {NACRE_FLAG_THREADS(AT(threads)), .configured = true},
    {NACRE_FLAG_BACKEND(AT(backend), "what computes"), .configured = true},
    {"target-accuracy", NACRE_CLI_REAL, AT(target_accuracy), "A",
     "stop at this test accuracy, such as 0.98; 0: off", .low = 0, .high = 1, .configured = true},
    {"out", NACRE_CLI_STRING, AT(out), "DIR", "run folder, new or empty (default runs/RECIPE/TIME)",
     .configured = false},
    {NACRE_FLAG_MEMORY(AT(memory)), .configured = true},
    {NACRE_FLAG_TRACE(AT(trace))},
    {NACRE_FLAG_JSON(AT(json))},
    {"quiet", NACRE_CLI_SWITCH, AT(quiet), NULL, "no progress, no summary", .configured = false},
    {"verbose", NACRE_CLI_SWITCH, AT(verbose), NULL, "a line per epoch on a terminal too",
     .configured = false},
};

const nacre_cli_syntax nacre_cli_train_syntax = {
    .command = "train",
    .arguments = "RECIPE",
    .summary = "Train a recipe's network and write a run folder. Recipes: mnist-mlp, mnist-lenet.",
    .details =
        "The run folder gets config.json, epochs.csv, steps.csv, curves.svg and "
        "model.safetensors.\n"
        "Defaults below are those of mnist-mlp; mnist-lenet has --batch-size 64 and --lr 0.002.\n"
        "The test set is evaluated whole after every epoch. Interrupted (Ctrl-C, SIGTERM), "
        "the step\n"
        "is finished and everything is saved; a second signal stops at once.\n"
        "Exit codes: 0 done, 1 failed, diverged or target missed, 2 wrong usage, 130 after "
        "SIGINT,\n"
        "143 after SIGTERM.\n",
    .options = train_options,
    .count = sizeof train_options / sizeof *train_options,
    .defaults = &nacre_cli_recipes[0].defaults,
    .most_arguments = 1,
};

/* ---- config.json ---- */

/* Stores a configuration's value with the checks of the flag. */
static bool store_node(const nacre_cli_option *option, const nacre_json *node, void *values,
                       char *problem, size_t size) {
    char number[64];
    bool number_wanted = option->kind == NACRE_CLI_INTEGER || option->kind == NACRE_CLI_REAL;
    if (number_wanted != (node->kind == NACRE_JSON_NUMBER) ||
        (!number_wanted && node->kind != NACRE_JSON_STRING)) {
        snprintf(problem, size, "is not a %s", number_wanted ? "number" : "string");
        return false;
    }
    if (!number_wanted) {
        return nacre_cli_store(option, node->string, values, problem, size);
    }
    if (node->is_integer) {
        snprintf(number, sizeof number, "%lld", (long long)node->integer);
    } else {
        snprintf(number, sizeof number, "%.17g", node->number);
    }
    return nacre_cli_store(option, number, values, problem, size);
}

/* Keys beside the options, read on their own. */
static bool is_note(const char *key) {
    return strcmp(key, "nacre") == 0 || strcmp(key, "isa") == 0 || strcmp(key, "recipe") == 0;
}

static const char *nearest_key(const char *key) {
    static char keys[NACRE_CLI_MAX_OPTIONS + 1][64] = {"recipe"};
    const char *names[NACRE_CLI_MAX_OPTIONS + 1] = {keys[0]};
    size_t count = 1;
    for (size_t i = 0; i < nacre_cli_train_syntax.count; i++) {
        if (train_options[i].configured) {
            nacre_cli_key(&train_options[i], keys[count], sizeof keys[count]);
            names[count] = keys[count];
            count++;
        }
    }
    return nacre_cli_nearest(key, names, count);
}

/* The recipe comes first: its defaults stand below the file's other keys. */
static bool take_recipe(const nacre_json *root, const char *path, nacre_cli_run_settings *out) {
    const nacre_json *node = nacre_json_member(root, "recipe");
    if (node && node->kind != NACRE_JSON_STRING) {
        nacre_cli_error("%s: recipe: is not a string; give one such as \"%s\"", path,
                        nacre_cli_recipes[0].name);
        return false;
    }
    if (node && out->recipe && strcmp(out->recipe->name, node->string) != 0) {
        nacre_cli_error(
            "%s: its recipe is %.100s, not %s; leave the recipe out or give another file", path,
            node->string, out->recipe->name);
        return false;
    }
    if (node && !out->recipe) {
        out->recipe = nacre_cli_recipe_named(node->string);
    } else if (!out->recipe) {
        nacre_cli_usage("%s names no recipe; give one: %s", path, nacre_cli_recipe_list());
    }
    if (out->recipe) {
        out->values = out->recipe->defaults;
    }
    return out->recipe != NULL;
}

/* Reads one member into what the command line left open. */
static bool take_member(const nacre_json *node, const char *path, nacre_cli_run_settings *out,
                        const nacre_cli_given *given) {
    if (is_note(node->key)) {
        return true;
    }
    const nacre_cli_option *option = nacre_cli_option_of_key(&nacre_cli_train_syntax, node->key);
    if (!option) {
        const char *nearest = nearest_key(node->key);
        nacre_cli_error("%s: unknown key \"%.100s\"; %s%s", path, node->key,
                        nearest ? "did you mean " : "keys are the flags' names with underscores",
                        nearest ? nearest : "");
        return false;
    }
    /* A value that a flag replaces is checked all the same. */
    nacre_cli_settings unused;
    bool replaced = given->option[option - train_options];
    char problem[512];
    if (!store_node(option, node, replaced ? &unused : &out->values, problem, sizeof problem)) {
        nacre_cli_error("%s: %s: %s", path, node->key, problem);
        return false;
    }
    return true;
}

/* The notes of a file made elsewhere: equal bits are promised for one version and kernel level. */
static void compare_notes(const nacre_json *root, const char *path) {
    const nacre_json *version = nacre_json_member(root, "nacre");
    const nacre_json *isa = nacre_json_member(root, "isa");
    if (version && version->kind == NACRE_JSON_STRING &&
        strcmp(version->string, nacre_version()) != 0) {
        nacre_cli_error("warning: %s was made by nacre %.40s, this is %s: results may differ", path,
                        version->string, nacre_version());
    }
    if (isa && isa->kind == NACRE_JSON_STRING && strcmp(isa->string, nacre_isa()) != 0) {
        nacre_cli_error("warning: %s was made with kernel level %.40s, this is %s: last bits may "
                        "differ (NACRE_ISA chooses)",
                        path, isa->string, nacre_isa());
    }
}

static nacre_json_document *read_document(const char *path) {
    enum { LIMIT = 1 << 20 };
    void *text;
    size_t size;
    if (nacre_file_read(path, LIMIT, &text, &size) != NACRE_OK) {
        return NULL;
    }
    nacre_json_document *document = nacre_json_parse(text, size, path);
    nacre_free(text);
    if (document && nacre_json_root(document)->kind != NACRE_JSON_OBJECT) {
        nacre_json_free(document);
        nacre_fail(NACRE_BAD_FILE, "%s: is not a JSON object; give a run's config.json", path);
        return NULL;
    }
    return document;
}

/* Exit code, or NACRE_CLI_DONE. */
static int read_config(const char *path, nacre_cli_run_settings *out,
                       const nacre_cli_given *given) {
    out->document = read_document(path);
    if (!out->document) {
        return nacre_cli_library_error();
    }
    const nacre_json *root = nacre_json_root(out->document);
    if (!take_recipe(root, path, out)) {
        return NACRE_CLI_USAGE;
    }
    for (const nacre_json *node = root->first; node; node = node->next) {
        if (!take_member(node, path, out, given)) {
            return NACRE_CLI_USAGE;
        }
    }
    compare_notes(root, path);
    return NACRE_CLI_DONE;
}

void nacre_cli_write_config(const nacre_cli_run_settings *settings, const char *data,
                            nacre_text *text) {
    nacre_text_append(text, "{\n  \"nacre\": \"%s\",\n  \"isa\": \"%s\",\n  \"recipe\": \"%s\"",
                      nacre_version(), nacre_isa(), settings->recipe->name);
    for (size_t i = 0; i < nacre_cli_train_syntax.count; i++) {
        const nacre_cli_option *option = &train_options[i];
        if (!option->configured) {
            continue;
        }
        const char *at = (const char *)&settings->values + option->offset;
        char key[64];
        nacre_cli_key(option, key, sizeof key);
        nacre_text_append(text, ",\n  \"%s\": ", key);
        int64_t integer;
        double real;
        int choice;
        switch (option->kind) {
        case NACRE_CLI_INTEGER:
            memcpy(&integer, at, sizeof integer);
            nacre_text_append(text, "%lld", (long long)integer);
            break;
        case NACRE_CLI_REAL:
            memcpy(&real, at, sizeof real);
            nacre_text_append_number(text, real);
            break;
        case NACRE_CLI_CHOICE:
            memcpy(&choice, at, sizeof choice);
            nacre_text_append_json(text, option->choices[choice]);
            break;
        default: /* the only configured string */
            nacre_text_append_json(text, data);
        }
    }
    nacre_text_append(text, "\n}\n");
}

nacre_status nacre_cli_read_recorded(const char *path, nacre_cli_recorded *out) {
    nacre_json_document *document = read_document(path);
    if (!document) {
        return nacre_error_code();
    }
    const nacre_json *root = nacre_json_root(document);
    const nacre_json *recipe = nacre_json_member(root, "recipe");
    const nacre_json *data = nacre_json_member(root, "data");
    const nacre_json *backend = nacre_json_member(root, "backend");
    *out = (nacre_cli_recorded){0};
    for (size_t i = 0; recipe && recipe->kind == NACRE_JSON_STRING && i < nacre_cli_recipe_count;
         i++) {
        if (strcmp(recipe->string, nacre_cli_recipes[i].name) == 0) {
            out->recipe = &nacre_cli_recipes[i];
        }
    }
    if (data && data->kind == NACRE_JSON_STRING) {
        snprintf(out->data, sizeof out->data, "%s", data->string);
    }
    if (backend && backend->kind == NACRE_JSON_STRING &&
        strcmp(backend->string, "reference") == 0) {
        out->backend = NACRE_CLI_BACKEND_REFERENCE;
    }
    nacre_json_free(document);
    if (!out->recipe) {
        return nacre_fail(NACRE_BAD_FILE,
                          "%s: names no known recipe; give the model.safetensors file itself",
                          path);
    }
    return NACRE_OK;
}

/* ---- settling ---- */

/* Combinations that no single flag's check sees. */
static bool check_together(const nacre_cli_settings *values) {
    if (values->optimizer == NACRE_CLI_ADAM && values->momentum != 0) {
        nacre_cli_usage("--momentum: adam has none; leave it out or give --optimizer sgd");
        return false;
    }
    if (values->quiet && values->verbose) {
        nacre_cli_usage("--quiet and --verbose exclude each other; give one");
        return false;
    }
    return true;
}

static void overlay_flags(const nacre_cli_given *given, const nacre_cli_settings *given_values,
                          nacre_cli_settings *values) {
    static const size_t sizes[] = {
        [NACRE_CLI_SWITCH] = sizeof(bool),         [NACRE_CLI_INTEGER] = sizeof(int64_t),
        [NACRE_CLI_REAL] = sizeof(double),         [NACRE_CLI_CHOICE] = sizeof(int),
        [NACRE_CLI_STRING] = sizeof(const char *),
    };
    for (size_t i = 0; i < nacre_cli_train_syntax.count; i++) {
        if (given->option[i]) {
            const nacre_cli_option *option = &train_options[i];
            memcpy((char *)values + option->offset, (const char *)given_values + option->offset,
                   sizes[option->kind]);
        }
    }
}

static int settle(int argc, char **argv, nacre_cli_run_settings *out, bool *help) {
    nacre_cli_settings flags = {0};
    nacre_cli_given given;
    if (!nacre_cli_parse(&nacre_cli_train_syntax, argc, argv, &flags, &given)) {
        return NACRE_CLI_USAGE;
    }
    *help = given.help;
    if (given.help) {
        return nacre_cli_print_help(&nacre_cli_train_syntax);
    }
    if (given.count) {
        out->recipe = nacre_cli_recipe_named(given.arguments[0]);
        if (!out->recipe) {
            return NACRE_CLI_USAGE;
        }
    }
    if (out->recipe) {
        out->values = out->recipe->defaults;
    }
    if (flags.config) {
        int code = read_config(flags.config, out, &given);
        if (code != NACRE_CLI_DONE) {
            return code;
        }
    }
    if (!out->recipe) {
        return nacre_cli_usage("no recipe given; give one: %s", nacre_cli_recipe_list());
    }
    overlay_flags(&given, &flags, &out->values);
    for (size_t i = 0; i < nacre_cli_train_syntax.count; i++) {
        out->threads_given |= given.option[i] && train_options[i].offset == AT(threads);
    }
    out->threads_given |= out->values.threads > 0;
    return check_together(&out->values) ? NACRE_CLI_DONE : NACRE_CLI_USAGE;
}

bool nacre_cli_settle(int argc, char **argv, nacre_cli_run_settings *out, int *code) {
    *out = (nacre_cli_run_settings){0};
    bool help = false;
    *code = settle(argc, argv, out, &help);
    if (*code != NACRE_CLI_DONE || help) {
        nacre_cli_settings_free(out);
        return false;
    }
    return true;
}

void nacre_cli_settings_free(nacre_cli_run_settings *settings) {
    nacre_json_free(settings->document);
    settings->document = NULL;
}

/* ---- what the settings make ---- */

nacre_status nacre_cli_apply(int64_t threads, int backend) {
    nacre_status status = NACRE_OK;
    if (threads >= 0) {
        status = nacre_set_threads((int)threads);
    }
    if (status == NACRE_OK) {
        status = nacre_set_backend(backend == NACRE_CLI_BACKEND_REFERENCE ? NACRE_BACKEND_REFERENCE
                                                                          : NACRE_BACKEND_CPU);
    }
    return status;
}

nacre_model *nacre_cli_make_model(const nacre_cli_recipe *recipe,
                                  const nacre_cli_settings *settings, int64_t total_steps) {
    double lr = settings->lr == 0 ? NACRE_ZERO : settings->lr;
    nacre_optimizer *optimizer = settings->optimizer == NACRE_CLI_SGD
                                     ? nacre_sgd(.lr = lr, .momentum = settings->momentum)
                                     : nacre_adam(.lr = lr);
    nacre_schedule *schedule =
        settings->schedule == NACRE_CLI_CONSTANT
            ? nacre_constant()
            : nacre_onecycle(.warmup = 0.2, .start_div = 16, .three_phase = true);
    /* A failure of these is the optimiser's own status, which the model takes over. */
    nacre_optimizer_set_schedule(optimizer, schedule, total_steps > 0 ? total_steps : 1);
    nacre_optimizer_clip_norm(optimizer, settings->clip_norm);
    nacre_optimizer_clip_value(optimizer, settings->clip_value);
    nacre_seed((uint64_t)settings->seed);
    return nacre_model_new(recipe->network(), nacre_cross_entropy(), optimizer);
}
