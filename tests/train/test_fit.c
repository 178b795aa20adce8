/* Models: construction, fit, evaluate, predict, history. */
#include "plan/plan.h"
#include "toy.h"
#include "train/model.h"

#include <nacre/plan.h>
#include <stdio.h>

static void fit_learns_and_keeps_its_history(void **state) {
    (void)state;
    nacre_dataset *set = toy_set(200, false), *held = nacre_dataset_head(set, 60);
    nacre_model *m = toy_model(nacre_adam(.lr = 0.01));
    nacre_history *h =
        nacre_fit(m, set, .validation = held, .epochs = 15, .batch_size = 16, .seed = 3);
    assert_non_null(h);
    assert_int_equal(h->outcome, NACRE_FIT_DONE);
    assert_int_equal(h->epochs, 15);
    assert_int_equal(h->steps, 15 * 13);
    assert_int_equal(h->diverged_step, -1);
    assert_true(h->epoch[14].train.loss < 0.3 * h->epoch[0].train.loss);
    assert_true(h->epoch[14].train.accuracy > 0.95 && h->epoch[14].validation.accuracy > 0.95);
    double best = INFINITY;
    for (int i = 0; i < 15; i++) {
        const nacre_epoch_report *e = &h->epoch[i];
        assert_int_equal(e->epoch, i);
        assert_int_equal(e->train.samples, 200);
        assert_int_equal(e->validation.samples, 60);
        assert_true(e->lr == 0.01 && e->seconds > 0 && e->samples_per_second > 0);
        best = fmin(best, e->validation.loss);
    }
    assert_true(h->best_validation_loss == best);
    /* What the last epoch said is what evaluate says. */
    nacre_metrics metrics;
    assert_int_equal(nacre_evaluate(m, held, 0, &metrics), NACRE_OK);
    assert_true(metrics.loss == h->epoch[14].validation.loss);
    assert_true(metrics.accuracy == h->epoch[14].validation.accuracy);
    nacre_history_free(h);
    nacre_dataset_free(held);
    nacre_dataset_free(set);
    nacre_model_free(m);
}

static void train_with(int64_t batch, int64_t epochs, bool one_hot, float out[TOY_PARAMETERS]) {
    nacre_dataset *set = toy_set(50, one_hot);
    nacre_model *m = toy_model(nacre_adam(.lr = 0.01));
    nacre_history *h = nacre_fit(m, set, .epochs = epochs, .batch_size = batch, .seed = 9);
    assert_non_null(h);
    assert_int_equal(h->outcome, NACRE_FIT_DONE);
    assert_true(h->epoch[epochs - 1].train.accuracy >= 0);
    toy_weights(m, out);
    nacre_history_free(h);
    nacre_dataset_free(set);
    nacre_model_free(m);
}

static void the_same_seed_gives_the_same_bits(void **state) {
    (void)state;
    float a[TOY_PARAMETERS], b[TOY_PARAMETERS];
    train_with(7, 4, false, a);
    train_with(7, 4, false, b);
    assert_memory_equal(a, b, sizeof a);
    train_with(8, 4, false, b);
    assert_memory_not_equal(a, b, sizeof a);
}

static void one_hot_targets_train_as_indices_do(void **state) {
    (void)state;
    float a[TOY_PARAMETERS], b[TOY_PARAMETERS];
    train_with(10, 3, false, a);
    train_with(10, 3, true, b);
    for (int i = 0; i < TOY_PARAMETERS; i++) {
        assert_true(fabsf(a[i] - b[i]) < 1e-4f);
    }
}

static void sets_and_batches_of_any_size_train(void **state) {
    (void)state;
    const struct {
        int64_t count, batch;
    } cases[] = {{1, 1}, {1, 32}, {5, 1}, {5, 100}, {5, INT64_C(1) << 40}, {5, 4}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        nacre_dataset *set = toy_set(cases[i].count, false);
        nacre_model *m = toy_model(nacre_sgd(.lr = 0.1));
        nacre_history *h =
            nacre_fit(m, set, .validation = set, .epochs = 3, .batch_size = cases[i].batch);
        assert_non_null(h);
        assert_int_equal(h->outcome, NACRE_FIT_DONE);
        assert_int_equal(h->epoch[2].train.samples, cases[i].count);
        assert_true(h->epoch[2].train.loss < h->epoch[0].train.loss);
        nacre_history_free(h);
        nacre_dataset_free(set);
        nacre_model_free(m);
    }
}

