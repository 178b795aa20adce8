/* Pictures: a digit someone drew is seen as drawn, whichever program saved it. */
#include "support.h"

#include "base/memory.h"
#include "io/image.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static nacre_status parse(const void *bytes, size_t size, nacre_image *out) {
    unsigned char *copy = malloc(size ? size : 1); /* exact, for the sanitizer */
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    nacre_status status = nacre_image_parse(copy, size, "picture", out);
    free(copy);
    return status;
}

static void shows(const void *bytes, size_t size, int width, int height, const float *pixels) {
    nacre_image image;
    if (parse(bytes, size, &image) != NACRE_OK) fail_msg("%s", nacre_error_message());
    assert_int_equal(image.width, width);
    assert_int_equal(image.height, height);
    for (int i = 0; i < width * height; i++) {
        if (fabsf(image.pixels[i] - pixels[i]) > 1e-6f) {
            fail_msg("pixel %d is %g, not %g", i, (double)image.pixels[i], (double)pixels[i]);
        }
    }
    nacre_image_free(&image);
    assert_null(image.pixels);
}

static void refused(const void *bytes, size_t size, nacre_status expected, const char *part) {
    nacre_image image;
    size_t live = nacre_memory().live_bytes;
    nacre_error_clear();
    nacre_status status = parse(bytes, size, &image);
    if (status != expected) fail_msg("status %d: %s", (int)status, nacre_error_message());
    if (!strstr(nacre_error_message(), part)) {
        fail_msg("\"%s\" is not in \"%s\"", part, nacre_error_message());
    }
    assert_null(image.pixels);
    assert_int_equal(nacre_memory().live_bytes, live);
}

static void refused_text(const char *text, const char *part) {
    refused(text, strlen(text), NACRE_BAD_FILE, part);
}

/* ---- PGM ---- */

static void a_pgm_is_read(void **state) {
    (void)state;
    static const float four[] = {0, 1, 0.4f, 0.2f};
    static const char raw[] = "P5\n2 2\n255\n\0\xFF\x66\x33",
                      wide[] = "P5 2 2 65535 \0\0\xFF\xFF\x66\x66\x33\x33";
    shows(raw, sizeof raw - 1, 2, 2, four);
    shows(wide, sizeof wide - 1, 2, 2, four);
    static const char plain[] = "P2\n# made by hand\n2 # width\n2\r\n#\n5\n0 5\n2\t1";
    shows(plain, sizeof plain - 1, 2, 2, four);
    static const char commented[] = "P5#a\n2#b\n2 5#not a comment's place, but many write it\n\n";
    refused(commented, sizeof commented - 1, NACRE_BAD_FILE, "white space");
    static const char column[] = "P2 1 4 10 0 10 4 2 # the end\n",
                      row[] = "P5 4 1 10\n\0\x0A\x04\x02\n";
    shows(column, sizeof column - 1, 1, 4, four);
    shows(row, sizeof row - 1, 4, 1, four);
    static const char spaces[] = "P5 2 1 255\n\n\n"; /* pixels that look like white space */
    static const float tens[] = {10 / 255.0f, 10 / 255.0f};
    shows(spaces, sizeof spaces - 1, 2, 1, tens);
}

