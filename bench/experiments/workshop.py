"""What every experiment needs: programs built and run, ways that take turns, a folder for the work."""

import os
import subprocess
import sys

import machine
import processes
import sample

TARGETS = ("nacre_program", "bench_losses", "bench_experiments")
PROGRAMS = ("nacre", "bench/losses", "bench/experiments")  # what they make


class Workshop:
    def __init__(self, options, root, work, say):
        self.root, self.work, self.say, self.build = root, work, say, os.path.abspath(options.build)
        # The last CPU first: interrupts and other programs that pin themselves choose the first.
        self.cpus, self.errors = machine.usable_cpus()[::-1], os.path.join(work, "stderr")
        self.threads = machine.thread_counts()
        self.check, self.quick = options.check, options.quick and not options.check
        self.full = not self.check and not self.quick
        self.rounds = options.rounds or (1 if self.check else 2 if self.quick else 8)
        self.seconds = 0.01 if self.check else 0.15 if self.quick else 0.4  # of one turn
        self.can_build = not options.no_build
        if self.can_build:
            self.make(self.build)
        lacking = [name for name in PROGRAMS if not os.path.exists(self.program(name))]
        if lacking:
            raise processes.Failure(f"{os.path.relpath(self.build)} lacks {', '.join(lacking)}; leave out --no-build")
        self.data = self._data(options.data or os.environ.get("NACRE_DATA"))

    def _data(self, named):
        """--check trains on a few made-up pictures."""
        if not self.check:
            return named
        folder = os.path.join(self.work, "pictures")
        sample.write_small_mnist(folder, 256)
        return folder

    def make(self, folder, *flags):
        self.say(f"building {os.path.relpath(folder)}")
        commands = [["cmake", "--build", folder, "--target", *TARGETS]]
        if not os.path.exists(os.path.join(folder, "CMakeCache.txt")):
            commands.insert(0, ["cmake", "--preset", "release", "-B", folder, *flags])
        for command in commands:
            try:
                done = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=False)
            except OSError as error:
                raise processes.Failure(f"{error}; install cmake and ninja, or run ./quickstart once") from None
            if done.returncode != 0:
                sys.stderr.write(done.stdout + done.stderr)
                raise processes.Failure(f"{os.path.relpath(folder)}: the build failed")

    def program(self, name, build=None):
        return os.path.join(build or self.build, name)

    def run(self, command, threads=1, allowed=(0,)):
        return processes.run(command, threads, self.cpus[:threads], self.errors, allowed)

    def json(self, command, threads=1, allowed=(0,)):
        return processes.run_json(command, threads, self.cpus[:threads], self.errors, allowed)

    def peers_python(self):
        """The Python with the peers, which bench/run sets up; None where it has not."""
        python = os.path.join(self.root, "build", "bench-venv", "bin", "python")
        return python if os.path.exists(python) and not self.check else None

    def in_turn(self, ways, what, rounds=None):
        """{name: function} -> {name: [result of each round]}; each round goes the other way round."""
        results = {name: [] for name in ways}
        rounds = rounds or self.rounds
        for number in range(rounds):
            self.say(f"{what}: round {number + 1} of {rounds}")
            for name in processes.turns(ways, number):
                results[name].append(ways[name]())
        return results

    def train(self, words, build=None, prefix=(), threads=1):
        """One training run on MNIST: what it prints, with the seconds and the folder."""
        out = os.path.join(self.work, f"run-{len(os.listdir(self.work))}")
        command = [*prefix, self.program("nacre", build), "train", "mnist-mlp", *words.split(), "--json", "--quiet"]
        command += ["--threads", str(threads), "--out", out] + (["--data", self.data] if self.data else [])
        answer, outcome = self.json(command, threads, allowed=(0, 1))
        return {**answer, "seconds": outcome.seconds, "out": out}