static void extreme_rates_do_not_crash(void **state) {
    (void)state;
    const double rates[] = {1e-10, 1.0, NACRE_ZERO};
    nacre_dataset *set = toy_set(64, false);
    for (int i = 0; i < 6; i++) {
        nacre_model *m =
            toy_model(i < 3 ? nacre_adam(.lr = rates[i]) : nacre_sgd(.lr = rates[i - 3]));
        float before[TOY_PARAMETERS], after[TOY_PARAMETERS];
        toy_weights(m, before);
        nacre_history *h = nacre_fit(m, set, .epochs = 3, .batch_size = 16);
        assert_non_null(h);
        toy_weights(m, after);
        for (int k = 0; k < TOY_PARAMETERS; k++) {
            assert_true(isfinite(after[k]));
        }
        assert_int_equal(memcmp(before, after, sizeof before) == 0, i % 3 == 2);
        nacre_history_free(h);
        nacre_model_free(m);
    }
    nacre_dataset_free(set);
}

/* ---- what may be wrong ---- */

static void assert_refused(nacre_history *h, const char *message) {
    assert_null(h);
    if (!strstr(nacre_error_message(), message)) {
        fail_msg("\"%s\" is not in \"%s\"", message, nacre_error_message());
    }
}

static void bad_options_are_named(void **state) {
    (void)state;
    nacre_dataset *set = toy_set(8, false);
    nacre_model *m = toy_model(nacre_sgd(0));
    assert_refused(nacre_fit(m, NULL), "training set is NULL");
    assert_refused(nacre_fit(NULL, set), "model is NULL");
    assert_refused(nacre_fit_at(m, NULL), "options are NULL");
    assert_refused(nacre_fit(m, set, .epochs = -1), "epochs is -1");
    assert_refused(nacre_fit(m, set, .batch_size = -5), "batch_size is -5");
    assert_refused(nacre_fit(m, set, .validation_batch_size = -5), "validation_batch_size is -5");
    assert_refused(nacre_fit(m, set, .epochs = 2, .no_epochs = true), "no_epochs");
    assert_refused(nacre_fit(m, set, .target_accuracy = 1.5, .validation = set),
                   "target_accuracy is 1.5");
    assert_refused(nacre_fit(m, set, .target_accuracy = NAN, .validation = set), "target_accuracy");
    assert_refused(nacre_fit(m, set, .target_accuracy = 0.5), "validation set");
    nacre_metrics metrics;
    assert_int_equal(nacre_evaluate(m, NULL, 0, &metrics), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_evaluate(m, set, -1, &metrics), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_evaluate(m, set, 1, NULL), NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_train_epoch(m, NULL, &metrics), NACRE_INVALID_ARGUMENT);
    assert_true(nacre_is_error(nacre_predict(NULL, nacre_zeros(NACRE_SHAPE(1, TOY_IN)))));
    nacre_model_free(m);
    nacre_dataset_free(set);
}

static void a_model_carries_the_error_of_its_parts(void **state) {
    (void)state;
    nacre_dataset *set = toy_set(8, false);
    nacre_model *bad[] = {
        nacre_model_new(nacre_sequential(nacre_linear(3, -1)), nacre_mse(), nacre_sgd(0)),
        nacre_model_new(nacre_relu(), NULL, nacre_sgd(0)),
        nacre_model_new(nacre_relu(), nacre_mse(), nacre_sgd(.lr = -1)),
        nacre_model_new(NULL, nacre_mse(), nacre_sgd(0)),
        nacre_model_new(nacre_relu(), nacre_mse(), NULL),
    };
    const char *const messages[] = {"out is -1", "loss is NULL", "learning rate is -1", "NULL",
                                    "NULL"};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(nacre_model_status(bad[i]), NACRE_INVALID_ARGUMENT);
        assert_non_null(strstr(nacre_model_message(bad[i]), messages[i]));
        nacre_error_clear();
        assert_refused(nacre_fit(bad[i], set), messages[i]);
        nacre_model_free(bad[i]);
    }
    assert_int_equal(nacre_model_status(NULL), NACRE_INVALID_ARGUMENT);
    nacre_model_free(NULL);
    nacre_dataset_free(set);
}

