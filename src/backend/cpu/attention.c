/* Attention: one task is one head of one sample. Where q, k and v lie is a matter of strides. */
#include "backend/cpu/cpu.h"

#include "base/pool.h"
#include "ops/attrs.h"

#include <string.h>

/* Scratch that a task takes from its stack; longer sequences use the step's, a part for each of this many runs
   of neighbouring heads. */
#define STACK_FLOATS ((int64_t)14 << 10)
#define RUNS 32

typedef struct place {
    float *data;
    int64_t batch, row; /* floats from one sample, and from one row, to the next */
} place;

typedef struct attention_job {
    const nacre_cpu_level *level;
    place q, k, v, dy, out, dk, dv; /* out: y or dq */
    int64_t batches, heads, width, queries, keys;
    float scale;
    bool causal, backward, padded; /* padded: a head's width is no multiple of 16 */
    float *scratch;
    int64_t floats, runs; /* of scratch, one head */
} attention_job;

static place place_of(const nacre_array *array, int64_t offset) {
    return (place){(float *)array->data + offset, array->strides[0], array->strides[1]};
}

static int64_t padded_width(int64_t width) { return nacre_parts(width, 16) * 16; }

/* Floats of q, k, v, dy and the results of one head, with rows of a padded width. */
static int64_t padded_rows(const attention_job *j) {
    return j->backward ? 3 * j->queries + 4 * j->keys : 2 * j->queries + 2 * j->keys;
}

static int64_t floats_of(const attention_job *j) {
    int64_t width = padded_width(j->width), rows = nacre_attention_rows(j->queries, j->keys);
    int64_t floats = NACRE_ATTENTION_KEYS * width +
                     rows * nacre_attention_pitch(j->keys) * (j->backward ? 2 : 1);
    return floats + (j->padded ? padded_rows(j) * width : 0);
}

static attention_job job_of(const nacre_plan_op *step) {
    bool packed =
        step->op == &nacre_op_attention_qkv || step->op == &nacre_op_attention_qkv_backward;
    const nacre_array *in = step->in, *out = step->out;
    attention_job j = {.level = nacre_cpu_level_of(step),
                       .batches = in[0].shape.dims[0],
                       .heads = step->attrs[NACRE_ATTENTION_HEADS].i,
                       .queries = in[0].shape.dims[1],
                       .keys = in[packed ? 0 : 1].shape.dims[1],
                       .scale = (float)step->attrs[NACRE_ATTENTION_SCALE].f,
                       .causal = step->attrs[NACRE_ATTENTION_CAUSAL].i != 0,
                       .backward = step->inputs == (packed ? 2 : 4)};
    int64_t all = in[0].shape.dims[2] / (packed ? 3 : 1);
    j.width = all / j.heads;
    j.padded = j.width % 16 != 0;
    j.q = place_of(&in[0], 0);
    j.k = packed ? place_of(&in[0], all) : place_of(&in[1], 0);
    j.v = packed ? place_of(&in[0], 2 * all) : place_of(&in[2], 0);
    if (j.backward) j.dy = place_of(&in[packed ? 1 : 3], 0);
    j.out = place_of(&out[0], 0);
    if (j.backward) {
        j.dk = packed ? place_of(&out[0], all) : place_of(&out[1], 0);
        j.dv = packed ? place_of(&out[0], 2 * all) : place_of(&out[2], 0);
    }
    j.floats = floats_of(&j);
    int64_t tasks = j.batches * j.heads;
    j.runs = j.floats <= STACK_FLOATS ? tasks : nacre_smaller(tasks, RUNS);
    return j;
}

/* ---- one head ---- */

/* Rows of a head with zeros up to the padded width; *free moves past them. */
static const float *pad(const attention_job *j, const float *x, int64_t row, int64_t rows,
                        float **free) {
    float *to = *free;
    int64_t width = padded_width(j->width);
    for (int64_t r = 0; r < rows; r++) {
        memcpy(to + r * width, x + r * row, (size_t)j->width * sizeof *to);
        memset(to + r * width + j->width, 0, (size_t)(width - j->width) * sizeof *to);
    }
    *free += rows * width;
    return to;
}

