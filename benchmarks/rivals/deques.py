"""Plain Python: one deque and running sums per key and window."""

from __future__ import annotations

from collections import defaultdict, deque

import numpy as np

from benchmarks.rivals import DELAY, WINDOWS
from benchmarks.transactions import Float64s, Transactions
from streams.schema import DAY

Row = tuple[int, int, int, int, int]
HOUR = DAY // 24


class Window:
    """The events of the last so many microseconds, with the sum of a value."""

    __slots__ = ("events", "length", "total")

    def __init__(self, length: int) -> None:
        self.length = length
        self.events: deque[tuple[int, int]] = deque()
        self.total = 0

    def add(self, time: int, value: int) -> None:
        self.events.append((time, value))
        self.total += value

    def expire(self, now: int) -> None:
        events, limit = self.events, now - self.length
        while events and events[0][0] <= limit:
            self.total -= events.popleft()[1]


Windows = defaultdict[int, list[Window]]


def sample(transactions: Transactions) -> int:
    return min(len(transactions), 300_000)


def prepare(transactions: Transactions) -> list[Row]:
    of = transactions
    columns = (of.time, of.customer, of.terminal, of.cents, of.fraud.astype(np.int64))
    return list(zip(*(column.tolist() for column in columns), strict=True))


def features(prepared: list[Row]) -> Float64s:
    spent: Windows = defaultdict(lambda: [Window(days * DAY) for days in WINDOWS])
    risk: Windows = defaultdict(lambda: [Window((DELAY + days) * DAY) for days in WINDOWS])
    young: defaultdict[int, deque[tuple[int, int]]] = defaultdict(deque)
    lines = []
    for time, customer, terminal, cents, fraud in prepared:
        weekday, hour = (time // DAY + 3) % 7, time % DAY // HOUR
        mine, here, waiting = spent[customer], risk[terminal], young[terminal]
        for window in mine:
            window.add(time, cents)
            window.expire(time)
        waiting.append((time, fraud))
        while waiting and waiting[0][0] <= time - DELAY * DAY:
            then, known = waiting.popleft()
            for window in here:
                window.add(then, known)
        for window in here:
            window.expire(time)
        own, others = [len(w.events) for w in mine], [len(w.events) for w in here]
        lines.append((
            cents / 100, float(weekday >= 5), float(hour <= 6), *own,
            *[w.total / n / 100 for w, n in zip(mine, own, strict=True)],
            *others,
            *[w.total / n if n else 0.0 for w, n in zip(here, others, strict=True)],
        ))  # fmt: skip
    return np.array(lines)