static void a_damaged_pgm_is_refused(void **state) {
    (void)state;
    refused_text("", "neither");
    refused_text("P", "neither");
    refused_text("P5", "neither");
    refused_text("P6 1 1 255\nabc", "neither");
    refused_text("GIF89a..", "neither");
    refused_text("P2 ", "too early");
    refused_text("P2 a", "expected a number");
    refused_text("P2 1 1 -1 0", "expected a number");
    refused_text("P2 1 1 0 0", "largest sample is 0");
    refused_text("P2 1 1 65536 0", "largest sample is larger");
    refused_text("P2 0 1 255 ", "0 x 1");
    refused_text("P2 1 0 255 ", "1 x 0");
    refused_text("P2 4294967296 1 1 0", "larger than 4294967295");
    refused_text("P2 99999999999999999999999 1 1 0", "larger than");
    refused_text("P2 2 1 255 1", "too few");
    refused_text("P2 2 1 255 111", "too early");
    refused_text("P2 1 1 255 256", "sample is larger");
    refused_text("P2 1 1 255 1 2", "follow the last pixel");
    refused_text("P2 1 1 255 1x", "follow the last pixel");
    refused_text("P5 2 1 255\nx", "too few");
    refused_text("P5 1 1 256\nx", "too few");
    refused_text("P5 1 1 255\nxy", "1 bytes follow");
    refused_text("P5 1 1 100\nx", "larger than the largest sample 100");
    refused_text("P5 1 1 255", "white space");
    refused_text("P5 1 1 255x", "white space");
    refused_text("P5 65535 65535 255\nabc", "too few");
    refused_text("P5 4294967295 4294967295 65535\nabc", "too few");
    refused_text("P2 4294967295 4294967295 65535\nabc", "too few");
    refused_text("P2 1 1 # no end", "too early");
    char *wide = calloc(1, 16385 + 16);
    assert_non_null(wide);
    int header = sprintf(wide, "P5 16385 1 255\n");
    refused(wide, (size_t)header + 16385, NACRE_BAD_FILE, "16385 x 1");
    header = sprintf(wide, "P5 16384 1 255\n");
    nacre_image image;
    assert_int_equal(parse(wide, (size_t)header + 16384, &image), NACRE_OK);
    nacre_image_free(&image);
    free(wide);
}

static void a_truncated_or_changed_pgm_is_survived(void **state) {
    (void)state;
    static const char raw[] = "P5\n# c\n3 2\n255\nabcdef",
                      plain[] = "P2\n# c\n3 2\n255\n1 2 3 4 5 6";
    for (size_t size = 0; size < sizeof raw - 1; size++)
        refused(raw, size, NACRE_BAD_FILE, "picture");
    for (size_t size = 0; size < sizeof plain - 1; size++)
        refused(plain, size, NACRE_BAD_FILE, "picture");
    for (size_t i = 2; i < sizeof plain - 1; i++) {
        for (int byte = 0; byte < 256; byte++) {
            char changed[sizeof plain];
            nacre_image image;
            memcpy(changed, plain, sizeof plain);
            changed[i] = (char)byte;
            parse(changed, sizeof plain - 1, &image);
            nacre_image_free(&image);
        }
    }
}

static void a_picture_is_loaded_from_its_file(void **state) {
    (void)state;
    const char *folder = support_folder(), *path = support_path(folder, "one.pgm");
    support_write(path, "P5 1 1 255\n\xFF", 12);
    nacre_image image;
    assert_int_equal(nacre_image_load(path, &image), NACRE_OK);
    assert_true(image.width == 1 && image.height == 1 && image.pixels[0] == 1);
    nacre_image_free(&image);
    assert_int_equal(nacre_image_load(support_path(folder, "none.pgm"), &image), NACRE_NOT_FOUND);
    assert_non_null(strstr(nacre_error_message(), "none.pgm"));
    assert_null(image.pixels);
    assert_int_equal(nacre_image_load(folder, &image), NACRE_IO_ERROR);
    assert_int_equal(nacre_image_load(NULL, &image), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_image_load(path, NULL), NACRE_INVALID_ARGUMENT);
    support_write(path, "", 0);
    assert_int_equal(nacre_image_load(path, &image), NACRE_BAD_FILE);
    nacre_image_free(&image);
    nacre_image_free(NULL);
    for (uint64_t n = 1; n <= 2; n++) {
        support_write(path, "P5 1 1 255\n\xFF", 12);
        nacre_memory_fail_at(n);
        assert_int_equal(nacre_image_load(path, &image), NACRE_OUT_OF_MEMORY);
        nacre_memory_fail_at(0);
        assert_null(image.pixels);
    }
}

/* ---- PNG ---- */

#if NACRE_HAVE_PNG

#include <png.h>

typedef struct buffer {
    unsigned char bytes[1 << 16];
    size_t size;
} buffer;

