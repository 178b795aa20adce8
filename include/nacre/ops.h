/* Operations on tensors. Each checks shapes and dtypes at once and records; nothing is computed yet.

   Binary element-wise ops broadcast as NumPy does and need equal dtypes (cast one otherwise). Where a
   module has the same name (nacre_relu() makes a layer), the op on tensors has the prefix nacre_f_. */
#ifndef NACRE_OPS_H
#define NACRE_OPS_H

#include <nacre/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- creation ---- */

typedef struct nacre_create_options {
    size_t size; /* sizeof this struct, set by the macros */
    nacre_shape shape;
    nacre_dtype dtype; /* default f32 */
    nacre_device device;
    uint64_t stream; /* rand, randn: own stream of the thread's seed; 0: the thread's next draw */
} nacre_create_options;

NACRE_API nacre_tensor *nacre_zeros_at(const nacre_create_options *o, const char *file, int line);
NACRE_API nacre_tensor *nacre_ones_at(const nacre_create_options *o, const char *file, int line);
/* Uniform in [0, 1): floating dtypes only. */
NACRE_API nacre_tensor *nacre_rand_at(const nacre_create_options *o, const char *file, int line);
/* Standard normal (Box-Muller on Philox draws): floating dtypes only. */
NACRE_API nacre_tensor *nacre_randn_at(const nacre_create_options *o, const char *file, int line);

typedef struct nacre_full_options {
    size_t size;
    nacre_shape shape;
    double value;
    nacre_dtype dtype;
    nacre_device device;
} nacre_full_options;
NACRE_API nacre_tensor *nacre_full_at(const nacre_full_options *o, const char *file, int line);

typedef struct nacre_eye_options {
    size_t size;
    int64_t n;
    nacre_dtype dtype;
    nacre_device device;
} nacre_eye_options;
/* [n, n] identity. */
NACRE_API nacre_tensor *nacre_eye_at(const nacre_eye_options *o, const char *file, int line);

typedef struct nacre_arange_options {
    size_t size;
    double stop;
    double start;
    double step; /* 0 means 1 */
    nacre_dtype dtype;
    nacre_device device;
} nacre_arange_options;
/* start, start + step, ... below stop (above it for a negative step): ceil((stop - start) / step)
   elements, as NumPy's arange. */
NACRE_API nacre_tensor *nacre_arange_at(const nacre_arange_options *o, const char *file, int line);

typedef struct nacre_data_options {
    size_t size;
    const void *data; /* contiguous, row-major, of `dtype`; copied */
    nacre_shape shape;
    nacre_dtype dtype;
    nacre_device device;
} nacre_data_options;
/* A tensor with a copy of the given elements. */
NACRE_API nacre_tensor *nacre_from_data_at(const nacre_data_options *o, const char *file, int line);

/* ---- dtype, device, shape; views share storage with their input where they can ---- */

NACRE_API nacre_tensor *nacre_cast_at(nacre_tensor *a, nacre_dtype dtype, const char *file,
                                      int line);
NACRE_API nacre_tensor *nacre_to_device_at(nacre_tensor *a, nacre_device device, const char *file,
                                           int line);
/* One extent may be -1: it follows from the number of elements. */
NACRE_API nacre_tensor *nacre_reshape_at(nacre_tensor *a, nacre_shape shape, const char *file,
                                         int line);
/* axes: a permutation of all of a's axes. */
NACRE_API nacre_tensor *nacre_permute_at(nacre_tensor *a, nacre_axes axes, const char *file,
                                         int line);
/* Swaps two axes; (-2, -1) is the matrix transpose. */
NACRE_API nacre_tensor *nacre_transpose_at(nacre_tensor *a, int axis0, int axis1, const char *file,
                                           int line);
/* Elements start, start + step, ... before stop along one axis; negative start and stop count from
   the end, out-of-range ones are clipped as in Python; step > 0. */
NACRE_API nacre_tensor *nacre_slice_at(nacre_tensor *a, int axis, int64_t start, int64_t stop,
                                       int64_t step, const char *file, int line);
