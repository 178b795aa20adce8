/* How each case calls its op. */
#ifndef NACRE_TESTS_OPS_CASES_CALLS_H
#define NACRE_TESTS_OPS_CASES_CALLS_H

#include "ops/common.h"
#include "ops/ops.h"
#include "ops/update.h"
#include <nacre/nacre.h>

#define HERE "cases_calls.h", __LINE__
#define S(...) NACRE_SHAPE(__VA_ARGS__)

#define UNARY(name, call)                                                                          \
    static nacre_tensor *name(nacre_tensor *const *in) { return call; }
UNARY(do_copy, nacre_record_unary(&nacre_op_copy, in[0], HERE))
UNARY(do_cast_f32, nacre_cast(in[0], NACRE_F32))
UNARY(do_cast_f64, nacre_cast(in[0], NACRE_F64))
UNARY(do_cast_i32, nacre_cast(in[0], NACRE_I32))
UNARY(do_cast_i64, nacre_cast(in[0], NACRE_I64))
UNARY(do_cast_u8, nacre_cast(in[0], NACRE_U8))
UNARY(do_cast_bool, nacre_cast(in[0], NACRE_BOOL))
UNARY(do_reshape, nacre_reshape(in[0], S(3, -1)))
UNARY(do_reshape_flat, nacre_reshape(in[0], S(-1)))
UNARY(do_permute, nacre_permute(in[0], NACRE_AXES(2, 0, 1)))
UNARY(do_transpose, nacre_transpose(in[0], -2, -1))
UNARY(do_slice, nacre_slice(in[0], 1, 1, 6, 2))
UNARY(do_slice_first, nacre_slice(in[0], 0, 1, -1, 1))
UNARY(do_slice_empty, nacre_slice(in[0], 0, 2, 2, 1))
UNARY(do_concat, nacre_concat(in, 2, 1))
UNARY(do_concat_first, nacre_concat(in, 3, 0))
UNARY(do_concat_one, nacre_concat(in, 1, -1))
UNARY(do_concat_many,
      nacre_concat(((nacre_tensor *[]){in[0], in[1], in[0], in[1], in[1], in[0], in[1], in[0]}), 8,
                   -2))
