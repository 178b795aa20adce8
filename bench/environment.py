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
    """What can be compared here: `versions` {peer: version}, `missing` {peer: why}, and how to start each.

    needed: those to set up. welcome: those to use where they have been set up already. No others are looked for."""

    def __init__(self, folder, needed, welcome, quick, say):
        self._folder, self._say = folder, say
        self.python = os.path.join(folder, "bin", "python")
        self.versions, self.missing = {}, {}
        packages = [peer for peer in _PACKAGES if peer in needed]
        no_environment = self._make_environment() if packages else None
        for peer in packages:
            self._add(peer, *((no_environment, None) if no_environment else self._find(peer)))
        for peer in (peer for peer in _PACKAGES if peer in welcome and peer not in packages):
            version, _ = self._version(peer)
            if version:
                self._add(peer, None, version)
        self._add_compiled(needed, quick)

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
        """None, or why there is none. One without pip was not finished."""
        if os.path.exists(self.python) and not _run([self.python, "-m", "pip", "--version"]):
            return None
        self._say(f"making a virtual environment in {os.path.relpath(self._folder)}")
        problem = _run([sys.executable, "-m", "venv", self._folder])
        return problem and f"no virtual environment: {problem}"

    def _version(self, peer):
        """(the peer's version, None), or (None, why it cannot be imported)."""
        imports = _IMPORTS[peer]
        return self._ask(f"import {imports}; print({imports.split(',')[0]}.__version__)")

    def _ask(self, code):
        """(what a line of Python prints, None), or (None, why it prints nothing)."""
        try:
            done = subprocess.run([self.python, "-c", code], capture_output=True, text=True, check=False)
        except OSError as error:
            return None, str(error)
        printed = done.stdout.strip()
        return (printed, None) if done.returncode == 0 and printed else (None, _last_line(done.stderr))

    def _find(self, peer):
        """(None, its version), or (why it cannot be had, None)."""
        version, _ = self._version(peer)
        if version:
            return None, version
        self._say(f"installing {peer} (only this once; torch takes minutes)")
        problem = self._install(peer)
        version, broken = self._version(peer)
        if not version and not problem:
            problem = self._repair(peer, broken)
            version, _ = self._version(peer)
        return (None, version) if version else (problem, None)

    def _repair(self, peer, broken):
        """None, or why it still cannot be imported. What an install that was killed has left counts as installed: all of it
        is installed over, but not at every run."""
        tried = os.path.join(self._folder, f"repaired-{peer}")
        if not os.path.exists(tried):
            self._say(f"{peer} is installed, but it cannot be imported ({broken}): installing it over")
            problem = self._install(peer, "--ignore-installed")
            if problem:
                return problem
            version, broken = self._version(peer)
            if version:
                return None
            with open(tried, "w", encoding="utf-8") as file:
                file.write(f"{broken}\n")
        again = f"to have it installed again remove {os.path.relpath(self._folder)}"
        return f"installed, but it cannot be imported: {broken}; {again}"

    def _install(self, peer, *options):
        """None, or why it could not be installed."""
        pip = [self.python, *_PIP, *options]
        if peer == "torch":
            problem = _run([*pip, "--no-deps", "torch"]) or _run([*pip, *_TORCH_PURE])
            if problem or self._version(peer)[0]:
                return problem
        return _run([*pip, *_PACKAGES[peer]])

    def _add_compiled(self, needed, quick):
        torch, compiler = self.versions.get("torch"), os.environ.get("CXX") or "g++"
        problem = None if torch else "PyTorch is missing"
        if torch and not shutil.which(compiler):
            problem = f"there is no C++ compiler {compiler}; install one or set CXX"
        if LIBTORCH in needed:
            self._add(LIBTORCH, problem or self._build_libtorch(compiler), torch)
        if TORCH_COMPILED in needed:
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
        torch, problem = self._ask("import os, torch; print(os.path.dirname(torch.__file__))")
        if problem:
            return f"where PyTorch lies is not to be found out: {problem}"
        include, lib = os.path.join(torch, "include"), os.path.join(torch, "lib")
        headers = ["-isystem", include, "-isystem", os.path.join(include, "torch", "csrc", "api", "include")]
        # Relative, so that the folder may be moved.
        rpath = os.path.join("$ORIGIN", os.path.relpath(lib, os.path.dirname(program)))
        libraries = [f"-L{lib}", "-ltorch_cpu", "-lc10", f"-Wl,-rpath,{rpath}"]
        part = f"{program}.part"  # what a killed compiler leaves is no program
        problem = _run([compiler, "-std=c++20", "-O2", *headers, source, "-o", part, *libraries])
        if not problem:
            os.replace(part, program)
        return problem


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
