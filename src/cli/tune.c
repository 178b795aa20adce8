/* nacre tune: which way products of a network's training step run fastest on this machine. */
#include "backend/cpu/tune.h"

#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/output.h"
#include "cli/signals.h"
#include "cli/subject.h"
#include "io/tuning.h"

#include <inttypes.h>
#include <nacre/system.h>
#include <string.h>

typedef struct tune {
    int64_t batch_size, threads;
    double seconds;
    bool dry_run, json;
} tune;

#define AT(member) offsetof(tune, member)
enum { BATCH_SIZE, THREADS, SECONDS, DRY_RUN, JSON };
static const nacre_cli_option options[] = {
    [BATCH_SIZE] = {NACRE_FLAG_BATCH_SIZE(AT(batch_size))},
    [THREADS] = {NACRE_FLAG_THREADS(AT(threads))},
    [SECONDS] = {.name = "seconds",
                 .kind = NACRE_CLI_REAL,
                 .offset = AT(seconds),
                 .value = "X",
                 .help = "how long to measure each network",
                 .low = 0,
                 .high = 3600},
    [DRY_RUN] = {NACRE_FLAG_SWITCH("dry-run", AT(dry_run),
                                   "measure and print, and write no table")},
    [JSON] = {NACRE_FLAG_JSON(AT(json))},
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
        "have the same bits in all ways. What is faster than the rules by 3 % and more is written\n"
        "to the table of this kind of CPU, which every later run of the program reads. A step "
        "that\n"
        "became no faster as a whole leaves the table as it was. Ctrl-C keeps what was found.\n",
    .options = options,
    .count = sizeof options / sizeof *options,
    .defaults = &defaults,
    .most_arguments = -1,
};

/* Steps for a time, at least one; times may be NULL. */
static nacre_status run_for(nacre_cli_subject *s, double seconds, nacre_cli_times *times) {
    uint64_t end = nacre_clock_ns() + (uint64_t)(seconds * 1e9), now;
    nacre_status status;
    do {
        uint64_t begin = nacre_clock_ns();
        status = nacre_cli_subject_step(s);
        now = nacre_clock_ns();
        if (times) {
            nacre_cli_times_add(times, begin, now);
        }
    } while (status == NACRE_OK && now < end && !nacre_cli_signal());
    return status;
}

/* ---- what is found ---- */

enum { MOST_FOUND = 512, KEPT_STEPS = 1 << 14, TURNS = 8 };

typedef struct findings {
    nacre_tune_result product[MOST_FOUND];
    size_t count;
    bool compared;        /* the whole step, because anything was found and no signal came */
    bool kept;            /* the step became faster, or was not compared */
    double before, after; /* microseconds of a step */
} findings;

static nacre_status try_ways(nacre_cli_subject *s, double seconds, findings *f) {
    nacre_status status = nacre_tune_begin();
    if (status != NACRE_OK) {
        return status;
    }
    status = run_for(s, seconds, NULL);
    f->count = nacre_tune_count();
    for (size_t i = 0; i < f->count; i++) {
        f->product[i] = nacre_tune_result_at(i);
    }
    nacre_status ended = nacre_tune_end();
    return status != NACRE_OK ? status : ended;
}

/* Plans anew by the table, which stays the caller's. */
static nacre_status use_copy(const nacre_tuning_table *table) {
    nacre_tuning_table copy;
    nacre_status status = nacre_tuning_clone(table, &copy);
    if (status == NACRE_OK) {
        nacre_tuning_use(&copy);
        nacre_plan_cache_clear();
    }
    return status;
}

static nacre_status take_turns(nacre_cli_subject *s, double seconds,
                               const nacre_tuning_table *table[2], nacre_cli_times times[2]) {
    nacre_status status = NACRE_OK;
    for (int turn = 0; turn < 2 * TURNS && status == NACRE_OK && !nacre_cli_signal(); turn++) {
        int which = (turn + turn / 2) % 2; /* A B B A: a machine that slows down slows both */
        status = use_copy(table[which]);
        if (status == NACRE_OK) {
            status = run_for(s, 0, NULL); /* plans */
        }
        if (status == NACRE_OK) {
            status = run_for(s, seconds / (2 * TURNS), &times[which]);
        }
    }
    return status;
}

