/* What a wrong call answers: an error tensor whose message names op, argument, shapes, place and remedy.
   Nothing is recorded, and later calls pass the first error on. */
#include "ops/check.h"

#define AT "src/train.c", 42

static void expect_refused(nacre_tensor *t, nacre_status status, const char *message) {
    assert_true(nacre_is_error(t));
    assert_string_equal(nacre_tensor_message(t), message);
    assert_int_equal(nacre_tensor_status(t), status);
}

static nacre_tensor *zeros(nacre_shape shape, nacre_dtype dtype) {
    return nacre_zeros(shape, .dtype = dtype);
}

static nacre_tensor *f32(nacre_shape shape) { return nacre_zeros(shape); }

static void products_that_do_not_fit(void **state) {
    (void)state;
    nacre_tensor *a = f32(NACRE_SHAPE(64, 784));
    expect_refused(nacre_matmul_at(a, f32(NACRE_SHAPE(128, 784)), AT), NACRE_SHAPE_MISMATCH,
                   "matmul: a is [64,784], b is [128,784]: inner sizes 784 and 128 differ; did you "
                   "mean nacre_transpose(b, -2, -1)? (train.c:42)");
    expect_refused(
        nacre_matmul_at(a, f32(NACRE_SHAPE(64, 3)), AT), NACRE_SHAPE_MISMATCH,
        "matmul: a is [64,784], b is [64,3]: inner sizes 784 and 64 differ; did you mean "
        "nacre_transpose(a, -2, -1)? (train.c:42)");
    expect_refused(
        nacre_matmul_at(a, f32(NACRE_SHAPE(5, 3)), AT), NACRE_SHAPE_MISMATCH,
        "matmul: a is [64,784], b is [5,3]: inner sizes 784 and 5 differ; make them equal "
        "(train.c:42)");
    expect_refused(nacre_matmul_at(a, nacre_ones(NACRE_SCALAR), AT), NACRE_SHAPE_MISMATCH,
                   "matmul: a is [64,784], b is []: a scalar has no rows or columns; use nacre_mul "
                   "(train.c:42)");
    expect_refused(nacre_matmul_at(f32(NACRE_SHAPE(2, 3, 4)), f32(NACRE_SHAPE(3, 4, 5)), AT),
                   NACRE_SHAPE_MISMATCH,
                   "matmul: a is [2,3,4], b is [3,4,5]: the axes before the last two do not "
                   "broadcast; they must be equal or 1 (train.c:42)");
    expect_refused(nacre_matmul_at(a, zeros(NACRE_SHAPE(784, 2), NACRE_F64), AT),
                   NACRE_DTYPE_MISMATCH,
                   "matmul: a is f32 [64,784], b is f64 [784,2]: dtypes differ; convert one with "
                   "nacre_cast (train.c:42)");
    expect_refused(nacre_f_linear_at(a, f32(NACRE_SHAPE(784, 128)), NULL, AT), NACRE_SHAPE_MISMATCH,
                   "linear: x is [64,784], weight is [784,128]: x must be [..., in] and weight "
                   "[out, in]; did you mean nacre_transpose(weight, 0, 1)? (train.c:42)");
    expect_refused(nacre_f_linear_at(a, f32(NACRE_SHAPE(128, 700)), NULL, AT), NACRE_SHAPE_MISMATCH,
                   "linear: x is [64,784], weight is [128,700]: x must be [..., in] and weight "
                   "[out, in]; the last extents must be equal (train.c:42)");
    expect_refused(nacre_f_linear_at(a, f32(NACRE_SHAPE(128, 784)), f32(NACRE_SHAPE(10)), AT),
                   NACRE_SHAPE_MISMATCH,
                   "linear: bias is [10], weight is [128,784]: bias must be [out], here [128] "
                   "(train.c:42)");
}

