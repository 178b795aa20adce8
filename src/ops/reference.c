#include "ops/reference.h"

#include <string.h>

bool nacre_walk_begin(nacre_walk *walk, const nacre_shape *shape) {
    walk->shape = *shape;
    walk->arrays = 0;
    walk->inner = shape->ndim ? shape->dims[shape->ndim - 1] : 1;
    memset(walk->index, 0, sizeof walk->index);
    return nacre_shape_numel(shape) > 0;
}

void nacre_walk_add_strides(nacre_walk *walk, const int64_t *strides) {
    int k = walk->arrays++, ndim = walk->shape.ndim;
    for (int i = 0; i < ndim; i++) walk->strides[k][i] = strides[i];
    walk->offset[k] = 0;
    walk->step[k] = ndim ? strides[ndim - 1] : 0;
}

void nacre_walk_add(nacre_walk *walk, const nacre_array *array) {
    int64_t strides[NACRE_MAX_DIMS];
    int missing = walk->shape.ndim - array->shape.ndim;
    for (int i = 0; i < walk->shape.ndim; i++) {
        bool repeats =
            i < missing || (array->shape.dims[i - missing] == 1 && walk->shape.dims[i] != 1);
        strides[i] = repeats ? 0 : array->strides[i - missing];
    }
    nacre_walk_add_strides(walk, strides);
}

bool nacre_walk_next(nacre_walk *walk) {
    for (int i = walk->shape.ndim - 2; i >= 0; i--) {
        bool carry = ++walk->index[i] == walk->shape.dims[i];
        int64_t move = carry ? 1 - walk->shape.dims[i] : 1;
        for (int k = 0; k < walk->arrays; k++) walk->offset[k] += move * walk->strides[k][i];
        if (!carry) return true;
        walk->index[i] = 0;
    }
    return false;
}

int64_t nacre_array_offset(const nacre_array *array, int64_t index) {
    int64_t offset = 0;
    for (int i = array->shape.ndim - 1; i >= 0; i--) {
        offset += index % array->shape.dims[i] * array->strides[i];
        index /= array->shape.dims[i];
    }
    return offset;
}

void nacre_array_copy(const nacre_array *out, int64_t to, const nacre_array *in, int64_t from) {
    memcpy(nacre_array_at(out, to), nacre_array_at(in, from), nacre_dtype_get(out->dtype)->size);
}

void nacre_array_zero(const nacre_array *out) {
    const nacre_dtype_info *info = nacre_dtype_get(out->dtype);
    int64_t count = nacre_shape_numel(&out->shape);
    for (int64_t i = 0; i < count; i++)
        info->store_int(nacre_array_at(out, nacre_array_offset(out, i)), 0);
}

/* One row of an element-wise op; the output is array 0 of the walk. */
static void row_float(const nacre_op *op, const nacre_call *call, const nacre_walk *walk) {
    double x[NACRE_MAX_INPUTS] = {0};
    for (int64_t i = 0; i < walk->inner; i++) {
        for (int k = 0; k < call->inputs; k++) {
            const nacre_array *in = &call->in[k];
            int64_t at = walk->offset[k + 1] + i * walk->step[k + 1];
            x[k] = nacre_dtype_get(in->dtype)->load(nacre_array_at(in, at));
        }
        void *to = nacre_array_at(&call->out[0], walk->offset[0] + i * walk->step[0]);
        nacre_dtype_get(call->out[0].dtype)->store(to, op->element(x, call->attrs));
    }
}

static void row_int(const nacre_op *op, const nacre_call *call, const nacre_walk *walk) {
    int64_t x[NACRE_MAX_INPUTS] = {0};
    for (int64_t i = 0; i < walk->inner; i++) {
        for (int k = 0; k < call->inputs; k++) {
            const nacre_array *in = &call->in[k];
            int64_t at = walk->offset[k + 1] + i * walk->step[k + 1];
            x[k] = nacre_dtype_get(in->dtype)->load_int(nacre_array_at(in, at));
        }
        void *to = nacre_array_at(&call->out[0], walk->offset[0] + i * walk->step[0]);
        nacre_dtype_get(call->out[0].dtype)->store_int(to, op->element_int(x, call->attrs));
    }
}

/* The usual case without the calls through the dtype table. */
static void row_f32(const nacre_op *op, const nacre_call *call, const nacre_walk *walk) {
    double x[NACRE_MAX_INPUTS] = {0};
    float *out = (float *)call->out[0].data + walk->offset[0];
    for (int64_t i = 0; i < walk->inner; i++) {
        for (int k = 0; k < call->inputs; k++) {
            const float *in = call->in[k].data;
            x[k] = (double)in[walk->offset[k + 1] + i * walk->step[k + 1]];
        }
        out[i * walk->step[0]] = (float)op->element(x, call->attrs);
    }
}

static void run_elements(const nacre_op *op, const nacre_call *call) {
    nacre_walk walk;
    if (!nacre_walk_begin(&walk, &call->out[0].shape)) return;
    nacre_walk_add(&walk, &call->out[0]);
    bool any_float = false, all_f32 = call->out[0].dtype == NACRE_F32;
    for (int k = 0; k < call->inputs; k++) {
        nacre_walk_add(&walk, &call->in[k]);
        any_float |= nacre_dtype_is_float(call->in[k].dtype);
        all_f32 &= call->in[k].dtype == NACRE_F32;
    }
    void (*row)(const nacre_op *, const nacre_call *, const nacre_walk *) = row_float;
    if (all_f32)
        row = row_f32;
    else if (!any_float && op->element_int)
        row = row_int;
    do row(op, call, &walk);
    while (nacre_walk_next(&walk));
}

void nacre_reference_run(const nacre_op *op, const nacre_call *call) {
    if (op->reference)
        op->reference(call);
    else if (op->element || op->element_int)
        run_elements(op, call);
}
