/* slice: every step-th element along one axis, a view; and unslice, its gradient. */
#include "ops/common.h"
#include "ops/reference.h"

static const nacre_attr slice_attrs[] = {[NACRE_SLICE_AXIS] = {"axis", NACRE_ATTR_INT},
                                         [NACRE_SLICE_STEP] = {"step", NACRE_ATTR_INT},
                                         [NACRE_SLICE_START] = {"start", NACRE_ATTR_SLOT_INT},
                                         {NULL, NACRE_ATTR_END}};

static nacre_tensor *record_slice(const nacre_op *op, nacre_tensor *a, const nacre_word *attrs,
                                  const nacre_shape *wanted, const char *file, int line) {
    nacre_recording recording = {.op = op,
                                 .inputs = 1,
                                 .in = {a},
                                 .attrs = {attrs[0], attrs[1], attrs[2]},
                                 .wanted = *wanted,
                                 .file = file,
                                 .line = line};
    return nacre_record_one(&recording);
}

/* Do `small` and `large` differ along the axis only, and does the last element lie inside? */
static bool fits(const nacre_word *attrs, const nacre_shape *small, const nacre_shape *large) {
    int64_t axis = attrs[NACRE_SLICE_AXIS].i, step = attrs[NACRE_SLICE_STEP].i;
    int64_t start = attrs[NACRE_SLICE_START].i;
    if (small->ndim != large->ndim || axis < 0 || axis >= small->ndim || step < 1 || start < 0)
        return false;
    for (int i = 0; i < small->ndim; i++)
        if (i != axis && small->dims[i] != large->dims[i]) return false;
    int64_t n = small->dims[axis], extent = large->dims[axis];
    return n == 0 || (start < extent && (n == 1 || (n - 1) <= (extent - 1 - start) / step));
}

static nacre_status sliced(nacre_inference *inference, const nacre_shape *small,
                           const nacre_shape *large) {
    if (!nacre_shape_valid(&inference->wanted) || !fits(inference->attrs, small, large)) {
        char a[NACRE_SHAPE_TEXT], b[NACRE_SHAPE_TEXT];
        return nacre_fail_at(
            NACRE_OUT_OF_RANGE, inference->file, inference->line,
            "%s: a is %s, the result is %s: axis %lld, start %lld, step %lld do not "
            "fit; start and step count elements inside the larger one",
            inference->op->name, nacre_shape_text(&inference->in[0].shape, a),
            nacre_shape_text(&inference->wanted, b),
            (long long)inference->attrs[NACRE_SLICE_AXIS].i,
            (long long)inference->attrs[NACRE_SLICE_START].i,
            (long long)inference->attrs[NACRE_SLICE_STEP].i);
    }
    inference->out[0].dtype = inference->in[0].dtype;
    inference->out[0].shape = inference->wanted;
    return NACRE_OK;
}

static nacre_status slice_shape(nacre_inference *inference) {
    return sliced(inference, &inference->wanted, &inference->in[0].shape);
}

static bool slice_view(nacre_view_request *r) {
    int axis = (int)r->attrs[NACRE_SLICE_AXIS].i;
    for (int i = 0; i < r->out_shape->ndim; i++) r->out_strides[i] = r->in_strides[i];
    r->out_strides[axis] *= r->attrs[NACRE_SLICE_STEP].i;
    r->offset = r->attrs[NACRE_SLICE_START].i * r->in_strides[axis];
    return true;
}

