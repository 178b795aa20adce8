/* Convolution over laned arrays: a pixel is 16 floats, one of each of 16 samples, and every operation is on whole
   pixels, whatever stride, dilation and padding are. Each sum has one order, tap after tap, in every lane. */
#include "after.h"
#include "backend/cpu/kernels.h"
#include "sum.h"
#include "transpose.h"

/* Accumulators, one pixel of each column and one broadcast weight fill the registers. */
#if VECTOR_REGISTERS == 32
#define REGISTERS 28
#define MOST_OUTS 8 /* NACRE_CONV_OUTS, for the preprocessor */
#else
#define REGISTERS 13
#define MOST_OUTS 4
#endif
#define MOST_PIXELS 4
_Static_assert(MOST_OUTS <= NACRE_CONV_OUTS, "tiles have more channels than drivers have room for");

static const float lane_numbers[NACRE_LANES] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                8, 9, 10, 11, 12, 13, 14, 15};

/* ---- outputs ---- */

/* One tap of one channel added to a tile. */
INLINE void add_tap(const int outs, const int pixels, const float *x, int64_t x_step,
                    const float *weight, vec sum[MOST_OUTS][MOST_PIXELS]) {
    vec pixel[MOST_PIXELS];
    EACH (j, pixels) pixel[j] = vec_load(x + j * x_step);
    EACH (o, outs) {
        const vec by = vec_set(weight[o]);
        EACH (j, pixels) sum[o][j] = vec_fma(by, pixel[j], sum[o][j]);
    }
}

/* What follows the sums of a tile. */
INLINE void follow(const int outs, const int pixels, const nacre_conv_after *a, const float *out,
                   int64_t out_channel, int64_t out_step, vec sum[MOST_OUTS][MOST_PIXELS]) {
    if (a->norm)
        EACH (o, outs) after_norm(pixels, a, o, sum[o]);
    if (a->add)
        EACH (o, outs)
            EACH (j, pixels)
                sum[o][j] = after_add(a, out + o * out_channel + j * out_step, LANES, sum[o][j]);
    if (a->relu)
        EACH (o, outs)
            EACH (j, pixels) sum[o][j] = after_relu(sum[o][j]);
    if (a->mask)
        EACH (o, outs)
            EACH (j, pixels)
                sum[o][j] = after_mask(a, out + o * out_channel + j * out_step, sum[o][j]);
}

/* `outs` channels of `pixels` neighbours. Only ever called with constants for both. A single tap has a loop of its
   own: the others' would cost as much as its products. */
INLINE void tile(const int outs, const int pixels, const nacre_conv_sum *s, const float *x,
                 const float *w, const float *bias, float *out) {
    vec sum[MOST_OUTS][MOST_PIXELS];
    EACH (o, outs)
        EACH (j, pixels) sum[o][j] = vec_zero();
    if (s->rows == 1 && s->columns == 1) {
        x += s->row->x + s->column->x;
        w += s->row->w + s->column->w;
        for (int64_t c = 0; c < s->channels; c++, x += s->x_channel, w += s->w_channel)
            add_tap(outs, pixels, x, s->x_step, w, sum);
    } else {
        for (int64_t c = 0; c < s->channels; c++, x += s->x_channel, w += s->w_channel) {
            for (int r = 0; r < s->rows; r++) {
                const float *row = x + s->row[r].x, *weight = w + s->row[r].w;
                KEEP(row);
                KEEP(weight);
                for (int t = 0; t < s->columns; t++)
                    add_tap(outs, pixels, row + s->column[t].x, s->x_step, weight + s->column[t].w,
                            sum);
            }
        }
    }
    if (bias)
        EACH (o, outs) {
            const vec b = vec_set(bias[o]);
            EACH (j, pixels) sum[o][j] = vec_add(sum[o][j], b);
        }
    if (s->after) follow(outs, pixels, s->after, out, s->out_channel, s->out_step, sum);
    /* Copies: the compiler cannot know that no store changes *s. */
    const int64_t out_channel = s->out_channel, out_step = s->out_step;
    EACH (o, outs)
        EACH (j, pixels) vec_store(out + o * out_channel + j * out_step, sum[o][j]);
}

/* Columns of a tile that has this many output channels. */
#define PIXELS(outs)                                                                               \
    (REGISTERS / ((outs) + 1) > MOST_PIXELS ? MOST_PIXELS : REGISTERS / ((outs) + 1))