/* Python's index syntax: "1:3, ...", "-1", ":, ::2". An integer removes its axis. */
NACRE_API nacre_tensor *nacre_index_at(nacre_tensor *a, const char *index, const char *file,
                                       int line);
NACRE_API nacre_tensor *nacre_broadcast_to_at(nacre_tensor *a, nacre_shape shape, const char *file,
                                              int line);

/* Joins `count` tensors of one dtype along `axis`; their other extents must be equal. */
NACRE_API nacre_tensor *nacre_concat_at(nacre_tensor *const *tensors, size_t count, int axis,
                                        const char *file, int line);

/* ---- element-wise ---- */

/* X(name): nacre_<name>(a, b) with broadcasting; comparisons give bool. */
NACRE_API nacre_tensor *nacre_add_at(nacre_tensor *a, nacre_tensor *b, const char *file, int line);
NACRE_API nacre_tensor *nacre_sub_at(nacre_tensor *a, nacre_tensor *b, const char *file, int line);
NACRE_API nacre_tensor *nacre_mul_at(nacre_tensor *a, nacre_tensor *b, const char *file, int line);
/* Integers divide as C does (towards zero); by zero gives 0. */
NACRE_API nacre_tensor *nacre_div_at(nacre_tensor *a, nacre_tensor *b, const char *file, int line);
/* a ** b. The gradient to b is 0 where a <= 0 (a's logarithm is not finite there), as in PyTorch. */
NACRE_API nacre_tensor *nacre_pow_at(nacre_tensor *a, nacre_tensor *b, const char *file, int line);
/* NaN if either is NaN; equal values share the gradient half and half, as in PyTorch. */
NACRE_API nacre_tensor *nacre_maximum_at(nacre_tensor *a, nacre_tensor *b, const char *file,
                                         int line);
NACRE_API nacre_tensor *nacre_minimum_at(nacre_tensor *a, nacre_tensor *b, const char *file,
                                         int line);
NACRE_API nacre_tensor *nacre_equal_at(nacre_tensor *a, nacre_tensor *b, const char *file,
                                       int line);
NACRE_API nacre_tensor *nacre_not_equal_at(nacre_tensor *a, nacre_tensor *b, const char *file,
                                           int line);
NACRE_API nacre_tensor *nacre_less_at(nacre_tensor *a, nacre_tensor *b, const char *file, int line);
NACRE_API nacre_tensor *nacre_less_equal_at(nacre_tensor *a, nacre_tensor *b, const char *file,
                                            int line);
NACRE_API nacre_tensor *nacre_greater_at(nacre_tensor *a, nacre_tensor *b, const char *file,
                                         int line);
NACRE_API nacre_tensor *nacre_greater_equal_at(nacre_tensor *a, nacre_tensor *b, const char *file,
                                               int line);

/* The same with a scalar on the right, taken in a's dtype. */
NACRE_API nacre_tensor *nacre_add_scalar_at(nacre_tensor *a, double b, const char *file, int line);
NACRE_API nacre_tensor *nacre_sub_scalar_at(nacre_tensor *a, double b, const char *file, int line);
NACRE_API nacre_tensor *nacre_mul_scalar_at(nacre_tensor *a, double b, const char *file, int line);
NACRE_API nacre_tensor *nacre_div_scalar_at(nacre_tensor *a, double b, const char *file, int line);
NACRE_API nacre_tensor *nacre_pow_scalar_at(nacre_tensor *a, double b, const char *file, int line);

NACRE_API nacre_tensor *nacre_neg_at(nacre_tensor *a, const char *file, int line);
NACRE_API nacre_tensor *nacre_exp_at(nacre_tensor *a, const char *file, int line);
NACRE_API nacre_tensor *nacre_log_at(nacre_tensor *a, const char *file, int line);
NACRE_API nacre_tensor *nacre_sqrt_at(nacre_tensor *a, const char *file, int line);
NACRE_API nacre_tensor *nacre_f_relu_at(nacre_tensor *a, const char *file, int line);
NACRE_API nacre_tensor *nacre_f_tanh_at(nacre_tensor *a, const char *file, int line);
/* 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to a. */
NACRE_API nacre_tensor *nacre_erf_at(nacre_tensor *a, const char *file, int line);
/* a P(a), P the normal distribution function: through erf, or through tanh as Hendrycks and Gimpel (2016)
   approximate it, P(a) = (1 + tanh(sqrt(2 / pi) (a + 0.044715 a^3))) / 2. Of -infinity 0, the limit. */
