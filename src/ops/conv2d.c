/* conv2d and its two gradients, by definition: a cross-correlation, as in PyTorch and ONNX. x is
   [n, c, h, w], weight [out, c / groups, kh, kw]; zero padding, of which no product is formed.

       y[n, o, i, j] = sum over ci, p, q of x[n, ci, i sh - ph + p dh, j sw - pw + q dw] weight[o, ci, p, q]
                       + bias[o]

   with ci over the channels of o's group. Each of the three is linear in both of its inputs, and their
   gradients are the three themselves. */
#include "ops/window.h"

#include <string.h>

static const nacre_attr conv_attrs[] = {[NACRE_CONV_STRIDE] = {"stride", NACRE_ATTR_PAIR},
                                        [NACRE_CONV_PADDING] = {"padding", NACRE_ATTR_PAIR},
                                        [NACRE_CONV_DILATION] = {"dilation", NACRE_ATTR_PAIR},
                                        [NACRE_CONV_GROUPS] = {"groups", NACRE_ATTR_INT},
                                        [NACRE_CONV_SIZE] = {"size", NACRE_ATTR_PAIR},
                                        {NULL, NACRE_ATTR_END}};

/* ---- shapes ---- */

/* Attributes to normal form and into the window. */
static void take_attrs(nacre_inference *inference, nacre_window *window) {
    nacre_word *attrs = inference->attrs;
    nacre_pair_default(&attrs[NACRE_CONV_STRIDE], nacre_pair(1, 1));
    nacre_pair_default(&attrs[NACRE_CONV_DILATION], nacre_pair(1, 1));
    if (attrs[NACRE_CONV_GROUPS].i == 0) attrs[NACRE_CONV_GROUPS].i = 1;
    nacre_pair_read(window->stride, attrs[NACRE_CONV_STRIDE]);
    nacre_pair_read(window->padding, attrs[NACRE_CONV_PADDING]);
    nacre_pair_read(window->dilation, attrs[NACRE_CONV_DILATION]);
}

/* channels: of the images; filters: output channels. */
static nacre_status need_groups(const nacre_inference *inference, int64_t channels,
                                int64_t filters) {
    int64_t groups = inference->attrs[NACRE_CONV_GROUPS].i;
    if (groups > 0 && channels % groups == 0 && filters % groups == 0) return NACRE_OK;
    return nacre_fail_at(NACRE_INVALID_ARGUMENT, inference->file, inference->line,
                         "%s: %lld channels and %lld filters in %lld groups: both must be "
                         "multiples of groups, which must be at least 1",
                         inference->op->name, (long long)channels, (long long)filters,
                         (long long)groups);
}

static nacre_status need_bias(const nacre_inference *inference) {
    if (inference->inputs < 3 || inference->in[2].dtype == NACRE_DTYPE_DEFAULT) return NACRE_OK;
    const nacre_shape *b = &inference->in[2].shape, *w = &inference->in[1].shape;
    nacre_status status = nacre_need_equal_dtypes(inference, 0, "x", 2, "bias");
    if (status || (b->ndim == 1 && b->dims[0] == w->dims[0])) return status;
    char text[2][NACRE_SHAPE_TEXT];
    return nacre_fail_at(NACRE_SHAPE_MISMATCH, inference->file, inference->line,
                         "%s: bias is %s, weight is %s: bias must be [out], here [%lld]",
                         inference->op->name, nacre_shape_text(b, text[0]),
                         nacre_shape_text(w, text[1]), (long long)w->dims[0]);
}

/* Weight: [out, channels / groups, kh, kw], none of them 0. */
static nacre_status need_filters(const nacre_inference *inference, int i) {
    const nacre_shape *w = &inference->in[i].shape;
    bool fits = w->ndim == 4;
    for (int k = 0; fits && k < 4; k++) fits = w->dims[k] > 0 && (k < 2 || w->dims[k] <= INT32_MAX);
    if (fits) return NACRE_OK;
    char text[NACRE_SHAPE_TEXT];
    return nacre_fail_at(NACRE_SHAPE_MISMATCH, inference->file, inference->line,
                         "%s: weight is %s: it must be [out, channels / groups, height, width], "
                         "each at least 1",
                         inference->op->name, nacre_shape_text(w, text));
}

