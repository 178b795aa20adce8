/* The CPU backend: which ops it takes, and the table. */
#include "backend/cpu/conv.h"
#include "backend/cpu/product.h"

#include "base/cpu.h"
#include "ops/reference.h"

#include <stdio.h>
#include <string.h>

const nacre_cpu_level *nacre_cpu_level_at(nacre_isa_level level) {
    switch (level) {
#if NACRE_BUILD_AVX2
    case NACRE_ISA_AVX2:
        return &nacre_cpu_level_avx2;
#endif
#if NACRE_BUILD_AVX512
    case NACRE_ISA_AVX512:
        return &nacre_cpu_level_avx512;
#endif
#if NACRE_BUILD_NEON
    case NACRE_ISA_NEON:
        return &nacre_cpu_level_neon;
#endif
    default:
        return &nacre_cpu_level_portable;
    }
}

const nacre_cpu_level *nacre_cpu_level_of(const nacre_plan_op *step) {
    return nacre_cpu_level_at((nacre_isa_level)(step->variant & NACRE_VARIANT_LEVEL));
}

bool nacre_cpu_use(nacre_plan_op *step, nacre_cpu_run *run, size_t scratch, const char *kernel) {
    step->run = run;
    step->scratch = scratch;
    step->kernel = kernel;
    return true;
}

static void run_reference(const nacre_plan_op *step, void *scratch) {
    (void)scratch;
    nacre_call call = {.attrs = step->attrs, .inputs = step->inputs, .outputs = step->outputs};
    for (int i = 0; i < step->inputs && i < NACRE_MAX_INPUTS; i++) call.in[i] = step->in[i];
    for (int i = 0; i < step->outputs && i < NACRE_MAX_OUTPUTS; i++) call.out[i] = step->out[i];
    nacre_reference_run(step->op, &call);
}

bool nacre_cpu_use_reference(nacre_plan_op *step) {
    return nacre_cpu_use(step, run_reference, 0, "reference");
}

/* ---- the table ---- */

typedef struct family {
    const nacre_op *op;
    bool (*prepare)(nacre_plan_op *step);
} family;

static const family families[] = {
    {&nacre_op_full, nacre_cpu_prepare_full},
    {&nacre_op_matmul, nacre_cpu_prepare_product},
    {&nacre_op_linear, nacre_cpu_prepare_product},
    {&nacre_op_sum, nacre_cpu_prepare_reduce},
    {&nacre_op_max, nacre_cpu_prepare_reduce},
    {&nacre_op_min, nacre_cpu_prepare_reduce},
    {&nacre_op_argmax, nacre_cpu_prepare_arg},
    {&nacre_op_argmin, nacre_cpu_prepare_arg},
    {&nacre_op_softmax, nacre_cpu_prepare_softmax},
    {&nacre_op_log_softmax, nacre_cpu_prepare_softmax},
    {&nacre_op_softmax_backward, nacre_cpu_prepare_softmax},
    {&nacre_op_log_softmax_backward, nacre_cpu_prepare_softmax},
    {&nacre_op_layer_norm, nacre_cpu_prepare_layer_norm},
    {&nacre_op_layer_norm_backward, nacre_cpu_prepare_layer_norm},
    {&nacre_op_concat, nacre_cpu_prepare_concat},
    {&nacre_op_unslice, nacre_cpu_prepare_concat},
    {&nacre_op_rand, nacre_cpu_prepare_rand},
    {&nacre_op_scaled_dot_product_attention, nacre_cpu_prepare_attention},
    {&nacre_op_scaled_dot_product_attention_backward, nacre_cpu_prepare_attention},
    {&nacre_op_attention_qkv, nacre_cpu_prepare_attention},
    {&nacre_op_attention_qkv_backward, nacre_cpu_prepare_attention},
    {&nacre_op_cross_entropy, nacre_cpu_prepare_loss},
    {&nacre_op_cross_entropy_backward, nacre_cpu_prepare_loss},
    {&nacre_op_sgd_update, nacre_cpu_prepare_update},
    {&nacre_op_adam_update, nacre_cpu_prepare_update},
    {&nacre_op_gather, nacre_cpu_prepare_rows},
    {&nacre_op_scatter_rows, nacre_cpu_prepare_rows},
    {&nacre_op_one_hot, nacre_cpu_prepare_rows},
    {&nacre_op_conv2d, nacre_cpu_prepare_conv},
    {&nacre_op_conv2d_backward_input, nacre_cpu_prepare_conv},
    {&nacre_op_conv2d_backward_weight, nacre_cpu_prepare_conv_weight},
    {&nacre_op_max_pool2d, nacre_cpu_prepare_pool2d},
    {&nacre_op_max_pool2d_backward, nacre_cpu_prepare_pool2d},
    {&nacre_op_max_pool2d_pick, nacre_cpu_prepare_pool2d},
    {&nacre_op_avg_pool2d, nacre_cpu_prepare_pool2d},
    {&nacre_op_avg_pool2d_backward, nacre_cpu_prepare_pool2d},
    {&nacre_op_batch_norm, nacre_cpu_prepare_batch_norm},
    {&nacre_op_batch_norm_backward, nacre_cpu_prepare_batch_norm},
};

