/* ResNet-20 for pictures of 32 x 32: a first convolution, nine blocks of two, a linear layer. Where a block halves
   the picture and doubles the channels, its shortcut is a 1x1 convolution (the paper's option B). */
#include "models/models.h"

static nacre_module *conv3x3(int64_t in, int64_t out, int64_t stride) {
    return nacre_conv2d(in, out, {3, 3}, .stride = {stride, stride}, .padding = {1, 1},
                        .no_bias = true); /* batch norm has a bias */
}

static nacre_module *block(int64_t in, int64_t out, int64_t stride) {
    nacre_module *body =
        nacre_sequential(conv3x3(in, out, stride), nacre_batch_norm2d(out), nacre_relu(),
                         conv3x3(out, out, 1), nacre_batch_norm2d(out));
    nacre_module *shortcut = NULL;
    if (stride != 1 || in != out) {
        shortcut = nacre_sequential(
            nacre_conv2d(in, out, {1, 1}, .stride = {stride, stride}, .no_bias = true),
            nacre_batch_norm2d(out));
    }
    return nacre_sequential(nacre_residual(body, shortcut), nacre_relu());
}

nacre_module *nacre_example_resnet20(void) {
    nacre_module *net = nacre_sequential(conv3x3(3, 16, 1), nacre_batch_norm2d(16), nacre_relu());
    int64_t in = 16;
    for (int i = 0; i < 9; i++) {
        int64_t out = i < 3 ? 16 : i < 6 ? 32 : 64;
        nacre_module_add(net, NULL, block(in, out, in == out ? 1 : 2));
        in = out;
    }
    nacre_module_add(net, NULL, nacre_global_avg_pool2d());
    nacre_module_add(net, NULL, nacre_linear(64, 10));
    return net;
}
