/* Philox4x32-10 and uniform numbers, as base/random.c defines them, a row of counters at a time: loops over
   lanes that a compiler turns into vectors. Whole numbers and one exact product: the same bits everywhere. */
#include "backend/cpu/kernels.h"
#include "simd.h"

enum { BLOCKS = 16 }; /* of four words, at once */

#define MULTIPLIER_0 0xD2511F53u
#define MULTIPLIER_1 0xCD9E8D57u
#define WEYL_0 0x9E3779B9u
#define WEYL_1 0xBB67AE85u

static void philox(uint32_t x[4][BLOCKS], const uint32_t key[2]) {
    uint32_t key0 = key[0], key1 = key[1];
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < BLOCKS; i++) {
            const uint64_t product0 = (uint64_t)MULTIPLIER_0 * x[0][i];
            const uint64_t product1 = (uint64_t)MULTIPLIER_1 * x[2][i];
            x[0][i] = (uint32_t)(product1 >> 32) ^ x[1][i] ^ key0;
            x[1][i] = (uint32_t)product1;
            x[2][i] = (uint32_t)(product0 >> 32) ^ x[3][i] ^ key1;
            x[3][i] = (uint32_t)product0;
        }
        key0 += WEYL_0;
        key1 += WEYL_1;
    }
}

/* Element 4 b + w of the draw is word w of block b; `block`: the first one. */
static void uniform(int64_t n, const uint32_t key[2], const uint32_t high[2], uint64_t block,
                    float *out) {
    for (int64_t done = 0; done < n; done += 4 * BLOCKS, block += BLOCKS) {
        uint32_t x[4][BLOCKS];
        float value[4 * BLOCKS];
        for (int i = 0; i < BLOCKS; i++) {
            const uint64_t at = block + (uint64_t)i;
            x[0][i] = (uint32_t)at;
            x[1][i] = (uint32_t)(at >> 32);
            x[2][i] = high[0];
            x[3][i] = high[1];
        }
        philox(x, key);
        for (int i = 0; i < BLOCKS; i++)
            for (int w = 0; w < 4; w++)
                value[4 * i + w] = (float)(int32_t)(x[w][i] >> 8) * 0x1p-24f;
        const int64_t left = n - done;
        memcpy(out + done, value, (size_t)(left < 4 * BLOCKS ? left : 4 * BLOCKS) * sizeof *out);
    }
}

const nacre_random_kernels NACRE_AT_LEVEL(nacre_random_kernels) = {.uniform = uniform};
