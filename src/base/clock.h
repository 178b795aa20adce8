/* Monotonic time. */
#ifndef NACRE_BASE_CLOCK_H
#define NACRE_BASE_CLOCK_H

#include <stdint.h>

uint64_t nacre_clock_ns(void);

#endif