UNARY(do_broadcast, nacre_broadcast_to(in[0], S(2, 3, 5)))
UNARY(do_add, nacre_add(in[0], in[1]))
UNARY(do_sub, nacre_sub(in[0], in[1]))
UNARY(do_mul, nacre_mul(in[0], in[1]))
UNARY(do_div, nacre_div(in[0], in[1]))
UNARY(do_pow, nacre_pow(in[0], in[1]))
UNARY(do_square, nacre_pow_scalar(in[0], 2))
UNARY(do_maximum, nacre_maximum(in[0], in[1]))
UNARY(do_minimum, nacre_minimum(in[0], in[1]))
UNARY(do_equal, nacre_equal(in[0], in[1]))
UNARY(do_not_equal, nacre_not_equal(in[0], in[1]))
UNARY(do_less, nacre_less(in[0], in[1]))
UNARY(do_less_equal, nacre_less_equal(in[0], in[1]))
UNARY(do_greater, nacre_greater(in[0], in[1]))
UNARY(do_greater_equal, nacre_greater_equal(in[0], in[1]))
UNARY(do_neg, nacre_neg(in[0]))
UNARY(do_exp, nacre_exp(in[0]))
UNARY(do_log, nacre_log(in[0]))
UNARY(do_sqrt, nacre_sqrt(in[0]))
UNARY(do_relu, nacre_f_relu(in[0]))
UNARY(do_relu_backward, nacre_record_binary(&nacre_op_relu_backward, in[0], in[1], HERE))
UNARY(do_tanh, nacre_f_tanh(in[0]))
UNARY(do_erf, nacre_erf(in[0]))
UNARY(do_gelu, nacre_f_gelu(in[0], NACRE_GELU_ERF))
UNARY(do_gelu_tanh, nacre_f_gelu(in[0], NACRE_GELU_TANH))
UNARY(do_layer_norm, nacre_f_layer_norm(in[0], in[1], in[2], 1e-5))
UNARY(do_layer_norm_plain, nacre_f_layer_norm(in[0], NULL, NULL, 1e-5))
UNARY(do_layer_norm_weight, nacre_f_layer_norm(in[0], in[1], NULL, 1e-5))
UNARY(do_layer_norm_bias, nacre_f_layer_norm(in[0], NULL, in[1], 1e-5))
UNARY(do_attention, nacre_f_attention(in[0], in[1], in[2], .heads = 2))
UNARY(do_attention_causal, nacre_f_attention(in[0], in[1], in[2], .heads = 2, .causal = true))
UNARY(do_attention_scaled, nacre_f_attention(in[0], in[1], in[2], .scale = -0.3))
UNARY(do_attention_4d, nacre_f_scaled_dot_product_attention(in[0], in[1], in[2]))
UNARY(do_attention_qkv, nacre_f_attention(in[0], .heads = 2))
UNARY(do_attention_qkv_causal, nacre_f_attention(in[0], .heads = 2, .causal = true))
UNARY(do_where, nacre_where(in[0], in[1], in[2]))
UNARY(do_sum, nacre_sum(in[0]))
UNARY(do_sum_last, nacre_sum(in[0], .axes = NACRE_AXES(-1)))
UNARY(do_sum_first, nacre_sum(in[0], .axes = NACRE_AXES(0), .keepdims = true))
UNARY(do_sum_outer, nacre_sum(in[0], .axes = NACRE_AXES(0, 2)))
UNARY(do_mean, nacre_mean(in[0]))
UNARY(do_mean_last, nacre_mean(in[0], .axes = NACRE_AXES(-1), .keepdims = true))
UNARY(do_max, nacre_max(in[0]))
UNARY(do_max_first, nacre_max(in[0], .axes = NACRE_AXES(0)))
UNARY(do_max_last, nacre_max(in[0], .axes = NACRE_AXES(-1), .keepdims = true))
UNARY(do_min, nacre_min(in[0]))
UNARY(do_min_first, nacre_min(in[0], .axes = NACRE_AXES(0)))
UNARY(do_min_last, nacre_min(in[0], .axes = NACRE_AXES(-1), .keepdims = true))
UNARY(do_argmax, nacre_argmax(in[0]))
UNARY(do_argmax_first, nacre_argmax(in[0], .axes = NACRE_AXES(0)))
UNARY(do_argmax_last, nacre_argmax(in[0], .axes = NACRE_AXES(-1), .keepdims = true))
UNARY(do_argmin, nacre_argmin(in[0]))
UNARY(do_argmin_first, nacre_argmin(in[0], .axes = NACRE_AXES(0)))
UNARY(do_argmin_last, nacre_argmin(in[0], .axes = NACRE_AXES(-1), .keepdims = true))
UNARY(do_matmul, nacre_matmul(in[0], in[1]))
UNARY(do_matmul_bt, nacre_matmul(in[0], nacre_transpose(in[1], -2, -1)))
UNARY(do_matmul_at, nacre_matmul(nacre_transpose(in[0], -2, -1), in[1]))
UNARY(do_linear, nacre_f_linear(in[0], in[1], in[2]))
UNARY(do_linear_no_bias, nacre_f_linear(in[0], in[1], NULL))
UNARY(do_softmax, nacre_f_softmax(in[0], -1))
UNARY(do_softmax_first, nacre_f_softmax(in[0], 0))
UNARY(do_log_softmax, nacre_f_log_softmax(in[0], -1))
UNARY(do_log_softmax_first, nacre_f_log_softmax(in[0], 0))
UNARY(do_cross_entropy, nacre_f_cross_entropy(in[0], in[1]))
UNARY(do_mse, nacre_f_mse(in[0], in[1]))
UNARY(do_gather, nacre_gather(in[0], in[1]))
UNARY(do_one_hot, nacre_one_hot(in[0], 7, NACRE_F32))
UNARY(do_one_hot_bool, nacre_one_hot(in[0], 7, NACRE_BOOL))
#undef UNARY

