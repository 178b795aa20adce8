/* nacre bench kernels: single operations, each a plan of its own. What counts is the time of the plan's steps, as
   a trace of its replays tells it: recording is not part of a kernel. */
#include "base/available.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/trace.h"
#include "cli/bench.h"
#include "cli/kernel_cases.h"
#include "cli/need.h"
#include "cli/options.h"
#include "cli/output.h"
#include "record/record.h"
#include "tensor/shape.h"

#include <inttypes.h>
#include <math.h>
#include <nacre/grad.h>
#include <nacre/ops.h>
#include <nacre/plan.h>
#include <nacre/system.h>
#include <stdio.h>
#include <string.h>

enum { PASSES = 3, MOST_TIMES = 1 << 12 };
static const double working_set = 1 << 20; /* bytes: about what most of the cases touch */

typedef struct result {
    nacre_cli_case kernel;
    nacre_cli_times times;
    double flops, bytes;
    char steps[128]; /* "conv2d, copy" */
} result;

typedef struct selection {
    result results[NACRE_CLI_MOST_CASES];
    size_t count;
} selection;

typedef struct arguments {
    nacre_tensor *in[NACRE_CLI_CASE_INPUTS], *seed;
} arguments;

/* ---- one case ---- */

/* What is to be evaluated. Of a gradient the forward pass is evaluated here, before what is traced begins. */
static nacre_tensor *record(const nacre_cli_case *c, const arguments *args) {
    nacre_tensor *y = c->record(args->in);
    if (!y || c->gradient == 0) {
        return y;
    }
    nacre_tensor *x = args->in[c->gradient - 1];
    nacre_zero_grad(x);
    nacre_status status = nacre_eval(y);
    nacre_trace_rewind();
    status = status ? status : nacre_backward_from(y, args->seed);
    return status == NACRE_OK ? nacre_grad(x) : NULL;
}

/* Operands lie as drawn and as packed; a product of [m, k] and [k, n], however they lie, has at most as many elements
   as its longest two extents say. */
static nacre_status check_memory(const nacre_cli_case *c) {
    double operands = 0, most[2] = {1, 1};
    for (int i = 0; i < NACRE_CLI_CASE_INPUTS && c->in[i].ndim > 0; i++) {
        operands += (double)nacre_shape_numel(&c->in[i]);
        for (int k = 0; i < 2 && k < c->in[i].ndim; k++) {
            most[i] = fmax(most[i], (double)c->in[i].dims[k]);
        }
    }
    nacre_cli_need need = {
        .samples = 2 * sizeof(float) * operands,
        .results = nacre_cli_case_is_product(c->name) ? 2 * sizeof(float) * most[0] * most[1] : 0,
        .left = (double)nacre_available_memory()};
    return nacre_cli_need_check(&need, c->name, "the extents");
}

static nacre_status make_inputs(const nacre_cli_case *c, arguments *out) {
    *out = (arguments){0};
    nacre_status status = check_memory(c);
    for (int i = 0;
         !c->scalar && status == NACRE_OK && i < NACRE_CLI_CASE_INPUTS && c->in[i].ndim > 0; i++) {
        nacre_tensor *t = nacre_randn(c->in[i], .stream = (uint64_t)i + 1);
        /* A second moment is not negative. */
        out->in[i] = i == 3 ? nacre_mul(t, t) : t;
        status = nacre_eval(out->in[i]);
        out->in[i] = nacre_detach_at(out->in[i], NULL, 0);
        if (c->gradient == i + 1 && status == NACRE_OK) {
            out->in[i] = nacre_requires_grad(out->in[i], true);
        }
    }
    if (status == NACRE_OK && c->gradient) {
        out->seed = nacre_randn(nacre_shape_of(c->record(out->in)), .stream = 9);
        status = nacre_eval(out->seed);
    }
    return status;
}

/* As every training step changes the weights: what kernels keep of unchanged ones would not be there. */
static void overwrite(const arguments *args) {
    for (int i = 0; i < NACRE_CLI_CASE_INPUTS; i++) {
        nacre_value *value = args->in[i] ? args->in[i]->value : NULL;
        if (value && value->storage) {
            value->version = ++value->storage->version;
        }
    }
}

static nacre_status run_once(const nacre_cli_case *c, const arguments *args) {
    overwrite(args);
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *y = record(c, args);
    nacre_status status = y ? nacre_eval(y) : nacre_error_code();
    nacre_status ended = nacre_scope_end(scope);
    return status != NACRE_OK ? status : ended;
}