#define TILE_CASE(pixels)                                                                          \
    case pixels:                                                                                   \
        if ((pixels) <= whole) tile(outs, pixels, s, x, w, bias, out);                             \
        break;

/* A run of pixels in tiles, the last two of even size: a few pixels left over would wait for each fma. */
INLINE void run_of(const int outs, const nacre_conv_sum *s, int64_t pixels, const float *x,
                   const float *w, const float *bias, float *out) {
    const int whole = PIXELS(outs);
    while (pixels > 0) {
        const int64_t count = pixels >= 2 * whole ? whole
                              : pixels > whole    ? (pixels + 1) / 2
                                                  : pixels;
        switch (count) {
            TILE_CASE(1)
            TILE_CASE(2)
            TILE_CASE(3)
            TILE_CASE(4)
        default:
            break;
        }
        x += count * s->x_step;
        out += count * s->out_step;
        pixels -= count;
    }
}

#define OUTS_CASE(outs)                                                                            \
    case outs:                                                                                     \
        run_of(outs, s, pixels, x, w, bias, out);                                                  \
        break;

static void sum_vectors(const nacre_conv_sum *s, int outs, int64_t pixels, const float *x,
                        const float *w, const float *bias, float *out) {
    switch (outs) {
        OUTS_CASE(1)
        OUTS_CASE(2)
        OUTS_CASE(3)
        OUTS_CASE(4)
#if MOST_OUTS > 4
        OUTS_CASE(5)
        OUTS_CASE(6)
        OUTS_CASE(7)
        OUTS_CASE(8)
#endif
    default:
        break;
    }
}

static void sum(const nacre_conv_sum *s, int outs, int64_t pixels, const float *x, const float *w,
                const float *bias, float *out) {
    for (int lane = 0; lane < NACRE_LANES; lane += LANES)
        sum_vectors(s, outs, pixels, x + lane, w, bias, out + lane);
}

/* ---- outputs of a sample alone: the lanes are 16 channels ---- */

/* Pixels whose accumulators fill the registers. */
#if NACRE_LEVEL_AVX512
#define ALONE 24
#else
#define ALONE 12
#endif

/* lane: the first of the 16 channels that the vectors hold */
INLINE void alone(const int pixels, const nacre_conv_sum *s, int lane, const float *x,
                  const float *w, const float *bias, float *out) {
    vec sum[ALONE];
    EACH (j, pixels) sum[j] = vec_zero();
    for (int64_t c = 0; c < s->channels; c++, x += s->x_channel, w += s->w_channel) {
        for (int r = 0; r < s->rows; r++) {
            for (int t = 0; t < s->columns; t++) {
                const float *from = x + s->row[r].x + s->column[t].x;
                const vec by = vec_load(w + s->row[r].w + s->column[t].w + lane);
                EACH (j, pixels) sum[j] = vec_fma(by, vec_set(from[j * s->x_step]), sum[j]);
            }
        }
    }
    if (bias) {
        const vec b = vec_load(bias + lane);
        EACH (j, pixels) sum[j] = vec_add(sum[j], b);
    }
    const nacre_conv_after *after = s->after;
    if (after && after->norm) {
        const float *norm = after->norm + lane;
        const vec mean = vec_load(norm), scale = vec_load(norm + after->norm_step);
        const vec shift = vec_load(norm + 2 * after->norm_step);
        EACH (j, pixels) sum[j] = after_numbers(mean, scale, shift, sum[j]);
    }
    if (after && after->relu)
        EACH (j, pixels) sum[j] = after_relu(sum[j]);
    EACH (j, pixels) vec_store(out + j * NACRE_LANES + lane, sum[j]);
}

#define ALONE_CASE(pixels)                                                                         \
    case pixels:                                                                                   \
        alone(pixels, s, lane, x, w, bias, out);                                                   \
        break;
#define ALONE_CASES(a, b, c, d, e, f)                                                              \
    ALONE_CASE(a)                                                                                  \
    ALONE_CASE(b)                                                                                  \
    ALONE_CASE(c)                                                                                  \
    ALONE_CASE(d)                                                                                  \
    ALONE_CASE(e)                                                                                  \
    ALONE_CASE(f)

