/* Max and average pooling of images [n, c, h, w] and their gradients. A window has kh kw taps, at rows
   i sh - ph + p and columns j sw - pw + q of its image. Padding is at most half a kernel, so that every window
   has a tap inside. */
#include "ops/window.h"

#include <math.h>
#include <string.h>

static const nacre_attr pool_attrs[] = {[NACRE_POOL_KERNEL] = {"kernel", NACRE_ATTR_PAIR},
                                        [NACRE_POOL_STRIDE] = {"stride", NACRE_ATTR_PAIR},
                                        [NACRE_POOL_PADDING] = {"padding", NACRE_ATTR_PAIR},
                                        [NACRE_POOL_SIZE] = {"size", NACRE_ATTR_PAIR},
                                        {NULL, NACRE_ATTR_END}};

/* ---- shapes ---- */

static void read_attrs(nacre_window *window, const nacre_word *attrs) {
    nacre_pair_read(window->kernel, attrs[NACRE_POOL_KERNEL]);
    nacre_pair_read(window->stride, attrs[NACRE_POOL_STRIDE]);
    nacre_pair_read(window->padding, attrs[NACRE_POOL_PADDING]);
    for (int i = 0; i < 2; i++) window->dilation[i] = 1;
}

/* The shape of the windows over images with `window->in`; attributes to normal form. */
static nacre_status slide(nacre_inference *inference, nacre_window *window, const nacre_shape *like,
                          nacre_shape *out) {
    nacre_word *attrs = inference->attrs;
    nacre_pair_default(&attrs[NACRE_POOL_STRIDE], attrs[NACRE_POOL_KERNEL]);
    read_attrs(window, attrs);
    const int64_t *kernel = window->kernel, *padding = window->padding;
    if (kernel[0] > 0 && kernel[1] > 0 &&
        (padding[0] > kernel[0] / 2 || padding[1] > kernel[1] / 2))
        return nacre_fail_at(NACRE_INVALID_ARGUMENT, inference->file, inference->line,
                             "%s: padding is %lldx%lld, the kernel %lldx%lld: padding must be at "
                             "most half the kernel",
                             inference->op->name, (long long)padding[0], (long long)padding[1],
                             (long long)kernel[0], (long long)kernel[1]);
    nacre_status status = nacre_window_slide(window, inference);
    *out = (nacre_shape){.ndim = 4,
                         .dims = {like->dims[0], like->dims[1], window->out[0], window->out[1]}};
    return status;
}

static nacre_status need_images(const nacre_inference *inference, const char *argument) {
    nacre_status status = nacre_need_float(inference, 0, argument);
    return status ? status : nacre_need_images(inference, 0, argument);
}

/* The windows over input 0, x. */
static nacre_status slide_x(nacre_inference *inference, nacre_shape *out) {
    nacre_window window;
    for (int i = 0; i < 2; i++) window.in[i] = inference->in[0].shape.dims[2 + i];
    return slide(inference, &window, &inference->in[0].shape, out);
}

static nacre_status pool_shape(nacre_inference *inference) {
    nacre_status status = need_images(inference, "x");
    inference->out[0].dtype = inference->in[0].dtype;
    if (!status) status = slide_x(inference, &inference->out[0].shape);
    return status ? status : nacre_need_valid_output(inference);
}

static nacre_status need_outputs(const nacre_inference *inference, int i,
                                 const nacre_shape *wanted) {
    if (nacre_shape_equal(&inference->in[i].shape, wanted)) return NACRE_OK;
    char text[2][NACRE_SHAPE_TEXT];
    return nacre_fail_at(NACRE_SHAPE_MISMATCH, inference->file, inference->line,
                         "%s: dy is %s: the pool's result is %s here", inference->op->name,
                         nacre_shape_text(&inference->in[i].shape, text[0]),
                         nacre_shape_text(wanted, text[1]));
}

