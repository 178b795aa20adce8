"""The same arithmetic: Nacre and the peers give the same losses and outputs from the same weights and data.

Checked is what is timed: the usual batch in training, one sample in inference. A peer that differs, or that does not
run, is left out of the comparison of times.
"""

import processes
import workloads
from goals import Goal
from report import row

# Rounding differs in the last bits of f32. Of the millions of values that resnet20 rectifies, it turns some over at 0, and
# more with each step.
LOSS_STEPS, TOLERANCE, LOSS_TOLERANCE = 5, 1e-4, {"resnet20": 2e-2}
KEPT = 5  # of the numbers, in the results' file


def _numbers(bench, command, workload, *words):
    outcome = bench.run([*command, workload, bench.sample(workload), *words])
    return [float(line) for line in outcome.lines]


def _apart(ours, theirs):
    if len(ours) != len(theirs) or not ours:
        raise processes.Failure(f"{len(ours)} numbers from nacre, {len(theirs)} from the peer")
    largest = max(1, max(abs(b) for b in theirs))
    return max(abs(a - b) for a, b in zip(ours, theirs)) / largest


def _check(bench, workload, infer):
    """Rows, and {who: first numbers}; bench.unlike gets the peers that are not to be compared."""
    kind, what = ("infer", "outputs") if infer else ("step", f"first {LOSS_STEPS} losses")
    batch = workloads.INFERENCE[workload] if infer else workloads.usual_batch(workload)
    words = ["--batch-size", str(batch), *(["--infer"] if infer else ["--steps", str(LOSS_STEPS)])]
    goal = Goal(what, TOLERANCE if infer else LOSS_TOLERANCE.get(workload, TOLERANCE))
    ours = _numbers(bench, [bench.program("bench/losses")], workload, *words)
    rows, found = [], {"nacre": ours[:KEPT]}
    for peer in workloads.peers_of(bench, workload, infer):
        apart, note = None, ""
        try:
            theirs = _numbers(bench, bench.peer_command(peer), workload, *words)
            found[peer], apart = theirs[:KEPT], _apart(ours, theirs)
        except processes.Failure as failure:
            note = str(failure)
        label, name = f"{workload}: {what}, difference from {peer}", f"check.{kind}.{workload}.{peer}"
        rows.append(row(label, apart, goal=goal, note=note, name=name))
        if not rows[-1]["met"]:
            bench.say(f"{workload}, {what}: {peer} is left out: {note or 'it computes something else'}")
            bench.unlike.add((peer, workload, infer))
    return rows, found


def check(bench):
    figures, rows = {}, []
    for workload in bench.workloads:
        for infer in (False, True):
            bench.say(f"{workload}: the same {'outputs' if infer else 'losses'}")
            more, figures[f"{workload} {'outputs' if infer else 'losses'}"] = _check(bench, workload, infer)
            rows += more
    return rows, figures