/* What the trace has of the steps that just ran: their times, and what they were. */
static void take_trace(result *r) {
    uint64_t sum = 0;
    r->flops = r->bytes = 0;
    r->steps[0] = '\0';
    for (size_t i = 0; i < nacre_trace_count(); i++) {
        const nacre_trace_event *event = nacre_trace_event_at(i);
        if (event->kind != NACRE_TRACE_STEP || event->name < 0) {
            continue;
        }
        const nacre_trace_name *name = nacre_trace_name_at(event->name);
        sum += event->end - event->begin;
        r->flops += name->flops;
        r->bytes += name->bytes;
        size_t used = strlen(r->steps);
        snprintf(r->steps + used, sizeof r->steps - used, "%s%s", used ? ", " : "", name->kernel);
    }
    nacre_cli_times_add(&r->times, 0, sum);
}

static nacre_status measure_case(result *r, double seconds) {
    const nacre_cli_case *c = &r->kernel;
    nacre_scope scope = nacre_scope_begin();
    arguments args;
    nacre_status status = make_inputs(c, &args);
    status = status ? status : run_once(c, &args);
    uint64_t end = nacre_clock_ns() + (uint64_t)(seconds * 1e9);
    do {
        nacre_trace_rewind();
        status = status ? status : run_once(c, &args);
        if (status == NACRE_OK) {
            take_trace(r);
        }
    } while (status == NACRE_OK && nacre_clock_ns() < end);
    nacre_status ended = nacre_scope_end(scope);
    return status != NACRE_OK ? status : ended;
}

/* ---- all cases ---- */

static nacre_status measure(selection *chosen, nacre_cli_machine *machine, double seconds) {
    nacre_status status = nacre_trace_start();
    if (status != NACRE_OK) {
        return status;
    }
    double each = seconds / PASSES / (double)chosen->count;
    for (int pass = 0; status == NACRE_OK && pass < PASSES; pass++) {
        for (size_t i = 0; status == NACRE_OK && i < chosen->count; i++) {
            status = measure_case(&chosen->results[i], each);
        }
        nacre_cli_machine_look(machine);
    }
    nacre_trace_stop();
    return status ? status : nacre_cli_machine_look_at_all(machine);
}

static void append_shapes(const nacre_cli_case *c, char *text, size_t size) {
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < NACRE_CLI_CASE_INPUTS && c->in[i].ndim > 0; i++) {
        char one[NACRE_SHAPE_TEXT];
        int more = snprintf(text + used, size - used, "%s%s", i ? " x " : "",
                            nacre_shape_text(&c->in[i], one));
        used = used + (size_t)more < size ? used + (size_t)more : size - 1;
    }
}

static void append_json(const selection *chosen, const nacre_cli_machine *machine,
                        nacre_text *text) {
    nacre_text_append(text, "{\"isa\":\"%s\",\"threads\":%d", nacre_isa(), nacre_threads());
    nacre_cli_append_figure(text, "peak_gflops", machine->gflops);
    nacre_cli_append_figure(text, "peak_one_gflops", machine->gflops_one);
    nacre_cli_append_figure(text, "peak_all_gflops", machine->gflops_all);
    nacre_cli_append_figure(text, "bandwidth_gbytes", machine->gbytes);
    nacre_cli_append_figure(text, "read_gbytes", machine->read_gbytes);
    nacre_text_append(text, ",\"kernels\":[");
    const char *comma = "";
    for (size_t i = 0; i < chosen->count; i++) {
        const result *r = &chosen->results[i];
        char shapes[256];
        append_shapes(&r->kernel, shapes, sizeof shapes);
        double least = nacre_cli_times_at(&r->times, 0);
        double roofline = nacre_cli_machine_roofline(machine, r->flops, r->bytes, machine->gbytes);
        nacre_text_append(text, "%s{\"name\":\"%s\",\"shapes\":\"%s\",\"steps\":", comma,
                          r->kernel.name, shapes);
        nacre_text_append_json(text, r->steps);
        nacre_cli_append_figure(text, "us_min", least);
        nacre_cli_append_figure(text, "us_median", nacre_cli_times_at(&r->times, 0.5));
        nacre_text_append(text, ",\"flops\":%.0f,\"bytes\":%.0f", r->flops, r->bytes);
        nacre_cli_append_figure(text, "gflops", r->flops / least * 1e-3);
        nacre_cli_append_figure(text, "gbytes", r->bytes / least * 1e-3);
        nacre_cli_append_figure(text, "roofline_us", roofline);
        nacre_cli_append_figure(text, "fraction", roofline / least);
        nacre_text_append(text, "}");
        comma = ",";
    }
    nacre_text_append(text, "]}\n");
}

