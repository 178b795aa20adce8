#include "cli/synthetic.h"

#include "base/memory.h"
#include "base/random.h"
#include "cli/workloads.h"
#include "train/model.h"

#include <nacre/ops.h>

/* Uniform pixels and labels: how long a step takes does not depend on what is in them. */
static nacre_status fill_batch(const nacre_cli_recipe *recipe, int64_t count, nacre_batch *out) {
    enum { SEED = 1, PIXELS = 1, LABELS = 2 };
    nacre_shape shape = {.ndim = recipe->input.ndim + 1, .dims = {count}};
    size_t pixels = (size_t)count;
    for (int i = 0; i < recipe->input.ndim; i++) {
        shape.dims[i + 1] = recipe->input.dims[i];
        pixels *= (size_t)recipe->input.dims[i];
    }
    float *inputs = nacre_alloc_zeroed(pixels, sizeof *inputs);
    int64_t *targets = nacre_alloc_zeroed((size_t)count, sizeof *targets);
    nacre_status status = inputs && targets ? NACRE_OK : NACRE_OUT_OF_MEMORY;
    if (status == NACRE_OK) {
        for (size_t i = 0; i < pixels; i++) {
            inputs[i] = nacre_random_f32(SEED, PIXELS, 0, i);
        }
        for (size_t i = 0; i < (size_t)count; i++) {
            targets[i] = (int64_t)nacre_random_below(SEED, LABELS, 0, i, (uint64_t)recipe->classes);
        }
        out->count = count;
        out->inputs = nacre_from_data(inputs, .shape = shape);
        out->targets = nacre_from_data(targets, .shape = NACRE_SHAPE(count), .dtype = NACRE_I64);
        status = nacre_is_error(out->inputs) ? nacre_tensor_status(out->inputs)
                                             : nacre_tensor_status(out->targets);
    }
    nacre_free(inputs);
    nacre_free(targets);
    return status;
}

nacre_status nacre_cli_synthetic_make(const nacre_cli_recipe *recipe,
                                      const nacre_cli_settings *settings, int64_t batch_size,
                                      nacre_cli_synthetic *out) {
    *out = (nacre_cli_synthetic){0};
    nacre_status status = fill_batch(recipe, batch_size, &out->batch);
    if (status != NACRE_OK) {
        return status;
    }
    /* A schedule of many steps: the rate stays where it starts while a benchmark runs. */
    out->model = nacre_cli_make_model(recipe, settings, 1000000000);
    return nacre_model_check(out->model, "model");
}

void nacre_cli_synthetic_free(nacre_cli_synthetic *synthetic) {
    nacre_model_free(synthetic->model);
    synthetic->model = NULL;
}

nacre_status nacre_cli_synthetic_step(nacre_cli_synthetic *synthetic) {
    nacre_batch_result result;
    return nacre_model_step(synthetic->model, &synthetic->batch, true, &result);
}

static nacre_status run_step(void *context) { return nacre_cli_synthetic_step(context); }

nacre_explanation *nacre_cli_synthetic_explain(nacre_cli_synthetic *synthetic) {
    return nacre_cli_explain_run(run_step, synthetic);
}
