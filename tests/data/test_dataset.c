/* Sets of samples: own readers, arrays, heads. */
#include <nacre/data.h>
#include <nacre/system.h>

#include "base/cpu.h"
#include "base/memory.h"
#include "data/dataset.h"
#include "support.h"

#include <string.h>

static const float inputs[] = {0, 1, 10, 11, 20, 21, 30, 31};
static const int64_t targets[] = {5, 6, 7, 8};

static nacre_arrays_options four_samples(void) {
    return (nacre_arrays_options){.size = sizeof(nacre_arrays_options),
                                  .inputs = inputs,
                                  .input_shape = {1, {2}},
                                  .targets = targets,
                                  .count = 4,
                                  .classes = 9};
}

static void expect_samples(const nacre_dataset *set) {
    float in[4];
    int64_t out[2];
    const int64_t indices[] = {2, 0};
    assert_int_equal(nacre_dataset_read(set, indices, 2, in, out), NACRE_OK);
    assert_true(in[0] == 20 && in[1] == 21 && in[2] == 0 && in[3] == 1);
    assert_true(out[0] == 7 && out[1] == 5);
}

static void arrays_are_copied_unless_borrowed(void **state) {
    (void)state;
    float own[8];
    memcpy(own, inputs, sizeof own);
    nacre_arrays_options options = four_samples();
    options.inputs = own;
    nacre_dataset *copy = nacre_dataset_from_arrays(&options);
    options.borrow = true;
    nacre_dataset *borrowed = nacre_dataset_from_arrays(&options);
    expect_samples(copy);
    expect_samples(borrowed);
    own[0] = -1;
    expect_samples(copy);
    float in[2];
    int64_t out;
    assert_int_equal(nacre_dataset_read(borrowed, &(int64_t){0}, 1, in, &out), NACRE_OK);
    assert_true(in[0] == -1);
    assert_int_equal(nacre_dataset_count(copy), 4);
    assert_int_equal(nacre_dataset_classes(copy), 9);
    assert_string_equal(nacre_dataset_name(copy), "arrays");
    nacre_shape shape = nacre_dataset_input_shape(copy);
    assert_true(shape.ndim == 1 && shape.dims[0] == 2);
    nacre_dataset_free(copy);
    nacre_dataset_free(borrowed);
}

static void a_head_is_a_smaller_set(void **state) {
    (void)state;
    nacre_arrays_options options = four_samples();
    nacre_dataset *set = nacre_dataset_from_arrays(&options);
    nacre_dataset *head = nacre_dataset_head(set, 3);
    assert_int_equal(nacre_dataset_count(head), 3);
    expect_samples(head);
    float in[2];
    int64_t out;
    assert_int_equal(nacre_dataset_read(head, &(int64_t){3}, 1, in, &out), NACRE_OUT_OF_RANGE);
    nacre_dataset_free(head);
    expect_samples(set);
    assert_null(nacre_dataset_head(set, 0));
    assert_null(nacre_dataset_head(set, 5));
    assert_null(nacre_dataset_head(NULL, 1));
    nacre_dataset_free(set);
}

static void reading_what_is_not_there_is_an_error(void **state) {
    (void)state;
    nacre_arrays_options options = four_samples();
    nacre_dataset *set = nacre_dataset_from_arrays(&options);
    float in[2];
    int64_t out;
    assert_int_equal(nacre_dataset_read(set, &(int64_t){4}, 1, in, &out), NACRE_OUT_OF_RANGE);
    assert_int_equal(nacre_dataset_read(set, &(int64_t){-1}, 1, in, &out), NACRE_OUT_OF_RANGE);
    assert_int_equal(nacre_dataset_read(set, NULL, 1, in, &out), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_dataset_read(set, NULL, -1, in, &out), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_dataset_read(NULL, NULL, 0, NULL, NULL), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_dataset_read(set, NULL, 0, NULL, NULL), NACRE_OK);
    nacre_dataset_free(set);
    nacre_dataset_free(NULL);
    assert_int_equal(nacre_dataset_count(NULL), 0);
    assert_int_equal(nacre_dataset_classes(NULL), 0);
    assert_int_equal(nacre_dataset_input_shape(NULL).ndim, 0);
    assert_string_equal(nacre_dataset_name(NULL), "");
}

/* ---- a reader of one's own ---- */

static int destroyed;

static nacre_status read_squares(void *user, const int64_t *indices, int64_t n, void *in,
                                 void *out) {
    (void)user;
    for (int64_t i = 0; i < n; i++) {
        ((double *)in)[i] = (double)indices[i];
        ((double *)out)[i] = (double)(indices[i] * indices[i]);
    }
    return NACRE_OK;
}

static void destroy(void *user) { destroyed += *(int *)user; }

static nacre_dataset_options squares(int *user) {
    return (nacre_dataset_options){.size = sizeof(nacre_dataset_options),
                                   .count = 100,
                                   .input_dtype = NACRE_F64,
                                   .target_dtype = NACRE_F64,
                                   .read = read_squares,
                                   .destroy = destroy,
                                   .user = user};
}

static void a_reader_of_ones_own_is_a_set(void **state) {
    (void)state;
    int one = 1;
    char name[] = "squares";
    nacre_dataset_options options = squares(&one);
    options.name = name;
    nacre_dataset *set = nacre_dataset_new(&options);
    name[0] = '?';
    assert_string_equal(nacre_dataset_name(set), "squares");
    double in, out;
    assert_int_equal(nacre_dataset_read(set, &(int64_t){12}, 1, &in, &out), NACRE_OK);
    assert_true(in == 12 && out == 144);
    destroyed = 0;
    nacre_dataset_free(set);
    assert_int_equal(destroyed, 1);
}

