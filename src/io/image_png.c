#include "io/image.h"

#include "base/error.h"
#include "base/memory.h"

#if NACRE_HAVE_PNG

#include <png.h>
#include <setjmp.h>
#include <string.h>

/* Deflate's largest ratio of output to input is 1032 : 1 (zlib, "Technical Details"). */
enum { LARGEST_RATIO = 1032 };

/* What a chunk may unpack to. */
enum { LARGEST_CHUNK = 8 << 20 };

/* All that changes while libpng may jump is in here, reached through a pointer: a local variable
   of the function that called setjmp would be undefined after the jump. */
typedef struct decoder {
    const unsigned char *bytes;
    size_t size, at;
    const char *name;
    png_structp png;
    png_infop info;
    nacre_image *image;
    unsigned char *rows; /* one row; of an interlaced picture, all */
    size_t row_bytes;
    int bits, channels; /* of the rows */
    bool out_of_memory; /* an allocation failed, even if libpng went on without */
    char message[128];
    jmp_buf escape;
} decoder;

/* ---- what libpng calls ---- */

/* libpng reserves what a chunk's length claims before it reads on (its limit only warns): more than the
   file could fill is refused, as if memory were short, and the chunk left out. */
static void *allocate(png_structp png, png_alloc_size_t size) {
    decoder *d = png_get_mem_ptr(png);
    if (size > d->size + LARGEST_CHUNK) return NULL;
    void *block = nacre_alloc(size);
    if (!block) d->out_of_memory = true;
    return block;
}

static void release(png_structp png, void *block) {
    (void)png;
    nacre_free(block);
}

static PNG_NORETURN void on_error(png_structp png, const char *message) {
    decoder *d = png_get_error_ptr(png);
    size_t length = strlen(message) < sizeof d->message ? strlen(message) : sizeof d->message - 1;
    memcpy(d->message, message, length);
    d->message[length] = '\0';
    longjmp(d->escape, 1);
}

static void on_warning(png_structp png, const char *message) { (void)png, (void)message; }

static void read_bytes(png_structp png, png_bytep to, size_t size) {
    decoder *d = png_get_io_ptr(png);
    if (size > d->size - d->at) png_error(png, "the file ends too early");
    memcpy(to, d->bytes + d->at, size);
    d->at += size;
}

/* ---- decoding; each of these may jump ---- */

