"""Watching a stream: events and outcomes into buckets of event time, alarms out.

Time is cut into cells by a fixed grid. A bucket is one cell, or where there are few events several
in a row: it ends with the cell in which it has had `least` of them, and with the hour. Monitors of
what labels say, which come days later, are told buckets of six hours, made of those.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import msgspec
import numpy as np
import numpy.typing as npt

from models.state import prefixed, under
from operators.drift.alarm import Alarm, Finding, Kind
from operators.drift.bucket import (
    NOBODY,
    Bucket,
    Floats,
    Int64s,
    Matured,
    Monitor,
    Scope,
    Watcher,
    scaled_odds,
)
from operators.drift.declared import ALL, INPUTS, PATIENCE
from operators.drift.filling import fill
from operators.drift.patience import NEVER, Patient
from operators.drift.pending import Pending
from operators.drift.sketch import EVERYWHERE, Sketch
from operators.labels import BY_LATE_LABEL
from streams.errors import ConfigError, StateError
from streams.schema import duration_us

KINDS: tuple[str, ...] = get_args(Kind)
FOREVER = 2**62
HOUR_US = 3_600_000_000
_SILENCE = 30
"""How often a silence doubles at most."""
_FORMAT = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """How a pipeline is watched. `monitors` are told one bucket after another.

    `bucket` is the grid of event time, `least` how many events a bucket is to hold, within the
    hour. Responses act at a coarser grid, `act`, of whole hours. Raises ConfigError for others.
    """

    bucket: str = "15m"
    least: int = 200
    act: str = "1d"
    monitors: tuple[Watcher, ...] = ALL

    def __post_init__(self) -> None:
        cell, act = duration_us(self.bucket), duration_us(self.act)
        if not cell or max(cell, HOUR_US) % min(cell, HOUR_US):
            raise ConfigError(
                f"watch: wanted a bucket that divides an hour, or is of whole hours, got "
                f"{self.bucket}"
            )
        if not act or act % max(cell, HOUR_US):
            raise ConfigError(
                f"watch: wanted to act at whole hours and buckets, as 1d, got {self.act}"
            )

    def bind(self, scope: Scope, *, acting: bool = False) -> Watching:
        """A watch over this that has seen nothing; `acting` where responses are declared."""
        return Watching(self, scope, acting=acting)


class Watching:
    """The state of a watch: an open bucket, what matured since, monitors, the number of alarms.

    Events are told by `see`, examples by `mature`, and `close` says how far time has come. Each
    counts where `at_us` lies: the time at which it happened, or if that is later, to which time had
    come when it did. Nothing may come whose `at_us` is before a time that was closed. Whatever
    order it is told in, and however it is cut, the alarms are the same.

    Memory: the sketches of a bucket and of scores since, what the monitors state, and 42 bytes and
    8 a slice for each of the examples of the last six hours, of one cell `pending.MOST`.
    """

    def __init__(self, watch: Watch, scope: Scope, *, acting: bool) -> None:
        self._watch, self._scope = watch, scope
        self._cell_us = duration_us(watch.bucket)
        self._hour = max(HOUR_US // self._cell_us, 1)
        """Cells that a bucket lasts at most."""
        self.acts = acting
        """Whether responses are told of alarms."""
        self._act_us = duration_us(watch.act)
        self._sizes = np.array([len(values) for values in scope.slices.values()], np.int64)
        self.number = 0
        """The last alarm's."""
        self.buckets = 0
        """How many were closed."""
        self._begin()

    def _begin(self) -> None:
        """Have seen nothing."""
        self.monitors: list[Monitor] = [each.bind(self._scope) for each in self._watch.monitors]
        rows = len(self._scope.names), 1 + int(self._sizes.sum())
        pairs = [*zip(self._watch.monitors, self.monitors, strict=True)]
        self._patient = [
            Patient(monitors, max(patience_us // self._cell_us, 1), rows[1])
            for patience_us, those in PATIENCE
            if (monitors := [each for told, each in pairs if isinstance(told, those)])
        ]
        waiting = tuple(each for _, those in PATIENCE for each in those)
        prompt = [(told, each) for told, each in pairs if not isinstance(told, waiting)]
        self._prompt = [each for _, each in prompt]
        self._examined = not all(isinstance(told, INPUTS) for told, _ in prompt)
        """Whether any of these is told of examples."""
        self._start = self._cell = NEVER
        """The first cell of the open bucket, and the cell up to which time has come."""
        self._count = self._silent = 0
        """Events in it, and how many buckets before it had none."""
        self._version = 0
        self._pending = Pending(len(self._sizes))
        """Examples of the open bucket, and of those that patient monitors were not told."""
        self._features, self._scores = (Sketch.empty(each) for each in rows)
        self._features.clear()
        self._scores.clear()
        self._alarms: list[Alarm] = []
        self._untold: list[Alarm] = []
        """Those that no response was told of."""
        self._going = np.zeros(len(KINDS), np.int64)
        """Changes that were told and are not over, of each kind."""
        self.due_us = FOREVER
        """When responses act next."""

    def mature(self, at_us: Int64s, matured: Matured) -> None:
        """Take examples whose first label became known, or came after the maturity."""
        if len(matured):
            self._pending.add(at_us // self._cell_us, matured)

    def see(self, at_us: Int64s, x: Floats, score: Floats, version: Int64s, codes: Int64s) -> None:
        """Take n events: (n, features) inputs, the score that decided, by which version, in what
        slices. Those of cells before the last one's close what is before them.
        """
        if not len(at_us):
            return
        if len(at_us) > 1 and (at_us[1:] < at_us[:-1]).any():
            order = np.argsort(at_us // self._cell_us, kind="stable")
            at_us, x, version = at_us[order], np.ascontiguousarray(x[order]), version[order]
            score, codes = score[order], codes[order]
        if self._start == NEVER:
            self._start = self._cell = int(at_us[0]) // self._cell_us
        told = (
            at_us, x.view(np.int64), scaled_odds(score).view(np.int64),
            np.ascontiguousarray(version), np.ascontiguousarray(codes), self._sizes,
        )  # fmt: skip
        features, scores = self._features, self._scores
        done = 0
        while done < len(at_us):
            cell = int(at_us[done]) // self._cell_us
            self._pass(cell)
            if not self._count:
                self._break_silence(cell // self._hour * self._hour)
            done, self._cell, self._count, self._version = fill(
                done, *told,
                (self._cell_us, cell, self._count, self._watch.least, self._end, self._version),
                features.counts, features.missing, features.blocks,
                scores.counts, scores.missing, scores.blocks,
            )  # fmt: skip

    def close(self, clock_us: int) -> list[Alarm]:
        """Say that time has come this far, and all before it was told; the alarms since the last.

        Before the first event nothing is watched.
        """
        if self._start > NEVER:
            self._pass(clock_us // self._cell_us)
        alarms, self._alarms = self._alarms, []
        if self.acts:
            self._untold += alarms
        return alarms

    @property
    def open_us(self) -> int:
        """Before this all is closed."""
        return self._cell * self._cell_us if self._start > NEVER else NEVER

    def figures(self) -> dict[str, float]:
        """How far it is: buckets closed, the end of the last one in seconds, the last alarm."""
        ended = {"bucket_end_seconds": self._start * self._cell_us / 1e6} if self.buckets else {}
        return {"buckets_total": self.buckets, "alarm_number": self.number} | ended

    def going(self) -> dict[str, int]:
        """How many changes were told that are not over, by what has changed."""
        return dict(zip(KINDS, self._going.tolist(), strict=True))

    def begin(self, clock_us: int) -> None:
        """Have responses act from here on, the time of the first event, unless they do already."""
        if self.acts and self.due_us == FOREVER:
            self._reckon(clock_us)

    def act(self) -> list[Alarm]:
        """At `due_us`, to which time was closed: the alarms that responses are to be told of."""
        self._reckon(self.due_us)
        told, self._untold = self._untold, []
        return told

    def _reckon(self, clock_us: int) -> None:
        self.due_us = (clock_us // self._act_us + 1) * self._act_us

    @property
    def _end(self) -> int:
        """The cell before which the open bucket ends at the latest.

        That is with the hour; in silence with two, four and so on.
        """
        span = self._hour << min(self._silent, _SILENCE)
        return (self._start // span + 1) * span

    def _pass(self, cell: int) -> None:
        """Let time come to this cell, and end the buckets before it."""
        if cell <= self._cell:
            return
        if self._count >= self._watch.least:
            self._hand(self._cell + 1)
        while cell >= self._end:
            self._hand(self._end)
        self._cell = cell

    def _break_silence(self, hour: int) -> None:
        """Have the open bucket, in which there is no event yet, begin with the hour or later."""
        if hour > self._start:
            self._hand(hour)
        self._silent = 0

    def _hand(self, end: int) -> None:
        """End the open bucket before this cell, and begin the next there."""
        matured, late = self._told(self._start, end) if self._examined else (NOBODY, NOBODY)
        bucket = Bucket(
            self._start * self._cell_us,
            end * self._cell_us,
            self._features,
            self._scores,
            matured,
            self._version,
            late,
        )
        self.buckets += 1
        self._tell(self._prompt, bucket)
        self._keep(end)
        self._silent += not self._count
        self._start, self._count = end, 0
        self._features.clear()
        self._scores.clear()

    def _keep(self, end: int) -> None:
        """Add the open bucket to what patient monitors are told; tell those who have waited.

        Those who wait longer are told what those who wait less long were.
        """
        first, scores, due = self._start, self._scores, []
        for each in self._patient:
            if not each.add(first, end, scores):
                break
            told = self._told(each.since, end)
            self._tell(each.monitors, each.bucket(end, self._cell_us, told, self._version))
            first, scores = each.since, each.scores
            due.append(each)
        for each in due:
            each.told()
        if due or not self._patient:
            waiting = [each.since for each in self._patient if each.since > NEVER]
            self._pending.forget(min(waiting, default=end))

    def _told(self, first: int, end: int) -> tuple[Matured, Matured]:
        """The examples of a range of cells, and those of late labels."""
        told = self._pending.of(first, end)
        late = told.cause == BY_LATE_LABEL
        return (told[~late], told[late]) if late.any() else (told, NOBODY)

    def _tell(self, monitors: Sequence[Monitor], bucket: Bucket) -> None:
        for monitor in monitors:
            for finding in monitor.close(bucket):
                self._raise(finding, bucket.end_us)

    def _raise(self, finding: Finding, at_us: int) -> None:
        self.number += 1
        kind = KINDS.index(finding.kind)
        self._going[kind] = max(int(self._going[kind]) + (-1 if finding.over else 1), 0)
        fields = msgspec.structs.asdict(finding)
        for name in ("size", "threshold"):
            fields[name] = float(fields[name]) if math.isfinite(fields[name]) else 0.0
        figures = ((name, float(value)) for name, value in finding.evidence.items())
        fields["evidence"] = {name: value for name, value in figures if math.isfinite(value)}
        self._alarms.append(Alarm(**fields, number=self.number, at_us=at_us, version=self._version))

    def _settings(self) -> bytes:
        return repr((_FORMAT, KINDS, self._watch, self._scope)).encode()

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """A copy of everything kept. To be taken after a `close`, whose alarms it has given."""
        counts = [self.number, self.buckets, self._start, self._cell, self._count, self._silent]
        state: dict[str, npt.NDArray[Any]] = {
            "settings": np.frombuffer(self._settings(), np.uint8),
            "counts": np.array([*counts, self._version, self.due_us], np.int64),
            "since": np.array([each.since for each in self._patient], np.int64),
            "going": self._going.copy(),
            "untold": np.frombuffer(msgspec.json.encode(self._untold), np.uint8),
        }
        state |= prefixed("pending/", self._pending.state())
        for name, sketch in self._sketches().items():
            state |= {
                f"{name}/counts": sketch.counts.copy(),
                f"{name}/missing": sketch.missing.copy(),
            }
        for place, monitor in enumerate(self.monitors):
            state |= prefixed(f"monitors/{place}/", monitor.state())
        return state

    def _sketches(self) -> dict[str, Sketch]:
        """What has been counted, by name."""
        waiting = {f"scores {place}": each.scores for place, each in enumerate(self._patient)}
        return {"features": self._features, "scores": self._scores, **waiting}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from a `state()` to the bit.

        StateError for one of other settings or monitors: then it has seen nothing, and numbers its
        alarms on from there.
        """
        self.number, self.buckets = state["counts"][:2].tolist()
        if state["settings"].tobytes() != self._settings():
            raise StateError("watching begins anew: it is declared otherwise than before")
        try:
            for place, monitor in enumerate(self.monitors):
                monitor.load(under(f"monitors/{place}/", state))
        except StateError as error:
            self._begin()
            raise StateError(f"watching begins anew: {error}") from error
        counts = state["counts"].tolist()[2:]
        self._start, self._cell, self._count, self._silent, self._version = counts[:5]
        self.due_us = counts[5]
        for each, since in zip(self._patient, state["since"].tolist(), strict=True):
            each.since = since
        for name, sketch in self._sketches().items():
            sketch.counts[...] = state[f"{name}/counts"]
            sketch.missing[...] = state[f"{name}/missing"]
            sketch.blocks[...] = EVERYWHERE
        self._going[...] = state["going"]
        self._pending.load(under("pending/", state))
        untold = msgspec.json.decode(state["untold"].tobytes(), type=list[Alarm])
        self._alarms, self._untold = [], untold
