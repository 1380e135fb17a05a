"""Strict order: rows held until the watermark has passed them, then let go sorted."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from streams.batch import EVENT, Batch
from streams.errors import StateError
from streams.packing import load, pack, unpack

Bools = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]

_NEVER = -(2**62)


def in_order(batch: Batch) -> Int64s:
    """The places of the rows by time, label before event, ident low word, ident high word."""
    ids = batch.idents[:, 0]
    return np.asarray(np.lexsort((ids[:, 0], ids[:, 1], batch.kind == EVENT, batch.time)))


def state_of(lateness_us: int, watermark_us: int, held: Batch | None) -> bytes:
    """The state of a `Sorter` that holds these rows, sorted."""
    rows = pack(held) if held is not None else None
    return msgspec.msgpack.encode((lateness_us, watermark_us, rows))


def parts_of(state: bytes) -> tuple[int, int, Batch | None]:
    """Lateness, watermark and held rows of a `Sorter.state`."""
    lateness, watermark, held = load(state, tuple[int, int, bytes | None])
    return lateness, watermark, unpack(held) if held is not None else None


class Sorter:
    """Puts rows into the order of `in_order` as long as none is more than `lateness_us` late.

    The watermark is the latest event time seen less the lateness; labels do not move it. Rows
    before the watermark are let go, so rows at one time stay together; a row that arrives before
    the watermark is late and is passed on at once. Any cut of the input into batches gives the
    same rows in the same order. State: the held rows, about 100 bytes each and their texts.
    """

    def __init__(self, lateness_us: int) -> None:
        self._lateness = lateness_us
        self._watermark = _NEVER
        self._sorted: list[Batch] = []
        self._fresh: list[Batch] = []
        self._fresh_from = -_NEVER

    def push(self, batch: Batch) -> tuple[Batch, Bools]:
        """The rows that may go on, in order, and which of them are late."""
        if not len(batch):
            return batch, np.zeros(0, np.bool_)
        seen = np.where(batch.kind == EVENT, batch.time - self._lateness, _NEVER)
        after = np.maximum(np.maximum.accumulate(seen), self._watermark)
        before = np.concatenate([[self._watermark], after[:-1]])
        late = batch.time < before
        on_time = batch.take(np.flatnonzero(~late)) if late.any() else batch
        self._watermark = int(after[-1])
        if len(on_time):
            self._fresh.append(on_time)
            self._fresh_from = min(self._fresh_from, int(on_time.time.min()))
        ready = self._before(self._watermark, batch[:0])
        if not late.any():
            return ready, np.zeros(len(ready), np.bool_)
        steps = np.searchsorted(after, ready.time, "right")
        places = np.argsort(np.concatenate([steps, np.flatnonzero(late)]), kind="stable")
        both = Batch.concat([ready, batch.take(np.flatnonzero(late))])
        return both.take(places), places >= len(ready)

    def flush(self) -> Batch | None:
        """All rows still held, in order; None if there are none."""
        held = self._held()
        self._sorted = []
        return held

    def state(self) -> bytes:
        """What `restore` needs to go on from here."""
        return state_of(self._lateness, self._watermark, self._held())

    def restore(self, state: bytes) -> None:
        """Go on from where `state` was taken; `StateError` if it is of another lateness."""
        lateness, watermark, held = parts_of(state)
        if lateness != self._lateness:
            raise StateError(
                f"the saved order buffer is for a lateness of {lateness} us, this run wants "
                f"{self._lateness} us; start with that lateness or with a new state folder"
            )
        self._watermark = watermark
        self._sorted = [] if held is None else [held]
        self._fresh, self._fresh_from = [], -_NEVER

    def _before(self, time: int, empty: Batch) -> Batch:
        held = self._held() if self._fresh_from < time else next(iter(self._sorted), None)
        if held is None:
            return empty
        count = int(np.searchsorted(held.time, time, "left"))
        self._sorted = [held[count:]]
        return held[:count]

    def _held(self) -> Batch | None:
        """Everything held, sorted into one batch; fresh rows are merged in only when needed."""
        if self._fresh:
            held = Batch.concat([*self._sorted, *self._fresh])
            self._sorted = [held.take(in_order(held))]
            self._fresh, self._fresh_from = [], -_NEVER
        return self._sorted[0] if self._sorted else None
