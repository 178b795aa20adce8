/* gather, scatter_rows, one_hot. An index outside its range reads and writes nothing. */
#include "backend/cpu/cpu.h"

#include "base/pool.h"
#include "ops/attrs.h"

#include <string.h>

/* Bytes moved by a task at least. */
#define TASK_BYTES ((int64_t)64 << 10)

typedef struct rows_job {
    const nacre_cpu_level *level;
    const nacre_array *indices;
    const unsigned char *from;
    unsigned char *to;
    int64_t count, bound, row_bytes, each; /* indices; rows of the table */
} rows_job;

static void gather_task(void *context, size_t index) {
    const rows_job *j = context;
    int64_t i = (int64_t)index * j->each, end = nacre_smaller(i + j->each, j->count);
    for (; i < end; i++) {
        int64_t row = nacre_index_at(j->indices, i);
        unsigned char *to = j->to + i * j->row_bytes;
        if (row >= 0 && row < j->bound)
            memcpy(to, j->from + row * j->row_bytes, (size_t)j->row_bytes);
        else
            memset(to, 0, (size_t)j->row_bytes);
    }
}

static int64_t row_bytes(const nacre_array *table) {
    int64_t size = (int64_t)nacre_dtype_get(table->dtype)->size;
    for (int i = 1; i < table->shape.ndim; i++) size *= table->shape.dims[i];
    return size;
}

static void run_gather(const nacre_plan_op *step, void *scratch) {
    (void)scratch;
    rows_job j = {.indices = &step->in[1],
                  .from = step->in[0].data,
                  .to = step->out[0].data,
                  .count = nacre_shape_numel(&step->in[1].shape),
                  .bound = step->in[0].shape.dims[0],
                  .row_bytes = row_bytes(&step->in[0])};
    if (j.row_bytes == 0) return;
    j.each = nacre_larger(1, TASK_BYTES / j.row_bytes);
    nacre_parallel((size_t)nacre_parts(j.count, j.each), gather_task, &j);
}

/* ---- scatter_rows: a task owns a range of the table's rows and reads all indices, so that equal ones
   add up in their order ---- */

static void scatter_task(void *context, size_t index) {
    const rows_job *j = context;
    int64_t first = (int64_t)index * j->each, end = nacre_smaller(first + j->each, j->bound);
    size_t n = (size_t)j->row_bytes / sizeof(float);
    memset(j->to + first * j->row_bytes, 0, (size_t)((end - first) * j->row_bytes));
    for (int64_t i = 0; i < j->count; i++) {
        int64_t row = nacre_index_at(j->indices, i);
        if (row < first || row >= end) continue;
        unsigned char *to = j->to + row * j->row_bytes;
        j->level->elementwise->tile[NACRE_TILE_ADD](n, to, to, j->from + i * j->row_bytes, NULL);
    }
}

static void run_scatter(const nacre_plan_op *step, void *scratch) {
    (void)scratch;
    enum { MOST_TASKS = 16 };
    rows_job j = {.level = nacre_cpu_level_of(step),
                  .indices = &step->in[1],
                  .from = step->in[0].data,
                  .to = step->out[0].data,
                  .count = nacre_shape_numel(&step->in[1].shape),
                  .bound = step->out[0].shape.dims[0],
                  .row_bytes = row_bytes(&step->out[0])};
    if (j.row_bytes == 0) return;
    j.each =
        nacre_larger(nacre_parts(j.bound, MOST_TASKS), nacre_larger(1, TASK_BYTES / j.row_bytes));
    nacre_parallel((size_t)nacre_parts(j.bound, j.each), scatter_task, &j);
}

/* ---- one_hot ---- */

static void run_one_hot(const nacre_plan_op *step, void *scratch) {
    (void)scratch;
    int64_t count = nacre_shape_numel(&step->in[0].shape);
    int64_t classes = step->attrs[NACRE_ONE_HOT_CLASSES].i;
    float *out = step->out[0].data;
    nacre_cpu_level_of(step)->elementwise->fill((size_t)(count * classes), out, 0.0f);
    for (int64_t i = 0; i < count; i++) {
        int64_t hot = nacre_index_at(&step->in[0], i);
        if (hot >= 0 && hot < classes) out[i * classes + hot] = 1.0f;
    }
}

bool nacre_cpu_prepare_rows(nacre_plan_op *step) {
    bool gather = step->op == &nacre_op_gather;
    if (!gather && step->out[0].dtype != NACRE_F32) return nacre_cpu_use_reference(step);
    if (!nacre_cpu_inputs_are_plain(step)) return false;
    if (gather) return nacre_cpu_use(step, run_gather, 0, "gather rows");
    if (step->op == &nacre_op_scatter_rows)
        return nacre_cpu_use(step, run_scatter, 0, "scatter rows");
    return nacre_cpu_use(step, run_one_hot, 0, "one-hot");
}
