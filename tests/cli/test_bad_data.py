"""What bad data gets: exit code 1, one line that names the file, and no file left behind."""

import gzip
import os
import struct

import harness

TRAIN_IMAGES, TRAIN_LABELS = harness.IMAGES[True], harness.LABELS[True]
TEST_IMAGES, TEST_LABELS = harness.IMAGES[False], harness.LABELS[False]


class BadData(harness.ProgramTest):
    def folder_with(self, name, change):
        """A good small set whose file `name` has been through `change`."""
        folder = harness.make_data(self.path("bad"), train=20, test=10)
        path = os.path.join(folder, name)
        harness.write(path, change(harness.read(path)))
        return folder

    def refused(self, folder, *words, **environment):
        before = self.tree()
        result = self.run_nacre("train", "mnist-mlp", "--data", folder, "--json", **environment)
        self.assert_refused(result, 1, *words)
        result = self.run_nacre("train", "mnist-mlp", "--data", folder, "--out", self.path("run"))
        self.assert_refused(result, 1, *words)
        self.assertEqual(self.tree(), before)

    def test_missing_and_empty_folders(self):
        self.refused(self.path("nowhere"), "nowhere", "--data")
        os.mkdir(self.path("empty"))
        self.refused(self.path("empty"), "empty", "MNIST")
        os.mkdir(self.path("empty", "mnist"))
        self.refused(self.path("empty"), "empty")
        harness.write(self.path("file"), b"")
        self.refused(self.path("file"), "file")

    def test_environment_variable_never_falls_through(self):
        result = self.run_nacre("train", "mnist-mlp", NACRE_DATA=self.path("nowhere"))
        self.assert_refused(result, 1, "nowhere", "NACRE_DATA")
        self.assertEqual(self.tree(), [])

    def test_one_file_missing(self):
        folder = harness.make_data(self.path("bad"), train=20, test=10)
        os.remove(os.path.join(folder, TEST_LABELS))
        self.refused(folder, TEST_LABELS)

    def test_damaged_idx_files(self):
        cases = [
            (TRAIN_IMAGES, lambda data: b""),
            (TRAIN_IMAGES, lambda data: data[:3]),
            (TRAIN_IMAGES, lambda data: data[:10]),
            (TRAIN_IMAGES, lambda data: data[:-1]),
            (TRAIN_IMAGES, lambda data: data[:len(data) // 2]),
            (TRAIN_IMAGES, lambda data: data + b"\0"),
            (TRAIN_IMAGES, lambda data: b"\0\0\x09\x03" + data[4:]),
            (TRAIN_IMAGES, lambda data: b"PK\x03\x04" + data[4:]),
            (TRAIN_IMAGES, lambda data: b"\0\0\x08\xff" + data[4:]),
            (TRAIN_IMAGES, lambda data: data[:4] + struct.pack(">I", 1 << 31) + data[8:]),
            (TRAIN_IMAGES, lambda data: data[:4] + struct.pack(">III", 1 << 31, 1 << 31, 1 << 31)
             + data[16:]),
            (TRAIN_IMAGES, lambda data: data[:4] + struct.pack(">I", 0xffffffff) + data[8:]),
            (TRAIN_IMAGES, lambda data: harness.idx((0, 28, 28), b"")),
            (TRAIN_IMAGES, lambda data: harness.idx((20, 14, 56), data[16:])),
            (TRAIN_IMAGES, lambda data: harness.idx((20 * 784,), data[16:])),
            (TEST_IMAGES, lambda data: data[:-5]),
            (TEST_IMAGES, lambda data: harness.idx((0, 28, 28), b"")),
            (TRAIN_LABELS, lambda data: data[:-1]),
            (TRAIN_LABELS, lambda data: data + b"\x01"),
            (TRAIN_LABELS, lambda data: harness.idx((19,), data[8:-1])),
            (TRAIN_LABELS, lambda data: harness.idx((21,), data[8:] + b"\0")),
            (TRAIN_LABELS, lambda data: data[:-1] + b"\x0a"),
            (TRAIN_LABELS, lambda data: data[:-1] + b"\xff"),
            (TEST_LABELS, lambda data: data[:-1] + b"\x0a"),
            (TEST_LABELS, lambda data: harness.idx((9,), data[8:-1])),
        ]
        for number, (name, change) in enumerate(cases):
            with self.subTest(number):
                folder = self.folder_with(name, change)
                self.refused(folder, folder, name)

    def test_both_splits_empty(self):
        folder = harness.make_data(self.path("bad"), train=0, test=0)
        self.refused(folder, folder, "no images")

    def test_damaged_gzip_files(self):
        if not self.has("zlib"):
            folder = self.compressed(lambda data: data)
            self.refused(folder, TRAIN_IMAGES + ".gz", "zlib")
            return
        changes = [lambda data: data[:len(data) // 2], lambda data: data[:5], lambda data: data[:-4],
                   lambda data: b"", lambda data: data[:-6] + b"\0\0" + data[-4:],
                   lambda data: data[:30] + b"\xff\xff\xff" + data[33:],
                   lambda data: data + b"trailing"]
        for number, change in enumerate(changes):
            with self.subTest(number):
                self.refused(self.compressed(change), TRAIN_IMAGES + ".gz")

    def compressed(self, change):
        folder = harness.make_data(self.path("bad"), train=20, test=10)
        path = os.path.join(folder, TRAIN_IMAGES)
        harness.write(path + ".gz", change(gzip.compress(harness.read(path))))
        os.remove(path)
        return folder

    def test_a_size_that_is_a_lie_does_not_take_its_memory(self):
        """A head that promises 2^31 pictures is refused within a small address space."""
        import resource
        folder = self.folder_with(TRAIN_IMAGES,
                                  lambda data: data[:4] + struct.pack(">I", (1 << 31) - 1) + data[8:])
        usage = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        self.refused(folder, TRAIN_IMAGES)
        self.assertLess(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss - usage, 100_000)


if __name__ == "__main__":
    harness.main()