static nacre_status conv_shape(nacre_inference *inference) {
    const nacre_shape *x = &inference->in[0].shape, *w = &inference->in[1].shape;
    nacre_window window;
    take_attrs(inference, &window);
    nacre_status status = nacre_need_float(inference, 0, "x");
    if (!status) status = nacre_need_equal_dtypes(inference, 0, "x", 1, "weight");
    if (!status) status = nacre_need_images(inference, 0, "x");
    if (!status) status = need_filters(inference, 1);
    if (!status) status = need_groups(inference, x->dims[1], w->dims[0]);
    if (status) return status;
    int64_t groups = inference->attrs[NACRE_CONV_GROUPS].i;
    if (w->dims[1] != x->dims[1] / groups) {
        char text[2][NACRE_SHAPE_TEXT];
        return nacre_fail_at(NACRE_SHAPE_MISMATCH, inference->file, inference->line,
                             "conv2d: x is %s, weight is %s: weight's second extent must be x's "
                             "channels / groups, here %lld",
                             nacre_shape_text(x, text[0]), nacre_shape_text(w, text[1]),
                             (long long)(x->dims[1] / groups));
    }
    for (int i = 0; i < 2; i++) {
        window.in[i] = x->dims[2 + i];
        window.kernel[i] = w->dims[2 + i];
    }
    status = need_bias(inference);
    if (!status) status = nacre_window_slide(&window, inference);
    if (status) return status;
    inference->out[0].dtype = inference->in[0].dtype;
    inference->out[0].shape =
        (nacre_shape){.ndim = 4, .dims = {x->dims[0], w->dims[0], window.out[0], window.out[1]}};
    return nacre_need_valid_output(inference);
}

/* Fails unless dy, input i, is [n, filters] and the window's outputs. */
static nacre_status need_outputs(const nacre_inference *inference, int i, int64_t n,
                                 int64_t filters, const nacre_window *window) {
    nacre_shape wanted = {.ndim = 4, .dims = {n, filters, window->out[0], window->out[1]}};
    if (nacre_shape_equal(&inference->in[i].shape, &wanted)) return NACRE_OK;
    char text[2][NACRE_SHAPE_TEXT];
    return nacre_fail_at(NACRE_SHAPE_MISMATCH, inference->file, inference->line,
                         "%s: dy is %s: conv2d's result is %s here", inference->op->name,
                         nacre_shape_text(&inference->in[i].shape, text[0]),
                         nacre_shape_text(&wanted, text[1]));
}

static nacre_status input_shape(nacre_inference *inference) {
    const nacre_shape *dy = &inference->in[0].shape, *w = &inference->in[1].shape;
    nacre_window window;
    take_attrs(inference, &window);
    nacre_status status = nacre_need_float(inference, 0, "dy");
    if (!status) status = nacre_need_equal_dtypes(inference, 0, "dy", 1, "weight");
    if (!status) status = nacre_need_images(inference, 0, "dy");
    if (!status) status = need_filters(inference, 1);
    /* groups <= out, so that channels are at most the weight's elements: no overflow below. */
    if (!status) status = need_groups(inference, 0, w->dims[0]);
    if (status) return status;
    nacre_pair_read(window.in, inference->attrs[NACRE_CONV_SIZE]);
    for (int i = 0; i < 2; i++) window.kernel[i] = w->dims[2 + i];
    status = nacre_window_slide(&window, inference);
    if (!status) status = need_outputs(inference, 0, dy->dims[0], w->dims[0], &window);
    if (status) return status;
    int64_t channels = w->dims[1] * inference->attrs[NACRE_CONV_GROUPS].i;
    inference->out[0].dtype = inference->in[0].dtype;
    inference->out[0].shape =
        (nacre_shape){.ndim = 4, .dims = {dy->dims[0], channels, window.in[0], window.in[1]}};
    return nacre_need_valid_output(inference);
}

