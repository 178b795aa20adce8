"""What the tests of the program share: running it, small data sets, checks that every error must pass.

Standard library only. NACRE_PROGRAM is the program's path; NACRE_DATA, where set, holds real MNIST."""

import csv
import gzip
import json
import os
import platform
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

PROGRAM = os.environ.get("NACRE_PROGRAM") or os.environ.get("NACRE")
SOURCE = os.environ.get("NACRE_SOURCE", os.path.join(os.path.dirname(__file__), "..", ".."))
REAL_DATA = os.environ.get("NACRE_DATA")
TIMEOUT = 120

IMAGES = {True: "train-images-idx3-ubyte", False: "t10k-images-idx3-ubyte"}
LABELS = {True: "train-labels-idx1-ubyte", False: "t10k-labels-idx1-ubyte"}


def idx(shape, data, magic=None):
    """An idx file of u8 values."""
    head = struct.pack(">I", 0x0800 + len(shape) if magic is None else magic)
    return head + b"".join(struct.pack(">I", size) for size in shape) + bytes(data)


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def draw_digit(label, noise):
    """28 x 28 pixels that tell ten classes apart: a bar whose place and direction is the class."""
    pixels = bytearray(28 * 28)
    for along in range(4, 24):
        for across in range(3):
            at = 4 + 4 * (label % 5) + across
            x, y = (along, at) if label < 5 else (at, along)
            pixels[28 * y + x] = 160 + noise.randrange(96)
    return pixels


def make_data(folder, train=256, test=64, seed=1):
    """A folder with the four files of a small set; returns the folder."""
    os.makedirs(folder, exist_ok=True)
    noise = random.Random(seed)
    for is_train, count in ((True, train), (False, test)):
        labels = [i % 10 for i in range(count)]
        noise.shuffle(labels)
        pixels = b"".join(bytes(draw_digit(label, noise)) for label in labels)
        write(os.path.join(folder, IMAGES[is_train]), idx((count, 28, 28), pixels))
        write(os.path.join(folder, LABELS[is_train]), idx((count,), labels))
    return folder


def pgm(pixels, width=28, height=28):
    return b"P5\n%d %d\n255\n" % (width, height) + bytes(pixels)


def png(pixels, width, height):
    """A grey 8-bit PNG."""
    import zlib

    def chunk(kind, data):
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    rows = b"".join(b"\0" + bytes(pixels[width * y:width * (y + 1)]) for y in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def real_mnist():
    """(images, labels) of the real test set as bytes, or None."""
    for folder in (REAL_DATA and os.path.join(REAL_DATA, "mnist"), REAL_DATA):
        for suffix, opener in (("", open), (".gz", gzip.open)):
            path = folder and os.path.join(folder, IMAGES[False] + suffix)
            if path and os.path.exists(path):
                with opener(path, "rb") as images:
                    with opener(os.path.join(folder, LABELS[False] + suffix), "rb") as labels:
                        return images.read()[16:], labels.read()[8:]
    return None


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def json(self):
        return json.loads(self.out)


class ProgramTest(unittest.TestCase):
    """Each test has an empty folder self.folder, in which the program runs."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="nacre-cli-")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def environment(self, **changes):
        """This process's, without what would lead the program elsewhere."""
        environment = {key: value for key, value in os.environ.items()
                       if key not in ("NACRE_DATA", "NACRE_THREADS", "NACRE_EAGER", "NACRE_FUSE",
                                      "NACRE_TUNING", "NO_COLOR")}
        environment.update(HOME=self.folder, XDG_CACHE_HOME=self.path("cache"),
                           XDG_DATA_HOME=self.path("share"), NACRE_MNIST_URL="http://127.0.0.1:9/",
                           GCOV_ERROR_FILE=os.devnull)
        environment.update({key: value for key, value in changes.items() if value is not None})
        return environment

    def run_nacre(self, *arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, before=None,
                  **environment):
        if before:  # limits on the process: a coverage build must not break its counts on them
            environment.setdefault("GCOV_PREFIX", self.path("gcov"))
        done = subprocess.run([PROGRAM, *map(str, arguments)], cwd=self.folder, stdin=stdin,
                              stdout=stdout, stderr=subprocess.PIPE, timeout=TIMEOUT, preexec_fn=before,
                              env=self.environment(**environment))
        return Result(done.returncode, (done.stdout or b"").decode(), done.stderr.decode())

    def info(self):
        return self.good("info", "--json").json

    def has(self, library):
        return any(entry["name"] == library and entry["found"] for entry in self.info()["libraries"])

    def real_data(self):
        """A folder with real MNIST that this build can read; skips the test where there is none."""
        if not real_mnist():
            self.skipTest("NACRE_DATA does not hold MNIST")
        if self.emulated():
            self.skipTest("too slow under emulation")
        if self.has("zlib"):
            return REAL_DATA
        folder = self.path("real")
        os.makedirs(folder, exist_ok=True)
        for name in [*IMAGES.values(), *LABELS.values()]:
            for source in (os.path.join(REAL_DATA, "mnist"), REAL_DATA):
                packed = os.path.join(source, name + ".gz")
                if os.path.exists(packed):
                    with gzip.open(packed, "rb") as file:
                        write(os.path.join(folder, name), file.read())
                elif os.path.exists(os.path.join(source, name)):
                    shutil.copy(os.path.join(source, name), folder)
        return folder

    def emulated(self):
        return platform.machine() not in self.info()["build"]["system"]

    def good(self, *arguments, **options):
        result = self.run_nacre(*arguments, **options)
        self.assertEqual(result.code, 0, f"{arguments}: {result.err}")
        return result

    def data(self, **sizes):
        folder = self.path("data-%s" % "-".join(map(str, sizes.values())))
        return folder if os.path.isdir(folder) else make_data(folder, **sizes)

    def train(self, *flags, out="run", **options):
        """A short training run on the small set."""
        return self.good("train", "mnist-mlp", "--data", self.data(), "--epochs", 2, "--batch-size", 32,
                         "--out", self.path(out), "--quiet", *flags, **options)

    def tree(self):
        return sorted(os.path.relpath(os.path.join(at, name), self.folder)
                      for at, folders, files in os.walk(self.folder) for name in folders + files)

    def assert_refused(self, result, code, *words):
        """One line on stderr with all the words (a usage error may have a hint line), nothing on
        stdout."""
        lines = result.err.splitlines()
        self.assertEqual(result.code, code, result.err)
        self.assertTrue(lines, "nothing on stderr")
        self.assertLessEqual(len(lines), 2 if code == 2 else 1, result.err)
        if len(lines) == 2:
            self.assertRegex(lines[1], "^'nacre help")
        self.assertRegex(lines[0], r"^nacre( [a-z]+)?: ")
        self.assertEqual(result.out, "")
        for word in words:
            self.assertIn(str(word), lines[0])

    def table(self, *names):
        with open(self.path(*names), newline="") as file:
            return list(csv.DictReader(file))


def main():
    if not PROGRAM or not os.path.exists(PROGRAM):
        print("NACRE_PROGRAM does not name the program", file=sys.stderr)
        sys.exit(77)
    unittest.main(module="__main__", verbosity=1)
