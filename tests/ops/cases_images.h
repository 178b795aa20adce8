/* Cases of the ops on images. Each line of a table is a geometry, run on the forward op and on its gradients;
   X(label, n, c, h, w, ...) and last the order of derivatives to check. */
#ifndef NACRE_TESTS_OPS_CASES_IMAGES_H
#define NACRE_TESTS_OPS_CASES_IMAGES_H

/* clang-format off */
/*    label         n   c   h   w  out kh kw sh sw ph pw dh dw groups order */
#define CONV_GEOMETRIES(X)                                                                         \
    X(plain,        2,  2,  4,  3,  3, 2, 2, 1, 1, 0, 0, 1, 1,  1, 2)                              \
    X(stride,       1,  2,  5,  6,  2, 2, 3, 2, 1, 0, 0, 1, 1,  1, 2)                              \
    X(padding,      1,  1,  3,  4,  2, 3, 3, 1, 1, 1, 2, 1, 1,  1, 2)                              \
    X(dilation,     1,  1,  6,  7,  2, 3, 2, 1, 1, 0, 0, 2, 3,  1, 2)                              \
    X(groups,       1,  4,  3,  3,  6, 2, 2, 1, 1, 0, 0, 1, 1,  2, 2)                              \
    X(depthwise,    2,  3,  3,  3,  3, 2, 2, 1, 1, 0, 0, 1, 1,  3, 2)                              \
    X(multiplier,   1,  3,  3,  4,  6, 2, 1, 1, 1, 0, 0, 1, 1,  3, 2)                              \
    X(mixed,        1,  2,  5,  6,  4, 2, 2, 2, 3, 1, 1, 2, 1,  2, 2)                              \
    X(pointwise,    2,  3,  2,  2,  4, 1, 1, 1, 1, 0, 0, 1, 1,  1, 2)                              \
    X(whole,        2,  2,  3,  3,  3, 3, 3, 1, 1, 0, 0, 1, 1,  1, 2)                              \
    X(beyond,       1,  1,  2,  2,  1, 1, 2, 1, 1, 2, 2, 1, 1,  1, 2)                              \
    X(skips,        1,  2,  6,  5,  2, 1, 1, 3, 2, 0, 0, 1, 1,  1, 2)                              \
    X(one,          1,  1,  1,  1,  1, 1, 1, 1, 1, 0, 0, 1, 1,  1, 2)                              \
    X(empty,        0,  2,  4,  4,  3, 3, 3, 1, 1, 1, 1, 1, 1,  1, 0)                              \
    X(odd,         17,  3,  9,  7,  5, 3, 3, 1, 1, 1, 1, 1, 1,  1, 0)                              \
    X(single,       1,  1, 28, 28,  6, 5, 5, 1, 1, 2, 2, 1, 1,  1, 0)                              \
    X(batch,       17,  6, 14, 14, 16, 5, 5, 1, 1, 0, 0, 1, 1,  1, 0)                              \
    X(halving,     17, 16,  8,  8, 32, 3, 3, 2, 2, 1, 1, 1, 1,  1, 0)                              \
    X(shortcut,     3, 16,  8,  8, 32, 1, 1, 2, 2, 0, 0, 1, 1,  1, 0)                              \
    X(channelwise,  3, 17,  9,  9, 17, 3, 3, 1, 1, 1, 1, 1, 1, 17, 0)                              \
    X(spread,       5,  9, 11, 13,  7, 3, 2, 1, 2, 2, 1, 3, 2,  1, 0)                              \
    X(flat,         5,  3,  1, 33,  4, 1, 7, 1, 1, 0, 3, 1, 1,  1, 0)
