"""What every peer's script shares: the file of weights and data, and what a run is asked for.

    PEER.py WORKLOAD FILE --steps N [--batch-size N]   trains N steps and prints each loss on a line
    PEER.py WORKLOAD FILE --infer [--batch-size N]     prints the outputs, one number a line
    PEER.py WORKLOAD FILE --serve [--infer]            times steps on request: {"batch": 64, "seconds": 1},
                                                       a line on stdin, is answered by a line on stdout

A peer gives prepare(options, arrays, x, y), which returns step(): one whole training step (forward,
loss, backward, update), finished when it returns its loss; with options.infer a forward pass in
inference mode, finished when it returns the outputs.
"""

import argparse
import json
import resource
import sys
import time

import numpy as np

WARM_UP = 5
# Overfitting one batch for thousands of steps leads to subnormal numbers, which slow a peer down
# for no fault of its own: so the training starts anew from time to time.
STEPS_PER_START = 300
LEAST_STEPS = 3


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


def channels_last(workload, arrays):
    """(parameters, running statistics) for peers that want matrices [in, out], filters [h, w, in, out]."""
    parameters, statistics = {}, {}
    for name, a in arrays.items():
        if name in ("x", "y") or name.endswith("num_batches_tracked"):
            continue
        if "running_" in name:
            statistics[name] = a
            continue
        if workload == "lenet" and name == "7.weight":  # reads what was flattened from [c, h, w]
            a = a.reshape(120, 16, 5, 5).transpose(0, 2, 3, 1).reshape(120, 400)
        if a.ndim == 4:
            a = a.transpose(2, 3, 1, 0)
        elif a.ndim == 2 and name not in ("tokens.weight", "positions.weight"):
            a = a.T
        parameters[name] = np.ascontiguousarray(a)
    return parameters, statistics


def time_steps(start, seconds):
    """Microseconds of a step, at best and median; start() gives a step at its first weights."""
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < LEAST_STEPS:
        step = start()
        before = time.perf_counter()
        for _ in range(WARM_UP):
            step()
        # Where a step takes a tenth of a second, warming up does not count against the time.
        end += time.perf_counter() - before
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


def serve(options, arrays, prepare, version):
    print(json.dumps({"version": version}), flush=True)
    kept = {}
    for line in sys.stdin:
        request = json.loads(line)
        batch = request["batch"]
        x, y = arrays["x"][:batch], arrays["y"][:batch]

        def start():
            if options.infer:  # there is nothing to start anew
                if batch not in kept:
                    kept[batch] = prepare(options, arrays, x, y)
                return kept[batch]
            return prepare(options, arrays, x, y)

        answer = time_steps(start, request["seconds"])
        print(json.dumps({**answer, "peak_rss_bytes": peak_rss_bytes()}), flush=True)


def main(prepare, version):
    parser = argparse.ArgumentParser()
    parser.add_argument("workload", choices=("mlp", "lenet", "vit", "gpt", "resnet20"))
    parser.add_argument("file")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=12)
    parser.add_argument("--infer", action="store_true")
    parser.add_argument("--compile", action="store_true", help="PyTorch: through torch.compile")
    parser.add_argument("--serve", action="store_true")
    options = parser.parse_args()
    arrays = read_sample(options.file)
    if options.serve:
        serve(options, arrays, prepare, version)
        return
    step = prepare(options, arrays, arrays["x"][: options.batch_size], arrays["y"][: options.batch_size])
    if options.infer:
        for value in np.asarray(step()).reshape(-1):
            print(f"{float(value):.9g}")
        return
    for _ in range(options.steps):
        print(f"{float(step()):.9g}", flush=True)
