/* Learning rates over a run. */
#include "support.h"

#include "golden.h"

#include <math.h>
#include <nacre/nacre.h>

static void check(nacre_schedule *schedule, double peak, const double *golden, int64_t total) {
    for (int64_t i = 0; i < total; i++) {
        double rate = nacre_schedule_rate(schedule, peak, i, total);
        if (fabs(rate - golden[i]) > 1e-12 * fabs(peak)) {
            fail_msg("step %lld of %lld: %.17g, not %.17g", (long long)i, (long long)total, rate,
                     golden[i]);
        }
    }
    nacre_schedule_free(schedule);
}

static void onecycle_is_pytorchs(void **state) {
    (void)state;
    check(nacre_onecycle(0), 0.004, golden_onecycle_20[0], 20);
    check(nacre_onecycle(.warmup = 0.5, .start_div = 10, .final_div = 100), 1, golden_onecycle_7[0],
          7);
    check(nacre_onecycle(.warmup = 0.2, .start_div = 16, .three_phase = true), 0.004,
          golden_onecycle_three[0], 30);
}

static void constant_is_constant(void **state) {
    (void)state;
    nacre_schedule *constant = nacre_constant();
    assert_true(nacre_schedule_rate(constant, 0.25, 0, 10) == 0.25);
    assert_true(nacre_schedule_rate(constant, 0.25, 999, 10) == 0.25);
    assert_string_equal(nacre_schedule_kind(constant), "constant");
    nacre_schedule_free(constant);
}

static void runs_of_any_length_have_finite_rates(void **state) {
    (void)state;
    nacre_schedule *schedule = nacre_onecycle(0), *no_warmup = nacre_onecycle(.warmup = NACRE_ZERO);
    nacre_schedule *all_warmup = nacre_onecycle(.warmup = 1);
    nacre_schedule *three = nacre_onecycle(.warmup = 0.2, .three_phase = true);
    nacre_schedule *all_cycle = nacre_onecycle(.warmup = 0.5, .three_phase = true);
    for (int64_t total = 0; total < 40; total++) {
        for (int64_t step = 0; step < total + 5; step++) {
            nacre_schedule *each[] = {schedule, no_warmup, all_warmup, three, all_cycle};
            for (int i = 0; i < 5; i++) {
                double rate = nacre_schedule_rate(each[i], 1, step, total);
                assert_true(isfinite(rate) && rate > 0 && rate <= 1);
            }
        }
    }
    /* After the end it stays at the last rate. */
    assert_true(nacre_schedule_rate(schedule, 1, 19, 20) ==
                nacre_schedule_rate(schedule, 1, 500, 20));
    nacre_schedule_free(schedule);
    nacre_schedule_free(no_warmup);
    nacre_schedule_free(all_warmup);
    nacre_schedule_free(three);
    nacre_schedule_free(all_cycle);
}

static void an_optimizer_follows_its_schedule(void **state) {
    (void)state;
    nacre_module *module = nacre_linear(1, 1);
    nacre_optimizer *sgd = nacre_sgd(.lr = 0.004);
    nacre_optimizer_bind(sgd, module);
    assert_int_equal(nacre_optimizer_set_schedule(sgd, nacre_onecycle(0), 20), NACRE_OK);
    nacre_tensor *weight = nacre_module_parameter_at(module, 0);
    double before = nacre_item(weight), sum = 0;
    uint64_t made = 0;
    for (int i = 0; i < 20; i++) {
        nacre_scope scope = nacre_scope_begin();
        assert_true(fabs(nacre_optimizer_rate(sgd) - golden_onecycle_20[0][i]) < 1e-15);
        nacre_accumulate_grad(weight, nacre_full(NACRE_SHAPE(1, 1), 1));
        assert_int_equal(nacre_step(sgd), NACRE_OK);
        nacre_scope_end(scope);
        sum += golden_onecycle_20[0][i];
        /* A rate is no part of a plan's key. */
        if (i == 1) {
            made = nacre_plan_statistics().made;
        }
    }
    assert_int_equal(nacre_plan_statistics().made, made);
    assert_true(fabs(before - nacre_item(weight) - sum) < 1e-6);
    nacre_optimizer_free(sgd);
    nacre_module_free(module);
}

static void bad_options_are_refused_and_owned(void **state) {
    (void)state;
    nacre_optimizer *sgd = nacre_sgd(.lr = 1);
    assert_int_equal(nacre_optimizer_set_schedule(sgd, nacre_onecycle(.warmup = 1.5), 20),
                     NACRE_INVALID_ARGUMENT);
    assert_int_equal(nacre_optimizer_status(sgd), NACRE_INVALID_ARGUMENT);
    nacre_optimizer_free(sgd);
    sgd = nacre_sgd(.lr = 1);
    assert_int_equal(nacre_optimizer_set_schedule(sgd, nacre_constant(), -1),
                     NACRE_INVALID_ARGUMENT);
    nacre_optimizer_free(sgd);
    sgd = nacre_sgd(.lr = 1);
    assert_int_equal(nacre_optimizer_set_schedule(sgd, NULL, 1), NACRE_INVALID_ARGUMENT);
    nacre_optimizer_free(sgd);
    assert_int_equal(nacre_optimizer_set_schedule(NULL, nacre_constant(), 1),
                     NACRE_INVALID_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(onecycle_is_pytorchs),
        cmocka_unit_test(constant_is_constant),
        cmocka_unit_test(runs_of_any_length_have_finite_rates),
        cmocka_unit_test(an_optimizer_follows_its_schedule),
        cmocka_unit_test(bad_options_are_refused_and_owned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
