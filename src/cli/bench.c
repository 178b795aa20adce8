/* nacre bench: how long a training step takes, beside what the machine could do. */
#include "base/clock.h"
#include "base/memory.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/peak.h"
#include "cli/signals.h"
#include "cli/synthetic.h"

#include <inttypes.h>
#include <math.h>
#include <nacre/system.h>
#include <stdlib.h>

typedef struct bench {
    int64_t batch_size, threads;
    double seconds;
    const char *trace;
    bool json;
} bench;

#define AT(member) offsetof(bench, member)
enum { BATCH_SIZE, THREADS, SECONDS, TRACE, JSON };
static const nacre_cli_option options[] = {
    [BATCH_SIZE] = {.name = "batch-size",
                    .kind = NACRE_CLI_INTEGER,
                    .offset = AT(batch_size),
                    .value = "N",
                    .help = "samples of a step",
                    .least = 1,
                    .most = NACRE_CLI_MOST_SYNTHETIC},
    [THREADS] = {.name = "threads",
                 .kind = NACRE_CLI_INTEGER,
                 .offset = AT(threads),
                 .value = "N",
                 .help = "threads; 0: as many as there are CPUs",
                 .least = 0,
                 .most = 1024},
    [SECONDS] = {.name = "seconds",
                 .kind = NACRE_CLI_REAL,
                 .offset = AT(seconds),
                 .value = "X",
                 .help = "how long to measure",
                 .low = 0,
                 .high = 3600},
    [TRACE] = {.name = "trace",
               .kind = NACRE_CLI_STRING,
               .offset = AT(trace),
               .value = "FILE",
               .help = "write a Chrome trace of the last steps: chrome://tracing"},
    [JSON] = {.name = "json",
              .kind = NACRE_CLI_SWITCH,
              .offset = AT(json),
              .help = "one JSON object on stdout"},
};
static const bench defaults = {.batch_size = 64, .seconds = 2};

const nacre_cli_syntax nacre_cli_bench_syntax = {
    .command = "bench",
    .arguments = "WORKLOAD",
    .summary = "Time a training step: forward, loss, backward, update. Workloads: mlp, lenet.",
    .details =
        "The batch lies in memory. The machine's peak (fused multiply-adds without memory, same\n"
        "threads and kernel level) is measured between the steps, since it moves.\n",
    .options = options,
    .count = sizeof options / sizeof *options,
    .defaults = &defaults,
    .most_arguments = 1,
};

/* Slices of the time; the peak is measured after each. */
enum { SLICES = 10, LEAST_STEPS = 10, MOST_STEPS = 1 << 20 };

typedef struct measurement {
    float *microseconds; /* [MOST_STEPS] */
    size_t count;
    double least, median, flops, peak_gflops;
} measurement;

