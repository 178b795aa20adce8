"""What a training step's time goes to: each step of its plan from a trace, on one thread, put together by kernel."""

import bisect
import json
import os
import sys

import processes
from report import row
from workloads import usual_batch

# Groups by the op that leads a step ("linear+relu" is a product), in the order of the tables. The rest is REST.
PRODUCTS, CONVOLUTIONS, ATTENTION = "products with what follows them", "convolutions", "attention"
NORMS, UPDATES, REST = "norms, pools, softmax, loss", "updates", "element-wise groups, copies, sums"
GROUPS = {
    PRODUCTS: ("linear", "matmul"),
    CONVOLUTIONS: ("conv",),
    ATTENTION: ("attention",),
    NORMS: ("batch_norm", "layer_norm", "max_pool", "avg_pool", "softmax", "log_softmax", "cross_entropy"),
    REST: (),
    UPDATES: ("adam", "sgd", "nadam", "rmsprop", "adagrad"),
}


def leading(kernel):
    """ "conv2d_backward_input" of "conv2d_backward_input+add+relu_backward"."""
    return kernel.split("+")[0]


def group_of(kernel):
    name = leading(kernel)
    return next((group for group, starts in GROUPS.items() if starts and name.startswith(starts)), REST)


def whole_steps(events):
    """[(us, [event])]: the time and the steps of each replay of the whole training step, as `nacre bench` calls it."""
    spans = [e for e in events if e.get("ph") == "X" and e.get("tid") == 1]
    steps = sorted((e for e in spans if "flops" in e.get("args", {})), key=lambda e: e["ts"])
    found, times = [], [e["ts"] for e in steps]
    for replay in (e for e in spans if e["name"] == "replay: step"):
        first, end = bisect.bisect_left(times, replay["ts"]), bisect.bisect_left(times, replay["ts"] + replay["dur"])
        if end - first == replay["args"]["steps"]:  # else the ring has given up its beginning
            found.append((replay["dur"], steps[first:end]))
    return found


def _sum(steps):
    us, bytes_ = sum(e["dur"] for e in steps), sum(e["args"]["bytes"] for e in steps)
    return {
        "count": len(steps),
        "us": us,
        "us_a_step": us / len(steps),
        "flops": sum(e["args"]["flops"] for e in steps),
        "bytes": bytes_,
        "flops_per_byte": sum(e["args"]["flops"] for e in steps) / max(bytes_, 1),
    }


def _together(steps, key):
    names = dict.fromkeys(key(e["name"]) for e in steps)
    return {name: _sum([e for e in steps if key(e["name"]) == name]) for name in names}


def _with_shares(sums, us):
    return {name: {"share": of["us"] / us, **of} for name, of in sorted(sums.items(), key=lambda one: -one[1]["us"])}


def figures_of(events):
    """Of the fastest replay of the whole step; None where the trace holds none."""
    replays = whole_steps(events)
    if not replays:
        return None
    us, steps = min(replays, key=lambda one: one[0])
    return {
        "replays": len(replays),
        "steps": len(steps),
        "us": us,
        "covered": sum(e["dur"] for e in steps) / us,
        "groups": _with_shares(_together(steps, group_of), us),
        "kernels": _with_shares(_together(steps, leading), us),
    }


def _traced(bench, workload):
    path = os.path.join(bench.work, f"trace-{workload}.json")
    flags = f"--batch-size {usual_batch(workload)} --threads 1 --seconds {2 * bench.step_seconds}"
    bench.run_json(bench.nacre(f"bench {workload} {flags} --trace {path} --json"))
    # In a process of its own: what it takes to read a trace is not to stay in this one.
    found, _ = bench.run_json([sys.executable, os.path.abspath(__file__), path])
    os.remove(path)
    if found is None:
        raise processes.Failure(f"{workload}: the trace holds no replay of a whole step")
    return {"batch": usual_batch(workload), **found}


def shares(bench):
    rows, figures = [], {}
    for workload in bench.workloads:
        bench.say(f"{workload}: shares of a training step")
        figures[workload] = min((_traced(bench, workload) for _ in range(2)), key=lambda found: found["us"])
        found = figures[workload]
        for group, of in found["groups"].items():
            what = f"{workload}, training step, batch {found['batch']}, 1 thread: {group}, share of the time"
            note = f"{of['count']} of {found['steps']} steps, {of['us_a_step']:.1f} us each, {of['flops_per_byte']:.1f} FLOPs per byte"
            rows.append(row(what, of["share"], note=note, name=f"shares.{workload}.{group.split()[0].rstrip(',')}"))
    return rows, figures


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        print(json.dumps(figures_of(json.load(file)["traceEvents"])))


if __name__ == "__main__":
    main()
