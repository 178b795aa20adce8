/* Convolution, and its gradient with respect to the input, over laned arrays: both are sums of weighted pixels, in
   opposite directions. */
#include "backend/cpu/conv.h"

#include "base/pool.h"
#include "ops/attrs.h"

#include <string.h>

/* Multiply-adds that make a task: about 2 us. */
#define TASK_WORK ((int64_t)1 << 18)
enum {
    TASK_ROWS = 4,               /* at least: columns at the sides are summed over rows */
    PLAIN_PIXELS = 64,           /* of a plain row at once */
    MOST_FLAT_COLUMNS = 1 << 24, /* their numbers are held in floats */
};

nacre_conv nacre_conv_of(const nacre_plan_op *step, const nacre_shape *x, const nacre_shape *y,
                         const nacre_shape *weight) {
    const nacre_word *attrs = step->attrs;
    const nacre_word stride = attrs[NACRE_CONV_STRIDE], padding = attrs[NACRE_CONV_PADDING];
    const nacre_word dilation = attrs[NACRE_CONV_DILATION];
    int64_t groups = attrs[NACRE_CONV_GROUPS].i;
    return (nacre_conv){.level = nacre_cpu_level_of(step),
                        .samples = x->dims[0],
                        .blocks = nacre_parts(x->dims[0], NACRE_LANES),
                        .groups = groups,
                        .x_channels = x->dims[1] / groups,
                        .y_channels = y->dims[1] / groups,
                        .row = {x->dims[2], y->dims[2], weight->dims[2], nacre_pair_first(stride),
                                nacre_pair_first(padding), nacre_pair_first(dilation)},
                        .column = {x->dims[3], y->dims[3], weight->dims[3],
                                   nacre_pair_second(stride), nacre_pair_second(padding),
                                   nacre_pair_second(dilation)}};
}

/* ---- which pixels an output sums ---- */

typedef nacre_conv_sums sums;
typedef struct nacre_conv_segment segment;

/* Outputs first, first + period, ... of an axis that sum the same taps. */
struct nacre_conv_segment {
    int64_t first, pixels;
    int taps;
    nacre_conv_tap tap[NACRE_CONV_MOST_TAPS];
};

/* The taps that output `at` of an axis sums; x: of pixels, w: numbers of taps. */
static int taps_at(const nacre_conv_axis *axis, bool backward, int64_t at, nacre_conv_tap *to) {
    int count = 0;
    for (int64_t k = 0; k < axis->taps; k++) {
        int64_t x = backward ? at + axis->padding - k * axis->dilation
                             : at * axis->stride - axis->padding + k * axis->dilation;
        if (x < 0 || (backward && x % axis->stride != 0)) continue;
        if (backward) x /= axis->stride;
        if (x < (backward ? axis->y : axis->x)) to[count++] = (nacre_conv_tap){x, k};
    }
    return count;
}

/* Do the taps of b see the next pixels after those of a? */
static bool continues(const segment *a, const segment *b, int64_t pixels) {
    if (a->taps != b->taps) return false;
    for (int t = 0; t < a->taps; t++)
        if (a->tap[t].w != b->tap[t].w || a->tap[t].x + pixels != b->tap[t].x) return false;
    return true;
}

static int64_t period(const sums *s, const nacre_conv_axis *axis) {
    return s->backward ? axis->stride : 1;
}
static int64_t pixel_step(const sums *s, const nacre_conv_axis *axis) {
    return s->backward ? 1 : axis->stride;
}

/* Along an axis each tap comes into the image once and leaves it once: so many segments there may be of each residue. */
static int64_t most_segments(const sums *s) {
    return nacre_smaller(s->out_columns, period(s, &s->c.column) * (2 * s->c.column.taps + 1));
}

/* Outputs from `at` on, before `end`, that sum the same taps. */
static void find_segment(const sums *s, const nacre_conv_axis *axis, int64_t at, int64_t end,
                         segment *out) {
    segment next;
    out->first = at;
    out->pixels = 1;
    out->taps = taps_at(axis, s->backward, at, out->tap);
    for (at += period(s, axis); at < end; at += period(s, axis), out->pixels++) {
        next.taps = taps_at(axis, s->backward, at, next.tap);
        if (!continues(out, &next, out->pixels * pixel_step(s, axis))) return;
    }
}

