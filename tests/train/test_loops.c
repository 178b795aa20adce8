/* The ordinary loops that people write by hand. */
#include "toy.h"

static nacre_dataset *set;

static int group_begin(void **state) {
    (void)state;
    set = toy_set(64, false);
    return 0;
}

static int group_end(void **state) {
    (void)state;
    nacre_dataset_free(set);
    return 0;
}

static nacre_tensor *forward_loss(nacre_model *m, const nacre_batch *b, nacre_tensor **logits) {
    *logits = nacre_module_forward(nacre_model_network(m), b->inputs);
    return nacre_loss_compute(nacre_model_loss(m), *logits, b->targets);
}

static void loss_and_accuracy_are_read_after_the_step(void **state) {
    (void)state;
    nacre_model *m = toy_model(nacre_adam(.lr = 0.01));
    double first = 0, last = 0, accuracy = 0;
    for (int i = 0; i < 200; i++) {
        nacre_scope scope = nacre_scope_begin();
        nacre_batch b = toy_batch(set, 0, 64);
        nacre_tensor *y, *loss = forward_loss(m, &b, &y);
        nacre_tensor *right =
            nacre_mean(nacre_float(nacre_equal(nacre_argmax(y, .axes = NACRE_AXES(1)), b.targets)));
        assert_int_equal(nacre_backward(loss), NACRE_OK);
        nacre_plan_stats before = nacre_plan_statistics();
        assert_int_equal(nacre_step(nacre_model_optimizer(m)), NACRE_OK);
        last = nacre_item(loss);
        accuracy = nacre_item(right);
        nacre_plan_stats after = nacre_plan_statistics();
        assert_int_equal(after.made + after.replays, before.made + before.replays + 1);
        first = i == 0 ? last : first;
        assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    }
    assert_true(first > 0.9 && last < 0.1);
    assert_true(accuracy > 0.98);
    nacre_model_free(m);
}

/* Gradients of the mean over 64 are the mean of those over 4 times 16. */
static void four_micro_batches_equal_the_large_batch(void **state) {
    (void)state;
    nacre_model *large = toy_model(nacre_sgd(.lr = 0.5)), *small = toy_model(nacre_sgd(.lr = 0.5));
    uint64_t blocks = 0;
    size_t bytes = 0;
    for (int step = 0; step < 20; step++) {
        nacre_scope scope = nacre_scope_begin();
        nacre_tensor *y;
        nacre_batch b = toy_batch(set, 0, 64);
        assert_int_equal(nacre_backward(forward_loss(large, &b, &y)), NACRE_OK);
        assert_int_equal(nacre_step(nacre_model_optimizer(large)), NACRE_OK);
        assert_int_equal(nacre_scope_end(scope), NACRE_OK);
        for (int k = 0; k < 4; k++) {
            scope = nacre_scope_begin();
            b = toy_batch(set, 16 * k, 16);
            nacre_tensor *share = nacre_mul_scalar(forward_loss(small, &b, &y), 0.25);
            assert_int_equal(nacre_backward(share), NACRE_OK);
            if (k == 3) {
                assert_int_equal(nacre_step(nacre_model_optimizer(small)), NACRE_OK);
            }
            assert_int_equal(nacre_scope_end(scope), NACRE_OK);
        }
        if (step == 2) {
            blocks = nacre_memory().live_blocks;
            bytes = nacre_memory().live_bytes;
        }
    }
    assert_int_equal(nacre_memory().live_blocks, blocks);
    assert_int_equal(nacre_memory().live_bytes, bytes);
    float a[TOY_PARAMETERS], b[TOY_PARAMETERS];
    toy_weights(large, a);
    toy_weights(small, b);
    for (int i = 0; i < TOY_PARAMETERS; i++) {
        assert_true(fabsf(a[i] - b[i]) < 1e-4f);
    }
    nacre_model_free(large);
    nacre_model_free(small);
}

