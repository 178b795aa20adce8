/* The gradient of a convolution's weights (and bias): products of output gradients and inputs, summed over samples
   and pixels. Lanes are kept apart until the end of a task and joined by the tree of all sums. */
#include "backend/cpu/conv.h"

#include "base/pool.h"

#include <string.h>

enum {
    MANY_SUMS = 4096,   /* enough tasks to share: then the blocks need no parts */
    PARTS = 4,          /* of the blocks: each sums its own, then they are added in order */
    PART_PIXELS = 8192, /* of a part at least: joining its sums must not cost more than it gains */
    MOST_SUMS = 512,    /* of one task: 32 KiB */
    MOST_ROW = 5,       /* taps of a kernel row under one tile */
    POINTWISE_TAPS = 24,
    MOST_RUN = 3, /* channels side by side where the window is one pixel */
    NARROW = 4,   /* fewer columns than this are summed over all rows at once */
};
/* Output gradients of a tile that stay in the second-level cache. */
#define TOGETHER_BYTES ((int64_t)256 << 10)
/* Rows of output gradients that are read for one kernel row after the other. More than the first-level cache holds:
   longer runs under the same taps gain more than the second-level one costs. */
#define ROWS_BYTES ((int64_t)64 << 10)

/* Outputs [first, end) of an axis, and the taps [tap, tap_end) that lie inside x there. */
typedef struct stretch {
    int64_t first, end, tap, tap_end;
} stretch;

/* An axis as stretches; the first and the last tap inside each move at most once a tap. */
typedef struct stretches {
    stretch item[2 * NACRE_CONV_MOST_TAPS + 1];
    int count;
} stretches;

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
    int64_t together; /* blocks that a tile runs over before the next one begins */
    int chunk;        /* taps of a line under one tile */
    int64_t x_plane, y_plane;
    stretches rows, columns;
    int64_t weight_floats, bias_floats;
} weights;

typedef struct task {
    const weights *w;
    int64_t part, group, first_out, outs, first_line, end_line;
    const float *x, *dy; /* of the group and first block at hand */
    int64_t images;      /* blocks at hand */
    float acc[MOST_SUMS * NACRE_LANES];
    float acc_bias[NACRE_CONV_OUTS * NACRE_LANES];
} task;

/* A tile's taps: rows and columns of the kernel, or channels beside each other; acc: of the first one. */
typedef struct tile_taps {
    int64_t channel, row, column;
    int rows, columns, channels;
    float *acc;
} tile_taps;

static void find_stretches(const nacre_conv_axis *axis, stretches *out) {
    out->count = 0;
    for (int64_t y = 0; y < axis->y; y++) {
        int64_t outside = axis->padding - y * axis->stride, last = axis->x - 1 + outside;
        int64_t tap = outside > 0 ? nacre_parts(outside, axis->dilation) : 0;
        int64_t end = last < 0 ? 0 : nacre_smaller(axis->taps, last / axis->dilation + 1);
        tap = nacre_smaller(tap, end);
        stretch *open = out->count ? &out->item[out->count - 1] : NULL;
        if (open && open->tap == tap && open->tap_end == end)
            open->end = y + 1;
        else
            out->item[out->count++] = (stretch){y, y + 1, tap, end};
    }
}

/* The next outputs from *at on, before `end`, over which the same ones of taps [from, to) lie inside; those with
   none are passed over. */
static bool next_stretch(const stretches *all, int64_t *at, int64_t end, int64_t from, int64_t to,
                         stretch *out) {
    *out = (stretch){0, 0, 0, 0};
    for (int i = 0; i < all->count && *at < end; i++) {
        const stretch *s = &all->item[i];
        if (s->end <= *at) continue;
        int64_t tap = nacre_larger(from, s->tap), tap_end = nacre_smaller(to, s->tap_end);
        bool open = out->end > out->first;
        if (open && (tap != out->tap || tap_end != out->tap_end)) return true;
        int64_t next = nacre_smaller(s->end, end);
        if (tap < tap_end) *out = (stretch){open ? out->first : *at, next, tap, tap_end};
        *at = next;
    }
    return out->end > out->first;
}

