"""What a program costs before it has done anything: its start, its memory, its size."""

import os
import shutil
import subprocess

import processes
import sample
import steps
from report import row

MILLISECONDS_GOAL, MEMORY_GOAL, SIZE_GOAL = 50, 30, 3  # the last two in MB


def _first_step(bench, command):
    """From the process's start to its first loss, and its largest resident memory."""
    words = ["--steps", "1", "--batch-size", "64"]
    outcome = bench.run([*command, "mlp", bench.sample("mlp"), *words])
    return {
        "seconds": outcome.times[0],
        "cpu_seconds": outcome.cpu_seconds,
        "peak_rss_bytes": outcome.peak_rss_bytes,
    }


def _whole_training(bench, number):
    """nacre train on 64 samples: reads them, takes one step, evaluates, writes the run folder."""
    data = os.path.join(bench.work, "small-mnist")
    if not os.path.isdir(data):
        sample.write_small_mnist(data, 64)
    out = os.path.join(bench.work, f"start-{number}")
    command = bench.nacre("train mnist-mlp --epochs 1 --threads 1 --json --quiet")
    _, outcome = bench.run_json([*command, "--data", data, "--out", out])
    shutil.rmtree(out, ignore_errors=True)
    return {
        "seconds": outcome.seconds,
        "cpu_seconds": outcome.cpu_seconds,
        "peak_rss_bytes": outcome.peak_rss_bytes,
    }


def _peers_that_run(bench):
    """The training peers, but for those that fail here; also their first, cold run."""
    peers = []
    for peer in (p for p in bench.peers if p not in steps.INFERENCE_ONLY):
        try:
            _first_step(bench, bench.peer_command(peer))
            peers.append(peer)
        except processes.Failure as failure:
            bench.say(f"{peer} is skipped: {failure}")
    return peers


def start(bench):
    peers = _peers_that_run(bench)
    runs = {"nacre": [], "nacre train": [], **{peer: [] for peer in peers}}
    bench.say("process start to the first step")
    for number in range(bench.start_rounds):
        runs["nacre"].append(_first_step(bench, [bench.program("bench/losses")]))
        runs["nacre train"].append(_whole_training(bench, number))
        for peer in peers:
            runs[peer].append(_first_step(bench, bench.peer_command(peer)))
    best = {name: min(one["seconds"] for one in r) for name, r in runs.items()}
    memory = {name: min(one["peak_rss_bytes"] for one in r) / 1e6 for name, r in runs.items()}
    cpu = {name: min(one["cpu_seconds"] for one in r) * 1e3 for name, r in runs.items()}
    times = ", ".join(f"{peer} {best[peer] * 1e3:.0f} ms" for peer in peers)
    sizes = ", ".join(f"{peer} {memory[peer]:.0f} MB" for peer in peers)
    rows = [
        row(
            "process start to the first step done",
            best["nacre"] * 1e3,
            "ms",
            goal=MILLISECONDS_GOAL,
            strict=True,
            id="start.first_step",
            note=f"{cpu['nacre']:.0f} ms of CPU time; {times}",
        ),
        row(
            "nacre train on 64 samples, from start to exit",
            best["nacre train"] * 1e3,
            "ms",
            note=f"{cpu['nacre train']:.0f} ms of CPU time; writes and syncs the run folder",
        ),
        row(
            "resident memory of a process that trains the mlp",
            memory["nacre"],
            "MB",
            goal=MEMORY_GOAL,
            note=sizes,
        ),
    ]
    return rows, runs


def _stripped_bytes(bench, library):
    copy = os.path.join(bench.work, "stripped")
    shutil.copyfile(library, copy)
    # On macOS a plain strip would take the exports too.
    options = ["-x"] if os.uname().sysname == "Darwin" else []
    subprocess.run(["strip", *options, copy], check=True, capture_output=True)
    return os.path.getsize(copy)


def _torch_bytes(bench):
    """What PyTorch's wheel needs on a CPU: its three libraries."""
    code = (
        "import os, torch; d = os.path.join(os.path.dirname(torch.__file__), 'lib');"
        "print(sum(os.path.getsize(os.path.join(d, f)) for f in os.listdir(d)"
        " if f.split('.')[0] in ('libtorch_cpu', 'libtorch', 'libc10')))"
    )
    return int(bench.run([bench.python, "-c", code]).lines[-1])


def size(bench):
    candidates = [bench.program(name) for name in ("libnacre.so", "libnacre.dylib")]
    library = next((path for path in candidates if os.path.exists(path)), None)
    if not library or not shutil.which("strip"):
        return [row("libnacre.so stripped", None, note="no shared library, or no strip")], {}
    figures = {"nacre_bytes": _stripped_bytes(bench, library)}
    note = ""
    if "torch" in bench.peers:
        figures["torch_bytes"] = _torch_bytes(bench)
        note = f"libtorch_cpu, libtorch and libc10: {figures['torch_bytes'] / 1e6:.0f} MB"
    megabytes = figures["nacre_bytes"] / 1e6
    what = "libnacre.so stripped"
    return [row(what, megabytes, "MB", goal=SIZE_GOAL, strict=True, note=note, id="size.library")], figures