static void append_table(const selection *chosen, const nacre_cli_machine *machine,
                         nacre_text *text) {
    nacre_text_append(text,
                      "%s, %d thread%s: peak %.1f GFLOP/s (one thread %.1f, all %.1f), %.1f GB/s\n"
                      "%-24s %-40s %10s %10s %9s %8s  %s\n",
                      nacre_isa(), nacre_threads(), nacre_cli_plural((size_t)nacre_threads()),
                      machine->gflops, machine->gflops_one, machine->gflops_all, machine->gbytes,
                      "kernel", "shapes", "us", "median", "GFLOP/s", "GB/s", "plan");
    for (size_t i = 0; i < chosen->count; i++) {
        const result *r = &chosen->results[i];
        char shapes[256];
        append_shapes(&r->kernel, shapes, sizeof shapes);
        double least = nacre_cli_times_at(&r->times, 0);
        nacre_text_append(text, "%-24s %-40s %10.2f %10.2f %9.1f %8.1f  %s\n", r->kernel.name,
                          shapes, least, nacre_cli_times_at(&r->times, 0.5),
                          r->flops / least * 1e-3, r->bytes / least * 1e-3, r->steps);
    }
}

/* ---- the check ---- */

/* Above this the reference takes too long: the result must be finite, tests compare smaller shapes. */
static const double most_compared_flops = 3e7;

static nacre_tensor *result_of(const nacre_cli_case *c, nacre_backend backend, double *flops) {
    arguments args;
    if (nacre_set_backend(NACRE_BACKEND_CPU) != NACRE_OK || make_inputs(c, &args) != NACRE_OK ||
        nacre_set_backend(backend) != NACRE_OK) {
        return NULL;
    }
    nacre_tensor *y = record(c, &args);
    nacre_explanation *e = flops && y ? nacre_explain(y) : NULL;
    if (e) {
        *flops = e->flops;
        nacre_explanation_free(e);
    }
    return y && nacre_eval(y) == NACRE_OK ? y : NULL;
}

/* The largest difference over the largest element of the reference; NaN where something is not finite. */
static double difference(const float *a, const float *b, int64_t count) {
    double most = 0, apart = 0;
    for (int64_t i = 0; i < count; i++) {
        double x = (double)a[i], y = (double)b[i];
        if (!isfinite(x) || !isfinite(y)) {
            return NAN;
        }
        most = fmax(most, fabs(y));
        apart = fmax(apart, fabs(x - y));
    }
    return apart / fmax(most, 1);
}

/* false: an error is set, or the results differ. f32 sums of up to 100,000 terms in another order than the
   reference's stay within 1e-4 of the largest. */
static nacre_status check_case(const nacre_cli_case *c, double *worst) {
    double flops = 0;
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *ours = result_of(c, NACRE_BACKEND_CPU, &flops), *theirs = ours;
    if (ours && flops <= most_compared_flops) {
        theirs = result_of(c, NACRE_BACKEND_REFERENCE, NULL);
    }
    nacre_status status = ours && theirs ? NACRE_OK : nacre_error_code();
    if (status == NACRE_OK && nacre_dtype_of(ours) == NACRE_F32) {
        double d = difference(nacre_data(ours), nacre_data(theirs), nacre_numel(ours));
        *worst = fmax(*worst, d);
        if (!(d <= 1e-4)) {
            status = nacre_fail(NACRE_NUMERICAL,
                                "%s: differs from the reference by %g of its largest element; this "
                                "is a fault of nacre, please report it",
                                c->name, d);
        }
    }
    nacre_scope_end(scope);
    return status;
}

static int check(const selection *chosen, bool json) {
    double worst = 0;
    for (size_t i = 0; i < chosen->count; i++) {
        if (check_case(&chosen->results[i].kernel, &worst) != NACRE_OK) {
            return nacre_cli_library_error();
        }
    }
    nacre_text text = {0};
    if (json) {
        nacre_text_append(&text, "{\"workload\":\"kernels\",\"checked\":%zu", chosen->count);
        nacre_cli_append_figure(&text, "difference", worst);
        nacre_text_append(&text, "}\n");
    } else {
        nacre_text_append(&text, "kernels: %zu as the reference computes them, to %.1e\n",
                          chosen->count, worst);
    }
    return nacre_cli_print(&text);
}

/* ---- the command ---- */

