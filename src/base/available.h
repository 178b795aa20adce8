/* How much memory this process may still take. */
#ifndef NACRE_BASE_AVAILABLE_H
#define NACRE_BASE_AVAILABLE_H

#include <stddef.h>

/* Bytes that can be written to before the kernel must swap or end a process: the smaller of what the machine has left
   and what control groups leave. Where the system tells no more, the machine's whole memory; SIZE_MAX where it tells
   nothing. */
size_t nacre_available_memory(void);

/* The same from a file as /proc/meminfo; SIZE_MAX if it does not say. */
size_t nacre_meminfo_available(const char *path);

#endif
