"""What this machine is, and how processes are pinned to its CPUs."""

import os
import platform
import re
import subprocess


def usable_cpus():
    """Numbers of the CPUs this process may use; empty where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def thread_counts():
    """One thread, and as many as there are CPUs for this process."""
    most = len(usable_cpus()) or os.cpu_count() or 1
    return (1,) if most == 1 else (1, most)


def cpu_model():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    if platform.system() == "Darwin":
        done = subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.stdout.strip():
            return done.stdout.strip()
    return platform.processor() or platform.machine() or "unknown"


def slug(text):
    """A name fit for a file."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "unknown"


def memory_bytes():
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def load():
    """Processes that wanted a CPU during the last minute, on average."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def pin_to(cpus):
    """What a new process calls first to pin itself, like taskset; None where that cannot be."""
    if not cpus or not hasattr(os, "sched_setaffinity"):
        return None
    return lambda: os.sched_setaffinity(0, cpus)


# What torch.compile has compiled, so that a second run need not.
_COMPILED = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "build", "bench-compiled")
_THREAD_VARIABLES = (
    "NACRE_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def process_environment(threads):
    """For Nacre and the peers alike: so many threads, no GPU, no switches left from the shell."""
    environment = {k: v for k, v in os.environ.items() if k not in ("NACRE_EAGER", "NACRE_FUSE", "NACRE_THREADS")}
    for name in _THREAD_VARIABLES:
        environment[name] = str(threads)
    environment.setdefault("NACRE_TUNING", "off")  # a machine's own table would be measured unnoticed
    environment["CUDA_VISIBLE_DEVICES"] = ""
    environment["JAX_PLATFORMS"] = "cpu"
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    environment.setdefault("TORCHINDUCTOR_CACHE_DIR", _COMPILED)
    return environment


def facts(nacre_info):
    build = nacre_info.get("build", {})
    return {
        "cpu": cpu_model(),
        "cpus_usable": len(usable_cpus()) or os.cpu_count(),
        "cpus": os.cpu_count(),
        "memory_bytes": memory_bytes(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "compiler": build.get("compiler"),
        "build_type": build.get("build_type"),
        "nacre": nacre_info.get("version"),
        "kernel_level": nacre_info.get("isa"),
    }