/* Sums over a rectangle of outputs, under those of the tile's taps that lie inside x there. */
static void sum_rectangle(const task *t, const tile_taps *taps, const stretch *rows,
                          const stretch *columns) {
    const weights *w = t->w;
    const nacre_conv *c = &w->c;
    int64_t offset[NACRE_CONV_TAPS], slot[NACRE_CONV_TAPS], x_row = c->column.x * NACRE_LANES;
    int64_t row = rows->first * c->row.stride - c->row.padding;
    int64_t column = columns->first * c->column.stride - c->column.padding;
    int count = 0;
    for (int i = 0; i < taps->channels; i++) {
        for (int64_t r = rows->tap; r < rows->tap_end; r++) {
            for (int64_t k = columns->tap; k < columns->tap_end; k++) {
                offset[count] = (taps->channel + i) * w->x_plane +
                                (row + r * c->row.dilation) * x_row +
                                (column + k * c->column.dilation) * NACRE_LANES;
                int64_t tap = (i * taps->rows + r - taps->row) * taps->columns + k - taps->column;
                slot[count++] = tap * t->outs * NACRE_LANES;
            }
        }
    }
    if (count == 0) return;
    nacre_conv_products p = {.images = t->images,
                             .dy_image = c->groups * c->y_channels * w->y_plane,
                             .x_image = c->groups * c->x_channels * w->x_plane,
                             .rows = rows->end - rows->first,
                             .pixels = columns->end - columns->first,
                             .dy_channel = w->y_plane,
                             .dy_row = c->column.y * NACRE_LANES,
                             .x_row = c->row.stride * x_row,
                             .x_step = c->column.stride * NACRE_LANES,
                             .tap = offset,
                             .slot = slot};
    int64_t first = (rows->first * c->column.y + columns->first) * NACRE_LANES;
    c->level->conv->products(&p, (int)t->outs, count, t->dy + first, t->x, taps->acc);
}

/* Output rows [first, end): cut into rectangles over which the same taps lie inside, narrow ones or the others. */
static void sum_rows(const task *t, const tile_taps *taps, int64_t first, int64_t end,
                     bool narrow) {
    const weights *w = t->w;
    int64_t columns_end = w->c.column.y;
    stretch rows, columns;
    while (next_stretch(&w->rows, &first, end, taps->row, taps->row + taps->rows, &rows)) {
        int64_t at = 0;
        while (next_stretch(&w->columns, &at, columns_end, taps->column,
                            taps->column + taps->columns, &columns)) {
            if ((columns.end - columns.first < NARROW) == narrow)
                sum_rectangle(t, taps, &rows, &columns);
        }
    }
}

/* ---- blocks ---- */

/* Channels of a tile, more or less: what orders the sums is the same at every kernel level. */
static int64_t usual_outs(const nacre_conv *c) {
    return nacre_larger(1, nacre_smaller(c->y_channels, NACRE_CONV_OUTS / 2));
}

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

/* Output rows [first, end) of the blocks at hand, under all taps of the task. */
static void sum_lines(task *t, int64_t first, int64_t end, bool narrow) {
    float *acc = t->acc;
    for (int64_t line = t->first_line; line < t->end_line; line++) {
        tile_taps taps;
        for (int64_t done = 0; next_taps(t->w, line, &done, &taps);) {
            taps.acc = acc;
            acc += taps.rows * taps.columns * taps.channels * t->outs * NACRE_LANES;
            sum_rows(t, &taps, first, end, narrow);
        }
    }
}

static void run_blocks(task *t, int64_t block, int64_t count) {
    const weights *w = t->w;
    const nacre_conv *c = &w->c;
    t->images = count;
    t->x = w->x + (block * c->groups + t->group) * c->x_channels * w->x_plane;
    t->dy = w->dy + ((block * c->groups + t->group) * c->y_channels + t->first_out) * w->y_plane;
    int64_t row_bytes = c->column.y * NACRE_LANES * (int64_t)sizeof(float);
    int64_t rows = nacre_larger(1, ROWS_BYTES / (usual_outs(c) * row_bytes + 1));
    int64_t parts = w->kind == LINES_WINDOW ? 1 : nacre_parts(c->row.y, rows);
    for (int64_t i = 0; i < parts; i++)
        sum_lines(t, c->row.y * i / parts, c->row.y * (i + 1) / parts, false);
    sum_lines(t, 0, c->row.y, true);
    for (int64_t i = 0; i < count && t->first_line == 0; i++)
        for (int64_t o = 0; o < t->outs; o++)
            c->level->conv->sum_pixels(c->row.y * c->column.y,
                                       t->dy + (i * c->groups * c->y_channels + o) * w->y_plane,
                                       t->acc_bias + o * NACRE_LANES);
}

static int64_t first_tap(const weights *w, int64_t line) {
    return nacre_smaller(line * w->line_taps, w->lines * w->line_taps);
}

