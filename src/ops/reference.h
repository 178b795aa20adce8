/* Reference kernels: the ops' own definitions, in double (integers in int64), any strides. */
#ifndef NACRE_OPS_REFERENCE_H
#define NACRE_OPS_REFERENCE_H

#include "record/op.h"

/* Runs a primitive: op->reference, or the loop over op->element and op->element_int. */
void nacre_reference_run(const nacre_op *op, const nacre_call *call);

/* Address of an element. */
static inline void *nacre_array_at(const nacre_array *array, int64_t offset) {
    int64_t bytes = offset * (int64_t)nacre_dtype_get(array->dtype)->size;
    return (unsigned char *)array->data + bytes;
}

/* A walk over all positions of a shape but the last axis, keeping each array's offset (in elements):

       nacre_walk walk;
       if (nacre_walk_begin(&walk, &shape)) {
           nacre_walk_add(&walk, &a);
           do { for (i = 0; i < walk.inner; i++) ... walk.offset[0] + i * walk.step[0] }
           while (nacre_walk_next(&walk));
       }

   Neighbouring axes are not merged: it is the definition, not the fast way. */
#define NACRE_WALK_ARRAYS (NACRE_MAX_INPUTS + NACRE_MAX_OUTPUTS)
typedef struct nacre_walk {
    nacre_shape shape;
    int64_t index[NACRE_MAX_DIMS];
    int arrays;
    int64_t inner; /* extent of the last axis, 1 for a scalar */
    int64_t offset[NACRE_WALK_ARRAYS], step[NACRE_WALK_ARRAYS];
    int64_t strides[NACRE_WALK_ARRAYS][NACRE_MAX_DIMS];
} nacre_walk;

/* false when the shape has no elements. */
bool nacre_walk_begin(nacre_walk *walk, const nacre_shape *shape);
/* An array that is broadcast to the walk's shape. */
void nacre_walk_add(nacre_walk *walk, const nacre_array *array);
/* The same with the strides of every axis of the walk given. */
void nacre_walk_add_strides(nacre_walk *walk, const int64_t *strides);
bool nacre_walk_next(nacre_walk *walk);

/* Copies one element between arrays of one dtype. */
void nacre_array_copy(const nacre_array *out, int64_t to, const nacre_array *in, int64_t from);
void nacre_array_zero(const nacre_array *out);

/* Offset (in elements) of the element with row-major number `index`. */
int64_t nacre_array_offset(const nacre_array *array, int64_t index);

#endif