NACRE_API nacre_tensor *nacre_f_gelu_at(nacre_tensor *a, nacre_gelu_form form, const char *file,
                                        int line);
/* condition (bool) ? a : b, broadcasting all three. */
NACRE_API nacre_tensor *nacre_where_at(nacre_tensor *condition, nacre_tensor *a, nacre_tensor *b,
                                       const char *file, int line);

/* ---- reductions ---- */

typedef struct nacre_reduce_options {
    size_t size;
    nacre_tensor *input;
    nacre_axes axes; /* default: all */
    bool keepdims;   /* reduced axes stay with extent 1 */
} nacre_reduce_options;

/* Integers and bool sum to i64; mean needs a floating dtype. Empty: sum 0, mean NaN. */
NACRE_API nacre_tensor *nacre_sum_at(const nacre_reduce_options *o, const char *file, int line);
NACRE_API nacre_tensor *nacre_mean_at(const nacre_reduce_options *o, const char *file, int line);
/* NaN if any is NaN; equal extremes share the gradient evenly. An empty reduction is an error. */
NACRE_API nacre_tensor *nacre_max_at(const nacre_reduce_options *o, const char *file, int line);
NACRE_API nacre_tensor *nacre_min_at(const nacre_reduce_options *o, const char *file, int line);
/* Index (i64) of the first largest or smallest, the first NaN if there is one; over one axis, or over
   all: then into the flattened tensor. */
NACRE_API nacre_tensor *nacre_argmax_at(const nacre_reduce_options *o, const char *file, int line);
NACRE_API nacre_tensor *nacre_argmin_at(const nacre_reduce_options *o, const char *file, int line);

/* ---- products ---- */

/* a: [..., m, k], b: [..., k, n] -> [..., m, n]; leading axes broadcast. A 1-d a is a row, a 1-d b a
   column, and that axis is dropped, as in NumPy. Transposed operands cost no copy. */
NACRE_API nacre_tensor *nacre_matmul_at(nacre_tensor *a, nacre_tensor *b, const char *file,
                                        int line);
/* x: [..., in], weight: [out, in], bias: [out] or NULL -> x weight^T + bias: [..., out]. */
NACRE_API nacre_tensor *nacre_f_linear_at(nacre_tensor *x, nacre_tensor *weight, nacre_tensor *bias,
                                          const char *file, int line);

/* ---- images: [n, channels, height, width], f32 or f64; n may be 0 ---- */

typedef struct nacre_f_conv2d_options {
    size_t size;
    nacre_tensor *input;  /* [n, c, h, w] */
    nacre_tensor *weight; /* [out, c / groups, kh, kw] */
    nacre_tensor *bias;   /* [out], or NULL: none */
    int64_t stride[2];    /* height, width; 0 means 1 */
    int64_t padding[2];   /* rows and columns of zeros on either side */
    int64_t dilation[2];  /* distance of the kernel's taps; 0 means 1 */
    int64_t groups;       /* 0 means 1; c: each channel has its own filters (depthwise) */
} nacre_f_conv2d_options;
/* -> [n, out, oh, ow], oh = floor((h + 2 padding - dilation (kh - 1) - 1) / stride) + 1, ow likewise:
   y[n, o, i, j] = bias[o] + sum over the group's channels c and the taps p, q of
   x[n, c, i stride - padding + p dilation, j ...] weight[o, c, p, q]: a cross-correlation, as PyTorch's
   conv2d and ONNX's Conv. A tap outside x adds nothing (not 0 times the weight). Where the CPU computes f32
   windows of 3 x 3 by Winograd's algorithm (stride, dilation and groups 1, 8 channels or more on both sides), that
   holds for finite weights alone: a NaN or an infinity among them also spoils the outputs at the edges for which
   its tap lies outside x, and what would be an infinity may be NaN (gradients: docs/ops.md). Errors: channels or
   filters that groups does not divide, a kernel that spans more than the padded input, negative numbers.

       nacre_tensor *y = nacre_f_conv2d(x, weight, bias, .stride = {2, 2}, .padding = {1, 1}); */
