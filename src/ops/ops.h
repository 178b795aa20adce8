/* Every op by name, and the table of all. */
#ifndef NACRE_OPS_OPS_H
#define NACRE_OPS_OPS_H

#include "record/op.h"

#define NACRE_OP(name) extern const nacre_op nacre_op_##name;
#include "ops/ops.def"
#undef NACRE_OP

/* All ops, in the order of ops.def. */
extern const nacre_op *const nacre_op_table[];
extern const size_t nacre_op_count;

#endif
