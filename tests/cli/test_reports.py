"""summary, explain and info: their texts and their objects."""

import re
from collections import Counter

import harness


class Reports(harness.ProgramTest):
    def test_summary_counts_the_network(self):
        self.assertIn("134,794".replace(",", ""), self.good("summary", "mnist-mlp").out.replace(",", ""))
        values = self.good("summary", "mnist-mlp", "--json")
        self.assertEqual(values.err, "")
        self.assertIn("134794", values.out)
        self.assertIsInstance(values.json, dict)

    def test_a_convolutional_network_is_summed_up_and_explained(self):
        text = self.good("summary", "mnist-lenet").out
        for words in ("0 Conv2d", "[6,28,28]", "kernel=5x5, padding=2x2", "2 MaxPool2d", "61,706"):
            self.assertIn(words, text)
        values = self.good("summary", "mnist-lenet", "--json").json
        self.assertEqual((values["input"], values["parameters"]), ([1, 28, 28], 61706))
        for backend in ("cpu", "reference"):
            steps = self.good("explain", "mnist-lenet", "--batch-size", 16, "--backend", backend,
                              "--json").json["steps"]
            kinds = [step["kernel"].split("+")[0] for step in steps]
            # The pixels want no gradient: one backward_input less than convolutions.
            for kind, count in (("conv2d", 2), ("conv2d_backward_weight", 2),
                                ("conv2d_backward_input", 1), ("max_pool2d_backward", 2)):
                self.assertEqual(sum(kind == name for name in kinds), count, (backend, kinds))
        values = self.good("bench", "lenet", "--batch-size", 8, "--seconds", 0.05, "--json").json
        self.assertEqual((values["workload"], values["batch"]), ("lenet", 8))

    def test_explain_shows_every_step_of_the_plan(self):
        values = self.good("explain", "mnist-mlp", "--batch-size", 64, "--json").json
        self.assertEqual((values["network"], values["batch"]), ("mnist-mlp", 64))
        self.assertGreater(len(values["steps"]), 10)
        for step in values["steps"]:
            self.assertEqual(list(step), ["kernel", "way", "shapes", "where", "flops", "bytes", "offset",
                                          "output_bytes"])
            self.assertTrue(step["kernel"] and step["shapes"])
            if step["offset"] is not None:
                self.assertLessEqual(step["offset"] + step["output_bytes"], values["peak_bytes"])
        # Forward, and twice as much backward but for the gradient of the pixels.
        products = 2 * 64 * (3 * (784 * 128 + 2 * 128 * 128 + 128 * 10) - 784 * 128)
        self.assertGreaterEqual(values["flops"], products)
        self.assertLess(values["flops"], 1.3 * products)
        self.assertAlmostEqual(values["flops"], sum(step["flops"] for step in values["steps"]), -1)
        self.assertLessEqual(values["live_lower_bound"], values["peak_bytes"])
        self.assertTrue(any("784" in step["shapes"] for step in values["steps"]))
        text = self.good("explain", "mnist-mlp", "--batch-size", 64).out
        self.assertIn("peak memory", text)
        self.assertEqual(len(re.findall(r"^ *\d+  [a-z]", text, re.M)), len(values["steps"]))

    def ways(self, *line):
        """Kernel before its epilogue -> how it is done, of each step; and the object."""
        values = self.good("explain", *line, "--json").json
        self.assertTrue(all(step["way"] for step in values["steps"]))
        found = {}
        for step in values["steps"]:
            found.setdefault(step["kernel"].split("+")[0], []).append(step["way"])
        return found, values

    def test_explain_tells_how_convolutions_and_products_are_done(self):
        found, _ = self.ways("resnet20")
        # 19 convolutions of 3 x 3 and two of 1 x 1; three of the former have too few channels or a stride of 2.
        self.assertEqual(Counter(found["conv2d"]), {"Winograd in lanes": 16, "direct in lanes": 5})
        for gradient in ("conv2d_backward_input", "conv2d_backward_weight"):
            self.assertEqual(set(found[gradient]), {"Winograd in lanes", "direct in lanes"})
        found, _ = self.ways("resnet20", "--batch-size", 1, "--infer")
        self.assertEqual(Counter(found["conv2d"]), {"Winograd, weights kept": 16, "direct, weights kept": 5})
        self.assertEqual(found["linear"], ["thin, weights kept"])
        way = r"(straight|turned)(, A packed)?, B (as it lies|packed before|packed in its task)"
        for line in (["mlp"], ["vit"], ["gpt"], ["lenet", "--batch-size", 100]):
            found, values = self.ways(*line)
            for name in ("linear", "matmul"):
                for text in found[name]:
                    self.assertRegex(text, f"^{way}$")
            self.assertIn(f"  {found['linear'][0]}\n", self.good("explain", *line).out)
        found, _ = self.ways("lenet", "--backend", "reference")
        self.assertEqual({text for texts in found.values() for text in texts}, {"reference"})

    def test_explain_says_that_no_arena_can_hold_a_plan(self):
        large = self.good("explain", "gpt", "--sequence-length", 8192, "--batch-size", 100000)
        self.assertIn("it cannot run: a plan may take 256 GiB at most", large.out)
        self.assertNotIn("cannot run", self.good("explain", "gpt").out)

    def test_explain_takes_threads_as_bench_does(self):
        for flags, threads in ((["--threads", 1], 1), (["--threads", 3], 3), ([], 2)):
            self.assertEqual(self.good("explain", "mlp", "--json", *flags, NACRE_THREADS="2").json["threads"], threads)
        self.assertIn("on cpu, 3 threads\n", self.good("explain", "mlp", "--threads", 3).out)
        self.assertIn("on cpu, 1 thread\n", self.good("explain", "mlp", "--threads", 1).out)

    def test_explain_takes_workloads_of_any_size_and_trained_models(self):
        for name, batch in (("mlp", 64), ("lenet", 64), ("vit", 64), ("gpt", 12), ("resnet20", 64),
                            ("mnist-lenet", 64), ("mnist-mlp", 128)):
            values = self.good("explain", name, "--json").json
            self.assertEqual((values["network"], values["batch"]), (name, batch))
            self.assertGreater(len(values["steps"]), 10)
        sizes = ["--width", 32, "--depth", 1, "--sequence-length", 16, "--batch-size", 2]
        explained = self.good("explain", "gpt", *sizes, "--json").json
        timed = self.good("bench", "gpt", *sizes, "--seconds", 0, "--json").json
        for key, same in (("peak_bytes", "arena_bytes"), ("flops", "flops"),
                          ("live_lower_bound", "live_lower_bound"), ("variable_bytes", "least_bytes")):
            self.assertEqual(explained[key], timed[same], key)
        self.assertIn("One training step of gpt, batch 2", self.good("explain", "gpt", *sizes).out)
        self.train("--epochs", 0)
        for name in ("run", "run/model.safetensors"):
            values = self.good("explain", name, "--json").json
            self.assertEqual((values["network"], values["batch"]), (name, 128))
        self.assert_refused(self.run_nacre("explain", "cache"), 2, "unknown network cache")

    def test_explain_shows_inference_as_bench_runs_it(self):
        line = ["lenet", "--batch-size", 4, "--infer"]
        explained = self.good("explain", *line, "--json").json
        timed = self.good("bench", *line, "--seconds", 0, "--json").json
        self.assertEqual((explained["network"], explained["mode"], explained["batch"]), ("lenet", "infer", 4))
        for key, same in (("peak_bytes", "arena_bytes"), ("flops", "flops"),
                          ("live_lower_bound", "live_lower_bound"), ("variable_bytes", "least_bytes")):
            self.assertEqual(explained[key], timed[same], key)
        self.assertIn("Inference of lenet, batch 4", self.good("explain", *line).out)
        self.train("--epochs", 0)
        for name in ("mnist-mlp", "run", "run/model.safetensors"):
            for backend in ("cpu", "reference"):
                inferred, trained = (self.good("explain", name, "--batch-size", 64, "--backend", backend, "--json",
                                               *mode).json for mode in (["--infer"], []))
                self.assertEqual((inferred["mode"], trained["mode"]), ("infer", "train"))
                products = 2 * 64 * (784 * 128 + 2 * 128 * 128 + 128 * 10)
                self.assertTrue(products <= inferred["flops"] < 1.1 * products < trained["flops"])
                self.assertFalse([step for step in inferred["steps"] if "backward" in step["kernel"]])
                self.assertIsNone(inferred["steps"][-1]["offset"])
        for name in ("mlp", "mnist-mlp"):
            self.assert_refused(self.run_nacre("explain", name, "--batch-size", 64, "--infer", "--memory", 1), 1,
                                "inference of 64 samples: the plan needs", "the limit is 1;")

    def test_explain_grows_with_the_batch_and_with_the_backend(self):
        peaks = [self.good("explain", "mnist-mlp", "--batch-size", size, "--json").json["peak_bytes"]
                 for size in (1, 64, 1024)]
        self.assertEqual(peaks, sorted(set(peaks)))
        reference = self.good("explain", "mnist-mlp", "--backend", "reference", "--json").json
        self.assertGreater(len(reference["steps"]), 10)

    def test_a_plan_takes_hardly_more_than_what_is_live_at_once(self):
        """Odd sizes fit less well beside each other: the first order of packing took 1.11 and 1.12 of it in two of these."""
        networks = [[name, "--batch-size", batch, *flags] for name in ("lenet", "vit", "resnet20") for batch in (1, 3, 17)
                    for flags in ([], ["--infer"])]
        networks += [["vit", "--width", 100, "--depth", 16, "--batch-size", 5], ["gpt", "--width", 100, "--batch-size", 17]]
        for network in networks:
            with self.subTest(network):
                plan = self.good("explain", *network, "--json").json
                self.assertGreaterEqual(plan["peak_bytes"], plan["live_lower_bound"])
                self.assertLessEqual(plan["peak_bytes"], 1.1 * plan["live_lower_bound"])

    def test_without_fusion_each_operation_is_a_step(self):
        for network in ("mlp", "lenet", "vit", "gpt", "resnet20"):
            fused, unfused = (self.good("explain", network, "--json", NACRE_FUSE=fuse).json for fuse in ("1", "0"))
            self.assertGreater(fused["fused"], 0)
            self.assertEqual(unfused["fused"], 0)
            self.assertEqual(len(unfused["steps"]), len(fused["steps"]) + fused["fused"])
            self.assertEqual([step["kernel"] for step in unfused["steps"] if "+" in step["kernel"]], [])
            for key in ("flops", "records", "variable_bytes"):
                self.assertEqual(unfused[key], fused[key])

    def test_a_memory_limit_is_kept_or_refused_in_one_line(self):
        peak = self.good("explain", "mnist-mlp", "--json").json["peak_bytes"]
        kept = self.good("explain", "mnist-mlp", "--memory", peak, "--json").json
        self.assertEqual((kept["peak_bytes"], kept["recomputed"]), (peak, 0))
        for command in (["explain", "mnist-mlp"],
                        ["train", "mnist-mlp", "--data", self.data(), "--out", self.path("small")]):
            refused = self.run_nacre(*command, "--memory", peak // 3)
            self.assert_refused(refused, 1, f"the limit is {peak // 3}",
                                "a training step of 128 samples", "matmul [128,784] at linear.c:21 in step")

    def least_memory(self, *network):
        """What the refusal of a hopeless limit asks for: the plan with all that can be recomputed."""
        refused = self.run_nacre("explain", *network, "--memory", 1)
        self.assert_refused(refused, 1, "a training step of", "needs", "the limit is 1")
        return int(re.search(r"needs (\d+) bytes", refused.err).group(1))

    def test_a_run_needs_no_more_memory_than_its_explained_step(self):
        """Evaluation does not either, and gives the figures that it gives without a limit."""
        data = self.data(train=128, test=1100)
        for recipe, batch, backend in (("mnist-mlp", 1, "cpu"), ("mnist-mlp", 64, "cpu"), ("mnist-lenet", 1, "cpu"),
                                       ("mnist-lenet", 48, "cpu"), ("mnist-mlp", 64, "reference")):
            with self.subTest((recipe, batch, backend)):
                flags = [recipe, "--batch-size", batch, "--backend", backend]
                least = self.least_memory(*flags)
                run = ["train", *flags, "--data", data, "--epochs", 1, "--json", "--quiet", "--out"]
                name = f"{recipe}-{batch}-{backend}"
                free = self.good(*run, name + "-free").json
                kept = self.good(*run, name + "-kept", "--memory", least).json
                for key in ("train_loss", "test_loss", "test_accuracy"):
                    self.assertEqual(free[key], kept[key])
                self.assertEqual(self.good("evaluate", name + "-kept", "--json").json["test_loss"], kept["test_loss"])
                refused = self.run_nacre(*run, name + "-less", "--memory", least - 1)
                self.assert_refused(refused, 1, "a training step of", f"needs {least} bytes")

    def test_weights_are_tested_within_the_memory_of_a_step_too(self):
        """Without an epoch they are tested apart from the run."""
        run = ["train", "mnist-mlp", "--batch-size", 64, "--data", self.data(train=128, test=1100), "--epochs", 0, "--json",
               "--quiet", "--out"]
        kept = self.good(*run, "kept", "--memory", self.least_memory("mnist-mlp", "--batch-size", 64)).json
        self.assertEqual(kept["test_loss"], self.good(*run, "free").json["test_loss"])
        self.assert_refused(self.run_nacre(*run, "small", "--memory", 1000), 1, "the evaluation of 64 samples",
                            "the limit is 1000")

    def test_info_says_what_was_built_and_why_not(self):
        values = self.good("info", "--json").json
        self.assertEqual(values["version"], self.good("--version").out.split()[1])
        levels = {level["name"]: level for level in values["levels"]}
        self.assertEqual(sorted(levels), ["avx2", "avx512", "neon", "portable"])
        self.assertTrue(levels[values["isa"]]["built"] and levels[values["isa"]]["supported"])
        self.assertEqual([library["name"] for library in values["libraries"]],
                         ["zlib", "libpng", "libcurl"])
        for library in values["libraries"]:
            self.assertEqual("why" in library, not library["found"])
        self.assertEqual(self.good("info", "--json", NACRE_ISA="portable").json["isa"], "portable")
        self.assertEqual(self.good("info", "--json", NACRE_THREADS="3").json["threads"], 3)
        for changes, plans in (({}, "fused"), ({"NACRE_FUSE": "0"}, "unfused"), ({"NACRE_FUSE": ""}, "fused"),
                               ({"NACRE_FUSE": "1"}, "fused"), ({"NACRE_EAGER": "1", "NACRE_FUSE": "0"}, "none")):
            self.assertEqual(self.good("info", "--json", **changes).json["plans"], plans)
            self.assertRegex(self.good("info", **changes).out, rf"(?m)^plans +{plans}\b")
        text = self.good("info").out
        for word in (values["version"], values["isa"], "zlib", "libpng", "libcurl", "threads"):
            self.assertIn(word, text)


if __name__ == "__main__":
    harness.main()
