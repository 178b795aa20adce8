/* Memory over long runs, and when there is none. */
#include "toy.h"

static nacre_memory_stats after[1000];

static bool note(void *user, const nacre_epoch_report *report) {
    (void)user;
    after[report->epoch] = nacre_memory();
    return false;
}

/* 1000 epochs of 256 samples, with a last smaller batch, a validation set and prefetching. */
static void a_thousand_epochs_hold_what_two_hold(void **state) {
    (void)state;
    nacre_dataset *set = toy_set(256, false), *held = nacre_dataset_head(set, 100);
    nacre_model *m = toy_model(nacre_adam(.lr = 1e-3));
    nacre_history *h =
        nacre_fit(m, set, .validation = held, .epochs = 1000, .batch_size = 48, .on_epoch = note);
    assert_non_null(h);
    assert_int_equal(h->outcome, NACRE_FIT_DONE);
    assert_int_equal(h->epochs, 1000);
    for (int i = 2; i < 1000; i++) {
        assert_int_equal(after[i].live_bytes, after[1].live_bytes);
        assert_int_equal(after[i].live_blocks, after[1].live_blocks);
        assert_int_equal(after[i].allocations, after[1].allocations);
    }
    assert_true(h->epoch[999].train.loss < 0.01);
    nacre_history_free(h);
    nacre_model_free(m);
    nacre_dataset_free(held);
    nacre_dataset_free(set);
}

/* One model from birth to death: nothing stays. */
static void train_once(nacre_dataset *set) {
    nacre_scope scope = nacre_scope_begin();
    nacre_model *m = toy_model(nacre_adam(0));
    nacre_history *h =
        nacre_fit(m, set, .validation = set, .epochs = 2, .batch_size = 16, .prefetch = 1);
    assert_non_null(h);
    nacre_metrics metrics;
    assert_int_equal(nacre_evaluate(m, set, 0, &metrics), NACRE_OK);
    nacre_history_free(h);
    nacre_model_free(m);
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
}

static void runs_leak_neither_tensors_nor_parameters(void **state) {
    (void)state;
    nacre_dataset *set = toy_set(40, false);
    train_once(set);
    train_once(set);
    nacre_memory_stats before = nacre_memory();
    for (int i = 0; i < 10; i++) {
        train_once(set);
    }
    assert_int_equal(nacre_memory().live_blocks, before.live_blocks);
    assert_int_equal(nacre_memory().live_bytes, before.live_bytes);
    nacre_dataset_free(set);
}

/* Every allocation of a whole small run fails once: an error, never a crash, never a leak. */
static void every_failing_allocation_of_a_run_is_reported(void **state) {
    (void)state;
    nacre_dataset *set = toy_set(12, false);
    train_once(set);
    uint64_t blocks = 0;
    bool succeeded = false;
    for (uint64_t n = 1; !succeeded && n < 5000; n++) {
        nacre_plan_cache_clear();
        nacre_error_clear();
        nacre_scope scope = nacre_scope_begin();
        nacre_memory_fail_at(n);
        nacre_seed(1);
        nacre_model *m = nacre_model_new(
            nacre_sequential(nacre_linear(TOY_IN, 8), nacre_relu(), nacre_linear(8, TOY_CLASSES)),
            nacre_cross_entropy(), nacre_adam(0));
        nacre_history *h =
            nacre_fit(m, set, .validation = set, .epochs = 2, .batch_size = 8, .prefetch = -1);
        nacre_memory_fail_at(0);
        succeeded = h && h->outcome == NACRE_FIT_DONE && nacre_model_status(m) == NACRE_OK;
        if (!succeeded) {
            assert_int_not_equal(nacre_error_code(), NACRE_OK);
            assert_true(!h || h->outcome == NACRE_FIT_FAILED);
        }
        nacre_history_free(h);
        nacre_model_free(m);
        nacre_scope_end(scope);
        nacre_plan_cache_clear();
        blocks = n == 30 ? nacre_memory().live_blocks : blocks;
        /* Lists of the thread may grow once; nothing else stays. */
        assert_true(n <= 30 || nacre_memory().live_blocks <= blocks + 8);
    }
    assert_true(succeeded);
    nacre_dataset_free(set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thousand_epochs_hold_what_two_hold),
        cmocka_unit_test(runs_leak_neither_tensors_nor_parameters),
        cmocka_unit_test(every_failing_allocation_of_a_run_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
