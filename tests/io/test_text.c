/* Text: reports and headers that any other program can read, whatever the locale. */
#include "support.h"

#include "base/memory.h"
#include "io/text.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void appended_pieces_stay_in_order(void **state) {
    (void)state;
    nacre_text text = {0};
    size_t expected = 0;
    for (int i = 0; i < 1000; i++) {
        nacre_text_append(&text, "%d,", i);
        expected += i < 10 ? 2 : i < 100 ? 3 : 4;
    }
    assert_int_equal(text.length, expected);
    assert_int_equal(strlen(text.bytes), expected);
    assert_memory_equal(text.bytes, "0,1,2,3,", 8);
    assert_string_equal(text.bytes + expected - 8, "998,999,");
    nacre_text_free(&text);
    assert_null(text.bytes);
}

static void a_piece_longer_than_the_room_is_whole(void **state) {
    (void)state;
    nacre_text text = {0};
    char piece[5000];
    memset(piece, 'x', sizeof piece - 1);
    piece[sizeof piece - 1] = '\0';
    nacre_text_append(&text, "<%s>", piece);
    assert_int_equal(text.length, sizeof piece + 1);
    assert_int_equal(text.bytes[text.length - 1], '>');
    nacre_text_append_bytes(&text, "\0a", 2);
    assert_int_equal(text.length, sizeof piece + 3);
    nacre_text_append(&text, "%s", "");
    assert_int_equal(text.length, sizeof piece + 3);
    nacre_text_free(&text);
}

static void nothing_appended_is_an_empty_string(void **state) {
    (void)state;
    nacre_text text = {0};
    nacre_text_append_bytes(&text, NULL, 0);
    assert_string_equal(text.bytes, "");
    nacre_text_free(&text);
    nacre_text_free(&text);
}

static void json(const char *string, const char *expected) {
    nacre_text text = {0};
    nacre_text_append_json(&text, string);
    assert_string_equal(text.bytes, expected);
    nacre_text_free(&text);
}

static void any_string_is_valid_json(void **state) {
    (void)state;
    json("", "\"\"");
    json("a\"b\\c/", "\"a\\\"b\\\\c/\"");
    json("\b\f\n\r\t\x01\x1f\x7f", "\"\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\"");
    json("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"");
    json("a\xFFz", "\"a\xEF\xBF\xBDz\"");
    json("\xC3", "\"\xEF\xBF\xBD\"");
    json("\xC0\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

static void utf8_is_checked_as_rfc_3629_asks(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t left, length;
    } cases[] = {
        {"", 0, 0},
        {"a", 1, 1},
        {"\x00", 1, 1},
        {"\x7F", 1, 1},
        {"\x80", 1, 0},
        {"\xBF", 1, 0},
        {"\xC1\xBF", 2, 0},
        {"\xC2\x80", 2, 2},
        {"\xC2", 1, 0},
        {"\xC2\x20", 2, 0},
        {"\xE0\x9F\xBF", 3, 0},
        {"\xE0\xA0\x80", 3, 3},
        {"\xE0\xA0", 2, 0},
        {"\xE1\x80\xC0", 3, 0},
        {"\xED\x9F\xBF", 3, 3},
        {"\xED\xA0\x80", 3, 0},
        {"\xEF\xBF\xBF", 3, 3},
        {"\xF0\x8F\xBF\xBF", 4, 0},
        {"\xF0\x90\x80\x80", 4, 4},
        {"\xF4\x8F\xBF\xBF", 4, 4},
        {"\xF4\x90\x80\x80", 4, 0},
        {"\xF5\x80\x80\x80", 4, 0},
        {"\xF0\x90\x80", 3, 0},
        {"\xFE", 1, 0},
        {"\xFF", 1, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(nacre_utf8_length(cases[i].bytes, cases[i].left), cases[i].length);
    }
}

static void number(double value, const char *expected) {
    nacre_text text = {0};
    nacre_text_append_number(&text, value);
    assert_string_equal(text.bytes, expected);
    nacre_text_free(&text);
}

static void numbers_are_short_and_read_back_exactly(void **state) {
    (void)state;
    number(0, "0");
    number(-0.0, "-0");
    number(1, "1");
    number(0.1, "0.1");
    number(-2.5, "-2.5");
    number(1e300, "1e+300");
    number(4e-3, "0.004");
    number((double)0.1f, "0.10000000149011612");
    number(NAN, "null");
    number(INFINITY, "null");
    number(-INFINITY, "null");
    uint64_t bits = 1;
    for (int i = 0; i < 20000; i++) {
        double value, back;
        bits = bits * 6364136223846793005u + 1442695040888963407u;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) continue;
        nacre_text text = {0};
        nacre_text_append_number(&text, value);
        assert_true(nacre_text_to_double(text.bytes, &back));
        assert_memory_equal(&back, &value, sizeof value);
        nacre_text_free(&text);
    }
}

static void no_number(const char *string) {
    double value = 7;
    assert_false(nacre_text_to_double(string, &value));
    assert_true(value == 7);
}

static void what_is_not_a_number_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"",    " 1", "1 ",   "abc",   "-",      "+",
                                      ".",   "1e", "1,5",  "1e999", "-1e999", "1.5x",
                                      "\t1", "e5", "infx", "--1",   "0x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) no_number(bad[i]);
    double value;
    assert_true(nacre_text_to_double("-1.5e3", &value) && value == -1500);
    assert_true(nacre_text_to_double("+.5", &value) && value == 0.5);
    assert_true(nacre_text_to_double("inf", &value) && isinf(value));
    assert_true(nacre_text_to_double("-NaN", &value) && isnan(value));
    assert_true(nacre_text_to_double("1e-999", &value) && value == 0);
}

/* A locale with a decimal comma, if this system has one. */
static bool set_comma_locale(void) {
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "nl_NL.UTF-8",
                                        "de_DE"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (setlocale(LC_ALL, names[i])) return true;
    }
    return false;
}