static void norms_and_gelu_refuse_what_does_not_fit(void **state) {
    (void)state;
    nacre_tensor *x = f32(NACRE_SHAPE(2, 3));
    expect_refused(
        nacre_f_layer_norm_at(x, f32(NACRE_SHAPE(2)), NULL, 1e-5, AT), NACRE_SHAPE_MISMATCH,
        "layer_norm: weight is [2], x is [2,3]: weight must be [3], x's last extent (train.c:42)");
    expect_refused(nacre_f_layer_norm_at(x, NULL, f32(NACRE_SHAPE(1, 3)), 1e-5, AT),
                   NACRE_SHAPE_MISMATCH,
                   "layer_norm: bias is [1,3], x is [2,3]: bias must be [3], x's last extent "
                   "(train.c:42)");
    expect_refused(nacre_f_layer_norm_at(f32(NACRE_SCALAR), NULL, NULL, 1e-5, AT),
                   NACRE_SHAPE_MISMATCH,
                   "layer_norm: x is a scalar: it needs an axis to normalise over (train.c:42)");
    expect_refused(nacre_f_layer_norm_at(x, zeros(NACRE_SHAPE(3), NACRE_F64), NULL, 1e-5, AT),
                   NACRE_DTYPE_MISMATCH,
                   "layer_norm: x is f32 [2,3], weight is f64 [3]: dtypes differ; convert one with "
                   "nacre_cast (train.c:42)");
    expect_refused(nacre_f_layer_norm_at(x, NULL, NULL, -1, AT), NACRE_INVALID_ARGUMENT,
                   "layer_norm: epsilon is -1: it must be finite and at least 0, such as 1e-5 "
                   "(train.c:42)");
    expect_refused(nacre_f_layer_norm_at(x, NULL, NULL, (double)NAN, AT), NACRE_INVALID_ARGUMENT,
                   "layer_norm: epsilon is nan: it must be finite and at least 0, such as 1e-5 "
                   "(train.c:42)");
    assert_true(nacre_is_error(nacre_f_layer_norm(x, NULL, NULL, (double)INFINITY)));
    assert_false(nacre_is_error(nacre_f_layer_norm(x, NULL, NULL, 0)));
    expect_refused(nacre_f_gelu_at(x, (nacre_gelu_form)7, AT), NACRE_INVALID_ARGUMENT,
                   "gelu: there is no approximation 7: use NACRE_GELU_ERF or NACRE_GELU_TANH "
                   "(train.c:42)");
    expect_refused(nacre_f_tanh_at(zeros(NACRE_SHAPE(2), NACRE_I32), AT), NACRE_DTYPE_MISMATCH,
                   "tanh: a is i32 [2]: a floating dtype is needed; convert it with nacre_cast, "
                   "such as to NACRE_F32 (train.c:42)");
}

/* ---- axes that are not there ---- */

static nacre_tensor *softmax(nacre_tensor *a, int axis) { return nacre_f_softmax_at(a, axis, AT); }
static nacre_tensor *log_softmax(nacre_tensor *a, int axis) {
    return nacre_f_log_softmax_at(a, axis, AT);
}
static nacre_tensor *transpose_first(nacre_tensor *a, int axis) {
    return nacre_transpose_at(a, axis, 0, AT);
}
static nacre_tensor *transpose_second(nacre_tensor *a, int axis) {
    return nacre_transpose_at(a, nacre_ndim(a) ? 0 : axis, axis, AT);
}
static nacre_tensor *slice(nacre_tensor *a, int axis) {
    return nacre_slice_at(a, axis, 0, 1, 1, AT);
}
static nacre_tensor *concat(nacre_tensor *a, int axis) {
    return nacre_concat_at((nacre_tensor *[]){a, a}, 2, axis, AT);
}
/* Valid until the next call. */
static const nacre_reduce_options *along(nacre_tensor *a, int axis) {
    static nacre_reduce_options o;
    o = (nacre_reduce_options){.size = sizeof o, .input = a, .axes = NACRE_AXES(axis)};
    return &o;
}
static nacre_tensor *sum(nacre_tensor *a, int axis) { return nacre_sum_at(along(a, axis), AT); }
static nacre_tensor *mean(nacre_tensor *a, int axis) { return nacre_mean_at(along(a, axis), AT); }
static nacre_tensor *max(nacre_tensor *a, int axis) { return nacre_max_at(along(a, axis), AT); }
static nacre_tensor *min(nacre_tensor *a, int axis) { return nacre_min_at(along(a, axis), AT); }
static nacre_tensor *argmax(nacre_tensor *a, int axis) {
    return nacre_argmax_at(along(a, axis), AT);
}
static nacre_tensor *argmin(nacre_tensor *a, int axis) {
    return nacre_argmin_at(along(a, axis), AT);
}

