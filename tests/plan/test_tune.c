/* Tuning while the program's own work runs: what is computed meanwhile, and by the table after it, has the bits that it
   has without. */
#include "support.h"

#include "backend/cpu/tune.h"
#include "base/memory.h"
#include "base/thread.h"

#include <nacre/nacre.h>
#include <string.h>

enum { ROWS = 33, IN = 70, OUT = 53, STEPS = 800 };

static nacre_tensor *parameter(nacre_shape shape, uint64_t stream) {
    nacre_tensor *t = nacre_rand(shape, .stream = stream);
    assert_int_equal(nacre_eval(t), NACRE_OK);
    return t;
}

/* w -= 1e-4 relu(x w^T)^T x: two products, one of them of transposed operands. */
static nacre_status step(nacre_tensor *w) {
    nacre_scope scope = nacre_scope_begin();
    if (scope < 0) return nacre_error_code();
    nacre_tensor *x = nacre_add_scalar(nacre_rand(NACRE_SHAPE(ROWS, IN), .stream = 7), -0.5);
    nacre_tensor *y = nacre_f_relu(nacre_f_linear(x, w, NULL));
    nacre_tensor *g = nacre_matmul(nacre_transpose(y, 0, 1), x);
    nacre_status status = nacre_assign(w, nacre_sub(w, nacre_mul_scalar(g, 1e-4)));
    if (status == NACRE_OK) status = nacre_eval(w);
    nacre_status ended = nacre_scope_end(scope);
    return status != NACRE_OK ? status : ended;
}

/* The weights after some steps from the seed. */
static void train(int steps, float out[OUT * IN]) {
    nacre_scope scope = nacre_scope_begin();
    nacre_seed(5);
    nacre_tensor *w = parameter(NACRE_SHAPE(OUT, IN), 1);
    for (int i = 0; i < steps; i++) assert_int_equal(step(w), NACRE_OK);
    assert_int_equal(nacre_copy_to(w, out, sizeof(float) * OUT * IN), NACRE_OK);
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
}

static float want[OUT * IN], got[OUT * IN];

static void tuning_changes_no_bit(void **state) {
    (void)state;
    for (int threads = 1; threads <= 2; threads++) {
        assert_int_equal(nacre_set_threads(threads), NACRE_OK);
        nacre_tuning_clear();
        nacre_plan_cache_clear();
        train(STEPS, want);
        assert_int_equal(nacre_tune_begin(), NACRE_OK);
        assert_int_equal(nacre_plan_statistics().cached, 0);
        train(STEPS, got);
        assert_memory_equal(got, want, sizeof want);

        assert_int_equal(nacre_tune_count(), 2);
        size_t better = 0;
        for (size_t i = 0; i < nacre_tune_count(); i++) {
            nacre_tune_result result = nacre_tune_result_at(i);
            assert_int_equal(result.key.threads, threads);
            assert_true(result.candidates > 3 && result.rounds >= 5);
            assert_true(result.best_us > 0 && result.best_us <= result.rules_us);
            bool rule = nacre_product_is_rule(&result.best);
            assert_true(rule || result.best_us < 0.97 * result.rules_us);
            better += !rule;
        }
        assert_int_equal(nacre_tune_end(), NACRE_OK);
        assert_int_equal(nacre_tuning_count(), better);
        train(STEPS, got);
        assert_memory_equal(got, want, sizeof want);
    }
    nacre_tuning_clear();
    assert_int_equal(nacre_set_threads(0), NACRE_OK);
}

static void too_few_runs_change_no_entry(void **state) {
    (void)state;
    nacre_plan_cache_clear();
    assert_int_equal(nacre_tune_begin(), NACRE_OK);
    train(1, got);
    nacre_tuning_entry entry = {.key = nacre_tune_result_at(0).key, .choice = {.task = 26}};
    nacre_tuning_table table = {0};
    assert_int_equal(nacre_tuning_put(&table, &entry), NACRE_OK);
    nacre_tuning_use(&table);
    assert_int_equal(nacre_tune_end(), NACRE_OK);
    assert_int_equal(nacre_tuning_count(), 1);
    nacre_tuning_clear();
}