static void read_header(decoder *d) {
    png_set_read_fn(d->png, d, read_bytes);
    /* Wider ones get our own message, in nacre_image_reserve. */
    png_set_user_limits(d->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_chunk_malloc_max(d->png, LARGEST_CHUNK);
    png_read_info(d->png, d->info);
    int color = png_get_color_type(d->png, d->info);
    if (color == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(d->png);
    if (color == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(d->png);
    if (png_get_valid(d->png, d->info, PNG_INFO_tRNS)) png_set_tRNS_to_alpha(d->png);
}

/* Reserves the pixels and rows once their size is known and plausible. */
static nacre_status reserve(decoder *d) {
    uint64_t width = png_get_image_width(d->png, d->info),
             height = png_get_image_height(d->png, d->info);
    uint64_t packed =
        width * png_get_bit_depth(d->png, d->info) * png_get_channels(d->png, d->info);
    if (width <= NACRE_IMAGE_LARGEST && height <= NACRE_IMAGE_LARGEST &&
        packed / 8 * height / LARGEST_RATIO > d->size) {
        return nacre_fail(NACRE_BAD_FILE,
                          "%s: %zu bytes are too few for %d x %d pixels: cut off? save it again",
                          d->name, d->size, (int)width, (int)height);
    }
    return nacre_image_reserve(width, height, d->name, d->image);
}

static void start_rows(decoder *d, int *passes) {
    *passes = png_set_interlace_handling(d->png);
    png_read_update_info(d->png, d->info);
    d->row_bytes = png_get_rowbytes(d->png, d->info);
    d->bits = png_get_bit_depth(d->png, d->info);
    d->channels = png_get_channels(d->png, d->info);
    size_t held = *passes > 1 ? (size_t)d->image->height : 1;
    d->rows = nacre_alloc(held * d->row_bytes);
    if (!d->rows) d->out_of_memory = true;
}

static float sample(const unsigned char *from, int bits) {
    if (bits == 16) return (float)(from[0] << 8 | from[1]) / 65535.0f;
    return (float)from[0] / 255.0f;
}

/* One row of 8- or 16-bit grey, grey + alpha, RGB or RGBA. Grey is the luma of ITU-R BT.601 (as in
   Pillow's "L"); what is transparent lets white through. */
static void to_grey(const decoder *d, const unsigned char *from, float *to) {
    int bytes = d->bits / 8, step = bytes * d->channels;
    for (int x = 0; x < d->image->width; x++, from += step) {
        float grey = sample(from, d->bits);
        if (d->channels >= 3) {
            grey = 0.299f * grey + 0.587f * sample(from + bytes, d->bits) +
                   0.114f * sample(from + 2 * bytes, d->bits);
        }
        if (d->channels == 2 || d->channels == 4) {
            float alpha = sample(from + step - bytes, d->bits);
            grey = alpha * grey + (1.0f - alpha);
        }
        to[x] = grey < 1.0f ? grey : 1.0f; /* the weights' sum may round to more than 1 */
    }
}

static void read_rows(decoder *d, int passes) {
    for (int pass = 0; pass < passes; pass++) {
        for (int y = 0; y < d->image->height; y++) {
            unsigned char *row = d->rows + (passes > 1 ? (size_t)y * d->row_bytes : 0);
            png_read_row(d->png, row, NULL);
            if (pass < passes - 1) continue;
            to_grey(d, row, d->image->pixels + (size_t)y * (size_t)d->image->width);
        }
    }
    png_read_end(d->png, NULL); /* up to the end chunk, so that a cut file is noticed */
}

static nacre_status decode(decoder *d) {
    if (setjmp(d->escape)) {
        if (d->out_of_memory) return NACRE_OUT_OF_MEMORY;
        return nacre_fail(NACRE_BAD_FILE, "%s: bad PNG: %s; save it again as PNG", d->name,
                          d->message);
    }
    d->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, d, on_error, on_warning, d, allocate,
                                      release);
    d->info = d->png ? png_create_info_struct(d->png) : NULL;
    if (d->out_of_memory) return NACRE_OUT_OF_MEMORY;
    if (!d->info) {
        return nacre_fail(NACRE_UNSUPPORTED,
                          "libpng %s is not the one that Nacre was built with (%s)",
                          png_get_libpng_ver(NULL), PNG_LIBPNG_VER_STRING);
    }
    int passes;
    read_header(d);
    nacre_status status = reserve(d);
    if (status != NACRE_OK) return status;
    start_rows(d, &passes);
    if (!d->out_of_memory) read_rows(d, passes);
    /* Without memory libpng may have left out a chunk, and with it changed the picture. */
    return d->out_of_memory ? NACRE_OUT_OF_MEMORY : NACRE_OK;
}

nacre_status nacre_image_parse_png(const unsigned char *bytes, size_t size, const char *name,
                                   nacre_image *out) {
    *out = (nacre_image){0};
    decoder d = {.bytes = bytes, .size = size, .name = name, .image = out};
    nacre_status status = decode(&d);
    nacre_free(d.rows);
    if (d.png) png_destroy_read_struct(&d.png, &d.info, NULL);
    if (status != NACRE_OK) nacre_image_free(out);
    return status;
}

#else

nacre_status nacre_image_parse_png(const unsigned char *bytes, size_t size, const char *name,
                                   nacre_image *out) {
    (void)bytes, (void)size;
    *out = (nacre_image){0};
    return nacre_fail(
        NACRE_UNSUPPORTED,
        "%s: PNG needs libpng: install the package libpng-dev and build Nacre again, or convert "
        "the picture to PGM",
        name);
}

#endif
