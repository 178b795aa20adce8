/* Shared by the binary element-wise ops. */
#ifndef NACRE_OPS_BINARY_H
#define NACRE_OPS_BINARY_H

#include "ops/common.h"

/* Shape of the output from those of inputs 0 and 1; leaves the dtype to the caller. */
nacre_status nacre_infer_broadcast(nacre_inference *inference);

/* din[i] = gradient, summed over the axes along which input i was broadcast. */
void nacre_give_input(nacre_gradient *g, int i, nacre_tensor *gradient);

#endif
