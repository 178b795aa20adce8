"""Signals and broken outputs: a run that is stopped keeps what it has, and says so."""

import json
import os
import signal
import subprocess
import time

import harness
from test_train import FILES


class Interrupt(harness.ProgramTest):
    def start(self, *flags, **options):
        return subprocess.Popen([harness.PROGRAM, "train", "mnist-mlp", "--data", self.data(), "--epochs",
                                 "100000", "--batch-size", "16", "--out", self.path("run"), *flags],
                                cwd=self.folder, env=self.environment(), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)

    def wait_for_epochs(self, process, count=2):
        table = self.path("run", "epochs.csv")
        for _ in range(6000):
            if os.path.exists(table) and harness.read(table).count(b"\n") > count:
                return
            self.assertIsNone(process.poll(), "ended by itself")
            time.sleep(0.01)
        self.fail("no epoch within a minute")

    def check_saved(self, values):
        self.assertEqual(sorted(os.listdir(self.path("run"))), FILES)
        steps = harness.read(self.path("run", "steps.csv"))
        self.assertTrue(steps.endswith(b"\n"))
        self.assertEqual(steps.count(b"\n"), values["steps"] + 1)
        self.assertEqual(len(self.table("run", "epochs.csv")), values["epochs"])
        evaluated = self.good("evaluate", self.path("run"), "--json").json
        self.assertEqual(evaluated["test_accuracy"], values["test_accuracy"])
        self.assertEqual(evaluated["test_loss"], values["test_loss"])

    def test_a_signal_saves_the_run_and_prints_its_object(self):
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            with self.subTest(number), self.start("--json", "--quiet") as process:
                self.wait_for_epochs(process)
                process.send_signal(number)
                out, err = process.communicate(timeout=harness.TIMEOUT)
                self.assertEqual(process.returncode, code, err)
                self.assertEqual(err, b"")
                self.assertEqual(out.count(b"\n"), 1)
                values = json.loads(out)
                self.assertEqual(values["status"], "interrupted")
                self.check_saved(values)
            for name in os.listdir(self.path("run")):
                os.remove(self.path("run", name))

    def test_a_signal_reaches_a_run_in_the_background(self):
        """A shell without job control starts background programs with SIGINT ignored."""
        def ignore():
            signal.signal(signal.SIGINT, signal.SIG_IGN)

        with self.start("--quiet", preexec_fn=ignore) as process:
            self.wait_for_epochs(process)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=harness.TIMEOUT)
            self.assertEqual(process.returncode, 130)

    def test_a_signal_before_the_first_step_ends_too(self):
        for delay in (0, 0.005, 0.02, 0.05):
            with self.start("--json", "--quiet") as process:
                time.sleep(delay)
                process.send_signal(signal.SIGTERM)
                out, err = process.communicate(timeout=harness.TIMEOUT)
                self.assertIn(process.returncode, (143, -signal.SIGTERM), err)
                if out:
                    self.assertEqual(json.loads(out)["status"], "interrupted")
            self.good("train", "mnist-mlp", "--data", self.data(), "--epochs", 0, "--quiet")
            if os.path.isdir(self.path("run")):
                for name in os.listdir(self.path("run")):
                    os.remove(self.path("run", name))

    def test_a_second_signal_stops_at_once(self):
        with self.start("--backend", "reference", "--quiet") as process:
            for _ in range(6000):
                if os.path.exists(self.path("run", "steps.csv")):
                    break
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=harness.TIMEOUT)
            self.assertIn(process.returncode, (130, 143))

    def test_a_reader_that_has_enough_is_nothing_to_tell_about(self):
        reader, pipe = os.pipe()
        os.close(reader)
        for command in (["explain", "mnist-mlp"], ["info"], ["summary", "mnist-mlp", "--json"], ["help"],
                        ["bench", "kernels", "--list"]):
            with self.subTest(command):
                result = self.run_nacre(*command, stdout=pipe)
                self.assertEqual((result.code, result.err), (128 + signal.SIGPIPE, ""))
        os.close(pipe)

    def test_results_that_nobody_can_read_are_an_error(self):
        closed = os.open(os.devnull, os.O_RDONLY)
        full = os.open("/dev/full", os.O_WRONLY)
        self.train()
        for command in (["train", "mnist-mlp", "--data", self.data(), "--epochs", 0, "--json"],
                        ["evaluate", self.path("run"), "--json"], ["summary", "mnist-mlp"],
                        ["info", "--json"], ["help"], ["help", "train"], ["--version"]):
            for stdout in (closed, full):
                with self.subTest((command, stdout)):
                    result = self.run_nacre(*command, stdout=stdout)
                    self.assertEqual(result.code, 1)
                    self.assertEqual(len(result.err.splitlines()), 1, result.err)
                    self.assertIn("stdout", result.err)
        result = self.run_nacre("train", "mnist-mlp", "--data", self.data(), "--epochs", 1, "--json",
                                "--quiet", stdout=None, before=lambda: os.close(1))
        self.assertEqual(result.code, 1)
        self.assertIn("stdout", result.err)
        for descriptor in (closed, full):
            os.close(descriptor)

    def test_a_closed_stderr_does_not_stop_a_run(self):
        done = subprocess.run([harness.PROGRAM, "train", "mnist-mlp", "--data", self.data(), "--epochs",
                               "2", "--json", "--out", self.path("run")], cwd=self.folder,
                              env=self.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              preexec_fn=lambda: os.close(2), timeout=harness.TIMEOUT)
        self.assertEqual(done.returncode, 0)
        self.assertEqual(json.loads(done.stdout)["status"], "done")
        for name in FILES:
            self.assertNotIn(b"Epoch", harness.read(self.path("run", name)))


if __name__ == "__main__":
    harness.main()
