/* reshape, permute, broadcast_to: the same elements under another shape. Where strides can say it the
   result shares memory; the reference is the copy. */
#include "ops/common.h"
#include "ops/reference.h"

/* Fills the output from the input under the given strides of the output's axes. */
static void copy_strided(const nacre_call *call, const int64_t *strides) {
    nacre_walk walk;
    if (!nacre_walk_begin(&walk, &call->out[0].shape)) return;
    nacre_walk_add(&walk, &call->out[0]);
    nacre_walk_add_strides(&walk, strides);
    do {
        for (int64_t i = 0; i < walk.inner; i++)
            nacre_array_copy(&call->out[0], walk.offset[0] + i * walk.step[0], &call->in[0],
                             walk.offset[1] + i * walk.step[1]);
    } while (nacre_walk_next(&walk));
}

/* ---- reshape ---- */

static nacre_status reshape_shape(nacre_inference *inference) {
    const nacre_shape *in = &inference->in[0].shape;
    nacre_shape out = inference->wanted;
    int open = -1;
    bool valid = out.ndim >= 0 && out.ndim <= NACRE_MAX_DIMS;
    for (int i = 0; valid && i < out.ndim; i++) {
        if (out.dims[i] != -1) continue;
        valid = open < 0;
        open = i;
    }
    if (valid && open >= 0) {
        out.dims[open] = 1;
        int64_t rest = nacre_shape_valid(&out) ? nacre_shape_numel(&out) : 0;
        valid = rest > 0 && nacre_shape_numel(in) % rest == 0;
        if (valid) out.dims[open] = nacre_shape_numel(in) / rest;
    }
    if (!valid || !nacre_shape_valid(&out) || nacre_shape_numel(&out) != nacre_shape_numel(in)) {
        char from[NACRE_SHAPE_TEXT], to[NACRE_SHAPE_TEXT];
        return nacre_fail_at(
            NACRE_SHAPE_MISMATCH, inference->file, inference->line,
            "reshape: a is %s with %lld elements, the new shape is %s: the numbers "
            "of elements must be equal (one extent may be -1)",
            nacre_shape_text(in, from), (long long)nacre_shape_numel(in),
            nacre_shape_text(&inference->wanted, to));
    }
    inference->out[0].dtype = inference->in[0].dtype;
    inference->out[0].shape = out;
    return NACRE_OK;
}

/* Splits both shapes into groups of axes with equal products; a group is a view if its input axes are
   contiguous among themselves. */
static bool reshape_view(nacre_view_request *r) {
    const nacre_shape *in = r->in_shape, *out = r->out_shape;
    r->offset = 0;
    if (nacre_shape_numel(in) == 0) {
        nacre_shape_strides(out, r->out_strides);
        return true;
    }
    int i = 0, o = 0;
    while (i < in->ndim || o < out->ndim) {
        int i0 = i, o0 = o;
        int64_t p = i < in->ndim ? in->dims[i++] : 1, q = o < out->ndim ? out->dims[o++] : 1;
        while (p != q) {
            if (p < q)
                p *= in->dims[i++];
            else
                q *= out->dims[o++];
        }
        /* Extents of 1 have no stride that matters. */
        int64_t stride = 1, outer = 0;
        bool seen = false;
        for (int k = i - 1; k >= i0; k--) {
            if (in->dims[k] == 1) continue;
            if (seen && r->in_strides[k] != outer) return false;
            if (!seen) stride = r->in_strides[k];
            outer = r->in_strides[k] * in->dims[k];
            seen = true;
        }
        for (int k = o - 1; k >= o0; k--) {
            r->out_strides[k] = stride;
            stride *= out->dims[k];
        }
    }
    return true;
}

static void reshape_reference(const nacre_call *call) {
    int64_t count = nacre_shape_numel(&call->out[0].shape);
    for (int64_t i = 0; i < count; i++)
        nacre_array_copy(&call->out[0], nacre_array_offset(&call->out[0], i), &call->in[0],
                         nacre_array_offset(&call->in[0], i));
}

static void reshape_gradient(nacre_gradient *g) {
    g->din[0] = nacre_reshape_at(g->dout[0], nacre_shape_of(g->in[0]), g->file, g->line);
}

const nacre_op nacre_op_reshape = {
    .name = "reshape",
    .onnx = "Reshape",
    .arity = 1,
    .shape = reshape_shape,
    .gradient = reshape_gradient,
    .reference = reshape_reference,
    .view = reshape_view,
};

nacre_tensor *nacre_reshape_at(nacre_tensor *a, nacre_shape shape, const char *file, int line) {
    nacre_recording recording = {.op = &nacre_op_reshape,
                                 .inputs = 1,
                                 .in = {a},
                                 .wanted = shape,
                                 .file = file,
                                 .line = line};
    return nacre_record_one(&recording);
}

/* ---- permute: output axis i is input axis axes[i] ---- */

static const nacre_attr permute_attrs[] = {[NACRE_PERMUTE_AXES] = {"axes", NACRE_ATTR_PERMUTATION},
                                           {NULL, NACRE_ATTR_END}};

static int permuted(const nacre_word *attrs, int i) {
    return (int)(attrs[NACRE_PERMUTE_AXES].i >> (4 * i) & 15);
}

static nacre_status permute_shape(nacre_inference *inference) {
    const nacre_shape *in = &inference->in[0].shape;
    nacre_shape *out = &inference->out[0].shape;
    out->ndim = in->ndim;
    for (int i = 0; i < in->ndim; i++) out->dims[i] = in->dims[permuted(inference->attrs, i)];
    inference->out[0].dtype = inference->in[0].dtype;
    return NACRE_OK;
}

