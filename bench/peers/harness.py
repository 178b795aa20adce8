"""What every peer's script shares: the file of weights and data, and what a run is asked for.

    PEER.py FILE --steps N [--batch-size N]   trains N steps and prints each loss on a line
    PEER.py FILE --serve                      times steps on request: {"batch": 64, "seconds": 1},
                                              a line on stdin, is answered by a line on stdout

A peer gives prepare(weights, x, y), which returns step(): one whole training step (forward, loss,
backward, Adam), finished when it returns its loss.
"""

import argparse
import json
import resource
import sys
import time

import numpy as np

LEARNING_RATE = 1e-3
LAYERS = ("0", "2", "4", "6")  # the numbers of the linear layers in Linear-ReLU-...-Linear
WARM_UP = 5
# Overfitting one batch for thousands of steps leads to subnormal numbers, which slow a peer down
# for no fault of its own: so the training starts anew from time to time.
STEPS_PER_START = 300
LEAST_STEPS = 10


def read_sample(path):
    """The safetensors file as {name: array}: 8 bytes of header length, the header, the data."""
    types = {"F32": np.float32, "I64": np.int64}
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        data = file.read()
    arrays = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            flat = np.frombuffer(data[begin:end], types[entry["dtype"]])
            arrays[name] = flat.reshape(entry["shape"]).copy()
    return arrays


def time_steps(start, seconds):
    """Microseconds of a step, at best and median; start() gives a step at its first weights."""
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < LEAST_STEPS:
        step = start()
        for _ in range(WARM_UP):
            step()
        for _ in range(STEPS_PER_START):
            before = time.perf_counter()
            step()
            now = time.perf_counter()
            times.append(now - before)
            if now > end and len(times) >= LEAST_STEPS:
                break
    times.sort()
    return {
        "us_min": times[0] * 1e6,
        "us_median": times[len(times) // 2] * 1e6,
        "steps": len(times),
    }


def peak_rss_bytes():
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def serve(arrays, prepare, version):
    print(json.dumps({"version": version}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        x, y = arrays["x"][: request["batch"]], arrays["y"][: request["batch"]]
        answer = time_steps(lambda: prepare(arrays, x, y), request["seconds"])
        print(json.dumps({**answer, "peak_rss_bytes": peak_rss_bytes()}), flush=True)


def main(prepare, version):
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--serve", action="store_true")
    options = parser.parse_args()
    arrays = read_sample(options.file)
    if options.serve:
        serve(arrays, prepare, version)
        return
    step = prepare(arrays, arrays["x"][: options.batch_size], arrays["y"][: options.batch_size])
    for _ in range(options.steps):
        print(f"{float(step()):.9g}", flush=True)
