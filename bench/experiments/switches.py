"""Threads, kernel levels, fusion and fast-math: what each changes in speed and in results."""

import hashlib
import os
import re
import shutil

import charts
import pages

WORKLOADS = ("mlp", "lenet", "vit", "gpt", "resnet20")
LOSSES, EPOCHS, SEEDS = 20, 3, (1, 2, 3)
DEFAULT, UNFUSED, OP_BY_OP = "default", "unfused", "op by op"
BATCH = "12"  # of the losses


class Way:
    """How to start Nacre's programs."""

    def __init__(self, build, prefix=(), threads=1):
        self.build, self.prefix, self.threads = build, list(prefix), threads


def _levels(shop):
    """The levels of this machine below its best."""
    best = shop.json([shop.program("nacre"), "info", "--json"])[0]["isa"]
    order = {"avx512": ("avx2", "portable"), "avx2": ("portable",), "neon": ("portable",)}
    return order.get(best, ())


def _fast_math(shop):
    """The same sources with -ffast-math; None where nothing may be built."""
    folder = os.path.join(shop.root, "build", "fast-math")
    if not shop.check and shop.can_build:
        shop.make(folder, "-DCMAKE_C_FLAGS=-ffast-math")
    return folder if not shop.check and os.path.exists(shop.program("nacre", folder)) else None


def _ways(shop):
    ways = {DEFAULT: Way(shop.build)}
    for count in shop.threads[1:]:
        ways[f"{count} threads"] = Way(shop.build, threads=count)
    for level in _levels(shop):
        ways[level] = Way(shop.build, ["env", f"NACRE_ISA={level}"])
    ways[UNFUSED] = Way(shop.build, ["env", "NACRE_FUSE=0"])
    ways[OP_BY_OP] = Way(shop.build, ["env", "NACRE_EAGER=1"])
    fast = _fast_math(shop)
    if fast:
        ways["fast-math"] = Way(fast)
    return ways


def _bench(shop, way, workload):
    words = f"bench {workload} --threads {way.threads} --seconds {shop.seconds} --json"
    command = [*way.prefix, shop.program("nacre", way.build), *words.split()]
    return lambda: shop.json(command, way.threads)[0]["us_min"]


def _speed(shop, ways, workloads):
    speed = {}
    for workload in workloads:
        rounds = shop.in_turn({n: _bench(shop, w, workload) for n, w in ways.items()}, f"switches, {workload}")
        speed[workload] = {name: {"us": min(times), "raw": times} for name, times in rounds.items()}
    return speed


def _numbers(shop, way, workload, sample, infer):
    words = ["--infer"] if infer else ["--steps", str(5 if shop.check else LOSSES)]
    command = [*way.prefix, shop.program("bench/losses", way.build), workload, sample, "--batch-size", BATCH, *words]
    return shop.run(command, way.threads).lines


def _difference(ours, theirs):
    """How many first numbers are equal to the bit, and the largest difference relative to the largest number."""
    same = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), len(ours))
    pairs = [(float(a), float(b)) for a, b in zip(ours, theirs)]
    largest = max(abs(a) for a, _ in pairs)
    return {"same": same, "of": len(ours), "largest": max(abs(a - b) for a, b in pairs) / largest}


def _results(shop, ways, workloads):
    found = {}
    for workload in workloads:
        shop.say(f"switches, {workload}: losses and outputs")
        sample = os.path.join(shop.work, f"{workload}.safetensors")
        shop.run([shop.program("bench/losses"), workload, "--write", sample, "--batch-size", BATCH])
        lines = {
            name: [_numbers(shop, way, workload, sample, infer) for infer in (False, True)]
            for name, way in ways.items()
        }
        found[workload] = {
            name: {
                "losses": _difference(lines[DEFAULT][0], losses),
                "outputs": _difference(lines[DEFAULT][1], outputs),
            }
            for name, (losses, outputs) in lines.items()
        }
    return found