static bool permute_view(nacre_view_request *r) {
    r->offset = 0;
    for (int i = 0; i < r->out_shape->ndim; i++)
        r->out_strides[i] = r->in_strides[permuted(r->attrs, i)];
    return true;
}

static void permute_reference(const nacre_call *call) {
    int64_t strides[NACRE_MAX_DIMS];
    for (int i = 0; i < call->out[0].shape.ndim; i++)
        strides[i] = call->in[0].strides[permuted(call->attrs, i)];
    copy_strided(call, strides);
}

static void permute_gradient(nacre_gradient *g) {
    int ndim = nacre_ndim(g->in[0]);
    int64_t inverse = 0;
    for (int i = 0; i < ndim; i++) inverse |= (int64_t)i << (4 * permuted(g->attrs, i));
    g->din[0] = nacre_record_unary_int(&nacre_op_permute, g->dout[0], inverse, g->file, g->line);
}

const nacre_op nacre_op_permute = {
    .name = "permute",
    .onnx = "Transpose",
    .arity = 1,
    .attrs = permute_attrs,
    .shape = permute_shape,
    .gradient = permute_gradient,
    .reference = permute_reference,
    .view = permute_view,
};

nacre_tensor *nacre_permute_at(nacre_tensor *a, nacre_axes axes, const char *file, int line) {
    int64_t word = 0;
    if (nacre_usable(a)) {
        nacre_shape shape = nacre_shape_of(a);
        int ndim = shape.ndim, seen = 0;
        bool valid = axes.count == ndim;
        for (int i = 0; valid && i < ndim; i++) {
            int axis = nacre_axis_normal(axes.axis[i], ndim);
            valid = axis >= 0 && !(seen >> axis & 1);
            if (!valid) break;
            seen |= 1 << axis;
            word |= (int64_t)axis << (4 * i);
        }
        if (!valid) {
            char text[NACRE_SHAPE_TEXT];
            nacre_fail_at(NACRE_INVALID_ARGUMENT, file, line,
                          "permute: a is %s, %d axes are given: name each of its %d axes once",
                          nacre_shape_text(&shape, text), axes.count, ndim);
            return nacre_error_tensor();
        }
    }
    return nacre_record_unary_int(&nacre_op_permute, a, word, file, line);
}

nacre_tensor *nacre_transpose_at(nacre_tensor *a, int axis0, int axis1, const char *file,
                                 int line) {
    int64_t word = 0;
    if (nacre_usable(a)) {
        int ndim = nacre_ndim(a);
        int i = nacre_axis_normal(axis0, ndim), j = nacre_axis_normal(axis1, ndim);
        if (i < 0 || j < 0) {
            nacre_shape shape = nacre_shape_of(a);
            nacre_fail_axis("transpose", i < 0 ? axis0 : axis1, &shape, file, line);
            return nacre_error_tensor();
        }
        for (int k = 0; k < ndim; k++) word |= (int64_t)(k == i ? j : k == j ? i : k) << (4 * k);
    }
    return nacre_record_unary_int(&nacre_op_permute, a, word, file, line);
}

/* ---- broadcast_to ---- */

static nacre_status broadcast_shape(nacre_inference *inference) {
    nacre_shape out;
    if (!nacre_shape_valid(&inference->wanted) ||
        !nacre_shape_broadcast(&inference->in[0].shape, &inference->wanted, &out) ||
        !nacre_shape_equal(&out, &inference->wanted)) {
        char from[NACRE_SHAPE_TEXT], to[NACRE_SHAPE_TEXT];
        return nacre_fail_at(
            NACRE_SHAPE_MISMATCH, inference->file, inference->line,
            "broadcast_to: a is %s, the new shape is %s: each extent of a, counted "
            "from the last axis, must be equal or 1",
            nacre_shape_text(&inference->in[0].shape, from),
            nacre_shape_text(&inference->wanted, to));
    }
    inference->out[0].dtype = inference->in[0].dtype;
    inference->out[0].shape = out;
    return NACRE_OK;
}

static bool broadcast_view(nacre_view_request *r) {
    int missing = r->out_shape->ndim - r->in_shape->ndim;
    r->offset = 0;
    for (int i = 0; i < r->out_shape->ndim; i++) {
        bool repeats =
            i < missing || (r->in_shape->dims[i - missing] == 1 && r->out_shape->dims[i] != 1);
        r->out_strides[i] = repeats ? 0 : r->in_strides[i - missing];
    }
    return true;
}

static void broadcast_reference(const nacre_call *call) {
    int64_t strides[NACRE_MAX_DIMS];
    nacre_view_request request = {.in_shape = &call->in[0].shape,
                                  .out_shape = &call->out[0].shape,
                                  .in_strides = call->in[0].strides,
                                  .out_strides = strides};
    broadcast_view(&request);
    copy_strided(call, strides);
}

static void broadcast_gradient(nacre_gradient *g) {
    nacre_shape shape = nacre_shape_of(g->in[0]);
    g->din[0] = nacre_reduce_to(g->dout[0], &shape, g->file, g->line);
}

const nacre_op nacre_op_broadcast_to = {
    .name = "broadcast_to",
    .onnx = "Expand",
    .arity = 1,
    .shape = broadcast_shape,
    .gradient = broadcast_gradient,
    .reference = broadcast_reference,
    .view = broadcast_view,
};

nacre_tensor *nacre_broadcast_to_at(nacre_tensor *a, nacre_shape shape, const char *file,
                                    int line) {
    nacre_recording recording = {.op = &nacre_op_broadcast_to,
                                 .inputs = 1,
                                 .in = {a},
                                 .wanted = shape,
                                 .file = file,
                                 .line = line};
    return nacre_record_one(&recording);
}
