"""What is to be reached: bounds of measured figures, by the ids of the rows that hold them.

Ratios are Nacre's best time / the best peer's, each with the number of threads that suits it, unless the id names one.
In an id `1` is one thread and `all` as many as there are CPUs.
"""

from typing import NamedTuple


class Goal(NamedTuple):
    what: str
    bound: float
    unit: str = ""
    at_least: bool = False

    def met(self, measured):
        return measured >= self.bound if self.at_least else measured <= self.bound

    def __str__(self):
        return f"{'>=' if self.at_least else '<='} {self.bound:g} {self.unit}".strip()


def _share(what, bound):
    return Goal(f"{what}: share of the roofline, one thread", bound, at_least=True)


GOALS = {
    "step.mlp.32": Goal("mlp, batch 32: training step", 0.35),
    "step.mlp.64": Goal("mlp, batch 64: training step", 0.38),
    "step.mlp.128": Goal("mlp, batch 128: training step", 0.45),
    "step.mlp.256": Goal("mlp, batch 256: training step", 0.48),
    "step.lenet.64": Goal("lenet, batch 64: training step", 0.15),
    "step.vit.64": Goal("vit, batch 64: training step", 0.38),
    "step.gpt.12": Goal("gpt, batch 12: training step", 0.40),
    "step.resnet20.64": Goal("resnet20, batch 64: training step", 0.50),
    "infer.mlp.1": Goal("mlp, batch 1, one thread: inference", 0.35),
    "infer.lenet.1": Goal("lenet, batch 1: inference", 0.35),
    "infer.vit.1": Goal("vit, batch 1: inference", 0.50),
    "fraction.mlp.32": _share("mlp, batch 32", 0.60),
    "fraction.mlp.64": _share("mlp, batch 64", 0.82),
    "fraction.mlp.128": _share("mlp, batch 128", 0.82),
    "fraction.mlp.256": _share("mlp, batch 256", 0.82),
    "fraction.lenet.64": _share("lenet", 0.60),
    "fraction.vit.64": _share("vit", 0.60),
    "fraction.gpt.12": _share("gpt", 0.60),
    "fraction.resnet20.64": _share("resnet20", 0.60),
    "mnist.time": Goal("process start to 98 % on MNIST", 0.10),
    "mnist.memory": Goal("resident memory of that process beyond the data", 30, "MB"),
    "start.first_step": Goal("process start to the first training step done", 50, "ms"),
    "size.library": Goal("libnacre.so stripped", 3, "MB"),
    "size.dependencies": Goal("libraries that it cannot do without, beside the system's own", 0),
    "overhead.record": Goal("recording, hashing and plan lookup / step of the mlp, batch 32", 0.03),
    "overhead.hand_off.spinning": Goal("hand-off to the second thread while it spins", 0.5, "us"),
    "overhead.hand_off.parked": Goal("hand-off to the second thread from where it has parked", 12, "us"),
    "overhead.allocations": Goal("allocations of a replayed step of the mlp", 0),
    "waiting.mnist": Goal("MNIST, a step waiting for its batch / the epoch", 0.02),
    "waiting.cifar10": Goal("CIFAR-10, a step waiting for its batch / the epoch", 0.02),
}
for _threads, _how in (("1", "one thread"), ("all", "all threads")):
    GOALS[f"products.mean.{_threads}"] = Goal(f"products, {_how}: geometric mean over the shapes", 0.90)
    GOALS[f"products.worst.{_threads}"] = Goal(f"products, {_how}: the worst shape", 1.05)
    for _n in (1024, 2048):
        GOALS[f"products.{_n}.{_threads}"] = Goal(f"product of {_n} cubed, {_how}", 1.05)
        _what = f"product of {_n} cubed, {_how}: share of the measured peak"
        GOALS[f"products.peak.{_n}.{_threads}"] = Goal(_what, 0.82, at_least=True)
for _name in ("mlp", "lenet", "vit", "gpt", "resnet20"):
    GOALS[f"memory.plan.{_name}"] = Goal(f"{_name}: the plan's peak / what is live at once", 1.1)
    # Below both JAX and PyTorch.
    GOALS[f"memory.resident.{_name}"] = Goal(f"{_name}: resident memory of the process that trains", 1.0)
