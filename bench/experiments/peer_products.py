"""peer_products.py numpy|torch: the same functions and products by a BLAS library. Speaks like bench/peers/harness.py: a
line {"version"}, then for each line {"seconds"} one of {"us"}. Results go into arrays that exist, as the library likes best.
"""

import ctypes
import glob
import json
import os
import sys
import time

LINEAR = ((32, 128, 784), (64, 128, 784), (128, 128, 784), (256, 128, 784), (64, 128, 128))
SQUARE = (256, 512, 1024)


def numpy_works():
    import numpy as np

    def array(*shape):
        return np.random.default_rng(1).random(shape, dtype=np.float32) - np.float32(0.5)

    def forward(x, w, b, out):
        np.dot(x, w.T, out=out)
        np.add(out, b, out=out)
        np.maximum(out, 0, out=out)

    x, y, z = array(100000), array(100000), array(1000000)
    yield "dot 0 100000 0", lambda: np.dot(x, y)
    yield "sum 0 100000 0", x.sum
    yield "mean 0 100000 0", x.mean
    yield "zeros 0 1000000 0", lambda: z.fill(0)
    for m, n, k in LINEAR:
        a, w, b, dy, out, dx, dw = array(m, k), array(n, k), array(n), array(m, n), array(m, n), array(m, k), array(n, k)
        size = f"{m} {n} {k}"
        yield f"linear {size}", lambda a=a, w=w, b=b, out=out: forward(a, w, b, out)
        yield f"linear input gradient {size}", lambda dy=dy, w=w, dx=dx: np.dot(dy, w, out=dx)
        yield f"linear weight gradient {size}", lambda dy=dy, a=a, dw=dw: np.dot(dy.T, a, out=dw)
    for n in SQUARE:
        a, b, out = array(n, n), array(n, n), array(n, n)
        yield f"matmul {n} {n} {n}", lambda a=a, b=b, out=out: np.dot(a, b, out=out)


def torch_works():
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.set_grad_enabled(False)
    torch.manual_seed(1)

    def array(*shape):
        return torch.rand(*shape) - 0.5

    def forward(x, w, b, out):
        torch.addmm(b, x, w.t(), out=out)
        out.relu_()

    x, y, z, s = array(100000), array(100000), array(1000000), array(1)[0]
    yield "dot 0 100000 0", lambda: torch.dot(x, y, out=s)
    yield "sum 0 100000 0", x.sum
    yield "mean 0 100000 0", x.mean
    yield "zeros 0 1000000 0", z.zero_
    for m, n, k in LINEAR:
        a, w, b, dy, out, dx, dw = array(m, k), array(n, k), array(n), array(m, n), array(m, n), array(m, k), array(n, k)
        size = f"{m} {n} {k}"
        yield f"linear {size}", lambda a=a, w=w, b=b, out=out: forward(a, w, b, out)
        yield f"linear input gradient {size}", lambda dy=dy, w=w, dx=dx: torch.mm(dy, w, out=dx)
        yield f"linear weight gradient {size}", lambda dy=dy, a=a, dw=dw: torch.mm(dy.t(), a, out=dw)
    for n in SQUARE:
        a, b, out = array(n, n), array(n, n), array(n, n)
        yield f"matmul {n} {n} {n}", lambda a=a, b=b, out=out: torch.mm(a, b, out=out)


def version_of(name):
    """With the kernels that OpenBLAS chose, where it tells."""
    module = sys.modules[name]
    if name == "torch":
        return f"{module.__version__.split('+')[0]}, {'MKL' if module.backends.mkl.is_available() else 'no MKL'}"
    for path in glob.glob(os.path.join(os.path.dirname(module.__file__), "..", "numpy.libs", "*openblas*")):
        for prefix, suffix in (("scipy_", "64_"), ("", "64_"), ("", "")):
            ask = getattr(ctypes.CDLL(path), f"{prefix}openblas_get_corename{suffix}", None)
            if ask:
                ask.restype = ctypes.c_char_p
                return f"{module.__version__}, OpenBLAS {ask().decode()}"
    return module.__version__


def least_us(work, seconds):
    end, least = time.perf_counter() + seconds, float("inf")
    while True:
        begin = time.perf_counter()
        work()
        now = time.perf_counter()
        least = min(least, now - begin)
        if now > end:
            return least * 1e6


def main():
    name = sys.argv[1]
    works = dict(numpy_works() if name == "numpy" else torch_works())
    for work in works.values():
        work()
    print(json.dumps({"version": version_of(name)}), flush=True)
    for line in sys.stdin:
        seconds = json.loads(line)["seconds"]
        print(json.dumps({"us": {label: least_us(work, seconds) for label, work in works.items()}}), flush=True)


if __name__ == "__main__":
    main()
