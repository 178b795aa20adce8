/* nacre bench mlp ...: a step's time, its parts, its memory, and what the machine would need for it. */
#include "base/clock.h"
#include "base/error.h"
#include "base/trace.h"
#include "cli/bench.h"
#include "cli/memory_use.h"
#include "cli/need.h"
#include "cli/output.h"
#include "cli/signals.h"

#include <inttypes.h>
#include <math.h>
#include <nacre/plan.h>
#include <nacre/system.h>

/* Slices of the time; the machine is measured after each. Where a step takes longer than a slice, fewer do. Of a
   training slice, forward alone and forward with backward take a fifth each. */
enum { SLICES = 10, LEAST_SLICES = 3, WARM_UP = 3, LEAST_WARM_UP = 2, KEPT_STEPS = 1 << 15 };
static const double part_share = 0.2;

typedef struct measurement {
    nacre_cli_job job;
    nacre_cli_part whole;
    nacre_cli_times step, forward, backward;
    nacre_cli_machine machine;
    double flops, bytes, least_bytes;
    size_t arena_bytes, live_bound, recomputed;
    bool planned; /* else NACRE_EAGER=1: there is neither work nor memory of a plan */
} measurement;

static nacre_status run_part(measurement *m, nacre_cli_part part, double seconds,
                             nacre_cli_times *times) {
    static const char *const names[] = {
        [NACRE_CLI_FORWARD] = "replay: forward",
        [NACRE_CLI_BACKWARD] = "replay: forward and backward",
        [NACRE_CLI_STEP] = "replay: step",
        [NACRE_CLI_INFER] = "replay: inference",
    };
    uint64_t end = nacre_clock_ns() + (uint64_t)(seconds * 1e9), now;
    nacre_status status = NACRE_OK;
    nacre_trace_call_replays(names[part]);
    do {
        uint64_t begin = nacre_clock_ns();
        status = nacre_cli_job_run(&m->job, part, NULL);
        now = nacre_clock_ns();
        nacre_cli_times_add(times, begin, now);
    } while (status == NACRE_OK && now < end && !nacre_cli_signal());
    return status;
}

static nacre_status run_slice(measurement *m, double seconds) {
    if (m->whole == NACRE_CLI_INFER) {
        return run_part(m, NACRE_CLI_INFER, seconds, &m->step);
    }
    nacre_status status = run_part(m, NACRE_CLI_STEP, seconds * (1 - 2 * part_share), &m->step);
    if (status == NACRE_OK) {
        status = run_part(m, NACRE_CLI_FORWARD, seconds * part_share, &m->forward);
    }
    if (status == NACRE_OK) {
        status = run_part(m, NACRE_CLI_BACKWARD, seconds * part_share, &m->backward);
    }
    return status;
}

/* Whether round i of at most `most` is to come: not less than `least` of them, the others only in time. */
static bool goes_on(int i, int least, int most, bool in_time) {
    return i < most && (i < least || in_time) && !nacre_cli_signal();
}

static nacre_status warm_up(measurement *m, double seconds) {
    static const nacre_cli_part parts[] = {NACRE_CLI_FORWARD, NACRE_CLI_BACKWARD, NACRE_CLI_STEP};
    uint64_t end = nacre_clock_ns() + (uint64_t)(seconds * 1e9);
    nacre_status status = NACRE_OK;
    for (int i = 0;
         status == NACRE_OK && goes_on(i, LEAST_WARM_UP, WARM_UP, nacre_clock_ns() < end); i++) {
        if (m->whole == NACRE_CLI_INFER) {
            status = nacre_cli_job_run(&m->job, NACRE_CLI_INFER, NULL);
        }
        for (int k = 0; m->whole != NACRE_CLI_INFER && status == NACRE_OK && k < 3; k++) {
            status = nacre_cli_job_run(&m->job, parts[k], NULL);
        }
    }
    return status;
}

/* Figures of the plan; without one they are NaN. */
static nacre_status take_plan(measurement *m) {
    m->flops = m->bytes = m->least_bytes = NAN;
    if (!m->planned) {
        return NACRE_OK;
    }
    nacre_explanation *explanation = nacre_cli_job_explain(&m->job, m->whole);
    if (!explanation) {
        return nacre_error_code();
    }
    m->flops = explanation->flops;
    m->bytes = explanation->bytes;
    m->least_bytes = (double)explanation->variable_bytes;
    m->arena_bytes = explanation->peak_bytes;
    m->live_bound = explanation->live_lower_bound;
    m->recomputed = explanation->recomputed;
    nacre_explanation_free(explanation);
    return NACRE_OK;
}

