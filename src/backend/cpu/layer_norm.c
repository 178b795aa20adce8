/* Layer norm: rows are shared out; the sums over rows of the gradients are made in two steps, first within
   each task's rows, whose number depends on the row's length alone, then over the tasks. */
#include "backend/cpu/cpu.h"

#include "base/pool.h"
#include "ops/attrs.h"

/* Elements that make a task worth handing over: a few microseconds. */
#define TASK_ELEMENTS ((int64_t)8 << 10)
/* The partial sums of the backward pass take one part in this many of the memory of x at most. */
#define TASK_ROWS 16

typedef struct norm_job {
    const nacre_cpu_level *level;
    const float *x, *dy, *weight, *bias;
    float *out, *parts; /* parts: [tasks][2][n], of dweight and dbias */
    float epsilon;
    int64_t rows, n, each;
} norm_job;

static norm_job job_of(const nacre_plan_op *step) {
    const nacre_shape *shape = &step->in[0].shape;
    norm_job j = {.level = nacre_cpu_level_of(step),
                  .x = step->in[0].data,
                  .out = step->out[0].data,
                  .epsilon = (float)step->attrs[NACRE_LAYER_NORM_EPSILON].f,
                  .rows = 1,
                  .n = shape->dims[shape->ndim - 1]};
    for (int i = 0; i + 1 < shape->ndim; i++) j.rows *= shape->dims[i];
    if (j.n == 0) j.rows = 0;
    j.each = nacre_larger(TASK_ROWS, TASK_ELEMENTS / nacre_larger(j.n, 16));
    return j;
}

static const float *input(const nacre_plan_op *step, int i) {
    return i < step->inputs ? step->in[i].data : NULL;
}

static void forward_task(void *context, size_t index) {
    const norm_job *j = context;
    int64_t first = (int64_t)index * j->each, at = first * j->n;
    j->level->layer_norm->forward(nacre_smaller(j->each, j->rows - first), j->n, j->epsilon,
                                  j->x + at, j->weight, j->bias, j->out + at);
}

static void run_forward(const nacre_plan_op *step, void *scratch) {
    (void)scratch;
    norm_job j = job_of(step);
    j.weight = input(step, 1);
    j.bias = input(step, 2);
    nacre_parallel((size_t)nacre_parts(j.rows, j.each), forward_task, &j);
}

static void backward_task(void *context, size_t index) {
    const norm_job *j = context;
    int64_t first = (int64_t)index * j->each, at = first * j->n;
    float *dweight = j->parts + (int64_t)index * 2 * j->n;
    j->level->elementwise->fill((size_t)(2 * j->n), dweight, 0.0f);
    j->level->layer_norm->backward(nacre_smaller(j->each, j->rows - first), j->n, j->epsilon,
                                   j->x + at, j->dy + at, j->weight, j->out + at, dweight,
                                   dweight + j->n);
}

static void run_backward(const nacre_plan_op *step, void *scratch) {
    norm_job j = job_of(step);
    j.dy = step->in[1].data;
    j.weight = input(step, 2);
    j.parts = scratch;
    int64_t tasks = nacre_parts(j.rows, j.each);
    nacre_parallel((size_t)tasks, backward_task, &j);
    for (int i = 0; i < 2; i++)
        j.level->reduce->columns[NACRE_REDUCE_SUM](tasks, j.n, j.parts + i * j.n, 2 * j.n,
                                                   step->out[i + 1].data);
}

bool nacre_cpu_prepare_layer_norm(nacre_plan_op *step) {
    if (!nacre_cpu_inputs_are_plain(step)) return false;
    if (step->op == &nacre_op_layer_norm)
        return nacre_cpu_use(step, run_forward, 0, "layer norm rows");
    norm_job j = job_of(step);
    size_t scratch = (size_t)(nacre_parts(j.rows, j.each) * 2 * j.n) * sizeof(float);
    return nacre_cpu_use(step, run_backward, scratch, "layer norm rows");
}
