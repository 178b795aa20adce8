"""The workloads: their batch sizes, and which peers have them."""

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


def peers_of(bench, workload, infer):
    """The peers that have it, but for those that the check has found to compute something else."""
    lacking = TRAINING_ONLY if infer else INFERENCE_ONLY
    return [
        peer
        for peer in bench.peers
        if workload in WORKLOADS_OF.get(peer, (workload,))
        and peer not in lacking
        and (peer, workload, infer) not in bench.unlike
    ]


def usual_batch(workload):
    """The second of several, else the only one: as nacre bench takes it."""
    return BATCHES[workload][:2][-1]