static void collect(png_structp png, png_bytep bytes, size_t size) {
    buffer *b = png_get_io_ptr(png);
    if (size > sizeof b->bytes - b->size) png_error(png, "the test's buffer is full");
    memcpy(b->bytes + b->size, bytes, size);
    b->size += size;
}

static void collected(png_structp png) { (void)png; }

typedef struct picture {
    int width, height, bits, color;
    bool interlaced;
    const unsigned char *rows; /* packed as PNG packs them */
    size_t row_bytes;
    int palette_size;
    png_color palette[4];
    int alpha_size; /* of the palette */
    unsigned char alpha[4];
    bool has_key; /* a transparent grey or colour */
    png_color_16 key;
} picture;

static void encode(const picture *p, buffer *out) {
    out->size = 0;
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    assert_non_null(info);
    if (setjmp(png_jmpbuf(png))) fail_msg("libpng cannot write the test's picture");
    png_set_write_fn(png, out, collect, collected);
    png_set_IHDR(png, info, (png_uint_32)p->width, (png_uint_32)p->height, p->bits, p->color,
                 p->interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (p->palette_size) png_set_PLTE(png, info, p->palette, p->palette_size);
    if (p->alpha_size) png_set_tRNS(png, info, p->alpha, p->alpha_size, NULL);
    if (p->has_key) png_set_tRNS(png, info, NULL, 0, &p->key);
    png_write_info(png, info);
    int passes = png_set_interlace_handling(png);
    for (int pass = 0; pass < passes; pass++) {
        for (int y = 0; y < p->height; y++) png_write_row(png, p->rows + (size_t)y * p->row_bytes);
    }
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
}

static void encodes_to(const picture *p, const float *pixels) {
    static buffer b;
    encode(p, &b);
    shows(b.bytes, b.size, p->width, p->height, pixels);
}

static float luma(float r, float g, float b) { return 0.299f * r + 0.587f * g + 0.114f * b; }

static void every_depth_of_grey_is_read(void **state) {
    (void)state;
    static const float ends[] = {0, 1}, thirds[] = {1 / 3.0f, 2 / 3.0f}, fifths[] = {0.2f, 0.4f};
    encodes_to(&(picture){2, 1, 1, PNG_COLOR_TYPE_GRAY, .rows = (unsigned char[]){0x40}}, ends);
    encodes_to(&(picture){2, 1, 2, PNG_COLOR_TYPE_GRAY, .rows = (unsigned char[]){0x60}}, thirds);
    encodes_to(&(picture){2, 1, 4, PNG_COLOR_TYPE_GRAY, .rows = (unsigned char[]){0x36}}, fifths);
    encodes_to(&(picture){2, 1, 8, PNG_COLOR_TYPE_GRAY, .rows = (unsigned char[]){0x33, 0x66}},
               fifths);
    encodes_to(&(picture){2, 1, 16, PNG_COLOR_TYPE_GRAY,
                          .rows = (unsigned char[]){0x33, 0x33, 0x66, 0x66}},
               fifths);
    static const float fine[] = {1 / 65535.0f, 258 / 65535.0f};
    encodes_to(&(picture){2, 1, 16, PNG_COLOR_TYPE_GRAY, .rows = (unsigned char[]){0, 1, 1, 2}},
               fine);
}

static void colours_become_their_brightness(void **state) {
    (void)state;
    const float grey[] = {luma(1, 0, 0), luma(0, 1, 0), luma(0, 0, 1), 1};
    static const unsigned char rgb[] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255};
    encodes_to(&(picture){4, 1, 8, PNG_COLOR_TYPE_RGB, .rows = rgb}, grey);
    unsigned char wide[24];
    for (size_t i = 0; i < sizeof wide; i++) wide[i] = rgb[i / 2];
    encodes_to(&(picture){4, 1, 16, PNG_COLOR_TYPE_RGB, .rows = wide}, grey);
    picture palette = {4,
                       1,
                       2,
                       PNG_COLOR_TYPE_PALETTE,
                       .rows = (unsigned char[]){0x1B},
                       .palette_size = 4,
                       .palette = {{255, 0, 0}, {0, 255, 0}, {0, 0, 255}, {255, 255, 255}}};
    encodes_to(&palette, grey);
}

