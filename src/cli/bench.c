/* nacre bench: how long things take, beside what the machine could do. The parts are bench_*.c. */
#include "cli/bench.h"

#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/output.h"
#include "cli/settings.h"
#include "cli/signals.h"
#include "cli/subject.h"

#include <nacre/plan.h>
#include <string.h>

#define AT(member) offsetof(nacre_cli_bench_values, member)
enum {
    BATCH_SIZE,
    WIDTH,
    DEPTH,
    SEQUENCE_LENGTH,
    MEMORY,
    THREADS,
    SECONDS,
    INFER,
    TRACE,
    CHECK,
    LIST,
    JSON
};
static const nacre_cli_option options[] = {
    [BATCH_SIZE] = {NACRE_FLAG_BATCH_SIZE(AT(batch_size))},
    [WIDTH] = {NACRE_FLAG_WIDTH(AT(sizes.width))},
    [DEPTH] = {NACRE_FLAG_DEPTH(AT(sizes.depth))},
    [SEQUENCE_LENGTH] = {NACRE_FLAG_SEQUENCE_LENGTH(AT(sizes.sequence_length))},
    [MEMORY] = {NACRE_FLAG_MEMORY(AT(memory))},
    [THREADS] = {NACRE_FLAG_THREADS(AT(threads))},
    [SECONDS] = {.name = "seconds",
                 .kind = NACRE_CLI_REAL,
                 .offset = AT(seconds),
                 .value = "X",
                 .help = "how long to measure",
                 .low = 0,
                 .high = 3600},
    [INFER] = {NACRE_FLAG_SWITCH("infer", AT(infer), "inference in place of a training step")},
    [TRACE] = {NACRE_FLAG_TRACE(AT(trace))},
    [CHECK] = {NACRE_FLAG_SWITCH("check", AT(check),
                                 "time nothing: compare with what the reference backend computes")},
    [LIST] = {NACRE_FLAG_SWITCH("list", AT(list), "name all kernels, time nothing")},
    [JSON] = {NACRE_FLAG_JSON(AT(json))},
};
static const nacre_cli_bench_values defaults = {.seconds = 2};

const nacre_cli_syntax nacre_cli_bench_syntax = {
    .command = "bench",
    .arguments = "WORKLOAD|kernels|loader",
    .summary = "Time a workload's training step, single kernels, or the loader.",
    .details =
        "Workloads: mlp, lenet, vit, gpt, resnet20. A step is forward, loss, backward and update\n"
        "on a batch that lies in memory. The machine's peak (fused multiply-adds without memory,\n"
        "same kernel level) and its bandwidth are measured between the steps, since they move.\n"
        "Names after 'kernels' choose some (--list), such as: softmax matmul:64x128x784:nt\n"
        "What does not fit into the machine's memory is refused before it is made.\n",
    .options = options,
    .count = sizeof options / sizeof *options,
    .defaults = &defaults,
    .most_arguments = -1,
};

static int refuse(const char *name) {
    nacre_text known = {0};
    nacre_cli_list_workloads(&known, "kernels, loader");
    const char *list = known.failed ? "see nacre help bench" : known.bytes;
    int code = name ? nacre_cli_usage("unknown workload %.100s; known ones: %s",
                                      nacre_cli_shown(name), list)
                    : nacre_cli_usage("no workload given; known ones: %s", list);
    nacre_text_free(&known);
    return code;
}

static bool fits(bool right, const nacre_cli_given *given, int option, const char *what) {
    if (!right && given->option[option]) {
        nacre_cli_usage("--%s: %s has none; leave it out", options[option].name, what);
        return false;
    }
    return true;
}

static int run(const nacre_cli_given *given, const nacre_cli_bench_values *values) {
    const char *what = given->arguments[0];
    const nacre_cli_workload *workload = nacre_cli_find_workload(what);
    nacre_cli_workload sized;
    bool kernels = strcmp(what, "kernels") == 0, loader = strcmp(what, "loader") == 0;
    if (!workload && !kernels && !loader) {
        return refuse(what);
    }
    if (!kernels && given->count > 1) {
        return nacre_cli_usage("one workload at a time: leave out %.100s",
                               nacre_cli_shown(given->arguments[1]));
    }
    if (!fits(!kernels, given, BATCH_SIZE, what) || !fits(workload != NULL, given, INFER, what) ||
        !fits(workload != NULL, given, TRACE, what) ||
        !fits(workload != NULL, given, MEMORY, what) || !fits(kernels, given, LIST, what) ||
        !fits(!loader, given, CHECK, what) || !fits(!values->check, given, TRACE, "--check") ||
        !fits(!values->check, given, SECONDS, "--check") ||
        !nacre_cli_choose_sizes(workload, what, &values->sizes, &sized)) {
        return NACRE_CLI_USAGE;
    }
    if (nacre_cli_apply(given->option[THREADS] ? values->threads : -1, NACRE_CLI_BACKEND_CPU) !=
        NACRE_OK) {
        return nacre_cli_library_error();
    }
    if (values->trace && !nacre_cli_check_trace(values->trace)) {
        return NACRE_CLI_FAILED;
    }
    nacre_cli_signals_say("nacre bench: interrupted: there are no figures\n");
    nacre_set_memory_limit((size_t)values->memory);
    if (kernels) {
        return nacre_cli_bench_kernels(given->arguments + 1, given->count - 1, values);
    }
    return loader ? nacre_cli_bench_loader(values) : nacre_cli_bench_workload(&sized, values);
}

int nacre_cli_bench(int argc, char **argv) {
    nacre_cli_bench_values values = defaults;
    nacre_cli_given given;
    if (!nacre_cli_parse(&nacre_cli_bench_syntax, argc, argv, &values, &given)) {
        return NACRE_CLI_USAGE;
    }
    if (given.help) {
        return nacre_cli_print_help(&nacre_cli_bench_syntax);
    }
    return given.count == 0 ? refuse(NULL) : run(&given, &values);
}