static void replays_that_tune_allocate_nothing(void **state) {
    (void)state;
    nacre_scope scope = nacre_scope_begin();
    nacre_tensor *w = parameter(NACRE_SHAPE(OUT, IN), 1);
    assert_int_equal(nacre_tune_begin(), NACRE_OK);
    for (int i = 0; i < 5; i++) assert_int_equal(step(w), NACRE_OK);
    uint64_t before = nacre_memory().allocations;
    for (int i = 0; i < 200; i++) assert_int_equal(step(w), NACRE_OK);
    assert_int_equal(nacre_memory().allocations, before);
    assert_int_equal(nacre_tune_end(), NACRE_OK);
    nacre_tuning_clear();
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
}

static void *end_elsewhere(void *status) {
    *(nacre_status *)status = nacre_tune_end();
    return NULL;
}

static void a_session_begins_and_ends_once(void **state) {
    (void)state;
    assert_int_equal(nacre_tune_end(), NACRE_INVALID_STATE);
    assert_non_null(strstr(nacre_error_message(), "nacre_tune_begin"));
    assert_int_equal(nacre_tune_begin(), NACRE_OK);
    assert_int_equal(nacre_tune_begin(), NACRE_INVALID_STATE);
    nacre_os_thread thread;
    nacre_status status = NACRE_OK;
    assert_true(nacre_thread_start(&thread, end_elsewhere, &status));
    nacre_thread_join(thread);
    assert_int_equal(status, NACRE_INVALID_STATE);
    assert_int_equal(nacre_tune_end(), NACRE_OK);
    assert_int_equal(nacre_tune_count(), 0);
    assert_int_equal(nacre_tuning_count(), 0);
}

/* One step in a session, in which allocation n fails (0: none); bytes held afterwards to *live. True if all went
   well. */
static bool try_session(uint64_t n, size_t *live) {
    nacre_scope scope = nacre_scope_begin();
    nacre_seed(5);
    nacre_tensor *w = parameter(NACRE_SHAPE(OUT, IN), 1);
    assert_int_equal(nacre_tune_begin(), NACRE_OK);
    nacre_memory_fail_at(n);
    nacre_status stepped = step(w), ended = nacre_tune_end();
    nacre_memory_fail_at(0);
    assert_true(stepped == NACRE_OK || stepped == NACRE_OUT_OF_MEMORY);
    assert_true(ended == NACRE_OK || ended == NACRE_OUT_OF_MEMORY);
    if (stepped == NACRE_OK) {
        assert_int_equal(nacre_copy_to(w, got, sizeof got), NACRE_OK);
        assert_memory_equal(got, want, sizeof want);
    }
    assert_int_equal(nacre_scope_end(scope), NACRE_OK);
    nacre_plan_cache_clear();
    *live = nacre_memory().live_bytes;
    return stepped == NACRE_OK && ended == NACRE_OK;
}

/* Steps fail or have the right bits, and the session ends with nothing left behind. */
static void short_memory_ends_no_session_badly(void **state) {
    (void)state;
    size_t live[2]; /* the first time the thread's free lists fill */
    nacre_plan_cache_clear();
    train(1, want);
    for (int i = 0; i < 2; i++) {
        uint64_t n = 1;
        while (!try_session(n, &live[i])) n++;
        assert_true(n > 10);
    }
    assert_int_equal(live[1], live[0]);
    nacre_tuning_clear();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tuning_changes_no_bit),
        cmocka_unit_test(too_few_runs_change_no_entry),
        cmocka_unit_test(replays_that_tune_allocate_nothing),
        cmocka_unit_test(a_session_begins_and_ends_once),
        cmocka_unit_test(short_memory_ends_no_session_badly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
