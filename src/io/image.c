#include "io/image.h"

#include "base/error.h"
#include "base/memory.h"
#include "io/file.h"

#include <inttypes.h>
#include <string.h>

/* The largest plain PGM: 16384 x 16384 samples of "65535 ". */
#define FILE_LIMIT ((size_t)NACRE_IMAGE_LARGEST * NACRE_IMAGE_LARGEST * 6 + 65536)

nacre_status nacre_image_reserve(uint64_t width, uint64_t height, const char *name,
                                 nacre_image *out) {
    if (width == 0 || height == 0 || width > NACRE_IMAGE_LARGEST || height > NACRE_IMAGE_LARGEST) {
        return nacre_fail(NACRE_BAD_FILE,
                          "%s: a picture of %" PRIu64 " x %" PRIu64
                          ", it may have 1 x 1 to %d x %d pixels; scale it",
                          name, width, height, NACRE_IMAGE_LARGEST, NACRE_IMAGE_LARGEST);
    }
    float *pixels = nacre_alloc((size_t)width * (size_t)height * sizeof *pixels);
    if (!pixels) return NACRE_OUT_OF_MEMORY;
    *out = (nacre_image){(int)width, (int)height, pixels};
    return NACRE_OK;
}

void nacre_image_free(nacre_image *image) {
    if (!image) return;
    nacre_free(image->pixels);
    *image = (nacre_image){0};
}

/* ---- PGM: https://netpbm.sourceforge.net/doc/pgm.html ---- */

typedef struct reader {
    const unsigned char *bytes;
    size_t size, at;
    const char *name;
} reader;

