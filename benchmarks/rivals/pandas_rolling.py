"""pandas: grouped rolling sums by time over the whole file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from benchmarks.rivals import DELAY, WINDOWS
from benchmarks.transactions import Float64s, Transactions


def sample(transactions: Transactions) -> int:
    return len(transactions)


def prepare(transactions: Transactions) -> Any:
    of = transactions
    return pd.DataFrame(
        {
            "customer": of.customer,
            "terminal": of.terminal,
            "cents": of.cents,
            "fraud": of.fraud.astype(np.int64),
            "one": 1,
        },
        index=pd.to_datetime(of.time, unit="us"),
    )


def features(prepared: Any) -> Float64s:
    index = prepared.index
    spent = _past(prepared, "customer", "cents", WINDOWS)
    spans = (DELAY, *(DELAY + days for days in WINDOWS))
    risk = _past(prepared, "terminal", "fraud", spans)
    means = [total / count / 100 for count, total in spent]
    seen = [(count - risk[0][0], total - risk[0][1]) for count, total in risk[1:]]
    return np.column_stack(
        [
            prepared["cents"] / 100,
            index.weekday >= 5,
            index.hour <= 6,
            *(count for count, _ in spent),
            *means,
            *(count for count, _ in seen),
            *(np.where(count > 0, total / np.maximum(count, 1), 0.0) for count, total in seen),
        ]
    )


def _past(frame: Any, key: str, value: str, spans: tuple[int, ...]) -> list[Any]:
    """Count and sum of the key's rows up to each row, over each span of days."""
    order = np.argsort(frame[key].to_numpy(), kind="stable")
    results = []
    for days in spans:
        rolled = frame.groupby(key)[["one", value]].rolling(f"{days}D").sum().to_numpy()
        back = np.empty_like(rolled)
        back[order] = rolled
        results.append((back[:, 0], back[:, 1]))
    return results