static void find_segments(sums *s) {
    const nacre_conv_axis *axis = &s->c.column;
    s->segment_count = 0;
    for (int64_t residue = 0; residue < period(s, axis); residue++) {
        for (int64_t at = residue; at < s->out_columns;) {
            segment *found = &s->segments[s->segment_count++];
            find_segment(s, axis, at, s->out_columns, found);
            at += found->pixels * period(s, axis);
        }
    }
    for (int i = 0; i < s->segment_count; i++) {
        for (int t = 0; t < s->segments[i].taps; t++) {
            s->segments[i].tap[t].x *= s->unit;
            s->segments[i].tap[t].w *= NACRE_LANES;
        }
    }
}

/* ---- packing weights ---- */

void nacre_conv_pack_panel(const nacre_conv_sums *s, const float *weight, size_t index,
                           float *out) {
    const nacre_conv *c = &s->c;
    int64_t group = (int64_t)index / s->panels, first = (int64_t)index % s->panels * NACRE_LANES;
    int64_t taps = c->row.taps * c->column.taps, per_y = c->x_channels * taps;
    int width = (int)nacre_smaller(NACRE_LANES, s->out_channels - first);
    const float *from = weight + group * c->y_channels * per_y;
    if (!s->backward) {
        c->level->pack->panel(per_y, width, NACRE_LANES, from + first * per_y, 1, per_y, out);
        return;
    }
    for (int64_t y = 0; y < c->y_channels; y++)
        c->level->pack->panel(taps, width, NACRE_LANES, from + y * per_y + first * taps, 1, taps,
                              out + y * taps * NACRE_LANES);
}

typedef struct pack_job {
    const sums *s;
    const float *weight;
    float *out;
} pack_job;

static void pack_task(void *context, size_t index) {
    const pack_job *job = context;
    nacre_conv_pack_panel(job->s, job->weight, index,
                          job->out + (int64_t)index * job->s->panel_floats);
}

static void pack(const sums *s, const float *weight, float *out) {
    pack_job job = {.s = s, .weight = weight};
    job.out = out;
    nacre_parallel((size_t)(s->c.groups * s->panels), pack_task, &job);
}

float *nacre_conv_weights(const nacre_plan_op *step, int kind, int64_t floats, float *scratch,
                          bool *fill) {
    *fill = true;
    if (!step->keeper) return scratch;
    const nacre_array *weight = &step->in[1];
    const int64_t *dims = weight->shape.dims;
    int64_t offset = (const unsigned char *)weight->data - step->keeper->data;
    bool backward = step->op == &nacre_op_conv2d_backward_input;
    const nacre_form_key key = {{kind, dims[0], dims[1], dims[2], dims[3],
                                 step->attrs[NACRE_CONV_GROUPS].i, backward, offset}};
    bool due;
    float *kept = nacre_storage_form(step->keeper, &key, (size_t)floats * sizeof(float), &due);
    if (kept) *fill = due;
    return kept ? kept : scratch;
}

void nacre_conv_filled(const nacre_plan_op *step, const float *weights, const float *scratch) {
    if (weights != scratch) nacre_storage_form_filled(step->keeper);
}

/* ---- summing ---- */

int64_t nacre_conv_next_outs(const nacre_conv_sums *s, int64_t o, int64_t most) {
    int64_t end = (o / NACRE_LANES + 1) * NACRE_LANES;
    int64_t left = nacre_smaller(end, s->out_channels) - o;
    return nacre_parts(left, nacre_parts(left, most));
}

/* Rows of a group's outputs that sum the same kernel rows. */
typedef struct band {
    int64_t rows, x_row, out_row;
    const float *x; /* the group's first input plane, from where the first row's taps count */
    float *out;     /* the first output's first row */
} band;

/* Every segment of a row that has several pixels, or (down > 0) the columns that are segments of their own, `down`
   rows of them: a pixel alone would wait for each fma. */
