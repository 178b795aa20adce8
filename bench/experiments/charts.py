"""Bars as SVG, for ratios of a few ways over a few cases."""

from plots import COLOURS, WIDTH

_LEFT, _SCALE, _BAR, _GAP = 250, 370, 16, 10


def bars(path, title, groups, reference=None):
    """groups: [(label, [(way, value)])]; a value of None has no bar. reference: a line at this value."""
    ways = list(dict.fromkeys(way for _, values in groups for way, _ in values))
    most = max([v for _, values in groups for _, v in values if v is not None] + [reference or 0])
    parts, y = [], 46 + 18 * len(ways)
    for label, values in groups:
        middle = y + _BAR * len(values) / 2 + 4
        parts.append(f'<text x="{_LEFT - 8}" y="{middle:.1f}" text-anchor="end">{label}</text>')
        for way, value in values:
            if value is not None:
                width, colour = _SCALE * value / most, COLOURS[ways.index(way) % len(COLOURS)]
                parts.append(
                    f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR - 2}" fill="{colour}"/>'
                    f'<text x="{_LEFT + width + 5:.1f}" y="{y + 11}" font-size="11">{value:.3g}</text>'
                )
            y += _BAR
        y += _GAP
    for i, way in enumerate(ways):
        colour = COLOURS[i % len(COLOURS)]
        parts.append(f'<text x="{_LEFT}" y="{44 + 18 * i}" fill="{colour}">{way}</text>')
    if reference is not None:
        x = _LEFT + _SCALE * reference / most
        parts.append(f'<path d="M{x:.1f} {40 + 18 * len(ways)}V{y}" stroke="#777" stroke-dasharray="4 3"/>')
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 10}" '
        f'font-family="sans-serif" font-size="12">\n<rect width="{WIDTH}" height="{y + 10}" fill="white"/>\n'
        f'<text x="{WIDTH / 2}" y="22" text-anchor="middle" font-size="15">{title}</text>'
    )
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join([head, *parts, "</svg>"]) + "\n")
    return path
