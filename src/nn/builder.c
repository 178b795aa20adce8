#include "nn/builder.h"

#include "base/memory.h"

#include <stdarg.h>
#include <stdio.h>

static bool reserve(nacre_builder *text, size_t more) {
    if (text->used + more < text->room) {
        return true;
    }
    size_t room = 2 * (text->used + more) + 256;
    char *grown = nacre_realloc(text->bytes, room);
    if (!grown) {
        nacre_free(text->bytes);
        *text = (nacre_builder){.failed = true};
        return false;
    }
    text->bytes = grown;
    text->room = room;
    return true;
}

void nacre_builder_add(nacre_builder *text, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    if (!text->failed && length >= 0 && reserve(text, (size_t)length + 1)) {
        vsnprintf(text->bytes + text->used, (size_t)length + 1, format, again);
        text->used += (size_t)length;
    }
    va_end(again);
    va_end(arguments);
}

void nacre_builder_add_quoted(nacre_builder *text, const char *string) {
    nacre_builder_add(text, "\"");
    for (; *string; string++) {
        unsigned char c = (unsigned char)*string;
        if (c == '"' || c == '\\') {
            nacre_builder_add(text, "\\%c", c);
        } else if (c < 0x20) {
            nacre_builder_add(text, "\\u%04x", c);
        } else {
            nacre_builder_add(text, "%c", c);
        }
    }
    nacre_builder_add(text, "\"");
}
