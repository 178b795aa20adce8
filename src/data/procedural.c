/* Drawn digits: the strokes of each digit, bent and drawn with a round pen.

   Sample i of (seed, split) is a pure function of these three. Only +, -, *, / and sqrt of IEEE 754 are
   used, so every machine draws the same bytes. */
#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/random.h"
#include "data/dataset.h"
#include "data/glyphs.h"

#include <math.h>
#include <string.h>

enum {
    SIDE = NACRE_DIGIT_SIDE,
    PIXELS = SIDE * SIDE,
    CLASSES = 10,
    STEPS = 5,  /* line segments per span of a curve */
    KNOTS = 6,  /* of the bending field along each axis */
    TASK = 256, /* samples per task of the pool */
};

/* ---- random draws, in a fixed order per sample ---- */

typedef struct draws {
    uint32_t counter[4], key[2];
    nacre_philox_block block;
    int used;
} draws;

enum { STREAM_SAMPLE = 0, STREAM_LABELS = 2 }; /* + split */

static draws draws_begin(uint64_t seed, uint32_t stream, uint64_t index) {
    uint64_t key = seed ^ nacre_random_stream("procedural digits");
    return (draws){.counter = {0, stream, (uint32_t)index, (uint32_t)(index >> 32)},
                   .key = {(uint32_t)key, (uint32_t)(key >> 32)},
                   .used = 4};
}

static uint32_t draw(draws *d) {
    if (d->used == 4) {
        d->block = nacre_philox(d->counter, d->key);
        d->counter[0]++;
        d->used = 0;
    }
    return d->block.word[d->used++];
}

static float uniform(draws *d, float low, float high) {
    return low + (high - low) * ((float)(draw(d) >> 8) * 0x1p-24f);
}

static uint32_t below(draws *d, uint32_t bound) {
    return (uint32_t)(((uint64_t)draw(d) * bound) >> 32);
}

/* Four bytes of a word added: near enough a normal deviate, of mean 510 and this deviation. */
static float bell(uint32_t word) {
    const float deviation = 147.8f; /* sqrt(4 (256^2 - 1) / 12) */
    uint32_t sum = (word & 255) + (word >> 8 & 255) + (word >> 16 & 255) + (word >> 24);
    return ((float)sum - 510.0f) / deviation;
}

/* ---- bending ---- */

typedef struct point {
    float x, y;
} point;

/* Position and slant of the whole digit, and a smooth random field that displaces each point. */
typedef struct bend {
    float xx, xy, yx, yy, left, top; /* pixel = matrix * (glyph - centre) + (left, top) */
    point knots[KNOTS][KNOTS];       /* displacement in pixels, interpolated by a cubic B-spline */
    float jitter;                    /* of control points, in glyph units */
} bend;

static bend bend_draw(draws *d) {
    bend b;
    float height = uniform(d, 17.0f, 22.0f);
    float width = height * uniform(d, 0.66f, 1.05f);
    float half = uniform(d, -0.13f, 0.13f); /* tan(angle / 2): up to 15 degrees either way */
    float slant = uniform(d, -0.30f, 0.22f);
    float cosine = (1 - half * half) / (1 + half * half), sine = 2 * half / (1 + half * half);
    b.xx = cosine * width;
    b.xy = (-sine - cosine * slant) * height;
    b.yx = sine * width;
    b.yy = (cosine - sine * slant) * height;
    b.left = (float)SIDE / 2 + uniform(d, -2.0f, 2.0f);
    b.top = (float)SIDE / 2 + uniform(d, -2.0f, 2.0f);
    b.jitter = uniform(d, 0.0f, 0.045f);
    float strength = uniform(d, 0.5f, 3.2f);
    for (int i = 0; i < KNOTS * KNOTS; i++) {
        b.knots[i / KNOTS][i % KNOTS].x = uniform(d, -strength, strength);
        b.knots[i / KNOTS][i % KNOTS].y = uniform(d, -strength, strength);
    }
    return b;
}

/* Weights of the four knots around t in [0, 1] of a uniform cubic B-spline. */
static void spline_weights(float t, float w[4]) {
    float u = 1 - t;
    w[0] = u * u * u / 6;
    w[1] = (3 * t * t * t - 6 * t * t + 4) / 6;
    w[2] = (3 * u * u * u - 6 * u * u + 4) / 6;
    w[3] = t * t * t / 6;
}

