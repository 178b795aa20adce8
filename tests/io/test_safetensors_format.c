/* The safetensors header: a hostile or damaged file is refused before memory is asked for. */
#include "support.h"

#include "base/memory.h"
#include "io/safetensors_format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static nacre_status parse(const char *json, uint64_t data_size, nacre_safetensors_header *out) {
    size_t length = strlen(json);
    char *copy = malloc(length ? length : 1); /* exact, for the sanitizer */
    assert_non_null(copy);
    memcpy(copy, json, length);
    nacre_status status = nacre_safetensors_parse(copy, length, data_size, "m.safetensors", out);
    free(copy);
    return status;
}

static void accepted(const char *json, uint64_t data_size) {
    nacre_safetensors_header header;
    if (parse(json, data_size, &header) != NACRE_OK)
        fail_msg("%s: %s", json, nacre_error_message());
    nacre_safetensors_header_free(&header);
}

/* Refused with this status and a message of one line with this part. */
static void refused(const char *json, uint64_t data_size, nacre_status expected, const char *part) {
    nacre_safetensors_header header;
    size_t live = nacre_memory().live_bytes;
    nacre_error_clear();
    nacre_status status = parse(json, data_size, &header);
    if (status != expected) fail_msg("%s: status %d: %s", json, (int)status, nacre_error_message());
    const char *message = nacre_error_message();
    if (!strstr(message, part) || !strstr(message, "m.safetensors") || strchr(message, '\n')) {
        fail_msg("%s: \"%s\" is not in \"%s\"", json, part, message);
    }
    assert_null(header.entries);
    assert_int_equal(nacre_memory().live_bytes, live);
}

