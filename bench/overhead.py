"""Where the time may not go: recording and finding plans, allocating, handing work to a second thread."""

import statistics

from report import row

# The keys of bench/overhead.c, and what they are.
HAND_OFFS = {"spinning": "while it spins", "parked": "from where it has parked"}


def _rounds_of(runs, key):
    return [run[key] for run in runs if run[key] is not None]


def _hand_off_row(runs, kind, how):
    """The median of the rounds: the time has two levels, presumably with the place where the host runs virtual CPUs, and
    the best of the rounds says nothing of the next process."""
    name = f"overhead.hand_off.{kind}"
    what = f"hand-off to the second thread {how}, median of the rounds' medians"
    times, line = _rounds_of(runs, f"us_hand_off_{kind}_median"), _rounds_of(runs, "us_line_median")
    if not times:
        return row(what, None, "us", note="one CPU", name=name)
    note = f"{min(times):.2f} to {max(times):.2f} us"
    if line:
        note += f"; a line of memory takes {statistics.median(line):.3f} us ({min(line):.3f} to {max(line):.3f}) from CPU to CPU"
    return row(what, statistics.median(times), "us", note=note, name=name)


def overhead(bench):
    bench.say("recording, plan lookup and hand-off")
    words = [bench.program("bench/overhead"), "--batch-size", "32", "--seconds", str(bench.step_seconds)]
    runs = [bench.run_json(words, 2)[0] for _ in range(bench.start_rounds)]

    def best(key):
        return min((run[key] for run in runs if run[key] is not None), default=None)

    outside, step = best("us_outside_min"), best("us_step_min")
    name = "overhead.record"
    what = "mlp, batch 32, one thread: recording, hashing and plan lookup / step"
    note = f"{outside:.1f} us / {step:.1f} us: all that is not the plan's replay"
    rows = [row(what, outside / step, note=note, name=name)]
    allocations = max(run["allocations"] for run in runs)
    name = "overhead.allocations"
    rows.append(row("mlp, batch 32: allocations of a step whose plan is replayed, the most", allocations, name=name))
    rows += [_hand_off_row(runs, kind, how) for kind, how in HAND_OFFS.items()]
    return rows, runs