/*    label         n   c   h   w  kh kw sh sw ph pw order */
#define POOL_GEOMETRIES(X)                                                                         \
    X(plain,        2,  2,  4,  4,  2, 2, 2, 2, 0, 0, 2)                                           \
    X(overlapping,  1,  1,  5,  6,  3, 2, 1, 1, 0, 0, 2)                                           \
    X(padded,       1,  2,  4,  5,  3, 2, 2, 1, 1, 1, 2)                                           \
    X(gaps,         1,  1,  7,  8,  2, 2, 3, 3, 0, 0, 2)                                           \
    X(whole,        2,  3,  3,  3,  3, 3, 3, 3, 0, 0, 2)                                           \
    X(one,          2,  2,  2,  3,  1, 1, 1, 1, 0, 0, 2)                                           \
    X(rest,         1,  2,  5,  5,  2, 2, 2, 2, 0, 0, 2)                                           \
    X(empty,        0,  2,  4,  4,  2, 2, 2, 2, 0, 0, 0)                                           \
    X(odd,         17,  5,  9,  7,  3, 3, 2, 2, 1, 1, 0)                                           \
    X(wide,         3,  6, 28, 28,  2, 2, 2, 2, 0, 0, 0)                                           \
    X(row,          5,  3,  1, 37,  1, 4, 1, 3, 0, 2, 0)
/* clang-format on */

/* Extent of the output. */
#define SLID(in, kernel, stride, padding, dilation)                                                \
    (((in) + 2 * (padding) - (dilation) * ((kernel)-1) - 1) / (stride) + 1)

static nacre_tensor *conv_part(const nacre_op *op, nacre_tensor *const *in, nacre_word stride,
                               nacre_word padding, nacre_word dilation, int64_t groups,
                               nacre_word size, int which) {
    nacre_tensor *out[NACRE_MAX_OUTPUTS];
    nacre_recording r = {.op = op,
                         .inputs = 2,
                         .in = {in[0], in[1]},
                         .attrs = {[NACRE_CONV_STRIDE] = stride,
                                   [NACRE_CONV_PADDING] = padding,
                                   [NACRE_CONV_DILATION] = dilation,
                                   [NACRE_CONV_GROUPS] = {.i = groups},
                                   [NACRE_CONV_SIZE] = size}};
    nacre_record_many(&r, out);
    return out[which];
}

#define CONV_CALLS(label, n, c, h, w, o, kh, kw, sh, sw, ph, pw, dh, dw, g, order)                 \
    static nacre_tensor *do_conv_##label(nacre_tensor *const *in) {                                \
        return nacre_f_conv2d(in[0], in[1], in[2], .stride = {sh, sw}, .padding = {ph, pw},        \
                              .dilation = {dh, dw}, .groups = g);                                  \
    }                                                                                              \
    static nacre_tensor *do_conv_no_bias_##label(nacre_tensor *const *in) {                        \
        return nacre_f_conv2d(in[0], in[1], .stride = {sh, sw}, .padding = {ph, pw},               \
                              .dilation = {dh, dw}, .groups = g);                                  \
    }                                                                                              \
    static nacre_tensor *do_conv_input_##label(nacre_tensor *const *in) {                          \
        return conv_part(&nacre_op_conv2d_backward_input, in, nacre_pair(sh, sw),                  \
                         nacre_pair(ph, pw), nacre_pair(dh, dw), g, nacre_pair(h, w), 0);          \
    }                                                                                              \
    static nacre_tensor *do_conv_weight_##label(nacre_tensor *const *in) {                         \
        return conv_part(&nacre_op_conv2d_backward_weight, in, nacre_pair(sh, sw),                 \
                         nacre_pair(ph, pw), nacre_pair(dh, dw), g, nacre_pair(kh, kw), 0);        \
    }                                                                                              \
    static nacre_tensor *do_conv_bias_##label(nacre_tensor *const *in) {                           \
        return conv_part(&nacre_op_conv2d_backward_weight, in, nacre_pair(sh, sw),                 \
                         nacre_pair(ph, pw), nacre_pair(dh, dw), g, nacre_pair(kh, kw), 1);        \
    }