static void what_other_writers_write_is_read(void **state) {
    (void)state;
    nacre_safetensors_header h;
    assert_int_equal(
        parse("{\"__metadata__\":{\"format\":\"pt\",\"\":\"\"},"
              "\"b\":{\"dtype\":\"I64\",\"shape\":[2,3],\"data_offsets\":[4,52]},"
              "\"a\":{\"data_offsets\":[0,4],\"shape\":[],\"dtype\":\"F32\",\"extra\":[1]},"
              "\"e\":{\"dtype\":\"U8\",\"shape\":[5,0],\"data_offsets\":[4,4]}}   ",
              52, &h),
        NACRE_OK);
    assert_int_equal(h.count, 3);
    assert_string_equal(h.entries[0].name, "b");
    assert_int_equal(h.entries[0].dtype, NACRE_I64);
    assert_int_equal(h.entries[0].shape.ndim, 2);
    assert_int_equal(h.entries[0].shape.dims[1], 3);
    assert_int_equal(h.entries[0].begin, 4);
    assert_int_equal(h.entries[0].end, 52);
    assert_int_equal(h.entries[1].shape.ndim, 0);
    assert_int_equal(h.entries[2].begin, 4);
    assert_int_equal(h.metadata_count, 2);
    assert_string_equal(h.metadata[0].key, "format");
    assert_string_equal(h.metadata[0].value, "pt");
    nacre_safetensors_header_free(&h);
    accepted("{}", 0);
    accepted("{\"__metadata__\":{}}", 0);
    accepted("{\"\":{\"dtype\":\"BOOL\",\"shape\":[1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1);
    accepted("{\"e\":{\"dtype\":\"F64\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0);
    accepted("{\"e\":{\"dtype\":\"F64\",\"shape\":[0],\"data_offsets\":[1,1]},"
             "\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
             1);
}

#define ENTRY(dtype, shape, offsets)                                                               \
    "{\"t\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void offsets_that_lie_are_refused(void **state) {
    (void)state;
    refused(ENTRY("F32", "[2]", "[0,8]"), 4, NACRE_BAD_FILE, "tensor \"t\": bytes 0 to 8 of 4");
    refused(ENTRY("F32", "[2]", "[0,8]"), 9, NACRE_BAD_FILE, "9 bytes of data, the tensors take 8");
    refused(ENTRY("F32", "[2]", "[1,9]"), 9, NACRE_BAD_FILE, "begins at byte 1");
    refused(ENTRY("F32", "[2]", "[0,7]"), 7, NACRE_BAD_FILE,
            "[2] takes 8 bytes, its offsets span 7");
    refused(ENTRY("F32", "[2]", "[8,0]"), 8, NACRE_BAD_FILE, "bytes 8 to 0");
    refused(ENTRY("F32", "[2]", "[-8,0]"), 8, NACRE_BAD_FILE, "data_offsets");
    refused(ENTRY("F32", "[2]", "[0,8.0]"), 8, NACRE_BAD_FILE, "data_offsets");
    refused(ENTRY("F32", "[2]", "[0,8,16]"), 8, NACRE_BAD_FILE, "data_offsets");
    refused(ENTRY("F32", "[2]", "[0]"), 8, NACRE_BAD_FILE, "data_offsets");
    refused(ENTRY("F32", "[2]", "{}"), 8, NACRE_BAD_FILE, "data_offsets");
    refused(ENTRY("F32", "[2]", "[0,9223372036854775807]"), 8, NACRE_BAD_FILE,
            "of 8 bytes of data");
    refused(ENTRY("F32", "[2]", "[0,18446744073709551615]"), 8, NACRE_BAD_FILE, "data_offsets");
    /* Two tensors: overlapping, the same bytes, a gap. */
    static const char two[] = "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
                              "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[%d,%d]}}";
    char text[sizeof two + 8];
    snprintf(text, sizeof text, two, 4, 8);
    accepted(text, 8);
    snprintf(text, sizeof text, two, 3, 7);
    refused(text, 7, NACRE_BAD_FILE, "tensor \"b\": its data begins at byte 3, before");
    snprintf(text, sizeof text, two, 0, 4);
    refused(text, 4, NACRE_BAD_FILE, "its data begins at byte 0, before");
    snprintf(text, sizeof text, two, 5, 9);
    refused(text, 9, NACRE_BAD_FILE, "tensor \"b\": its data begins at byte 5, after");
    refused("{}", 1, NACRE_BAD_FILE, "1 bytes of data");
}

static void shapes_that_overflow_are_refused(void **state) {
    (void)state;
    refused(ENTRY("F32", "[4294967296,4294967296]", "[0,0]"), 0, NACRE_BAD_FILE, "overflows");
    refused(ENTRY("F64", "[2305843009213693952]", "[0,0]"), 0, NACRE_BAD_FILE, "overflows");
    refused(ENTRY("F64", "[2305843009213693953]", "[0,8]"), 8, NACRE_BAD_FILE, "overflows");
    refused(ENTRY("U8", "[9223372036854775807,2]", "[0,0]"), 0, NACRE_BAD_FILE, "overflows");
    refused(ENTRY("U8", "[0,9223372036854775807,9223372036854775807]", "[0,0]"), 0, NACRE_BAD_FILE,
            "overflows");
    refused(ENTRY("U8", "[9223372036854775808]", "[0,0]"), 0, NACRE_BAD_FILE, "axis 0");
    refused(ENTRY("U8", "[-1]", "[0,0]"), 0, NACRE_BAD_FILE, "axis 0");
    refused(ENTRY("U8", "[1,-1,-1]", "[0,1]"), 1, NACRE_BAD_FILE, "axis 1");
    refused(ENTRY("U8", "[1.5]", "[0,1]"), 1, NACRE_BAD_FILE, "axis 0");
    refused(ENTRY("U8", "[\"1\"]", "[0,1]"), 1, NACRE_BAD_FILE, "axis 0");
    refused(ENTRY("U8", "1", "[0,1]"), 1, NACRE_BAD_FILE, "shape");
    refused(ENTRY("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]"), 1, NACRE_UNSUPPORTED, "9 axes");
}

static void dtypes_we_lack_are_named(void **state) {
    (void)state;
    refused(ENTRY("BF16", "[1]", "[0,2]"), 2, NACRE_UNSUPPORTED, "tensor \"t\": dtype BF16");
    refused(ENTRY("F8_E4M3", "[1]", "[0,1]"), 1, NACRE_UNSUPPORTED, "tensor \"t\": dtype F8_E4M3");
    refused(ENTRY("U64", "[1]", "[0,8]"), 8, NACRE_UNSUPPORTED, "tensor \"t\": dtype U64");
    refused(ENTRY("f32", "[1]", "[0,4]"), 4, NACRE_UNSUPPORTED, "unknown dtype \"f32\"");
    refused(ENTRY("", "[1]", "[0,4]"), 4, NACRE_UNSUPPORTED, "unknown dtype \"\"");
    refused("{\"t\":{\"dtype\":5,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, NACRE_BAD_FILE,
            "dtype");
}

static void headers_of_another_form_are_refused(void **state) {
    (void)state;
    refused("", 0, NACRE_BAD_FILE, "begin with '{'");
    refused("[]", 0, NACRE_BAD_FILE, "begin with '{'");
    refused(" {}", 0, NACRE_BAD_FILE, "begin with '{'");
    refused("{} x", 0, NACRE_BAD_FILE, "line 1, column 4");
    refused("{\"t\":1}", 0, NACRE_BAD_FILE, "not described by an object");
    refused("{\"t\":{}}", 0, NACRE_BAD_FILE, "dtype");
    refused("{\"t\":{\"dtype\":\"F32\"}}", 0, NACRE_BAD_FILE, "shape");
    refused("{\"t\":{\"dtype\":\"F32\",\"shape\":[1]}}", 0, NACRE_BAD_FILE, "data_offsets");
    refused("{\"__metadata__\":[]}", 0, NACRE_BAD_FILE, "__metadata__");
    refused("{\"__metadata__\":{\"a\":1}}", 0, NACRE_BAD_FILE,
            "the value of \"a\" is not a string");
    refused("{\"__metadata__\":{\"a\":null}}", 0, NACRE_BAD_FILE,
            "the value of \"a\" is not a string");
    refused("{\"__metadata__\":{},\"__metadata__\":{}}", 0, NACRE_BAD_FILE, "twice");
    refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
            "\"\\u0061\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
            2, NACRE_BAD_FILE, "twice");
    refused("{\"\xC3\":{}}", 0, NACRE_BAD_FILE, "UTF-8");
    refused("{\"t\":{\"dtype\":\"F32\",\"shape\":[NaN],\"data_offsets\":[0,4]}}", 4, NACRE_BAD_FILE,
            "value");
}

