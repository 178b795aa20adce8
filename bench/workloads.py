"""The workloads: their batch sizes, which peers have them, and which peers a comparison needs."""

import environment

BATCHES = {"mlp": (32, 64, 128, 256), "lenet": (64,), "vit": (64,), "gpt": (12,), "resnet20": (64,)}
INFERENCE = {workload: 1 for workload in BATCHES}
MOST_SAMPLES = {"mlp": 1024}  # of the file; else the largest batch

# Peers without all workloads, and those without one of training and inference.
WORKLOADS_OF = {
    "libtorch": ("mlp", "lenet"),
    "numpy": ("mlp",),
    "numba": ("mlp",),
    "tensorflow": ("mlp", "lenet"),
    "mlx": ("mlp",),
}
INFERENCE_ONLY, TRAINING_ONLY = ("onnxruntime",), ("numba", "tensorflow", "mlx")


# The comparisons that do not need the peers of their workloads, and what they need; those of WELCOME are shown beside
# Nacre where they are already there.
NEEDED = {
    "products": ("torch", "numpy"),
    "sweep": (),
    "mnist": ("torch",),
    "memory": ("jax", "torch"),
    "overhead": (),
    "waiting": (),
    "shares": (),
    "size": (),
    "baseline": (),
}
WELCOME = {"size": ("torch",)}
_MODES = {"check": (False, True), "step": (False,), "infer": (True,), "start": (False,)}  # inference?


def _has(peer, workload, infer):
    lacking = TRAINING_ONLY if infer else INFERENCE_ONLY
    return workload in WORKLOADS_OF.get(peer, (workload,)) and peer not in lacking


def peers_needed(comparison, workloads):
    if comparison in NEEDED:
        return set(NEEDED[comparison])
    if comparison == "start":
        workloads = ("mlp",)
    modes = [(workload, infer) for workload in workloads for infer in _MODES[comparison]]
    return {peer for peer in environment.PEERS for mode in modes if _has(peer, *mode)}


def peers_of(bench, workload, infer):
    """The peers that have it, but for those that the check has found to compute something else."""
    return [
        peer for peer in bench.peers if _has(peer, workload, infer) and (peer, workload, infer) not in bench.unlike
    ]


def usual_batch(workload):
    """The second of several, else the only one: as nacre bench takes it."""
    return BATCHES[workload][:2][-1]
