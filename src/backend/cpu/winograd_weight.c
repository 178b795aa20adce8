/* The gradient of 3 x 3 weights by Winograd's algorithm. The transposed form of the convolution's own:
   dW = G' (sum over tiles of (A dY A') * (B' X B)) G, with 16 products for each tile of 2 x 2 output gradients in place
   of 36. Rounds of tiles are transformed, then multiplied; lanes (samples) and products are joined at the end. */
#include "backend/cpu/winograd.h"

#include "base/pool.h"

#include <string.h>

enum {
    PRODUCTS = NACRE_WINOGRAD_PRODUCTS,
    SIDE = NACRE_WINOGRAD_SIDE,
    OUT_SIDE = NACRE_WINOGRAD_OUT_SIDE,
    WINDOW = 3,
    LEAST_PAIRS = 512, /* of channels and outputs: below, the transforms cost what they save */
    LEAST_OUTS = 8,    /* of a pass, for which channels are transformed once more */
    LEAST_ROUND = 8,   /* tiles: fewer are not worth the sums' way to memory and back */
};
/* The sums of a product of each channel with each output, of one pass over the tiles. */
#define MOST_SUMS ((int64_t)4096)
/* Transformed tiles of a round. */
#define ROUND_BYTES ((int64_t)4 << 20)
/* Multiply-adds of a task. */
#define TASK_WORK ((int64_t)32 << 10)

typedef struct gradient {
    nacre_conv c;
    const float *x, *dy;
    float *dweight, *dbias;
    int64_t tile_columns, tiles, all_tiles; /* of a block of samples, of all */
    int64_t outs;                           /* of a pass */
    int64_t round;                          /* tiles of a round */
    int channels_beside, outs_beside;       /* of a tile of sums */
    int64_t channel_parts;                  /* tasks of a product */
    float *sums;                            /* [product][channel][out of the pass][16] */
    float *pixels, *gradients;              /* [product][channel or out][tile of the round][16] */
    float *joined;                          /* [channel][product][out of the pass] */
    int64_t first_out, pass_outs, first_tile, round_tiles; /* of the pass and the round under way */
} gradient;

/* Floats from one channel's tiles to the next's, and from one product's to the next's: odd numbers of cache lines,
   since many channels and all products at a power of two would fall into one set of the cache. */
static int64_t line_floats(const gradient *g) { return (g->round | 1) * NACRE_LANES; }
static int64_t product_step(const gradient *g, int64_t channels) {
    return channels * line_floats(g) + (channels % 2 ? 0 : NACRE_LANES);
}

/* ---- transforms ---- */

/* Lanes that stand for no sample may hold anything: they must not reach a sum. */
static void clear_dead_lanes(const gradient *g, int64_t tile, float *out, int64_t step) {
    int64_t rest = g->c.samples % NACRE_LANES;
    if (rest == 0 || tile / g->tiles < g->c.blocks - 1) return;
    for (int p = 0; p < PRODUCTS; p++)
        memset(out + p * step + rest, 0, (size_t)(NACRE_LANES - rest) * sizeof *out);
}

/* The round's tiles of an output of dy. */
static void transform_gradients(const gradient *g, int64_t channel) {
    const nacre_conv *c = &g->c;
    int64_t y_row = c->column.y * NACRE_LANES, y_plane = c->row.y * y_row;
    int64_t step = product_step(g, g->outs);
    float *out = g->gradients + channel * line_floats(g);
    for (int64_t i = 0; i < g->round_tiles; i++, out += NACRE_LANES) {
        int64_t tile = g->first_tile + i, block = tile / g->tiles, at = tile % g->tiles;
        int64_t row = at / g->tile_columns * OUT_SIDE, column = at % g->tile_columns * OUT_SIDE;
        const float *dy = g->dy + (block * c->y_channels + g->first_out + channel) * y_plane;
        c->level->winograd->gradient((int)nacre_smaller(OUT_SIDE, c->row.y - row),
                                     (int)nacre_smaller(OUT_SIDE, c->column.y - column),
                                     dy + row * y_row + column * NACRE_LANES, y_row, out, step);
        clear_dead_lanes(g, tile, out, step);
    }
}

/* The round's tiles of a channel of x. */
static void transform_pixels(const gradient *g, int64_t channel) {
    const nacre_conv *c = &g->c;
    int64_t plane = c->row.x * c->column.x * NACRE_LANES, step = product_step(g, c->x_channels);
    float *out = g->pixels + channel * line_floats(g);
    for (int64_t i = 0, tiles; i < g->round_tiles; i += tiles) {
        int64_t tile = g->first_tile + i, block = tile / g->tiles;
        nacre_winograd_place place =
            nacre_winograd_place_of(tile % g->tiles, g->round_tiles - i, g->tile_columns,
                                    c->row.padding, c->column.padding, c->row.x, c->column.x);
        tiles = place.run.tiles;
        const float *x = g->x + (block * c->x_channels + channel) * plane;
        c->level->winograd->input(&place.run, x + place.at, out, step);
        for (int64_t t = 0; t < tiles; t++, out += NACRE_LANES)
            clear_dead_lanes(g, tile + t, out, step);
    }
}

