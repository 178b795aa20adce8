/* dropout (Srivastava et al. 2014), in the form that leaves the expectation as it is. */
#include "ops/common.h"

nacre_tensor *nacre_f_dropout_at(nacre_tensor *a, double p, const char *file, int line) {
    if (!(p >= 0 && p <= 1)) {
        nacre_fail_at(NACRE_INVALID_ARGUMENT, file, line,
                      "dropout: p is %g: it is the part that is dropped, from 0 to 1", p);
        return nacre_error_tensor();
    }
    if (!nacre_usable(a) || p == 0) return nacre_record_unary(&nacre_op_copy, a, file, line);
    nacre_dtype dtype = nacre_dtype_of(a);
    if (!nacre_dtype_is_float(dtype)) {
        nacre_fail_at(NACRE_DTYPE_MISMATCH, file, line,
                      "dropout: a is %s: a floating dtype is needed; convert it with nacre_cast",
                      nacre_dtype_name(dtype));
        return nacre_error_tensor();
    }
    nacre_create_options options = {
        .size = sizeof options, .shape = nacre_shape_of(a), .dtype = dtype};
    nacre_tensor *draw = nacre_rand_at(&options, file, line);
    nacre_tensor *limit = nacre_scalar(dtype, p, file, line);
    nacre_tensor *stays = nacre_greater_equal_at(draw, limit, file, line);
    nacre_tensor *larger = nacre_mul_scalar_at(a, p < 1 ? 1 / (1 - p) : 1, file, line);
    /* Chosen, not multiplied: 0 is what an infinity becomes too. */
    return nacre_where_at(stays, larger, nacre_scalar(dtype, 0, file, line), file, line);
}
