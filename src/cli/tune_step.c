/* Ways of products tried in a training step, and the whole step by the table before and after. */
#include "base/clock.h"
#include "base/error.h"
#include "cli/bench.h"
#include "cli/signals.h"
#include "cli/tune.h"

#include <math.h>
#include <nacre/system.h>
#include <stdlib.h>
#include <string.h>

/* Turns of each table; one's figure is the better quarter of its last steps. */
enum { TURNS = 8, KEPT_STEPS = 1 << 12 };
/* Faster by less is not worth an entry that stays, however steady the machine. */
static const double least_margin = 0.01;

bool nacre_cli_tune_decided(const nacre_tune_result *product) {
    return product->rounds >= NACRE_TUNE_LEAST_ROUNDS;
}

size_t nacre_cli_tune_undecided(const nacre_cli_findings *findings) {
    size_t undecided = 0;
    for (size_t i = 0; i < findings->count; i++) {
        undecided += !nacre_cli_tune_decided(&findings->product[i]);
    }
    return undecided;
}

/* Steps for a time, at least one; times may be NULL. */
static nacre_status run_for(nacre_cli_subject *s, double seconds, nacre_cli_progress *progress,
                            nacre_cli_times *times) {
    uint64_t end = nacre_clock_ns() + (uint64_t)(seconds * 1e9), now;
    nacre_status status;
    do {
        uint64_t begin = nacre_clock_ns();
        status = nacre_cli_subject_step(s);
        now = nacre_clock_ns();
        if (times) {
            nacre_cli_times_add(times, begin, now);
        }
        nacre_cli_progress_tick(progress);
    } while (status == NACRE_OK && now < end && !nacre_cli_signal());
    return status;
}

static nacre_status try_ways(nacre_cli_subject *s, double seconds, nacre_cli_progress *progress,
                             nacre_cli_findings *f) {
    nacre_status status = nacre_tune_begin();
    if (status != NACRE_OK) {
        return status;
    }
    nacre_cli_progress_work(progress, s->name, "trying ways of its products", seconds);
    status = run_for(s, seconds, progress, NULL);
    f->count = nacre_tune_count();
    for (size_t i = 0; i < f->count; i++) {
        f->product[i] = nacre_tune_result_at(i);
    }
    nacre_status ended = nacre_tune_end();
    return status != NACRE_OK ? status : ended;
}

/* ---- the whole step ---- */

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

/* Microseconds of a step in one turn of a table. */
static nacre_status take_turn(nacre_cli_subject *s, double seconds, const nacre_tuning_table *table,
                              nacre_cli_progress *progress, nacre_cli_times *times, double *out) {
    nacre_status status = use_copy(table);
    status = status ? status : run_for(s, 0, progress, NULL); /* plans */
    times->added = 0;
    status = status ? status : run_for(s, seconds, progress, times);
    nacre_cli_times_sort(times);
    *out = nacre_cli_times_at(times, 0.25);
    return status;
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double sorted[TURNS]) {
    return (sorted[TURNS / 2 - 1] + sorted[TURNS / 2]) / 2;
}

/* Turns of one table differ by what the machine does meanwhile. Of normal noise, the medians of eight turns each are
   farther apart than one table's second and seventh turn, in favour of the other, in 1 of 70 comparisons. */
static void judge(double turns[2][TURNS], nacre_cli_findings *f) {
    for (int i = 0; i < 2; i++) {
        qsort(turns[i], TURNS, sizeof *turns[i], compare_doubles);
    }
    f->before = median(turns[0]);
    f->after = median(turns[1]);
    double spread = turns[0][TURNS - 2] - turns[0][1];
    f->margin = fmax(least_margin, spread / f->before);
    f->verdict =
        f->after < f->before * (1 - f->margin) ? NACRE_CLI_TUNE_KEPT : NACRE_CLI_TUNE_NOT_FASTER;
    f->compared = true;
}