NACRE_API nacre_tensor *nacre_f_conv2d_at(const nacre_f_conv2d_options *o, const char *file,
                                          int line);

typedef struct nacre_f_pool2d_options {
    size_t size;
    nacre_tensor *input; /* [n, c, h, w] */
    int64_t kernel[2];   /* height, width */
    int64_t stride[2];   /* 0 means the kernel's extent: windows side by side */
    int64_t padding[2];  /* at most half the kernel */
} nacre_f_pool2d_options;
/* -> [n, c, oh, ow], oh = floor((h + 2 padding - kh) / stride) + 1: the largest element of each window, NaN if
   it has one; padding never wins. The gradient goes to the first largest in row order (the first NaN).

       nacre_tensor *y = nacre_f_max_pool2d(x, {2, 2}); */
NACRE_API nacre_tensor *nacre_f_max_pool2d_at(const nacre_f_pool2d_options *o, const char *file,
                                              int line);
/* The same with each window's sum over kh kw; padding counts as zeros (PyTorch's count_include_pad). */
NACRE_API nacre_tensor *nacre_f_avg_pool2d_at(const nacre_f_pool2d_options *o, const char *file,
                                              int line);

typedef struct nacre_f_batch_norm_options {
    size_t size;
    nacre_tensor *input;       /* [n, c, ...], two axes or more */
    nacre_tensor *weight;      /* [c] */
    nacre_tensor *bias;        /* [c] */
    nacre_tensor *mean;        /* [c]: statistics to use; NULL: the batch's own */
    nacre_tensor *var;         /* [c], given with mean or not at all */
    double epsilon;            /* 0 means 1e-5 */
    nacre_tensor **batch_mean; /* where to put the batch's statistics; NULL: nowhere */
    nacre_tensor **batch_var;  /* the biased variance: over m, not m - 1 */
} nacre_f_batch_norm_options;
/* (x - mean) scale + bias, in this order, with scale = weight / sqrt(var + epsilon) per channel (Ioffe and
   Szegedy 2015). Without mean and var: with those of the batch, over all axes but the second; they pass
   gradients on, whether by y or by batch_mean and batch_var. NaN where a channel has no elements.

       nacre_tensor *mean, *var;
       nacre_tensor *y = nacre_f_batch_norm(x, weight, bias, .batch_mean = &mean, .batch_var = &var); */
NACRE_API nacre_tensor *nacre_f_batch_norm_at(const nacre_f_batch_norm_options *o, const char *file,
                                              int line);

/* ---- softmax, losses, rows ---- */

/* exp(x - max) / sum over one axis. */
NACRE_API nacre_tensor *nacre_f_softmax_at(nacre_tensor *a, int axis, const char *file, int line);
NACRE_API nacre_tensor *nacre_f_log_softmax_at(nacre_tensor *a, int axis, const char *file,
                                               int line);
/* (x - mean) / sqrt(variance + epsilon) * weight + bias, mean and variance (divided by the extent) along the
   last axis (Ba et al. 2016). x: [..., n]; weight, bias: [n] or NULL, which means ones and zeros. epsilon:
   finite and at least 0, 1e-5 is usual. */
NACRE_API nacre_tensor *nacre_f_layer_norm_at(nacre_tensor *x, nacre_tensor *weight,
                                              nacre_tensor *bias, double epsilon, const char *file,
                                              int line);
