/* JSON: a configuration is read as it was meant, or refused with the place of the mistake. */
#include "support.h"

#include "base/memory.h"
#include "io/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Parses a copy of exactly the text's length, so that a sanitizer sees a read beyond it. */
static nacre_json_document *parse_bytes(const char *text, size_t length) {
    char *copy = malloc(length ? length : 1);
    assert_non_null(copy);
    memcpy(copy, text, length);
    nacre_json_document *document = nacre_json_parse(copy, length, "test.json");
    free(copy);
    return document;
}

static nacre_json_document *parse(const char *text) {
    nacre_json_document *document = parse_bytes(text, strlen(text));
    if (!document) fail_msg("%s: %s", text, nacre_error_message());
    return document;
}

static void every_kind_of_value_is_read(void **state) {
    (void)state;
    nacre_json_document *d =
        parse(" {\"a\": [1, -2.5e1, true, false, null, \"s\"], \"b\": {}, \"c\":[]}\r\n\t ");
    const nacre_json *root = nacre_json_root(d), *a = nacre_json_member(root, "a");
    assert_int_equal(root->kind, NACRE_JSON_OBJECT);
    assert_int_equal(root->count, 3);
    assert_null(root->key);
    assert_int_equal(a->kind, NACRE_JSON_ARRAY);
    assert_int_equal(a->count, 6);
    const nacre_json *item = a->first;
    assert_true(item->kind == NACRE_JSON_NUMBER && item->is_integer && item->integer == 1);
    item = item->next;
    assert_true(item->kind == NACRE_JSON_NUMBER && !item->is_integer && item->number == -25);
    item = item->next;
    assert_true(item->kind == NACRE_JSON_BOOL && item->boolean);
    item = item->next;
    assert_true(item->kind == NACRE_JSON_BOOL && !item->boolean);
    item = item->next;
    assert_int_equal(item->kind, NACRE_JSON_NULL);
    item = item->next;
    assert_string_equal(item->string, "s");
    assert_null(item->next);
    assert_int_equal(nacre_json_member(root, "b")->kind, NACRE_JSON_OBJECT);
    assert_int_equal(nacre_json_member(root, "c")->count, 0);
    assert_null(nacre_json_member(root, "d"));
    assert_null(nacre_json_member(a, "a"));
    assert_null(nacre_json_member(NULL, "a"));
    nacre_json_free(d);
    nacre_json_free(NULL);
}

