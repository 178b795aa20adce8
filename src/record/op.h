/* What an op is: one constant struct that says everything about its meaning. */
#ifndef NACRE_RECORD_OP_H
#define NACRE_RECORD_OP_H

#include "tensor/dtype.h"
#include "tensor/shape.h"

#define NACRE_MAX_ATTRS 8
#define NACRE_MAX_INPUTS 6
#define NACRE_MAX_OUTPUTS 3

/* Attributes are words; the op's table says what each is. Hashing, equality and printing follow from it. */
typedef union nacre_word {
    int64_t i;
    double f;
} nacre_word;

/* Two numbers below 2^31 in one word: height in the high half, width in the low one. */
static inline nacre_word nacre_pair(int64_t height, int64_t width) {
    return (nacre_word){.i = (int64_t)((uint64_t)height << 32 | (uint64_t)width)};
}

static inline int64_t nacre_pair_first(nacre_word pair) {
    return (int64_t)((uint64_t)pair.i >> 32);
}

static inline int64_t nacre_pair_second(nacre_word pair) { return pair.i & 0xffffffff; }

typedef enum nacre_attr_kind {
    NACRE_ATTR_END = 0,
    NACRE_ATTR_INT, /* shapes the plan: part of its key */
    NACRE_ATTR_BOOL,
    NACRE_ATTR_AXES,        /* bit set of axes */
    NACRE_ATTR_PERMUTATION, /* 4 bits an axis, axis 0 lowest */
    NACRE_ATTR_PAIR,        /* height and width: nacre_pair */
    NACRE_ATTR_SLOT_INT,    /* slots: inputs of the replay, not of the key */
    NACRE_ATTR_SLOT_FLOAT,
} nacre_attr_kind;

typedef struct nacre_attr {
    const char *name;
    nacre_attr_kind kind;
} nacre_attr;

/* One array at run time: strides in elements, 0 along a broadcast axis. A laned one, [n, ...] by its shape, lies
   in memory as [ceil(n / 16), ..., 16], samples beside each other, and its strides mean nothing; the lanes
   beyond n hold anything. Only a backend that asked for it meets one. */
typedef struct nacre_array {
    void *data;
    nacre_dtype dtype;
    nacre_shape shape;
    int64_t strides[NACRE_MAX_DIMS];
    bool laned;
} nacre_array;

/* What a shape rule sees, and what it decides: dtype and shape of each output. Attributes may be
   brought to normal form. `where` is for nacre_fail_at. */
typedef struct nacre_inference {
    const struct nacre_op *op;
    int inputs;
    struct {
        nacre_dtype dtype;
        nacre_shape shape;
    } in[NACRE_MAX_INPUTS], out[NACRE_MAX_OUTPUTS];
    nacre_word *attrs;
    nacre_shape wanted;       /* reshape, broadcast_to, creation: the caller's shape */
    nacre_dtype wanted_dtype; /* cast, creation */
    const char *file;
    int line;
} nacre_inference;

/* What a gradient rule sees, and what it fills. din[i] stays NULL where it is not wanted or zero. Rules
   record ordinary ops, so gradients of gradients follow. */
typedef struct nacre_gradient {
    const nacre_word *attrs;
    int inputs;
    nacre_tensor *in[NACRE_MAX_INPUTS];
    nacre_tensor *out[NACRE_MAX_OUTPUTS];
    nacre_tensor *dout[NACRE_MAX_OUTPUTS]; /* NULL: zero */
    nacre_tensor *din[NACRE_MAX_INPUTS];
    bool wanted[NACRE_MAX_INPUTS];
    const char *file;
    int line;
} nacre_gradient;

/* A composite in terms of other ops. */
typedef struct nacre_expansion {
    const nacre_word *attrs;
    int inputs;
    nacre_tensor *in[NACRE_MAX_INPUTS];   /* NULL: an absent optional input */
    nacre_tensor *out[NACRE_MAX_OUTPUTS]; /* to fill */
    const nacre_shape *out_shape;
    const char *file;
    int line;
} nacre_expansion;

/* Arrays of one call of a kernel. An absent optional input has data NULL. */
typedef struct nacre_call {
    const nacre_word *attrs;
    int inputs, outputs;
    nacre_array in[NACRE_MAX_INPUTS];
    nacre_array out[NACRE_MAX_OUTPUTS];
} nacre_call;

/* A view: strides and offset (in elements) of the output from those of the input. false: the layout
   does not allow it, and the value is copied first. Slot attributes may enter the offset only. */
typedef struct nacre_view_request {
    const nacre_word *attrs;
    const nacre_shape *in_shape, *out_shape;
    const int64_t *in_strides;
    int64_t *out_strides;
    int64_t offset; /* set by the rule: relative to the input */
} nacre_view_request;

typedef enum nacre_op_flags {
    NACRE_OP_ELEMENTWISE = 1, /* output element i depends on (broadcast) input elements i only */
    NACRE_OP_NO_GRADIENT = 2, /* declared: no gradient flows through it */
    NACRE_OP_RANDOM = 4,      /* never merged; draws come from slots */
    NACRE_OP_INDEXED = 8,     /* input `index_input` holds indices below `index_bound` */
    NACRE_OP_IN_PLACE =
        16, /* output k may take the memory of input in_place[k], same element order */
} nacre_op_flags;

typedef struct nacre_op_case nacre_op_case; /* test builds only: tests/ops */

#define NACRE_READS_IN(i) (1u << (i))
#define NACRE_READS_OUT(i) (1u << (8 + (i)))

typedef struct nacre_op {
    const char *name;
    const char *onnx; /* NULL: none */
    int arity;        /* inputs at most */
    int optional;     /* how many of the last inputs may be absent (NULL) */
    int outputs;      /* 0 means 1 */
    unsigned flags;
    unsigned gradient_reads; /* NACRE_READS_IN, NACRE_READS_OUT */
    const nacre_attr *attrs; /* ends with NACRE_ATTR_END; NULL: none */
    nacre_status (*shape)(nacre_inference *inference);
    void (*gradient)(nacre_gradient *gradient);
    void (*reference)(const nacre_call *call);     /* primitives */
    void (*decompose)(nacre_expansion *expansion); /* composites */
    bool (*view)(nacre_view_request *request);     /* views */
    /* Element-wise ops on floats: the reference of one element, x: the inputs as doubles. */
    double (*element)(const double *x, const nacre_word *attrs);
    /* The same on integers and bool, exact in int64; NULL: not defined for them. */
    int64_t (*element_int)(const int64_t *x, const nacre_word *attrs);
    double flops_per_element; /* of the (first) output; or: */
    double (*flops)(const nacre_call *call);
    int in_place[NACRE_MAX_OUTPUTS];
    int index_input; /* NACRE_OP_INDEXED */
    int64_t (*index_bound)(const nacre_call *call);
} nacre_op;

/* The two that recording itself makes: data, and a value of its own for an assignment. */
extern const nacre_op nacre_op_leaf, nacre_op_copy;

#endif