static nacre_status weight_shape(nacre_inference *inference) {
    const nacre_shape *x = &inference->in[0].shape, *dy = &inference->in[1].shape;
    nacre_window window;
    take_attrs(inference, &window);
    nacre_status status = nacre_need_float(inference, 0, "x");
    if (!status) status = nacre_need_equal_dtypes(inference, 0, "x", 1, "dy");
    if (!status) status = nacre_need_images(inference, 0, "x");
    if (!status) status = nacre_need_images(inference, 1, "dy");
    if (!status) status = need_groups(inference, x->dims[1], dy->dims[1]);
    if (status) return status;
    nacre_pair_read(window.kernel, inference->attrs[NACRE_CONV_SIZE]);
    for (int i = 0; i < 2; i++) window.in[i] = x->dims[2 + i];
    status = nacre_window_slide(&window, inference);
    if (!status) status = need_outputs(inference, 1, x->dims[0], dy->dims[1], &window);
    if (status) return status;
    int64_t channels = x->dims[1] / inference->attrs[NACRE_CONV_GROUPS].i;
    inference->out[0].dtype = inference->out[1].dtype = inference->in[0].dtype;
    inference->out[0].shape = (nacre_shape){
        .ndim = 4, .dims = {dy->dims[1], channels, window.kernel[0], window.kernel[1]}};
    inference->out[1].shape = (nacre_shape){.ndim = 1, .dims = {dy->dims[1]}};
    return nacre_need_valid_output(inference);
}

/* ---- reference ---- */

/* The arrays in the roles that they have in the formula above. */
typedef struct conv {
    nacre_window window;
    int64_t channels, filters; /* of one group */
    const nacre_array *x, *weight, *y, *bias;
} conv;

static conv conv_of(const nacre_call *call, const nacre_array *x, const nacre_array *weight,
                    const nacre_array *y) {
    conv c = {.x = x, .weight = weight, .y = y};
    nacre_pair_read(c.window.stride, call->attrs[NACRE_CONV_STRIDE]);
    nacre_pair_read(c.window.padding, call->attrs[NACRE_CONV_PADDING]);
    nacre_pair_read(c.window.dilation, call->attrs[NACRE_CONV_DILATION]);
    nacre_window_extents(&c.window, x, y);
    for (int i = 0; i < 2; i++) c.window.kernel[i] = weight->shape.dims[2 + i];
    c.channels = weight->shape.dims[1];
    c.filters = weight->shape.dims[0] / call->attrs[NACRE_CONV_GROUPS].i;
    return c;
}

/* at: n, o, i, j */
static double conv_element(const void *context, const int64_t *at) {
    const conv *c = context;
    const nacre_window *w = &c->window;
    int64_t first = at[1] / c->filters * c->channels;
    double sum = 0;
    for (int64_t ci = 0; ci < c->channels; ci++) {
        for (int64_t p = 0; p < w->kernel[0]; p++) {
            int64_t row = nacre_window_at(w, 0, at[2], p);
            if (row < 0 || row >= w->in[0]) continue;
            for (int64_t q = 0; q < w->kernel[1]; q++) {
                int64_t column = nacre_window_at(w, 1, at[3], q);
                if (column < 0 || column >= w->in[1]) continue;
                sum += nacre_load4(c->x, at[0], first + ci, row, column) *
                       nacre_load4(c->weight, at[1], ci, p, q);
            }
        }
    }
    if (!c->bias) return sum;
    int64_t offset = at[1] * c->bias->strides[0];
    return sum + nacre_dtype_get(c->bias->dtype)->load(nacre_array_at(c->bias, offset));
}

static void conv_reference(const nacre_call *call) {
    conv c = conv_of(call, &call->in[0], &call->in[1], &call->out[0]);
    if (call->inputs > 2 && call->in[2].data) c.bias = &call->in[2];
    nacre_each4(&call->out[0], conv_element, &c);
}

/* The output whose window has tap k at input `at`; -1: none. */
static int64_t output_at(const nacre_window *w, int axis, int64_t at, int64_t k) {
    int64_t from = at + w->padding[axis] - k * w->dilation[axis];
    if (from < 0 || from % w->stride[axis] || from / w->stride[axis] >= w->out[axis]) return -1;
    return from / w->stride[axis];
}

/* dx[n, c, row, column]: the sum over the group's filters and the taps. */
static double input_element(const void *context, const int64_t *at) {
    const conv *c = context;
    const nacre_window *w = &c->window;
    int64_t group = at[1] / c->channels, ci = at[1] % c->channels;
    double sum = 0;
    for (int64_t o = group * c->filters; o < (group + 1) * c->filters; o++) {
        for (int64_t p = 0; p < w->kernel[0]; p++) {
            int64_t i = output_at(w, 0, at[2], p);
            for (int64_t q = 0; i >= 0 && q < w->kernel[1]; q++) {
                int64_t j = output_at(w, 1, at[3], q);
                if (j >= 0)
                    sum += nacre_load4(c->y, at[0], o, i, j) * nacre_load4(c->weight, o, ci, p, q);
            }
        }
    }
    return sum;
}

