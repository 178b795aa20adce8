/* A matrix product described by shapes and strides alone: what the f32, f64 and dot drivers start from. */
#ifndef NACRE_BACKEND_CPU_PRODUCT_H
#define NACRE_BACKEND_CPU_PRODUCT_H

#include "backend/cpu/cpu.h"

/* out[i, m, n] = sum over k of A[i, m, k] B[i, k, n] (+ bias[n]), i over the batch axes. Axes of A's rows that
   step as one and share B are merged into m. Strides in elements; out is contiguous. */
typedef struct nacre_product {
    int64_t m, n, k;
    int64_t a_row, a_k, b_k, b_column;
    int batch_ndim;
    int64_t batch_dims[NACRE_MAX_DIMS], a_batch[NACRE_MAX_DIMS], b_batch[NACRE_MAX_DIMS];
    int64_t batches;          /* product of batch_dims */
    const void *a, *b, *bias; /* bias NULL: none */
} nacre_product;

nacre_product nacre_product_of(const nacre_plan_op *step);

/* What follows a product: in the registers of its tiles, function by function over the finished rows, or as the step's
   program says. */
typedef struct nacre_product_finish {
    bool program; /* none of what is below, but the linear op's own bias */
    bool relu;
    int bias_input, mask_input, add_input; /* of the step, see nacre_gemm_finish; -1: none */
    int out;                               /* output of the step for the finished sums */
    /* Then map(mapped output) from the sums (argument 0) and perhaps one more input (1); NULL: nothing. The mapped
       output may be the sums' own. */
    nacre_tile_function *map;
    int map_argument[2], map_input, mapped;
} nacre_product_finish;

nacre_product_finish nacre_product_finish_of(const nacre_plan_op *step);

/* Offsets of batch i, in elements. */
int64_t nacre_product_a(const nacre_product *p, int64_t i);
int64_t nacre_product_b(const nacre_product *p, int64_t i);

/* Runs of the three kinds, and what the f32 one needs; product_f32.c, product_plan.c, product_other.c. */
nacre_cpu_run nacre_product_run_f32, nacre_product_run_f64, nacre_product_run_dot;
size_t nacre_product_scratch_f32(const nacre_plan_op *step), nacre_product_state_f32(void);
/* Works out the step's state: the first run does it, or who changes the step's choice. */
void nacre_product_plan_f32(const nacre_plan_op *step, void *state);
/* What a choice comes to: choices with equal layouts do the same. */
typedef struct nacre_product_layout {
    int64_t way, pack_a, pack_b, sweeps, parts, task_panels;
} nacre_product_layout;
nacre_product_layout nacre_product_layout_f32(const nacre_plan_op *step);
/* The step's way in the words of nacre tune. */
void nacre_product_describe_f32(const nacre_plan_op *step, char *text, size_t size);
/* Is B constant, and its panels worth keeping? */
bool nacre_product_keeps_f32(const nacre_plan_op *step);

#endif
