/* Modules: layers that own parameters, and networks made of them (components). */
#ifndef NACRE_NN_H
#define NACRE_NN_H

#include <nacre/io.h>
#include <nacre/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nacre_module nacre_module;

/* What a kind of layer does. A user's own layer fills one of these (see docs): pure callbacks,
   `self` is the layer's own data. */
typedef struct nacre_module_class {
    size_t size;
    const char *name; /* "Linear" */
    /* Output for input x: records ops only. */
    nacre_tensor *(*forward)(nacre_module *module, void *self, nacre_tensor *x);
    /* Hand-written backward: from the input, the output and the output's gradient, adds the parameters'
       gradients to their slots (nacre_accumulate_grad) and returns the input's. May be NULL: then
       nacre_module_backward uses autograd. */
    nacre_tensor *(*backward)(nacre_module *module, void *self, nacre_tensor *x, nacre_tensor *y,
                              nacre_tensor *dy);
    /* One line such as "in=784, out=128"; may be NULL. */
    void (*describe)(const void *self, char *text, size_t size);
    /* Floating-point operations of a forward pass for one input of this shape; may be NULL: 0. */
    double (*flops)(const void *self, nacre_shape input);
    void (*destroy)(void *self); /* may be NULL */
} nacre_module_class;

/* A module of this class; takes ownership of `self` even when it fails. Never NULL: a module that
   could not be made carries the error (nacre_module_status) into whatever is built from it. */
NACRE_API nacre_module *nacre_module_new(const nacre_module_class *class_, void *self);
/* Frees a module, its parameters and its children. A module inside another belongs to that one. */
NACRE_API void nacre_module_free(nacre_module *module);
NACRE_API nacre_status nacre_module_status(const nacre_module *module);
NACRE_API const char *nacre_module_message(const nacre_module *module);
NACRE_API const char *nacre_module_kind(const nacre_module *module); /* the class's name */

/* How parameters start: at assembly, each from the stream of its full name. */
typedef enum nacre_init {
    NACRE_INIT_DEFAULT = 0, /* He for weights, zeros for biases */
    NACRE_INIT_HE,          /* normal, std sqrt(2 / fan_in) (He et al. 2015) */
    NACRE_INIT_XAVIER,      /* uniform in +-sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010) */
    NACRE_INIT_ZEROS,
    NACRE_INIT_ONES,
    NACRE_INIT_NORMAL, /* normal, std 1 */
    NACRE_INIT_SMALL,  /* normal, std 0.02 (Radford et al. 2018), as transformers start */
} nacre_init;

/* Registers a parameter under `name`; the module owns it. Its weights are drawn when the network is
   assembled (nacre_module_init), from the stream of its full name. fan_in and fan_out of a [out, in]
   weight. Returns the parameter (an error tensor on failure). */
NACRE_API nacre_tensor *nacre_module_parameter(nacre_module *module, const char *name,
                                               nacre_shape shape, nacre_init init);
/* Registers state that is not trained, such as running statistics: saved and loaded with the parameters, seen by
   no optimiser, without a gradient. It is `value` everywhere, again when the network is assembled. Change it
   with nacre_assign. dtype: 0 means f32. Returns the buffer (an error tensor on failure). */
NACRE_API nacre_tensor *nacre_module_buffer(nacre_module *module, const char *name,
                                            nacre_shape shape, nacre_dtype dtype, double value);
/* Uses a parameter of another module of the same network under a name of this one's: one tensor, drawn, trained
   and counted where it belongs; its gradients add up. A state dictionary holds it once, under its owner's
   name (as safetensors files do); loading takes either name, or both when the values are equal. Assembling a
   network without the owner is an error. Returns the parameter (an error tensor on failure). */
NACRE_API nacre_tensor *nacre_module_tie(nacre_module *module, const char *name,
                                         nacre_tensor *parameter);
/* Adds a child under `name` (NULL: its index); takes ownership even when it fails. */
NACRE_API nacre_status nacre_module_add(nacre_module *parent, const char *name,
                                        nacre_module *child);