CONV_GEOMETRIES(CONV_CALLS)
#undef CONV_CALLS

static nacre_tensor *pool_part(const nacre_op *op, nacre_tensor *const *in, nacre_word kernel,
                               nacre_word stride, nacre_word padding, nacre_word size) {
    nacre_recording r = {.op = op,
                         .inputs = op->arity,
                         .in = {in[0], op->arity > 1 ? in[1] : NULL},
                         .attrs = {[NACRE_POOL_KERNEL] = kernel,
                                   [NACRE_POOL_STRIDE] = stride,
                                   [NACRE_POOL_PADDING] = padding,
                                   [NACRE_POOL_SIZE] = size}};
    return nacre_record_one(&r);
}

#define POOL_PART(op, kh, kw, sh, sw, ph, pw, h, w)                                                \
    pool_part(op, in, nacre_pair(kh, kw), nacre_pair(sh, sw), nacre_pair(ph, pw), nacre_pair(h, w))
#define POOL_CALLS(label, n, c, h, w, kh, kw, sh, sw, ph, pw, order)                               \
    static nacre_tensor *do_max_pool_##label(nacre_tensor *const *in) {                            \
        return nacre_f_max_pool2d(in[0], {kh, kw}, .stride = {sh, sw}, .padding = {ph, pw});       \
    }                                                                                              \
    static nacre_tensor *do_avg_pool_##label(nacre_tensor *const *in) {                            \
        return nacre_f_avg_pool2d(in[0], {kh, kw}, .stride = {sh, sw}, .padding = {ph, pw});       \
    }                                                                                              \
    static nacre_tensor *do_max_backward_##label(nacre_tensor *const *in) {                        \
        return POOL_PART(&nacre_op_max_pool2d_backward, kh, kw, sh, sw, ph, pw, 0, 0);             \
    }                                                                                              \
    static nacre_tensor *do_pick_##label(nacre_tensor *const *in) {                                \
        return POOL_PART(&nacre_op_max_pool2d_pick, kh, kw, sh, sw, ph, pw, 0, 0);                 \
    }                                                                                              \
    static nacre_tensor *do_avg_backward_##label(nacre_tensor *const *in) {                        \
        return POOL_PART(&nacre_op_avg_pool2d_backward, kh, kw, sh, sw, ph, pw, h, w);             \
    }
POOL_GEOMETRIES(POOL_CALLS)
#undef POOL_CALLS
#undef POOL_PART

/* Outputs of batch_norm: y, mean, var. */
static nacre_tensor *do_batch_norm(nacre_tensor *const *in) {
    return nacre_f_batch_norm(in[0], in[1], in[2], .epsilon = 0.01);
}

static nacre_tensor *do_batch_norm_mean(nacre_tensor *const *in) {
    nacre_tensor *mean;
    nacre_f_batch_norm(in[0], in[1], in[2], .batch_mean = &mean);
    return mean;
}

static nacre_tensor *do_batch_norm_var(nacre_tensor *const *in) {
    nacre_tensor *var;
    nacre_f_batch_norm(in[0], in[1], in[2], .batch_var = &var);
    return var;
}

/* All three at once, so that their gradients meet in x. */
static nacre_tensor *do_batch_norm_all(nacre_tensor *const *in) {
    nacre_tensor *mean, *var;
    nacre_tensor *y =
        nacre_f_batch_norm(in[0], in[1], in[2], .batch_mean = &mean, .batch_var = &var);
    nacre_shape column = {.ndim = 3, .dims = {nacre_size(in[0], 1), 1, 1}};
    return nacre_mul(nacre_add(y, nacre_reshape(mean, column)), nacre_reshape(var, column));
}

static nacre_tensor *do_batch_norm_given(nacre_tensor *const *in) {
    return nacre_f_batch_norm(in[0], in[1], in[2], in[3], in[4]);
}