static void a_hostile_name_stays_on_one_line(void **state) {
    (void)state;
    char text[4200] = "{\"";
    size_t length = 2;
    for (int i = 0; i < 500; i++) length += (size_t)sprintf(text + length, "\\n\xE2\x82\xAC");
    strcpy(text + length, "\":1}");
    refused(text, 0, NACRE_BAD_FILE, "...\": not described");
    assert_true(strlen(nacre_error_message()) < 200);
}

static nacre_status header_length(uint64_t value, uint64_t file_size, size_t *out) {
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)(value >> (8 * i));
    return nacre_safetensors_header_length(bytes, file_size, "m.safetensors", out);
}

static void a_header_length_that_lies_is_refused(void **state) {
    (void)state;
    size_t length = 0;
    assert_int_equal(header_length(2, 10, &length), NACRE_OK);
    assert_int_equal(length, 2);
    assert_int_equal(header_length(100000000, 100000008, &length), NACRE_OK);
    assert_int_equal(header_length(3, 10, &length), NACRE_BAD_FILE);
    assert_int_equal(header_length(100000001, UINT64_MAX, &length), NACRE_BAD_FILE);
    assert_int_equal(header_length((uint64_t)1 << 63, UINT64_MAX, &length), NACRE_BAD_FILE);
    assert_int_equal(header_length(UINT64_MAX, UINT64_MAX, &length), NACRE_BAD_FILE);
    assert_int_equal(header_length(UINT64_MAX - 7, 8, &length), NACRE_BAD_FILE);
    for (uint64_t size = 0; size < 8; size++) {
        assert_int_equal(header_length(0, size, &length), NACRE_BAD_FILE);
    }
}

