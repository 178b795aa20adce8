"""nacre tune: it measures, keeps what it finds in one file, and later runs read it without a changed result."""

import json
import os
import re
import signal
import subprocess
import time

import harness

# Set where everything runs many times slower: under sanitizers, for the coverage.
QUICK = bool(os.environ.get("NACRE_TESTS_QUICK"))
WORKLOADS = "mlp, lenet, vit, gpt, resnet20"
PRODUCT = ["m", "n", "k", "batches", "a_transposed", "b_transposed", "candidates", "rounds", "us_rules",
           "us_best", "best"]
BAD_LINES = [
    (["tune", "mpl"], ["unknown network mpl", WORKLOADS, "mnist-mlp"]),
    (["tune", "mlp", "lenett"], ["unknown network lenett"]),
    (["tune", "mlp", "--threads", "x"], ["--threads"]),
    (["tune", "mlp", "--batch-size", "-1"], ["--batch-size"]),
    (["tune", "mlp", "--seconds", "nan"], ["--seconds"]),
    (["tune", "mlp", "--seconds", "0"], ["--seconds", "0 is too small", "above 0"]),
    (["tune", ""], ['unknown network ""', WORKLOADS]),
    (["tune", *["mlp"] * 65], ["65 networks"]),
]


class Tune(harness.ProgramTest):
    def tune(self, *flags, **environment):
        return self.good("tune", "mlp", "--batch-size", 8, "--threads", 1, "--seconds", 0.2, "--json",
                         *flags, **environment).json

    def table(self):
        """The path of this CPU's table."""
        path = self.info()["tuning"]["file"]
        self.assertEqual(os.path.dirname(path), self.path("share", "nacre", "tuning"))
        return path

    def write_table(self, *entries):
        """A table of this CPU with such entries."""
        path = self.table()
        os.makedirs(os.path.dirname(path), exist_ok=True)
        harness.write(path, b"nacre tuning 1\ncpu another\nend 0\n")
        model = re.search(r"this is (.*); remove", self.good("info").err).group(1)
        head = ["nacre tuning 1", f"cpu {model}"]
        harness.write(path, "\n".join([*head, *entries, f"end {len(entries)}", ""]).encode())
        return path

    def check_table(self, report):
        """There is one with these entries, or none at all where nothing was found."""
        if report["entries"] == 0:
            self.assertEqual((report["file"], self.tree()), ("", []))
            return
        self.assertEqual(report["file"], self.table())
        lines = harness.read(self.table()).decode().splitlines()
        self.assertEqual((lines[0], lines[-1]), ("nacre tuning 1", f"end {report['entries']}"))
        self.assertEqual(len(lines) - 4, report["entries"])

    def test_wrong_usage_is_explained(self):
        for line, words in BAD_LINES:
            with self.subTest(line):
                self.assert_refused(self.run_nacre(*line), 2, *words)
        self.assertEqual(self.tree(), [])

    def test_what_later_runs_do_not_plan_is_not_tuned(self):
        for name, value in (("NACRE_EAGER", "1"), ("NACRE_FUSE", "0")):
            for flags in ([], ["mlp", "--dry-run"]):
                refused = self.run_nacre("tune", *flags, **{name: value})
                self.assert_refused(refused, 1, f"{name}={value}", "unset it")
            self.assert_refused(self.run_nacre("tune", "mpl", **{name: value}), 2, "unknown network mpl")
        self.assertEqual(self.tree(), [])

    def check_verdict(self, network):
        """Kept is only what made the whole step faster by the margin."""
        self.assertEqual(network["kept"], network["verdict"] == "kept")
        if not network["compared"]:
            self.assertIn(network["verdict"], ("nothing_found", "too_little", "interrupted"))
            return
        self.assertGreaterEqual(network["margin"], 0.01)
        gain = 1 - network["us_after"] / network["us_before"]
        if abs(gain - network["margin"]) > 1e-4:
            self.assertEqual(network["kept"], gain > network["margin"], network)

    def test_what_is_found_is_written(self):
        report = self.tune()
        self.assertEqual(list(report), ["isa", "threads", "networks", "entries", "file"])
        network, = report["networks"]
        self.assertEqual((network["name"], network["batch"]), ("mlp", 8))
        self.assertEqual(len(network["products"]), 8)
        for product in network["products"]:
            self.assertEqual(list(product), PRODUCT)
            self.assertTrue(0 < product["us_best"] <= product["us_rules"], product)
            self.assertGreater(product["candidates"], 2)
        better = sum(p["best"] != "as the rules say" for p in network["products"])
        self.assertEqual(network["compared"], better > 0)
        self.assertEqual(network["undecided"], sum(p["rounds"] < 5 for p in network["products"]))
        self.check_verdict(network)
        self.assertEqual(report["entries"], better if network["kept"] else 0)
        self.check_table(report)

    def test_nothing_found_is_nothing_written(self):
        """Too little time for a verdict: the table stays as it was, also where there is none."""
        self.assertEqual(self.tune("--seconds", 0.0001)["file"], "")
        self.assertIn("no table was written", self.good("tune", "mlp", "--threads", 1, "--seconds", 0.001).out)
        self.assertEqual(self.tree(), [])
        path = self.write_table("portable 3 5 6 7 1 7 1 6 1 1 straight - - 20 -")
        os.utime(path, (1, 1))
        self.assertEqual(self.tune("--seconds", 0.0001)["entries"], 1)
        self.assertEqual(os.stat(path).st_mtime, 1)

    def test_a_table_is_printed(self):
        done = self.good("tune", "mlp", "mnist-lenet", "--batch-size", 4, "--threads", 1, "--seconds", 0.1)
        blocks = done.out.split("\n\n")
        self.assertEqual(len(blocks), 3, done.out)
        self.assertTrue(blocks[0].startswith("mlp, batch 4, 1 thread, "), done.out)
        self.assertTrue(blocks[1].startswith("mnist-lenet, batch 4, 1 thread, "), done.out)
        self.assertIn("4x784 . 784x128^T", blocks[0])
        self.assertRegex(blocks[2], "^(" + re.escape(self.table()) + r": \d+ products?|no table was written: .*)\n$")
        self.assertTrue(self.good("tune", "mlp", "--threads", 2, "--seconds", 0.01).out
                        .startswith("mlp, batch 64, 2 threads, "))

    def test_too_little_time_is_told(self):
        out = self.good("tune", "mlp", "--threads", 1, "--seconds", 0.001).out
        self.assertIn("too little was measured of 8 of 8 products", out)
        self.assertIn("give more --seconds", out)
        self.assertNotIn("no way is faster", out)
        network, = self.tune("--seconds", 0.0001)["networks"]
        self.assertEqual((network["verdict"], network["undecided"], network["kept"]), ("too_little", 8, False))

    def test_progress_goes_to_stderr(self):
        done = self.good("tune", "mlp", "lenet", "--threads", 1, "--seconds", 0.05)
        lines = done.err.splitlines()
        self.assertIn("mlp: trying ways of its products, 0.0333 s", lines)
        self.assertIn("lenet: trying ways of its products, 0.0333 s", lines)
        self.assertNotIn("\x1b", done.err)
        self.assertEqual(self.good("tune", "mlp", "--threads", 1, "--seconds", 0.01, "--quiet").err, "")

    def test_each_network_is_printed_when_it_is_ready(self):
        process = subprocess.Popen([harness.PROGRAM, "tune", "mlp", "vit", "--seconds", "0.3", "--threads", "1"],
                                   cwd=self.folder, env=self.environment(), stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        self.assertTrue(process.stdout.readline().startswith(b"mlp, "))
        self.assertIsNone(process.poll())
        out, err = process.communicate(timeout=harness.TIMEOUT)
        self.assertIn(b"vit, batch 64", out, err)

    def test_a_step_that_is_not_faster_keeps_no_entry(self):
        """An entry that was there and is not beaten stays, one that is found must be verified."""
        for _ in range(3):
            report = self.tune("--seconds", 0.5)
            network, = report["networks"]
            self.check_verdict(network)
            if not network["kept"]:
                self.assertEqual(report["entries"], 0)
                break
            os.remove(self.table())

    def test_a_dry_run_writes_nothing(self):
        self.assertEqual(self.tune("--dry-run")["file"], "")
        self.tune("--dry-run", NACRE_TUNING="off")
        self.assertEqual(self.tree(), [])

    def test_a_trained_model_is_a_network_too(self):
        self.train("--epochs", 0)
        for name in ("run", "run/model.safetensors"):
            report = self.good("tune", name, "--batch-size", 8, "--seconds", 0.1, "--json").json
            self.assertEqual(report["networks"][0]["name"], name)
            self.assertEqual(len(report["networks"][0]["products"]), 8)
        harness.write(self.path("bad.safetensors"), b"x")
        self.assert_refused(self.run_nacre("tune", "bad.safetensors"), 1, "bad.safetensors")

    def test_a_table_changes_no_result(self):
        isa = self.info()["isa"]
        self.write_table(*(f"{isa} 1 32 {n} {k} 1 {k} 1 1 {k} 1 turned yes before 13 17"
                           for n, k in ((10, 128), (128, 128), (128, 784))))
        self.train("--threads", 1, out="tuned")
        self.train("--threads", 1, out="untuned", NACRE_TUNING="off")
        self.assertEqual(harness.read(self.path("tuned", "model.safetensors")),
                         harness.read(self.path("untuned", "model.safetensors")))
        checked = self.good("bench", "mlp", "--batch-size", 32, "--threads", 1, "--check", "--json")
        self.assertLessEqual(checked.json["difference"], 1e-4)
        self.assertEqual(checked.err, "")

    def test_explain_shows_what_the_table_chooses_for_so_many_threads(self):
        isa = self.info()["isa"]
        self.write_table(f"{isa} 1 32 128 784 1 784 1 1 784 1 turned yes before 13 17")
        for threads, tuned in ((1, True), (2, False)):
            values = self.good("explain", "mlp", "--batch-size", 32, "--threads", threads, "--json").json
            self.assertEqual(values["threads"], threads)
            self.assertEqual(values["steps"][0]["kernel"], "linear+relu")
            found = values["steps"][0]["way"]
            self.assertEqual(found == "turned, A packed, B packed before, tasks of 2^13, sweeps of 2^17 (tuned)", tuned, found)
            self.assertEqual(sum("(tuned)" in step["way"] for step in values["steps"]), tuned)

    def test_a_corrupt_table_is_told_and_left_alone(self):
        path = self.write_table()
        good = harness.read(path)
        for bad in (b"", b"\0" * 100, good[:-8], good.replace(b"cpu ", b"cpu not "), b"nacre tuning 9\n",
                    good.replace(b"end 0", b"avx2 1 -5\nend 1"), good[:17], good[:20]):
            with self.subTest(bad):
                harness.write(path, bad)
                for command in (["bench", "mlp", "--batch-size", 2, "--seconds", 0],
                                ["explain", "mnist-mlp"]):
                    done = self.good(*command, "--json")
                    self.assertEqual(len(done.err.splitlines()), 1, done.err)
                    self.assertIn(path, done.err)
                    self.assertIn("line ", done.err)
                    self.assertEqual("the file was cut" in done.err, good.startswith(bad), done.err)
                    json.loads(done.out)
                self.assert_refused(self.run_nacre("tune", "mlp"), 1, path, "line ")
                self.assertEqual(harness.read(path), bad)
        self.assertEqual(self.good("bench", "mlp", "--seconds", 0, NACRE_TUNING="off").err, "")
        self.assertEqual(self.good("summary", "mnist-mlp").err, "")

    def test_another_place_is_named_by_the_environment(self):
        named = self.path("mine.txt")
        self.assertIn("mine.txt", self.good("explain", "mnist-mlp", NACRE_TUNING=named).err)
        harness.write(named, harness.read(self.write_table()))
        os.remove(self.table())
        self.assertEqual(self.tune(NACRE_TUNING=named)["file"], named)
        self.assertEqual(self.good("explain", "mnist-mlp", NACRE_TUNING=named).err, "")
        self.assertEqual([name for name in self.tree() if name.endswith(".txt")], ["mine.txt"])
        self.assert_refused(self.run_nacre("tune", "mlp", NACRE_TUNING="off"), 1, "NACRE_TUNING")
        os.mkdir(self.path("folder"))
        self.assert_refused(self.run_nacre("tune", "mlp", NACRE_TUNING=self.path("folder")), 1, "folder")
        self.assert_refused(self.run_nacre("tune", "mlp", NACRE_TUNING=self.path("mine.txt/below/x.txt")), 1, "mine.txt")

    def test_info_tells_which_table_is_read(self):
        self.assertEqual(self.info()["tuning"]["entries"], 0)
        path = self.write_table("portable 3 5 6 7 1 7 1 6 1 1 straight - - 20 -")
        self.assertEqual(self.info()["tuning"], {"file": path, "entries": 1})
        self.assertIn(f"1 product by {path}", self.good("info").out)
        self.assertIn("0 products by no table", self.good("info", NACRE_TUNING="off").out)

    def interrupt(self, until, *names):
        """SIGINT once so many networks have begun; the results and what was said."""
        process = subprocess.Popen([harness.PROGRAM, "tune", *names, "--json"],
                                   cwd=self.folder, env=self.environment(), stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        said = b""
        while said.count(b"trying") < until:
            line = process.stderr.readline()
            self.assertTrue(line, said)
            said += line
        time.sleep(5 if QUICK or self.emulated() else 0.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=harness.TIMEOUT)
        self.assertEqual(process.returncode, 130, err)
        self.assertNotIn(b"nacre tune:", said + err)
        return json.loads(out)

    def test_a_signal_keeps_nothing_that_was_not_verified(self):
        entry = "portable 3 5 6 7 1 7 1 6 1 1 straight - - 20 -"
        path = self.write_table(entry)
        report = self.interrupt(1, "mlp", "gpt", "--seconds", "600")
        network, = report["networks"]
        self.assertEqual((network["name"], network["compared"], network["kept"], network["verdict"]),
                         ("mlp", False, False, "interrupted"))
        self.assertEqual(report["entries"], 1)
        lines = harness.read(path).decode().splitlines()
        self.assertEqual(lines[-2:], [entry, "end 1"])
        self.assertEqual(self.good("explain", "mnist-mlp").err, "")

    def test_a_signal_keeps_networks_that_are_done(self):
        report = self.interrupt(2, "mlp", "vit", "--seconds", "3" if not QUICK else "20")
        done, stopped = report["networks"]
        self.check_verdict(done)
        self.assertEqual(stopped["verdict"], "interrupted")
        better = sum(p["best"] != "as the rules say" for p in done["products"])
        self.assertEqual(report["entries"], better if done["kept"] else 0)
        self.check_table(report)


if __name__ == "__main__":
    harness.main()
