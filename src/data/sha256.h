/* SHA-256 (FIPS 180-4), for checking downloads. */
#ifndef NACRE_DATA_SHA256_H
#define NACRE_DATA_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct nacre_sha256 {
    uint32_t state[8];
    uint64_t bytes; /* taken so far */
    uint8_t block[64];
} nacre_sha256;

void nacre_sha256_begin(nacre_sha256 *hash);
void nacre_sha256_add(nacre_sha256 *hash, const void *data, size_t size);
/* Writes the digest as 64 lower-case hexadecimal digits and a 0 byte. */
void nacre_sha256_end(nacre_sha256 *hash, char hex[65]);

#endif
