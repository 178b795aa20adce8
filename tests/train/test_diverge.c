/* A loss that is not finite: the run stops, says where, and keeps the weights of the last finite loss. */
#include "toy.h"

typedef struct seen {
    int64_t steps;
    double losses[2048];
    float weights[2048][TOY_PARAMETERS]; /* after step i */
    nacre_model *model;
} seen;

static seen record;

static bool keep(void *user, const nacre_step_report *report) {
    (void)user;
    assert_true(report->step < 2048);
    record.losses[report->step] = report->loss;
    toy_weights(record.model, record.weights[report->step]);
    record.steps = report->step + 1;
    return false;
}

/* A set whose sample `at` (in order) is so large that its loss is not finite. */
static nacre_dataset *poisoned(int64_t count, int64_t at, float value) {
    static float x[2048 * TOY_IN];
    static int64_t y[2048];
    assert_true(count <= 2048);
    for (int64_t i = 0; i < count; i++) {
        for (int k = 0; k < TOY_IN; k++) {
            x[i * TOY_IN + k] = (float)((i * 7 + k * 3) % 11) / 11;
        }
        y[i] = i % TOY_CLASSES;
    }
    if (at >= 0) {
        x[at * TOY_IN] = value;
    }
    nacre_dataset *set =
        nacre_dataset_from_arrays(&(nacre_arrays_options){.size = sizeof(nacre_arrays_options),
                                                          .inputs = x,
                                                          .input_shape = NACRE_SHAPE(TOY_IN),
                                                          .input_dtype = NACRE_F32,
                                                          .targets = y,
                                                          .target_shape = NACRE_SCALAR,
                                                          .target_dtype = NACRE_I64,
                                                          .count = count,
                                                          .classes = TOY_CLASSES});
    assert_non_null(set);
    return set;
}

/* The loss of step `bad` is not finite: the weights must be those before step bad - 1. */
static void check_run(int64_t count, int64_t batch, int64_t bad, int64_t epochs, float value) {
    nacre_dataset *set = poisoned(count, bad * batch, value);
    record.model = toy_model(nacre_adam(.lr = 0.001));
    record.steps = 0;
    float start[TOY_PARAMETERS], now[TOY_PARAMETERS];
    toy_weights(record.model, start);
    nacre_history *h = nacre_fit(record.model, set, .epochs = epochs, .batch_size = batch,
                                 .no_shuffle = true, .on_step = keep);
    assert_non_null(h);
    assert_int_equal(h->outcome, NACRE_FIT_DIVERGED);
    assert_int_equal(h->diverged_step, bad);
    assert_int_equal(record.steps, bad);
    int64_t kept = bad > 0 ? bad - 1 : 0;
    assert_int_equal(h->steps, kept);
    assert_int_equal(nacre_optimizer_steps(nacre_model_optimizer(record.model)), kept);
    toy_weights(record.model, now);
    assert_memory_equal(now, kept == 0 ? start : record.weights[kept - 1], sizeof now);
    assert_true(strlen(h->diverged_at) > 0);
    assert_int_equal(nacre_error_code(), NACRE_NUMERICAL);
    assert_non_null(strstr(nacre_error_message(), h->diverged_at));
    nacre_history_free(h);
    nacre_model_free(record.model);
    nacre_dataset_free(set);
}

static void the_weights_are_those_of_the_last_finite_loss(void **state) {
    (void)state;
    check_run(40, 4, 7, 3, INFINITY);
    check_run(40, 4, 1, 3, INFINITY);
    check_run(40, 4, 0, 3, NAN);
    check_run(2000, 4, 300, 2, INFINITY); /* past one snapshot */
    check_run(2000, 4, 256, 2, INFINITY); /* the step after one: the snapshot before is needed */
    check_run(2000, 4, 257, 2, INFINITY);
}

/* Counts its training passes in a buffer. */
static nacre_tensor *count_forward(nacre_module *module, void *self, nacre_tensor *x) {
    (void)self;
    if (nacre_module_mode(module) == NACRE_TRAIN && !nacre_module_recomputes()) {
        nacre_tensor *count = nacre_module_buffer_at(module, 0);
        nacre_assign(count, nacre_add_scalar(count, 1));
    }
    return x;
}

static void buffers_go_back_with_the_weights(void **state) {
    (void)state;
    const nacre_module_class counter = {
        .size = sizeof counter, .name = "Counter", .forward = count_forward};
    nacre_module *layer = nacre_module_new(&counter, NULL);
    nacre_tensor *count = nacre_module_buffer(layer, "count", NACRE_SCALAR, NACRE_I64, 0);
    nacre_dataset *set = poisoned(2000, 257 * 4, INFINITY);
    nacre_model *model = nacre_model_new(
        nacre_sequential(nacre_linear(TOY_IN, 8), layer, nacre_linear(8, TOY_CLASSES)),
        nacre_cross_entropy(), nacre_adam(.lr = 0.001));
    nacre_history *h =
        nacre_fit(model, set, .epochs = 2, .batch_size = 4, .no_shuffle = true, .validation = set);
    assert_non_null(h);
    assert_int_equal(h->outcome, NACRE_FIT_DIVERGED);
    assert_int_equal(h->steps, 256);
    assert_true(nacre_item_i64(count) == 256);
    nacre_history_free(h);
    nacre_model_free(model);
    nacre_dataset_free(set);
}

/* The first step of an epoch: the last finite loss is of the epoch before. */
static bool poison_second_epoch(void *user, const nacre_epoch_report *report) {
    (void)report;
    nacre_tensor *weight = nacre_module_parameter_at(nacre_model_network(user), 0);
    float values[8 * TOY_IN];
    assert_int_equal(nacre_copy_to(weight, values, sizeof values), NACRE_OK);
    values[3] = INFINITY;
    assert_int_equal(nacre_copy_from(weight, values, sizeof values), NACRE_OK);
    return false;
}

