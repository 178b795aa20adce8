/* concat, and unslice: rows of any dtype put to their places. Both write [outer, extent, inner]. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/strided.h"

#include "base/pool.h"
#include "ops/attrs.h"

#include <string.h>

/* Bytes moved by a task at least. */
#define TASK_BYTES ((int64_t)64 << 10)

typedef struct place_job {
    const nacre_plan_op *step;
    nacre_strided outer_of[NACRE_MAX_INPUTS]; /* each input's axes before the joined one */
    unsigned char *out;
    int64_t axis, outer, row, each; /* row: bytes of one index of the axis */
} place_job;

static int64_t bytes_from(const nacre_array *array, int64_t axis) {
    int64_t bytes = (int64_t)nacre_dtype_get(array->dtype)->size;
    for (int64_t i = axis; i < array->shape.ndim; i++) bytes *= array->shape.dims[i];
    return bytes;
}

static place_job job_of(const nacre_plan_op *step, int64_t axis) {
    const nacre_array *out = &step->out[0];
    place_job j = {
        .step = step, .out = out->data, .axis = axis, .outer = 1, .row = bytes_from(out, axis + 1)};
    for (int64_t i = 0; i < axis; i++) j.outer *= out->shape.dims[i];
    j.each = nacre_larger(1, TASK_BYTES / nacre_larger(1, bytes_from(out, axis)));
    return j;
}

static void run_tasks(place_job *j, nacre_task *task) {
    if (nacre_shape_numel(&j->step->out[0].shape) == 0) return;
    nacre_parallel((size_t)nacre_parts(j->outer, j->each), task, j);
}

/* ---- concat: of an input only what lies behind the axis must be in one piece ---- */

static void concat_task(void *context, size_t index) {
    const place_job *j = context;
    int64_t i = (int64_t)index * j->each, end = nacre_smaller(i + j->each, j->outer);
    unsigned char *to = j->out + i * bytes_from(&j->step->out[0], j->axis);
    for (; i < end; i++) {
        for (int k = 0; k < j->step->inputs; k++) {
            const nacre_strided *from = &j->outer_of[k];
            size_t bytes = (size_t)(j->row * j->step->in[k].shape.dims[j->axis]);
            memcpy(to, from->data + nacre_strided_offset(from, i) * (int64_t)from->size, bytes);
            to += bytes;
        }
    }
}

static void run_concat(const nacre_plan_op *step, void *scratch) {
    (void)scratch;
    place_job j = job_of(step, step->attrs[NACRE_CONCAT_AXIS].i);
    for (int k = 0; k < step->inputs; k++) {
        const nacre_array *in = &step->in[k];
        j.outer_of[k] = nacre_strided_make(in->data, nacre_dtype_get(in->dtype)->size, (int)j.axis,
                                           in->shape.dims, in->strides);
    }
    run_tasks(&j, concat_task);
}

static bool is_whole_behind(const nacre_array *in, int64_t axis) {
    int64_t expected = 1;
    for (int64_t i = in->shape.ndim - 1; i >= axis; i--) {
        if (in->shape.dims[i] != 1 && in->strides[i] != expected) return false;
        expected *= in->shape.dims[i];
    }
    return true;
}

/* ---- unslice ---- */

static void unslice_task(void *context, size_t index) {
    const place_job *j = context;
    const nacre_plan_op *step = j->step;
    int64_t i = (int64_t)index * j->each, end = nacre_smaller(i + j->each, j->outer);
    int64_t block = bytes_from(&step->out[0], j->axis), rows = step->in[0].shape.dims[j->axis];
    int64_t start = step->attrs[NACRE_SLICE_START].i * j->row;
    int64_t pitch = step->attrs[NACRE_SLICE_STEP].i * j->row;
    memset(j->out + i * block, 0, (size_t)((end - i) * block));
    const unsigned char *from = (const unsigned char *)step->in[0].data + i * rows * j->row;
    for (; i < end; i++) {
        unsigned char *to = j->out + i * block + start;
        if (pitch == j->row) {
            memcpy(to, from, (size_t)(rows * j->row));
            from += rows * j->row;
            continue;
        }
        for (int64_t r = 0; r < rows; r++, to += pitch, from += j->row)
            memcpy(to, from, (size_t)j->row);
    }
}

static void run_unslice(const nacre_plan_op *step, void *scratch) {
    (void)scratch;
    place_job j = job_of(step, step->attrs[NACRE_SLICE_AXIS].i);
    run_tasks(&j, unslice_task);
}

bool nacre_cpu_prepare_concat(nacre_plan_op *step) {
    if (step->op == &nacre_op_unslice)
        return nacre_cpu_is_plain(&step->in[0]) && nacre_cpu_use(step, run_unslice, 0, "put rows");
    for (int i = 0; i < step->inputs; i++)
        if (!is_whole_behind(&step->in[i], step->attrs[NACRE_CONCAT_AXIS].i)) return false;
    return nacre_cpu_use(step, run_concat, 0, "join rows");
}