static int compare_floats(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static nacre_status run_slice(nacre_cli_synthetic *synthetic, double seconds, measurement *m) {
    uint64_t end = nacre_clock_ns() + (uint64_t)(seconds * 1e9);
    size_t taken = 0;
    while (m->count < MOST_STEPS && !nacre_cli_signal() &&
           (nacre_clock_ns() < end || taken < LEAST_STEPS / SLICES)) {
        uint64_t begin = nacre_clock_ns();
        nacre_status status = nacre_cli_synthetic_step(synthetic);
        if (status != NACRE_OK) {
            return status;
        }
        m->microseconds[m->count++] = (float)((double)(nacre_clock_ns() - begin) * 1e-3);
        taken++;
    }
    return NACRE_OK;
}

static nacre_status measure(nacre_cli_synthetic *synthetic, double seconds, measurement *m) {
    enum { WARM_UP = 3 };
    nacre_explanation *explanation = nacre_cli_synthetic_explain(synthetic);
    if (!explanation) {
        return nacre_error_code();
    }
    m->flops = explanation->flops;
    nacre_explanation_free(explanation);
    nacre_status status = NACRE_OK;
    for (int i = 0; status == NACRE_OK && i < WARM_UP; i++) {
        status = nacre_cli_synthetic_step(synthetic);
    }
    for (int i = 0; status == NACRE_OK && i < SLICES; i++) {
        status = run_slice(synthetic, seconds / SLICES, m);
        m->peak_gflops = fmax(m->peak_gflops, nacre_cli_peak_gflops());
    }
    if (status == NACRE_OK && m->count > 0) { /* else interrupted */
        qsort(m->microseconds, m->count, sizeof *m->microseconds, compare_floats);
        m->least = m->microseconds[0];
        m->median = m->microseconds[m->count / 2];
    }
    return status;
}

/* A trace is slower by what it writes down: the figures are those of a traced step. */
static nacre_status measure_traced(nacre_cli_synthetic *synthetic, const bench *values,
                                   measurement *m) {
    if (!values->trace) {
        return measure(synthetic, values->seconds, m);
    }
    nacre_status status = nacre_trace_begin(values->trace);
    if (status == NACRE_OK) {
        status = measure(synthetic, values->seconds, m);
        nacre_status written = nacre_trace_end();
        status = status == NACRE_OK ? written : status;
    }
    return status;
}

static int print_measurement(const nacre_cli_recipe *recipe, const bench *values,
                             const measurement *m) {
    nacre_text text = {0};
    double gflops = m->flops / m->least * 1e-3;
    if (values->json) {
        nacre_text_append(&text,
                          "{\"workload\":\"%s\",\"batch\":%" PRId64
                          ",\"threads\":%d,\"us_min\":%.3f,\"us_median\":%.3f,\"flops\":"
                          "%.0f,\"peak_gflops\":%.2f}\n",
                          recipe->workload, values->batch_size, nacre_threads(), m->least,
                          m->median, m->flops, m->peak_gflops);
    } else {
        nacre_text_append(&text,
                          "%s, batch %" PRId64 ", %d threads, %s: %zu steps\n"
                          "time of a step   %.1f us at best, %.1f us median\n"
                          "work of a step   %.2f MFLOP: %.1f GFLOP/s at best\n"
                          "machine's peak   %.1f GFLOP/s: %.0f %% of it reached\n",
                          recipe->workload, values->batch_size, nacre_threads(), nacre_isa(),
                          m->count, m->least, m->median, m->flops * 1e-6, gflops, m->peak_gflops,
                          100 * gflops / m->peak_gflops);
    }
    return nacre_cli_print(&text);
}

static int run_bench(const nacre_cli_recipe *recipe, const bench *values) {
    nacre_cli_synthetic synthetic = {0};
    measurement m = {.microseconds = nacre_alloc(MOST_STEPS * sizeof(float))};
    nacre_status status = m.microseconds ? NACRE_OK : NACRE_OUT_OF_MEMORY;
    if (status == NACRE_OK) {
        status = nacre_cli_synthetic_make(recipe, values->batch_size, &synthetic);
    }
    if (status == NACRE_OK) {
        status = measure_traced(&synthetic, values, &m);
    }
    if (status == NACRE_OK && nacre_cli_signal()) {
        nacre_cli_error("interrupted: nothing was printed");
        nacre_cli_synthetic_free(&synthetic);
        nacre_free(m.microseconds);
        return 128 + nacre_cli_signal();
    }
    int code =
        status == NACRE_OK ? print_measurement(recipe, values, &m) : nacre_cli_library_error();
    nacre_cli_synthetic_free(&synthetic);
    nacre_free(m.microseconds);
    return code;
}

int nacre_cli_bench(int argc, char **argv) {
    bench values = defaults;
    nacre_cli_given given;
    if (!nacre_cli_parse(&nacre_cli_bench_syntax, argc, argv, &values, &given)) {
        return NACRE_CLI_USAGE;
    }
    if (given.help) {
        return nacre_cli_print_help(&nacre_cli_bench_syntax);
    }
    if (given.count == 0) {
        return nacre_cli_usage("no workload given; give one: %s", nacre_cli_workload_list());
    }
    const nacre_cli_recipe *recipe = nacre_cli_workload_named(given.arguments[0]);
    if (!recipe) {
        return NACRE_CLI_USAGE;
    }
    if (nacre_cli_apply(given.option[THREADS] ? values.threads : -1, NACRE_CLI_BACKEND_CPU) !=
        NACRE_OK) {
        return nacre_cli_library_error();
    }
    nacre_cli_signals_hold();
    return run_bench(recipe, &values);
}