/* What the plans ran: with the loss read first, the second one may hold no product of the forward pass. */
static void reading_the_loss_before_backward_costs_no_second_forward(void **state) {
    (void)state;
    nacre_model *early = toy_model(nacre_sgd(.lr = 0.1)), *late = toy_model(nacre_sgd(.lr = 0.1));
    for (int i = 0; i < 5; i++) {
        nacre_scope scope = nacre_scope_begin();
        nacre_batch b = toy_batch(set, 0, 32);
        nacre_tensor *y, *loss = forward_loss(early, &b, &y);
        nacre_explanation *whole = nacre_explain(loss);
        double value = nacre_item(loss), forward_flops = whole->flops;
        nacre_explanation_free(whole);
        assert_int_equal(nacre_backward(loss), NACRE_OK);
        nacre_explanation *rest =
            nacre_explain(nacre_grad(nacre_module_parameter_at(nacre_model_network(early), 0)));
        nacre_tensor *y2, *again = forward_loss(late, &b, &y2);
        assert_int_equal(nacre_backward(again), NACRE_OK);
        nacre_explanation *both =
            nacre_explain(nacre_grad(nacre_module_parameter_at(nacre_model_network(late), 0)));
        /* `both` has the pending backward pass of `early` in it, too. */
        assert_true(both->flops - rest->flops >= rest->flops + 0.99 * forward_flops);
        nacre_explanation_free(rest);
        nacre_explanation_free(both);
        assert_int_equal(nacre_step(nacre_model_optimizer(early)), NACRE_OK);
        assert_int_equal(nacre_step(nacre_model_optimizer(late)), NACRE_OK);
        assert_true(nacre_item(again) == value);
        assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    }
    float a[TOY_PARAMETERS], b[TOY_PARAMETERS];
    toy_weights(early, a);
    toy_weights(late, b);
    assert_memory_equal(a, b, sizeof a);
    nacre_model_free(early);
    nacre_model_free(late);
}

static void a_validation_batch_is_used_again_and_again(void **state) {
    (void)state;
    nacre_model *m = toy_model(nacre_adam(.lr = 0.01));
    nacre_batch held = toy_batch(set, 48, 16);
    double before = INFINITY;
    uint64_t made = 0;
    for (int i = 0; i < 30; i++) {
        nacre_scope scope = nacre_scope_begin();
        nacre_batch b = toy_batch(set, 0, 48);
        nacre_tensor *y, *loss = forward_loss(m, &b, &y);
        assert_int_equal(nacre_backward(loss), NACRE_OK);
        assert_int_equal(nacre_step(nacre_model_optimizer(m)), NACRE_OK);
        bool grad = nacre_set_grad_enabled(false);
        double value = nacre_item(forward_loss(m, &held, &y));
        nacre_set_grad_enabled(grad);
        assert_true(value < before);
        before = value;
        assert_int_equal(nacre_scope_end(scope), NACRE_OK);
        if (i == 1) {
            made = nacre_plan_statistics().made;
        }
    }
    assert_int_equal(nacre_plan_statistics().made, made);
    nacre_model_free(m);
}

static void a_smaller_last_batch_is_one_more_plan(void **state) {
    (void)state;
    nacre_model *m = toy_model(nacre_adam(.lr = 0.01));
    nacre_loader *loader = nacre_loader_create(set, .batch_size = 24, .shuffle = true);
    nacre_metrics metrics;
    uint64_t before = nacre_plan_statistics().made, after_first = 0;
    for (int epoch = 0; epoch < 4; epoch++) {
        nacre_loader_start(loader, epoch, 0);
        assert_int_equal(nacre_train_epoch(m, loader, &metrics), NACRE_OK);
        assert_int_equal(metrics.samples, 64);
        after_first = epoch == 0 ? nacre_plan_statistics().made : after_first;
    }
    assert_int_equal(after_first - before, 2);
    assert_int_equal(nacre_plan_statistics().made, after_first);
    nacre_loader_free(loader);
    nacre_model_free(m);
}

static void an_error_in_the_middle_is_reported_at_the_end(void **state) {
    (void)state;
    nacre_model *m = toy_model(nacre_sgd(.lr = 0.1));
    float before[TOY_PARAMETERS], after[TOY_PARAMETERS];
    toy_weights(m, before);
    nacre_scope scope = nacre_scope_begin();
    nacre_batch b = toy_batch(set, 0, 8);
    nacre_tensor *loss =
        nacre_mean(nacre_mul(nacre_add(nacre_module_forward(nacre_model_network(m), b.inputs),
                                       nacre_zeros(NACRE_SHAPE(5))),
                             nacre_exp(b.inputs)));
    assert_int_equal(nacre_tensor_status(loss), NACRE_SHAPE_MISMATCH);
    assert_non_null(strstr(nacre_tensor_message(loss), "add"));
    assert_non_null(strstr(nacre_tensor_message(loss), "test_loops.c"));
    assert_int_equal(nacre_backward(loss), NACRE_SHAPE_MISMATCH);
    assert_int_equal(nacre_step(nacre_model_optimizer(m)), NACRE_INVALID_STATE);
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    toy_weights(m, after);
    assert_memory_equal(before, after, sizeof before);
    nacre_model_free(m);
}

static void check_unchanged(nacre_model *m, const float *before, int64_t steps) {
    float after[TOY_PARAMETERS];
    toy_weights(m, after);
    assert_memory_equal(before, after, sizeof after);
    assert_int_equal(nacre_optimizer_steps(nacre_model_optimizer(m)), steps);
    nacre_state_dict *dict = nacre_optimizer_state(nacre_model_optimizer(m));
    assert_int_equal(nacre_item_i64(nacre_state_dict_find(dict, "step")), steps);
    nacre_state_dict_free(dict);
}

