#include "cli/digit.h"

#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 28, BOX = 20 };

typedef struct box {
    int left, top, width, height;
} box;

static int compare_floats(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* ---- ground and frame ---- */

/* Ring 0 holds the outermost pixels, ring 1 those next to it, and so on. */
typedef struct ring {
    float level; /* median: a stroke that crosses the ring somewhere does not move it */
    float share; /* of the pixels that have about this level, 0 to 1 */
} ring;

static bool alike(float a, float b) { return fabsf(a - b) <= 1.0F / 8; }

/* `values` has room for 2 (width + height). */
static ring ring_at(const nacre_image *image, int depth, float *values) {
    size_t row = (size_t)image->width, count = 0;
    size_t left = (size_t)depth, top = left;
    size_t right = row - left, bottom = (size_t)image->height - top;
    for (size_t x = left; x < right; x++) {
        values[count++] = image->pixels[top * row + x];
        values[count++] = image->pixels[(bottom - 1) * row + x];
    }
    for (size_t y = top; y < bottom; y++) {
        values[count++] = image->pixels[y * row + left];
        values[count++] = image->pixels[y * row + right - 1];
    }
    qsort(values, count, sizeof *values, compare_floats);
    ring out = {.level = values[count / 2]};
    size_t near = 0;
    for (size_t i = 0; i < count; i++) {
        near += alike(values[i], out.level);
    }
    out.share = (float)near / (float)count;
    return out;
}

/* What is drawn on `ground` inside the frame is a block that fills much of it: then the frame is the
   ground, and the block the hole of an angular 0 or 8. (A 1 is a block too, but with more around it.) */
static bool is_block(const nacre_image *image, int frame, float ground) {
    int left = image->width, right = -1, top = image->height, bottom = -1;
    double drawn = 0;
    for (int y = frame; y < image->height - frame; y++) {
        for (int x = frame; x < image->width - frame; x++) {
            size_t at = (size_t)y * (size_t)image->width + (size_t)x;
            if (fabsf(image->pixels[at] - ground) > 0.25F) {
                left = x < left ? x : left;
                right = x > right ? x : right;
                top = y < top ? y : top;
                bottom = y;
                drawn++;
            }
        }
    }
    double width = right - left + 1.0, height = bottom - top + 1.0;
    bool close = image->width - 2 * frame < 4 * width && image->height - 2 * frame < 3 * height;
    return right < 0 || (close && drawn > 0.65 * width * height);
}

/* Pixels of the frame at the edge, 0 without one, and the level of the ground inside it. A frame is made
   of rings of one level each; the first ring inside it has another one. An angular 2, 3 or 5 has nearly
   such a ring as well, so the digit must not touch the frame, but for a picture of MNIST's size: there a
   thick frame cuts into it. */
static int find_frame(const nacre_image *image, float *values, float *ground) {
    int side = image->width < image->height ? image->width : image->height, frame = 0;
    ring now = ring_at(image, 0, values);
    float outer = now.level;
    float enough = image->width == SIDE && image->height == SIDE ? 0.5F : 0.95F;
    *ground = outer;
    for (int depth = 1; depth <= side / 4 && now.share >= 0.95F; depth++) {
        now = ring_at(image, depth, values);
        if (!alike(now.level, *ground)) {
            if (now.share < enough) {
                break;
            }
            frame = depth;
            *ground = now.level;
        }
    }
    if (frame > 0 && is_block(image, frame, *ground)) {
        frame = 0;
        *ground = outer;
    }
    return frame;
}

/* The ground's level; a frame becomes ground. NaN when memory is short. */
static float find_ground(nacre_image *image) {
    size_t width = (size_t)image->width, height = (size_t)image->height;
    float *values = nacre_alloc((2 * width + 2 * height) * sizeof *values);
    if (!values) {
        return NAN;
    }
    float ground;
    int frame = find_frame(image, values, &ground);
    nacre_free(values);
    for (int y = 0; frame > 0 && y < image->height; y++) {
        bool inside = y >= frame && y < image->height - frame;
        for (int x = 0; x < image->width; x++) {
            if (!inside || x < frame || x >= image->width - frame) {
                image->pixels[(size_t)y * width + (size_t)x] = ground;
            }
        }
    }
    return ground;
}

/* ---- the digit's box ---- */

/* Where pixels are above a quarter of the brightest one. */
static box bounding_box(const nacre_image *image, float threshold) {
    int left = image->width, right = -1, top = image->height, bottom = -1;
    for (int y = 0; y < image->height; y++) {
        for (int x = 0; x < image->width; x++) {
            if (image->pixels[(size_t)y * (size_t)image->width + (size_t)x] > threshold) {
                left = x < left ? x : left;
                right = x > right ? x : right;
                top = y < top ? y : top;
                bottom = y;
            }
        }
    }
    return (box){left, top, right - left + 1, bottom - top + 1};
}

/* Weight of source pixel `i` for target pixel `t` along one axis: a triangle as wide as the scale when
   shrinking (each source pixel then counts equally), linear interpolation when growing. */
static double weight(int i, int t, double scale) {
    double centre = (t + 0.5) * scale - 0.5, reach = scale > 1 ? scale : 1;
    double distance = fabs(i - centre) / reach;
    return distance < 1 ? 1 - distance : 0;
}

/* One line of `count` source values, `stride` apart, to `out` values `out_stride` apart. */
static void resample_line(const float *source, size_t stride, int count, float *target,
                          size_t out_stride, int out) {
    double scale = (double)count / out, reach = scale > 1 ? scale : 1;
    for (int t = 0; t < out; t++) {
        double centre = (t + 0.5) * scale - 0.5, sum = 0, total = 0;
        int from = (int)fmax(0, ceil(centre - reach)), to = (int)fmin(count - 1, centre + reach);
        for (int i = from; i <= to; i++) {
            double w = weight(i, t, scale);
            sum += w * source[(size_t)i * stride];
            total += w;
        }
        target[(size_t)t * out_stride] = total > 0 ? (float)(sum / total) : 0;
    }
}

/* The box of the image, width x height pixels of `small` with rows of BOX. */
static nacre_status resample(const nacre_image *image, box b, int width, int height, float *small) {
    float *narrow = nacre_alloc_zeroed((size_t)b.height * (size_t)width, sizeof *narrow);
    if (!narrow) {
        return NACRE_OUT_OF_MEMORY;
    }
    for (int y = 0; y < b.height; y++) {
        const float *row =
            image->pixels + (size_t)(b.top + y) * (size_t)image->width + (size_t)b.left;
        resample_line(row, 1, b.width, narrow + (size_t)y * (size_t)width, 1, width);
    }
    for (int x = 0; x < width; x++) {
        resample_line(narrow + x, (size_t)width, b.height, small + x, BOX, height);
    }
    nacre_free(narrow);
    return NACRE_OK;
}

/* Puts width x height pixels into the 28 x 28 so that their centre of mass is at its centre. */
static void place(const float *small, int width, int height, float *pixels) {
    double mass = 0, x_sum = 0, y_sum = 0;
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            double value = small[y * BOX + x];
            mass += value;
            x_sum += value * (x + 0.5);
            y_sum += value * (y + 0.5);
        }
    }
    int left = (int)lround(SIDE / 2.0 - x_sum / mass);
    int top = (int)lround(SIDE / 2.0 - y_sum / mass);
    left = left < 0 ? 0 : left > SIDE - width ? SIDE - width : left;
    top = top < 0 ? 0 : top > SIDE - height ? SIDE - height : top;
    memset(pixels, 0, SIDE * SIDE * sizeof *pixels);
    for (int y = 0; y < height; y++) {
        memcpy(pixels + (top + y) * SIDE + left, small + y * BOX, (size_t)width * sizeof *pixels);
    }
}

