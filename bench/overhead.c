/* Where time goes beside arithmetic, as one JSON object:

       overhead [--batch-size N] [--seconds S]

   Of an mlp's training step on one thread, how often it allocates, and what is not the replay of its plan: recording
   the operations, hashing them, finding the plan, binding its arguments, storing its results, freeing the records. A
   trace tells how long each replay takes. And, where there are two CPUs, how long a region of two threads takes to
   reach the second one: while it spins, and from where it has parked; beside what a line of memory takes from one CPU
   to the other. */
#define _POSIX_C_SOURCE 200809L /* nanosleep */

#include "base/clock.h"
#include "base/cpu.h"
#include "base/pool.h"
#include "base/trace.h"

#include <nacre/nacre.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The program's own workloads: one source, not in the library. */
#include "cli/workloads.c"

enum { WARM_UP = 20, MOST_TIMES = 1 << 16, HAND_OFFS = 400, LONGEST_WAIT_NS = 10000000 };
/* Between two regions: less than a worker spins, more than it does. */
enum { SPINNING_GAP_NS = 3000, PARKED_GAP_NS = 1000000 };

typedef struct times {
    double us[MOST_TIMES];
    size_t count;
} times;

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void add(times *t, uint64_t ns) {
    if (t->count < MOST_TIMES) t->us[t->count++] = (double)ns * 1e-3;
}

/* ",\"key_min\": ..., \"key_median\": ..."; sorts. */
static void print_times(const char *key, times *t) {
    if (t->count == 0) {
        printf(", \"%s_min\": null, \"%s_median\": null", key, key);
        return;
    }
    qsort(t->us, t->count, sizeof *t->us, compare);
    printf(", \"%s_min\": %.3f, \"%s_median\": %.3f", key, t->us[0], key, t->us[t->count / 2]);
}

/* ---- a step ---- */

static times plain_steps, outside;
static uint64_t most_allocations; /* of a plain step */

static nacre_status timed_step(nacre_cli_job *job, uint64_t *ns) {
    uint64_t begin = nacre_clock_ns();
    nacre_status status = nacre_cli_job_run(job, NACRE_CLI_STEP, NULL);
    *ns = nacre_clock_ns() - begin;
    return status;
}

static nacre_status plain_step(nacre_cli_job *job) {
    uint64_t ns, before = nacre_memory().allocations;
    nacre_status status = timed_step(job, &ns);
    uint64_t allocations = nacre_memory().allocations - before;
    most_allocations = allocations > most_allocations ? allocations : most_allocations;
    add(&plain_steps, ns);
    return status;
}

static uint64_t replayed_ns(void) {
    uint64_t sum = 0;
    for (size_t i = 0; i < nacre_trace_count(); i++) {
        const nacre_trace_event *event = nacre_trace_event_at(i);
        sum += event->kind == NACRE_TRACE_REPLAY ? event->end - event->begin : 0;
    }
    return sum;
}

/* Untraced and traced steps in turn, so that both see the same machine. */
static nacre_status measure_steps(nacre_cli_job *job, double seconds) {
    uint64_t ns, end = nacre_clock_ns() + (uint64_t)(seconds * 1e9);
    nacre_status status = NACRE_OK;
    for (int i = 0; status == NACRE_OK && i < WARM_UP; i++) status = timed_step(job, &ns);
    do { /* once at least, however slow the machine */
        status = status ? status : plain_step(job);
        status = status ? status : nacre_trace_start();
        for (int i = 0; status == NACRE_OK && i < WARM_UP; i++) {
            nacre_trace_rewind();
            status = timed_step(job, &ns);
            if (i > 0) add(&outside, ns - replayed_ns()); /* the first one names the steps */
        }
        nacre_trace_stop();
        for (int i = 0; status == NACRE_OK && i < WARM_UP; i++) status = plain_step(job);
    } while (status == NACRE_OK && nacre_clock_ns() < end);
    return status;
}

/* ---- the hand-off ---- */

static _Thread_local bool is_caller;
static _Atomic uint64_t arrival; /* of the other thread; 0: not yet */