static nacre_status max_backward_shape(nacre_inference *inference) {
    nacre_shape windows;
    nacre_status status = need_images(inference, "x");
    if (!status) status = nacre_need_equal_dtypes(inference, 0, "x", 1, "dy");
    if (!status) status = slide_x(inference, &windows);
    if (!status) status = need_outputs(inference, 1, &windows);
    return status ? status : nacre_infer_same(inference);
}

static nacre_status pick_shape(nacre_inference *inference) {
    nacre_status status = need_images(inference, "x");
    if (!status) status = nacre_need_equal_dtypes(inference, 0, "x", 1, "z");
    if (!status) status = nacre_need_equal_shapes(inference, 0, "x", 1, "z");
    return status ? status : pool_shape(inference);
}

static nacre_status average_backward_shape(nacre_inference *inference) {
    nacre_window window;
    nacre_shape windows;
    const nacre_shape *dy = &inference->in[0].shape;
    nacre_pair_read(window.in, inference->attrs[NACRE_POOL_SIZE]);
    nacre_status status = need_images(inference, "dy");
    if (!status) status = slide(inference, &window, dy, &windows);
    if (!status) status = need_outputs(inference, 0, &windows);
    inference->out[0].dtype = inference->in[0].dtype;
    inference->out[0].shape =
        (nacre_shape){.ndim = 4, .dims = {dy->dims[0], dy->dims[1], window.in[0], window.in[1]}};
    return status ? status : nacre_need_valid_output(inference);
}

/* ---- reference ---- */

typedef struct pool {
    nacre_window window;
    const nacre_array *x, *values; /* values: z of pick, dy of the gradients */
} pool;

static pool pool_of(const nacre_call *call, const nacre_array *in, const nacre_array *out) {
    pool p = {.x = &call->in[0], .values = &call->in[call->inputs - 1]};
    read_attrs(&p.window, call->attrs);
    nacre_window_extents(&p.window, in, out);
    return p;
}

/* Taps [from, to) of output o's window lie inside. */
static void taps_inside(const nacre_window *w, int axis, int64_t o, int64_t *from, int64_t *to) {
    int64_t first = nacre_window_at(w, axis, o, 0);
    *from = first < 0 ? -first : 0;
    *to = w->in[axis] - first < w->kernel[axis] ? w->in[axis] - first : w->kernel[axis];
}

/* Outputs [from, to) have input `at` in their windows. */
static void outputs_over(const nacre_window *w, int axis, int64_t at, int64_t *from, int64_t *to) {
    int64_t last = at + w->padding[axis], first = last - w->kernel[axis] + 1;
    *from = first <= 0 ? 0 : (first + w->stride[axis] - 1) / w->stride[axis];
    *to = last / w->stride[axis] + 1 < w->out[axis] ? last / w->stride[axis] + 1 : w->out[axis];
}

/* Where the window at n, c, i, j has its first largest element, or its first NaN. */
static void largest(const pool *p, int64_t n, int64_t c, int64_t i, int64_t j, int64_t *row,
                    int64_t *column) {
    const nacre_window *w = &p->window;
    int64_t p0, p1, q0, q1;
    taps_inside(w, 0, i, &p0, &p1);
    taps_inside(w, 1, j, &q0, &q1);
    double best = -INFINITY;
    *row = *column = -1;
    for (int64_t a = p0; a < p1; a++) {
        for (int64_t b = q0; b < q1; b++) {
            int64_t r = nacre_window_at(w, 0, i, a), s = nacre_window_at(w, 1, j, b);
            double x = nacre_load4(p->x, n, c, r, s);
            if (*row >= 0 && !(x > best) && !(isnan(x) && !isnan(best))) continue;
            best = x;
            *row = r;
            *column = s;
        }
    }
}

static double pick_element(const void *context, const int64_t *at) {
    const pool *p = context;
    int64_t row, column;
    largest(p, at[0], at[1], at[2], at[3], &row, &column);
    return nacre_load4(p->values, at[0], at[1], row, column);
}

static void pick_reference(const nacre_call *call) {
    pool p = pool_of(call, &call->in[0], &call->out[0]);
    nacre_each4(&call->out[0], pick_element, &p);
}

