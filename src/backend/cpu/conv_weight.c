/* The gradient of a convolution's weights (and bias): products of output gradients and inputs, summed over samples
   and pixels. Lanes are kept apart until the end of a task and joined by the tree of all sums. */
#include "backend/cpu/conv.h"

#include "base/pool.h"

#include <string.h>

enum {
    PARTS = 4,      /* of the blocks: each sums its own, then they are added in order */
    UNIT_TAPS = 24, /* under one task, about */
    MOST_UNIT_TAPS = 64,
    MOST_OUTS = 8,
    MOST_ROW = 5, /* taps of a kernel row under one tile */
    MOST_RUN = 3, /* channels side by side where the window is one pixel */
};
/* Rows of output gradients that stay in the first-level cache, where they are read for one kernel row after the
   other. */
#define ROWS_BYTES ((int64_t)24 << 10)

/* Taps are numbered as in a filter: (channel, row, column). A line of taps lies under tiles together. */
typedef enum lines {
    LINES_WINDOW,    /* a channel's taps, all under one tile */
    LINES_ROW,       /* of a channel, one kernel row */
    LINES_POINTWISE, /* of one-pixel windows: many channels */
} lines;

typedef struct weights {
    nacre_conv c;
    const float *x, *dy;
    float *dweight, *dbias; /* of part 0; others follow in scratch */
    float *scratch;
    int64_t parts, outs, out_tiles; /* outs: channels of a tile */
    lines kind;
    int64_t lines, line_taps, units;
    int chunk; /* taps of a line under one tile */
    int64_t x_plane, y_plane;
    int64_t weight_floats, bias_floats;
} weights;

typedef struct task {
    const weights *w;
    int64_t part, group, first_out, outs, first_line, end_line;
    const float *x, *dy; /* of the group and block at hand */
    float acc[MOST_UNIT_TAPS * MOST_OUTS * NACRE_LANES];
    float acc_bias[MOST_OUTS * NACRE_LANES];
} task;

/* Output pixels [first, end) on both axes. */
typedef struct area {
    int64_t first_row, end_row, first_column, end_column;
} area;

/* A tile's taps: rows and columns of the kernel, or channels beside each other; acc: of the first one. */
typedef struct tile_taps {
    int64_t channel, row, column;
    int rows, columns, channels;
    float *acc;
} tile_taps;

static bool is_empty(const area *a) {
    return a->first_row >= a->end_row || a->first_column >= a->end_column;
}

/* Sums over an area where all of the taps lie inside x. */
static void sum_inside(const task *t, const tile_taps *taps, area a) {
    const weights *w = t->w;
    const nacre_conv *c = &w->c;
    if (is_empty(&a)) return;
    int64_t offset[NACRE_CONV_TAPS], x_row = c->column.x * NACRE_LANES;
    int64_t column = a.first_column * c->column.stride - c->column.padding;
    int count = 0;
    for (int i = 0; i < taps->channels; i++)
        for (int r = 0; r < taps->rows; r++)
            for (int k = 0; k < taps->columns; k++)
                offset[count++] = i * w->x_plane + r * c->row.dilation * x_row +
                                  (column + (taps->column + k) * c->column.dilation) * NACRE_LANES;
    int64_t row = a.first_row * c->row.stride - c->row.padding + taps->row * c->row.dilation;
    nacre_conv_products p = {.rows = a.end_row - a.first_row,
                             .pixels = a.end_column - a.first_column,
                             .dy_channel = w->y_plane,
                             .dy_row = c->column.y * NACRE_LANES,
                             .x_row = c->row.stride * x_row,
                             .x_step = c->column.stride * NACRE_LANES,
                             .tap = offset,
                             .acc_outs = (int)t->outs};
    c->level->conv->products(&p, (int)t->outs, count,
                             t->dy + (a.first_row * c->column.y + a.first_column) * NACRE_LANES,
                             t->x + taps->channel * w->x_plane + row * x_row, taps->acc);
}

/* The same where some taps of a kernel row may lie outside: together where all lie inside, then column by
   column. */
