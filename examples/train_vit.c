/* Trains a vision transformer on MNIST: train_vit [STEPS] */
#include "models/models.h"

#include <nacre/nacre.h>
#include <stdio.h>
#include <stdlib.h>

enum { BATCH = 64 };

static bool report(void *user, const nacre_step_report *step) {
    int64_t steps = *(const int64_t *)user;
    if (step->step % 50 == 0 || step->step + 1 == steps)
        printf("step %lld: loss %.4f, accuracy %.3f, %.1f ms\n", (long long)step->step, step->loss,
               step->accuracy, step->microseconds / 1000);
    return step->step + 1 >= steps;
}

int main(int argc, char **argv) {
    int64_t steps = argc > 1 ? atoll(argv[1]) : 300;
    nacre_mnist mnist;
    nacre_mnist_options options = {.size = sizeof options,
                                   .no_download = true,
                                   .procedural_train = 8000,
                                   .procedural_test = 1000};
    if (nacre_mnist_open(&options, &mnist) != NACRE_OK) {
        fprintf(stderr, "%s\n", nacre_error_message());
        return 1;
    }
    nacre_model *model =
        nacre_model_new(nacre_example_vit(NACRE_EXAMPLE_VIT_WIDTH, NACRE_EXAMPLE_VIT_BLOCKS),
                        nacre_cross_entropy(), nacre_adamw(.lr = 1e-3));
    nacre_history *history = nacre_fit(model, mnist.train, .epochs = 1000, .batch_size = BATCH,
                                       .drop_last = true, .on_step = report, .user = &steps);
    nacre_metrics metrics = {0};
    int failed = !history || history->outcome == NACRE_FIT_FAILED ||
                 nacre_evaluate(model, mnist.test, 0, &metrics) != NACRE_OK;
    if (failed)
        fprintf(stderr, "%s\n", nacre_error_message());
    else
        printf("test: loss %.4f, accuracy %.4f\n", metrics.loss, metrics.accuracy);
    nacre_history_free(history);
    nacre_model_free(model);
    nacre_mnist_close(&mnist);
    return failed || metrics.accuracy < 0.5;
}
