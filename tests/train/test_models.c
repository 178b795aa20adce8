/* The networks of examples/models: their sizes, that they learn, and that a training step gives the same bits
   whatever runs it. */
#include "support.h"

#include "models/models.h"
#include "tensor/shape.h"

#include <math.h>
#include <nacre/nacre.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define POSITIONS 16 /* slow, when every load is checked */
#else
#define POSITIONS NACRE_EXAMPLE_GPT_CONTEXT
#endif
enum { CHARACTERS = 65, MOST_BATCH = 16 };

static nacre_module *make_mlp(void) {
    return nacre_example_mlp(NACRE_EXAMPLE_MLP_WIDTH, NACRE_EXAMPLE_MLP_HIDDEN);
}
static nacre_module *make_vit(void) {
    return nacre_example_vit(NACRE_EXAMPLE_VIT_WIDTH, NACRE_EXAMPLE_VIT_BLOCKS);
}
static nacre_module *make_gpt(void) {
    return nacre_example_gpt(CHARACTERS, POSITIONS, NACRE_EXAMPLE_GPT_WIDTH,
                             NACRE_EXAMPLE_GPT_BLOCKS);
}

typedef struct subject {
    const char *name;
    nacre_module *(*make)(void);
    nacre_shape sample;
    int64_t positions, classes; /* a sample has logits [positions, classes] */
    size_t tensors;
    int64_t parameters;
    int steps; /* a bound of those until the loss of ten samples is below 0.1 */
} subject;

static const subject subjects[] = {
    {"mlp", make_mlp, {.ndim = 2, .dims = {28, 28}}, 1, 10, 8, 134794, 40},
    {"lenet", nacre_example_lenet, {.ndim = 3, .dims = {1, 28, 28}}, 1, 10, 10, 61706, 40},
    /* A block has 12 tensors and 12 width^2 + 13 width numbers; 49, 1, 17 and 10 rows of 64 and three biases beside. */
    {"vit", make_vit, {.ndim = 2, .dims = {28, 28}}, 1, 10, 56, 205066, 40},
    /* Beside the blocks 65 + POSITIONS rows of 128 and the last norm; the last layer has the embedding's weight. */
    {"gpt",
     make_gpt,
     {.ndim = 1, .dims = {POSITIONS}},
     POSITIONS,
     CHARACTERS,
     52,
     801664 + 128 * POSITIONS,
     120},
    /* 270,722 in convolutions and the linear layer's 650, 2,560 in shortcuts; 2 x 784 in batch norms. */
    {"resnet20", nacre_example_resnet20, {.ndim = 3, .dims = {3, 32, 32}}, 1, 10, 65, 272474, 40},
};
enum { SUBJECTS = sizeof subjects / sizeof subjects[0], MOST = 1000000 };

static nacre_model *make_model(const subject *s) {
    nacre_seed(3);
    nacre_model *model = nacre_model_new(s->make(), nacre_cross_entropy(), nacre_adam(.lr = 2e-3));
    if (nacre_model_status(model) != NACRE_OK) {
        fail_msg("%s: %s", s->name, nacre_model_message(model));
    }
    return model;
}

static nacre_shape with_batch(nacre_shape sample, int64_t count) {
    nacre_shape shape = {.ndim = sample.ndim + 1, .dims = {count}};
    memcpy(shape.dims + 1, sample.dims, (size_t)sample.ndim * sizeof *sample.dims);
    return shape;
}

/* Sequences that count in steps of their own: what follows a character depends on the one before it. */
static nacre_batch make_sequences(const subject *s, int64_t count) {
    static int64_t x[MOST_BATCH * POSITIONS], y[MOST_BATCH * POSITIONS];
    for (int64_t i = 0; i < count * POSITIONS; i++) {
        int64_t sequence = i / POSITIONS, step = 1 + sequence % 3;
        x[i] = (sequence + i % POSITIONS * step) % CHARACTERS;
        y[i] = (x[i] + step) % CHARACTERS;
    }
    nacre_shape shape = with_batch(s->sample, count);
    return (nacre_batch){.inputs = nacre_from_data(x, shape, .dtype = NACRE_I64),
                         .targets = nacre_from_data(y, shape, .dtype = NACRE_I64),
                         .count = count};
}

