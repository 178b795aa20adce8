/* Inside the CPU backend: who prepares what, and what the drivers share. A driver turns shapes and strides
   into calls of kernels, splits them into tasks by shape alone, and books scratch. */
#ifndef NACRE_BACKEND_CPU_CPU_H
#define NACRE_BACKEND_CPU_CPU_H

#include "backend/cpu/kernels.h"
#include "ops/ops.h"
#include "plan/backend.h"

/* A step's variant: the level it was prepared for, and above these bits what is chosen beyond it. */
enum { NACRE_VARIANT_LEVEL = 0xf, NACRE_VARIANT_SHIFT = 4 };

/* The level a step was prepared for. */
const nacre_cpu_level *nacre_cpu_level_of(const nacre_plan_op *step);

/* Kinds of nacre_form_key, the first word. */
enum { NACRE_FORM_PANELS = 1, NACRE_FORM_CONV, NACRE_FORM_WINOGRAD };

typedef void nacre_cpu_run(const nacre_plan_op *step, void *scratch);

/* Sets the step's kernel. Always true: for `return nacre_cpu_use(...)`. */
bool nacre_cpu_use(nacre_plan_op *step, nacre_cpu_run *run, size_t scratch, const char *kernel);

/* The op's definition: any dtype, any strides, one thread. */
bool nacre_cpu_use_reference(nacre_plan_op *step);

/* One function per family: false when an input must be made contiguous first. */
bool nacre_cpu_prepare_group(nacre_plan_op *step);
bool nacre_cpu_prepare_elementwise(nacre_plan_op *step);
bool nacre_cpu_prepare_full(nacre_plan_op *step);
bool nacre_cpu_prepare_product(nacre_plan_op *step);
bool nacre_cpu_prepare_reduce(nacre_plan_op *step);
bool nacre_cpu_prepare_arg(nacre_plan_op *step);
bool nacre_cpu_prepare_softmax(nacre_plan_op *step);
bool nacre_cpu_prepare_layer_norm(nacre_plan_op *step);
bool nacre_cpu_prepare_concat(nacre_plan_op *step);
bool nacre_cpu_prepare_rand(nacre_plan_op *step);
bool nacre_cpu_prepare_attention(nacre_plan_op *step);
bool nacre_cpu_prepare_loss(nacre_plan_op *step);
bool nacre_cpu_prepare_update(nacre_plan_op *step);
bool nacre_cpu_prepare_rows(nacre_plan_op *step);
bool nacre_cpu_prepare_conv(nacre_plan_op *step);
bool nacre_cpu_prepare_conv_weight(nacre_plan_op *step);
bool nacre_cpu_prepare_pool2d(nacre_plan_op *step);
bool nacre_pool2d_is_plain(const nacre_plan_op *step); /* too few samples for lanes */
bool nacre_cpu_prepare_batch_norm(nacre_plan_op *step);
bool nacre_cpu_prepare_laned_copy(nacre_plan_op *step);

/* Which operands must be laned: see nacre_backend_table. */
unsigned nacre_cpu_laned(const nacre_plan_op *step);

/* Element i of contiguous indices of any integer dtype. */
static inline int64_t nacre_index_at(const nacre_array *indices, int64_t i) {
    if (indices->dtype == NACRE_I64) return ((const int64_t *)indices->data)[i];
    const nacre_dtype_info *info = nacre_dtype_get(indices->dtype);
    return info->load_int((const unsigned char *)indices->data + (size_t)i * info->size);
}

/* Is `op` an f32 element-wise op that groups may hold? */
bool nacre_cpu_fuses(const nacre_op *op);

static inline bool nacre_cpu_is_f32(const nacre_array *array) { return array->dtype == NACRE_F32; }
static inline bool nacre_cpu_is_plain(const nacre_array *array) {
    return nacre_strides_contiguous(&array->shape, array->strides);
}
/* Every input that is there laned, or contiguous? */
static inline bool nacre_cpu_inputs_are_plain(const nacre_plan_op *step) {
    for (int i = 0; i < step->inputs; i++) {
        const nacre_array *in = &step->in[i];
        if (in->dtype != NACRE_DTYPE_DEFAULT && !in->laned && !nacre_cpu_is_plain(in)) return false;
    }
    return true;
}

static inline int64_t nacre_smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t nacre_larger(int64_t a, int64_t b) { return a > b ? a : b; }
/* ceil(a / b) */
static inline int64_t nacre_parts(int64_t a, int64_t b) { return (a + b - 1) / b; }

#endif
