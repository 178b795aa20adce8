/* How much memory this process has used. */
#ifndef NACRE_CLI_MEMORY_USE_H
#define NACRE_CLI_MEMORY_USE_H

/* The largest resident set so far, in bytes; NaN where the system does not tell. */
double nacre_cli_peak_memory(void);

/* What is freed from here on stays with the process, where the C library can be told so: large results that every run
   makes anew are not paid for in page faults each time. */
void nacre_cli_keep_memory(void);

#endif
