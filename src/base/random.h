/* Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): every draw is
   a pure function of (key, counter). */
#ifndef NACRE_BASE_RANDOM_H
#define NACRE_BASE_RANDOM_H

#include <stdint.h>

typedef struct nacre_philox_block {
    uint32_t word[4];
} nacre_philox_block;

nacre_philox_block nacre_philox(const uint32_t counter[4], const uint32_t key[2]);

/* Element i of stream (seed, stream, step): word i % 4 of block i / 4.
   counter = {block low, block high, step low, step high ^ stream high}, key = seed mixed with stream */
nacre_philox_block nacre_random_block(uint64_t seed, uint64_t stream, uint64_t step,
                                      uint64_t block);
/* The key, and the upper two words of every counter, of stream (seed, stream, step). */
typedef struct nacre_philox_start {
    uint32_t key[2], high[2];
} nacre_philox_start;
nacre_philox_start nacre_random_start(uint64_t seed, uint64_t stream, uint64_t step);
uint32_t nacre_random_u32(uint64_t seed, uint64_t stream, uint64_t step, uint64_t element);

/* [0, 1) with 24 bits from one word; a double in [0, 1) with 53 bits from elements 2i and 2i + 1. */
float nacre_random_f32(uint64_t seed, uint64_t stream, uint64_t step, uint64_t element);
double nacre_random_f64(uint64_t seed, uint64_t stream, uint64_t step, uint64_t element);

/* Standard normal: Box-Muller on two 53-bit uniforms drawn for this element. */
double nacre_random_normal(uint64_t seed, uint64_t stream, uint64_t step, uint64_t element);

/* In [0, bound) without bias worth naming (64-bit multiply-shift). bound > 0. */
uint64_t nacre_random_below(uint64_t seed, uint64_t stream, uint64_t step, uint64_t element,
                            uint64_t bound);

/* 64-bit FNV-1a of a name with a final mix: a module's stream is its path. */
uint64_t nacre_random_stream(const char *name);

#endif