/* The whole step by the table before and after; the faster one stays in force. */
static nacre_status compare(nacre_cli_subject *s, double seconds, const nacre_tuning_table *before,
                            findings *f) {
    nacre_tuning_table after = {0};
    nacre_cli_times times[2] = {{0}};
    nacre_status status = nacre_tuning_copy(&after);
    if (status == NACRE_OK && (!nacre_cli_times_make(&times[0], KEPT_STEPS) ||
                               !nacre_cli_times_make(&times[1], KEPT_STEPS))) {
        status = NACRE_OUT_OF_MEMORY;
    }
    if (status == NACRE_OK) {
        const nacre_tuning_table *table[] = {before, &after};
        status = take_turns(s, seconds, table, times);
    }
    for (int i = 0; i < 2; i++) {
        nacre_cli_times_sort(&times[i]);
    }
    f->before = nacre_cli_times_at(&times[0], 0.25);
    f->after = nacre_cli_times_at(&times[1], 0.25);
    f->compared = status == NACRE_OK && !nacre_cli_signal();
    f->kept = !f->compared || f->after < f->before;
    nacre_status put_back = use_copy(f->kept ? &after : before);
    for (int i = 0; i < 2; i++) {
        nacre_cli_times_free(&times[i]);
    }
    nacre_tuning_free(&after);
    return status != NACRE_OK ? status : put_back;
}

static bool found_any(const findings *f) {
    for (size_t i = 0; i < f->count; i++) {
        if (!nacre_product_is_rule(&f->product[i].best)) {
            return true;
        }
    }
    return false;
}

/* Two thirds of the time to try, one to see what it comes to. */
static nacre_status tune_subject(nacre_cli_subject *s, double seconds, findings *f) {
    nacre_tuning_table before = {0};
    *f = (findings){.kept = true};
    nacre_status status = nacre_cli_subject_make(s, true);
    if (status == NACRE_OK) {
        status = nacre_tuning_copy(&before);
    }
    if (status == NACRE_OK) {
        status = try_ways(s, seconds * 2 / 3, f);
    }
    if (status == NACRE_OK && found_any(f) && !nacre_cli_signal()) {
        status = compare(s, seconds / 3, &before, f);
    }
    nacre_tuning_free(&before);
    nacre_cli_subject_release(s);
    return status;
}

/* ---- what is printed ---- */

/* Operands as they lie: "64x784 . 784x128^T". */
static void append_shape(const nacre_tuning_key *key, nacre_text *text) {
    if (key->batches > 1) {
        nacre_text_append(text, "%" PRId64 " x ", key->batches);
    }
    nacre_text_append(text, "%" PRId64 "x%" PRId64 "%s . %" PRId64 "x%" PRId64 "%s", key->m, key->k,
                      key->a_k == 1 ? "" : "^T", key->k, key->n, key->b_column == 1 ? "" : "^T");
}

static void append_head(const nacre_cli_subject *s, bool first, bool json, nacre_text *text) {
    if (json) {
        nacre_text_append(text, "%s{\"name\":", first ? "" : ",");
        nacre_text_append_json(text, s->name);
        nacre_text_append(text, ",\"batch\":%" PRId64 ",\"products\":[", s->batch);
    } else {
        nacre_text_append(text, "%s%s, batch %" PRId64 ", %d threads, %s\n", first ? "" : "\n",
                          s->name, s->batch, nacre_threads(), nacre_isa());
        nacre_text_append(text, "%-32s %10s %10s %6s  %s\n", "product", "rules us", "best us",
                          "gain", "best way");
    }
}

static void append_product_json(const nacre_tune_result *r, bool first, nacre_text *text) {
    nacre_text_append(
        text, "%s{\"m\":%" PRId64 ",\"n\":%" PRId64 ",\"k\":%" PRId64 ",\"batches\":%" PRId64,
        first ? "" : ",", r->key.m, r->key.n, r->key.k, r->key.batches);
    nacre_text_append(text,
                      ",\"a_transposed\":%s,\"b_transposed\":%s,\"candidates\":%d,\"rounds\":%u",
                      r->key.a_k == 1 ? "false" : "true", r->key.b_column == 1 ? "false" : "true",
                      r->candidates, r->rounds);
    nacre_cli_bench_append(text, "us_rules", r->rules_us);
    nacre_cli_bench_append(text, "us_best", r->best_us);
    nacre_text_append(text, ",\"best\":\"");
    nacre_tuning_describe(&r->best, text);
    nacre_text_append(text, "\"}");
}