static void sum_segments(const sums *s, nacre_conv_sum *sum, int64_t group, int64_t down,
                         const float *x, float *out) {
    const float *w = s->weight + group * s->panels * s->panel_floats;
    const float *bias = s->bias ? s->bias + group * s->out_channels : NULL;
    for (int64_t o = 0, outs; o < s->out_channels; o += outs) {
        outs = nacre_conv_next_outs(s, o, s->c.level->conv->outs);
        const float *weight = w + o / NACRE_LANES * s->panel_floats + o % NACRE_LANES;
        nacre_conv_after room;
        sum->after = nacre_conv_after_at(s, group, o, &room);
        for (int i = 0; i < s->segment_count; i++) {
            const segment *part = &s->segments[i];
            if ((part->pixels == 1) != (down > 0)) continue;
            sum->column = part->tap;
            sum->columns = part->taps;
            s->c.level->conv->sum(sum, (int)outs, down ? down : part->pixels, x, weight,
                                  bias ? bias + o : NULL,
                                  out + o * sum->out_channel + part->first * NACRE_LANES);
        }
    }
    sum->after = NULL;
}

static void sum_laned(const sums *s, nacre_conv_sum *sum, int64_t group, const band *b) {
    for (int64_t row = 0; row < b->rows; row++)
        sum_segments(s, sum, group, 0, b->x + row * b->x_row, b->out + row * b->out_row);
    nacre_conv_sum down = *sum;
    down.x_step = b->x_row;
    down.out_step = b->out_row;
    sum_segments(s, &down, group, b->rows, b->x, b->out);
}

/* A row of a sample alone: the lanes hold a panel's channels, and the rows turn on their way out. What lies as the
   output does is added there. */
static void sum_channels(const sums *s, nacre_conv_sum *sum, int64_t group, const float *x,
                         float *out) {
    const nacre_conv_kernels *kernels = s->c.level->conv;
    for (int64_t panel = 0; panel < s->panels; panel++) {
        int64_t o = panel * NACRE_LANES;
        int outs = (int)nacre_smaller(NACRE_LANES, s->out_channels - o);
        const float *weight = s->weight + (group * s->panels + panel) * s->panel_floats;
        float bias[NACRE_LANES] = {0}, row[PLAIN_PIXELS * NACRE_LANES];
        nacre_conv_after room, lanes;
        sum->after = nacre_conv_after_in_lanes(nacre_conv_after_at(s, group, o, &room), &lanes);
        if (s->bias)
            memcpy(bias, s->bias + group * s->out_channels + o, (size_t)outs * sizeof *bias);
        for (int i = 0; i < s->segment_count; i++) {
            const segment *part = &s->segments[i];
            sum->column = part->tap;
            sum->columns = part->taps;
            for (int64_t done = 0; done < part->pixels; done += PLAIN_PIXELS) {
                int64_t pixels = nacre_smaller(PLAIN_PIXELS, part->pixels - done);
                kernels->sum_channels(sum, pixels, x + done * sum->x_step, weight,
                                      s->bias ? bias : NULL, row);
                kernels->unlane(pixels, outs, row, s->after.add ? &s->after : NULL,
                                out + o * sum->out_channel + part->first + done, sum->out_channel);
            }
        }
    }
    sum->after = NULL;
}

static void sum_group(const sums *s, nacre_conv_sum *sum, int64_t group, const band *b) {
    if (s->way == NACRE_CONV_SAMPLES) {
        sum_laned(s, sum, group, b);
        return;
    }
    for (int64_t row = 0; row < b->rows; row++)
        sum_channels(s, sum, group, b->x + row * b->x_row, b->out + row * b->out_row);
}

/* Rows of all channels; item: a block of samples, or one sample. */
static void sum_rows(const sums *s, int64_t item, segment *rows) {
    const nacre_conv *c = &s->c;
    int64_t x_row = s->in_columns * s->unit;
    int64_t out_row = s->out_columns * s->unit;
    for (int r = 0; r < rows->taps; r++) {
        rows->tap[r].x *= x_row;
        rows->tap[r].w *= c->column.taps * NACRE_LANES;
    }
    nacre_conv_sum sum = {.channels = s->in_channels,
                          .x_channel = s->in_rows * x_row,
                          .w_channel = c->row.taps * c->column.taps * NACRE_LANES,
                          .x_step = pixel_step(s, &c->column) * s->unit,
                          .out_channel = s->out_rows * out_row,
                          .out_step = period(s, &c->column) * s->unit,
                          .row = rows->tap,
                          .rows = rows->taps};
    band b = {.rows = rows->pixels,
              .x_row = pixel_step(s, &c->row) * x_row,
              .out_row = period(s, &c->row) * out_row};
    for (int64_t group = 0; group < c->groups; group++) {
        int64_t at = item * c->groups + group;
        b.x = s->in + at * s->in_channels * sum.x_channel;
        b.out = s->out + at * s->out_channels * sum.out_channel + rows->first * out_row;
        sum_group(s, &sum, group, &b);
    }
}

