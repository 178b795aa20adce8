/* What most tests need: cmocka, a folder of their own, files, the data sets, the program. */
#ifndef NACRE_TESTS_SUPPORT_H
#define NACRE_TESTS_SUPPORT_H

/* cmocka.h needs these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>

/* A new empty folder, removed with all it holds when the test program ends. Free nothing. */
const char *support_folder(void);

/* folder + "/" + name, in one of 16 rotating buffers of 4096 bytes. */
const char *support_path(const char *folder, const char *name);

/* Writes a file; fails the test when it cannot. */
void support_write(const char *path, const void *bytes, size_t size);

/* Reads a whole file, with a 0 byte after it; fails the test when it cannot. Release with free().
   size may be NULL. */
char *support_read(const char *path, size_t *size);

bool support_exists(const char *path);

/* The folder of a data set, such as "mnist"; without it the running test is skipped with a message. */
const char *support_data(const char *name);

/* What a run of a program gave. Texts end with a 0 byte and belong to the caller: support_run_free. */
typedef struct support_result {
    int status;      /* exit code, or 128 + the signal that ended it */
    char *out, *err; /* stdout and stderr */
} support_result;

/* Runs a program and waits. arguments ends with NULL; arguments[0] is the program's path. */
support_result support_run(const char *const arguments[]);

/* The same for the program nacre: arguments are those after its name. */
support_result support_nacre(const char *const arguments[]);
void support_run_free(support_result *result);

/* Path of the program nacre of this build, for tests that need the process itself (signals). */
const char *support_program(void);

#endif