static void a_cancelled_step_changes_nothing_and_can_be_taken_again(void **state) {
    (void)state;
    nacre_model *m = toy_model(nacre_adam(.lr = 0.01)), *other = toy_model(nacre_adam(.lr = 0.01));
    float before[TOY_PARAMETERS], a[TOY_PARAMETERS], b[TOY_PARAMETERS];
    toy_weights(m, before);
    for (int i = 0; i < 2; i++) {
        nacre_scope scope = nacre_scope_begin();
        nacre_batch batch = toy_batch(set, 0, 8);
        nacre_tensor *y, *loss = forward_loss(m, &batch, &y);
        assert_int_equal(nacre_backward(loss), NACRE_OK);
        nacre_cancel(i == 0);
        nacre_status status = nacre_step(nacre_model_optimizer(m));
        nacre_cancel(false);
        assert_int_equal(status, i == 0 ? NACRE_CANCELLED : NACRE_OK);
        assert_int_equal(nacre_scope_end(scope), NACRE_OK);
        if (i == 0) {
            check_unchanged(m, before, 0);
        }
        nacre_module_zero_grad(nacre_model_network(m));
    }
    nacre_batch batch = toy_batch(set, 0, 8);
    nacre_tensor *y;
    nacre_backward(forward_loss(other, &batch, &y));
    assert_int_equal(nacre_step(nacre_model_optimizer(other)), NACRE_OK);
    toy_weights(m, a);
    toy_weights(other, b);
    assert_memory_equal(a, b, sizeof a);
    nacre_model_free(m);
    nacre_model_free(other);
}

/* One public training step; the first failure. */
static nacre_status whole_step(nacre_model *m) {
    nacre_scope scope = nacre_scope_begin();
    if (scope < 0) {
        return nacre_error_code();
    }
    nacre_batch b = {0};
    static float x[8 * TOY_IN];
    static int64_t t[8];
    b.inputs = nacre_from_data(x, NACRE_SHAPE(8, TOY_IN), .dtype = NACRE_F32);
    b.targets = nacre_from_data(t, NACRE_SHAPE(8), .dtype = NACRE_I64);
    x[0] = x[9] = 1;
    nacre_tensor *y, *loss = forward_loss(m, &b, &y);
    nacre_status status = nacre_backward(loss);
    if (status == NACRE_OK) {
        status = nacre_step(nacre_model_optimizer(m));
    }
    if (status == NACRE_OK) {
        assert_true(isfinite(nacre_item(loss)));
    }
    nacre_module_zero_grad(nacre_model_network(m));
    nacre_status ended = nacre_scope_end(scope);
    return status != NACRE_OK ? status : ended;
}

/* Each n in turn is the allocation that fails, from an empty plan cache on. */
static void every_failing_allocation_of_a_step_leaves_the_weights(void **state) {
    (void)state;
    bool succeeded = false;
    uint64_t blocks = 0;
    for (uint64_t n = 1; !succeeded && n < 5000; n++) {
        nacre_model *m = toy_model(nacre_adam(.lr = 0.01));
        nacre_optimizer_clip_norm(nacre_model_optimizer(m), 1);
        float before[TOY_PARAMETERS];
        toy_weights(m, before);
        nacre_plan_cache_clear();
        nacre_memory_fail_at(n);
        nacre_error_clear();
        nacre_status status = whole_step(m);
        nacre_memory_fail_at(0);
        succeeded = status == NACRE_OK;
        if (!succeeded) {
            if (status != NACRE_OUT_OF_MEMORY)
                fail_msg("allocation %d: %d %s", (int)n, (int)status, nacre_error_message());
            assert_true(strlen(nacre_error_message()) > 0);
            check_unchanged(m, before, 0);
            assert_int_equal(whole_step(m), NACRE_OK);
        }
        nacre_model_free(m);
        nacre_plan_cache_clear();
        if (n == 20) {
            blocks = nacre_memory().live_blocks;
        }
        assert_true(n < 20 || nacre_memory().live_blocks <= blocks);
    }
    assert_true(succeeded);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loss_and_accuracy_are_read_after_the_step),
        cmocka_unit_test(four_micro_batches_equal_the_large_batch),
        cmocka_unit_test(reading_the_loss_before_backward_costs_no_second_forward),
        cmocka_unit_test(a_validation_batch_is_used_again_and_again),
        cmocka_unit_test(a_smaller_last_batch_is_one_more_plan),
        cmocka_unit_test(an_error_in_the_middle_is_reported_at_the_end),
        cmocka_unit_test(a_cancelled_step_changes_nothing_and_can_be_taken_again),
        cmocka_unit_test(every_failing_allocation_of_a_step_leaves_the_weights),
    };
    return cmocka_run_group_tests(tests, group_begin, group_end);
}
