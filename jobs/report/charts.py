"""The report's charts, each from what was measured to one SVG element."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from jobs.report.axes import Axis, log_axis, log_odds, number_axis, odds_axis, time_axis
from jobs.report.plot import (
    COLOURS,
    HALF,
    LETTER,
    LINE,
    WIDE,
    Plot,
    Points,
    Series,
    key,
    svg,
    words,
)
from operators.scorebins import CalibrationCurve, ScoreHistogram

ENOUGH = 20
"""Examples below which a bin says nothing about calibration."""


def time_chart(
    series: Sequence[Series],
    description: str,
    *,
    marks: Sequence[tuple[int, str]] = (),
    bounds: tuple[float, float] = (0.0, 1.0),
) -> str:
    """Lines over event time in microseconds, with vertical marks; values stay inside `bounds`."""
    points = [point for each in series for point in each.points]
    values = [y for _, y in points if not math.isnan(y)] or [0.0, 1.0]
    slack = 0.04 * (max(values) - min(values))
    low, high = max(min(values) - slack, bounds[0]), min(max(values) + slack, bounds[1])
    times = [int(x) for x, _ in points]
    x = time_axis(min(times), max(times))
    longest = max(len(each.name) for each in series)
    plot = Plot(
        x, number_axis(low, high), width=WIDE, right=longest * LETTER + 34, above=2 if marks else 0
    )
    plot.moments([(time, name) for time, name in marks if x.low <= time <= x.high])
    for place, each in reversed(list(enumerate(series))):
        plot.line(each.points, f"s{place % COLOURS}")
    plot.end_labels(series)
    return plot.svg(description)


@dataclass(frozen=True, slots=True)
class Spot:
    """A bin of a calibration curve: score, share of frauds, bounds of the share, examples."""

    score: float
    share: float
    least: float
    most: float
    examples: int


def spots(curve: CalibrationCurve) -> list[Spot]:
    """The bins worth drawing, with 95 % Wilson intervals.

    Left out are bins of fewer than ENOUGH examples, and those without a fraud where that agrees
    with the score.
    """
    bins = zip(curve.predicted, curve.observed, curve.examples, strict=True)
    every = (Spot(score, share, *wilson(share, n), n) for score, share, n in bins if n >= ENOUGH)
    return [spot for spot in every if spot.share > 0 or spot.most < spot.score]


def calibration_chart(curves: Sequence[tuple[str, CalibrationCurve]], description: str) -> str:
    """Share of frauds against score, both spaced by log-odds; see `spots`."""
    drawn = [(name, spots(curve)) for name, curve in curves]
    reach = [log_odds(spot.score) for _, each in drawn for spot in each] or [0.0]
    low, high = min(reach) - 0.7, max(reach) + 0.7
    plot = Plot(odds_axis(low, high, "score"), odds_axis(low, high), width=HALF, above=1)
    plot.legend([name for name, _ in drawn])
    plot.rule((low, low), (high, high), "ideal")
    for place, (name, each) in enumerate(drawn):
        shift = 0.012 * (high - low) * (place - (len(drawn) - 1) / 2)
        css = f"s{place % COLOURS}"
        line = [(log_odds(s.score) + shift, log_odds(inside(s.share))) for s in each]
        plot.line(line, f"thin {css}")
        for (x, y), spot in zip(line, each, strict=True):
            plot.rule((x, log_odds(spot.least)), (x, log_odds(spot.most)), f"whisker {css}")
            told = f"{name}: score {spot.score:.2%}, {spot.share:.2%} fraud of {spot.examples:,}"
            plot.dot(x, y, f"point {css}", told)
    return plot.svg(description)


def inside(probability: float) -> float:
    """The probability kept off 0 and 1, where log-odds end.

    >>> inside(0.0), inside(0.5)
    (1e-09, 0.5)
    """
    return min(max(probability, 1e-9), 1 - 1e-9)


def wilson(share: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Interval of a share seen in n examples (Wilson, 1927), kept off 0 and 1.

    >>> [round(bound, 3) for bound in wilson(0.1, 100)]
    [0.055, 0.174]
    """
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return inside(middle - reach), inside(middle + reach)


def score_chart(histogram: ScoreHistogram, description: str) -> str:
    """How many genuine and fraudulent examples had which score, on a log scale."""
    counts = [g + f for g, f in zip(histogram.genuine, histogram.frauds, strict=True)]
    held = [place for place, count in enumerate(counts) if count] or [0]
    first, last = max(held[0] - 1, 0), min(held[-1] + 2, len(counts))
    edges = histogram.edges[first : last + 1]
    x = odds_axis(edges[0], edges[-1], "score")
    labelled = (("genuine", histogram.genuine, "s0"), ("fraud", histogram.frauds, "s1"))
    plot = Plot(x, log_axis(max(counts, default=1), "examples"), width=HALF, above=1)
    plot.legend([f"{name} {sum(column):,}" for name, column, _ in labelled])
    for _, column, css in labelled:
        steps = [
            (edge, math.log10(count) if count else -1.0)
            for left, right, count in zip(edges, edges[1:], column[first:last], strict=False)
            for edge in (left, right)
        ]
        plot.area(steps, css)
        plot.line(steps, f"thin {css}")
    return plot.svg(description)


def rate_chart(points: Points, description: str) -> str:
    """Events a second over seconds of the run."""
    last = max(x for x, _ in points) or 1.0
    ticks = number_axis(0.0, last).ticks
    x = Axis(0.0, last, tuple(t for t in ticks if t[0] <= last), "seconds since the start")
    y = number_axis(0.0, max(y for _, y in points))
    plot = Plot(x, y, width=HALF)
    plot.area(points, "s0")
    plot.line(points, "s0")
    return plot.svg(description)


def bar_chart(bars: Sequence[tuple[str, float]], description: str) -> str:
    """Horizontal bars in the order given, each with its name and its value."""
    return grouped_bars([""], [(name, (value,)) for name, value in bars], description)


def grouped_bars(
    series: Sequence[str], groups: Sequence[tuple[str, Sequence[float]]], description: str
) -> str:
    """Horizontal bars by name, in each group one of every series, with a legend if there are more.

    Groups are in the order given; each bar has its value, and of several one of 0 is left out.
    """
    thick, above = (14.0, 0.0) if len(series) == 1 else (11.0, LINE + 4)
    row = thick * len(series) + 8
    left = min(max(len(name) for name, _ in groups) * LETTER + 12, HALF * 0.55)
    fit = int((left - 12) / LETTER)
    longest = max(abs(value) for _, values in groups for value in values) or 1.0
    marks = key(series, left) if above else []
    for place, (name, values) in enumerate(groups):
        top = above + row * place + 4
        shown = name if len(name) <= fit else name[: fit - 1] + "…"
        marks.append(words(left - 8, top + (row - 8) / 2 + 6, shown, "tick end"))
        for at, (whose, value) in enumerate(zip(series, values, strict=True)):
            if above and not value:
                continue
            y, length = top + thick * at, abs(value) / longest * (HALF - left - 60)
            told = escape(f"{name}: {value:.4g}" + (f", {whose}" if whose else ""))
            marks.append(
                f'<rect class="bar s{at % COLOURS}" x="{left:.1f}" y="{y + 2:.1f}" '
                f'width="{max(length, 1):.1f}" height="{thick - (2 if above else 0):g}" rx="2">'
                f"<title>{told}</title></rect>"
            )
            marks.append(words(left + length + 6, y + thick - 1, f"{value:.3g}", "tick"))
    return svg(HALF, above + row * len(groups) + 8, description, marks)
