"""nacre bench: what it measures adds up, its checks pass, and wrong usage is told."""

import json
import os
import re
import resource
import signal
import subprocess
import time

import harness

# Set where everything runs many times slower: under sanitizers, for the coverage.
QUICK = bool(os.environ.get("NACRE_TESTS_QUICK"))
WORKLOADS = ("mlp", "lenet", "vit", "gpt", "resnet20")
FIGURES = ["workload", "mode", "batch", "width", "depth", "sequence_length", "threads", "isa", "steps", "flops", "bytes", "least_bytes", "us_min",
           "us_median", "spread", "us_forward", "us_backward", "us_update", "gflops", "peak_gflops",
           "peak_one_gflops", "peak_all_gflops", "bandwidth_gbytes", "read_gbytes", "roofline_us", "fraction",
           "arena_bytes", "live_lower_bound", "recomputed", "peak_rss_bytes"]

BAD_LINES = [
    (["bench"], ["no workload", "mlp, lenet, vit, gpt, resnet20, kernels, loader"]),
    (["bench", ""], ['unknown workload ""', "mlp, lenet"]),
    (["bench", "mpl"], ["unknown workload mpl", "mlp, lenet, vit, gpt, resnet20, kernels, loader"]),
    (["bench", "mlp", "lenet"], ["one workload", "lenet"]),
    (["bench", "mlp", "--threads", "x"], ["--threads"]),
    (["bench", "mlp", "--seconds", "-1"], ["--seconds"]),
    (["bench", "mlp", "--batch-size", "100001"], ["--batch-size"]),
    (["bench", "kernels", "dto"], ["unknown kernel dto", "did you mean dot", "--list"]),
    (["bench", "kernels", "frobnicate"], ["unknown kernel frobnicate", "nacre bench kernels --list"]),
    (["bench", "kernels", ""], ['unknown kernel ""', "--list"]),
    (["bench", "mlp", "--list"], ["--list", "mlp"]),
    (["bench", "loader", "--list"], ["--list", "loader"]),
    (["bench", "mlp", "--memory", "-1"], ["--memory"]),
    (["bench", "mlp", "--memory", "1e9"], ["--memory", "not a whole number"]),
    (["bench", "kernels", "--memory", "1"], ["--memory", "kernels"]),
    (["bench", "loader", "--memory", "1"], ["--memory", "loader"]),
    (["bench", "kernels", "matmul:"], ["matmul:", "MxNxK"]),
    (["bench", "kernels", "matmul:3x4"], ["matmul:3x4", "MxNxK"]),
    (["bench", "kernels", "matmul:0x4x5"], ["matmul:0x4x5", "from 1 to 16384"]),
    (["bench", "kernels", "matmul:3x-4x5"], ["matmul:3x-4x5", "MxNxK"]),
    (["bench", "kernels", "matmul:3x 4x5"], ["MxNxK"]),
    (["bench", "kernels", "matmul:3x4x99999999999999999999"], ["from 1 to 16384"]),
    (["bench", "kernels", "matmul:3x4x5:na"], ["matmul:3x4x5:na", ":nt"]),
    (["bench", "kernels", "linear:3x4x5:nt"], ["linear:3x4x5:nt", "linear:MxNxK"]),
    (["bench", "kernels", "linear:3x4x5x6"], ["linear:3x4x5x6"]),
    (["bench", "kernels", *["matmul:1x1x1"] * 129], ["at most 128 kernels"]),
    (["bench", "kernels", "--batch-size", "3"], ["--batch-size", "kernels"]),
    (["bench", "kernels", "--infer"], ["--infer", "kernels"]),
    (["bench", "kernels", "--trace", "x"], ["--trace", "kernels"]),
    (["bench", "mlp", "--check", "--trace", "x"], ["--trace", "--check"]),
    (["bench", "kernels", "--check", "--seconds", "1"], ["--seconds", "--check"]),
    (["bench", "loader", "--check"], ["--check", "loader"]),
    (["bench", "mlp", "--width", "4097"], ["--width"]),
    (["bench", "mlp", "--width", "-1"], ["--width"]),
    (["bench", "mlp", "--width", "99999999999999999999"], ["--width"]),
    (["bench", "mlp", "--depth", "65"], ["--depth"]),
    (["bench", "mlp", "--depth", "1e3"], ["--depth"]),
    (["bench", "gpt", "--sequence-length", "8193"], ["--sequence-length"]),
    (["bench", "mlp", "--sequence-length", "8"], ["--sequence-length", "mlp"]),
    (["bench", "vit", "--sequence-length", "8"], ["--sequence-length", "vit"]),
    (["bench", "lenet", "--width", "8"], ["--width", "lenet"]),
    (["bench", "resnet20", "--depth", "8"], ["--depth", "resnet20"]),
    (["bench", "kernels", "--depth", "3"], ["--depth", "kernels"]),
    (["bench", "vit", "--width", "30"], ["--width", "30", "multiple of the 4 heads"]),
    (["bench", "gpt", "--width", "1"], ["--width", "multiple of the 4 heads"]),
    (["bench", "loader", "--infer"], ["--infer", "loader"]),
]