static void a_bool_is_0_or_1(void **state) {
    (void)state;
    static const unsigned char bytes[] = {0, 1, 1, 0, 2, 255};
    nacre_safetensors_entry entry = {.name = "mask\n", .dtype = NACRE_BOOL};
    assert_int_equal(nacre_safetensors_check_bool(&entry, bytes, "x"), NACRE_OK);
    entry.end = 4;
    assert_int_equal(nacre_safetensors_check_bool(&entry, bytes, "x"), NACRE_OK);
    entry.end = 6;
    assert_int_equal(nacre_safetensors_check_bool(&entry, bytes, "x"), NACRE_BAD_FILE);
    assert_string_equal(
        nacre_error_message(),
        "x: tensor \"mask?\": element 4 is 2, a bool is 0 or 1; save or download the file again");
}

/* ---- writing ---- */

static const nacre_safetensors_entry written[] = {
    {.name = "odd bytes", .dtype = NACRE_U8, .shape = {1, {3}}},
    {.name = "\"quoted\"\n", .dtype = NACRE_F32, .shape = {2, {2, 5}}},
    {.name = "", .dtype = NACRE_BOOL, .shape = {0, {0}}},
    {.name = "\xC3\xA9", .dtype = NACRE_I64, .shape = {1, {1}}},
    {.name = "empty", .dtype = NACRE_F64, .shape = {3, {4, 0, 2}}},
    {.name = "i32", .dtype = NACRE_I32, .shape = {8, {1, 1, 1, 1, 1, 1, 1, 2}}},
};
enum { WRITTEN = sizeof written / sizeof written[0] };

static void what_is_written_reads_back(void **state) {
    (void)state;
    static const nacre_safetensors_pair metadata[] = {{"format", "nacre"}, {"\"", "\\\n"}};
    nacre_safetensors_entry entries[WRITTEN];
    size_t order[WRITTEN];
    memcpy(entries, written, sizeof written);
    assert_int_equal(nacre_safetensors_place(entries, WRITTEN, order), NACRE_OK);
    nacre_text text = {0};
    assert_int_equal(nacre_safetensors_build(entries, WRITTEN, metadata, 2, &text), NACRE_OK);
    assert_int_equal(text.length % 64, 0);
    uint64_t total = 0;
    for (size_t i = 0; i < WRITTEN; i++) {
        const nacre_safetensors_entry *entry = &entries[order[i]];
        assert_int_equal(entry->begin, total);
        assert_int_equal(entry->begin % nacre_dtype_size(entry->dtype), 0);
        total = entry->end;
    }
    size_t length;
    assert_int_equal(nacre_safetensors_header_length((unsigned char *)text.bytes,
                                                     text.length + total, "x", &length),
                     NACRE_OK);
    assert_int_equal(length, text.length - 8);
    nacre_safetensors_header back;
    assert_int_equal(nacre_safetensors_parse(text.bytes + 8, length, total, "x", &back), NACRE_OK);
    assert_int_equal(back.count, WRITTEN);
    for (size_t i = 0; i < WRITTEN; i++) {
        assert_string_equal(back.entries[i].name, entries[i].name);
        assert_int_equal(back.entries[i].dtype, entries[i].dtype);
        assert_memory_equal(&back.entries[i].shape, &entries[i].shape, sizeof entries[i].shape);
        assert_int_equal(back.entries[i].begin, entries[i].begin);
        assert_int_equal(back.entries[i].end, entries[i].end);
    }
    assert_int_equal(back.metadata_count, 2);
    assert_string_equal(back.metadata[1].value, "\\\n");
    nacre_safetensors_header_free(&back);
    nacre_text_free(&text);
}

