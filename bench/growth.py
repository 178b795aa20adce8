"""How Nacre's training step grows with the batch and with the network, on one thread."""

import math

import steps
from report import row
from workloads import BATCHES


def _powers(least, most):
    return [2**i for i in range(14) if least <= 2**i <= most]


# What grows: of each workload that has it, how far.
AXES = {
    "batch-size": {workload: _powers(1, 1024) for workload in BATCHES},
    "width": {"mlp": _powers(16, 2048), "vit": _powers(16, 512), "gpt": _powers(32, 512)},
    "depth": {"mlp": _powers(1, 32), "vit": _powers(1, 16), "gpt": _powers(1, 16)},
    "sequence-length": {"gpt": _powers(16, 1024)},
}


def upper(points):
    """Of [(size, figure)] those that a law is fitted to: the last three doublings."""
    return [point for point in points if point[0] >= points[-1][0] / 8]


def exponent(points):
    """Least squares of log y over log x."""
    xs, ys = [math.log(x) for x, _ in points], [math.log(y) for _, y in points]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    square = sum((x - mean_x) ** 2 for x in xs)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys)) / square if square else math.nan


def series(of_size, key):
    return [(int(size), answer[key]) for size, answer in of_size.items()]


def _row(workload, axis, of_size):
    times, memory = (upper(series(of_size, key)) for key in ("us_min", "arena_bytes"))
    what = f"{workload}: time grows with the {axis.replace('-', ' ')} to the power of"
    note = (
        f"from {times[0][0]} to {times[-1][0]}, {times[-1][1]:.0f} us; intermediate values to the "
        f"power of {exponent(memory):.2f}, {memory[-1][1] / 1e6:.1f} MB"
    )
    return row(what, exponent(times), note=note, name=f"growth.{workload}.{axis}")


def sweep(bench):
    rows, figures = [], {}
    for axis, of_workload in AXES.items():
        for workload in (w for w in bench.workloads if w in of_workload):
            sizes = of_workload[workload]
            sizes = sizes[::3][:3] if bench.quick else sizes
            bench.say(f"{workload}: {axis} {sizes[0]} to {sizes[-1]}")
            of_size = {n: steps.nacre(bench, workload, f"--{axis} {n}", 1) for n in sizes}
            figures.setdefault(axis, {})[workload] = of_size
            rows.append(_row(workload, axis, of_size))
    return rows, figures
