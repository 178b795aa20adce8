/* LeNet-5 for pictures of 28 x 28: two convolutions with pools, three linear layers. The result are logits;
   softmax is part of the loss. Parameters have the names that PyTorch gives to the same nn.Sequential. */
#include "models/models.h"

nacre_module *nacre_example_lenet(void) {
    return nacre_sequential(nacre_conv2d(1, 6, {5, 5}, .padding = {2, 2}), /* [6, 28, 28] */
                            nacre_relu(), nacre_max_pool2d({2, 2}),        /* [6, 14, 14] */
                            nacre_conv2d(6, 16, {5, 5}),                   /* [16, 10, 10] */
                            nacre_relu(), nacre_max_pool2d({2, 2}),        /* [16, 5, 5] */
                            nacre_flatten(), nacre_linear(400, 120), nacre_relu(),
                            nacre_linear(120, 84), nacre_relu(), nacre_linear(84, 10));
}