class Bench(harness.ProgramTest):
    def test_wrong_usage_is_explained(self):
        for line, words in BAD_LINES:
            with self.subTest(line):
                self.assert_refused(self.run_nacre(*line), 2, *words)
        self.assertEqual(self.tree(), [])

    def test_every_workload_computes_what_the_reference_does(self):
        workloads = WORKLOADS[:2 if QUICK else 4 if self.emulated() else 5]
        for workload in workloads:
            for mode in ([], ["--infer"]):
                with self.subTest((workload, mode)):
                    checked = self.good("bench", workload, *mode, "--check", "--json").json
                    self.assertEqual(checked["workload"], workload)
                    self.assertLessEqual(checked["difference"], 1e-4)

    def test_every_kernel_computes_what_the_reference_does(self):
        some = ["dot", "sum", "mean", "zeros"] if QUICK else []
        checked = self.good("bench", "kernels", *some, "--check", "--json").json
        self.assertGreater(checked["checked"], 3 if QUICK else 60)
        self.assertLessEqual(checked["difference"], 1e-4)

    def check_figures(self, figures, workload, mode, batch):
        self.assertEqual(list(figures), FIGURES)
        self.assertEqual((figures["workload"], figures["mode"], figures["batch"], figures["threads"]),
                         (workload, mode, batch, 2))
        self.assertTrue(0 < figures["us_min"] <= figures["us_median"], figures)
        self.assertTrue(0 < figures["least_bytes"] <= figures["bytes"], figures)
        self.assertGreaterEqual(figures["arena_bytes"], figures["live_lower_bound"])
        roofline = (figures["flops"] / figures["peak_gflops"]
                    + figures["least_bytes"] / figures["read_gbytes" if mode == "infer" else "bandwidth_gbytes"]) / 1e3
        self.assertAlmostEqual(figures["roofline_us"] / roofline, 1, 3)
        self.assertAlmostEqual(figures["fraction"] / (roofline / figures["us_min"]), 1, 3)

    def test_figures_add_up(self):
        for workload in WORKLOADS[:1] if self.emulated() else WORKLOADS:
            with self.subTest(workload):
                figures = self.good("bench", workload, "--batch-size", 4, "--threads", 2, "--seconds",
                                    0.1, "--json").json
                self.check_figures(figures, workload, "train", 4)
                # Of a part that was not slower than what it contains there is no figure.
                parts = sum(figures["us_" + part] or 0 for part in ("forward", "backward", "update"))
                self.assertGreaterEqual(parts, 0.999 * figures["us_min"])
                self.assertGreater(figures["us_forward"], 0)
                inference = self.good("bench", workload, "--infer", "--batch-size", 4, "--threads", 2,
                                      "--seconds", 0.05, "--json").json
                self.check_figures(inference, workload, "infer", 4)
                self.assertLess(inference["flops"], figures["flops"])

    def test_parts_are_timed_in_warm_memory(self):
        """Results that every run makes anew are not given back to the system between two."""
        if QUICK or self.emulated():
            self.skipTest("another allocator, or none of our own to watch")
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
        figures = self.good("bench", "lenet", "--batch-size", 2000, "--seconds", 0.5, "--threads", 1, "--json").json
        pages = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt - before
        self.assertLess(pages * resource.getpagesize(), 1.5 * figures["peak_rss_bytes"])

    def test_one_thread_stays_one_until_the_last_step(self):
        if QUICK or self.emulated() or not os.path.exists("/proc/self/status"):
            self.skipTest("other threads than those of nacre, or none to count")
        process = subprocess.Popen([harness.PROGRAM, "bench", "mlp", "--threads", "1", "--seconds", "2", "--json"],
                                   cwd=self.folder, env=self.environment(), stdout=subprocess.PIPE)
        most, begun = 0, time.monotonic()
        while time.monotonic() < begun + 1.5 and process.poll() is None:
            status = harness.read(f"/proc/{process.pid}/status").decode()
            most = max(most, int(re.search(r"Threads:\s*(\d+)", status).group(1)))
            time.sleep(0.005)
        out, _ = process.communicate(timeout=harness.TIMEOUT)
        figures = json.loads(out)
        self.assertEqual((process.returncode, most), (0, 1))
        self.assertGreater(figures["peak_all_gflops"], 0)
        self.assertEqual(figures["peak_gflops"], figures["peak_one_gflops"])

    def test_figures_are_told_though_the_trace_cannot_be_written(self):
        def before():
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        for flags in (["--json"], []):
            result = self.run_nacre("bench", "mlp", "--seconds", 0.05, "--trace", "trace.json", *flags, before=before)
            self.assertEqual(result.code, 1)
            self.assertIn("us_min" if flags else "time of a step", result.out)
            self.assertRegex(result.err, r"^nacre bench: [^\n]*trace\.json[^\n]*File too large[^\n]*\n$")
            self.assertFalse(os.path.exists(self.path("trace.json")))

    def test_the_batch_is_the_workloads_own_unless_given(self):
        self.assertEqual(self.good("bench", "mlp", "--seconds", 0, "--json").json["batch"], 64)
        self.assertIn("of it", self.good("bench", "mlp", "--seconds", 0).out)

    def test_sizes_are_those_that_were_given(self):
        def figures(workload, *flags):
            return self.good("bench", workload, "--batch-size", 2, "--seconds", 0, "--json", *flags).json
        own = figures("mlp")
        self.assertEqual((own["width"], own["depth"], own["sequence_length"]), (128, 3, None))
        wide = figures("mlp", "--width", 64, "--depth", 5)
        self.assertEqual((wide["width"], wide["depth"]), (64, 5))
        # Weights and two moments are read and written, the samples are read.
        weights = 784 * 64 + 4 * 64 * 64 + 64 * 10 + 5 * 64 + 10
        self.assertAlmostEqual(wide["least_bytes"], 2 * 3 * 4 * weights + 2 * (784 * 4 + 8), delta=64)
        usual, long = figures("gpt", "--depth", 1), figures("gpt", "--depth", 1, "--sequence-length", 128)
        self.assertEqual((usual["sequence_length"], long["sequence_length"]), (64, 128))
        self.assertTrue(1.9 * usual["flops"] < long["flops"] < 3 * usual["flops"])
        for flags in (["--width", 4], ["--depth", 1], ["--width", 4, "--depth", 2]):
            checked = self.good("bench", "vit", *flags, "--check", "--json").json
            self.assertLessEqual(checked["difference"], 1e-4)
        checked = self.good("bench", "gpt", "--sequence-length", 1, "--depth", 1, "--check", "--json").json
        self.assertLessEqual(checked["difference"], 1e-4)

    def test_the_work_is_that_of_the_plan(self):
        figures = self.good("bench", "mlp", "--batch-size", 32, "--seconds", 0, "--json").json
        # Two per weight and sample in each of three products, but for the gradient of the pixels.
        products = 2 * 32 * (3 * (784 * 128 + 2 * 128 * 128 + 128 * 10) - 784 * 128)
        self.assertTrue(products <= figures["flops"] <= 1.25 * products, (products, figures["flops"]))
        # Weights and two moments are read and written, the samples are read.
        self.assertAlmostEqual(figures["least_bytes"], 2 * 3 * 4 * 134794 + 32 * (784 * 4 + 8), delta=64)

    def test_kernels_are_chosen_by_name(self):
        report = self.good("bench", "kernels", "dot", "zeros", "--seconds", 0.05, "--json").json
        self.assertEqual([kernel["name"] for kernel in report["kernels"]], ["dot", "zeros"])
        dot, zeros = report["kernels"]
        self.assertEqual((dot["shapes"], dot["steps"], dot["flops"]), ("[100000] x [100000]", "matmul", 2e5))
        self.assertEqual(zeros["flops"], 0)
        for kernel in report["kernels"]:
            self.assertTrue(0 < kernel["us_min"] <= kernel["us_median"])
        self.assertIn("GFLOP/s", self.good("bench", "kernels", "sum", "--seconds", 0.01).out)

    def test_kernels_of_every_workload_have_a_name(self):
        names = ["relu", "concat", "embedding", "cross_entropy"]
        report = self.good("bench", "kernels", *names, "--seconds", 0.05, "--json").json
        self.assertEqual({kernel["name"] for kernel in report["kernels"]}, set(names))
        both = [name + after for name in names for after in ("", " gradient")]
        self.assertLessEqual(self.good("bench", "kernels", *both, "--check", "--json").json["difference"], 1e-4)

    def test_products_of_any_shape(self):
        names = ["matmul:3x4x5", "matmul:64x30x100:nt", "matmul:17x9x40:tn", "matmul:5x6x7:tt", "linear:12x10x33"]
        report = self.good("bench", "kernels", *names, "--seconds", 0.05, "--json").json
        self.assertEqual([kernel["name"] for kernel in report["kernels"]], names)
        self.assertEqual([kernel["shapes"] for kernel in report["kernels"]],
                         ["[3,5] x [5,4]", "[64,100] x [30,100]", "[40,17] x [40,9]", "[7,5] x [6,7]",
                          "[12,33] x [10,33] x [10]"])
        self.assertEqual([kernel["steps"] for kernel in report["kernels"]], ["matmul"] * 4 + ["linear+relu"])
        self.assertEqual(report["kernels"][1]["flops"], 2 * 64 * 30 * 100)
        checked = self.good("bench", "kernels", *names, "--check", "--json").json
        self.assertEqual(checked["checked"], 5)
        self.assertLessEqual(checked["difference"], 1e-4)

    def test_the_loader_is_measured(self):
        report = self.good("bench", "loader", "--batch-size", 50, "--seconds", 0.1, "--json").json
        self.assertEqual((report["workload"], report["batch"]), ("loader", 50))
        self.assertGreaterEqual(report["samples_per_s"], report["samples_per_s_mean"])
        self.assertGreater(report["samples_per_s_direct"], 0)
        self.assertIn("samples/s", self.good("bench", "loader", "--seconds", 0.05).out)

    def test_kernels_are_listed(self):
        names = self.good("bench", "kernels", "--list").out.splitlines()
        self.assertGreater(len(names), 20)
        self.assertEqual(len(names), len(set(names)))
        self.assertIn("softmax", names)
        for name in names[:3]:
            self.good("bench", "kernels", name, "--check")

    def test_what_no_machine_has_room_for_is_refused_before_it_is_made(self):
        whole = ["--width", 4096, "--depth", 64, "--batch-size", 100000]
        for command, words in (
                (["bench", "gpt", *whole, "--sequence-length", 8192],
                 "lower --batch-size, --width, --depth or --sequence-length"),
                (["bench", "gpt", *whole, "--infer"], "lower --batch-size, --width or --depth"),
                (["bench", "gpt", *whole, "--check"], "lower --batch-size, --width or --depth"),
                (["explain", "vit", "--width", 4096, "--depth", 64], "lower --width or --depth"),
                (["tune", "resnet20", "--batch-size", 100000], "lower --batch-size"),
                (["bench", "resnet20", "--batch-size", 100000], "lower --batch-size")):
            with self.subTest(command):
                begun = time.monotonic()
                refused = self.run_nacre(*command, "--memory", 0) if command[0] != "tune" else self.run_nacre(*command)
                if refused.code == 0:
                    self.skipTest("this machine has room for it")
                self.assert_refused(refused, 1, "needs up to", "of memory", "are left", words)
                self.assertLess(time.monotonic() - begun, 30)

    def test_a_memory_limit_recomputes_or_is_refused(self):
        def figures(*flags):
            return self.good("bench", "vit", "--batch-size", 16, "--seconds", 0, "--json", *flags).json
        free = figures()
        self.assertEqual(free["recomputed"], 0)
        limit = free["arena_bytes"] * 95 // 100
        kept = figures("--memory", limit)
        self.assertGreater(kept["recomputed"], 0)
        self.assertLessEqual(kept["arena_bytes"], limit)
        self.assertEqual(figures("--memory", free["arena_bytes"])["recomputed"], 0)
        text = self.good("bench", "vit", "--batch-size", 16, "--seconds", 0, "--memory", limit).out
        self.assertRegex(text, r"recomputed +\d+ steps?, for --memory")
        for flags in ([], ["--infer"], ["--check"]):
            self.assert_refused(self.run_nacre("bench", "vit", "--memory", 100000, *flags), 1,
                                "the limit is 100000", "largest at its peak")

    def test_without_a_plan_there_is_time_but_no_work_and_no_roofline(self):
        line = ["bench", "mlp", "--batch-size", 4, "--seconds", 0.05]
        figures = self.good(*line, "--json", NACRE_EAGER="1").json
        self.assertEqual(list(figures), FIGURES)
        planned = {"flops", "bytes", "least_bytes", "gflops", "roofline_us", "fraction", "arena_bytes",
                   "live_lower_bound", "recomputed"}
        self.assertEqual({key for key in FIGURES if figures[key] is None}, planned | {"sequence_length"})
        self.assertGreater(figures["us_min"], 0)
        for mode in ([], ["--infer"]):
            text = self.good(*line, *mode, NACRE_EAGER="1").out
            self.assertIn("no roofline: NACRE_EAGER=1", text)
            self.assertNotIn("MFLOP", text)
            self.assertNotIn("arena", text)
        self.assertIn("MFLOP", self.good(*line, NACRE_EAGER="0").out)
        for network in ("mlp", "mnist-lenet"):
            self.assert_refused(self.run_nacre("explain", network, NACRE_EAGER="1"), 1, "NACRE_EAGER=1", "no plan",
                                "unset it")

    def test_the_first_refusal_names_what_all_parts_need(self):
        """Not what the forward pass needs, then the gradients, then the step."""
        for flags, part in (([], "a training step of 64 samples"), (["--infer"], "inference of 64 samples")):
            with self.subTest(flags):
                line = ["bench", "mlp", "--batch-size", 64, *flags]
                refused = self.run_nacre(*line, "--memory", 1)
                self.assert_refused(refused, 1, part, "the limit is 1;")
                self.assertRegex(refused.err, r"largest at its peak \(step \d+ of \d+\): [a-z][^;]* bytes\); raise")
                needed = int(re.search(r"needs (\d+) bytes", refused.err).group(1))
                figures = self.good(*line, "--memory", needed, "--seconds", 0, "--json").json
                self.assertLessEqual(figures["arena_bytes"], needed)
                self.assert_refused(self.run_nacre(*line, "--memory", needed - 1), 1, f"needs {needed} bytes")
                # The reference needs more, and is not what is limited.
                self.good(*line, "--memory", needed, "--check")
                self.assert_refused(self.run_nacre(*line, "--memory", needed - 1, "--check"), 1, f"needs {needed} bytes")

    def interrupt(self, delay, *line):
        """Exit code, stdout, stderr and seconds of a process that gets SIGINT after a while."""
        process = subprocess.Popen([harness.PROGRAM, *line], cwd=self.folder, env=self.environment(),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(delay)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=harness.TIMEOUT)
        return process.returncode, out, err.decode(), time.monotonic() - begun

    def test_a_signal_while_a_network_is_made_ends_at_once(self):
        for delay in (0.1, 0.3, 0.6):
            with self.subTest(delay):
                code, out, err, seconds = self.interrupt(
                    delay, "bench", "mlp", "--width", "1024", "--depth", "24", "--seconds", "600")
                self.assertEqual((code, out), (130, b""), err)
                self.assertEqual(err, "nacre bench: interrupted: there are no figures\n")
                self.assertLess(seconds, 10)

    def test_an_interrupted_benchmark_writes_its_trace(self):
        code, out, err, _ = self.interrupt(10 if QUICK or self.emulated() else 1, "bench", "mlp", "--seconds",
                                           "600", "--trace", "trace.json")
        self.assertEqual((code, out), (130, b""), err)
        self.assertEqual(err, "nacre bench: interrupted: there are no figures\n")
        with open(self.path("trace.json"), encoding="utf-8") as file:
            self.assertTrue(json.load(file)["traceEvents"])

    def test_an_interrupted_benchmark_prints_nothing(self):
        for what in (["mlp"], ["kernels", "dot"], ["loader"]):
            with self.subTest(what):
                code, out, err, _ = self.interrupt(0.5, "bench", *what, "--seconds", "600", "--json")
                self.assertEqual((code, out), (130, b""))
                self.assertEqual(err, "nacre bench: interrupted: there are no figures\n")


if __name__ == "__main__":
    harness.main()
