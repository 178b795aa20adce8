"""Drawings of the results as SVG, with nothing but text: ratios, growth, the roofline."""

import math
import os

import charts
import growth
import matrices
from charts import COLOURS, WIDTH

HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 420, 70, 60, 40, 150


class Drawing:
    """Logarithmic axes over the data's range."""

    def __init__(self, title, x_label, y_label, xs, ys):
        self.x_range, self.y_range = (min(xs), max(xs)), (min(ys), max(ys))
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
            f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            f'<text x="{WIDTH / 2}" y="22" text-anchor="middle" font-size="15">{title}</text>',
            f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{x_label}</text>',
            f'<text transform="translate(16 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">{y_label}</text>',
        ]
        self.labels = 0
        self._grid()

    @staticmethod
    def _share(value, bounds):
        low, high = math.log(bounds[0]), math.log(bounds[1])
        return (math.log(value) - low) / (high - low if high > low else 1)

    def x(self, value):
        return LEFT + self._share(value, self.x_range) * (WIDTH - LEFT - RIGHT)

    def y(self, value):
        return HEIGHT - BOTTOM - self._share(value, self.y_range) * (HEIGHT - BOTTOM - TOP)

    def _grid(self):
        for bounds, vertical in ((self.x_range, True), (self.y_range, False)):
            for power in range(math.floor(math.log10(bounds[0])), math.ceil(math.log10(bounds[1])) + 1):
                value = 10.0**power
                if bounds[0] <= value <= bounds[1]:
                    self._tick(value, vertical)

    def _tick(self, value, vertical):
        x1, x2 = (self.x(value),) * 2 if vertical else (LEFT, WIDTH - RIGHT)
        y1, y2 = (TOP, HEIGHT - BOTTOM) if vertical else (self.y(value),) * 2
        self.parts.append(f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="#ddd"/>')
        at, anchor = ((x1, HEIGHT - BOTTOM + 16), "middle") if vertical else ((LEFT - 6, y1 + 4), "end")
        self.parts.append(f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" text-anchor="{anchor}">{value:g}</text>')

    def line(self, points, label, dots=True, colour=None):
        colour = colour or COLOURS[self.labels % len(COLOURS)]
        places = [(self.x(x), self.y(y)) for x, y in points]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        self.parts.append(f'<path d="M{path}" stroke="{colour}" fill="none" stroke-width="2"/>')
        for x, y in places if dots else ():
            self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')
        self._label(label, colour)

    def dot(self, x, y, label):
        colour = COLOURS[self.labels % len(COLOURS)]
        self.parts.append(f'<circle cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="5" fill="{colour}"/>')
        self._label(label, colour)

    def _label(self, label, colour):
        y = TOP + 10 + 18 * self.labels
        self.parts.append(f'<text x="{WIDTH - RIGHT + 10}" y="{y}" fill="{colour}">{label}</text>')
        self.labels += 1

    def save(self, path):
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join([*self.parts, "</svg>"]) + "\n")


# A figure that grows, what it is called, and the end of its drawing's name.
_GROWING = (("us_min", "microseconds", ""), ("arena_bytes", "bytes of intermediate values", "-memory"))


def _growth(axis, of_workload, figure, label, path):
    lines = {w: growth.series(of_size, figure) for w, of_size in of_workload.items()}
    points = [point for line in lines.values() for point in line]
    name = axis.replace("-", " ")
    drawing = Drawing(f"Training step against {name}, one thread", name, label, *zip(*points))
    for workload, line in lines.items():
        drawing.line(line, f"{workload}: n^{growth.exponent(growth.upper(line)):.2f}")
    drawing.save(path)


def _roofline(figures, path):
    answers = {}
    for workload, of_batch in figures.items():
        for batch, of_threads in of_batch.items():
            for threads, result in of_threads.items():
                if int(threads) == 1:
                    answers[f"{workload} {batch}"] = result["nacre"]
    if not answers:
        return False
    peak = max(a["peak_gflops"] for a in answers.values())
    bandwidth = max(a["bandwidth_gbytes"] for a in answers.values())
    intensity = {n: a["flops"] / a["least_bytes"] for n, a in answers.items()}
    least, most = min(intensity.values()) / 4, max(intensity.values()) * 4
    least = min(least, peak / bandwidth / 4)
    roof = [(x, min(peak, bandwidth * x)) for x in (least, peak / bandwidth, most)]
    speeds = [a["gflops"] for a in answers.values()]
    ys = [y for _, y in roof] + speeds + [peak * 1.2]
    drawing = Drawing("Roofline, one thread", "FLOP per byte", "GFLOP/s", (least, most), ys)
    drawing.line(roof, f"{peak:.0f} GFLOP/s, {bandwidth:.0f} GB/s", dots=False, colour="#222222")
    for name, answer in answers.items():
        drawing.dot(intensity[name], answer["gflops"], name)
    drawing.save(path)
    return True


def _ratios(rows, path):
    kinds = [(row, (row.get("id") or "").split(".")) for row in rows]
    rows = [row for row, kind in kinds if kind[0] in ("step", "infer") and len(kind) == 3 and row["measured"]]
    if rows:
        groups = [(row["id"], [("Nacre", row["measured"])]) for row in rows]
        marks = {row["id"]: row["goal"] for row in rows}
        charts.bars(path, "Nacre's time / the best peer's; the mark is the goal", groups, 1, marks)
    return bool(rows)


def _products(figures, path):
    best = figures[min(figures)]["us_best"]
    names = [name for name in (*matrices.shapes(), *matrices.LARGE.values()) if len(best[name]) > 1]
    if names:
        groups = [(name, [("Nacre", matrices.ratio_of(best[name]))]) for name in names]
        charts.bars(path, "Products, one thread: Nacre's time / the best BLAS library's", groups, 1)
    return bool(names)


def draw(results_path, rows, figures):
    """Writes what can be drawn beside the results' file; returns the paths."""
    stem, paths = os.path.splitext(results_path)[0], []
    if _ratios(rows, f"{stem}-ratios.svg"):
        paths.append(f"{stem}-ratios.svg")
    if figures.get("step") and _roofline(figures["step"], f"{stem}-roofline.svg"):
        paths.append(f"{stem}-roofline.svg")
    if figures.get("products") and _products(figures["products"], f"{stem}-products.svg"):
        paths.append(f"{stem}-products.svg")
    for axis, of_workload in figures.get("sweep", {}).items():
        for figure, label, suffix in _GROWING:
            paths.append(f"{stem}-{axis}{suffix}.svg")
            _growth(axis, of_workload, figure, label, paths[-1])
    return paths
