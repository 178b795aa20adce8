"""The mlp in NumPy, gradients by hand. See harness.py.

Threads are set by OPENBLAS_NUM_THREADS and its like, which bench/run sets. What is no product is a Loops,
so that numba_peer.py can compile it.
"""

from collections import namedtuple
from functools import partial

import numpy as np

import harness

LAYERS = ("1", "3", "5", "7")
LEARNING_RATE = 1e-3
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


Loops = namedtuple("Loops", "adam bias_relu mask")


def adam(parameter, gradient, m, v, step):
    """Kingma and Ba 2015, algorithm 1, in place."""
    m *= np.float32(BETA1)
    m += np.float32(1 - BETA1) * gradient
    v *= np.float32(BETA2)
    v += np.float32(1 - BETA2) * gradient * gradient
    m_hat = m / np.float32(1 - BETA1**step)
    v_hat = v / np.float32(1 - BETA2**step)
    parameter -= np.float32(LEARNING_RATE) * m_hat / (np.sqrt(v_hat) + np.float32(EPSILON))


def bias_relu(z, bias):
    z += bias
    np.maximum(z, 0, out=z)


def mask(delta, value):
    delta *= value > 0


def forward(loops, weights, biases, x):
    """All layers' inputs, and the logits last."""
    values = [x]
    for weight, bias in zip(weights[:-1], biases[:-1]):
        values.append(values[-1] @ weight)
        loops.bias_relu(values[-1], bias)
    values.append(values[-1] @ weights[-1] + biases[-1])
    return values


def cross_entropy(logits, y):
    """The mean loss and its gradient (softmax - one_hot) / n."""
    rows = np.arange(len(y))
    z = logits - logits.max(1, keepdims=True)
    powers = np.exp(z)
    sums = powers.sum(1, keepdims=True)
    loss = (np.log(sums[:, 0]) - z[rows, y]).mean()
    gradient = powers / sums
    gradient[rows, y] -= 1
    return loss, gradient / np.float32(len(y))


def prepare(loops, options, arrays, x, y):
    if options.workload != "mlp":
        raise SystemExit("this peer has the mlp only")
    x = x.reshape(len(x), 784)
    weights = [arrays[n + ".weight"].T.copy() for n in LAYERS]
    biases = [arrays[n + ".bias"].copy() for n in LAYERS]
    if options.infer:
        return lambda: forward(loops, weights, biases, x)[-1]
    state = [(np.zeros_like(p), np.zeros_like(p)) for p in weights + biases]
    steps = 0

    def step():
        nonlocal steps
        steps += 1
        values = forward(loops, weights, biases, x)
        loss, delta = cross_entropy(values[-1], y)
        gradients = [None] * (2 * len(weights))
        for i in reversed(range(len(weights))):
            gradients[i] = values[i].T @ delta
            gradients[len(weights) + i] = delta.sum(0)
            if i:
                delta = delta @ weights[i].T
                loops.mask(delta, values[i])
        for parameter, gradient, (m, v) in zip(weights + biases, gradients, state):
            loops.adam(parameter, gradient, m, v, steps)
        return loss

    return step


if __name__ == "__main__":
    harness.main(partial(prepare, Loops(adam, bias_relu, mask)), np.__version__)
