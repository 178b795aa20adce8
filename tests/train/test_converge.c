/* The first path, in small: the MNIST network learns digits that the library draws itself. */
#include "toy.h"

static nacre_model *mnist_model(void) {
    nacre_seed(1);
    return nacre_model_new(
        nacre_sequential(nacre_flatten(), nacre_mlp((int64_t[]){784, 128, 128, 128, 10}, 5)),
        nacre_cross_entropy(), nacre_adam(.lr = 4e-3));
}

static void drawn_digits_are_learned(void **state) {
    (void)state;
    nacre_dataset *train = nacre_procedural_digits(4000, 1, false);
    nacre_dataset *test = nacre_procedural_digits(1000, 2, false);
    nacre_model *m = mnist_model();
    nacre_optimizer_set_schedule(nacre_model_optimizer(m), nacre_onecycle(0), 0);
    nacre_history *h =
        nacre_fit(m, train, .validation = test, .epochs = 4, .batch_size = 64, .seed = 1);
    assert_non_null(h);
    assert_int_equal(h->outcome, NACRE_FIT_DONE);
    for (int64_t i = 0; i < h->epochs; i++) {
        print_message("epoch %d: loss %.4f, accuracy %.4f, test accuracy %.4f, %.2f s\n",
                      (int)i + 1, h->epoch[i].train.loss, h->epoch[i].train.accuracy,
                      h->epoch[i].validation.accuracy, h->epoch[i].seconds);
    }
    assert_true(h->epoch[3].train.loss < 0.5 * h->epoch[0].train.loss);
    assert_true(h->epoch[3].validation.accuracy > 0.9);
    nacre_history_free(h);
    nacre_model_free(m);
    nacre_dataset_free(train);
    nacre_dataset_free(test);
}

/* The real digits: more than 95 % after one epoch, where the data is there. */
static void real_digits_are_learned(void **state) {
    (void)state;
    support_data("mnist");
    nacre_mnist mnist;
    nacre_mnist_options options = {.size = sizeof options};
    assert_int_equal(nacre_mnist_open(&options, &mnist), NACRE_OK);
    assert_false(mnist.procedural);
    nacre_model *m = mnist_model();
    nacre_optimizer_set_schedule(nacre_model_optimizer(m), nacre_onecycle(0), 0);
    nacre_history *h =
        nacre_fit(m, mnist.train, .validation = mnist.test, .epochs = 1, .batch_size = 128);
    assert_non_null(h);
    assert_int_equal(h->outcome, NACRE_FIT_DONE);
    print_message("test accuracy %.4f in %.2f s\n", h->epoch[0].validation.accuracy,
                  h->epoch[0].seconds);
    assert_true(h->epoch[0].validation.accuracy > 0.95);
    nacre_history_free(h);
    nacre_model_free(m);
    nacre_mnist_close(&mnist);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drawn_digits_are_learned),
        cmocka_unit_test(real_digits_are_learned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