typedef struct nacre_attention_options {
    size_t size;
    nacre_tensor *q, *k, *v;
    int64_t heads; /* default 1; where the heads are an axis, that says how many */
    bool causal;   /* query i looks at keys 0 .. i only */
    double scale;  /* default 1 / sqrt(width of a head); finite; NACRE_ZERO for 0 */
} nacre_attention_options;
/* softmax(scale q k^T) v for each head (Vaswani et al. 2017), as PyTorch has it. q: [batch, heads, queries, c];
   k, v: [batch, heads, keys, c] -> [batch, heads, queries, c]. What causal masks has no influence while it is
   finite; a NaN or an infinity among masked values may make NaN, 0 times it, as in PyTorch.

       nacre_tensor *y = nacre_f_scaled_dot_product_attention(q, k, v, .causal = true); */
NACRE_API nacre_tensor *nacre_f_scaled_dot_product_attention_at(const nacre_attention_options *o,
                                                                const char *file, int line);
/* The same with the heads side by side, head i in columns [i c, (i + 1) c), as products make and take them. q:
   [batch, queries, heads c]; k, v: [batch, keys, heads c] -> [batch, queries, heads c]. Slices of a wider array
   cost no copy. Without k and v, q holds all three side by side, [batch, positions, 3 heads c], and so does its
   gradient.

       nacre_tensor *y = nacre_f_attention(nacre_f_linear(x, weight, bias), .heads = 4); */
NACRE_API nacre_tensor *nacre_f_attention_at(const nacre_attention_options *o, const char *file,
                                             int line);
/* Mean over rows of -log softmax(logits)[target]. logits: [n, classes]; target: [n] indices (i64, i32
   or u8), or [n, classes] of logits' dtype (one-hot or probabilities). -> scalar. n = 0 is an error. */
NACRE_API nacre_tensor *nacre_f_cross_entropy_at(nacre_tensor *logits, nacre_tensor *target,
                                                 const char *file, int line);
/* Mean of (prediction - target)^2 over all elements. */
NACRE_API nacre_tensor *nacre_f_mse_at(nacre_tensor *prediction, nacre_tensor *target,
                                       const char *file, int line);
/* Rows of table [n, ...] at indices [...] (i64, i32 or u8): -> indices' shape + table's other axes.
   An index outside [0, n) fails the evaluation before its first effect. */
NACRE_API nacre_tensor *nacre_gather_at(nacre_tensor *table, nacre_tensor *indices,
                                        const char *file, int line);
/* The same as a layer has it: rows of weight [n, features] at indices [...] -> [..., features]. */
NACRE_API nacre_tensor *nacre_f_embedding_at(nacre_tensor *indices, nacre_tensor *weight,
                                             const char *file, int line);
/* Each element 0 with probability p, else a / (1 - p) (Srivastava et al. 2014); the mask is the thread's next
   draw. p in [0, 1]. For training: a layer leaves it out in inference. */
NACRE_API nacre_tensor *nacre_f_dropout_at(nacre_tensor *a, double p, const char *file, int line);
/* indices [...] -> [..., classes] of `dtype`, 1 at the index and 0 elsewhere. */
NACRE_API nacre_tensor *nacre_one_hot_at(nacre_tensor *indices, int64_t classes, nacre_dtype dtype,
                                         const char *file, int line);

#ifndef __cplusplus
#define NACRE_CALL_(function, type, first, ...)                                                    \
    function(&(type){.size = sizeof(type), first = __VA_ARGS__}, __FILE__, __LINE__)