/* What the forward pass keeps for its gradients is a result when it runs alone, in memory of its own; within a step it
   lies in the arena. It is the computing of the parts that is told, so that memory is warm in both. */
static nacre_status prepare(measurement *m, double seconds) {
    nacre_cli_keep_memory();
    m->planned = nacre_cli_has_plan();
    nacre_status status = take_plan(m);
    if (status != NACRE_OK) {
        return status;
    }
    bool made = nacre_cli_machine_make(&m->machine, m->planned ? m->least_bytes : 0) &&
                nacre_cli_times_make(&m->step, KEPT_STEPS) &&
                nacre_cli_times_make(&m->forward, KEPT_STEPS) &&
                nacre_cli_times_make(&m->backward, KEPT_STEPS);
    return made ? warm_up(m, seconds) : NACRE_OUT_OF_MEMORY;
}

/* *traced: a trace was begun, and is to be ended whatever is returned. */
static nacre_status measure(measurement *m, const nacre_cli_bench_values *values, bool *traced) {
    nacre_status status = prepare(m, values->seconds);
    if (status == NACRE_OK && values->trace) {
        status = nacre_trace_begin(values->trace);
        if (status != NACRE_OK) {
            return status;
        }
        *traced = true;
        nacre_cli_signals_hold(); /* what was traced is written after a signal too */
        nacre_cli_signals_cancel(true);
    }
    double spent = 0;
    for (int i = 0; status == NACRE_OK && goes_on(i, LEAST_SLICES, SLICES, spent < values->seconds);
         i++) {
        uint64_t begin = nacre_clock_ns();
        status = run_slice(m, values->seconds / SLICES);
        spent += (double)(nacre_clock_ns() - begin) * 1e-9;
        nacre_cli_machine_look(&m->machine);
    }
    if (status == NACRE_OK && !nacre_cli_signal()) {
        status = nacre_cli_machine_look_at_all(&m->machine);
    }
    nacre_cli_times_sort(&m->step);
    nacre_cli_times_sort(&m->forward);
    nacre_cli_times_sort(&m->backward);
    return status;
}

/* ---- what is printed ---- */

typedef struct figures {
    double least, median, spread, forward, backward, update, roofline;
} figures;

/* Of inference, whose bytes are weights and samples that are read, but for a few outputs. */
static double bandwidth_of(const measurement *m) {
    return m->whole == NACRE_CLI_INFER ? m->machine.read_gbytes : m->machine.gbytes;
}

static figures figures_of(const measurement *m) {
    figures f = {
        .least = nacre_cli_times_at(&m->step, 0),
        .median = nacre_cli_times_at(&m->step, 0.5),
        .forward = nacre_cli_times_at(&m->forward, 0),
        .roofline =
            nacre_cli_machine_roofline(&m->machine, m->flops, m->least_bytes, bandwidth_of(m)),
    };
    double both = nacre_cli_times_at(&m->backward, 0);
    f.spread = (nacre_cli_times_at(&m->step, 0.9) - f.least) / f.least;
    f.backward = both - f.forward;
    f.update = f.least - both;
    return f;
}

/* A part of a step is a difference of two measurements; below 0, where it is lost in their noise, it is no figure. */
static void append_part(nacre_text *text, double us, const char *what) {
    if (us < 0) {
        nacre_text_append(text, "- %s", what);
    } else {
        nacre_text_append(text, "%.1f us %s", us, what);
    }
}

static void append_part_json(nacre_text *text, const char *key, double us) {
    if (us < 0) {
        nacre_text_append(text, ",\"%s\":null", key);
    } else {
        nacre_cli_append_figure(text, key, us);
    }
}

/* A whole number, or null. */
static void append_figure(nacre_text *text, const char *key, bool known, double figure) {
    if (known) {
        nacre_text_append(text, ",\"%s\":%.0f", key, figure);
    } else {
        nacre_text_append(text, ",\"%s\":null", key);
    }
}

static void append_size(nacre_text *text, const char *key, int64_t size) {
    append_figure(text, key, size != 0, (double)size);
}

