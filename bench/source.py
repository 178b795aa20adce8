"""Which commit a measured program was built from."""

import os
import re
import subprocess

# What of the tree is in the programs or decides how they are measured.
_MEASURED = ("CMakeLists.txt", "CMakePresets.json", "cmake", "include", "src", "examples", "bench")
_WRITTEN = (":(exclude)bench/results", ":(exclude)bench/experiments/results", ":(exclude)*.md")


def _git(folder, *words):
    """What git prints, or None where there is no git or no repository."""
    try:
        done = subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def folder_of(build, otherwise):
    """The sources that a build folder builds."""
    try:
        with open(os.path.join(build, "CMakeCache.txt"), encoding="utf-8", errors="replace") as file:
            found = re.search(r"^CMAKE_HOME_DIRECTORY:INTERNAL=(.+)$", file.read(), re.M)
    except OSError:
        return otherwise
    return found.group(1) if found else otherwise


def of(build, root, built):
    """{commit, dirty, built}: of the sources as they lie there now. built: the program has just been made from them; if
    not, the commit is that of the checkout, and the program may be of another one."""
    folder = folder_of(build, root)
    commit = _git(folder, "rev-parse", "HEAD")
    changes = commit and _git(folder, "status", "--porcelain", "--", *_MEASURED, *_WRITTEN)
    return {"commit": commit, "dirty": bool(changes), "built": built}


def short(program):
    """For a table: `+` of a tree with changes, `?` where the program was not built in the run that measured it."""
    if not program["commit"]:
        return "?"
    return program["commit"][:7] + ("+" if program["dirty"] else "") + ("" if program["built"] else "?")
