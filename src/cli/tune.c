/* nacre tune: which way products of a network's training step run fastest on this machine. */
#define _POSIX_C_SOURCE 200809L /* access */
#include "cli/tune.h"

#include "base/error.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/output.h"
#include "cli/signals.h"
#include "io/tuning.h"

#include <nacre/system.h>
#include <unistd.h>

typedef struct tune {
    int64_t batch_size, threads;
    double seconds;
    bool dry_run, json, quiet;
} tune;

#define AT(member) offsetof(tune, member)
enum { BATCH_SIZE, THREADS, SECONDS, DRY_RUN, JSON, QUIET };
static const nacre_cli_option options[] = {
    [BATCH_SIZE] = {NACRE_FLAG_BATCH_SIZE(AT(batch_size))},
    [THREADS] = {NACRE_FLAG_THREADS(AT(threads))},
    [SECONDS] = {.name = "seconds",
                 .kind = NACRE_CLI_REAL,
                 .offset = AT(seconds),
                 .value = "X",
                 .help = "how long to measure each network",
                 .low = 0,
                 .above = true,
                 .high = 3600},
    [DRY_RUN] = {NACRE_FLAG_SWITCH("dry-run", AT(dry_run),
                                   "measure and print, and write no table")},
    [JSON] = {NACRE_FLAG_JSON(AT(json))},
    [QUIET] = {NACRE_FLAG_SWITCH("quiet", AT(quiet), "no progress")},
};
static const tune defaults = {.seconds = 10};

const nacre_cli_syntax nacre_cli_tune_syntax = {
    .command = "tune",
    .arguments = "[NETWORK|RUN|FILE...]",
    .summary = "Find out how products run fastest here, and keep it for later runs.",
    .details =
        "A network is a workload of nacre bench or a recipe; none: all workloads. Its training "
        "step\n"
        "runs for the given time while each product in it tries one way after the other. Results\n"
        "have the same bits in all ways. Ways that beat the rules by 3 % and more are put to the\n"
        "test: where the whole step becomes faster by 1 % and by more than it differs from run to\n"
        "run, they are written to the table of this kind of CPU, which every later run of the\n"
        "program reads. Else the table stays as it was. Ctrl-C keeps the networks that are done.\n",
    .options = options,
    .count = sizeof options / sizeof *options,
    .defaults = &defaults,
    .most_arguments = -1,
};

/* ---- the command ---- */

/* A table that is there must be good, and there must be a place for the new one: told before any work. */
static nacre_status open_table(bool dry_run) {
    nacre_status status = nacre_tuning_load(NULL);
    if (status == NACRE_NOT_FOUND) {
        nacre_error_clear();
        status = NACRE_OK;
    }
    return status == NACRE_OK && !dry_run ? nacre_tuning_check_place() : status;
}

/* What a run of the command has so far. With --json all is printed at its end. */
typedef struct session {
    const tune *values;
    nacre_cli_progress progress;
    nacre_text json;
    int done;
} session;

static int tune_one(session *all, const char *name) {
    static nacre_cli_findings findings; /* too large for a small stack */
    nacre_cli_subject subject;
    int code = nacre_cli_subject_find(name, all->values->batch_size, NULL, &subject);
    if (code != 0) {
        return code;
    }
    if (nacre_cli_tune_subject(&subject, all->values->seconds, &all->progress, &findings) !=
        NACRE_OK) {
        return nacre_cli_library_error();
    }
    /* At once: what is verified is kept whatever becomes of the rest. */
    if (findings.verdict == NACRE_CLI_TUNE_KEPT && !all->values->dry_run &&
        nacre_tuning_save(NULL) != NACRE_OK) {
        return nacre_cli_library_error();
    }
    nacre_text text = {0};
    if (all->values->json) {
        nacre_text_append(&all->json, all->done ? "," : "");
        nacre_cli_tune_append(&subject, &findings, true, &all->json);
    } else {
        nacre_cli_tune_append(&subject, &findings, false, &text);
    }
    all->done++;
    return all->values->json ? NACRE_CLI_DONE : nacre_cli_print(&text);
}

