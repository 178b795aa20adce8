/* Shared by the optimisers' update ops. */
#ifndef NACRE_OPS_UPDATE_H
#define NACRE_OPS_UPDATE_H

#include "ops/common.h"

/* Fails unless input i has input 0's (the parameter's) dtype and shape. */
nacre_status nacre_need_like_parameter(const nacre_inference *inference, int i, const char *name);
/* Fails unless input i, where present, is a bool scalar. */
nacre_status nacre_need_ok(const nacre_inference *inference, int i);

/* Fails unless the float attribute is a finite number of at least 0. */
nacre_status nacre_need_finite(const nacre_inference *inference, int attr);
/* Fails unless the float attribute is in [0, 1). */
nacre_status nacre_need_share(const nacre_inference *inference, int attr);

/* x times a scalar. */
nacre_tensor *nacre_scaled(nacre_tensor *x, double factor, const char *file, int line);
/* ok ? fresh : old; fresh where ok is NULL. */
nacre_tensor *nacre_if_ok(nacre_tensor *ok, nacre_tensor *fresh, nacre_tensor *old,
                          const char *file, int line);

/* What output k of an update is assigned to. tensor NULL: nothing. */
typedef struct nacre_update_target {
    nacre_tensor *tensor;
    const char *name;
} nacre_update_target;

/* Records an update without history and assigns its outputs. One tensor can take one of them: else
   NACRE_INVALID_ARGUMENT, and nothing is assigned. */
nacre_status nacre_record_update(const nacre_recording *recording,
                                 const nacre_update_target *targets, int count);

#endif
