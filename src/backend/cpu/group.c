#include "backend/cpu/group.h"

#include "base/pool.h"
#include "ops/attrs.h"

#include <string.h>

/* ---- which ops, which functions ---- */

typedef struct tile_row {
    const nacre_op *op;
    nacre_tile_code code;
    int arguments;
    nacre_dtype in[3], out;
    int64_t form; /* ops with attributes: of the first one */
} tile_row;

#define F32_1 FORM_1(0)
#define F32_2 FORM_2(0)
#define TO_BOOL {NACRE_F32, NACRE_F32}, NACRE_BOOL, 0
#define FORM_1(form) {NACRE_F32}, NACRE_F32, form
#define FORM_2(form) {NACRE_F32, NACRE_F32}, NACRE_F32, form

static const tile_row rows_of_ops[] = {
    {&nacre_op_add, NACRE_TILE_ADD, 2, F32_2},
    {&nacre_op_mul, NACRE_TILE_MUL, 2, F32_2},
    {&nacre_op_sub, NACRE_TILE_SUB, 2, F32_2},
    {&nacre_op_div, NACRE_TILE_DIV, 2, F32_2},
    {&nacre_op_relu, NACRE_TILE_RELU, 1, F32_1},
    {&nacre_op_relu_backward, NACRE_TILE_RELU_BACKWARD, 2, F32_2},
    {&nacre_op_neg, NACRE_TILE_NEG, 1, F32_1},
    {&nacre_op_exp, NACRE_TILE_EXP, 1, F32_1},
    {&nacre_op_log, NACRE_TILE_LOG, 1, F32_1},
    {&nacre_op_sqrt, NACRE_TILE_SQRT, 1, F32_1},
    {&nacre_op_tanh, NACRE_TILE_TANH, 1, F32_1},
    {&nacre_op_erf, NACRE_TILE_ERF, 1, F32_1},
    {&nacre_op_gelu, NACRE_TILE_GELU, 1, FORM_1(NACRE_GELU_ERF)},
    {&nacre_op_gelu, NACRE_TILE_GELU_TANH, 1, FORM_1(NACRE_GELU_TANH)},
    {&nacre_op_gelu_backward, NACRE_TILE_GELU_BACKWARD, 2, FORM_2(NACRE_GELU_ERF)},
    {&nacre_op_gelu_backward, NACRE_TILE_GELU_TANH_BACKWARD, 2, FORM_2(NACRE_GELU_TANH)},
    {&nacre_op_pow, NACRE_TILE_POW, 2, F32_2},
    {&nacre_op_maximum, NACRE_TILE_MAXIMUM, 2, F32_2},
    {&nacre_op_minimum, NACRE_TILE_MINIMUM, 2, F32_2},
    {&nacre_op_copy, NACRE_TILE_COPY, 1, F32_1},
    {&nacre_op_equal, NACRE_TILE_EQUAL, 2, TO_BOOL},
    {&nacre_op_not_equal, NACRE_TILE_NOT_EQUAL, 2, TO_BOOL},
    {&nacre_op_less, NACRE_TILE_LESS, 2, TO_BOOL},
    {&nacre_op_less_equal, NACRE_TILE_LESS_EQUAL, 2, TO_BOOL},
    {&nacre_op_greater, NACRE_TILE_GREATER, 2, TO_BOOL},
    {&nacre_op_greater_equal, NACRE_TILE_GREATER_EQUAL, 2, TO_BOOL},
    {&nacre_op_where, NACRE_TILE_WHERE, 3, {NACRE_BOOL, NACRE_F32, NACRE_F32}, NACRE_F32, 0},
    {&nacre_op_cast, NACRE_TILE_CAST_U8, 1, {NACRE_U8}, NACRE_F32, 0},
    {&nacre_op_cast, NACRE_TILE_CAST_U8, 1, {NACRE_BOOL}, NACRE_F32, 0},
};

static bool row_is_f32(const tile_row *row) {
    if (row->out != NACRE_F32) return false;
    for (int i = 0; i < row->arguments; i++)
        if (row->in[i] != NACRE_F32) return false;
    return true;
}

static bool row_is_for(const tile_row *row, const nacre_op *op, const nacre_word *attrs) {
    return row->op == op && (!op->attrs || !attrs || attrs[0].i == row->form);
}

