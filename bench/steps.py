"""Training steps and inference of the workloads: their time beside the peers'.

Absolute times prove nothing on a shared machine, ratios do: what is compared runs in turn, A B A B,
each on the same CPUs, and of each the best counts.
"""

import statistics

import processes
from marks import counted
from report import row
from workloads import BATCHES, INFERENCE, peers_of, usual_batch

PEAK_SHARE = 0.95  # a round in which the machine was slower than this share of its best is dropped


def nacre(bench, workload, flags, threads):
    words = f"bench {workload} {flags} --threads {threads} --seconds {bench.step_seconds} --json"
    return bench.run_json(bench.nacre(words), threads)[0]


class Workers:
    """The peers' processes for one workload, mode and number of threads. One that fails is named and left out."""

    def __init__(self, bench, workload, threads, infer):
        self._bench, self._workload, self._threads = bench, workload, threads
        self._infer = infer
        words = [workload, bench.sample(workload), "--serve"] + (["--infer"] if infer else [])
        commands = {peer: [*bench.peer_command(peer), *words] for peer in peers_of(bench, workload, infer)}
        self._peers = processes.start_peers(commands, threads, bench.cpus[:threads], bench.errors, bench.say)

    def time_steps(self, peer, batch, seconds):
        """None of a peer that has failed."""
        if peer not in self._peers:
            return None
        try:
            return self._peers[peer].time_steps(batch, seconds)
        except processes.Failure as failure:
            self._bench.say(f"{self._workload}, batch {batch}: {peer} is left out from here: {failure}")
            self._peers.pop(peer).close()
            return None

    def compile(self, batches):
        """What a first step costs, before the clock starts."""
        for peer in list(self._peers):
            for batch in batches:
                self.time_steps(peer, batch, 0)

    def round(self, batch, number):
        """Everybody once, in turn: {who: answer}."""
        answers = {}
        for who in processes.turns(["nacre", *self._peers], number):
            if who == "nacre":
                flags = f"--batch-size {batch}" + (" --infer" if self._infer else "")
                answers[who] = nacre(self._bench, self._workload, flags, self._threads)
            else:
                answers[who] = self.time_steps(who, batch, self._bench.step_seconds)
        return {who: answer for who, answer in answers.items() if answer}

    def close(self):
        for peer in self._peers.values():
            peer.close()


def _all_rounds(bench, workload, batches, threads, infer):
    """{batch: [round]}: the batches take turns too, so that a slow minute falls on all of them."""
    rounds = {batch: [] for batch in batches}
    workers = Workers(bench, workload, threads, infer)
    try:
        workers.compile(batches)
        for number in range(bench.rounds):
            kind = "inference" if infer else "training step"
            bench.say(f"{workload}, {kind}, {counted(threads, 'thread')}: round {number + 1} of {bench.rounds}")
            for batch in batches:
                rounds[batch].append(workers.round(batch, number))
    finally:
        workers.close()
    return rounds


def _best(rounds):
    """The best of each over the rounds in which the machine was at its best."""
    peak = max(r["nacre"]["peak_gflops"] for r in rounds)
    kept = [r for r in rounds if r["nacre"]["peak_gflops"] >= PEAK_SHARE * peak]
    ours = min((r["nacre"] for r in kept), key=lambda answer: answer["us_min"])
    names = [name for name in rounds[0] if all(name in r for r in rounds)]
    return {
        "us_best": {name: min(r[name]["us_min"] for r in kept) for name in names},
        "us_median": {name: statistics.median(r[name]["us_min"] for r in kept) for name in names},
        "us_best_of_all_rounds": {name: min(r[name]["us_min"] for r in rounds) for name in names},
        "rounds": len(rounds),
        "rounds_dropped": len(rounds) - len(kept),
        "peak_gflops": peak,
        "roofline_share": ours["roofline_us"] / ours["us_min"],
        "nacre": ours,
        "raw": [{n: [a["us_min"], a["us_median"]] for n, a in r.items()} for r in rounds],
    }


def _us(time):
    return f"{time:.1f}" if time < 100 else f"{time:.0f}"


def left(*results):
    """(rounds left, rounds) of that result which kept the smallest part."""
    counts = [(result["rounds"] - result["rounds_dropped"], result["rounds"]) for result in results]
    return min(counts, key=lambda count: (count[0] / count[1], count[0]))


def _note(result, peer):
    return (
        f"{_us(result['us_best']['nacre'])} us / {_us(result['us_best'][peer])} us; "
        f"{result['roofline_share']:.0%} of the roofline"
    )


def _share_row(kind, workload, batch, result):
    mode = "inference" if kind == "infer" else "training step"
    name = f"fraction.{'infer.' if kind == 'infer' else ''}{workload}.{batch}"
    what = f"{workload}, {mode}, batch {batch}, 1 thread: share of the roofline"
    how = f"{_us(result['nacre']['roofline_us'])} us / {_us(result['nacre']['us_min'])} us"
    return row(what, result["roofline_share"], note=how, name=name, rounds=left(result))


def _pair_rows(kind, workload, batch, threads, result):
    rows = [_share_row(kind, workload, batch, result)] if threads == 1 else []
    for peer in result["us_best"]:
        if peer != "nacre":
            what = f"{kind} {workload}, batch {batch}, {counted(threads, 'thread')} each: Nacre / {peer}"
            ratio = result["us_best"]["nacre"] / result["us_best"][peer]
            name = f"{kind}.{workload}.{batch}.{threads}.{peer}"
            rows.append(row(what, ratio, note=_note(result, peer), name=name, rounds=left(result)))
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
    what = f"{kind} {workload}, batch {batch}, best of all: Nacre / {peer}"
    how = f"{_us(ours)} us / {_us(best[peer])} us, {peer}"
    name, rounds = f"{kind}.{workload}.{batch}", left(*of_threads.values())
    return [row(what, ours / best[peer], note=how, name=name, rounds=rounds)]


def _compare(bench, workload, batches, infer, all_threads):
    kind = "infer" if infer else "step"
    figures, rows = {batch: {} for batch in batches}, []
    for threads in all_threads:
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
        more, figures[workload] = _compare(bench, workload, batches, False, bench.threads)
        rows += more
    return rows, figures


def infer(bench):
    """Of one sample; the mlp's is too short to share, and its goal names one thread."""
    rows, figures = [], {}
    for workload in bench.workloads:
        threads = (1,) if workload == "mlp" else bench.threads
        more, figures[workload] = _compare(bench, workload, (INFERENCE[workload],), True, threads)
        rows += more
    return rows, figures


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
        rows.append(row(what, figures[batch]["speedup"], "x", note=how, name=f"speedup.mlp.{batch}"))
    return rows, figures