static void strings_are_unescaped(void **state) {
    (void)state;
    nacre_json_document *d =
        parse("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\", \"\\u0041\\u00e9\\u20AC\\uD83d\\uDE00\", "
              "\"\xC3\xA9\", {\"\\u006B\": \"\"}]");
    const nacre_json *item = nacre_json_root(d)->first;
    assert_string_equal(item->string, "\"\\/\b\f\n\r\t");
    item = item->next;
    assert_string_equal(item->string, "A\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
    item = item->next;
    assert_string_equal(item->string, "\xC3\xA9");
    assert_string_equal(item->next->first->key, "k");
    assert_string_equal(item->next->first->string, "");
    nacre_json_free(d);
}

static void integer(const char *text, bool is_integer, int64_t expected) {
    nacre_json_document *d = parse(text);
    const nacre_json *root = nacre_json_root(d);
    assert_int_equal(root->is_integer, is_integer);
    if (is_integer) assert_true(root->integer == expected);
    nacre_json_free(d);
}

static void integers_are_exact_to_64_bits(void **state) {
    (void)state;
    integer("0", true, 0);
    integer("-0", true, 0);
    integer("9223372036854775807", true, INT64_MAX);
    integer("-9223372036854775808", true, INT64_MIN);
    integer("9223372036854775808", false, 0);
    integer("-9223372036854775809", false, 0);
    integer("18446744073709551616", false, 0);
    integer("100000000000000000000000000000000", false, 0);
    integer("1.0", false, 0);
    integer("1e2", false, 0);
    integer("9007199254740993", true, 9007199254740993); /* not a double */
}

static void numbers_are_rounded_once(void **state) {
    (void)state;
    static const char *const texts[] = {
        "0.1",     "-1.7976931348623157e308",         "5e-324", "2.2250738585072011e-308", "1E+2",
        "1e-9999", "123456789012345678901234567890.5"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        nacre_json_document *d = parse(texts[i]);
        assert_true(nacre_json_root(d)->number == strtod(texts[i], NULL));
        nacre_json_free(d);
    }
    char *digits = malloc(100001);
    assert_non_null(digits);
    memset(digits, '1', 100000);
    memcpy(digits, "0.", 2);
    nacre_json_document *d = parse_bytes(digits, 100000);
    assert_non_null(d);
    assert_true(fabs(nacre_json_root(d)->number - 1.0 / 9) < 1e-15);
    nacre_json_free(d);
    free(digits);
}

/* Refused, and the message names this line and column. */
static void refused_bytes(const char *text, size_t length, int line, int column) {
    nacre_error_clear();
    nacre_json_document *document = parse_bytes(text, length);
    if (document) fail_msg("accepted: %s", text);
    assert_int_equal(nacre_error_code(), NACRE_BAD_FILE);
    char place[64];
    snprintf(place, sizeof place, "test.json: line %d, column %d: ", line, column);
    if (strncmp(nacre_error_message(), place, strlen(place)) != 0) {
        fail_msg("%s: expected %s, got %s", text, place, nacre_error_message());
    }
    assert_null(strchr(nacre_error_message(), '\n'));
}

static void refused(const char *text, int line, int column) {
    refused_bytes(text, strlen(text), line, column);
}

static void mistakes_are_refused_with_their_place(void **state) {
    (void)state;
    refused("", 1, 1);
    refused("  \n ", 2, 2);
    refused("[1,]", 1, 4);
    refused("[,1]", 1, 2);
    refused("[1 2]", 1, 4);
    refused("[1}", 1, 3);
    refused("[1", 1, 3);
    refused("[", 1, 2);
    refused("]", 1, 1);
    refused("{", 1, 2);
    refused("{]", 1, 2);
    refused("{\"a\":1,}", 1, 8);
    refused("{\"a\" 1}", 1, 6);
    refused("{\"a\":}", 1, 6);
    refused("{\"a\"", 1, 5);
    refused("{\"a\":1", 1, 7);
    refused("{\"a\":1]", 1, 7);
    refused("{a:1}", 1, 2);
    refused("{1:1}", 1, 2);
    refused("{'a':1}", 1, 2);
    refused("{,}", 1, 2);
    refused("1 2", 1, 3);
    refused("{}\n{}", 2, 1);
    refused("tru", 1, 1);
    refused("True", 1, 1);
    refused("nul", 1, 1);
    refused("falsey", 1, 6);
    refused("// x\n1", 1, 1);
    refused("/* */ 1", 1, 1);
    refused("\xEF\xBB\xBF{}", 1, 1);
    refused("{\n  \"lr\": .1\n}", 2, 9);
    refused("[\"\xC3\xA9\", x]", 1, 7); /* columns count characters */
}

static void numbers_follow_the_grammar(void **state) {
    (void)state;
    refused("01", 1, 1);
    refused("-01", 1, 1);
    refused("+1", 1, 1);
    refused("-", 1, 2);
    refused(".5", 1, 1);
    refused("1.", 1, 3);
    refused("1.e5", 1, 3);
    refused("1e", 1, 3);
    refused("1e+", 1, 4);
    refused("0x10", 1, 2);
    refused("NaN", 1, 1);
    refused("nan", 1, 1);
    refused("Infinity", 1, 1);
    refused("-Infinity", 1, 2);
    refused("-inf", 1, 2);
    refused("1e999", 1, 1);
    refused("[-1e400]", 1, 2);
    refused("1,5", 1, 2);
    refused("1_000", 1, 2);
}

static void strings_follow_the_grammar(void **state) {
    (void)state;
    refused("\"", 1, 2);
    refused("\"abc", 1, 5);
    refused("\"a\\", 1, 4);
    refused("\"a\\\"", 1, 5);
    refused("\"\\x41\"", 1, 2);
    refused("\"\\u12\"", 1, 6);
    refused("\"\\u12g4\"", 1, 6);
    refused("\"\\u0000\"", 1, 2);
    refused("\"a\nb\"", 1, 3);
    refused("\"a\tb\"", 1, 3);
    refused_bytes("\"a\0b\"", 5, 1, 3);
    refused_bytes("1\0", 2, 1, 2);
    refused("\"\\uD800\"", 1, 2);
    refused("\"\\uD800x\"", 1, 2);
    refused("\"\\uD800\\n\"", 1, 2);
    refused("\"\\uD800\\u0041\"", 1, 2);
    refused("\"\\uD800\\uD800\"", 1, 2);
    refused("\"\\uDC00\"", 1, 2);
    refused("\"\\uD83D\\uDE0\"", 1, 13);
    refused("\"\xFF\"", 1, 2);
    refused("\"\xC0\x80\"", 1, 2);
    refused("\"\xED\xA0\x80\"", 1, 2);
    refused("\"\xF4\x90\x80\x80\"", 1, 2);
    refused("\"\xE2\x82\"", 1, 2);
    refused("\"\xE2\x82", 1, 2);
}

static void a_key_given_twice_is_refused(void **state) {
    (void)state;
    refused("{\"a\":1,\"a\":2}", 1, 12);
    refused("{\"a\":1,\n \"\\u0061\":2}", 2, 11);
    nacre_json_free(parse("{\"a\":{\"a\":1},\"b\":{\"a\":1}}"));
    /* Many members take another way. */
    enum { MEMBERS = 5000, ROOM = MEMBERS * 16 };
    char *text = malloc(ROOM);
    assert_non_null(text);
    size_t length = 0;
    for (int i = 0; i < MEMBERS; i++) {
        length +=
            (size_t)snprintf(text + length, ROOM - length, "%s\"k%d\":%d", i ? "," : "{", i, i);
    }
    size_t end = length;
    length += (size_t)snprintf(text + length, ROOM - length, "}");
    nacre_json_document *d = parse_bytes(text, length);
    assert_non_null(d);
    assert_int_equal(nacre_json_root(d)->count, MEMBERS);
    assert_int_equal(nacre_json_member(nacre_json_root(d), "k4999")->integer, 4999);
    nacre_json_free(d);
    length = end + (size_t)snprintf(text + end, ROOM - end, ",\"k17\":0}");
    refused_bytes(text, length, 1, (int)(length - 1));
    free(text);
}

static void deep_nesting_does_not_exhaust_the_stack(void **state) {
    (void)state;
    char text[2 * 64 + 3];
    memset(text, '[', 64);
    memset(text + 64, ']', 64);
    text[128] = '\0';
    nacre_json_document *d = parse(text);
    int depth = 0;
    for (const nacre_json *node = nacre_json_root(d); node; node = node->first) depth++;
    assert_int_equal(depth, 64);
    nacre_json_free(d);
    memset(text, '[', 65);
    memset(text + 65, ']', 65);
    refused_bytes(text, 130, 1, 65);
    enum { DEEP = 1000000 };
    char *deep = malloc(5 * DEEP);
    assert_non_null(deep);
    memset(deep, '[', DEEP);
    refused_bytes(deep, DEEP, 1, 65);
    for (size_t i = 0; i < DEEP; i++) memcpy(deep + 5 * i, "{\"a\":", 5);
    refused_bytes(deep, 5 * DEEP, 1, 5 * 64 + 1);
    free(deep);
}

static void a_huge_count_of_values_is_refused(void **state) {
    (void)state;
    enum { VALUES = 4194304 };
    char *text = malloc(2 * VALUES + 1);
    assert_non_null(text);
    for (size_t i = 0; i <= VALUES; i++) {
        text[2 * i] = i ? ',' : '[';
        if (i < VALUES) text[2 * i + 1] = '0';
    }
    text[2 * VALUES] = ']';
    refused_bytes(text, 2 * VALUES + 1, 1, 2 * VALUES);
    free(text);
}

static const char sample[] =
    "{\"a\": [1, -2.5e-3, true, false, null, {\"b\": \"\\u00e9\\ud83d\\ude00\xC3\xA9\"}], "
    "\"c\": {}}";

static void every_truncated_text_is_refused(void **state) {
    (void)state;
    nacre_json_free(parse(sample));
    for (size_t length = 0; length + 1 < sizeof sample; length++) {
        assert_null(parse_bytes(sample, length));
    }
}

/* Every byte of a valid text replaced by every other: accepted or refused, never worse. */
static void every_changed_byte_is_survived(void **state) {
    (void)state;
    char text[sizeof sample];
    for (size_t i = 0; i + 1 < sizeof sample; i++) {
        for (int byte = 0; byte < 256; byte++) {
            memcpy(text, sample, sizeof sample);
            text[i] = (char)byte;
            nacre_json_free(parse_bytes(text, sizeof sample - 1));
        }
    }
}

static void short_memory_is_reported_and_nothing_leaks(void **state) {
    (void)state;
    char text[4096];
    size_t length = 0;
    for (int i = 0; i < 200; i++) {
        length += (size_t)snprintf(text + length, sizeof text - length, "%s\"k%d\":[%d]",
                                   i ? "," : "{", i, i);
    }
    text[length++] = '}';
    nacre_memory_stats before = nacre_memory();
    nacre_json_document *d = NULL;
    uint64_t n = 1;
    for (; !d; n++) {
        assert_true(n < 100);
        nacre_error_clear();
        nacre_memory_fail_at(n);
        d = parse_bytes(text, length);
        nacre_memory_fail_at(0);
        if (!d) {
            assert_int_equal(nacre_error_code(), NACRE_OUT_OF_MEMORY);
            assert_int_equal(nacre_memory().live_bytes, before.live_bytes);
        }
    }
    assert_true(n > 4);
    nacre_json_free(d);
    assert_int_equal(nacre_memory().live_bytes, before.live_bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_value_is_read),
        cmocka_unit_test(strings_are_unescaped),
        cmocka_unit_test(integers_are_exact_to_64_bits),
        cmocka_unit_test(numbers_are_rounded_once),
        cmocka_unit_test(mistakes_are_refused_with_their_place),
        cmocka_unit_test(numbers_follow_the_grammar),
        cmocka_unit_test(strings_follow_the_grammar),
        cmocka_unit_test(a_key_given_twice_is_refused),
        cmocka_unit_test(deep_nesting_does_not_exhaust_the_stack),
        cmocka_unit_test(a_huge_count_of_values_is_refused),
        cmocka_unit_test(every_truncated_text_is_refused),
        cmocka_unit_test(every_changed_byte_is_survived),
        cmocka_unit_test(short_memory_is_reported_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
