"""The index of one lane of ids: who was here, which label belongs to whom, what became known.

`operators.index.Index` works in memory and in a scratch file; what it comes to know goes into the
lane's store as it does: the rows of ids that were added, the labels that changed, a few counters.
So a lane that moves, or is restored, is read back from its store once.
"""

from __future__ import annotations

import struct
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from jobs.definition import Pipeline
from jobs.intake import KEY_WORDS
from jobs.lanes.rows import Admitted, Arrivals
from jobs.lanes.store import Store
from operators.admission import COUNTS, Admission
from operators.index import Index
from operators.labels import CONFLICTING
from streams.batch import EVENT, LABEL
from streams.errors import DeadLetter, Reason
from streams.records import Outcomes
from streams.rows import MappedRows
from streams.schema import duration_us

Int64s = npt.NDArray[np.int64]

_BOOK, _ROWS, _LABELS, _WAITING = b"b", b"r", b"l", b"w"
_ROW = struct.Struct(">cq")
_IDENT = struct.Struct(">cqq")
_WORD = struct.Struct("<qq")
_EXAMPLES = 64
"""Outcomes told at a time, beside two a row: when time leaps, more than that become known."""
_LATE = COUNTS.index("late")
QUIET_ROWS = 1000
"""Without any outcome the learner is told how far scoring is after this many predictions."""


class _Book(msgspec.Struct, array_like=True):
    """What a lane's counters stand at. Rows are counted from the lane's first event on."""

    next_row: int = 0
    first_row: int = 0
    cursor: int = 0
    clock_us: int = -(2**62)
    newest_us: int = -(2**62)
    waited: int = 0
    """Labels that ever waited: their order."""
    told: int = 0
    outcomes: int = 0
    counts: tuple[int, ...] = (0,) * len(COUNTS)


