/* Convolutions of a sample alone with 16 pixels in the lanes, counted row after row, so that narrow images fill their
   vectors too. For each tap of a row and each remainder of rows by the stride a channel is copied as that tap sees it;
   then what 16 pixels multiply by a weight lies side by side. Lanes that see a tap outside the image pass it over. */
#include "backend/cpu/conv.h"

#include "base/pool.h"

#include <string.h>

enum {
    TASKS = 16,        /* of copying, at most */
    TASK_CHANNELS = 4, /* copied in one */
    AREA_ROWS = 16,    /* times the stride: rows copied at once */
    BEHIND = 3 * NACRE_LANES,
};
/* Multiply-adds that make a task: about 2 us. */
#define TASK_WORK ((int64_t)1 << 16)

typedef struct flat_job {
    nacre_conv_sums s;
    int64_t sample;
    int64_t above;               /* rows of a copy before the image's first */
    int64_t rows;                /* of a copy */
    int64_t plane, set, channel; /* floats of a copy, of those of one tap, of all of a channel */
    int64_t area_rows, pitch;    /* of rows with zeros on both sides, from which copies are taken */
    int64_t area, copy_tasks;    /* floats of it; one for each task */
    int64_t pixels, parts;       /* parts: tasks of a panel */
    bool whole;                  /* no tap outside the image */
    float *copies, *areas, *columns;
    nacre_conv_tap row[NACRE_CONV_MOST_TAPS], column[NACRE_CONV_MOST_TAPS];
    int64_t first[2][NACRE_CONV_MOST_TAPS], end[2][NACRE_CONV_MOST_TAPS]; /* of rows, columns */
} flat_job;

static int64_t floor_of(int64_t a, int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }
static int64_t whole_vectors(int64_t floats) {
    return nacre_parts(floats, NACRE_LANES) * NACRE_LANES;
}

/* The outputs of an axis that see tap k inside: [first, end). */
static void sight_of(const nacre_conv_axis *axis, int64_t k, int64_t *first, int64_t *end) {
    int64_t offset = k * axis->dilation - axis->padding;
    *first = nacre_smaller(axis->y, nacre_larger(0, -floor_of(offset, axis->stride)));
    *end = floor_of(axis->x - 1 - offset, axis->stride) + 1;
    *end = nacre_larger(*first, nacre_smaller(axis->y, *end));
}

static flat_job job_of(const nacre_conv_sums *s) {
    const nacre_conv_axis *row = &s->c.row, *column = &s->c.column;
    flat_job j = {.s = *s, .pixels = s->out_rows * s->out_columns};
    int64_t last = floor_of((row->taps - 1) * row->dilation - row->padding, row->stride);
    j.above = -floor_of(-row->padding, row->stride);
    j.rows = nacre_larger(0, s->out_rows + last) + j.above;
    j.plane = whole_vectors(j.rows * s->out_columns + NACRE_LANES);
    j.set = row->stride * j.plane;
    j.channel = column->taps * j.set;
    j.area_rows = nacre_smaller(s->in_rows, AREA_ROWS * row->stride);
    j.pitch = (s->out_columns - 1) * column->stride + (column->taps - 1) * column->dilation + 1;
    j.area = whole_vectors(j.area_rows * j.pitch + BEHIND);
    j.copy_tasks = nacre_smaller(TASKS, nacre_parts(s->c.groups * s->in_channels, TASK_CHANNELS));
    int64_t pixel_work = s->panel_floats + 1;
    int64_t each = nacre_larger(4 * NACRE_LANES, TASK_WORK * NACRE_LANES / pixel_work);
    j.parts = nacre_larger(1, nacre_parts(j.pixels, whole_vectors(each)));
    return j;
}

/* Where each tap lies in the copies, and which pixels see it. */
static void find_taps(flat_job *j) {
    const nacre_conv_axis *row = &j->s.c.row, *column = &j->s.c.column;
    j->whole = true;
    for (int64_t k = 0; k < row->taps; k++) {
        int64_t offset = k * row->dilation - row->padding, down = floor_of(offset, row->stride);
        j->row[k].x =
            (offset - down * row->stride) * j->plane + (down + j->above) * j->s.out_columns;
        j->row[k].w = k * column->taps * NACRE_LANES;
        sight_of(row, k, &j->first[0][k], &j->end[0][k]);
        j->whole &= j->first[0][k] == 0 && j->end[0][k] == row->y;
        j->first[0][k] *= j->s.out_columns;
        j->end[0][k] *= j->s.out_columns;
    }
    for (int64_t k = 0; k < column->taps; k++) {
        j->column[k] = (nacre_conv_tap){k * j->set, k * NACRE_LANES};
        sight_of(column, k, &j->first[1][k], &j->end[1][k]);
        j->whole &= j->first[1][k] == 0 && j->end[1][k] == column->y;
    }
    const int64_t pixels = whole_vectors(j->pixels);
    for (int64_t i = 0; i < nacre_smaller(pixels, j->s.out_columns); i++) j->columns[i] = (float)i;
    for (int64_t have = j->s.out_columns, more; have < pixels; have += more) {
        more = nacre_smaller(have, pixels - have);
        memcpy(j->columns + have, j->columns, (size_t)more * sizeof *j->columns);
    }
}

/* ---- copies ---- */

/* `count` rows from the image's row `first`, a multiple of the stride, to all copies of a channel. */
static void take_rows(const flat_job *j, const float *area, int64_t first, int64_t count,
                      float *copies) {
    const nacre_conv_axis *row = &j->s.c.row, *column = &j->s.c.column;
    int64_t at = first / row->stride + j->above;
    for (int64_t t = 0; t < column->taps; t++)
        for (int64_t rest = 0; rest < nacre_smaller(row->stride, count); rest++) {
            int64_t rows = nacre_smaller(nacre_parts(count - rest, row->stride), j->rows - at);
            j->s.c.level->conv->take_columns(
                rows, j->s.out_columns, column->stride,
                area + rest * j->pitch + t * column->dilation, row->stride * j->pitch,
                copies + t * j->set + rest * j->plane + at * j->s.out_columns);
        }
}

