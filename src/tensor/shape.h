/* Shape arithmetic: sizes checked for overflow, broadcasting, strides (in elements), axes, text. */
#ifndef NACRE_TENSOR_SHAPE_H
#define NACRE_TENSOR_SHAPE_H

#include <nacre/tensor.h>

#define NACRE_LANES 16 /* samples beside each other in a laned array: see record/op.h */

/* Extents >= 0, ndim in range, and the number of elements times 8 bytes fits int64. */
bool nacre_shape_valid(const nacre_shape *shape);
int64_t nacre_shape_numel(const nacre_shape *shape);
static inline bool nacre_shape_equal(const nacre_shape *a, const nacre_shape *b) {
    bool equal = a->ndim == b->ndim;
    for (int i = 0; equal && i < a->ndim; i++) {
        equal = a->dims[i] == b->dims[i];
    }
    return equal;
}
/* NumPy's rule; false when they do not match. */
bool nacre_shape_broadcast(const nacre_shape *a, const nacre_shape *b, nacre_shape *out);
/* Row-major strides in elements. */
void nacre_shape_strides(const nacre_shape *shape, int64_t strides[NACRE_MAX_DIMS]);
bool nacre_strides_contiguous(const nacre_shape *shape, const int64_t strides[NACRE_MAX_DIMS]);
/* Axis in [0, ndim) from one in [-ndim, ndim); -1 when out of range. */
int nacre_axis_normal(int axis, int ndim);

#define NACRE_SHAPE_TEXT 192
/* "[64,784]"; writes at most NACRE_SHAPE_TEXT bytes, returns text. */
const char *nacre_shape_text(const nacre_shape *shape, char text[NACRE_SHAPE_TEXT]);

#endif