/* Taps of the task's lines. */
static int64_t task_taps(const task *t) {
    const nacre_conv *c = &t->w->c;
    int64_t all = c->x_channels * c->row.taps * c->column.taps;
    return nacre_smaller(first_tap(t->w, t->end_line), all) - first_tap(t->w, t->first_line);
}

static void clear(task *t) {
    memset(t->acc, 0, (size_t)(task_taps(t) * t->outs * NACRE_LANES) * sizeof *t->acc);
    memset(t->acc_bias, 0, sizeof t->acc_bias);
}

/* Adds the task's sums to its part's results, and clears them. */
static void join(task *t, int samples) {
    const weights *w = t->w;
    const nacre_conv *c = &w->c;
    int64_t all = c->x_channels * c->row.taps * c->column.taps;
    int64_t from = first_tap(w, t->first_line), taps = task_taps(t);
    float sums[MOST_SUMS] = {0}, bias[NACRE_CONV_OUTS] = {0};
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
    clear(t);
}

static void weights_task(void *context, size_t index) {
    const weights *w = context;
    const nacre_conv *c = &w->c;
    task t;
    t.w = w;
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
    clear(&t);
    int64_t end = c->blocks * (t.part + 1) / w->parts;
    int rest = (int)(c->samples % NACRE_LANES);
    bool partial = rest && t.part == w->parts - 1;
    for (int64_t block = c->blocks * t.part / w->parts; block < end - partial;) {
        int64_t count = nacre_smaller(w->together, end - partial - block);
        run_blocks(&t, block, count);
        block += count;
    }
    join(&t, NACRE_LANES);
    if (!partial) return;
    run_blocks(&t, end - 1, 1);
    join(&t, rest);
}

/* How the taps are cut into lines, and lines into tiles. */
static void plan_lines(weights *w) {
    const nacre_conv *c = &w->c;
    int64_t window = c->row.taps * c->column.taps;
    w->kind = window == 1 ? LINES_POINTWISE : window <= NACRE_CONV_TAPS ? LINES_WINDOW : LINES_ROW;
    if (w->kind == LINES_POINTWISE) {
        w->chunk = MOST_RUN;
        w->line_taps = POINTWISE_TAPS;
        w->lines = nacre_parts(c->x_channels, POINTWISE_TAPS);
    } else if (w->kind == LINES_WINDOW) {
        w->chunk = (int)window;
        w->line_taps = window;
        w->lines = c->x_channels;
    } else {
        w->line_taps = c->column.taps;
        w->lines = c->x_channels * c->row.taps;
        w->chunk = (int)nacre_parts(w->line_taps, nacre_parts(w->line_taps, MOST_ROW));
    }
}

static weights weights_of(const nacre_plan_op *step) {
    weights w = {
        .c = nacre_conv_of(step, &step->in[0].shape, &step->in[1].shape, &step->out[0].shape)};
    const nacre_conv *c = &w.c;
    w.x_plane = c->row.x * c->column.x * NACRE_LANES;
    w.y_plane = c->row.y * c->column.y * NACRE_LANES;
    plan_lines(&w);
    int64_t most = c->level->conv->outs_beside[w.chunk - 1];
    w.out_tiles = nacre_parts(c->y_channels, most);
    w.outs = nacre_parts(c->y_channels, nacre_larger(1, w.out_tiles));
    if (w.outs > 0) w.out_tiles = nacre_parts(c->y_channels, w.outs);
    int64_t sums = nacre_larger(1, w.outs) * w.line_taps;
    w.units = nacre_parts(w.lines, nacre_larger(1, MOST_SUMS / sums));
    bool many = c->groups * c->y_channels * w.lines * w.line_taps >= MANY_SUMS;
    int64_t parts = c->blocks * NACRE_LANES * c->row.y * c->column.y / PART_PIXELS;
    w.parts = many ? 1 : nacre_larger(1, nacre_smaller(nacre_smaller(c->blocks, parts), PARTS));
    int64_t bytes = usual_outs(c) * w.y_plane * (int64_t)sizeof(float);
    w.together = nacre_larger(1, TOGETHER_BYTES / (bytes + 1));
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
    find_stretches(&w.c.row, &w.rows);
    find_stretches(&w.c.column, &w.columns);
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
    if (nacre_winograd_weight_suits(&w.c)) return nacre_winograd_weight_prepare(step);
    size_t part_bytes = (size_t)(w.weight_floats + w.bias_floats) * sizeof(float);
    return nacre_cpu_use(step, run_weights, (size_t)(w.parts - 1) * part_bytes, "direct in lanes");
}
