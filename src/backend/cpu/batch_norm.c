/* Batch normalisation of laned arrays: a task is one channel, which mostly stays in the second-level cache while it is
   read for the mean, the variance and the result. */
#include "backend/cpu/cpu.h"

#include "base/pool.h"
#include "ops/attrs.h"

#include <math.h>

typedef struct norm_job {
    const nacre_cpu_level *level;
    int64_t samples, blocks, channels, pixels;
    double epsilon;
    const float *x, *dy, *weight, *bias, *mean, *var;
    float *out, *mean_out, *var_out, *dweight, *dbias;
    struct result {
        bool relu;
        const float *other; /* added before; NULL: nothing */
        float *out;
    } results[3]; /* the norm, its sum with an array, and the relu of the last */
    int result_count;
} norm_job;

static int64_t plane_at(const norm_job *j, int64_t block, int64_t channel) {
    return (block * j->channels + channel) * j->pixels * NACRE_LANES;
}

/* Lanes of a block that stand for samples. */
static int samples_of(const norm_job *j, int64_t block) {
    return (int)nacre_smaller(NACRE_LANES, j->samples - block * NACRE_LANES);
}

/* Adds up what `each` leaves in one lane per sample, block after block. */
static void add_lanes(const norm_job *j, int64_t block, const float *acc, float *sum) {
    j->level->conv->join_lanes(1, samples_of(j, block), acc, sum);
}

static void forward_task(void *context, size_t index) {
    const norm_job *j = context;
    const nacre_batch_norm_kernels *kernels = j->level->batch_norm;
    int64_t channel = (int64_t)index;
    float n = (float)(j->samples * j->pixels), mean = 0, var = 0;
    for (int64_t b = 0; b < j->blocks; b++) {
        float acc[NACRE_LANES] = {0};
        j->level->conv->sum_pixels(j->pixels, j->x + plane_at(j, b, channel), acc);
        add_lanes(j, b, acc, &mean);
    }
    mean /= n;
    for (int64_t b = 0; b < j->blocks; b++) {
        float acc[NACRE_LANES] = {0};
        kernels->deviation(j->pixels, j->x + plane_at(j, b, channel), mean, acc);
        add_lanes(j, b, acc, &var);
    }
    var /= n;
    float scale = (float)(j->weight[channel] / sqrt((double)var + j->epsilon));
    for (int64_t b = 0; b < j->blocks; b++) {
        int64_t at = plane_at(j, b, channel);
        for (int k = 0; k < j->result_count; k++) {
            const struct result *r = &j->results[k];
            kernels->apply(j->pixels, j->x + at, mean, scale, j->bias[channel],
                           r->other ? r->other + at : NULL, r->relu, r->out + at);
        }
    }
    j->mean_out[channel] = mean;
    j->var_out[channel] = var;
}

/* With r = 1 / sqrt(var + epsilon), s = sum of dy, t = sum of dy (x - mean):
   dx = weight r (dy - s / n - (x - mean) r^2 t / n), dweight = r t, dbias = s. */
static void backward_task(void *context, size_t index) {
    const norm_job *j = context;
    const nacre_batch_norm_kernels *kernels = j->level->batch_norm;
    int64_t channel = (int64_t)index;
    float mean = j->mean[channel], s = 0, t = 0;
    for (int64_t b = 0; b < j->blocks; b++) {
        float dy_acc[NACRE_LANES] = {0}, product_acc[NACRE_LANES] = {0};
        int64_t at = plane_at(j, b, channel);
        kernels->products(j->pixels, j->x + at, j->dy + at, mean, dy_acc, product_acc);
        add_lanes(j, b, dy_acc, &s);
        add_lanes(j, b, product_acc, &t);
    }
    double n = (double)(j->samples * j->pixels);
    double r = 1 / sqrt((double)j->var[channel] + j->epsilon), a = j->weight[channel] * r;
    for (int64_t b = 0; b < j->blocks; b++) {
        int64_t at = plane_at(j, b, channel);
        kernels->apply_backward(j->pixels, j->x + at, j->dy + at, mean, (float)a,
                                (float)(-a * r * r * t / n), (float)(-a * s / n), j->out + at);
    }
    j->dweight[channel] = (float)(r * t);
    j->dbias[channel] = s;
}

static norm_job job_of(const nacre_plan_op *step) {
    const nacre_shape *shape = &step->in[0].shape;
    norm_job j = {.level = nacre_cpu_level_of(step),
                  .samples = shape->dims[0],
                  .blocks = nacre_parts(shape->dims[0], NACRE_LANES),
                  .channels = shape->dims[1],
                  .pixels = 1,
                  .epsilon = step->attrs[NACRE_BATCH_NORM_EPSILON].f,
                  .x = step->in[0].data,
                  .weight = step->in[1].data,
                  .out = step->out[0].data};
    for (int i = 2; i < shape->ndim; i++) j.pixels *= shape->dims[i];
    return j;
}

/* What the epilogue makes of the norm; last what takes over the added array's place. */
static void find_results(norm_job *j, const nacre_plan_op *step) {
    const nacre_program *program = step->program;
    j->result_count = program ? program->outputs : 1;
    j->results[0].out = step->out[0].data;
    const bool adds = program && program->code[0].op == &nacre_op_add;
    for (int k = 0; program && k < program->outputs; k++) {
        const int made_by = program->result[k] - program->inputs; /* below 0: the norm itself */
        j->results[k] =
            (struct result){.relu = made_by >= 0 && program->code[made_by].op == &nacre_op_relu,
                            .other = made_by >= 0 && adds ? step->in[step->own].data : NULL,
                            .out = step->out[k].data};
    }
    for (int k = 0; adds && k < j->result_count - 1; k++) {
        if (j->results[k].out != step->in[step->own].data) continue;
        const struct result last = j->results[k];
        j->results[k] = j->results[j->result_count - 1];
        j->results[j->result_count - 1] = last;
    }
}

static void run_forward(const nacre_plan_op *step, void *scratch) {
    (void)scratch;
    norm_job j = job_of(step);
    const int own = step->program ? step->program->outputs : 1; /* where the op's others begin */
    find_results(&j, step);
    j.bias = step->in[2].data;
    j.mean_out = step->out[own].data;
    j.var_out = step->out[own + 1].data;
    nacre_parallel((size_t)j.channels, forward_task, &j);
}

static void run_backward(const nacre_plan_op *step, void *scratch) {
    (void)scratch;
    norm_job j = job_of(step);
    j.mean = step->in[2].data;
    j.var = step->in[3].data;
    j.dy = step->in[4].data;
    j.dweight = step->out[1].data;
    j.dbias = step->out[2].data;
    nacre_parallel((size_t)j.channels, backward_task, &j);
}

bool nacre_cpu_prepare_batch_norm(nacre_plan_op *step) {
    if (!nacre_cpu_inputs_are_plain(step)) return false;
    bool backward = step->op == &nacre_op_batch_norm_backward;
    return nacre_cpu_use(step, backward ? run_backward : run_forward, 0, "batch norm in lanes");
}