def _train(shop, way, seed):
    """A short run on MNIST, with a digest of the weights' file."""
    epochs = 1 if shop.check or shop.quick else EPOCHS
    answer = shop.train(f"--epochs {epochs} --seed {seed}", way.build, way.prefix, way.threads)
    with open(os.path.join(answer["out"], "model.safetensors"), "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    shutil.rmtree(answer["out"], ignore_errors=True)
    return {"accuracy": answer["test_accuracy"], "loss": answer["test_loss"], "data": answer["data"], "weights": digest}


def _end_at_infinity(shop, way):
    """How a run ends whose loss is soon NaN or infinite; "done" means that nobody noticed."""
    out = os.path.join(shop.work, "to-infinity")
    words = "train mnist-mlp --epochs 1 --optimizer sgd --lr 1e30 --json --quiet --threads 1"
    command = [*way.prefix, shop.program("nacre", way.build), *words.split(), "--out", out]
    command += ["--data", shop.data] if shop.data else []
    lines = shop.run(command, allowed=(0, 1)).lines
    shutil.rmtree(out, ignore_errors=True)
    found = re.search(r'"status":"([a-z_]+)"', "".join(lines))
    return found.group(1) if found else "failed"


def measure(shop):
    workloads = WORKLOADS[:1] if shop.check else WORKLOADS[:2] if shop.quick else WORKLOADS
    ways = _ways(shop)
    figures = {"speed": _speed(shop, ways, workloads), "results": _results(shop, ways, workloads)}
    shop.say("switches: training runs")
    seeds = SEEDS if shop.full else SEEDS[:1]
    figures["training"] = {name: [_train(shop, way, seed) for seed in seeds] for name, way in ways.items()}
    figures["diverging"] = {name: _end_at_infinity(shop, way) for name, way in ways.items()}
    return figures


def _how(name):
    if name == UNFUSED:
        return "`NACRE_FUSE=0`: plans in which each operation is a step of its own"
    if name == OP_BY_OP:
        return "`NACRE_EAGER=1`: no plan, so no fusion and no reuse of memory, and every result is searched for NaN"
    if name == "fast-math":
        return "the library built with `-ffast-math` (`-ffp-contract=off` stays)"
    return f"`--threads {name.split()[0]}`" if name.endswith(" threads") else f"`NACRE_ISA={name}`"


def _ways_table(figures):
    return pages.table(["", "how"], [[name, _how(name)] for name in figures["training"] if name != DEFAULT])


def _speed_table(figures):
    names = list(figures["training"])
    lines = []
    for workload, of_way in figures["speed"].items():
        base = of_way[DEFAULT]["us"]
        cells = [pages.ratio(of_way[name]["us"] / base) for name in names[1:]]
        lines.append([f"`{workload}`", base, *cells])
    return pages.table(["workload", f"{DEFAULT}, us", *names[1:]], lines)


def _worst(figures, name, what):
    found = [of_way[name][what] for of_way in figures["results"].values()]
    if all(f["same"] == f["of"] for f in found):
        return "equal bits"
    return f"{max(f['largest'] for f in found):.1e}"


def _results_table(figures):
    lines, base = [], figures["training"][DEFAULT]
    for name, runs in figures["training"].items():
        accuracies = ", ".join(f"{run['accuracy']:.4f}" for run in runs)
        same = all(a["weights"] == b["weights"] for a, b in zip(base, runs))
        cells = [_worst(figures, name, "losses"), _worst(figures, name, "outputs"), accuracies]
        lines.append([name, *cells, "equal bits" if same else "others", figures["diverging"][name]])
    count = next(iter(figures["results"].values()))[DEFAULT]["losses"]["of"]
    heading = ["", f"first {count} losses", "outputs, inference", "MNIST accuracy", "its weights", "a run to infinity ends"]
    return pages.table(heading, lines)


def _each_table(figures):
    names = [n for n in figures["training"] if _worst(figures, n, "losses") != "equal bits"]
    lines = []
    for workload, of_way in figures["results"].items():
        found = [of_way[name]["losses"] for name in names]
        lines.append([f"`{workload}`", *[f"{f['same']} of {f['of']}, {f['largest']:.1e}" for f in found]])
    return pages.table(["workload", *names], lines)


def _about_way(figures, name):
    """What one switch did, in time and in results."""
    ratios = {f"`{w}`": of[name]["us"] / of[DEFAULT]["us"] for w, of in figures["speed"].items()}
    said = pages.verdicts(ratios, "faster:", "slower:", "no difference that can be told:")
    runs, base = figures["training"][name], figures["training"][DEFAULT]
    same = all(a["weights"] == b["weights"] for a, b in zip(base, runs))
    worst = [_worst(figures, name, what) for what in ("losses", "outputs")]
    if same and set(worst) == {"equal bits"}:
        results = "Losses, outputs and trained weights are equal to the bit."
    else:
        moved = max(abs(a["accuracy"] - b["accuracy"]) for a, b in zip(base, runs))
        weights = "trained weights are equal to the bit" if same else f"test accuracy moves by {moved:.4f} at most"
        results = f"Losses: {worst[0]}; outputs: {worst[1]}; {weights}."
    ends = figures["diverging"]
    end = f" A run to infinity ends as `{ends[name]}` instead of `{ends[DEFAULT]}`." if ends[name] != ends[DEFAULT] else ""
    return f"**{name}**: {said}. {results}{end}"


def _about_fusion(figures):
    """What of the time that `op by op` takes more is for want of fusion, what for want of a plan; empty: not measured."""
    slower = {}
    for workload, of_way in figures["speed"].items():
        if UNFUSED in of_way and OP_BY_OP in of_way:
            more = [of_way[name]["us"] / of_way[DEFAULT]["us"] - 1 for name in (UNFUSED, OP_BY_OP)]
            slower[workload] = more[0] / more[1] if more[1] > pages.NOISE else None
    shares = [f"`{w}` {max(0, share):.0%}" for w, share in slower.items() if share is not None]
    return [f"Of the time that **{OP_BY_OP}** takes more, **{UNFUSED}** takes: {pages.listed(shares)}."] if shares else []


def _about_rounds(figures):
    """How far the rounds of one way lay apart, which tells what its ratios are worth."""
    spread = {}
    for of_way in figures["speed"].values():
        for name, way in of_way.items():
            spread[name] = max(spread.get(name, 0), max(way["raw"]) / min(way["raw"]))
    worst = max(spread, key=spread.get)
    return f"Of the rounds of one way the slowest took up to {pages.ratio(spread[worst])} times as long as the fastest (`{worst}`)."


def tables(figures):
    names = [name for name in figures["training"] if name != DEFAULT]
    said = [*(_about_way(figures, name) for name in names), *_about_fusion(figures), _about_rounds(figures)]
    return {
        "ways": _ways_table(figures),
        "speed": _speed_table(figures),
        "results": _results_table(figures),
        "losses": _each_table(figures),
        "conclusions": pages.bullets(said),
    }


def draw(figures, stem):
    groups = [
        (workload, [(name, way["us"] / of_way[DEFAULT]["us"]) for name, way in of_way.items() if name != DEFAULT])
        for workload, of_way in figures["speed"].items()
    ]
    title = "Training step, time / that of one thread at the best level"
    return [charts.bars(f"{stem}-speed.svg", title, groups, 1)]
