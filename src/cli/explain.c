/* nacre explain: the plan of one training step, before anything runs. */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/synthetic.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct explain {
    int64_t batch_size, memory;
    int backend;
    bool json;
} explain;

#define AT(member) offsetof(explain, member)
static const nacre_cli_option options[] = {
    {.name = "batch-size",
     .kind = NACRE_CLI_INTEGER,
     .offset = AT(batch_size),
     .value = "N",
     .help = "samples of the step",
     .least = 1,
     .most = NACRE_CLI_MOST_SYNTHETIC},
    {.name = "backend",
     .kind = NACRE_CLI_CHOICE,
     .offset = AT(backend),
     .help = "what would compute it",
     .choices = nacre_cli_backends},
    {.name = "memory",
     .kind = NACRE_CLI_INTEGER,
     .offset = AT(memory),
     .value = "BYTES",
     .help = "most memory of the arena; 0: no limit",
     .least = 0,
     .most = INT64_MAX},
    {.name = "json",
     .kind = NACRE_CLI_SWITCH,
     .offset = AT(json),
     .help = "one JSON object on stdout"},
};
static const explain defaults = {.batch_size = 128};

const nacre_cli_syntax nacre_cli_explain_syntax = {
    .command = "explain",
    .arguments = "RECIPE",
    .summary = "The plan of one training step: what runs, on which shapes, where in memory.",
    .details =
        "Each step has its FLOPs, the bytes that it reads and writes at least, and the place of "
        "its\n"
        "first result in the arena (\"-\": a parameter, a state or a value that was asked for).\n",
    .options = options,
    .count = sizeof options / sizeof *options,
    .defaults = &defaults,
    .most_arguments = 1,
};

static void append_json(const nacre_cli_recipe *recipe, int64_t batch, const nacre_explanation *e,
                        nacre_text *text) {
    nacre_text_append(text, "{\"recipe\":\"%s\",\"batch\":%" PRId64 ",\"steps\":[", recipe->name,
                      batch);
    for (size_t i = 0; i < e->count; i++) {
        const nacre_plan_step *step = &e->steps[i];
        nacre_text_append(text, "%s{\"kernel\":", i ? "," : "");
        nacre_text_append_json(text, step->kernel);
        nacre_text_append(text, ",\"shapes\":");
        nacre_text_append_json(text, step->shapes);
        nacre_text_append(text, ",\"where\":");
        nacre_text_append_json(text, step->where);
        nacre_text_append(text, ",\"flops\":");
        nacre_text_append_number(text, step->flops);
        nacre_text_append(text, ",\"bytes\":");
        nacre_text_append_number(text, step->bytes);
        nacre_text_append(text, ",\"offset\":");
        if (step->offset < 0) {
            nacre_text_append(text, "null");
        } else {
            nacre_text_append(text, "%" PRId64, step->offset);
        }
        nacre_text_append(text, ",\"output_bytes\":%zu}", step->output_bytes);
    }
    nacre_text_append(text, "],\"flops\":");
    nacre_text_append_number(text, e->flops);
    nacre_text_append(text, ",\"bytes\":");
    nacre_text_append_number(text, e->bytes);
    nacre_text_append(text,
                      ",\"peak_bytes\":%zu,\"live_lower_bound\":%zu,\"variable_bytes\":%zu"
                      ",\"records\":%zu,\"dropped\":%zu,\"fused\":%zu,\"recomputed\":%zu}\n",
                      e->peak_bytes, e->live_lower_bound, e->variable_bytes, e->records, e->dropped,
                      e->fused, e->recomputed);
}

static int widest(const nacre_explanation *e, bool shapes) {
    size_t most = 0;
    for (size_t i = 0; i < e->count; i++) {
        size_t length = strlen(shapes ? e->steps[i].shapes : e->steps[i].kernel);
        most = length > most ? length : most;
    }
    return (int)(most < 6 ? 6 : most);
}

static void append_table(const nacre_cli_recipe *recipe, int64_t batch, const nacre_explanation *e,
                         nacre_text *text) {
    int kernel = widest(e, false), shapes = widest(e, true);
    nacre_text_append(text, "One training step of %s, batch %" PRId64 ", on %s\n\n", recipe->name,
                      batch,
                      nacre_backend_in_use() == NACRE_BACKEND_REFERENCE ? "reference" : "cpu");
    nacre_text_append(text, "%4s  %-*s  %-*s  %12s  %12s  %10s\n", "step", kernel, "kernel", shapes,
                      "shapes", "FLOPs", "bytes", "offset");
    for (size_t i = 0; i < e->count; i++) {
        const nacre_plan_step *step = &e->steps[i];
        char offset[32] = "-";
        if (step->offset >= 0) {
            snprintf(offset, sizeof offset, "%" PRId64, step->offset);
        }
        nacre_text_append(text, "%4zu  %-*s  %-*s  %12.0f  %12.0f  %10s\n", i + 1, kernel,
                          step->kernel, shapes, step->shapes, step->flops, step->bytes, offset);
    }
    nacre_text_append(
        text,
        "\n%zu steps from %zu records, %zu of them fused into another, %zu dropped, %zu steps "
        "repeated\n"
        "%.0f FLOPs, %.0f bytes read and written at least\n"
        "peak memory of the arena: %zu bytes ("
        "%zu are live at once in this order)\nparameters, state and inputs: %zu bytes\n",
        e->count, e->records, e->fused, e->dropped, e->recomputed, e->flops, e->bytes,
        e->peak_bytes, e->live_lower_bound, e->variable_bytes);
}

static int print_explanation(const nacre_cli_recipe *recipe, const explain *values) {
    nacre_cli_synthetic synthetic;
    nacre_explanation *e = NULL;
    nacre_set_memory_limit((size_t)values->memory);
    if (nacre_cli_synthetic_make(recipe, values->batch_size, &synthetic) == NACRE_OK) {
        e = nacre_cli_synthetic_explain(&synthetic);
    }
    if (!e) {
        int code = nacre_cli_library_error();
        nacre_cli_synthetic_free(&synthetic);
        return code;
    }
    nacre_text text = {0};
    (values->json ? append_json : append_table)(recipe, values->batch_size, e, &text);
    nacre_explanation_free(e);
    nacre_cli_synthetic_free(&synthetic);
    return nacre_cli_print(&text);
}

int nacre_cli_explain(int argc, char **argv) {
    explain values = defaults;
    nacre_cli_given given;
    if (!nacre_cli_parse(&nacre_cli_explain_syntax, argc, argv, &values, &given)) {
        return NACRE_CLI_USAGE;
    }
    if (given.help) {
        return nacre_cli_print_help(&nacre_cli_explain_syntax);
    }
    if (given.count == 0) {
        return nacre_cli_usage("no recipe given; give one: %s", nacre_cli_recipe_list());
    }
    const nacre_cli_recipe *recipe = nacre_cli_recipe_named(given.arguments[0]);
    if (!recipe) {
        return NACRE_CLI_USAGE;
    }
    if (nacre_cli_apply(-1, values.backend) != NACRE_OK) {
        return nacre_cli_library_error();
    }
    return print_explanation(recipe, &values);
}
