/* Where each op keeps its attributes: positions in nacre_call.attrs. Kernels read them by these names. */
#ifndef NACRE_OPS_ATTRS_H
#define NACRE_OPS_ATTRS_H

/* No inputs; the shape and dtype of the output are the caller's. */
enum { NACRE_FULL_VALUE };                                    /* float slot */
enum { NACRE_ARANGE_START, NACRE_ARANGE_STEP };               /* float slots */
enum { NACRE_RAND_SEED, NACRE_RAND_STREAM, NACRE_RAND_DRAW }; /* int slots; rand and randn */

/* permute: output axis i is input axis (word >> 4 i) & 15. */
enum { NACRE_PERMUTE_AXES };
/* slice and unslice: element i along `axis` of the smaller one is start + i * step of the larger one. */
enum { NACRE_SLICE_AXIS, NACRE_SLICE_STEP, NACRE_SLICE_START }; /* start: int slot */

/* concat: axis in [0, ndim). */
enum { NACRE_CONCAT_AXIS };

/* sum, mean, max, min: bit set of axes (never "all" by omission), and whether they stay with extent 1. */
enum { NACRE_REDUCE_AXES, NACRE_REDUCE_KEEPDIMS };
/* argmax, argmin: one axis, or -1: index into the flattened input. */
enum { NACRE_ARG_AXIS, NACRE_ARG_KEEPDIMS };

/* cross_entropy's index_bound is -1 where the target is rows of probabilities: nothing to check. */

/* softmax, log_softmax and their backward ops: axis in [0, ndim). */
enum { NACRE_SOFTMAX_AXIS };
/* gelu and gelu_backward: a nacre_gelu_form. */
enum { NACRE_GELU_APPROXIMATE };
enum { NACRE_LAYER_NORM_EPSILON }; /* float slot; layer_norm and its backward op */
/* attention in all its forms; scale: float slot. */
enum { NACRE_ATTENTION_HEADS, NACRE_ATTENTION_CAUSAL, NACRE_ATTENTION_SCALE };
enum { NACRE_ONE_HOT_CLASSES };

/* conv2d(x [n, c, h, w], weight [out, c / groups, kh, kw], bias [out] or absent) -> y [n, out, oh, ow];
   conv2d_backward_input(dy, weight) -> dx; conv2d_backward_weight(x, dy) -> dweight, dbias. Pairs, height
   first, all but the groups; 0 in stride, dilation and groups has become 1. SIZE: h and w in
   backward_input, kh and kw in backward_weight, 0 in conv2d. */
enum {
    NACRE_CONV_STRIDE,
    NACRE_CONV_PADDING,
    NACRE_CONV_DILATION,
    NACRE_CONV_GROUPS,
    NACRE_CONV_SIZE
};
/* max_pool2d(x) -> y, max_pool2d_backward(x, dy) -> dx, max_pool2d_pick(x, z) -> z's elements where x has its
   maxima; avg_pool2d(x) -> y, avg_pool2d_backward(dy) -> dx. Pairs; 0 in stride has become the kernel's
   extent. SIZE: h and w in avg_pool2d_backward, elsewhere 0. */
enum { NACRE_POOL_KERNEL, NACRE_POOL_STRIDE, NACRE_POOL_PADDING, NACRE_POOL_SIZE };
/* batch_norm(x [n, c, ...], weight [c], bias [c]) -> y, mean [c], var [c];
   batch_norm_backward(x, weight, mean, var, dy) -> dx, dweight, dbias. Float slot. */
enum { NACRE_BATCH_NORM_EPSILON };

/* sgd_update(p, g, velocity, ok) -> p', velocity'. Without momentum velocity is absent and velocity' is
   an empty [0]. lr, momentum, weight_decay are float slots. */
enum { NACRE_SGD_LR, NACRE_SGD_MOMENTUM, NACRE_SGD_WEIGHT_DECAY, NACRE_SGD_HAS_MOMENTUM };
/* adam_update(p, g, m, v, step, ok) -> p', m', v'. All float slots. */
enum {
    NACRE_ADAM_LR,
    NACRE_ADAM_BETA1,
    NACRE_ADAM_BETA2,
    NACRE_ADAM_EPSILON,
    NACRE_ADAM_WEIGHT_DECAY,
};

#endif
