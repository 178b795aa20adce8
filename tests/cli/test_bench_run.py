"""bench/run without peers: its usage, the table of goals, and drawings that are XML."""

import json
import os
import subprocess
import sys
import unittest
import xml.etree.ElementTree

import harness

FOLDER = os.path.join(os.environ.get("NACRE_SOURCE", ""), "bench")
sys.path.insert(0, FOLDER)
sys.dont_write_bytecode = True


class BenchRun(harness.ProgramTest):
    def run_bench(self, *arguments):
        done = subprocess.run([sys.executable, os.path.join(FOLDER, "run"), *arguments], cwd=self.folder,
                              capture_output=True, text=True, timeout=harness.TIMEOUT, check=False)
        return harness.Result(done.returncode, done.stdout, done.stderr)

    def results(self):
        from report import row
        rows = [row("a", 0.2, id="step.mlp.64", goal=0.38), row("b", 0.7, id="fraction.mlp.64"),
                row("c", 0.5, id="step.lenet.64", goal=0.15), row("d", 0.3, id="infer.mlp.1", goal=0.35)]
        path = self.path("results.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"machine": {"cpu": "a machine"}, "rows": rows}, file)
        return path, rows

    def test_goals_are_met_missed_or_not_measured(self):
        path, _ = self.results()
        shown = self.run_bench("--goals", "--results", path)
        self.assertEqual(shown.code, 0, shown.err)
        lines = {line.split("  ")[0]: line for line in shown.out.splitlines()}
        self.assertRegex(lines["mlp, batch 64: training step"], r"<= 0\.38 +0\.200 +met$")
        self.assertRegex(lines["lenet, batch 64: training step"], r"<= 0\.15 +0\.500 +MISSED$")
        self.assertRegex(lines["vit, batch 64: training step"], r"<= 0\.38 +- +not measured$")
        # A share of the roofline is the better the larger it is.
        self.assertRegex(lines["mlp, batch 64: share of the roofline, one thread"], r">= 0\.82 +0\.700 +MISSED$")

    def test_bad_results_and_names_are_told(self):
        with open(self.path("broken.json"), "w", encoding="utf-8") as file:
            file.write("{}")
        for name in ("broken.json", "missing.json"):
            refused = self.run_bench("--goals", "--results", self.path(name))
            self.assertEqual((refused.code, refused.err.count("\n")), (1, 1), refused.err)
            self.assertIn(name, refused.err)
        for words, told in ((("--workload", "mpl"), "mlp"), (("--only", "steps"), "step"),
                            (("--rounds", "0"), "--rounds"), (("--data", "nowhere"), "nowhere")):
            refused = self.run_bench(*words)
            self.assertEqual(refused.code, 2, refused.err)
            self.assertIn(told, refused.err)

    def test_drawings_are_well_formed(self):
        import plots
        path, rows = self.results()
        answer = {"us_min": 100.0, "gflops": 50.0, "peak_gflops": 100.0, "bandwidth_gbytes": 20.0,
                  "flops": 4e7, "least_bytes": 2e6}
        figures = {"step": {"mlp": {64: {1: {"nacre": answer}}}},
                   "sweep": {axis: {"mlp": {n: {"us_min": 3.0 * n, "arena_bytes": 5 * n * n} for n in (1, 2, 4, 8)}}
                             for axis in ("batch-size", "width")}}
        drawn = plots.draw(path, rows, figures)
        self.assertEqual([os.path.basename(name) for name in drawn],
                         ["results-ratios.svg", "results-roofline.svg", "results-batch-size.svg",
                          "results-batch-size-memory.svg", "results-width.svg", "results-width-memory.svg"])
        for name in drawn:
            xml.etree.ElementTree.parse(name)
        for name, law in zip(drawn[2:], ("n^1.00", "n^2.00", "n^1.00", "n^2.00")):
            with open(name, encoding="utf-8") as file:
                self.assertIn(law, file.read())

    def test_products_are_compared_by_their_best(self):
        import matrices
        names = [*matrices.shapes(), matrices.LARGE]
        self.assertEqual(len(names), len(set(names)))
        times = {"nacre": [2.0] * len(names), "torch": [4.0] * len(names), "numpy": [5.0] * len(names)}
        slow = {who: [9 * us for us in of] for who, of in times.items()}
        times["nacre"][0] = 8.0
        best, peak, dropped = matrices._best([(100.0, times), (50.0, slow)], names)
        self.assertEqual((peak, dropped), (100, 1))
        rows = matrices._rows({"us_best": best, "peak_gflops": peak, "rounds": 2, "rounds_dropped": 1}, 1)
        measured = {row["id"]: row["measured"] for row in rows}
        self.assertEqual((measured["products.worst.1"], measured["products.large.1"]), (2.0, 0.5))
        self.assertAlmostEqual(measured["products.mean.1"], 0.5 * 4 ** (1 / (len(names) - 1)))
        alone = matrices._rows({"us_best": {n: {"nacre": 2.0} for n in names}, "peak_gflops": peak}, 1)
        self.assertEqual([row["id"] for row in alone], ["products.peak.1"])

    def test_what_is_not_the_replay_is_part_of_a_step(self):
        overhead = os.path.join(os.path.dirname(harness.PROGRAM), "bench", "overhead")
        if not os.path.exists(overhead):
            raise unittest.SkipTest("bench/overhead is not built")
        done = subprocess.run([overhead, "--batch-size", "4", "--seconds", "0.05"], capture_output=True, check=True)
        figures = json.loads(done.stdout)
        self.assertEqual((figures["workload"], figures["batch"]), ("mlp", 4))
        self.assertTrue(0 < figures["us_outside_min"] < figures["us_step_median"], figures)
        for words in (["--batch-size", "0"], ["--seconds", "x"], ["mlp"]):
            self.assertEqual(subprocess.run([overhead, *words], capture_output=True, check=False).returncode, 2)

    def test_a_library_without_products_is_refused(self):
        blas = os.path.join(os.path.dirname(harness.PROGRAM), "bench", "blas")
        if not os.path.exists(blas):
            raise unittest.SkipTest("bench/blas is not built")
        for words in (["nowhere.so", "matmul:1x1x1:nn"], ["libm.so.6", "matmul:1x1x1:nn"]):
            refused = subprocess.run([blas, *words], capture_output=True, check=False)
            self.assertEqual((refused.returncode, refused.stderr.count(b"\n")), (1, 1), refused.stderr)

    def test_every_peer_has_a_script_and_known_workloads(self):
        import environment
        import steps
        scripts = os.listdir(os.path.join(FOLDER, "peers"))
        for peer in environment.PEERS:
            self.assertIn(f"{peer}_peer.py", scripts)
        for peer, workloads in steps.WORKLOADS_OF.items():
            self.assertIn(peer, environment.PEERS)
            self.assertLessEqual(set(workloads), set(steps.BATCHES))
        for peer in (*steps.INFERENCE_ONLY, *steps.TRAINING_ONLY):
            self.assertIn(peer, environment.PEERS)

    def test_the_file_that_all_peers_read_starts_them_equally(self):
        losses = os.path.join(os.path.dirname(harness.PROGRAM), "bench", "losses")
        if not os.path.exists(losses):
            raise unittest.SkipTest("bench/losses is not built")
        self.assertEqual(subprocess.run([losses, "mpl", "x"], capture_output=True, check=False).returncode, 2)
        for workload in ("mlp", "lenet"):
            path = self.path(workload)
            subprocess.run([losses, workload, "--write", path, "--batch-size", "6"], check=True)
            printed = [subprocess.run([losses, workload, path, *words], capture_output=True, check=True).stdout
                       for words in (["--steps", "2", "--batch-size", "6"],) * 2]
            self.assertEqual(printed[0], printed[1])
            self.assertEqual(printed[0].count(b"\n"), 2)
            few = subprocess.run([losses, workload, path, "--batch-size", "7"], capture_output=True, check=False)
            self.assertEqual((few.returncode, few.stderr.count(b"\n")), (1, 1))


if __name__ == "__main__":
    harness.main()
