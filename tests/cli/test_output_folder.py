"""Output folders that will not do: nothing is overwritten and nothing partial stays."""

import os
import resource
import subprocess

import harness
from test_train import FILES


class OutputFolder(harness.ProgramTest):
    def refused(self, out, *words, before=None):
        result = self.run_nacre("train", "mnist-mlp", "--data", self.data(), "--epochs", 1, "--json",
                                "--quiet", "--out", out, before=before)
        self.assert_refused(result, 1, *words)

    def test_a_folder_in_use_is_left_alone(self):
        os.mkdir(self.path("run"))
        harness.write(self.path("run", "model.safetensors"), b"precious")
        self.refused(self.path("run"), "--out", "not empty")
        self.assertEqual(os.listdir(self.path("run")), ["model.safetensors"])
        self.assertEqual(harness.read(self.path("run", "model.safetensors")), b"precious")

    def test_an_earlier_run_is_left_alone(self):
        self.train()
        before = {name: harness.read(self.path("run", name)) for name in FILES}
        self.refused(self.path("run"), "--out", "not empty")
        self.assertEqual(before, {name: harness.read(self.path("run", name)) for name in FILES})

    def test_a_file_in_the_way_is_left_alone(self):
        harness.write(self.path("file"), b"precious")
        self.refused(self.path("file"), "--out", "file")
        self.refused(self.path("file", "below"), "--out", "file")
        self.assertEqual(harness.read(self.path("file")), b"precious")
        harness.write(self.path("runs"), b"precious")
        result = self.run_nacre("train", "mnist-mlp", "--data", self.data(), "--epochs", 1)
        self.assert_refused(result, 1, "runs")
        self.assertEqual(harness.read(self.path("runs")), b"precious")

    def test_an_empty_folder_and_a_deep_new_one_will_do(self):
        os.mkdir(self.path("run"))
        self.train()
        self.train(out="a/b/c/")
        self.assertEqual(sorted(os.listdir(self.path("a/b/c"))), FILES)

    def test_a_folder_without_permission_is_refused(self):
        if os.geteuid() == 0:
            self.skipTest("root may write anywhere")
        os.mkdir(self.path("locked"), 0o500)
        self.refused(self.path("locked"), "--out", "locked")
        self.refused(self.path("locked", "below"), "--out", "locked")
        self.assertEqual(os.listdir(self.path("locked")), [])

    def test_a_place_where_nothing_can_be_made_is_refused(self):
        self.refused("/proc/nacre-run", "/proc/nacre-run")
        self.refused(self.path("x" * 300), "--out")
        self.refused("a/" * 3000, "--out")

    def test_a_full_disk_leaves_nothing_behind(self):
        disk = self.path("disk")
        os.mkdir(disk)
        for size in ("4k", "16k", "128k", "500k"):
            if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk],
                              stderr=subprocess.DEVNULL).returncode:
                self.skipTest("this user may not mount a small disk")
            try:
                self.refused(os.path.join(disk, "run"), os.path.join(disk, "run"), "No space left")
                self.assertEqual(os.listdir(disk), [])
            finally:
                subprocess.run(["umount", disk], check=True)

    def test_a_disk_that_fills_up_keeps_the_weights(self):
        """Room for the weights when the run begins, taken by steps.csv when it ends."""
        disk, data = self.path("disk"), self.data()
        os.mkdir(disk)
        for size in ("760k", "1000k"):
            if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk],
                              stderr=subprocess.DEVNULL).returncode:
                self.skipTest("this user may not mount a small disk")
            try:
                run = os.path.join(disk, "run")
                result = self.run_nacre("train", "mnist-mlp", "--data", data, "--epochs", 300,
                                        "--batch-size", 4, "--json", "--quiet", "--out", run)
                self.assert_refused(result, 1, "steps.csv", "make room or give another --out")
                self.good("evaluate", run, "--json")
            finally:
                subprocess.run(["umount", disk], check=True)

    def test_a_limit_of_open_files_is_not_called_a_full_disk(self):
        def before():
            resource.setrlimit(resource.RLIMIT_NOFILE, (5, 5))
        self.data()
        result = self.run_nacre("train", "mnist-mlp", "--data", self.data(), "--epochs", 1, "--quiet",
                                "--out", self.path("run"), before=before)
        self.assert_refused(result, 1, "Too many open files")
        self.assertNotIn("make room", result.err)

    def test_a_write_error_leaves_nothing_partial(self):
        """A file size limit fails writes where there seemed to be room."""
        self.data()
        for limit in (0, 10, 100, 1000, 20_000, 400_000):
            def before():
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            with self.subTest(limit):
                self.refused(self.path("run"), self.path("run"), before=before)
                self.assertFalse(os.path.exists(self.path("run")))

    def test_a_table_that_cannot_grow_keeps_the_weights(self):
        """The weights fit, steps.csv does not: the run stops and the weights stay."""
        if self.emulated():
            self.skipTest("too slow under emulation")

        def before():
            resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))

        data = self.data(train=20000, test=10)
        result = self.run_nacre("train", "mnist-mlp", "--data", data, "--epochs", 1, "--batch-size", 1,
                                "--json", "--quiet", "--out", self.path("run"), before=before)
        self.assert_refused(result, 1, "steps.csv", "File too large")
        self.assertIn("model.safetensors", os.listdir(self.path("run")))
        self.assertTrue(set(os.listdir(self.path("run"))) <= set(FILES))
        steps = harness.read(self.path("run", "steps.csv"))
        self.assertTrue(steps.endswith(b"\n"))
        self.good("evaluate", self.path("run"), "--json")


if __name__ == "__main__":
    harness.main()
