/* State dictionaries: weights that were saved are there again, in Nacre and in other programs. */
#include "support.h"

#include "base/memory.h"
#include "io/file.h"

#include <math.h>
#include <nacre/nacre.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The same tensors as in check_safetensors.py. */
typedef struct sample {
    const char *name;
    nacre_dtype dtype;
    nacre_shape shape;
    const void *data;
    size_t bytes;
} sample;

static const float f32[] = {-1, -0.5f, 0, 0.5f, 1, INFINITY}, scalar[] = {2.5f};
static const double f64[] = {1 / 3.0, -0.0, 5e-324};
static const int32_t i32[] = {INT32_MIN, -1, 0, INT32_MAX};
static const int64_t i64[] = {INT64_MIN, INT64_MAX};
static const uint8_t u8[] = {0, 1, 127, 128, 255}, truth[] = {1, 0, 1}, seven[] = {7};

static const sample samples[] = {
    {"f32", NACRE_F32, {2, {2, 3}}, f32, sizeof f32},
    {"f64", NACRE_F64, {1, {3}}, f64, sizeof f64},
    {"i32", NACRE_I32, {3, {2, 2, 1}}, i32, sizeof i32},
    {"i64", NACRE_I64, {1, {2}}, i64, sizeof i64},
    {"u8", NACRE_U8, {1, {5}}, u8, sizeof u8},
    {"bool", NACRE_BOOL, {1, {3}}, truth, sizeof truth},
    {"scalar", NACRE_F32, {0, {0}}, scalar, sizeof scalar},
    {"empty", NACRE_F64, {3, {2, 0, 3}}, f64, 0},
    {"n\xC3\xA4me \"quoted\"", NACRE_U8, {1, {1}}, seven, sizeof seven},
};
enum { SAMPLES = sizeof samples / sizeof samples[0] };

static const char *const metadata[][2] = {{"made_by", "a test"}, {"n\xC3\xA4me", "\"\\\n"}};

static nacre_tensor *make(const sample *s) {
    return nacre_from_data_at(&(nacre_data_options){.size = sizeof(nacre_data_options),
                                                    .data = s->data,
                                                    .shape = s->shape,
                                                    .dtype = s->dtype},
                              NACRE_HERE);
}

static nacre_state_dict *make_dict(void) {
    nacre_state_dict *dict = nacre_state_dict_new();
    assert_non_null(dict);
    for (size_t i = 0; i < SAMPLES; i++) {
        assert_int_equal(nacre_state_dict_add(dict, samples[i].name, make(&samples[i])), NACRE_OK);
    }
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(nacre_state_dict_set_metadata(dict, metadata[i][0], metadata[i][1]),
                         NACRE_OK);
    }
    return dict;
}

static void is_sample(const nacre_state_dict *dict, const sample *s) {
    nacre_tensor *t = nacre_state_dict_find(dict, s->name);
    if (!t) fail_msg("%s is not there", s->name);
    assert_int_equal(nacre_dtype_of(t), s->dtype);
    nacre_shape shape = nacre_shape_of(t);
    assert_int_equal(shape.ndim, s->shape.ndim);
    for (int i = 0; i < shape.ndim; i++) assert_int_equal(shape.dims[i], s->shape.dims[i]);
    const void *data = nacre_data(t);
    assert_non_null(data);
    assert_memory_equal(data, s->data, s->bytes);
}

static void are_samples(const nacre_state_dict *dict) {
    if (!dict) fail_msg("%s", nacre_error_message());
    assert_int_equal(nacre_state_dict_count(dict), SAMPLES);
    for (size_t i = 0; i < SAMPLES; i++) is_sample(dict, &samples[i]);
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(nacre_state_dict_metadata(dict, metadata[i][0]), metadata[i][1]);
    }
}

static void message_has(const char *part) {
    if (!strstr(nacre_error_message(), part)) {
        fail_msg("\"%s\" is not in \"%s\"", part, nacre_error_message());
    }
}

/* ---- the list ---- */

static void names_and_order_are_kept(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_state_dict *dict = make_dict();
    for (size_t i = 0; i < SAMPLES; i++) {
        assert_string_equal(nacre_state_dict_name(dict, i), samples[i].name);
        assert_ptr_equal(nacre_state_dict_tensor(dict, i),
                         nacre_state_dict_find(dict, samples[i].name));
    }
    assert_null(nacre_state_dict_name(dict, SAMPLES));
    assert_null(nacre_state_dict_tensor(dict, SAMPLES));
    assert_null(nacre_state_dict_find(dict, "f3"));
    assert_null(nacre_state_dict_metadata(dict, "none"));
    assert_int_equal(nacre_state_dict_set_metadata(dict, "made_by", "me"), NACRE_OK);
    assert_string_equal(nacre_state_dict_metadata(dict, "made_by"), "me");
    nacre_state_dict_free(dict);
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
}

