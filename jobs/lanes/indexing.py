"""The index of lanes of ids: who was here, which label belongs to whom, what became known.

`operators.index.Index` works in memory and in a scratch file; what it comes to know goes into the
lane's store as it does: the rows of ids that were added, the labels that changed, a few counters.
So a lane that moves, or is restored, is read back from its store once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from jobs.definition import Pipeline
from jobs.intake import KEY_WORDS
from jobs.lanes.indexstore import (
    BOOK,
    CLOCK,
    COUNTED,
    CURSOR,
    FIRST,
    IDENT,
    LABELS,
    NEWEST,
    NEXT,
    NUMBERS,
    OUTCOMES,
    ROW,
    ROWS,
    TOLD,
    WAITED,
    WAITING,
    WORD,
    KeptIndex,
)
from jobs.lanes.lanes import lanes_of, runs
from jobs.lanes.rows import Admitted, Arrivals
from jobs.lanes.store import Store
from jobs.numbering import Numbering
from operators.admission import COUNTS, Admission, Examples
from operators.index import Index
from operators.labels import CONFLICTING
from streams.batch import EVENT, LABEL, Batch
from streams.errors import DeadLetter, Reason
from streams.records import Outcomes, quiet
from streams.rows import MappedRows
from streams.schema import duration_us

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_EXAMPLES = 64
"""Outcomes told at a time, beside two a row: when time leaps, more than that become known."""
_LATE = COUNTS.index("late")
_MATURED = 4096
"""Events that mature at a time."""
_TOUCHED = 4096
"""Rows after which the pages of the scratch files are let go."""
_NEVER = -(2**62)


class LaneIndex:
    """The index of lane `lane` of `lanes`, with a scratch file in `folder`."""

    def __init__(
        self, pipeline: Pipeline, lane: int, lanes: int, store: Store, folder: Path
    ) -> None:
        event = pipeline.event
        self._numbering = Numbering(lane, lanes)
        path = folder / f"headrace-{uuid4().hex}.rows"
        self._ids = MappedRows(path, KEY_WORDS + 2 * len(event.keys))
        # Nobody asks for it by name: its space is free when this process ends, however it does.
        path.unlink()
        self._retention_us = pipeline.retention_us
        self._index = Index(
            len(event.keys),
            event.label.maturity_us,
            pipeline.retention_us,
            duration_us(pipeline.lateness),
            self._ids,
        )
        self._base = 0
        """The lane's row that is row 0 of the scratch file."""
        self._chunks: list[tuple[int, int]] = []
        """First row and row after the last of every entry of rows in the store, oldest first."""
        self._labelled: set[int] = set()
        """The lane's rows that have a label in the store."""
        self._waits: dict[bytes, int] = {}
        """The entries of waiting labels as they came, and when each was known."""
        self._touched = 0
        self._kept = 0
        """The row of the scratch file up to which all are in the store."""
        self._entries: dict[bytes, bytes] = {}
        self._gone: list[bytes] = []
        """What is to be put into the store, after what is to be removed from it."""
        self._book = np.zeros(COUNTED + len(COUNTS), np.int64)
        self._book[[CLOCK, NEWEST]] = _NEVER
        self._restore(store)

    @property
    def counts(self) -> dict[str, int]:
        """The index's counts by name."""
        return dict(zip(COUNTS, self._book[COUNTED:].tolist(), strict=True))

    def admit(
        self, batch: Batch, late: Bools, start: int, stop: int
    ) -> tuple[list[Admission], list[Outcomes]]:
        """Process rows [start, stop) of the lane; the store has what is known when `keep` was."""
        found: list[Admission] = []
        outcomes: list[Outcomes] = []
        book = self._book
        at = start
        while at < stop:
            before_us = self._index.clock_us
            admission = self._index.admit(batch, at, _EXAMPLES + 2 * (stop - at), end=stop)
            self._note(batch, late, at, admission)
            found.append(admission)
            at, untold = admission.stop, int(self._next - book[TOLD])
            if len(admission.examples) or not quiet(untold, before_us, self._index.clock_us):
                outcomes.append(self._outcomes(admission.examples, more=at < stop))
        self._touched += stop - start
        if self._touched > _TOUCHED:
            self._touched = 0
            self._ids.release()
        return found, outcomes

    @property
    def due_us(self) -> int | None:
        """When the next event matures, None if none is pending."""
        return self._index.due_us

    def advance(self, time_us: int, store: Store) -> list[Outcomes]:
        """Let time have come this far, though no row said so: what has matured."""
        outcomes: list[Outcomes] = []
        before_us, more = self._index.clock_us, True
        while more:
            examples, counts = self._index.advance(time_us, _MATURED)
            self._book[COUNTED:] += counts
            more = len(examples) == _MATURED
            if len(examples) or not quiet(0, before_us, self._index.clock_us):
                outcomes.append(self._outcomes(examples, more=more))
        self.keep(store)
        return outcomes

    def keep(self, store: Store) -> None:
        """Put what has become known, and where the index stands now, into the store."""
        book, entries, next_ = self._book, self._entries, self._index.next_row
        if next_ > self._kept:
            new = self._base + self._kept, self._base + next_
            entries[ROW.pack(ROWS, new[0])] = self._ids.view[self._kept : next_].tobytes()
            self._chunks.append(new)
            self._kept = next_
        self._forget()
        for key in self._gone:
            store.remove(key)
        book[: NEWEST + 1] = self._index.counters
        book[: CURSOR + 1] += self._base
        entries[BOOK] = book.tobytes()
        store.put_all(entries)
        self._entries, self._gone = {}, []

    @property
    def _next(self) -> int:
        return self._base + self._index.next_row

    def numbers(self, rows: Int64s) -> Int64s:
        """The numbers of events by their rows in the scratch file; -1 stays -1."""
        return self._numbering.of(np.where(rows >= 0, rows + self._base, -1))

    def _outcomes(self, examples: Examples, *, more: bool) -> Outcomes:
        book = self._book
        before = int(book[OUTCOMES])
        book[OUTCOMES] += len(examples)
        book[TOLD] = self._next
        return Outcomes(
            before=before,
            clock=self._index.clock_us,
            numbers=self.numbers(examples.row).tolist(),
            values=examples.y.tolist(),
            known=examples.known_us.tolist(),
            causes=examples.cause.tolist(),
            more=more,
            **self._numbering.about(self._next, self._base + self._index.first_row),
        )

    def _note(self, batch: Batch, late: Bools, start: int, admission: Admission) -> None:
        """Note what rows from `start` on changed."""
        here = slice(start, admission.stop)
        changed = (batch.kind[here] == LABEL) | (admission.value >= 0)
        if changed.any():
            self._note_labels(batch.idents[here, 0][changed])
        counts = self._book[COUNTED:]
        counts += admission.counts
        # What is late is told by its reader, who sees more than one lane.
        counts[_LATE] -= admission.counts[_LATE]
        counts[_LATE] += np.count_nonzero(late[here] & (admission.row >= 0))

    def _note_labels(self, idents: Int64s) -> None:
        entries, held = self._entries, self._index.held(idents).tolist()
        for (hi, lo), (row, word, waits) in zip(idents.tolist(), held, strict=True):
            key = IDENT.pack(WAITING, hi, lo)
            waited = self._waits.pop(key, None)
            if waits:
                entries[key] = WORD.pack(waits, self._book[WAITED])
                self._book[WAITED] += 1
                self._waits[key] = waits >> 2
            elif waited is not None:
                self._drop(key)
            if word:
                entries[ROW.pack(LABELS, row + self._base)] = WORD.pack(word, 0)
                self._labelled.add(row + self._base)

    def _forget(self) -> None:
        """Drop what the index has forgotten."""
        first = self._base + self._index.first_row
        while self._chunks and self._chunks[0][1] <= first:
            start, stop = self._chunks.pop(0)
            self._drop(ROW.pack(ROWS, start))
            if start < len(self._numbering.brought):
                self._drop(ROW.pack(NUMBERS, start))
            for row in self._labelled.intersection(range(start, stop)):
                self._labelled.remove(row)
                self._drop(ROW.pack(LABELS, row))
        limit = self._index.clock_us - self._retention_us
        while self._waits and next(iter(self._waits.values())) < limit:
            key = next(iter(self._waits))
            del self._waits[key]
            self._drop(key)

    def _drop(self, key: bytes) -> None:
        """Have an entry not be in the store any more."""
        self._entries.pop(key, None)
        self._gone.append(key)

    def _restore(self, store: Store) -> None:
        """Go on from the store, if there is anything in it."""
        width = self._ids.view.shape[1]
        kept = KeptIndex.of(store, self._numbering.lane, self._numbering.lanes, width)
        if kept is None:
            return
        self._book, self._numbering = kept.book, kept.numbering
        base, stop = int(kept.book[FIRST]), int(kept.book[NEXT])
        self._base, self._kept = base, stop - base
        self._chunks = [(start, start + len(rows)) for start, rows in kept.chunks]
        self._labelled = {row for row, _ in kept.labels}
        self._waits = {IDENT.pack(WAITING, *each[2:]): each[1] >> 2 for each in kept.waiting}
        self._ids.reserve(stop - base)
        self._ids.view[: stop - base] = kept.ids().reshape(-1, width)
        labels = [(word, row - base, 0) for row, word in kept.labels if row >= base]
        self._index.restore(
            {
                "first_row": 0,
                "next_row": stop - base,
                "cursor": int(kept.book[CURSOR]) - base,
                "clock_us": int(kept.book[CLOCK]),
                "newest_us": int(kept.book[NEWEST]),
                "labels": np.array(labels, np.int64).reshape(-1, 3),
                "waiting": np.array([each[1:] for each in kept.waiting], np.int64).reshape(-1, 3),
                "queue": np.array([each[2:] for each in kept.waiting], np.int64).reshape(-1, 2),
            }
        )

    def close(self) -> None:
        """Let go of the scratch file."""
        self._ids.close()