/* The cell of the field that holds a pixel coordinate, and the place in it. */
static int spline_cell(float pixel, float *t) {
    const float cells = KNOTS - 3;
    float at = pixel * (cells / SIDE);
    at = at < 0 ? 0 : at > cells ? cells : at;
    int cell = at >= cells ? KNOTS - 4 : (int)at;
    *t = at - (float)cell;
    return cell;
}

static point bend_apply(const bend *b, point glyph) {
    float gx = glyph.x - 0.5f, gy = glyph.y - 0.5f;
    point p = {b->xx * gx + b->xy * gy + b->left, b->yx * gx + b->yy * gy + b->top};
    float tx, ty, wx[4], wy[4];
    int column = spline_cell(p.x, &tx), row = spline_cell(p.y, &ty);
    spline_weights(tx, wx);
    spline_weights(ty, wy);
    point moved = p;
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 4; j++) {
            const point *knot = &b->knots[row + i][column + j];
            moved.x += wy[i] * wx[j] * knot->x;
            moved.y += wy[i] * wx[j] * knot->y;
        }
    }
    return moved;
}

/* ---- drawing ---- */

typedef struct pen {
    float radius, thinning; /* in pixels; the stroke's end has radius (1 - thinning) */
    float edge;             /* width of the soft edge in pixels */
    float ink;
} pen;

static pen pen_draw(draws *d) {
    pen p;
    p.radius = uniform(d, 0.75f, 1.75f);
    p.thinning = uniform(d, -0.3f, 0.5f);
    p.edge = uniform(d, 0.8f, 1.6f);
    p.ink = uniform(d, 0.7f, 1.1f);
    return p;
}

static int clamp_pixel(float x) { return x < 0 ? 0 : x > SIDE - 1 ? SIDE - 1 : (int)x; }

/* Darkens the pixels near the segment a-b: coverage falls from 1 to 0 over the pen's edge. */
static void draw_segment(float *canvas, point a, point b, float radius, float edge) {
    float reach = radius + edge / 2;
    float dx = b.x - a.x, dy = b.y - a.y;
    float squared = dx * dx + dy * dy;
    float inverse = squared > 0 ? 1 / squared : 0;
    int x0 = clamp_pixel((a.x < b.x ? a.x : b.x) - reach);
    int x1 = clamp_pixel((a.x < b.x ? b.x : a.x) + reach + 1);
    int y0 = clamp_pixel((a.y < b.y ? a.y : b.y) - reach);
    int y1 = clamp_pixel((a.y < b.y ? b.y : a.y) + reach + 1);
    for (int y = y0; y <= y1; y++) {
        for (int x = x0; x <= x1; x++) {
            float px = (float)x + 0.5f - a.x, py = (float)y + 0.5f - a.y;
            float t = (px * dx + py * dy) * inverse;
            t = t < 0 ? 0 : t > 1 ? 1 : t;
            float ex = px - t * dx, ey = py - t * dy;
            float distance = sqrtf(ex * ex + ey * ey);
            float cover = 0.5f + (radius - distance) / edge;
            float *pixel = canvas + y * SIDE + x;
            if (cover > *pixel) *pixel = cover > 1 ? 1 : cover;
        }
    }
}

/* Catmull-Rom spline through p1 and p2 at t in [0, 1]. */
static float catmull_rom(float p0, float p1, float p2, float p3, float t) {
    return p1 + 0.5f * t *
                    (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)));
}

static point on_stroke(const point *points, int count, bool smooth, int span, float t) {
    point p1 = points[span], p2 = points[span + 1];
    if (!smooth) return (point){p1.x + t * (p2.x - p1.x), p1.y + t * (p2.y - p1.y)};
    bool closed = points[0].x == points[count - 1].x && points[0].y == points[count - 1].y;
    point p0 = span > 0 ? points[span - 1] : closed ? points[count - 2] : p1;
    point p3 = span + 2 < count ? points[span + 2] : closed ? points[1] : p2;
    return (point){catmull_rom(p0.x, p1.x, p2.x, p3.x, t), catmull_rom(p0.y, p1.y, p2.y, p3.y, t)};
}

/* The jitter of a control point follows from where it stands, so that strokes that meet stay joined. */
static point jittered(const float at[2], float jitter, const draws *d) {
    uint32_t cell = (uint32_t)(at[0] * 64) << 8 | (uint32_t)(at[1] * 64);
    const uint32_t counter[4] = {cell, d->counter[1] | 0x80000000u, d->counter[2], d->counter[3]};
    nacre_philox_block block = nacre_philox(counter, d->key);
    return (point){at[0] + jitter * bell(block.word[0]), at[1] + jitter * bell(block.word[1])};
}