static void tensors_outlive_their_scope(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_state_dict *dict = make_dict();
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    are_samples(dict);
    nacre_state_dict_free(dict);
}

static void misuse_is_named(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_state_dict *dict = make_dict();
    nacre_tensor *t = make(&samples[0]);
    assert_int_equal(nacre_state_dict_add(dict, "u8", t), NACRE_INVALID_ARGUMENT);
    message_has("\"u8\"");
    assert_int_equal(nacre_state_dict_add(dict, "__metadata__", t), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_state_dict_add(dict, "\xFF", t), NACRE_INVALID_ARGUMENT);
    message_has("UTF-8");
    assert_int_equal(nacre_state_dict_add(NULL, "a", t), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_state_dict_add(dict, NULL, t), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_state_dict_add(dict, "a", NULL), NACRE_INVALID_ARGUMENT);
    nacre_tensor *bad = nacre_add(t, make(&samples[4]));
    assert_true(nacre_is_error(bad));
    assert_int_equal(nacre_state_dict_add(dict, "bad", bad), nacre_tensor_status(bad));
    message_has("\"bad\"");
    assert_int_equal(nacre_state_dict_set_metadata(dict, "a", NULL), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_state_dict_set_metadata(dict, "a", "\x80"), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_state_dict_save(NULL, "x"), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_state_dict_save(dict, NULL), NACRE_INVALID_ARGUMENT);
    assert_null(nacre_state_dict_load(NULL));
    assert_int_equal(nacre_state_dict_count(NULL), 0);
    assert_null(nacre_state_dict_find(NULL, "a"));
    assert_null(nacre_state_dict_metadata(NULL, "a"));
    are_samples(dict);
    nacre_state_dict_free(dict);
    nacre_state_dict_free(NULL);
    nacre_scope_end(scope);
}

/* ---- files ---- */

static const char *save_samples(const char *folder) {
    const char *path = support_path(folder, "all.safetensors");
    nacre_scope scope = nacre_scope_begin();
    nacre_state_dict *dict = make_dict();
    if (nacre_state_dict_save(dict, path) != NACRE_OK) fail_msg("%s", nacre_error_message());
    nacre_state_dict_free(dict);
    nacre_scope_end(scope);
    return path;
}

static void every_dtype_survives_a_round_trip(void **state) {
    (void)state;
    const char *path = save_samples(support_folder());
    nacre_scope scope = nacre_scope_begin();
    nacre_state_dict *dict = nacre_state_dict_load(path);
    assert_int_equal(nacre_scope_end(scope), NACRE_OK); /* what was loaded belongs to dict alone */
    are_samples(dict);
    for (size_t i = 0; i < SAMPLES; i++) {
        assert_string_equal(nacre_state_dict_name(dict, i), samples[i].name);
    }
    nacre_state_dict_free(dict);
}

static void nothing_at_all_survives_a_round_trip(void **state) {
    (void)state;
    const char *path = support_path(support_folder(), "none.safetensors");
    nacre_state_dict *dict = nacre_state_dict_new();
    assert_int_equal(nacre_state_dict_save(dict, path), NACRE_OK);
    nacre_state_dict_free(dict);
    dict = nacre_state_dict_load(path);
    assert_non_null(dict);
    assert_int_equal(nacre_state_dict_count(dict), 0);
    nacre_state_dict_free(dict);
}

static void data_is_aligned_within_the_file(void **state) {
    (void)state;
    size_t size;
    char *bytes = support_read(save_samples(support_folder()), &size);
    uint64_t header = 0;
    for (int i = 7; i >= 0; i--) header = header << 8 | (unsigned char)bytes[i];
    assert_int_equal((8 + header) % 64, 0);
    assert_int_equal(bytes[8], '{');
    /* 24 + 16 + 24 + 16 + 4 + 5 + 3 + 1 bytes of elements, the widest first */
    assert_int_equal(size, 8 + header + 93);
    assert_memory_equal(bytes + 8 + header, f64, sizeof f64);
    free(bytes);
}

