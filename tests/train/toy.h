/* Small sets and models that the training tests share. */
#ifndef NACRE_TESTS_TRAIN_TOY_H
#define NACRE_TESTS_TRAIN_TOY_H

#include "support.h"

#include <math.h>
#include <nacre/nacre.h>
#include <string.h>

enum { TOY_IN = 6, TOY_CLASSES = 3, TOY_MAX = 512 };

/* Points around one centre per class; one_hot: targets [3] f32 instead of an index. */
static inline nacre_dataset *toy_set(int64_t count, bool one_hot) {
    static float x[TOY_MAX * TOY_IN], rows[TOY_MAX * TOY_CLASSES];
    static int64_t index[TOY_MAX];
    assert_true(count <= TOY_MAX);
    uint32_t r = 12345;
    memset(rows, 0, sizeof rows);
    for (int64_t i = 0; i < count; i++) {
        index[i] = (i * 5 + i / 3) % TOY_CLASSES;
        rows[i * TOY_CLASSES + index[i]] = 1;
        for (int k = 0; k < TOY_IN; k++) {
            r = r * 1664525u + 1013904223u;
            float noise = (float)(r >> 8) / (float)(1 << 24) - 0.5f;
            x[i * TOY_IN + k] = noise + (k % TOY_CLASSES == index[i] ? 1.0f : 0.0f);
        }
    }
    nacre_arrays_options o = {.size = sizeof o,
                              .inputs = x,
                              .input_shape = NACRE_SHAPE(TOY_IN),
                              .input_dtype = NACRE_F32,
                              .targets = index,
                              .target_shape = NACRE_SCALAR,
                              .target_dtype = NACRE_I64,
                              .count = count,
                              .classes = TOY_CLASSES};
    if (one_hot) {
        o.targets = rows;
        o.target_shape = NACRE_SHAPE(TOY_CLASSES);
        o.target_dtype = NACRE_F32;
        o.classes = 0;
    }
    nacre_dataset *set = nacre_dataset_from_arrays(&o);
    assert_non_null(set);
    return set;
}

static inline nacre_model *toy_model(nacre_optimizer *optimizer) {
    nacre_seed(1);
    nacre_model *model = nacre_model_new(
        nacre_sequential(nacre_linear(TOY_IN, 8), nacre_relu(), nacre_linear(8, TOY_CLASSES)),
        nacre_cross_entropy(), optimizer);
    assert_int_equal(nacre_model_status(model), NACRE_OK);
    return model;
}

enum { TOY_PARAMETERS = TOY_IN * 8 + 8 + 8 * TOY_CLASSES + TOY_CLASSES };

/* All parameters, one after the other. */
static inline void toy_weights(nacre_model *model, float out[TOY_PARAMETERS]) {
    nacre_module *net = nacre_model_network(model);
    size_t at = 0;
    for (size_t i = 0; i < nacre_module_parameter_count(net); i++) {
        nacre_tensor *t = nacre_module_parameter_at(net, i);
        size_t count = (size_t)nacre_numel(t);
        assert_int_equal(nacre_copy_to(t, out + at, count * sizeof *out), NACRE_OK);
        at += count;
    }
    assert_int_equal(at, TOY_PARAMETERS);
}

/* One batch of the whole set, owned by the innermost scope. */
static inline nacre_batch toy_batch(nacre_dataset *set, int64_t first, int64_t count) {
    static float x[TOY_MAX * TOY_IN];
    static int64_t order[TOY_MAX], y[TOY_MAX];
    for (int64_t i = 0; i < count; i++) {
        order[i] = first + i;
    }
    assert_int_equal(nacre_dataset_read(set, order, count, x, y), NACRE_OK);
    return (nacre_batch){.inputs =
                             nacre_from_data(x, NACRE_SHAPE(count, TOY_IN), .dtype = NACRE_F32),
                         .targets = nacre_from_data(y, NACRE_SHAPE(count), .dtype = NACRE_I64),
                         .count = count};
}

#endif