static void data_of_another_width_is_reported(void **state) {
    (void)state;
    nacre_dataset *set = toy_set(8, false);
    nacre_model *m =
        nacre_model_new(nacre_linear(TOY_IN + 1, 3), nacre_cross_entropy(), nacre_sgd(0));
    nacre_history *h = nacre_fit(m, set);
    assert_non_null(h);
    assert_int_equal(h->outcome, NACRE_FIT_FAILED);
    assert_int_equal(h->steps, 0);
    assert_int_equal(nacre_error_code(), NACRE_SHAPE_MISMATCH);
    assert_non_null(strstr(nacre_error_message(), "[8,6]"));
    nacre_history_free(h);
    /* More classes in the data than outputs. */
    nacre_model *narrow =
        nacre_model_new(nacre_linear(TOY_IN, 2), nacre_cross_entropy(), nacre_sgd(0));
    h = nacre_fit(narrow, set);
    assert_int_equal(h->outcome, NACRE_FIT_FAILED);
    assert_int_equal(nacre_error_code(), NACRE_OUT_OF_RANGE);
    nacre_history_free(h);
    nacre_model_free(m);
    nacre_model_free(narrow);
    nacre_dataset_free(set);
}

/* ---- stopping ---- */

typedef struct calls {
    int64_t steps, epochs, stop_step, stop_epoch;
    double loss;
    bool cancel;
} calls;

static bool on_step(void *user, const nacre_step_report *report) {
    calls *c = user;
    assert_int_equal(report->step, c->steps);
    assert_true(isfinite(report->loss) && report->microseconds > 0 && report->lr > 0);
    c->loss = report->loss;
    if (c->cancel && report->step == 5) {
        nacre_cancel(true);
    }
    return ++c->steps == c->stop_step;
}

static bool on_epoch(void *user, const nacre_epoch_report *report) {
    calls *c = user;
    assert_int_equal(report->epoch, c->epochs);
    return ++c->epochs == c->stop_epoch;
}

static void a_callback_stops_after_its_step(void **state) {
    (void)state;
    nacre_dataset *set = toy_set(64, false);
    nacre_model *m = toy_model(nacre_adam(0)), *other = toy_model(nacre_adam(0));
    calls c = {.stop_step = 6};
    nacre_history *h = nacre_fit(m, set, .epochs = 4, .batch_size = 16, .on_step = on_step,
                                 .on_epoch = on_epoch, .user = &c);
    assert_int_equal(h->outcome, NACRE_FIT_INTERRUPTED);
    assert_int_equal(h->steps, 6);
    assert_int_equal(h->epochs, 1);
    assert_int_equal(nacre_optimizer_steps(nacre_model_optimizer(m)), 6);
    nacre_history_free(h);
    c = (calls){.stop_epoch = 2};
    h = nacre_fit(other, set, .epochs = 4, .batch_size = 16, .on_step = on_step,
                  .on_epoch = on_epoch, .user = &c);
    assert_int_equal(h->outcome, NACRE_FIT_INTERRUPTED);
    assert_int_equal(h->epochs, 2);
    nacre_history_free(h);
    nacre_model_free(m);
    nacre_model_free(other);
    nacre_dataset_free(set);
}

static void cancelling_leaves_the_last_whole_step(void **state) {
    (void)state;
    nacre_dataset *set = toy_set(64, false);
    nacre_model *m = toy_model(nacre_adam(0)), *other = toy_model(nacre_adam(0));
    calls c = {.cancel = true}, d = {.stop_step = 6};
    nacre_history *h =
        nacre_fit(m, set, .epochs = 4, .batch_size = 16, .on_step = on_step, .user = &c);
    nacre_cancel(false);
    assert_int_equal(h->outcome, NACRE_FIT_INTERRUPTED);
    assert_int_equal(h->steps, 6);
    nacre_history *wanted =
        nacre_fit(other, set, .epochs = 4, .batch_size = 16, .on_step = on_step, .user = &d);
    float a[TOY_PARAMETERS], b[TOY_PARAMETERS];
    toy_weights(m, a);
    toy_weights(other, b);
    assert_memory_equal(a, b, sizeof a);
    nacre_history_free(h);
    nacre_history_free(wanted);
    nacre_model_free(m);
    nacre_model_free(other);
    nacre_dataset_free(set);
}

