/* Log lines go to the sink the program set, else to stderr. */
#ifndef NACRE_BASE_LOG_H
#define NACRE_BASE_LOG_H

void nacre_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
