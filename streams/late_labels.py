"""Labels that a file holds beside its events, made to come as late as they would have."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pyarrow as pa

from streams.batch import LABEL, UNKNOWN, Batch
from streams.order import in_order
from streams.packing import load, pack, unpack

_NEVER = -(2**62)


class LateLabels:
    """Takes events whose `label` says what became of them; gives events and label rows.

    Every positive becomes a label row at its event's time plus the delay, placed before the first
    later row of the input at whose arrival an event of that time or later has been seen. A negative
    says nothing that its maturity will not. Any cut into batches gives the same rows.
    """

    def __init__(self, delay_us: int) -> None:
        self._delay = delay_us
        self._latest = _NEVER
        self._pending: list[Batch] = []

    def push(self, events: Batch) -> Batch:
        """The events with the labels due among them."""
        if not len(events):
            return events
        fresh = np.flatnonzero(events.label == 1)
        seen = np.maximum(np.maximum.accumulate(events.time), self._latest)
        self._latest = int(seen[-1])
        labels = [*self._pending, self._labels(events.take(fresh))]
        own = [np.zeros(sum(map(len, self._pending)), np.int64), fresh + 1]
        events = replace(events, label=np.full(len(events), UNKNOWN, np.int8))
        pending = Batch.concat(labels)
        due = np.maximum(np.searchsorted(seen, pending.time, "left"), np.concatenate(own))
        self._pending = [pending.take(np.flatnonzero(due == len(events)))]
        now = np.flatnonzero(due < len(events))
        if not len(now):
            return events
        now = now[in_order(pending.take(now))]
        now = now[np.argsort(due[now], kind="stable")]
        places = np.concatenate([due[now], np.arange(len(events))])
        return Batch.concat([pending.take(now), events]).take(np.argsort(places, kind="stable"))

    def finish(self) -> Batch | None:
        """The labels that became known by the last event; later ones never do."""
        if not self._pending:
            return None
        pending, self._pending = self._pending[0], []
        pending = pending.take(np.flatnonzero(pending.time <= self._latest))
        return pending.take(in_order(pending)) if len(pending) else None

    def state(self) -> bytes:
        """What `restore` needs to go on from here."""
        pending = pack(self._pending[0]) if self._pending else None
        return msgspec.msgpack.encode((self._latest, pending))

    def restore(self, state: bytes) -> None:
        """Go on from where `state` was taken."""
        self._latest, pending = load(state, tuple[int, bytes | None])
        self._pending = [] if pending is None else [unpack(pending)]

    def _labels(self, events: Batch) -> Batch:
        count = len(events)
        idents = np.zeros_like(events.idents)
        idents[:, 0] = events.idents[:, 0]
        return replace(
            events,
            kind=np.full(count, LABEL, np.uint8),
            time=events.time + self._delay,
            received=events.received + self._delay,
            idents=idents,
            numbers=np.zeros_like(events.numbers),
            categories=np.zeros_like(events.categories),
            texts=(events.texts[0], *map(_blank, events.texts[1:])),
        )


def _blank(texts: pa.Array) -> pa.Array:
    """Empty texts, or zeros where keys are integers, so that a column keeps its type."""
    value = 0 if pa.types.is_integer(texts.type) else ""
    return pa.array([value] * len(texts), texts.type)
