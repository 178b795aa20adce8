"""How long a training step waits for its batch, on sets of MNIST's and of CIFAR-10's shape."""

from marks import counted
from report import row

SETS = {"mnist": "MNIST", "cifar10": "CIFAR-10"}


def waiting(bench):
    """On all CPUs, as a training runs that nobody pins: the thread that reads ahead shares them with those that compute."""
    rows, figures = [], {}
    for name, what in SETS.items():
        bench.say(f"{what}: waiting for data")
        runs = {}
        for threads in bench.threads:
            words = [bench.program("bench/waiting"), name, "--threads", str(threads)]
            words += ["--seconds", str(4 * bench.step_seconds)]
            each = [bench.run_json(words, bench.threads[-1])[0] for _ in range(bench.start_rounds)]
            runs[threads] = min(each, key=lambda run: run["share"])
        most = max(runs.values(), key=lambda run: run["share"])
        note = "; ".join(
            f"{counted(threads, 'thread')}: {run['us_waiting']:.1f} us of {run['us_step']:.0f} us" for threads, run in runs.items()
        )
        label = f"{what}, {most['workload']}: waiting for the batch / step, the larger share"
        rows.append(row(label, most["share"], note=note, name=f"waiting.{name}"))
        figures[name] = runs
    return rows, figures
