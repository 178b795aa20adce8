"""Training steps and inference of the workloads: their arithmetic, and their time beside the peers'.

Absolute times prove nothing on a shared machine, ratios do: what is compared runs in turn, A B A B,
each on the same CPUs, and of each the best counts.
"""

import goals
import processes
from report import row

BATCHES = {"mlp": (32, 64, 128, 256), "lenet": (64,), "vit": (64,), "gpt": (12,), "resnet20": (64,)}
INFERENCE = {"mlp": 1, "lenet": 1, "vit": 1}
MOST_SAMPLES = {"mlp": 1024}  # of the file; else the largest batch
PEAK_SHARE = 0.95  # a round in which the machine was slower than this share of its best is dropped
# Rounding differs in the last bits of f32. A rate of 0.1 through twenty normalised layers makes a
# hundred times more of it with each step.
CHECK_BATCH = "12"
LOSS_STEPS, LOSS_TOLERANCE, OUTPUT_TOLERANCE = 5, {"resnet20": 2e-2}, 1e-4


# Peers without all workloads, and those without one of training and inference.
WORKLOADS_OF = {"numpy": ("mlp",), "numba": ("mlp",), "tensorflow": ("mlp", "lenet"), "mlx": ("mlp",)}
INFERENCE_ONLY, TRAINING_ONLY = ("onnxruntime",), ("numba", "tensorflow", "mlx")


def peers_of(bench, workload, infer):
    """The peers that have it; PyTorch compiled is one of its own."""
    names = [p for p in bench.peers if workload in WORKLOADS_OF.get(p, (workload,))]
    names = [p for p in names if p not in (TRAINING_ONLY if infer else INFERENCE_ONLY)]
    return names + (["torch-compiled"] if bench.compiled and "torch" in names else [])


def usual_batch(workload):
    return BATCHES[workload][:2][-1]


# ---- the same arithmetic ----


def _numbers(bench, command, workload, *words):
    outcome = bench.run([*command, workload, bench.sample(workload), *words])
    return [float(line) for line in outcome.lines]


def _apart(ours, theirs):
    if len(ours) != len(theirs) or not ours:
        raise processes.Failure(f"{len(ours)} numbers from nacre, {len(theirs)} from the peer")
    largest = max(1, max(abs(b) for b in theirs))
    return max(abs(a - b) for a, b in zip(ours, theirs)) / largest


def _check_workload(bench, workload, figures):
    rows = []
    for infer in (False, True):
        words = ["--batch-size", CHECK_BATCH, *(["--infer"] if infer else ["--steps", str(LOSS_STEPS)])]
        what = "outputs" if infer else f"first {LOSS_STEPS} losses"
        tolerance = OUTPUT_TOLERANCE if infer else LOSS_TOLERANCE.get(workload, 1e-4)
        ours = _numbers(bench, [bench.program("bench/losses")], workload, *words)
        key = f"{workload} {what}"
        figures[key] = {"nacre": ours[:LOSS_STEPS]}
        for peer in peers_of(bench, workload, infer):
            if peer == "torch-compiled":
                continue
            label = f"{workload}: {what}, difference from {peer}"
            try:
                theirs = _numbers(bench, bench.peer_command(peer), workload, *words)
                figures[key][peer] = theirs[:LOSS_STEPS]
                rows.append(row(label, _apart(ours, theirs), goal=tolerance))
            except processes.Failure as failure:
                rows.append(row(label, None, goal=tolerance, note=str(failure)))
    return rows


def check(bench):
    """First of all: Nacre and the peers compute the same from the same weights and data."""
    figures, rows = {}, []
    for workload in bench.workloads:
        bench.say(f"{workload}: the same losses and outputs")
        rows += _check_workload(bench, workload, figures)
    return rows, figures


# ---- times ----


def nacre(bench, workload, flags, threads):
    words = f"bench {workload} {flags} --threads {threads} --seconds {bench.step_seconds} --json"
    return bench.run_json(bench.nacre(words), threads)[0]


def _round(bench, workers, workload, batch, threads, infer, backwards):
    """Everybody once, in turn."""
    answers = {}
    for name in reversed(["nacre", *workers]) if backwards else ["nacre", *workers]:
        if name == "nacre":
            flags = f"--batch-size {batch}" + (" --infer" if infer else "")
            answers[name] = nacre(bench, workload, flags, threads)
        else:
            answers[name] = workers[name].time_steps(batch, bench.step_seconds)
    return answers


def _start_workers(bench, workload, threads, infer):
    workers = {}
    for peer in peers_of(bench, workload, infer):
        words = [workload, bench.sample(workload), "--serve"] + (["--infer"] if infer else [])
        if peer == "torch-compiled":
            words.append("--compile")
        command = [*bench.peer_command(peer.split("-")[0]), *words]
        errors = f"{bench.errors}-{peer}"
        try:
            workers[peer] = processes.Peer(command, threads, bench.cpus[:threads], errors)
        except processes.Failure as failure:
            bench.say(f"{peer} is skipped: {failure}")
    return workers


