/* The experiments' own programs. Each compares ways to do the same work in one process, in turn (A B A B), checks that
   all of them give the same, and prints one JSON object. */
#ifndef NACRE_BENCH_EXPERIMENTS_H
#define NACRE_BENCH_EXPERIMENTS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct experiment {
    const char *workload;
    int64_t batch; /* 0: the workload's own */
    double seconds;
    bool check; /* compare results, time nothing */
} experiment;

/* Each returns the exit code: 1 where results differ, with the reason on stderr. */
int experiment_steps(const experiment *e);   /* a whole training step, updates in four ways */
int experiment_updates(const experiment *e); /* the updates of a network's parameters alone */
int experiment_epilogue(
    const experiment *e); /* weight gradient and update, block by block or one after the other */
int experiment_loops(const experiment *e); /* dot, sum, mean, zeros and products as plain loops */

/* The least and the middle of times in microseconds, which it sorts; fewer than one: 0. */
typedef struct experiment_times {
    double *us;
    int count, room;
} experiment_times;
void experiment_note(experiment_times *times, uint64_t begin_ns);
double experiment_least(experiment_times *times);
double experiment_middle(experiment_times *times);
void experiment_times_free(experiment_times *times);

/* Prints "experiments: what: the library's message"; 1. */
int experiment_fail(const char *what);

#endif
