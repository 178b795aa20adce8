/* A growing string. A failed append is remembered and makes later ones do nothing. Numbers are
   written and read with a decimal point whatever the program's locale is. */
#ifndef NACRE_IO_TEXT_H
#define NACRE_IO_TEXT_H

#include <nacre/status.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct nacre_text {
    char *bytes; /* always NUL-terminated once anything was appended; else NULL */
    size_t length, capacity;
    bool failed;
} nacre_text;

void nacre_text_append(nacre_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void nacre_text_append_bytes(nacre_text *text, const char *bytes, size_t length);
/* A JSON string with its quotes, escaped as RFC 8259 asks; invalid UTF-8 becomes U+FFFD. */
void nacre_text_append_json(nacre_text *text, const char *string);
/* A JSON number that reads back to the same double (shortest of %.15g, %.16g, %.17g); NaN and Inf,
   which JSON lacks, become null. */
void nacre_text_append_number(nacre_text *text, double number);
void nacre_text_free(nacre_text *text);

/* The whole of `string` as a double, by the rules of strtod in the C locale (so "nan", "inf" and
   hexadecimal are numbers too); false when it is none, has something before or after, or
   overflows. */
bool nacre_text_to_double(const char *string, double *out);

/* Bytes of the UTF-8 character that begins at bytes[0], of which `left` remain; 0 when it is not
   valid UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF) or left is 0. */
size_t nacre_utf8_length(const char *bytes, size_t left);

#endif