NACRE_API size_t nacre_module_child_count(const nacre_module *module);
NACRE_API nacre_module *nacre_module_child(const nacre_module *module, size_t index);

/* Draws every parameter of the tree anew: a function of the seed and of each parameter's full name,
   whatever the order of construction. */
NACRE_API nacre_status nacre_module_init(nacre_module *module, uint64_t seed);

/* The module's output for x. An error that arises inside names the innermost layer by its path and class, such as
   "layer 4.body.0 (Conv2d): conv2d: ...", and the line of the call, or of the op in a layer of your own. */
NACRE_API nacre_tensor *nacre_module_forward(nacre_module *module, nacre_tensor *x);
NACRE_API nacre_tensor *nacre_module_forward_at(nacre_module *module, nacre_tensor *x,
                                                const char *file, int line);
/* The hand-written way beside autograd: y must be this module's forward of x, recorded with gradients
   on or off, and its latest one where layers draw random numbers: they are drawn again to be the same. Adds to
   the parameters' gradient slots, returns the gradient of x. */
NACRE_API nacre_tensor *nacre_module_backward(nacre_module *module, nacre_tensor *x,
                                              nacre_tensor *y, nacre_tensor *dy);

/* Whether nacre_module_backward is running on this thread: a forward call then computes values anew that were
   there before, and must not count them a second time (running statistics). */
NACRE_API bool nacre_module_recomputes(void);

/* Training or inference, for the whole tree; a new module trains. */
typedef enum nacre_mode { NACRE_TRAIN = 0, NACRE_EVAL = 1 } nacre_mode;
NACRE_API void nacre_module_set_mode(nacre_module *module, nacre_mode mode);
NACRE_API nacre_mode nacre_module_mode(const nacre_module *module);

/* Parameters of the tree, in order, with full names such as "0.weight". */
NACRE_API size_t nacre_module_parameter_count(const nacre_module *module);
NACRE_API nacre_tensor *nacre_module_parameter_at(const nacre_module *module, size_t index);
NACRE_API const char *nacre_module_parameter_name(const nacre_module *module, size_t index);
NACRE_API void nacre_module_zero_grad(nacre_module *module);
/* Buffers of the tree, likewise. */
NACRE_API size_t nacre_module_buffer_count(const nacre_module *module);
NACRE_API nacre_tensor *nacre_module_buffer_at(const nacre_module *module, size_t index);
NACRE_API const char *nacre_module_buffer_name(const nacre_module *module, size_t index);

/* All parameters and buffers by full name; a new dictionary, free it. NULL on error. */
NACRE_API nacre_state_dict *nacre_module_state(const nacre_module *module);
/* Takes every parameter and buffer from the dictionary: a missing, surplus or differently shaped one is an error
   naming it, and then nothing is changed. */
NACRE_API nacre_status nacre_module_load_state(nacre_module *module, const nacre_state_dict *dict);

/* A table of layers with output shape, parameters and FLOPs for one input of this shape (without the
   batch axis), and totals. Free the text with nacre_text_release. NULL on error. */
NACRE_API char *nacre_module_summary(nacre_module *module, nacre_shape input);
NACRE_API char *nacre_module_summary_json(nacre_module *module, nacre_shape input);
NACRE_API void nacre_text_release(char *text);

/* ---- layers ---- */

typedef struct nacre_linear_options {
    size_t size;
    int64_t in, out;
    bool no_bias;
    nacre_init init;      /* of the weight, [out, in] */
    nacre_tensor *weight; /* NULL: its own; or another module's parameter [out, in], tied */
} nacre_linear_options;
/* y = x W^T + b: [..., in] -> [..., out]. Parameters "weight" [out, in], "bias" [out]. */
NACRE_API nacre_module *nacre_linear_at(const nacre_linear_options *options);