static void the_target_accuracy_ends_the_run(void **state) {
    (void)state;
    nacre_dataset *set = toy_set(100, false);
    nacre_model *m = toy_model(nacre_adam(.lr = 0.02));
    nacre_history *h = nacre_fit(m, set, .validation = set, .epochs = 100, .batch_size = 10,
                                 .target_accuracy = 0.9);
    assert_int_equal(h->outcome, NACRE_FIT_TARGET);
    assert_true(h->epochs < 100 && h->epoch[h->epochs - 1].validation.accuracy >= 0.9);
    assert_true(h->epochs == 1 || h->epoch[h->epochs - 2].validation.accuracy < 0.9);
    nacre_history_free(h);
    nacre_model_free(m);
    nacre_dataset_free(set);
}

static void no_epochs_trains_nothing(void **state) {
    (void)state;
    nacre_dataset *set = toy_set(10, false);
    nacre_model *m = toy_model(nacre_adam(0));
    nacre_history *h = nacre_fit(m, set, .no_epochs = true);
    assert_non_null(h);
    assert_int_equal(h->epochs, 0);
    assert_int_equal(h->steps, 0);
    assert_true(isnan(h->best_validation_loss));
    nacre_history_free(h);
    nacre_model_free(m);
    nacre_dataset_free(set);
}

static void an_open_schedule_gets_the_runs_length(void **state) {
    (void)state;
    nacre_dataset *set = toy_set(40, false);
    nacre_model *m = toy_model(nacre_adam(.lr = 0.1));
    nacre_optimizer_set_schedule(nacre_model_optimizer(m), nacre_onecycle(0), 0);
    nacre_history *h = nacre_fit(m, set, .epochs = 2, .batch_size = 4);
    nacre_schedule *same = nacre_onecycle(0);
    assert_true(h->epoch[0].lr == nacre_schedule_rate(same, 0.1, 0, 20));
    assert_true(h->epoch[1].lr == nacre_schedule_rate(same, 0.1, 10, 20));
    nacre_schedule_free(same);
    nacre_history_free(h);
    nacre_model_free(m);
    nacre_dataset_free(set);
}

/* ---- evaluation ---- */

static void evaluation_does_not_depend_on_the_batch_size(void **state) {
    (void)state;
    nacre_dataset *set = toy_set(97, false);
    nacre_model *m = toy_model(nacre_adam(0));
    nacre_metrics whole, metrics;
    assert_int_equal(nacre_evaluate(m, set, 0, &whole), NACRE_OK);
    assert_int_equal(whole.samples, 97);
    const int64_t sizes[] = {1, 2, 13, 96, 97, 5000};
    for (int i = 0; i < 6; i++) {
        assert_int_equal(nacre_evaluate(m, set, sizes[i], &metrics), NACRE_OK);
        assert_true(metrics.accuracy == whole.accuracy);
        assert_true(fabs(metrics.loss - whole.loss) < 1e-6);
    }
    /* By hand. */
    nacre_batch b = toy_batch(set, 0, 97);
    nacre_tensor *y = nacre_predict(m, b.inputs);
    const float *out = nacre_data(y);
    const int64_t *t = nacre_data(b.targets);
    int right = 0;
    for (int i = 0; i < 97; i++) {
        int best = 0;
        for (int k = 1; k < TOY_CLASSES; k++) {
            best = out[i * TOY_CLASSES + k] > out[i * TOY_CLASSES + best] ? k : best;
        }
        right += best == t[i];
    }
    assert_true(whole.accuracy == right / 97.0);
    /* A sample's outputs do not depend on its company. */
    nacre_tensor *one = nacre_predict(m, nacre_slice(b.inputs, 0, 5, 6, 1));
    assert_memory_equal(nacre_data(one), out + 5 * TOY_CLASSES, TOY_CLASSES * sizeof(float));
    nacre_model_free(m);
    nacre_dataset_free(set);
}