static void append_json(const measurement *m, int64_t batch, nacre_text *text) {
    figures f = figures_of(m);
    bool infer = m->whole == NACRE_CLI_INFER;
    nacre_text_append(text, "{\"workload\":\"%s\",\"mode\":\"%s\",\"batch\":%" PRId64,
                      m->job.workload->name, infer ? "infer" : "train", batch);
    append_size(text, "width", m->job.workload->sizes.width);
    append_size(text, "depth", m->job.workload->sizes.depth);
    append_size(text, "sequence_length", m->job.workload->sizes.sequence_length);
    nacre_text_append(text, ",\"threads\":%d,\"isa\":\"%s\",\"steps\":%zu", nacre_threads(),
                      nacre_isa(), m->step.added);
    append_figure(text, "flops", m->planned, m->flops);
    append_figure(text, "bytes", m->planned, m->bytes);
    append_figure(text, "least_bytes", m->planned, m->least_bytes);
    nacre_cli_append_figure(text, "us_min", f.least);
    nacre_cli_append_figure(text, "us_median", f.median);
    nacre_cli_append_figure(text, "spread", f.spread);
    append_part_json(text, "us_forward", infer ? f.least : f.forward);
    append_part_json(text, "us_backward", infer ? 0 : f.backward);
    append_part_json(text, "us_update", infer ? 0 : f.update);
    const struct {
        const char *key;
        double number;
    } numbers[] = {
        {"gflops", m->flops / f.least * 1e-3},
        {"peak_gflops", m->machine.gflops},
        {"peak_one_gflops", m->machine.gflops_one},
        {"peak_all_gflops", m->machine.gflops_all},
        {"bandwidth_gbytes", m->machine.gbytes},
        {"read_gbytes", m->machine.read_gbytes},
        {"roofline_us", f.roofline},
        {"fraction", f.roofline / f.least},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        nacre_cli_append_figure(text, numbers[i].key, numbers[i].number);
    }
    append_figure(text, "arena_bytes", m->planned, (double)m->arena_bytes);
    append_figure(text, "live_lower_bound", m->planned, (double)m->live_bound);
    append_figure(text, "recomputed", m->planned, (double)m->recomputed);
    nacre_text_append(text, ",\"peak_rss_bytes\":");
    nacre_text_append_number(text, nacre_cli_peak_memory());
    nacre_text_append(text, "}\n");
}

static void append_machine(const measurement *m, nacre_text *text) {
    const nacre_cli_machine *machine = &m->machine;
    nacre_text_append(text,
                      "machine's peak   %.1f GFLOP/s on these threads, %.1f on one, %.1f on all; "
                      "%.1f GB/s reading and writing, %.1f reading\n",
                      machine->gflops, machine->gflops_one, machine->gflops_all, machine->gbytes,
                      machine->read_gbytes);
}

/* What the plan does, beside what the machine could. */
static void append_work(const measurement *m, const figures *f, nacre_text *text) {
    nacre_text_append(text,
                      "work of a step   %.2f MFLOP: %.1f GFLOP/s at best; %.2f MB read and written "
                      "at least\n",
                      m->flops * 1e-6, m->flops / f->least * 1e-3, m->least_bytes * 1e-6);
    append_machine(m, text);
    nacre_text_append(text,
                      "roofline         %.1f us: the step runs at %.0f %% of it\n"
                      "memory           %.2f MB arena, %.2f MB live at once at least\n",
                      f->roofline, 100 * f->roofline / f->least, (double)m->arena_bytes * 1e-6,
                      (double)m->live_bound * 1e-6);
    if (m->recomputed) {
        nacre_text_append(text, "recomputed       %zu step%s, for --memory\n", m->recomputed,
                          nacre_cli_plural(m->recomputed));
    }
}

static void append_table(const measurement *m, int64_t batch, nacre_text *text) {
    figures f = figures_of(m);
    nacre_text_append(text, "%s, %s, batch %" PRId64 ", %d thread%s, %s: %zu step%s\n",
                      m->job.workload->name, m->whole == NACRE_CLI_INFER ? "inference" : "training",
                      batch, nacre_threads(), nacre_cli_plural((size_t)nacre_threads()),
                      nacre_isa(), m->step.added, nacre_cli_plural(m->step.added));
    nacre_text_append(text, "time of a step   %.1f us at best, %.1f us median, spread %.0f %%\n",
                      f.least, f.median, 100 * f.spread);
    if (m->whole != NACRE_CLI_INFER) {
        nacre_text_append(text, "its parts        ");
        append_part(text, f.forward, "forward, ");
        append_part(text, f.backward, "backward, ");
        append_part(text, f.update, "update\n");
    }
    if (m->planned) {
        append_work(m, &f, text);
    } else {
        nacre_text_append(text,
                          "work of a step   unknown, and no roofline: NACRE_EAGER=1 runs each "
                          "operation as it is called, without a plan\n");
        append_machine(m, text);
    }
}

static int print_measurement(const measurement *m, int64_t batch, bool json) {
    nacre_text text = {0};
    (json ? append_json : append_table)(m, batch, &text);
    return nacre_cli_print(&text);
}