static void sum_row(const task *t, const tile_taps *taps, area a) {
    const nacre_conv *c = &t->w->c;
    int64_t first[NACRE_CONV_TAPS], end[NACRE_CONV_TAPS], low, high;
    nacre_conv_valid(&c->row, taps->row, &low, &high);
    a.first_row = nacre_larger(a.first_row, low);
    a.end_row = nacre_smaller(a.end_row, high);
    if (is_empty(&a)) return;
    area inside = a;
    for (int k = 0; k < taps->columns; k++) {
        nacre_conv_valid(&c->column, taps->column + k, &first[k], &end[k]);
        inside.first_column = nacre_larger(inside.first_column, first[k]);
        inside.end_column = nacre_smaller(inside.end_column, end[k]);
    }
    sum_inside(t, taps, inside);
    for (int64_t column = a.first_column; column < a.end_column; column++) {
        if (column == inside.first_column && !is_empty(&inside)) column = inside.end_column;
        tile_taps some = *taps;
        int from = 0, to = taps->columns;
        while (from < to && (column < first[from] || column >= end[from])) from++;
        while (to > from && (column < first[to - 1] || column >= end[to - 1])) to--;
        some.column += from;
        some.columns = to - from;
        some.acc += from * t->outs * NACRE_LANES;
        area one = {a.first_row, a.end_row, column, column + 1};
        if (to > from && column < a.end_column) sum_inside(t, &some, one);
    }
}

/* A whole window: together where all of it lies inside, then the frame around, a kernel row at a time. */
static void sum_window(const task *t, const tile_taps *taps) {
    const nacre_conv *c = &t->w->c;
    area inside = {0, c->row.y, 0, c->column.y};
    for (int side = 0; side < 2; side++) {
        int64_t low, high;
        nacre_conv_valid(&c->row, side * (taps->rows - 1), &low, &high);
        inside.first_row = nacre_larger(inside.first_row, low);
        inside.end_row = nacre_smaller(inside.end_row, high);
        nacre_conv_valid(&c->column, side * (taps->columns - 1), &low, &high);
        inside.first_column = nacre_larger(inside.first_column, low);
        inside.end_column = nacre_smaller(inside.end_column, high);
    }
    if (is_empty(&inside)) inside = (area){0, 0, 0, 0};
    sum_inside(t, taps, inside);
    const area frame[] = {
        {0, inside.first_row, 0, c->column.y},
        {inside.end_row, c->row.y, 0, c->column.y},
        {inside.first_row, inside.end_row, 0, inside.first_column},
        {inside.first_row, inside.end_row, inside.end_column, c->column.y},
    };
    for (int r = 0; r < taps->rows; r++) {
        tile_taps row = {taps->channel,
                         r,
                         0,
                         1,
                         taps->columns,
                         1,
                         taps->acc + r * taps->columns * t->outs * NACRE_LANES};
        for (size_t i = 0; i < sizeof frame / sizeof frame[0]; i++)
            if (!is_empty(&frame[i])) sum_row(t, &row, frame[i]);
    }
}

/* ---- blocks ---- */

/* The taps of a line that one tile after the other takes; false when there are no more. */
static bool next_taps(const weights *w, int64_t line, int64_t *done, tile_taps *out) {
    const nacre_conv *c = &w->c;
    int64_t all = w->line_taps;
    if (w->kind == LINES_POINTWISE) all = nacre_smaller(all, c->x_channels - line * w->line_taps);
    if (*done >= all) return false;
    int count = (int)nacre_smaller(w->chunk, all - *done);
    *out = (tile_taps){.rows = 1, .columns = 1, .channels = 1};
    if (w->kind == LINES_POINTWISE) {
        out->channel = line * w->line_taps + *done;
        out->channels = count;
    } else if (w->kind == LINES_ROW) {
        out->channel = line / c->row.taps;
        out->row = line % c->row.taps;
        out->column = *done;
        out->columns = count;
    } else {
        out->channel = line;
        out->rows = (int)c->row.taps;
        out->columns = (int)c->column.taps;
    }
    *done += count;
    return true;
}

