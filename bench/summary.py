"""What docs/performance.md and README.md say in figures: tables and sentences made from the files in bench/results/.

Of each part of the comparison the newest file that has it counts; the pages name those files.
"""

import math
import os
import statistics

import growth
import matrices
import report
import shares
import source
from goals import GOALS
from marks import bullets, counted, listed, number, table
from workloads import BATCHES, INFERENCE, usual_batch

NOT_MEASURED = "not measured"
MNIST_STEPS = 469  # of an epoch: 60,000 samples in batches of 128, the last one shorter
# The order in which peers are named, and how.
PEERS = {
    "jax": "JAX",
    "torch": "PyTorch",
    "torch-compiled": "PyTorch compiled",
    "libtorch": "LibTorch",
    "tensorflow": "TensorFlow",
    "numpy": "NumPy",
    "numba": "Numba",
    "mlx": "MLX",
    "onnxruntime": "ONNX Runtime",
}
NETWORKS = {
    "mlp": "perceptron 784-128-128-128-10, Adam",
    "lenet": "LeNet-5, Adam",
    "vit": "vision transformer, AdamW",
    "gpt": "GPT of 0.8 M parameters, AdamW",
    "resnet20": "ResNet-20, SGD",
}


class Found:
    """Rows by id, figures by part, and which file each part is from."""

    def __init__(self, files):
        """files: (path, results), the newest last."""
        self.rows, self.figures, self.source = {}, {}, {}
        for path, results in files:
            for row in results["rows"]:
                if row.get("id") and (row["measured"] is not None or row["id"] not in self.rows):
                    self.rows[row["id"]] = row
            for part, figures in results["figures"].items():
                self._take(part, figures, (path, results))

    def _take(self, part, figures, source):
        if not figures:
            return
        both = isinstance(figures, dict) and isinstance(self.figures.get(part), dict)
        self.figures[part] = {**self.figures[part], **figures} if both else figures
        self.source[part] = source

    def of(self, part):
        return self.figures.get(part) or {}

    def value(self, name):
        return self.rows.get(name, {}).get("measured")

    def verdict(self, name):
        return report.goal_verdict(name, self.rows).lower() if name in self.rows and name in GOALS else ""

    def results(self):
        """{path: (results, [part])}, the file of the training steps first."""
        found = {}
        for part, (path, results) in self.source.items():
            found.setdefault(path, (results, []))[1].append(part)
        return dict(sorted(found.items(), key=lambda one: "step" not in one[1][1]))


def _threads(of_threads):
    return sorted(of_threads, key=int)


def beside(value, name):
    """A ratio with as many digits as it takes to see on which side of its goal it lies."""
    goal = GOALS.get(name)
    if value is None:
        return NOT_MEASURED
    if isinstance(value, int):
        return str(value)
    digits = 2
    while goal and digits < 5 and goal.met(round(value, digits)) != goal.met(value):
        digits += 1
    return f"{value:.{digits}f}"