static void transparency_shows_white_paper(void **state) {
    (void)state;
    const float a = 0.2f; /* 51 / 255 */
    const float grey[] = {1, 0, 1 - a};
    encodes_to(&(picture){3, 1, 8, PNG_COLOR_TYPE_GRAY_ALPHA,
                          .rows = (unsigned char[]){0, 0, 0, 255, 0, 51}},
               grey);
    encodes_to(&(picture){3, 1, 8, PNG_COLOR_TYPE_RGB_ALPHA,
                          .rows = (unsigned char[]){9, 9, 9, 0, 0, 0, 0, 255, 0, 0, 0, 51}},
               grey);
    encodes_to(&(picture){1, 1, 16, PNG_COLOR_TYPE_RGB_ALPHA,
                          .rows = (unsigned char[]){0, 0, 0, 0, 0, 0, 0x33, 0x33}},
               &grey[2]);
    picture palette = {3,
                       1,
                       8,
                       PNG_COLOR_TYPE_PALETTE,
                       .rows = (unsigned char[]){0, 1, 2},
                       .palette_size = 3,
                       .alpha_size = 3,
                       .alpha = {0, 255, 51}};
    encodes_to(&palette, grey);
    picture key = {2,
                   1,
                   8,
                   PNG_COLOR_TYPE_GRAY,
                   .rows = (unsigned char[]){7, 0},
                   .has_key = true,
                   .key = {.gray = 7}};
    encodes_to(&key, grey);
    key.bits = 4;
    key.rows = (unsigned char[]){0x70};
    encodes_to(&key, grey);
    picture colour = {2,
                      1,
                      8,
                      PNG_COLOR_TYPE_RGB,
                      .rows = (unsigned char[]){1, 2, 3, 0, 0, 0},
                      .has_key = true,
                      .key = {.red = 1, .green = 2, .blue = 3}};
    encodes_to(&colour, grey);
}

static void interlaced_pictures_are_the_same(void **state) {
    (void)state;
    static const int sizes[][2] = {{1, 1}, {2, 3}, {5, 4}, {8, 8}, {13, 17}, {33, 9}};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        int width = sizes[s][0], height = sizes[s][1];
        unsigned char rows[33 * 17 * 4];
        float pixels[33 * 17];
        for (int i = 0; i < width * height; i++) {
            for (int c = 0; c < 3; c++) rows[4 * i + c] = (unsigned char)(i * 7);
            rows[4 * i + 3] = 255;
            pixels[i] = (float)rows[4 * i] / 255.0f;
        }
        picture p = {width,
                     height,
                     8,
                     PNG_COLOR_TYPE_RGB_ALPHA,
                     .rows = rows,
                     .row_bytes = 4 * (size_t)width};
        encodes_to(&p, pixels);
        p.interlaced = true;
        encodes_to(&p, pixels);
    }
}

static void make_sample(buffer *out, bool interlaced) {
    static unsigned char rows[9 * 9];
    for (size_t i = 0; i < sizeof rows; i++) rows[i] = (unsigned char)(i * i);
    picture p = {9,
                 9,
                 8,
                 PNG_COLOR_TYPE_PALETTE,
                 .interlaced = interlaced,
                 .rows = rows,
                 .row_bytes = 9,
                 .palette_size = 4,
                 .alpha_size = 2};
    for (size_t i = 0; i < sizeof rows; i++) rows[i] &= 3;
    encode(&p, out);
}

static void a_truncated_or_changed_png_is_survived(void **state) {
    (void)state;
    static buffer b;
    for (int interlaced = 0; interlaced < 2; interlaced++) {
        make_sample(&b, interlaced);
        for (size_t size = 0; size < b.size; size++)
            refused(b.bytes, size, NACRE_BAD_FILE, "picture");
        for (size_t i = 8; i < b.size; i++) {
            unsigned char before = b.bytes[i];
            for (int bit = 0; bit < 8; bit++) {
                nacre_image image;
                b.bytes[i] = (unsigned char)(before ^ 1 << bit);
                parse(b.bytes, b.size, &image);
                nacre_image_free(&image);
            }
            b.bytes[i] = before;
        }
    }
}