static void sum_task(void *context, size_t index) {
    const sums *s = context;
    const nacre_conv_axis *axis = &s->c.row;
    int64_t part = (int64_t)index % s->parts, block = (int64_t)index / s->parts;
    int64_t first = s->out_rows * part / s->parts, end = s->out_rows * (part + 1) / s->parts;
    segment rows;
    for (int64_t residue = 0; residue < period(s, axis); residue++) {
        for (int64_t row = first + residue; row < end; row += rows.pixels * period(s, axis)) {
            find_segment(s, axis, row, end, &rows);
            sum_rows(s, block, &rows);
        }
    }
}

/* ---- what follows ---- */

static const nacre_array *operand(const nacre_plan_op *step, int reg) {
    return &step->in[step->own + reg - 1];
}

/* The argument of a sum or product that is not what the epilogue made so far; `made`: its register. */
static const nacre_array *other_operand(const nacre_plan_op *step, const nacre_instruction *code,
                                        int made) {
    return operand(step, code->argument[0] == made ? code->argument[1] : code->argument[0]);
}

/* One number for each channel? */
static bool is_numbers(const nacre_array *a) {
    for (int i = 0; i < a->shape.ndim; i++)
        if (i != 1 && a->strides[i] != 0 && a->shape.dims[i] != 1) return false;
    return !a->laned;
}

/* The program's steps, which takes_epilogue lets through in the order of nacre_conv_after alone. */
static void take_epilogue(nacre_conv_sums *s, const nacre_plan_op *step) {
    const nacre_program *program = step->program;
    if (!program) return;
    s->after.out = s->out;
    for (int i = 0; i < program->codes; i++) {
        const nacre_instruction *code = &program->code[i];
        const int made = i ? program->inputs + i - 1 : 0;
        if (code->op == &nacre_op_relu) {
            s->after.relu = true;
            continue;
        }
        if (code->op == &nacre_op_relu_backward) {
            s->after.mask = operand(step, code->argument[0])->data;
            continue;
        }
        const nacre_array *other = other_operand(step, code, made);
        if (code->op == &nacre_op_sub)
            s->numbers[0] = other;
        else if (code->op == &nacre_op_mul)
            s->numbers[1] = other;
        else if (!s->numbers[2] && is_numbers(other))
            s->numbers[2] = other;
        else
            s->after.add = other->data;
    }
    if (s->numbers[0] || s->numbers[1] || s->numbers[2])
        s->norm_floats = 3 * s->c.groups * s->panels * NACRE_LANES;
}

float *nacre_conv_take_norm(nacre_conv_sums *s, float *scratch) {
    /* Exact without effect: x - 0, x * 1 and x + -0 are x, whatever its sign. */
    static const float none[3] = {0.0f, 1.0f, -0.0f};
    if (s->norm_floats == 0) return scratch;
    s->after.norm = scratch;
    s->after.norm_step = s->norm_floats / 3;
    const int64_t padded = s->panels * NACRE_LANES;
    for (int k = 0; k < 3; k++) {
        float *to = scratch + k * s->after.norm_step;
        const nacre_array *from = s->numbers[k];
        for (int64_t i = 0; i < s->after.norm_step; i++) {
            const int64_t o = i % padded, channel = i / padded * s->out_channels + o;
            to[i] = from && o < s->out_channels
                        ? ((const float *)from->data)[channel * from->strides[1]]
                        : none[k];
        }
    }
    return scratch + s->norm_floats;
}

/* A sample alone: as few vectors of sums as possible; a few more if they are of pixels, which fill tiles of any size. */
static void choose_way(nacre_conv_sums *s) {
    if (s->unit == NACRE_LANES) return;
    int64_t pixels = s->out_rows * s->out_columns, vectors = nacre_parts(pixels, NACRE_LANES);
    bool flat = 4 * vectors * s->out_channels <= 5 * pixels * s->panels;
    s->way = flat && s->out_columns < MOST_FLAT_COLUMNS ? NACRE_CONV_FLAT : NACRE_CONV_CHANNELS;
}

