/* One level's kernels in one table. */
#include "backend/cpu/kernels.h"

#define NACRE_TEXT_(x) #x
#define NACRE_TEXT_EXPANDED_(x) NACRE_TEXT_(x)

extern const nacre_gemm_kernels NACRE_AT_LEVEL(nacre_gemm_kernels);
extern const nacre_pack_kernels NACRE_AT_LEVEL(nacre_pack_kernels);
extern const nacre_gemm_f64_kernels NACRE_AT_LEVEL(nacre_gemm_f64_kernels);
extern const nacre_elementwise_kernels NACRE_AT_LEVEL(nacre_elementwise_kernels);
extern const nacre_reduce_kernels NACRE_AT_LEVEL(nacre_reduce_kernels);
extern const nacre_softmax_kernels NACRE_AT_LEVEL(nacre_softmax_kernels);
extern const nacre_layer_norm_kernels NACRE_AT_LEVEL(nacre_layer_norm_kernels);
extern const nacre_random_kernels NACRE_AT_LEVEL(nacre_random_kernels);
extern const nacre_attention_kernels NACRE_AT_LEVEL(nacre_attention_kernels);
extern const nacre_update_kernels NACRE_AT_LEVEL(nacre_update_kernels);
extern const nacre_conv_kernels NACRE_AT_LEVEL(nacre_conv_kernels);
extern const nacre_winograd_kernels NACRE_AT_LEVEL(nacre_winograd_kernels);
extern const nacre_pool_kernels NACRE_AT_LEVEL(nacre_pool_kernels);
extern const nacre_batch_norm_kernels NACRE_AT_LEVEL(nacre_batch_norm_kernels);

const nacre_cpu_level NACRE_AT_LEVEL(nacre_cpu_level) = {
    .name = NACRE_TEXT_EXPANDED_(NACRE_LEVEL),
    .gemm = &NACRE_AT_LEVEL(nacre_gemm_kernels),
    .pack = &NACRE_AT_LEVEL(nacre_pack_kernels),
    .gemm_f64 = &NACRE_AT_LEVEL(nacre_gemm_f64_kernels),
    .elementwise = &NACRE_AT_LEVEL(nacre_elementwise_kernels),
    .reduce = &NACRE_AT_LEVEL(nacre_reduce_kernels),
    .softmax = &NACRE_AT_LEVEL(nacre_softmax_kernels),
    .layer_norm = &NACRE_AT_LEVEL(nacre_layer_norm_kernels),
    .random = &NACRE_AT_LEVEL(nacre_random_kernels),
    .attention = &NACRE_AT_LEVEL(nacre_attention_kernels),
    .update = &NACRE_AT_LEVEL(nacre_update_kernels),
    .conv = &NACRE_AT_LEVEL(nacre_conv_kernels),
    .winograd = &NACRE_AT_LEVEL(nacre_winograd_kernels),
    .pool = &NACRE_AT_LEVEL(nacre_pool_kernels),
    .batch_norm = &NACRE_AT_LEVEL(nacre_batch_norm_kernels),
};
