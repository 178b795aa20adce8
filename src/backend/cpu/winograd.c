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
    FEW_ITEMS = 4, /* of a sample alone: fewer are cut into tasks by channels, in two sweeps */
    TASK_CHANNELS = 8,
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
    nacre_winograd_grid grid;               /* of a sample alone */
    int64_t pad_row, area_rows;             /* and where its pixels lie between zeros, */
    float *areas;                           /* for each task: [area_rows][pad_row] */
    bool split;                             /* two sweeps */
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

/* Floats behind an area that whole vectors reach. */
enum { BEHIND = 3 * NACRE_LANES };

static int64_t area_floats(const winograd_job *j) {
    return nacre_parts(j->area_rows * j->pad_row + BEHIND, NACRE_LANES) * NACRE_LANES;
}

/* Groups first .. first + groups of channels from .. end of a sample alone. A channel's pixels are copied between
   zeros, so that no tile looks for the image's edge. */
static void transform_groups(const winograd_job *j, int64_t sample, int64_t first, int64_t groups,
                             int64_t from, int64_t end, float *area, float *out) {
    const nacre_conv_sums *s = &j->s;
    const nacre_winograd_kernels *kernels = s->c.level->winograd;
    const int64_t wide = j->tile_columns, step = pixels_step(j, groups);
    const int64_t top_tile = first * NACRE_LANES / wide;
    int64_t end_tile = (first + groups) * NACRE_LANES;
    end_tile = nacre_smaller(nacre_parts(end_tile, wide), j->tile_rows);
    const int64_t rows = OUT_SIDE * (end_tile - top_tile) + SIDE - OUT_SIDE;
    const int64_t top = OUT_SIDE * top_tile - j->top; /* the image's row that the area's first is */
    const int64_t skip = nacre_smaller(rows, nacre_larger(0, -top));
    const int64_t copied = nacre_larger(0, nacre_smaller(rows, s->in_rows - top) - skip);
    const int64_t width = nacre_smaller(s->in_columns, j->pad_row - j->left);
    memset(area, 0, (size_t)area_floats(j) * sizeof *area);
    for (int64_t c = from; c < end; c++) {
        const float *x = s->in + (sample * s->in_channels + c) * s->in_rows * s->in_columns;
        if (copied > 0)
            s->c.level->elementwise->copy_rows(copied, width, x + (top + skip) * s->in_columns,
                                               s->in_columns, area + skip * j->pad_row + j->left,
                                               j->pad_row);
        float *to = out + c * groups * NACRE_LANES;
        for (int64_t row = top_tile; row < end_tile; row++) {
            int64_t tile = nacre_larger(row * wide, first * NACRE_LANES);
            int64_t end_of_row = nacre_smaller((row + 1) * wide, (first + groups) * NACRE_LANES);
            kernels->row_of_tiles(end_of_row - tile,
                                  area + OUT_SIDE *
                                             ((row - top_tile) * j->pad_row + tile - row * wide),
                                  j->pad_row, to + tile - first * NACRE_LANES, step);
        }
    }
}