static nacre_tensor *do_unslice(nacre_tensor *const *in) {
    nacre_recording r = {
        .op = &nacre_op_unslice,
        .inputs = 1,
        .in = {in[0]},
        .attrs = {[NACRE_SLICE_AXIS] = {.i = 1},
                  [NACRE_SLICE_STEP] = {.i = 2},
                  [NACRE_SLICE_START] = {.i = 1}},
        .wanted = {.ndim = 2, .dims = {nacre_size(in[0], 0), 2 * nacre_size(in[0], 1) + 1}}};
    return nacre_record_one(&r);
}

static nacre_tensor *do_scatter(nacre_tensor *const *in) {
    nacre_shape table = nacre_shape_of(in[0]);
    int lead = nacre_ndim(in[1]);
    nacre_recording r = {.op = &nacre_op_scatter_rows,
                         .inputs = 2,
                         .in = {in[0], in[1]},
                         .wanted = {.ndim = 1, .dims = {6}}};
    for (int i = lead; i < table.ndim; i++) r.wanted.dims[r.wanted.ndim++] = table.dims[i];
    return nacre_record_one(&r);
}

static nacre_tensor *backward_of(const nacre_op *op, nacre_tensor *const *in, int64_t axis) {
    nacre_recording r = {.op = op, .inputs = 2, .in = {in[0], in[1]}, .attrs = {{.i = axis}}};
    return nacre_record_one(&r);
}

static nacre_tensor *do_softmax_backward(nacre_tensor *const *in) {
    return backward_of(&nacre_op_softmax_backward, in, -1);
}

static nacre_tensor *do_softmax_backward_first(nacre_tensor *const *in) {
    return backward_of(&nacre_op_softmax_backward, in, 0);
}

static nacre_tensor *do_log_softmax_backward(nacre_tensor *const *in) {
    return backward_of(&nacre_op_log_softmax_backward, in, -1);
}

static nacre_tensor *do_log_softmax_backward_first(nacre_tensor *const *in) {
    return backward_of(&nacre_op_log_softmax_backward, in, 0);
}

static nacre_tensor *do_gelu_backward(nacre_tensor *const *in) {
    return backward_of(&nacre_op_gelu_backward, in, NACRE_GELU_ERF);
}

static nacre_tensor *do_gelu_tanh_backward(nacre_tensor *const *in) {
    return backward_of(&nacre_op_gelu_backward, in, NACRE_GELU_TANH);
}

/* Inputs x, dy and weight or NULL; `which` output. */
static nacre_tensor *norm_backward(nacre_tensor *const *in, nacre_tensor *weight, int which) {
    nacre_tensor *out[NACRE_MAX_OUTPUTS];
    nacre_recording r = {.op = &nacre_op_layer_norm_backward,
                         .inputs = weight ? 3 : 2,
                         .in = {in[0], in[1], weight},
                         .attrs = {[NACRE_LAYER_NORM_EPSILON] = {.f = 1e-5}}};
    nacre_record_many(&r, out);
    return out[which];
}

static nacre_tensor *do_norm_dx(nacre_tensor *const *in) { return norm_backward(in, in[2], 0); }

static nacre_tensor *do_norm_dx_plain(nacre_tensor *const *in) {
    return norm_backward(in, NULL, 0);
}

static nacre_tensor *do_norm_dweight(nacre_tensor *const *in) {
    return norm_backward(in, in[2], 1);
}

static nacre_tensor *do_norm_dbias(nacre_tensor *const *in) { return norm_backward(in, in[2], 2); }

/* Inputs q, k, v, dy or qkv, dy; two heads; `which` output. */
static nacre_tensor *attention_backward(nacre_tensor *const *in, int inputs, bool causal,
                                        int which) {
    nacre_tensor *out[NACRE_MAX_OUTPUTS];
    nacre_recording r = {.op = inputs == 4 ? &nacre_op_scaled_dot_product_attention_backward
                                           : &nacre_op_attention_qkv_backward,
                         .inputs = inputs,
                         .attrs = {[NACRE_ATTENTION_HEADS] = {.i = 2},
                                   [NACRE_ATTENTION_CAUSAL] = {.i = causal},
                                   [NACRE_ATTENTION_SCALE] = {.f = 0.6}}};
    for (int i = 0; i < inputs; i++) r.in[i] = in[i];
    nacre_record_many(&r, out);
    return out[which];
}

