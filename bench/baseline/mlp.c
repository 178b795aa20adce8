#include "mlp.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static float *zeros(int64_t count) { return calloc((size_t)count, sizeof(float)); }

int baseline_new(baseline_mlp *net, const int *widths, int batch) {
    memset(net, 0, sizeof *net);
    memcpy(net->widths, widths, sizeof net->widths);
    net->batch = batch;
    int failed = 0;
    for (int l = 0; l <= BASELINE_LAYERS; l++) {
        int64_t count = (int64_t)batch * widths[l];
        failed |= !(net->out[l] = zeros(count)) || !(net->delta[l] = zeros(count));
    }
    for (int l = 0; l < BASELINE_LAYERS; l++) {
        int64_t out = widths[l + 1], count = out * widths[l];
        failed |= !(net->weight[l] = zeros(count)) || !(net->dweight[l] = zeros(count));
        failed |= !(net->bias[l] = zeros(out)) || !(net->dbias[l] = zeros(out));
        for (int k = 0; k < 4; k++) {
            failed |= !(net->state[4 * l + k] = zeros(k < 2 ? count : out));
        }
    }
    if (failed) {
        baseline_free(net);
    }
    return failed ? -1 : 0;
}

void baseline_free(baseline_mlp *net) {
    for (int l = 0; l <= BASELINE_LAYERS; l++) {
        free(net->out[l]);
        free(net->delta[l]);
    }
    for (int l = 0; l < BASELINE_LAYERS; l++) {
        free(net->weight[l]);
        free(net->bias[l]);
        free(net->dweight[l]);
        free(net->dbias[l]);
        for (int k = 0; k < 4; k++) {
            free(net->state[4 * l + k]);
        }
    }
    memset(net, 0, sizeof *net);
}

/* y = x W^T + b, then max(y, 0) except in the last layer. */
void baseline_forward(baseline_mlp *net, const float *x, int n) {
    memcpy(net->out[0], x, (size_t)n * (size_t)net->widths[0] * sizeof(float));
    for (int l = 0; l < BASELINE_LAYERS; l++) {
        int in = net->widths[l], out = net->widths[l + 1];
        for (int i = 0; i < n; i++) {
            for (int o = 0; o < out; o++) {
                float sum = 0;
                for (int k = 0; k < in; k++) {
                    sum += net->out[l][i * in + k] * net->weight[l][o * in + k];
                }
                sum += net->bias[l][o];
                net->out[l + 1][i * out + o] = l < BASELINE_LAYERS - 1 && sum < 0 ? 0 : sum;
            }
        }
    }
}

/* Row i of the logits becomes (softmax - one_hot) / n in delta; returns the row's loss. */
static float softmax_row(const float *logits, float *delta, int classes, int64_t label, int n) {
    float largest = logits[0], sum = 0;
    for (int c = 1; c < classes; c++) {
        largest = logits[c] > largest ? logits[c] : largest;
    }
    for (int c = 0; c < classes; c++) {
        delta[c] = expf(logits[c] - largest);
        sum += delta[c];
    }
    for (int c = 0; c < classes; c++) {
        delta[c] = (delta[c] / sum - (c == label ? 1.0f : 0.0f)) / (float)n;
    }
    return logf(sum) - (logits[label] - largest);
}

static void layer_backward(baseline_mlp *net, int l, int n) {
    int in = net->widths[l], out = net->widths[l + 1];
    const float *dy = net->delta[l + 1], *x = net->out[l];
    for (int o = 0; o < out; o++) {
        float bias = 0;
        for (int k = 0; k < in; k++) {
            net->dweight[l][o * in + k] = 0;
        }
        for (int i = 0; i < n; i++) {
            bias += dy[i * out + o];
            for (int k = 0; k < in; k++) {
                net->dweight[l][o * in + k] += dy[i * out + o] * x[i * in + k];
            }
        }
        net->dbias[l][o] = bias;
    }
    if (l == 0) {
        return;
    }
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < in; k++) {
            float sum = 0;
            for (int o = 0; o < out; o++) {
                sum += dy[i * out + o] * net->weight[l][o * in + k];
            }
            net->delta[l][i * in + k] = x[i * in + k] > 0 ? sum : 0;
        }
    }
}

float baseline_backward(baseline_mlp *net, const int64_t *labels, int n) {
    int classes = net->widths[BASELINE_LAYERS];
    float loss = 0;
    for (int i = 0; i < n; i++) {
        loss += softmax_row(&net->out[BASELINE_LAYERS][i * classes],
                            &net->delta[BASELINE_LAYERS][i * classes], classes, labels[i], n);
    }
    for (int l = BASELINE_LAYERS - 1; l >= 0; l--) {
        layer_backward(net, l, n);
    }
    return loss / (float)n;
}

/* Kingma and Ba 2015, algorithm 1; c1 and c2: the bias corrections 1 - beta^t. */
static void update(float *p, const float *g, float *m, float *v, int64_t count,
                   const baseline_update *how, float c1, float c2) {
    for (int64_t i = 0; i < count; i++) {
        if (!how->adam) {
            p[i] -= how->lr * g[i];
            continue;
        }
        m[i] = how->beta1 * m[i] + (1 - how->beta1) * g[i];
        v[i] = how->beta2 * v[i] + (1 - how->beta2) * g[i] * g[i];
        p[i] -= how->lr * (m[i] / c1) / (sqrtf(v[i] / c2) + how->epsilon);
    }
}

void baseline_apply(baseline_mlp *net, const baseline_update *how) {
    net->steps++;
    float c1 = (float)(1 - pow((double)how->beta1, (double)net->steps));
    float c2 = (float)(1 - pow((double)how->beta2, (double)net->steps));
    for (int l = 0; l < BASELINE_LAYERS; l++) {
        float **state = &net->state[4 * l];
        int64_t out = net->widths[l + 1], count = out * net->widths[l];
        update(net->weight[l], net->dweight[l], state[0], state[1], count, how, c1, c2);
        update(net->bias[l], net->dbias[l], state[2], state[3], out, how, c1, c2);
    }
}

float baseline_step(baseline_mlp *net, const float *x, const int64_t *labels, int n,
                    const baseline_update *how) {
    baseline_forward(net, x, n);
    float loss = baseline_backward(net, labels, n);
    baseline_apply(net, how);
    return loss;
}
