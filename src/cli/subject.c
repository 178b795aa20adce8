#include "cli/subject.h"

#include "base/available.h"
#include "base/error.h"
#include "cli/model_file.h"
#include "cli/need.h"
#include "cli/output.h"
#include "tensor/shape.h"

#include <inttypes.h>
#include <sys/stat.h>

static bool has_size(int64_t own, int64_t wanted, const char *flag, const char *what) {
    if (wanted && !own) {
        nacre_cli_usage("--%s: %.100s has none; leave it out", flag, what);
        return false;
    }
    return true;
}

bool nacre_cli_choose_sizes(const nacre_cli_workload *workload, const char *what,
                            const nacre_cli_sizes *sizes, nacre_cli_workload *out) {
    *out = workload ? *workload : (nacre_cli_workload){0};
    const nacre_cli_sizes *own = &out->sizes;
    if (!has_size(own->width, sizes->width, "width", what) ||
        !has_size(own->depth, sizes->depth, "depth", what) ||
        !has_size(own->sequence_length, sizes->sequence_length, "sequence-length", what)) {
        return false;
    }
    if (out->heads && sizes->width % out->heads != 0) {
        nacre_cli_usage("--width: %" PRId64 " is not a multiple of the %" PRId64 " heads of %s",
                        sizes->width, out->heads, what);
        return false;
    }
    nacre_cli_resize_workload(out, sizes);
    return true;
}

void nacre_cli_list_workloads(nacre_text *text, const char *others) {
    for (size_t i = 0; i < nacre_cli_workload_count; i++) {
        nacre_text_append(text, "%s, ", nacre_cli_workloads[i].name);
    }
    nacre_text_append(text, "%s", others);
}

static int refuse(const char *name) {
    nacre_text known = {0};
    nacre_cli_list_workloads(&known, nacre_cli_recipe_list());
    int code = nacre_cli_usage(
        "unknown network %.100s; give a run folder, a .safetensors file or one of %s",
        nacre_cli_shown(name), known.failed ? "docs/cli.md" : known.bytes);
    nacre_text_free(&known);
    return code;
}

/* The recipe of a run folder or a file of weights. */
static int find_in_file(const char *path, nacre_cli_subject *out) {
    nacre_cli_model model;
    if (!nacre_cli_model_open(path, &model)) {
        return NACRE_CLI_FAILED;
    }
    out->recipe = model.recipe;
    nacre_cli_model_close(&model);
    return 0;
}

int nacre_cli_subject_find(const char *name, int64_t batch, const nacre_cli_sizes *sizes,
                           nacre_cli_subject *out) {
    const nacre_cli_sizes usual = {0};
    const nacre_cli_workload *workload = nacre_cli_find_workload(name);
    struct stat status;
    *out = (nacre_cli_subject){.name = name};
    if (!workload) {
        out->recipe = nacre_cli_find_recipe(name);
    }
    if (!workload && !out->recipe) {
        int code = stat(name, &status) == 0 ? find_in_file(name, out) : refuse(name);
        if (code != 0) {
            return code;
        }
    }
    if (!nacre_cli_choose_sizes(workload, name, sizes ? sizes : &usual, &out->workload)) {
        return NACRE_CLI_USAGE;
    }
    int64_t own = workload ? workload->batch_size : out->recipe->defaults.batch_size;
    out->batch = batch ? batch : own;
    return 0;
}

/* The flag that a recipe's need grows with. */
static const char recipe_flag[] = "--batch-size";

static nacre_status make_recipe(nacre_cli_subject *subject, bool runs) {
    const nacre_cli_recipe *recipe = subject->recipe;
    double pixels = (double)nacre_shape_numel(&recipe->input);
    nacre_cli_need need = {.samples = (double)subject->batch * (pixels * 4 + 8),
                           .left = (double)nacre_available_memory()};
    nacre_status status = nacre_cli_need_check(&need, recipe->name, recipe_flag);
    if (status == NACRE_OK) {
        status = nacre_cli_synthetic_make(recipe, &recipe->defaults, subject->batch,
                                          &subject->synthetic);
    }
    if (status != NACRE_OK || !runs) {
        return status;
    }
    nacre_explanation *plan = nacre_cli_synthetic_explain(&subject->synthetic, false);
    if (!plan) {
        return nacre_error_code();
    }
    nacre_cli_need_add(&need, plan, NACRE_CLI_STEP);
    nacre_explanation_free(plan);
    return nacre_cli_need_check(&need, recipe->name, recipe_flag);
}

nacre_status nacre_cli_subject_make(nacre_cli_subject *subject, bool runs) {
    return subject->recipe
               ? make_recipe(subject, runs)
               : nacre_cli_job_make_within(&subject->workload, subject->batch,
                                           runs ? 1U << NACRE_CLI_STEP : 0, &subject->job);
}

void nacre_cli_subject_release(nacre_cli_subject *subject) {
    nacre_cli_job_free(&subject->job);
    nacre_cli_synthetic_free(&subject->synthetic);
}

nacre_status nacre_cli_subject_step(nacre_cli_subject *subject) {
    return subject->recipe ? nacre_cli_synthetic_step(&subject->synthetic)
                           : nacre_cli_job_run(&subject->job, NACRE_CLI_STEP, NULL);
}

nacre_explanation *nacre_cli_subject_explain(nacre_cli_subject *subject, bool infer) {
    return subject->recipe
               ? nacre_cli_synthetic_explain(&subject->synthetic, infer)
               : nacre_cli_job_explain(&subject->job, infer ? NACRE_CLI_INFER : NACRE_CLI_STEP);
}
