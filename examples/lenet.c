/* A convolutional network on handwritten digits: the model of models/lenet.c, trained by nacre_fit.

   Uses the real MNIST where it is found (NACRE_DATA, ./data, ...), else digits that the library draws. */
#include "models/models.h"

#include <nacre/nacre.h>
#include <stdio.h>

int main(void) {
    nacre_mnist mnist;
    nacre_mnist_options options = {.size = sizeof options,
                                   .no_download = true,
                                   .channel = true, /* [1, 28, 28]: convolutions have channels */
                                   .procedural_train = 4000,
                                   .procedural_test = 1000};
    if (nacre_mnist_open(&options, &mnist) != NACRE_OK) {
        fprintf(stderr, "%s\n", nacre_error_message());
        return 1;
    }
    nacre_seed(1);
    nacre_optimizer *adam = nacre_adam(.lr = 4e-3);
    nacre_optimizer_set_schedule(adam, nacre_onecycle(0), 0);
    nacre_model *model = nacre_model_new(nacre_example_lenet(), nacre_cross_entropy(), adam);
    char *table = nacre_module_summary(nacre_model_network(model), NACRE_SHAPE(1, 28, 28));

    nacre_history *history = nacre_fit(model, mnist.train, .validation = mnist.test, .epochs = 4,
                                       .batch_size = 64, .verbose = true);
    nacre_metrics test = {0};
    int failed = !table || !history || history->outcome != NACRE_FIT_DONE ||
                 nacre_evaluate(model, mnist.test, 0, &test) != NACRE_OK;
    if (failed) {
        fprintf(stderr, "%s\n", nacre_error_message());
    } else {
        printf("%s%s: %lld samples, accuracy %.4f\n", table,
               mnist.procedural ? "drawn digits" : "MNIST", (long long)test.samples, test.accuracy);
        failed = test.accuracy < 0.9;
    }

    nacre_text_release(table);
    nacre_history_free(history);
    nacre_model_free(model);
    nacre_mnist_close(&mnist);
    return failed;
}
