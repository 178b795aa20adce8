"""Memory: the plan's peak beside what is live at once, and the process that trains beside the peers' processes."""

from report import row
from workloads import usual_batch

TRAINING_STEPS = "5"
PEERS = ("jax", "torch")
ODD_BATCHES = (1, 5, 17, 31)  # sizes of values that fit less well beside each other than those of a power of two


def _ratio(plan):
    return plan["peak_bytes"] / max(plan["live_lower_bound"], 1)


def _plans(bench, workload):
    """What `nacre explain` says of training and inference at each batch; nothing runs."""
    batches, found = (*ODD_BATCHES, usual_batch(workload)), []
    for batch in batches:
        for flags in ("", "--infer"):
            words = f"explain {workload} {flags} --batch-size {batch} --threads 1 --json"
            answer, _ = bench.run_json(bench.nacre(words))
            found.append({key: answer[key] for key in ("mode", "batch", "peak_bytes", "live_lower_bound")})
    return found


def _plan_row(workload, plans):
    """The worst of all batches and of both modes."""
    worst, usual = max(plans, key=_ratio), next(plan for plan in plans[-2:] if plan["mode"] == "train")
    batches = ", ".join(dict.fromkeys(str(plan["batch"]) for plan in plans))
    what = f"{workload}, training and inference at batches {batches}: the plan's peak / what is live at once, the worst"

    def sizes(plan):
        return f"{plan['peak_bytes'] / 1e6:.2f} MB / {plan['live_lower_bound'] / 1e6:.2f} MB"

    note = f"{worst['mode']}, batch {worst['batch']}: {sizes(worst)}; train, batch {usual['batch']}: {sizes(usual)}"
    return row(what, _ratio(worst), note=note, name=f"memory.plan.{workload}")


def _resident(bench, workload, batch):
    """{who: the largest resident memory of a process that trains a few steps}, each in turn, the least of all."""
    commands = {"nacre": [bench.program("bench/losses")]}
    commands.update({peer: bench.peer_command(peer) for peer in PEERS if peer in bench.peers})
    words = [workload, bench.sample(workload), "--steps", TRAINING_STEPS, "--batch-size", str(batch)]
    runs = [
        {who: bench.peak_memory([*command, *words]) for who, command in commands.items()}
        for _ in range(bench.memory_rounds)
    ]
    return {who: min(run[who] for run in runs) for who in commands}


def _resident_row(workload, resident):
    name = f"memory.resident.{workload}"
    note = ", ".join(f"{who} {size / 1e6:.0f} MB" for who, size in resident.items())
    ours = resident["nacre"]
    if len(resident) == 1:
        return row(f"{workload}: resident memory of the process that trains", ours / 1e6, "MB")
    least = min(size for who, size in resident.items() if who != "nacre")
    what = f"{workload}: resident memory of the process that trains, Nacre / the least of the peers"
    return row(what, ours / least, note=note, name=name)


def memory(bench):
    rows, figures = [], {}
    for workload in bench.workloads:
        bench.say(f"{workload}: memory")
        batch = usual_batch(workload)
        plans, resident = _plans(bench, workload), _resident(bench, workload, batch)
        figures[workload] = {"plans": plans, "resident": resident}
        rows += [_plan_row(workload, plans), _resident_row(workload, resident)]
    return rows, figures
