"""The peers: a virtual environment from the Python package index and what is compiled beside it, made once."""

import os
import shutil
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
# What a C++ compiler makes of PyTorch's package: its C++ interface, and networks through torch.compile.
LIBTORCH, TORCH_COMPILED = "libtorch", "torch-compiled"
PEERS = (*_PACKAGES, LIBTORCH, TORCH_COMPILED)
# What torch imports. Its own list adds some gigabytes for GPUs on Linux, needed only where the
# package is linked against them.
_TORCH_PURE = ["typing_extensions", "filelock", "sympy", "networkx", "jinja2", "fsspec", "numpy"]
_PIP = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--retries", "1"]
_PEER_SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers")


class Peers:
    """What can be compared here: `versions` {peer: version}, `missing` {peer: why}, and how to start each."""

    def __init__(self, folder, quick, say):
        self._folder, self._say = folder, say
        self.python = os.path.join(folder, "bin", "python")
        self.versions, self.missing = {}, {}
        no_environment = self._make_environment()
        for peer in _PACKAGES:
            self._add(peer, *((no_environment, None) if no_environment else self._find(peer)))
        self._add_compiled(quick)

    def command(self, peer):
        if peer == LIBTORCH:
            return [self._libtorch()]
        if peer == TORCH_COMPILED:
            return [*self.script("torch_peer.py"), "--compile"]
        return self.script(f"{peer}_peer.py")

    def script(self, name):
        return [self.python, os.path.join(_PEER_SCRIPTS, name)]

    def _add(self, peer, problem, version):
        if problem:
            self.missing[peer] = problem
        else:
            self.versions[peer] = version

    def _make_environment(self):
        """None, or why there is none."""
        if os.path.exists(self.python):
            return None
        self._say(f"making a virtual environment in {os.path.relpath(self._folder)}")
        problem = _run([sys.executable, "-m", "venv", self._folder])
        return problem and f"no virtual environment: {problem}"

    def _version(self, peer):
        """The peer's version, or None where it cannot be imported."""
        imports = _IMPORTS[peer]
        return self._ask(f"import {imports}; print({imports.split(',')[0]}.__version__)")

    def _ask(self, code):
        """What a line of Python prints, or None where it fails."""
        try:
            done = subprocess.run([self.python, "-c", code], capture_output=True, text=True, check=False)
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    def _find(self, peer):
        """(None, its version), or (why it cannot be had, None)."""
        version, problem = self._version(peer), None
        if not version:
            problem = self._install(peer)
            version = self._version(peer)
        return (None, version) if version else (problem or "installed, but it cannot be imported", None)

    def _install(self, peer):
        """None, or why it could not be installed."""
        self._say(f"installing {peer} (only this once; torch takes minutes)")
        if peer == "torch":
            problem = _run([self.python, *_PIP, "--no-deps", "torch"]) or _run([self.python, *_PIP, *_TORCH_PURE])
            if problem or self._version(peer):
                return problem
        return _run([self.python, *_PIP, *_PACKAGES[peer]])

    def _add_compiled(self, quick):
        torch, compiler = self.versions.get("torch"), os.environ.get("CXX") or "g++"
        problem = None if torch else "PyTorch is missing"
        if torch and not shutil.which(compiler):
            problem = f"there is no C++ compiler {compiler}; install one or set CXX"
        self._add(LIBTORCH, problem or self._build_libtorch(compiler), torch)
        self._add(TORCH_COMPILED, problem or ("left out by --quick" if quick else None), torch)

    def _libtorch(self):
        """Its name holds the version that it was built for."""
        return os.path.join(self._folder, "bin", f"libtorch-peer-{self.versions['torch']}")

    def _build_libtorch(self, compiler):
        """None, or what went wrong."""
        source, program = os.path.join(_PEER_SCRIPTS, "libtorch_peer.cpp"), self._libtorch()
        if os.path.exists(program) and os.path.getmtime(program) > os.path.getmtime(source):
            return None
        self._say("compiling libtorch's peer (only this once; a minute)")
        torch = self._ask("import os, torch; print(os.path.dirname(torch.__file__))")
        include, lib = os.path.join(torch, "include"), os.path.join(torch, "lib")
        headers = ["-isystem", include, "-isystem", os.path.join(include, "torch", "csrc", "api", "include")]
        # Relative, so that the folder may be moved.
        rpath = os.path.join("$ORIGIN", os.path.relpath(lib, os.path.dirname(program)))
        libraries = [f"-L{lib}", "-ltorch_cpu", "-lc10", f"-Wl,-rpath,{rpath}"]
        return _run([compiler, "-std=c++20", "-O2", *headers, source, "-o", program, *libraries])


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
