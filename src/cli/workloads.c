#include "cli/workloads.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"
#include "plan/plan.h"
#include "record/record.h"
#include "train/model.h"

#include "models/models.h"

#include <nacre/grad.h>
#include <nacre/ops.h>
#include <string.h>

static nacre_module *mlp(const nacre_cli_sizes *sizes) {
    return nacre_example_mlp(sizes->width, sizes->depth);
}

enum { CHARACTERS = 65 }; /* as many as Shakespeare's works have */

static nacre_module *gpt(const nacre_cli_sizes *sizes) {
    return nacre_example_gpt(CHARACTERS, sizes->sequence_length, sizes->width, sizes->depth);
}
static nacre_module *vit(const nacre_cli_sizes *sizes) {
    return nacre_example_vit(sizes->width, sizes->depth);
}
static nacre_module *lenet(const nacre_cli_sizes *sizes) {
    (void)sizes;
    return nacre_example_lenet();
}
static nacre_module *resnet20(const nacre_cli_sizes *sizes) {
    (void)sizes;
    return nacre_example_resnet20();
}

/* ---- how many parameters ---- */

static double mlp_parameters(const nacre_cli_sizes *sizes) {
    double w = (double)sizes->width, layers = (double)sizes->depth;
    return 784 * w + (layers - 1) * w * w + layers * w + 10 * w + 10;
}

/* A block has 4 products w x w for attention, two 4 w x w for its perceptron, their biases, and two norms. */
static double blocks_parameters(const nacre_cli_sizes *sizes) {
    double w = (double)sizes->width;
    return (double)sizes->depth * (12 * w * w + 13 * w);
}

/* Patches of 49 pixels, 17 places, the class's token, a norm, ten classes. */
static double vit_parameters(const nacre_cli_sizes *sizes) {
    return blocks_parameters(sizes) + (49 + 1 + 17 + 1 + 2 + 10) * (double)sizes->width + 10;
}

/* Characters, which the last layer shares, places, a norm. */
static double gpt_parameters(const nacre_cli_sizes *sizes) {
    double rows = CHARACTERS + (double)sizes->sequence_length + 2;
    return blocks_parameters(sizes) + rows * (double)sizes->width;
}
static double lenet_parameters(const nacre_cli_sizes *sizes) {
    (void)sizes;
    return 61706;
}
static double resnet20_parameters(const nacre_cli_sizes *sizes) {
    (void)sizes;
    return 272474;
}

static nacre_optimizer *adam(void) { return nacre_adam(.lr = 1e-3); }
static nacre_optimizer *adamw(void) { return nacre_adamw(.lr = 1e-3); }
static nacre_optimizer *sgd(void) {
    return nacre_sgd(.lr = 0.1, .momentum = 0.9, .weight_decay = 1e-4);
}

const nacre_cli_workload nacre_cli_workloads[] = {
    {
        .name = "mlp",
        .sizes = {.width = NACRE_EXAMPLE_MLP_WIDTH, .depth = NACRE_EXAMPLE_MLP_HIDDEN},
        .input = {.ndim = 2, .dims = {28, 28}},
        .classes = 10,
        .batch_size = 64,
        .network = mlp,
        .parameters = mlp_parameters,
        .optimizer = adam,
        .kept = 2,
    },
    {
        .name = "lenet",
        .input = {.ndim = 3, .dims = {1, 28, 28}},
        .classes = 10,
        .batch_size = 64,
        .network = lenet,
        .parameters = lenet_parameters,
        .optimizer = adam,
        .kept = 2,
    },
    {
        .name = "vit",
        .sizes = {.width = NACRE_EXAMPLE_VIT_WIDTH, .depth = NACRE_EXAMPLE_VIT_BLOCKS},
        .heads = 4,
        .input = {.ndim = 2, .dims = {28, 28}},
        .classes = 10,
        .batch_size = 64,
        .network = vit,
        .parameters = vit_parameters,
        .optimizer = adamw,
        .kept = 2,
    },
    {
        .name = "gpt",
        .sizes = {.width = NACRE_EXAMPLE_GPT_WIDTH,
                  .depth = NACRE_EXAMPLE_GPT_BLOCKS,
                  .sequence_length = NACRE_EXAMPLE_GPT_CONTEXT},
        .heads = 4,
        .input = {.ndim = 1, .dims = {NACRE_EXAMPLE_GPT_CONTEXT}},
        .vocabulary = CHARACTERS,
        .target = {.ndim = 1, .dims = {NACRE_EXAMPLE_GPT_CONTEXT}},
        .classes = CHARACTERS,
        .batch_size = 12,
        .network = gpt,
        .parameters = gpt_parameters,
        .optimizer = adamw,
        .kept = 2,
    },
    {
        .name = "resnet20",
        .input = {.ndim = 3, .dims = {3, 32, 32}},
        .classes = 10,
        .batch_size = 64,
        .network = resnet20,
        .parameters = resnet20_parameters,
        .optimizer = sgd,
        .kept = 1,
        .flips = 2e-3,
    },
};
const size_t nacre_cli_workload_count = sizeof nacre_cli_workloads / sizeof *nacre_cli_workloads;

