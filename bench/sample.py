"""Small data sets for whole training runs; the weights and samples of the workloads are Nacre's own."""

import os
import random
import struct

PIXELS, CLASSES = 784, 10


def write_small_mnist(folder, samples):
    """MNIST's four idx files with so many random samples in each set, read in no time."""
    draw = random.Random(2)
    os.makedirs(folder, exist_ok=True)
    for prefix in ("train", "t10k"):
        images = bytes(draw.randrange(256) for _ in range(samples * PIXELS))
        labels = bytes(draw.randrange(CLASSES) for _ in range(samples))
        with open(os.path.join(folder, f"{prefix}-images-idx3-ubyte"), "wb") as file:
            file.write(struct.pack(">4B3I", 0, 0, 8, 3, samples, 28, 28) + images)
        with open(os.path.join(folder, f"{prefix}-labels-idx1-ubyte"), "wb") as file:
            file.write(struct.pack(">4BI", 0, 0, 8, 1, samples) + labels)
