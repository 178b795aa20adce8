/* mse(prediction, target): mean of (prediction - target)^2 over all elements. Its gradient is that of its
   decomposition. */
#include "ops/common.h"

static nacre_status mse_shape(nacre_inference *inference) {
    nacre_status status = nacre_need_float(inference, 0, "prediction");
    if (!status) status = nacre_need_equal_dtypes(inference, 0, "prediction", 1, "target");
    if (!status) status = nacre_need_equal_shapes(inference, 0, "prediction", 1, "target");
    inference->out[0].dtype = inference->in[0].dtype;
    inference->out[0].shape = (nacre_shape){.ndim = 0};
    return status;
}

static void mse_decompose(nacre_expansion *e) {
    nacre_tensor *d = nacre_sub_at(e->in[0], e->in[1], e->file, e->line);
    nacre_tensor *square = nacre_mul_at(d, d, e->file, e->line);
    int64_t all = ((int64_t)1 << nacre_ndim(square)) - 1;
    e->out[0] = nacre_record_reduce(&nacre_op_mean, square, all, false, e->file, e->line);
}

static double mse_flops(const nacre_call *call) {
    return 3 * (double)nacre_shape_numel(&call->in[0].shape);
}

const nacre_op nacre_op_mse = {
    .name = "mse",
    .arity = 2,
    .gradient_reads = NACRE_READS_IN(0) | NACRE_READS_IN(1),
    .shape = mse_shape,
    .decompose = mse_decompose,
    .flops = mse_flops,
};

nacre_tensor *nacre_f_mse_at(nacre_tensor *prediction, nacre_tensor *target, const char *file,
                             int line) {
    return nacre_record_binary(&nacre_op_mse, prediction, target, file, line);
}