static void alone_of(int64_t pixels, const nacre_conv_sum *s, int lane, const float *x,
                     const float *w, const float *bias, float *out) {
    switch (pixels) {
        ALONE_CASES(1, 2, 3, 4, 5, 6)
        ALONE_CASES(7, 8, 9, 10, 11, 12)
#if ALONE == 24
        ALONE_CASES(13, 14, 15, 16, 17, 18)
        ALONE_CASES(19, 20, 21, 22, 23, 24)
#endif
    default:
        break;
    }
}

/* Pixels in even parts: a few left over would wait for each fma. */
static void sum_channels(const nacre_conv_sum *s, int64_t pixels, const float *x, const float *w,
                         const float *bias, float *out) {
    const int64_t parts = (pixels + ALONE - 1) / ALONE;
    for (int64_t part = 0; part < parts; part++) {
        const int64_t first = pixels * part / parts, end = pixels * (part + 1) / parts;
        for (int lane = 0; lane < NACRE_LANES; lane += LANES)
            alone_of(end - first, s, lane, x + first * s->x_step, w, bias,
                     out + first * NACRE_LANES);
    }
}

/* ---- outputs of a sample alone: the lanes are pixels, row after row ---- */

/* Taps that a tile's pixels do not see. */
typedef struct unseen {
    mask row[NACRE_CONV_MOST_TAPS][MOST_PIXELS], column[NACRE_CONV_MOST_TAPS][MOST_PIXELS];
} unseen;

/* Is there any such tap? */
INLINE bool find_unseen(const int vecs, const nacre_conv_sum *s, const nacre_conv_sight *sight,
                        int64_t at, unseen *u) {
    const vec lane = vec_load(lane_numbers);
    vec column[MOST_PIXELS];
    const mask none = vec_less(lane, vec_zero());
    mask all = none;
    EACH (v, vecs) column[v] = vec_load(sight->column + at + v * LANES);
    for (int r = 0; r < s->rows; r++) {
        const int64_t first = sight->row_first[r] - at, end = sight->row_end[r] - at;
        EACH (v, vecs) u->row[r][v] = none;
        if (first > 0 || end < vecs * LANES)
            EACH (v, vecs) {
                u->row[r][v] = mask_or(vec_less(lane, vec_set((float)(first - v * LANES))),
                                       vec_less_equal(vec_set((float)(end - v * LANES)), lane));
                all = mask_or(all, u->row[r][v]);
            }
    }
    for (int t = 0; t < s->columns; t++) {
        const int64_t first = sight->column_first[t], end = sight->column_end[t];
        EACH (v, vecs) u->column[t][v] = none;
        if (first > 0)
            EACH (v, vecs) u->column[t][v] = vec_less(column[v], vec_set((float)first));
        if (end < sight->columns)
            EACH (v, vecs)
                u->column[t][v] =
                    mask_or(u->column[t][v], vec_less_equal(vec_set((float)end), column[v]));
        EACH (v, vecs) all = mask_or(all, u->column[t][v]);
    }
    return mask_any(all);
}

/* The taps of a tile; u: NULL, or what is passed over. Two loops: in one of both kinds of tap, the sums would not stay
   in registers. */
INLINE void flat_taps(const int outs, const int vecs, const nacre_conv_sum *s, const unseen *u,
                      const float *x, const float *w, vec sum[MOST_OUTS][MOST_PIXELS]) {
    for (int64_t c = 0; c < s->channels; c++, x += s->x_channel, w += s->w_channel) {
        for (int r = 0; r < s->rows; r++) {
            for (int t = 0; t < s->columns; t++) {
                const float *from = x + s->row[r].x + s->column[t].x;
                const float *weight = w + s->row[r].w + s->column[t].w;
                if (!u) {
                    add_tap(outs, vecs, from, LANES, weight, sum);
                    continue;
                }
                vec pixel[MOST_PIXELS];
                mask off[MOST_PIXELS];
                EACH (v, vecs) {
                    pixel[v] = vec_load(from + v * LANES);
                    off[v] = mask_or(u->row[r][v], u->column[t][v]);
                }
                EACH (o, outs) {
                    const vec by = vec_set(weight[o]);
                    EACH (v, vecs) sum[o][v] = vec_fma_unless(off[v], by, pixel[v], sum[o][v]);
                }
            }
        }
    }
}

