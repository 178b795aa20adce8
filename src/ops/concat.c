/* concat: tensors joined along one axis. */
#include "base/memory.h"
#include "ops/common.h"
#include "ops/reference.h"

#include <stdio.h>

static const nacre_attr concat_attrs[] = {[NACRE_CONCAT_AXIS] = {"axis", NACRE_ATTR_INT},
                                          {NULL, NACRE_ATTR_END}};

/* Equal but for the extent along the axis? */
static bool fits(const nacre_shape *a, const nacre_shape *b, int axis) {
    if (a->ndim != b->ndim) return false;
    for (int i = 0; i < a->ndim; i++)
        if (i != axis && a->dims[i] != b->dims[i]) return false;
    return true;
}

static nacre_status concat_shape(nacre_inference *inference) {
    nacre_shape *out = &inference->out[0].shape;
    const nacre_shape *first = &inference->in[0].shape;
    if (first->ndim == 0)
        return nacre_fail_at(NACRE_SHAPE_MISMATCH, inference->file, inference->line,
                             "concat: a scalar has no axis to join along; reshape it to [1]");
    nacre_status status = nacre_need_axis(inference, NACRE_CONCAT_AXIS);
    if (status) return status;
    int axis = (int)inference->attrs[NACRE_CONCAT_AXIS].i;
    *out = *first;
    inference->out[0].dtype = inference->in[0].dtype;
    for (int i = 1; i < inference->inputs; i++) {
        const nacre_shape *next = &inference->in[i].shape;
        char name[24], a[NACRE_SHAPE_TEXT], b[NACRE_SHAPE_TEXT];
        snprintf(name, sizeof name, "tensor %d", i);
        status = nacre_need_equal_dtypes(inference, 0, "tensor 0", i, name);
        if (status) return status;
        if (!fits(first, next, axis))
            return nacre_fail_at(NACRE_SHAPE_MISMATCH, inference->file, inference->line,
                                 "concat: tensor 0 is %s, %s is %s: only the extents along axis %d "
                                 "may differ",
                                 nacre_shape_text(first, a), name, nacre_shape_text(next, b), axis);
        if (next->dims[axis] > INT64_MAX - out->dims[axis])
            out->dims[axis] = INT64_MAX;
        else
            out->dims[axis] += next->dims[axis];
    }
    return nacre_need_valid_output(inference);
}

static void concat_reference(const nacre_call *call) {
    const nacre_array *out = &call->out[0];
    int64_t axis = call->attrs[NACRE_CONCAT_AXIS].i, base = 0;
    for (int i = 0; i < call->inputs; i++) {
        const nacre_array *in = &call->in[i];
        nacre_walk walk;
        if (nacre_walk_begin(&walk, &in->shape)) {
            nacre_walk_add(&walk, in);
            nacre_walk_add_strides(&walk, out->strides);
            do {
                for (int64_t k = 0; k < walk.inner; k++)
                    nacre_array_copy(out, base + walk.offset[1] + k * walk.step[1], in,
                                     walk.offset[0] + k * walk.step[0]);
            } while (nacre_walk_next(&walk));
        }
        base += in->shape.dims[axis] * out->strides[axis];
    }
}

static void concat_gradient(nacre_gradient *g) {
    int axis = (int)g->attrs[NACRE_CONCAT_AXIS].i;
    int64_t start = 0;
    for (int i = 0; i < g->inputs; i++) {
        int64_t end = start + nacre_size(g->in[i], axis);
        if (g->wanted[i])
            g->din[i] = nacre_slice_at(g->dout[0], axis, start, end, 1, g->file, g->line);
        start = end;
    }
}

const nacre_op nacre_op_concat = {
    .name = "concat",
    .onnx = "Concat",
    .arity = NACRE_MAX_INPUTS,
    .optional = NACRE_MAX_INPUTS - 1,
    .attrs = concat_attrs,
    .shape = concat_shape,
    .gradient = concat_gradient,
    .reference = concat_reference,
};

/* One record; count <= NACRE_MAX_INPUTS. */
static nacre_tensor *join(nacre_tensor *const *tensors, size_t count, int axis, const char *file,
                          int line) {
    nacre_recording recording = {.op = &nacre_op_concat,
                                 .inputs = (int)count,
                                 .attrs = {[NACRE_CONCAT_AXIS] = {.i = axis}},
                                 .file = file,
                                 .line = line};
    for (size_t i = 0; i < count; i++) recording.in[i] = tensors[i];
    return nacre_record_one(&recording);
}

/* More than one record takes: neighbours are joined first, so that an element moves log(count) times. */
static nacre_tensor *join_many(nacre_tensor *const *tensors, size_t count, int axis,
                               const char *file, int line) {
    if (count <= NACRE_MAX_INPUTS) return join(tensors, count, axis, file, line);
    size_t parts = (count - 1) / NACRE_MAX_INPUTS + 1;
    nacre_tensor **joined = nacre_alloc(parts * sizeof(nacre_tensor *));
    if (!joined) return nacre_error_tensor();
    for (size_t i = 0; i < parts; i++) {
        size_t first = i * NACRE_MAX_INPUTS, left = count - first;
        joined[i] = join(tensors + first, left < NACRE_MAX_INPUTS ? left : NACRE_MAX_INPUTS, axis,
                         file, line);
    }
    nacre_tensor *all = join_many(joined, parts, axis, file, line);
    nacre_free(joined);
    return all;
}

nacre_tensor *nacre_concat_at(nacre_tensor *const *tensors, size_t count, int axis,
                              const char *file, int line) {
    if (!tensors || count == 0) {
        nacre_fail_at(NACRE_INVALID_ARGUMENT, file, line,
                      tensors ? "concat: no tensors: give at least one"
                              : "concat: the list is NULL");
        return nacre_error_tensor();
    }
    for (size_t i = 0; i < count; i++) {
        if (tensors[i]) continue;
        nacre_fail_at(NACRE_INVALID_ARGUMENT, file, line, "concat: tensor %zu of %zu is NULL", i,
                      count);
        return nacre_error_tensor();
    }
    return join_many(tensors, count, axis, file, line);
}