static void computed_and_transposed_values_are_saved(void **state) {
    (void)state;
    const char *path = support_path(support_folder(), "computed.safetensors");
    nacre_scope scope = nacre_scope_begin();
    nacre_state_dict *dict = nacre_state_dict_new();
    nacre_tensor *a = make(&samples[0]);
    nacre_state_dict_add(dict, "twice", nacre_add(a, a));
    nacre_state_dict_add(dict, "turned", nacre_transpose(a, 0, 1));
    assert_int_equal(nacre_state_dict_save(dict, path), NACRE_OK);
    nacre_state_dict_free(dict);
    dict = nacre_state_dict_load(path);
    assert_non_null(dict);
    static const float twice[] = {-2, -1, 0, 1, 2, INFINITY},
                       turned[] = {-1, 0.5f, -0.5f, 1, 0, INFINITY};
    is_sample(dict, &(sample){"twice", NACRE_F32, {2, {2, 3}}, twice, sizeof twice});
    is_sample(dict, &(sample){"turned", NACRE_F32, {2, {3, 2}}, turned, sizeof turned});
    nacre_state_dict_free(dict);
    nacre_scope_end(scope);
}

static void a_full_disk_leaves_the_old_weights(void **state) {
    (void)state;
    const char *folder = support_folder(), *path = save_samples(folder);
    nacre_scope scope = nacre_scope_begin();
    nacre_state_dict *dict = make_dict(), *back;
    nacre_state_dict_set_metadata(dict, "made_by", "the new one");
    size_t size;
    free(support_read(path, &size));
    for (size_t room = 0; room < size; room += 37) {
        nacre_file_fail_after(room);
        assert_int_equal(nacre_state_dict_save(dict, path), NACRE_IO_ERROR);
        nacre_file_fail_after(SIZE_MAX);
        message_has(path);
        back = nacre_state_dict_load(path);
        are_samples(back);
        nacre_state_dict_free(back);
    }
    assert_int_equal(remove(path), 0);
    assert_int_equal(remove(folder), 0); /* it is empty: no temporary was left */
    assert_int_equal(nacre_state_dict_save(dict, path), NACRE_NOT_FOUND);
    nacre_state_dict_free(dict);
    nacre_scope_end(scope);
}

static void refused(const char *path, const void *bytes, size_t size, nacre_status status) {
    support_write(path, bytes, size);
    size_t live = nacre_memory().live_bytes;
    nacre_error_clear();
    nacre_state_dict *dict = nacre_state_dict_load(path);
    if (dict) fail_msg("%zu bytes were accepted", size);
    assert_int_equal(nacre_error_code(), status);
    message_has(path);
    assert_int_equal(nacre_memory().live_bytes, live);
}

static void every_truncated_file_is_refused(void **state) {
    (void)state;
    const char *folder = support_folder(), *path = save_samples(folder);
    const char *cut = support_path(folder, "cut");
    size_t size;
    char *bytes = support_read(path, &size);
    nacre_state_dict_free(nacre_state_dict_load(path)); /* what the thread allocates once */
    for (size_t length = 0; length < size; length++) refused(cut, bytes, length, NACRE_BAD_FILE);
    char *longer = malloc(size + 1);
    assert_non_null(longer);
    memcpy(longer, bytes, size);
    longer[size] = 0;
    refused(cut, longer, size + 1, NACRE_BAD_FILE);
    free(longer);
    free(bytes);
}

static void hostile_files_are_refused(void **state) {
    (void)state;
    const char *folder = support_folder(), *path = support_path(folder, "hostile");
    nacre_state_dict_free(nacre_state_dict_load(save_samples(folder)));
    char bytes[256] = {0};
    bytes[7] = (char)0x80; /* a header of 2^63 bytes */
    refused(path, bytes, sizeof bytes, NACRE_BAD_FILE);
    memset(bytes, 0xFF, 8);
    refused(path, bytes, sizeof bytes, NACRE_BAD_FILE);
    memset(bytes, 0, 8);
    bytes[3] = 5; /* 80 MB in a file of 256 bytes */
    size_t peak = nacre_memory().peak_bytes;
    refused(path, bytes, sizeof bytes, NACRE_BAD_FILE);
    assert_int_equal(nacre_memory().peak_bytes, peak);
    memset(bytes, 0, 8);
    static const char header[] =
        "{\"mask\":{\"dtype\":\"BOOL\",\"shape\":[3],\"data_offsets\":[0,3]}}";
    bytes[0] = sizeof header - 1;
    memcpy(bytes + 8, header, sizeof header - 1);
    memcpy(bytes + 8 + sizeof header - 1, "\0\1\2", 3);
    refused(path, bytes, 8 + sizeof header - 1 + 3, NACRE_BAD_FILE);
    message_has("\"mask\": element 2 is 2");
    memcpy(bytes + 8, "{\"mask\":{\"dtype\":\"BF16\"", 23);
    refused(path, bytes, 8 + sizeof header - 1 + 3, NACRE_UNSUPPORTED);
    message_has("\"mask\"");
    assert_null(nacre_state_dict_load(support_path(folder, "missing")));
    assert_int_equal(nacre_error_code(), NACRE_NOT_FOUND);
    assert_null(nacre_state_dict_load(folder));
    assert_int_equal(nacre_error_code(), NACRE_IO_ERROR);
}