static const struct {
    const char *name;
    nacre_tensor *(*call)(nacre_tensor *a, int axis);
    bool on_scalars; /* else it says of a scalar what is its own */
} with_axis[] = {
    {"softmax", softmax, true},
    {"log_softmax", log_softmax, true},
    {"transpose", transpose_first, true},
    {"transpose", transpose_second, true},
    {"slice", slice, true},
    {"concat", concat, false},
    {"sum", sum, true},
    {"mean", mean, true},
    {"max", max, true},
    {"min", min, true},
    {"argmax", argmax, true},
    {"argmin", argmin, true},
};

static void axes_that_are_not_there(void **state) {
    (void)state;
    const struct {
        nacre_shape shape;
        const char *text;
        int axis;
    } places[] = {
        {NACRE_SCALAR, "[]", 0},           {NACRE_SCALAR, "[]", -1},
        {NACRE_SHAPE(2), "[2]", 1},        {NACRE_SHAPE(2), "[2]", -2},
        {NACRE_SHAPE(2, 3), "[2,3]", 2},   {NACRE_SHAPE(2, 3), "[2,3]", -3},
        {NACRE_SHAPE(2, 3), "[2,3]", 999}, {NACRE_SHAPE(2, 3), "[2,3]", INT32_MIN},
    };
    for (size_t i = 0; i < sizeof with_axis / sizeof *with_axis; i++) {
        for (size_t k = 0; k < sizeof places / sizeof *places; k++) {
            int ndim = places[k].shape.ndim, axis = places[k].axis;
            if (ndim == 0 && !with_axis[i].on_scalars) continue;
            char message[200], where[120] = "is out of range: a is a scalar and has no axes; "
                                            "reshape it to [1]";
            if (ndim > 0)
                snprintf(where, sizeof where, "is out of range for a of shape %s: use -%d to %d",
                         places[k].text, ndim, ndim - 1);
            snprintf(message, sizeof message, "%s: axis %d %s (train.c:42)", with_axis[i].name,
                     axis, where);
            expect_refused(with_axis[i].call(f32(places[k].shape), axis), NACRE_INVALID_ARGUMENT,
                           message);
        }
    }
}

static void an_embedding_names_its_own_arguments(void **state) {
    (void)state;
    nacre_tensor *indices = zeros(NACRE_SHAPE(2), NACRE_I64);
    expect_refused(nacre_f_embedding_at(NULL, f32(NACRE_SHAPE(5, 3)), AT), NACRE_INVALID_ARGUMENT,
                   "embedding: indices is NULL (train.c:42)");
    expect_refused(nacre_f_embedding_at(indices, NULL, AT), NACRE_INVALID_ARGUMENT,
                   "embedding: weight is NULL (train.c:42)");
    expect_refused(nacre_f_embedding_at(indices, f32(NACRE_SHAPE(5)), AT), NACRE_SHAPE_MISMATCH,
                   "embedding: weight is [5]: it must be [n, features] (train.c:42)");
}

static void tensors_that_cannot_be_joined(void **state) {
    (void)state;
    nacre_tensor *a = f32(NACRE_SHAPE(2, 3));
    nacre_tensor *pair[] = {a, f32(NACRE_SHAPE(2, 4))}, *none[] = {a, NULL};
    expect_refused(nacre_concat_at(pair, 2, 0, AT), NACRE_SHAPE_MISMATCH,
                   "concat: tensor 0 is [2,3], tensor 1 is [2,4]: only the extents along axis 0 "
                   "may differ (train.c:42)");
    expect_refused(nacre_concat_at(none, 2, 0, AT), NACRE_INVALID_ARGUMENT,
                   "concat: tensor 1 of 2 is NULL (train.c:42)");
    expect_refused(nacre_concat_at(NULL, 2, 0, AT), NACRE_INVALID_ARGUMENT,
                   "concat: the list is NULL (train.c:42)");
    expect_refused(nacre_concat_at(pair, 0, 0, AT), NACRE_INVALID_ARGUMENT,
                   "concat: no tensors: give at least one (train.c:42)");
    pair[1] = zeros(NACRE_SHAPE(2, 3), NACRE_F64);
    expect_refused(nacre_concat_at(pair, 2, 0, AT), NACRE_DTYPE_MISMATCH,
                   "concat: tensor 0 is f32 [2,3], tensor 1 is f64 [2,3]: dtypes differ; convert "
                   "one with nacre_cast (train.c:42)");
    pair[0] = f32(NACRE_SCALAR);
    expect_refused(nacre_concat_at(pair, 1, 0, AT), NACRE_SHAPE_MISMATCH,
                   "concat: a scalar has no axis to join along; reshape it to [1] (train.c:42)");
}