def _us(value):
    """A part of a step that was not measured, because it was faster than what it is a part of, is no figure."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _best_peer(times):
    return min((who for who in times if who != "nacre"), key=times.get, default=None)


def _ratio_and_peer(result, with_name=True):
    times = result["us_best"]
    peer = _best_peer(times)
    if not peer:
        return NOT_MEASURED
    ratio = f"{times['nacre'] / times[peer]:.2f}"
    return f"{ratio} ({PEERS[peer]})" if with_name else ratio


# ---- the runs ----


def _commits(results, parts):
    programs = results["programs"]
    shorts = dict.fromkeys(source.short(programs[part]) for part in parts if part in programs)
    return listed(f"`{short}`" for short in shorts)


def _doubts(results, parts):
    programs = [results["programs"][part] for part in parts if part in results["programs"]]
    said = []
    if any(program["dirty"] for program in programs):
        said.append("`+`: the program had changes that no commit has")
    if not all(program["built"] for program in programs):
        said.append("`?`: the program was not built in that run and may be of another commit")
    return f" ({'; '.join(said)})" if said else ""


def _rounds(found):
    rounds = {r["rounds"] for of in found.of("step").values() for b in of.values() for r in b.values()}
    return f", {listed(str(n) for n in sorted(rounds))} rounds" if rounds else ""


def _run_line(found, path, results, parts):
    machine = results["machine"]
    rounds = _rounds(found) if "step" in parts else ""
    return (
        f"[{os.path.basename(path)}](../bench/results/{os.path.basename(path)}): {results['written'][:10]}, commit "
        f"{_commits(results, parts)}{_doubts(results, parts)}, {machine['cpu']}, "
        f"{counted(machine['cpus_usable'], 'CPU')}, kernel level {machine['kernel_level']}, {machine['compiler']}{rounds}, "
        f"{results['minutes']:.1f} minutes; load before {results['load_before']}, after {results['load_after']}: "
        f"{', '.join(f'`{part}`' for part in parts)}"
    )


def runs(found):
    lines = [_run_line(found, path, results, parts) for path, (results, parts) in found.results().items()]
    versions = {}
    for results, _ in reversed(found.results().values()):
        versions.update(results["peers"])
    named = ", ".join(f"{PEERS[p]} {versions[p].split('+')[0]}" for p in PEERS if p in versions)
    return f"{bullets(lines)}\n\n{named}."


# ---- training steps and inference ----


def _compared(figures, workload, batch):
    of_threads = figures.get(workload, {}).get(str(batch), {})
    peers = {peer for result in of_threads.values() for peer in result["us_best"]} - {"nacre"}
    return [name for peer, name in PEERS.items() if peer in peers]


def peers(found):
    """Which peers each workload was compared with: workloads with the same ones together."""
    sentences = []
    for kind, part, batches in (("Training", "step", usual_batch), ("Inference", "infer", INFERENCE.get)):
        groups = {}
        for workload in found.of(part):
            groups.setdefault(listed(_compared(found.of(part), workload, batches(workload))), []).append(f"`{workload}`")
        said = "; ".join(f"{listed(workloads)} with {names or 'nobody'}" for names, workloads in groups.items())
        sentences += [f"{kind}: {said}."] if said else []
    return " ".join(sentences)


def _step_line(found, workload, batch, of_threads):
    counts = _threads(of_threads)
    ours, name = of_threads[counts[0]]["nacre"], f"step.{workload}.{batch}"
    parts = ", ".join(_us(ours[f"us_{part}"]) for part in ("forward", "backward", "update"))
    fraction = f"fraction.{workload}.{batch}"
    each = [_ratio_and_peer(of_threads[count]) for count in counts]
    goal = GOALS.get(name)
    return [
        f"`{workload}`",
        str(batch),
        f"{_us(ours['us_min'])}; {parts}",
        f"{beside(found.value(fraction), fraction)}, {found.verdict(fraction)}",
        *each,
        beside(found.value(name), name),
        f"{goal.bound:.2f}" if goal else "",
        found.verdict(name),
    ]


def _each(figures):
    counts = max((_threads(t) for of in figures.values() for t in of.values()), key=len, default=["1"])
    return counts, [f"{counted(int(c), 'thread')} each" for c in counts]


def steps(found):
    figures = found.of("step")
    if not figures:
        return NOT_MEASURED
    _, each = _each(figures)
    heading = ["workload", "batch", "us, 1 thread: all; forward, backward, update", "share of the roofline"]
    heading += [f"Nacre / best peer, {each[0]}", *each[1:], "best of all", "goal", ""]
    lines = [
        _step_line(found, workload, batch, figures[workload][batch])
        for workload in BATCHES
        for batch in sorted(figures.get(workload, {}), key=int)
    ]
    return table(heading, lines)


def infer(found):
    lines = []
    for workload, of_batch in found.of("infer").items():
        batch = str(INFERENCE[workload])
        name, of_threads = f"infer.{workload}.{batch}", of_batch[batch]
        best, goal = found.rows.get(name, {}), GOALS.get(name)
        one = _ratio_and_peer(of_threads[_threads(of_threads)[0]])
        bound = f"{goal.bound:.2f}" if goal else ""
        lines.append([f"`{workload}`", one, beside(best.get("measured"), name), best.get("note", ""), bound, found.verdict(name)])
    heading = ["inference, batch 1", "Nacre / best peer, 1 thread each", "best of all", "how", "goal", ""]
    return table(heading, lines) if lines else NOT_MEASURED


def _reach_line(found, part, name, label):
    """Of that number of threads which suits Nacre: the share of the roofline that is reached, and that the goal takes."""
    _, workload, batch = name.split(".")
    of_threads, goal = found.of(part).get(workload, {}).get(batch), GOALS.get(name)
    if not of_threads or not goal:
        return None
    count = min(of_threads, key=lambda c: of_threads[c]["us_best"]["nacre"])
    theirs = min((t for r in of_threads.values() for who, t in r["us_best"].items() if who != "nacre"), default=None)
    if theirs is None:
        return None
    roofline, ours = of_threads[count]["nacre"]["roofline_us"], of_threads[count]["us_best"]["nacre"]
    shares_ = [f"{roofline / us:.2f}" for us in (ours, goal.bound * theirs)]
    return [label, counted(int(count), "thread"), _us(roofline), *shares_]


def reach(found):
    lines = [
        _reach_line(found, "step", f"step.{workload}.{batch}", f"`{workload}`, training, batch {batch}")
        for workload, batches in BATCHES.items()
        for batch in batches
    ]
    lines += [_reach_line(found, "infer", f"infer.{w}.{b}", f"`{w}`, inference, batch {b}") for w, b in INFERENCE.items()]
    heading = ["", "fastest with", "roofline, us", "share reached", "share that the goal takes"]
    lines = [line for line in lines if line]
    return table(heading, lines) if lines else NOT_MEASURED


# ---- sentences ----


def _least(runs_, key, unit):
    return min(run[key] for run in runs_ if key in run) / unit


def _start_sentence(found):
    figures = found.of("start")
    if not figures:
        return None
    here = [who for who in PEERS if who in figures]
    times = ", ".join(f"{PEERS[who]} {_least(figures[who], 'seconds', 1e-3):,.0f}" for who in here)
    sizes = ", ".join(f"{PEERS[who]} {_least(figures[who], 'peak_rss_bytes', 1e6):,.0f}" for who in here)
    ours = figures["nacre"]
    return (
        f"Start to the first training step of `mlp` done: {_least(ours, 'seconds', 1e-3):.0f} ms ({times}), "
        f"{_least(ours, 'peak_rss_bytes', 1e6):.0f} MB resident ({sizes})."
    )


def _size_sentence(found):
    figures = found.of("size")
    if not figures:
        return None
    theirs = f"; PyTorch's libraries for the CPU {figures['torch_bytes'] / 1e6:.0f} MB" if "torch_bytes" in figures else ""
    return f"`libnacre.so`: {figures['nacre_bytes'] / 1e6:.1f} MB stripped{theirs}."


def _check_sentence(found):
    """The largest difference from any peer, resnet20's losses apart."""
    worst = {}
    for name, row in found.rows.items():
        if name.startswith("check.") and row["measured"] is not None and row["met"]:
            _, kind, workload, _ = name.split(".")
            key = (kind, "resnet20" if (kind, workload) == ("step", "resnet20") else "")
            worst[key] = max(worst.get(key, 0), row["measured"])
    told = {("step", ""): "the first five losses to", ("step", "resnet20"): "`resnet20`'s to", ("infer", ""): "outputs in inference to"}
    said = ", ".join(f"{text} {worst[key]:.0e}" for key, text in told.items() if key in worst)
    return f"From the same weights all peers that are compared agree with Nacre: {said}." if said else None