/* The function of an f32 op within a group; every op that nacre_cpu_fuses accepts has one. attrs NULL: any
   of the op's forms. */
static const tile_row *row_in_group(const nacre_op *op, const nacre_word *attrs) {
    for (size_t i = 0; i < sizeof rows_of_ops / sizeof rows_of_ops[0]; i++)
        if (row_is_for(&rows_of_ops[i], op, attrs)) return &rows_of_ops[i];
    return NULL;
}

nacre_tile_function *nacre_group_function(const nacre_cpu_level *level, const nacre_op *op,
                                          const nacre_word *attrs, int *arguments) {
    const tile_row *row = row_in_group(op, attrs);
    *arguments = row->arguments;
    return level->elementwise->tile[row->code];
}

bool nacre_cpu_fuses(const nacre_op *op) {
    const tile_row *row = row_in_group(op, NULL);
    return row && op->flags & NACRE_OP_ELEMENTWISE && row_is_f32(row);
}

/* The function of a step by itself; NULL: none for these dtypes. */
static const tile_row *row_of_step(const nacre_plan_op *step) {
    for (size_t i = 0; i < sizeof rows_of_ops / sizeof rows_of_ops[0]; i++) {
        const tile_row *row = &rows_of_ops[i];
        bool fits = row_is_for(row, step->op, step->attrs) && row->arguments == step->inputs &&
                    row->out == step->out[0].dtype;
        for (int k = 0; fits && k < row->arguments; k++) fits = row->in[k] == step->in[k].dtype;
        if (fits) return row;
    }
    return NULL;
}

/* ---- beginning ---- */

static bool overlap(const nacre_array *in, const nacre_array *out) {
    const unsigned char *a = in->data, *b = out->data;
    int64_t last = 0;
    for (int i = 0; i < in->shape.ndim; i++) last += (in->shape.dims[i] - 1) * in->strides[i];
    int64_t size = (int64_t)nacre_dtype_get(in->dtype)->size;
    int64_t out_bytes = nacre_shape_numel(&out->shape) * (int64_t)nacre_dtype_get(out->dtype)->size;
    return a < b + out_bytes && b < a + (last + 1) * size;
}

static void take_arrays(nacre_group *group, const nacre_plan_op *step, int first_input) {
    group->level = nacre_cpu_level_of(step);
    group->outputs = step->outputs;
    group->in_place = false;
    for (int i = 0; i < group->inputs; i++) {
        if (group->product && i == 0) continue;
        const nacre_array *in = &step->in[first_input + i];
        group->in[i] = nacre_strided_of(in);
        for (int k = 0; k < step->outputs; k++) group->in_place |= overlap(in, &step->out[k]);
    }
    for (int k = 0; k < step->outputs; k++) {
        group->out[k] = step->out[k].data;
        group->out_size[k] = nacre_dtype_get(step->out[k].dtype)->size;
    }
}

void nacre_group_begin(nacre_group *group, const nacre_plan_op *step) {
    const nacre_program *program = step->program;
    group->product = step->op != NULL;
    group->inputs = program->inputs;
    group->codes = program->codes;
    take_arrays(group, step, step->own - group->product);
    const nacre_elementwise_kernels *kernels = group->level->elementwise;
    for (int i = 0; i < program->codes; i++) {
        const tile_row *row = row_in_group(program->code[i].op, program->code[i].attrs);
        group->code[i].run = kernels->tile[row->code];
        for (int k = 0; k < 3; k++)
            group->code[i].argument[k] = k < row->arguments ? program->code[i].argument[k] : 0;
    }
    memcpy(group->result, program->result, sizeof group->result);
    /* Nothing is written before the last function, which reads each element before it writes it. */
    bool written_last = group->outputs == 1 && group->result[0] == group->inputs + group->codes - 1;
    if (written_last && !group->product) group->in_place = false;
}

static void single_begin(nacre_group *group, const nacre_plan_op *step) {
    const tile_row *row = row_of_step(step);
    group->product = false;
    group->inputs = step->inputs;
    group->codes = 1;
    take_arrays(group, step, 0);
    group->in_place = false;
    group->code[0].run = group->level->elementwise->tile[row->code];
    for (int k = 0; k < 3; k++) group->code[0].argument[k] = k < row->arguments ? k : 0;
    group->result[0] = step->inputs;
}