/* Pictures whose class is the place of a bright bar, under noise. */
static nacre_batch make_pictures(const subject *s, int64_t count) {
    static float x[MOST_BATCH * 3 * 32 * 32];
    static int64_t y[MOST_BATCH];
    const int64_t pixels = nacre_shape_numel(&s->sample);
    const int64_t columns = s->sample.dims[s->sample.ndim - 1];
    uint32_t r = 9;
    for (int64_t i = 0; i < count; i++) {
        y[i] = i % 10;
        for (int64_t k = 0; k < pixels; k++) {
            r = r * 1664525u + 1013904223u;
            bool bar = k % columns / 2 == y[i];
            x[i * pixels + k] = (bar ? 1.0f : 0.0f) + 0.25f * (float)(r >> 8) / (float)(1 << 24);
        }
    }
    return (nacre_batch){.inputs = nacre_from_data(x, with_batch(s->sample, count)),
                         .targets = nacre_from_data(y, NACRE_SHAPE(count), .dtype = NACRE_I64),
                         .count = count};
}

static nacre_batch make_batch(const subject *s, int64_t count) {
    assert_true(count <= MOST_BATCH && nacre_shape_numel(&s->sample) <= 3 * 32 * 32);
    return s->positions > 1 ? make_sequences(s, count) : make_pictures(s, count);
}

static double train_step(nacre_model *model, const nacre_batch *batch) {
    nacre_module *net = nacre_model_network(model);
    nacre_module_zero_grad(net);
    nacre_tensor *logits = nacre_module_forward(net, batch->inputs);
    nacre_tensor *rows = nacre_reshape(logits, NACRE_SHAPE(-1, nacre_size(logits, -1)));
    nacre_tensor *loss = nacre_loss_compute(nacre_model_loss(model), rows,
                                            nacre_reshape(batch->targets, NACRE_SHAPE(-1)));
    if (nacre_is_error(loss) || nacre_backward(loss) || nacre_step(nacre_model_optimizer(model))) {
        fail_msg("%s", nacre_error_message());
    }
    return nacre_item(loss);
}

static void sizes_are_those_of_the_papers(void **state) {
    (void)state;
    for (int i = 0; i < SUBJECTS; i++) {
        nacre_scope scope = nacre_scope_begin();
        nacre_module *net = subjects[i].make();
        if (nacre_module_status(net) != NACRE_OK) {
            fail_msg("%s", nacre_module_message(net));
        }
        int64_t sum = 0;
        for (size_t k = 0; k < nacre_module_parameter_count(net); k++) {
            sum += nacre_numel(nacre_module_parameter_at(net, k));
        }
        assert_int_equal(nacre_module_parameter_count(net), subjects[i].tensors);
        assert_int_equal(sum, subjects[i].parameters);
        nacre_tensor *y = nacre_module_forward(net, make_batch(&subjects[i], 2).inputs);
        assert_int_equal(nacre_size(y, 0), 2);
        assert_int_equal(nacre_size(y, -1), subjects[i].classes);
        assert_int_equal(nacre_numel(y), 2 * subjects[i].positions * subjects[i].classes);
        nacre_module_free(net);
        nacre_scope_end(scope);
    }
}

static void they_learn(void **state) {
    (void)state;
    for (int i = 0; i < SUBJECTS; i++) {
        nacre_scope scope = nacre_scope_begin();
        nacre_model *model = make_model(&subjects[i]);
        nacre_batch batch = make_batch(&subjects[i], 10);
        double first = train_step(model, &batch), last = first;
        for (int k = 0; k < subjects[i].steps && last > 0.1; k++) {
            last = train_step(model, &batch);
        }
        if (!(last <= 0.1)) {
            fail_msg("%s: the loss was %g and is %g", subjects[i].name, first, last);
        }
        nacre_model_free(model);
        nacre_scope_end(scope);
    }
}

/* Parameters and buffers after two steps on `count` pictures. */
static size_t state_after(const subject *s, int64_t count, float *out) {
    nacre_scope scope = nacre_scope_begin();
    nacre_model *model = make_model(s);
    nacre_batch batch = make_batch(s, count);
    train_step(model, &batch);
    train_step(model, &batch);
    nacre_state_dict *dict = nacre_module_state(nacre_model_network(model));
    size_t at = 0;
    for (size_t i = 0; i < nacre_state_dict_count(dict); i++) {
        nacre_tensor *t = nacre_state_dict_tensor(dict, i);
        size_t elements = (size_t)nacre_numel(t);
        assert_true(at + elements <= MOST);
        if (nacre_dtype_of(t) == NACRE_F32) {
            assert_int_equal(nacre_copy_to(t, out + at, elements * sizeof *out), NACRE_OK);
            at += elements;
        }
    }
    nacre_state_dict_free(dict);
    nacre_model_free(model);
    nacre_scope_end(scope);
    return at;
}

