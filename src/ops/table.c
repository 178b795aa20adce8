/* The table of all ops. */
#include "ops/ops.h"

const nacre_op *const nacre_op_table[] = {
#define NACRE_OP(name) &nacre_op_##name,
#include "ops/ops.def"
#undef NACRE_OP
};

const size_t nacre_op_count = sizeof nacre_op_table / sizeof nacre_op_table[0];
