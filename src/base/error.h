/* Setting the thread's last error. */
#ifndef NACRE_BASE_ERROR_H
#define NACRE_BASE_ERROR_H

#include <nacre/status.h>
#include <stddef.h>

/* Sets the thread's last error to the formatted line and returns `status`. Aborts under NACRE_ABORT. */
nacre_status nacre_fail(nacre_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The same, naming the caller: appends " (file:line)" with the file's base name. file may be NULL; of line 0 it is what
   stands for a place, such as a layer's kind: " (Embedding)". */
nacre_status nacre_fail_at(nacre_status status, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Where a message's " (file:line)" begins; its length where it has none. */
size_t nacre_error_place(const char *text);

#endif