/* Copies between the smaller array and its places in the larger one. */
static void copy_places(const nacre_call *call, const nacre_array *small, const nacre_array *large,
                        bool into_small) {
    int axis = (int)call->attrs[NACRE_SLICE_AXIS].i;
    int64_t strides[NACRE_MAX_DIMS];
    for (int i = 0; i < large->shape.ndim; i++) strides[i] = large->strides[i];
    strides[axis] *= call->attrs[NACRE_SLICE_STEP].i;
    int64_t base = call->attrs[NACRE_SLICE_START].i * large->strides[axis];
    nacre_walk walk;
    if (!nacre_walk_begin(&walk, &small->shape)) return;
    nacre_walk_add(&walk, small);
    nacre_walk_add_strides(&walk, strides);
    do {
        for (int64_t i = 0; i < walk.inner; i++) {
            int64_t s = walk.offset[0] + i * walk.step[0],
                    l = base + walk.offset[1] + i * walk.step[1];
            if (into_small)
                nacre_array_copy(small, s, large, l);
            else
                nacre_array_copy(large, l, small, s);
        }
    } while (nacre_walk_next(&walk));
}

static void slice_reference(const nacre_call *call) {
    copy_places(call, &call->out[0], &call->in[0], true);
}

static void slice_gradient(nacre_gradient *g) {
    nacre_shape shape = nacre_shape_of(g->in[0]);
    g->din[0] = record_slice(&nacre_op_unslice, g->dout[0], g->attrs, &shape, g->file, g->line);
}

const nacre_op nacre_op_slice = {
    .name = "slice",
    .onnx = "Slice",
    .arity = 1,
    .attrs = slice_attrs,
    .shape = slice_shape,
    .gradient = slice_gradient,
    .reference = slice_reference,
    .view = slice_view,
};

/* ---- unslice: zeros of the wanted shape, with the input at the slice's places ---- */

static nacre_status unslice_shape(nacre_inference *inference) {
    return sliced(inference, &inference->in[0].shape, &inference->wanted);
}

static void unslice_reference(const nacre_call *call) {
    nacre_array_zero(&call->out[0]);
    copy_places(call, &call->in[0], &call->out[0], false);
}

static void unslice_gradient(nacre_gradient *g) {
    nacre_shape shape = nacre_shape_of(g->in[0]);
    g->din[0] = record_slice(&nacre_op_slice, g->dout[0], g->attrs, &shape, g->file, g->line);
}

const nacre_op nacre_op_unslice = {
    .name = "unslice",
    .arity = 1,
    .attrs = slice_attrs,
    .shape = unslice_shape,
    .gradient = unslice_gradient,
    .reference = unslice_reference,
};

/* ---- public ---- */

/* Python's reading of a slice bound: negative ones count from the end, all are clipped. */
static int64_t clip(int64_t bound, int64_t extent) {
    if (bound < 0) bound = bound < -extent ? 0 : bound + extent;
    return bound > extent ? extent : bound;
}

nacre_tensor *nacre_slice_at(nacre_tensor *a, int axis, int64_t start, int64_t stop, int64_t step,
                             const char *file, int line) {
    if (!nacre_usable(a)) return nacre_record_unary(&nacre_op_slice, a, file, line);
    nacre_shape shape = nacre_shape_of(a);
    int at = nacre_axis_normal(axis, shape.ndim);
    if (at < 0 || step < 1) {
        char text[NACRE_SHAPE_TEXT];
        nacre_shape_text(&shape, text);
        if (at < 0)
            nacre_fail_axis("slice", axis, &shape, file, line);
        else
            nacre_fail_at(
                NACRE_INVALID_ARGUMENT, file, line,
                "slice: step %lld along axis %d of a of shape %s: use a step of at least 1",
                (long long)step, axis, text);
        return nacre_error_tensor();
    }
    int64_t extent = shape.dims[at], first = clip(start, extent), last = clip(stop, extent);
    int64_t count = first < last ? (last - first - 1) / step + 1 : 0;
    shape.dims[at] = count;
    /* An empty slice starts nowhere: its offset must stay inside the storage. A step that is never taken
       must not make another plan. */
    nacre_word attrs[3] = {[NACRE_SLICE_AXIS] = {.i = at},
                           [NACRE_SLICE_STEP] = {.i = count > 1 ? step : 1},
                           [NACRE_SLICE_START] = {.i = count ? first : 0}};
    return record_slice(&nacre_op_slice, a, attrs, &shape, file, line);
}