/* ---- the check ---- */

/* Losses after each of a few updates, from the same weights and samples; of inference, the first output. */
enum { CHECK_STEPS = 3 };

static nacre_status losses(const nacre_cli_workload *workload, int64_t batch, bool infer,
                           nacre_backend backend, double *out) {
    nacre_cli_job job = {0};
    nacre_cli_part part = infer ? NACRE_CLI_INFER : NACRE_CLI_STEP;
    nacre_status status = nacre_set_backend(backend);
    status = status ? status : nacre_cli_job_make_within(workload, batch, 1U << part, &job);
    for (int i = 0; status == NACRE_OK && i < CHECK_STEPS; i++) {
        status = nacre_cli_job_run(&job, part, &out[i]);
    }
    nacre_cli_job_free(&job);
    return status;
}

/* The reference computes in double and rounds each op's result to f32. */
static double tolerance_after(const nacre_cli_workload *workload, int updates) {
    bool flips = updates > 0 && workload->flips > 0;
    return flips ? workload->flips * pow(10, updates - 1) : 1e-4;
}

/* The memory limit is for what is checked: the reference, whose plans fuse nothing, has none. */
static int check(const nacre_cli_workload *workload, int64_t batch, bool infer, bool json) {
    double ours[CHECK_STEPS] = {0}, theirs[CHECK_STEPS] = {0}, worst = 0;
    nacre_status status = losses(workload, batch, infer, NACRE_BACKEND_CPU, ours);
    nacre_set_memory_limit(0);
    status = status ? status : losses(workload, batch, infer, NACRE_BACKEND_REFERENCE, theirs);
    if (status != NACRE_OK) {
        return nacre_cli_library_error();
    }
    for (int i = 0; i < CHECK_STEPS; i++) {
        double difference = fabs(ours[i] - theirs[i]) / fmax(fabs(theirs[i]), 1);
        double tolerance = tolerance_after(workload, infer ? 0 : i);
        if (!(difference <= tolerance)) {
            return nacre_cli_error("%s: differs from the reference by %g after %d updates, more "
                                   "than %g; this is a fault of nacre, please report it",
                                   workload->name, difference, i, tolerance);
        }
        worst = fmax(worst, difference);
    }
    nacre_text text = {0};
    if (json) {
        nacre_text_append(&text, "{\"workload\":\"%s\",\"checked\":%d", workload->name,
                          CHECK_STEPS);
        nacre_cli_append_figure(&text, "difference", worst);
        nacre_text_append(&text, "}\n");
    } else {
        nacre_text_append(&text, "%s: %d steps as the reference computes them, to %.1e\n",
                          workload->name, CHECK_STEPS, worst);
    }
    return nacre_cli_print(&text);
}

/* ---- the command ---- */

/* What was traced is written last: where it cannot be, the figures are told all the same. */
static int end_trace(int code) {
    if (nacre_trace_end() == NACRE_OK) {
        return code;
    }
    int failed = nacre_cli_library_error();
    return code == NACRE_CLI_DONE ? failed : code;
}

static int stopped(void) {
    nacre_cli_error("interrupted: there are no figures");
    return 128 + nacre_cli_signal();
}

int nacre_cli_bench_workload(const nacre_cli_workload *workload,
                             const nacre_cli_bench_values *values) {
    int64_t batch = values->batch_size ? values->batch_size : workload->batch_size;
    if (values->check) {
        return check(workload, values->batch_size ? batch : 2, values->infer, values->json);
    }
    measurement m = {.whole = values->infer ? NACRE_CLI_INFER : NACRE_CLI_STEP};
    nacre_cli_parts parts =
        values->infer ? 1U << NACRE_CLI_INFER
                      : 1U << NACRE_CLI_FORWARD | 1U << NACRE_CLI_BACKWARD | 1U << NACRE_CLI_STEP;
    nacre_status status = nacre_cli_job_make_within(workload, batch, parts, &m.job);
    bool traced = false;
    if (status == NACRE_OK) {
        status = measure(&m, values, &traced);
    }
    int code = nacre_cli_signal()   ? stopped()
               : status != NACRE_OK ? nacre_cli_library_error()
                                    : print_measurement(&m, batch, values->json);
    if (traced) {
        code = end_trace(code);
    }
    nacre_cli_times_free(&m.step);
    nacre_cli_times_free(&m.forward);
    nacre_cli_times_free(&m.backward);
    nacre_cli_machine_free(&m.machine);
    nacre_cli_job_free(&m.job);
    return code;
}