static void attention_refuses_what_does_not_fit(void **state) {
    (void)state;
    nacre_tensor *q = f32(NACRE_SHAPE(2, 3, 4)), *k = f32(NACRE_SHAPE(2, 5, 4));
    nacre_attention_options o = {.size = sizeof o, .q = q, .k = k, .v = f32(NACRE_SHAPE(2, 4, 4))};
    expect_refused(nacre_f_attention_at(&o, AT), NACRE_SHAPE_MISMATCH,
                   "scaled_dot_product_attention: k is [2,5,4], v is [2,4,4]: shapes must be equal "
                   "(train.c:42)");
    o.v = k;
    o.heads = 3;
    expect_refused(nacre_f_attention_at(&o, AT), NACRE_INVALID_ARGUMENT,
                   "scaled_dot_product_attention: 3 heads for a width of 4: there must be at least "
                   "one, and the width a multiple of it (train.c:42)");
    o.heads = 2;
    o.scale = NAN;
    expect_refused(nacre_f_attention_at(&o, AT), NACRE_INVALID_ARGUMENT,
                   "scaled_dot_product_attention: scale is nan: it must be finite (0 means 1 / "
                   "sqrt(head width)) (train.c:42)");
    assert_true(nacre_is_error(nacre_f_attention(q, k, k, .scale = -(double)INFINITY)));
    assert_true(
        nacre_is_error(nacre_f_attention(f32(NACRE_SHAPE(2, 3, 6)), .scale = (double)INFINITY)));
    o.scale = 0;
    o.heads = 3;
    o.k = o.v = f32(NACRE_SHAPE(2, 5, 6));
    expect_refused(nacre_f_attention_at(&o, AT), NACRE_SHAPE_MISMATCH,
                   "scaled_dot_product_attention: q is [2,3,4], k and v are [2,5,6]: they must be "
                   "[batch, queries, width] and [batch, keys, width] with one batch and one width "
                   "(train.c:42)");
    expect_refused(nacre_f_scaled_dot_product_attention_at(&o, AT), NACRE_SHAPE_MISMATCH,
                   "scaled_dot_product_attention: q is [2,3,4]: it must be [batch, heads, rows, "
                   "head width], with as many heads as q (train.c:42)");
    o.k = NULL;
    expect_refused(nacre_f_attention_at(&o, AT), NACRE_INVALID_ARGUMENT,
                   "attention: k is NULL (train.c:42)");
    o.v = NULL;
    expect_refused(nacre_f_scaled_dot_product_attention_at(&o, AT), NACRE_INVALID_ARGUMENT,
                   "scaled_dot_product_attention: k is NULL (train.c:42)");
    expect_refused(nacre_f_attention_at(&o, AT), NACRE_SHAPE_MISMATCH,
                   "attention_qkv: qkv is [2,3,4]: it must be [batch, positions, 3 width] "
                   "(train.c:42)");
}