def ends(found):
    said = [text for text in (_start_sentence(found), _size_sentence(found), _check_sentence(found)) if text]
    return bullets(said) if said else NOT_MEASURED


def mnist(found):
    """Where the time to 98 % goes, as far as steps explain it."""
    both, step = found.of("mnist"), found.of("step").get("mlp", {}).get("128", {}).get("1")
    if not both.get("torch") or not both.get("nacre") or not step:
        return NOT_MEASURED
    best = {who: min(both[who], key=lambda one: one["seconds"]) for who in ("nacre", "torch")}
    steps_, us = {w: MNIST_STEPS * b["epochs"] for w, b in best.items()}, step["us_best"]
    ours, theirs = best["nacre"]["seconds"], best["torch"]["seconds"]
    seconds = {who: steps_[who] * us[who] * 1e-6 for who in steps_}
    start = found.of("start").get("torch")
    until = f" {_least(start, 'seconds', 1):.1f} s of PyTorch's pass before its first step is done." if start else ""
    bound = GOALS["mnist.time"].bound * theirs
    least = steps_["nacre"] * step["nacre"]["roofline_us"] * 1e-6
    return (
        f"To 98 % on MNIST Nacre takes {ours:.2f} s and PyTorch {theirs:.2f} s, {best['nacre']['epochs']} and {best['torch']['epochs']} epochs of "
        f"{MNIST_STEPS} steps with 128 samples each, by the same recipe.{until} At the time of such a step, measured by itself ({_us(us['nacre'])} us and "
        f"{_us(us['torch'])} us, {us['nacre'] / us['torch']:.2f}), the {steps_['nacre']:,} steps are {seconds['nacre']:.2f} s of Nacre's and "
        f"{seconds['torch']:.2f} s of PyTorch's; at the roofline of one thread they would be {least:.2f} s. The goal is {bound:.2f} s for all."
    )