/* `outs` channels of `vecs` vectors of pixels from `at` on. Only ever called with constants for both. */
INLINE void flat_tile(const int outs, const int vecs, const nacre_conv_sum *s,
                      const nacre_conv_sight *sight, int64_t at, int64_t end, const float *x,
                      const float *w, const float *bias, float *out) {
    unseen u;
    vec sum[MOST_OUTS][MOST_PIXELS];
    EACH (o, outs)
        EACH (v, vecs) sum[o][v] = vec_zero();
    if (!sight->whole && find_unseen(vecs, s, sight, at, &u))
        flat_taps(outs, vecs, s, &u, x + at, w, sum);
    else
        flat_taps(outs, vecs, s, NULL, x + at, w, sum);
    if (bias)
        EACH (o, outs) {
            const vec b = vec_set(bias[o]);
            EACH (v, vecs) sum[o][v] = vec_add(sum[o][v], b);
        }
    const nacre_conv_after *after = s->after;
    const int64_t out_channel = s->out_channel, left = end - at;
    out += at;
    if (after && after->norm)
        EACH (o, outs) after_norm(vecs, after, o, sum[o]);
    if (after && after->add)
        EACH (o, outs)
            EACH (v, vecs)
                if (left > v * LANES)
                    sum[o][v] = after_add(after, out + o * out_channel + v * LANES,
                                          (size_t)(left - v * LANES), sum[o][v]);
    if (after && after->relu)
        EACH (o, outs)
            EACH (v, vecs) sum[o][v] = after_relu(sum[o][v]);
    EACH (o, outs)
        EACH (v, vecs)
            if (left > v * LANES)
                vec_store_n(out + o * out_channel + v * LANES, (size_t)(left - v * LANES),
                            sum[o][v]);
}

/* Of 16 registers masks take some too. */
#define FLAT_PIXELS(outs) (VECTOR_REGISTERS == 16 && PIXELS(outs) > 2 ? 2 : PIXELS(outs))

#define FLAT_TILE(vecs)                                                                            \
    case vecs:                                                                                     \
        if (vecs <= whole) flat_tile(outs, vecs, s, sight, at, end, x, w, bias, out);              \
        break;

/* Pixels in tiles as even as can be: one vector alone would wait for each fma. */
INLINE void flat_run(const int outs, const nacre_conv_sum *s, const nacre_conv_sight *sight,
                     int64_t at, int64_t end, const float *x, const float *w, const float *bias,
                     float *out) {
    const int whole = FLAT_PIXELS(outs);
    while (at < end) {
        const int64_t left = (end - at + LANES - 1) / LANES;
        const int64_t count = left >= 2 * whole ? whole : left > whole ? (left + 1) / 2 : left;
        switch (count) {
            FLAT_TILE(1)
            FLAT_TILE(2)
            FLAT_TILE(3)
            FLAT_TILE(4)
        default:
            break;
        }
        at += count * LANES;
    }
}

#define FLAT_CASE(outs)                                                                            \
    case outs:                                                                                     \
        flat_run(outs, s, sight, from, end, x, w, bias, out);                                      \
        break;

static void sum_flat(const nacre_conv_sum *s, const nacre_conv_sight *sight, int outs, int64_t from,
                     int64_t end, const float *x, const float *w, const float *bias, float *out) {
    switch (outs) {
        FLAT_CASE(1)
        FLAT_CASE(2)
        FLAT_CASE(3)
        FLAT_CASE(4)
#if MOST_OUTS > 4
        FLAT_CASE(5)
        FLAT_CASE(6)
        FLAT_CASE(7)
        FLAT_CASE(8)
#endif
    default:
        break;
    }
}

/* Whole vectors are stored: what is behind a row is overwritten by the next. */
static void take_columns(int64_t rows, int64_t columns, int64_t stride, const float *x,
                         int64_t x_row, float *out) {
    for (int64_t row = 0; row < rows; row++, x += x_row, out += columns) {
        if (stride == 1)
            for (int64_t c = 0; c < columns; c += LANES) vec_store(out + c, vec_load(x + c));
        else if (stride == 2)
            for (int64_t c = 0; c < columns; c += LANES)
                vec_store(out + c, vec_even(vec_load(x + 2 * c), vec_load(x + 2 * c + LANES)));
        else
            for (int64_t c = 0; c < columns; c++) out[c] = x[c * stride];
    }
}

