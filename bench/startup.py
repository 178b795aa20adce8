"""What a program costs before it has done anything: its start, its memory, its size."""

import os
import re
import shutil
import subprocess

import environment
import processes
import sample
from report import row
from workloads import INFERENCE_ONLY

# The C library and the compiler's run-time library, which every program has.
SYSTEM_LIBRARIES = ("libc", "libm", "libdl", "libpthread", "librt", "libgcc_s", "ld-linux-x86-64", "ld-linux-aarch64")
# cmake/dependencies.cmake uses these where they are found, and leaves them out where they are not.
OPTIONAL_LIBRARIES = ("libz", "libpng16", "libcurl")


def _figures(outcome, seconds):
    return {"seconds": seconds, "cpu_seconds": outcome.cpu_seconds}


def _first_step(bench, command, measure_memory=False):
    """From the process's start to its first loss, and the largest resident memory of another such process."""
    command = [*command, "mlp", bench.sample("mlp"), "--steps", "1", "--batch-size", "64"]
    outcome = bench.run(command)
    figures = _figures(outcome, outcome.times[0])
    return {**figures, "peak_rss_bytes": bench.peak_memory(command)} if measure_memory else figures


def _whole_training(bench, number):
    """nacre train on 64 samples: reads them, takes one step, evaluates, writes the run folder."""
    data = os.path.join(bench.work, "small-mnist")
    if not os.path.isdir(data):
        sample.write_small_mnist(data, 64)
    out = os.path.join(bench.work, f"start-{number}")
    command = bench.nacre("train mnist-mlp --epochs 1 --threads 1 --json --quiet")
    _, outcome = bench.run_json([*command, "--data", data, "--out", out])
    shutil.rmtree(out, ignore_errors=True)
    return _figures(outcome, outcome.seconds)


def _peers_that_run(bench):
    """The training peers, but for those that fail here, and for torch.compile, which takes many times longer than
    PyTorch does without it; also their first, cold run."""
    peers = []
    for peer in (p for p in bench.peers if p not in (*INFERENCE_ONLY, environment.TORCH_COMPILED)):
        try:
            _first_step(bench, bench.peer_command(peer))
            peers.append(peer)
        except processes.Failure as failure:
            bench.say(f"{peer} is skipped: {failure}")
    return peers


def _in_turn(bench, peers):
    """{who: [run]}"""
    runs = {"nacre": [], "nacre train": [], **{peer: [] for peer in peers}}
    for number in range(bench.start_rounds):
        runs["nacre"].append(_first_step(bench, [bench.program("bench/losses")], number == 0))
        runs["nacre train"].append(_whole_training(bench, number))
        for peer in peers:
            runs[peer].append(_first_step(bench, bench.peer_command(peer), number == 0))
    return runs


def start(bench):
    bench.say("process start to the first step")
    peers = _peers_that_run(bench)
    runs = _in_turn(bench, peers)

    def least(who, key, unit):
        return min(run[key] for run in runs[who] if key in run) / unit

    times = ", ".join(f"{peer} {least(peer, 'seconds', 1e-3):.0f} ms" for peer in peers)
    sizes = ", ".join(f"{peer} {least(peer, 'peak_rss_bytes', 1e6):.0f} MB" for peer in peers)
    cpu = f"{least('nacre', 'cpu_seconds', 1e-3):.0f} ms of CPU time"
    train = f"{least('nacre train', 'cpu_seconds', 1e-3):.0f} ms of CPU time; writes and syncs the run folder"
    rows = [
        row(
            "process start to the first step done",
            least("nacre", "seconds", 1e-3),
            "ms",
            note=f"{cpu}; {times}",
            name="start.first_step",
        ),
        row("nacre train on 64 samples, from start to exit", least("nacre train", "seconds", 1e-3), "ms", note=train),
        row("resident memory of a process that trains the mlp", least("nacre", "peak_rss_bytes", 1e6), "MB", note=sizes),
    ]
    return rows, runs


# ---- its size ----


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


def _dependencies(library):
    """Names of the libraries that it is linked against and that not every system has; None where nobody tells them."""
    if not shutil.which("readelf"):
        return None
    done = subprocess.run(["readelf", "-d", library], check=True, capture_output=True, text=True)
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", done.stdout)
    return [name for name in needed if name.split(".so")[0] not in SYSTEM_LIBRARIES]


def _dependencies_row(library):
    what, name = "libraries that libnacre.so cannot do without, beside the system's own", "size.dependencies"
    found = _dependencies(library)
    if found is None:
        return row(what, None, note="no readelf", name=name)
    mandatory = [library for library in found if library.split(".so")[0] not in OPTIONAL_LIBRARIES]
    optional = [library for library in found if library not in mandatory]
    note = "; ".join(filter(None, (", ".join(mandatory), f"optional: {', '.join(optional)}" if optional else "")))
    return row(what, len(mandatory), note=note, name=name)


def size(bench):
    what = "libnacre.so stripped"
    candidates = [bench.program(name) for name in ("libnacre.so", "libnacre.dylib")]
    library = next((path for path in candidates if os.path.exists(path)), None)
    if not library or not shutil.which("strip"):
        return [row(what, None, note="no shared library, or no strip", name="size.library")], {}
    figures, note = {"nacre_bytes": _stripped_bytes(bench, library)}, ""
    if "torch" in bench.peers:
        figures["torch_bytes"] = _torch_bytes(bench)
        note = f"libtorch_cpu, libtorch and libc10: {figures['torch_bytes'] / 1e6:.0f} MB"
    stripped = row(what, figures["nacre_bytes"] / 1e6, "MB", note=note, name="size.library")
    return [stripped, _dependencies_row(library)], figures