const nacre_cli_workload *nacre_cli_find_workload(const char *name) {
    for (size_t i = 0; i < nacre_cli_workload_count; i++) {
        if (strcmp(nacre_cli_workloads[i].name, name) == 0) {
            return &nacre_cli_workloads[i];
        }
    }
    return NULL;
}

void nacre_cli_resize_workload(nacre_cli_workload *workload, const nacre_cli_sizes *sizes) {
    nacre_cli_sizes *own = &workload->sizes;
    own->width = sizes->width ? sizes->width : own->width;
    own->depth = sizes->depth ? sizes->depth : own->depth;
    if (sizes->sequence_length) {
        own->sequence_length = sizes->sequence_length;
        workload->input.dims[0] = workload->target.dims[0] = sizes->sequence_length;
    }
}

/* ---- samples ---- */

static nacre_shape with_batch(int64_t count, nacre_shape sample) {
    nacre_shape shape = {.ndim = sample.ndim + 1, .dims = {count}};
    memcpy(shape.dims + 1, sample.dims, (size_t)sample.ndim * sizeof *sample.dims);
    return shape;
}

static nacre_status make_leaf(nacre_dtype dtype, nacre_shape shape, nacre_tensor **out) {
    *out = nacre_tensor_leaf(dtype, &shape);
    return *out ? NACRE_OK : nacre_error_code();
}

nacre_status nacre_cli_batch_make(const nacre_cli_workload *workload, int64_t count,
                                  nacre_batch *out) {
    out->count = count;
    nacre_status status = make_leaf(workload->vocabulary ? NACRE_I64 : NACRE_F32,
                                    with_batch(count, workload->input), &out->inputs);
    return status == NACRE_OK
               ? make_leaf(NACRE_I64, with_batch(count, workload->target), &out->targets)
               : status;
}

static void fill_uniform(nacre_tensor *t, uint64_t seed) {
    float *values = (float *)t->value->storage->data;
    int64_t count = nacre_numel(t);
    for (int64_t i = 0; i < count; i++) {
        values[i] = nacre_random_f32(seed, 1, 0, (uint64_t)i);
    }
}

static void fill_whole_numbers(nacre_tensor *t, int64_t below, uint64_t seed, uint64_t stream) {
    int64_t *values = (int64_t *)(void *)t->value->storage->data;
    int64_t count = nacre_numel(t);
    for (int64_t i = 0; i < count; i++) {
        values[i] = (int64_t)nacre_random_below(seed, stream, 0, (uint64_t)i, (uint64_t)below);
    }
}

void nacre_cli_batch_fill(const nacre_cli_workload *workload, uint64_t seed, nacre_batch *batch) {
    enum { TOKENS = 2, CLASSES = 3 };
    if (workload->vocabulary) {
        fill_whole_numbers(batch->inputs, workload->vocabulary, seed, TOKENS);
    } else {
        fill_uniform(batch->inputs, seed);
    }
    fill_whole_numbers(batch->targets, workload->classes, seed, CLASSES);
}

/* ---- jobs ---- */

nacre_status nacre_cli_job_make_model(const nacre_cli_workload *workload, int64_t batch_size,
                                      uint64_t seed, nacre_cli_job *out) {
    *out = (nacre_cli_job){.workload = workload};
    nacre_status status = nacre_cli_batch_make(workload, batch_size, &out->batch);
    if (status != NACRE_OK) {
        return status;
    }
    nacre_seed(seed);
    out->model = nacre_model_new(workload->network(&workload->sizes), nacre_cross_entropy(),
                                 workload->optimizer());
    return nacre_model_check(out->model, workload->name);
}

nacre_status nacre_cli_job_make(const nacre_cli_workload *workload, int64_t batch_size,
                                uint64_t seed, nacre_cli_job *out) {
    nacre_status status = nacre_cli_job_make_model(workload, batch_size, seed, out);
    if (status == NACRE_OK) {
        nacre_cli_batch_fill(workload, seed, &out->batch);
    }
    return status;
}

