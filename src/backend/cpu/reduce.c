/* sum, max and min over any axes, argmax and argmin. Three ways through memory, the same bits: each
   reduction takes its elements in row-major order of the reduced axes, in segments, 16 lanes each. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/strided.h"

#include "base/pool.h"
#include "ops/attrs.h"

/* ---- what is reduced ---- */

typedef struct reduction {
    const nacre_cpu_level *level;
    nacre_reduce_kind kind;
    nacre_strided kept, reduced; /* the input's kept and reduced axes, each a sequence */
    int64_t outputs, count;      /* elements of each */
    int64_t segments;            /* of one reduction */
    int64_t
        columns; /* > 0: the last kept axis is contiguous and this long; reductions run down it */
    float *out,
        *parts;   /* parts: results of segments, [segments][outputs] by columns, else transposed */
    int64_t each; /* outputs or columns of one task */
} reduction;

static void split_axes(reduction *r, const nacre_array *in, int64_t axes) {
    int64_t dims[2][NACRE_MAX_DIMS], strides[2][NACRE_MAX_DIMS], size[2] = {1, 1};
    int count[2] = {0, 0};
    for (int i = 0; i < in->shape.ndim; i++) {
        int side = axes >> i & 1;
        dims[side][count[side]] = in->shape.dims[i];
        strides[side][count[side]++] = in->strides[i];
        size[side] *= in->shape.dims[i];
    }
    r->kept = nacre_strided_make(in->data, sizeof(float), count[0], dims[0], strides[0]);
    r->reduced = nacre_strided_make(in->data, sizeof(float), count[1], dims[1], strides[1]);
    r->outputs = size[0];
    r->count = size[1];
}

/* Elements that make a task worth handing over. */
#define TASK_ELEMENTS ((int64_t)16 << 10)

static reduction describe(const nacre_plan_op *step) {
    reduction r = {.level = nacre_cpu_level_of(step), .out = step->out[0].data};
    r.kind = step->op == &nacre_op_sum   ? NACRE_REDUCE_SUM
             : step->op == &nacre_op_max ? NACRE_REDUCE_MAX
                                         : NACRE_REDUCE_MIN;
    split_axes(&r, &step->in[0], step->attrs[NACRE_REDUCE_AXES].i);
    r.segments = nacre_larger(1, nacre_parts(r.count, NACRE_REDUCE_SEGMENT));
    int last = r.kept.ndim - 1;
    bool down =
        last >= 0 && r.kept.strides[last] == 1 && r.reduced.ndim == 1 && r.reduced.strides[0] != 1;
    r.columns = down ? r.kept.dims[last] : 0;
    int64_t rows = nacre_larger(1, nacre_smaller(r.count, NACRE_REDUCE_SEGMENT));
    r.each = nacre_larger(1, TASK_ELEMENTS / rows);
    if (down) r.each = nacre_parts(r.each, NACRE_REDUCE_COLUMNS) * NACRE_REDUCE_COLUMNS;
    return r;
}

/* ---- one output after another ---- */

/* A segment whose elements lie apart is brought together first: same order, same lanes. */
static float reduce_segment(const reduction *r, int64_t output, int64_t segment) {
    float (*run)(int64_t, const float *) = r->level->reduce->run[r->kind];
    int64_t first = segment * NACRE_REDUCE_SEGMENT;
    int64_t n = nacre_smaller(NACRE_REDUCE_SEGMENT, r->count - first);
    nacre_strided from = r->reduced;
    from.data += nacre_strided_offset(&r->kept, output) * (int64_t)sizeof(float);
    if (nacre_strided_is_contiguous(&from))
        return run(n, (const float *)(const void *)from.data + first);
    float x[NACRE_REDUCE_SEGMENT];
    nacre_strided_gather(&from, first, n, x);
    return run(n, x);
}

static void rows_task(void *context, size_t index) {
    const reduction *r = context;
    int64_t first = (int64_t)index * r->each, total = r->outputs * r->segments;
    int64_t end = nacre_smaller(first + r->each, total);
    float *to = r->segments > 1 ? r->parts : r->out;
    for (int64_t i = first; i < end; i++)
        to[i] = reduce_segment(r, i / r->segments, i % r->segments);
}

