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
} nacre_init;

/* Registers a parameter under `name`; the module owns it. Its weights are drawn when the network is
   assembled (nacre_module_init), from the stream of its full name. fan_in and fan_out of a [out, in]
   weight. Returns the parameter (an error tensor on failure). */
NACRE_API nacre_tensor *nacre_module_parameter(nacre_module *module, const char *name,
                                               nacre_shape shape, nacre_init init);
/* Adds a child under `name` (NULL: its index); takes ownership even when it fails. */
NACRE_API nacre_status nacre_module_add(nacre_module *parent, const char *name,
                                        nacre_module *child);
NACRE_API size_t nacre_module_child_count(const nacre_module *module);
NACRE_API nacre_module *nacre_module_child(const nacre_module *module, size_t index);

/* Draws every parameter of the tree anew: a function of the seed and of each parameter's full name,
   whatever the order of construction. */
NACRE_API nacre_status nacre_module_init(nacre_module *module, uint64_t seed);

NACRE_API nacre_tensor *nacre_module_forward(nacre_module *module, nacre_tensor *x);
/* The hand-written way beside autograd: y must be this module's forward of x, recorded with gradients
   on or off. Adds to the parameters' gradient slots, returns the gradient of x. */
NACRE_API nacre_tensor *nacre_module_backward(nacre_module *module, nacre_tensor *x,
                                              nacre_tensor *y, nacre_tensor *dy);

/* Training or inference, for the whole tree; a new module trains. */
typedef enum nacre_mode { NACRE_TRAIN = 0, NACRE_EVAL = 1 } nacre_mode;
NACRE_API void nacre_module_set_mode(nacre_module *module, nacre_mode mode);
NACRE_API nacre_mode nacre_module_mode(const nacre_module *module);

/* Parameters of the tree, in order, with full names such as "0.weight". */
NACRE_API size_t nacre_module_parameter_count(const nacre_module *module);
NACRE_API nacre_tensor *nacre_module_parameter_at(const nacre_module *module, size_t index);
NACRE_API const char *nacre_module_parameter_name(const nacre_module *module, size_t index);
NACRE_API void nacre_module_zero_grad(nacre_module *module);

/* All parameters by full name; a new dictionary, free it. NULL on error. */
NACRE_API nacre_state_dict *nacre_module_state(const nacre_module *module);
/* Takes every parameter from the dictionary: a missing, surplus or differently shaped one is an error
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
    nacre_init init; /* of the weight, [out, in] */
} nacre_linear_options;
/* y = x W^T + b: [..., in] -> [..., out]. Parameters "weight" [out, in], "bias" [out]. */
NACRE_API nacre_module *nacre_linear_at(const nacre_linear_options *options);

NACRE_API nacre_module *nacre_relu(void);
NACRE_API nacre_module *nacre_softmax(int axis);
/* [n, a, b, ...] -> [n, a b ...]. */
NACRE_API nacre_module *nacre_flatten(void);
/* A chain of modules; takes ownership of them. Children are named "0", "1", ... A NULL among them is
   an error. */
NACRE_API nacre_module *nacre_sequential_of(nacre_module *const *modules, size_t count);
/* The block of a multi-layer perceptron: Linear and ReLU for each width but the last, which is a plain
   Linear. widths: [count] with the input's first. */
NACRE_API nacre_module *nacre_mlp(const int64_t *widths, size_t count);

#ifndef __cplusplus
#define nacre_linear(...)                                                                          \
    nacre_linear_at(                                                                               \
        &(nacre_linear_options){.size = sizeof(nacre_linear_options), .in = __VA_ARGS__})
#define nacre_sequential(...)                                                                      \
    nacre_sequential_of((nacre_module *[]){__VA_ARGS__},                                           \
                        sizeof((nacre_module *[]){__VA_ARGS__}) / sizeof(nacre_module *))
#endif

#ifdef __cplusplus
}
#endif
#endif
