"""Rows, the tables of them on stdout, and the file in bench/results/."""

import datetime
import json
import os

import machine
from goals import GOALS, Goal


def row(what, measured, unit="", note="", name=None, goal=None, rounds=None):
    """A row, with the goal of its name unless one is given. measured: None where it could not be. rounds: how many were
    left when those of a slow machine were dropped, of how many, where it was measured in rounds."""
    goal = goal or GOALS.get(name)
    return {
        "what": what,
        "measured": measured,
        "unit": unit,
        "goal": goal and goal.bound,
        "at_least": bool(goal and goal.at_least),
        "met": None if goal is None or measured is None else goal.met(measured),
        "note": note,
        "rounds": list(rounds) if rounds else None,
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


def _rounds(of):
    return "{} of {}".format(*of["rounds"]) if of.get("rounds") else ""


def _few(of):
    """A best time of so few rounds is luck."""
    left, all_rounds = of.get("rounds") or (2, 2)
    return left < 2 or 2 * left < all_rounds


def _verdict(of, met):
    if of["measured"] is None:
        return "not measured"
    few = f", TOO FEW ROUNDS ({_rounds(of)})" if met is not None and _few(of) else ""
    return {True: "met", False: "MISSED", None: ""}[met] + few


def table(rows):
    lines = []
    for of in rows:
        goal = "" if of["goal"] is None else str(Goal("", of["goal"], of["unit"], of["at_least"]))
        measured = _with_unit(of["measured"], of["unit"])
        verdict = _verdict(of, of["met"])
        lines.append((of["what"], goal, measured, verdict, _rounds(of), of.get("program", ""), of["note"]))
    return columns(("what", "goal", "measured", "", "rounds", "program", "how"), lines)


def _doubt(name, measured):
    """What is to be said of a ratio to peers whose results the check has not found to be Nacre's."""
    kind, workload = name.split(".")[:2]
    if kind not in ("step", "infer"):
        return ""
    checks = [of for other, of in measured.items() if other.startswith(f"check.{kind}.{workload}.")]
    return "" if any(of["met"] for of in checks) else ", NOT CHECKED"


def goal_verdict(name, measured):
    """Met or not, and what is to be doubted, of a goal that has a row among `measured` {id: row}."""
    of = measured[name]
    value = of["measured"]
    verdict = _verdict(of, None if value is None else GOALS[name].met(value))
    return verdict + (_doubt(name, measured) if value is not None else "")


def _absent(names):
    """One line of the goals that nobody has tried to measure: by name where few of a kind are lacking."""
    kinds = {}
    for name in names:
        kinds.setdefault(name.split(".")[0], []).append(name)
    said = []
    for kind, lacking in kinds.items():
        of_kind = sum(name.split(".")[0] == kind for name in GOALS)
        some = f"{kind} ({len(lacking)} of {of_kind})" if len(lacking) < of_kind else f"{kind} ({of_kind})"
        said.append(some if len(lacking) > 3 or len(lacking) == of_kind else ", ".join(lacking))
    return f"not measured, {len(names)} of {len(GOALS)} goals: {', '.join(said)}"


def goals_table(rows):
    """Goal, measured, met or not, of every goal that has a row; the others in one line. Of rows with one id the last one
    counts."""
    measured = {of["id"]: of for of in rows if of.get("id")}
    lines = []
    for name, goal in GOALS.items():
        if name not in measured:
            continue
        of = measured[name]
        value, verdict = of["measured"], goal_verdict(name, measured)
        shown = "-" if value is None else _with_unit(value, goal.unit)
        lines.append((goal.what, str(goal), shown, verdict, _rounds(of), of.get("program", ""), of["note"]))
    parts = [columns(("goal", "bound", "measured", "", "rounds", "program", "how"), lines)] if lines else []
    absent = [name for name in GOALS if name not in measured]
    return "\n".join(parts + ([_absent(absent)] if absent else []))


def columns(heading, lines):
    """A column that has nothing in any line is left out."""
    kept = [i for i in range(len(heading)) if any(line[i] for line in lines)]
    lines = [[line[i] for i in kept] for line in (heading, *lines)]
    heading = lines[0]
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


def read_all(paths):
    """(path, results) of every file, the newest last."""
    found = []
    for path in paths:
        try:
            found.append((path, read(path)))
        except NoResults as problem:
            raise NoResults(f"{path} {problem}") from None
    return sorted(found, key=lambda one: (str(one[1].get("written", "")), one[0]))


def all_of(folder):
    """The same of every file in the folder that is of the newest one's CPU."""
    found = read_all(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".json"))
    return [one for one in found if one[1]["machine"]["cpu"] == found[-1][1]["machine"]["cpu"]]


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


class NoResults(Exception):
    """A file that holds no results; the text says why."""


def _is_row(of):
    if not isinstance(of, dict) or not {"id", "what", "unit", "note"} <= set(of):
        return False
    return of.get("measured", "") is None or isinstance(of.get("measured"), (int, float))


def load(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        raise NoResults(f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise NoResults("is not JSON") from None


def read(path):
    """What bench/run wrote."""
    results = load(path)
    parts = {"machine": dict, "rows": list, "figures": dict}
    lacking = [name for name, kind in parts.items() if not isinstance(results, dict) or not isinstance(results.get(name), kind)]
    if lacking or not isinstance(results["machine"].get("cpu"), str):
        raise NoResults(f"is no results' file of bench/run: it has no {', '.join(lacking or ['machine.cpu'])}")
    if not all(map(_is_row, results["rows"])):
        raise NoResults("is no results' file of bench/run: its rows are not measured figures")
    return results


def write(path, results):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = path + ".part"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(_rounded(results), file, indent=1)
        file.write("\n")
    os.replace(temporary, path)
