/* experiments NAME [WORKLOAD] [--batch-size N] [--seconds S] [--threads N]
   experiments --check          all of them: equal results, no times */
#include "experiments.h"

#include "base/clock.h"

#include <nacre/nacre.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEAST_TIMES = 64, MOST_TIMES = 1 << 20 };

int experiment_fail(const char *what) {
    fprintf(stderr, "experiments: %s: %s\n", what, nacre_error_message());
    return 1;
}

void experiment_note(experiment_times *times, uint64_t begin_ns) {
    double us = (double)(nacre_clock_ns() - begin_ns) * 1e-3;
    if (times->count == times->room && times->room < MOST_TIMES) {
        int room = times->room ? 2 * times->room : LEAST_TIMES;
        double *more = realloc(times->us, (size_t)room * sizeof *more);
        if (more) {
            times->us = more;
            times->room = room;
        }
    }
    if (times->count < times->room) {
        times->us[times->count++] = us;
    }
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double at_share(experiment_times *times, double share) {
    if (times->count < 1) {
        return 0;
    }
    qsort(times->us, (size_t)times->count, sizeof *times->us, by_size);
    return times->us[(int)(share * (times->count - 1))];
}

double experiment_least(experiment_times *times) { return at_share(times, 0); }
double experiment_middle(experiment_times *times) { return at_share(times, 0.5); }

void experiment_times_free(experiment_times *times) {
    free(times->us);
    *times = (experiment_times){0};
}

static const struct {
    const char *name;
    int (*run)(const experiment *e);
} experiments[] = {{"steps", experiment_steps},
                   {"updates", experiment_updates},
                   {"epilogue", experiment_epilogue},
                   {"loops", experiment_loops}};
enum { EXPERIMENTS = sizeof experiments / sizeof experiments[0] };

static int check_all(void) {
    experiment e = {.workload = "mlp", .batch = 32, .check = true};
    int failed = 0;
    for (int i = 0; i < EXPERIMENTS; i++) {
        failed |= experiments[i].run(&e);
    }
    return failed;
}

static int usage(void) {
    fprintf(stderr, "usage: experiments --check | steps|updates|epilogue|loops [WORKLOAD] "
                    "[--batch-size N] [--seconds S] [--threads N]\n");
    return 2;
}

int main(int argc, char **argv) {
    experiment e = {.workload = "mlp", .seconds = 1};
    int threads = 1, chosen = -1;
    if (argc == 2 && strcmp(argv[1], "--check") == 0) {
        return check_all();
    }
    for (int i = 0; argc > 1 && i < EXPERIMENTS; i++) {
        chosen = strcmp(argv[1], experiments[i].name) == 0 ? i : chosen;
    }
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--batch-size") == 0 && i + 1 < argc) {
            e.batch = strtoll(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc) {
            e.seconds = strtod(argv[++i], NULL);
        } else if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc) {
            threads = atoi(argv[++i]);
        } else if (argv[i][0] != '-') {
            e.workload = argv[i];
        } else {
            return usage();
        }
    }
    if (chosen < 0 || e.batch < 0 || e.batch > 4096 || !(e.seconds > 0 && e.seconds < 3600)) {
        return usage();
    }
    if (nacre_set_threads(threads) != NACRE_OK) {
        return experiment_fail("--threads");
    }
    return experiments[chosen].run(&e);
}
