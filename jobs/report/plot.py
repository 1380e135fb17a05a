"""One chart as inline SVG: text that scales, colours from the page's style, no script.

Classes `s0`, `s1` … are the series' colours; the page's style says what they are in light and in
dark. Every series is named beside its end, so that colour is never the only key.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from jobs.report.axes import Axis

WIDE, HALF, HEIGHT = 1038, 486, 300
TOP, BOTTOM = 12, 44
LETTER = 7.0
"""Width of a letter of the labels, and a little more."""
LINE = 16.0
FEW = 40
SMALLEST = 0.8
"""Share of its natural width below which a chart scrolls instead of shrinking."""
COLOURS = 6

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Series:
    """A named line; a point whose value is nan leaves a gap."""

    name: str
    points: Points


class Plot:
    """One chart in the making: axes first, then marks in the order they are drawn."""

    def __init__(
        self, x: Axis, y: Axis, *, width: int, right: float = 16.0, above: int = 0
    ) -> None:
        self.x, self.y, self.width = x, y, width
        self.left = max((len(text) for _, text in y.ticks), default=0) * LETTER + 14
        self.edge = width - right
        self.top = TOP + above * LINE
        """`above` lines of words have room over the drawing."""
        self._marks: list[str] = []
        for value, text in y.ticks:
            _, py = self.at(x.low, value)
            self._marks.append(
                f'<path class="grid" d="M{self.left:.1f} {py:.1f}H{self.edge:.1f}"/>'
                + words(self.left - 8, py + 4, text, "tick end")
            )
        self._x_ticks()

    def _x_ticks(self) -> None:
        floor, clear = HEIGHT - BOTTOM, -math.inf
        self._marks.append(f'<path class="axis" d="M{self.left:.1f} {floor}H{self.edge:.1f}"/>')
        for value, text in self.x.ticks:
            px, _ = self.at(value, self.y.low)
            half = len(text) * LETTER / 2
            if px - half < clear or px + half > self.width:
                continue
            clear = px + half + LETTER
            self._marks.append(f'<path class="axis" d="M{px:.1f} {floor}v5"/>')
            self._marks.append(words(px, floor + 19, text, "tick middle"))
        middle = (self.left + self.edge) / 2
        self._marks.append(words(middle, HEIGHT - 6, self.x.title, "tick middle"))

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a value is drawn; what lies outside the axes is drawn on the edge."""
        right = min(max((x - self.x.low) / (self.x.high - self.x.low), 0.0), 1.0)
        up = min(max((y - self.y.low) / (self.y.high - self.y.low), 0.0), 1.0)
        height = HEIGHT - BOTTOM - self.top
        return self.left + right * (self.edge - self.left), self.top + (1 - up) * height

    def line(self, points: Points, css: str) -> None:
        """A line with gaps at nan; points that stand alone, or are few, get a dot."""
        for run in runs(points):
            placed = [self.at(x, y) for x, y in run]
            if len(placed) > 1:
                path = "L".join(f"{px:.1f} {py:.1f}" for px, py in placed)
                self._marks.append(f'<path class="line {css}" d="M{path}"/>')
            if len(placed) == 1 or len(points) <= FEW:
                self._marks += (_dot(px, py, f"point {css}") for px, py in placed)

    def area(self, points: Points, css: str) -> None:
        """The filled space between a line and the floor."""
        for run in runs(points):
            placed = [self.at(x, y) for x, y in run]
            path = "L".join(f"{px:.1f} {py:.1f}" for px, py in placed)
            floor, first = HEIGHT - BOTTOM, placed[0][0]
            self._marks.append(f'<path class="area {css}" d="M{path}V{floor}H{first:.1f}Z"/>')

    def dot(self, x: float, y: float, css: str, title: str) -> None:
        """A dot that tells its value when pointed at."""
        px, py = self.at(x, y)
        self._marks.append(_dot(px, py, css, title))

    def rule(self, start: tuple[float, float], stop: tuple[float, float], css: str) -> None:
        """A straight line from one value to another."""
        (x1, y1), (x2, y2) = self.at(*start), self.at(*stop)
        self._marks.append(f'<path class="{css}" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"/>')

    def legend(self, names: Sequence[str]) -> None:
        """The series' names in their colours, in a row over the drawing."""
        self._marks += key(names, self.left)

    def moments(self, moments: Sequence[tuple[float, str]]) -> None:
        """Named vertical lines; names that would touch take turns on two lines."""
        clear = [-math.inf, -math.inf]
        for x, name in sorted(moments):
            self.rule((x, self.y.low), (x, self.y.high), "mark")
            px, py = self.at(x, self.y.high)
            length = (len(name) + 1) * LETTER
            start = px if px + length <= self.width else px - length
            line = 0 if clear[0] <= start or clear[0] <= clear[1] else 1
            if start >= clear[line]:
                clear[line] = start + length
                css = "tick" if start == px else "tick end"
                self._marks.append(words(px, py - 5 - LINE * line, name, css))

    def end_labels(self, series: Sequence[Series]) -> None:
        """Each series' name beside its last point, moved apart where they would touch."""
        last = [[point for run in runs(each.points) for point in run][-1:] for each in series]
        held = [(self.at(*end[0])[1], place) for place, end in enumerate(last) if end]
        held.sort()
        heights = spread([py for py, _ in held], LINE, self.top, HEIGHT - BOTTOM)
        for (py, place), moved in zip(held, heights, strict=True):
            start = self.at(*last[place][0])[0] + 5
            self._marks.append(
                f'<path class="leader" d="M{start:.1f} {py:.1f}L{self.edge + 12:.1f} {moved:.1f}"/>'
                + words(self.edge + 16, moved + 4, series[place].name, f"name s{place % COLOURS}")
            )

    def svg(self, description: str) -> str:
        """The chart as an element, with a description for those who do not see it."""
        return svg(self.width, HEIGHT, description, self._marks)


