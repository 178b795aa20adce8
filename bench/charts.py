"""Bars as SVG: one or more ways over a few cases."""

WIDTH = 720
COLOURS = (
    *("#1b6ca8", "#d1495b", "#2e8b57", "#edae49", "#6a4c93", "#777777"),
    *("#17a2b8", "#8c564b", "#e377c2", "#9aa51d"),
)
_LEFT, _SCALE, _BAR, _GAP = 250, 370, 16, 10
_DIGIT = 7  # a letter's width, amply


def _bar(y, width, colour, text, mark):
    """The number stands behind the mark where the mark would cover it."""
    covered = mark is not None and -3 < mark - width < 8 + _DIGIT * len(text)
    end = max(width, mark) + 2 if covered else width
    parts = [
        f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR - 2}" fill="{colour}"/>',
        f'<text x="{_LEFT + end + 5:.1f}" y="{y + 11}" font-size="11">{text}</text>',
    ]
    if mark is not None:
        parts.append(f'<path d="M{_LEFT + mark:.1f} {y - 2}V{y + _BAR}" stroke="{COLOURS[1]}" stroke-width="3"/>')
    return parts


def _legend(ways):
    return [
        f'<text x="{_LEFT}" y="{44 + 18 * i}" fill="{COLOURS[i % len(COLOURS)]}">{way}</text>'
        for i, way in enumerate(ways)
    ]


def bars(path, title, groups, reference=None, marks=None):
    """groups: [(label, [(way, value)])]; a value of None has no bar. reference: a line at this value through all.
    marks: {label: value} that the group's bars are to be compared with."""
    marks = {label: mark for label, mark in (marks or {}).items() if mark is not None}
    ways = list(dict.fromkeys(way for _, values in groups for way, _ in values))
    values = [value for _, of_group in groups for _, value in of_group if value is not None]
    unit = _SCALE / max([*values, *marks.values(), reference or 0])
    top = 46 + 18 * len(ways)
    parts, y = [], top
    for label, of_group in groups:
        middle = y + _BAR * len(of_group) / 2 + 4
        parts.append(f'<text x="{_LEFT - 8}" y="{middle:.1f}" text-anchor="end">{label}</text>')
        for way, value in of_group:
            if value is not None:
                colour, mark = COLOURS[ways.index(way) % len(COLOURS)], marks.get(label)
                parts += _bar(y, unit * value, colour, f"{value:.3g}", None if mark is None else unit * mark)
            y += _BAR
        y += _GAP
    if reference is not None:
        x = _LEFT + unit * reference
        parts.append(f'<path d="M{x:.1f} {top - 6}V{y}" stroke="#777" stroke-dasharray="4 3"/>')
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 10}" '
        f'font-family="sans-serif" font-size="12">\n<rect width="{WIDTH}" height="{y + 10}" fill="white"/>\n'
        f'<text x="{WIDTH / 2}" y="22" text-anchor="middle" font-size="15">{title}</text>'
    )
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join([head, *parts, *_legend(ways), "</svg>"]) + "\n")
    return path
