/* Products with one output per reduction, and products of f64. */
#include "backend/cpu/group.h"
#include "backend/cpu/product.h"

#include "base/pool.h"

/* ---- n = 1: each row is a sum of 16 lanes ---- */

typedef struct dot_job {
    const nacre_cpu_level *level;
    nacre_product p;
    float *out;
    const nacre_group *group; /* NULL: none */
    int64_t rows, each;
} dot_job;

static void dot_task(void *context, size_t index) {
    const dot_job *j = context;
    const nacre_product *p = &j->p;
    float sums[NACRE_BLOCK];
    int64_t first = (int64_t)index * j->each, count = nacre_smaller(j->each, j->rows - first);
    for (int64_t i = 0; i < count; i++) {
        int64_t batch = (first + i) / p->m, row = (first + i) % p->m;
        const float *a = (const float *)p->a + nacre_product_a(p, batch) + row * p->a_row;
        const float *b = (const float *)p->b + nacre_product_b(p, batch);
        sums[i] = j->level->gemm->dot(p->k, a, p->a_k, b, p->b_k);
        if (p->bias) sums[i] += *(const float *)p->bias;
    }
    if (j->group) {
        nacre_group_buffers buffers;
        nacre_group_scalars(j->group, &buffers);
        nacre_group_block(j->group, &buffers, first, 0, 1, count, sums);
    } else {
        for (int64_t i = 0; i < count; i++) j->out[first + i] = sums[i];
    }
}

void nacre_product_run_dot(const nacre_plan_op *step, void *scratch) {
    (void)scratch;
    nacre_group group;
    dot_job j = {.level = nacre_cpu_level_of(step), .p = nacre_product_of(step)};
    j.out = step->out[0].data;
    j.rows = j.p.m * j.p.batches;
    j.each = nacre_smaller(NACRE_BLOCK, nacre_larger(1, ((int64_t)1 << 16) / (j.p.k + 16)));
    if (step->program) {
        nacre_group_begin(&group, step);
        j.group = &group;
    }
    nacre_parallel((size_t)nacre_parts(j.rows, j.each), dot_task, &j);
}

/* ---- f64 ---- */

typedef struct f64_job {
    const nacre_gemm_f64_kernels *kernels;
    nacre_product p;
    double *out;
} f64_job;

/* A task is a tile of rows of one batch, all columns. */
static void f64_task(void *context, size_t index) {
    const f64_job *j = context;
    const nacre_product *p = &j->p;
    int64_t tiles = nacre_parts(p->m, j->kernels->rows);
    int64_t batch = (int64_t)index / tiles, row = (int64_t)index % tiles * j->kernels->rows;
    int rows = (int)nacre_smaller(j->kernels->rows, p->m - row);
    const double *a = (const double *)p->a + nacre_product_a(p, batch) + row * p->a_row;
    const double *b = (const double *)p->b + nacre_product_b(p, batch);
    double *out = j->out + (batch * p->m + row) * p->n;
    for (int64_t column = 0; column < p->n; column += j->kernels->columns) {
        int width = (int)nacre_smaller(j->kernels->columns, p->n - column);
        j->kernels->tile(rows, width, p->k, a, p->a_row, p->a_k, b + column * p->b_column, p->b_k,
                         p->b_column, out + column, p->n);
    }
}

void nacre_product_run_f64(const nacre_plan_op *step, void *scratch) {
    (void)scratch;
    f64_job j = {.kernels = nacre_cpu_level_of(step)->gemm_f64, .p = nacre_product_of(step)};
    j.out = step->out[0].data;
    int64_t tiles = nacre_parts(j.p.m, j.kernels->rows);
    nacre_parallel((size_t)(tiles * j.p.batches), f64_task, &j);
}
