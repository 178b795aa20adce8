"""Markdown that is made from figures: tables, sentences, and the places in a page that they fill, between
<!-- table: NAME --> and <!-- end -->. The words around them are by hand."""

import os
import re

_MARKED = re.compile(r"(<!-- table: ([a-z-]+) -->\n).*?(<!-- end -->)", re.S)


class Mismatch(Exception):
    """A page and its tables that do not belong together."""


def number(value):
    """Three digits, which is more than most measurements are worth."""
    if isinstance(value, int):
        return f"{value:,}"
    if value != 0 and abs(value) < 1e-3:
        return f"{value:.1e}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def _cell(value):
    if value is None:
        return "-"
    return value if isinstance(value, str) else number(value)


def table(heading, lines):
    """A markdown table of texts and numbers."""
    rows = [heading, ["---"] * len(heading), *[[_cell(c) for c in line] for line in lines]]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def bullets(lines):
    return "\n".join(f"- {line}" for line in lines)


def listed(texts):
    """a, b and c"""
    texts = list(texts)
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def counted(count, noun):
    """1 thread, 2 threads"""
    return f"{count} {noun}{'' if int(count) == 1 else 's'}"


def names(text):
    return {match.group(2) for match in _MARKED.finditer(text)}


def filled(path, tables):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if names(text) != set(tables):
        apart = ", ".join(sorted(names(text) ^ set(tables)))
        raise Mismatch(f"{os.path.basename(path)}: its marks are not the tables that were made: {apart}")
    return _MARKED.sub(lambda m: m.group(1) + tables[m.group(2)] + "\n" + m.group(3), text)


def replace(path, text):
    with open(path + ".part", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".part", path)