static void no_tensors_make_a_valid_file(void **state) {
    (void)state;
    nacre_text text = {0};
    nacre_safetensors_header back;
    assert_int_equal(nacre_safetensors_place(NULL, 0, NULL), NACRE_OK);
    assert_int_equal(nacre_safetensors_build(NULL, 0, NULL, 0, &text), NACRE_OK);
    assert_int_equal(text.length, 64);
    assert_int_equal(nacre_safetensors_parse(text.bytes + 8, 56, 0, "x", &back), NACRE_OK);
    assert_int_equal(back.count, 0);
    nacre_safetensors_header_free(&back);
    nacre_text_free(&text);
}

static void more_than_a_file_can_hold_is_refused(void **state) {
    (void)state;
    nacre_safetensors_entry entries[3] = {
        {.name = "a", .dtype = NACRE_U8, .shape = {1, {INT64_MAX / 8}}},
        {.name = "b", .dtype = NACRE_F64, .shape = {1, {INT64_MAX / 8}}},
        {.name = "c", .dtype = NACRE_F64, .shape = {1, {INT64_MAX / 8}}},
    };
    size_t order[3];
    assert_int_equal(nacre_safetensors_place(entries, 3, order), NACRE_INVALID_ARGUMENT);
}

static const char sample[] =
    "{\"__metadata__\":{\"k\":\"v\"},\"a\":{\"dtype\":\"U8\",\"shape\":[2,3],"
    "\"data_offsets\":[0,6]},\"b\":{\"dtype\":\"F32\",\"shape\":[],"
    "\"data_offsets\":[6,10]}}";

static void every_truncated_header_is_refused(void **state) {
    (void)state;
    accepted(sample, 10);
    char text[sizeof sample];
    for (size_t length = 0; length + 1 < sizeof sample; length++) {
        memcpy(text, sample, length);
        text[length] = '\0';
        refused(text, 10, NACRE_BAD_FILE, "");
    }
}

static void every_changed_byte_is_survived(void **state) {
    (void)state;
    for (size_t i = 0; i + 1 < sizeof sample; i++) {
        for (int byte = 1; byte < 256; byte++) {
            char text[sizeof sample];
            nacre_safetensors_header header;
            memcpy(text, sample, sizeof sample);
            text[i] = (char)byte;
            if (parse(text, 10, &header) == NACRE_OK) nacre_safetensors_header_free(&header);
        }
    }
}

static void short_memory_is_reported_and_nothing_leaks(void **state) {
    (void)state;
    size_t live = nacre_memory().live_bytes;
    nacre_safetensors_header header;
    nacre_status status = NACRE_OUT_OF_MEMORY;
    uint64_t n = 1;
    for (; status != NACRE_OK; n++) {
        assert_true(n < 50);
        nacre_memory_fail_at(n);
        status = parse(sample, 10, &header);
        nacre_memory_fail_at(0);
        assert_true(status == NACRE_OK || status == NACRE_OUT_OF_MEMORY);
        if (status != NACRE_OK) assert_int_equal(nacre_memory().live_bytes, live);
    }
    assert_true(n > 5);
    nacre_text text = {0};
    nacre_memory_fail_at(2);
    assert_int_equal(nacre_safetensors_build(header.entries, header.count, NULL, 0, &text),
                     NACRE_OUT_OF_MEMORY);
    nacre_memory_fail_at(0);
    nacre_text_free(&text);
    nacre_safetensors_header_free(&header);
    assert_int_equal(nacre_memory().live_bytes, live);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_other_writers_write_is_read),
        cmocka_unit_test(offsets_that_lie_are_refused),
        cmocka_unit_test(shapes_that_overflow_are_refused),
        cmocka_unit_test(dtypes_we_lack_are_named),
        cmocka_unit_test(headers_of_another_form_are_refused),
        cmocka_unit_test(a_hostile_name_stays_on_one_line),
        cmocka_unit_test(a_header_length_that_lies_is_refused),
        cmocka_unit_test(a_bool_is_0_or_1),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(no_tensors_make_a_valid_file),
        cmocka_unit_test(more_than_a_file_can_hold_is_refused),
        cmocka_unit_test(every_truncated_header_is_refused),
        cmocka_unit_test(every_changed_byte_is_survived),
        cmocka_unit_test(short_memory_is_reported_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