static bool is_space(unsigned char byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

/* White space, and comments from '#' to the end of the line. */
static void skip_space(reader *r) {
    bool comment = false;
    for (; r->at < r->size; r->at++) {
        unsigned char byte = r->bytes[r->at];
        if (comment)
            comment = byte != '\n' && byte != '\r';
        else if (byte == '#')
            comment = true;
        else if (!is_space(byte))
            return;
    }
}

/* A decimal number of at most `largest`, which is less than 2^32. */
static nacre_status parse_number(reader *r, uint32_t largest, const char *what, uint32_t *out) {
    skip_space(r);
    size_t start = r->at;
    uint64_t value = 0;
    while (r->at < r->size && r->bytes[r->at] >= '0' && r->bytes[r->at] <= '9') {
        value = 10 * value + (uint64_t)(r->bytes[r->at++] - '0');
        if (value > largest) {
            return nacre_fail(NACRE_BAD_FILE,
                              "%s: byte %zu: %s is larger than %" PRIu32 "; save it again as PGM",
                              r->name, start, what, largest);
        }
    }
    if (r->at == start) {
        return nacre_fail(NACRE_BAD_FILE, "%s: byte %zu: %s; save it again as PGM", r->name, start,
                          r->at == r->size ? "the file ends too early" : "expected a number");
    }
    *out = (uint32_t)value;
    return NACRE_OK;
}

typedef struct pgm_header {
    uint32_t width, height, maximum;
} pgm_header;

static nacre_status parse_header(reader *r, pgm_header *out) {
    nacre_status status = parse_number(r, UINT32_MAX, "the width", &out->width);
    if (status != NACRE_OK) return status;
    status = parse_number(r, UINT32_MAX, "the height", &out->height);
    if (status != NACRE_OK) return status;
    status = parse_number(r, 65535, "the largest sample", &out->maximum);
    if (status != NACRE_OK) return status;
    if (out->maximum == 0)
        return nacre_fail(NACRE_BAD_FILE, "%s: the largest sample is 0; save it again as PGM",
                          r->name);
    return NACRE_OK;
}

static nacre_status check_rest(reader *r) {
    skip_space(r);
    if (r->at == r->size) return NACRE_OK;
    return nacre_fail(NACRE_BAD_FILE,
                      "%s: %zu bytes follow the last pixel; keep one picture in a file", r->name,
                      r->size - r->at);
}

/* P2: a sample takes at least two bytes, white space and a digit. */
static nacre_status parse_plain(reader *r, const pgm_header *header, nacre_image *out) {
    uint64_t count = (uint64_t)header->width * header->height;
    if (count > (r->size - r->at) / 2) {
        return nacre_fail(NACRE_BAD_FILE,
                          "%s: %zu bytes are too few for %" PRIu64
                          " pixels: cut off? save it again",
                          r->name, r->size - r->at, count);
    }
    nacre_status status = nacre_image_reserve(header->width, header->height, r->name, out);
    for (uint64_t i = 0; i < count && status == NACRE_OK; i++) {
        uint32_t sample;
        status = parse_number(r, header->maximum, "a sample", &sample);
        if (status == NACRE_OK) out->pixels[i] = (float)sample / (float)header->maximum;
    }
    return status == NACRE_OK ? check_rest(r) : status;
}

/* P5: one or two bytes per sample, the more significant one first. */
static nacre_status parse_raw(reader *r, const pgm_header *header, nacre_image *out) {
    uint64_t width = header->maximum > 255 ? 2 : 1;
    /* One white-space byte ends the header; the pixels may begin with any. */
    if (r->at == r->size || !is_space(r->bytes[r->at])) {
        return nacre_fail(
            NACRE_BAD_FILE,
            "%s: byte %zu: expected white space after the header; save it again as PGM", r->name,
            r->at);
    }
    r->at++;
    uint64_t pixels = (uint64_t)header->width * header->height;
    if (pixels > (r->size - r->at) / width) {
        return nacre_fail(NACRE_BAD_FILE,
                          "%s: %zu bytes are too few for %" PRIu64
                          " pixels: cut off? save it again",
                          r->name, r->size - r->at, pixels);
    }
    nacre_status status = nacre_image_reserve(header->width, header->height, r->name, out);
    if (status != NACRE_OK) return status;
    const unsigned char *from = r->bytes + r->at;
    for (uint64_t i = 0; i < pixels; i++, from += width) {
        uint32_t sample = width == 2 ? (uint32_t)from[0] << 8 | from[1] : from[0];
        if (sample > header->maximum) {
            return nacre_fail(NACRE_BAD_FILE,
                              "%s: pixel %" PRIu64 " is %" PRIu32
                              ", larger than the largest sample %" PRIu32 "; save it again as PGM",
                              r->name, i, sample, header->maximum);
        }
        out->pixels[i] = (float)sample / (float)header->maximum;
    }
    r->at += (size_t)(pixels * width);
    return check_rest(r);
}

nacre_status nacre_image_parse_pgm(const unsigned char *bytes, size_t size, const char *name,
                                   nacre_image *out) {
    *out = (nacre_image){0};
    reader r = {bytes, size, 2, name};
    pgm_header header;
    nacre_status status = parse_header(&r, &header);
    if (status != NACRE_OK) return status;
    status = bytes[1] == '2' ? parse_plain(&r, &header, out) : parse_raw(&r, &header, out);
    if (status != NACRE_OK) nacre_image_free(out);
    return status;
}

/* ---- either ---- */

nacre_status nacre_image_parse(const void *bytes, size_t size, const char *name, nacre_image *out) {
    const unsigned char *b = bytes;
    *out = (nacre_image){0};
    if (size > 2 && b[0] == 'P' && (b[1] == '2' || b[1] == '5')) {
        return nacre_image_parse_pgm(b, size, name, out);
    }
    if (size >= 8 && memcmp(b, "\x89PNG\r\n\x1A\n", 8) == 0) {
        return nacre_image_parse_png(b, size, name, out);
    }
    return nacre_fail(NACRE_BAD_FILE,
                      "%s: neither a PNG nor a PGM (P2, P5) picture; convert it to one of them",
                      name);
}

nacre_status nacre_image_load(const char *path, nacre_image *out) {
    if (!path || !out) {
        return nacre_fail(NACRE_INVALID_ARGUMENT, "image_load: %s is NULL", path ? "out" : "path");
    }
    *out = (nacre_image){0};
    void *bytes;
    size_t size;
    nacre_status status = nacre_file_read(path, FILE_LIMIT, &bytes, &size);
    if (status != NACRE_OK) return status;
    status = nacre_image_parse(bytes, size, path, out);
    nacre_free(bytes);
    return status;
}