/* ---- weight gradients ---- */

/* One row of pixels. The shorter side of the tile is held in registers, the longer one passes through. */
INLINE void add_products(const int outs, const int taps, const nacre_conv_products *p,
                         const float *dy, const float *x, vec sum[NACRE_CONV_TAPS][MOST_OUTS]) {
    for (int64_t i = 0; i < p->pixels; i++, dy += NACRE_LANES, x += p->x_step) {
        vec held[MOST_OUTS];
        if (taps <= outs) {
            EACH (t, taps) held[t] = vec_load(x + p->tap[t]);
            EACH (o, outs) {
                vec by = vec_load(dy + o * p->dy_channel);
                HOLD(by);
                EACH (t, taps) sum[t][o] = vec_fma(by, held[t], sum[t][o]);
            }
        } else {
            EACH (o, outs) held[o] = vec_load(dy + o * p->dy_channel);
            EACH (t, taps) {
                vec pixel = vec_load(x + p->tap[t]);
                HOLD(pixel);
                EACH (o, outs) sum[t][o] = vec_fma(held[o], pixel, sum[t][o]);
            }
        }
    }
}

/* Products of dy and x under each tap, summed over rectangles of pixels, lane by lane. */
INLINE void products(const int outs, const int taps, const nacre_conv_products *p, const float *dy,
                     const float *x, float *acc) {
    vec sum[NACRE_CONV_TAPS][MOST_OUTS];
    EACH (t, taps)
        EACH (o, outs) sum[t][o] = vec_load(acc + p->slot[t] + o * NACRE_LANES);
    for (int64_t i = 0; i < p->images; i++, dy += p->dy_image, x += p->x_image)
        for (int64_t row = 0; row < p->rows; row++)
            add_products(outs, taps, p, dy + row * p->dy_row, x + row * p->x_row, sum);
    EACH (t, taps)
        EACH (o, outs) vec_store(acc + p->slot[t] + o * NACRE_LANES, sum[t][o]);
}

/* Do the registers hold a vector for each sum, those of all channels or of all taps, and one that passes through? */
#define FITS(outs, taps)                                                                           \
    ((outs) <= MOST_OUTS &&                                                                        \
     ((outs) * ((taps) + 1) < VECTOR_REGISTERS || ((outs) + 1) * (taps) < VECTOR_REGISTERS))
/* The most channels beside so many taps: as many numbers fit as the largest that does. */
#define OUTS_BESIDE(taps)                                                                          \
    (FITS(1, taps) + FITS(2, taps) + FITS(3, taps) + FITS(4, taps) + FITS(5, taps) +               \
     FITS(6, taps) + FITS(7, taps) + FITS(8, taps))

#define PRODUCT_CASE(outs)                                                                         \
    case outs:                                                                                     \
        if (FITS(outs, taps)) products(outs, taps, p, dy, x, acc);                                 \
        break;

/* Only ever called with a constant for `taps`. */
INLINE void products_beside(const int taps, int outs, const nacre_conv_products *p, const float *dy,
                            const float *x, float *acc) {
    switch (outs) {
        PRODUCT_CASE(1)
        PRODUCT_CASE(2)
        PRODUCT_CASE(3)
        PRODUCT_CASE(4)
#if MOST_OUTS > 4
        PRODUCT_CASE(5)
        PRODUCT_CASE(6)
        PRODUCT_CASE(7)
        PRODUCT_CASE(8)
#endif
    default:
        break;
    }
}

#define PRODUCTS(name, taps)                                                                       \
    static void name(int outs, const nacre_conv_products *p, const float *dy, const float *x,      \
                     float *acc) {                                                                 \
        products_beside(taps, outs, p, dy, x, acc);                                                \
    }
PRODUCTS(products_1, 1)
PRODUCTS(products_2, 2)
PRODUCTS(products_3, 3)
PRODUCTS(products_4, 4)
PRODUCTS(products_5, 5)
PRODUCTS(products_6, 6)
PRODUCTS(products_7, 7)
PRODUCTS(products_8, 8)
PRODUCTS(products_9, 9)

