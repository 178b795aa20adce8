"""The recipe mnist-mlp in PyTorch: trains 784-128-128-128-10 until a test accuracy is reached.

    mnist_torch.py DIR TARGET THREADS

DIR holds MNIST's four files, raw or gzip. Prints a line of JSON after every epoch. All of the
training set is one tensor and a batch is one indexing: the fastest way to feed PyTorch.

The rates of all steps are those of nacre_cli_make_model() (src/cli/settings.c): three phases, the last shorter batch is
taken too, and Adam's first decay stays 0.9, which OneCycleLR would else move with the rate. So are the distributions
from which the weights are drawn; the draws themselves and the order of the samples are each program's own.
"""

import gzip
import json
import os
import sys

import numpy as np
import torch
from torch import nn

EPOCHS, BATCH, PEAK_RATE = 10, 128, 4e-3


def read_idx(folder, name, header):
    path = os.path.join(folder, name)
    if os.path.exists(path):
        with open(path, "rb") as file:
            data = file.read()
    else:
        with gzip.open(path + ".gz") as file:
            data = file.read()
    return np.frombuffer(data, np.uint8, offset=header)


def read_set(folder, prefix):
    pixels = read_idx(folder, prefix + "-images-idx3-ubyte", 16).reshape(-1, 784)
    labels = read_idx(folder, prefix + "-labels-idx1-ubyte", 8)
    return torch.from_numpy(pixels.astype(np.float32) / 255), torch.from_numpy(
        labels.astype(np.int64)
    )


def main():
    folder, target, threads = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    images, labels = read_set(folder, "train")
    test_images, test_labels = read_set(folder, "t10k")
    network = nn.Sequential(
        nn.Linear(784, 128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )
    for layer in network[::2]:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    batches = -(-len(images) // BATCH)
    optimizer = torch.optim.Adam(network.parameters(), lr=PEAK_RATE, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        PEAK_RATE,
        total_steps=EPOCHS * batches,
        pct_start=0.2,
        div_factor=16,
        final_div_factor=1e4,
        three_phase=True,
        cycle_momentum=False,
    )
    for epoch in range(EPOCHS):
        order = torch.randperm(len(images))
        for i in range(batches):
            chosen = order[i * BATCH : (i + 1) * BATCH]
            loss = nn.functional.cross_entropy(network(images[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        with torch.inference_mode():
            accuracy = (network(test_images).argmax(1) == test_labels).float().mean().item()
        print(json.dumps({"epochs": epoch + 1, "test_accuracy": accuracy}), flush=True)
        if accuracy >= target:
            break


if __name__ == "__main__":
    main()