static nacre_tensor *norm_gradient_part(nacre_tensor *const *in, int which) {
    nacre_tensor *out[NACRE_MAX_OUTPUTS];
    nacre_recording r = {.op = &nacre_op_batch_norm_backward,
                         .inputs = 5,
                         .in = {in[0], in[1], in[2], in[3], in[4]},
                         .attrs = {[NACRE_BATCH_NORM_EPSILON] = {.f = 0.01}}};
    nacre_record_many(&r, out);
    return out[which];
}

static nacre_tensor *do_norm_backward(nacre_tensor *const *in) { return norm_gradient_part(in, 0); }

static nacre_tensor *do_norm_backward_weight(nacre_tensor *const *in) {
    return norm_gradient_part(in, 1);
}

static nacre_tensor *do_norm_backward_bias(nacre_tensor *const *in) {
    return norm_gradient_part(in, 2);
}

/* ---- rows of the table in cases.h ---- */

#define CONV_ROWS(label, n, c, h, w, o, kh, kw, sh, sw, ph, pw, dh, dw, g, order)                  \
    {"conv2d",  #label,    do_conv_##label, 3, {D(n, c, h, w), D(o, (c) / (g), kh, kw), D(o)},     \
     {V, V, V}, ON_FLOATS, order,           0},                                                    \
        {"conv2d",                                                                                 \
         #label " without bias",                                                                   \
         do_conv_no_bias_##label,                                                                  \
         2,                                                                                        \
         {D(n, c, h, w), D(o, (c) / (g), kh, kw)},                                                 \
         {V, V},                                                                                   \
         ON_FLOATS,                                                                                \
         0,                                                                                        \
         0},                                                                                       \
        {"conv2d_backward_input",                                                                  \
         #label,                                                                                   \
         do_conv_input_##label,                                                                    \
         2,                                                                                        \
         {D(n, o, SLID(h, kh, sh, ph, dh), SLID(w, kw, sw, pw, dw)), D(o, (c) / (g), kh, kw)},     \
         {V, V},                                                                                   \
         ON_FLOATS,                                                                                \
         order,                                                                                    \
         0},                                                                                       \
        {"conv2d_backward_weight",                                                                 \
         #label,                                                                                   \
         do_conv_weight_##label,                                                                   \
         2,                                                                                        \
         {D(n, c, h, w), D(n, o, SLID(h, kh, sh, ph, dh), SLID(w, kw, sw, pw, dw))},               \
         {V, V},                                                                                   \
         ON_FLOATS,                                                                                \
         order,                                                                                    \
         0},                                                                                       \
        {"conv2d_backward_weight",                                                                 \
         #label " bias",                                                                           \
         do_conv_bias_##label,                                                                     \
         2,                                                                                        \
         {D(n, c, h, w), D(n, o, SLID(h, kh, sh, ph, dh), SLID(w, kw, sw, pw, dw))},               \
         {V, V},                                                                                   \
         ON_FLOATS,                                                                                \
         order,                                                                                    \
         0},

#define POOL_OUT(n, c, h, w, kh, kw, sh, sw, ph, pw)                                               \
    D(n, c, SLID(h, kh, sh, ph, 1), SLID(w, kw, sw, pw, 1))
