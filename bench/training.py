"""Training as a whole: process start to 98 % on MNIST, beside PyTorch with the same recipe."""

import json
import os
import shutil

import processes
from report import row

MNIST_BYTES = 70000 * 784  # as bytes, which is how Nacre keeps it
TARGET = 0.98
WHAT = f"process start to {TARGET:.0%} on MNIST, 1 thread: Nacre / torch"


def _nacre_mnist(bench, number):
    out = os.path.join(bench.work, f"mnist-{number}")
    command = bench.nacre(f"train mnist-mlp --threads 1 --target-accuracy {TARGET} --json --quiet")
    command += ["--data", bench.data, "--out", out]
    result, outcome = bench.run_json(command, allowed=(0, 1))
    shutil.rmtree(out, ignore_errors=True)
    # The whole process: weights and tables are saved in it too.
    return {
        "seconds": outcome.seconds,
        "cpu_seconds": outcome.cpu_seconds,
        "epochs": result["epochs"],
        "accuracy": result["test_accuracy"],
        "peak_rss_bytes": outcome.peak_rss_bytes,
        "step_us": result["step_us"],
    }


def _torch_mnist(bench):
    folder = os.path.join(bench.data, "mnist")
    folder = folder if os.path.isdir(folder) else bench.data
    outcome = bench.run([*bench.script_command("mnist_torch.py"), folder, str(TARGET), "1"])
    if not outcome.lines:
        raise processes.Failure("mnist_torch.py: no epoch finished")
    last = json.loads(outcome.lines[-1])
    return {
        "seconds": outcome.times[-1],
        "cpu_seconds": outcome.cpu_seconds,
        "epochs": last["epochs"],
        "accuracy": last["test_accuracy"],
        "peak_rss_bytes": outcome.peak_rss_bytes,
    }


def _find_mnist(bench):
    """The folder that nacre finds by itself, or downloads to; None where it has to draw digits."""
    out = os.path.join(bench.work, "find-mnist")
    command = bench.nacre("train mnist-mlp --epochs 0 --json --quiet")
    result, _ = bench.run_json([*command, "--out", out])
    with open(os.path.join(out, "config.json"), encoding="utf-8") as file:
        folder = json.load(file)["data"]
    return folder if result["data"] == "mnist" else None


def _in_turn(bench):
    """{who: [run]}"""
    runs = {"nacre": []}
    for number in range(bench.mnist_rounds):
        bench.say(f"MNIST to {TARGET:.0%}: round {number + 1} of {bench.mnist_rounds}")
        runs["nacre"].append(_nacre_mnist(bench, number))
        if "torch" in bench.peers:
            runs.setdefault("torch", []).append(_torch_mnist(bench))
    return runs


def _memory_row(best):
    note = ", ".join(f"{who} {one['peak_rss_bytes'] / 1e6:.1f} MB in all" for who, one in best.items())
    beyond = (best["nacre"]["peak_rss_bytes"] - MNIST_BYTES) / 1e6
    return row("resident memory of that process beyond the data", beyond, "MB", note=note, name="mnist.memory")


def _ratio_rows(ours, theirs):
    def both(key, unit):
        return f"{ours[key]:.2f} {unit} / {theirs[key]:.2f} {unit}"

    epochs = f"{ours['epochs']} epochs / {theirs['epochs']} epochs"
    per_epoch = ours["seconds"] / ours["epochs"] * theirs["epochs"] / theirs["seconds"]
    return [
        row(WHAT, ours["seconds"] / theirs["seconds"], note=f"{both('seconds', 's')}; {epochs}", name="mnist.time"),
        row("the same per epoch", per_epoch),
        row("the same in CPU time", ours["cpu_seconds"] / theirs["cpu_seconds"], note=both("cpu_seconds", "s")),
    ]


def mnist(bench):
    """Process start to 98 %. PyTorch is let off its exit; Nacre's time has its files written."""
    bench.data = bench.data or _find_mnist(bench)
    if not bench.data:
        return [row(WHAT, None, note="no data: give --data DIR or set NACRE_DATA", name="mnist.time")], {}
    runs = _in_turn(bench)
    best = {who: min(r, key=lambda one: one["seconds"]) for who, r in runs.items()}
    for who, one in best.items():
        if one["accuracy"] < TARGET:
            return [row(WHAT, None, note=f"{who} reached {one['accuracy']:.4f} only", name="mnist.time")], runs
    if "torch" not in best:
        alone = f"Nacre {best['nacre']['seconds']:.2f} s; no PyTorch here"
        return [row(WHAT, None, note=alone, name="mnist.time"), _memory_row(best)], runs
    return [*_ratio_rows(best["nacre"], best["torch"]), _memory_row(best)], runs
