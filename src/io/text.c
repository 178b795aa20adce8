#define _POSIX_C_SOURCE 200809L

#include "io/text.h"

#include "base/memory.h"

#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __APPLE__
#include <xlocale.h>
#endif

/* ---- numbers in the C locale ---- */

static locale_t c_locale;
static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;

static void make_c_locale(void) { c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0); }

/* setlocale is process-wide and the program's business; uselocale is this thread's alone. */
static locale_t enter_c_locale(void) {
    pthread_once(&c_locale_once, make_c_locale);
    return c_locale ? uselocale(c_locale) : (locale_t)0;
}

static void leave_c_locale(locale_t before) {
    if (before) uselocale(before);
}

bool nacre_text_to_double(const char *string, double *out) {
    const char *first = string;
    if (*first == '+' || *first == '-') first++;
    /* strtod skips white space; a number does not begin with it. */
    bool begins = (*first >= '0' && *first <= '9') || *first == '.' ||
                  strchr("iInN", *first ? *first : '?') != NULL;
    if (!begins) return false;
    locale_t before = enter_c_locale();
    char *end;
    double number = strtod(string, &end);
    leave_c_locale(before);
    bool named = strchr("iInN", *first) != NULL;
    if (end == string || *end != '\0' || (!isfinite(number) && !named)) return false;
    *out = number;
    return true;
}

/* ---- growing ---- */

/* Room for `more` bytes and the NUL after them. */
static bool reserve(nacre_text *text, size_t more) {
    if (text->failed) return false;
    size_t needed = 0;
    if (!nacre_size_add(text->length, more, &needed) || !nacre_size_add(needed, 1, &needed)) {
        text->failed = true;
        return false;
    }
    if (needed <= text->capacity) return true;
    size_t capacity = text->capacity < SIZE_MAX / 2 ? 2 * text->capacity : needed;
    if (capacity < needed) capacity = needed;
    if (capacity < 64) capacity = 64;
    char *bytes = nacre_realloc(text->bytes, capacity);
    if (!bytes) {
        text->failed = true;
        return false;
    }
    text->bytes = bytes;
    text->capacity = capacity;
    return true;
}

void nacre_text_append_bytes(nacre_text *text, const char *bytes, size_t length) {
    if (!reserve(text, length)) return;
    if (length) memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
    text->bytes[text->length] = '\0';
}

/* Writes into the room there is and returns the length the text has in full; < 0: cannot be
   written. */
static int format_into_room(nacre_text *text, const char *format, va_list arguments) {
    locale_t before = enter_c_locale();
    int written =
        vsnprintf(text->bytes + text->length, text->capacity - text->length, format, arguments);
    leave_c_locale(before);
    return written;
}

void nacre_text_append(nacre_text *text, const char *format, ...) {
    if (!reserve(text, 0)) return;
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int written = format_into_room(text, format, arguments);
    if (written >= 0 && (size_t)written >= text->capacity - text->length) {
        if (reserve(text, (size_t)written)) written = format_into_room(text, format, again);
    }
    va_end(again);
    va_end(arguments);
    if (written < 0) text->failed = true;
    /* A format that failed half-way leaves the text as it was. */
    if (text->failed) {
        if (text->bytes) text->bytes[text->length] = '\0';
    } else {
        text->length += (size_t)written;
    }
}

void nacre_text_free(nacre_text *text) {
    nacre_free(text->bytes);
    *text = (nacre_text){0};
}

/* ---- JSON ---- */

size_t nacre_utf8_length(const char *bytes, size_t left) {
    const unsigned char *b = (const unsigned char *)bytes;
    if (left == 0) return 0;
    if (b[0] < 0x80) return 1;
    /* The second byte's range is what excludes overlong forms and surrogates (RFC 3629, section
       4). */
    unsigned low = 0x80, high = 0xBF;
    size_t length;
    if (b[0] >= 0xC2 && b[0] <= 0xDF) {
        length = 2;
    } else if (b[0] >= 0xE0 && b[0] <= 0xEF) {
        length = 3;
        if (b[0] == 0xE0) low = 0xA0;
        if (b[0] == 0xED) high = 0x9F;
    } else if (b[0] >= 0xF0 && b[0] <= 0xF4) {
        length = 4;
        if (b[0] == 0xF0) low = 0x90;
        if (b[0] == 0xF4) high = 0x8F;
    } else {
        return 0;
    }
    if (left < length || b[1] < low || b[1] > high) return 0;
    for (size_t i = 2; i < length; i++) {
        if ((b[i] & 0xC0) != 0x80) return 0;
    }
    return length;
}

static void append_control(nacre_text *text, unsigned char byte) {
    static const char short_forms[] = "\bb\ff\nn\rr\tt";
    for (size_t i = 0; short_forms[i]; i += 2) {
        if ((unsigned char)short_forms[i] == byte) {
            char escape[2] = {'\\', short_forms[i + 1]};
            nacre_text_append_bytes(text, escape, sizeof escape);
            return;
        }
    }
    nacre_text_append(text, "\\u%04x", (unsigned)byte);
}

void nacre_text_append_json(nacre_text *text, const char *string) {
    size_t left = strlen(string);
    nacre_text_append_bytes(text, "\"", 1);
    while (left > 0) {
        unsigned char byte = (unsigned char)*string;
        size_t length = nacre_utf8_length(string, left);
        if (length == 0) {
            nacre_text_append_bytes(text, "\xEF\xBF\xBD", 3); /* U+FFFD */
            length = 1;
        } else if (byte < 0x20) {
            append_control(text, byte);
        } else {
            if (byte == '"' || byte == '\\') nacre_text_append_bytes(text, "\\", 1);
            nacre_text_append_bytes(text, string, length);
        }
        string += length;
        left -= length;
    }
    nacre_text_append_bytes(text, "\"", 1);
}

void nacre_text_append_number(nacre_text *text, double number) {
    if (!isfinite(number)) {
        nacre_text_append_bytes(text, "null", 4);
        return;
    }
    char digits[40];
    locale_t before = enter_c_locale();
    /* 17 significant digits always read back exactly, 15 are enough for what was written with
       15. */
    int length = 0;
    for (int precision = 15; precision <= 17; precision++) {
        length = snprintf(digits, sizeof digits, "%.*g", precision, number);
        if (strtod(digits, NULL) == number) break;
    }
    leave_c_locale(before);
    nacre_text_append_bytes(text, digits, (size_t)length);
}
