/* sgd_update: v' = momentum v + g + weight_decay p, p' = p - lr v' (Sutskever et al. 2013, in PyTorch's
   form); without momentum there is no v and p' = p - lr (g + weight_decay p). */
#include "ops/update.h"

#include <math.h>
#include <nacre/grad.h>

/* ---- shared by the updates ---- */

nacre_status nacre_need_like_parameter(const nacre_inference *inference, int i, const char *name) {
    if (inference->in[0].dtype != inference->in[i].dtype)
        return nacre_need_equal_dtypes(inference, 0, "p", i, name);
    bool equal = nacre_shape_equal(&inference->in[0].shape, &inference->in[i].shape);
    return equal ? NACRE_OK : nacre_need_equal_shapes(inference, 0, "p", i, name);
}

nacre_status nacre_need_ok(const nacre_inference *inference, int i) {
    if (inference->inputs <= i || inference->in[i].dtype == NACRE_DTYPE_DEFAULT) return NACRE_OK;
    if (inference->in[i].dtype == NACRE_BOOL && inference->in[i].shape.ndim == 0) return NACRE_OK;
    char text[NACRE_SHAPE_TEXT];
    return nacre_fail_at(NACRE_INVALID_ARGUMENT, inference->file, inference->line,
                         "%s: ok is %s %s: it must be a bool scalar", inference->op->name,
                         nacre_dtype_name(inference->in[i].dtype),
                         nacre_shape_text(&inference->in[i].shape, text));
}

static nacre_status refuse(const nacre_inference *inference, int attr, const char *wanted) {
    return nacre_fail_at(NACRE_INVALID_ARGUMENT, inference->file, inference->line,
                         "%s: %s is %g: it must be %s", inference->op->name,
                         inference->op->attrs[attr].name, inference->attrs[attr].f, wanted);
}

nacre_status nacre_need_finite(const nacre_inference *inference, int attr) {
    double value = inference->attrs[attr].f;
    return isfinite(value) && value >= 0 ? NACRE_OK
                                         : refuse(inference, attr, "finite and at least 0");
}

nacre_status nacre_need_share(const nacre_inference *inference, int attr) {
    double value = inference->attrs[attr].f;
    return value >= 0 && value < 1 ? NACRE_OK : refuse(inference, attr, "in [0, 1)");
}

nacre_tensor *nacre_scaled(nacre_tensor *x, double factor, const char *file, int line) {
    return nacre_mul_at(x, nacre_scalar(nacre_dtype_of(x), factor, file, line), file, line);
}

nacre_tensor *nacre_if_ok(nacre_tensor *ok, nacre_tensor *fresh, nacre_tensor *old,
                          const char *file, int line) {
    return ok ? nacre_where_at(ok, fresh, old, file, line) : fresh;
}

static nacre_status need_own(const nacre_recording *recording, const nacre_update_target *targets,
                             int count) {
    for (int i = 0; i < count; i++)
        for (int k = 0; targets[i].tensor && k < i; k++)
            if (targets[k].tensor == targets[i].tensor)
                return nacre_fail_at(NACRE_INVALID_ARGUMENT, recording->file, recording->line,
                                     "%s: %s and %s are the same tensor: give each its own, the "
                                     "update writes both",
                                     recording->op->name, targets[k].name, targets[i].name);
    return NACRE_OK;
}

nacre_status nacre_record_update(const nacre_recording *recording,
                                 const nacre_update_target *targets, int count) {
    nacre_tensor *tensors[NACRE_MAX_OUTPUTS];
    for (int i = 0; i < count; i++) tensors[i] = targets[i].tensor;
    nacre_status status = need_own(recording, targets, count);
    if (status != NACRE_OK) return status;
    bool before = nacre_set_grad_enabled(false);
    status = nacre_record_assign(recording, tensors, count);
    nacre_set_grad_enabled(before);
    return status;
}

/* ---- the op ---- */

static const nacre_attr sgd_attrs[] = {
    [NACRE_SGD_LR] = {"lr", NACRE_ATTR_SLOT_FLOAT},
    [NACRE_SGD_MOMENTUM] = {"momentum", NACRE_ATTR_SLOT_FLOAT},
    [NACRE_SGD_WEIGHT_DECAY] = {"weight_decay", NACRE_ATTR_SLOT_FLOAT},
    [NACRE_SGD_HAS_MOMENTUM] = {"has_momentum", NACRE_ATTR_BOOL},
    {NULL, NACRE_ATTR_END}};