NACRE_API nacre_module *nacre_relu(void);
NACRE_API nacre_module *nacre_softmax(int axis);
/* [n, a, b, ...] -> [n, a b ...]. */
NACRE_API nacre_module *nacre_flatten(void);
typedef struct nacre_conv2d_options {
    size_t size;
    int64_t in, out;                            /* channels */
    int64_t kernel[2];                          /* height, width */
    int64_t stride[2], padding[2], dilation[2]; /* 0 means 1 in stride and dilation */
    int64_t groups;                             /* 0 means 1 */
    bool no_bias;
    nacre_init init; /* of the weight */
} nacre_conv2d_options;
/* nacre_f_conv2d: [n, in, h, w] -> [n, out, oh, ow]. Parameters "weight" [out, in / groups, kh, kw], "bias"
   [out].

       nacre_conv2d(3, 16, {3, 3}, .padding = {1, 1}, .no_bias = true) */
NACRE_API nacre_module *nacre_conv2d_at(const nacre_conv2d_options *options);

typedef struct nacre_pool2d_options {
    size_t size;
    int64_t kernel[2];  /* height, width */
    int64_t stride[2];  /* 0 means the kernel's extent */
    int64_t padding[2]; /* at most half the kernel */
} nacre_pool2d_options;
/* nacre_f_max_pool2d and nacre_f_avg_pool2d: [n, c, h, w] -> [n, c, oh, ow]. nacre_max_pool2d({2, 2}) */
NACRE_API nacre_module *nacre_max_pool2d_at(const nacre_pool2d_options *options);
NACRE_API nacre_module *nacre_avg_pool2d_at(const nacre_pool2d_options *options);
/* The mean of each channel: [n, c, h, w] -> [n, c]. */
NACRE_API nacre_module *nacre_global_avg_pool2d(void);

typedef struct nacre_batch_norm2d_options {
    size_t size;
    int64_t channels;
    double epsilon;  /* 0 means 1e-5 */
    double momentum; /* of the running statistics, above 0 to 1; 0 means 0.1 */
} nacre_batch_norm2d_options;
/* nacre_f_batch_norm of [n, channels, h, w]; PyTorch's BatchNorm2d. Training uses the batch's statistics and
   moves the running ones: running = (1 - momentum) running + momentum batch, the variance over m - 1. Inference
   uses the running ones. Parameters "weight" (ones), "bias" (zeros); buffers "running_mean" (zeros),
   "running_var" (ones), "num_batches_tracked" (i64 scalar). Training needs two elements per channel. */
NACRE_API nacre_module *nacre_batch_norm2d_at(const nacre_batch_norm2d_options *options);

/* y = body(x) + shortcut(x); shortcut NULL: body(x) + x. Takes ownership; the children are named "body" and
   "shortcut". The two sums' shapes must be equal. */
NACRE_API nacre_module *nacre_residual(nacre_module *body, nacre_module *shortcut);
NACRE_API nacre_module *nacre_tanh(void);
/* nacre_f_gelu. */
NACRE_API nacre_module *nacre_gelu(nacre_gelu_form form);
/* nacre_f_dropout in training, nothing in inference. p: the part that is dropped, 0 to 1. */
NACRE_API nacre_module *nacre_dropout(double p);

typedef struct nacre_layer_norm_options {
    size_t size;
    int64_t features;
    double epsilon; /* 0 means 1e-5 */
    bool plain;     /* no parameters */
} nacre_layer_norm_options;
/* nacre_f_layer_norm: [..., features] -> the same. Parameters "weight" (ones), "bias" (zeros), [features]. */
NACRE_API nacre_module *nacre_layer_norm_at(const nacre_layer_norm_options *options);

typedef struct nacre_embedding_options {
    size_t size;
    int64_t count, features;
    nacre_init init; /* default NACRE_INIT_NORMAL */
} nacre_embedding_options;
/* Rows of "weight" [count, features] at indices [...]: -> [..., features]. */
NACRE_API nacre_module *nacre_embedding_at(const nacre_embedding_options *options);