static void a_step_has_the_same_bits_however_it_runs(void **state) {
    (void)state;
    static float one[MOST], other[MOST];
    for (int i = 0; i < SUBJECTS; i++) {
        assert_int_equal(nacre_set_threads(1), NACRE_OK);
        size_t count = state_after(&subjects[i], 7, one);
        assert_true(count >= (size_t)subjects[i].parameters);
        assert_int_equal(nacre_set_threads(3), NACRE_OK);
        assert_int_equal(state_after(&subjects[i], 7, other), count);
        assert_memory_equal(one, other, count * sizeof *one);
        nacre_set_eager(true);
        assert_int_equal(state_after(&subjects[i], 7, other), count);
        nacre_set_eager(false);
        assert_memory_equal(one, other, count * sizeof *one);
        nacre_set_fusion(false);
        assert_int_equal(state_after(&subjects[i], 7, other), count);
        nacre_set_fusion(true);
        assert_memory_equal(one, other, count * sizeof *one);
        assert_int_equal(nacre_set_threads(0), NACRE_OK);
    }
}

/* Inference, whose plans fuse other things than a step's: with batch norm's numbers given, for one. */
static void outputs_have_the_same_bits_however_they_are_computed(void **state) {
    (void)state;
    enum { SAMPLES = 7, MOST_LOGITS = 1 << 16 };
    static float one[MOST_LOGITS], other[MOST_LOGITS];
    for (int i = 0; i < SUBJECTS; i++) {
        nacre_scope scope = nacre_scope_begin();
        nacre_model *model = make_model(&subjects[i]);
        nacre_batch batch = make_batch(&subjects[i], SAMPLES);
        train_step(model, &batch);
        size_t logits = (size_t)(SAMPLES * subjects[i].positions * subjects[i].classes);
        assert_true(logits <= MOST_LOGITS);
        for (int way = 0; way < 4; way++) {
            nacre_set_fusion(way != 1);
            nacre_set_eager(way == 2);
            assert_int_equal(nacre_set_threads(way == 3 ? 3 : 1), NACRE_OK);
            nacre_tensor *y = nacre_predict(model, batch.inputs);
            assert_int_equal(nacre_copy_to(y, way ? other : one, logits * sizeof *one), NACRE_OK);
            if (way) assert_memory_equal(one, other, logits * sizeof *one);
        }
        nacre_set_fusion(true);
        nacre_set_eager(false);
        assert_int_equal(nacre_set_threads(0), NACRE_OK);
        nacre_model_free(model);
        nacre_scope_end(scope);
    }
}

/* One sample's logits do not depend on its company in the batch. */
static void a_sample_alone_gives_the_same_bits(void **state) {
    (void)state;
    for (int i = 0; i < SUBJECTS; i++) {
        nacre_scope scope = nacre_scope_begin();
        nacre_model *model = make_model(&subjects[i]);
        nacre_batch batch = make_batch(&subjects[i], 16);
        train_step(model, &batch);
        nacre_tensor *all = nacre_predict(model, batch.inputs);
        size_t logits = (size_t)(subjects[i].positions * subjects[i].classes);
        for (int64_t k = 0; k < 16; k += 5) {
            nacre_tensor *one = nacre_slice(batch.inputs, 0, k, k + 1, 1);
            const float *alone = nacre_data(nacre_predict(model, one)), *together = nacre_data(all);
            assert_non_null(alone);
            assert_memory_equal(alone, together + logits * (size_t)k, logits * sizeof(float));
        }
        nacre_model_free(model);
        nacre_scope_end(scope);
    }
}

static void replayed_steps_allocate_nothing(void **state) {
    (void)state;
    for (int i = 0; i < SUBJECTS; i++) {
        nacre_scope scope = nacre_scope_begin();
        nacre_model *model = make_model(&subjects[i]);
        nacre_batch batch = make_batch(&subjects[i], 5);
        uint64_t before = 0;
        for (int k = 0; k < 13; k++) {
            if (k == 3) { /* the plan is there, and each list has grown to its length */
                before = nacre_memory().allocations;
            }
            nacre_scope step = nacre_scope_begin();
            train_step(model, &batch);
            nacre_scope_end(step);
        }
        if (nacre_memory().allocations != before) {
            fail_msg("%s: %d allocations in ten steps", subjects[i].name,
                     (int)(nacre_memory().allocations - before));
        }
        nacre_model_free(model);
        nacre_scope_end(scope);
    }
}

