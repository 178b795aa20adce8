#include "cli/synthetic.h"

#include "cli/workloads.h"
#include "train/model.h"

nacre_status nacre_cli_synthetic_make(const nacre_cli_recipe *recipe,
                                      const nacre_cli_settings *settings, int64_t batch_size,
                                      nacre_cli_synthetic *out) {
    enum { SEED = 1 };
    const nacre_cli_workload samples = {.input = recipe->input, .classes = recipe->classes};
    *out = (nacre_cli_synthetic){0};
    nacre_status status = nacre_cli_batch_make(&samples, batch_size, &out->batch);
    if (status != NACRE_OK) {
        return status;
    }
    nacre_cli_batch_fill(&samples, SEED, &out->batch);
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

/* Without the loss, as nacre_predict is used. */
static nacre_status run_inference(void *context) {
    nacre_cli_synthetic *synthetic = context;
    nacre_scope scope = nacre_scope_begin();
    if (scope < 0) {
        return nacre_error_code();
    }
    nacre_tensor *y = nacre_predict(synthetic->model, synthetic->batch.inputs);
    nacre_status status = nacre_tensor_status(y);
    nacre_status ended = nacre_scope_end(scope);
    return status != NACRE_OK ? status : ended;
}

nacre_explanation *nacre_cli_synthetic_explain(nacre_cli_synthetic *synthetic, bool infer) {
    if (!infer) {
        return nacre_cli_explain_run(run_step, synthetic);
    }
    nacre_explanation *plan = nacre_cli_explain_run(run_inference, synthetic);
    if (!plan) {
        nacre_name_refused(nacre_error_code(), "inference", synthetic->batch.count);
    }
    return plan;
}
