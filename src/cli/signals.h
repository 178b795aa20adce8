/* SIGINT and SIGTERM: a training run ends after its step; everything else ends at once. */
#ifndef NACRE_CLI_SIGNALS_H
#define NACRE_CLI_SIGNALS_H

#include <stdbool.h>

/* From here on SIGINT and SIGTERM exit with 130 and 143. A closed pipe and a file size limit become
   errors of the write that met them. */
void nacre_cli_signals_begin(void);

/* A whole line, which lives as long as the program, that a signal that exits at once says on stderr first. */
void nacre_cli_signals_say(const char *line);

/* From here on the first signal is only remembered and the second exits. While `cancel` is set it also
   stops the library's work before its next effect (nacre_cancel). */
void nacre_cli_signals_hold(void);
void nacre_cli_signals_cancel(bool cancel);

/* The signal that came, or 0. */
int nacre_cli_signal(void);

#endif
