"""Matrix products by themselves, at the shapes of the workloads, beside the BLAS libraries of PyTorch (MKL) and
NumPy (OpenBLAS), and BLIS where it is installed.

A C program calls them (blas.c): Python and a framework's dispatcher are not what is compared. Bias and ReLU are
Nacre's epilogue and a pass of its own on the other side.
"""

import ctypes.util
import glob
import math
import os
import statistics

import processes
from goals import GOALS
from marks import counted
from report import row
from steps import PEAK_SHARE, left

LARGE = {n: f"matmul:{n}x{n}x{n}:nn" for n in (1024, 2048)}
# (rows, out, in) of linear layers: mlp at three batches, lenet, vit, gpt.
LAYERS = (
    *((batch, out, into) for batch in (12, 64, 256) for out, into in ((128, 784), (128, 128), (10, 128))),
    *((64, 120, 400), (64, 84, 120)),
    *((1024, 64, 49), (1088, 192, 64), (1088, 64, 64), (1088, 256, 64), (1088, 64, 256)),
    *((768, 384, 128), (768, 128, 128), (768, 512, 128), (768, 128, 512), (768, 65, 128)),
)
# Where the libraries lie in the peers' folders: MKL in PyTorch's, OpenBLAS in NumPy's.
LIBRARIES = {"torch": "lib/libtorch_cpu.so", "numpy": "../numpy.libs/*openblas*"}
# OpenBLAS takes AVX2 kernels on processors that it does not know: it also runs as told.
SETTINGS = {"numpy-avx512": ["env", "OPENBLAS_CORETYPE=SkylakeX"]}


def shapes():
    """Forward, the gradient of the input, and that of the weight."""
    names = []
    for m, n, k in LAYERS:
        names += [f"linear:{m}x{n}x{k}", f"matmul:{m}x{k}x{n}:nn", f"matmul:{n}x{k}x{m}:tn"]
    return names


KINDS = ("forward, with bias and ReLU", "input gradient", "weight gradient")


def kind_of(name):
    return KINDS[0] if name.startswith("linear") else KINDS[2] if name.endswith(":tn") else KINDS[1]


def size_of(name):
    """ "64x10x128": rows, columns, inner extent."""
    return name.split(":")[1]


def _libraries(bench):
    """{name: path of the BLAS library}: those that came with the peers, and the system's BLIS."""
    blis = ctypes.util.find_library("blis")
    found = {"blis": blis} if blis else {}
    for peer, pattern in LIBRARIES.items():
        if peer in bench.peers:
            code = f"import os, {peer}; print(os.path.dirname({peer}.__file__))"
            folder = bench.run([bench.python, "-c", code]).lines[-1]
            paths = glob.glob(os.path.join(folder, pattern))
            found.update({peer: path for path in paths[:1]})
    if "numpy" in found and bench.run_json(bench.nacre("info --json"))[0]["isa"] == "avx512":
        found["numpy-avx512"] = found["numpy"]
    return found


def _start_peers(bench, names, threads):
    program = bench.program("bench/blas")
    commands = {
        peer: [*SETTINGS.get(peer, []), program, library, *names] for peer, library in _libraries(bench).items()
    }
    return processes.start_peers(commands, threads, bench.cpus[:threads], bench.errors, bench.say)


def _nacre(bench, names, threads):
    seconds = bench.product_seconds * len(names)
    words = f"bench kernels {' '.join(names)} --threads {threads} --seconds {seconds} --json"
    answer, _ = bench.run_json(bench.nacre(words), threads)
    return answer["peak_gflops"], [kernel["us_min"] for kernel in answer["kernels"]]


def _rounds(bench, names, workers, threads):
    """[(peak, {who: [us]})], each round in the other direction."""
    rounds = []
    for number in range(bench.rounds):
        bench.say(f"products, {counted(threads, 'thread')}: round {number + 1} of {bench.rounds}")
        times = {}
        for who in processes.turns(["nacre", *workers], number):
            if who == "nacre":
                peak, times[who] = _nacre(bench, names, threads)
            else:
                times[who] = workers[who].ask({"seconds": bench.product_seconds})["us"]
        rounds.append((peak, times))
    return rounds


