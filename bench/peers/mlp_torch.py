"""The mlp's training step in PyTorch, eager with the fused Adam. See harness.py.

Threads are set by OMP_NUM_THREADS, which bench/run sets.
"""

import torch
from torch import nn

import harness


def prepare(arrays, x, y):
    network = nn.Sequential(
        nn.Linear(784, 128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )
    parameters = {n: torch.from_numpy(arrays[n].copy()) for n in arrays if n not in ("x", "y")}
    network.load_state_dict(parameters)
    optimizer = torch.optim.Adam(network.parameters(), lr=harness.LEARNING_RATE, fused=True)
    x, y = torch.from_numpy(x), torch.from_numpy(y)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(network(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


if __name__ == "__main__":
    harness.main(prepare, torch.__version__)