static void unpad(const attention_job *j, const float *from, int64_t rows, float *out,
                  int64_t row) {
    for (int64_t r = 0; r < rows; r++)
        memcpy(out + r * row, from + r * padded_width(j->width), (size_t)j->width * sizeof *out);
}

static void call_kernel(const attention_job *j, const nacre_attention_head *head, float *scratch) {
    if (j->backward)
        j->level->attention->backward(head, scratch);
    else
        j->level->attention->forward(head, scratch);
}

static void run_padded(const attention_job *j, const nacre_attention_head *head, float *scratch) {
    nacre_attention_head h = *head;
    h.width = padded_width(j->width);
    h.q_row = h.k_row = h.v_row = h.dy_row = h.out_row = h.dk_row = h.dv_row = h.width;
    h.q = pad(j, head->q, head->q_row, h.queries, &scratch);
    h.k = pad(j, head->k, head->k_row, h.keys, &scratch);
    h.v = pad(j, head->v, head->v_row, h.keys, &scratch);
    if (j->backward) h.dy = pad(j, head->dy, head->dy_row, h.queries, &scratch);
    h.out = scratch;
    scratch += h.queries * h.width;
    if (j->backward) {
        h.dk = scratch;
        h.dv = scratch + h.keys * h.width;
        scratch += 2 * h.keys * h.width;
    }
    call_kernel(j, &h, scratch);
    unpad(j, h.out, h.queries, head->out, head->out_row);
    if (!j->backward) return;
    unpad(j, h.dk, h.keys, head->dk, head->dk_row);
    unpad(j, h.dv, h.keys, head->dv, head->dv_row);
}

static float *at(const place *p, int64_t batch, int64_t column) {
    return p->data ? p->data + batch * p->batch + column : NULL;
}

static void run_head(const attention_job *j, int64_t index, float *scratch) {
    int64_t batch = index / j->heads, column = index % j->heads * j->width;
    nacre_attention_head head = {.queries = j->queries,
                                 .keys = j->keys,
                                 .width = j->width,
                                 .q = at(&j->q, batch, column),
                                 .k = at(&j->k, batch, column),
                                 .v = at(&j->v, batch, column),
                                 .dy = at(&j->dy, batch, column),
                                 .q_row = j->q.row,
                                 .k_row = j->k.row,
                                 .v_row = j->v.row,
                                 .dy_row = j->dy.row,
                                 .out = at(&j->out, batch, column),
                                 .dk = at(&j->dk, batch, column),
                                 .dv = at(&j->dv, batch, column),
                                 .out_row = j->out.row,
                                 .dk_row = j->dk.row,
                                 .dv_row = j->dv.row,
                                 .scale = j->scale,
                                 .causal = j->causal};
    if (j->padded)
        run_padded(j, &head, scratch);
    else
        call_kernel(j, &head, scratch);
}

static void head_task(void *context, size_t index) {
    float scratch[STACK_FLOATS];
    run_head(context, (int64_t)index, scratch);
}

static void heads_task(void *context, size_t index) {
    const attention_job *j = context;
    int64_t heads = j->batches * j->heads, run = (int64_t)index;
    for (int64_t i = heads * run / j->runs; i < heads * (run + 1) / j->runs; i++)
        run_head(j, i, j->scratch + run * j->floats);
}

/* No keys: nothing to weigh, and zeros. No queries: no gradient either. */
static void run_attention(const nacre_plan_op *step, void *scratch) {
    attention_job j = job_of(step);
    j.scratch = scratch;
    if (j.queries == 0 || j.keys == 0) {
        for (int i = 0; i < step->outputs; i++)
            j.level->elementwise->fill((size_t)nacre_shape_numel(&step->out[i].shape),
                                       step->out[i].data, 0.0f);
        return;
    }
    nacre_parallel((size_t)j.runs, j.floats <= STACK_FLOATS ? head_task : heads_task, &j);
}

bool nacre_cpu_prepare_attention(nacre_plan_op *step) {
    for (int i = 0; i < step->inputs; i++)
        if (step->in[i].shape.dims[2] != 1 && step->in[i].strides[2] != 1) return false;
    attention_job j = job_of(step);
    size_t scratch = j.floats <= STACK_FLOATS ? 0 : (size_t)(j.runs * j.floats) * sizeof(float);
    return nacre_cpu_use(step, run_attention, scratch, "heads");
}
