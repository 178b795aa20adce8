"""A training run: what it prints, what it leaves, and that it can be repeated to the bit."""

import glob
import json
import math
import os
import struct

import harness

FILES = ["config.json", "curves.svg", "epochs.csv", "model.safetensors", "steps.csv"]
KEYS = ["status", "data", "epochs", "steps", "train_loss", "test_loss", "test_accuracy", "seconds",
        "step_us", "peak_rss_bytes", "run"]
EPOCH_COLUMNS = ["epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "lr", "seconds",
                 "samples_per_s"]
TENSORS = {"1.weight": [128, 784], "1.bias": [128], "3.weight": [128, 128], "3.bias": [128],
           "5.weight": [128, 128], "5.bias": [128], "7.weight": [10, 128], "7.bias": [10]}


def tensors(path):
    """Header of a safetensors file."""
    data = harness.read(path)
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + size])


class Train(harness.ProgramTest):
    def same_run(self, a, b):
        """Equal in everything but the clock."""
        self.assertEqual(harness.read(self.path(a, "model.safetensors")),
                         harness.read(self.path(b, "model.safetensors")))
        for name, clock in (("epochs.csv", ("seconds", "samples_per_s")), ("steps.csv", ("us",))):
            rows = [[{key: value for key, value in row.items() if key not in clock}
                     for row in self.table(run, name)] for run in (a, b)]
            self.assertEqual(rows[0], rows[1])

    def test_json_is_one_object_with_every_figure(self):
        result = self.train("--json")
        self.assertEqual(result.err, "")
        self.assertEqual(result.out.count("\n"), 1)
        values = result.json
        self.assertEqual(list(values), KEYS)
        self.assertEqual(values["status"], "done")
        self.assertEqual(values["data"], "mnist")
        self.assertEqual((values["epochs"], values["steps"]), (2, 16))
        self.assertEqual(values["run"], self.path("run"))
        for key in KEYS[4:10]:
            self.assertTrue(math.isfinite(values[key]) and values[key] >= 0, key)

    def test_run_folder_is_complete(self):
        values = self.train("--json").json
        self.assertEqual(sorted(os.listdir(self.path("run"))), FILES)
        epochs, steps = self.table("run", "epochs.csv"), self.table("run", "steps.csv")
        self.assertEqual(list(epochs[0]), EPOCH_COLUMNS)
        self.assertEqual(list(steps[0]), ["step", "loss", "lr", "us"])
        self.assertEqual([row["epoch"] for row in epochs], ["1", "2"])
        self.assertEqual([row["step"] for row in steps], [str(i + 1) for i in range(16)])
        self.assertAlmostEqual(float(epochs[1]["test_accuracy"]), values["test_accuracy"], 8)
        self.assertAlmostEqual(float(epochs[1]["test_loss"]), values["test_loss"], 7)
        self.assertAlmostEqual(float(epochs[1]["train_loss"]), values["train_loss"], 7)
        header = tensors(self.path("run", "model.safetensors"))
        self.assertEqual(header.pop("__metadata__")["recipe"], "mnist-mlp")
        self.assertEqual({name: tensor["shape"] for name, tensor in header.items()}, TENSORS)

    def test_curves_are_a_picture_for_light_and_dark(self):
        import xml.dom.minidom
        self.train()
        text = harness.read(self.path("run", "curves.svg")).decode()
        xml.dom.minidom.parseString(text)
        for part in ("prefers-color-scheme:dark", "Loss", "Accuracy", "epoch", "test", "training",
                     "viewBox"):
            self.assertIn(part, text)
        self.assertNotIn("nan", text.lower())

    def test_learns_what_can_be_learnt(self):
        values = self.train("--epochs", 8, "--json").json
        self.assertGreater(values["test_accuracy"], 0.95)
        losses = [float(row["test_loss"]) for row in self.table("run", "epochs.csv")]
        self.assertLess(losses[-1], losses[0] / 2)

    def test_same_seed_same_bits(self):
        self.train(out="a")
        self.train(out="b")
        self.same_run("a", "b")
        self.train("--seed", 2, out="c")
        self.assertNotEqual(harness.read(self.path("a", "model.safetensors")),
                            harness.read(self.path("c", "model.safetensors")))

    def test_threads_and_progress_do_not_change_bits(self):
        self.train("--threads", 1, out="a")
        self.train("--threads", 2, "--json", out="b")
        self.good("train", "mnist-mlp", "--data", self.data(), "--epochs", 2, "--batch-size", 32,
                  "--verbose", "--out", self.path("c"), NACRE_THREADS="3")
        self.same_run("a", "b")
        self.same_run("a", "c")

    def test_config_repeats_the_run(self):
        for number, flags in enumerate([
                ["--seed", 7, "--clip-norm", 0.5],
                ["--optimizer", "sgd", "--lr", 0.1, "--momentum", 0.9, "--schedule", "constant",
                 "--clip-value", 0.01],
                ["--seed", 9223372036854775807, "--lr", 0.1234567890123456789]]):
            a, b = f"a{number}", f"b{number}"
            self.train(*flags, out=a)
            self.good("train", "--config", self.path(a, "config.json"), "--out", self.path(b), "--quiet")
            self.same_run(a, b)
            self.assertEqual(harness.read(self.path(a, "config.json")),
                             harness.read(self.path(b, "config.json")))

    def test_a_memory_limit_is_repeated(self):
        peak = self.good("explain", "mnist-mlp", "--json").json["peak_bytes"]
        self.train("--memory", peak, out="a")
        path = self.path("a", "config.json")
        config = json.loads(harness.read(path))
        self.assertEqual(config["memory"], peak)
        self.good("train", "--config", path, "--out", self.path("b"), "--quiet")
        self.same_run("a", "b")
        harness.write(path, json.dumps({**config, "memory": 1000}).encode())
        self.assert_refused(self.run_nacre("train", "--config", path, "--out", "c", "--quiet"), 1, "the limit is 1000")
        self.good("train", "--config", path, "--memory", 0, "--out", "c", "--quiet")

    def test_flags_win_over_the_config(self):
        self.train(out="a")
        values = self.good("train", "mnist-mlp", "--config", self.path("a", "config.json"), "--epochs", 1,
                           "--out", self.path("b"), "--json").json
        self.assertEqual(values["epochs"], 1)
        config = json.loads(harness.read(self.path("b", "config.json")))
        self.assertEqual((config["epochs"], config["batch_size"]), (1, 32))

    def test_config_is_complete(self):
        self.train()
        config = json.loads(harness.read(self.path("run", "config.json")))
        self.assertEqual(sorted(config), sorted(
            "nacre isa recipe data epochs batch_size optimizer lr schedule momentum clip_norm clip_value "
            "seed threads backend target_accuracy memory".split()))
        self.assertEqual(config["data"], os.path.realpath(self.data()))

    def test_bad_configs_are_explained(self):
        self.train(out="a")
        good = json.loads(harness.read(self.path("a", "config.json")))
        cases = [
            ({"epochz": 3}, ["epochz", "did you mean epochs"]),
            ({"batch-size": 3}, ["batch-size", "batch_size"]),
            ({"json": True}, ["json"]),
            ({"epochs": -1}, ["epochs", "-1"]),
            ({"epochs": 1.5}, ["epochs", "1.5"]),
            ({"epochs": "3"}, ["epochs", "number"]),
            ({"batch_size": 1e30}, ["batch_size"]),
            ({"lr": -0.5}, ["lr", "-0.5"]),
            ({"lr": None}, ["lr"]),
            ({"optimizer": "adm"}, ["optimizer", "adm"]),
            ({"optimizer": 3}, ["optimizer", "string"]),
            ({"recipe": "mnist-mpl"}, ["mnist-mpl"]),
            ({"recipe": 3}, ["recipe"]),
            ({"momentum": 0.9}, ["momentum"]),
        ]
        for change, words in cases:
            with self.subTest(change):
                harness.write(self.path("config.json"), json.dumps({**good, **change}).encode())
                result = self.run_nacre("train", "--config", self.path("config.json"))
                self.assert_refused(result, 2, *words)
        for text, words in ((b"", []), (b"{", []), (b"[]", ["object"]), (b'{"epochs": NaN}', []),
                            (b'{"epochs": 1, "epochs": 2}', ["twice"]), (b"\xff\xfe", [])):
            with self.subTest(text):
                harness.write(self.path("config.json"), text)
                result = self.run_nacre("train", "mnist-mlp", "--config", self.path("config.json"))
                self.assert_refused(result, 1, "config.json", *words)
        self.assert_refused(self.run_nacre("train", "--config", self.path("none.json")), 1, "none.json")
        self.assert_refused(self.run_nacre("train", "--config", self.folder), 1, self.folder)
        self.assertFalse(os.path.exists(self.path("runs")))

    def test_no_epochs_write_the_initial_model(self):
        values = self.train("--epochs", 0, "--json", out="a").json
        self.assertEqual((values["status"], values["epochs"], values["steps"]), ("done", 0, 0))
        self.assertIsNone(values["train_loss"])
        self.assertTrue(math.isfinite(values["test_loss"]))
        self.assertEqual(sorted(os.listdir(self.path("a"))), FILES)
        self.assertEqual(self.table("a", "epochs.csv"), [])
        values = self.train("--lr", 0, "--json", out="b").json
        self.assertEqual(values["status"], "done")
        self.assertEqual(harness.read(self.path("a", "model.safetensors")),
                         harness.read(self.path("b", "model.safetensors")))
        self.assertEqual({float(row["lr"]) for row in self.table("b", "steps.csv")}, {0})

    def test_extreme_rates_do_not_crash(self):
        for optimizer in ("adam", "sgd"):
            for lr in ("1e-10", "1.0", "1e-320"):
                result = self.run_nacre("train", "mnist-mlp", "--data", self.data(), "--epochs", 1, "--lr",
                                        lr, "--optimizer", optimizer, "--json", "--quiet")
                self.assertIn(result.code, (0, 1), result.err)
                self.assertIn(result.json["status"], ("done", "diverged"))

    def test_divergence_names_step_and_op_and_keeps_finite_weights(self):
        for number, flags in enumerate((
                ["--optimizer", "sgd", "--lr", "1e30"], ["--lr", "1e38", "--schedule", "constant"],
                ["--optimizer", "sgd", "--lr", "1e300", "--momentum", "0.9"], ["--lr", "1e300"])):
            with self.subTest(flags):
                out = self.path(f"run{number}")
                result = self.run_nacre("train", "mnist-mlp", "--data", self.data(), "--json", "--quiet",
                                        "--out", out, *flags)
                self.assertEqual(result.code, 1)
                self.assertEqual(result.json["status"], "diverged")
                self.assertEqual(len(result.err.splitlines()), 1)
                self.assertRegex(result.err, r"not a finite number at step \d+, first in \w+")
                self.assertEqual(sorted(os.listdir(out)), FILES)
                evaluated = self.good("evaluate", out, "--json").json
                self.assertTrue(math.isfinite(evaluated["test_loss"]))
                self.assertEqual(evaluated["test_accuracy"], result.json["test_accuracy"])

    def test_target_accuracy_ends_the_run(self):
        values = self.train("--epochs", 20, "--target-accuracy", 0.5, "--json").json
        self.assertEqual(values["status"], "done")
        self.assertLess(values["epochs"], 20)
        rows = self.table("run", "epochs.csv")
        self.assertGreaterEqual(float(rows[-1]["test_accuracy"]), 0.5)
        self.assertTrue(all(float(row["test_accuracy"]) < 0.5 for row in rows[:-1]))
        result = self.run_nacre("train", "mnist-mlp", "--data", self.data(), "--epochs", 1, "--lr", 0,
                                "--target-accuracy", 0.9, "--json", "--quiet", "--out", self.path("b"))
        self.assertEqual((result.code, result.json["status"]), (1, "target_missed"))
        self.assertEqual(sorted(os.listdir(self.path("b"))), FILES)

    def test_smallest_sets_and_batches_train(self):
        for train, batch, steps in ((1, 1, 1), (1, 128, 1), (3, 2, 2), (5, 1, 5), (7, 10 ** 9, 1)):
            with self.subTest((train, batch)):
                values = self.good("train", "mnist-mlp", "--data", self.data(train=train, test=1),
                                   "--batch-size", batch, "--epochs", 2, "--json", "--quiet").json
                self.assertEqual((values["status"], values["steps"]), ("done", 2 * steps))

    def test_reference_backend_gives_the_same_curve(self):
        flags = ("--optimizer", "sgd", "--lr", 0.05)
        self.train(*flags, out="a")
        self.train(*flags, "--backend", "reference", out="b")
        for a, b in zip(self.table("a", "steps.csv"), self.table("b", "steps.csv")):
            self.assertAlmostEqual(float(a["loss"]), float(b["loss"]), delta=1e-5 * float(a["loss"]))

    def test_default_run_folders_are_new_ones(self):
        runs = [self.good("train", "mnist-mlp", "--data", self.data(), "--epochs", 0, "--json",
                          "--quiet").json["run"] for _ in range(4)]
        self.assertEqual(len(set(runs)), 4)
        for run in runs:
            self.assertRegex(run, r"^runs/mnist-mlp/\d{8}T\d{6}Z(-\d+)?$")
        self.assertEqual(len(glob.glob(self.path("runs", "mnist-mlp", "*"))), 4)

    def test_quiet_says_nothing_and_plain_says_an_epoch_a_line(self):
        result = self.train(out="a")
        self.assertEqual((result.out, result.err), ("", ""))
        result = self.good("train", "mnist-mlp", "--data", self.data(), "--epochs", 2, "--out",
                           self.path("b"))
        lines = result.err.splitlines()
        self.assertEqual(len(lines), 2)
        for number, line in enumerate(lines, 1):
            self.assertRegex(line, rf"^Epoch {number}/2: loss = \d+\.\d{{4}}, val_loss = \d+\.\d{{4}}, ")
        self.assertNotIn("\x1b", result.err)
        self.assertIn(self.path("b"), result.out)

    def test_memory_stays_near_the_data(self):
        data = self.real_data()
        if self.info()["build"]["sanitizers"]:
            self.skipTest("a sanitizer's own memory counts")
        values = self.good("train", "mnist-mlp", "--data", data, "--epochs", 1, "--json", "--quiet").json
        self.assertLessEqual(values["peak_rss_bytes"], 70000 * 785 + 30_000_000)


if __name__ == "__main__":
    harness.main()
