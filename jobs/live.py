"""A run as it is watched in a terminal: its flow, who predicts how well, how that changes."""

from __future__ import annotations

import math
from collections import deque
from datetime import UTC, datetime, timedelta

import numpy as np
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from jobs.lately import lately
from jobs.latency import Latencies
from jobs.local import LocalRun, Step
from jobs.meter import Meter
from jobs.report import braille
from jobs.report.page import trailing
from jobs.summary import balance, said
from operators.evaluate import WindowMetrics

KEPT = 400
"""Days that are kept; the plot shows them."""
SMOOTH = 7
OVER = 14
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SOFT = "bright_black"
CHAMPION, CHALLENGERS, RULE, BASELINE = "bold cyan", ("yellow", "green", "blue"), "magenta", SOFT
SAID = {"amount": "amount rule"}
FLOW = (
    "throughput",
    "one event",
    "in batches",
    "simulated",
    "transactions",
    "labels",
    "learnt from",
    "state",
    "ledger",
)
WIDE = 96
"""Columns from which on panels are side by side."""
PLOT, LEAST = 12, 3
"""Rows of the plot, at most and at least."""


class Watch:
    """Takes the steps of a run and shows where it stands, as a view or as one line."""

    def __init__(self, run: LocalRun, meter: Meter, title: str) -> None:
        self._run, self._meter, self._title = run, meter, title
        self._days: deque[list[WindowMetrics]] = deque(maxlen=KEPT)
        self._first_us = self._now_us = 0
        self._reviews = 0
        styles = [CHAMPION, *CHALLENGERS[: len(run.pipeline.challengers)]]
        names = run.flow.lineup.names
        self._style = dict.fromkeys(names, BASELINE) | dict(zip(names, styles, strict=False))
        if "amount" in self._style:
            self._style["amount"] = RULE

    def take(self, step: Step) -> None:
        """Note what a step brought."""
        if len(step.batch):
            self._first_us = self._first_us or int(step.batch.time[0])
            self._now_us = max(self._now_us, int(step.batch.time.max()))
        self._reviews += int(np.count_nonzero(step.scored.review))
        days: dict[int, list[WindowMetrics]] = {}
        for row in step.scored.windows:
            if not row.slice:
                days.setdefault(row.start_us, []).append(row)
        self._days.extend(days.values())

    def _lately(self) -> list[WindowMetrics]:
        return lately([row for day in self._days for row in day], OVER)

    @property
    def _day(self) -> int:
        return (self._now_us - self._first_us) // 86_400_000_000 + 1

    def line(self) -> str:
        """Where the run stands, in one line."""
        seen = self._meter.single if self._meter.single.events else self._meter.batched
        rate = self._meter.rates[-1][1] if self._meter.rates else 0.0
        quality = ", ".join(
            f"{row.scorer} {row.average_precision:.3f}"
            for row in self._lately()
            if self._style[row.scorer] != BASELINE
        )
        return (
            f"{self._meter.seconds:5.0f} s  day {self._day}  {rate:,.0f} events/s  "
            f"p99 {said(seen.percentile(99))}  version {self._run.flow.lineup.number:,}  "
            f"AP {quality or 'not known before the first labels'}  ledger {self._ledger()}"
        )

    def view(self, clock: str, *, width: int, height: int) -> RenderableType:
        """Where the run stands, as wide as that and, from 24 rows on, no higher."""
        head = Table.grid(expand=True)
        head.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        head.add_column(justify="right", no_wrap=True)
        head.add_row(Text(self._title, "bold"), Text(clock, SOFT))
        flow, quality = _framed(self._flow(), "flow"), _framed(self._quality(), "quality")
        panels: RenderableType = Group(flow, quality)
        used = 1 + len(FLOW) + 2 + len(self._style) + 4
        if width >= WIDE:
            both = Table.grid(expand=True)
            both.add_column(ratio=11)
            both.add_column(ratio=10)
            both.add_row(flow, quality)
            panels = both
            used = 1 + max(len(FLOW) + 2, len(self._style) + 4)
        rows = min(height - used - 4, PLOT)
        plot = [self._plot(width - 4, rows)] if rows >= LEAST else []
        return Group(head, panels, *plot)

    def _flow(self) -> Table:
        run, meter, lineup = self._run, self._meter, self._run.flow.lineup
        rates = [rate for _, rate in meter.rates]
        rate = f"{rates[-1]:,.0f} events/s" if rates else "–"
        size = sum(each.arena.nbytes for each in run.flow.features.entities)
        keys = [f"{each.arena.keys:,} {each.plan.key}s" for each in run.flow.features.entities]
        exact = self._ledger()
        values: tuple[str | Text, ...] = (
            Text.assemble(rate, " ", (braille.bars(rates, 12), "cyan")),
            _spread(meter.single),
            _spread(meter.batched),
            f"day {self._day}, {_date(self._now_us)}",
            f"{run.taken['events']:,}, {self._reviews:,} to review",
            f"{run.taken['labels']:,} chargebacks, days late",
            f"{lineup.learnt:,} examples, version {lineup.number:,}",
            f"{', '.join(keys)}, {size / 1e6:,.0f} MB",
            Text(exact, "green" if exact.startswith("exact") else "bold red"),
        )
        grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
        grid.add_column(style=SOFT, no_wrap=True)
        grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        for row in zip(FLOW, values, strict=True):
            grid.add_row(*row)
        return grid

    def _ledger(self) -> str:
        """Whether everything taken in is somewhere."""
        lines = balance(self._run)
        lost = [f"{line.missing:+,} {line.flow}" for line in lines if line.missing]
        if lost:
            return f"NOT EXACT: {', '.join(lost)}"
        parts = lines[0].parts
        return f"exact, {parts['duplicates']:,} duplicates, {parts['dead letters']:,} dead letters"

    def _quality(self) -> RenderableType:
        """How good each scorer was of late."""
        table = Table(box=None, expand=True, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column("", no_wrap=True, ratio=1)
        for name in ("AUC", "AP", "recall"):
            table.add_column(name, justify="right", header_style=SOFT)
        found = {row.scorer: row for row in self._lately()}
        for name, style in self._style.items():
            row, weight = found.get(name), "bold" if style == CHAMPION else ""
            values = (row.auc, row.average_precision, row.recall_at_budget) if row else ()
            cells = [f"{value:.3f}" for value in values if not math.isnan(value)] or ["–"] * 3
            mark = Text.assemble(("━ ", style), (SAID.get(name, name), weight))
            table.add_row(mark, *(Text(cell, weight) for cell in cells))
        budget = self._run.pipeline.alert_budget
        note = f"last {OVER} days with labels; recall at {budget:.0%} alerts"
        return Group(table, Text(note, SOFT, no_wrap=True, overflow="ellipsis"))

    def _plot(self, width: int, height: int) -> Panel:
        """Average precision over the days whose labels are known."""
        lines = {}
        for name, style in self._style.items():
            if style != BASELINE:
                rows = [row for day in self._days for row in day if row.scorer == name]
                points = [(float(row.start_us), row.average_precision) for row in rows]
                lines[style] = [value for _, value in trailing(points, SMOOTH)]
        most = max((v for each in lines.values() for v in each if not math.isnan(v)), default=0.1)
        high = max(math.ceil(most * 21), 1) / 20
        across = max(width - 6, 10)
        drawn = braille.lines(lines, width=across, height=height, high=high)
        grid = Table.grid(padding=(0, 1, 0, 0))
        for place, row in enumerate(drawn):
            label = f"{high:.2f}" if place == 0 else "0.00" if place == height - 1 else ""
            grid.add_row(Text(label.rjust(4), SOFT), row)
        if self._days:
            first, last = (_date(self._days[place][0].start_us) for place in (0, -1))
            grid.add_row("", Text(first + last.rjust(across - len(first)), SOFT))
        title = f"average precision by day of transaction, mean of {SMOOTH} days"
        return _framed(grid, title)


def _framed(content: RenderableType, title: str) -> Panel:
    return Panel(content, title=title, title_align="left", border_style=SOFT)


def _date(time_us: int) -> str:
    moment = EPOCH + timedelta(microseconds=time_us)
    return f"{moment.day} {moment:%b %Y}"


def _spread(seen: Latencies) -> str:
    p50, p99 = said(seen.percentile(50)), said(seen.percentile(99))
    return f"p50 {p50}, p99 {p99}, max {said(seen.largest)}"
