/* Handwritten digits with the model interface: open, build, fit, evaluate, save.

   Uses the real MNIST where it is found (NACRE_DATA, ./data, ...), else digits that the library draws. */
#include <nacre/nacre.h>
#include <stdio.h>

int main(void) {
    nacre_mnist mnist;
    nacre_mnist_options options = {.size = sizeof options,
                                   .no_download = true,
                                   .procedural_train = 4000,
                                   .procedural_test = 1000};
    if (nacre_mnist_open(&options, &mnist) != NACRE_OK) {
        fprintf(stderr, "%s\n", nacre_error_message());
        return 1;
    }

    nacre_seed(1);
    nacre_module *net = nacre_sequential(
        nacre_flatten(), nacre_linear(784, 128), nacre_relu(), nacre_linear(128, 128), nacre_relu(),
        nacre_linear(128, 128), nacre_relu(), nacre_linear(128, 10));
    nacre_optimizer *adam = nacre_adam(.lr = 4e-3);
    nacre_optimizer_set_schedule(adam, nacre_onecycle(0), 0);
    nacre_model *model = nacre_model_new(net, nacre_cross_entropy(), adam);

    /* Whatever went wrong so far is reported here. */
    nacre_history *history = nacre_fit(model, mnist.train, .validation = mnist.test, .epochs = 5,
                                       .batch_size = 128, .verbose = true);
    nacre_metrics test = {0};
    nacre_state_dict *weights = nacre_module_state(nacre_model_network(model));
    int failed = !history || history->outcome != NACRE_FIT_DONE || !weights ||
                 nacre_evaluate(model, mnist.test, 0, &test) != NACRE_OK ||
                 nacre_state_dict_save(weights, "mnist_fit.safetensors") != NACRE_OK;
    if (failed) {
        fprintf(stderr, "%s\n", nacre_error_message());
    } else {
        printf("%s: %lld samples, loss %.4f, accuracy %.4f; weights in mnist_fit.safetensors\n",
               mnist.procedural ? "drawn digits" : "MNIST", (long long)test.samples, test.loss,
               test.accuracy);
        failed = test.accuracy < 0.9;
    }

    nacre_state_dict_free(weights);
    nacre_history_free(history);
    nacre_model_free(model);
    nacre_mnist_close(&mnist);
    return failed;
}
