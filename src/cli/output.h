/* What the program says: results on stdout, everything else on stderr. */
#ifndef NACRE_CLI_OUTPUT_H
#define NACRE_CLI_OUTPUT_H

#include "io/text.h"

/* Exit codes; after a signal 128 + its number. NACRE_CLI_UNREAD is that of SIGPIPE: whoever read the results has gone. */
enum { NACRE_CLI_DONE = 0, NACRE_CLI_FAILED = 1, NACRE_CLI_USAGE = 2, NACRE_CLI_UNREAD = 141 };

/* The command that runs, as messages name it: "train" gives "nacre train: ...". NULL: "nacre: ...". */
void nacre_cli_set_command(const char *command);

/* One line on stderr, whatever the arguments hold: control characters become spaces.
   Returns NACRE_CLI_FAILED. */
int nacre_cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same with a second line that points to the help of the command. Returns NACRE_CLI_USAGE. */
int nacre_cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A name for a message: "" in quotes, so that it is seen. */
const char *nacre_cli_shown(const char *name);

/* "s" unless the number is 1. */
const char *nacre_cli_plural(size_t count);

/* The library's last error as the one line. Returns NACRE_CLI_FAILED. */
int nacre_cli_library_error(void);

/* Writes the text to stdout, frees it and returns the exit code: a text that ran out of memory and a
   full disk are failures; a reader that has enough is nothing to tell about. */
int nacre_cli_print(nacre_text *text);

/* ",\"key\":number" with at most six digits: of what was measured. */
void nacre_cli_append_figure(nacre_text *text, const char *key, double number);

/* Whether a trace can be written to `path`, told before any work. false after saying why not. */
bool nacre_cli_check_trace(const char *path);

/* Makes sure that descriptors 0 to 2 are taken, so that no file of a run lands on one of them and
   gets what is meant for the terminal. */
void nacre_cli_guard_descriptors(void);

#endif
