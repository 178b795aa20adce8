/* Setting the thread's last error. */
#ifndef NACRE_BASE_ERROR_H
#define NACRE_BASE_ERROR_H

#include <nacre/status.h>

/* Sets the thread's last error to the formatted line and returns `status`. Aborts under NACRE_ABORT. */
nacre_status nacre_fail(nacre_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The same, naming the caller: appends " (file:line)" with the file's base name. file may be NULL. */
nacre_status nacre_fail_at(nacre_status status, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