static void elementwise_inputs_that_do_not_fit(void **state) {
    (void)state;
    nacre_tensor *a = f32(NACRE_SHAPE(2, 3));
    expect_refused(
        nacre_add_at(a, f32(NACRE_SHAPE(4)), AT), NACRE_SHAPE_MISMATCH,
        "add: a is [2,3], b is [4]: shapes do not broadcast; counted from the last axis, "
        "extents must be equal or 1 (train.c:42)");
    expect_refused(nacre_less_at(a, zeros(NACRE_SHAPE(3), NACRE_F64), AT), NACRE_DTYPE_MISMATCH,
                   "less: a is f32 [2,3], b is f64 [3]: dtypes differ; convert one with nacre_cast "
                   "(train.c:42)");
    nacre_tensor *flags = zeros(NACRE_SHAPE(3), NACRE_BOOL);
    expect_refused(nacre_mul_at(flags, flags, AT), NACRE_DTYPE_MISMATCH,
                   "mul: a is bool [3]: arithmetic needs numbers; convert it with nacre_cast, such "
                   "as to NACRE_F32 (train.c:42)");
    expect_refused(nacre_neg_at(flags, AT), NACRE_DTYPE_MISMATCH,
                   "neg: a is bool [3]: arithmetic needs numbers; convert it with nacre_cast, such "
                   "as to NACRE_F32 (train.c:42)");
    nacre_tensor *whole = zeros(NACRE_SHAPE(3), NACRE_I32);
    expect_refused(
        nacre_exp_at(whole, AT), NACRE_DTYPE_MISMATCH,
        "exp: a is i32 [3]: a floating dtype is needed; convert it with nacre_cast, such "
        "as to NACRE_F32 (train.c:42)");
    expect_refused(nacre_mul_scalar_at(whole, 0.5, AT), NACRE_DTYPE_MISMATCH,
                   "mul: a is i32 [3], the scalar 0.5 is not: convert a with nacre_cast "
                   "(train.c:42)");
    expect_refused(nacre_add_scalar_at(zeros(NACRE_SHAPE(3), NACRE_U8), 300, AT),
                   NACRE_DTYPE_MISMATCH,
                   "add: a is u8 [3], the scalar 300 is not: convert a with nacre_cast "
                   "(train.c:42)");
    expect_refused(nacre_where_at(a, a, a, AT), NACRE_DTYPE_MISMATCH,
                   "where: condition is f32 [2,3]: it must be bool; compare or use nacre_cast "
                   "(train.c:42)");
    expect_refused(nacre_where_at(flags, a, f32(NACRE_SHAPE(2, 2)), AT), NACRE_SHAPE_MISMATCH,
                   "where: condition is [3], a is [2,3], b is [2,2]: shapes do not broadcast; "
                   "counted from the last axis, extents must be equal or 1 (train.c:42)");
    nacre_tensor *tall =
        nacre_broadcast_to(f32(NACRE_SHAPE(1, 1)), NACRE_SHAPE(INT64_C(1) << 32, 1));
    nacre_tensor *wide =
        nacre_broadcast_to(f32(NACRE_SHAPE(1, 1)), NACRE_SHAPE(1, INT64_C(1) << 32));
    expect_refused(
        nacre_add_at(tall, wide, AT), NACRE_OUT_OF_MEMORY,
        "add: the result would be [4294967296,4294967296], more elements than memory can "
        "hold; use smaller inputs (train.c:42)");
}

static void views_that_do_not_exist(void **state) {
    (void)state;
    nacre_tensor *a = f32(NACRE_SHAPE(3, 4));
    expect_refused(nacre_reshape_at(a, NACRE_SHAPE(5, 2), AT), NACRE_SHAPE_MISMATCH,
                   "reshape: a is [3,4] with 12 elements, the new shape is [5,2]: the numbers of "
                   "elements must be equal (one extent may be -1) (train.c:42)");
    assert_true(nacre_is_error(nacre_reshape(a, NACRE_SHAPE(-1, -1))));
    assert_true(nacre_is_error(nacre_reshape(a, NACRE_SHAPE(-1, 5))));
    assert_true(nacre_is_error(nacre_reshape(a, NACRE_SHAPE(-2, -6))));
    assert_true(nacre_is_error(nacre_reshape(a, NACRE_SHAPE(-1, 0))));
    assert_true(nacre_is_error(nacre_reshape(a, NACRE_SHAPE(INT64_MAX, INT64_MAX))));
    assert_true(nacre_is_error(nacre_reshape(a, (nacre_shape){.ndim = 9})));
    expect_refused(nacre_permute_at(a, NACRE_AXES(0, 0), AT), NACRE_INVALID_ARGUMENT,
                   "permute: a is [3,4], 2 axes are given: name each of its 2 axes once "
                   "(train.c:42)");
    expect_refused(nacre_slice_at(a, 1, 0, 1, 0, AT), NACRE_INVALID_ARGUMENT,
                   "slice: step 0 along axis 1 of a of shape [3,4]: use a step of at least 1 "
                   "(train.c:42)");
    expect_refused(
        nacre_broadcast_to_at(a, NACRE_SHAPE(4, 4), AT), NACRE_SHAPE_MISMATCH,
        "broadcast_to: a is [3,4], the new shape is [4,4]: each extent of a, counted from "
        "the last axis, must be equal or 1 (train.c:42)");
}

