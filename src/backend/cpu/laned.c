/* Which operands are laned, and the copies in and out of lanes. */
#include "backend/cpu/conv.h"

#include "base/pool.h"

/* Pixels that make a task. */
#define TASK_PIXELS ((int64_t)512)

static bool fits_conv(const nacre_plan_op *step) {
    bool products = step->op == &nacre_op_conv2d_backward_weight;
    const nacre_shape *weight = products ? &step->out[0].shape : &step->in[1].shape;
    return nacre_conv_fits(weight);
}

/* Of an epilogue: those that have the output's shape, other than a channel's numbers. */
static unsigned whole_operands(const nacre_plan_op *step) {
    unsigned bits = 0;
    for (int i = step->own; step->program && i < NACRE_PROGRAM_INPUTS; i++)
        if (step->in[i].dtype != NACRE_DTYPE_DEFAULT &&
            nacre_shape_equal(&step->in[i].shape, &step->out[0].shape))
            bits |= NACRE_READS_IN(i);
    return bits;
}

unsigned nacre_cpu_laned(const nacre_plan_op *step) {
    const unsigned in_0 = NACRE_READS_IN(0), in_1 = NACRE_READS_IN(1), out_0 = NACRE_READS_OUT(0);
    const unsigned of_relu =
        NACRE_READS_IN(2); /* input 0 once more, where relu's gradient is taken along */
    const unsigned added = NACRE_READS_IN(3); /* by the epilogue */
    const unsigned by_epilogue = NACRE_READS_IN(2) | NACRE_READS_IN(3);
    const unsigned residual = whole_operands(step);
    const struct {
        const nacre_op *op;
        bool conv;
        unsigned operands;
    } table[] = {
        {&nacre_op_conv2d, true, in_0 | residual | out_0},
        {&nacre_op_conv2d_backward_input, true, in_0 | by_epilogue | out_0},
        {&nacre_op_conv2d_backward_weight, true, in_0 | in_1},
        {&nacre_op_max_pool2d, false, in_0 | out_0},
        {&nacre_op_max_pool2d_backward, false, in_0 | in_1 | of_relu | out_0},
        {&nacre_op_max_pool2d_pick, false, in_0 | in_1 | out_0},
        {&nacre_op_avg_pool2d, false, in_0 | out_0},
        {&nacre_op_avg_pool2d_backward, false, in_0 | out_0},
        {&nacre_op_batch_norm, false, in_0 | added | out_0},
        {&nacre_op_batch_norm_backward, false, in_0 | NACRE_READS_IN(4) | out_0},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (table[i].op != step->op) continue;
        bool fits = step->in[0].dtype == NACRE_F32 && (!table[i].conv || fits_conv(step)) &&
                    !nacre_conv_is_plain(step) && !nacre_pool2d_is_plain(step);
        return fits ? table[i].operands : 0;
    }
    return 0;
}

typedef struct copy_job {
    const nacre_cpu_level *level;
    int64_t samples, pixels, parts, sample_step; /* from one sample to the next of the plain side */
    const float *in;
    float *out;
} copy_job;

static void copy_in_task(void *context, size_t index) {
    const copy_job *j = context;
    int64_t block = (int64_t)index / j->parts, first = (int64_t)index % j->parts * TASK_PIXELS;
    int64_t pixels = nacre_smaller(TASK_PIXELS, j->pixels - first);
    int64_t samples = nacre_smaller(NACRE_LANES, j->samples - block * NACRE_LANES);
    j->level->pack->panel(pixels, (int)samples, NACRE_LANES,
                          j->in + block * NACRE_LANES * j->sample_step + first, 1, j->sample_step,
                          j->out + (block * j->pixels + first) * NACRE_LANES);
}

static void copy_out_task(void *context, size_t index) {
    const copy_job *j = context;
    int64_t block = (int64_t)index / j->parts, first = (int64_t)index % j->parts * TASK_PIXELS;
    int64_t pixels = nacre_smaller(TASK_PIXELS, j->pixels - first);
    int64_t samples = nacre_smaller(NACRE_LANES, j->samples - block * NACRE_LANES);
    j->level->conv->unlane(pixels, (int)samples, j->in + (block * j->pixels + first) * NACRE_LANES,
                           NULL, j->out + block * NACRE_LANES * j->sample_step + first,
                           j->sample_step);
}

static void run_copy(const nacre_plan_op *step, void *scratch) {
    (void)scratch;
    const nacre_shape *shape = &step->out[0].shape;
    copy_job j = {.level = nacre_cpu_level_of(step),
                  .samples = shape->dims[0],
                  .pixels = 1,
                  .in = step->in[0].data,
                  .out = step->out[0].data};
    for (int i = 1; i < shape->ndim; i++) j.pixels *= shape->dims[i];
    j.parts = nacre_parts(j.pixels, TASK_PIXELS);
    bool inward = step->out[0].laned;
    j.sample_step = inward ? step->in[0].strides[0] : j.pixels;
    int64_t tasks = nacre_parts(j.samples, NACRE_LANES) * j.parts;
    nacre_parallel((size_t)tasks, inward ? copy_in_task : copy_out_task, &j);
}

/* Each sample's own elements must lie in order; samples may be any distance apart. */
static bool samples_are_plain(const nacre_array *array) {
    int64_t expected = 1;
    for (int i = array->shape.ndim - 1; i > 0; i--) {
        if (array->shape.dims[i] != 1 && array->strides[i] != expected) return false;
        expected *= array->shape.dims[i];
    }
    return true;
}

bool nacre_cpu_prepare_laned_copy(nacre_plan_op *step) {
    if (!step->in[0].laned && !samples_are_plain(&step->in[0])) return false;
    return nacre_cpu_use(step, run_copy, 0, step->out[0].laned ? "to lanes" : "from lanes");
}
