/* Pooling of laned images: a task is a few planes. */
#include "backend/cpu/conv.h"

#include "base/pool.h"
#include "ops/attrs.h"

/* Pixels that make a task. */
#define TASK_PIXELS ((int64_t)2048)

typedef struct pool_job {
    const nacre_pool_kernels *kernels;
    const nacre_op *op;
    nacre_pool pool;
    bool relu;    /* and the gradient of the relu that made x */
    int64_t unit; /* floats of a pixel: 16 in lanes, 1 of a sample alone */
    int64_t planes, each, in_plane, out_plane; /* floats of input 0's and the output's planes */
    const float *x, *other;
    int64_t other_plane;
    float *out;
} pool_job;

static void run_plane(const pool_job *j, int64_t plane) {
    const float *x = j->x + plane * j->in_plane, *other = j->other + plane * j->other_plane;
    float *out = j->out + plane * j->out_plane;
    if (j->unit == 1)
        (j->op == &nacre_op_max_pool2d ? j->kernels->max_alone
                                       : j->kernels->average_alone)(&j->pool, x, out);
    else if (j->op == &nacre_op_max_pool2d)
        j->kernels->max(&j->pool, x, out);
    else if (j->op == &nacre_op_max_pool2d_backward)
        (j->relu ? j->kernels->max_relu_backward : j->kernels->max_backward)(&j->pool, x, other,
                                                                             out);
    else if (j->op == &nacre_op_max_pool2d_pick)
        j->kernels->max_pick(&j->pool, x, other, out);
    else if (j->op == &nacre_op_avg_pool2d)
        j->kernels->average(&j->pool, x, out);
    else
        j->kernels->average_backward(&j->pool, x, out);
}

static void pool_task(void *context, size_t index) {
    const pool_job *j = context;
    int64_t plane = (int64_t)index * j->each, end = nacre_smaller(plane + j->each, j->planes);
    for (; plane < end; plane++) run_plane(j, plane);
}

static int64_t plane_floats(const nacre_array *array) {
    return array->shape.dims[2] * array->shape.dims[3] * (array->laned ? NACRE_LANES : 1);
}

static nacre_pool pool_of(const nacre_plan_op *step, const nacre_array *x, const nacre_array *y) {
    const nacre_word *attrs = step->attrs;
    const nacre_word kernel = attrs[NACRE_POOL_KERNEL], stride = attrs[NACRE_POOL_STRIDE];
    const nacre_word padding = attrs[NACRE_POOL_PADDING];
    return (nacre_pool){.rows = x->shape.dims[2],
                        .columns = x->shape.dims[3],
                        .out_rows = y->shape.dims[2],
                        .out_columns = y->shape.dims[3],
                        .kernel = {nacre_pair_first(kernel), nacre_pair_second(kernel)},
                        .stride = {nacre_pair_first(stride), nacre_pair_second(stride)},
                        .padding = {nacre_pair_first(padding), nacre_pair_second(padding)}};
}

static void run_pool(const nacre_plan_op *step, void *scratch) {
    (void)scratch;
    const nacre_array *in = &step->in[0], *out = &step->out[0], *x = in, *y = out;
    if (step->op == &nacre_op_max_pool2d_backward) y = &step->in[1];
    if (step->op == &nacre_op_avg_pool2d_backward) x = out, y = in;
    pool_job j = {.kernels = nacre_cpu_level_of(step)->pool,
                  .op = step->op,
                  .pool = pool_of(step, x, y),
                  .unit = in->laned ? NACRE_LANES : 1,
                  .in_plane = plane_floats(in),
                  .out_plane = plane_floats(out),
                  .x = in->data};
    j.planes = nacre_parts(in->shape.dims[0], j.unit) * in->shape.dims[1];
    if (step->inputs > 1) {
        j.other = step->in[1].data;
        j.other_plane = plane_floats(&step->in[1]);
    } else {
        j.other = j.x;
    }
    j.each = nacre_larger(1, TASK_PIXELS * NACRE_LANES / (j.in_plane + j.out_plane + 1));
    /* With relu's gradient the result before it may be wanted too: register 0. */
    for (int k = 0; k < step->outputs; k++) {
        j.relu = step->program && step->program->result[k] > 0;
        j.out = step->out[k].data;
        nacre_parallel((size_t)nacre_parts(j.planes, j.each), pool_task, &j);
    }
}

bool nacre_pool2d_is_plain(const nacre_plan_op *step) {
    bool pools = step->op == &nacre_op_max_pool2d || step->op == &nacre_op_avg_pool2d;
    return pools && step->in[0].dtype == NACRE_F32 && step->in[0].shape.dims[0] <= NACRE_CONV_FEW;
}

bool nacre_cpu_prepare_pool2d(nacre_plan_op *step) {
    if (nacre_pool2d_is_plain(step)) {
        if (!nacre_cpu_is_plain(&step->in[0])) return false;
        return nacre_cpu_use(step, run_pool, 0, "pool");
    }
    if (!step->in[0].laned) return nacre_cpu_use_reference(step);
    return nacre_cpu_use(step, run_pool, 0, "pool in lanes");
}
