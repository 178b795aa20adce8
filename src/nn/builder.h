/* A text that grows. */
#ifndef NACRE_NN_BUILDER_H
#define NACRE_NN_BUILDER_H

#include <stdbool.h>
#include <stddef.h>

typedef struct nacre_builder {
    char *bytes; /* ends with 0; NULL while empty */
    size_t used, room;
    bool failed; /* memory was short: bytes are freed */
} nacre_builder;

void nacre_builder_add(nacre_builder *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A JSON string with its quotes. */
void nacre_builder_add_quoted(nacre_builder *text, const char *string);

#endif
