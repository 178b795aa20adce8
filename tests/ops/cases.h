/* The cases of every op: how to call it, on which shapes, dtypes and values. Tests run each over layouts,
   backends, gradients and golden values. */
#ifndef NACRE_TESTS_OPS_CASES_H
#define NACRE_TESTS_OPS_CASES_H

#include "ops/common.h"
#include "ops/ops.h"
#include "ops/update.h"
#include <nacre/nacre.h>

/* What an input holds. */
typedef enum case_kind {
    KIND_VALUE,    /* of the dtype under test, either sign */
    KIND_POSITIVE, /* of the dtype under test, away from 0 */
    KIND_INDEX,    /* i64 below `bound` */
    KIND_BOOL,
    KIND_STEP, /* an i64 scalar: 3 */
} case_kind;

enum {
    ON_F32 = 1 << NACRE_F32,
    ON_F64 = 1 << NACRE_F64,
    ON_FLOATS = ON_F32 | ON_F64,
    ON_NUMBERS = ON_FLOATS | 1 << NACRE_I32 | 1 << NACRE_I64 | 1 << NACRE_U8,
    ON_ALL = ON_NUMBERS | 1 << NACRE_BOOL,
};

enum { CASE_INPUTS = 6 };

struct nacre_op_case {
    const char *op;
    const char *label; /* distinguishes cases of one op; golden values are found by op and label */
    nacre_tensor *(*apply)(nacre_tensor *const *in);
    int inputs;
    nacre_shape shape[CASE_INPUTS];
    case_kind kind[CASE_INPUTS];
    unsigned dtypes;
    /* Order of derivatives to check against differences: 0 none, 1, or 2 for smooth ops. */
    int derivatives;
    int64_t bound;
};

#include "ops/cases_calls.h"
#include "ops/cases_images.h"

/* ---- the table ---- */

/* Shapes as initialisers: compound literals are no constants. */
#define D(...)                                                                                     \
    {                                                                                              \
        .ndim = (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), .dims = { __VA_ARGS__ } \
    }
#define D0                                                                                         \
    { .ndim = 0 }

#define V KIND_VALUE
#define P KIND_POSITIVE
#define I KIND_INDEX
#define B KIND_BOOL

/* Broadcasting in every way, and the extents that loops get wrong. */
#define BINARY_CASES(op, apply, kind_a, kind_b, dtypes, order)                                     \
    {op, "", apply, 2, {D(3, 5), D(3, 5)}, {kind_a, kind_b}, dtypes, order, 0},                    \
        {op, "row", apply, 2, {D(3, 5), D(5)}, {kind_a, kind_b}, dtypes, order, 0},                \
        {op, "outer", apply, 2, {D(3, 1), D(1, 33)}, {kind_a, kind_b}, dtypes, 0, 0},              \
        {op, "scalar", apply, 2, {D0, D(2, 3)}, {kind_a, kind_b}, dtypes, order, 0},               \
        {op, "scalars", apply, 2, {D0, D0}, {kind_a, kind_b}, dtypes, order, 0},                   \
        {op, "empty", apply, 2, {D(0, 3), D(3)}, {kind_a, kind_b}, dtypes, 0, 0},                  \
        {op, "ones", apply, 2, {D(1), D(1, 1)}, {kind_a, kind_b}, dtypes, order, 0},               \
        {op, "odd", apply, 2, {D(1031), D(1031)}, {kind_a, kind_b}, dtypes, 0, 0}, {               \
        op, "deep", apply, 2, {D(2, 1, 3, 1, 2), D(3, 1, 4, 1)}, {kind_a, kind_b}, dtypes, 0, 0    \
    }

#define UNARY_CASES(op, apply, kind, dtypes, order)                                                \
    {op, "", apply, 1, {D(3, 5)}, {kind}, dtypes, order, 0},                                       \
        {op, "scalar", apply, 1, {D0}, {kind}, dtypes, order, 0},                                  \
        {op, "empty", apply, 1, {D(2, 0)}, {kind}, dtypes, 0, 0},                                  \
        {op, "one", apply, 1, {D(1, 1)}, {kind}, dtypes, order, 0},                                \
        {op, "odd", apply, 1, {D(1031)}, {kind}, dtypes, 0, 0}, {                                  \
        op, "deep", apply, 1, {D(2, 1, 3, 2)}, {kind}, dtypes, 0, 0                                \
    }