static void run_rows(reduction *r) {
    nacre_parallel((size_t)nacre_parts(r->outputs * r->segments, r->each), rows_task, r);
    for (int64_t i = 0; r->segments > 1 && i < r->outputs; i++)
        r->out[i] = r->level->reduce->run[r->kind](r->segments, r->parts + i * r->segments);
}

/* ---- many outputs at once, down the columns ---- */

static void columns_task(void *context, size_t index) {
    const reduction *r = context;
    int64_t parts = nacre_parts(r->columns, r->each), i = (int64_t)index;
    int64_t column = i % parts * r->each, segment = i / parts % r->segments;
    int64_t group = i / parts / r->segments * r->columns; /* first output of this row of columns */
    int64_t width = nacre_smaller(r->each, r->columns - column);
    int64_t first = segment * NACRE_REDUCE_SEGMENT, row = r->reduced.strides[0];
    int64_t n = nacre_smaller(NACRE_REDUCE_SEGMENT, r->count - first);
    const float *x = (const float *)(const void *)r->kept.data;
    x += nacre_strided_offset(&r->kept, group) + first * row + column;
    float *to = r->segments > 1 ? r->parts + segment * r->outputs : r->out;
    r->level->reduce->columns[r->kind](n, width, x, row, to + group + column);
}

static void run_columns(reduction *r) {
    int64_t groups = r->outputs / r->columns;
    int64_t tasks = groups * r->segments * nacre_parts(r->columns, r->each);
    nacre_parallel((size_t)tasks, columns_task, r);
    if (r->segments > 1)
        r->level->reduce->columns[r->kind](r->segments, r->outputs, r->parts, r->outputs, r->out);
}

static void run_reduce(const nacre_plan_op *step, void *scratch) {
    reduction r = describe(step);
    r.parts = scratch;
    if (r.outputs == 0) return;
    if (r.columns > 0)
        run_columns(&r);
    else
        run_rows(&r);
}

bool nacre_cpu_prepare_reduce(nacre_plan_op *step) {
    if (!nacre_cpu_is_f32(&step->in[0]) || !nacre_cpu_is_f32(&step->out[0]))
        return nacre_cpu_use_reference(step);
    reduction r = describe(step);
    size_t scratch = r.segments > 1 ? (size_t)(r.segments * r.outputs) * sizeof(float) : 0;
    return nacre_cpu_use(step, run_reduce, scratch, r.columns ? "reduce columns" : "reduce rows");
}

/* ---- argmax, argmin along the last axis ---- */

static void run_arg(const nacre_plan_op *step, void *scratch) {
    (void)scratch;
    const nacre_reduce_kernels *kernels = nacre_cpu_level_of(step)->reduce;
    bool largest = step->op == &nacre_op_argmax;
    const nacre_shape *shape = &step->in[0].shape;
    bool flat = step->attrs[NACRE_ARG_AXIS].i < 0;
    int64_t n = flat ? nacre_shape_numel(shape) : shape->dims[shape->ndim - 1];
    int64_t rows = nacre_shape_numel(&step->out[0].shape);
    const float *x = step->in[0].data;
    int64_t *out = step->out[0].data;
    for (int64_t i = 0; i < rows; i++)
        out[i] = largest ? kernels->argmax(n, x + i * n) : kernels->argmin(n, x + i * n);
}

bool nacre_cpu_prepare_arg(nacre_plan_op *step) {
    const nacre_array *in = &step->in[0];
    int64_t axis = step->attrs[NACRE_ARG_AXIS].i;
    bool last = axis < 0 || axis == in->shape.ndim - 1;
    if (!nacre_cpu_is_f32(in) || !nacre_cpu_is_plain(in) || !last)
        return nacre_cpu_use_reference(step);
    return nacre_cpu_use(step, run_arg, 0, "arg rows");
}