static void indices_without_a_meaning(void **state) {
    (void)state;
    nacre_tensor *a = f32(NACRE_SHAPE(3, 4));
    expect_refused(nacre_index_at(a, "3", AT), NACRE_OUT_OF_RANGE,
                   "index: \"3\" into a of shape [3,4]: an integer is out of range; use -extent to "
                   "extent - 1 (train.c:42)");
    expect_refused(nacre_index_at(a, "1, 2, 3", AT), NACRE_INVALID_ARGUMENT,
                   "index: \"1, 2, 3\" into a of shape [3,4]: there are more items than axes "
                   "(train.c:42)");
    expect_refused(nacre_index_at(a, "..., ...", AT), NACRE_INVALID_ARGUMENT,
                   "index: \"..., ...\" into a of shape [3,4]: only one \"...\" has a meaning "
                   "(train.c:42)");
    expect_refused(nacre_index_at(a, "::-1", AT), NACRE_INVALID_ARGUMENT,
                   "index: \"::-1\" into a of shape [3,4]: steps must be at least 1 (train.c:42)");
    static const char *const nonsense[] = {"",
                                           ",",
                                           "x",
                                           "1 2",
                                           "1:2:3:4",
                                           "..",
                                           "-",
                                           "1,,2",
                                           "1.",
                                           "+",
                                           "1-1",
                                           "[1]",
                                           "1;2",
                                           ":x",
                                           "0x1",
                                           "99999999999999999999999",
                                           "0,0,0,0,0,0,0,0,0,0,0"};
    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        nacre_tensor *t = nacre_index(a, nonsense[i]);
        if (!nacre_is_error(t)) fail_msg("\"%s\" was taken for an index", nonsense[i]);
        assert_int_equal(nacre_tensor_status(t), NACRE_INVALID_ARGUMENT);
    }
    assert_true(nacre_is_error(nacre_index(a, NULL)));
}

static void reductions_and_losses_that_do_not_fit(void **state) {
    (void)state;
    nacre_tensor *a = f32(NACRE_SHAPE(2, 3)), *none = f32(NACRE_SHAPE(2, 0));
    nacre_reduce_options o = {.size = sizeof o, .input = a, .axes = NACRE_AXES(1, -1)};
    expect_refused(nacre_mean_at(&o, AT), NACRE_INVALID_ARGUMENT,
                   "mean: axis -1 of a of shape [2,3] is given twice; name each of -2 to 1 at most "
                   "once (train.c:42)");
    o.axes = NACRE_AXES(0, 1);
    expect_refused(nacre_argmax_at(&o, AT), NACRE_INVALID_ARGUMENT,
                   "argmax: 2 axes are given: name one, or none for an index into all elements "
                   "(train.c:42)");
    o = (nacre_reduce_options){.size = sizeof o, .input = none};
    expect_refused(nacre_max_at(&o, AT), NACRE_INVALID_ARGUMENT,
                   "max: a is [2,0]: no elements have no maximum; check its extents first "
                   "(train.c:42)");
    expect_refused(nacre_argmin_at(&o, AT), NACRE_INVALID_ARGUMENT,
                   "argmin: a is [2,0]: no elements have no minimum; check its extents first "
                   "(train.c:42)");
    o.input = zeros(NACRE_SHAPE(3), NACRE_I64);
    expect_refused(
        nacre_mean_at(&o, AT), NACRE_DTYPE_MISMATCH,
        "mean: a is i64 [3]: a floating dtype is needed; convert it with nacre_cast, such "
        "as to NACRE_F32 (train.c:42)");
    expect_refused(
        nacre_f_cross_entropy_at(a, zeros(NACRE_SHAPE(3), NACRE_I64), AT), NACRE_SHAPE_MISMATCH,
        "cross_entropy: logits is f32 [2,3], target is i64 [3]: target must be [n] class "
        "indices (i64, i32, u8) or [n, classes] of logits' dtype (train.c:42)");
    expect_refused(nacre_f_cross_entropy_at(none, zeros(NACRE_SHAPE(2), NACRE_I64), AT),
                   NACRE_SHAPE_MISMATCH,
                   "cross_entropy: logits is [2,0]: it must be [n, classes] with at least one row "
                   "and one class (train.c:42)");
    expect_refused(nacre_f_mse_at(a, f32(NACRE_SHAPE(2, 1)), AT), NACRE_SHAPE_MISMATCH,
                   "mse: prediction is [2,3], target is [2,1]: shapes must be equal (train.c:42)");
}

