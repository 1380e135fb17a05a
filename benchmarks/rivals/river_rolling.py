"""River: a TimeRolling mean per key and window. It expires only when updated: counts may be old."""

from __future__ import annotations

from collections import defaultdict, deque
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from river import stats, utils

from benchmarks.rivals import DELAY, WINDOWS
from benchmarks.transactions import Float64s, Transactions

Row = tuple[datetime, int, int, float, int]


def sample(transactions: Transactions) -> int:
    return min(len(transactions), 80_000)


def prepare(transactions: Transactions) -> list[Row]:
    of = transactions
    times = of.time.astype("datetime64[us]").tolist()
    amounts, frauds = (of.cents / 100).tolist(), of.fraud.astype(np.int64).tolist()
    columns = times, of.customer.tolist(), of.terminal.tolist(), amounts, frauds
    return list(zip(*columns, strict=True))


def features(prepared: list[Row]) -> Float64s:
    spent: defaultdict[int, list[Any]] = defaultdict(_windows)
    risk: defaultdict[int, list[Any]] = defaultdict(_windows)
    young: defaultdict[int, deque[tuple[datetime, int]]] = defaultdict(deque)
    delay = timedelta(days=DELAY)
    lines = []
    for time, customer, terminal, amount, fraud in prepared:
        mine, here, waiting = spent[customer], risk[terminal], young[terminal]
        for window in mine:
            window.update(amount, t=time)
        waiting.append((time, fraud))
        while waiting and waiting[0][0] <= time - delay:
            then, known = waiting.popleft()
            for window in here:
                window.update(known, t=then + delay)
        lines.append((
            amount, float(time.weekday() >= 5), float(time.hour <= 6),
            *[window.obj.n for window in mine], *[window.obj.get() for window in mine],
            *[window.obj.n for window in here], *[window.obj.get() for window in here],
        ))  # fmt: skip
    return np.array(lines, float)


def _windows() -> list[Any]:
    mean: Any = stats.Mean
    return [utils.TimeRolling(mean(), timedelta(days=days)) for days in WINDOWS]
