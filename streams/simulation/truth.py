"""The truth about the drifts of simulated traffic: what, when, how much, which payments."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streams.schema import duration_us
from streams.simulation.scenarios import COPY, ID, IS_LABEL, TOUCHED
from streams.simulation.traffic import Drift, Law, PriceInflation, Shape, Traffic

Int64s = npt.NDArray[np.int64]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One drift as it was; times in microseconds, `until_us` None where it does not end."""

    kind: str
    changes: tuple[Law, ...]
    """Which laws: of the inputs, of the share of fraud, of the label given the inputs."""
    fields: tuple[str, ...]
    """The inputs that are otherwise distributed."""
    from_us: int
    until_us: int | None
    shape: Shape
    span_us: int
    """What the shape takes to be whole, or is on and off for; of a sudden one it means nothing."""
    size: float
    events: int = 0
    """How many payments it has touched. What is not sent is nowhere to be found."""
    first_id: int = 0
    last_id: int = 0


class Truth:
    """Keeps count of what the drifts of a traffic touch."""

    def __init__(self, traffic: Traffic) -> None:
        self._drifts = traffic.drifts
        self._events = np.zeros(len(traffic.drifts), np.int64)
        self._first = np.zeros(len(traffic.drifts), np.int64)
        self._last = np.zeros(len(traffic.drifts), np.int64)

    def take(self, rows: Int64s) -> None:
        """Count records (n, RECORD_COLUMNS), each payment once."""
        if not self._drifts:
            return
        rows = rows[(rows[:, TOUCHED] != 0) & (rows[:, COPY] == 0) & (rows[:, IS_LABEL] == 0)]
        for i in range(len(self._drifts)):
            ids = rows[rows[:, TOUCHED] >> i & 1 == 1, ID]
            if len(ids):
                first = int(ids.min())
                self._first[i] = min(first, self._first[i]) if self._events[i] else first
                self._last[i] = max(int(ids.max()), self._last[i])
                self._events[i] += len(ids)

    def changes(self) -> tuple[Change, ...]:
        """Each drift, with what it has touched so far."""
        return tuple(
            msgspec.structs.replace(
                change_of(drift),
                events=int(self._events[i]),
                first_id=int(self._first[i]),
                last_id=int(self._last[i]),
            )
            for i, drift in enumerate(self._drifts)
        )

    def named(self, touched: Int64s) -> pa.DictionaryArray:
        """For each payment the kinds of drift that touched it, as `unit+holidays`; mostly empty."""
        masks, places = np.unique(touched, return_inverse=True)
        names = [
            "+".join(each.kind for i, each in enumerate(self._drifts) if mask >> i & 1)
            for mask in masks.tolist()
        ]
        return pa.array(names).take(pa.array(places)).dictionary_encode()


def change_of(drift: Drift) -> Change:
    """A drift as it is declared, before anything has happened.

    >>> from streams.simulation.traffic import PriorShift
    >>> change_of(PriorShift("2024-02-01")).changes
    ('prior',)
    """
    begin, end = drift.window
    grows = isinstance(drift, PriceInflation)
    return Change(
        kind=drift.kind,
        changes=drift.changes,
        fields=drift.fields,
        from_us=begin,
        until_us=None if grows or drift.until is None else end,
        shape="incremental" if grows else drift.shape,
        span_us=end - begin if grows else duration_us(drift.span),
        size=drift.size,
    )
