/* Vectors of two numbers, which tests of handles and values work on. */
#ifndef NACRE_TESTS_RECORD_PAIRS_H
#define NACRE_TESTS_RECORD_PAIRS_H

#include "support.h"

#include <nacre/nacre.h>

static inline nacre_tensor *variable(float a, float b) {
    float values[] = {a, b};
    return nacre_from_data(values, NACRE_SHAPE(2));
}

static inline void assert_values(nacre_tensor *t, float a, float b) {
    const float *data = nacre_data(t);
    assert_non_null(data);
    assert_float_equal(data[0], a, 0);
    assert_float_equal(data[1], b, 0);
}

#endif