/* Rows of copies that no row of the image reaches are read, and passed over. */
static void clear_rest(const flat_job *j, float *copies) {
    const nacre_conv_axis *row = &j->s.c.row;
    for (int64_t i = 0; i < j->s.c.column.taps * row->stride; i++) {
        float *plane = copies + i * j->plane;
        int64_t filled = nacre_parts(nacre_larger(0, j->s.in_rows - i % row->stride), row->stride);
        int64_t end = nacre_smaller(j->rows, j->above + filled) * j->s.out_columns;
        memset(plane, 0, (size_t)(j->above * j->s.out_columns) * sizeof *plane);
        memset(plane + end, 0, (size_t)(j->plane - end) * sizeof *plane);
    }
}

static void copy_task(void *context, size_t index) {
    const flat_job *j = context;
    const nacre_conv_sums *s = &j->s;
    int64_t channels = s->c.groups * s->in_channels, task = (int64_t)index;
    int64_t left = s->c.column.padding, width = nacre_smaller(s->in_columns, j->pitch - left);
    float *area = j->areas + task * j->area;
    memset(area, 0, (size_t)j->area * sizeof *area);
    for (int64_t c = channels * task / j->copy_tasks; c < channels * (task + 1) / j->copy_tasks;
         c++) {
        const float *x = s->in + (j->sample * channels + c) * s->in_rows * s->in_columns;
        float *copies = j->copies + c * j->channel;
        clear_rest(j, copies);
        for (int64_t row = 0, rows; row < s->in_rows; row += rows) {
            rows = nacre_smaller(j->area_rows, s->in_rows - row);
            if (width > 0)
                s->c.level->elementwise->copy_rows(rows, width, x + row * s->in_columns,
                                                   s->in_columns, area + left, j->pitch);
            take_rows(j, area, row, rows, copies);
        }
    }
}

/* ---- sums ---- */

static void sum_task(void *context, size_t index) {
    const flat_job *j = context;
    const nacre_conv_sums *s = &j->s;
    int64_t vectors = nacre_parts(j->pixels, NACRE_LANES), part = (int64_t)index % j->parts;
    int64_t panel = (int64_t)index / j->parts % s->panels;
    int64_t group = (int64_t)index / j->parts / s->panels;
    int64_t from = vectors * part / j->parts * NACRE_LANES;
    int64_t end = nacre_smaller(j->pixels, vectors * (part + 1) / j->parts * NACRE_LANES);
    const nacre_conv_sight sight = {.whole = j->whole,
                                    .column = j->columns,
                                    .row_first = j->first[0],
                                    .row_end = j->end[0],
                                    .column_first = j->first[1],
                                    .column_end = j->end[1]};
    nacre_conv_sum sum = {.channels = s->in_channels,
                          .x_channel = j->channel,
                          .w_channel = s->c.row.taps * s->c.column.taps * NACRE_LANES,
                          .out_channel = j->pixels,
                          .row = j->row,
                          .column = j->column,
                          .rows = (int)s->c.row.taps,
                          .columns = (int)s->c.column.taps};
    const float *x = j->copies + group * s->in_channels * j->channel;
    const float *w = s->weight + (group * s->panels + panel) * s->panel_floats;
    int64_t last = nacre_smaller(s->out_channels, (panel + 1) * NACRE_LANES);
    for (int64_t o = panel * NACRE_LANES, outs; o < last; o += outs) {
        outs = nacre_conv_next_outs(s, o, s->c.level->conv->outs);
        int64_t channel = group * s->out_channels + o;
        nacre_conv_after room;
        sum.after = nacre_conv_after_at(s, group, o, &room);
        float *out = s->out + (j->sample * s->c.groups * s->out_channels + channel) * j->pixels;
        s->c.level->conv->sum_flat(&sum, &sight, (int)outs, from, end, x, w + o % NACRE_LANES,
                                   s->bias ? s->bias + channel : NULL, out);
    }
}

/* ---- a step ---- */

static int64_t copies_floats(const flat_job *j) {
    return j->s.c.groups * j->s.in_channels * j->channel;
}

static void run_flat(const nacre_plan_op *step, void *scratch) {
    nacre_conv_sums s = nacre_conv_sums_of(step);
    if (nacre_shape_numel(&step->out[0].shape) == 0) return;
    float *rest = nacre_conv_take_weights(&s, step, nacre_conv_take_norm(&s, scratch));
    flat_job j = job_of(&s);
    j.copies = rest;
    j.areas = j.copies + copies_floats(&j);
    j.columns = j.areas + j.copy_tasks * j.area;
    find_taps(&j);
    for (j.sample = 0; j.sample < s.c.samples; j.sample++) {
        nacre_parallel((size_t)j.copy_tasks, copy_task, &j);
        nacre_parallel((size_t)(s.c.groups * s.panels * j.parts), sum_task, &j);
    }
}

bool nacre_conv_flat_prepare(nacre_plan_op *step, const nacre_conv_sums *s) {
    if (nacre_shape_numel(&step->out[0].shape) == 0)
        return nacre_cpu_use(step, run_flat, 0, "direct");
    flat_job j = job_of(s);
    int64_t floats = s->norm_floats + nacre_conv_packed_floats(s) + copies_floats(&j) +
                     j.copy_tasks * j.area + whole_vectors(j.pixels);
    return nacre_cpu_use(step, run_flat, (size_t)floats * sizeof(float), "direct");
}