static void append_product(const nacre_tune_result *r, nacre_text *text) {
    nacre_text shape = {0};
    append_shape(&r->key, &shape);
    double gain = r->rules_us > 0 ? 100 * (1 - r->best_us / r->rules_us) : 0;
    nacre_text_append(text, "%-32s %10.2f %10.2f %4.0f %%  ", shape.failed ? "" : shape.bytes,
                      r->rules_us, r->best_us, gain);
    nacre_tuning_describe(&r->best, text);
    nacre_text_append(text, "\n");
    nacre_text_free(&shape);
}

static void append_end(const findings *f, bool json, nacre_text *text) {
    if (json) {
        nacre_text_append(text, "]");
        if (f->compared) {
            nacre_cli_bench_append(text, "us_before", f->before);
            nacre_cli_bench_append(text, "us_after", f->after);
        }
        nacre_text_append(text, ",\"compared\":%s,\"kept\":%s}", f->compared ? "true" : "false",
                          f->kept ? "true" : "false");
    } else if (!f->compared) {
        nacre_text_append(text, found_any(f) ? "interrupted: the whole step was not compared\n"
                                             : "nothing tried beats the rules by 3 %%\n");
    } else {
        nacre_text_append(text, "the whole step: %.1f us before, %.1f us after%s\n", f->before,
                          f->after, f->kept ? "" : ": not worth it, the table stays as it was");
    }
}

static void append_subject(const nacre_cli_subject *s, const findings *f, bool first, bool json,
                           nacre_text *text) {
    append_head(s, first, json, text);
    for (size_t i = 0; i < f->count; i++) {
        if (json) {
            append_product_json(&f->product[i], i == 0, text);
        } else {
            append_product(&f->product[i], text);
        }
    }
    append_end(f, json, text);
}

/* ---- the command ---- */

/* A table that is there must be good, and there must be a place for the new one: told before any work. */
static nacre_status open_table(bool dry_run) {
    nacre_status status = nacre_tuning_load(NULL);
    if (status == NACRE_NOT_FOUND) {
        nacre_error_clear();
        status = NACRE_OK;
    }
    return status == NACRE_OK && !dry_run ? nacre_tuning_save(NULL) : status;
}

static int save_and_print(const tune *values, nacre_text *text) {
    char path[NACRE_TUNING_PATH_BYTES];
    nacre_tuning_path(path);
    if (!values->dry_run && nacre_tuning_save(NULL) != NACRE_OK) {
        nacre_text_free(text);
        return nacre_cli_library_error();
    }
    if (values->json) {
        nacre_text_append(text, "],\"entries\":%zu,\"file\":", nacre_tuning_count());
        nacre_text_append_json(text, values->dry_run ? "" : path);
        nacre_text_append(text, "}\n");
    } else if (values->dry_run) {
        nacre_text_append(text, "\nnothing was written (--dry-run)\n");
    } else {
        nacre_text_append(text, "\n%s: %zu products\n", path, nacre_tuning_count());
    }
    int code = nacre_cli_print(text);
    return code == NACRE_CLI_DONE && nacre_cli_signal() ? 128 + nacre_cli_signal() : code;
}

static int tune_all(const char *const *names, int count, const tune *values) {
    nacre_text text = {0};
    findings f;
    if (values->json) {
        nacre_text_append(&text, "{\"isa\":\"%s\",\"threads\":%d,\"networks\":[", nacre_isa(),
                          nacre_threads());
    }
    for (int i = 0; i < count && !nacre_cli_signal(); i++) {
        nacre_cli_subject s;
        int code = nacre_cli_subject_find(names[i], values->batch_size, NULL, &s);
        if (code == 0 && tune_subject(&s, values->seconds, &f) != NACRE_OK) {
            code = nacre_cli_library_error();
        }
        if (code != 0) { /* what was found before is kept */
            int saved = i > 0 ? save_and_print(values, &text) : 0;
            if (i == 0) nacre_text_free(&text);
            return saved ? saved : code;
        }
        append_subject(&s, &f, i == 0, values->json, &text);
    }
    return save_and_print(values, &text);
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
