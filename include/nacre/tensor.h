/* Tensors: handles to n-dimensional values that may not be computed yet.

   Every tensor made is owned by the innermost open scope of the thread and freed with it; no call
   returns NULL for a failure: a failed op returns an error tensor that later ops pass through. */
#ifndef NACRE_TENSOR_H
#define NACRE_TENSOR_H

#include <nacre/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NACRE_MAX_DIMS 8

/* Element types: X(enumerator, short name, C type, class). bool is one byte, 0 or 1. */
#define NACRE_DTYPE_TABLE(X)                                                                       \
    X(NACRE_F32, "f32", float, NACRE_CLASS_FLOAT)                                                  \
    X(NACRE_F64, "f64", double, NACRE_CLASS_FLOAT)                                                 \
    X(NACRE_I32, "i32", int32_t, NACRE_CLASS_INT)                                                  \
    X(NACRE_I64, "i64", int64_t, NACRE_CLASS_INT)                                                  \
    X(NACRE_U8, "u8", uint8_t, NACRE_CLASS_INT)                                                    \
    X(NACRE_BOOL, "bool", uint8_t, NACRE_CLASS_BOOL)

typedef enum nacre_dtype {
    NACRE_DTYPE_DEFAULT = 0, /* f32 where nothing else is implied */
#define NACRE_DTYPE_ENUM(name, text, type, class) name,
    NACRE_DTYPE_TABLE(NACRE_DTYPE_ENUM)
#undef NACRE_DTYPE_ENUM
        NACRE_DTYPE_COUNT
} nacre_dtype;

typedef enum nacre_dtype_class {
    NACRE_CLASS_FLOAT = 1,
    NACRE_CLASS_INT = 2,
    NACRE_CLASS_BOOL = 3,
} nacre_dtype_class;

typedef enum nacre_device {
    NACRE_DEVICE_DEFAULT = 0, /* the thread's default device */
    NACRE_CPU = 1,
} nacre_device;

NACRE_API size_t nacre_dtype_size(nacre_dtype dtype);      /* bytes per element, 0 if unknown */
NACRE_API const char *nacre_dtype_name(nacre_dtype dtype); /* "f32"; "?" if unknown */
NACRE_API const char *nacre_device_name(nacre_device device);

/* Extents of a tensor; ndim 0 is a scalar. */
typedef struct nacre_shape {
    int ndim;
    int64_t dims[NACRE_MAX_DIMS];
} nacre_shape;

#ifndef __cplusplus
/* NACRE_SHAPE(3, 4): a shape of the given extents. More than NACRE_MAX_DIMS does not compile. */
#define NACRE_SHAPE(...)                                                                           \
    ((nacre_shape){.ndim = (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),              \
                   .dims = {__VA_ARGS__}})
#define NACRE_SCALAR ((nacre_shape){.ndim = 0})
#endif

/* How nacre_f_gelu and the layer compute: through the error function, or through tanh. */
typedef enum nacre_gelu_form { NACRE_GELU_ERF = 0, NACRE_GELU_TANH = 1 } nacre_gelu_form;

/* A list of axes; negative ones count from the end. count 0 means all of them. */
typedef struct nacre_axes {
    int count;
    int axis[NACRE_MAX_DIMS];
} nacre_axes;

#ifndef __cplusplus
#define NACRE_AXES(...)                                                                            \
    ((nacre_axes){.count = (int)(sizeof((int[]){__VA_ARGS__}) / sizeof(int)),                      \
                  .axis = {__VA_ARGS__}})
#endif

typedef struct nacre_tensor nacre_tensor;

/* ---- scopes ---- */

typedef int nacre_scope; /* a mark: how deep the thread's scopes were */

/* Opens a scope: tensors made from here on belong to it. */
NACRE_API nacre_scope nacre_scope_begin(void);

/* Closes the scope and any left open inside it, freeing their tensors. If values were kept or
   assignments are pending, evaluates them first; the status is that evaluation's (the tensors are
   freed either way). NACRE_INVALID_ARGUMENT for a mark that is not open: nothing changes. */
NACRE_API nacre_status nacre_scope_end(nacre_scope scope);

/* Moves t to the scope around the innermost one, so that it outlives it. Returns t. */
NACRE_API nacre_tensor *nacre_keep(nacre_tensor *t);

/* For bindings: another owner beside the scope. A retained tensor lives until its release. */
NACRE_API nacre_tensor *nacre_retain(nacre_tensor *t);
NACRE_API void nacre_release(nacre_tensor *t);

/* ---- what a tensor is ---- */

NACRE_API bool nacre_is_error(const nacre_tensor *t);
NACRE_API nacre_status nacre_tensor_status(const nacre_tensor *t); /* NACRE_OK if not an error */
NACRE_API const char *nacre_tensor_message(const nacre_tensor *t); /* "" if not an error */
NACRE_API nacre_shape nacre_shape_of(const nacre_tensor *t);       /* ndim 0 for an error tensor */
NACRE_API int64_t nacre_size(const nacre_tensor *t, int axis);     /* extent; -1: no such axis */
NACRE_API int64_t nacre_numel(const nacre_tensor *t);
NACRE_API int nacre_ndim(const nacre_tensor *t);
NACRE_API nacre_dtype nacre_dtype_of(const nacre_tensor *t);
NACRE_API nacre_device nacre_device_of(const nacre_tensor *t);

/* ---- values ---- */

/* Computes t (and whatever else is pending, see design) if it is not computed yet. */
NACRE_API nacre_status nacre_eval(nacre_tensor *t);
NACRE_API nacre_status nacre_eval_all(nacre_tensor *const *tensors, size_t count);

/* Pointer to the elements, contiguous and row-major, evaluated on demand; valid until the next
   assignment to t or its release. NULL on error. An empty tensor gives a valid, non-NULL pointer. */
NACRE_API const void *nacre_data(nacre_tensor *t);

/* The element of a tensor with one element, as a double; NaN (and the last error) on failure. */
NACRE_API double nacre_item(nacre_tensor *t);
NACRE_API int64_t nacre_item_i64(nacre_tensor *t);

/* Copies all elements, contiguous, to out of `bytes` bytes, which must match exactly. */
NACRE_API nacre_status nacre_copy_to(nacre_tensor *t, void *out, size_t bytes);

/* Gives t a new value of equal shape and dtype. Handles and views taken earlier keep the old one.
   The assignment runs with the next evaluation. */
NACRE_API nacre_status nacre_assign_at(nacre_tensor *t, nacre_tensor *value, const char *file,
                                       int line);

/* Overwrites the elements now, from `bytes` bytes of contiguous data of t's dtype. */
NACRE_API nacre_status nacre_copy_from(nacre_tensor *t, const void *data, size_t bytes);

/* ---- printing ---- */

/* Prints values (evaluating t), dtype and shape, as NumPy would: columns aligned, and of more than 1000 elements
   only three at each end of an axis. */
NACRE_API nacre_status nacre_print(nacre_tensor *t);
NACRE_API nacre_status nacre_fprint(FILE *out, nacre_tensor *t);

/* One line about t without evaluating it: shape, dtype, op and the line that made it. For debuggers:
   `call nacre_describe(t)`. The text lives in a thread-local buffer until the next call. */
NACRE_API const char *nacre_describe(const nacre_tensor *t);

#ifndef __cplusplus
#define nacre_assign(t, value) nacre_assign_at((t), (value), __FILE__, __LINE__)
#endif

#ifdef __cplusplus
}
#endif
#endif
