"""Nacre's kernels one by one beside plain loops, NumPy (OpenBLAS) and PyTorch (MKL), one thread each.

OpenBLAS takes AVX2 kernels on processors that it does not know, whatever they can do: where Nacre runs AVX-512, NumPy runs
once more with OpenBLAS told to do so too.
"""

import math
import os

import charts
import pages
import plots
import processes
from matrices import SETTINGS

PEERS = {"numpy": "NumPy", "numpy-avx512": "NumPy, AVX-512", "torch": "PyTorch"}
SCALARS = ("dot", "sum", "mean", "zeros")
NAMES = (*SCALARS, "linear", "linear input gradient", "linear weight gradient", "matmul")


def shapes_of(work):
    """As `nacre bench kernels` writes them."""
    m, n, k = work["m"], work["n"], work["k"]
    if work["name"] == "zeros":
        return ""
    if m == 0:
        return f"[{n}] x [{n}]" if work["name"] == "dot" else f"[{n}]"
    return f"[{m},{k}] x [{k},{n}]" if work["name"] == "matmul" else f"[{m},{k}] x [{n},{k}] x [{n}]"


def _label(work):
    if work["m"] == 0:
        return f"{work['name']} {work['n']:,}"
    return f"{work['name']} {work['m']} x {work['n']} x {work['k']}"


def _nacre(shop):
    command = [shop.program("nacre"), "bench", "kernels", *NAMES, "--threads", "1"]
    answer, _ = shop.json([*command, "--seconds", str(shop.seconds / 4), "--json"])
    return {(k["name"], k["shapes"]): k["us_min"] for k in answer["kernels"]}


def _plain(shop):
    answer, _ = shop.json([shop.program("bench/experiments"), "loops", "--seconds", str(2 * shop.seconds)])
    return answer["kernels"]


def _start_peers(shop):
    """The peers that bench/run has installed."""
    python = shop.peers_python()
    if not python:
        shop.say("no peers: bench/run makes their environment")
        return {}
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peer_products.py")
    level = shop.json([shop.program("nacre"), "info", "--json"])[0]["isa"]
    names = [name for name in PEERS if name != "numpy-avx512" or level == "avx512"]
    commands = {name: [*SETTINGS.get(name, []), python, script, name.split("-")[0]] for name in names}
    return processes.start_peers(commands, 1, shop.cpus[:1], shop.errors, shop.say)


def measure(shop):
    workers = _start_peers(shop)
    try:
        ways = {"plain": lambda: _plain(shop), "nacre": lambda: _nacre(shop)}
        for name, worker in workers.items():
            ways[name] = lambda worker=worker: worker.ask({"seconds": shop.seconds / 8})["us"]
        rounds = shop.in_turn(ways, "products")
    finally:
        for worker in workers.values():
            worker.close()
    rows = []
    for i, work in enumerate(rounds["plain"][0]):
        label = " ".join(str(work[key]) for key in ("name", "m", "n", "k"))
        found = {name: [r[label] for r in rounds[name]] for name in workers}
        found["nacre"] = [r[work["name"], shapes_of(work)] for r in rounds["nacre"]]
        found["plain"] = [r[i]["us_min"] for r in rounds["plain"]]
        best = {way: None if None in times else min(times) for way, times in found.items()}
        rows.append({**{key: work[key] for key in ("name", "m", "n", "k")}, **best, "raw": found})
    return {"rows": rows, "versions": {name: worker.version for name, worker in workers.items()}}


def _speed_up(row, name):
    return f" ({pages.number(row['plain'] / row[name])}x)" if row["plain"] else ""


def _title(figures, peer):
    return f"{PEERS[peer].split(',')[0]} {figures['versions'][peer]}"


def _line(row, peers):
    speed = [pages.number(row[name]) + _speed_up(row, name) for name in ("nacre", *peers)]
    best = min((row[name] for name in peers), default=None)
    return [_label(row), row["plain"], *speed, pages.ratio(row["nacre"] / best) if best else "-"]


def tables(figures):
    peers = list(figures["versions"])
    titles = ["Nacre, us", *[f"{_title(figures, p)}, us" for p in peers], "Nacre / best"]
    scalars = [r for r in figures["rows"] if r["m"] == 0]
    matrices = [r for r in figures["rows"] if r["m"] != 0]
    return {
        "functions": pages.table(["function", "plain loop, us", *titles], [_line(r, peers) for r in scalars]),
        "products": pages.table(["product m x n x k", "plain loop, us", *titles], [_line(r, peers) for r in matrices]),
        "about-functions": pages.bullets([*_about_peers(figures, scalars), _about_plain(scalars)]),
        "about-products": pages.bullets([*_about_peers(figures, matrices), _about_plain(matrices)]),
    }


def _mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def _about_peers(figures, rows):
    """Nacre beside the fastest library, and beside each."""
    peers = list(figures["versions"])
    if not peers:
        return ["No library was there to compare with."]
    ratios = {_label(row): row["nacre"] / min(row[p] for p in peers) for row in rows}
    worst = max(ratios, key=ratios.get)
    ahead, behind = ([r for r in ratios.values() if within(r)] for within in (_is_faster, _is_slower))
    alike = len(ratios) - len(ahead) - len(behind)
    others = f"; {alike} cannot be told apart" if alike else ""
    lines = [
        f"Beside the fastest library Nacre is faster in {len(ahead)} of {len(ratios)} and slower in {len(behind)}{others}. Geometric "
        f"mean of its time over theirs: {pages.ratio(_mean(ratios.values()))}; the worst is {worst} with {pages.ratio(ratios[worst])}."
    ]
    for peer in peers:
        mean = _mean([row["nacre"] / row[peer] for row in rows])
        lines.append(f"Beside {_title(figures, peer)}: {pages.ratio(mean)} in the mean.")
    return lines


def _is_faster(ratio):
    return ratio < 1 - pages.NOISE


def _is_slower(ratio):
    return ratio > 1 + pages.NOISE


def _about_plain(rows):
    faster = [row["plain"] / row["nacre"] for row in rows if row["plain"]]
    return f"The plain loop takes {pages.number(min(faster))} to {pages.number(max(faster))} times as long as Nacre."


def draw(figures, stem):
    ways = {"nacre": "Nacre", **{peer: PEERS[peer] for peer in figures["versions"]}}
    lines = {way: [] for way in ways}
    for row in figures["rows"]:
        flops = 2 * row["m"] * row["n"] * row["k"]
        for way in ways if flops else ():
            lines[way].append((flops, flops / row[way] * 1e-3))
    xs, ys = zip(*[point for line in lines.values() for point in line])
    title = "Products, one thread: GFLOP/s against their size"
    drawing = plots.Drawing(title, "FLOP of one product", "GFLOP/s", xs, (min(ys) / 1.5, max(ys) * 1.5))
    for way, line in lines.items():
        drawing.line(_best_of_size(line), ways[way])
    drawing.save(f"{stem}-gflops.svg")
    groups = [(_label(r), [(ways[w], r["nacre"] / r[w]) for w in list(ways)[1:]]) for r in figures["rows"]]
    paths = [f"{stem}-gflops.svg"]
    if len(ways) > 1:
        paths.append(charts.bars(f"{stem}-ratios.svg", "Speed of the libraries, Nacre's is 1", groups, 1))
    return paths


def _best_of_size(points):
    best = {}
    for x, y in points:
        best[x] = max(y, best.get(x, 0))
    return sorted(best.items())