static void draw_stroke(float *canvas, const nacre_stroke *stroke, const bend *b, const pen *p,
                        const draws *d) {
    point points[NACRE_STROKE_POINTS];
    for (int i = 0; i < stroke->points; i++) points[i] = jittered(stroke->at[i], b->jitter, d);
    int segments = (stroke->points - 1) * STEPS;
    point from = bend_apply(b, points[0]);
    for (int i = 1; i <= segments; i++) {
        int span = (i - 1) / STEPS;
        float t = (float)(i - span * STEPS) / STEPS;
        point to = bend_apply(b, on_stroke(points, stroke->points, stroke->smooth, span, t));
        float radius = p->radius * (1 - p->thinning * (float)i / (float)segments);
        draw_segment(canvas, from, to, radius, p->edge);
        from = to;
    }
}

static void draw_sample(uint64_t seed, nacre_digits_split split, uint64_t index, int digit,
                        uint8_t *out) {
    draws d = draws_begin(seed, STREAM_SAMPLE + (uint32_t)split, index);
    int variants;
    const nacre_glyph *glyphs = nacre_glyphs(digit, &variants);
    const nacre_glyph *glyph = &glyphs[below(&d, (uint32_t)variants)];
    bend b = bend_draw(&d);
    pen p = pen_draw(&d);
    float noise = uniform(&d, 0.0f, 0.16f);
    float canvas[PIXELS] = {0};
    for (int s = 0; s < glyph->strokes; s++) draw_stroke(canvas, &glyph->stroke[s], &b, &p, &d);
    for (int i = 0; i < PIXELS; i++) {
        float value = p.ink * canvas[i] + noise * bell(draw(&d));
        value = value < 0 ? 0 : value > 1 ? 1 : value;
        out[i] = (uint8_t)(value * 255 + 0.5f);
    }
}

/* ---- sets ---- */

/* Each ten samples in a row hold every digit once, in random order. */
static void draw_labels(uint64_t seed, nacre_digits_split split, uint64_t group,
                        uint8_t labels[CLASSES]) {
    draws d = draws_begin(seed, STREAM_LABELS + (uint32_t)split, group);
    for (uint32_t i = 0; i < CLASSES; i++) {
        uint32_t j = below(&d, i + 1);
        labels[i] = labels[j];
        labels[j] = (uint8_t)i;
    }
}

typedef struct drawing {
    uint64_t seed;
    nacre_digits_split split;
    size_t count;
    uint8_t *pixels, *labels;
} drawing;

static void draw_task(void *context, size_t task) {
    const drawing *work = context;
    size_t end = (task + 1) * TASK < work->count ? (task + 1) * TASK : work->count;
    uint8_t labels[CLASSES] = {0};
    for (size_t i = task * TASK; i < end; i++) {
        if (i == task * TASK || i % CLASSES == 0)
            draw_labels(work->seed, work->split, i / CLASSES, labels);
        work->labels[i] = labels[i % CLASSES];
        draw_sample(work->seed, work->split, i, work->labels[i], work->pixels + i * PIXELS);
    }
}

nacre_status nacre_digits_draw(int64_t count, uint64_t seed, nacre_digits_split split,
                               nacre_images *out) {
    *out = (nacre_images){
        .count = count, .height = SIDE, .width = SIDE, .classes = CLASSES, .name = "procedural"};
    size_t bytes;
    if (count < 1)
        return nacre_fail(NACRE_INVALID_ARGUMENT, "procedural digits: count is %lld; at least 1",
                          (long long)count);
    if (!nacre_size_multiply((size_t)count, PIXELS, &bytes))
        return nacre_fail(NACRE_OUT_OF_MEMORY, "procedural digits: %lld are more than memory holds",
                          (long long)count);
    out->pixels = nacre_alloc(bytes);
    out->labels = out->pixels ? nacre_alloc((size_t)count) : NULL;
    if (!out->labels) {
        nacre_free(out->pixels);
        out->pixels = NULL;
        return NACRE_OUT_OF_MEMORY;
    }
    drawing work = {seed, split, (size_t)count, out->pixels, out->labels};
    nacre_parallel((size_t)(count - 1) / TASK + 1, draw_task, &work);
    return NACRE_OK;
}

nacre_dataset *nacre_procedural_digits(int64_t count, uint64_t seed, bool one_hot) {
    nacre_images images;
    if (nacre_digits_draw(count, seed, NACRE_DIGITS_TRAIN, &images) != NACRE_OK) return NULL;
    images.one_hot = one_hot;
    return nacre_dataset_from_images(&images);
}