static void evaluation_leaves_mode_gradients_and_memory(void **state) {
    (void)state;
    nacre_dataset *set = toy_set(40, false);
    nacre_model *m = toy_model(nacre_adam(0));
    nacre_module *net = nacre_model_network(m), *frozen = nacre_module_child(net, 1);
    nacre_module_set_mode(frozen, NACRE_EVAL);
    nacre_metrics metrics;
    uint64_t blocks = 0;
    for (int i = 0; i < 10; i++) {
        nacre_evaluate(m, set, 16, &metrics);
        blocks = i == 2 ? nacre_memory().live_blocks : blocks;
    }
    assert_int_equal(nacre_memory().live_blocks, blocks);
    assert_int_equal(nacre_module_mode(net), NACRE_TRAIN);
    assert_int_equal(nacre_module_mode(frozen), NACRE_EVAL);
    assert_true(nacre_grad_enabled());
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *y = nacre_predict(m, nacre_zeros(NACRE_SHAPE(2, TOY_IN)));
    assert_false(nacre_has_requires_grad(y));
    assert_int_equal(nacre_module_mode(net), NACRE_TRAIN);
    nacre_scope_end(scope);
    nacre_model_free(m);
    nacre_dataset_free(set);
}

static nacre_model *wide_model(void) {
    nacre_seed(1);
    return nacre_model_new(
        nacre_sequential(nacre_linear(TOY_IN, 256), nacre_relu(), nacre_linear(256, TOY_CLASSES)),
        nacre_cross_entropy(), nacre_adam(.lr = 0.01));
}

static void validation_takes_no_more_memory_than_a_step_and_gives_the_same_bits(void **state) {
    (void)state;
    nacre_dataset *set = toy_set(64, false), *held = toy_set(403, false);
    nacre_model *models[] = {wide_model(), wide_model()};
    nacre_history *h[2];
    nacre_metrics metrics;
    h[0] = nacre_fit(models[0], set, .epochs = 3, .batch_size = 8, .validation = held);
    nacre_model *other = wide_model();
    nacre_history *steps = nacre_fit(other, set, .batch_size = 8);
    nacre_set_memory_limit(nacre_plan_statistics().last_peak_bytes);
    h[1] = nacre_fit(models[1], set, .epochs = 3, .batch_size = 8, .validation = held);
    assert_int_equal(h[1]->outcome, NACRE_FIT_DONE);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(h[1]->epoch[i].validation.samples, 403);
        assert_true(h[0]->epoch[i].validation.loss == h[1]->epoch[i].validation.loss);
        assert_true(h[0]->epoch[i].validation.accuracy == h[1]->epoch[i].validation.accuracy);
    }
    /* All samples at once do not fit; the message says what was refused, and of a step likewise. */
    assert_int_equal(nacre_evaluate(models[1], held, 0, &metrics), NACRE_OUT_OF_MEMORY);
    assert_non_null(strstr(nacre_error_message(), "the evaluation of 403 samples: the plan needs"));
    nacre_history *larger = nacre_fit(models[1], set, .batch_size = 64);
    assert_int_equal(larger->outcome, NACRE_FIT_FAILED);
    assert_non_null(strstr(nacre_error_message(), "a training step of 64 samples: the plan needs"));
    nacre_set_memory_limit(0);
    nacre_history *histories[] = {h[0], h[1], steps, larger};
    for (int i = 0; i < 4; i++) {
        nacre_history_free(histories[i]);
    }
    nacre_model_free(models[0]);
    nacre_model_free(models[1]);
    nacre_model_free(other);
    nacre_dataset_free(held);
    nacre_dataset_free(set);
}

