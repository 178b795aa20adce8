/* Rows of the register tiles of products, and the switches that jump to the code of each number of them. */
#ifndef NACRE_BACKEND_CPU_KERNELS_TILE_H
#define NACRE_BACKEND_CPU_KERNELS_TILE_H

/* With two vectors a row (four on Neon) the accumulators, one row of B and one broadcast element fill the registers
   (32 of 512 or 128 bits; 16 of 256 or 128). */
#if NACRE_LEVEL_AVX512
#define TILE_ROWS 14
#else
#define TILE_ROWS 6
#endif

/* ONE(rows, vecs, adjacent) for each number of rows, as the body of a switch. */
#define TILE_CASES_TO_6(ONE, vecs, adjacent)                                                       \
    ONE(1, vecs, adjacent)                                                                         \
    ONE(2, vecs, adjacent)                                                                         \
    ONE(3, vecs, adjacent)                                                                         \
    ONE(4, vecs, adjacent)                                                                         \
    ONE(5, vecs, adjacent)                                                                         \
    ONE(6, vecs, adjacent)
#if TILE_ROWS == 14
#define TILE_CASES(ONE, vecs, adjacent)                                                            \
    TILE_CASES_TO_6(ONE, vecs, adjacent)                                                           \
    ONE(7, vecs, adjacent)                                                                         \
    ONE(8, vecs, adjacent)                                                                         \
    ONE(9, vecs, adjacent)                                                                         \
    ONE(10, vecs, adjacent)                                                                        \
    ONE(11, vecs, adjacent)                                                                        \
    ONE(12, vecs, adjacent)                                                                        \
    ONE(13, vecs, adjacent)                                                                        \
    ONE(14, vecs, adjacent)
#else
#define TILE_CASES(ONE, vecs, adjacent) TILE_CASES_TO_6(ONE, vecs, adjacent)
#endif

/* call(rows, ...) for rows = 1 .. 4, a constant in each call. */
#define CALL_FOR_ROWS(rows, call, ...)                                                             \
    switch (rows) {                                                                                \
    case 1:                                                                                        \
        call(1, __VA_ARGS__);                                                                      \
        break;                                                                                     \
    case 2:                                                                                        \
        call(2, __VA_ARGS__);                                                                      \
        break;                                                                                     \
    case 3:                                                                                        \
        call(3, __VA_ARGS__);                                                                      \
        break;                                                                                     \
    default:                                                                                       \
        call(4, __VA_ARGS__);                                                                      \
        break;                                                                                     \
    }

#endif
