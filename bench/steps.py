"""The mlp's training step: its arithmetic, and its time beside the peers' and the baseline's.

Absolute times prove nothing on a shared machine, ratios do: what is compared runs in turn, A B A B,
each on the same CPUs, and of each the best counts.
"""

import os

import processes
from report import row

BATCHES = (32, 64, 128, 256)
# Bounds of Nacre's time / the peer's. The goal is for one thread against one and two against two;
# the aim for the best number of threads of each, against the best of the peers.
STEP_GOAL = {64: 1.0}
STEP_AIM = {32: 0.35, 64: 0.38, 128: 0.45, 256: 0.48}
PEAK_SHARE = 0.95  # a round in which the machine was slower than this share of its best is dropped
LOSS_STEPS, LOSS_TOLERANCE = 5, 1e-4


# ---- the same arithmetic ----


def _losses(bench, command):
    steps = ["--steps", str(LOSS_STEPS), "--batch-size", "64"]
    outcome = bench.run([*command, bench.sample, *steps])
    losses = [float(line) for line in outcome.lines]
    if len(losses) != LOSS_STEPS:
        raise processes.Failure(f"{os.path.basename(command[-1])}: {len(losses)} losses printed")
    return losses


def check(bench):
    """First of all: Nacre and the peers compute the same from the same weights and data."""
    figures = {"nacre": _losses(bench, [bench.program("bench/losses")])}
    rows = []
    for peer in bench.peers:
        figures[peer] = _losses(bench, bench.peer_command(peer))
        difference = max(abs(a - b) / abs(b) for a, b in zip(figures["nacre"], figures[peer]))
        what = f"first {LOSS_STEPS} losses, relative difference from {peer}"
        rows.append(row(what, difference, goal=LOSS_TOLERANCE))
    return rows, figures


# ---- the training step ----


def _nacre_step(bench, batch, threads):
    words = f"bench mlp --batch-size {batch} --threads {threads} --seconds {bench.step_seconds}"
    return bench.run_json(bench.nacre(f"{words} --json"), threads)[0]


def _step_round(bench, workers, batch, threads, backwards):
    """Everybody once, in turn."""
    answers = {}
    for name in reversed(["nacre", *workers]) if backwards else ["nacre", *workers]:
        if name == "nacre":
            answers[name] = _nacre_step(bench, batch, threads)
        else:
            answers[name] = workers[name].time_steps(batch, bench.step_seconds)
    return answers


def _all_rounds(bench, threads):
    """{batch: [round]}: the batches take turns too, so that a slow minute falls on all of them."""
    rounds = {batch: [] for batch in bench.batches}
    workers = {}
    try:
        for peer in bench.peers:
            workers[peer] = processes.Peer(
                [*bench.peer_command(peer), bench.sample, "--serve"],
                threads,
                bench.cpus[:threads],
                f"{bench.errors}-{peer}",
            )
        for number in range(bench.rounds):
            bench.say(f"training step, {threads} thread(s): round {number + 1} of {bench.rounds}")
            for batch in bench.batches:
                rounds[batch].append(_step_round(bench, workers, batch, threads, number % 2 == 1))
    finally:
        for worker in workers.values():
            worker.close()
    return rounds


def _best(rounds, peak):
    """The best of each over the rounds in which the machine was at its best."""
    kept = [r for r in rounds if r["nacre"]["peak_gflops"] >= PEAK_SHARE * peak]
    if not kept:
        kept = [max(rounds, key=lambda r: r["nacre"]["peak_gflops"])]
    best = {name: min(r[name]["us_min"] for r in kept) for name in rounds[0]}
    fastest = {name: min(r[name]["us_min"] for r in rounds) for name in rounds[0]}
    flops = rounds[0]["nacre"]["flops"]
    raw = [
        {
            "peak_gflops": r["nacre"]["peak_gflops"],
            "us_min": {name: answer["us_min"] for name, answer in r.items()},
            "us_median": {name: answer["us_median"] for name, answer in r.items()},
        }
        for r in rounds
    ]
    return {
        "us_best": best,
        "us_best_of_all_rounds": fastest,
        "rounds": len(rounds),
        "rounds_dropped": len(rounds) - len(kept),
        "flops": flops,
        "share_of_peak": flops / (best["nacre"] * peak * 1e3),
        "raw": raw,
    }


def _how(result, peer):
    share = result["share_of_peak"]
    return (
        f"{result['us_best']['nacre']:.0f} us / {result['us_best'][peer]:.0f} us; "
        f"{f'{share:.0%} of the peak' if share <= 1 else 'the peak was disturbed'}; "
        f"{result['rounds_dropped']} of {result['rounds']} rounds dropped"
    )


def _ratio_rows(batch, threads, result):
    rows = []
    for peer, time in result["us_best"].items():
        if peer != "nacre":
            what = f"step, batch {batch}, {threads} thread(s) each: Nacre / {peer}"
            goal = STEP_GOAL.get(batch) if peer == "jax" else None
            ratio = result["us_best"]["nacre"] / time
            rows.append(row(what, ratio, goal=goal, note=_how(result, peer)))
    return rows


def _best_rows(figures):
    """Best against best: every program may choose its number of threads."""
    rows = []
    for batch, of_threads in figures["batches"].items():
        best = {}
        for result in of_threads.values():
            for name, time in result["us_best"].items():
                best[name] = min(time, best.get(name, time))
        ours = best.pop("nacre")
        if best:
            peer = min(best, key=best.get)
            what = f"step, batch {batch}, best of all: Nacre / {peer}"
            how = f"{ours:.0f} us / {best[peer]:.0f} us"
            rows.append(row(what, ours / best[peer], aim=STEP_AIM[batch], note=how))
    return rows


def step(bench):
    figures = {"peak_gflops": {}, "batches": {batch: {} for batch in bench.batches}}
    rows = []
    for threads in (1, 2):
        if threads > 1 and len(bench.cpus) == 1:
            bench.say("two threads: skipped, this process may use one CPU")
            continue
        rounds = _all_rounds(bench, threads)
        peak = max(r["nacre"]["peak_gflops"] for of_batch in rounds.values() for r in of_batch)
        figures["peak_gflops"][threads] = peak
        for batch, of_batch in rounds.items():
            result = _best(of_batch, peak)
            figures["batches"][batch][threads] = result
            rows += _ratio_rows(batch, threads, result)
    return rows + _best_rows(figures), figures


# ---- the baseline ----


def baseline(bench):
    """The plain C loops, which are the 1x of every speed-up."""
    rows, figures = [], {}
    for batch in bench.batches:
        bench.say(f"baseline, batch {batch}")
        options = ["--batch-size", str(batch), "--seconds", str(bench.baseline_seconds)]
        figures[batch] = bench.run_json([bench.program("bench/baseline"), *options])[0]
        plain, ours = figures[batch]["baseline_us_min"], figures[batch]["nacre_us_min"]
        what = f"speed-up over the plain C baseline, batch {batch}, 1 thread"
        how = f"{plain:.0f} us / {ours:.0f} us"
        rows.append(row(what, figures[batch]["speedup"], "x", note=how))
    return rows, figures