/* ---- blocks ---- */

static void repeat(const void *element, size_t size, void *buffer) {
    const int64_t dims[] = {NACRE_BLOCK}, strides[] = {0};
    nacre_strided repeated = nacre_strided_make(element, size, 1, dims, strides);
    nacre_strided_gather(&repeated, 0, NACRE_BLOCK, buffer);
}

void nacre_group_scalars(const nacre_group *group, nacre_group_buffers *buffers) {
    for (int i = group->product; i < group->inputs; i++) {
        const nacre_strided *in = &group->in[i];
        buffers->repeated[i] = NULL;
        if (nacre_strided_is_scalar(in)) repeat(in->data, in->size, buffers->value[i]);
    }
}

/* The element that all of [first, first + width) are, such as a channel's number over its pixels; NULL: they may
   differ. */
static const void *single_element(const nacre_strided *in, int64_t first, int64_t width) {
    const int last = in->ndim - 1;
    if (in->strides[last] != 0 || first % in->dims[last] + width > in->dims[last]) return NULL;
    return in->data + (size_t)nacre_strided_offset(in, first) * in->size;
}

static const void *load(const nacre_group *group, int i, nacre_group_buffers *buffers,
                        int64_t first, int64_t pitch, int64_t rows, int64_t width) {
    const nacre_strided *in = &group->in[i];
    float *buffer = buffers->value[i];
    if (nacre_strided_is_scalar(in)) return buffer;
    if (rows == 1 && !group->in_place && nacre_strided_is_contiguous(in))
        return in->data + (size_t)first * in->size;
    if (in->size == sizeof(float) && nacre_strided_is_contiguous(in)) {
        group->level->elementwise->copy_rows(
            rows, width, (const float *)(const void *)in->data + first, pitch, buffer, width);
        return buffer;
    }
    const void *element = rows == 1 ? single_element(in, first, width) : NULL;
    if (element && element == buffers->repeated[i]) return buffer;
    buffers->repeated[i] = element;
    if (element) {
        repeat(element, in->size, buffer);
        return buffer;
    }
    unsigned char *to = (unsigned char *)buffer;
    for (int64_t r = 0; r < rows; r++)
        nacre_strided_gather(in, first + r * pitch, width, to + (size_t)(r * width) * in->size);
    return buffer;
}

/* Where code i may write at once: an output of its own, in one piece. */
static unsigned char *direct(const nacre_group *group, int i, int64_t first, int64_t rows) {
    if (rows != 1 || (group->in_place && i + 1 < group->codes)) return NULL;
    for (int k = 0; k < group->outputs; k++)
        if (group->result[k] == group->inputs + i)
            return group->out[k] + (size_t)first * group->out_size[k];
    return NULL;
}

void nacre_group_block(const nacre_group *group, nacre_group_buffers *buffers, int64_t first,
                       int64_t pitch, int64_t rows, int64_t width, const float *product) {
    const void *value[NACRE_GROUP_REGISTERS];
    value[0] = product;
    for (int i = group->product; i < group->inputs; i++)
        value[i] = load(group, i, buffers, first, pitch, rows, width);
    for (int i = 0; i < group->codes; i++) {
        const int *argument = group->code[i].argument;
        void *to = direct(group, i, first, rows);
        if (!to) to = buffers->value[group->inputs + i];
        group->code[i].run((size_t)(rows * width), to, value[argument[0]], value[argument[1]],
                           value[argument[2]]);
        value[group->inputs + i] = to;
    }
    for (int k = 0; k < group->outputs; k++) {
        size_t size = group->out_size[k], bytes = (size_t)width * size;
        const unsigned char *from = value[group->result[k]];
        unsigned char *start = group->out[k] + (size_t)first * size;
        if (from == start) continue;
        if (size == sizeof(float)) {
            group->level->elementwise->copy_rows(rows, width, value[group->result[k]], width,
                                                 (float *)(void *)start, pitch);
            continue;
        }
        for (int64_t r = 0; r < rows; r++) {
            unsigned char *to = group->out[k] + (size_t)(first + r * pitch) * size;
            if (to != from + (size_t)r * bytes) memcpy(to, from + (size_t)r * bytes, bytes);
        }
    }
}