/* Tiles first .. first + tiles of all channels of a block. */
static void transform_tiles(const winograd_job *j, int64_t block, int64_t first, int64_t tiles,
                            float *out) {
    const nacre_conv_sums *s = &j->s;
    int64_t plane = s->in_rows * s->in_columns * NACRE_LANES, step = pixels_step(j, tiles);
    nacre_winograd_place runs[MOST_TILES];
    int count = 0;
    for (int64_t t = 0; t < tiles; t += runs[count++].run.tiles)
        runs[count] = nacre_winograd_place_of(first + t, tiles - t, j->tile_columns, j->top,
                                              j->left, s->in_rows, s->in_columns);
    /* A channel at a time: neighbouring tiles lie side by side. */
    for (int64_t c = 0; c < s->in_channels; c++) {
        const float *x = s->in + (block * s->in_channels + c) * plane;
        for (int i = 0; i < count; out += runs[i++].run.tiles * NACRE_LANES)
            s->c.level->winograd->input(&runs[i].run, x + runs[i].at, out, step);
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

/* The pixels of channel o, from its products of tiles first .. first + tiles. */
static void write_channel(const winograd_job *j, const float *products, int64_t step, int64_t block,
                          int64_t first, int64_t tiles, int64_t o) {
    const nacre_conv_sums *s = &j->s;
    const float *bias = s->bias ? s->bias + o : NULL;
    nacre_conv_after room;
    const nacre_conv_after *after = nacre_conv_after_at(s, 0, o, &room);
    int64_t pixels = s->out_rows * s->out_columns * s->unit;
    float *plane = s->out + (block * s->out_channels + o) * pixels;
    if (s->unit == 1) {
        s->c.level->winograd->place_groups(&j->grid, first, tiles, products, step, bias, after,
                                           plane);
        return;
    }
    for (int64_t t = 0; t < tiles; t++)
        write_tile(j, products + t * NACRE_LANES, step, bias, after, first + t, plane);
}

/* Channels of one call: a panel's, whose weights are then read once, if their products are few enough. */
static int64_t most_outs(const winograd_job *j, int64_t tiles) {
    if (tiles * NACRE_LANES <= MOST_OUTS * MOST_TILES) return NACRE_LANES;
    return nacre_smaller(MOST_OUTS, j->s.c.level->conv->outs);
}

/* `outs` channels of a panel from o on, from the transformed pixels of a chunk. */
static void finish_outs(const winograd_job *j, const float *pixels, int64_t block, int64_t first,
                        int64_t tiles, int64_t o, int64_t outs) {
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
        for (int64_t k = 0, part; k < outs; k += part) {
            part = nacre_smaller(nacre_conv_next_outs(s, o + k, s->c.level->conv->outs), outs - k);
            s->c.level->conv->sum(&sum, (int)part, tiles, pixels + p * pixels_step(j, tiles),
                                  weights + p * product_floats(j) + k, NULL,
                                  products + p * step + k * tiles * NACRE_LANES);
        }
    for (int64_t k = 0; k < outs; k++)
        write_channel(j, products + k * tiles * NACRE_LANES, step, block, first, tiles, o + k);
}

/* An item: a chunk of tiles of a block, or of a sample alone. */
typedef struct chunk {
    int64_t block, first, tiles;
} chunk;

static chunk chunk_of(const winograd_job *j, int64_t item) {
    int64_t first = item % j->chunks * j->chunk;
    return (chunk){item / j->chunks, first, nacre_smaller(j->chunk, j->tiles - first)};
}

static void finish_chunk(const winograd_job *j, const float *pixels, const chunk *c) {
    int64_t most = most_outs(j, c->tiles);
    for (int64_t o = 0, outs; o < j->s.out_channels; o += outs) {
        outs = nacre_conv_next_outs(&j->s, o, most);
        finish_outs(j, pixels, c->block, c->first, c->tiles, o, outs);
    }
}

static void slot_task(void *context, size_t slot) {
    const winograd_job *j = context;
    int64_t at = (int64_t)slot, end = j->items * (at + 1) / j->slots;
    float *pixels = j->pixels + at * j->slot_floats;
    for (int64_t item = j->items * at / j->slots; item < end; item++) {
        const chunk c = chunk_of(j, item);
        if (j->s.unit == 1)
            transform_groups(j, c.block, c.first, c.tiles, 0, j->s.in_channels,
                             j->areas + at * area_floats(j), pixels);
        else
            transform_tiles(j, c.block, c.first, c.tiles, pixels);
        finish_chunk(j, pixels, &c);
    }
}

/* ---- few items: first all pixels by input channels, then all outputs by output channels ---- */

static int64_t input_parts(const winograd_job *j) {
    return nacre_smaller(SLOTS, nacre_parts(j->s.in_channels, TASK_CHANNELS));
}

static void input_task(void *context, size_t index) {
    const winograd_job *j = context;
    int64_t parts = input_parts(j), item = (int64_t)index / parts, part = (int64_t)index % parts;
    const chunk c = chunk_of(j, item);
    transform_groups(j, c.block, c.first, c.tiles, j->s.in_channels * part / parts,
                     j->s.in_channels * (part + 1) / parts,
                     j->areas + (int64_t)index * area_floats(j), j->pixels + item * j->slot_floats);
}

/* Calls of finish_outs of a full panel. */
static int64_t panel_calls(const winograd_job *j) {
    return nacre_parts(NACRE_LANES, most_outs(j, j->chunk));
}

static void output_task(void *context, size_t index) {
    const winograd_job *j = context;
    int64_t calls = panel_calls(j), tasks = j->s.panels * calls, item = (int64_t)index / tasks;
    int64_t at = (int64_t)index % tasks, o = at / calls * NACRE_LANES;
    int64_t end = nacre_smaller(o + NACRE_LANES, j->s.out_channels);
    const chunk c = chunk_of(j, item);
    int64_t most = most_outs(j, j->chunk);
    for (int64_t call = 0; call < at % calls && o < end; call++)
        o += nacre_conv_next_outs(&j->s, o, most);
    if (o < end)
        finish_outs(j, j->pixels + item * j->slot_floats, c.block, c.first, c.tiles, o,
                    nacre_conv_next_outs(&j->s, o, most));
}

static void run_items(winograd_job *j) {
    if (!j->split) {
        nacre_parallel((size_t)j->slots, slot_task, j);
        return;
    }
    nacre_parallel((size_t)(j->items * input_parts(j)), input_task, j);
    nacre_parallel((size_t)(j->items * j->s.panels * panel_calls(j)), output_task, j);
}

/* ---- a step ---- */

/* Of as many rows of tiles as the groups of a chunk can touch. */
static void shape_areas(winograd_job *j) {
    int64_t wide = nacre_larger(1, j->tile_columns), lanes = j->chunk * NACRE_LANES;
    int64_t tile_rows = nacre_smaller(j->tile_rows, (lanes - 2) / wide + 2);
    j->grid = (nacre_winograd_grid){j->s.out_rows, j->s.out_columns, j->tile_rows, j->tile_columns};
    j->pad_row = OUT_SIDE * wide + SIDE - OUT_SIDE;
    j->area_rows = OUT_SIDE * tile_rows + SIDE - OUT_SIDE;
}

static winograd_job job_of(const nacre_conv_sums *s) {
    const nacre_conv_axis *row = &s->c.row, *column = &s->c.column;
    winograd_job j = {.s = *s,
                      .top = s->backward ? 2 - row->padding : row->padding,
                      .left = s->backward ? 2 - column->padding : column->padding,
                      .tile_rows = nacre_parts(s->out_rows, OUT_SIDE),
                      .tile_columns = nacre_parts(s->out_columns, OUT_SIDE)};
    int64_t tile_bytes = PRODUCTS * s->in_channels * NACRE_LANES * (int64_t)sizeof(float);
    j.tiles = j.tile_rows * j.tile_columns;
    if (s->unit == 1) j.tiles = nacre_parts(j.tiles, NACRE_LANES);
    j.chunk = nacre_smaller(SLOT_BYTES / tile_bytes / 4 * 4, MOST_TILES);
    j.chunk = nacre_larger(1, nacre_smaller(j.tiles, nacre_larger(4, j.chunk)));
    j.chunks = nacre_parts(j.tiles, j.chunk);
    j.items = (s->unit == 1 ? s->c.samples : s->c.blocks) * j.chunks;
    j.split = s->unit == 1 && j.items < FEW_ITEMS;
    j.slots = j.split ? j.items : nacre_smaller(SLOTS, j.items);
    j.slot_floats = PRODUCTS * pixels_step(&j, j.chunk);
    if (s->unit == 1) shape_areas(&j);
    return j;
}

static int64_t packed_floats(const winograd_job *j) { return j->s.panels * j->s.panel_floats; }
static int64_t weights_floats(const winograd_job *j) {
    return j->s.panels * PRODUCTS * product_floats(j);
}

static int64_t pixels_floats(const winograd_job *j) { return j->slots * j->slot_floats; }
static int64_t areas_floats(const winograd_job *j) {
    return (j->split ? j->items * input_parts(j) : j->slots) * area_floats(j);
}

static void run_winograd(const nacre_plan_op *step, void *scratch) {
    nacre_conv_sums s = nacre_conv_sums_of(step);
    winograd_job j = job_of(&s);
    if (nacre_shape_numel(&step->out[0].shape) == 0) return;
    j.weight = step->in[1].data;
    j.packed = nacre_conv_take_norm(&j.s, scratch);
    float *own = j.packed + packed_floats(&j);
    j.pixels = own + weights_floats(&j);
    j.areas = j.pixels + pixels_floats(&j);
    bool fill;
    j.weights = nacre_conv_weights(step, NACRE_FORM_WINOGRAD, weights_floats(&j), own, &fill);
    if (fill) {
        nacre_parallel((size_t)s.panels, weights_task, &j);
        nacre_conv_filled(step, j.weights, own);
    }
    run_items(&j);
}

bool nacre_winograd_prepare(nacre_plan_op *step, const nacre_conv_sums *s) {
    winograd_job j = job_of(s);
    int64_t floats = s->norm_floats + packed_floats(&j) + weights_floats(&j) + pixels_floats(&j);
    if (s->unit == 1) floats += areas_floats(&j);
    return nacre_cpu_use(step, run_winograd, (size_t)floats * sizeof(float),
                         s->unit == 1 ? "Winograd" : "Winograd in lanes");
}
