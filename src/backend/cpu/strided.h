/* An array seen as a sequence of elements in row-major order, whatever its strides. */
#ifndef NACRE_BACKEND_CPU_STRIDED_H
#define NACRE_BACKEND_CPU_STRIDED_H

#include "record/op.h"

/* Axes of extent 1 are gone, neighbours that step as one are merged. */
typedef struct nacre_strided {
    const unsigned char *data;
    size_t size; /* bytes of one element */
    int ndim;
    int64_t dims[NACRE_MAX_DIMS], strides[NACRE_MAX_DIMS]; /* in elements */
} nacre_strided;

nacre_strided nacre_strided_of(const nacre_array *array);
/* The same from parts: ndim axes with their strides. */
nacre_strided nacre_strided_make(const void *data, size_t size, int ndim, const int64_t *dims,
                                 const int64_t *strides);

static inline bool nacre_strided_is_scalar(const nacre_strided *s) {
    return s->ndim == 0 || (s->ndim == 1 && s->strides[0] == 0);
}
static inline bool nacre_strided_is_contiguous(const nacre_strided *s) {
    return s->ndim == 0 || (s->ndim == 1 && s->strides[0] == 1);
}

/* Offset (in elements) of element `index` of the sequence. */
int64_t nacre_strided_offset(const nacre_strided *s, int64_t index);

/* Elements [first, first + count), one after another, to out. */
void nacre_strided_gather(const nacre_strided *s, int64_t first, int64_t count, void *out);

#endif
