/* Convolutions of 3 x 3 windows by Winograd's algorithm: tiles of 4 x 4 pixels are transformed, the 16 products of
   a tile are each a sum over channels, and every sum gives back 2 x 2 pixels. 2.25 times fewer multiplications. The
   lanes are 16 samples, or 16 tiles of a sample alone; such a group counts as one tile here. */
#include "backend/cpu/winograd.h"

#include "base/pool.h"

#include <string.h>

enum {
    PRODUCTS = NACRE_WINOGRAD_PRODUCTS,
    SIDE = NACRE_WINOGRAD_SIDE,
    OUT_SIDE = NACRE_WINOGRAD_OUT_SIDE,
    LEAST_CHANNELS = 8, /* on both sides: below, the transforms cost more than they save */
    MOST_TILES = 8,     /* transformed together */
    MOST_OUTS = 6, /* channels whose products lie in the first-level cache, four tiles at a time */
    SLOTS = 16,    /* tasks, each with scratch of its own: that many threads at most can help */
};
/* Transformed pixels of a slot, which stay in the second-level cache. */
#define SLOT_BYTES ((int64_t)256 << 10)

typedef struct winograd_job {
    nacre_conv_sums s;
    const float *weight;
    float *packed;                          /* its panels */
    float *weights;                         /* [panel][product][in channel][16 outs] */
    float *pixels;                          /* of each slot: [product][in channel][tile][16] */
    int64_t top, left;                      /* padding as seen from the outputs */
    int64_t tile_rows, tile_columns, tiles; /* tiles: of an image, or groups of 16 of them */
    float *padded;                          /* samples alone, with zeros around their planes */
    nacre_conv_padding padding;
    int64_t items;
    int64_t chunk, chunks; /* tiles transformed together; chunks of an image */
    int64_t slots, slot_floats;
} winograd_job;

bool nacre_winograd_suits(const nacre_conv_sums *s) {
    return nacre_winograd_takes(&s->c) && s->in_channels >= LEAST_CHANNELS &&
           s->out_channels >= LEAST_CHANNELS;
}

static int64_t product_floats(const winograd_job *j) {
    return j->s.in_channels * NACRE_LANES; /* of a panel's weights */
}

static void weights_task(void *context, size_t panel) {
    const winograd_job *j = context;
    float *packed = j->packed + (int64_t)panel * j->s.panel_floats;
    nacre_conv_pack_panel(&j->s, j->weight, panel, packed);
    j->s.c.level->winograd->weights(j->s.in_channels, j->s.backward, packed,
                                    j->weights + (int64_t)panel * PRODUCTS * product_floats(j),
                                    product_floats(j));
}

/* ---- a chunk of tiles ---- */

/* From one product's pixels to the next's, a pixel more than they take: at a distance of many cache lines, a power
   of two of them, all 16 would fall into one set of the cache. */
static int64_t pixels_step(const winograd_job *j, int64_t tiles) {
    return (j->s.in_channels * tiles + 1) * NACRE_LANES;
}

/* Neighbours in a row among the 16 tiles of a group. */
typedef struct tile_run {
    int64_t lane, row, column, count;
} tile_run;

/* The run that begins at `lane` of a group; false: there is no tile left. */
static bool next_run(const winograd_job *j, int64_t group, int64_t lane, tile_run *run) {
    int64_t tile = group * NACRE_LANES + lane, left = NACRE_LANES - lane;
    if (left == 0 || tile >= j->tile_rows * j->tile_columns) return false;
    *run =
        (tile_run){.lane = lane, .row = tile / j->tile_columns, .column = tile % j->tile_columns};
    run->count = nacre_smaller(left, j->tile_columns - run->column);
    return true;
}

/* Groups first .. first + groups of all channels of a sample alone. */
static void transform_groups(const winograd_job *j, int64_t sample, int64_t first, int64_t groups,
                             float *out) {
    const nacre_conv_sums *s = &j->s;
    const nacre_winograd_kernels *kernels = s->c.level->winograd;
    int64_t step = pixels_step(j, groups);
    float tile[SIDE * SIDE * NACRE_LANES] = {0};
    for (int64_t c = 0; c < s->in_channels; c++) {
        const nacre_conv_padding *p = &j->padding;
        const float *x = j->padded + (sample * s->in_channels + c) * p->rows * p->row;
        for (int64_t g = 0; g < groups; g++, out += NACRE_LANES) {
            tile_run run;
            for (int64_t lane = 0; next_run(j, first + g, lane, &run); lane += run.count)
                kernels->gather(run.count, x + OUT_SIDE * (run.row * p->row + run.column), p->row,
                                tile + lane);
            kernels->input(15, 15, tile, SIDE * NACRE_LANES, out, step);
        }
    }
}