typedef struct nacre_multi_head_attention_options {
    size_t size;
    int64_t width, heads; /* width: a multiple of heads */
    bool causal;          /* position i looks at positions 0 .. i */
    bool no_bias;
} nacre_multi_head_attention_options;
/* Attention of a sequence to itself: [n, positions, width] -> the same. Children "in_proj", a Linear that gives q,
   k and v side by side, and "out_proj". */
NACRE_API nacre_module *
nacre_multi_head_attention_at(const nacre_multi_head_attention_options *options);

typedef struct nacre_transformer_block_options {
    size_t size;
    int64_t width, heads;
    int64_t hidden; /* 0 means 4 width */
    bool causal;
    nacre_gelu_form gelu;
} nacre_transformer_block_options;
/* A block with the norms before what they feed (Xiong et al. 2020): [n, positions, width] -> the same,
       x + self_attn(norm1(x)), then x + linear2(gelu(linear1(norm2(x)))). The names are its children's. */
NACRE_API nacre_module *nacre_transformer_block_at(const nacre_transformer_block_options *options);

/* A chain of modules; takes ownership of them. Children are named "0", "1", ... A NULL among them is
   an error. */
NACRE_API nacre_module *nacre_sequential_of(nacre_module *const *modules, size_t count);
/* The block of a multi-layer perceptron: Linear and ReLU for each width but the last, which is a plain
   Linear. widths: [count] with the input's first. */
NACRE_API nacre_module *nacre_mlp(const int64_t *widths, size_t count);

#ifndef __cplusplus
#ifndef NACRE_BUILDING /* a layer's own calls have no line that says anything */
#define nacre_module_forward(module, x) nacre_module_forward_at((module), (x), __FILE__, __LINE__)
#endif
#define nacre_linear(...)                                                                          \
    nacre_linear_at(                                                                               \
        &(nacre_linear_options){.size = sizeof(nacre_linear_options), .in = __VA_ARGS__})
#define nacre_conv2d(...)                                                                          \
    nacre_conv2d_at(                                                                               \
        &(nacre_conv2d_options){.size = sizeof(nacre_conv2d_options), .in = __VA_ARGS__})
#define nacre_max_pool2d(...)                                                                      \
    nacre_max_pool2d_at(                                                                           \
        &(nacre_pool2d_options){.size = sizeof(nacre_pool2d_options), .kernel = __VA_ARGS__})
#define nacre_avg_pool2d(...)                                                                      \
    nacre_avg_pool2d_at(                                                                           \
        &(nacre_pool2d_options){.size = sizeof(nacre_pool2d_options), .kernel = __VA_ARGS__})
#define nacre_batch_norm2d(...)                                                                    \
    nacre_batch_norm2d_at(&(nacre_batch_norm2d_options){                                           \
        .size = sizeof(nacre_batch_norm2d_options), .channels = __VA_ARGS__})
#define nacre_layer_norm(...)                                                                      \
    nacre_layer_norm_at(&(nacre_layer_norm_options){.size = sizeof(nacre_layer_norm_options),      \
                                                    .features = __VA_ARGS__})
#define nacre_embedding(...)                                                                       \
    nacre_embedding_at(                                                                            \
        &(nacre_embedding_options){.size = sizeof(nacre_embedding_options), .count = __VA_ARGS__})
/* nacre_multi_head_attention(width, heads, .causal = true), nacre_transformer_block likewise */
#define nacre_multi_head_attention(...)                                                            \
    nacre_multi_head_attention_at(&(nacre_multi_head_attention_options){                           \
        .size = sizeof(nacre_multi_head_attention_options), .width = __VA_ARGS__})
#define nacre_transformer_block(...)                                                               \
    nacre_transformer_block_at(&(nacre_transformer_block_options){                                 \
        .size = sizeof(nacre_transformer_block_options), .width = __VA_ARGS__})
#define nacre_sequential(...)                                                                      \
    nacre_sequential_of((nacre_module *[]){__VA_ARGS__},                                           \
                        sizeof((nacre_module *[]){__VA_ARGS__}) / sizeof(nacre_module *))
#endif

#ifdef __cplusplus
}
#endif
#endif
