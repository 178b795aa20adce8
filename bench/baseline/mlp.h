/* The unoptimised baseline: a multi-layer perceptron in plain f32 loops, one thread, no library. It is the
   "1x" of every speed-up table. */
#ifndef NACRE_BENCH_BASELINE_MLP_H
#define NACRE_BENCH_BASELINE_MLP_H

#include <stdint.h>

#define BASELINE_LAYERS 4

/* Adam's or SGD's scalars of one step. */
typedef struct baseline_update {
    int adam; /* else plain SGD */
    float lr, beta1, beta2, epsilon;
} baseline_update;

typedef struct baseline_mlp {
    int widths[BASELINE_LAYERS + 1];
    int batch; /* the largest */
    int64_t steps;
    float *weight[BASELINE_LAYERS], *bias[BASELINE_LAYERS];   /* [out, in], [out] */
    float *dweight[BASELINE_LAYERS], *dbias[BASELINE_LAYERS]; /* gradients */
    float *state[4 * BASELINE_LAYERS];                        /* Adam's m and v of each */
    float *out[BASELINE_LAYERS + 1];   /* activations [batch, width]; 0: input */
    float *delta[BASELINE_LAYERS + 1]; /* their gradients */
} baseline_mlp;

/* 0, or -1 when memory is short. */
int baseline_new(baseline_mlp *net, const int *widths, int batch);
void baseline_free(baseline_mlp *net);

/* x: [n, widths[0]]; fills net->out, whose last are the logits. */
void baseline_forward(baseline_mlp *net, const float *x, int n);
/* Mean cross-entropy; labels: [n]. Fills the gradients. After baseline_forward. */
float baseline_backward(baseline_mlp *net, const int64_t *labels, int n);
void baseline_apply(baseline_mlp *net, const baseline_update *how);

/* All three; the loss before the update. */
float baseline_step(baseline_mlp *net, const float *x, const int64_t *labels, int n,
                    const baseline_update *how);

#endif
