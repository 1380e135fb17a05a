"""What a learner knows, in a store: its predictions as they came, its models and metrics whole.

Predictions are entries of a few thousand rows, written once and removed when no outcome may ask for
them; so are the scores that all models gave them. Of models and metrics those arrays are written
that have changed. So an engine that saves what is new saves little.
"""

from __future__ import annotations

import hashlib
import struct
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from jobs.held import Held, Lane
from jobs.lanes.store import Store
from jobs.learning import Learning
from jobs.state import put_models, put_watching, take_models
from streams.errors import StateError
from streams.packing import array_of, packed_array

Array = npt.NDArray[Any]
ROWS = 4096
"""Predictions of an entry, about; with fewer, one is made when all is kept."""
_KEPT, _TOLD, _ARRAY = b"k", b"t", b"a"
_ENTRY = struct.Struct(">cq")
_OFFSET = struct.Struct(">q")


class _Kept(msgspec.Struct, array_like=True):
    """Which entries and arrays belong to what is kept, and the small values beside them."""

    pipeline: str
    first: int
    next: int
    arrays: list[str]
    lanes: list[Lane]
    base: int
    moved: int
    beside: dict[str, Any]
    since_us: int | None = None


class KeptLearning:
    """Keeps `learning`, which knows nothing yet, in `store`."""

    def __init__(self, learning: Learning, store: Store) -> None:
        self._learning, self._store = learning, store
        self._width = len(learning.names)
        self._new: list[Held] = []
        self._next = 0
        """The number of the next entry."""
        self._there: deque[tuple[int, int]] = deque()
        """The entries that are there, and the largest number of a prediction in each."""
        self._digests: dict[str, bytes] = {}
        """Of the arrays as they are in the store."""
        self._scored: list[int] = []
        """How many of each lane's predictions are kept with the scores of all models."""
        self._base = 0
        """What those are counted from: see `Learning.base`."""
        self.said = ""
        """What is to be said of how watching goes on."""

    @property
    def told(self) -> int:
        """What was made of outcomes before this offset has been handed on."""
        raw = self._store.get(_TOLD)
        return _OFFSET.unpack(raw)[0] if raw else 0

    @told.setter
    def told(self, offset: int) -> None:
        self._store.put_all({_TOLD: _OFFSET.pack(offset)})

    def add(self, predictions: Held) -> None:
        """Keep these too, from the next `keep` on."""
        self._new.append(predictions)
        if sum(map(len, self._new)) >= ROWS:
            self._write_predictions()

    def keep(self, beside: dict[str, Any]) -> None:
        """Keep all as it is now, small values beside it, in place of what was kept before."""
        learning = self._learning
        self._write_predictions()
        self._write_scores()
        while self._there and self._there[0][1] < learning.first:
            self._store.remove(_key(self._there.popleft()[0]))
        arrays = take_models(learning.lineup, learning.evaluation, learning.watching)
        entries = {}
        for name, array in arrays.items():
            value = _packed(array)
            digest = hashlib.blake2b(value, digest_size=16).digest()
            if self._digests.get(name) != digest:
                entries[_ARRAY + name.encode()], self._digests[name] = value, digest
        first = self._there[0][0] if self._there else self._next
        numbers = learning.base, learning.moved
        pipeline = learning.pipeline.definition
        kept = _Kept(
            pipeline, first, self._next, list(arrays), learning.lanes, *numbers, beside,
            learning.since_us,
        )  # fmt: skip
        self._store.put_all(entries | {_KEPT: msgspec.msgpack.encode(kept)})

    def restore(self) -> dict[str, Any] | None:
        """Bring learning to what was kept; the values beside it, or None if nothing was."""
        learning, store = self._learning, self._store
        raw = store.get(_KEPT)
        if raw is None:
            return None
        kept = msgspec.msgpack.decode(raw, type=_Kept)
        if kept.pipeline != learning.pipeline.definition:
            raise StateError(
                f"the learner's state: wanted that of pipeline {learning.pipeline.definition}, got "
                f"{kept.pipeline}; submit it without a savepoint: it learns from the topics anew"
            )
        # First the models: they say whose score it is that a prediction came with.
        arrays = {name: self._read(_ARRAY + name.encode())[0] for name in kept.arrays}
        put_models(arrays, learning.lineup, learning.evaluation)
        self.said = put_watching(arrays, learning.watching, kept.lanes)
        learning.lanes, learning.base = kept.lanes, kept.base
        learning.skip(learning.first)
        learning.go_on_from(kept.lanes, kept.base, kept.moved)
        self._next, self._scored = kept.next, [lane.scored for lane in kept.lanes]
        self._base = kept.base
        learning.since_us = kept.since_us
        for entry in range(kept.first, kept.next):
            self._there.append((entry, self._put(*self._read(_key(entry)))))
        return kept.beside

    def _read(self, key: bytes) -> list[Array]:
        raw = self._store.get(key)
        if raw is None:
            raise StateError(
                f"the learner's state: wanted the entry {key!r}, got none; it is damaged: go on "
                "from an earlier checkpoint or savepoint"
            )
        return [array_of(each) for each in msgspec.msgpack.decode(raw)]

    def _put(self, number: Array, *columns: Array) -> int:
        """Put the predictions of an entry, or their scores, in place; their largest number."""
        here = number >= self._learning.first
        if len(columns) > 1:
            self._learning.put(Held(number, *columns).take(here))
        else:
            # The last columns: those of an earlier release are without the champion's.
            (scores,) = columns
            self._learning.log.view[number[here], -scores.shape[1] :] = scores[here]
        return int(number.max())

    def _write(self, number: Array, *columns: Array) -> None:
        self._store.put_all({_key(self._next): _packed(number, *columns)})
        self._there.append((self._next, int(number.max())))
        self._next += 1

    def _write_predictions(self) -> None:
        new = [each for each in self._new if len(each)]
        if new:
            names = ("number", "words", "scores", "features")
            self._write(*(np.concatenate([getattr(each, name) for each in new]) for name in names))
        self._new.clear()

    def _write_scores(self) -> None:
        """Write what all models have said since they were asked last."""
        lanes, base = self._learning.lanes, self._learning.base
        before, scored = self._scored or [0] * len(lanes), [each.scored for each in lanes]
        rows = []
        if base > self._base or len(before) != len(lanes):
            # All from before the state of scoring moved were scored when it did.
            room, count = base - self._base, len(before)
            stops = [-(-(room - lane) // count) for lane in range(count)]
            rows.append(_between(self._base, before, stops))
            before = [0] * len(lanes)
        rows.append(_between(base, before, scored))
        self._scored, self._base = scored, base
        self._write_scores_of(np.concatenate(rows))

    def _write_scores_of(self, rows: Array) -> None:
        log = self._learning.log
        rows = rows[rows >= self._learning.first]
        for at in range(0, len(rows), ROWS):
            part = rows[at : at + ROWS]
            self._write(part, log.take(part, slice(self._width, None)))


def _between(base: int, starts: Sequence[int], stops: Sequence[int]) -> Array:
    """The numbers of predictions from one place to another in each lane."""
    count = len(starts)
    spans = [
        base + np.arange(start, stop) * count + lane
        for lane, (start, stop) in enumerate(zip(starts, stops, strict=True))
    ]
    return np.concatenate(spans)


def _key(entry: int) -> bytes:
    return _ENTRY.pack(b"e", entry)


def _packed(*arrays: Array) -> bytes:
    return msgspec.msgpack.encode([packed_array(each) for each in arrays])