static void run_block(task *t, int64_t block) {
    const weights *w = t->w;
    const nacre_conv *c = &w->c;
    t->x = w->x + (block * c->groups + t->group) * c->x_channels * w->x_plane;
    t->dy = w->dy + ((block * c->groups + t->group) * c->y_channels + t->first_out) * w->y_plane;
    int64_t row_bytes = c->column.y * NACRE_LANES * (int64_t)sizeof(float);
    int64_t rows = nacre_larger(1, ROWS_BYTES / (t->outs * row_bytes + 1));
    if (w->kind == LINES_WINDOW) rows = c->row.y;
    for (int64_t row = 0; row < c->row.y; row += rows) {
        area a = {row, nacre_smaller(row + rows, c->row.y), 0, c->column.y};
        float *acc = t->acc;
        for (int64_t line = t->first_line; line < t->end_line; line++) {
            tile_taps taps;
            for (int64_t done = 0; next_taps(w, line, &done, &taps);) {
                taps.acc = acc;
                acc += taps.rows * taps.columns * taps.channels * t->outs * NACRE_LANES;
                if (w->kind == LINES_WINDOW)
                    sum_window(t, &taps);
                else
                    sum_row(t, &taps, a);
            }
        }
    }
    if (t->first_line > 0) return;
    for (int64_t o = 0; o < t->outs; o++)
        c->level->conv->sum_pixels(c->row.y * c->column.y, t->dy + o * w->y_plane,
                                   t->acc_bias + o * NACRE_LANES);
}

static int64_t first_tap(const weights *w, int64_t line) {
    return nacre_smaller(line * w->line_taps, w->lines * w->line_taps);
}

/* Adds the task's sums to its part's results, and clears them. */
static void join(task *t, int samples) {
    const weights *w = t->w;
    const nacre_conv *c = &w->c;
    int64_t all = c->x_channels * c->row.taps * c->column.taps;
    int64_t from = first_tap(w, t->first_line);
    int64_t taps = nacre_smaller(first_tap(w, t->end_line), all) - from;
    float sums[MOST_UNIT_TAPS * MOST_OUTS] = {0}, bias[MOST_OUTS] = {0};
    c->level->conv->join_lanes(taps * t->outs, samples, t->acc, sums);
    float *part = t->part ? w->scratch + (t->part - 1) * (w->weight_floats + w->bias_floats) : NULL;
    float *dweight = part ? part : w->dweight, *dbias = part ? part + w->weight_floats : w->dbias;
    int64_t first = t->group * c->y_channels + t->first_out;
    for (int64_t o = 0; o < t->outs; o++)
        for (int64_t k = 0; k < taps; k++)
            dweight[(first + o) * all + from + k] += sums[k * t->outs + o];
    if (t->first_line == 0) {
        c->level->conv->join_lanes(t->outs, samples, t->acc_bias, bias);
        for (int64_t o = 0; o < t->outs; o++) dbias[first + o] += bias[o];
    }
    memset(t->acc, 0, (size_t)(taps * t->outs * NACRE_LANES) * sizeof *t->acc);
    memset(t->acc_bias, 0, sizeof t->acc_bias);
}

static void weights_task(void *context, size_t index) {
    const weights *w = context;
    const nacre_conv *c = &w->c;
    task t = {.w = w};
    int64_t i = (int64_t)index, unit = i % w->units;
    i /= w->units;
    int64_t tile = i % w->out_tiles;
    i /= w->out_tiles;
    t.group = i % c->groups;
    t.part = i / c->groups;
    t.first_out = tile * w->outs;
    t.outs = nacre_smaller(w->outs, c->y_channels - t.first_out);
    t.first_line = w->lines * unit / w->units;
    t.end_line = w->lines * (unit + 1) / w->units;
    int64_t end = c->blocks * (t.part + 1) / w->parts;
    int rest = (int)(c->samples % NACRE_LANES);
    for (int64_t block = c->blocks * t.part / w->parts; block < end; block++) {
        bool partial = rest && block == c->blocks - 1;
        if (partial) join(&t, NACRE_LANES);
        run_block(&t, block);
        if (partial) join(&t, rest);
    }
    join(&t, NACRE_LANES);
}

