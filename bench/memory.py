"""Memory: the plan's peak beside what is live at once, and the process that trains beside the peers' processes."""

from report import row
from workloads import usual_batch

TRAINING_STEPS = "5"
PEERS = ("jax", "torch")


def _plan_row(workload, answer):
    peak, live = answer["arena_bytes"], answer["live_lower_bound"]
    name = f"memory.plan.{workload}"
    what = f"{workload}, batch {answer['batch']}: the plan's peak / what is live at once"
    note = f"{peak / 1e6:.2f} MB / {live / 1e6:.2f} MB"
    return row(what, peak / max(live, 1), note=note, name=name)


def _resident(bench, workload, batch):
    """{who: the largest resident memory of a process that trains a few steps}, each in turn, the least of all."""
    commands = {"nacre": [bench.program("bench/losses")]}
    commands.update({peer: bench.peer_command(peer) for peer in PEERS if peer in bench.peers})
    words = [workload, bench.sample(workload), "--steps", TRAINING_STEPS, "--batch-size", str(batch)]
    runs = [
        {who: bench.run([*command, *words]).peak_rss_bytes for who, command in commands.items()}
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
        flags = f"--batch-size {batch} --seconds 0 --threads 1 --json"
        answer, _ = bench.run_json(bench.nacre(f"bench {workload} {flags}"))
        resident = _resident(bench, workload, batch)
        figures[workload] = {"plan": answer, "resident": resident}
        rows += [_plan_row(workload, answer), _resident_row(workload, resident)]
    return rows, figures