/* Tiles first .. first + tiles of all channels of a block. */
static void transform_tiles(const winograd_job *j, int64_t block, int64_t first, int64_t tiles,
                            float *out) {
    const nacre_conv_sums *s = &j->s;
    int64_t x_row = s->in_columns * NACRE_LANES, plane = s->in_rows * x_row;
    int64_t step = pixels_step(j, tiles), at[MOST_TILES];
    unsigned rows[MOST_TILES], columns[MOST_TILES];
    for (int64_t t = 0; t < tiles; t++) {
        int64_t row = (first + t) / j->tile_columns * OUT_SIDE - j->top;
        int64_t column = (first + t) % j->tile_columns * OUT_SIDE - j->left;
        rows[t] = nacre_winograd_inside(row, s->in_rows);
        columns[t] = nacre_winograd_inside(column, s->in_columns);
        at[t] = row * x_row + column * NACRE_LANES;
    }
    /* A channel at a time: neighbouring tiles lie side by side. */
    for (int64_t c = 0; c < s->in_channels; c++) {
        const float *x = s->in + (block * s->in_channels + c) * plane;
        for (int64_t t = 0; t < tiles; t++, out += NACRE_LANES)
            s->c.level->winograd->input(rows[t], columns[t], x + at[t], x_row, out, step);
    }
}

/* The 2 x 2 pixels of a tile of a plane, from its products. */
static void write_tile(const winograd_job *j, const float *products, int64_t step,
                       const float *bias, const nacre_conv_after *after, int64_t tile,
                       float *plane) {
    const nacre_conv_sums *s = &j->s;
    int64_t row = tile / j->tile_columns * OUT_SIDE, column = tile % j->tile_columns * OUT_SIDE;
    int64_t y_row = s->out_columns * NACRE_LANES;
    s->c.level->winograd->output(products, step, bias, after,
                                 (int)nacre_smaller(OUT_SIDE, s->out_rows - row),
                                 (int)nacre_smaller(OUT_SIDE, s->out_columns - column),
                                 plane + row * y_row + column * NACRE_LANES, y_row);
}

static void write_group(const winograd_job *j, const float *products, int64_t step,
                        const float *bias, const nacre_conv_after *after, int64_t group,
                        float *plane) {
    const nacre_conv_sums *s = &j->s;
    const nacre_winograd_kernels *kernels = s->c.level->winograd;
    float y[OUT_SIDE][OUT_SIDE * NACRE_LANES], line[OUT_SIDE * NACRE_LANES];
    nacre_conv_after lanes;
    kernels->output(products, step, bias, nacre_conv_after_in_lanes(after, &lanes), OUT_SIDE,
                    OUT_SIDE, y[0], OUT_SIDE * NACRE_LANES);
    tile_run run;
    for (int64_t lane = 0; next_run(j, group, lane, &run); lane += run.count) {
        int64_t row = run.row * OUT_SIDE, column = run.column * OUT_SIDE;
        int64_t columns = nacre_smaller(OUT_SIDE * run.count, s->out_columns - column);
        for (int i = 0; i < OUT_SIDE && row + i < s->out_rows; i++) {
            for (int half = 0; half < OUT_SIDE; half++)
                memcpy(line + half * NACRE_LANES, y[i] + half * NACRE_LANES + lane,
                       (size_t)run.count * sizeof *line);
            kernels->scatter(columns, line, s->after.add ? &s->after : NULL,
                             plane + (row + i) * s->out_columns + column);
        }
    }
}

/* `outs` channels from o on, from the transformed pixels of a chunk. */
static void finish_outs(const winograd_job *j, const float *pixels, int64_t block, int64_t first,
                        int64_t tiles, int64_t o, int outs) {
    const nacre_conv_sums *s = &j->s;
    static const nacre_conv_tap one = {0, 0};
    float products[PRODUCTS * (MOST_OUTS * MOST_TILES + 1) * NACRE_LANES];
    int64_t step = (outs * tiles + 1) * NACRE_LANES;
    nacre_conv_sum sum = {.channels = s->in_channels,
                          .x_channel = tiles * NACRE_LANES,
                          .w_channel = NACRE_LANES,
                          .x_step = NACRE_LANES,
                          .out_channel = tiles * NACRE_LANES,
                          .out_step = NACRE_LANES,
                          .row = &one,
                          .column = &one,
                          .rows = 1,
                          .columns = 1};
    const float *weights =
        j->weights + o / NACRE_LANES * PRODUCTS * product_floats(j) + o % NACRE_LANES;
    for (int p = 0; p < PRODUCTS; p++)
        s->c.level->conv->sum(&sum, outs, tiles, pixels + p * pixels_step(j, tiles),
                              weights + p * product_floats(j), NULL, products + p * step);
    for (int k = 0; k < outs; k++) {
        const float *bias = s->bias ? s->bias + o + k : NULL;
        nacre_conv_after room;
        const nacre_conv_after *after = nacre_conv_after_at(s, 0, o + k, &room);
        int64_t plane = (block * s->out_channels + o + k) * s->out_rows * s->out_columns * s->unit;
        for (int64_t t = 0; t < tiles; t++)
            (s->unit == 1 ? write_group : write_tile)(j, products + (k * tiles + t) * NACRE_LANES,
                                                      step, bias, after, first + t, s->out + plane);
    }
}