static void put_u32(unsigned char *to, uint32_t value) {
    for (int i = 0; i < 4; i++) to[i] = (unsigned char)(value >> (24 - 8 * i));
}

/* CRC-32 of PNG (ISO 3309), bit by bit. */
static uint32_t crc(const unsigned char *bytes, size_t size) {
    uint32_t c = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        c ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) c = c & 1 ? 0xEDB88320u ^ c >> 1 : c >> 1;
    }
    return ~c;
}

static void a_small_file_cannot_ask_for_much_memory(void **state) {
    (void)state;
    static const struct {
        uint32_t width, height;
        const char *part;
    } cases[] = {{16384, 16384, "too few"}, {16385, 9, "16385 x 9"},
                 {9, 16385, "9 x 16385"},   {0x7FFFFFFF, 0x7FFFFFFF, "2147483647"},
                 {0, 9, "bad PNG"},         {0xFFFFFFFF, 1, "bad PNG"}};
    static buffer b;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        make_sample(&b, false);
        put_u32(b.bytes + 16, cases[i].width);
        put_u32(b.bytes + 20, cases[i].height);
        put_u32(b.bytes + 29, crc(b.bytes + 12, 17));
        size_t peak = nacre_memory().peak_bytes;
        refused(b.bytes, b.size, NACRE_BAD_FILE, cases[i].part);
        assert_true(nacre_memory().peak_bytes < peak + (1 << 20));
    }
}

static void a_chunk_cannot_ask_for_much_memory(void **state) {
    (void)state;
    enum { AFTER_IHDR = 33 };
    static buffer b;
    make_sample(&b, false);
    put_u32(b.bytes + AFTER_IHDR, 0x5F00000C);
    memcpy(b.bytes + AFTER_IHDR + 4, "sPLT", 4);
    size_t peak = nacre_memory().peak_bytes;
    refused(b.bytes, b.size, NACRE_BAD_FILE, "bad PNG");
    assert_true(nacre_memory().peak_bytes < peak + (1 << 20));
}

static void short_memory_is_reported_and_nothing_leaks(void **state) {
    (void)state;
    static buffer b;
    make_sample(&b, true);
    size_t live = nacre_memory().live_bytes;
    nacre_status status = NACRE_OUT_OF_MEMORY;
    nacre_image image;
    uint64_t n = 1;
    for (; status != NACRE_OK; n++) {
        assert_true(n < 200);
        nacre_memory_fail_at(n);
        status = parse(b.bytes, b.size, &image);
        nacre_memory_fail_at(0);
        assert_true(status == NACRE_OK || status == NACRE_OUT_OF_MEMORY);
        if (status != NACRE_OK) assert_int_equal(nacre_memory().live_bytes, live);
    }
    assert_true(n > 5);
    nacre_image_free(&image);
    assert_int_equal(nacre_memory().live_bytes, live);
}

#else

static void a_png_names_the_missing_package(void **state) {
    (void)state;
    refused("\x89PNG\r\n\x1A\n", 8, NACRE_UNSUPPORTED, "libpng-dev");
}

#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pgm_is_read),
        cmocka_unit_test(a_damaged_pgm_is_refused),
        cmocka_unit_test(a_truncated_or_changed_pgm_is_survived),
        cmocka_unit_test(a_picture_is_loaded_from_its_file),
#if NACRE_HAVE_PNG
        cmocka_unit_test(every_depth_of_grey_is_read),
        cmocka_unit_test(colours_become_their_brightness),
        cmocka_unit_test(transparency_shows_white_paper),
        cmocka_unit_test(interlaced_pictures_are_the_same),
        cmocka_unit_test(a_truncated_or_changed_png_is_survived),
        cmocka_unit_test(a_small_file_cannot_ask_for_much_memory),
        cmocka_unit_test(a_chunk_cannot_ask_for_much_memory),
        cmocka_unit_test(short_memory_is_reported_and_nothing_leaks),
#else
        cmocka_unit_test(a_png_names_the_missing_package),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
