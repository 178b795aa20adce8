/* Shared by the reductions: axes, shapes, and walking the elements that one output is made of. */
#ifndef NACRE_OPS_REDUCE_H
#define NACRE_OPS_REDUCE_H

#include "ops/common.h"
#include "ops/reference.h"

/* in[0]'s shape without the axes of the bit set, or with extent 1 there. */
nacre_shape nacre_reduced_shape(const nacre_shape *in, int64_t axes, bool keepdims);

/* Options to bit set, naming a bad or repeated axis. false: the last error is set. */
bool nacre_reduce_axes(const nacre_op *op, const nacre_reduce_options *options, int64_t *axes,
                       const char *file, int line);

/* The two walks of a reduction: over the outputs (array 0: output, array 1: input), and from there over
   the reduced axes (array 0: input). */
typedef struct nacre_reduction {
    nacre_shape inner_shape;
    int64_t inner_strides[NACRE_MAX_DIMS];
    int64_t count; /* elements of the input per output */
} nacre_reduction;
/* false: there are no outputs. */
bool nacre_reduction_begin(nacre_reduction *reduction, nacre_walk *outer, const nacre_call *call,
                           int64_t axes);

#endif