#define REDUCE_CASES(op, all, first, last, dtypes, order)                                          \
    {op, "", all, 1, {D(3, 5)}, {V}, dtypes, order, 0},                                            \
        {op, "first", first, 1, {D(3, 5)}, {V}, dtypes, order, 0},                                 \
        {op, "last", last, 1, {D(3, 5)}, {V}, dtypes, order, 0},                                   \
        {op, "one", last, 1, {D(1, 1)}, {V}, dtypes, order, 0},                                    \
        {op, "vector", all, 1, {D(37)}, {V}, dtypes, 0, 0},                                        \
        {op, "long rows", last, 1, {D(3, 1031)}, {V}, dtypes, 0, 0},                               \
        {op, "long columns", first, 1, {D(259, 7)}, {V}, dtypes, 0, 0},                            \
        {op, "middle", first, 1, {D(4, 3, 5)}, {V}, dtypes, order, 0}, {                           \
        op, "no results", last, 1, {D(0, 3)}, {V}, dtypes, 0, 0                                    \
    }

static const nacre_op_case cases[] = {
    UNARY_CASES("copy", do_copy, V, ON_ALL, 2),
    {"cast", "f32", do_cast_f32, 1, {D(3, 5)}, {V}, ON_ALL, 0, 0},
    {"cast", "f64", do_cast_f64, 1, {D(3, 5)}, {V}, ON_ALL, 2, 0},
    {"cast", "i32", do_cast_i32, 1, {D(3, 5)}, {V}, ON_ALL, 0, 0},
    {"cast", "i64", do_cast_i64, 1, {D(3, 5)}, {V}, ON_ALL, 0, 0},
    {"cast", "u8", do_cast_u8, 1, {D(3, 5)}, {P}, ON_ALL, 0, 0},
    {"cast", "bool", do_cast_bool, 1, {D(37)}, {V}, ON_ALL, 0, 0},
    {"cast", "empty", do_cast_i32, 1, {D(0)}, {V}, ON_ALL, 0, 0},
    {"reshape", "", do_reshape, 1, {D(2, 6)}, {V}, ON_ALL, 2, 0},
    {"reshape", "flat", do_reshape_flat, 1, {D(3, 1, 5)}, {V}, ON_ALL, 2, 0},
    {"reshape", "scalar", do_reshape_flat, 1, {D0}, {V}, ON_ALL, 0, 0},
    {"permute", "", do_permute, 1, {D(2, 3, 5)}, {V}, ON_ALL, 2, 0},
    {"permute", "transpose", do_transpose, 1, {D(4, 3)}, {V}, ON_ALL, 2, 0},
    {"permute", "empty", do_transpose, 1, {D(4, 0)}, {V}, ON_ALL, 0, 0},
    {"slice", "", do_slice, 1, {D(3, 7)}, {V}, ON_ALL, 2, 0},
    {"slice", "first", do_slice_first, 1, {D(4, 3)}, {V}, ON_ALL, 2, 0},
    {"slice", "empty", do_slice_empty, 1, {D(4, 3)}, {V}, ON_ALL, 0, 0},
    {"unslice", "", do_unslice, 1, {D(3, 4)}, {V}, ON_ALL, 2, 0},
    {"unslice", "empty", do_unslice, 1, {D(3, 0)}, {V}, ON_ALL, 0, 0},
    {"concat", "", do_concat, 2, {D(3, 4), D(3, 2)}, {V, V}, ON_ALL, 2, 0},
    {"concat", "first", do_concat_first, 3, {D(2, 3), D(1, 3), D(4, 3)}, {V, V, V}, ON_ALL, 2, 0},
    {"concat", "middle", do_concat, 2, {D(2, 1, 3), D(2, 4, 3)}, {V, V}, ON_ALL, 2, 0},
    {"concat", "one", do_concat_one, 1, {D(5)}, {V}, ON_ALL, 2, 0},
    {"concat", "many", do_concat_many, 2, {D(2, 3), D(1, 3)}, {V, V}, ON_ALL, 2, 0},
    {"concat", "odd", do_concat, 2, {D(37, 67, 5), D(37, 3, 5)}, {V, V}, ON_ALL, 0, 0},
    {"concat", "empty part", do_concat, 2, {D(3, 0), D(3, 2)}, {V, V}, ON_ALL, 0, 0},
    {"concat", "empty", do_concat, 2, {D(0, 3), D(0, 2)}, {V, V}, ON_ALL, 0, 0},
    {"broadcast_to", "", do_broadcast, 1, {D(3, 1)}, {V}, ON_ALL, 2, 0},
    {"broadcast_to", "scalar", do_broadcast, 1, {D0}, {V}, ON_ALL, 2, 0},

    BINARY_CASES("add", do_add, V, V, ON_NUMBERS, 2),
    BINARY_CASES("sub", do_sub, V, V, ON_NUMBERS, 2),
    BINARY_CASES("mul", do_mul, V, V, ON_NUMBERS, 2),
    BINARY_CASES("div", do_div, V, P, ON_NUMBERS, 2),
    {"div", "by zero", do_div, 2, {D(65), D(65)}, {V, V}, ON_NUMBERS, 0, 0},
    BINARY_CASES("pow", do_pow, P, V, ON_NUMBERS, 2),
    {"pow", "negative base", do_pow, 2, {D(65), D(65)}, {V, V}, ON_NUMBERS, 0, 0},
    {"pow", "square", do_square, 1, {D(3, 5)}, {V}, ON_NUMBERS, 2, 0},
    BINARY_CASES("maximum", do_maximum, V, V, ON_ALL, 1),
    BINARY_CASES("minimum", do_minimum, V, V, ON_ALL, 1),
    BINARY_CASES("equal", do_equal, V, V, ON_ALL, 0),
    BINARY_CASES("not_equal", do_not_equal, V, V, ON_ALL, 0),
    BINARY_CASES("less", do_less, V, V, ON_ALL, 0),
    BINARY_CASES("less_equal", do_less_equal, V, V, ON_ALL, 0),
    BINARY_CASES("greater", do_greater, V, V, ON_ALL, 0),
    BINARY_CASES("greater_equal", do_greater_equal, V, V, ON_ALL, 0),
    UNARY_CASES("neg", do_neg, V, ON_NUMBERS, 2),
    UNARY_CASES("exp", do_exp, V, ON_FLOATS, 2),
    UNARY_CASES("log", do_log, P, ON_FLOATS, 2),
    {"log", "negative", do_log, 1, {D(65)}, {V}, ON_FLOATS, 0, 0},
    UNARY_CASES("sqrt", do_sqrt, P, ON_FLOATS, 2),
    {"sqrt", "negative", do_sqrt, 1, {D(65)}, {V}, ON_FLOATS, 0, 0},
    UNARY_CASES("relu", do_relu, V, ON_NUMBERS, 1),
    {"relu_backward", "", do_relu_backward, 2, {D(3, 5), D(3, 5)}, {V, V}, ON_NUMBERS, 1, 0},
    {"relu_backward", "odd", do_relu_backward, 2, {D(1031), D(1031)}, {V, V}, ON_NUMBERS, 0, 0},
    {"relu_backward", "empty", do_relu_backward, 2, {D(0), D(0)}, {V, V}, ON_NUMBERS, 0, 0},
    UNARY_CASES("tanh", do_tanh, V, ON_FLOATS, 2),
    UNARY_CASES("erf", do_erf, V, ON_FLOATS, 2),
    UNARY_CASES("gelu", do_gelu, V, ON_FLOATS, 2),
    {"gelu", "by tanh", do_gelu_tanh, 1, {D(3, 5)}, {V}, ON_FLOATS, 2, 0},
    {"gelu", "by tanh, odd", do_gelu_tanh, 1, {D(1031)}, {V}, ON_FLOATS, 0, 0},
    {"gelu_backward", "", do_gelu_backward, 2, {D(3, 5), D(3, 5)}, {V, V}, ON_FLOATS, 2, 0},
    {"gelu_backward", "odd", do_gelu_backward, 2, {D(1031), D(1031)}, {V, V}, ON_FLOATS, 0, 0},
    {"gelu_backward", "empty", do_gelu_backward, 2, {D(0), D(0)}, {V, V}, ON_FLOATS, 0, 0},
    {"gelu_backward",
     "by tanh",
     do_gelu_tanh_backward,
     2,
     {D(3, 5), D(3, 5)},
     {V, V},
     ON_FLOATS,
     2,
     0},
    {"gelu_backward",
     "by tanh, odd",
     do_gelu_tanh_backward,
     2,
     {D(1031), D(1031)},
     {V, V},
     ON_FLOATS,
     0,
     0},
    {"where", "", do_where, 3, {D(3, 5), D(3, 5), D(3, 5)}, {B, V, V}, ON_ALL, 2, 0},
    {"where", "rows", do_where, 3, {D(3, 1), D(5), D(3, 5)}, {B, V, V}, ON_ALL, 2, 0},
    {"where", "scalar", do_where, 3, {D0, D(2, 3), D0}, {B, V, V}, ON_ALL, 2, 0},
    {"where", "odd", do_where, 3, {D(1031), D0, D(1031)}, {B, V, V}, ON_ALL, 0, 0},
    {"where", "empty", do_where, 3, {D(0, 2), D(2), D(2)}, {B, V, V}, ON_ALL, 0, 0},

    REDUCE_CASES("sum", do_sum, do_sum_first, do_sum_last, ON_ALL, 2),
    {"sum", "outer", do_sum_outer, 1, {D(3, 4, 5)}, {V}, ON_ALL, 2, 0},
    {"sum", "scalar", do_sum, 1, {D0}, {V}, ON_ALL, 2, 0},
    {"sum", "nothing", do_sum, 1, {D(0, 3)}, {V}, ON_ALL, 0, 0},
    {"sum", "empty rows", do_sum_last, 1, {D(3, 0)}, {V}, ON_ALL, 0, 0},
    REDUCE_CASES("max", do_max, do_max_first, do_max_last, ON_ALL, 1),
    REDUCE_CASES("min", do_min, do_min_first, do_min_last, ON_ALL, 1),
    {"max", "scalar", do_max, 1, {D0}, {V}, ON_ALL, 1, 0},
    REDUCE_CASES("mean", do_mean, do_mean_last, do_mean_last, ON_FLOATS, 2),
    {"mean", "nothing", do_mean, 1, {D(0)}, {V}, ON_FLOATS, 0, 0},
    REDUCE_CASES("argmax", do_argmax, do_argmax_first, do_argmax_last, ON_ALL, 0),
    REDUCE_CASES("argmin", do_argmin, do_argmin_first, do_argmin_last, ON_ALL, 0),

    {"matmul", "", do_matmul, 2, {D(3, 4), D(4, 5)}, {V, V}, ON_NUMBERS, 2, 0},
    {"matmul", "b transposed", do_matmul_bt, 2, {D(3, 4), D(5, 4)}, {V, V}, ON_NUMBERS, 2, 0},
    {"matmul", "a transposed", do_matmul_at, 2, {D(4, 3), D(4, 5)}, {V, V}, ON_NUMBERS, 2, 0},
    {"matmul", "vectors", do_matmul, 2, {D(7), D(7)}, {V, V}, ON_NUMBERS, 2, 0},
    {"matmul", "row", do_matmul, 2, {D(4), D(4, 3)}, {V, V}, ON_NUMBERS, 2, 0},
    {"matmul", "column", do_matmul, 2, {D(3, 4), D(4)}, {V, V}, ON_NUMBERS, 2, 0},
    {"matmul", "batched", do_matmul, 2, {D(2, 3, 4), D(2, 4, 2)}, {V, V}, ON_NUMBERS, 2, 0},
    {"matmul", "broadcast", do_matmul, 2, {D(2, 1, 3, 4), D(3, 4, 2)}, {V, V}, ON_NUMBERS, 2, 0},
    {"matmul", "one b", do_matmul, 2, {D(2, 3, 4), D(4, 2)}, {V, V}, ON_NUMBERS, 2, 0},
    {"matmul", "one a", do_matmul, 2, {D(3, 4), D(2, 4, 2)}, {V, V}, ON_NUMBERS, 2, 0},
    {"matmul", "no terms", do_matmul, 2, {D(3, 0), D(0, 5)}, {V, V}, ON_NUMBERS, 0, 0},
    {"matmul", "no rows", do_matmul, 2, {D(0, 4), D(4, 5)}, {V, V}, ON_NUMBERS, 0, 0},
    {"matmul", "one", do_matmul, 2, {D(1, 1), D(1, 1)}, {V, V}, ON_NUMBERS, 2, 0},
    {"matmul", "odd", do_matmul, 2, {D(17, 31), D(31, 13)}, {V, V}, ON_NUMBERS, 0, 0},
    {"matmul", "long", do_matmul, 2, {D(5, 777), D(777, 37)}, {V, V}, ON_FLOATS, 0, 0},
    {"matmul", "wide", do_matmul, 2, {D(65, 70), D(70, 129)}, {V, V}, ON_FLOATS, 0, 0},
    {"linear", "", do_linear, 3, {D(3, 4), D(5, 4), D(5)}, {V, V, V}, ON_FLOATS, 2, 0},
    {"linear", "no bias", do_linear_no_bias, 2, {D(3, 4), D(5, 4)}, {V, V}, ON_FLOATS, 2, 0},
    {"linear", "vector", do_linear, 3, {D(4), D(5, 4), D(5)}, {V, V, V}, ON_FLOATS, 2, 0},
    {"linear", "deep", do_linear, 3, {D(2, 3, 4), D(5, 4), D(5)}, {V, V, V}, ON_FLOATS, 2, 0},
    {"linear", "odd", do_linear, 3, {D(13, 67), D(35, 67), D(35)}, {V, V, V}, ON_FLOATS, 0, 0},
    {"linear", "empty", do_linear, 3, {D(0, 4), D(5, 4), D(5)}, {V, V, V}, ON_FLOATS, 0, 0},

    CONV_GEOMETRIES(CONV_ROWS) POOL_GEOMETRIES(POOL_ROWS) NORM_ROWS,

#define SOFTMAX_CASES(op, apply, first)                                                            \
    {op, "", apply, 1, {D(3, 5)}, {V}, ON_FLOATS, 2, 0},                                           \
        {op, "first", first, 1, {D(3, 5)}, {V}, ON_FLOATS, 2, 0},                                  \
        {op, "deep", apply, 1, {D(2, 3, 4)}, {V}, ON_FLOATS, 2, 0},                                \
        {op, "odd", apply, 1, {D(9, 131)}, {V}, ON_FLOATS, 0, 0},                                  \
        {op, "one", apply, 1, {D(1, 1)}, {V}, ON_FLOATS, 2, 0},                                    \
        {op, "empty", apply, 1, {D(3, 0)}, {V}, ON_FLOATS, 0, 0}, {                                \
        op, "no rows", apply, 1, {D(0, 3)}, {V}, ON_FLOATS, 0, 0                                   \
    }
#define SOFTMAX_BACKWARD_CASES(op, apply, first)                                                   \
    {op, "", apply, 2, {D(3, 5), D(3, 5)}, {V, V}, ON_FLOATS, 2, 0},                               \
        {op, "first", first, 2, {D(3, 5), D(3, 5)}, {V, V}, ON_FLOATS, 2, 0},                      \
        {op, "odd", apply, 2, {D(9, 131), D(9, 131)}, {V, V}, ON_FLOATS, 0, 0}, {                  \
        op, "empty", apply, 2, {D(3, 0), D(3, 0)}, {V, V}, ON_FLOATS, 0, 0                         \
    }
    SOFTMAX_CASES("softmax", do_softmax, do_softmax_first),
    SOFTMAX_CASES("log_softmax", do_log_softmax, do_log_softmax_first),
    SOFTMAX_BACKWARD_CASES("softmax_backward", do_softmax_backward, do_softmax_backward_first),
    SOFTMAX_BACKWARD_CASES("log_softmax_backward", do_log_softmax_backward,
                           do_log_softmax_backward_first),
#define NORM_CASES(op, label, apply, x, dtypes, order)                                             \
    { op, label, apply, 3, {x, D(5), D(5)}, {V, V, V}, dtypes, order, 0 }
    NORM_CASES("layer_norm", "", do_layer_norm, D(3, 5), ON_FLOATS, 2),
    NORM_CASES("layer_norm", "vector", do_layer_norm, D(5), ON_FLOATS, 2),
    NORM_CASES("layer_norm", "deep", do_layer_norm, D(2, 3, 5), ON_FLOATS, 2),
    NORM_CASES("layer_norm", "no rows", do_layer_norm, D(0, 5), ON_FLOATS, 0),
    {"layer_norm", "plain", do_layer_norm_plain, 1, {D(3, 5)}, {V}, ON_FLOATS, 2, 0},
    {"layer_norm", "weight", do_layer_norm_weight, 2, {D(3, 5), D(5)}, {V, V}, ON_FLOATS, 2, 0},
    {"layer_norm", "bias", do_layer_norm_bias, 2, {D(3, 5), D(5)}, {V, V}, ON_FLOATS, 2, 0},
    {"layer_norm", "odd", do_layer_norm_plain, 1, {D(37, 131)}, {V}, ON_FLOATS, 0, 0},
    {"layer_norm", "one", do_layer_norm, 3, {D(2, 1), D(1), D(1)}, {V, V, V}, ON_FLOATS, 0, 0},
    {"layer_norm", "empty", do_layer_norm, 3, {D(2, 0), D(0), D(0)}, {V, V, V}, ON_FLOATS, 0, 0},
#define NORM_BACKWARD_CASES(label, apply, order)                                                   \
    {"layer_norm_backward",                                                                        \
     label,                                                                                        \
     apply,                                                                                        \
     3,                                                                                            \
     {D(2, 2, 5), D(2, 2, 5), D(5)},                                                               \
     {V, V, V},                                                                                    \
     ON_FLOATS,                                                                                    \
     order,                                                                                        \
     0},                                                                                           \
        {"layer_norm_backward",                                                                    \
         label ", odd",                                                                            \
         apply,                                                                                    \
         3,                                                                                        \
         {D(300, 67), D(300, 67), D(67)},                                                          \
         {V, V, V},                                                                                \
         ON_FLOATS,                                                                                \
         0,                                                                                        \
         0},                                                                                       \
        {"layer_norm_backward",                                                                    \
         label ", vector",                                                                         \
         apply,                                                                                    \
         3,                                                                                        \
         {D(5), D(5), D(5)},                                                                       \
         {V, V, V},                                                                                \
         ON_FLOATS,                                                                                \
         order,                                                                                    \
         0},                                                                                       \
    {                                                                                              \
        "layer_norm_backward", label ", no rows", apply, 3, {D(0, 5), D(0, 5), D(5)}, {V, V, V},   \
            ON_FLOATS, 0, 0                                                                        \
    }
    NORM_BACKWARD_CASES("dx", do_norm_dx, 2),
    NORM_BACKWARD_CASES("dx without weight", do_norm_dx_plain, 2),
    NORM_BACKWARD_CASES("dweight", do_norm_dweight, 2),
    NORM_BACKWARD_CASES("dbias", do_norm_dbias, 2),
#define ATTENTION_CASES(label, apply, q, k, order)                                                 \
    { "scaled_dot_product_attention", label, apply, 3, {q, k, k}, {V, V, V}, ON_FLOATS, order, 0 }
#define ATTENTION_BACKWARD_CASES(label, apply, q, k, order)                                        \
    {                                                                                              \
        "scaled_dot_product_attention_backward", label, apply, 4, {q, k, k, q}, {V, V, V, V},      \
            ON_FLOATS, order, 0                                                                    \
    }
    ATTENTION_CASES("", do_attention, D(2, 3, 4), D(2, 5, 4), 2),
    ATTENTION_CASES("causal", do_attention_causal, D(1, 4, 4), D(1, 3, 4), 2),
    ATTENTION_CASES("scaled", do_attention_scaled, D(1, 3, 4), D(1, 3, 4), 2),
    ATTENTION_CASES("one wide", do_attention_scaled, D(3, 4, 1), D(3, 5, 1), 2),
    ATTENTION_CASES("by axis", do_attention_4d, D(2, 2, 3, 2), D(2, 2, 4, 2), 2),
    ATTENTION_CASES("one key", do_attention, D(2, 3, 4), D(2, 1, 4), 1),
    ATTENTION_CASES("no keys", do_attention, D(2, 3, 4), D(2, 0, 4), 0),
    ATTENTION_CASES("no queries", do_attention, D(2, 0, 4), D(2, 3, 4), 0),
    ATTENTION_CASES("odd", do_attention, D(3, 17, 38), D(3, 67, 38), 0),
    ATTENTION_CASES("odd, causal", do_attention_causal, D(2, 71, 64), D(2, 71, 64), 0),
    ATTENTION_BACKWARD_CASES("dq", do_attention_dq, D(1, 3, 4), D(1, 4, 4), 2),
    ATTENTION_BACKWARD_CASES("dk, causal", do_attention_dk, D(1, 4, 4), D(1, 3, 4), 2),
    ATTENTION_BACKWARD_CASES("dv", do_attention_dv, D(1, 3, 4), D(1, 4, 4), 2),
    ATTENTION_BACKWARD_CASES("dq, odd", do_attention_dq, D(2, 17, 38), D(2, 67, 38), 0),
    ATTENTION_BACKWARD_CASES("dk, odd, causal", do_attention_dk, D(2, 71, 64), D(2, 71, 64), 0),
    ATTENTION_BACKWARD_CASES("dv, odd", do_attention_dv, D(2, 71, 64), D(2, 71, 64), 0),
    ATTENTION_BACKWARD_CASES("dk, no queries", do_attention_dk, D(2, 0, 4), D(2, 3, 4), 0),
    {"attention_qkv", "", do_attention_qkv, 1, {D(2, 3, 6)}, {V}, ON_FLOATS, 2, 0},
    {"attention_qkv", "causal", do_attention_qkv_causal, 1, {D(1, 4, 12)}, {V}, ON_FLOATS, 2, 0},
    {"attention_qkv", "odd", do_attention_qkv, 1, {D(5, 17, 192)}, {V}, ON_FLOATS, 0, 0},
    {"attention_qkv", "empty", do_attention_qkv, 1, {D(0, 17, 6)}, {V}, ON_FLOATS, 0, 0},
    {"attention_qkv_backward",
     "",
     do_attention_dqkv,
     2,
     {D(1, 3, 12), D(1, 3, 4)},
     {V, V},
     ON_FLOATS,
     2,
     0},
    {"attention_qkv_backward",
     "odd, causal",
     do_attention_dqkv_causal,
     2,
     {D(5, 17, 192), D(5, 17, 64)},
     {V, V},
     ON_FLOATS,
     0,
     0},
    {"cross_entropy", "", do_cross_entropy, 2, {D(4, 5), D(4)}, {V, I}, ON_FLOATS, 2, 5},
    {"cross_entropy", "rows", do_cross_entropy, 2, {D(4, 5), D(4, 5)}, {V, P}, ON_FLOATS, 2, 0},
    {"cross_entropy", "one", do_cross_entropy, 2, {D(1, 3), D(1)}, {V, I}, ON_FLOATS, 2, 3},
    {"cross_entropy", "odd", do_cross_entropy, 2, {D(67, 10), D(67)}, {V, I}, ON_FLOATS, 0, 10},
    {"cross_entropy_backward",
     "",
     do_cross_entropy_backward,
     3,
     {D(4, 5), D(4), D0},
     {V, I, V},
     ON_FLOATS,
     2,
     5},
    {"cross_entropy_backward",
     "rows",
     do_cross_entropy_backward,
     3,
     {D(4, 5), D(4, 5), D0},
     {V, P, V},
     ON_FLOATS,
     2,
     0},
    {"cross_entropy_backward",
     "odd",
     do_cross_entropy_backward,
     3,
     {D(67, 10), D(67), D0},
     {V, I, V},
     ON_FLOATS,
     0,
     10},
    {"mse", "", do_mse, 2, {D(3, 5), D(3, 5)}, {V, V}, ON_FLOATS, 2, 0},
    {"mse", "odd", do_mse, 2, {D(1031), D(1031)}, {V, V}, ON_FLOATS, 0, 0},
    {"gather", "", do_gather, 2, {D(6, 3), D(4)}, {V, I}, ON_ALL, 2, 6},
    {"gather", "grid", do_gather, 2, {D(6, 2, 2), D(2, 3)}, {V, I}, ON_ALL, 2, 6},
    {"gather", "vector", do_gather, 2, {D(6), D(5)}, {V, I}, ON_ALL, 2, 6},
    {"gather", "one row", do_gather, 2, {D(6, 3), D0}, {V, I}, ON_ALL, 2, 6},
    {"gather", "no rows", do_gather, 2, {D(6, 3), D(0)}, {V, I}, ON_ALL, 0, 6},
    {"scatter_rows", "", do_scatter, 2, {D(8, 3), D(8)}, {V, I}, ON_NUMBERS, 2, 6},
    {"scatter_rows", "grid", do_scatter, 2, {D(2, 3, 2), D(2, 3)}, {V, I}, ON_NUMBERS, 2, 6},
    {"scatter_rows", "wide", do_scatter, 2, {D(9, 131), D(9)}, {V, I}, ON_NUMBERS, 0, 6},
    {"scatter_rows", "no rows", do_scatter, 2, {D(0, 3), D(0)}, {V, I}, ON_NUMBERS, 0, 6},
    {"one_hot", "", do_one_hot, 1, {D(5)}, {I}, ON_F32, 0, 7},
    {"one_hot", "bool", do_one_hot_bool, 1, {D(2, 3)}, {I}, ON_F32, 0, 7},
    {"one_hot", "scalar", do_one_hot, 1, {D0}, {I}, ON_F32, 0, 7},
    {"one_hot", "empty", do_one_hot, 1, {D(0)}, {I}, ON_F32, 0, 7},

    {"sgd_update", "", do_sgd, 3, {D(3, 5), D(3, 5), D(3, 5)}, {V, V, V}, ON_FLOATS, 0, 0},
    {"sgd_update",
     "velocity",
     do_sgd_velocity,
     3,
     {D(3, 5), D(3, 5), D(3, 5)},
     {V, V, V},
     ON_FLOATS,
     0,
     0},
    {"sgd_update", "plain", do_sgd_plain, 2, {D(1031), D(1031)}, {V, V}, ON_FLOATS, 0, 0},
    {"sgd_update", "ok", do_sgd_ok, 3, {D(3, 5), D(3, 5), D0}, {V, V, B}, ON_FLOATS, 0, 0},
    {"sgd_update", "empty", do_sgd, 3, {D(0), D(0), D(0)}, {V, V, V}, ON_FLOATS, 0, 0},
#define ADAM_SHAPES                                                                                \
    {D(3, 7), D(3, 7), D(3, 7), D(3, 7), D0}, { V, V, V, P, KIND_STEP }
    {"adam_update", "", do_adam, 5, ADAM_SHAPES, ON_FLOATS, 0, 0},
    {"adam_update", "m", do_adam_m, 5, ADAM_SHAPES, ON_FLOATS, 0, 0},
    {"adam_update", "v", do_adam_v, 5, ADAM_SHAPES, ON_FLOATS, 0, 0},
    {"adam_update",
     "ok",
     do_adam_ok,
     6,
     {D(37), D(37), D(37), D(37), D0, D0},
     {V, V, V, P, KIND_STEP, B},
     ON_FLOATS,
     0,
     0},
};

enum { CASE_COUNT = sizeof cases / sizeof cases[0] };

#undef V
#undef P
#undef I
#undef B

/* Ops that take no inputs have tests of their own, in test_create.c. */
static const char *const ops_without_cases[] = {"leaf", "full", "eye", "arange", "rand", "randn"};

#endif
