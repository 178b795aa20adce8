/* The program: finds the command and runs it. */
#define _POSIX_C_SOURCE 200809L
#include "base/clock.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/signals.h"

#include <nacre/system.h>
#include <nacre/tuning.h>
#include <stdio.h>
#include <string.h>

typedef struct command {
    const nacre_cli_syntax *syntax;
    int (*run)(int argc, char **argv);
    bool tuned; /* by the table of this CPU, which is read first */
} command;

static const command commands[] = {
    {&nacre_cli_train_syntax, nacre_cli_train, true},
    {&nacre_cli_evaluate_syntax, nacre_cli_evaluate, true},
    {&nacre_cli_predict_syntax, nacre_cli_predict, true},
    {&nacre_cli_summary_syntax, nacre_cli_summary, false},
    {&nacre_cli_explain_syntax, nacre_cli_explain, true},
    {&nacre_cli_bench_syntax, nacre_cli_bench, true},
    {&nacre_cli_tune_syntax, nacre_cli_tune, false}, /* reads the table itself */
    {&nacre_cli_info_syntax, nacre_cli_info, true},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static uint64_t started;

double nacre_cli_seconds(void) { return (double)(nacre_clock_ns() - started) * 1e-9; }

static void log_line(void *user, const char *line) {
    (void)user;
    nacre_cli_error("%s", line);
}

static const command *find_command(const char *name) {
    const char *names[COMMANDS + 1];
    for (size_t i = 0; i < COMMANDS; i++) {
        names[i] = commands[i].syntax->command;
        if (strcmp(names[i], name) == 0) {
            return &commands[i];
        }
    }
    names[COMMANDS] = "help";
    const char *nearest = nacre_cli_nearest(name, names, COMMANDS + 1);
    if (nearest) {
        nacre_cli_usage("unknown command %.100s; did you mean %s?", name, nearest);
    } else {
        nacre_cli_usage("unknown command %.100s; known ones: train, evaluate, predict, summary, "
                        "explain, bench, tune, info, help",
                        nacre_cli_shown(name));
    }
    return NULL;
}

/* docs/cli.md says more of each. */
static const struct variable {
    const char *name, *meaning;
} environment[] = {
    {"NACRE_DATA", "data folder, when --data is not given"},
    {"NACRE_THREADS", "threads, when --threads is not given"},
    {"NACRE_ISA", "kernel level: portable, avx2, avx512 or neon"},
    {"NACRE_FUSE=0", "plans have a step for each operation"},
    {"NACRE_EAGER=1", "no plans: each operation runs as it is recorded"},
    {"NACRE_TUNING", "tuning table of products; off: none"},
    {"NACRE_MNIST_URL", "where MNIST is downloaded from"},
};
enum { VARIABLES = sizeof environment / sizeof *environment };

static int print_overview(void) {
    nacre_text text = {0};
    nacre_text_append(&text, "Nacre %s trains, explains and runs neural networks.\n\n",
                      nacre_version());
    for (size_t i = 0; i < COMMANDS; i++) {
        const nacre_cli_syntax *syntax = commands[i].syntax;
        char left[64];
        snprintf(left, sizeof left, "%s %s", syntax->command, syntax->arguments);
        nacre_text_append(&text, "  nacre %-30s %s\n", left, syntax->summary);
    }
    nacre_text_append(&text, "  nacre %-30s %s\n  nacre %-30s %s\n", "help COMMAND",
                      "All flags of a command.", "--version", "The version.");
    nacre_text_append(&text, "\nEnvironment:\n");
    for (size_t i = 0; i < VARIABLES; i++) {
        nacre_text_append(&text, "  %-16s %s\n", environment[i].name, environment[i].meaning);
    }
    nacre_text_append(&text, "\nBegin with: nacre train mnist-mlp\n");
    return nacre_cli_print(&text);
}

static int print_version(void) {
    nacre_text text = {0};
    nacre_text_append(&text, "nacre %s\n", nacre_version());
    return nacre_cli_print(&text);
}

static int help(int argc, char **argv) {
    if (argc == 0) {
        return print_overview();
    }
    if (argc > 1) {
        return nacre_cli_usage("%.100s is one argument too many; give one command",
                               nacre_cli_shown(argv[1]));
    }
    if (strcmp(argv[0], "help") == 0) {
        return print_overview();
    }
    const command *found = find_command(argv[0]);
    if (!found) {
        return NACRE_CLI_USAGE;
    }
    return nacre_cli_print_help(found->syntax);
}

/* A table that cannot be used is told and left alone. */
static void load_tuning(void) {
    if (nacre_tuning_load(NULL) != NACRE_OK) {
        nacre_cli_error("%s (the tuning table is not used)", nacre_error_message());
        nacre_error_clear();
    }
}

int main(int argc, char **argv) {
    started = nacre_clock_ns();
    nacre_cli_guard_descriptors();
    nacre_cli_signals_begin();
    nacre_set_log(log_line, NULL);
    if (argc < 2) {
        return nacre_cli_usage("no command given; begin with: nacre train mnist-mlp");
    }
    const char *name = argv[1];
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        return print_version();
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        return help(argc - 2, argv + 2);
    }
    if (name[0] == '-') {
        static const char *const flags[] = {"version", "help"};
        const char *nearest =
            nacre_cli_nearest(name + strspn(name, "-"), flags, sizeof flags / sizeof *flags);
        if (nearest) {
            return nacre_cli_usage("unknown flag %.100s; did you mean --%s?", name, nearest);
        }
        return nacre_cli_usage("unknown flag %.100s; a command comes first, such as train", name);
    }
    const command *found = find_command(name);
    if (!found) {
        return NACRE_CLI_USAGE;
    }
    nacre_cli_set_command(found->syntax->command);
    if (found->tuned) {
        load_tuning();
    }
    return found->run(argc - 2, argv + 2);
}
