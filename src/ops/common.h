/* What the ops share: recording with few words, shape rules, checks and their messages. */
#ifndef NACRE_OPS_COMMON_H
#define NACRE_OPS_COMMON_H

#include "base/error.h"
#include "ops/attrs.h"
#include "ops/ops.h"
#include "record/record.h"
#include <nacre/ops.h>

/* ---- recording ---- */

nacre_tensor *nacre_record_unary(const nacre_op *op, nacre_tensor *a, const char *file, int line);
nacre_tensor *nacre_record_binary(const nacre_op *op, nacre_tensor *a, nacre_tensor *b,
                                  const char *file, int line);
/* One input, one integer attribute. */
nacre_tensor *nacre_record_unary_int(const nacre_op *op, nacre_tensor *a, int64_t attr,
                                     const char *file, int line);
/* A scalar (ndim 0) of this dtype. */
nacre_tensor *nacre_scalar(nacre_dtype dtype, double value, const char *file, int line);
/* A tensor that shape rules can look at: neither NULL nor an error. */
static inline bool nacre_usable(const nacre_tensor *t) { return t && !nacre_is_error(t); }

/* Records a reduction over a bit set of axes. */
nacre_tensor *nacre_record_reduce(const nacre_op *op, nacre_tensor *a, int64_t axes, bool keepdims,
                                  const char *file, int line);
/* The reduction's result with the reduced axes back, as extent 1. `axes`: bit set. */
nacre_tensor *nacre_unreduce(nacre_tensor *t, const nacre_shape *input, int64_t axes,
                             const char *file, int line);
/* [..., n] as [rows, n]; t itself when it has two axes already. */
nacre_tensor *nacre_as_rows(nacre_tensor *t, const char *file, int line);

/* ---- options ---- */

/* Copies the caller's struct, which may be older and shorter, over the zeroed `to`. Its first member is
   its size. false, with the last error set, when there is none. */
bool nacre_options_take(void *to, size_t size, const void *from, const char *op, const char *file,
                        int line);
bool nacre_device_usable(nacre_device device, const char *op, const char *file, int line);

/* ---- shape rules ---- */

nacre_status nacre_infer_same(nacre_inference *inference);       /* any dtype */
nacre_status nacre_infer_same_float(nacre_inference *inference); /* floating dtypes */
nacre_status nacre_infer_created(nacre_inference *inference);    /* the caller's shape and dtype */

/* Fails when output 0 has more elements than can be counted. */
nacre_status nacre_need_valid_output(const nacre_inference *inference);
/* Fails unless input i has a floating dtype. `argument`: its name in messages. */
nacre_status nacre_need_float(const nacre_inference *inference, int i, const char *argument);
/* Fails unless input i holds numbers (not bool). */
nacre_status nacre_need_number(const nacre_inference *inference, int i, const char *argument);
/* Fails unless input i holds integers: i64, i32 or u8. */
nacre_status nacre_need_index(const nacre_inference *inference, int i, const char *argument);
/* Fails unless inputs i and j have one dtype. */
nacre_status nacre_need_equal_dtypes(const nacre_inference *inference, int i, const char *name_i,
                                     int j, const char *name_j);
/* Fails unless inputs i and j have one shape. */
nacre_status nacre_need_equal_shapes(const nacre_inference *inference, int i, const char *name_i,
                                     int j, const char *name_j);
/* Fails: an axis that argument a has not. */
nacre_status nacre_fail_axis(const char *op, int64_t axis, const nacre_shape *shape,
                             const char *file, int line);
/* Brings attribute `attr` from [-ndim, ndim) to [0, ndim). */
nacre_status nacre_need_axis(const nacre_inference *inference, int attr);

/* ---- reference kernels ---- */

/* Numbers of elements of the first output or input, for costs. */
double nacre_flops_of_input(const nacre_call *call);

#endif
