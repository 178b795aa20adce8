"""bench/run without peers: its usage, the table of goals, and drawings that are XML."""

import json
import os
import re
import subprocess
import sys
import unittest
import unittest.mock
import xml.etree.ElementTree

import harness

FOLDER = os.path.join(os.environ.get("NACRE_SOURCE", ""), "bench")
sys.path.insert(0, FOLDER)
sys.dont_write_bytecode = True


class FakeBench:
    """What the comparisons ask of bench/run. peers: what each prints, or its script in Python; None fails."""

    workloads, rounds, step_seconds, cpus = ["mlp"], 3, 0, []

    def __init__(self, test, peers):
        self.errors, self.said, self.unlike = test.path("errors"), "", set()
        self.peers = {peer: text for peer, text in peers.items() if peer != "nacre"}
        self._printed = peers

    def say(self, text):
        self.said += text + "\n"

    def program(self, name):
        return "nacre"

    def sample(self, workload):
        return f"{workload}.safetensors"

    def peer_command(self, peer):
        return [peer] if "nacre" in self._printed else [sys.executable, "-c", self.peers[peer]]

    def run(self, command):
        import processes
        printed = self._printed[command[0]]
        if printed is None:
            raise processes.Failure(f"{command[0]}: exit code 1")
        return unittest.mock.Mock(lines=printed.split())


