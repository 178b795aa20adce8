/* A perceptron for pictures of 28 x 28. The result are logits; softmax is part of the loss. */
#include "models/models.h"

enum { PIXELS = 28 * 28, CLASSES = 10 };

nacre_module *nacre_example_mlp(int64_t width, int64_t hidden) {
    nacre_module *network = nacre_sequential(nacre_flatten());
    int64_t in = PIXELS;
    for (int64_t i = 0; i < hidden; i++, in = width) {
        nacre_module_add(network, NULL, nacre_linear(in, width));
        nacre_module_add(network, NULL, nacre_relu());
    }
    nacre_module_add(network, NULL, nacre_linear(in, CLASSES));
    return network;
}
