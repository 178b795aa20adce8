/* Drawn digits: the same on every machine, balanced, varied, and fit to learn from. */
#include "data/dataset.h"

#include "base/memory.h"
#include "support.h"

#include <nacre/system.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = NACRE_DIGIT_SIDE, PIXELS = SIDE * SIDE };

static nacre_images draw(int64_t count, uint64_t seed, nacre_digits_split split) {
    nacre_images images;
    assert_int_equal(nacre_digits_draw(count, seed, split, &images), NACRE_OK);
    assert_int_equal(images.count, count);
    return images;
}

static void drop(nacre_images *images) {
    nacre_free(images->pixels);
    nacre_free(images->labels);
}

static void a_sample_depends_on_nothing_but_seed_and_index(void **state) {
    (void)state;
    int threads = nacre_threads();
    nacre_images few = draw(300, 7, NACRE_DIGITS_TRAIN);
    nacre_set_threads(3);
    nacre_images many = draw(1500, 7, NACRE_DIGITS_TRAIN);
    nacre_set_threads(threads);
    assert_memory_equal(few.pixels, many.pixels, 300 * PIXELS);
    assert_memory_equal(few.labels, many.labels, 300);
    nacre_images seed = draw(300, 8, NACRE_DIGITS_TRAIN), test = draw(300, 7, NACRE_DIGITS_TEST);
    int same = 0;
    for (int i = 0; i < 300; i++) {
        same += memcmp(few.pixels + i * PIXELS, seed.pixels + i * PIXELS, PIXELS) == 0;
        same += memcmp(few.pixels + i * PIXELS, test.pixels + i * PIXELS, PIXELS) == 0;
    }
    assert_int_equal(same, 0);
    assert_memory_not_equal(few.labels, seed.labels, 300);
    assert_memory_not_equal(few.labels, test.labels, 300);
    drop(&few), drop(&many), drop(&seed), drop(&test);
}

static void every_machine_draws_the_same_bytes(void **state) {
    (void)state;
    nacre_images images = draw(1000, 1, NACRE_DIGITS_TRAIN);
    uint64_t hash = 0xcbf29ce484222325; /* FNV-1a */
    for (size_t i = 0; i < 1000 * PIXELS; i++) hash = (hash ^ images.pixels[i]) * 0x100000001b3;
    /* Written down from gcc 12 and clang 14 on x86-64, which agree at every optimisation level. */
    assert_true(hash == 0xb8f5ab5481930947);
    drop(&images);
}

static void each_ten_samples_hold_every_digit(void **state) {
    (void)state;
    nacre_images images = draw(1000, 3, NACRE_DIGITS_TRAIN);
    int first[10] = {0};
    for (int group = 0; group < 100; group++) {
        int seen = 0;
        for (int i = 0; i < 10; i++) seen |= 1 << images.labels[group * 10 + i];
        assert_int_equal(seen, 1023);
        first[images.labels[group * 10]]++;
    }
    for (int digit = 0; digit < 10; digit++)
        assert_in_range(first[digit], 1, 30); /* their order is random */
    drop(&images);
}

