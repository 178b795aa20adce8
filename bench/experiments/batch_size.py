"""Batch sizes 32 to 256 of the MNIST perceptron: speed of a step, and time to 98 % test accuracy."""

import shutil

import pages
import plots
import processes

SIZES, SAMPLES, TARGET, EPOCHS = (32, 64, 128, 256), 60000, 0.98, 10
RATES, SEEDS = (0.001, 0.002, 0.004, 0.008), (1, 2, 3)


def _bench(shop, size, threads):
    words = f"bench mlp --batch-size {size} --threads {threads} --seconds {shop.seconds} --json"
    return lambda: shop.json([shop.program("nacre"), *words.split()], threads)[0]


def _speed(shop):
    ways = {(n, t): _bench(shop, n, t) for n in SIZES for t in (shop.threads)}
    rounds, speed = shop.in_turn(ways, "batch size, steps"), {}
    for (size, threads), answers in rounds.items():
        us = min(a["us_min"] for a in answers)
        speed.setdefault(str(size), {})[str(threads)] = {
            "us": us,
            "steps_per_s": 1e6 / us,
            "samples_per_s": 1e6 * size / us,
            "epoch_s": us * 1e-6 * -(-SAMPLES // size),
            "gflops": max(a["gflops"] for a in answers),
            "raw": [a["us_min"] for a in answers],
        }
    return speed


def _run(shop, size, rate, seed):
    target = 0.01 if shop.check else TARGET
    words = f"--batch-size {size} --lr {rate} --seed {seed} --epochs {EPOCHS} --target-accuracy {target}"
    answer = shop.train(words)
    shutil.rmtree(answer["out"], ignore_errors=True)
    if answer["data"] != "mnist":
        raise processes.Failure("MNIST is not there: give --data DIR or set NACRE_DATA")
    kept = ("epochs", "steps", "seconds", "test_accuracy", "status")
    return {key: answer[key] for key in kept}


def _epochs(runs):
    """What a rate costs: a run that misses the target counts double."""
    return sum(r["epochs"] if r["status"] == "done" else 2 * EPOCHS for r in runs)


def _search(shop):
    """{size: {rate: [run of each seed]}}: which rate suits each size; steps, not times, so one round is enough."""
    rates, seeds = ((0.004,), (1,)) if shop.check else ((0.002, 0.004), (1,)) if shop.quick else (RATES, SEEDS)
    found = {}
    for size in SIZES:
        shop.say(f"batch size {size}: learning rates")
        found[str(size)] = {str(r): [_run(shop, size, r, s) for s in seeds] for r in rates}
    return found, seeds


def _to_target(shop, found, seeds):
    """The best rate of each size again, in turn, so that times compare."""
    best = {size: min(rates, key=lambda r, of=rates: _epochs(of[r])) for size, rates in found.items()}
    ways = {
        size: lambda size=size: [_run(shop, size, best[size], seed) for seed in seeds] for size in best
    }
    rounds = shop.in_turn(ways, "batch size, to 98 %", 1 if not shop.full else 3)
    target = {}
    for size, of_round in rounds.items():
        per_seed = [min((r[i] for r in of_round), key=lambda run: run["seconds"]) for i in range(len(seeds))]
        target[size] = {"rate": best[size], "runs": per_seed}
    return target


def measure(shop):
    speed = _speed(shop)
    found, seeds = _search(shop)
    return {"speed": speed, "search": found, "target": _to_target(shop, found, seeds)}


def _mean(runs, key):
    return sum(run[key] for run in runs) / len(runs)


def _epoch_seconds(runs):
    return _mean(runs, "seconds") / _mean(runs, "epochs")


def _speed_table(figures):
    lines, base = [], figures["speed"][str(SIZES[0])]["1"]["samples_per_s"]
    for size, of_threads in figures["speed"].items():
        for threads, s in of_threads.items():
            cells = [s["us"], s["steps_per_s"], s["samples_per_s"], s["epoch_s"], s["gflops"]]
            lines.append([size, threads, *cells, pages.ratio(s["samples_per_s"] / base)])
    heading = ["batch", "threads", "us per step", "steps/s", "samples/s", "s per epoch", "GFLOP/s", "samples/s, ratio"]
    return pages.table(heading, lines)


def _target_table(figures):
    lines = []
    for size, t in figures["target"].items():
        runs = t["runs"]
        epochs = ", ".join(str(r["epochs"]) if r["status"] == "done" else "missed" for r in runs)
        each = ", ".join(pages.number(r["seconds"]) for r in runs)
        lines.append([size, t["rate"], epochs, int(_mean(runs, "steps")), _epoch_seconds(runs), each, _mean(runs, "seconds")])
    heading = ["batch", "best rate", "epochs of each seed", "steps, mean", "s per epoch, whole run", "s to 98 %", "mean"]
    return pages.table(heading, lines)


def _search_table(figures):
    rates = list(next(iter(figures["search"].values())))
    lines = []
    for size, of_rate in figures["search"].items():
        cells = []
        for runs in of_rate.values():
            epochs = [str(r["epochs"]) if r["status"] == "done" else "-" for r in runs]
            cells.append(", ".join(epochs))
        lines.append([size, *cells])
    return pages.table(["batch", *[f"rate {r}" for r in rates]], lines)


def _about_speed(figures):
    """How a step's speed grows with the batch."""
    speed, first, last, lines = figures["speed"], str(SIZES[0]), str(SIZES[-1]), []
    for threads in speed[first]:
        gains = [speed[size][threads]["samples_per_s"] / speed[first][threads]["samples_per_s"] for size in speed]
        pairs = zip(map(str, SIZES[1:]), gains[1:])
        each = pages.listed(f"{pages.ratio(gain)} at {size}" for size, gain in pairs)
        lines.append(f"{pages.counted(threads, 'thread')}: samples per second, beside those at {first}, are {each} times as many.")
    one, most = list(speed[first])[0], list(speed[first])[-1]
    if most != one:
        ratios = {size: of[most]["us"] / of[one]["us"] for size, of in speed.items()}
        said = pages.verdicts(ratios, "shorten a step at batch", "make it longer at", "change nothing at")
        lines.append(f"{most} threads beside one (time / time): they {said}.")
    wanted = "larger batches use the machine better" if gains[-1] > 1 + pages.NOISE else "the size hardly matters to speed"
    return [f"From {first} to {last} {wanted}.", *lines]


def _reached(runs):
    return sum(run["status"] == "done" for run in runs)


def _sure_rates(figures, size):
    """With how many of the rates every seed arrives: a size that is not choosy."""
    return sum(_reached(runs) == len(runs) for runs in figures["search"][size].values())


def _about_target(figures):
    """Which size is first at the accuracy; of sizes within the noise of it that which most rates suit."""
    target = {size: t for size, t in figures["target"].items() if _reached(t["runs"]) == len(t["runs"])}
    if not target:
        return ["No size reached the accuracy with every seed."]
    mean = {size: _mean(t["runs"], "seconds") for size, t in target.items()}
    first = min(mean.values())
    near = [size for size in mean if mean[size] <= first * (1 + pages.NOISE)]
    best = max(near, key=lambda size: (_sure_rates(figures, size), -mean[size]))
    lines = [f"**Best size: {best}**, {pages.number(mean[best])} s in the mean of {pages.counted(len(target[best]['runs']), 'seed')}."]
    if len(near) > 1:
        each = pages.listed(f"{size} with {_sure_rates(figures, size)}" for size in near)
        lines.append(f"Times cannot be told apart of {pages.listed(near)}; every seed arrives at {each} of the rates.")
    slow = {size: mean[size] / mean[best] for size in mean if size not in near}
    if slow:
        each = pages.listed(f"{size} ({pages.ratio(r)} of its time)" for size, r in slow.items())
        lines.append(f"Slower: {each}.")
    missed = [size for size in figures["target"] if size not in target]
    return lines + ([f"Not with every seed: {pages.listed(missed)}."] if missed else [])


def _about_rates(figures):
    rates = {size: float(t["rate"]) for size, t in figures["target"].items()}
    growing = list(rates.values()) == sorted(rates.values()) and rates[str(SIZES[0])] < rates[str(SIZES[-1])]
    each = pages.listed(f"{rate:g} at {size}" for size, rate in rates.items())
    lines = [f"The best of the rates tried is {each}" + (": the larger the batch, the higher." if growing else ".")]
    least, last = figures["target"][str(SIZES[0])]["rate"], str(SIZES[-1])
    if growing:
        runs = figures["search"][last][least]
        lines.append(f"At {last} with the rate that suits {SIZES[0]} {_reached(runs)} of {len(runs)} seeds arrive in {EPOCHS} epochs.")
    return lines


def tables(figures):
    return {
        "speed": _speed_table(figures),
        "about-speed": pages.bullets(_about_speed(figures)),
        "target": _target_table(figures),
        "rates": _search_table(figures),
        "about-target": pages.bullets([*_about_target(figures), *_about_rates(figures)]),
    }


def draw(figures, stem):
    lines = {}
    for size, of_threads in figures["speed"].items():
        for threads, s in of_threads.items():
            lines.setdefault(f"its steps, {pages.counted(threads, 'thread')}", []).append((int(size), s["epoch_s"]))
    target = {int(size): t["runs"] for size, t in figures["target"].items()}
    lines["an epoch, 1 thread"] = [(size, _epoch_seconds(runs)) for size, runs in target.items()]
    lines["to 98 %, 1 thread"] = [(size, _mean(runs, "seconds")) for size, runs in target.items()]
    ys = [y for line in lines.values() for _, y in line]
    title = "MNIST perceptron: seconds per epoch, and to 98 %"
    drawing = plots.Drawing(title, "batch", "seconds", SIZES, (min(ys) / 1.5, max(ys) * 1.5))
    for label, line in lines.items():
        drawing.line(line, label)
    drawing.save(f"{stem}.svg")
    return [f"{stem}.svg"]