static void the_first_step_of_an_epoch_goes_back_to_the_one_before(void **state) {
    (void)state;
    nacre_dataset *set = poisoned(40, -1, 0);
    record.model = toy_model(nacre_adam(.lr = 0.001));
    record.steps = 0;
    float now[TOY_PARAMETERS];
    nacre_history *h = nacre_fit(record.model, set, .epochs = 3, .batch_size = 4, .on_step = keep,
                                 .on_epoch = poison_second_epoch, .user = record.model);
    assert_int_equal(h->outcome, NACRE_FIT_DIVERGED);
    assert_int_equal(h->diverged_step, 10);
    assert_int_equal(h->epochs, 1);
    toy_weights(record.model, now);
    assert_memory_equal(now, record.weights[8], sizeof now);
    nacre_history_free(h);
    nacre_model_free(record.model);
    nacre_dataset_free(set);
}

static void a_huge_rate_stops_with_finite_weights(void **state) {
    (void)state;
    nacre_seed(1);
    nacre_model *m = nacre_model_new(
        nacre_sequential(nacre_linear(TOY_IN, 8), nacre_linear(8, 8), nacre_linear(8, 3)),
        nacre_mse(), nacre_sgd(.lr = 1e6));
    nacre_dataset *one_hot = toy_set(64, true);
    nacre_history *h = nacre_fit(m, one_hot, .epochs = 50, .batch_size = 16);
    assert_non_null(h);
    assert_int_equal(h->outcome, NACRE_FIT_DIVERGED);
    assert_true(h->diverged_step > 0);
    nacre_module *net = nacre_model_network(m);
    for (size_t i = 0; i < nacre_module_parameter_count(net); i++) {
        nacre_tensor *t = nacre_module_parameter_at(net, i);
        const float *values = nacre_data(t);
        for (int64_t k = 0; k < nacre_numel(t); k++) {
            assert_true(isfinite(values[k]));
        }
    }
    nacre_metrics metrics;
    assert_int_equal(nacre_evaluate(m, one_hot, 0, &metrics), NACRE_OK);
    assert_true(isfinite(metrics.loss));
    nacre_history_free(h);
    nacre_model_free(m);
    nacre_dataset_free(one_hot);
}

/* log of a negative number in the forward pass of a user's own layer. */
static nacre_tensor *logarithm(nacre_module *module, void *self, nacre_tensor *x) {
    (void)module, (void)self;
    return nacre_log(x);
}

static void the_first_op_and_its_layer_are_named(void **state) {
    (void)state;
    const nacre_module_class class_ = {
        .size = sizeof class_, .name = "Logarithm", .forward = logarithm};
    nacre_dataset *set = toy_set(16, false);
    nacre_seed(1);
    nacre_model *m =
        nacre_model_new(nacre_sequential(nacre_linear(TOY_IN, 8), nacre_module_new(&class_, NULL),
                                         nacre_linear(8, TOY_CLASSES)),
                        nacre_cross_entropy(), nacre_sgd(0));
    nacre_history *h = nacre_fit(m, set);
    assert_non_null(h);
    assert_int_equal(h->outcome, NACRE_FIT_DIVERGED);
    assert_int_equal(h->diverged_step, 0);
    assert_non_null(strstr(h->diverged_at, "layer 1 (Logarithm)"));
    assert_non_null(strstr(h->diverged_at, "log:"));
    assert_non_null(strstr(h->diverged_at, "test_diverge.c"));
    nacre_history_free(h);
    nacre_model_free(m);
    nacre_dataset_free(set);
}

/* The only step of the run has a finite loss; what its update did shows in the validation alone. */
static void an_update_that_ruins_the_weights_is_undone(void **state) {
    (void)state;
    nacre_dataset *set = toy_set(16, false);
    nacre_model *m = toy_model(nacre_sgd(.lr = 1e30));
    float start[TOY_PARAMETERS], now[TOY_PARAMETERS];
    toy_weights(m, start);
    nacre_history *h = nacre_fit(m, set, .validation = set, .batch_size = 16, .epochs = 3);
    assert_non_null(h);
    assert_int_equal(h->outcome, NACRE_FIT_DIVERGED);
    assert_int_equal(h->epochs, 0);
    toy_weights(m, now);
    assert_memory_equal(now, start, sizeof now);
    nacre_history_free(h);
    nacre_model_free(m);
    nacre_dataset_free(set);
}

static void a_training_epoch_by_hand_reports_it_too(void **state) {
    (void)state;
    nacre_dataset *set = poisoned(16, 5, INFINITY);
    nacre_model *m = toy_model(nacre_sgd(0));
    nacre_loader *loader = nacre_loader_create(set, .batch_size = 4);
    nacre_metrics metrics;
    assert_int_equal(nacre_loader_start(loader, 0, 0), NACRE_OK);
    assert_int_equal(nacre_train_epoch(m, loader, &metrics), NACRE_NUMERICAL);
    assert_int_equal(metrics.samples, 4);
    nacre_loader_free(loader);
    nacre_model_free(m);
    nacre_dataset_free(set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_weights_are_those_of_the_last_finite_loss),
        cmocka_unit_test(buffers_go_back_with_the_weights),
        cmocka_unit_test(the_first_step_of_an_epoch_goes_back_to_the_one_before),
        cmocka_unit_test(a_huge_rate_stops_with_finite_weights),
        cmocka_unit_test(the_first_op_and_its_layer_are_named),
        cmocka_unit_test(an_update_that_ruins_the_weights_is_undone),
        cmocka_unit_test(a_training_epoch_by_hand_reports_it_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
