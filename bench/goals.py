"""What is to be reached: bounds of measured figures, by the ids of the rows that hold them."""

import report

# (id, what, upper bound, unit). Ratios are Nacre's best time / the best peer's, each with the number of
# threads that suits it, unless the id names a number.
GOALS = (
    ("step.mlp.32", "mlp, batch 32: training step", 0.35, ""),
    ("step.mlp.64", "mlp, batch 64: training step", 0.38, ""),
    ("step.mlp.128", "mlp, batch 128: training step", 0.45, ""),
    ("step.mlp.256", "mlp, batch 256: training step", 0.48, ""),
    ("step.lenet.64", "lenet, batch 64: training step", 0.15, ""),
    ("step.vit.64", "vit, batch 64: training step", 0.38, ""),
    ("step.gpt.12", "gpt, batch 12: training step", 0.40, ""),
    ("step.resnet20.64", "resnet20, batch 64: training step", 0.50, ""),
    ("infer.mlp.1", "mlp, batch 1, one thread: inference", 0.35, ""),
    ("infer.lenet.1", "lenet, batch 1: inference", 0.35, ""),
    ("infer.vit.1", "vit, batch 1: inference", 0.50, ""),
    ("mnist.time", "process start to 98 % on MNIST", 0.10, ""),
    ("mnist.memory", "resident memory of that process beyond the data", 30, "MB"),
    ("start.first_step", "process start to the first training step done", 50, "ms"),
    ("overhead.record", "recording, hashing and plan lookup / step of the mlp, batch 32", 0.03, ""),
    ("overhead.hand_off.spinning", "hand-off to the second thread while it spins", 0.5, "us"),
    ("overhead.hand_off.parked", "hand-off to the second thread from where it has parked", 12, "us"),
    ("size.library", "libnacre.so stripped", 3, "MB"),
)
# A product's time / the best BLAS library's.
GOALS += tuple(
    (f"products.{kind}.{threads}", f"products, {threads} thread(s): {what}", bound, "")
    for threads in (1, 2)
    for kind, what, bound in (
        ("mean", "geometric mean over the shapes", 0.90),
        ("worst", "the worst shape", 1.05),
        ("large", "1024 x 1024 x 1024", 1.05),
    )
)
WORKLOADS = ("mlp", "lenet", "vit", "gpt", "resnet20")
GOALS += tuple(
    (f"memory.plan.{name}", f"{name}: the plan's peak / what is live at once", 1.1, "") for name in WORKLOADS
)
# Below both JAX and PyTorch.
GOALS += tuple(
    (f"memory.resident.{name}", f"{name}: resident memory of the process that trains", 1.0, "")
    for name in WORKLOADS
)
# Lower bounds: roofline time / time on one thread, at the workload's usual batch, and the like.
FRACTIONS = (
    ("fraction.mlp.64", "mlp, batch 64: share of the roofline, one thread", 0.82),
    ("fraction.lenet.64", "lenet: share of the roofline, one thread", 0.60),
    ("fraction.vit.64", "vit: share of the roofline, one thread", 0.60),
    ("fraction.gpt.12", "gpt: share of the roofline, one thread", 0.60),
    ("fraction.resnet20.64", "resnet20: share of the roofline, one thread", 0.60),
    ("products.peak.1", "product 1024 x 1024 x 1024, one thread: share of the measured peak", 0.82),
)
_BOUNDS = {name: bound for name, _, bound, _ in GOALS}


def bound(name):
    return _BOUNDS.get(name)


def table(rows):
    """Goal, measured, met or not, of every goal."""
    measured = {row.get("id"): row for row in rows if row.get("id")}
    lines = []
    wanted = [(*goal, "<=") for goal in GOALS] + [(n, w, b, "", ">=") for n, w, b in FRACTIONS]
    for name, what, limit, unit, sign in wanted:
        row = measured.get(name)
        value = row["measured"] if row else None
        met = value is not None and (value <= limit if sign == "<=" else value >= limit)
        verdict = "not measured" if value is None else "met" if met else "MISSED"
        goal = f"{sign} {limit:g} {unit}".strip()
        lines.append((what, goal, f"{report.number(value)} {unit}".strip(), verdict, row["note"] if row else ""))
    return report.columns(("goal", "bound", "measured", "", "how"), lines)
