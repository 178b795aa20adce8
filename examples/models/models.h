/* Networks built through the public interface alone, as a program of yours would build them. The program nacre,
   the benchmarks and the tests are compiled from these same files. */
#ifndef NACRE_EXAMPLES_MODELS_H
#define NACRE_EXAMPLES_MODELS_H

#include <nacre/nn.h>

/* A perceptron with ReLU and `hidden` layers of `width`: [n, 28, 28] -> [n, 10]. */
enum { NACRE_EXAMPLE_MLP_WIDTH = 128, NACRE_EXAMPLE_MLP_HIDDEN = 3 };
nacre_module *nacre_example_mlp(int64_t width, int64_t hidden);
/* LeNet-5 (LeCun et al. 1998) with ReLU and max pooling: [n, 1, 28, 28] -> [n, 10]. */
nacre_module *nacre_example_lenet(void);
/* ResNet-20 for CIFAR (He et al. 2016): [n, 3, 32, 32] -> [n, 10]. */
nacre_module *nacre_example_resnet20(void);
/* A vision transformer (Dosovitskiy et al. 2021): [n, 28, 28] -> [n, 10]. width: a multiple of the four heads. */
enum { NACRE_EXAMPLE_VIT_WIDTH = 64, NACRE_EXAMPLE_VIT_BLOCKS = 4 };
nacre_module *nacre_example_vit(int64_t width, int64_t blocks);
/* A language model of characters (Radford et al. 2018): indices [n, t], t <= context, -> logits [n, t,
   characters] of what follows each. width: a multiple of the four heads. */
enum {
    NACRE_EXAMPLE_GPT_CONTEXT = 64,
    NACRE_EXAMPLE_GPT_WIDTH = 128,
    NACRE_EXAMPLE_GPT_BLOCKS = 4
};
nacre_module *nacre_example_gpt(int64_t characters, int64_t context, int64_t width, int64_t blocks);

#endif
