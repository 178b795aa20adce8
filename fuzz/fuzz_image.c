/* The PGM and PNG readers: any bytes are a picture of pixels from 0 to 1, or an error. */
#include "io/image.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *bytes, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t max_size, unsigned seed);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void require(bool holds) {
    if (!holds) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    nacre_image image;
    nacre_status status = nacre_image_parse(bytes, size, "input", &image);
    require((image.pixels != NULL) == (status == NACRE_OK));
    if (status == NACRE_OK) {
        require(image.width >= 1 && image.width <= NACRE_IMAGE_LARGEST);
        require(image.height >= 1 && image.height <= NACRE_IMAGE_LARGEST);
        size_t count = (size_t)image.width * (size_t)image.height;
        for (size_t i = 0; i < count; i++) require(image.pixels[i] >= 0 && image.pixels[i] <= 1);
    }
    nacre_image_free(&image);
    return 0;
}

/* CRC-32 of PNG (ISO 3309), bit by bit. */
static uint32_t crc(const uint8_t *bytes, size_t size) {
    uint32_t c = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        c ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) c = c & 1 ? 0xEDB88320u ^ c >> 1 : c >> 1;
    }
    return ~c;
}

/* A changed PNG is refused at its first wrong checksum: most are made right again. */
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t max_size, unsigned seed) {
    enum { SIGNATURE = 8, HEAD = 8, CHECKSUM = 4 };
    size = LLVMFuzzerMutate(bytes, size, max_size);
    if (seed % 16 == 0 || size < SIGNATURE || memcmp(bytes, "\x89PNG", 4) != 0) return size;
    for (size_t at = SIGNATURE; size - at >= HEAD + CHECKSUM;) {
        const uint8_t *b = bytes + at;
        size_t length = (size_t)b[0] << 24 | (size_t)b[1] << 16 | (size_t)b[2] << 8 | b[3];
        if (length > size - at - HEAD - CHECKSUM) break;
        uint32_t c = crc(b + 4, 4 + length);
        at += HEAD + length;
        for (int i = 0; i < CHECKSUM; i++) bytes[at++] = (uint8_t)(c >> (24 - 8 * i));
    }
    return size;
}