/* Channel `index` of x, or an output of dy behind those. */
static void transform_task(void *context, size_t index) {
    const gradient *g = context;
    int64_t channel = (int64_t)index, channels = g->c.x_channels;
    if (channel < channels)
        transform_pixels(g, channel);
    else
        transform_gradients(g, channel - channels);
}

/* ---- products ---- */

/* One of the 16 products, of a part of the channels with all outputs of the pass. */
static void product_task(void *context, size_t index) {
    const gradient *g = context;
    const nacre_conv *c = &g->c;
    int64_t product = (int64_t)index / g->channel_parts, part = (int64_t)index % g->channel_parts;
    int64_t first = c->x_channels * part / g->channel_parts;
    int64_t end = c->x_channels * (part + 1) / g->channel_parts;
    int64_t sums_row = g->pass_outs * NACRE_LANES, line = line_floats(g);
    float *sums = g->sums + product * c->x_channels * sums_row;
    if (g->first_tile == 0)
        memset(sums + first * sums_row, 0, (size_t)((end - first) * sums_row) * sizeof *sums);
    const float *pixels = g->pixels + product * product_step(g, c->x_channels);
    const float *gradients = g->gradients + product * product_step(g, g->outs);
    int64_t tap[NACRE_CONV_TAPS], slot[NACRE_CONV_TAPS];
    nacre_conv_products p = {.images = 1,
                             .rows = 1,
                             .pixels = g->round_tiles,
                             .dy_channel = line,
                             .x_step = NACRE_LANES,
                             .tap = tap,
                             .slot = slot};
    for (int64_t channel = first, count; channel < end; channel += count) {
        count = nacre_parts(end - channel, nacre_parts(end - channel, g->channels_beside));
        for (int64_t i = 0; i < count; i++) {
            tap[i] = (channel + i) * line;
            slot[i] = (channel + i) * sums_row;
        }
        for (int64_t o = 0, outs; o < g->pass_outs; o += outs) {
            outs = nacre_parts(g->pass_outs - o, nacre_parts(g->pass_outs - o, g->outs_beside));
            c->level->conv->products(&p, (int)outs, (int)count, gradients + o * line, pixels,
                                     sums + o * NACRE_LANES);
        }
    }
}

/* ---- the way back ---- */

/* G' of one line of four: (1 1/2 1/2 0; 0 1/2 -1/2 0; 0 1/2 1/2 1) */
static void turn_back(const float m[SIDE], float w[WINDOW]) {
    float half = 0.5f * (m[1] + m[2]);
    w[0] = m[0] + half;
    w[1] = 0.5f * (m[1] - m[2]);
    w[2] = half + m[3];
}

static void write_window(const float m[PRODUCTS], float *w) {
    float half[WINDOW][SIDE];
    for (int column = 0; column < SIDE; column++) {
        float line[SIDE], three[WINDOW];
        for (int row = 0; row < SIDE; row++) line[row] = m[row * SIDE + column];
        turn_back(line, three);
        for (int row = 0; row < WINDOW; row++) half[row][column] = three[row];
    }
    for (int row = 0; row < WINDOW; row++) turn_back(half[row], w + row * WINDOW);
}

/* All windows of one channel. */
static void join_task(void *context, size_t index) {
    const gradient *g = context;
    const nacre_conv *c = &g->c;
    int64_t channel = (int64_t)index;
    float *joined = g->joined + channel * PRODUCTS * g->outs;
    memset(joined, 0, (size_t)(PRODUCTS * g->outs) * sizeof *joined);
    for (int p = 0; p < PRODUCTS; p++) {
        int64_t at = (p * c->x_channels + channel) * g->pass_outs * NACRE_LANES;
        c->level->conv->join_lanes(g->pass_outs, NACRE_LANES, g->sums + at, joined + p * g->outs);
    }
    for (int64_t o = 0; o < g->pass_outs; o++) {
        float m[PRODUCTS];
        for (int p = 0; p < PRODUCTS; p++) m[p] = joined[p * g->outs + o];
        int64_t window = (g->first_out + o) * c->x_channels + channel;
        write_window(m, g->dweight + window * WINDOW * WINDOW);
    }
}

