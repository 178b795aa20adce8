"""Starts a program from a small process and writes its largest resident memory into a file:

    alone.py FILE COMMAND ...

The kernel counts for a new process the memory of the one that it was forked from as well, until the program replaces it:
started from bench/run itself a small program would seem as large as bench/run.
"""

import os
import sys


def main():
    out, command = sys.argv[1], sys.argv[2:]
    process = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(process, 0)
    with open(out, "w", encoding="utf-8") as file:
        file.write(f"{usage.ru_maxrss * (1 if sys.platform == 'darwin' else 1024)}\n")
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