/* Squared distance of two pictures, in grey levels. */
static double distance(const double *a, const uint8_t *b) {
    double sum = 0;
    for (int i = 0; i < PIXELS; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum;
}

/* Neither copies of one picture nor noise: digits vary, yet the mean of a class is near its members. */
static void digits_vary_and_can_be_told_apart(void **state) {
    (void)state;
    enum { TRAIN = 2000, TEST = 1000 };
    static double mean[10][PIXELS];
    nacre_images train = draw(TRAIN, 5, NACRE_DIGITS_TRAIN),
                 test = draw(TEST, 5, NACRE_DIGITS_TEST);
    for (int i = 0; i < TRAIN; i++) {
        for (int p = 0; p < PIXELS; p++)
            mean[train.labels[i]][p] += train.pixels[i * PIXELS + p] / (TRAIN / 10.0);
    }
    double spread[10] = {0};
    int right = 0;
    for (int i = 0; i < TEST; i++) {
        const uint8_t *picture = test.pixels + i * PIXELS;
        int best = 0;
        for (int digit = 1; digit < 10; digit++) {
            if (distance(mean[digit], picture) < distance(mean[best], picture)) best = digit;
        }
        right += best == test.labels[i];
        spread[test.labels[i]] += distance(mean[test.labels[i]], picture) / (TEST / 10.0);
    }
    for (int digit = 0; digit < 10; digit++) /* root mean square deviation of a pixel, of 255 */
        assert_true(spread[digit] / PIXELS > 30 * 30);
    assert_in_range(right, 600,
                    950); /* the nearest mean gets most of them right, and far from all */
    drop(&train), drop(&test);
}

static void every_picture_has_ink_inside_the_frame(void **state) {
    (void)state;
    nacre_images images = draw(2000, 11, NACRE_DIGITS_TRAIN);
    for (int i = 0; i < 2000; i++) {
        int dark = 0, border = 0;
        for (int p = 0; p < PIXELS; p++) {
            bool edge = p < SIDE || p >= PIXELS - SIDE || p % SIDE == 0 || p % SIDE == SIDE - 1;
            dark += images.pixels[i * PIXELS + p] > 127;
            border += edge && images.pixels[i * PIXELS + p] > 160;
        }
        assert_in_range(dark, 15, 350);
        assert_in_range(border, 0, 20);
    }
    drop(&images);
}

static void a_set_of_them_reads_as_floats(void **state) {
    (void)state;
    nacre_dataset *set = nacre_procedural_digits(25, 1, false);
    assert_non_null(set);
    assert_string_equal(nacre_dataset_name(set), "procedural");
    assert_int_equal(nacre_dataset_count(set), 25);
    assert_int_equal(nacre_dataset_classes(set), 10);
    nacre_shape shape = nacre_dataset_input_shape(set);
    assert_true(shape.ndim == 2 && shape.dims[0] == SIDE && shape.dims[1] == SIDE);
    nacre_images images = draw(25, 1, NACRE_DIGITS_TRAIN);
    static float inputs[2 * PIXELS];
    int64_t targets[2];
    const int64_t indices[] = {24, 3};
    assert_int_equal(nacre_dataset_read(set, indices, 2, inputs, targets), NACRE_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(targets[i], images.labels[indices[i]]);
        for (int p = 0; p < PIXELS; p++)
            assert_true(inputs[i * PIXELS + p] == images.pixels[indices[i] * PIXELS + p] / 255.0f);
    }
    nacre_dataset_free(set);

    set = nacre_procedural_digits(25, 1, true);
    float hot[20];
    assert_int_equal(nacre_dataset_read(set, indices, 2, inputs, hot), NACRE_OK);
    for (int i = 0; i < 20; i++)
        assert_true(hot[i] == (float)(i % 10 == images.labels[indices[i / 10]]));
    nacre_dataset_free(set);
    drop(&images);
}

static void an_impossible_count_is_refused(void **state) {
    (void)state;
    assert_null(nacre_procedural_digits(0, 1, false));
    assert_int_equal(nacre_error_code(), NACRE_INVALID_ARGUMENT);
    assert_null(nacre_procedural_digits(INT64_MAX, 1, false));
    assert_int_equal(nacre_error_code(), NACRE_OUT_OF_MEMORY);
}

static void running_out_of_memory_is_an_error_and_leaks_nothing(void **state) {
    (void)state;
    nacre_dataset_free(nacre_procedural_digits(1, 1, false)); /* the pool is up */
    size_t live = nacre_memory().live_bytes;
    for (uint64_t n = 1;; n++) {
        nacre_memory_fail_at(n);
        nacre_dataset *set = nacre_procedural_digits(10, 1, false);
        nacre_memory_fail_at(0);
        if (set) {
            assert_true(n > 4);
            nacre_dataset_free(set);
            break;
        }
        assert_int_equal(nacre_error_code(), NACRE_OUT_OF_MEMORY);
        assert_int_equal(nacre_memory().live_bytes, live);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sample_depends_on_nothing_but_seed_and_index),
        cmocka_unit_test(every_machine_draws_the_same_bytes),
        cmocka_unit_test(each_ten_samples_hold_every_digit),
        cmocka_unit_test(digits_vary_and_can_be_told_apart),
        cmocka_unit_test(every_picture_has_ink_inside_the_frame),
        cmocka_unit_test(a_set_of_them_reads_as_floats),
        cmocka_unit_test(an_impossible_count_is_refused),
        cmocka_unit_test(running_out_of_memory_is_an_error_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