nacre_conv_sums nacre_conv_sums_of(const nacre_plan_op *step) {
    nacre_conv_sums s = {.backward = step->op == &nacre_op_conv2d_backward_input};
    const nacre_shape *in = &step->in[0].shape, *out = &step->out[0].shape;
    s.c = nacre_conv_of(step, s.backward ? out : in, s.backward ? in : out, &step->in[1].shape);
    s.in_channels = in->dims[1] / s.c.groups;
    s.out_channels = out->dims[1] / s.c.groups;
    s.in_rows = in->dims[2];
    s.in_columns = in->dims[3];
    s.out_rows = out->dims[2];
    s.out_columns = out->dims[3];
    s.in = step->in[0].data;
    int own = step->program ? step->own : step->inputs;
    s.bias = own > 2 ? step->in[2].data : NULL;
    s.out = step->out[0].data;
    s.panels = nacre_parts(s.out_channels, NACRE_LANES);
    s.panel_floats = s.in_channels * s.c.row.taps * s.c.column.taps * NACRE_LANES;
    s.unit = step->in[0].laned ? NACRE_LANES : 1;
    choose_way(&s);
    take_epilogue(&s, step);
    int64_t row_work = s.out_columns * s.panels * s.panel_floats * s.unit;
    int64_t rows = nacre_larger(TASK_ROWS, TASK_WORK / (row_work + 1));
    s.parts = nacre_larger(1, nacre_parts(s.out_rows, rows));
    return s;
}

float *nacre_conv_take_weights(nacre_conv_sums *s, const nacre_plan_op *step, float *own) {
    bool fill;
    int64_t floats = nacre_conv_packed_floats(s);
    float *packed = nacre_conv_weights(step, NACRE_FORM_CONV, floats, own, &fill);
    if (fill) {
        pack(s, step->in[1].data, packed);
        nacre_conv_filled(step, packed, own);
    }
    s->weight = packed;
    return own + floats;
}

static void run_sums(const nacre_plan_op *step, void *scratch) {
    sums s = nacre_conv_sums_of(step);
    if (nacre_shape_numel(&step->out[0].shape) == 0) return;
    float *rest = nacre_conv_take_weights(&s, step, nacre_conv_take_norm(&s, scratch));
    s.segments = (segment *)(void *)rest;
    find_segments(&s);
    int64_t items = s.unit == 1 ? s.c.samples : s.c.blocks;
    nacre_parallel((size_t)(items * s.parts), sum_task, &s);
}

/* All but the numbers of channels, which are gathered. */
static bool inputs_are_plain(const sums *s, const nacre_plan_op *step) {
    for (int i = 0; i < step->inputs; i++) {
        const nacre_array *in = &step->in[i];
        bool gathered = in == s->numbers[0] || in == s->numbers[1] || in == s->numbers[2];
        if (in->dtype != NACRE_DTYPE_DEFAULT && !in->laned && !gathered && !nacre_cpu_is_plain(in))
            return false;
    }
    return true;
}

bool nacre_cpu_prepare_conv(nacre_plan_op *step) {
    bool taken = nacre_conv_is_plain(step) || step->in[0].laned;
    if (!taken) return nacre_cpu_use_reference(step);
    sums s = nacre_conv_sums_of(step);
    if (!inputs_are_plain(&s, step)) return false;
    step->keeps = step->constant & NACRE_READS_IN(1);
    if (nacre_winograd_suits(&s)) return nacre_winograd_prepare(step, &s);
    if (s.way == NACRE_CONV_FLAT) return nacre_conv_flat_prepare(step, &s);
    size_t scratch = (size_t)(s.norm_floats + nacre_conv_packed_floats(&s)) * sizeof(float);
    scratch += (size_t)most_segments(&s) * sizeof(segment);
    return nacre_cpu_use(step, run_sums, scratch, step->in[0].laned ? "direct in lanes" : "direct");
}

bool nacre_conv_is_plain(const nacre_plan_op *step) {
    if (step->op != &nacre_op_conv2d || step->in[0].dtype != NACRE_F32) return false;
    return step->in[0].shape.dims[0] <= NACRE_CONV_FEW && nacre_conv_fits(&step->in[1].shape);
}
