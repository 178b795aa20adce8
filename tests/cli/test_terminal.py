"""What a person at a terminal sees, and what happens without data and without a network."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios

import harness


class Terminal(harness.ProgramTest):
    def on_terminal(self, *flags, columns=100, line=None, **environment):
        """stderr of a training run, or of another command line, as a terminal of this width receives it."""
        line = line or ["train", "mnist-mlp", "--data", self.data(train=600, test=16), "--epochs", "3",
                        "--batch-size", "4"]
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        environment = self.environment(**{"TERM": "xterm", "LC_ALL": "C.UTF-8", **environment})
        process = subprocess.Popen([harness.PROGRAM, *line, *flags], cwd=self.folder, env=environment,
                                   stderr=slave, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        os.close(slave)
        received = b""
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:
                break
            if not data:
                break
            received += data
        process.communicate(timeout=harness.TIMEOUT)
        os.close(master)
        self.assertEqual(process.returncode, 0, received)
        return received.decode().replace("\r\n", "\n")

    def test_one_live_line_per_epoch(self):
        text = self.on_terminal()
        lines = text.rstrip("\n").split("\n")
        self.assertEqual(len(lines), 3)
        for number, line in enumerate(lines, 1):
            drawn = line.split("\r")
            self.assertEqual(drawn[0], "")
            self.assertIn(f"Epoch {number}/3", drawn[-1])
            for part in ("samples/s", "loss", "accuracy", "━"):
                self.assertIn(part, drawn[-1])
            for frame in drawn[1:-1]:
                self.assertIn("left", frame)

    def test_tuning_draws_a_bar_and_takes_it_away(self):
        line = ["tune", "mlp", "--seconds", "1", "--threads", "1"]
        text = self.on_terminal(line=line)
        frames = text.split("\r")
        self.assertTrue(any("trying ways" in frame and "━" in frame and "left" in frame for frame in frames))
        self.assertNotIn("\n", text)
        self.assertEqual(frames[-1], "\x1b[K")
        plain = self.on_terminal(line=line, NO_COLOR="1", LC_ALL="C")
        self.assertNotRegex(plain, r"\x1b\[[0-9;]*m")
        self.assertIn("mlp: trying ways", self.on_terminal(line=line, TERM="dumb"))
        self.assertEqual(self.on_terminal("--quiet", line=line), "")

    def test_no_frame_is_wider_than_the_window(self):
        for columns in (20, 79, 200):
            for frame in re.split(r"[\r\n]", self.on_terminal(columns=columns)):
                plain = re.sub(r"\x1b\[[0-9;]*[mK]", "", frame)
                self.assertLess(len(plain), columns)

    def test_no_color_and_plain_letters(self):
        self.assertIn("\x1b[36m", self.on_terminal())
        text = self.on_terminal(NO_COLOR="1", LC_ALL="C")
        self.assertNotRegex(text, r"\x1b\[[0-9;]*m")
        self.assertIn("###", text)
        text.encode("ascii")

    def test_verbose_and_simple_terminals_get_lines(self):
        for text in (self.on_terminal("--verbose"), self.on_terminal(TERM="dumb")):
            self.assertNotIn("\x1b", text)
            self.assertNotIn("\r", text)
            self.assertEqual(len(re.findall(r"^Epoch \d/3: loss = ", text, re.M)), 3)
        self.assertEqual(self.on_terminal("--quiet"), "")


class Offline(harness.ProgramTest):
    def test_what_flags_tell_is_refused_before_anything_is_downloaded(self):
        """One line each: none says that a download was tried."""
        for flags, words in ((["--memory", 1000], ["the limit is 1000", "largest at its peak"]),
                             (["--memory", 1000, "--batch-size", 1000000], ["the limit is 1000"]),
                             (["--memory", 1000, "--data", "procedural"], ["the limit is 1000"]),
                             (["--trace", "nowhere/trace.json"], ["--trace", "nowhere/trace.json"]),
                             (["--trace", "/dev/null"], ["--trace", "/dev/null", "give the path of a file"])):
            with self.subTest(flags):
                self.assert_refused(self.run_nacre("train", "mnist-mlp", "--epochs", 1, *flags), 1, *words)
        self.assertEqual(self.tree(), [])
        result = self.good("train", "mnist-mlp", "--epochs", 1, "--memory", 10000000, "--out", "run")
        self.assertIn("download", result.err)
        self.assertIn("done after 1 epoch, 157 steps, ", result.out)

    def test_drawn_digits_stand_in_with_a_warning(self):
        result = self.good("train", "mnist-mlp", "--epochs", 1, "--json", "--quiet", "--out",
                           self.path("run"))
        self.assertRegex(result.err.splitlines()[-1], "^nacre train: warning: MNIST")
        self.assertEqual(result.json["data"], "procedural")
        self.assertGreater(result.json["test_accuracy"], 0.5)
        evaluated = self.good("evaluate", self.path("run"), "--json")
        self.assertEqual(evaluated.err, "")
        self.assertEqual(evaluated.json["test_accuracy"], result.json["test_accuracy"])
        self.assertEqual(evaluated.json["test_loss"], result.json["test_loss"])

    def test_a_run_on_drawn_digits_is_repeated_on_them(self):
        """Even where real ones have turned up since."""
        self.good("train", "mnist-mlp", "--data", "procedural", "--epochs", 0, "--quiet", "--out",
                  self.path("a"))
        harness.make_data(self.path("data"))
        result = self.good("train", "--config", self.path("a", "config.json"), "--json", "--quiet",
                           "--out", self.path("b"))
        self.assertEqual(result.json["data"], "procedural")
        self.assertEqual(self.good("train", "mnist-mlp", "--epochs", 0, "--json", "--quiet").json["data"],
                         "mnist")


if __name__ == "__main__":
    harness.main()