void nacre_cli_job_free(nacre_cli_job *job) {
    nacre_model_free(job->model);
    job->model = NULL;
}

static nacre_status error_of(const nacre_tensor *t) {
    return nacre_fail(nacre_tensor_status(t), "%s", nacre_tensor_message(t));
}

/* Logits [..., classes] beside targets [...], as rows: the loss is the mean over all of them. */
static nacre_tensor *loss_of(nacre_cli_job *job, nacre_tensor *logits) {
    nacre_tensor *targets = job->batch.targets;
    if (nacre_ndim(targets) > 1) {
        int64_t rows = nacre_numel(targets);
        logits = nacre_reshape(logits, NACRE_SHAPE(rows, job->workload->classes));
        targets = nacre_reshape(targets, NACRE_SHAPE(rows));
    }
    return nacre_loss_compute(nacre_model_loss(job->model), logits, targets);
}

static nacre_status eval_gradients(nacre_module *network, nacre_tensor *loss) {
    size_t count = nacre_module_parameter_count(network);
    nacre_tensor **wanted = nacre_alloc_zeroed(count + 1, sizeof *wanted);
    if (!wanted) {
        return NACRE_OUT_OF_MEMORY;
    }
    wanted[0] = loss;
    for (size_t i = 0; i < count; i++) {
        wanted[i + 1] = nacre_grad(nacre_module_parameter_at(network, i));
    }
    nacre_status status = nacre_eval_all(wanted, count + 1);
    nacre_free(wanted);
    return status;
}

static nacre_status train(nacre_cli_job *job, nacre_cli_part part, double *loss) {
    nacre_module *network = nacre_model_network(job->model);
    nacre_tensor *value = loss_of(job, nacre_module_forward(network, job->batch.inputs));
    if (nacre_is_error(value)) {
        return error_of(value);
    }
    nacre_status status = part == NACRE_CLI_FORWARD ? nacre_eval(value) : nacre_backward(value);
    if (status == NACRE_OK && part == NACRE_CLI_BACKWARD) {
        status = eval_gradients(network, value);
    }
    if (status == NACRE_OK && part == NACRE_CLI_STEP) {
        status = nacre_step(nacre_model_optimizer(job->model));
    }
    if (status == NACRE_OK && loss) {
        *loss = nacre_item(value);
    }
    nacre_module_zero_grad(network);
    return status;
}

nacre_status nacre_cli_job_run(nacre_cli_job *job, nacre_cli_part part, double *loss) {
    nacre_scope scope = nacre_scope_begin();
    if (scope < 0) {
        return nacre_error_code();
    }
    nacre_status status;
    if (part == NACRE_CLI_INFER) {
        nacre_tensor *y = nacre_predict(job->model, job->batch.inputs);
        status = nacre_is_error(y) ? error_of(y) : NACRE_OK;
        if (status == NACRE_OK && loss) {
            *loss = (double)((const float *)nacre_data(y))[0];
        }
    } else {
        status = train(job, part, loss);
    }
    nacre_status ended = nacre_scope_end(scope);
    return status != NACRE_OK ? status : ended;
}

bool nacre_cli_has_plan(void) {
    const nacre_thread *thread = nacre_this_thread();
    return !thread || !thread->eager;
}

nacre_explanation *nacre_cli_explain_run(nacre_status (*run)(void *context), void *context) {
    static nacre_explanation *explanation; /* the request outlives a run that never evaluates */
    if (nacre_explain_next(&explanation) != NACRE_OK) {
        return NULL;
    }
    nacre_status status = run(context);
    if (explanation && status == NACRE_CANCELLED) {
        nacre_error_clear();
    }
    return explanation;
}

typedef struct part_of_job {
    nacre_cli_job *job;
    nacre_cli_part part;
} part_of_job;

static nacre_status run_part(void *context) {
    const part_of_job *asked = context;
    return nacre_cli_job_run(asked->job, asked->part, NULL);
}

nacre_explanation *nacre_cli_job_explain(nacre_cli_job *job, nacre_cli_part part) {
    static const char *const names[] = {"the forward pass", "the gradients", "a training step",
                                        "inference"};
    nacre_explanation *plan = nacre_cli_explain_run(run_part, &(part_of_job){job, part});
    if (!plan) {
        nacre_name_refused(nacre_error_code(), names[part], job->batch.count);
    }
    return plan;
}
