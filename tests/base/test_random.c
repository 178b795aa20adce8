/* Random numbers: published vectors, and that draws look like what they claim to be. */
#include "support.h"

#include "base/random.h"

#include <math.h>

typedef struct vector {
    uint32_t counter[4], key[2], expected[4];
} vector;

/* philox4x32 with 10 rounds, from the file kat_vectors of Random123 1.14. */
static const vector vectors[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
     {0xffffffff, 0xffffffff},
     {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
     {0xa4093822, 0x299f31d0},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

static void philox_gives_the_published_numbers(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        nacre_philox_block block = nacre_philox(vectors[i].counter, vectors[i].key);
        assert_memory_equal(block.word, vectors[i].expected, sizeof block.word);
    }
}

static void elements_are_the_words_of_their_block(void **state) {
    (void)state;
    for (uint64_t element = 0; element < 40; element++) {
        nacre_philox_block block = nacre_random_block(1, 2, 3, element / 4);
        uint32_t word = nacre_random_u32(1, 2, 3, element);
        assert_int_equal(word, block.word[element % 4]);
        assert_true(nacre_random_f32(1, 2, 3, element) == (float)(word >> 8) / 16777216.0f);
        uint64_t high = nacre_random_u32(1, 2, 3, 2 * element);
        uint64_t bits = high << 32 | nacre_random_u32(1, 2, 3, 2 * element + 1);
        assert_true(nacre_random_f64(1, 2, 3, element) == ldexp((double)(bits >> 11), -53));
    }
}

/* A change of these numbers would change every seeded run of every user. */
static void a_seed_means_the_same_numbers_for_ever(void **state) {
    (void)state;
    assert_int_equal(nacre_random_u32(1, 2, 3, 4), 0x2b7b8f8d);
    assert_true(nacre_random_normal(1, 2, 3, 4) == 0x1.5bff42af1bee3p-4);
    assert_true(nacre_random_normal(42, nacre_random_stream("fc1.weight"), 0, 99999) ==
                0x1.b370aab861f5ep-3);
    assert_true(nacre_random_stream("fc1.weight") == 0x97a85473b1ac470bu);
}

static void all_four_arguments_matter(void **state) {
    (void)state;
    const uint64_t far = (uint64_t)1 << 40; /* only the upper halves differ */
    uint32_t here = nacre_random_u32(7, 7, 7, 7);
    const uint32_t others[] = {
        nacre_random_u32(8, 7, 7, 7),       nacre_random_u32(7, 8, 7, 7),
        nacre_random_u32(7, 7, 8, 7),       nacre_random_u32(7, 7, 7, 8),
        nacre_random_u32(7 + far, 7, 7, 7), nacre_random_u32(7, 7 + far, 7, 7),
        nacre_random_u32(7, 7, 7 + far, 7), nacre_random_u32(7, 7, 7, 7 + far),
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_int_not_equal(others[i], here);
        for (size_t k = 0; k < i; k++) assert_int_not_equal(others[i], others[k]);
    }
}

enum { DRAWS = 1 << 20, BINS = 256 };

/* Chi-square of BINS equal bins: 255 degrees of freedom, mean 255, deviation sqrt(510) = 22.6. */
static double chi_square(const unsigned counts[BINS]) {
    double expected = (double)DRAWS / BINS, sum = 0;
    for (int i = 0; i < BINS; i++) {
        double difference = counts[i] - expected;
        sum += difference * difference / expected;
    }
    return sum;
}

static void uniform_numbers_fill_their_interval_evenly(void **state) {
    (void)state;
    static unsigned counts32[BINS], counts64[BINS];
    double mean = 0, squares = 0, neighbours = 0, previous = 0.5;
    for (uint64_t i = 0; i < DRAWS; i++) {
        float a = nacre_random_f32(11, 12, 13, i);
        double b = nacre_random_f64(14, 15, 16, i);
        assert_true(a >= 0 && a < 1 && b >= 0 && b < 1);
        counts32[(int)(a * BINS)]++;
        counts64[(int)(b * BINS)]++;
        mean += b;
        squares += (b - 0.5) * (b - 0.5);
        neighbours += (b - 0.5) * (previous - 0.5);
        previous = b;
    }
    /* Six standard deviations: a sound generator fails none of these for any seed one tries. */
    double root = sqrt((double)DRAWS);
    assert_true(fabs(chi_square(counts32) - 255) < 6 * 22.6);
    assert_true(fabs(chi_square(counts64) - 255) < 6 * 22.6);
    assert_true(fabs(mean / DRAWS - 0.5) < 6 * sqrt(1.0 / 12) / root);
    assert_true(fabs(squares / DRAWS - 1.0 / 12) < 6 * sqrt(1.0 / 180) / root);
    assert_true(fabs(neighbours / DRAWS) < 6.0 / 12 / root);
}

/* P(X < x) for a standard normal X. */
static double normal_below(double x) { return 0.5 * erfc(-x / sqrt(2)); }

static void normal_numbers_follow_the_bell_curve(void **state) {
    (void)state;
    static unsigned counts[BINS];
    double sum = 0, squares = 0, cubes = 0, fourths = 0, largest = 0;
    for (uint64_t i = 0; i < DRAWS; i++) {
        double x = nacre_random_normal(21, 22, 23, i);
        assert_true(isfinite(x));
        sum += x;
        squares += x * x;
        cubes += x * x * x;
        fourths += x * x * x * x;
        if (fabs(x) > largest) largest = fabs(x);
        int bin = (int)(normal_below(x) * BINS);
        counts[bin < BINS ? bin : BINS - 1]++;
    }
    double root = sqrt((double)DRAWS);
    assert_true(fabs(sum / DRAWS) < 6 / root);
    assert_true(fabs(squares / DRAWS - 1) < 6 * sqrt(2) / root);
    assert_true(fabs(cubes / DRAWS) < 6 * sqrt(15) / root);
    assert_true(fabs(fourths / DRAWS - 3) < 6 * sqrt(96) / root);
    assert_true(fabs(chi_square(counts) - 255) < 6 * 22.6);
    assert_true(largest > 4 && largest < 7);
}

/* Box-Muller with the C library's functions gives the same to rounding. */
static void normal_numbers_agree_with_the_formula(void **state) {
    (void)state;
    const double pi = 3.14159265358979323846;
    for (uint64_t i = 0; i < 10000; i++) {
        double u = 1 - nacre_random_f64(31, 32, 33, 2 * i);
        double v = nacre_random_f64(31, 32, 33, 2 * i + 1);
        double expected = sqrt(-2 * log(u)) * cos(2 * pi * v);
        assert_true(fabs(nacre_random_normal(31, 32, 33, i) - expected) < 4e-15);
    }
}

static void bounded_numbers_stay_below_their_bound(void **state) {
    (void)state;
    static unsigned counts[BINS];
    for (uint64_t i = 0; i < DRAWS; i++) {
        assert_int_equal(nacre_random_below(1, 1, 1, i, 1), 0);
        uint64_t x = nacre_random_below(41, 42, 43, i, BINS);
        assert_true(x < BINS);
        counts[x]++;
    }
    assert_true(fabs(chi_square(counts) - 255) < 6 * 22.6);
    /* Against the exact product of the same 64 bits, for bounds that need all of them. */
    const uint64_t bounds[] = {
        3, 10, 60000, 0xffffffff, (uint64_t)1 << 32, 0x123456789abcdef, UINT64_MAX};
    for (size_t k = 0; k < sizeof bounds / sizeof *bounds; k++) {
        for (uint64_t i = 0; i < 1000; i++) {
            uint64_t bits = (uint64_t)nacre_random_u32(5, 6, 7, 2 * i) << 32 |
                            nacre_random_u32(5, 6, 7, 2 * i + 1);
            __extension__ unsigned __int128 product = (unsigned __int128)bits * bounds[k];
            assert_true(nacre_random_below(5, 6, 7, i, bounds[k]) == (uint64_t)(product >> 64));
        }
    }
}

static void names_have_streams_of_their_own(void **state) {
    (void)state;
    const char *names[] = {"", "0", "1", "0.weight", "0.bias", "1.weight", "weight.0"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (size_t k = 0; k < i; k++)
            assert_true(nacre_random_stream(names[i]) != nacre_random_stream(names[k]));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_numbers),
        cmocka_unit_test(elements_are_the_words_of_their_block),
        cmocka_unit_test(a_seed_means_the_same_numbers_for_ever),
        cmocka_unit_test(all_four_arguments_matter),
        cmocka_unit_test(uniform_numbers_fill_their_interval_evenly),
        cmocka_unit_test(normal_numbers_follow_the_bell_curve),
        cmocka_unit_test(normal_numbers_agree_with_the_formula),
        cmocka_unit_test(bounded_numbers_stay_below_their_bound),
        cmocka_unit_test(names_have_streams_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