static double average_element(const void *context, const int64_t *at) {
    const pool *p = context;
    const nacre_window *w = &p->window;
    int64_t p0, p1, q0, q1;
    taps_inside(w, 0, at[2], &p0, &p1);
    taps_inside(w, 1, at[3], &q0, &q1);
    double sum = 0;
    for (int64_t a = p0; a < p1; a++)
        for (int64_t b = q0; b < q1; b++)
            sum += nacre_load4(p->x, at[0], at[1], nacre_window_at(w, 0, at[2], a),
                               nacre_window_at(w, 1, at[3], b));
    return sum / ((double)w->kernel[0] * (double)w->kernel[1]);
}

static void average_reference(const nacre_call *call) {
    pool p = pool_of(call, &call->in[0], &call->out[0]);
    nacre_each4(&call->out[0], average_element, &p);
}

/* The sum of dy over the windows above an input: all of them, or those whose largest element it is. */
static double sum_over(const pool *p, const int64_t *at, bool picked) {
    int64_t i0, i1, j0, j1;
    outputs_over(&p->window, 0, at[2], &i0, &i1);
    outputs_over(&p->window, 1, at[3], &j0, &j1);
    double sum = 0;
    for (int64_t i = i0; i < i1; i++) {
        for (int64_t j = j0; j < j1; j++) {
            int64_t row = at[2], column = at[3];
            if (picked) largest(p, at[0], at[1], i, j, &row, &column);
            if (row == at[2] && column == at[3]) sum += nacre_load4(p->values, at[0], at[1], i, j);
        }
    }
    return sum;
}

static double max_backward_element(const void *context, const int64_t *at) {
    return sum_over(context, at, true);
}

static void max_backward_reference(const nacre_call *call) {
    pool p = pool_of(call, &call->out[0], &call->in[1]);
    nacre_each4(&call->out[0], max_backward_element, &p);
}

static double average_backward_element(const void *context, const int64_t *at) {
    const nacre_window *w = &((const pool *)context)->window;
    return sum_over(context, at, false) / ((double)w->kernel[0] * (double)w->kernel[1]);
}

static void average_backward_reference(const nacre_call *call) {
    pool p = pool_of(call, &call->out[0], &call->in[0]);
    nacre_each4(&call->out[0], average_backward_element, &p);
}

/* Taps of all windows: a comparison or an addition each. */
static double taps(const nacre_call *call, const nacre_array *windows) {
    nacre_word kernel = call->attrs[NACRE_POOL_KERNEL];
    return (double)nacre_shape_numel(&windows->shape) * (double)nacre_pair_first(kernel) *
           (double)nacre_pair_second(kernel);
}

static double forward_flops(const nacre_call *call) { return taps(call, &call->out[0]); }

static double backward_flops(const nacre_call *call) {
    return taps(call, &call->in[call->inputs - 1]);
}

/* ---- gradients ---- */

static nacre_tensor *record(nacre_gradient *g, const nacre_op *op, nacre_tensor *a, nacre_tensor *b,
                            nacre_word size) {
    nacre_recording recording = {
        .op = op, .inputs = op->arity, .in = {a, b}, .file = g->file, .line = g->line};
    memcpy(recording.attrs, g->attrs, sizeof recording.attrs);
    recording.attrs[NACRE_POOL_SIZE] = size;
    return nacre_record_one(&recording);
}

/* To the first largest of each window. */
static void max_gradient(nacre_gradient *g) {
    g->din[0] = record(g, &nacre_op_max_pool2d_backward, g->in[0], g->dout[0], (nacre_word){0});
}

/* Where the maxima lie does not change for small changes of x: no gradient to it. */
static void max_backward_gradient(nacre_gradient *g) {
    if (g->wanted[1])
        g->din[1] = record(g, &nacre_op_max_pool2d_pick, g->in[0], g->dout[0], (nacre_word){0});
}

static void pick_gradient(nacre_gradient *g) {
    if (g->wanted[1])
        g->din[1] = record(g, &nacre_op_max_pool2d_backward, g->in[0], g->dout[0], (nacre_word){0});
}

