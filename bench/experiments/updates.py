"""Where a step's updates run: in the step's plan, in one plan afterwards, one by one; and in the product's epilogue."""

import charts
import pages

WORKLOADS = ("mlp", "lenet", "vit", "gpt", "resnet20")
WHOLE, BLOCKS, EPILOGUE = "product, then update", "product in blocks, then update", "update after each block"


def _best(rounds):
    """Least times of each way over the rounds, which ran in turn inside one process."""
    best = dict(rounds[0])
    best["ways"] = [
        {"name": way["name"], "us_min": min(r["ways"][i]["us_min"] for r in rounds)}
        for i, way in enumerate(rounds[0]["ways"])
    ]
    return best


def _best_blocks(rounds):
    return [
        {**row, **{way: min(r["shapes"][i][way] for r in rounds) for way in (WHOLE, BLOCKS, EPILOGUE)}}
        for i, row in enumerate(rounds[0]["shapes"])
    ]


def measure(shop):
    workloads = WORKLOADS[:1] if shop.check else WORKLOADS
    threads = shop.threads[:1] if shop.check else shop.threads
    program, ways = shop.program("bench/experiments"), {}

    def way(kind, workload, count, seconds):
        words = [workload, "--threads", str(count), "--seconds", str(seconds)]
        return lambda: shop.json([program, kind, *words], count)[0]

    for workload in workloads:
        # One thread: a second one that has to wait for its CPU would hide differences of a hundredth.
        ways[f"steps {workload} 1"] = way("steps", workload, 1, 6 * shop.seconds)
        for count in threads:
            ways[f"updates {workload} {count}"] = way("updates", workload, count, shop.seconds)
    ways["epilogue"] = way("epilogue", "mlp", 1, 12 * shop.seconds)
    rounds = shop.in_turn(ways, "updates", max(1, shop.rounds // 2))
    figures = {name: _best(r) for name, r in rounds.items() if name != "epilogue"}
    return {"best": figures, "epilogue": _best_blocks(rounds["epilogue"]), "raw": rounds}


def _ways_table(figures, kind):
    lines, names = [], []
    for name, best in figures["best"].items():
        if name.startswith(kind):
            names = [way["name"] for way in best["ways"]]
            times = [way["us_min"] for way in best["ways"]]
            base = times[names.index("in the step's plan" if kind == "steps" else "one plan")]
            cells = [f"{pages.number(t)} ({pages.ratio(t / base)})" for t in times]
            lines.append([f"`{best['workload']}`", best["parameters"], best["threads"], *cells])
    return pages.table(["workload", "tensors", "threads", *[f"{n}, us" for n in names]], lines)


def _least_blocks(figures):
    """Of each shape the block size with the least time of updates after each block."""
    least = {}
    for row in figures["epilogue"]:
        key = (row["out"], row["in"], row["batch"])
        if key not in least or row[EPILOGUE] / row[WHOLE] < least[key][EPILOGUE] / least[key][WHOLE]:
            least[key] = row
    return list(least.values())


def _ratios(figures, kind, base):
    """{way: {workload and threads: time / that of the way `base`}}"""
    found = {}
    for best in (best for name, best in figures["best"].items() if name.startswith(kind)):
        times = {way["name"]: way["us_min"] for way in best["ways"]}
        label = f"`{best['workload']}`" + (f" on {best['threads']} threads" if best["threads"] > 1 else "")
        for way in times:
            found.setdefault(way, {})[label] = times[way] / times[base]
    del found[base]
    return found


def _left_out(figures):
    """A workload that a run did not have is told: a page may be older than the list of workloads."""
    measured = {best["workload"] for best in figures["best"].values()}
    lacking = [f"`{workload}`" for workload in WORKLOADS if workload not in measured]
    return [f"Not measured in this run: {pages.listed(lacking)}."] if lacking else []


def _verdict(way, ratios):
    faster, slower, equal = "faster for", "slower for", "no difference that can be told for"
    return f"**{way}**: {pages.verdicts(ratios, faster, slower, equal)}."


def _about_tensors(figures):
    """A tensor's fixed price: what the plan takes longer than one flat array."""
    prices = []
    for name, best in figures["best"].items():
        if name.startswith("updates"):
            times = {way["name"]: way["us_min"] for way in best["ways"]}
            prices.append((times["one plan"] - times["one flat array"]) / best["parameters"])
    return f"The difference between one plan and one flat array is {pages.span(prices)} us for each tensor."


def _about_epilogue(figures):
    least = _least_blocks(figures)
    ratios = {f"{r['out']} x {r['in']}, batch {r['batch']}": r[EPILOGUE] / r[WHOLE] for r in least}
    blocks = pages.span([r[BLOCKS] / r[WHOLE] for r in least])
    return [_verdict(EPILOGUE, ratios), f"The product in blocks alone, with one update at the end, takes {blocks}."]


def tables(figures):
    lines = []
    for row in _least_blocks(figures):
        cells = [f"{pages.number(row[w])} ({pages.ratio(row[w] / row[WHOLE])})" for w in (WHOLE, BLOCKS, EPILOGUE)]
        lines.append([f"{row['out']} x {row['in']}, batch {row['batch']}", row["rows"], *cells])
    heading = ["weight gradient", "rows of a block", *[f"{w}, us" for w in (WHOLE, BLOCKS, EPILOGUE)]]
    return {
        "steps": _ways_table(figures, "steps"),
        "alone": _ways_table(figures, "updates"),
        "epilogue": pages.table(heading, lines),
        "about-steps": pages.bullets(
            [*(_verdict(*one) for one in _ratios(figures, "steps", "in the step's plan").items()), *_left_out(figures)]
        ),
        "about-alone": pages.bullets(
            [*(_verdict(*one) for one in _ratios(figures, "updates", "one plan").items()), _about_tensors(figures)]
        ),
        "about-epilogue": pages.bullets(_about_epilogue(figures)),
    }


def draw(figures, stem):
    groups = []
    for best in figures["best"].values():
        if "batch" in best:
            base = best["ways"][0]["us_min"]
            values = [(way["name"], way["us_min"] / base) for way in best["ways"]]
            groups.append((best["workload"], values))
    paths = [charts.bars(f"{stem}-steps.svg", "Training step, time / that of one plan", groups, 1)]
    blocks = [
        (f"{r['out']} x {r['in']}, batch {r['batch']}", [(w, r[w] / r[WHOLE]) for w in (WHOLE, BLOCKS, EPILOGUE)])
        for r in _least_blocks(figures)
    ]
    title = "Weight gradient and Adam, time / one after the other"
    return [*paths, charts.bars(f"{stem}-epilogue.svg", title, blocks, 1)]