/* Each change of a good description that makes it senseless. */
static void break_count(nacre_dataset_options *o) { o->count = 0; }
static void break_read(nacre_dataset_options *o) { o->read = NULL; }
static void break_classes(nacre_dataset_options *o) { o->classes = -1; }
static void break_dtype(nacre_dataset_options *o) { o->input_dtype = (nacre_dtype)99; }
static void break_ndim(nacre_dataset_options *o) { o->input_shape.ndim = NACRE_MAX_DIMS; }
static void break_extent(nacre_dataset_options *o) { o->target_shape = (nacre_shape){1, {0}}; }
static void break_size(nacre_dataset_options *o) {
    o->input_shape = (nacre_shape){3, {INT64_MAX, INT64_MAX, 3}};
}

static void a_senseless_set_is_refused_and_its_data_are_freed(void **state) {
    (void)state;
    static const struct {
        void (*change)(nacre_dataset_options *o);
        const char *message;
    } cases[] = {{break_count, "is empty"},         {break_read, ".read"},
                 {break_classes, ".classes"},       {break_dtype, "dtype 99"},
                 {break_ndim, "8 dimensions"},      {break_extent, "extent 0"},
                 {break_size, "larger than memory"}};
    int one = 1;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        nacre_dataset_options options = squares(&one);
        cases[i].change(&options);
        destroyed = 0;
        assert_null(nacre_dataset_new(&options));
        assert_int_equal(nacre_error_code(), NACRE_INVALID_ARGUMENT);
        assert_non_null(strstr(nacre_error_message(), cases[i].message));
        assert_int_equal(destroyed, 1);
    }
    assert_null(nacre_dataset_new(NULL));
    assert_null(nacre_dataset_new(&(nacre_dataset_options){.count = 1}));
    assert_non_null(strstr(nacre_error_message(), "size"));
}

static void senseless_arrays_are_refused(void **state) {
    (void)state;
    nacre_arrays_options options = four_samples();
    options.count = 0;
    assert_null(nacre_dataset_from_arrays(&options));
    assert_non_null(strstr(nacre_error_message(), "empty"));
    options.count = INT64_MAX;
    assert_null(nacre_dataset_from_arrays(&options));
    options = four_samples(), options.targets = NULL;
    assert_null(nacre_dataset_from_arrays(&options));
    options = four_samples(), options.input_shape.dims[0] = -2;
    assert_null(nacre_dataset_from_arrays(&options));
    assert_null(nacre_dataset_from_arrays(NULL));
}

static void every_failed_allocation_is_an_error_and_leaks_nothing(void **state) {
    (void)state;
    nacre_arrays_options options = four_samples();
    size_t live = nacre_memory().live_bytes;
    for (uint64_t n = 1;; n++) {
        nacre_memory_fail_at(n);
        nacre_dataset *set = nacre_dataset_from_arrays(&options);
        nacre_memory_fail_at(0);
        if (set) {
            assert_int_equal(n, 6);
            nacre_dataset_free(set);
            break;
        }
        assert_int_equal(nacre_error_code(), NACRE_OUT_OF_MEMORY);
        assert_int_equal(nacre_memory().live_bytes, live);
    }
}

/* Pixels as the formula has them, bit for bit: every byte, at every length, on every level of this machine. */
static void pixels_are_what_the_formula_says(void **state) {
    (void)state;
    static const double scales[][2] = {{0, 0}, {0.1307, 0.3081}, {0.5, 0.5}, {-3, 1e-3}};
    for (int64_t width = 1; width <= 49; width += 4) {
        for (size_t k = 0; k < sizeof scales / sizeof *scales; k++) {
            const float mean = (float)scales[k][0], std = (float)scales[k][1];
            const int64_t count = 256 / width + 1;
            uint8_t *pixels = nacre_alloc((size_t)(count * width)),
                    *labels = nacre_alloc((size_t)count);
            for (int64_t i = 0; i < count * width; i++) pixels[i] = (uint8_t)i;
            memset(labels, 3, (size_t)count);
            nacre_dataset *set = nacre_dataset_from_images(&(nacre_images){.pixels = pixels,
                                                                           .labels = labels,
                                                                           .count = count,
                                                                           .height = 1,
                                                                           .width = width,
                                                                           .classes = 10,
                                                                           .mean = scales[k][0],
                                                                           .std = scales[k][1],
                                                                           .name = "bytes"});
            assert_non_null(set);
            for (int level = 0; level < NACRE_ISA_COUNT; level++) {
                if (nacre_set_isa(nacre_isa_name((nacre_isa_level)level)) != NACRE_OK) continue;
                for (int64_t i = 0; i < count; i++) {
                    float in[64];
                    int64_t out = 0;
                    assert_int_equal(nacre_dataset_read(set, &i, 1, in, &out), NACRE_OK);
                    assert_int_equal(out, 3);
                    for (int64_t j = 0; j < width; j++) {
                        float want = (float)(uint8_t)(i * width + j) / 255.0f;
                        want = std == 0 ? want : (want - mean) / std;
                        assert_memory_equal(&in[j], &want, sizeof want);
                    }
                }
            }
            nacre_dataset_free(set);
        }
    }
    assert_int_equal(nacre_set_isa(NULL), NACRE_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_are_copied_unless_borrowed),
        cmocka_unit_test(a_head_is_a_smaller_set),
        cmocka_unit_test(reading_what_is_not_there_is_an_error),
        cmocka_unit_test(a_reader_of_ones_own_is_a_set),
        cmocka_unit_test(a_senseless_set_is_refused_and_its_data_are_freed),
        cmocka_unit_test(senseless_arrays_are_refused),
        cmocka_unit_test(pixels_are_what_the_formula_says),
        cmocka_unit_test(every_failed_allocation_is_an_error_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