static nacre_tensor *do_attention_dq(nacre_tensor *const *in) {
    return attention_backward(in, 4, false, 0);
}

static nacre_tensor *do_attention_dk(nacre_tensor *const *in) {
    return attention_backward(in, 4, true, 1);
}

static nacre_tensor *do_attention_dv(nacre_tensor *const *in) {
    return attention_backward(in, 4, false, 2);
}

static nacre_tensor *do_attention_dqkv(nacre_tensor *const *in) {
    return attention_backward(in, 2, false, 0);
}

static nacre_tensor *do_attention_dqkv_causal(nacre_tensor *const *in) {
    return attention_backward(in, 2, true, 0);
}

static nacre_tensor *do_cross_entropy_backward(nacre_tensor *const *in) {
    nacre_recording r = {
        .op = &nacre_op_cross_entropy_backward, .inputs = 3, .in = {in[0], in[1], in[2]}};
    return nacre_record_one(&r);
}

/* Inputs p, g, velocity, ok; `which` output. */
static nacre_tensor *sgd(nacre_tensor *p, nacre_tensor *g, nacre_tensor *velocity, nacre_tensor *ok,
                         int which) {
    nacre_tensor *out[NACRE_MAX_OUTPUTS];
    nacre_recording r = {.op = &nacre_op_sgd_update,
                         .inputs = 4,
                         .in = {p, g, velocity, ok},
                         .attrs = {[NACRE_SGD_LR] = {.f = 0.1},
                                   [NACRE_SGD_MOMENTUM] = {.f = 0.9},
                                   [NACRE_SGD_WEIGHT_DECAY] = {.f = 0.01},
                                   [NACRE_SGD_HAS_MOMENTUM] = {.i = velocity != NULL}}};
    nacre_record_many(&r, out);
    return out[which];
}

static nacre_tensor *do_sgd(nacre_tensor *const *in) { return sgd(in[0], in[1], in[2], NULL, 0); }

static nacre_tensor *do_sgd_velocity(nacre_tensor *const *in) {
    return sgd(in[0], in[1], in[2], NULL, 1);
}

static nacre_tensor *do_sgd_plain(nacre_tensor *const *in) {
    return sgd(in[0], in[1], NULL, NULL, 0);
}

static nacre_tensor *do_sgd_ok(nacre_tensor *const *in) {
    return sgd(in[0], in[1], NULL, in[2], 0);
}

/* Inputs p, g, m, v, step and ok or NULL; `which` output. */
static nacre_tensor *adam(nacre_tensor *const *in, nacre_tensor *ok, int which) {
    nacre_tensor *out[NACRE_MAX_OUTPUTS];
    nacre_recording r = {.op = &nacre_op_adam_update,
                         .inputs = 6,
                         .in = {in[0], in[1], in[2], in[3], in[4], ok},
                         .attrs = {[NACRE_ADAM_LR] = {.f = 0.01},
                                   [NACRE_ADAM_BETA1] = {.f = 0.9},
                                   [NACRE_ADAM_BETA2] = {.f = 0.999},
                                   [NACRE_ADAM_EPSILON] = {.f = 1e-8},
                                   [NACRE_ADAM_WEIGHT_DECAY] = {.f = 0.1}}};
    nacre_record_many(&r, out);
    return out[which];
}

static nacre_tensor *do_adam(nacre_tensor *const *in) { return adam(in, NULL, 0); }

static nacre_tensor *do_adam_m(nacre_tensor *const *in) { return adam(in, NULL, 1); }

static nacre_tensor *do_adam_v(nacre_tensor *const *in) { return adam(in, NULL, 2); }

static nacre_tensor *do_adam_ok(nacre_tensor *const *in) { return adam(in, in[5], 0); }

#endif