/* The caller stays in its task until the other thread has come, so that it leaves a task for it. */
static void meet(void *context, size_t index) {
    (void)context;
    (void)index;
    uint64_t begin = nacre_clock_ns();
    if (!is_caller) {
        atomic_store(&arrival, begin);
        return;
    }
    while (!atomic_load(&arrival) && nacre_clock_ns() - begin < LONGEST_WAIT_NS) {
    }
}

static void pass_time(uint64_t gap_ns) {
    if (gap_ns >= PARKED_GAP_NS) {
        nanosleep(&(struct timespec){.tv_nsec = (long)gap_ns}, NULL);
        return;
    }
    uint64_t begin = nacre_clock_ns();
    while (nacre_clock_ns() - begin < gap_ns) {
    }
}

static void measure_hand_off(times *t, uint64_t gap_ns) {
    for (int i = 0; i < HAND_OFFS; i++) {
        pass_time(gap_ns);
        atomic_store(&arrival, 0);
        uint64_t begin = nacre_clock_ns();
        nacre_parallel(2, meet, NULL);
        uint64_t came = atomic_load(&arrival);
        if (came) add(t, came - begin);
    }
}

/* Two threads that pass a word to and fro: what the machine itself takes to bring a line to the other CPU. */
enum { PASSES = 200, PLAYS = 50 };
static _Atomic int ball;

static void play(void *context, size_t index) {
    (void)index;
    uint64_t begin = nacre_clock_ns();
    for (int i = is_caller ? 0 : 1; i < 2 * PASSES; i += 2) {
        while (atomic_load_explicit(&ball, memory_order_acquire) != i) {
            if (nacre_clock_ns() - begin > LONGEST_WAIT_NS) return; /* nobody plays */
        }
        atomic_store_explicit(&ball, i + 1, memory_order_release);
    }
    if (is_caller) add(context, (nacre_clock_ns() - begin) / (2 * PASSES));
}

static void measure_line(times *t) {
    for (int i = 0; i < PLAYS; i++) {
        atomic_store(&ball, 0);
        nacre_parallel(2, play, t);
    }
}

/* ---- the program ---- */

static times spinning, parked, line;

static nacre_status measure(nacre_cli_job *job, int64_t batch, double seconds) {
    nacre_status status = nacre_set_threads(1);
    status = status ? status : nacre_cli_job_make(nacre_cli_find_workload("mlp"), batch, 1, job);
    status = status ? status : measure_steps(job, seconds);
    if (status != NACRE_OK || nacre_usable_cpus() == 1) return status;
    is_caller = true;
    status = nacre_set_threads(2);
    if (status != NACRE_OK) return status;
    measure_hand_off(&spinning, SPINNING_GAP_NS);
    measure_hand_off(&parked, PARKED_GAP_NS);
    measure_line(&line);
    return NACRE_OK;
}

static int run(int64_t batch, double seconds) {
    nacre_cli_job job = {0};
    nacre_status status = measure(&job, batch, seconds);
    nacre_cli_job_free(&job);
    if (status != NACRE_OK) {
        fprintf(stderr, "overhead: %s\n", nacre_error_message());
        return 1;
    }
    printf("{\"workload\": \"mlp\", \"batch\": %lld, \"steps\": %zu, \"allocations\": %llu",
           (long long)batch, plain_steps.count, (unsigned long long)most_allocations);
    print_times("us_step", &plain_steps);
    print_times("us_outside", &outside);
    print_times("us_hand_off_spinning", &spinning);
    print_times("us_hand_off_parked", &parked);
    print_times("us_line", &line);
    printf("}\n");
    return 0;
}

int main(int argc, char **argv) {
    int64_t batch = 32;
    double seconds = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--batch-size") == 0 && i + 1 < argc) {
            batch = atoll(argv[++i]);
        } else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc) {
            seconds = atof(argv[++i]);
        } else {
            batch = 0;
        }
    }
    if (batch < 1 || batch > NACRE_CLI_MOST_SAMPLES || !(seconds > 0 && seconds < 3600)) {
        fprintf(stderr, "usage: overhead [--batch-size 1..%d] [--seconds S]\n",
                NACRE_CLI_MOST_SAMPLES);
        return 2;
    }
    return run(batch, seconds);
}