def svg(width: int, height: float, description: str, marks: Iterable[str]) -> str:
    """An image that scales with the page, down to where its words can still be read."""
    least = f"min-width:{SMALLEST * width:.0f}px"
    return (
        f'<svg viewBox="0 0 {width} {height:g}" role="img" aria-label="{escape(description)}" '
        f'style="{least}">{"".join(marks)}</svg>'
    )


def key(names: Sequence[str], left: float) -> list[str]:
    """The series' names in their colours, in a row at the top."""
    marks = []
    for place, name in enumerate(names):
        css = f"s{place % COLOURS}"
        marks.append(
            f'<rect class="bar {css}" x="{left:.1f}" y="2" width="10" height="10" rx="2"/>'
            + words(left + 16, 11, name, f"name {css}")
        )
        left += 36 + len(name) * LETTER
    return marks


def words(x: float, y: float, text: str, css: str) -> str:
    """Text at a place in pixels."""
    return f'<text class="{css}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _dot(px: float, py: float, css: str, title: str = "") -> str:
    told = f"<title>{escape(title)}</title>" if title else ""
    return f'<circle class="{css}" cx="{px:.1f}" cy="{py:.1f}" r="3">{told}</circle>'


def runs(points: Points) -> list[list[tuple[float, float]]]:
    """Cut points at nan.

    >>> runs([(0, 1.0), (1, math.nan), (2, 3.0)])
    [[(0, 1.0)], [(2, 3.0)]]
    """
    found: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if math.isnan(y):
            found.append([])
        else:
            found[-1].append((x, y))
    return [run for run in found if run]


def spread(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move sorted heights at least `gap` apart and, where there is room, into [low, high].

    >>> spread([10.0, 12.0, 50.0], 10.0, 0.0, 55.0)
    [10.0, 20.0, 50.0]
    """
    moved: list[float] = []
    for height in heights:
        moved.append(max(height, moved[-1] + gap if moved else low))
    ceiling = high
    for place in range(len(moved) - 1, -1, -1):
        moved[place] = min(moved[place], ceiling)
        ceiling = moved[place] - gap
    return moved