# ---- the rest ----


def _pair(found, stem):
    """The two cells of products, with one thread and with all."""
    cells = []
    for which in ("1", "all"):
        name = f"{stem}.{which}"
        value = found.value(name)
        cells.append(f"{beside(value, name)}, {found.verdict(name)}" if value is not None else NOT_MEASURED)
    return cells


def _goal_of(name):
    goal = GOALS[name]
    return f"{goal.bound:g} {goal.unit}".strip()


def _product_lines(found):
    best = found.of("products").get("1", {}).get("us_best", {})
    count = len(best) - len(matrices.LARGE) if best else 0
    yield [f"{count} products of the workloads, Nacre / the best BLAS library: geometric mean", *_pair(found, "products.mean"), _goal_of("products.mean.1")]
    yield ["the worst of them", *_pair(found, "products.worst"), _goal_of("products.worst.1")]
    above = [str(sum(map(len, matrices.above(f["us_best"]).values()))) for f in _products(found)]
    yield [f"how many are above {_goal_of('products.worst.1')}", *above, "0"]
    for n in matrices.LARGE:
        yield [f"{n} x {n} x {n}: Nacre / the best BLAS library", *_pair(found, f"products.{n}"), _goal_of(f"products.{n}.1")]
        yield [f"{n} x {n} x {n}: share of the measured peak", *_pair(found, f"products.peak.{n}"), _goal_of(f"products.peak.{n}.1")]


def _products(found):
    figures = found.of("products")
    return [figures[count] for count in _threads(figures) if len(figures[count]["us_best"][matrices.LARGE[1024]]) > 1]


def _one(found, name, what, unit="", note=""):
    value = found.value(name)
    shown = NOT_MEASURED if value is None else f"{beside(value, name)} {unit}".strip() + f", {found.verdict(name)}{note}"
    return [what, shown, "", _goal_of(name)]


def _memory_lines(found):
    names = [f"memory.plan.{w}" for w in BATCHES if found.value(f"memory.plan.{w}") is not None]
    if names:
        worst = max(names, key=found.value)
        told = f"{found.value(worst):.3f} (`{worst.split('.')[-1]}`), {found.verdict(worst)}"
        yield ["the plan's peak / what is live at once, the worst of all batches and of both modes", told, "", _goal_of(worst)]
    names = [f"memory.resident.{w}" for w in BATCHES if found.value(f"memory.resident.{w}") is not None]
    if names:
        values = {f"`{n.split('.')[-1]}` {found.value(n):.2f}": found.verdict(n) for n in names}
        missed = "met" if set(values.values()) == {"met"} else "missed"
        yield ["resident memory of the process that trains, Nacre / the least of JAX and PyTorch", f"{', '.join(values)}: {missed}", "", "1"]


def _waiting_lines(found):
    for name, of_threads in found.of("waiting").items():
        goal = GOALS[f"waiting.{name}"]
        cells = [f"{run['share']:.4f}, {'met' if goal.met(run['share']) else 'missed'}" for run in of_threads.values()]
        one = next(iter(of_threads.values()))
        yield [f"{goal.what.split(',')[0]}, `{one['workload']}`: a step waiting for its batch / the step", *(cells + [""])[:2], f"{goal.bound:g}"]


