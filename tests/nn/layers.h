/* What tests of layers share: parameters set, results compared, wrong layers refused. */
#ifndef NACRE_TESTS_NN_LAYERS_H
#define NACRE_TESTS_NN_LAYERS_H

#include "support.h"

#include <math.h>
#include <nacre/nacre.h>

static inline void set(nacre_tensor *t, const float *data, size_t count) {
    assert_int_equal(nacre_copy_from(t, data, count * sizeof *data), NACRE_OK);
}

static inline void set_parameter(nacre_module *module, size_t index, const float *data,
                                 size_t count) {
    set(nacre_module_parameter_at(module, index), data, count);
}

static inline const float *data_of(nacre_tensor *t) {
    if (nacre_is_error(t)) {
        fail_msg("%s", nacre_tensor_message(t));
    }
    const float *x = nacre_data(t);
    assert_non_null(x);
    return x;
}

static inline void assert_within(nacre_tensor *t, const float *wanted, size_t count,
                                 float tolerance) {
    const float *x = data_of(t);
    assert_int_equal(nacre_numel(t), count);
    for (size_t i = 0; i < count; i++) {
        if (fabsf(x[i] - wanted[i]) > tolerance * (1 + fabsf(wanted[i]))) {
            fail_msg("element %zu is %g, not %g", i, (double)x[i], (double)wanted[i]);
        }
    }
}

/* In f32, to 6 digits. */
static inline void assert_values(nacre_tensor *t, const float *wanted, size_t count) {
    assert_within(t, wanted, count, 1e-6f);
}

static inline void assert_refused(nacre_module *module, const char *message) {
    assert_int_equal(nacre_module_status(module), NACRE_INVALID_ARGUMENT);
    assert_string_equal(nacre_module_message(module), message);
    nacre_module_free(module);
}

#endif