class LaneIndexes:
    """The indexes of the lanes that one task owns, each read from its store when it is asked for.

    `stores` gives a lane's store until the next is asked for.
    """

    def __init__(
        self, pipeline: Pipeline, lanes: int, stores: Callable[[int], Store], folder: Path
    ) -> None:
        self._pipeline, self._lanes, self._stores = pipeline, lanes, stores
        self._folder = folder
        self._columns = len(pipeline.plan().columns)
        self._open: dict[int, LaneIndex] = {}
        self._changed: set[int] = set()
        """The lanes that have what is not in their store yet."""

    def lane(self, lane: int, store: Store) -> LaneIndex:
        """The index of a lane, whose store this is."""
        if lane not in self._open:
            index = LaneIndex(self._pipeline, lane, self._lanes, store, self._folder)
            self._open[lane] = index
        return self._open[lane]

    def take(self, rows: Arrivals) -> tuple[Admitted, list[tuple[int, Outcomes]], list[DeadLetter]]:
        """Admit events and find whom labels speak of.

        What goes on is every event, were it only its turn, and the labels whose event is known, in
        the order of the rows. Outcomes come with their lane. Of a dead letter the topic is missing.
        """
        found = self.admit(rows)
        self.keep()
        return found

    def admit(
        self, rows: Arrivals
    ) -> tuple[Admitted, list[tuple[int, Outcomes]], list[DeadLetter]]:
        """Do so, and leave the stores as they are until `keep`, once for several if need be."""
        order, found = runs(lanes_of(rows.batch.idents[:, 0], self._lanes))
        # By lanes; of texts the index wants none.
        batch, late = replace(rows.batch, texts=()).take(order), rows.late[order]
        admissions: list[Admission] = []
        numbers: list[Int64s] = []
        told: list[tuple[int, Outcomes]] = []
        for lane, start, stop in found:
            index = self._open.get(lane) or self.lane(lane, self._stores(lane))
            these, outcomes = index.admit(batch, late, start, stop)
            self._changed.add(lane)
            admissions += these
            numbers += [index.numbers(each.row) for each in these]
            told += [(lane, each) for each in outcomes]
        status = np.concatenate([each.status for each in admissions])
        letters = self._conflicts(rows, order[status == CONFLICTING])
        return self._admitted(rows, order, admissions, np.concatenate(numbers)), told, letters

    def keep(self) -> None:
        """Put into the stores what has become known."""
        for lane in self._changed:
            self._open[lane].keep(self._stores(lane))
        self._changed.clear()

    def _admitted(
        self, rows: Arrivals, order: Int64s, admissions: list[Admission], number: Int64s
    ) -> Admitted:
        """Rows with what became of them in another order, by lanes."""
        batch, places = rows.batch, np.empty(len(order), np.int64)
        places[order] = np.arange(len(order))
        when, ident, known, value, keys = (
            np.concatenate([getattr(each, name) for each in admissions])[places]
            for name in ("when", "event_ident", "known", "value", "keys")
        )
        whole = Admitted(
            number=number[places],
            time=batch.time,
            when=when,
            ident=ident,
            known=known,
            value=value,
            late=rows.late,
            keys=keys,
            numbers=batch.numbers,
            categories=batch.categories,
            turn=rows.turn,
            features=np.zeros((len(batch), self._columns)),
            texts=batch.texts[:2],
            headers=rows.headers,
        )
        here = (batch.kind == EVENT) | (value >= 0)
        return whole if here.all() else whole.take(np.flatnonzero(here))

    def _conflicts(self, rows: Arrivals, places: Int64s) -> list[DeadLetter]:
        batch = rows.batch
        return [
            DeadLetter(
                Reason.CONFLICTING_ID,
                f"id {batch.texts[0][row]} came before with other content",
                "",
                int(batch.partition[row]),
                int(batch.offset[row]),
                int(batch.time[row]),
                rows.values[row],
            )
            for row in places.tolist()
        ]

    def close(self) -> None:
        """Let go of the scratch files."""
        for index in self._open.values():
            index.close()
