"""Rows, the tables of them on stdout, and the file in bench/results/."""

import datetime
import json
import os

import machine
from goals import GOALS, Goal


def row(what, measured, unit="", note="", name=None, goal=None):
    """A row, with the goal of its name unless one is given. measured: None where it could not be."""
    goal = goal or GOALS.get(name)
    return {
        "what": what,
        "measured": measured,
        "unit": unit,
        "goal": goal and goal.bound,
        "at_least": bool(goal and goal.at_least),
        "met": None if goal is None or measured is None else goal.met(measured),
        "note": note,
        "id": name,
    }


def number(value):
    if value is None:
        return "-"
    if isinstance(value, int):
        return str(value)
    if value != 0 and abs(value) < 0.001:
        return f"{value:.1e}"
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 100 else 0
    return f"{value:.{digits}f}"


def _with_unit(value, unit):
    return f"{number(value)} {unit}".strip()


def _verdict(measured, met):
    return "not measured" if measured is None else {True: "met", False: "MISSED", None: ""}[met]


def table(rows):
    lines = []
    for of in rows:
        goal = "" if of["goal"] is None else str(Goal("", of["goal"], of["unit"], of["at_least"]))
        measured = _with_unit(of["measured"], of["unit"])
        lines.append((of["what"], goal, measured, _verdict(of["measured"], of["met"]), of["note"]))
    return columns(("what", "goal", "measured", "", "how"), lines)


def _doubt(name, measured):
    """What is to be said of a ratio to peers whose results the check has not found to be Nacre's."""
    kind, workload = name.split(".")[:2]
    if kind not in ("step", "infer"):
        return ""
    checks = [of for other, of in measured.items() if other.startswith(f"check.{kind}.{workload}.")]
    return "" if any(of["met"] for of in checks) else ", NOT CHECKED"


def goals_table(rows):
    """Goal, measured, met or not, of every goal. Of rows with one id the last one counts."""
    measured = {of["id"]: of for of in rows if of.get("id")}
    lines = []
    for name, goal in GOALS.items():
        of = measured.get(name, {"measured": None, "note": ""})
        value = of["measured"]
        verdict = _verdict(value, None if value is None else goal.met(value))
        verdict += _doubt(name, measured) if value is not None else ""
        lines.append((goal.what, str(goal), _with_unit(value, goal.unit), verdict, of["note"]))
    return columns(("goal", "bound", "measured", "", "how"), lines)


def columns(heading, lines):
    lines = [heading, *lines]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heading))]
    texts = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines
    ]
    return "\n".join([texts[0], "-" * len(texts[0]), *texts[1:]])


def results_path(folder):
    """<date>-<cpu>.json, with a number where the day has one already: nothing is overwritten."""
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    stem = f"{date}-{machine.slug(machine.cpu_model())}"
    path, again = os.path.join(folder, f"{stem}.json"), 2
    while os.path.exists(path):
        path, again = os.path.join(folder, f"{stem}-{again}.json"), again + 1
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
