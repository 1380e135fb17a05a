"""`Figures` on a terminal of any size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from jobs.report import braille
from jobs.watching.figures import Curve, Figures, Line, Quality, alarm_text
from operators.drift.alarm import Alarm

SOFT = "bright_black"
STYLES = ("bold cyan", "yellow", "green", "magenta", "blue", SOFT)
"""Of lines in a plot, in their order."""
WIDE = 96
"""Columns from which on two panels are side by side."""
BARS = 16
PLOT, LEAST = 10, 3
"""Rows of a plot, at most and at least."""
ALARMS = 6
"""The last so many are shown."""


def screen(figures: Figures, *, width: int, height: int) -> RenderableType:
    """The figures, as wide as that; plots take what is left of the height."""
    head = Table.grid(expand=True)
    head.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    head.add_column(justify="right", no_wrap=True)
    head.add_row(Text(figures.title, "bold"), Text(figures.clock, SOFT))
    across = 2 if width >= WIDE else 1
    boxes = list(_boxes(figures))
    rows = [boxes[at : at + across] for at in range(0, len(boxes), across)]
    alarms = [_alarm(each) for each in reversed(figures.alarms[-ALARMS:])]
    framed = [_framed(Group(*alarms), "alarms, newest first")] if alarms else []
    used = 1 + bool(figures.note) + sum(max(tall for _, tall in row) for row in rows)
    used += len(alarms) + 2 * len(framed)
    left = (height - used) // max(len(figures.curves) / across, 1) - 3
    tall = min(int(left), PLOT)
    plots = [_plot(each, width // across - 4, max(tall, LEAST)) for each in figures.curves]
    lined = [plots[at : at + across] for at in range(0, len(plots), across)]
    note = [Text(figures.note, SOFT)] if figures.note else []
    return Group(
        head,
        *(_beside([box for box, _ in row], across) for row in rows),
        *framed,
        *(_beside(row, across) for row in lined),
        *note,
    )


def _beside(boxes: Sequence[RenderableType], across: int) -> RenderableType:
    if across == 1:
        return Group(*boxes)
    grid = Table.grid(expand=True)
    for _ in range(across):
        grid.add_column(ratio=1)
    grid.add_row(*boxes)
    return grid


def _boxes(figures: Figures) -> Iterator[tuple[RenderableType, int]]:
    """Panels, each with how many rows it takes."""
    for name, lines in figures.panels.items():
        yield _framed(_lines(lines), name), len(lines) + 2
    if figures.quality:
        yield _framed(_quality(figures.quality), "quality"), len(figures.quality) + 3


def _lines(lines: Sequence[Line]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
    grid.add_column(style=SOFT, no_wrap=True)
    grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for each in lines:
        known = [value for value in each.history if not math.isnan(value)]
        bars = Text(f" {braille.bars(known, BARS)}" if known else "", "cyan")
        grid.add_row(each.name, Text.assemble((each.said, "" if each.good else "bold red"), bars))
    return grid


def _quality(rows: Sequence[Quality]) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True, ratio=1)
    for name in ("AUC", "AP", "recall"):
        table.add_column(name, justify="right", header_style=SOFT)
    for each, style in zip(rows, _styles(len(rows)), strict=True):
        values = (each.auc, each.average_precision, each.recall)
        cells = ("–" if math.isnan(value) else f"{value:.3f}" for value in values)
        table.add_row(Text.assemble(("━ ", style), each.scorer), *cells)
    return table


def _alarm(alarm: Alarm) -> Text:
    style = SOFT if alarm.over else "bold red"
    return Text(alarm_text(alarm), style, no_wrap=True, overflow="ellipsis")


def _styles(count: int) -> list[str]:
    return [STYLES[min(place, len(STYLES) - 1)] for place in range(count)]


def _plot(curve: Curve, width: int, height: int) -> Panel:
    """The lines of a curve, from 0 to the largest value."""
    drawn = [[v for v in values if not math.isnan(v)] for values in curve.lines.values()]
    high = _round(max((max(values) for values in drawn if values), default=1.0))
    scale = f"{high:g}"
    across = max(width - len(scale) - 1, 10)
    by_style: dict[str, list[float]] = {}
    for style, values in zip(_styles(len(curve.lines)), curve.lines.values(), strict=True):
        by_style.setdefault(style, list(values))
    rows = braille.lines(by_style, width=across, height=height, high=high)
    grid = Table.grid(padding=(0, 1, 0, 0))
    for place, row in enumerate(rows):
        label = scale if place == 0 else "0" if place == height - 1 else ""
        grid.add_row(Text(label.rjust(len(scale)), SOFT), row)
    if curve.first:
        ends = curve.first + curve.last.rjust(across - len(curve.first))
        grid.add_row("", Text(ends, SOFT, no_wrap=True))
    return _framed(grid, curve.title)


def _round(value: float) -> float:
    """The next larger number of one or two digits, so that a scale can be read.

    >>> _round(0.0), _round(0.43), _round(18_300.0)
    (1.0, 0.5, 20000.0)
    """
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(
        step * power for step in (1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0) if step * power >= value
    )


def _framed(content: RenderableType, title: str) -> Panel:
    return Panel(content, title=title, title_align="left", border_style=SOFT)