static void rows_that_cannot_be_gathered(void **state) {
    (void)state;
    nacre_tensor *a = f32(NACRE_SHAPE(2, 3));
    expect_refused(nacre_gather_at(a, f32(NACRE_SHAPE(2)), AT), NACRE_DTYPE_MISMATCH,
                   "gather: indices is f32 [2]: indices are i64, i32 or u8; convert them with "
                   "nacre_cast(.., NACRE_I64) (train.c:42)");
    expect_refused(
        nacre_gather_at(nacre_ones(NACRE_SCALAR), zeros(NACRE_SHAPE(2), NACRE_I64), AT),
        NACRE_SHAPE_MISMATCH,
        "gather: table is [], indices is [2]: table must be [n, ...] and the result have "
        "at most 8 axes (train.c:42)");
    nacre_tensor *index = zeros(NACRE_SHAPE(2), NACRE_I64);
    expect_refused(nacre_one_hot_at(index, 0, NACRE_F32, AT), NACRE_INVALID_ARGUMENT,
                   "one_hot: 0 classes for indices of shape [2]: at least 1 class, and at most 7 "
                   "axes (train.c:42)");
    expect_refused(nacre_one_hot_at(index, 3, (nacre_dtype)99, AT), NACRE_INVALID_ARGUMENT,
                   "one_hot: dtype 99 is unknown; use one of enum nacre_dtype (train.c:42)");
}

static void creations_that_make_no_sense(void **state) {
    (void)state;
    nacre_create_options o = {.size = sizeof o, .shape = NACRE_SHAPE(2, -1)};
    expect_refused(nacre_zeros_at(&o, AT), NACRE_INVALID_ARGUMENT,
                   "full: shape [2,-1] is not valid: 0 to 8 axes, no negative extent, and its "
                   "elements must fit in memory (train.c:42)");
    o = (nacre_create_options){.size = sizeof o, .shape = NACRE_SHAPE(2), .dtype = NACRE_I32};
    expect_refused(nacre_rand_at(&o, AT), NACRE_DTYPE_MISMATCH,
                   "rand: dtype i32: a floating dtype is needed; draw f32 and use nacre_cast "
                   "(train.c:42)");
    o.dtype = (nacre_dtype)77;
    expect_refused(nacre_ones_at(&o, AT), NACRE_INVALID_ARGUMENT,
                   "full: dtype 77 is unknown; use one of enum nacre_dtype (train.c:42)");
    o = (nacre_create_options){.size = sizeof o, .device = (nacre_device)7};
    expect_refused(nacre_ones_at(&o, AT), NACRE_UNSUPPORTED,
                   "ones: device 7 is not in this build; use NACRE_CPU (train.c:42)");
    expect_refused(nacre_ones_at(&(nacre_create_options){.size = 0}, AT), NACRE_INVALID_ARGUMENT,
                   "ones: options have size 0; set .size = sizeof(options) (train.c:42)");
    expect_refused(nacre_randn_at(NULL, AT), NACRE_INVALID_ARGUMENT,
                   "randn: options are NULL (train.c:42)");
    nacre_arange_options r = {.size = sizeof r, .stop = INFINITY};
    expect_refused(nacre_arange_at(&r, AT), NACRE_INVALID_ARGUMENT,
                   "arange: start 0, stop inf, step 1 give no countable range; use finite values "
                   "(train.c:42)");
    r = (nacre_arange_options){.size = sizeof r, .stop = 1, .step = NAN};
    assert_true(nacre_is_error(nacre_arange_at(&r, AT)));
    r = (nacre_arange_options){.size = sizeof r, .stop = 1e300, .step = 1e-300};
    assert_true(nacre_is_error(nacre_arange_at(&r, AT)));
    assert_true(nacre_is_error(nacre_eye(-1)));
    assert_true(nacre_is_error(nacre_eye(INT64_MAX)));
    nacre_data_options d = {.size = sizeof d, .shape = NACRE_SHAPE(2)};
    expect_refused(nacre_from_data_at(&d, AT), NACRE_INVALID_ARGUMENT,
                   "from_data: data is NULL, the shape is [2]: give a pointer to 2 elements "
                   "(train.c:42)");
    nacre_tensor *t = nacre_ones(NACRE_SHAPE(2));
    expect_refused(nacre_cast_at(t, (nacre_dtype)99, AT), NACRE_INVALID_ARGUMENT,
                   "cast: dtype 99 is unknown; use one of enum nacre_dtype (train.c:42)");
    expect_refused(nacre_to_device_at(t, (nacre_device)3, AT), NACRE_UNSUPPORTED,
                   "to_device: device 3 is not in this build; use NACRE_CPU (train.c:42)");
}