static void run_chunk(const winograd_job *j, float *pixels, int64_t item) {
    const nacre_conv_sums *s = &j->s;
    int64_t block = item / j->chunks, first = item % j->chunks * j->chunk;
    int64_t tiles = nacre_smaller(j->chunk, j->tiles - first);
    (s->unit == 1 ? transform_groups : transform_tiles)(j, block, first, tiles, pixels);
    int64_t most = nacre_smaller(MOST_OUTS, s->c.level->conv->outs);
    for (int64_t o = 0, outs; o < s->out_channels; o += outs) {
        outs = nacre_conv_next_outs(s, o, most);
        finish_outs(j, pixels, block, first, tiles, o, (int)outs);
    }
}

static void slot_task(void *context, size_t slot) {
    const winograd_job *j = context;
    int64_t at = (int64_t)slot, end = j->items * (at + 1) / j->slots;
    float *pixels = j->pixels + at * j->slot_floats;
    for (int64_t item = j->items * at / j->slots; item < end; item++) run_chunk(j, pixels, item);
}

/* ---- a step ---- */

static winograd_job job_of(const nacre_conv_sums *s) {
    const nacre_conv_axis *row = &s->c.row, *column = &s->c.column;
    winograd_job j = {.s = *s,
                      .top = s->backward ? 2 - row->padding : row->padding,
                      .left = s->backward ? 2 - column->padding : column->padding,
                      .tile_rows = nacre_parts(s->out_rows, OUT_SIDE),
                      .tile_columns = nacre_parts(s->out_columns, OUT_SIDE)};
    j.padding = (nacre_conv_padding){.rows = OUT_SIDE * j.tile_rows + SIDE - OUT_SIDE,
                                     .row = OUT_SIDE * j.tile_columns + SIDE - OUT_SIDE,
                                     .top = j.top,
                                     .left = j.left};
    int64_t tile_bytes = PRODUCTS * s->in_channels * NACRE_LANES * (int64_t)sizeof(float);
    j.tiles = j.tile_rows * j.tile_columns;
    if (s->unit == 1) j.tiles = nacre_parts(j.tiles, NACRE_LANES);
    j.chunk = nacre_smaller(SLOT_BYTES / tile_bytes / 4 * 4, MOST_TILES);
    j.chunk = nacre_larger(4, j.chunk);
    j.chunks = nacre_parts(j.tiles, j.chunk);
    j.items = (s->unit == 1 ? s->c.samples : s->c.blocks) * j.chunks;
    j.slots = nacre_smaller(SLOTS, j.items);
    j.slot_floats = PRODUCTS * pixels_step(&j, j.chunk);
    return j;
}

static int64_t packed_floats(const winograd_job *j) { return j->s.panels * j->s.panel_floats; }
static int64_t weights_floats(const winograd_job *j) {
    return j->s.panels * PRODUCTS * product_floats(j);
}

static int64_t pixels_floats(const winograd_job *j) { return j->slots * j->slot_floats; }

static void run_winograd(const nacre_plan_op *step, void *scratch) {
    nacre_conv_sums s = nacre_conv_sums_of(step);
    winograd_job j = job_of(&s);
    if (nacre_shape_numel(&step->out[0].shape) == 0) return;
    j.weight = step->in[1].data;
    j.packed = nacre_conv_take_norm(&j.s, scratch);
    float *own = j.packed + packed_floats(&j);
    j.pixels = own + weights_floats(&j);
    j.padded = j.pixels + pixels_floats(&j);
    bool fill;
    j.weights = nacre_conv_weights(step, NACRE_FORM_WINOGRAD, weights_floats(&j), own, &fill);
    if (fill) {
        nacre_parallel((size_t)s.panels, weights_task, &j);
        nacre_conv_filled(step, j.weights, own);
    }
    if (s.unit == 1) nacre_conv_pad(&s, &j.padding, j.padded);
    nacre_parallel((size_t)j.slots, slot_task, &j);
}

bool nacre_winograd_prepare(nacre_plan_op *step, const nacre_conv_sums *s) {
    winograd_job j = job_of(s);
    int64_t floats = s->norm_floats + packed_floats(&j) + weights_floats(&j) + pixels_floats(&j);
    if (s->unit == 1) floats += nacre_conv_padded_floats(s, &j.padding);
    return nacre_cpu_use(step, run_winograd, (size_t)floats * sizeof(float),
                         s->unit == 1 ? "Winograd" : "Winograd in lanes");
}
