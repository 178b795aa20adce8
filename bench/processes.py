"""Processes of Nacre and of the peers: started pinned, timed from outside, spoken to."""

import json
import os
import re
import subprocess
import sys
import time

import machine

_ALONE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "alone.py")


class Failure(Exception):
    """A process that did not do what it was started for; the text says why."""


def _words(command):
    return os.path.basename(command[0]) + " " + " ".join(os.path.basename(w) for w in command[1:3])


# A line of a traceback that names what went wrong; advice may follow it.
_ERROR = re.compile(r"[\w.]*(Error|Exception|Interrupt)\b: ")


def _failure(command, code, errors):
    lines = [line.strip() for line in errors.splitlines() if line.strip()] or ["no message"]
    told = [line for line in lines if _ERROR.match(line)] or lines
    return Failure(f"{_words(command)}: exit code {code}: {told[-1]}")


def _start(command, threads, cpus, **streams):
    try:
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
            env=machine.process_environment(threads),
            preexec_fn=machine.pin_to(cpus),
            **streams,
        )
    except FileNotFoundError:
        raise Failure(f"{os.path.relpath(command[0])} is not there; leave out --no-build to have it built") from None
    except OSError as error:
        raise Failure(f"{_words(command)}: {error}") from None


class Outcome:
    """What a finished process printed, when (seconds since its start), and what it took. peak_rss_bytes is not less than
    what bench/run itself had when it started it: peak_memory() is for small processes."""

    def __init__(self, lines, times, seconds, usage):
        self.lines, self.times, self.seconds = lines, times, seconds
        self.cpu_seconds = usage.ru_utime + usage.ru_stime
        self.peak_rss_bytes = usage.ru_maxrss * (1 if os.uname().sysname == "Darwin" else 1024)


def run(command, threads, cpus, error_file, allowed=(0,), launcher=()):
    """Runs to the end, noting the time of each line on stdout; error_file takes stderr."""
    with open(error_file, "w+", encoding="utf-8", errors="replace") as errors:
        start = time.perf_counter()
        process = _start([*launcher, *command], threads, cpus, stdin=subprocess.DEVNULL, stderr=errors)
        lines, times = [], []
        for line in process.stdout:
            times.append(time.perf_counter() - start)
            lines.append(line.rstrip("\n"))
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
        if process.returncode not in allowed:
            errors.seek(0)
            raise _failure(command, process.returncode, errors.read())
    return Outcome(lines, times, seconds, usage)


def peak_memory(command, threads, cpus, error_file):
    """The largest resident memory of a process that runs to its end: alone.py says why not from its Outcome."""
    told = f"{error_file}-memory"
    run(command, threads, cpus, error_file, launcher=[sys.executable, "-I", "-S", _ALONE, told])
    with open(told, encoding="utf-8") as file:
        return int(file.read())


def run_json(command, threads, cpus, error_file, allowed=(0,)):
    """The same for a process that prints one object: (object, outcome)."""
    outcome = run(command, threads, cpus, error_file, allowed)
    try:
        return json.loads("\n".join(outcome.lines)), outcome
    except ValueError:
        raise Failure(f"{_words(command)}: its output is not one JSON object") from None


def start_peers(commands, threads, cpus, error_file, say):
    """{name: Peer} of those commands that start; the others are named."""
    workers = {}
    for name, command in commands.items():
        try:
            workers[name] = Peer(command, threads, cpus, f"{error_file}-{name}")
        except Failure as failure:
            say(f"{name} is skipped: {failure}")
    return workers


def turns(names, number):
    """The order of round `number`: each goes the other way round than the one before."""
    return list(names)[:: -1 if number % 2 else 1]


class Peer:
    """A peer that lives through all rounds, so that they can be short; it sleeps in between."""

    def __init__(self, command, threads, cpus, error_file):
        self._command = command
        self._errors = open(error_file, "w+", encoding="utf-8", errors="replace")
        try:
            self._process = _start(command, threads, cpus, stdin=subprocess.PIPE, stderr=self._errors)
        except Failure:
            self._errors.close()
            raise
        try:
            self.version = self._read()["version"]
        except Failure:
            self.close()
            raise

    def _read(self):
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._errors.seek(0)
            raise _failure(self._command, code, self._errors.read())
        return json.loads(line)

    def time_steps(self, batch, seconds):
        return self.ask({"batch": batch, "seconds": seconds})

    def ask(self, request):
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # reading says why
        return self._read()

    def close(self):
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended by itself
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()
