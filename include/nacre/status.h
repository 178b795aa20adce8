/* Status codes, the thread's last error, and what happens when one is set. */
#ifndef NACRE_STATUS_H
#define NACRE_STATUS_H

#include <nacre/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One line per status: X(name, value, text). Values are part of the ABI and never renumbered. */
#define NACRE_STATUS_TABLE(X)                                                                      \
    X(NACRE_OK, 0, "no error")                                                                     \
    X(NACRE_INVALID_ARGUMENT, 1, "invalid argument")                                               \
    X(NACRE_SHAPE_MISMATCH, 2, "shapes do not match")                                              \
    X(NACRE_DTYPE_MISMATCH, 3, "dtypes do not match")                                              \
    X(NACRE_DEVICE_MISMATCH, 4, "devices do not match")                                            \
    X(NACRE_OUT_OF_RANGE, 5, "index out of range")                                                 \
    X(NACRE_OUT_OF_MEMORY, 6, "out of memory")                                                     \
    X(NACRE_STALE, 7, "value was overwritten before it was computed")                              \
    X(NACRE_CANCELLED, 8, "cancelled")                                                             \
    X(NACRE_NOT_FOUND, 9, "not found")                                                             \
    X(NACRE_IO_ERROR, 10, "input/output error")                                                    \
    X(NACRE_BAD_FILE, 11, "malformed file")                                                        \
    X(NACRE_UNSUPPORTED, 12, "not supported")                                                      \
    X(NACRE_NOT_DIFFERENTIABLE, 13, "not differentiable")                                          \
    X(NACRE_NUMERICAL, 14, "not a finite number")                                                  \
    X(NACRE_INVALID_STATE, 15, "not valid in this state")                                          \
    X(NACRE_INTERNAL, 16, "internal error, please report it")

typedef enum nacre_status {
#define NACRE_STATUS_ENUM(name, value, text) name = (value),
    NACRE_STATUS_TABLE(NACRE_STATUS_ENUM)
#undef NACRE_STATUS_ENUM
} nacre_status;

/* Static text of a status; "unknown status" for a value outside the table. Never NULL. */
NACRE_API const char *nacre_status_string(nacre_status status);

/* Code of the calling thread's last error, NACRE_OK when none was set since nacre_error_clear. */
NACRE_API nacre_status nacre_error_code(void);

/* Message of the calling thread's last error: one line naming the op, the argument, the shapes and
   the caller's file and line. "" when there is none. Valid until the thread's next error. */
NACRE_API const char *nacre_error_message(void);

/* Forgets the calling thread's last error. */
NACRE_API void nacre_error_clear(void);

/* What the library does when an error is set, process-wide. */
typedef enum nacre_error_policy {
    NACRE_RETURN = 0, /* return an error tensor or a status (the default) */
    NACRE_ABORT = 1,  /* print the message on stderr and abort: for scripts and examples */
} nacre_error_policy;

NACRE_API void nacre_on_error(nacre_error_policy policy);

#ifdef __cplusplus
}
#endif
#endif
