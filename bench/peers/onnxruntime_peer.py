"""Inference of the workloads in ONNX Runtime, on models that onnx_graph.py writes. See harness.py."""

import os

import onnxruntime

import harness
import onnx_graph


def prepare(options, arrays, x, y):
    if not options.infer:
        raise SystemExit("onnxruntime: inference only, give --infer")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        onnx_graph.build(options.workload, arrays, x), settings, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, {"x": x})[0]


if __name__ == "__main__":
    harness.main(prepare, onnxruntime.__version__)
