"""The embedded host: one process drives the flow over a source and keeps its state.

    run = LocalRun(pipeline, source, out)
    for step in run:        # one batch each
        ...                 # show progress
    summary = run.finish()

A step takes a batch, carries it through the flow, notes it in the journal and hands the results to
the sinks. Every few seconds state, input position and sink positions are committed as one snapshot,
and a run that was killed goes on from the last one: what it had written since is cut off and made
again, to the same bytes.
"""

from __future__ import annotations

import gc
import hashlib
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.alarms import DRIFT
from jobs.definition import Pipeline
from jobs.pipeline import INTERVAL, Flow, Scored
from jobs.state import FlowState
from models.manifest import content_hash
from operators.admission import COUNTS
from streams.batch import EVENT, Batch
from streams.errors import DeadLetter, StateError
from streams.journal import Entry, Journal
from streams.order import Sorter
from streams.ownership import own
from streams.schema import MISSING, duration_us
from streams.sinks import Lines, PredictionsParquet, encode_dead_letter

SNAPSHOT_SECONDS = 5.0
RELEASE_ROWS = 4096
"""Mapped pages are let go after so many rows: a label maps twice 64 KB around its event."""
_REAL = pa.float64()
_DECISIONS = pa.array(["approve", "review"])
Order = Literal["arrival", "strict"]


class Source(Protocol):
    """Batches with the dead letters found on the way; its position can be kept and restored."""

    @property
    def total_rows(self) -> int | None:
        """Events and labels in all, if known."""

    def topic(self, partition: int) -> str:
        """The name of what rows of this partition come from."""

    def __iter__(self) -> Iterator[tuple[Batch, list[DeadLetter]]]: ...

    def state(self) -> bytes:
        """Where it stands."""

    def restore(self, state: bytes) -> None:
        """Go on from there."""


@dataclass(frozen=True, slots=True)
class Step:
    """One batch done."""

    batch: Batch
    scored: Scored
    taken: int
    """Rows of the source so far."""
    seconds: float
    """How long the flow took for this batch, sinks and snapshots left out."""