def _hand_off_line(found, kind, what):
    name, runs_ = f"overhead.hand_off.{kind}", found.of("overhead") or []
    times = [run[f"us_hand_off_{kind}_median"] for run in runs_ if run[f"us_hand_off_{kind}_median"] is not None]
    if not times:
        return [what, "", NOT_MEASURED, _goal_of(name)]
    median, met = statistics.median(times), GOALS[name].met(statistics.median(times))
    told = f"{number(median)} us ({number(min(times))} to {number(max(times))}), {'met' if met else 'missed'}"
    return [f"{what}, median of {len(times)} processes (least to most)", "", told, _goal_of(name)]


def _line_line(found):
    times = [run["us_line_median"] for run in found.of("overhead") or [] if run["us_line_median"] is not None]
    told = f"{statistics.median(times):.3f} us ({min(times):.3f} to {max(times):.3f})" if times else NOT_MEASURED
    return ["what the machine takes to bring a line of memory from one CPU to the other, in the same processes", "", told, ""]


def _speed_up_line(found):
    figures = found.of("baseline")
    batches = sorted(figures, key=int)
    told = ", ".join(f"{figures[b]['speedup']:.0f} x" for b in batches) or NOT_MEASURED
    return [f"`mlp`, training step: speed-up over the plain C loops, which are 1 x; batch {', '.join(batches)}", told, "", ""]


def rest(found):
    lines = [
        _speed_up_line(found),
        *_product_lines(found),
        _one(found, "mnist.time", "process start to 98 % on MNIST, Nacre / PyTorch"),
        _one(found, "mnist.memory", "memory of that process beyond the data", "MB"),
        *_memory_lines(found),
        _one(found, "overhead.record", "`mlp`, batch 32: what is not the plan's replay / the step"),
        *_waiting_lines(found),
        _one(found, "overhead.allocations", "allocations of a step whose plan is replayed"),
        _hand_off_line(found, "spinning", "hand-off to a second thread that spins"),
        _hand_off_line(found, "parked", "hand-off to one that has parked"),
        _line_line(found),
    ]
    return table(["what", "one thread", "all threads", "goal"], lines)


def products(found):
    """Ratios by kind, and every shape that misses the goal."""
    lines = []
    for figures, threads in zip(_products(found), _threads(found.of("products"))):
        above = matrices.above(figures["us_best"])
        for kind, ratios in matrices.ratios_of(figures["us_best"]).items():
            mean = math.exp(statistics.fmean(math.log(ratio) for ratio, _ in ratios))
            missed = ", ".join(f"{matrices.size_of(name)} {ratio:.2f}" for ratio, name in above[kind])
            span = f"{ratios[0][0]:.2f} to {ratios[-1][0]:.2f}"
            lines.append([kind, threads, str(len(ratios)), span, f"{mean:.2f}", str(len(above[kind])), missed])
    bound = _goal_of("products.worst.1")
    heading = ["products", "threads", "how many", "Nacre / the best BLAS library", "geometric mean", f"above {bound}"]
    return table([*heading, "which: rows x columns x inner extent"], lines) if lines else NOT_MEASURED


def growth_(found):
    lines = []
    for axis, of_workload in found.of("sweep").items():
        for workload, of_size in of_workload.items():
            times, memory = (growth.upper(growth.series(of_size, key)) for key in ("us_min", "arena_bytes"))
            span = f"{times[0][0]} to {times[-1][0]}"
            laws = [f"{growth.exponent(points):.2f}" for points in (times, memory)]
            lines.append([axis.replace("-", " "), f"`{workload}`", span, *laws])
    heading = ["grows with", "workload", "from, to", "time, to the power of", "intermediate values, to the power of"]
    return table(heading, lines) if lines else NOT_MEASURED


# ---- what a step's time goes to ----