static weights weights_of(const nacre_plan_op *step) {
    weights w = {
        .c = nacre_conv_of(step, &step->in[0].shape, &step->in[1].shape, &step->out[0].shape)};
    const nacre_conv *c = &w.c;
    const nacre_conv_kernels *kernels = c->level->conv;
    int64_t window = c->row.taps * c->column.taps;
    w.parts = nacre_larger(1, nacre_smaller(c->blocks, PARTS));
    w.x_plane = c->row.x * c->column.x * NACRE_LANES;
    w.y_plane = c->row.y * c->column.y * NACRE_LANES;
    w.kind = window == 1 ? LINES_POINTWISE : window <= NACRE_CONV_TAPS ? LINES_WINDOW : LINES_ROW;
    if (w.kind == LINES_POINTWISE) {
        w.chunk = MOST_RUN;
        w.line_taps = UNIT_TAPS;
        w.units = w.lines = nacre_parts(c->x_channels, UNIT_TAPS);
    } else if (w.kind == LINES_WINDOW) {
        w.chunk = (int)window;
        w.line_taps = window;
        w.lines = c->x_channels;
    } else {
        w.line_taps = c->column.taps;
        w.lines = c->x_channels * c->row.taps;
        w.chunk = (int)nacre_parts(w.line_taps, nacre_parts(w.line_taps, MOST_ROW));
    }
    if (w.kind != LINES_POINTWISE)
        w.units = nacre_parts(w.lines, nacre_larger(1, UNIT_TAPS / w.line_taps));
    int64_t most = kernels->outs_beside[w.chunk - 1];
    w.out_tiles = nacre_parts(c->y_channels, most);
    w.outs = nacre_parts(c->y_channels, nacre_larger(1, w.out_tiles));
    if (w.outs > 0) w.out_tiles = nacre_parts(c->y_channels, w.outs);
    w.weight_floats = nacre_shape_numel(&step->out[0].shape);
    w.bias_floats = nacre_shape_numel(&step->out[1].shape);
    return w;
}

static void run_weights(const nacre_plan_op *step, void *scratch) {
    weights w = weights_of(step);
    w.x = step->in[0].data;
    w.dy = step->in[1].data;
    w.dweight = step->out[0].data;
    w.dbias = step->out[1].data;
    w.scratch = scratch;
    size_t part_floats = (size_t)(w.weight_floats + w.bias_floats);
    memset(w.dweight, 0, (size_t)w.weight_floats * sizeof(float));
    memset(w.dbias, 0, (size_t)w.bias_floats * sizeof(float));
    memset(w.scratch, 0, (size_t)(w.parts - 1) * part_floats * sizeof(float));
    int64_t tasks = w.parts * w.c.groups * w.out_tiles * w.units;
    if (w.c.blocks > 0) nacre_parallel((size_t)tasks, weights_task, &w);
    nacre_tile_function *add = w.c.level->elementwise->tile[NACRE_TILE_ADD];
    for (int64_t part = 1; part < w.parts; part++) {
        const float *from = w.scratch + (size_t)(part - 1) * part_floats;
        add((size_t)w.weight_floats, w.dweight, w.dweight, from, NULL);
        add((size_t)w.bias_floats, w.dbias, w.dbias, from + w.weight_floats, NULL);
    }
}

bool nacre_cpu_prepare_conv_weight(nacre_plan_op *step) {
    if (!step->in[0].laned) return nacre_cpu_use_reference(step);
    weights w = weights_of(step);
    size_t part_bytes = (size_t)(w.weight_floats + w.bias_floats) * sizeof(float);
    return nacre_cpu_use(step, run_weights, (size_t)(w.parts - 1) * part_bytes,
                         "laned weight gradient");
}
