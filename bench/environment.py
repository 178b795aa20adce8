"""The peers' virtual environment: made once, from the Python package index."""

import os
import subprocess
import sys

# Of each peer what is installed, and what its script imports, the module with its version first.
_PACKAGES = {
    "jax": ["numpy", "jax", "optax"],
    "torch": ["numpy", "torch"],
    "numpy": ["numpy"],
    "numba": ["numpy", "numba"],
    "tensorflow": ["numpy", "tensorflow"],
    "mlx": ["numpy", "mlx[cpu]"],
    "onnxruntime": ["numpy", "onnx", "onnxruntime"],
}
_IMPORTS = {
    "jax": "jax, jax.numpy, optax",
    "torch": "torch, numpy",
    "numpy": "numpy",
    "numba": "numba, numpy",
    "tensorflow": "tensorflow, numpy",
    "mlx": "mlx.core, mlx.nn, mlx.optimizers, numpy",
    "onnxruntime": "onnxruntime, numpy, onnx",
}
PEERS = tuple(_PACKAGES)
# What torch imports. Its own list adds some gigabytes for GPUs on Linux, needed only where the
# package is linked against them.
_TORCH_PURE = ["typing_extensions", "filelock", "sympy", "networkx", "jinja2", "fsspec", "numpy"]
_PIP = [
    "-m",
    "pip",
    "install",
    "--quiet",
    "--disable-pip-version-check",
    "--no-input",
    "--retries",
    "1",
]


def _last_line(text):
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it said nothing"


def _run(command):
    """None, or the last line of what a failed command said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return None if done.returncode == 0 else _last_line(done.stderr or done.stdout)


def _version(python, peer):
    """The peer's version, or None where it cannot be imported."""
    imports = _IMPORTS[peer]
    code = f"import {imports}; print({imports.split(',')[0]}.__version__)"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _install(python, peer):
    """None, or why it could not be installed."""
    if peer == "torch":
        problem = _run([python, *_PIP, "--no-deps", "torch"]) or _run([python, *_PIP, *_TORCH_PURE])
        if problem or _version(python, peer):
            return problem
    return _run([python, *_PIP, *_PACKAGES[peer]])


def prepare(folder, say):
    """Returns the environment's Python, {peer: version} and {peer: why it is missing}."""
    python = os.path.join(folder, "bin", "python")
    if not os.path.exists(python):
        say(f"making a virtual environment in {os.path.relpath(folder)}")
        problem = _run([sys.executable, "-m", "venv", folder])
        if problem:
            return None, {}, {peer: f"no virtual environment: {problem}" for peer in PEERS}
    versions, missing = {}, {}
    for peer in PEERS:
        version = _version(python, peer)
        problem = None
        if not version:
            say(f"installing {peer} (only this once; torch takes minutes)")
            problem = _install(python, peer)
            version = _version(python, peer)
        if version:
            versions[peer] = version
        else:
            missing[peer] = problem or "installed, but it cannot be imported"
    return python, versions, missing