static const family *family_of(const nacre_op *op) {
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        if (families[i].op == op) return &families[i];
    return NULL;
}

/* Composites: of f32, the dtype that their kernels know. */
static bool claims(const nacre_op *op, nacre_dtype dtype) {
    return op->decompose && dtype == NACRE_F32 && family_of(op);
}

/* The sum of what was made so far with an array like it. */
static bool is_whole_sum(const nacre_epilogue_member *member) {
    const unsigned both = NACRE_READS_IN(0) | NACRE_READS_IN(1);
    return member->op == &nacre_op_add && member->whole == both &&
           (member->result == NACRE_READS_IN(0) || member->result == NACRE_READS_IN(1));
}

/* Place of an op in what may follow a convolution, each at most once and in this order; 0: none. whole: are all its
   inputs like the result? */
static int place_of(const nacre_op *op, bool whole) {
    if (op == &nacre_op_sub) return 1;
    if (op == &nacre_op_mul) return 2;
    if (op == &nacre_op_add) return whole ? 4 : 3;
    return op == &nacre_op_relu ? 5 : 0;
}

/* Batch norm with given statistics, or a part of it; the sum with an array like the result; a relu. */
static bool conv_takes(const nacre_epilogue_member *member) {
    const unsigned both = NACRE_READS_IN(0) | NACRE_READS_IN(1);
    const unsigned other = both & ~member->result;
    const bool relu = member->op == &nacre_op_relu, whole = member->whole == both;
    const int place = place_of(member->op, whole);
    if (!nacre_conv_fits(member->inputs[1]) || place == 0) return false;
    if (member->position > 0 &&
        (member->product || place_of(member->last, member->last_whole == both) >= place))
        return false;
    if (relu) return member->result == NACRE_READS_IN(0);
    if (other == NACRE_READS_IN(0) && member->op == &nacre_op_sub) return false;
    if (other != NACRE_READS_IN(0) && other != NACRE_READS_IN(1)) return false;
    return place == 4 || member->channel & other;
}

static bool input_gradient_takes(const nacre_epilogue_member *member) {
    if (!nacre_conv_fits(member->inputs[1])) return false;
    if (member->op == &nacre_op_relu_backward)
        return (member->position == 0 ||
                (member->position == 1 && member->last == &nacre_op_add)) &&
               member->result == NACRE_READS_IN(1) && member->whole & NACRE_READS_IN(0);
    return member->position == 0 && is_whole_sum(member);
}

static bool norm_takes(const nacre_epilogue_member *member) {
    if (member->op == &nacre_op_relu) return member->position <= 1;
    return member->position == 0 && is_whole_sum(member);
}

/* Products take anything; a convolution a norm by numbers of its channels, the sum with an array like it and a relu,
   and its input gradient the sum with an array like it, relu's gradient, or both; a batch norm the sum with an array like its
   result, a relu, or both; the gradient of a pool that of the relu which made its input. */
static bool takes_epilogue(const nacre_op *op, const nacre_epilogue_member *member) {
    if (op == &nacre_op_conv2d) return conv_takes(member);
    if (op == &nacre_op_conv2d_backward_input) return input_gradient_takes(member);
    if (op == &nacre_op_batch_norm) return norm_takes(member);
    if (op == &nacre_op_max_pool2d_backward)
        return member->op == &nacre_op_relu_backward && member->first == NACRE_READS_IN(0) &&
               member->result == NACRE_READS_IN(1);
    return op == &nacre_op_matmul || op == &nacre_op_linear;
}

static bool stores(const nacre_op *op, int results) {
    return results == 1 || (op != &nacre_op_conv2d && op != &nacre_op_conv2d_backward_input);
}

static bool prepare(nacre_plan_op *step) {
    step->variant = (int)nacre_isa_in_use();
    if (!step->op) return nacre_cpu_prepare_group(step);
    if (step->op == &nacre_op_copy && step->in[0].laned != step->out[0].laned)
        return nacre_cpu_prepare_laned_copy(step);
    const family *own = family_of(step->op);
    return own ? own->prepare(step) : nacre_cpu_prepare_elementwise(step);
}

static void describe(const nacre_plan_op *step, char *text, size_t size) {
    if (step->run == nacre_product_run_f32)
        nacre_product_describe_f32(step, text, size);
    else
        snprintf(text, size, "%s", step->kernel);
    size_t used = strlen(text);
    if (step->keeps) snprintf(text + used, size - used, ", weights kept");
}

const nacre_backend_table nacre_backend_cpu = {
    .name = "cpu",
    .claims = claims,
    .fuses = nacre_cpu_fuses,
    .takes_epilogue = takes_epilogue,
    .stores = stores,
    .laned = nacre_cpu_laned,
    .prepare = prepare,
    .describe = describe,
};