static nacre_status compare(nacre_cli_subject *s, double seconds,
                            const nacre_tuning_table *const table[2], nacre_cli_progress *progress,
                            nacre_cli_findings *f) {
    double turns[2][TURNS];
    nacre_cli_times times;
    if (!nacre_cli_times_make(&times, KEPT_STEPS)) {
        return NACRE_OUT_OF_MEMORY;
    }
    nacre_cli_progress_work(progress, s->name, "timing the whole step before and after", seconds);
    nacre_status status = NACRE_OK;
    for (int turn = 0; turn < 2 * TURNS && status == NACRE_OK && !nacre_cli_signal(); turn++) {
        int which = (turn + turn / 2) % 2; /* A B B A: a machine that slows down slows both */
        status = take_turn(s, seconds / (2 * TURNS), table[which], progress, &times,
                           &turns[which][turn / 2]);
    }
    nacre_cli_times_free(&times);
    if (status == NACRE_OK && !nacre_cli_signal()) {
        judge(turns, f);
    }
    return status;
}

static bool same_table(const nacre_tuning_table *a, const nacre_tuning_table *b) {
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) {
        const nacre_tuning_entry *x = &a->entries[i], *y = &b->entries[i];
        same = memcmp(&x->key, &y->key, sizeof x->key) == 0 && x->choice.way == y->choice.way &&
               x->choice.pack_a == y->choice.pack_a && x->choice.pack_b == y->choice.pack_b &&
               x->choice.task == y->choice.task && x->choice.sweep == y->choice.sweep;
    }
    return same;
}

/* What the ways that were found make of the step. In force is `before` unless it became faster. */
static nacre_status verify(nacre_cli_subject *s, double seconds, const nacre_tuning_table *before,
                           nacre_cli_progress *progress, nacre_cli_findings *f) {
    nacre_tuning_table after = {0};
    nacre_status status = nacre_tuning_copy(&after);
    if (status == NACRE_OK && same_table(before, &after)) {
        f->verdict =
            nacre_cli_tune_undecided(f) ? NACRE_CLI_TUNE_TOO_LITTLE : NACRE_CLI_TUNE_NOTHING;
    } else if (status == NACRE_OK) {
        const nacre_tuning_table *const table[] = {before, &after};
        status = compare(s, seconds, table, progress, f);
    }
    bool kept = f->verdict == NACRE_CLI_TUNE_KEPT;
    nacre_status put_back = use_copy(kept ? &after : before);
    nacre_tuning_free(&after);
    return status != NACRE_OK ? status : put_back;
}

/* Two thirds of the time to try, one to see what it comes to. */
static nacre_status measure(nacre_cli_subject *s, double seconds, nacre_cli_progress *progress,
                            nacre_cli_findings *f) {
    nacre_tuning_table before;
    nacre_status status = nacre_tuning_copy(&before);
    if (status != NACRE_OK) {
        return status;
    }
    status = try_ways(s, seconds * 2 / 3, progress, f);
    if (status == NACRE_OK && !nacre_cli_signal()) {
        status = verify(s, seconds / 3, &before, progress, f);
    } else {
        nacre_status put_back = use_copy(&before);
        status = status != NACRE_OK ? status : put_back;
    }
    nacre_tuning_free(&before);
    return status;
}

nacre_status nacre_cli_tune_subject(nacre_cli_subject *subject, double seconds,
                                    nacre_cli_progress *progress, nacre_cli_findings *out) {
    memset(out, 0, sizeof *out);
    out->verdict = NACRE_CLI_TUNE_INTERRUPTED;
    nacre_status status = nacre_cli_subject_make(subject, true);
    if (status == NACRE_OK) {
        nacre_cli_signals_cancel(true); /* a step may take long */
        status = measure(subject, seconds, progress, out);
        nacre_cli_signals_cancel(false);
    }
    nacre_cli_progress_clear();
    nacre_cli_subject_release(subject);
    if (status == NACRE_CANCELLED && nacre_cli_signal()) {
        nacre_error_clear();
        status = NACRE_OK;
    }
    return status;
}