class LaneIndex:
    """The index of lane `lane` of `lanes`, with a scratch file in `folder`.

    Events are numbered so that no two lanes have a number in common: by the place in the lane times
    the number of lanes, plus the lane.
    """

    def __init__(
        self, pipeline: Pipeline, lane: int, lanes: int, store: Store, folder: Path
    ) -> None:
        event = pipeline.event
        self._pipeline, self._lane, self._lanes, self._store = pipeline, lane, lanes, store
        self._columns = len(pipeline.plan().columns)
        self._ids = MappedRows(folder / f"{lane}.rows", KEY_WORDS + 2 * len(event.keys))
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
        self._book = _Book()
        self._restore()

    @property
    def counts(self) -> dict[str, int]:
        """The index's counts by name."""
        return dict(zip(COUNTS, self._book.counts, strict=True))

    def take(self, rows: Arrivals) -> tuple[Admitted, list[Outcomes], list[DeadLetter]]:
        """Admit events and find whom labels speak of; what is known of them now is in the store.

        Of a dead letter the topic is missing, and its partition is the place of the reader's input.
        """
        batch = rows.batch
        parts: list[Admitted] = []
        outcomes: list[Outcomes] = []
        letters: list[DeadLetter] = []
        start = 0
        while start < len(batch):
            before = self._index.next_row
            admission = self._index.admit(batch, start, _EXAMPLES + 2 * len(batch))
            part = rows[start : admission.stop]
            self._note(part, admission, before)
            parts.append(self._admitted(part, admission))
            letters += self._conflicts(part, admission)
            if len(admission.examples) or self._next - self._book.told >= QUIET_ROWS:
                outcomes.append(self._outcomes(admission))
            start = admission.stop
        self._ids.release()
        self._keep_book()
        return Admitted.concat(parts), outcomes, letters

    @property
    def _next(self) -> int:
        return self._base + self._index.next_row

    def _number(self, rows: Int64s) -> Int64s:
        return np.where(rows >= 0, (rows + self._base) * self._lanes + self._lane, -1)

    def _admitted(self, rows: Arrivals, admission: Admission) -> Admitted:
        """What goes on to the windows: labels whose event is known, and all events' turns."""
        batch = rows.batch
        here = np.flatnonzero((batch.kind == EVENT) | (admission.value >= 0))
        taken = batch if len(here) == len(batch) else batch.take(here)
        n = len(here)
        return Admitted(
            number=self._number(admission.row[here]),
            time=taken.time,
            when=admission.when[here],
            ident=admission.event_ident[here],
            known=admission.known[here],
            value=admission.value[here],
            late=rows.late[here],
            keys=admission.keys[here],
            numbers=taken.numbers,
            categories=taken.categories,
            turn=rows.turn[here],
            features=np.zeros((n, self._columns)),
            texts=taken.texts[:2],
        )

    def _conflicts(self, rows: Arrivals, admission: Admission) -> list[DeadLetter]:
        if not admission.counts[CONFLICTING]:
            return []
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
            for row in np.flatnonzero(admission.status == CONFLICTING).tolist()
        ]

    def _outcomes(self, admission: Admission) -> Outcomes:
        examples, book = admission.examples, self._book
        before = book.outcomes
        book.outcomes += len(examples)
        book.told = self._next
        return Outcomes(
            before=before,
            next=self._next,
            first=self._base + self._index.first_row,
            clock=self._index.clock_us,
            numbers=self._number(examples.row).tolist(),
            values=examples.y.tolist(),
            known=examples.known_us.tolist(),
            causes=examples.cause.tolist(),
        )

    def _note(self, rows: Arrivals, admission: Admission, before: int) -> None:
        """Put into the store what these rows changed."""
        entries: dict[bytes, bytes] = {}
        after, base = self._index.next_row, self._base
        if after > before:
            entries[_ROW.pack(_ROWS, base + before)] = self._ids.view[before:after].tobytes()
            self._chunks.append((base + before, base + after))
        changed = (rows.batch.kind == LABEL) | (admission.value >= 0)
        if changed.any():
            self._note_labels(rows, np.flatnonzero(changed), entries)
        if entries:
            self._store.put_all(entries)
        self._forget()
        counts = np.array(self._book.counts) + admission.counts
        # What is late is told by its reader, who sees more than one lane.
        counts[_LATE] -= admission.counts[_LATE]
        counts[_LATE] += np.count_nonzero(rows.late & (admission.row >= 0))
        self._book.counts = tuple(counts.tolist())

    def _note_labels(self, rows: Arrivals, places: Int64s, entries: dict[bytes, bytes]) -> None:
        idents = rows.batch.idents[places, 0]
        held = self._index.held(idents).tolist()
        for (hi, lo), (row, word, waits) in zip(idents.tolist(), held, strict=True):
            key = _IDENT.pack(_WAITING, hi, lo)
            waited = self._waits.pop(key, None)
            if waits:
                entries[key] = _WORD.pack(waits, self._book.waited)
                self._book.waited += 1
                self._waits[key] = waits >> 2
            elif waited is not None:
                entries.pop(key, None)
                self._store.remove(key)
            if word:
                entries[_ROW.pack(_LABELS, row + self._base)] = _WORD.pack(word, 0)
                self._labelled.add(row + self._base)

    def _forget(self) -> None:
        """Drop from the store what the index has forgotten."""
        first = self._base + self._index.first_row
        while self._chunks and self._chunks[0][1] <= first:
            start, stop = self._chunks.pop(0)
            self._store.remove(_ROW.pack(_ROWS, start))
            for row in range(start, stop):
                if row in self._labelled:
                    self._labelled.remove(row)
                    self._store.remove(_ROW.pack(_LABELS, row))
        limit = self._index.clock_us - self._retention_us
        while self._waits and next(iter(self._waits.values())) < limit:
            key = next(iter(self._waits))
            del self._waits[key]
            self._store.remove(key)

    def _keep_book(self) -> None:
        state = self._index.book()
        book = self._book
        book.next_row, book.first_row = self._next, self._base + state["first_row"]
        book.cursor = self._base + state["cursor"]
        book.clock_us, book.newest_us = state["clock_us"], state["newest_us"]
        self._store.put_all({_BOOK: msgspec.msgpack.encode(book)})

    def _restore(self) -> None:
        """Go on from the store, if there is anything in it."""
        raw = self._store.get(_BOOK)
        if raw is None:
            return
        self._book = book = msgspec.msgpack.decode(raw, type=_Book)
        self._base = book.first_row
        rows: list[tuple[int, bytes]] = []
        labels: list[tuple[int, int, int]] = []
        waiting: list[tuple[int, int, int, int]] = []
        for key, value in self._store.items():
            if key[:1] == _ROWS:
                rows.append((_ROW.unpack(key)[1], value))
            elif key[:1] == _LABELS:
                row = _ROW.unpack(key)[1]
                self._labelled.add(row)
                if row >= self._base:
                    labels.append((_WORD.unpack(value)[0], row - self._base, 0))
            elif key[:1] == _WAITING:
                _, hi, lo = _IDENT.unpack(key)
                word, place = _WORD.unpack(value)
                waiting.append((place, word, hi, lo))
        self._put_rows(sorted(rows))
        waiting.sort()
        self._waits = {_IDENT.pack(_WAITING, *each[2:]): each[1] >> 2 for each in waiting}
        self._index.restore(
            {
                "first_row": 0,
                "next_row": book.next_row - self._base,
                "cursor": book.cursor - self._base,
                "clock_us": book.clock_us,
                "newest_us": book.newest_us,
                "labels": np.array(labels, np.int64).reshape(-1, 3),
                "waiting": np.array([each[1:] for each in waiting], np.int64).reshape(-1, 3),
                "queue": np.array([each[2:] for each in waiting], np.int64).reshape(-1, 2),
            }
        )

    def _put_rows(self, entries: list[tuple[int, bytes]]) -> None:
        """Write the rows of the store into the scratch file, those forgotten left out."""
        width = self._ids.view.shape[1]
        self._ids.reserve(self._book.next_row - self._base)
        for start, raw in entries:
            rows = np.frombuffer(raw, np.int64).reshape(-1, width)
            self._chunks.append((start, start + len(rows)))
            skipped = max(self._base - start, 0)
            first = start + skipped - self._base
            self._ids.view[first : first + len(rows) - skipped] = rows[skipped:]

    def close(self) -> None:
        """Let go of the scratch file."""
        self._ids.close()
        self._ids.path.unlink(missing_ok=True)