def _best(rounds, names):
    """Of the rounds in which the machine was at its best {name: {who: us}}, the best and the median, and its peak then."""
    peak = max(round_[0] for round_ in rounds)
    kept = [times for of_round, times in rounds if of_round >= PEAK_SHARE * peak]

    def over_rounds(choose):
        return {
            name: {who: choose(times[who][i] for times in kept) for who in kept[0]} for i, name in enumerate(names)
        }

    return {
        "us_best": over_rounds(min),
        "us_median": over_rounds(statistics.median),
        "peak_gflops": peak,
        "rounds": len(rounds),
        "rounds_dropped": len(rounds) - len(kept),
    }


def ratio_of(times):
    """Nacre's time / the best peer's."""
    return times["nacre"] / min(time for who, time in times.items() if who != "nacre")


def ratios_of(best):
    """{kind: [(ratio, name)]} of the workloads' shapes, the smallest ratio first."""
    of_kind = {kind: [] for kind in KINDS}
    for name in shapes():
        of_kind[kind_of(name)].append((ratio_of(best[name]), name))
    return {kind: sorted(found) for kind, found in of_kind.items()}


def above(best):
    """{kind: [(ratio, name)]}: those that miss the goal of the worst one, the worst first."""
    bound = GOALS["products.worst.1"].bound
    return {kind: [one for one in found[::-1] if one[0] > bound] for kind, found in ratios_of(best).items()}


def _above_row(best, threads, figures):
    lists = above(best)
    listed = (f"{kind} {', '.join(f'{size_of(n)} {r:.2f}' for r, n in of)}" for kind, of in lists.items() if of)
    what = f"products above {GOALS['products.worst.1'].bound:g} x the best BLAS, {counted(threads, 'thread')}: how many of {len(best) - len(LARGE)}"
    name = f"products.above.{'1' if threads == 1 else 'all'}"
    return row(what, sum(map(len, lists.values())), note="; ".join(listed), name=name, rounds=left(figures))


def _peak_row(n, threads, figures, which):
    what, peak = f"product of {n} cubed, {counted(threads, 'thread')}: share of the measured peak", figures["peak_gflops"]
    share = 2 * n**3 / figures["us_best"][LARGE[n]]["nacre"] * 1e-3 / peak
    note, name = f"peak {peak:.0f} GFLOP/s", f"products.peak.{n}.{which}"
    return row(what, share, note=note, name=name, rounds=left(figures))


def _rows(figures, threads):
    best, which = figures["us_best"], "1" if threads == 1 else "all"
    rows = [_peak_row(n, threads, figures, which) for n in LARGE]
    if len(best[LARGE[1024]]) == 1:
        return rows
    ratios = {name: ratio_of(best[name]) for name in shapes()}
    worst = max(ratios, key=ratios.get)
    mean = math.exp(sum(math.log(ratio) for ratio in ratios.values()) / len(ratios))

    def times(name):
        return f"{name}: " + ", ".join(f"{who} {us:.1f} us" for who, us in best[name].items())

    for kind, what, value, note in (
        ("mean", f"{len(ratios)} products, geometric mean", mean, ""),
        ("worst", "products, the worst", ratios[worst], times(worst)),
        *((n, f"product of {n} cubed", ratio_of(best[name]), times(name)) for n, name in LARGE.items()),
    ):
        what = f"{what}, {counted(threads, 'thread')}: Nacre / the best BLAS"
        rows.append(row(what, value, note=note, name=f"products.{kind}.{which}", rounds=left(figures)))
    return [*rows, _above_row(best, threads, figures)]


def products(bench):
    names, rows, figures = [*shapes(), *LARGE.values()], [], {}
    for threads in bench.threads:
        workers = _start_peers(bench, names, threads)
        try:
            rounds = _rounds(bench, names, workers, threads)
        finally:
            for worker in workers.values():
                worker.close()
        figures[threads] = _best(rounds, names)
        rows += _rows(figures[threads], threads)
    return rows, figures
