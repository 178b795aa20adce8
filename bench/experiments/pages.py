"""The pages: explanations by hand around tables and conclusions that a run fills in, between <!-- table: NAME --> and
<!-- end -->. What a page says of figures is made from the figures, so that it cannot contradict them."""

import datetime

import machine
from marks import Mismatch, bullets, counted, filled, listed, number, replace, table  # noqa: F401

NOISE = 0.05  # times that differ by less are not told apart


def ratio(value):
    return f"{value:.2f}"


def span(values):
    """From the least to the largest, once where they read the same."""
    ends = list(dict.fromkeys((ratio(min(values)), ratio(max(values)))))
    return " to ".join(ends)


def verdicts(ratios, faster, slower, equal):
    """Sentences about {name: time / time of what it is compared with}: who is faster, who slower, who neither."""
    groups = {
        faster: {n: r for n, r in ratios.items() if r < 1 - NOISE},
        slower: {n: r for n, r in ratios.items() if r > 1 + NOISE},
        equal: {n: r for n, r in ratios.items() if abs(r - 1) <= NOISE},
    }
    return "; ".join(
        f"{text} {listed(f'{name} ({ratio(r)})' for name, r in of.items())}" for text, of in groups.items() if of
    )


def about(shop, command, load_before):
    info, _ = shop.json([shop.program("nacre"), "info", "--json"])
    return {
        **machine.facts(info),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "command": command,
        "rounds": shop.rounds,
        "load_before": load_before,
        "load_after": machine.load(),
    }


def machine_line(facts):
    line = f"`{facts['command']}`, {facts['date']}: {facts['cpu']}, {facts['cpus_usable']} CPUs, kernel level"
    line += f" {facts['kernel_level']}, {facts['compiler']}; {facts['rounds']} rounds in turn, best of each;"
    busy = facts["load_before"] is not None and facts["load_before"] > 1.5
    return line + f" load before and after {facts['load_before']}, {facts['load_after']}" + (
        ": other programs ran." if busy else "."
    )
