/* What explain promises about memory is what a training run takes. */
#include "support.h"

#include "plan/plan.h"
#include "train/model.h"

#include <nacre/nacre.h>

enum { SAMPLES = 64 };

static nacre_model *make_model(void) {
    return nacre_model_new(nacre_sequential(nacre_flatten(), nacre_linear(784, 128), nacre_relu(),
                                            nacre_linear(128, 128), nacre_relu(),
                                            nacre_linear(128, 128), nacre_relu(),
                                            nacre_linear(128, 10)),
                           nacre_cross_entropy(), nacre_adam(.lr = 1e-3));
}

static nacre_batch make_batch(void) {
    static float pixels[SAMPLES * 784];
    static int64_t labels[SAMPLES];
    for (int i = 0; i < SAMPLES; i++) {
        labels[i] = i % 10;
        pixels[784 * i + i] = 1;
    }
    return (nacre_batch){
        .inputs = nacre_from_data(pixels, .shape = NACRE_SHAPE(SAMPLES, 28, 28)),
        .targets = nacre_from_data(labels, .shape = NACRE_SHAPE(SAMPLES), .dtype = NACRE_I64),
        .count = SAMPLES,
    };
}

static void test_explained_peak_is_the_arena_of_the_run(void **state) {
    (void)state;
    nacre_model *model = make_model();
    assert_int_equal(nacre_model_status(model), NACRE_OK);
    nacre_batch batch = make_batch();
    nacre_batch_result result;
    nacre_explanation *explained;
    assert_int_equal(nacre_explain_next(&explained), NACRE_OK);
    assert_int_equal(nacre_model_step(model, &batch, true, &result), NACRE_CANCELLED);
    assert_non_null(explained);
    assert_true(explained->peak_bytes > 0);
    nacre_error_clear();

    for (int i = 0; i < 3; i++) {
        assert_int_equal(nacre_model_step(model, &batch, true, &result), NACRE_OK);
        assert_int_equal(nacre_plan_statistics().last_peak_bytes, explained->peak_bytes);
    }
    assert_int_equal(nacre_memory().arena_bytes, explained->peak_bytes);
    nacre_explanation_free(explained);
    nacre_model_free(model);
}

static void test_explaining_a_step_leaves_the_model_as_it_was(void **state) {
    (void)state;
    nacre_model *models[] = {make_model(), make_model()};
    nacre_batch batch = make_batch();
    nacre_batch_result results[2];
    nacre_explanation *explained;
    assert_int_equal(nacre_explain_next(&explained), NACRE_OK);
    assert_int_equal(nacre_model_step(models[0], &batch, true, &results[0]), NACRE_CANCELLED);
    nacre_explanation_free(explained);
    for (int step = 0; step < 3; step++) {
        for (int i = 0; i < 2; i++) {
            assert_int_equal(nacre_model_step(models[i], &batch, true, &results[i]), NACRE_OK);
        }
        assert_true(results[0].loss == results[1].loss);
    }
    nacre_model_free(models[0]);
    nacre_model_free(models[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_explained_peak_is_the_arena_of_the_run),
        cmocka_unit_test(test_explaining_a_step_leaves_the_model_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
