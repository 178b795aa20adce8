/* The same training as mnist_fit.c with the loop written out: what nacre_fit does, step by step. */
#include <nacre/nacre.h>
#include <stdio.h>

enum { EPOCHS = 5, BATCH = 128 };

/* Share of right answers over a whole set. */
static double accuracy_on(nacre_module *net, const nacre_dataset *set) {
    nacre_loader *loader = nacre_loader_create(set, .batch_size = 1000);
    nacre_batch batch;
    int64_t right = 0;
    bool before = nacre_set_grad_enabled(false); /* no history is kept for a backward pass */
    nacre_module_set_mode(net, NACRE_EVAL);
    nacre_status status = nacre_loader_start(loader, 0, 0);
    while (status == NACRE_OK && nacre_loader_next(loader, &batch, &status)) {
        nacre_scope scope = nacre_scope_begin();
        nacre_tensor *digit =
            nacre_argmax(nacre_module_forward(net, batch.inputs), .axes = NACRE_AXES(1));
        right += nacre_item_i64(nacre_sum(nacre_equal(digit, batch.targets)));
        nacre_scope_end(scope);
    }
    nacre_module_set_mode(net, NACRE_TRAIN);
    nacre_set_grad_enabled(before);
    nacre_loader_free(loader);
    return (double)right / (double)nacre_dataset_count(set);
}

static nacre_status train(nacre_module *net, nacre_loss *cross_entropy, nacre_optimizer *adam,
                          nacre_loader *loader) {
    nacre_status status = NACRE_OK;
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
        /* The order of an epoch's samples is a function of the loader's seed and this number. */
        status = nacre_loader_start(loader, epoch, 0);
        double sum = 0;
        int64_t samples = 0;
        nacre_batch batch;
        while (status == NACRE_OK && nacre_loader_next(loader, &batch, &status)) {
            /* All that is made from here on is freed at the scope's end: memory stays flat. */
            nacre_scope scope = nacre_scope_begin();

            /* 1. Zero the gradients. nacre_step consumes them, so this matters only when a step was
               left out; it costs nothing. */
            nacre_module_zero_grad(net);

            /* 2. Forward. The calls check shapes and record; nothing is computed yet. */
            nacre_tensor *logits = nacre_module_forward(net, batch.inputs);
            nacre_tensor *loss = nacre_loss_compute(cross_entropy, logits, batch.targets);

            /* 3. Backward. The gradients are recorded, too. */
            status = nacre_backward(loss);

            /* 4. Step. The updates are recorded, and the whole step runs as one plan, which is made
               for the first batch and replayed for all others of its size. */
            if (status == NACRE_OK) {
                status = nacre_step(adam);
            }

            /* The loss came out of the same plan: reading it costs nothing. */
            sum += nacre_item(loss) * (double)batch.count;
            samples += batch.count;
            nacre_scope_end(scope);
        }
        printf("epoch %d: loss %.4f\n", epoch + 1, sum / (double)samples);
    }
    return status;
}

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
    nacre_module *net = nacre_sequential(
        nacre_flatten(), nacre_linear(784, 128), nacre_relu(), nacre_linear(128, 128), nacre_relu(),
        nacre_linear(128, 128), nacre_relu(), nacre_linear(128, 10));
    nacre_loss *cross_entropy = nacre_cross_entropy();
    nacre_optimizer *adam = nacre_adam(.lr = 1e-3);
    nacre_loader *loader = nacre_loader_create(mnist.train, .batch_size = BATCH, .shuffle = true,
                                               .seed = 1, .prefetch = 2);

    /* A network's weights are drawn from a seed and their names; an optimiser works on one network. */
    nacre_status status = nacre_module_init(net, 1);
    status = status ? status : nacre_optimizer_bind(adam, net);
    status = status   ? status
             : loader ? train(net, cross_entropy, adam, loader)
                      : nacre_error_code();

    int failed = status != NACRE_OK;
    if (failed) {
        fprintf(stderr, "%s\n", nacre_error_message());
    } else {
        double accuracy = accuracy_on(net, mnist.test);
        printf("test accuracy %.4f\n", accuracy);
        failed = accuracy < 0.85;
    }
    nacre_loader_free(loader);
    nacre_optimizer_free(adam);
    nacre_loss_free(cross_entropy);
    nacre_module_free(net);
    nacre_mnist_close(&mnist);
    return failed;
}