/* Whatever fails in a step, parameters and statistics are as they were. */
static void a_step_that_fails_changes_nothing(void **state) {
    (void)state;
    enum { IMAGES = 4, SIDE = 5, LARGEST = 64 };
    static float x[IMAGES * SIDE * SIDE];
    static const int64_t y[IMAGES] = {0, 1, 2, 0};
    for (int i = 0; i < IMAGES * SIDE * SIDE; i++) {
        x[i] = (float)(i * 7 % 13) / 13;
    }
    nacre_dataset *set =
        nacre_dataset_from_arrays(&(nacre_arrays_options){.size = sizeof(nacre_arrays_options),
                                                          .inputs = x,
                                                          .input_shape = NACRE_SHAPE(1, SIDE, SIDE),
                                                          .targets = y,
                                                          .target_dtype = NACRE_I64,
                                                          .count = IMAGES,
                                                          .classes = 3});
    nacre_seed(1);
    nacre_module *net = nacre_sequential(nacre_conv2d(1, 2, {3, 3}), nacre_batch_norm2d(2),
                                         nacre_residual(nacre_batch_norm2d(2), NULL),
                                         nacre_global_avg_pool2d(), nacre_linear(2, 3));
    nacre_model *model = nacre_model_new(net, nacre_cross_entropy(), nacre_adam(.lr = 0.1));
    assert_int_equal(nacre_model_status(model), NACRE_OK);
    nacre_state_dict *dict = nacre_module_state(net);
    size_t count = nacre_state_dict_count(dict);
    float before[32][LARGEST], after[LARGEST];
    bool done = false;
    for (uint64_t n = 1; !done && n < 5000; n++) {
        for (size_t i = 0; i < count; i++) {
            nacre_tensor *t = nacre_state_dict_tensor(dict, i);
            size_t bytes = (size_t)nacre_numel(t) * nacre_dtype_size(nacre_dtype_of(t));
            assert_true(count <= 32 && bytes <= sizeof after);
            assert_int_equal(nacre_copy_to(t, before[i], bytes), NACRE_OK);
        }
        nacre_plan_cache_clear();
        nacre_loader *loader = nacre_loader_create(set, .batch_size = IMAGES);
        assert_int_equal(nacre_loader_start(loader, 0, 0), NACRE_OK);
        nacre_error_clear();
        nacre_metrics metrics;
        nacre_memory_fail_at(n);
        done = nacre_train_epoch(model, loader, &metrics) == NACRE_OK;
        nacre_memory_fail_at(0);
        nacre_loader_free(loader);
        for (size_t i = 0; !done && i < count; i++) {
            nacre_tensor *t = nacre_state_dict_tensor(dict, i);
            size_t bytes = (size_t)nacre_numel(t) * nacre_dtype_size(nacre_dtype_of(t));
            assert_int_equal(nacre_copy_to(t, after, bytes), NACRE_OK);
            if (memcmp(before[i], after, bytes) != 0) {
                fail_msg("allocation %d failed, %s has changed", (int)n,
                         nacre_state_dict_name(dict, i));
            }
        }
    }
    assert_true(done);
    nacre_state_dict_free(dict);
    nacre_model_free(model);
    nacre_dataset_free(set);
}

static void the_reference_says_the_same(void **state) {
    (void)state;
    for (int i = 0; i < SUBJECTS; i++) {
        nacre_scope scope = nacre_scope_begin();
        nacre_model *model = make_model(&subjects[i]);
        nacre_module *net = nacre_model_network(model);
        nacre_batch batch = make_batch(&subjects[i], subjects[i].positions > 1 ? 1 : 3);
        static float logits[2][POSITIONS * CHARACTERS];
        int64_t count = batch.count * subjects[i].positions * subjects[i].classes;
        for (int backend = 0; backend < 2; backend++) { /* training mode: batch statistics */
            nacre_set_backend(backend ? NACRE_BACKEND_REFERENCE : NACRE_BACKEND_CPU);
            nacre_tensor *y = nacre_module_forward(net, batch.inputs);
            assert_int_equal(nacre_copy_to(y, logits[backend], (size_t)count * sizeof(float)),
                             NACRE_OK);
        }
        nacre_set_backend(NACRE_BACKEND_DEFAULT);
        for (int64_t k = 0; k < count; k++) {
            /* 21 layers, each to about 1e-6 of its values, of which the norms keep the scale at 1. */
            if (fabsf(logits[0][k] - logits[1][k]) > 1e-4f * (1 + fabsf(logits[1][k]))) {
                fail_msg("%s: logit %d is %g, in the reference %g", subjects[i].name, (int)k,
                         (double)logits[0][k], (double)logits[1][k]);
            }
        }
        nacre_model_free(model);
        nacre_scope_end(scope);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_those_of_the_papers),
        cmocka_unit_test(they_learn),
        cmocka_unit_test(a_step_has_the_same_bits_however_it_runs),
        cmocka_unit_test(outputs_have_the_same_bits_however_they_are_computed),
        cmocka_unit_test(a_sample_alone_gives_the_same_bits),
        cmocka_unit_test(replayed_steps_allocate_nothing),
        cmocka_unit_test(a_step_that_fails_changes_nothing),
        cmocka_unit_test(the_reference_says_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