#define nacre_zeros(...) NACRE_CALL_(nacre_zeros_at, nacre_create_options, .shape, __VA_ARGS__)
#define nacre_ones(...) NACRE_CALL_(nacre_ones_at, nacre_create_options, .shape, __VA_ARGS__)
#define nacre_rand(...) NACRE_CALL_(nacre_rand_at, nacre_create_options, .shape, __VA_ARGS__)
#define nacre_randn(...) NACRE_CALL_(nacre_randn_at, nacre_create_options, .shape, __VA_ARGS__)
/* nacre_full(shape, value, .dtype = ...) */
#define nacre_full(...) NACRE_CALL_(nacre_full_at, nacre_full_options, .shape, __VA_ARGS__)
#define nacre_eye(...) NACRE_CALL_(nacre_eye_at, nacre_eye_options, .n, __VA_ARGS__)
#define nacre_arange(...) NACRE_CALL_(nacre_arange_at, nacre_arange_options, .stop, __VA_ARGS__)
/* nacre_from_data(pointer, shape, .dtype = ...) */
#define nacre_from_data(...) NACRE_CALL_(nacre_from_data_at, nacre_data_options, .data, __VA_ARGS__)
#define nacre_sum(...) NACRE_CALL_(nacre_sum_at, nacre_reduce_options, .input, __VA_ARGS__)
#define nacre_mean(...) NACRE_CALL_(nacre_mean_at, nacre_reduce_options, .input, __VA_ARGS__)
#define nacre_max(...) NACRE_CALL_(nacre_max_at, nacre_reduce_options, .input, __VA_ARGS__)
#define nacre_min(...) NACRE_CALL_(nacre_min_at, nacre_reduce_options, .input, __VA_ARGS__)
#define nacre_argmax(...) NACRE_CALL_(nacre_argmax_at, nacre_reduce_options, .input, __VA_ARGS__)
#define nacre_argmin(...) NACRE_CALL_(nacre_argmin_at, nacre_reduce_options, .input, __VA_ARGS__)

#define nacre_cast(a, dtype) nacre_cast_at((a), (dtype), __FILE__, __LINE__)
#define nacre_float(a) nacre_cast_at((a), NACRE_F32, __FILE__, __LINE__)
#define nacre_int(a) nacre_cast_at((a), NACRE_I32, __FILE__, __LINE__)
#define nacre_to_device(a, device) nacre_to_device_at((a), (device), __FILE__, __LINE__)
#define nacre_reshape(a, ...) nacre_reshape_at((a), __VA_ARGS__, __FILE__, __LINE__)
#define nacre_view(a, ...) nacre_reshape_at((a), __VA_ARGS__, __FILE__, __LINE__)
#define nacre_permute(a, ...) nacre_permute_at((a), __VA_ARGS__, __FILE__, __LINE__)
#define nacre_transpose(a, i, j) nacre_transpose_at((a), (i), (j), __FILE__, __LINE__)
#define nacre_slice(a, axis, start, stop, step)                                                    \
    nacre_slice_at((a), (axis), (start), (stop), (step), __FILE__, __LINE__)
#define nacre_index(a, text) nacre_index_at((a), (text), __FILE__, __LINE__)
#define nacre_broadcast_to(a, ...) nacre_broadcast_to_at((a), __VA_ARGS__, __FILE__, __LINE__)
#define nacre_concat(tensors, count, axis)                                                         \
    nacre_concat_at((tensors), (count), (axis), __FILE__, __LINE__)
