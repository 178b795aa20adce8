"""Saved models: evaluated to the run's own figures, asked about pictures, refused when they are not ours."""

import json
import os
import random
import struct

import harness


def safetensors(tensors, payload=None, header=None):
    """A file of f32 tensors, {name: shape}, zeros unless `payload` says otherwise."""
    entries, offset = {}, 0
    for name, shape in tensors.items():
        size = 4
        for extent in shape:
            size *= extent
        entries[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(entries).encode() if header is None else header
    return struct.pack("<Q", len(text)) + text + (bytes(offset) if payload is None else payload)


OURS = {"1.weight": [128, 784], "1.bias": [128], "3.weight": [128, 128], "3.bias": [128],
        "5.weight": [128, 128], "5.bias": [128], "7.weight": [10, 128], "7.bias": [10]}


class Models(harness.ProgramTest):
    def test_evaluate_gives_the_runs_own_figures(self):
        values = self.train("--json").json
        for model in ("run", "run/model.safetensors"):
            for flags in ([], ["--threads", 1], ["--threads", 2]):
                result = self.good("evaluate", self.path(model), "--data", self.data(), "--json", *flags)
                self.assertEqual(result.json, {"test_loss": values["test_loss"], "samples": 64,
                                               "test_accuracy": values["test_accuracy"]})
                self.assertEqual(result.err, "")
        self.assertIn("64 samples", self.good("evaluate", self.path("run")).out)

    def test_a_convolutional_network_is_trained_evaluated_and_asked(self):
        values = self.good("train", "mnist-lenet", "--data", self.data(), "--epochs", 20, "--batch-size",
                           16, "--out", self.path("run"), "--json", "--quiet").json
        self.assertGreater(values["test_accuracy"], 0.9)
        with open(self.path("run", "config.json"), encoding="utf-8") as file:
            self.assertEqual(json.load(file)["recipe"], "mnist-lenet")
        image = self.path("7.pgm")
        harness.write(image, harness.pgm(harness.draw_digit(7, random.Random(1))))
        answer = self.good("predict", self.path("run"), image, "--json").json
        self.assertEqual(len(answer["probabilities"]), 10)
        # The weights alone, with no word of the recipe, are known by their tensors.
        with open(self.path("run", "model.safetensors"), "rb") as file:
            length, = struct.unpack("<Q", file.read(8))
            entries, payload = json.loads(file.read(length)), file.read()
        entries.pop("__metadata__")
        text = json.dumps(entries).encode()
        harness.write(self.path("plain.safetensors"), struct.pack("<Q", len(text)) + text + payload)
        for model in ("run", "run/model.safetensors", "plain.safetensors"):
            result = self.good("evaluate", self.path(model), "--data", self.data(), "--json")
            self.assertEqual(result.json["test_loss"], values["test_loss"])
        repeated = self.good("predict", self.path("plain.safetensors"), image, "--json").json
        self.assertEqual(repeated["probabilities"], answer["probabilities"])

    def test_evaluate_takes_the_runs_data_unless_told(self):
        values = self.train("--json").json
        other = harness.make_data(self.path("other"), train=10, test=20, seed=5)
        run = self.path("run")
        self.assertEqual(self.good("evaluate", run, "--json").json["test_loss"], values["test_loss"])
        self.assertEqual(self.good("evaluate", run, "--json", NACRE_DATA=other).json["samples"], 20)
        self.assert_refused(self.run_nacre("evaluate", run, "--data", self.path("none")), 1, "none")

    def test_weights_that_give_no_number_are_refused(self):
        count = sum(4 * (shape[0] * (shape[1] if len(shape) > 1 else 1)) for shape in OURS.values())
        image = self.path("x.pgm")
        harness.write(image, harness.pgm(harness.draw_digit(1, random.Random(1))))
        for name, value, words in (("nan", float("nan"), ["7.bias", "NaN"]), ("huge", 3e38, ["not finite"])):
            payload = bytearray(count)
            if name == "nan":
                payload[-4:] = struct.pack("<f", value)
            else:
                payload = bytearray(struct.pack("<f", value) * (count // 4))
            path = self.path(f"{name}.safetensors")
            harness.write(path, safetensors(OURS, payload=bytes(payload)))
            with self.subTest(name):
                self.assert_refused(self.run_nacre("evaluate", path, "--data", self.data()), 1, *words)
                self.assert_refused(self.run_nacre("predict", path, image), 1, *words)

    def test_models_of_another_network_are_refused_by_tensor(self):
        cases = [
            ({**OURS, "3.weight": [128, 64]}, ["3.weight", "[128,64]"]),
            ({**OURS, "1.bias": [64]}, ["1.bias"]),
            ({name: shape for name, shape in OURS.items() if name != "7.bias"}, ["7.bias"]),
            ({**OURS, "9.weight": [1]}, ["9.weight"]),
            ({"conv.weight": [6, 1, 5, 5]}, ["1.weight"]),
            ({}, ["1.weight"]),
        ]
        image = self.path("x.pgm")
        harness.write(image, harness.pgm(harness.draw_digit(1, random.Random(1))))
        for number, (tensors, words) in enumerate(cases):
            with self.subTest(words):
                path = self.path(f"{number}.safetensors")
                harness.write(path, safetensors(tensors))
                self.assert_refused(self.run_nacre("evaluate", path, "--data", self.data()), 1, path,
                                    *words)
                self.assert_refused(self.run_nacre("predict", path, image), 1, path, *words)

    def test_damaged_and_hostile_models_are_refused(self):
        good = safetensors(OURS)
        one = {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}

        def header(**changes):
            return json.dumps({"a": {**one["a"], **changes}}).encode()

        cases = [
            b"", good[:4], good[:8], good[:100], good[:-1], good + b"\0",
            struct.pack("<Q", 1 << 63) + good[8:], struct.pack("<Q", 0) + good[8:],
            struct.pack("<Q", len(good)) + good[8:],
            safetensors({}, b"", b"{"), safetensors({}, b"", b"[]"), safetensors({}, b"", b"{\"a\": 1}"),
            safetensors({}, bytes(4), header(dtype="F33")),
            safetensors({}, bytes(4), header(shape=[-1])),
            safetensors({}, bytes(4), header(shape=[2])),
            safetensors({}, bytes(4), header(shape=[1 << 62, 1 << 62])),
            safetensors({}, bytes(4), header(shape=[1] * 100)),
            safetensors({}, bytes(4), header(data_offsets=[4, 0])),
            safetensors({}, bytes(4), header(data_offsets=[0, 1 << 60])),
            safetensors({}, bytes(4), header(data_offsets=[-4, 0])),
            safetensors({}, b"", b"[" * 100_000),
            b"\x89PNG\r\n\x1a\n" + bytes(100), os.urandom(5000),
        ]
        path = self.path("bad.safetensors")
        for number, data in enumerate(cases):
            with self.subTest(number):
                harness.write(path, data)
                self.assert_refused(self.run_nacre("evaluate", path, "--data", self.data()), 1, path)
        for path in ("nowhere", "nowhere/model.safetensors"):
            self.assert_refused(self.run_nacre("evaluate", self.path(path)), 1, self.path(path))
        self.assert_refused(self.run_nacre("evaluate", self.folder), 1, "config.json",
                            "not a run folder")

    def test_a_run_whose_files_are_gone_or_damaged_is_refused(self):
        self.train()
        model, config = self.path("run", "model.safetensors"), self.path("run", "config.json")
        os.rename(model, model + ".away")
        self.assert_refused(self.run_nacre("evaluate", self.path("run")), 1, model)
        os.rename(model + ".away", model)
        harness.write(config, b"{")
        self.assert_refused(self.run_nacre("evaluate", self.path("run")), 1, config)


class Predict(harness.ProgramTest):
    def setUp(self):
        super().setUp()
        self.noise = random.Random(3)

    def trained(self):
        """A model that knows the ten bars."""
        self.train("--epochs", 10, "--lr", 0.002)
        return self.path("run")

    def test_object_per_picture(self):
        run = self.trained()
        files = []
        for label in range(10):
            files.append(self.path(f"{label}.pgm"))
            harness.write(files[-1], harness.pgm(harness.draw_digit(label, self.noise)))
        result = self.good("predict", run, *files, "--json")
        objects = [json.loads(line) for line in result.out.splitlines()]
        self.assertEqual([entry["file"] for entry in objects], files)
        self.assertEqual([entry["digit"] for entry in objects], list(range(10)))
        for entry in objects:
            self.assertEqual(list(entry), ["file", "digit", "probabilities"])
            self.assertEqual(len(entry["probabilities"]), 10)
            self.assertAlmostEqual(sum(entry["probabilities"]), 1, 9)
            self.assertEqual(max(entry["probabilities"]), entry["probabilities"][entry["digit"]])
        alone = self.good("predict", run, files[3], "--json").json
        self.assertEqual(alone, objects[3])
        self.assertIn("3.pgm: 3 (", self.good("predict", run, files[3]).out)

    def test_bad_pictures_are_named_and_nothing_is_printed(self):
        self.train()
        good = self.path("good.pgm")
        harness.write(good, harness.pgm(harness.draw_digit(1, self.noise)))
        picture = self.path("bad")
        cases = [b"", b"hello", b"P5\n", b"P5\n28 28\n255\n" + bytes(10), b"P5\n0 5\n255\n",
                 b"P5\n99999999 99999999\n255\n", b"P5\n-1 5\n255\n" + bytes(25),
                 b"P5\n2 2\n70000\n" + bytes(8), b"P6\n2 2\n255\n" + bytes(12),
                 b"P2\n2 2\n255\n1 2 3", b"\x89PNG\r\n\x1a\n", harness.png(bytes(784), 28, 28)[:60],
                 harness.pgm(bytes(784)), harness.pgm(b"\xff" * 784)]
        for number, data in enumerate(cases):
            with self.subTest(number):
                harness.write(picture, data)
                self.assert_refused(self.run_nacre("predict", self.path("run"), good, picture, "--json"), 1,
                                    picture)
        self.assert_refused(self.run_nacre("predict", self.path("run"), self.path("none.png")), 1,
                            "none.png")
        self.assert_refused(self.run_nacre("predict", self.path("run"), self.folder), 1, self.folder)

    def enlarge(self, pixels, scale, width, height, left, top):
        """The 28 x 28 picture, each pixel scale x scale, on a larger ground."""
        out = bytearray(width * height)
        for y in range(28 * scale):
            for x in range(28 * scale):
                out[(top + y) * width + left + x] = pixels[28 * (y // scale) + x // scale]
        return bytes(out)

    def frame(self, pixels, width, height, thick, level):
        """The picture with its outermost pixels replaced."""
        out = bytearray(pixels)
        for y in range(height):
            for x in range(width):
                if min(x, y, width - 1 - x, height - 1 - y) < thick:
                    out[y * width + x] = level
        return bytes(out)

    def digits(self, files):
        out = self.good("predict", self.path("run"), *files, "--json").out
        return [json.loads(line)["digit"] for line in out.splitlines()]

    def test_a_frame_is_not_part_of_the_digit(self):
        """Crossed bars on larger ground, without a frame and with frames of any level."""
        self.trained()
        side, plain, framed = 84, [], []
        for label in range(10):
            pixels = bytes(map(max, harness.draw_digit(label, self.noise),
                               harness.draw_digit((label + 6) % 10, self.noise)))
            pixels = self.enlarge(pixels, 2, side, side, 14, 14)
            for name in ("light", "dark"):
                if name == "dark":
                    pixels = bytes(255 - value for value in pixels)
                plain.append(self.path(f"{label}-{name}"))
                harness.write(plain[-1], harness.pgm(pixels, side, side))
                for thick, level in ((1, 0), (1, 255), (6, 0), (6, 128), (6, 255)):
                    framed.append((len(plain) - 1, self.path(f"{label}-{name}-{thick}-{level}")))
                    harness.write(framed[-1][1], harness.pgm(
                        self.frame(pixels, side, side, thick, level), side, side))
        expected = self.digits(plain)
        self.assertEqual(self.digits([path for _, path in framed]), [expected[at] for at, _ in framed])

    def test_an_angular_digit_near_the_border_is_not_a_frame(self):
        """A box with a hole, one pixel from the border: the same as with much ground around it."""
        self.trained()
        files = []
        for name, margin in (("near", 1), ("far", 9)):
            width, height = 24 + 2 * margin, 40 + 2 * margin
            box = [margin <= x < width - margin and margin <= y < height - margin and not
                   (margin + 8 <= x < width - margin - 8 and margin + 8 <= y < height - margin - 8)
                   for y in range(height) for x in range(width)]
            files.append(self.path(name))
            harness.write(files[-1], harness.pgm(bytes(255 * inside for inside in box), width, height))
        results = [json.loads(line) for line in
                   self.good("predict", self.path("run"), *files, "--json").out.splitlines()]
        self.assertEqual(results[0]["probabilities"], results[1]["probabilities"])

    def test_real_digits_in_any_size_place_and_polarity(self):
        data = self.real_data()
        values = self.good("train", "mnist-mlp", "--data", data, "--epochs", 2, "--json",
                           "--quiet", "--out", self.path("run")).json
        self.assertGreater(values["test_accuracy"], 0.95)
        images, labels = harness.real_mnist()
        count, right = 100, {}
        for form in ("same", "inverted", "large", "large-inverted", "grey", "png", "framed",
                     "framed-inverted", "framed-large", "framed-large-inverted"):
            if form == "png" and not self.has("libpng"):
                continue
            files = []
            for i in range(count):
                pixels = images[784 * i:784 * (i + 1)]
                width = height = 28
                if "large" in form:
                    width, height = 260, 190
                    pixels = self.enlarge(pixels, 5, width, height, 90, 20)
                if form == "png" or form.endswith("inverted"):
                    pixels = bytes(255 - value for value in pixels)
                if form == "grey":
                    width, height = 60, 90
                    pixels = bytes(220 - value * 3 // 4
                                   for value in self.enlarge(pixels, 2, width, height, 2, 30))
                if form.startswith("framed"):
                    thick = 6 if "large" in form else 1
                    pixels = self.frame(pixels, width, height, thick, 255 * (i % 2))
                data = (harness.png if form == "png" else harness.pgm)(pixels, width, height)
                files.append(self.path(f"{form}-{i}"))
                harness.write(files[-1], data)
            digits = self.digits(files)
            right[form] = sum(digit == label for digit, label in zip(digits, labels))
        self.assertGreaterEqual(right["same"], 93, right)
        self.assertEqual(right["inverted"], right["same"])
        self.assertEqual(right.get("png", right["same"]), right["same"])
        for form in right.keys() - {"same", "inverted", "png"}:
            self.assertGreaterEqual(right[form], right["same"] - 5, right)


if __name__ == "__main__":
    harness.main()
