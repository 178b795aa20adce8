/* A small JSON reader (RFC 8259) for safetensors headers and configurations. Strict: no
   comments, no trailing commas, depth at most 64, duplicate keys refused, numbers checked, UTF-8
   checked. */
#ifndef NACRE_IO_JSON_H
#define NACRE_IO_JSON_H

#include <nacre/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum nacre_json_kind {
    NACRE_JSON_NULL = 0,
    NACRE_JSON_BOOL,
    NACRE_JSON_NUMBER,
    NACRE_JSON_STRING,
    NACRE_JSON_ARRAY,
    NACRE_JSON_OBJECT,
} nacre_json_kind;

/* One node of a parsed text: children are linked in order. No recursion over depth anywhere. */
typedef struct nacre_json {
    nacre_json_kind kind;
    const char *key;    /* in an object, unescaped; else NULL */
    const char *string; /* strings: unescaped, NUL-terminated (an embedded NUL is refused) */
    double number;
    bool boolean;
    bool is_integer; /* number was written without fraction or exponent and fits int64 */
    int64_t integer;
    size_t count; /* children */
    struct nacre_json *first, *next;
    size_t offset; /* byte offset in the text, for messages */
} nacre_json;

typedef struct nacre_json_document nacre_json_document; /* owns all nodes and strings */

/* `what` names the text in messages (a path). NULL on error, the last error then says what and
   where (line and column). */
nacre_json_document *nacre_json_parse(const char *text, size_t length, const char *what);
const nacre_json *nacre_json_root(const nacre_json_document *document);
void nacre_json_free(nacre_json_document *document);
const nacre_json *nacre_json_member(const nacre_json *object, const char *key); /* NULL: absent */

#endif
