"""Payments and labels without end, as bytes: cheap enough to be made between two sends."""

from __future__ import annotations

import heapq
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from streams.schema import DAY
from streams.simulation.lines import lines
from streams.simulation.scenarios import CENTS, ID, IS_LABEL, RECORD_COLUMNS, TIME, WHERE, WHO

Int64s = npt.NDArray[np.int64]
Keys = Literal["uniform", "zipf", "hot"]
NUMBERS = 10**8
"""An id is a run's number times this, plus the event's own number."""
CUSTOMERS, TERMINALS = 5_000, 10_000
HOT = 100
"""How often the hot customer pays while another pays once."""
FRAUDS = 0.007
REPORTED_AFTER_DAYS = 3.0
DEAR = 4
"""A fraud's amount beside a genuine one's."""


class Payments(NamedTuple):
    """Consecutive payments, and the labels that become known before the last of them."""

    values: list[bytes]
    keys: list[bytes]
    """The customer of each."""
    labels: list[bytes]


class Traffic:
    """A source of payments whose event times advance evenly, `per_day` to a day.

    Customers are drawn uniformly or by Zipf's law with exponent 1; or the first one is hot, and
    pays a hundred times as often as any other, always at the first terminal (`is_hot`). Some
    payments are frauds; each is reported days of event time later. An id has 18 digits, the last
    eight of them the number of the event since the start. The same arguments give the same bytes.

    >>> traffic = Traffic(run=1_700_000_000, keys="uniform", start_us=0, per_day=10_000)
    >>> traffic.take(2).values[1][:27]
    b'{"id":"170000000000000001",'
    """

    def __init__(
        self,
        *,
        run: int,
        keys: Keys,
        start_us: int,
        per_day: float,
        customers: int = CUSTOMERS,
        terminals: int = TERMINALS,
        seed: int = 0,
    ) -> None:
        self._first = run * NUMBERS
        self._start_us, self._step_us = start_us, max(int(DAY / per_day), 1)
        self._drawn = np.random.default_rng([seed, run])
        zipf = 1 / np.arange(1, customers + 1)
        self._shares = np.cumsum(zipf) / zipf.sum()
        self._terminals = terminals
        self._names = np.array([b"%d" % (1 + each) for each in range(customers)], object)
        self.keys: Keys = keys
        """How the customers of the next payments are drawn."""
        self._due: list[tuple[int, int]] = []
        self.next = 0
        """The number of the next payment."""

    @property
    def time_us(self) -> int:
        """Event time reached."""
        return self._start_us + self.next * self._step_us

    def take(self, n: int) -> Payments:
        """The next n payments."""
        drawn = self._drawn
        numbers = np.arange(self.next, self.next + n)
        fraud = drawn.random(n) < FRAUDS
        shares = drawn.random(n)
        customer, others = (shares * len(self._names)).astype(np.int64), len(self._names) - 1
        if self.keys == "zipf":
            customer = np.searchsorted(self._shares, shares)
        hot = is_hot(numbers, others + 1) & (self.keys == "hot")
        if self.keys == "hot":
            customer = np.where(hot, 0, 1 + (shares * others).astype(np.int64))
        rows = np.zeros((n, RECORD_COLUMNS), np.int64)
        rows[:, ID] = self._first + numbers
        rows[:, TIME] = self._start_us + numbers * self._step_us
        rows[:, TIME] += drawn.integers(0, self._step_us, n)
        rows[:, WHO] = customer + 1
        rows[:, WHERE] = np.where(hot, 1, drawn.integers(1, self._terminals + 1, n))
        rows[:, CENTS] = np.exp(drawn.normal(7.5, 1, n)) * np.where(fraud, DEAR, 1) + 1
        self.next += n
        keys: list[bytes] = self._names[customer].tolist()
        return Payments(_text(rows), keys, self._labels(rows[fraud]))

    def _labels(self, frauds: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> list[bytes]:
        delays = self._drawn.exponential(REPORTED_AFTER_DAYS * DAY, len(frauds)).astype(np.int64)
        for known, row in zip((frauds[:, TIME] + delays).tolist(), frauds, strict=True):
            heapq.heappush(self._due, (known, int(row[ID])))
        told = []
        while self._due and self._due[0][0] <= self.time_us:
            told.append(heapq.heappop(self._due))
        rows = np.zeros((len(told), RECORD_COLUMNS), np.int64)
        rows[:, IS_LABEL] = 1
        if told:
            rows[:, [TIME, ID]] = told
        return _text(rows)


def is_hot(numbers: Int64s, customers: int = CUSTOMERS) -> npt.NDArray[np.bool_]:
    """Which payments are the hot customer's, by their numbers: evenly spread.

    >>> np.flatnonzero(is_hot(np.arange(200))).tolist()
    [0, 51, 102, 153]
    """
    return np.asarray(numbers % (round(customers / HOT) + 1) == 0)


def _text(rows: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> list[bytes]:
    return bytes(lines(rows)[0]).splitlines()
