"""A replay's folder, whether it has ended or is still being written.

While it runs there are the parts of its predictions, one every few seconds, and its alarms; what
its models are worth is said when it ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.alarms import DRIFT
from jobs.rerun import PREDICTIONS
from jobs.settings import Inputs
from jobs.watching.figures import (
    Curve,
    Figures,
    Line,
    Quality,
    alarms_said,
    count,
    moment,
    seconds,
    share,
)
from operators.drift.alarm import Alarm
from operators.drift.response import told_of

PARTS = f"{PREDICTIONS}.parts"
QUANTILES = (50, 90, 99)
COLUMNS = ["time", "score", "decision", "model_version"]
SPAN = "lately"
"""The part of metrics.json that is shown."""


class RunFolder:
    """Reads what is new each time. Raises InputError where no run is."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._inputs = folder, Inputs.load(folder)
        self._parts: dict[str, tuple[float, int]] = {}
        """Of each part, when it was there and how many rows it has."""
        self._last: pa.Table | None = None
        self._reviews = 0

    def figures(self, clock: str) -> Figures:
        """Where it stands."""
        metrics = self._metrics()
        if not metrics:
            self._look()
        panels = dict(_ended(metrics) if metrics else self._going_on())
        alarms = alarms_of(self._folder / DRIFT)
        if alarms:
            panels["drift"] = drift_lines(alarms)
        rates = [rate for _, rate in metrics["throughput"]] if metrics else self._rates()
        return Figures(
            title=f"Replay in {self._folder}, pipeline {Path(self._inputs.pipeline).stem}",
            clock="ended" if metrics else clock,
            panels=panels,
            quality=list(_quality(metrics)),
            curves=[*_precision(metrics), Curve("events a second", {"rate": rates})],
            alarms=alarms,
            note="" if metrics else "how good its models are is said when it ends",
        )

    def _metrics(self) -> dict[str, Any]:
        """What a run that has ended says of itself; nothing of one that goes on."""
        if (self._folder / PARTS).is_dir():
            return {}
        with suppress(OSError, orjson.JSONDecodeError):
            found: dict[str, Any] = orjson.loads((self._folder / "metrics.json").read_bytes())
            return found
        return {}

    def _there(self) -> Iterator[Path]:
        return (self._folder / PARTS).glob("[0-9]*.parquet")

    def _look(self) -> None:
        """Read the parts that have come."""
        for path in sorted(self._there()):
            if path.name in self._parts:
                continue
            with suppress(OSError, pa.ArrowException):  # they become one file at the end
                table = pq.read_table(path, columns=COLUMNS)
                self._parts[path.name] = path.stat().st_mtime, len(table)
                self._reviews += pc.sum(pc.equal(table["decision"], "review")).as_py() or 0
                self._last = table if len(table) else self._last

    def _rates(self) -> list[float]:
        parts = list(self._parts.values())
        return [rows / max(at - before, 1e-3) for (before, _), (at, rows) in pairwise(parts)]

    def _going_on(self) -> Iterator[tuple[str, list[Line]]]:
        made, rates = sum(rows for _, rows in self._parts.values()), self._rates()
        yield (
            "traffic",
            [
                Line("predictions", count(made), history=rates),
                Line("rate", f"{count(rates[-1])}/s" if rates else "–"),
            ],
        )
        if self._last is None:
            return
        scores = np.percentile(self._last["score"].to_numpy(), QUANTILES).tolist()
        yield (
            "predictions",
            [
                Line("to review", share(self._reviews, made)),
                Line("scores", f"p50, p90, p99: {', '.join(f'{each:.2g}' for each in scores)}"),
                Line("version", count(self._last["model_version"][-1].as_py())),
                Line("simulated", moment(pc.max(self._last["time"]).cast(pa.int64()).as_py())),
            ],
        )


def alarms_of(path: Path) -> list[Alarm]:
    """The alarms of a run, oldest first; a last line that is not whole is left for the next time.

    None where there is no such file.
    """
    found: list[Alarm] = []
    with suppress(OSError):
        for line in path.read_bytes().splitlines():
            with suppress(msgspec.MsgspecError):
                told = told_of(line)
                found += [told] if isinstance(told, Alarm) else []
    return found


def drift_lines(alarms: Sequence[Alarm]) -> list[Line]:
    """Alarms and changes that go on, by kind."""
    lines = []
    for kind in dict.fromkeys(each.kind for each in alarms):
        over = sum(each.over for each in alarms if each.kind == kind)
        raised = sum(not each.over for each in alarms if each.kind == kind)
        lines.append(Line(kind, alarms_said(raised, raised - over), good=raised <= over))
    return lines


def _ended(metrics: Mapping[str, Any]) -> Iterator[tuple[str, list[Line]]]:
    yield (
        "traffic",
        [
            Line("events", f"{count(metrics['events'])} in {seconds(metrics['seconds'])}"),
            Line("rate", f"{count(metrics['events_per_second'])}/s"),
            *(Line(name, f"{n:,}") for name, n in metrics["keys"].items()),
            Line("state", f"{metrics['state_bytes'] / 1e6:,.0f} MB"),
        ],
    )
    yield (
        "latency",
        [
            Line(f"{name} {part}", seconds((of.get(part) or math.nan) / 1e6))
            for name, of in metrics["latency_us"].items()
            if of
            for part in ("p50", "p99")
        ],
    )
    version = metrics["version"]
    yield (
        "predictions",
        [
            Line(
                "version", f"{count(version['sequence'])}, of {count(version['examples'])} examples"
            )
        ],
    )


def _quality(metrics: Mapping[str, Any]) -> Iterator[Quality]:
    for scorer, row in metrics.get(SPAN, {}).items():
        values = (row[name] for name in ("auc", "average_precision", "recall_at_budget"))
        yield Quality(scorer, *(math.nan if value is None else value for value in values))


def _precision(metrics: Mapping[str, Any]) -> Iterator[Curve]:
    """Average precision by window of time, of the models and of the amount rule."""
    windows = {name: rows for name, rows in metrics.get("windows", {}).items() if rows}
    if not windows:
        return
    lines = {
        name: [math.nan if (x := row["average_precision"]) is None else x for row in rows]
        for name, rows in windows.items()
    }
    rows = next(iter(windows.values()))
    ends = moment(rows[0]["start_us"]), moment(rows[-1]["end_us"])
    yield Curve("average precision by window", lines, first=ends[0], last=ends[1])
