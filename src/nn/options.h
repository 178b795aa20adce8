/* Options structs of callers that were compiled against an older or newer header. */
#ifndef NACRE_NN_OPTIONS_H
#define NACRE_NN_OPTIONS_H

#include "base/error.h"

#include <stddef.h>
#include <string.h>

/* Copies what both sides know of a struct whose first member is its size; the rest is zero. */
static inline nacre_status nacre_options_take(void *out, size_t known, const void *options,
                                              const char *what) {
    size_t given = 0;
    if (options) {
        memcpy(&given, options, sizeof given);
    }
    if (given < sizeof given) {
        return nacre_fail(NACRE_INVALID_ARGUMENT, "%s: %s", what,
                          options ? "options.size is not set: use the macro, or set it to "
                                    "sizeof the struct"
                                  : "the options are NULL");
    }
    memset(out, 0, known);
    memcpy(out, options, given < known ? given : known);
    return NACRE_OK;
}

#endif
