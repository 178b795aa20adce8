#include "base/random.h"

#include <math.h>
#include <string.h>

/* Multipliers and Weyl constants of Philox4x32 (Salmon et al., SC 2011, table 2 and section 4.3). */
#define MULTIPLIER_0 0xD2511F53u
#define MULTIPLIER_1 0xCD9E8D57u
#define WEYL_0 0x9E3779B9u
#define WEYL_1 0xBB67AE85u

enum { ROUNDS = 10 };

nacre_philox_block nacre_philox(const uint32_t counter[4], const uint32_t key[2]) {
    uint32_t x0 = counter[0], x1 = counter[1], x2 = counter[2], x3 = counter[3];
    uint32_t key0 = key[0], key1 = key[1];
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t product0 = (uint64_t)MULTIPLIER_0 * x0, product1 = (uint64_t)MULTIPLIER_1 * x2;
        x0 = (uint32_t)(product1 >> 32) ^ x1 ^ key0;
        x1 = (uint32_t)product1;
        x2 = (uint32_t)(product0 >> 32) ^ x3 ^ key1;
        x3 = (uint32_t)product0;
        key0 += WEYL_0;
        key1 += WEYL_1;
    }
    return (nacre_philox_block){{x0, x1, x2, x3}};
}

/* Finaliser of SplitMix64 (Steele et al., OOPSLA 2014, variant 13 of Stafford): a bijection in which
   every bit of the input changes half of the output's. */
static uint64_t mix(uint64_t x) {
    x ^= x >> 30;
    x *= 0xBF58476D1CE4E5B9u;
    x ^= x >> 27;
    x *= 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

nacre_philox_start nacre_random_start(uint64_t seed, uint64_t stream, uint64_t step) {
    /* For one seed different streams have different keys, and the other way round. */
    uint64_t mixed = mix(seed + mix(stream + 0x9E3779B97F4A7C15u));
    return (nacre_philox_start){
        .key = {(uint32_t)mixed, (uint32_t)(mixed >> 32)},
        .high = {(uint32_t)step, (uint32_t)(step >> 32) ^ (uint32_t)(stream >> 32)}};
}

nacre_philox_block nacre_random_block(uint64_t seed, uint64_t stream, uint64_t step,
                                      uint64_t block) {
    nacre_philox_start start = nacre_random_start(seed, stream, step);
    const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), start.high[0],
                                 start.high[1]};
    return nacre_philox(counter, start.key);
}

uint32_t nacre_random_u32(uint64_t seed, uint64_t stream, uint64_t step, uint64_t element) {
    return nacre_random_block(seed, stream, step, element / 4).word[element % 4];
}

/* Words 2i and 2i + 1 of the stream, the first one high. */
static uint64_t random_u64(uint64_t seed, uint64_t stream, uint64_t step, uint64_t element) {
    nacre_philox_block block = nacre_random_block(seed, stream, step, element / 2);
    const uint32_t *pair = block.word + 2 * (element % 2);
    return (uint64_t)pair[0] << 32 | pair[1];
}

/* The upper 53 bits as a multiple of 2^-53 in [0, 1). */
static double unit_interval(uint64_t bits) { return (double)(bits >> 11) * 0x1p-53; }

float nacre_random_f32(uint64_t seed, uint64_t stream, uint64_t step, uint64_t element) {
    return (float)(nacre_random_u32(seed, stream, step, element) >> 8) * 0x1p-24f;
}

double nacre_random_f64(uint64_t seed, uint64_t stream, uint64_t step, uint64_t element) {
    return unit_interval(random_u64(seed, stream, step, element));
}

/* log and cos from additions, products and quotients only, so that a seed means the same numbers with
   every C library. All three are power series in z, cut where the next term is below 2^-54 of the sum. */
enum { TERMS = 10 };

