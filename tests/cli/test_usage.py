"""What a wrong command line gets: exit code 2, a line that names the flag, and nothing done."""

import re

import harness

TRAIN = ("train", "mnist-mlp")

# flag, value, words of the message
BAD_VALUES = [
    ("--batch-size", "0", ["--batch-size", "0 is too small", "from 1"]),
    ("--batch-size", "-1", ["--batch-size", "-1 is too small"]),
    ("--batch-size", "100000000000000000000", ["--batch-size", "too large"]),
    ("--batch-size", "10^20", ["--batch-size", "10^20 is not a whole number"]),
    ("--batch-size", "1e3", ["--batch-size", "not a whole number"]),
    ("--batch-size", "12x", ["--batch-size", "12x"]),
    ("--batch-size", "", ["--batch-size"]),
    ("--batch-size", " 8", ["--batch-size"]),
    ("--epochs", "-1", ["--epochs", "-1"]),
    ("--epochs", "1.5", ["--epochs", "1.5"]),
    ("--epochs", "99999999999999999999999", ["--epochs", "too large"]),
    ("--lr", "nan", ["--lr", "nan"]),
    ("--lr", "inf", ["--lr", "inf"]),
    ("--lr", "-1", ["--lr", "-1 is too small"]),
    ("--lr", "abc", ["--lr", "abc"]),
    ("--lr", "0x1p3", ["--lr", "0x1p3"]),
    ("--lr", "1e999", ["--lr", "too large"]),
    ("--lr", "1e-400", ["--lr", "too close to 0"]),
    ("--lr", "1e", ["--lr"]),
    ("--lr", ".", ["--lr"]),
    ("--momentum", "1", ["--momentum", "too large"]),
    ("--momentum", "-0.1", ["--momentum"]),
    ("--clip-norm", "-1", ["--clip-norm"]),
    ("--clip-value", "nan", ["--clip-value"]),
    ("--seed", "-1", ["--seed"]),
    ("--seed", "9223372036854775808", ["--seed", "too large"]),
    ("--threads", "-1", ["--threads"]),
    ("--threads", "100000", ["--threads", "1024"]),
    ("--target-accuracy", "98", ["--target-accuracy", "at most 1"]),
    ("--optimizer", "adm", ["--optimizer", "did you mean adam"]),
    ("--schedule", "linear", ["--schedule", "onecycle or constant"]),
    ("--backend", "cuda", ["--backend", "cpu or reference"]),
    ("--data", "", ["--data", "empty"]),
    ("--out", "", ["--out", "empty"]),
]

# command line, words of the message
BAD_LINES = [
    ([], ["no command"]),
    (["trian"], ["trian", "did you mean train"]),
    (["frobnicate"], ["frobnicate"]),
    (["--frobnicate"], ["--frobnicate"]),
    (["help", "trian"], ["did you mean train"]),
    (["help", "train", "bench"], ["bench"]),
    (["train"], ["no recipe", "mnist-mlp or mnist-lenet"]),
    (["train", "mnist-mpl"], ["mnist-mpl", "did you mean mnist-mlp"]),
    (["train", "mnist-mlp", "twice"], ["twice"]),
    ([*TRAIN, "--epoch", "1"], ["--epoch", "did you mean --epochs"]),
    ([*TRAIN, "--batchsize=1"], ["--batchsize", "did you mean --batch-size"]),
    ([*TRAIN, "--xyzzy"], ["--xyzzy"]),
    ([*TRAIN, "-x"], ["-x"]),
    ([*TRAIN, "-1"], ["-1"]),
    ([*TRAIN, "--epochs"], ["--epochs", "needs a value"]),
    ([*TRAIN, "--out", "--json"], ["--out", "needs a value"]),
    ([*TRAIN, "--json=yes"], ["--json", "no value"]),
    ([*TRAIN, "--momentum", "0.9"], ["--momentum", "sgd"]),
    ([*TRAIN, "--quiet", "--verbose"], ["--quiet", "--verbose"]),
    (["evaluate"], ["no model"]),
    (["evaluate", "a", "b"], ["b"]),
    (["predict"], ["no model"]),
    (["predict", "a"], ["no picture"]),
    (["summary"], ["no recipe"]),
    (["summary", "mnist"], ["mnist", "mnist-mlp"]),
    (["train", ""], ['unknown recipe ""', "mnist-mlp or mnist-lenet"]),
    ([""], ['unknown command ""', "train"]),
    (["explain"], ["no network", "mlp, lenet, vit, gpt, resnet20, mnist-mlp or mnist-lenet"]),
    (["explain", ""], ['unknown network ""', "mlp, lenet, vit, gpt, resnet20"]),
    (["explain", "mnist"], ["unknown network mnist", "mnist-mlp or mnist-lenet"]),
    (["explain", "mlp", "lenet"], ["lenet is one argument too many"]),
    (["explain", "mnist-mlp", "--batch-size", "-1"], ["--batch-size"]),
    (["explain", "mnist-mlp", "--batch-size", "100001"], ["--batch-size"]),
    (["explain", "mlp", "--threads", "1025"], ["--threads"]),
    (["explain", "mnist-mlp", "--width", "8"], ["--width", "mnist-mlp has none"]),
    (["explain", "resnet20", "--depth", "8"], ["--depth", "resnet20 has none"]),
    (["explain", "vit", "--sequence-length", "8"], ["--sequence-length", "vit has none"]),
    (["explain", "gpt", "--width", "30"], ["--width", "multiple of the 4 heads"]),
    (["train", "mnist-lnet"], ["mnist-lnet", "did you mean mnist-lenet"]),
    (["info", "more"], ["more"]),
]