static int print_end(session *all) {
    char path[NACRE_TUNING_PATH_BYTES];
    size_t count = nacre_tuning_count();
    nacre_tuning_path(path);
    bool there = access(path, F_OK) == 0;
    nacre_text text = {0};
    if (all->values->json) {
        nacre_text_append(&all->json, "],\"entries\":%zu,\"file\":", count);
        nacre_text_append_json(&all->json, all->values->dry_run || !there ? "" : path);
        nacre_text_append(&all->json, "}\n");
        return nacre_cli_print(&all->json);
    }
    if (all->values->dry_run) {
        nacre_text_append(&text, "nothing was written (--dry-run)\n");
    } else if (!there) {
        nacre_text_append(&text, "no table was written: there is nothing to keep\n");
    } else {
        nacre_text_append(&text, "%s: %zu product%s\n", path, count, nacre_cli_plural(count));
    }
    return nacre_cli_print(&text);
}

static int tune_all(const char *const *names, int count, const tune *values) {
    session all = {.values = values};
    int code = NACRE_CLI_DONE;
    nacre_cli_progress_begin(&all.progress, &(nacre_cli_progress_options){.quiet = values->quiet});
    if (values->json) {
        nacre_text_append(&all.json, "{\"isa\":\"%s\",\"threads\":%d,\"networks\":[", nacre_isa(),
                          nacre_threads());
    }
    for (int i = 0; i < count && code == NACRE_CLI_DONE && !nacre_cli_signal(); i++) {
        code = tune_one(&all, names[i]);
    }
    /* Results of networks before the one that failed are results. */
    int printed = code == NACRE_CLI_DONE || all.done ? print_end(&all) : NACRE_CLI_DONE;
    nacre_text_free(&all.json);
    if (code == NACRE_CLI_DONE && nacre_cli_signal()) {
        code = 128 + nacre_cli_signal();
    }
    return printed != NACRE_CLI_DONE ? printed : code;
}

/* What is measured is a whole step as later runs plan it. */
static int check_plans(void) {
    if (!nacre_cli_has_plan()) {
        return nacre_cli_error("NACRE_EAGER=1 runs each operation as it is called: there is no "
                               "whole step to time; unset it");
    }
    if (!nacre_fusion_enabled()) {
        return nacre_cli_error("NACRE_FUSE=0 makes each operation a step of its own: what is found "
                               "would not hold for the plans of later runs; unset it");
    }
    return NACRE_CLI_DONE;
}

static int run(const nacre_cli_given *given, const tune *values) {
    enum { MOST_NAMES = 64 };
    const char *names[MOST_NAMES];
    int count = given->count;
    if (count > MOST_NAMES) {
        return nacre_cli_usage("%d networks are too many at once, at most %d", count, MOST_NAMES);
    }
    for (int i = 0; i < count; i++) {
        nacre_cli_subject s;
        int code = nacre_cli_subject_find(given->arguments[i], values->batch_size, NULL, &s);
        if (code != 0) {
            return code;
        }
        names[i] = given->arguments[i];
    }
    for (size_t i = 0; given->count == 0 && i < nacre_cli_workload_count; i++) {
        names[count++] = nacre_cli_workloads[i].name;
    }
    int planned = check_plans();
    if (planned != NACRE_CLI_DONE) {
        return planned;
    }
    if (nacre_cli_apply(given->option[THREADS] ? values->threads : -1, NACRE_CLI_BACKEND_CPU) !=
            NACRE_OK ||
        open_table(values->dry_run) != NACRE_OK) {
        return nacre_cli_library_error();
    }
    nacre_cli_signals_hold();
    return tune_all(names, count, values);
}

int nacre_cli_tune(int argc, char **argv) {
    tune values = defaults;
    nacre_cli_given given;
    if (!nacre_cli_parse(&nacre_cli_tune_syntax, argc, argv, &values, &given)) {
        return NACRE_CLI_USAGE;
    }
    if (given.help) {
        return nacre_cli_print_help(&nacre_cli_tune_syntax);
    }
    return run(&given, &values);
}