static void input_reference(const nacre_call *call) {
    conv c = conv_of(call, &call->out[0], &call->in[1], &call->in[0]);
    nacre_each4(&call->out[0], input_element, &c);
}

/* dweight[o, ci, p, q]: the sum over n, i, j. */
static double weight_element(const void *context, const int64_t *at) {
    const conv *c = context;
    const nacre_window *w = &c->window;
    int64_t channel = at[0] / c->filters * c->channels + at[1];
    double sum = 0;
    for (int64_t n = 0; n < c->y->shape.dims[0]; n++) {
        for (int64_t i = 0; i < w->out[0]; i++) {
            int64_t row = nacre_window_at(w, 0, i, at[2]);
            if (row < 0 || row >= w->in[0]) continue;
            for (int64_t j = 0; j < w->out[1]; j++) {
                int64_t column = nacre_window_at(w, 1, j, at[3]);
                if (column >= 0 && column < w->in[1])
                    sum += nacre_load4(c->x, n, channel, row, column) *
                           nacre_load4(c->y, n, at[0], i, j);
            }
        }
    }
    return sum;
}

static void weight_reference(const nacre_call *call) {
    const nacre_array *dy = &call->in[1], *dbias = &call->out[1];
    conv c = conv_of(call, &call->in[0], &call->out[0], dy);
    nacre_each4(&call->out[0], weight_element, &c);
    for (int64_t o = 0; o < dbias->shape.dims[0]; o++) {
        double sum = 0;
        for (int64_t n = 0; n < dy->shape.dims[0]; n++)
            for (int64_t i = 0; i < dy->shape.dims[2]; i++)
                for (int64_t j = 0; j < dy->shape.dims[3]; j++) sum += nacre_load4(dy, n, o, i, j);
        nacre_dtype_get(dbias->dtype)->store(nacre_array_at(dbias, o * dbias->strides[0]), sum);
    }
}

/* ---- costs: a multiplication and an addition for each tap, inside the image or not ---- */

static double flops(const nacre_array *y, const nacre_array *weight, bool bias) {
    const int64_t *w = weight->shape.dims;
    return (double)nacre_shape_numel(&y->shape) *
           (2 * (double)w[1] * (double)w[2] * (double)w[3] + bias);
}

static double conv_flops(const nacre_call *call) {
    bool bias = call->inputs > 2 && call->in[2].dtype != NACRE_DTYPE_DEFAULT;
    return flops(&call->out[0], &call->in[1], bias);
}

static double input_flops(const nacre_call *call) {
    return flops(&call->in[0], &call->in[1], false);
}

static double weight_flops(const nacre_call *call) {
    return flops(&call->in[1], &call->out[0], true);
}

/* ---- gradients ---- */

/* Any of the three with the attributes of the forward op. `sized`: whose last two extents are SIZE. */
static void record(nacre_gradient *g, const nacre_op *op, nacre_tensor *a, nacre_tensor *b,
                   nacre_tensor *c, nacre_tensor *sized, nacre_tensor **out) {
    nacre_recording recording = {
        .op = op, .inputs = c ? 3 : 2, .in = {a, b, c}, .file = g->file, .line = g->line};
    memcpy(recording.attrs, g->attrs, sizeof recording.attrs);
    nacre_shape shape = sized ? nacre_shape_of(sized) : (nacre_shape){0};
    recording.attrs[NACRE_CONV_SIZE] = nacre_pair(shape.dims[2], shape.dims[3]);
    nacre_record_many(&recording, out);
}

/* dx = backward_input(dy, weight); dweight, dbias = backward_weight(x, dy) */
static void conv_gradient(nacre_gradient *g) {
    nacre_tensor *out[NACRE_MAX_OUTPUTS], *dy = g->dout[0];
    if (g->wanted[0]) {
        record(g, &nacre_op_conv2d_backward_input, dy, g->in[1], NULL, g->in[0], out);
        g->din[0] = out[0];
    }
    bool bias = g->inputs > 2 && g->wanted[2];
    if (g->wanted[1]) {
        record(g, &nacre_op_conv2d_backward_weight, g->in[0], dy, NULL, g->in[1], out);
        g->din[1] = out[0];
        if (bias) g->din[2] = out[1];
    } else if (bias) {
        g->din[2] = nacre_record_reduce(&nacre_op_sum, dy, 1 | 4 | 8, false, g->file, g->line);
    }
}