class Usage(harness.ProgramTest):
    def test_bad_values_are_named_with_what_is_allowed(self):
        for flag, value, words in BAD_VALUES:
            for form in ([flag, value], [f"{flag}={value}"]):
                with self.subTest(form):
                    self.assert_refused(self.run_nacre(*TRAIN, *form), 2, *words)
        self.assertEqual(self.tree(), [])

    def test_bad_lines_are_explained(self):
        for line, words in BAD_LINES:
            with self.subTest(line):
                self.assert_refused(self.run_nacre(*line), 2, *words)
        self.assertEqual(self.tree(), [])

    def test_an_error_stays_one_line_whatever_the_argument_holds(self):
        for argument in ("a\nb", "\x1b[31mred", "x" * 5000):
            result = self.run_nacre("train", argument)
            self.assert_refused(result, 2)
            self.assertNotIn("\x1b", result.err)
        self.assert_refused(self.run_nacre(*TRAIN, "--data", "/nowhere\nnext"), 1, "next")

    def test_help_lists_every_flag_and_its_default(self):
        for command in ("train", "evaluate", "predict", "summary", "explain", "bench", "tune", "info"):
            text = self.good("help", command).out
            self.assertEqual(text, self.good(command, "--help").out)
            self.assertIn(f"nacre {command}", text)
            self.assertIn("--json", text)
            self.assertIn(f"nacre {command}", self.good("help").out)
        text = self.good("help", "train").out
        for flag in ("data config epochs batch-size optimizer lr schedule momentum clip-norm clip-value "
                     "seed threads backend target-accuracy out json quiet verbose help").split():
            self.assertIn(f"--{flag} ", text.replace("\n", " "))
        for default in ("(default 10)", "(default 128)", "(default adam)", "(default 0.004)",
                        "(default onecycle)", "(default 1)", "(default cpu)"):
            self.assertIn(default, text)

    def test_version_and_overview(self):
        self.assertRegex(self.good("--version").out, r"^nacre \d+\.\d+\.\d+\S*\n$")
        for form in (["help"], ["--help"], ["-h"], ["help", "help"]):
            text = self.good(*form).out
            self.assertIn("nacre train", text)
            columns = {line.index(line.split("  ", 2)[2].lstrip()) for line in text.splitlines()
                       if line.startswith("  nacre ") and len(line.split("  ", 2)) > 2}
            self.assertEqual(len(columns), 1, text)
            self.assertEqual(re.findall(r"^  (NACRE_\w+)", text, re.MULTILINE), [
                "NACRE_DATA", "NACRE_THREADS", "NACRE_ISA", "NACRE_FUSE", "NACRE_EAGER", "NACRE_TUNING",
                "NACRE_MNIST_URL"])


if __name__ == "__main__":
    harness.main()
