/* Softmax along any axis, and cross-entropy. */
#include "backend/cpu/cpu.h"

#include "base/pool.h"
#include "ops/attrs.h"

/* Elements that make a task worth handing over: exp costs about 2 ns in them all. */
#define TASK_ELEMENTS ((int64_t)4 << 10)

/* ---- softmax: [outer, n, inner] ---- */

typedef struct softmax_job {
    const nacre_cpu_level *level;
    nacre_softmax_rows *rows;
    nacre_softmax_columns *columns;
    const float *x, *dy;
    float *out;
    int64_t outer, n, inner, each;
} softmax_job;

static void choose_softmax(softmax_job *j, const nacre_op *op) {
    const nacre_softmax_kernels *kernels = j->level->softmax;
    const struct {
        const nacre_op *op;
        nacre_softmax_rows *rows;
        nacre_softmax_columns *columns;
    } table[] = {
        {&nacre_op_softmax, kernels->softmax, kernels->softmax_columns},
        {&nacre_op_log_softmax, kernels->log_softmax, kernels->log_softmax_columns},
        {&nacre_op_softmax_backward, kernels->softmax_backward, kernels->softmax_backward_columns},
        {&nacre_op_log_softmax_backward, kernels->log_softmax_backward,
         kernels->log_softmax_backward_columns},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (table[i].op != op) continue;
        j->rows = table[i].rows;
        j->columns = table[i].columns;
    }
}

static void softmax_task(void *context, size_t index) {
    const softmax_job *j = context;
    int64_t i = (int64_t)index, plane = j->n * j->inner;
    if (j->inner == 1) {
        int64_t first = i * j->each, at = first * j->n;
        j->rows(nacre_smaller(j->each, j->outer - first), j->n, j->x + at,
                j->dy ? j->dy + at : NULL, j->out + at);
        return;
    }
    int64_t parts = nacre_parts(j->inner, j->each), column = i % parts * j->each;
    int64_t at = i / parts * plane + column;
    j->columns(j->n, nacre_smaller(j->each, j->inner - column), j->inner, j->x + at,
               j->dy ? j->dy + at : NULL, j->out + at);
}

static void run_softmax(const nacre_plan_op *step, void *scratch) {
    (void)scratch;
    const nacre_shape *shape = &step->in[0].shape;
    int64_t axis = step->attrs[NACRE_SOFTMAX_AXIS].i;
    softmax_job j = {.level = nacre_cpu_level_of(step),
                     .x = step->in[0].data,
                     .dy = step->inputs > 1 ? step->in[1].data : NULL,
                     .out = step->out[0].data,
                     .outer = 1,
                     .n = shape->dims[axis],
                     .inner = 1};
    if (nacre_shape_numel(shape) == 0) return;
    choose_softmax(&j, step->op);
    for (int64_t i = 0; i < shape->ndim; i++) {
        if (i < axis) j.outer *= shape->dims[i];
        if (i > axis) j.inner *= shape->dims[i];
    }
    j.each = nacre_larger(1, TASK_ELEMENTS / j.n);
    if (j.inner > 1) j.each = nacre_parts(j.each, 16) * 16;
    int64_t tasks =
        j.inner == 1 ? nacre_parts(j.outer, j.each) : j.outer * nacre_parts(j.inner, j.each);
    nacre_parallel((size_t)tasks, softmax_task, &j);
}

bool nacre_cpu_prepare_softmax(nacre_plan_op *step) {
    if (!nacre_cpu_inputs_are_plain(step)) return false;
    return nacre_cpu_use(step, run_softmax, 0, "softmax");
}

/* ---- cross-entropy: logits [n, classes], target [n] or [n, classes] ---- */

typedef struct loss_job {
    const nacre_softmax_kernels *kernels;
    const float *logits;
    const nacre_array *target;
    float *out; /* rows' losses, or gradients [n, classes] */
    float scale;
    int64_t rows, classes, each;
} loss_job;

/* The classes of rows [first, first + count), count <= TARGETS. */
enum { TARGETS = 128 };
static const int64_t *targets_of(const loss_job *j, int64_t first, int64_t count,
                                 int64_t room[TARGETS]) {
    if (j->target->dtype == NACRE_I64) return (const int64_t *)j->target->data + first;
    for (int64_t i = 0; i < count; i++) room[i] = nacre_index_at(j->target, first + i);
    return room;
}

static void loss_task(void *context, size_t index) {
    const loss_job *j = context;
    int64_t i = (int64_t)index * j->each, end = nacre_smaller(i + j->each, j->rows);
    int64_t n = j->classes, room[TARGETS];
    if (j->target->dtype == NACRE_F32) {
        for (const float *weights = j->target->data; i < end; i++)
            j->out[i] = j->kernels->loss_rows(n, j->logits + i * n, weights + i * n);
        return;
    }
    for (; i < end; i += TARGETS) {
        int64_t rows = nacre_smaller(TARGETS, end - i);
        j->kernels->losses(rows, n, j->logits + i * n, targets_of(j, i, rows, room), j->out + i);
    }
}

static void loss_backward_task(void *context, size_t index) {
    const loss_job *j = context;
    int64_t i = (int64_t)index * j->each, end = nacre_smaller(i + j->each, j->rows);
    int64_t n = j->classes, room[TARGETS];
    if (j->target->dtype == NACRE_F32) {
        for (const float *weights = j->target->data; i < end; i++)
            j->kernels->loss_rows_backward(n, j->logits + i * n, weights + i * n, j->scale,
                                           j->out + i * n);
        return;
    }
    for (; i < end; i += TARGETS) {
        int64_t rows = nacre_smaller(TARGETS, end - i);
        j->kernels->losses_backward(rows, n, j->logits + i * n, targets_of(j, i, rows, room),
                                    j->scale, j->out + i * n);
    }
}

static loss_job loss_job_of(const nacre_plan_op *step) {
    loss_job j = {.kernels = nacre_cpu_level_of(step)->softmax,
                  .logits = step->in[0].data,
                  .target = &step->in[1],
                  .rows = step->in[0].shape.dims[0],
                  .classes = step->in[0].shape.dims[1]};
    j.each = nacre_larger(1, TASK_ELEMENTS / nacre_larger(j.classes, 16));
    return j;
}

/* The rows' losses, then their sum, which has one order whatever computed them. */
static void run_loss(const nacre_plan_op *step, void *scratch) {
    loss_job j = loss_job_of(step);
    const nacre_reduce_kernels *reduce = nacre_cpu_level_of(step)->reduce;
    j.out = scratch;
    nacre_parallel((size_t)nacre_parts(j.rows, j.each), loss_task, &j);
    float sum = reduce->run[NACRE_REDUCE_SUM](j.rows, j.out);
    *(float *)step->out[0].data = sum / (float)j.rows;
}

static void run_loss_backward(const nacre_plan_op *step, void *scratch) {
    (void)scratch;
    loss_job j = loss_job_of(step);
    j.out = step->out[0].data;
    j.scale = *(const float *)step->in[2].data / (float)j.rows;
    nacre_parallel((size_t)nacre_parts(j.rows, j.each), loss_backward_task, &j);
}

bool nacre_cpu_prepare_loss(nacre_plan_op *step) {
    if (!nacre_cpu_inputs_are_plain(step)) return false;
    if (step->op == &nacre_op_cross_entropy_backward)
        return nacre_cpu_use(step, run_loss_backward, 0, "cross-entropy rows");
    size_t scratch = (size_t)step->in[0].shape.dims[0] * sizeof(float);
    return nacre_cpu_use(step, run_loss, scratch, "cross-entropy rows");
}
