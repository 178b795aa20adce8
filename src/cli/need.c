#include "cli/need.h"

#include "base/available.h"
#include "base/error.h"
#include "io/text.h"
#include "tensor/shape.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The program itself, times that it keeps, and the block that the bandwidth is measured on. */
static const double besides = 100e6;

static double numel(const nacre_shape *shape) { return (double)nacre_shape_numel(shape); }

static bool runs(nacre_cli_parts parts, nacre_cli_part part) { return (parts >> part & 1) != 0; }

/* A plan that leaves the weights as they are may keep them packed for its products, one that has gradients for two
   products each. Gradients that are asked for are results; an update alone has them on the way. */
nacre_cli_need nacre_cli_need_of(const nacre_cli_workload *workload, int64_t batch_size,
                                 nacre_cli_parts parts) {
    int packed = runs(parts, NACRE_CLI_FORWARD) + 2 * runs(parts, NACRE_CLI_BACKWARD) +
                 runs(parts, NACRE_CLI_INFER);
    double copies = 1 + workload->kept + packed + runs(parts, NACRE_CLI_BACKWARD);
    double input = numel(&workload->input) *
                   (double)nacre_dtype_size(workload->vocabulary ? NACRE_I64 : NACRE_F32);
    double target = numel(&workload->target) * (double)nacre_dtype_size(NACRE_I64);
    return (nacre_cli_need){
        .weights = copies * workload->parameters(&workload->sizes) * sizeof(float),
        .samples = parts ? (double)batch_size * (input + target) : 0,
        .left = (double)nacre_available_memory(),
    };
}

/* Results lie beside the arena, which stays as large as the largest plan wanted it. Those of a forward pass are all
   that a backward pass might ask for; those of a backward pass are the gradients, which are with the weights already;
   an update has none that are new. */
static double results(const nacre_explanation *plan, nacre_cli_part part) {
    double bytes = 0;
    for (size_t i = 0; i < plan->count; i++) {
        bytes += plan->steps[i].offset < 0 ? (double)plan->steps[i].output_bytes : 0;
    }
    return part == NACRE_CLI_FORWARD || part == NACRE_CLI_INFER ? bytes : 0;
}

void nacre_cli_need_add(nacre_cli_need *need, const nacre_explanation *plan, nacre_cli_part part) {
    need->arena = fmax(need->arena, (double)plan->peak_bytes);
    need->results = fmax(need->results, results(plan, part));
}

static void format_bytes(double bytes, char *text, size_t size) {
    if (bytes >= 1e12) {
        snprintf(text, size, "%.1f TB", bytes * 1e-12);
    } else if (bytes >= 1e9) {
        snprintf(text, size, "%.1f GB", bytes * 1e-9);
    } else {
        snprintf(text, size, "%.0f MB", ceil(bytes * 1e-6));
    }
}

/* ", 1.2 GB for samples" */
static void append_part(nacre_text *text, double bytes, const char *what) {
    if (bytes > 0) {
        char amount[32];
        format_bytes(bytes, amount, sizeof amount);
        nacre_text_append(text, "%s%s for %s", text->length ? ", " : "", amount, what);
    }
}

nacre_status nacre_cli_need_check(const nacre_cli_need *need, const char *what,
                                  const char *reduce) {
    double all = need->weights + need->samples + need->arena + need->results + besides;
    if (all <= need->left) {
        return NACRE_OK;
    }
    nacre_text parts = {0};
    append_part(&parts, need->weights, "weights and what belongs to each");
    append_part(&parts, need->samples, "samples");
    append_part(&parts, need->arena + need->results, "what a step computes");
    char total[32], left[32];
    format_bytes(all, total, sizeof total);
    format_bytes(need->left, left, sizeof left);
    nacre_status status = nacre_fail(
        NACRE_OUT_OF_MEMORY, "%s needs up to %s of memory (%s), and %s are left; lower %s", what,
        total, parts.failed ? "all in all" : parts.bytes, left, reduce);
    nacre_text_free(&parts);
    return status;
}

/* ---- workloads ---- */

/* The flags of what is larger than usual; where nothing is, the batch can still be smaller. */
static void name_flags(const nacre_cli_workload *workload, int64_t batch_size, char *text,
                       size_t size) {
    const nacre_cli_workload *usual = nacre_cli_find_workload(workload->name);
    const nacre_cli_sizes *own = &workload->sizes;
    const struct {
        const char *flag;
        bool larger;
    } flags[] = {
        {"--batch-size", batch_size > usual->batch_size},
        {"--width", own->width > usual->sizes.width},
        {"--depth", own->depth > usual->sizes.depth},
        {"--sequence-length", own->sequence_length > usual->sizes.sequence_length},
    };
    enum { FLAGS = sizeof flags / sizeof *flags };
    int count = 0, named = 0;
    for (int i = 0; i < FLAGS; i++) {
        count += flags[i].larger;
    }
    snprintf(text, size, "%s", count ? "" : "--batch-size");
    for (int i = 0; i < FLAGS; i++) {
        if (flags[i].larger) {
            size_t used = strlen(text);
            const char *between = named == 0 ? "" : named + 1 == count ? " or " : ", ";
            snprintf(text + used, size - used, "%s%s", between, flags[i].flag);
            named++;
        }
    }
}

/* Largest first: what a memory limit refuses of the whole step says what all need. */
static nacre_status add_plans(nacre_cli_job *job, nacre_cli_parts parts, nacre_cli_need *need) {
    for (int part = NACRE_CLI_INFER; part >= NACRE_CLI_FORWARD; part--) {
        if (!runs(parts, (nacre_cli_part)part)) {
            continue;
        }
        nacre_explanation *plan = nacre_cli_job_explain(job, (nacre_cli_part)part);
        if (!plan) {
            return nacre_error_code();
        }
        nacre_cli_need_add(need, plan, (nacre_cli_part)part);
        nacre_explanation_free(plan);
    }
    return NACRE_OK;
}

nacre_status nacre_cli_job_make_within(const nacre_cli_workload *workload, int64_t batch_size,
                                       nacre_cli_parts parts, nacre_cli_job *out) {
    enum { SEED = 1 };
    char reduce[128];
    *out = (nacre_cli_job){.workload = workload};
    name_flags(workload, batch_size, reduce, sizeof reduce);
    nacre_cli_need need = nacre_cli_need_of(workload, batch_size, parts);
    nacre_status status = nacre_cli_need_check(&need, workload->name, reduce);
    if (status == NACRE_OK) {
        status = nacre_cli_job_make_model(workload, batch_size, SEED, out);
    }
    if (status == NACRE_OK) {
        status = add_plans(out, parts, &need);
    }
    if (status == NACRE_OK) {
        status = nacre_cli_need_check(&need, workload->name, reduce);
    }
    if (status == NACRE_OK && parts) {
        nacre_cli_batch_fill(workload, SEED, &out->batch);
    }
    return status;
}