static void sum_products(const nacre_conv_products *p, int outs, int taps, const float *dy,
                         const float *x, float *acc) {
    static void (*const by_taps[NACRE_CONV_TAPS])(int, const nacre_conv_products *, const float *,
                                                  const float *, float *) = {
        products_1, products_2, products_3, products_4, products_5,
        products_6, products_7, products_8, products_9};
    for (int lane = 0; lane < NACRE_LANES; lane += LANES)
        by_taps[taps - 1](outs, p, dy + lane, x + lane, acc + lane);
}

/* ---- lanes to numbers ---- */

/* LANES accumulators at once: r[i] holds lane i of each. */
INLINE vec tree(vec r[NACRE_LANES]) {
    EACH (i, 8) r[i] = vec_add(r[i], r[i + 8]);
    EACH (i, 4) r[i] = vec_add(r[i], r[i + 4]);
    EACH (i, 2) r[i] = vec_add(r[i], r[i + 2]);
    return vec_add(r[0], r[1]);
}

static void join_lanes(int64_t count, int samples, const float *acc, float *out) {
    for (int64_t i = 0; i < count; i += LANES) {
        vec r[NACRE_LANES];
        float padded[LANES * NACRE_LANES];
        const float *from = acc + i * NACRE_LANES;
        if (count - i < LANES) {
            memset(padded, 0, sizeof padded);
            memcpy(padded, from, (size_t)(count - i) * NACRE_LANES * sizeof *padded);
            from = padded;
        }
        EACH (k, NACRE_LANES / LANES) load_columns(r + k * LANES, from + k * LANES, NACRE_LANES);
        if (samples < NACRE_LANES)
            EACH (k, NACRE_LANES) r[k] = k < samples ? r[k] : vec_zero();
        const size_t left = (size_t)(count - i);
        vec_store_n(out + i, left, vec_add(vec_load_n(out + i, left), tree(r)));
    }
}

static void sum_pixels(int64_t pixels, const float *x, float *acc) {
    for (int at = 0; at < NACRE_LANES; at += LANES) {
        vec sum[PIXEL_SUMS];
        EACH (k, PIXEL_SUMS) sum[k] = vec_zero();
        const float *from = x + at;
        int64_t i = 0;
        for (; i + PIXEL_SUMS <= pixels; i += PIXEL_SUMS, from += PIXEL_SUMS * NACRE_LANES)
            EACH (k, PIXEL_SUMS) sum[k] = vec_add(sum[k], vec_load(from + k * NACRE_LANES));
        for (; i < pixels; i++, from += NACRE_LANES) sum[0] = vec_add(sum[0], vec_load(from));
        vec_store(acc + at, vec_add(vec_load(acc + at), pixel_sums_join(sum)));
    }
}

/* ---- in and out of lanes ---- */

static void unlane(int64_t pixels, int samples, const float *x, const nacre_conv_after *after,
                   float *out, int64_t out_sample) {
    for (int64_t p = 0; p < pixels; p += LANES) {
        float padded[LANES * NACRE_LANES];
        const float *from = x + p * NACRE_LANES;
        const size_t left = (size_t)(pixels - p);
        if (left < LANES) {
            memset(padded, 0, sizeof padded);
            memcpy(padded, from, left * NACRE_LANES * sizeof *padded);
            from = padded;
        }
        EACH (k, NACRE_LANES / LANES) {
            vec r[LANES];
            load_columns(r, from + k * LANES, NACRE_LANES);
            EACH (i, LANES)
                if (k * LANES + i < samples) {
                    float *to = out + (k * LANES + i) * out_sample + p;
                    vec_store_n(to, left, after ? after_row(after, to, left, r[i]) : r[i]);
                }
        }
    }
}

const nacre_conv_kernels NACRE_AT_LEVEL(nacre_conv_kernels) = {
    .outs = MOST_OUTS,
    .outs_beside = {OUTS_BESIDE(1), OUTS_BESIDE(2), OUTS_BESIDE(3), OUTS_BESIDE(4), OUTS_BESIDE(5),
                    OUTS_BESIDE(6), OUTS_BESIDE(7), OUTS_BESIDE(8), OUTS_BESIDE(9)},
    .sum = sum,
    .sum_channels = sum_channels,
    .sum_flat = sum_flat,
    .take_columns = take_columns,
    .products = sum_products,
    .join_lanes = join_lanes,
    .sum_pixels = sum_pixels,
    .unlane = unlane,
};
