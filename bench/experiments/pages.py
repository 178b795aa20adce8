"""The pages: explanations by hand around tables and conclusions that a run fills in, between <!-- table: NAME --> and
<!-- end -->. What a page says of figures is made from the figures, so that it cannot contradict them."""

import datetime
import os
import re

import machine

NOISE = 0.05  # times that differ by less are not told apart
_MARKED = re.compile(r"(<!-- table: ([a-z-]+) -->\n).*?(<!-- end -->)", re.S)


class Mismatch(Exception):
    """A page and its tables that do not belong together."""


def table(heading, lines):
    """A markdown table of texts and numbers."""
    rows = [heading, ["---"] * len(heading), *[[_cell(c) for c in line] for line in lines]]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _cell(value):
    if value is None:
        return "-"
    return value if isinstance(value, str) else number(value)


def number(value):
    """Three digits, which is more than most measurements are worth."""
    if isinstance(value, int):
        return f"{value:,}"
    if value != 0 and abs(value) < 1e-3:
        return f"{value:.1e}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def ratio(value):
    return f"{value:.2f}"


def bullets(lines):
    return "\n".join(f"- {line}" for line in lines)


def span(values):
    """From the least to the largest, once where they read the same."""
    ends = list(dict.fromkeys((ratio(min(values)), ratio(max(values)))))
    return " to ".join(ends)


def listed(texts):
    """a, b and c"""
    texts = list(texts)
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


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


def filled(path, tables):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    names = {match.group(2) for match in _MARKED.finditer(text)}
    if names != set(tables):
        apart = ", ".join(sorted(names ^ set(tables)))
        raise Mismatch(f"{os.path.basename(path)}: its marks are not the tables that were made: {apart}")
    return _MARKED.sub(lambda m: m.group(1) + tables[m.group(2)] + "\n" + m.group(3), text)


def replace(path, text):
    with open(path + ".part", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".part", path)


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
