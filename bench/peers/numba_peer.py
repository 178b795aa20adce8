"""The mlp with NumPy's products and Numba's loops around them. See harness.py and numpy_peer.py."""

import os
from functools import partial

# Workers that spin between two loops take the CPU from the products' threads: a hundred times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
import numba  # noqa: E402
import numpy as np  # noqa: E402

import harness  # noqa: E402
from numpy_peer import BETA1, BETA2, EPSILON, LEARNING_RATE, Loops, prepare  # noqa: E402

# With one thread a parallel region is only in the way.
compiled = numba.njit(fastmath=True, parallel=int(os.environ.get("NUMBA_NUM_THREADS", "1")) > 1)


@compiled
def update(p, g, m, v, rates):
    lr, b1, c1, b2, c2, epsilon, m_scale, v_scale = rates
    for i in numba.prange(p.size):
        m[i] = b1 * m[i] + c1 * g[i]
        v[i] = b2 * v[i] + c2 * g[i] * g[i]
        p[i] -= lr * (m[i] * m_scale) / (np.sqrt(v[i] * v_scale) + epsilon)


def adam(p, g, m, v, step):
    scales = 1 / (1 - BETA1**step), 1 / (1 - BETA2**step)
    rates = LEARNING_RATE, BETA1, 1 - BETA1, BETA2, 1 - BETA2, EPSILON, *scales
    update(p.reshape(-1), g.reshape(-1), m.reshape(-1), v.reshape(-1), np.array(rates, np.float32))


@compiled
def bias_relu(z, bias):
    for i in numba.prange(z.shape[0]):
        for j in range(z.shape[1]):
            z[i, j] = max(z[i, j] + bias[j], np.float32(0))


@compiled
def mask(delta, value):
    for i in numba.prange(delta.shape[0]):
        for j in range(delta.shape[1]):
            if value[i, j] <= 0:
                delta[i, j] = 0


if __name__ == "__main__":
    harness.main(partial(prepare, Loops(adam, bias_relu, mask)), numba.__version__)
