/* Whether nacre_cancel asked evaluations to stop. */
#ifndef NACRE_BASE_CANCEL_H
#define NACRE_BASE_CANCEL_H

#include <stdbool.h>

bool nacre_cancelled(void);

#endif