/* A step takes one sample; the evaluation computes as few at once, but its loss is that of all 403. */
static void a_refused_evaluation_is_told_before_the_first_step(void **state) {
    (void)state;
    nacre_dataset *set = toy_set(20, false), *held = toy_set(403, false);
    nacre_model *m = toy_model(nacre_adam(.lr = 0.1)), *other = toy_model(nacre_adam(.lr = 0.1));
    float before[TOY_PARAMETERS], after[TOY_PARAMETERS];
    toy_weights(m, before);
    nacre_history *step = nacre_fit(other, set, .batch_size = 1);
    size_t enough = nacre_plan_statistics().last_peak_bytes;
    const size_t limits[] = {enough, 1};
    const char *const words[] = {"the loss of an evaluation of 403 samples: the plan needs",
                                 "a training step of 1 sample: the plan needs"};
    for (int i = 0; i < 2; i++) {
        nacre_set_memory_limit(limits[i]);
        nacre_history *h = nacre_fit(m, set, .batch_size = 1, .validation = held);
        assert_non_null(h);
        assert_int_equal(h->outcome, NACRE_FIT_FAILED);
        assert_int_equal(h->steps, 0);
        assert_int_equal(h->epochs, 0);
        if (!strstr(nacre_error_message(), words[i])) fail_msg("%s", nacre_error_message());
        nacre_set_memory_limit(0);
        nacre_history_free(h);
        toy_weights(m, after);
        assert_memory_equal(before, after, sizeof before);
    }
    /* Fewer samples of a loss fit, and give the weights that training without a limit gives. */
    nacre_set_memory_limit(enough);
    nacre_history *h =
        nacre_fit(m, set, .batch_size = 1, .validation = held, .validation_batch_size = 8);
    nacre_set_memory_limit(0);
    assert_int_equal(h->outcome, NACRE_FIT_DONE);
    toy_weights(m, after);
    toy_weights(other, before);
    assert_memory_equal(before, after, sizeof before);
    nacre_history_free(h);
    nacre_history_free(step);
    nacre_model_free(m);
    nacre_model_free(other);
    nacre_dataset_free(held);
    nacre_dataset_free(set);
}

static nacre_tensor *mean_of_all(nacre_module *module, void *self, nacre_tensor *x) {
    (void)module, (void)self;
    return nacre_mean(x, .axes = NACRE_AXES(0), .keepdims = true);
}

static void an_output_that_is_not_of_samples_cannot_be_computed_in_pieces(void **state) {
    (void)state;
    nacre_dataset *set = toy_set(8, false);
    const nacre_module_class class_ = {
        .size = sizeof class_, .name = "Mean", .forward = mean_of_all};
    nacre_model *m =
        nacre_model_new(nacre_module_new(&class_, NULL), nacre_cross_entropy(), nacre_sgd(0));
    nacre_batch batch = toy_batch(set, 0, 8);
    nacre_batch_result result;
    uint64_t blocks = nacre_memory().live_blocks;
    assert_int_equal(nacre_model_judge(m, &batch, true, 3, &result), NACRE_SHAPE_MISMATCH);
    assert_non_null(strstr(nacre_error_message(), "3 at a time, and their output is [1,6]"));
    assert_true(nacre_memory().live_blocks <= blocks + 8); /* lists of the thread grow once */
    nacre_model_free(m);
    nacre_dataset_free(set);
}

static void regression_has_no_accuracy(void **state) {
    (void)state;
    float x[8], y[8];
    for (int i = 0; i < 8; i++) {
        x[i] = (float)i;
        y[i] = (float)(2 * i);
    }
    nacre_dataset *set =
        nacre_dataset_from_arrays(&(nacre_arrays_options){.size = sizeof(nacre_arrays_options),
                                                          .inputs = x,
                                                          .input_shape = NACRE_SHAPE(1),
                                                          .input_dtype = NACRE_F32,
                                                          .targets = y,
                                                          .target_shape = NACRE_SHAPE(1),
                                                          .target_dtype = NACRE_F32,
                                                          .count = 8});
    nacre_model *m = nacre_model_new(nacre_linear(1, 1), nacre_mse(), nacre_sgd(.lr = 0.01));
    nacre_history *h = nacre_fit(m, set, .epochs = 20, .batch_size = 8);
    assert_int_equal(h->outcome, NACRE_FIT_DONE);
    assert_true(isnan(h->epoch[0].train.accuracy));
    assert_true(h->epoch[19].train.loss < 0.01 * h->epoch[0].train.loss);
    nacre_history_free(h);
    nacre_model_free(m);
    nacre_dataset_free(set);
}

/* ---- the log ---- */

static char logged[4096];

static void keep_line(void *user, const char *line) {
    (void)user;
    size_t used = strlen(logged);
    snprintf(logged + used, sizeof logged - used, "%s\n", line);
}