class BenchRun(harness.ProgramTest):
    def run_bench(self, *arguments):
        done = subprocess.run([sys.executable, os.path.join(FOLDER, "run"), *arguments], cwd=self.folder,
                              capture_output=True, text=True, timeout=harness.TIMEOUT, check=False)
        return harness.Result(done.returncode, done.stdout, done.stderr)

    def results(self):
        from report import row
        from goals import Goal
        rows = [row("a", 0.2, name="step.mlp.64"), row("b", 0.7, name="fraction.mlp.64"),
                row("c", 0.5, name="step.lenet.64"), row("d", 0.3, name="infer.mlp.1"),
                row("e", 1e-6, goal=Goal("e", 1e-4), name="check.step.mlp.torch"),
                row("f", 1e-6, goal=Goal("f", 1e-4), name="check.step.lenet.torch"),
                row("g", 1, goal=Goal("g", 1e-4), name="check.infer.mlp.torch")]
        path = self.path("results.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"machine": {"cpu": "a machine"}, "rows": rows, "figures": {}}, file)
        return path, rows

    def test_goals_are_met_missed_or_not_measured(self):
        path, _ = self.results()
        shown = self.run_bench("--goals", "--results", path)
        self.assertEqual(shown.code, 0, shown.err)
        lines = {line.split("  ")[0]: line for line in shown.out.splitlines()}
        self.assertRegex(lines["mlp, batch 64: training step"], r"<= 0\.38 +0\.200 +met$")
        self.assertRegex(lines["lenet, batch 64: training step"], r"<= 0\.15 +0\.500 +MISSED$")
        # What nobody tried is one line: by name where few of a kind are lacking.
        absent = shown.out.splitlines()[-2]
        self.assertRegex(absent, r"^not measured, \d+ of \d+ goals: step \(6 of 8\), infer\.lenet\.1, infer\.vit\.1, .*products \(12\)")
        self.assertLess(len(absent), 250)
        # No peer's outputs are known to be Nacre's.
        self.assertRegex(lines["mlp, batch 1, one thread: inference"], r"<= 0\.35 +0\.300 +met, NOT CHECKED$")
        # A share of the roofline is the better the larger it is.
        self.assertRegex(lines["mlp, batch 64: share of the roofline, one thread"], r">= 0\.82 +0\.700 +MISSED$")

    def test_best_times_of_few_rounds_are_doubted(self):
        import report

        def said(*rounds):
            return report.goals_table([report.row("a", 0.2, name="step.mlp.64", rounds=rounds)]).splitlines()[2]
        self.assertRegex(said(1, 8), r"0\.200 +met, TOO FEW ROUNDS \(1 of 8\)")
        self.assertIn("TOO FEW ROUNDS (1 of 1)", said(1, 1))
        self.assertIn("TOO FEW ROUNDS (3 of 8)", said(3, 8))
        for rounds in ((4, 8), (2, 3), (2, 2)):
            self.assertNotIn("TOO FEW", said(*rounds))
            self.assertIn("{} of {}".format(*rounds), said(*rounds))
        self.assertNotIn("TOO FEW", said())

    def test_results_name_the_commit_of_the_program(self):
        import source
        build = self.path("build")
        os.mkdir(build)
        self.assertEqual(source.of(build, self.folder, True)["commit"], None)
        git = ["git", "-C", self.path("tree"), "-c", "user.name=n", "-c", "user.email=e"]
        os.makedirs(os.path.join(self.path("tree"), "src"))
        try:
            subprocess.run([*git, "init", "-q"], check=True)
        except OSError:
            raise unittest.SkipTest("git is not there") from None
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "a"], check=True)
        with open(os.path.join(build, "CMakeCache.txt"), "w", encoding="utf-8") as file:
            file.write(f"CMAKE_HOME_DIRECTORY:INTERNAL={self.path('tree')}\n")
        clean = source.of(build, self.folder, True)
        self.assertRegex(clean["commit"], "^[0-9a-f]{40}$")
        self.assertEqual((clean["dirty"], source.short(clean)), (False, clean["commit"][:7]))
        for name, dirty in (("README.md", False), ("src/new.c", True)):
            with open(os.path.join(self.path("tree"), name), "w", encoding="utf-8"):
                pass
            self.assertEqual(source.of(build, self.folder, True)["dirty"], dirty)
        self.assertEqual(source.short(source.of(build, self.folder, False)), clean["commit"][:7] + "+?")

    def test_bad_results_and_names_are_told(self):
        with open(self.path("broken.json"), "w", encoding="utf-8") as file:
            file.write("{}")
        with open(self.path("list.json"), "w", encoding="utf-8") as file:
            file.write("[]")
        with open(self.path("text.json"), "w", encoding="utf-8") as file:
            file.write("ratios: 1")
        with open(self.path("rows.json"), "w", encoding="utf-8") as file:
            file.write('{"machine": {"cpu": "a"}, "figures": {}, "rows": [{"id": "step.mlp.64"}]}')
        for name, told in (("broken.json", "it has no machine, rows, figures"), ("missing.json", "No such file"),
                           ("list.json", "no results' file"), ("text.json", "is not JSON"), ("rows.json", "its rows")):
            for mode in ("--goals", "--pages"):
                refused = self.run_bench(mode, "--results", self.path(name))
                self.assertEqual((refused.code, refused.err.count("\n")), (1, 1), refused.err)
                self.assertIn(name, refused.err)
                self.assertIn(told, refused.err)
        for words, told in ((("--workload", "mpl"), "mlp"), (("--only", "steps"), "step"),
                            (("--rounds", "0"), "--rounds"), (("--data", "nowhere"), "nowhere")):
            refused = self.run_bench(*words)
            self.assertEqual(refused.code, 2, refused.err)
            self.assertIn(told, refused.err)

    def test_pages_say_what_the_results_say_that_they_name(self):
        import marks
        import report
        import summary
        root = os.path.dirname(FOLDER)
        performance = os.path.join(root, "docs", "performance.md")
        with open(performance, encoding="utf-8") as file:
            named = dict.fromkeys(re.findall(r"\.\./bench/results/([\w.-]+\.json)", file.read()))
        self.assertGreater(len(named), 0)
        files = report.read_all(os.path.join(FOLDER, "results", name) for name in named)
        for page, tables in summary.tables(files).items():
            path = os.path.join(root, page)
            with open(path, encoding="utf-8") as file:
                self.assertEqual(file.read(), marks.filled(path, tables), f"{page}: run bench/run --pages")

    def test_pages_tell_what_is_missing_and_what_is_doubted(self):
        import summary
        path, rows = self.results()
        nothing = {"figures": {}, "rows": rows, "machine": {"cpu": "a machine"}}
        made = summary.tables([(path, nothing)])["docs/performance.md"]
        self.assertEqual({made[name] for name in ("steps", "infer", "shares", "mnist")}, {summary.NOT_MEASURED})
        of_mnist = {"nacre": [{"seconds": 1.0, "epochs": 2}], "torch": [{"seconds": 8.0, "epochs": 3}]}
        figures = {"mnist": of_mnist, "overhead": [
            {"us_hand_off_spinning_median": us, "us_hand_off_parked_median": 13.0, "us_line_median": 0.03} for us in (0.1, 0.6, 0.7)]}
        step = {"us_best": {"nacre": 100.0, "torch": 200.0}, "rounds": 3, "nacre": {
            "us_min": 100.0, "us_forward": 1, "us_backward": 1, "us_update": 1, "roofline_us": 80.0,
            "peak_one_gflops": 9.0, "peak_all_gflops": 9.0}}
        figures["step"] = {"mlp": {"128": {"1": step}}}
        program = {"commit": "a" * 40, "dirty": False, "built": False}
        run = {"written": "2026-01-01", "minutes": 1, "load_before": 3.5, "load_after": 4, "peers": {"torch": "2+x"}, "rows": [],
               "machine": {"cpu": "c", "cpus_usable": 1, "kernel_level": "avx2", "compiler": "cc"}, "figures": figures,
               "programs": {"mnist": program}}
        made = summary.tables([("r.json", run)])["docs/performance.md"]
        self.assertIn("`aaaaaaa?` (`?`: the program was not built in that run", made["runs"])
        self.assertIn("load before 3.5, after 4", made["runs"])
        # The recipe's own steps: two epochs of 469, three of PyTorch's.
        self.assertIn("the 938 steps are 0.09 s of Nacre's and 0.28 s of PyTorch's", made["mnist"])
        # The median of the processes is judged, not the best.
        self.assertIn("0.60 us (0.10 to 0.70), missed", made["rest"])
        self.assertIn("13.0 us (13.0 to 13.0), missed", made["rest"])
        self.assertEqual((summary.beside(0.383, "step.mlp.64"), summary.beside(0.3804, "step.mlp.64")), ("0.383", "0.3804"))

    def test_shares_are_of_the_whole_step(self):
        import shares

        def replay(at, *steps, of="step"):
            spans, start = [], at
            for name, us in steps:
                args = {"flops": 10, "bytes": 5}
                spans.append({"ph": "X", "tid": 1, "name": name, "ts": at, "dur": us, "args": args})
                at += us
            return spans + [{"ph": "X", "tid": 1, "name": f"replay: {of}", "ts": start, "dur": at - start, "args": {"steps": len(steps)}}]
        forward = replay(0, ("linear+relu", 3), ("cross_entropy", 1), of="forward")
        slow = replay(10, ("linear+relu", 9), ("cross_entropy", 1), ("add", 1), ("adam_update", 1))
        fast = replay(30, ("linear+relu", 6), ("cross_entropy", 2), ("linear", 1), ("adam_update", 1))
        found = shares.figures_of(forward + slow + fast + [{"ph": "X", "tid": 2, "name": "busy", "ts": 0, "dur": 50}])
        self.assertEqual((found["replays"], found["steps"], found["us"], found["covered"]), (2, 4, 10, 1))
        self.assertEqual({name: (of["share"], of["count"]) for name, of in found["groups"].items()},
                         {shares.PRODUCTS: (0.7, 2), shares.NORMS: (0.2, 1), shares.UPDATES: (0.1, 1)})
        self.assertEqual(found["kernels"]["linear"]["us_a_step"], 3.5)
        # A replay whose beginning the ring has given up is none.
        self.assertIsNone(shares.figures_of(slow[1:]))
        self.assertEqual([shares.group_of(name) for name in ("mul+sub", "conv2d_backward_weight", "copy to lanes", "max_pool2d")],
                         [shares.REST, shares.CONVOLUTIONS, shares.REST, shares.NORMS])

    def test_a_goal_covers_no_number_and_a_colour_means_one_thing(self):
        import charts
        import plots
        svg = "{http://www.w3.org/2000/svg}"

        def drawn(name):
            return xml.etree.ElementTree.parse(self.path(name)).getroot()
        for goal in (0.3, 0.345, 0.38, 0.42, 0.9):
            charts.bars(self.path("bars"), "", [("a", [("Nacre", 0.339)])], 1, {"a": goal})
            mark = next(path for path in drawn("bars").iter(f"{svg}path") if path.get("stroke") == charts.COLOURS[1])
            at = float(mark.get("d").split()[0][1:])
            number = float(next(text.get("x") for text in drawn("bars").iter(f"{svg}text") if text.text == "0.339"))
            self.assertFalse(number - 2 < at < number + 35, (goal, at, number))
        answer = {"gflops": 50.0, "peak_gflops": 100.0, "bandwidth_gbytes": 20.0, "flops": 4e7, "least_bytes": 2e6}
        plots._roofline({"mlp": {batch: {1: {"nacre": answer}} for batch in range(8)}}, self.path("roofline"))
        colours = [text.get("fill") for text in drawn("roofline").iter(f"{svg}text") if text.get("fill")]
        self.assertEqual((len(colours), len(set(colours))), (9, 9))

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
        names = [*matrices.shapes(), *matrices.LARGE.values()]
        self.assertEqual(len(names), len(set(names)))
        times = {"nacre": [2.0] * len(names), "torch": [4.0] * len(names), "numpy": [5.0] * len(names)}
        slow = {who: [9 * us for us in of] for who, of in times.items()}
        times["nacre"][0] = 8.0
        figures = matrices._best([(100.0, times), (50.0, slow), (99.0, slow)], names)
        self.assertEqual((figures["peak_gflops"], figures["rounds_dropped"]), (100, 1))
        self.assertEqual(figures["us_median"][names[1]]["nacre"], 10)
        rows = matrices._rows(figures, 1)
        self.assertTrue(all(row["rounds"] == [2, 3] for row in rows), rows)
        measured = {row["id"]: row["measured"] for row in rows}
        self.assertEqual((measured["products.worst.1"], measured["products.1024.1"], measured["products.above.1"]), (2.0, 0.5, 1))
        self.assertEqual(rows[-1]["note"], f"{matrices.KINDS[0]} {matrices.size_of(names[0])} 2.00")
        self.assertAlmostEqual(measured["products.mean.1"], 0.5 * 4 ** (1 / len(matrices.shapes())))
        alone = matrices._rows({**figures, "us_best": {n: {"nacre": 2.0} for n in names}}, 2)
        self.assertEqual([row["id"] for row in alone], ["products.peak.1024.all", "products.peak.2048.all"])

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
        import workloads
        scripts = os.listdir(os.path.join(FOLDER, "peers"))
        for peer in environment.PEERS:
            script = {"libtorch": "libtorch_peer.cpp", "torch-compiled": "torch_peer.py"}.get(peer, f"{peer}_peer.py")
            self.assertIn(script, scripts)
        for peer, some in workloads.WORKLOADS_OF.items():
            self.assertIn(peer, environment.PEERS)
            self.assertLessEqual(set(some), set(workloads.BATCHES))
        for peer in (*workloads.INFERENCE_ONLY, *workloads.TRAINING_ONLY):
            self.assertIn(peer, environment.PEERS)

    def test_only_the_peers_that_a_comparison_needs_are_set_up(self):
        import environment
        import workloads
        for name in ("sweep", "overhead", "waiting", "shares", "size", "baseline"):
            self.assertEqual(workloads.peers_needed(name, list(workloads.BATCHES)), set())
        self.assertEqual(workloads.peers_needed("mnist", ["mlp"]), {"torch"})
        self.assertNotIn("onnxruntime", workloads.peers_needed("step", ["mlp"]))
        self.assertEqual(workloads.peers_needed("step", ["vit"]), {"jax", "torch", "torch-compiled"})
        self.assertEqual(workloads.peers_needed("check", ["mlp"]), set(environment.PEERS))
        folder = self.path("no-peers")
        found = environment.Peers(folder, set(), {"torch"}, False, self.fail)
        self.assertEqual((found.versions, found.missing, os.path.exists(folder)), ({}, {}, False))

    def peers_of_a_broken_install(self, heals, asked):
        """Peers where numpy counts as installed and cannot be imported; heals: once all is installed over."""
        import environment
        folder = self.path("venv")
        os.makedirs(folder, exist_ok=True)
        over = []

        def run(command):
            asked.append(command)
            over.extend(word for word in command if word == "--ignore-installed")

        def ask(peers, code):
            return ("2.0", None) if heals and over else (None, "ImportError: half of it")
        with unittest.mock.patch.object(environment, "_run", run), \
                unittest.mock.patch.object(environment.Peers, "_ask", ask):
            return environment.Peers(folder, {"numpy"}, set(), False, lambda text: None)

    def test_what_a_killed_install_left_is_installed_over(self):
        asked = []
        self.assertEqual(self.peers_of_a_broken_install(True, asked).versions, {"numpy": "2.0"})
        again = []
        broken = self.peers_of_a_broken_install(False, asked).missing["numpy"]
        self.assertIn("installed, but it cannot be imported: ImportError: half of it", broken)
        self.assertEqual(self.peers_of_a_broken_install(False, again).missing["numpy"], broken)
        self.assertEqual([c for c in again if "--ignore-installed" in c], [])  # not at every run

    def test_a_pytorch_that_is_not_found_is_told(self):
        import environment
        peers = environment.Peers(self.path("venv"), set(), set(), False, lambda text: None)
        peers.versions["torch"] = "1"
        self.assertIn("where PyTorch lies", peers._build_libtorch("g++"))

    def test_programs_that_are_not_built_are_told(self):
        import processes
        os.symlink(harness.PROGRAM, self.path("nacre"))
        with self.assertRaisesRegex(processes.Failure, "bench/overhead is not there; leave out --no-build"):
            processes.run([self.path("bench/overhead")], 1, [], self.path("errors"))
        command = [sys.executable, os.path.join(FOLDER, "experiments", "run"), "--check", "--no-build"]
        done = subprocess.run([*command, "--build", self.folder], capture_output=True, text=True,
                              timeout=harness.TIMEOUT, check=False)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
        self.assertIn("lacks bench/losses, bench/experiments; leave out --no-build", done.stderr)

    def test_memory_is_that_of_the_program_alone(self):
        import processes
        large = bytearray(b"1" * 80_000_000)  # which a process that is forked from this one has at first
        words = [sys.executable, "-I", "-S", "-c"]
        small = processes.peak_memory([*words, "pass"], 1, [], self.path("errors"))
        more = processes.peak_memory([*words, "x = bytearray(b'1' * 50_000_000)"], 1, [], self.path("errors"))
        self.assertLess(small, len(large) / 2)
        self.assertGreater(more, small + 45_000_000)
        with self.assertRaisesRegex(processes.Failure, "exit code 3: .*ValueError: it is broken"):
            processes.peak_memory([*words, "import sys; print('ValueError: it is broken', file=sys.stderr); sys.exit(3)"],
                                  1, [], self.path("errors"))

    def test_every_workload_has_its_goals(self):
        import goals
        import workloads
        for workload, batches in workloads.BATCHES.items():
            for batch in batches:
                for kind in ("step", "fraction"):
                    self.assertIn(f"{kind}.{workload}.{batch}", goals.GOALS)

    def test_threads_are_one_and_all_that_the_process_may_use(self):
        import machine
        code = "import machine, os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); print(machine.thread_counts())"
        cpus = machine.usable_cpus()
        if not cpus:
            raise unittest.SkipTest("the system does not tell which CPUs a process may use")
        self.assertEqual(machine.thread_counts(), (1,) if len(cpus) == 1 else (1, len(cpus)))
        one = subprocess.run([sys.executable, "-c", code], cwd=FOLDER, capture_output=True, text=True, check=True)
        self.assertEqual(one.stdout.strip(), "(1,)")

    def test_a_peer_that_computes_something_else_is_not_compared(self):
        import checks
        import workloads
        bench = FakeBench(self, {"nacre": "1 2 3", "torch": "1 2.00001 3", "jax": "1 2.1 3", "numpy": None})
        rows, _ = checks.check(bench)
        met = {row["id"]: row["met"] for row in rows}
        self.assertEqual((met["check.step.mlp.torch"], met["check.step.mlp.jax"], met["check.step.mlp.numpy"]),
                         (True, False, None))
        self.assertEqual(workloads.peers_of(bench, "mlp", False), ["torch"])
        self.assertIn("jax is left out: it computes something else", bench.said)

    def test_a_peer_that_fails_is_left_out_and_the_rest_goes_on(self):
        import steps
        answer = "print('{\"us_min\": 5, \"us_median\": 6}', flush=True)"
        start = "import sys; print('{\"version\": \"1\"}', flush=True)"
        scripts = {"torch": f"{start}\nfor line in sys.stdin: {answer}",
                   "jax": f"{start}\nsys.stdin.readline(); {answer}; sys.stdin.readline(); sys.exit('ValueError: it is broken\\nask for more with X=1')",
                   "numpy": "raise SystemExit('it does not start')"}
        bench = FakeBench(self, scripts)
        with unittest.mock.patch.object(steps, "nacre", lambda *_: {
                "us_min": 2.0, "us_median": 3.0, "peak_gflops": 9.0, "roofline_us": 1.0}):
            rows, _ = steps._compare(bench, "mlp", (64,), False, (1,))
        measured = {row["id"]: row["measured"] for row in rows}
        self.assertEqual(measured, {"fraction.mlp.64": 0.5, "step.mlp.64.1.torch": 0.4, "step.mlp.64": 0.4})
        self.assertIn("ValueError: it is broken\n", bench.said)
        self.assertIn("it does not start", bench.said)

    def test_what_pages_say_follows_from_their_figures(self):
        sys.path.insert(1, os.path.join(FOLDER, "experiments"))
        import batch_size
        import pages
        self.assertEqual(pages.verdicts({"a": 0.5, "b": 1.13, "c": 1.02, "d": 0.9}, "faster:", "slower:", "equal:"),
                         "faster: a (0.50) and d (0.90); slower: b (1.13); equal: c (1.02)")
        self.assertEqual((pages.span([1.2, 0.5]), pages.span([1.001, 1.002])), ("0.50 to 1.20", "1.00"))

        def run(seconds, status="done"):
            return {"seconds": seconds, "status": status, "epochs": 4, "steps": 9}
        figures = {"target": {"32": {"runs": [run(2)]}, "64": {"runs": [run(1.02)]}, "128": {"runs": [run(1)]},
                              "256": {"runs": [run(0.5, "missed")]}},
                   "search": {"32": {}, "64": {"0.1": [run(1)], "0.2": [run(1)]}, "128": {"0.1": [run(1)]}, "256": {}}}
        said = batch_size._about_target(figures)
        self.assertIn("Best size: 64", said[0])  # as fast as 128, and less choosy
        self.assertIn("64 and 128", said[1])
        self.assertIn("32 (1.96 of its time)", said[2])
        self.assertIn("Not with every seed: 256", said[3])

    def test_waiting_is_part_of_a_step(self):
        waiting = os.path.join(os.path.dirname(harness.PROGRAM), "bench", "waiting")
        if not os.path.exists(waiting):
            raise unittest.SkipTest("bench/waiting is not built")
        done = subprocess.run([waiting, "mnist", "--seconds", "0.1"], capture_output=True, check=True)
        figures = json.loads(done.stdout)
        self.assertEqual((figures["set"], figures["workload"], figures["threads"]), ("mnist", "mlp", 1))
        self.assertTrue(0 < figures["us_waiting"] < figures["us_step"], figures)
        for words in ([], ["mnits"], ["mnist", "--threads", "0"], ["mnist", "--seconds", "x"]):
            self.assertEqual(subprocess.run([waiting, *words], capture_output=True, check=False).returncode, 2)

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