static void average_gradient(nacre_gradient *g) {
    nacre_word size = nacre_pair(nacre_size(g->in[0], 2), nacre_size(g->in[0], 3));
    g->din[0] = record(g, &nacre_op_avg_pool2d_backward, g->dout[0], NULL, size);
}

static void average_backward_gradient(nacre_gradient *g) {
    g->din[0] = record(g, &nacre_op_avg_pool2d, g->dout[0], NULL, (nacre_word){0});
}

/* max_pool2d(x): the largest element of each window; NaN if there is one */
const nacre_op nacre_op_max_pool2d = {
    .name = "max_pool2d",
    .onnx = "MaxPool",
    .arity = 1,
    .gradient_reads = NACRE_READS_IN(0),
    .attrs = pool_attrs,
    .shape = pool_shape,
    .gradient = max_gradient,
    .reference = pick_reference,
    .flops = forward_flops,
};

/* max_pool2d_backward(x, dy): dy at the first largest element of each window, summed where windows overlap */
const nacre_op nacre_op_max_pool2d_backward = {
    .name = "max_pool2d_backward",
    .arity = 2,
    .gradient_reads = NACRE_READS_IN(0),
    .attrs = pool_attrs,
    .shape = max_backward_shape,
    .gradient = max_backward_gradient,
    .reference = max_backward_reference,
    .flops = backward_flops,
};

/* max_pool2d_pick(x, z): z where x has the first largest element of each window */
const nacre_op nacre_op_max_pool2d_pick = {
    .name = "max_pool2d_pick",
    .arity = 2,
    .gradient_reads = NACRE_READS_IN(0),
    .attrs = pool_attrs,
    .shape = pick_shape,
    .gradient = pick_gradient,
    .reference = pick_reference,
    .flops = forward_flops,
};

/* avg_pool2d(x): the sum of each window over kh kw; padding counts as zeros */
const nacre_op nacre_op_avg_pool2d = {
    .name = "avg_pool2d",
    .onnx = "AveragePool",
    .arity = 1,
    .attrs = pool_attrs,
    .shape = pool_shape,
    .gradient = average_gradient,
    .reference = average_reference,
    .flops = forward_flops,
};

/* avg_pool2d_backward(dy): at each input the sum of dy over the windows above it, over kh kw */
const nacre_op nacre_op_avg_pool2d_backward = {
    .name = "avg_pool2d_backward",
    .arity = 1,
    .attrs = pool_attrs,
    .shape = average_backward_shape,
    .gradient = average_backward_gradient,
    .reference = average_backward_reference,
    .flops = backward_flops,
};

/* ---- public ---- */

static nacre_tensor *pool_options(const nacre_op *op, const nacre_f_pool2d_options *o,
                                  const char *file, int line) {
    nacre_f_pool2d_options options = {0};
    if (!nacre_options_take(&options, sizeof options, o, op->name, file, line))
        return nacre_error_tensor();
    nacre_recording recording = {
        .op = op, .inputs = 1, .in = {options.input}, .file = file, .line = line};
    nacre_word *attrs = recording.attrs;
    if (!nacre_pair_take(&attrs[NACRE_POOL_KERNEL], options.kernel, op, "kernel", file, line) ||
        !nacre_pair_take(&attrs[NACRE_POOL_STRIDE], options.stride, op, "stride", file, line) ||
        !nacre_pair_take(&attrs[NACRE_POOL_PADDING], options.padding, op, "padding", file, line))
        return nacre_error_tensor();
    return nacre_record_one(&recording);
}

nacre_tensor *nacre_f_max_pool2d_at(const nacre_f_pool2d_options *o, const char *file, int line) {
    return pool_options(&nacre_op_max_pool2d, o, file, line);
}

nacre_tensor *nacre_f_avg_pool2d_at(const nacre_f_pool2d_options *o, const char *file, int line) {
    return pool_options(&nacre_op_avg_pool2d, o, file, line);
}
