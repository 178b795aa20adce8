"""Rows, the table of them on stdout, and the file in bench/results/."""

import datetime
import json
import os

import machine


def row(what, measured, unit="", goal=None, strict=False, note="", id=None):
    """A row. goal: an upper bound."""
    met = None
    if goal is not None and measured is not None:
        met = measured < goal if strict else measured <= goal
    return {
        "what": what,
        "measured": measured,
        "unit": unit,
        "goal": goal,
        "met": met,
        "strict": strict,
        "note": note,
        "id": id,
    }


def number(value):
    if value is None:
        return "-"
    if value != 0 and abs(value) < 0.001:
        return f"{value:.1e}"
    return (
        f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
    )


def _bound(value, unit, strict):
    return (
        "" if value is None else f"{'<' if strict else '<='} {value:g}{' ' + unit if unit else ''}"
    )


def _verdict(row):
    if row["measured"] is None:
        return "not measured"
    return {True: "met", False: "MISSED", None: ""}[row["met"]]


def table(rows):
    heading = ("what", "goal", "measured", "", "how")
    lines = [heading] + [
        (
            row["what"],
            _bound(row["goal"], row["unit"], row["strict"]),
            f"{number(row['measured'])} {row['unit']}".strip(),
            _verdict(row),
            row["note"],
        )
        for row in rows
    ]
    return columns(heading, lines[1:])


def columns(heading, lines):
    lines = [heading, *lines]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heading))]
    texts = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines
    ]
    return "\n".join([texts[0], "-" * len(texts[0]), *texts[1:]])


def results_path(folder, suffix):
    """<date>-<cpu>.json, with a number where the day has one already: nothing is overwritten."""
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    stem = f"{date}-{machine.slug(machine.cpu_model())}{suffix}"
    path, number = os.path.join(folder, f"{stem}.json"), 2
    while os.path.exists(path):
        path, number = os.path.join(folder, f"{stem}-{number}.json"), number + 1
    return path


def _rounded(value):
    """Six digits are more than any measurement here is worth."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, (list, tuple)) else value


def all_of(folder):
    """(path, results) of every file in the folder, the newest last."""
    paths = [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".json")]
    found = [(path, read(path)) for path in paths]
    return sorted(found, key=lambda one: (one[1].get("written", ""), one[0]))


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def read(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def write(path, results):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = path + ".part"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(_rounded(results), file, indent=1)
        file.write("\n")
    os.replace(temporary, path)
