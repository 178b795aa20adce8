"""The weights and data that Nacre and every peer start from, in files each of them reads."""

import array
import json
import os
import random
import struct
import sys

WIDTHS = (784, 128, 128, 128, 10)
SAMPLES = 256


def _little_endian(values):
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def _floats(values):
    return _little_endian(array.array("f", values))


def _tensors(draw):
    """(name, type, shape, bytes) of each: He weights, zeros, uniform pixels, any labels."""
    for layer, (fan_in, fan_out) in enumerate(zip(WIDTHS, WIDTHS[1:])):
        deviation = (2 / fan_in) ** 0.5
        weights = _floats(draw.gauss(0, deviation) for _ in range(fan_in * fan_out))
        yield f"{2 * layer}.weight", "F32", [fan_out, fan_in], weights
        yield f"{2 * layer}.bias", "F32", [fan_out], _floats([0.0] * fan_out)
    pixels = (draw.random() for _ in range(SAMPLES * WIDTHS[0]))
    yield "x", "F32", [SAMPLES, WIDTHS[0]], _floats(pixels)
    labels = array.array("q", (draw.randrange(WIDTHS[-1]) for _ in range(SAMPLES)))
    yield "y", "I64", [SAMPLES], _little_endian(labels)


def write_sample(path):
    """A safetensors file, always the same: 8 bytes of header length, the header, the data."""
    header, data = {}, b""
    for name, kind, shape, content in _tensors(random.Random(1)):
        header[name] = {
            "dtype": kind,
            "shape": shape,
            "data_offsets": [len(data), len(data) + len(content)],
        }
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def write_small_mnist(folder, samples):
    """MNIST's four idx files with so many random samples in each set, read in no time."""
    draw = random.Random(2)
    os.makedirs(folder, exist_ok=True)
    for prefix in ("train", "t10k"):
        images = bytes(draw.randrange(256) for _ in range(samples * WIDTHS[0]))
        labels = bytes(draw.randrange(WIDTHS[-1]) for _ in range(samples))
        with open(os.path.join(folder, f"{prefix}-images-idx3-ubyte"), "wb") as file:
            file.write(struct.pack(">4B3I", 0, 0, 8, 3, samples, 28, 28) + images)
        with open(os.path.join(folder, f"{prefix}-labels-idx1-ubyte"), "wb") as file:
            file.write(struct.pack(">4BI", 0, 0, 8, 1, samples) + labels)
