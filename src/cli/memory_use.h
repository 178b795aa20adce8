/* How much memory this process has used. */
#ifndef NACRE_CLI_MEMORY_USE_H
#define NACRE_CLI_MEMORY_USE_H

/* The largest resident set so far, in bytes; NaN where the system does not tell. */
double nacre_cli_peak_memory(void);

#endif