/* c[0] + c[1] z + ... in two chains, over even and odd powers. */
static double series(const double c[TERMS], double z) {
    double square = z * z, even = c[TERMS - 2], odd = c[TERMS - 1];
    for (int k = TERMS - 4; k >= 0; k -= 2) {
        even = even * square + c[k];
        odd = odd * square + c[k + 1];
    }
    return even + z * odd;
}

/* u in [2^-53, 1]. u = m * 2^e with m in [sqrt(1/2), sqrt(2)); with s = (m - 1) / (m + 1)
   log m = 2 (s + s^3 / 3 + s^5 / 5 + ...), |s| < 0.172. */
static double natural_log(double u) {
    static const double odd_reciprocals[TERMS] = {1.0 / 3,  1.0 / 5,  1.0 / 7,  1.0 / 9,  1.0 / 11,
                                                  1.0 / 13, 1.0 / 15, 1.0 / 17, 1.0 / 19, 1.0 / 21};
    uint64_t bits;
    memcpy(&bits, &u, sizeof bits);
    int exponent = (int)(bits >> 52) - 1022;
    bits = (bits & 0x000FFFFFFFFFFFFFu) | 0x3FE0000000000000u;
    double m; /* in [1/2, 1) */
    memcpy(&m, &bits, sizeof m);
    if (m < 0.70710678118654752) {
        m *= 2;
        exponent--;
    }
    double s = (m - 1) / (m + 1), z = s * s;
    return exponent * 0.69314718055994531 + 2 * (s + s * z * series(odd_reciprocals, z));
}

/* cos(2 pi u), u in [0, 1), by quarters: u = q / 4 + r exactly, |r| <= 1/8; then the Taylor series of
   cos x = 1 - x^2 / 2! + ... or sin x = x - x^3 / 3! + ... at x = 2 pi r. */
static double cos_of_turns(double u) {
    static const double factorials[2][TERMS] = {
        {-1.0 / 2, 1.0 / 24, -1.0 / 720, 1.0 / 40320, -1.0 / 3628800, 1.0 / 479001600,
         -1.0 / 87178291200, 1.0 / 20922789888000, -1.0 / 6402373705728000,
         1.0 / 2432902008176640000},
        {-1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880, -1.0 / 39916800, 1.0 / 6227020800,
         -1.0 / 1307674368000, 1.0 / 355687428096000, -1.0 / 121645100408832000,
         1.0 / 51090942171709440000.0},
    };
    int q = (int)(u * 4 + 0.5);
    double x = (u - q * 0.25) * 6.2831853071795865, z = x * x;
    double first = q % 2 ? x : 1, value = first + first * z * series(factorials[q % 2], z);
    return (q + 1) % 4 < 2 ? value : -value;
}

double nacre_random_normal(uint64_t seed, uint64_t stream, uint64_t step, uint64_t element) {
    nacre_philox_block block = nacre_random_block(seed, stream, step, element);
    /* 1 - u is in (0, 1]: the logarithm is finite. */
    double u = 1 - unit_interval((uint64_t)block.word[0] << 32 | block.word[1]);
    double turn = unit_interval((uint64_t)block.word[2] << 32 | block.word[3]);
    return sqrt(-2 * natural_log(u)) * cos_of_turns(turn);
}

/* Upper half of the 128-bit product. */
static uint64_t multiply_high(uint64_t a, uint64_t b) {
    uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    uint64_t middle = a1 * b0 + (a0 * b0 >> 32);
    uint64_t low_middle = a0 * b1 + (uint32_t)middle;
    return a1 * b1 + (middle >> 32) + (low_middle >> 32);
}

uint64_t nacre_random_below(uint64_t seed, uint64_t stream, uint64_t step, uint64_t element,
                            uint64_t bound) {
    return multiply_high(random_u64(seed, stream, step, element), bound);
}

uint64_t nacre_random_stream(const char *name) {
    uint64_t hash = 0xCBF29CE484222325u;
    for (; *name; name++) hash = (hash ^ (unsigned char)*name) * 0x100000001B3u;
    return mix(hash);
}