/* d(dy) = conv2d(z, weight); dweight = backward_weight(z, dy), z the gradient of dx */
static void input_gradient(nacre_gradient *g) {
    nacre_tensor *out[NACRE_MAX_OUTPUTS], *z = g->dout[0];
    if (g->wanted[0]) {
        record(g, &nacre_op_conv2d, z, g->in[1], NULL, NULL, out);
        g->din[0] = out[0];
    }
    if (g->wanted[1]) {
        record(g, &nacre_op_conv2d_backward_weight, z, g->in[0], NULL, g->in[1], out);
        g->din[1] = out[0];
    }
}

/* dx = backward_input(dy, z); d(dy) = conv2d(x, z) + b, z and b the gradients of dweight and dbias */
static void weight_gradient(nacre_gradient *g) {
    nacre_tensor *out[NACRE_MAX_OUTPUTS], *x = g->in[0], *dy = g->in[1];
    nacre_tensor *z = g->dout[0], *b = g->dout[1];
    if (g->wanted[0] && z) {
        record(g, &nacre_op_conv2d_backward_input, dy, z, NULL, x, out);
        g->din[0] = out[0];
    }
    if (!g->wanted[1]) return;
    if (z) {
        record(g, &nacre_op_conv2d, x, z, b, NULL, out);
        g->din[1] = out[0];
    } else {
        nacre_shape shape = nacre_shape_of(dy);
        nacre_shape column = {.ndim = 3, .dims = {shape.dims[1], 1, 1}};
        g->din[1] = nacre_broadcast_to_at(nacre_reshape_at(b, column, g->file, g->line), shape,
                                          g->file, g->line);
    }
}

const nacre_op nacre_op_conv2d = {
    .name = "conv2d",
    .onnx = "Conv",
    .arity = 3,
    .optional = 1,
    .gradient_reads = NACRE_READS_IN(0) | NACRE_READS_IN(1),
    .attrs = conv_attrs,
    .shape = conv_shape,
    .gradient = conv_gradient,
    .reference = conv_reference,
    .flops = conv_flops,
};

const nacre_op nacre_op_conv2d_backward_input = {
    .name = "conv2d_backward_input",
    .onnx = "ConvTranspose",
    .arity = 2,
    .gradient_reads = NACRE_READS_IN(0) | NACRE_READS_IN(1),
    .attrs = conv_attrs,
    .shape = input_shape,
    .gradient = input_gradient,
    .reference = input_reference,
    .flops = input_flops,
};

const nacre_op nacre_op_conv2d_backward_weight = {
    .name = "conv2d_backward_weight",
    .arity = 2,
    .outputs = 2,
    .gradient_reads = NACRE_READS_IN(0) | NACRE_READS_IN(1),
    .attrs = conv_attrs,
    .shape = weight_shape,
    .gradient = weight_gradient,
    .reference = weight_reference,
    .flops = weight_flops,
};

/* ---- public ---- */

nacre_tensor *nacre_f_conv2d_at(const nacre_f_conv2d_options *o, const char *file, int line) {
    const nacre_op *op = &nacre_op_conv2d;
    nacre_f_conv2d_options options = {0};
    if (!nacre_options_take(&options, sizeof options, o, op->name, file, line))
        return nacre_error_tensor();
    nacre_recording recording = {.op = op,
                                 .inputs = options.bias ? 3 : 2,
                                 .in = {options.input, options.weight, options.bias},
                                 .attrs = {[NACRE_CONV_GROUPS] = {.i = options.groups}},
                                 .file = file,
                                 .line = line};
    nacre_word *attrs = recording.attrs;
    if (!nacre_pair_take(&attrs[NACRE_CONV_STRIDE], options.stride, op, "stride", file, line) ||
        !nacre_pair_take(&attrs[NACRE_CONV_PADDING], options.padding, op, "padding", file, line) ||
        !nacre_pair_take(&attrs[NACRE_CONV_DILATION], options.dilation, op, "dilation", file, line))
        return nacre_error_tensor();
    return nacre_record_one(&recording);
}
