#include "base/error.h"

#include <assert.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGE_BYTES = 1024, PLACE_BYTES = 128 };

static _Thread_local nacre_status last_code;
static _Thread_local char last_message[MESSAGE_BYTES];
static atomic_int policy = NACRE_RETURN;

nacre_status nacre_error_code(void) { return last_code; }

const char *nacre_error_message(void) { return last_message; }

void nacre_error_clear(void) {
    last_code = NACRE_OK;
    last_message[0] = '\0';
}

void nacre_on_error(nacre_error_policy wanted) {
    atomic_store(&policy, wanted == NACRE_ABORT ? NACRE_ABORT : NACRE_RETURN);
}

/* A message is one line whatever a file name or a tensor's name in it holds. */
static void make_one_line(char *text) {
    for (; *text; text++) {
        if ((unsigned char)*text < ' ' || *text == 127) *text = '?';
    }
}

static void format_place(char *place, const char *file, int line) {
    place[0] = '\0';
    if (!file) return;
    const char *slash = strrchr(file, '/'), *backslash = strrchr(file, '\\');
    const char *name = slash > backslash ? slash : backslash;
    const char *shown = name ? name + 1 : file;
    int length = line ? snprintf(place, PLACE_BYTES, " (%s:%d)", shown, line)
                      : snprintf(place, PLACE_BYTES, " (%s)", shown);
    if (length < 0 || length >= PLACE_BYTES) place[0] = '\0';
}

static nacre_status set_error(nacre_status status, const char *file, int line, const char *format,
                              va_list arguments) {
    assert(status != NACRE_OK);
    /* Formatted apart from last_message: an argument may point into it. */
    char message[MESSAGE_BYTES], place[PLACE_BYTES];
    format_place(place, file, line);
    size_t place_length = strlen(place), room = MESSAGE_BYTES - place_length;
    int length = vsnprintf(message, room, format, arguments);
    if (length < 0) snprintf(message, room, "%s", nacre_status_string(status));
    if (length >= 0 && (size_t)length >= room) memcpy(message + room - 4, "...", 4);
    memcpy(message + strlen(message), place, place_length + 1);
    make_one_line(message);
    memcpy(last_message, message, strlen(message) + 1);
    last_code = status;
    if (atomic_load_explicit(&policy, memory_order_relaxed) == NACRE_ABORT) {
        fprintf(stderr, "nacre: %s\n", last_message);
        abort();
    }
    return status;
}

size_t nacre_error_place(const char *text) {
    size_t length = strlen(text), at = length;
    if (at < 2 || text[--at] != ')') return length;
    while (at > 0 && text[at - 1] >= '0' && text[at - 1] <= '9') at--;
    bool has_line = at + 1 < length && at > 0 && text[at - 1] == ':';
    while (has_line && at > 1 && !(text[at] == '(' && text[at - 1] == ' ')) at--;
    return has_line && at > 1 ? at - 1 : length;
}

nacre_status nacre_fail(nacre_status status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    set_error(status, NULL, 0, format, arguments);
    va_end(arguments);
    return status;
}

nacre_status nacre_fail_at(nacre_status status, const char *file, int line, const char *format,
                           ...) {
    va_list arguments;
    va_start(arguments, format);
    set_error(status, file, line, format, arguments);
    va_end(arguments);
    return status;
}