def where(found):
    lines = []
    for workload, of in found.of("shares").items():
        kernels = ", ".join(f"{name} {one['share']:.0%}".replace("%", " %") for name, one in of["kernels"].items() if one["share"] >= 0.01)
        row = [f"`{workload}`, {of['batch']}", of["steps"], _us(of["us"]), kernels, f"{of['covered']:.1%}".replace("%", " %")]
        lines.append(row)
    heading = ["workload, batch", "steps of the plan", "us of a replay", "kernels with 1 % of the time or more", "steps / replay"]
    return table(heading, lines) if lines else NOT_MEASURED


def groups(found):
    figures = found.of("shares")

    def cell(of):
        if not of:
            return ""
        return f"{of['share']:.1%}; {number(float(of['flops_per_byte']))}; {number(float(of['us_a_step']))}; {of['count']}".replace("%", " %")

    lines = [[group, *(cell(of["groups"].get(group)) for of in figures.values())] for group in shares.GROUPS]
    return table(["steps", *(f"`{workload}`" for workload in figures)], lines) if lines and figures else NOT_MEASURED


# ---- the page of the project ----


def _peaks(found):
    answers = [b["nacre"] for of in found.of("step").values() for t in of.values() for b in t.values()]
    one, all_ = (max(a[key] for a in answers) for key in ("peak_one_gflops", "peak_all_gflops"))
    return f"peak measured in the run: {one:.0f} GFLOP/s on one thread, {all_:.0f} on all"


def short_run(found):
    if "step" not in found.source:
        return NOT_MEASURED
    path, results = found.source["step"]
    machine = results["machine"]
    return (
        f"`bench/run`, {results['written'][:10]}, commit {_commits(results, ['step'])}, {machine['cpu']}, {counted(machine['cpus_usable'], 'CPU')}, "
        f"load before {results['load_before']}; {_peaks(found)}. Times of Nacre / those of the fastest peer; below 1 Nacre is faster. {peers(found)}"
    )


def short_steps(found):
    figures, lines = found.of("step"), []
    if not figures:
        return NOT_MEASURED
    counts, each = _each(figures)
    for workload in (w for w in NETWORKS if str(usual_batch(w)) in figures.get(w, {})):
        batch = str(usual_batch(workload))
        ratios = [_ratio_and_peer(figures[workload][batch][c]) if c in figures[workload][batch] else "" for c in counts]
        speed_up = found.of("baseline").get(batch) if workload == "mlp" else None
        lines.append([NETWORKS[workload], batch, *ratios, f"{speed_up['speedup']:.0f} x" if speed_up else ""])
    return table(["training step", "batch", *each, "speed-up over plain C loops, one thread"], lines)


def short_infer(found):
    lines = []
    for workload, of_batch in found.of("infer").items():
        of_threads = of_batch[str(INFERENCE[workload])]
        best = found.value(f"infer.{workload}.{INFERENCE[workload]}")
        one = _ratio_and_peer(of_threads[_threads(of_threads)[0]])
        lines.append([NETWORKS[workload].split(",")[0], one, f"{best:.2f}" if best is not None else NOT_MEASURED])
    return table(["inference, one sample", "one thread each", "best of all"], lines) if lines else NOT_MEASURED


def short_ends(found):
    said = [_start_sentence(found), _size_sentence(found)]
    both = found.of("mnist")
    if both.get("torch") and both.get("nacre"):
        ours, theirs = (_least(both[who], "seconds", 1) for who in ("nacre", "torch"))
        said.append(f"Process start to 98 % on MNIST, one thread: {ours:.2f} s (PyTorch by the same recipe {theirs:.1f} s).")
    return " ".join(text for text in said if text) or NOT_MEASURED


PAGES = {
    os.path.join("docs", "performance.md"): {
        "runs": runs,
        "peers": peers,
        "steps": steps,
        "infer": infer,
        "reach": reach,
        "ends": ends,
        "rest": rest,
        "products": products,
        "growth": growth_,
        "mnist": mnist,
        "shares": where,
        "groups": groups,
    },
    "README.md": {"bench-run": short_run, "bench-steps": short_steps, "bench-infer": short_infer, "bench-ends": short_ends},
}


def tables(files):
    """{page: {name: markdown}}"""
    found = Found(files)
    return {page: {name: made(found) for name, made in of_page.items()} for page, of_page in PAGES.items()}
