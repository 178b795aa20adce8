"""--trace: a file that trace viewers open, of what ran; and what becomes of it when things go wrong."""

import json
import signal
import subprocess
import time

import harness


class Trace(harness.ProgramTest):
    def events(self, *names):
        with open(self.path(*names), encoding="utf-8") as file:
            trace = json.load(file)
        self.assertGreaterEqual(trace["otherData"]["dropped_events"], 0)
        return trace["traceEvents"]

    def test_a_training_run_is_traced_step_by_step(self):
        self.train("--trace", self.path("trace.json"), "--threads", 2)
        events = self.events("trace.json")
        rows = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
        self.assertEqual(rows[1], "plan steps")
        self.assertEqual(rows[2], "pool thread 0 (caller)")
        steps = [e for e in events if e["ph"] == "X" and e["tid"] == 1 and e["name"] != "replay"]
        self.assertIn("linear+relu", {e["name"] for e in steps})
        for step in steps:
            self.assertGreaterEqual(step["dur"], 0)
            self.assertIn("->", step["args"]["shapes"])
            self.assertTrue(step["args"]["way"])
            self.assertGreaterEqual(step["args"]["GFLOP/s"], 0)
        pool = {e["name"] for e in events if e["ph"] == "X" and e["tid"] > 1}
        self.assertLessEqual({"busy", "barrier wait"}, pool)
        self.assertLessEqual(pool, {"busy", "barrier wait", "hand-off"})

    def test_the_trace_changes_no_weight(self):
        self.train(out="plain")
        self.train("--trace", self.path("trace.json"), out="traced")
        with open(self.path("plain", "model.safetensors"), "rb") as plain:
            with open(self.path("traced", "model.safetensors"), "rb") as traced:
                self.assertEqual(plain.read(), traced.read())

    def test_a_benchmark_is_traced(self):
        self.good("bench", "mlp", "--seconds", "0.05", "--trace", self.path("t.json"), "--json")
        steps = {}
        for replay in (e for e in self.events("t.json") if e["name"].startswith("replay")):
            steps.setdefault(replay["name"], set()).add(replay["args"]["steps"])
        self.assertEqual(set(steps), {"replay: forward", "replay: forward and backward", "replay: step"})
        self.assertTrue(all(len(of) == 1 for of in steps.values()), steps)
        self.assertTrue(max(steps["replay: forward"]) < max(steps["replay: forward and backward"]) < max(steps["replay: step"]))
        self.good("bench", "mlp", "--infer", "--seconds", "0", "--trace", self.path("t.json"), "--json")
        self.assertEqual({e["name"] for e in self.events("t.json") if e["name"].startswith("replay")}, {"replay: inference"})

    def test_a_bad_path_is_one_line_and_nothing_is_left(self):
        data = self.data()
        before = self.tree()
        for command in (["train", "mnist-mlp", "--data", data, "--out", "run", "--quiet"],
                        ["bench", "mlp", "--seconds", "0.01"]):
            for path in ("nowhere/trace.json", ".", "/dev/null", "/dev/full"):
                self.assert_refused(self.run_nacre(*command, "--trace", path), 1, "--trace", path)
            self.assert_refused(self.run_nacre(*command, "--trace", ""), 2, "--trace")
        self.assertEqual(self.tree(), before)

    def test_results_and_trace_are_kept_apart(self):
        result = self.run_nacre("bench", "mlp", "--seconds", "0", "--trace", "/dev/stdout")
        self.assert_refused(result, 1, "--trace", "/dev/stdout", "give the path of")
        with open(self.path("results.txt"), "w", encoding="utf-8") as file:
            result = self.run_nacre("bench", "mlp", "--seconds", "0", "--trace", "results.txt", stdout=file)
        self.assert_refused(result, 1, "--trace", "results.txt", "another file")

    def test_an_interrupted_run_writes_its_trace(self):
        process = subprocess.Popen(
            [harness.PROGRAM, "train", "mnist-mlp", "--data", self.data(), "--epochs", "100000", "--quiet",
             "--out", "run", "--trace", "trace.json"],
            cwd=self.folder, env=self.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        steps = self.path("run", "steps.csv")
        end = time.monotonic() + harness.TIMEOUT
        while time.monotonic() < end and process.poll() is None:
            try:
                with open(steps, "rb") as file:
                    if file.read(4096).count(b"\n") > 2:
                        break
            except FileNotFoundError:
                pass
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=harness.TIMEOUT)
        self.assertEqual(process.returncode, 128 + signal.SIGINT)
        self.assertTrue(any(e["name"] == "replay" for e in self.events("trace.json")))


if __name__ == "__main__":
    harness.main()