static void bias_task(void *context, size_t out) {
    const gradient *g = context;
    const nacre_conv *c = &g->c;
    int64_t pixels = c->row.y * c->column.y, whole = c->samples / NACRE_LANES;
    float sums[2][NACRE_LANES] = {{0}};
    for (int64_t block = 0; block < c->blocks; block++)
        c->level->conv->sum_pixels(
            pixels, g->dy + (block * c->y_channels + (int64_t)out) * pixels * NACRE_LANES,
            sums[block == whole]);
    g->dbias[out] = 0;
    c->level->conv->join_lanes(1, NACRE_LANES, sums[0], &g->dbias[out]);
    if (c->blocks > whole)
        c->level->conv->join_lanes(1, (int)(c->samples % NACRE_LANES), sums[1], &g->dbias[out]);
}

/* ---- a step ---- */

/* The tile of sums with the most products for each number read, of those that the registers hold. */
static void choose_tile(gradient *g) {
    double most = 0;
    for (int channels = 1; channels <= NACRE_CONV_TAPS; channels++) {
        int outs = g->c.level->conv->outs_beside[channels - 1];
        double x = (double)g->c.x_channels, y = (double)g->outs;
        x /= (double)nacre_parts(g->c.x_channels, channels);
        y /= (double)nacre_parts(g->outs, outs);
        if (x * y / (x + y) <= most) continue;
        most = x * y / (x + y);
        g->channels_beside = channels;
        g->outs_beside = outs;
    }
}

static gradient gradient_of(const nacre_plan_op *step) {
    gradient g = {
        .c = nacre_conv_of(step, &step->in[0].shape, &step->in[1].shape, &step->out[0].shape)};
    const nacre_conv *c = &g.c;
    g.tile_columns = nacre_parts(c->column.y, OUT_SIDE);
    g.tiles = nacre_parts(c->row.y, OUT_SIDE) * g.tile_columns;
    g.all_tiles = c->blocks * g.tiles;
    g.outs = nacre_larger(LEAST_OUTS, MOST_SUMS / c->x_channels);
    g.outs = nacre_parts(c->y_channels, nacre_parts(c->y_channels, g.outs));
    int64_t bytes = PRODUCTS * (c->x_channels + g.outs) * NACRE_LANES * (int64_t)sizeof(float);
    g.round = nacre_smaller(g.all_tiles, nacre_larger(LEAST_ROUND, ROUND_BYTES / bytes));
    choose_tile(&g);
    int64_t parts = c->x_channels * g.outs * g.round / TASK_WORK;
    g.channel_parts = nacre_larger(1, nacre_smaller(parts, c->x_channels / g.channels_beside));
    return g;
}

static int64_t sums_floats(const gradient *g) {
    return PRODUCTS * g->c.x_channels * g->outs * NACRE_LANES;
}

static void run_gradient(const nacre_plan_op *step, void *scratch) {
    gradient g = gradient_of(step);
    const nacre_conv *c = &g.c;
    g.x = step->in[0].data;
    g.dy = step->in[1].data;
    g.dweight = step->out[0].data;
    g.dbias = step->out[1].data;
    g.sums = scratch;
    g.pixels = g.sums + sums_floats(&g);
    g.gradients = g.pixels + PRODUCTS * product_step(&g, c->x_channels);
    g.joined = g.gradients + PRODUCTS * product_step(&g, g.outs);
    for (g.first_out = 0; g.first_out < c->y_channels; g.first_out += g.outs) {
        g.pass_outs = nacre_smaller(g.outs, c->y_channels - g.first_out);
        for (g.first_tile = 0; g.first_tile < g.all_tiles; g.first_tile += g.round) {
            g.round_tiles = nacre_smaller(g.round, g.all_tiles - g.first_tile);
            nacre_parallel((size_t)(c->x_channels + g.pass_outs), transform_task, &g);
            nacre_parallel((size_t)(PRODUCTS * g.channel_parts), product_task, &g);
        }
        nacre_parallel((size_t)c->x_channels, join_task, &g);
    }
    nacre_parallel((size_t)c->y_channels, bias_task, &g);
}

bool nacre_winograd_weight_suits(const nacre_conv *c) {
    return nacre_winograd_takes(c) && c->x_channels * c->y_channels >= LEAST_PAIRS &&
           c->y_channels >= LEAST_OUTS && c->x_channels <= MOST_SUMS / LEAST_OUTS && c->blocks > 0;
}

bool nacre_winograd_weight_prepare(nacre_plan_op *step) {
    gradient g = gradient_of(step);
    int64_t floats = sums_floats(&g) + PRODUCTS * product_step(&g, g.c.x_channels) +
                     PRODUCTS * product_step(&g, g.outs) + PRODUCTS * g.outs * g.c.x_channels;
    return nacre_cpu_use(step, run_gradient, (size_t)floats * sizeof(float), "Winograd in lanes");
}