def _all_rounds(bench, workload, batches, threads, infer):
    """{batch: [round]}: the batches take turns too, so that a slow minute falls on all of them."""
    rounds = {batch: [] for batch in batches}
    workers = _start_workers(bench, workload, threads, infer)
    try:
        for number in range(bench.rounds):
            kind = "inference" if infer else "training step"
            bench.say(f"{workload}, {kind}, {threads} thread(s): round {number + 1} of {bench.rounds}")
            for batch in batches:
                rounds[batch].append(
                    _round(bench, workers, workload, batch, threads, infer, number % 2 == 1)
                )
    finally:
        for worker in workers.values():
            worker.close()
    return rounds


def _best(rounds):
    """The best of each over the rounds in which the machine was at its best."""
    peak = max(r["nacre"]["peak_gflops"] for r in rounds)
    kept = [r for r in rounds if r["nacre"]["peak_gflops"] >= PEAK_SHARE * peak]
    ours = min((r["nacre"] for r in kept), key=lambda answer: answer["us_min"])
    return {
        "us_best": {name: min(r[name]["us_min"] for r in kept) for name in rounds[0]},
        "us_best_of_all_rounds": {n: min(r[n]["us_min"] for r in rounds) for n in rounds[0]},
        "rounds": len(rounds),
        "rounds_dropped": len(rounds) - len(kept),
        "peak_gflops": peak,
        "roofline_share": ours["roofline_us"] / ours["us_min"],
        "nacre": ours,
        "raw": [{n: [a["us_min"], a["us_median"]] for n, a in r.items()} for r in rounds],
    }


def _note(result, peer):
    return (
        f"{result['us_best']['nacre']:.0f} us / {result['us_best'][peer]:.0f} us; "
        f"{result['roofline_share']:.0%} of the roofline; "
        f"{result['rounds_dropped']} of {result['rounds']} rounds dropped"
    )


def _pair_rows(kind, workload, batch, threads, result):
    rows = []
    if threads == 1 and kind == "step":
        share = result["roofline_share"]
        what = f"{workload}, batch {batch}, 1 thread: share of the roofline"
        rows.append(row(what, share, id=f"fraction.{workload}.{batch}"))
    for peer in result["us_best"]:
        if peer != "nacre":
            what = f"{kind} {workload}, batch {batch}, {threads} thread(s) each: Nacre / {peer}"
            ratio = result["us_best"]["nacre"] / result["us_best"][peer]
            name = f"{kind}.{workload}.{batch}.{threads}.{peer}"
            rows.append(row(what, ratio, note=_note(result, peer), id=name))
    return rows


def _best_row(kind, workload, batch, of_threads):
    """Best against best: every program may choose its number of threads."""
    best = {}
    for result in of_threads.values():
        for name, time in result["us_best"].items():
            best[name] = min(time, best.get(name, time))
    ours = best.pop("nacre")
    if not best:
        return []
    peer = min(best, key=best.get)
    name = f"{kind}.{workload}.{batch}"
    what = f"{kind} {workload}, batch {batch}, best of all: Nacre / {peer}"
    how = f"{ours:.0f} us / {best[peer]:.0f} us"
    return [row(what, ours / best[peer], goal=goals.bound(name), note=how, id=name)]


def _compare(bench, workload, batches, infer, all_threads):
    kind = "infer" if infer else "step"
    figures, rows = {batch: {} for batch in batches}, []
    for threads in all_threads:
        if threads > 1 and len(bench.cpus) == 1:
            bench.say("two threads: skipped, this process may use one CPU")
            continue
        for batch, rounds in _all_rounds(bench, workload, batches, threads, infer).items():
            figures[batch][threads] = _best(rounds)
            rows += _pair_rows(kind, workload, batch, threads, figures[batch][threads])
    for batch in batches:
        rows += _best_row(kind, workload, batch, figures[batch])
    return rows, figures


def step(bench):
    rows, figures = [], {}
    for workload in bench.workloads:
        batches = (usual_batch(workload),) if bench.quick else BATCHES[workload]
        more, figures[workload] = _compare(bench, workload, batches, False, (1, 2))
        rows += more
    return rows, figures


def infer(bench):
    rows, figures = [], {}
    for workload in bench.workloads:
        if workload in INFERENCE:
            threads = (1,) if workload == "mlp" else (1, 2)
            more, figures[workload] = _compare(bench, workload, (INFERENCE[workload],), True, threads)
            rows += more
    return rows, figures


# ---- the baseline ----


def baseline(bench):
    """The plain C loops, which are the 1x of every speed-up."""
    rows, figures = [], {}
    for batch in (64,) if bench.quick else BATCHES["mlp"]:
        bench.say(f"baseline, batch {batch}")
        options = ["--batch-size", str(batch), "--seconds", str(bench.baseline_seconds)]
        figures[batch] = bench.run_json([bench.program("bench/baseline"), *options])[0]
        plain, ours = figures[batch]["baseline_us_min"], figures[batch]["nacre_us_min"]
        what = f"speed-up over the plain C baseline, batch {batch}, 1 thread"
        how = f"{plain:.0f} us / {ours:.0f} us"
        rows.append(row(what, figures[batch]["speedup"], "x", note=how))
    return rows, figures