#define nacre_add(a, b) nacre_add_at((a), (b), __FILE__, __LINE__)
#define nacre_sub(a, b) nacre_sub_at((a), (b), __FILE__, __LINE__)
#define nacre_mul(a, b) nacre_mul_at((a), (b), __FILE__, __LINE__)
#define nacre_div(a, b) nacre_div_at((a), (b), __FILE__, __LINE__)
#define nacre_pow(a, b) nacre_pow_at((a), (b), __FILE__, __LINE__)
#define nacre_maximum(a, b) nacre_maximum_at((a), (b), __FILE__, __LINE__)
#define nacre_minimum(a, b) nacre_minimum_at((a), (b), __FILE__, __LINE__)
#define nacre_equal(a, b) nacre_equal_at((a), (b), __FILE__, __LINE__)
#define nacre_not_equal(a, b) nacre_not_equal_at((a), (b), __FILE__, __LINE__)
#define nacre_less(a, b) nacre_less_at((a), (b), __FILE__, __LINE__)
#define nacre_less_equal(a, b) nacre_less_equal_at((a), (b), __FILE__, __LINE__)
#define nacre_greater(a, b) nacre_greater_at((a), (b), __FILE__, __LINE__)
#define nacre_greater_equal(a, b) nacre_greater_equal_at((a), (b), __FILE__, __LINE__)
#define nacre_add_scalar(a, b) nacre_add_scalar_at((a), (b), __FILE__, __LINE__)
#define nacre_sub_scalar(a, b) nacre_sub_scalar_at((a), (b), __FILE__, __LINE__)
#define nacre_mul_scalar(a, b) nacre_mul_scalar_at((a), (b), __FILE__, __LINE__)
#define nacre_div_scalar(a, b) nacre_div_scalar_at((a), (b), __FILE__, __LINE__)
#define nacre_pow_scalar(a, b) nacre_pow_scalar_at((a), (b), __FILE__, __LINE__)
#define nacre_neg(a) nacre_neg_at((a), __FILE__, __LINE__)
#define nacre_exp(a) nacre_exp_at((a), __FILE__, __LINE__)
#define nacre_log(a) nacre_log_at((a), __FILE__, __LINE__)
#define nacre_sqrt(a) nacre_sqrt_at((a), __FILE__, __LINE__)
#define nacre_f_relu(a) nacre_f_relu_at((a), __FILE__, __LINE__)
#define nacre_f_tanh(a) nacre_f_tanh_at((a), __FILE__, __LINE__)
#define nacre_erf(a) nacre_erf_at((a), __FILE__, __LINE__)
#define nacre_f_gelu(a, form) nacre_f_gelu_at((a), (form), __FILE__, __LINE__)
#define nacre_where(c, a, b) nacre_where_at((c), (a), (b), __FILE__, __LINE__)
#define nacre_matmul(a, b) nacre_matmul_at((a), (b), __FILE__, __LINE__)
#define nacre_f_linear(x, weight, bias) nacre_f_linear_at((x), (weight), (bias), __FILE__, __LINE__)
#define nacre_f_conv2d(...)                                                                        \
    NACRE_CALL_(nacre_f_conv2d_at, nacre_f_conv2d_options, .input, __VA_ARGS__)
#define nacre_f_max_pool2d(...)                                                                    \
    NACRE_CALL_(nacre_f_max_pool2d_at, nacre_f_pool2d_options, .input, __VA_ARGS__)
#define nacre_f_avg_pool2d(...)                                                                    \
    NACRE_CALL_(nacre_f_avg_pool2d_at, nacre_f_pool2d_options, .input, __VA_ARGS__)
#define nacre_f_batch_norm(...)                                                                    \
    NACRE_CALL_(nacre_f_batch_norm_at, nacre_f_batch_norm_options, .input, __VA_ARGS__)
#define nacre_f_softmax(a, axis) nacre_f_softmax_at((a), (axis), __FILE__, __LINE__)
#define nacre_f_log_softmax(a, axis) nacre_f_log_softmax_at((a), (axis), __FILE__, __LINE__)
#define nacre_f_layer_norm(x, weight, bias, epsilon)                                               \
    nacre_f_layer_norm_at((x), (weight), (bias), (epsilon), __FILE__, __LINE__)
#define nacre_f_scaled_dot_product_attention(...)                                                  \
    NACRE_CALL_(nacre_f_scaled_dot_product_attention_at, nacre_attention_options, .q, __VA_ARGS__)
#define nacre_f_attention(...)                                                                     \
    NACRE_CALL_(nacre_f_attention_at, nacre_attention_options, .q, __VA_ARGS__)
#define nacre_f_cross_entropy(logits, target)                                                      \
    nacre_f_cross_entropy_at((logits), (target), __FILE__, __LINE__)
#define nacre_f_mse(prediction, target) nacre_f_mse_at((prediction), (target), __FILE__, __LINE__)
#define nacre_gather(table, indices) nacre_gather_at((table), (indices), __FILE__, __LINE__)
#define nacre_f_embedding(indices, weight)                                                         \
    nacre_f_embedding_at((indices), (weight), __FILE__, __LINE__)
#define nacre_f_dropout(a, p) nacre_f_dropout_at((a), (p), __FILE__, __LINE__)
#define nacre_one_hot(indices, classes, dtype)                                                     \
    nacre_one_hot_at((indices), (classes), (dtype), __FILE__, __LINE__)
#endif

#ifdef __cplusplus
}
#endif
#endif