static nacre_status sgd_shape(nacre_inference *inference) {
    bool has_momentum = inference->in[2].dtype != NACRE_DTYPE_DEFAULT;
    nacre_status status = nacre_need_float(inference, 0, "p");
    if (!status) status = nacre_need_like_parameter(inference, 1, "gradient");
    if (!status && has_momentum) status = nacre_need_like_parameter(inference, 2, "velocity");
    if (!status) status = nacre_need_ok(inference, 3);
    if (!status) status = nacre_need_finite(inference, NACRE_SGD_LR);
    if (!status) status = nacre_need_share(inference, NACRE_SGD_MOMENTUM);
    if (!status) status = nacre_need_finite(inference, NACRE_SGD_WEIGHT_DECAY);
    if (status) return status;
    inference->attrs[NACRE_SGD_HAS_MOMENTUM].i = has_momentum;
    inference->out[1].dtype = inference->in[0].dtype;
    inference->out[1].shape = has_momentum ? inference->in[0].shape : (nacre_shape){.ndim = 1};
    return nacre_infer_same(inference);
}

static void sgd_decompose(nacre_expansion *e) {
    const char *file = e->file;
    int line = e->line;
    nacre_tensor *p = e->in[0], *velocity = e->in[2], *ok = e->in[3];
    nacre_tensor *decay = nacre_scaled(p, e->attrs[NACRE_SGD_WEIGHT_DECAY].f, file, line);
    nacre_tensor *v = nacre_add_at(e->in[1], decay, file, line);
    if (velocity) {
        nacre_tensor *old = nacre_scaled(velocity, e->attrs[NACRE_SGD_MOMENTUM].f, file, line);
        v = nacre_add_at(old, v, file, line);
        e->out[1] = nacre_if_ok(ok, v, velocity, file, line);
    } else {
        nacre_recording empty = {.op = &nacre_op_full,
                                 .wanted = {.ndim = 1},
                                 .wanted_dtype = nacre_dtype_of(p),
                                 .file = file,
                                 .line = line};
        e->out[1] = nacre_record_one(&empty);
    }
    nacre_tensor *step = nacre_scaled(v, e->attrs[NACRE_SGD_LR].f, file, line);
    e->out[0] = nacre_if_ok(ok, nacre_sub_at(p, step, file, line), p, file, line);
}

const nacre_op nacre_op_sgd_update = {
    .name = "sgd_update",
    .arity = 4,
    .optional = 2,
    .outputs = 2,
    .flags = NACRE_OP_NO_GRADIENT | NACRE_OP_IN_PLACE,
    .attrs = sgd_attrs,
    .shape = sgd_shape,
    .decompose = sgd_decompose,
    .flops_per_element = 6,
    .in_place = {0, 2},
};

nacre_status nacre_sgd_update(nacre_tensor *p, nacre_tensor *gradient, nacre_tensor *velocity,
                              const nacre_sgd_update_options *o) {
    nacre_sgd_update_options options = {0};
    if (!nacre_options_take(&options, sizeof options, o, "sgd_update", NULL, 0))
        return nacre_error_code();
    if (!velocity && options.momentum != 0)
        return nacre_fail(
            NACRE_INVALID_ARGUMENT,
            "sgd_update: momentum is %g, velocity is NULL: give a velocity of p's shape",
            options.momentum);
    nacre_recording recording = {.op = &nacre_op_sgd_update,
                                 .inputs = 4,
                                 .in = {p, gradient, velocity, options.ok},
                                 .attrs = {[NACRE_SGD_LR] = {.f = options.lr},
                                           [NACRE_SGD_MOMENTUM] = {.f = options.momentum},
                                           [NACRE_SGD_WEIGHT_DECAY] = {.f = options.weight_decay},
                                           [NACRE_SGD_HAS_MOMENTUM] = {.i = velocity != NULL}}};
    return nacre_record_update(&recording,
                               (nacre_update_target[]){{p, "p"}, {velocity, "velocity"}}, 2);
}
