/* Convolutions of a sample alone with 16 pixels in the lanes, counted row after row, so that narrow images fill their
   vectors too. For each tap of a row and each remainder of rows by the stride a channel is copied as that tap sees it;
   then what 16 pixels multiply by a weight lies side by side. Lanes that see a tap outside the image pass it over. */
#include "backend/cpu/conv.h"

#include "base/pool.h"

#include <string.h>

enum {
    TASKS = 16,        /* with scratch of their own, at most */
    TASK_CHANNELS = 4, /* copied in one */
    FEW_ITEMS = 4,     /* fewer are cut into tasks by channels, in two sweeps */
    AREA_ROWS = 16,    /* times the stride: rows copied at once */
    BEHIND = 3 * NACRE_LANES,
};
/* Multiply-adds that make a task: about 2 us. */
#define TASK_WORK ((int64_t)1 << 16)
/* Copies of a strip of an image, which stay in the second-level cache. */
#define STRIP_BYTES ((int64_t)256 << 10)

/* An item is a strip of the outputs of a group's channels of a sample. */
typedef struct flat_job {
    nacre_conv_sums s;
    int64_t above,
        below; /* rows of a copy before what the first output row sees, and behind the last */
    int64_t strip, strips, items; /* output rows of a strip; strips of an image */
    int64_t plane, set, channel;  /* floats of a copy, of those of one tap, of all of a channel */
    int64_t area_rows, pitch; /* of rows with zeros on both sides, from which copies are taken */
    int64_t area, tasks;      /* floats of it; one for each task */
    int64_t copies_step;      /* from one item's copies, or one task's, to the next's */
    int64_t pixels, parts;    /* of a strip; parts: tasks of a panel */
    bool split;               /* two sweeps */
    bool whole;               /* no tap outside the image */
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

/* Rows of a strip: what stays in the cache, but no less than makes up for rows that two strips copy. */
static int64_t strip_rows(const flat_job *j) {
    const nacre_conv_sums *s = &j->s;
    const nacre_conv_axis *row = &s->c.row, *column = &s->c.column;
    int64_t bytes =
        s->in_channels * column->taps * row->stride * s->out_columns * (int64_t)sizeof(float);
    int64_t more = j->above + j->below, rows = STRIP_BYTES / (bytes + 1) - more;
    return nacre_larger(1, nacre_smaller(s->out_rows, nacre_larger(rows, 4 * more)));
}

static flat_job job_of(const nacre_conv_sums *s) {
    const nacre_conv_axis *row = &s->c.row, *column = &s->c.column;
    flat_job j = {.s = *s};
    j.above = -floor_of(-row->padding, row->stride);
    j.below = floor_of((row->taps - 1) * row->dilation - row->padding, row->stride);
    j.strip = strip_rows(&j);
    j.strips = nacre_parts(s->out_rows, j.strip);
    j.items = s->c.samples * s->c.groups * j.strips;
    j.split = j.items < FEW_ITEMS;
    j.pixels = j.strip * s->out_columns;
    j.plane = nacre_larger(0, j.above + j.strip + j.below) * s->out_columns + NACRE_LANES;
    j.plane = whole_vectors(j.plane);
    j.set = row->stride * j.plane;
    j.channel = column->taps * j.set;
    j.copies_step = s->in_channels * j.channel;
    j.area_rows = nacre_smaller(s->in_rows, AREA_ROWS * row->stride);
    j.pitch = (s->out_columns - 1) * column->stride + (column->taps - 1) * column->dilation + 1;
    j.area = whole_vectors(j.area_rows * j.pitch + BEHIND);
    int64_t channel_tasks = nacre_parts(j.items * s->in_channels, TASK_CHANNELS);
    j.tasks = nacre_smaller(TASKS, j.split ? channel_tasks : j.items);
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

/* Sample and group in one, and the strip's rows. */
typedef struct item {
    int64_t image, first, rows;
} item;

static item item_of(const flat_job *j, int64_t index) {
    int64_t first = index % j->strips * j->strip;
    return (item){index / j->strips, first, nacre_smaller(j->strip, j->s.out_rows - first)};
}

/* ---- copies: row p of one holds the image's row (p + first - above) * stride + a rest ---- */

/* `count` rows from the image's row `from`, a multiple of the stride, to all copies of a channel. */
static void take_rows(const flat_job *j, const item *i, const float *area, int64_t from,
                      int64_t count, float *copies) {
    const nacre_conv_axis *row = &j->s.c.row, *column = &j->s.c.column;
    int64_t at = from / row->stride - i->first + j->above;
    int64_t most = j->above + i->rows + j->below - at;
    for (int64_t t = 0; t < column->taps; t++)
        for (int64_t rest = 0; rest < nacre_smaller(row->stride, count); rest++) {
            int64_t rows = nacre_smaller(nacre_parts(count - rest, row->stride), most);
            j->s.c.level->conv->take_columns(
                rows, j->s.out_columns, column->stride,
                area + rest * j->pitch + t * column->dilation, row->stride * j->pitch,
                copies + t * j->set + rest * j->plane + at * j->s.out_columns);
        }
}

/* Rows of copies that no row of the image reaches are read, and passed over. */
static void clear_rest(const flat_job *j, const item *i, float *copies) {
    const nacre_conv_axis *row = &j->s.c.row;
    int64_t most = j->plane / nacre_larger(1, j->s.out_columns);
    int64_t before = nacre_smaller(most, nacre_larger(0, j->above - i->first));
    for (int64_t k = 0; k < j->s.c.column.taps * row->stride; k++) {
        float *plane = copies + k * j->plane;
        int64_t rows = nacre_parts(nacre_larger(0, j->s.in_rows - k % row->stride), row->stride);
        int64_t end = nacre_larger(before, nacre_smaller(most, rows - i->first + j->above));
        end *= j->s.out_columns;
        memset(plane, 0, (size_t)(before * j->s.out_columns) * sizeof *plane);
        memset(plane + end, 0, (size_t)(j->plane - end) * sizeof *plane);
    }
}

/* Channels from .. end of an item's group. */
static void copy_channels(const flat_job *j, const item *i, int64_t from, int64_t end, float *area,
                          float *copies) {
    const nacre_conv_sums *s = &j->s;
    const int64_t stride = s->c.row.stride, left = s->c.column.padding;
    const int64_t width = nacre_smaller(s->in_columns, j->pitch - left);
    const int64_t top = nacre_larger(0, i->first - j->above) * stride;
    const int64_t bottom = nacre_smaller(s->in_rows, (i->first + i->rows + j->below) * stride);
    for (int64_t c = from; c < end; c++) {
        const float *x = s->in + (i->image * s->in_channels + c) * s->in_rows * s->in_columns;
        clear_rest(j, i, copies + c * j->channel);
        for (int64_t row = top, rows; row < bottom; row += rows) {
            rows = nacre_smaller(j->area_rows, bottom - row);
            if (width > 0)
                s->c.level->elementwise->copy_rows(rows, width, x + row * s->in_columns,
                                                   s->in_columns, area + left, j->pitch);
            take_rows(j, i, area, row, rows, copies + c * j->channel);
        }
    }
}

/* ---- sums ---- */

/* Channels of a panel, of an item's pixels from .. end. */
static void sum_panel(const flat_job *j, const item *i, int64_t panel, int64_t from, int64_t end,
                      const float *copies) {
    const nacre_conv_sums *s = &j->s;
    const nacre_conv_axis *row = &s->c.row;
    int64_t row_first[NACRE_CONV_MOST_TAPS], row_end[NACRE_CONV_MOST_TAPS];
    for (int64_t r = 0; r < row->taps; r++) {
        row_first[r] = (j->first[0][r] - i->first) * s->out_columns;
        row_end[r] = (j->end[0][r] - i->first) * s->out_columns;
    }
    const nacre_conv_sight sight = {.whole = j->whole,
                                    .columns = s->out_columns,
                                    .column = j->columns,
                                    .row_first = row_first,
                                    .row_end = row_end,
                                    .column_first = j->first[1],
                                    .column_end = j->end[1]};
    nacre_conv_sum sum = {.channels = s->in_channels,
                          .x_channel = j->channel,
                          .w_channel = row->taps * s->c.column.taps * NACRE_LANES,
                          .out_channel = s->out_rows * s->out_columns,
                          .row = j->row,
                          .column = j->column,
                          .rows = (int)row->taps,
                          .columns = (int)s->c.column.taps};
    int64_t group = i->image % s->c.groups;
    const float *w = s->weight + (group * s->panels + panel) * s->panel_floats;
    int64_t last = nacre_smaller(s->out_channels, (panel + 1) * NACRE_LANES);
    for (int64_t o = panel * NACRE_LANES, outs; o < last; o += outs) {
        outs = nacre_conv_next_outs(s, o, s->c.level->conv->outs);
        nacre_conv_after room;
        sum.after = nacre_conv_after_at(s, group, o, &room);
        float *out = s->out + (i->image * s->out_channels + o) * sum.out_channel;
        s->c.level->conv->sum_flat(&sum, &sight, (int)outs, from, end, copies, w + o % NACRE_LANES,
                                   s->bias ? s->bias + group * s->out_channels + o : NULL,
                                   out + i->first * s->out_columns);
    }
}

static void items_task(void *context, size_t index) {
    const flat_job *j = context;
    int64_t task = (int64_t)index, end = j->items * (task + 1) / j->tasks;
    float *area = j->areas + task * j->area, *copies = j->copies + task * j->copies_step;
    memset(area, 0, (size_t)j->area * sizeof *area);
    for (int64_t at = j->items * task / j->tasks; at < end; at++) {
        const item i = item_of(j, at);
        copy_channels(j, &i, 0, j->s.in_channels, area, copies);
        for (int64_t panel = 0; panel < j->s.panels; panel++)
            sum_panel(j, &i, panel, 0, i.rows * j->s.out_columns, copies);
    }
}

/* ---- few items: first all copies by input channels, then all outputs by output channels and pixels ---- */

static void copy_task(void *context, size_t index) {
    const flat_job *j = context;
    int64_t task = (int64_t)index, channels = j->items * j->s.in_channels;
    float *area = j->areas + task * j->area;
    memset(area, 0, (size_t)j->area * sizeof *area);
    for (int64_t c = channels * task / j->tasks; c < channels * (task + 1) / j->tasks; c++) {
        int64_t at = c / j->s.in_channels, channel = c % j->s.in_channels;
        const item i = item_of(j, at);
        copy_channels(j, &i, channel, channel + 1, area, j->copies + at * j->copies_step);
    }
}

static void sum_task(void *context, size_t index) {
    const flat_job *j = context;
    int64_t part = (int64_t)index % j->parts, panel = (int64_t)index / j->parts % j->s.panels;
    int64_t at = (int64_t)index / j->parts / j->s.panels;
    const item i = item_of(j, at);
    int64_t pixels = i.rows * j->s.out_columns, vectors = nacre_parts(pixels, NACRE_LANES);
    int64_t from = vectors * part / j->parts * NACRE_LANES;
    int64_t end = nacre_smaller(pixels, vectors * (part + 1) / j->parts * NACRE_LANES);
    sum_panel(j, &i, panel, from, end, j->copies + at * j->copies_step);
}

/* ---- a step ---- */

static int64_t copies_floats(const flat_job *j) {
    return (j->split ? j->items : j->tasks) * j->copies_step;
}

static void run_flat(const nacre_plan_op *step, void *scratch) {
    nacre_conv_sums s = nacre_conv_sums_of(step);
    if (nacre_shape_numel(&step->out[0].shape) == 0) return;
    float *rest = nacre_conv_take_weights(&s, step, nacre_conv_take_norm(&s, scratch));
    flat_job j = job_of(&s);
    j.copies = rest;
    j.areas = j.copies + copies_floats(&j);
    j.columns = j.areas + j.tasks * j.area;
    find_taps(&j);
    nacre_parallel((size_t)j.tasks, j.split ? copy_task : items_task, &j);
    if (j.split) nacre_parallel((size_t)(j.items * s.panels * j.parts), sum_task, &j);
}

bool nacre_conv_flat_prepare(nacre_plan_op *step, const nacre_conv_sums *s) {
    if (nacre_shape_numel(&step->out[0].shape) == 0)
        return nacre_cpu_use(step, run_flat, 0, "direct");
    flat_job j = job_of(s);
    int64_t floats = s->norm_floats + nacre_conv_packed_floats(s) + copies_floats(&j) +
                     j.tasks * j.area + whole_vectors(j.pixels);
    return nacre_cpu_use(step, run_flat, (size_t)floats * sizeof(float), "direct");
}