static void a_german_locale_does_not_break_files(void **state) {
    (void)state;
    if (!set_comma_locale()) {
        print_message("skipped: this system has no locale with a decimal comma\n");
        skip();
    }
    char probe[16];
    snprintf(probe, sizeof probe, "%.1f", 1.5);
    assert_string_equal(probe, "1,5");
    number(1.5, "1.5");
    nacre_text text = {0};
    nacre_text_append(&text, "%.2f", 2.25);
    assert_string_equal(text.bytes, "2.25");
    nacre_text_free(&text);
    double value;
    assert_true(nacre_text_to_double("1.5", &value) && value == 1.5);
    no_number("1,5");
    snprintf(probe, sizeof probe, "%.1f", 1.5);
    assert_string_equal(probe, "1,5"); /* the program's own locale is as it was */
    setlocale(LC_ALL, "C");
}

static void a_failed_append_is_remembered(void **state) {
    (void)state;
    nacre_memory_stats before = nacre_memory();
    nacre_text text = {0};
    nacre_memory_fail_at(1);
    nacre_text_append(&text, "lost");
    nacre_memory_fail_at(0);
    assert_true(text.failed);
    assert_null(text.bytes);
    nacre_text_append_bytes(&text, "more", 4);
    nacre_text_append_json(&text, "more");
    nacre_text_append_number(&text, 1);
    assert_int_equal(text.length, 0);
    nacre_text_free(&text);
    assert_false(text.failed);

    nacre_text_append(&text, "kept");
    nacre_memory_fail_at(1);
    nacre_text_append(&text, "%200s", "x");
    nacre_memory_fail_at(0);
    assert_true(text.failed);
    assert_string_equal(text.bytes, "kept");
    nacre_text_free(&text);
    assert_int_equal(nacre_memory().live_bytes, before.live_bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appended_pieces_stay_in_order),
        cmocka_unit_test(a_piece_longer_than_the_room_is_whole),
        cmocka_unit_test(nothing_appended_is_an_empty_string),
        cmocka_unit_test(any_string_is_valid_json),
        cmocka_unit_test(utf8_is_checked_as_rfc_3629_asks),
        cmocka_unit_test(numbers_are_short_and_read_back_exactly),
        cmocka_unit_test(what_is_not_a_number_is_refused),
        cmocka_unit_test(a_german_locale_does_not_break_files),
        cmocka_unit_test(a_failed_append_is_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