static void short_memory_while_loading_is_reported(void **state) {
    (void)state;
    const char *path = save_samples(support_folder());
    nacre_state_dict_free(nacre_state_dict_load(path));
    size_t live = nacre_memory().live_bytes;
    nacre_state_dict *dict = NULL;
    uint64_t n = 1;
    for (; !dict; n++) {
        assert_true(n < 500);
        nacre_error_clear();
        nacre_memory_fail_at(n);
        dict = nacre_state_dict_load(path);
        nacre_memory_fail_at(0);
        if (dict) break;
        assert_int_equal(nacre_error_code(), NACRE_OUT_OF_MEMORY);
        assert_int_equal(nacre_memory().live_bytes, live);
    }
    assert_true(n > SAMPLES);
    are_samples(dict);
    nacre_state_dict_free(dict);
}

static void short_memory_while_saving_leaves_the_old_weights(void **state) {
    (void)state;
    const char *folder = support_folder(), *path = save_samples(folder);
    nacre_scope scope = nacre_scope_begin();
    nacre_state_dict *dict = make_dict(), *back;
    assert_int_equal(nacre_state_dict_save(dict, support_path(folder, "warm")), NACRE_OK);
    size_t live = nacre_memory().live_bytes;
    nacre_status status = NACRE_OUT_OF_MEMORY;
    uint64_t n = 1;
    for (; status != NACRE_OK; n++) {
        assert_true(n < 500);
        nacre_memory_fail_at(n);
        status = nacre_state_dict_save(dict, path);
        nacre_memory_fail_at(0);
        assert_true(status == NACRE_OK || status == NACRE_OUT_OF_MEMORY);
        assert_int_equal(nacre_memory().live_bytes, live);
        back = nacre_state_dict_load(path);
        are_samples(back);
        nacre_state_dict_free(back);
    }
    assert_true(n > 5);
    nacre_memory_fail_at(2);
    assert_int_equal(nacre_state_dict_add(dict, "one more", make(&samples[0])),
                     NACRE_OUT_OF_MEMORY);
    nacre_memory_fail_at(0);
    nacre_state_dict_free(dict);
    nacre_scope_end(scope);
}

/* ---- the safetensors package for Python ---- */

/* false (with a message) when it is not there. */
static bool run_python(const char *way, const char *path) {
    const char *python = getenv("NACRE_PYTHON"), *source = getenv("NACRE_SOURCE");
    if (!python || !*python || !source) {
        print_message("skipped: set NACRE_PYTHON to a Python with numpy and safetensors, and "
                      "NACRE_SOURCE to the checkout\n");
        return false;
    }
    const char *script = support_path(source, "tests/io/check_safetensors.py");
    support_result result = support_run((const char *[]){python, script, way, path, NULL});
    if (result.status == 77) print_message("skipped: %s", result.out);
    if (result.status != 0 && result.status != 77) fail_msg("%s%s", result.out, result.err);
    bool done = result.status == 0;
    support_run_free(&result);
    return done;
}

static void other_programs_read_what_we_write(void **state) {
    (void)state;
    if (!run_python("read", save_samples(support_folder()))) skip();
}

static void we_read_what_other_programs_write(void **state) {
    (void)state;
    const char *path = support_path(support_folder(), "python.safetensors");
    if (!run_python("write", path)) skip();
    nacre_state_dict *dict = nacre_state_dict_load(path);
    are_samples(dict);
    nacre_state_dict_free(dict);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_order_are_kept),
        cmocka_unit_test(tensors_outlive_their_scope),
        cmocka_unit_test(misuse_is_named),
        cmocka_unit_test(every_dtype_survives_a_round_trip),
        cmocka_unit_test(nothing_at_all_survives_a_round_trip),
        cmocka_unit_test(data_is_aligned_within_the_file),
        cmocka_unit_test(computed_and_transposed_values_are_saved),
        cmocka_unit_test(a_full_disk_leaves_the_old_weights),
        cmocka_unit_test(every_truncated_file_is_refused),
        cmocka_unit_test(hostile_files_are_refused),
        cmocka_unit_test(short_memory_while_loading_is_reported),
        cmocka_unit_test(short_memory_while_saving_leaves_the_old_weights),
        cmocka_unit_test(other_programs_read_what_we_write),
        cmocka_unit_test(we_read_what_other_programs_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