#define POOL_ROWS(label, n, c, h, w, kh, kw, sh, sw, ph, pw, order)                                \
    {"max_pool2d", #label, do_max_pool_##label, 1, {D(n, c, h, w)}, {V}, ON_FLOATS, order, 0},     \
        {"avg_pool2d", #label, do_avg_pool_##label, 1, {D(n, c, h, w)}, {V}, ON_FLOATS, order, 0}, \
        {"max_pool2d_backward",                                                                    \
         #label,                                                                                   \
         do_max_backward_##label,                                                                  \
         2,                                                                                        \
         {D(n, c, h, w), POOL_OUT(n, c, h, w, kh, kw, sh, sw, ph, pw)},                            \
         {V, V},                                                                                   \
         ON_FLOATS,                                                                                \
         order,                                                                                    \
         0},                                                                                       \
        {"max_pool2d_pick",                                                                        \
         #label,                                                                                   \
         do_pick_##label,                                                                          \
         2,                                                                                        \
         {D(n, c, h, w), D(n, c, h, w)},                                                           \
         {V, V},                                                                                   \
         ON_FLOATS,                                                                                \
         order,                                                                                    \
         0},                                                                                       \
        {"avg_pool2d_backward",                                                                    \
         #label,                                                                                   \
         do_avg_backward_##label,                                                                  \
         1,                                                                                        \
         {POOL_OUT(n, c, h, w, kh, kw, sh, sw, ph, pw)},                                           \
         {V},                                                                                      \
         ON_FLOATS,                                                                                \
         order,                                                                                    \
         0},

#define NORM_ROW(label, apply, c, order, ...)                                                      \
    { "batch_norm", label, apply, 3, {D(__VA_ARGS__), D(c), D(c)}, {V, V, V}, ON_FLOATS, order, 0 }
#define NORM_GIVEN(label, c, order, ...)                                                           \
    {                                                                                              \
        "batch_norm", label, do_batch_norm_given, 5, {D(__VA_ARGS__), D(c), D(c), D(c), D(c)},     \
            {V, V, V, V, P}, ON_FLOATS, order, 0                                                   \
    }
#define NORM_BACKWARD(label, apply, c, order, ...)                                                 \
    {                                                                                              \
        "batch_norm_backward", label, apply, 5,                                                    \
            {D(__VA_ARGS__), D(c), D(c), D(c), D(__VA_ARGS__)}, {V, V, V, P, V}, ON_FLOATS, order, \
            0                                                                                      \
    }
#define NORM_ROWS                                                                                  \
    NORM_ROW("", do_batch_norm, 2, 2, 3, 2, 2, 2),                                                 \
        NORM_ROW("mean", do_batch_norm_mean, 2, 2, 3, 2, 2, 2),                                    \
        NORM_ROW("var", do_batch_norm_var, 2, 2, 3, 2, 2, 2),                                      \
        NORM_ROW("all outputs", do_batch_norm_all, 2, 2, 2, 2, 2, 2),                              \
        NORM_ROW("rows", do_batch_norm, 3, 2, 5, 3),                                               \
        NORM_ROW("series", do_batch_norm, 3, 2, 2, 3, 4),                                          \
        NORM_ROW("one", do_batch_norm, 1, 0, 1, 1, 1, 1),                                          \
        NORM_ROW("empty", do_batch_norm, 2, 0, 0, 2, 3, 3),                                        \
        NORM_ROW("odd", do_batch_norm, 5, 0, 17, 5, 3, 7),                                         \
        NORM_ROW("odd var", do_batch_norm_var, 5, 0, 17, 5, 3, 7),                                 \
        NORM_ROW("long", do_batch_norm, 3, 0, 33, 3, 8, 8), NORM_GIVEN("given", 2, 2, 3, 2, 2, 2), \
        NORM_GIVEN("given, odd", 5, 0, 17, 5, 3, 7),                                               \
        NORM_BACKWARD("", do_norm_backward, 2, 2, 3, 2, 2, 2),                                     \
        NORM_BACKWARD("weight", do_norm_backward_weight, 2, 2, 3, 2, 2, 2),                        \
        NORM_BACKWARD("bias", do_norm_backward_bias, 2, 2, 3, 2, 2, 2),                            \
        NORM_BACKWARD("rows", do_norm_backward, 3, 2, 5, 3),                                       \
        NORM_BACKWARD("empty", do_norm_backward, 2, 0, 0, 2, 3, 3),                                \
        NORM_BACKWARD("odd", do_norm_backward, 5, 0, 17, 5, 3, 7),                                 \
        NORM_BACKWARD("odd weight", do_norm_backward_weight, 5, 0, 17, 5, 3, 7)

#endif
