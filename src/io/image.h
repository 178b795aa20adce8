/* Pictures from bytes. Sizes are checked against the bytes there are before anything is
   allocated. */
#ifndef NACRE_IO_IMAGE_H
#define NACRE_IO_IMAGE_H

#include <nacre/io.h>

enum { NACRE_IMAGE_LARGEST = 16384 }; /* width and height */

/* A picture of either format, told apart by its first bytes. `name` is for messages. */
nacre_status nacre_image_parse(const void *bytes, size_t size, const char *name, nacre_image *out);

nacre_status nacre_image_parse_pgm(const unsigned char *bytes, size_t size, const char *name,
                                   nacre_image *out);
nacre_status nacre_image_parse_png(const unsigned char *bytes, size_t size, const char *name,
                                   nacre_image *out);

/* Allocates the pixels of a picture whose width and height are checked here. */
nacre_status nacre_image_reserve(uint64_t width, uint64_t height, const char *name,
                                 nacre_image *out);

#endif
