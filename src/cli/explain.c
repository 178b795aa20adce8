/* nacre explain: the plan of one training step or of inference, before anything runs. */
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/output.h"
#include "cli/subject.h"
#include "plan/plan.h"

#include <inttypes.h>
#include <nacre/system.h>
#include <stdio.h>
#include <string.h>

typedef struct explain {
    int64_t batch_size, memory, threads; /* batch_size 0: the network's own */
    nacre_cli_sizes sizes;
    int backend;
    bool infer, json;
} explain;

#define AT(member) offsetof(explain, member)
enum { BATCH_SIZE, WIDTH, DEPTH, SEQUENCE_LENGTH, THREADS, BACKEND, MEMORY, INFER, JSON };
static const nacre_cli_option options[] = {
    [BATCH_SIZE] = {NACRE_FLAG_BATCH_SIZE(AT(batch_size))},
    [WIDTH] = {NACRE_FLAG_WIDTH(AT(sizes.width))},
    [DEPTH] = {NACRE_FLAG_DEPTH(AT(sizes.depth))},
    [SEQUENCE_LENGTH] = {NACRE_FLAG_SEQUENCE_LENGTH(AT(sizes.sequence_length))},
    [THREADS] = {NACRE_FLAG_THREADS(AT(threads))},
    [BACKEND] = {NACRE_FLAG_BACKEND(AT(backend), "what would compute it")},
    [MEMORY] = {NACRE_FLAG_MEMORY(AT(memory))},
    [INFER] = {NACRE_FLAG_SWITCH("infer", AT(infer), "inference in place of a training step")},
    [JSON] = {NACRE_FLAG_JSON(AT(json))},
};
static const explain defaults = {0};

const nacre_cli_syntax nacre_cli_explain_syntax = {
    .command = "explain",
    .arguments = "NETWORK|RUN|FILE",
    .summary =
        "The plan of one training step, or of inference: what runs, on which shapes, where in "
        "memory.",
    .details =
        "A network is a workload of nacre bench or a recipe. Each step has its FLOPs, the bytes "
        "that\n"
        "it reads and writes at least, the place of its first result in the arena (\"-\": a\n"
        "parameter, a state or a value that was asked for), and the way in which its kernel does "
        "it:\n"
        "products as nacre tune calls them, convolutions direct or by Winograd's algorithm.\n",
    .options = options,
    .count = sizeof options / sizeof *options,
    .defaults = &defaults,
    .most_arguments = 1,
};

static void append_json(const nacre_cli_subject *subject, bool infer, const nacre_explanation *e,
                        nacre_text *text) {
    nacre_text_append(text, "{\"network\":");
    nacre_text_append_json(text, subject->name);
    nacre_text_append(text, ",\"mode\":\"%s\",\"batch\":%" PRId64 ",\"threads\":%d,\"steps\":[",
                      infer ? "infer" : "train", subject->batch, nacre_threads());
    for (size_t i = 0; i < e->count; i++) {
        const nacre_plan_step *step = &e->steps[i];
        nacre_text_append(text, "%s{\"kernel\":", i ? "," : "");
        nacre_text_append_json(text, step->kernel);
        nacre_text_append(text, ",\"way\":");
        nacre_text_append_json(text, step->way);
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

static void append_table(const nacre_cli_subject *subject, bool infer, const nacre_explanation *e,
                         nacre_text *text) {
    int kernel = widest(e, false), shapes = widest(e, true);
    nacre_text_append(text, "%s of %s, batch %" PRId64 ", on %s, %d thread%s\n\n",
                      infer ? "Inference" : "One training step", subject->name, subject->batch,
                      nacre_backend_in_use() == NACRE_BACKEND_REFERENCE ? "reference" : "cpu",
                      nacre_threads(), nacre_cli_plural((size_t)nacre_threads()));
    nacre_text_append(text, "%4s  %-*s  %-*s  %12s  %12s  %10s  %s\n", "step", kernel, "kernel",
                      shapes, "shapes", "FLOPs", "bytes", "offset", "way");
    for (size_t i = 0; i < e->count; i++) {
        const nacre_plan_step *step = &e->steps[i];
        char offset[32] = "-";
        if (step->offset >= 0) {
            snprintf(offset, sizeof offset, "%" PRId64, step->offset);
        }
        nacre_text_append(text, "%4zu  %-*s  %-*s  %12.0f  %12.0f  %10s  %s\n", i + 1, kernel,
                          step->kernel, shapes, step->shapes, step->flops, step->bytes, offset,
                          step->way);
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
    if (e->peak_bytes > NACRE_ARENA_MOST) {
        nacre_text_append(
            text,
            "it cannot run: a plan may take %zu GiB at most; make the batch or shapes "
            "smaller\n",
            NACRE_ARENA_MOST >> 30);
    }
}

static int print_explanation(nacre_cli_subject *subject, const explain *values) {
    nacre_explanation *e = NULL;
    nacre_set_memory_limit((size_t)values->memory);
    if (nacre_cli_subject_make(subject, false) == NACRE_OK) {
        e = nacre_cli_subject_explain(subject, values->infer);
    }
    int code;
    if (e) {
        nacre_text text = {0};
        (values->json ? append_json : append_table)(subject, values->infer, e, &text);
        code = nacre_cli_print(&text);
    } else {
        code = nacre_cli_library_error();
    }
    nacre_explanation_free(e);
    nacre_cli_subject_release(subject);
    return code;
}

static int no_network(void) {
    nacre_text known = {0};
    nacre_cli_list_workloads(&known, nacre_cli_recipe_list());
    int code = nacre_cli_usage("no network given; give one: %s",
                               known.failed ? "docs/cli.md" : known.bytes);
    nacre_text_free(&known);
    return code;
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
        return no_network();
    }
    if (!nacre_cli_has_plan()) {
        return nacre_cli_error(
            "NACRE_EAGER=1 runs each operation as it is called: there is no plan "
            "to explain; unset it");
    }
    nacre_cli_subject subject;
    int code =
        nacre_cli_subject_find(given.arguments[0], values.batch_size, &values.sizes, &subject);
    if (code == 0 &&
        nacre_cli_apply(given.option[THREADS] ? values.threads : -1, values.backend) != NACRE_OK) {
        code = nacre_cli_library_error();
    }
    return code == 0 ? print_explanation(&subject, &values) : code;
}