/* Ground to 0, stroke to positive values; the ground's own unevenness is cut off. */
static float lift(nacre_image *image, float ground) {
    size_t count = (size_t)image->width * (size_t)image->height;
    float brightest = 0;
    for (size_t i = 0; i < count; i++) {
        float value = image->pixels[i];
        value = ground > 0.5F ? ground - value : value - ground;
        image->pixels[i] = value > 0 ? value : 0;
        brightest = value > brightest ? value : brightest;
    }
    return brightest;
}

nacre_status nacre_cli_digit(nacre_image *image, const char *name, float *pixels) {
    float ground = find_ground(image);
    if (isnan(ground)) {
        return NACRE_OUT_OF_MEMORY;
    }
    float brightest = lift(image, ground);
    if (brightest < 1.0F / 32) {
        return nacre_fail(NACRE_INVALID_ARGUMENT,
                          "%s: nothing is drawn on it; give a picture of one digit", name);
    }
    box b = bounding_box(image, brightest / 4);
    if (image->width == SIDE && image->height == SIDE && b.width <= BOX && b.height <= BOX) {
        memcpy(pixels, image->pixels, SIDE * SIDE * sizeof *pixels);
        return NACRE_OK;
    }
    for (size_t i = 0; i < (size_t)image->width * (size_t)image->height; i++) {
        float value = image->pixels[i] / brightest;
        image->pixels[i] = value < 1.0F / 16 ? 0 : value;
    }
    double scale = (double)BOX / (b.width > b.height ? b.width : b.height);
    int width = (int)fmax(1, floor(b.width * scale + 0.5));
    int height = (int)fmax(1, floor(b.height * scale + 0.5));
    float small[BOX * BOX] = {0};
    nacre_status status = resample(image, b, width, height, small);
    if (status == NACRE_OK) {
        place(small, width, height, pixels);
    }
    return status;
}