/* ---- whole steps ---- */

/* Elements of one task: a few microseconds of work. */
static int64_t task_elements(const nacre_group *group) {
    int64_t blocks = 64 / (group->codes + 1);
    return (blocks < 4 ? 4 : blocks) * NACRE_BLOCK;
}

typedef struct group_job {
    const nacre_group *group;
    int64_t elements, each;
} group_job;

static void group_task(void *context, size_t index) {
    const group_job *job = context;
    nacre_group_buffers buffers;
    int64_t first = (int64_t)index * job->each;
    int64_t end = nacre_smaller(first + job->each, job->elements);
    nacre_group_scalars(job->group, &buffers);
    for (; first < end; first += NACRE_BLOCK)
        nacre_group_block(job->group, &buffers, first, 0, 1,
                          nacre_smaller(NACRE_BLOCK, end - first), NULL);
}

static void run_all(const nacre_group *group, const nacre_array *out) {
    group_job job = {
        .group = group, .elements = nacre_shape_numel(&out->shape), .each = task_elements(group)};
    nacre_parallel((size_t)nacre_parts(job.elements, job.each), group_task, &job);
}

static void run_group(const nacre_plan_op *step, void *scratch) {
    (void)scratch;
    nacre_group group;
    nacre_group_begin(&group, step);
    run_all(&group, &step->out[0]);
}

static void run_single(const nacre_plan_op *step, void *scratch) {
    (void)scratch;
    nacre_group group;
    single_begin(&group, step);
    run_all(&group, &step->out[0]);
}

bool nacre_cpu_prepare_group(nacre_plan_op *step) {
    bool fused = step->program->codes > 1;
    return nacre_cpu_use(step, run_group, 0, fused ? "fused tiles" : "tiles");
}

/* Predicted classes against wanted ones: i64 as they lie. */
static void run_equal_i64(const nacre_plan_op *step, void *scratch) {
    (void)scratch;
    const int64_t *a = step->in[0].data, *b = step->in[1].data;
    uint8_t *out = step->out[0].data;
    int64_t count = nacre_shape_numel(&step->out[0].shape);
    for (int64_t i = 0; i < count; i++) out[i] = a[i] == b[i];
}

static bool is_equal_i64(const nacre_plan_op *step) {
    return step->op == &nacre_op_equal && step->in[0].dtype == NACRE_I64 &&
           nacre_cpu_is_plain(&step->in[0]) && nacre_cpu_is_plain(&step->in[1]);
}

bool nacre_cpu_prepare_elementwise(nacre_plan_op *step) {
    if (is_equal_i64(step)) return nacre_cpu_use(step, run_equal_i64, 0, "equal i64");
    if (!row_of_step(step)) return nacre_cpu_use_reference(step);
    return nacre_cpu_use(step, run_single, 0, "tiles");
}

/* ---- full ---- */

typedef struct full_job {
    const nacre_cpu_level *level;
    float *out, value;
    int64_t elements;
} full_job;

enum { FULL_ELEMENTS = 1 << 16 };

static void full_task(void *context, size_t index) {
    const full_job *job = context;
    int64_t first = (int64_t)index * FULL_ELEMENTS;
    job->level->elementwise->fill((size_t)nacre_smaller(FULL_ELEMENTS, job->elements - first),
                                  job->out + first, job->value);
}

static void run_full(const nacre_plan_op *step, void *scratch) {
    (void)scratch;
    full_job job = {.level = nacre_cpu_level_of(step),
                    .out = step->out[0].data,
                    .value = (float)step->attrs[NACRE_FULL_VALUE].f,
                    .elements = nacre_shape_numel(&step->out[0].shape)};
    nacre_parallel((size_t)nacre_parts(job.elements, FULL_ELEMENTS), full_task, &job);
}

bool nacre_cpu_prepare_full(nacre_plan_op *step) {
    if (step->out[0].dtype != NACRE_F32) return nacre_cpu_use_reference(step);
    return nacre_cpu_use(step, run_full, 0, "fill");
}