class LocalRun:
    """A pipeline over a source, from where its state folder stands to the end of the input.

    With `resume` an existing state folder is gone on with; otherwise it is emptied first. Raises
    StateError for a folder that another process owns or another pipeline made.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        source: Source,
        out: Path,
        *,
        state: Path | None = None,
        order: Order = "arrival",
        resume: bool = False,
        snapshot_seconds: float = SNAPSHOT_SECONDS,
    ) -> None:
        self.pipeline = pipeline
        self.source = source
        self.out = out
        self.folder = state or out / "state"
        self._snapshot_seconds = snapshot_seconds
        self._owned = ExitStack()
        self._owned.enter_context(own(self.folder))
        if not resume:
            _empty(self.folder)
        out.mkdir(parents=True, exist_ok=True)
        self.flow = Flow(pipeline, self.folder)
        self._sorter = Sorter(duration_us(pipeline.lateness)) if order == "strict" else None
        self._state = FlowState(self.flow, self.folder / "snapshots")
        self._journal = Journal(self.folder / "journal")
        self._rows = self._schema()
        self._predictions = PredictionsParquet(out / "predictions.parquet", self._rows)
        self._letters = Lines(out / "dead_letters.ndjson")
        self._drift = Lines(out / DRIFT)
        self.taken = Counter({"events": 0, "labels": 0})
        self.dead = Counter[str]()
        self.top_reasons = np.zeros(len(self.flow.names), np.int64)
        self.sequence = 0
        self._digest = (-1, b"")
        self._restore()
        self._kept = [(self.sequence, self.flow.index.first_row)] * 3
        self._promised = {entry.sequence: entry for entry in self._journal.entries(self.sequence)}

    def _schema(self) -> pa.Schema:
        """What a column cannot lack it is written without a word on."""
        event = self.pipeline.event
        fields = [("id", pa.string()), ("time", pa.timestamp("us", "UTC"))]
        fields += [(key, pa.string()) for key in event.keys]
        fields += [(number.name, pa.float64()) for number in event.numbers]
        fields += [(name, pa.float64()) for name in ("score", *INTERVAL)]
        fields += [("decision", pa.string())]
        fields += [("model_version", pa.int64()), ("late", pa.bool_())]
        fields += [(f"score_{name}", pa.float64()) for name in self.pipeline.challengers]
        known = {name for name, _ in fields}
        fields += [(name, pa.float64()) for name in self.flow.names if name not in known]
        optional = {number.name for number in event.numbers if not number.required}
        return pa.schema([pa.field(*each, nullable=each[0] in optional) for each in fields])

    def _restore(self) -> None:
        found = self._state.restore()
        meta, blobs = found or ({}, {})
        self._predictions.truncate_after(meta.get("parts", 0))
        self._letters.truncate(meta.get("letters", 0))
        self._drift.truncate(meta.get("drift", 0))
        if not found:
            return
        self.taken.update(meta["taken"])
        self.dead.update(meta["dead"])
        self.sequence = meta["sequence"]
        self.top_reasons[:] = meta["reasons"]
        self.source.restore(blobs["source"])
        if self._sorter:
            self._sorter.restore(blobs["order"])

    @property
    def resumed(self) -> bool:
        """Whether an earlier run's state is gone on with."""
        return self.sequence > 0

    @property
    def said(self) -> str:
        """What is to be said of the state that is gone on with."""
        return self._state.said

    @property
    def counts(self) -> dict[str, int]:
        """The index's counts by name."""
        return dict(zip(COUNTS, self.flow.counts.tolist(), strict=True))

    def __iter__(self) -> Iterator[Step]:
        """Carry batch after batch through, committing now and then; at the end, what was held."""
        gc.freeze()
        committed = time.monotonic()
        touched = 0
        for batch, letters in self.source:
            step = self._step(self._ordered(batch, letters))
            touched += len(step.batch)
            yield step
            now = time.monotonic()
            if now - committed >= self._snapshot_seconds and not self._state.busy:
                self.commit()
                committed = time.monotonic()
            if touched >= RELEASE_ROWS:
                touched = 0
                self._release()
        held = self._sorter.flush() if self._sorter else None
        if held is not None:
            yield self._step(held)

    def _ordered(self, batch: Batch, letters: list[DeadLetter]) -> Batch:
        events = int(np.count_nonzero(batch.kind == EVENT))
        self.taken.update(events=events, labels=len(batch) - events)
        self._bury(letters)
        return self._sorter.push(batch)[0] if self._sorter else batch

    def _step(self, batch: Batch) -> Step:
        self._state.heeding.heed(self.sequence + 1, again=self.sequence + 1 in self._promised)
        began = time.perf_counter()
        scored = self.flow.process(batch)
        seconds = time.perf_counter() - began
        self.sequence += 1
        self._note(batch)
        if len(scored):
            self._predictions.write(self._table(batch, scored))
        self._bury(
            [replace(each, topic=self.source.topic(each.partition)) for each in scored.letters]
        )
        self._drift.write(each.encode() for each in scored.drift)
        self._explain(scored)
        return Step(batch, scored, sum(self.taken.values()), seconds)

    def _note(self, batch: Batch) -> None:
        """Journal the batch before its output leaves; one taken before must be the same again."""
        ranges = _ranges(batch)
        sequence, digest = self._digest
        lineup = self.flow.lineup
        if sequence != lineup.number:
            text = content_hash(lineup.champion)
            digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
            self._digest = (lineup.number, digest)
        entry = Entry(self.sequence, ranges, lineup.number, digest)
        promised = self._promised.pop(self.sequence, None)
        if promised is None:
            self._journal.append(entry)
        elif (promised.version, promised.digest) != (entry.version, entry.digest) or (
            not np.array_equal(promised.ranges, ranges)
        ):
            raise StateError(
                f"{self.folder}: batch {self.sequence} came out otherwise than before the restart; "
                "the input, the batch size or the code has changed: start with a new state folder"
            )

    def _explain(self, scored: Scored) -> None:
        """Count which inputs led to review."""
        if scored.review.any():
            top = scored.reasons(3, np.flatnonzero(scored.review))
            self.top_reasons += np.bincount(top[top >= 0], minlength=len(self.top_reasons))

    def _bury(self, letters: list[DeadLetter]) -> None:
        if letters:
            self.dead.update(letter.reason.value for letter in letters)
            self._letters.write(map(encode_dead_letter, letters))

    def _table(self, batch: Batch, scored: Scored) -> pa.Table:
        """The predictions of a batch as rows of `predictions.parquet`."""
        event, rows = self.pipeline.event, scored.rows
        texts = batch.texts
        if len(rows) < len(batch):
            at = _column(rows, pa.int64())
            texts = tuple(text.take(at) for text in texts)
        ids, *keys = [text.cast(pa.string()) for text in texts]
        columns = [ids, _column(batch.time[rows], pa.timestamp("us", "UTC")), *keys]
        for place, number in enumerate(event.numbers):
            held = batch.numbers[rows, place]
            value = _column(held / 10**number.scale)
            missing = held == MISSING
            columns.append(_without(value, missing) if missing.any() else value)
        scores = np.ascontiguousarray(scored.scores.T)
        decision = _DECISIONS.take(_column(scored.review.view(np.int8), pa.int8()))
        low, high = np.ascontiguousarray(scored.intervals.T)
        columns += [_column(scores[0]), _column(low), _column(high)]
        columns += [decision, _column(scored.version, pa.int64())]
        columns.append(pa.array(scored.late))
        columns += [_column(scores[1 + k]) for k in range(len(self.pipeline.challengers))]
        known = set(self._rows.names[: len(columns)])
        features = np.ascontiguousarray(scored.features.T)
        columns += [
            _column(values)
            for name, values in zip(self.flow.names, features, strict=True)
            if name not in known
        ]
        return pa.table(columns, schema=self._rows)

    def _release(self) -> None:
        """Give back memory, and disk that no snapshot still kept can ask for."""
        for rows in (self.flow.ids, self.flow.log):
            rows.forget(self._kept[0][1])
            rows.release()

    def commit(self, *, wait: bool = False) -> None:
        """Make sinks, state and input position durable as one unit."""
        meta = {
            "parts": self._predictions.commit(),
            "letters": self._letters.commit(),
            "drift": self._drift.commit(),
            "taken": dict(self.taken),
            "dead": dict(self.dead),
            "sequence": self.sequence,
            "reasons": self.top_reasons.tolist(),
        }
        blobs = {"source": self.source.state()}
        if self._sorter:
            blobs["order"] = self._sorter.state()
        self._state.commit(meta, blobs, wait=wait)  # having waited for the one before
        self._kept = [*self._kept[1:], (self.sequence, self.flow.index.first_row)]
        self._journal.truncate_before(self._kept[0][0])

    def close(self) -> None:
        """Commit everything and let go of the state folder, for whoever goes on."""
        self.commit(wait=True)
        self._state.close()
        self._journal.close()
        self._letters.close()
        self._drift.close()
        self._owned.close()

    def finish(self) -> Path:
        """Commit, and make the parts one `predictions.parquet`."""
        self.close()
        gc.unfreeze()
        return self._predictions.finish()


def _column(values: npt.NDArray[Any], kind: pa.DataType = _REAL) -> pa.Array:
    """The values as a column, in place."""
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])


def _without(column: pa.Array, missing: npt.NDArray[np.bool_]) -> pa.Array:
    """The column with nulls in these places."""
    return pc.if_else(pa.array(missing), pa.scalar(None, column.type), column)


def _ranges(batch: Batch) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Runs of rows from one partition: (partition, first offset, last offset, rows)."""
    if not len(batch):
        return np.empty((0, 4), np.int64)
    starts = np.flatnonzero(np.diff(batch.partition, prepend=batch.partition[0] - 1))
    stops = np.append(starts[1:], len(batch))
    columns = (batch.partition[starts], batch.offset[starts], batch.offset[stops - 1])
    return np.column_stack([*columns, stops - starts]).astype(np.int64)


def _empty(folder: Path) -> None:
    """Remove what an earlier run left, but for the lock that is held."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()