static void verbose_writes_one_line_per_epoch(void **state) {
    (void)state;
    nacre_dataset *set = toy_set(40, false);
    nacre_model *m = toy_model(nacre_adam(0));
    logged[0] = '\0';
    nacre_set_log(keep_line, NULL);
    nacre_history *h = nacre_fit(m, set, .validation = set, .epochs = 2, .verbose = true);
    nacre_history *quiet = nacre_fit(m, set, .epochs = 1);
    nacre_set_log(NULL, NULL);
    char start[128];
    snprintf(start, sizeof start,
             "Epoch 1/2: loss = %.4f, val_loss = %.4f, accuracy = %.4f, val_accuracy = %.4f, ",
             h->epoch[0].train.loss, h->epoch[0].validation.loss, h->epoch[0].train.accuracy,
             h->epoch[0].validation.accuracy);
    assert_int_equal(strncmp(logged, start, strlen(start)), 0);
    assert_non_null(strstr(logged, "\nEpoch 2/2: loss = "));
    assert_null(strstr(logged, "Epoch 1/1"));
    nacre_history_free(h);
    nacre_history_free(quiet);
    nacre_model_free(m);
    nacre_dataset_free(set);
}

/* Pictures without a channel for a convolution: the layer is named, and no line of the library. */
static void a_batch_that_does_not_fit_names_its_layer(void **state) {
    (void)state;
    nacre_dataset *set = nacre_procedural_digits(16, 1, false);
    nacre_model *m =
        nacre_model_new(nacre_sequential(nacre_conv2d(1, 2, {5, 5}), nacre_relu(), nacre_flatten(),
                                         nacre_linear(2 * 24 * 24, 10)),
                        nacre_cross_entropy(), nacre_sgd(0.1));
    nacre_history *h = nacre_fit(m, set, .batch_size = 8);
    assert_non_null(h);
    assert_int_equal(h->outcome, NACRE_FIT_FAILED);
    nacre_history_free(h);
    assert_int_equal(nacre_error_code(), NACRE_SHAPE_MISMATCH);
    assert_non_null(strstr(nacre_error_message(), "layer 0 (Conv2d): conv2d: "));
    assert_null(strstr(nacre_error_message(), ".c:"));
    nacre_metrics metrics;
    assert_int_equal(nacre_evaluate(m, set, 0, &metrics), NACRE_SHAPE_MISMATCH);
    assert_non_null(strstr(nacre_error_message(), "layer 0 (Conv2d): conv2d: "));
    assert_null(strstr(nacre_error_message(), ".c:"));
    nacre_model_free(m);
    nacre_dataset_free(set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fit_learns_and_keeps_its_history),
        cmocka_unit_test(the_same_seed_gives_the_same_bits),
        cmocka_unit_test(one_hot_targets_train_as_indices_do),
        cmocka_unit_test(sets_and_batches_of_any_size_train),
        cmocka_unit_test(extreme_rates_do_not_crash),
        cmocka_unit_test(bad_options_are_named),
        cmocka_unit_test(a_model_carries_the_error_of_its_parts),
        cmocka_unit_test(data_of_another_width_is_reported),
        cmocka_unit_test(a_callback_stops_after_its_step),
        cmocka_unit_test(cancelling_leaves_the_last_whole_step),
        cmocka_unit_test(the_target_accuracy_ends_the_run),
        cmocka_unit_test(no_epochs_trains_nothing),
        cmocka_unit_test(an_open_schedule_gets_the_runs_length),
        cmocka_unit_test(evaluation_does_not_depend_on_the_batch_size),
        cmocka_unit_test(evaluation_leaves_mode_gradients_and_memory),
        cmocka_unit_test(validation_takes_no_more_memory_than_a_step_and_gives_the_same_bits),
        cmocka_unit_test(a_refused_evaluation_is_told_before_the_first_step),
        cmocka_unit_test(an_output_that_is_not_of_samples_cannot_be_computed_in_pieces),
        cmocka_unit_test(regression_has_no_accuracy),
        cmocka_unit_test(verbose_writes_one_line_per_epoch),
        cmocka_unit_test(a_batch_that_does_not_fit_names_its_layer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
