/* What the library knows of each dtype: one row of a table, so that no switch lists them. */
#ifndef NACRE_TENSOR_DTYPE_H
#define NACRE_TENSOR_DTYPE_H

#include <nacre/tensor.h>

typedef struct nacre_dtype_info {
    const char *name;
    size_t size;
    nacre_dtype_class kind;
    /* One element as a double or int64, and back: rounded to nearest, integers truncated and clamped to the
       dtype's range (NaN is 0), bool is != 0. */
    double (*load)(const void *element);
    void (*store)(void *element, double value);
    int64_t (*load_int)(const void *element);
    void (*store_int)(void *element, int64_t value);
} nacre_dtype_info;

/* Row of a dtype; of an unknown one NULL. */
const nacre_dtype_info *nacre_dtype_get(nacre_dtype dtype);

static inline bool nacre_dtype_is_float(nacre_dtype dtype) {
    const nacre_dtype_info *info = nacre_dtype_get(dtype);
    return info && info->kind == NACRE_CLASS_FLOAT;
}

#endif