static bool add(selection *chosen, const nacre_cli_case *kernel) {
    if (chosen->count == NACRE_CLI_MOST_CASES) {
        return false;
    }
    chosen->results[chosen->count++].kernel = *kernel;
    return true;
}

/* All cases of this name; NULL: all there are. How many there are; -1: there was no room for them. */
static int add_named(selection *chosen, const char *name) {
    int found = 0;
    for (size_t i = 0; i < nacre_cli_case_count; i++) {
        if (name && strcmp(nacre_cli_cases[i].name, name) != 0) {
            continue;
        }
        if (!add(chosen, &nacre_cli_cases[i])) {
            return -1;
        }
        found++;
    }
    return found;
}

static bool is_first_of_name(size_t i) {
    for (size_t k = 0; k < i; k++) {
        if (strcmp(nacre_cli_cases[k].name, nacre_cli_cases[i].name) == 0) {
            return false;
        }
    }
    return true;
}

static int unknown_kernel(const char *name) {
    const char *names[NACRE_CLI_MOST_CASES];
    size_t count =
        nacre_cli_case_count < NACRE_CLI_MOST_CASES ? nacre_cli_case_count : NACRE_CLI_MOST_CASES;
    for (size_t i = 0; i < count; i++) {
        names[i] = nacre_cli_cases[i].name;
    }
    const char *nearest = nacre_cli_nearest(name, names, count);
    if (nearest) {
        return nacre_cli_usage("unknown kernel %.100s; did you mean %s? 'nacre bench kernels "
                               "--list' names all",
                               name, nearest);
    }
    return nacre_cli_usage("unknown kernel %.100s; 'nacre bench kernels --list' names all",
                           nacre_cli_shown(name));
}

static int print_names(void) {
    nacre_text text = {0};
    for (size_t i = 0; i < nacre_cli_case_count; i++) {
        if (is_first_of_name(i)) {
            nacre_text_append(&text, "%s\n", nacre_cli_cases[i].name);
        }
    }
    return nacre_cli_print(&text);
}

/* The exit code of wrong usage, or NACRE_CLI_DONE. */
static int choose(selection *chosen, const char *name) {
    nacre_cli_case own;
    int found;
    if (name && nacre_cli_case_is_product(name)) {
        if (!nacre_cli_case_parse(name, &own)) {
            return nacre_cli_usage(
                "%.100s: give matmul:MxNxK, with :nn, :nt, :tn or :tt after it for matrices "
                "that lie transposed, or linear:MxNxK, each from 1 to %d",
                name, NACRE_CLI_MOST_EXTENT);
        }
        found = add(chosen, &own) ? 1 : -1;
    } else {
        found = add_named(chosen, name);
    }
    if (found < 0) {
        return nacre_cli_usage("at most %d kernels at a time", NACRE_CLI_MOST_CASES);
    }
    return found == 0 ? unknown_kernel(name) : NACRE_CLI_DONE;
}

static int measure_and_print(selection *chosen, const nacre_cli_bench_values *values) {
    nacre_cli_machine machine = {0};
    bool made = nacre_cli_machine_make(&machine, working_set);
    for (size_t i = 0; made && i < chosen->count; i++) {
        made = nacre_cli_times_make(&chosen->results[i].times, MOST_TIMES);
    }
    nacre_status status = made ? measure(chosen, &machine, values->seconds) : NACRE_OUT_OF_MEMORY;
    int code;
    if (status != NACRE_OK) {
        code = nacre_cli_library_error();
    } else {
        nacre_text text = {0};
        for (size_t i = 0; i < chosen->count; i++) {
            nacre_cli_times_sort(&chosen->results[i].times);
        }
        (values->json ? append_json : append_table)(chosen, &machine, &text);
        code = nacre_cli_print(&text);
    }
    for (size_t i = 0; i < chosen->count; i++) {
        nacre_cli_times_free(&chosen->results[i].times);
    }
    nacre_cli_machine_free(&machine);
    return code;
}

int nacre_cli_bench_kernels(const char *const *names, int count,
                            const nacre_cli_bench_values *values) {
    static selection chosen;
    if (values->list) {
        return print_names();
    }
    int code = count == 0 ? choose(&chosen, NULL) : NACRE_CLI_DONE;
    for (int i = 0; code == NACRE_CLI_DONE && i < count; i++) {
        code = choose(&chosen, names[i]);
    }
    if (code != NACRE_CLI_DONE) {
        return code;
    }
    return values->check ? check(&chosen, values->json) : measure_and_print(&chosen, values);
}
