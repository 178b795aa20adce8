/* adam_update (Kingma and Ba 2015, algorithm 1; decoupled weight decay of Loshchilov and Hutter 2019):
       m' = beta1 m + (1 - beta1) g           v' = beta2 v + (1 - beta2) g^2
       p' = p (1 - lr weight_decay) - (lr / (1 - beta1^t)) m' / (sqrt(v') / sqrt(1 - beta2^t) + epsilon)
   The two factors of t are scalars computed in f64: 1 - 0.999^1 keeps 4 digits in f32. */
#include "ops/update.h"
#include <nacre/grad.h>

static const nacre_attr adam_attrs[] = {
    [NACRE_ADAM_LR] = {"lr", NACRE_ATTR_SLOT_FLOAT},
    [NACRE_ADAM_BETA1] = {"beta1", NACRE_ATTR_SLOT_FLOAT},
    [NACRE_ADAM_BETA2] = {"beta2", NACRE_ATTR_SLOT_FLOAT},
    [NACRE_ADAM_EPSILON] = {"epsilon", NACRE_ATTR_SLOT_FLOAT},
    [NACRE_ADAM_WEIGHT_DECAY] = {"weight_decay", NACRE_ATTR_SLOT_FLOAT},
    {NULL, NACRE_ATTR_END}};

enum { P, G, M, V, STEP, OK };

static nacre_status adam_shape(nacre_inference *inference) {
    nacre_status status = nacre_need_float(inference, P, "p");
    if (!status) status = nacre_need_like_parameter(inference, G, "gradient");
    if (!status) status = nacre_need_like_parameter(inference, M, "m");
    if (!status) status = nacre_need_like_parameter(inference, V, "v");
    if (!status) status = nacre_need_ok(inference, OK);
    if (!status) status = nacre_need_finite(inference, NACRE_ADAM_LR);
    if (!status) status = nacre_need_share(inference, NACRE_ADAM_BETA1);
    if (!status) status = nacre_need_share(inference, NACRE_ADAM_BETA2);
    if (!status) status = nacre_need_finite(inference, NACRE_ADAM_EPSILON);
    if (!status) status = nacre_need_finite(inference, NACRE_ADAM_WEIGHT_DECAY);
    if (status) return status;
    if (inference->in[STEP].dtype != NACRE_I64 || inference->in[STEP].shape.ndim != 0) {
        char text[NACRE_SHAPE_TEXT];
        return nacre_fail_at(
            NACRE_INVALID_ARGUMENT, inference->file, inference->line,
            "adam_update: step is %s %s: it must be an i64 scalar, 1 for the first "
            "update",
            nacre_dtype_name(inference->in[STEP].dtype),
            nacre_shape_text(&inference->in[STEP].shape, text));
    }
    for (int i = 1; i < 3; i++) {
        inference->out[i].dtype = inference->in[P].dtype;
        inference->out[i].shape = inference->in[P].shape;
    }
    return nacre_infer_same(inference);
}

/* beta old + (1 - beta) fresh */
static nacre_tensor *average(nacre_tensor *old, nacre_tensor *fresh, double beta, const char *file,
                             int line) {
    return nacre_add_at(nacre_scaled(old, beta, file, line),
                        nacre_scaled(fresh, 1 - beta, file, line), file, line);
}

/* 1 - beta^t, an f64 scalar */
static nacre_tensor *correction(double beta, nacre_tensor *step, const char *file, int line) {
    nacre_tensor *t = nacre_cast_at(step, NACRE_F64, file, line);
    nacre_tensor *power = nacre_pow_at(nacre_scalar(NACRE_F64, beta, file, line), t, file, line);
    return nacre_sub_at(nacre_scalar(NACRE_F64, 1, file, line), power, file, line);
}

static void adam_decompose(nacre_expansion *e) {
    const char *file = e->file;
    int line = e->line;
    nacre_tensor *p = e->in[P], *g = e->in[G];
    nacre_dtype dtype = nacre_dtype_of(p);
    double lr = e->attrs[NACRE_ADAM_LR].f;
    double beta1 = e->attrs[NACRE_ADAM_BETA1].f, beta2 = e->attrs[NACRE_ADAM_BETA2].f;
    nacre_tensor *m = average(e->in[M], g, beta1, file, line);
    nacre_tensor *v = average(e->in[V], nacre_mul_at(g, g, file, line), beta2, file, line);

    nacre_tensor *rate = nacre_div_at(nacre_scalar(NACRE_F64, lr, file, line),
                                      correction(beta1, e->in[STEP], file, line), file, line);
    nacre_tensor *spread = nacre_sqrt_at(correction(beta2, e->in[STEP], file, line), file, line);
    rate = nacre_cast_at(rate, dtype, file, line);
    spread = nacre_cast_at(spread, dtype, file, line);

    nacre_tensor *root = nacre_div_at(nacre_sqrt_at(v, file, line), spread, file, line);
    nacre_tensor *epsilon = nacre_scalar(dtype, e->attrs[NACRE_ADAM_EPSILON].f, file, line);
    nacre_tensor *scale = nacre_add_at(root, epsilon, file, line);
    nacre_tensor *move = nacre_div_at(nacre_mul_at(rate, m, file, line), scale, file, line);
    double keep = 1 - lr * e->attrs[NACRE_ADAM_WEIGHT_DECAY].f;
    nacre_tensor *moved = nacre_sub_at(nacre_scaled(p, keep, file, line), move, file, line);

    e->out[0] = nacre_if_ok(e->in[OK], moved, p, file, line);
    e->out[1] = nacre_if_ok(e->in[OK], m, e->in[M], file, line);
    e->out[2] = nacre_if_ok(e->in[OK], v, e->in[V], file, line);
}

const nacre_op nacre_op_adam_update = {
    .name = "adam_update",
    .arity = 6,
    .optional = 1,
    .outputs = 3,
    .flags = NACRE_OP_NO_GRADIENT | NACRE_OP_IN_PLACE,
    .attrs = adam_attrs,
    .shape = adam_shape,
    .decompose = adam_decompose,
    .flops_per_element = 13,
    .in_place = {P, M, V},
};

nacre_status nacre_adam_update(nacre_tensor *p, nacre_tensor *gradient, nacre_tensor *m,
                               nacre_tensor *v, nacre_tensor *step,
                               const nacre_adam_update_options *o) {
    nacre_adam_update_options options = {0};
    if (!nacre_options_take(&options, sizeof options, o, "adam_update", NULL, 0))
        return nacre_error_code();
    nacre_recording recording = {
        .op = &nacre_op_adam_update,
        .inputs = 6,
        .in = {p, gradient, m, v, step, options.ok},
        .attrs = {[NACRE_ADAM_LR] = {.f = options.lr},
                  [NACRE_ADAM_BETA1] = {.f = options.beta1},
                  [NACRE_ADAM_BETA2] = {.f = options.beta2},
                  [NACRE_ADAM_EPSILON] = {.f = options.epsilon},
                  [NACRE_ADAM_WEIGHT_DECAY] = {.f = options.weight_decay}}};
    return nacre_record_update(&recording, (nacre_update_target[]){{p, "p"}, {m, "m"}, {v, "v"}},
                               3);
}
