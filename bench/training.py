"""Training as a whole: process start to 98 % on MNIST, beside PyTorch with the same recipe."""

import json
import os
import shutil

import goals
import processes
from report import row

MNIST_BYTES = 70000 * 784  # as bytes, which is how Nacre keeps it
TARGET = 0.98


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


def mnist(bench):
    """Process start to 98 %. PyTorch is let off its exit; Nacre's time has its files written."""
    what = f"process start to {TARGET:.0%} on MNIST, 1 thread: Nacre / torch"
    bench.data = bench.data or _find_mnist(bench)
    if not bench.data:
        return [row(what, None, note="no data: give --data DIR or set NACRE_DATA")], {}
    runs = {"nacre": [], "torch": []}
    for number in range(bench.mnist_rounds):
        bench.say(f"MNIST to {TARGET:.0%}: round {number + 1} of {bench.mnist_rounds}")
        runs["nacre"].append(_nacre_mnist(bench, number))
        if "torch" in bench.peers:
            runs["torch"].append(_torch_mnist(bench))
    best = {name: min(r, key=lambda one: one["seconds"]) for name, r in runs.items() if r}
    for name, one in best.items():
        if one["accuracy"] < TARGET:
            return [row(what, None, note=f"{name} reached {one['accuracy']:.4f} only")], runs
    ours = best["nacre"]
    memory = row(
        "resident memory of that process beyond the data",
        (ours["peak_rss_bytes"] - MNIST_BYTES) / 1e6,
        "MB",
        goal=goals.bound("mnist.memory"),
        id="mnist.memory",
        note=f"{ours['peak_rss_bytes'] / 1e6:.1f} MB in all",
    )
    if "torch" not in best:
        return [
            row(what, None, note=f"Nacre {ours['seconds']:.2f} s; no PyTorch here"),
            memory,
        ], runs
    theirs = best["torch"]
    memory["note"] += f"; torch {theirs['peak_rss_bytes'] / 1e6:.0f} MB in all"
    rows = [
        row(
            what,
            ours["seconds"] / theirs["seconds"],
            goal=goals.bound("mnist.time"),
            id="mnist.time",
            note=f"{ours['seconds']:.2f} s, {ours['epochs']} epochs / "
            f"{theirs['seconds']:.2f} s, {theirs['epochs']} epochs",
        ),
        row(
            "the same per epoch",
            ours["seconds"] / ours["epochs"] * theirs["epochs"] / theirs["seconds"],
        ),
        row(
            "the same in CPU time",
            ours["cpu_seconds"] / theirs["cpu_seconds"],
            note=f"{ours['cpu_seconds']:.2f} s / {theirs['cpu_seconds']:.2f} s",
        ),
    ]
    return [*rows, memory], runs