/* Older programs hand over shorter option structs: what they do not have is its default. */
static void shorter_options_have_defaults(void **state) {
    (void)state;
    nacre_create_options o = {
        .size = offsetof(nacre_create_options, dtype), .shape = NACRE_SHAPE(2), .dtype = NACRE_I64};
    assert_int_equal(nacre_dtype_of(nacre_ones_at(&o, AT)), NACRE_F32);
}

static void the_first_error_is_passed_on(void **state) {
    (void)state;
    nacre_tensor *bad = nacre_matmul_at(f32(NACRE_SHAPE(2, 3)), f32(NACRE_SHAPE(2, 3)), AT);
    const char *first = nacre_tensor_message(bad);
    nacre_tensor *later[] = {
        nacre_add(bad, f32(NACRE_SHAPE(1))),
        nacre_add_scalar(bad, 1),
        nacre_cast(bad, NACRE_F64),
        nacre_to_device(bad, NACRE_CPU),
        nacre_reshape(bad, NACRE_SHAPE(1)),
        nacre_permute(bad, NACRE_AXES(0)),
        nacre_transpose(bad, 0, 1),
        nacre_slice(bad, 0, 0, 1, 1),
        nacre_index(bad, "0"),
        nacre_sum(bad, .axes = NACRE_AXES(5)),
        nacre_argmax(bad, .axes = NACRE_AXES(5)),
        nacre_matmul(f32(NACRE_SHAPE(3)), bad),
        nacre_f_linear(f32(NACRE_SHAPE(3)), f32(NACRE_SHAPE(2, 3)), bad),
        nacre_f_softmax(bad, 0),
        nacre_where(bad, bad, bad),
        nacre_gather(bad, bad),
        nacre_one_hot(bad, 3, NACRE_F32),
    };
    for (size_t i = 0; i < sizeof later / sizeof later[0]; i++) {
        assert_true(nacre_is_error(later[i]));
        assert_string_equal(nacre_tensor_message(later[i]), first);
    }
}

static void null_is_refused_by_every_op(void **state) {
    (void)state;
    nacre_tensor *a = f32(NACRE_SHAPE(2));
    expect_refused(nacre_add_at(a, NULL, AT), NACRE_INVALID_ARGUMENT,
                   "add: input 1 is NULL (train.c:42)");
    nacre_tensor *refused[] = {
        nacre_add_scalar(NULL, 1),
        nacre_cast(NULL, NACRE_F64),
        nacre_to_device(NULL, NACRE_CPU),
        nacre_reshape(NULL, NACRE_SHAPE(1)),
        nacre_permute(NULL, NACRE_AXES(0)),
        nacre_transpose(NULL, 0, 1),
        nacre_slice(NULL, 0, 0, 1, 1),
        nacre_index(NULL, "0"),
        nacre_sum(NULL),
        nacre_argmin(NULL),
        nacre_matmul(NULL, a),
        nacre_matmul(a, NULL),
        nacre_f_linear(a, NULL, NULL),
        nacre_f_softmax(NULL, 0),
        nacre_where(NULL, a, a),
        nacre_gather(a, NULL),
        nacre_one_hot(NULL, 3, NACRE_F32),
        nacre_f_cross_entropy(NULL, NULL),
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        if (!nacre_is_error(refused[i])) fail_msg("call %zu took NULL", i);
        assert_int_equal(nacre_tensor_status(refused[i]), NACRE_INVALID_ARGUMENT);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        on_both(products_that_do_not_fit),
        on_both(attention_refuses_what_does_not_fit),
        on_both(axes_that_are_not_there),
        on_both(an_embedding_names_its_own_arguments),
        on_both(tensors_that_cannot_be_joined),
        on_both(elementwise_inputs_that_do_not_fit),
        on_both(norms_and_gelu_refuse_what_does_not_fit),
        on_both(views_that_do_not_exist),
        on_both(indices_without_a_meaning),
        on_both(reductions_and_losses_that_do_not_fit),
        on_both(rows_that_cannot_be_gathered),
        on_both(creations_that_make_no_sense),
        on_both(shorter_options_have_defaults),
        on_both(the_first_error_is_passed_on),
        on_both(null_is_refused_by_every_op),
    };
    check_backend = NACRE_BACKEND_CPU; /* nothing is computed */
    return cmocka_run_group_tests_name("ops: misuse", tests, NULL, NULL);
}
