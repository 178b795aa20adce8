#!/usr/bin/env python3
"""The shared library exports every function of the public headers, and nothing else.

A function whose file does not include the header that declares it is compiled all the same and stays hidden."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

LIBRARY = os.environ.get("NACRE_LIBRARY", "")
SOURCE = pathlib.Path(os.environ.get("NACRE_SOURCE", pathlib.Path(__file__).parents[2]))


def skip(why):
    print(why)
    sys.exit(77)


def declared():
    names = set()
    for header in sorted((SOURCE / "include" / "nacre").glob("*.h")):
        text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", header.read_text(), flags=re.S)
        text = re.sub(r"^[ \t]*#[ \t]*define(?:.*\\\n)*.*$", " ", text, flags=re.M)
        for declaration in re.findall(r"\bNACRE_API\b([^;{]*);", text):
            names.add(re.search(r"\b(nacre_\w+)\s*\(", declaration).group(1))
    return names


def exported():
    nm = shutil.which("nm")
    if not nm or ".so" not in LIBRARY:
        skip("no nm, or no ELF library: the exports cannot be listed")
    listed = subprocess.run([nm, "-D", "--defined-only", LIBRARY], capture_output=True, text=True)
    if listed.returncode != 0:
        skip(f"nm does not read {LIBRARY}: {listed.stderr.strip()}")
    names = {line.split()[-1].split("@")[0] for line in listed.stdout.splitlines() if line.split()}
    return {name for name in names if name.startswith("nacre_")}


def main():
    wanted, there = declared(), exported()
    assert len(wanted) > 200, f"only {len(wanted)} declarations found: the headers are read wrongly"
    for name in sorted(wanted - there):
        print(f"{name} is declared in include/nacre/ and hidden: does its file include that header?")
    for name in sorted(there - wanted):
        print(f"{name} is exported and declared in no public header")
    sys.exit(1 if wanted != there else 0)


if __name__ == "__main__":
    main()
