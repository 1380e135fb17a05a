"""The published inputs on every row of the Handbook's data, beside a recomputation by columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.transactions import Rows, Transactions, featurize
from jobs.fraud import published, transaction
from operators.featurize import Features
from operators.plan import compile_plan
from streams.schema import SECOND

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Columns = dict[str, Floats]


class Histories:
    """Each key's transactions one after the other, in order of (time, id)."""

    def __init__(self, of: Transactions, key: Int64s) -> None:
        self.order = np.lexsort((of.ident, of.time, key))
        second = (of.time - of.time[0]) // SECOND
        self.span = int(second[-1]) + 100 * 86_400
        self.place = (key * self.span + second)[self.order]

    def until(self, days: int) -> Int64s:
        """How many of all transactions come at or before the same key's (t - days)."""
        ends: Int64s = np.searchsorted(self.place, self.place - days * 86_400, side="right")
        return ends

    def back(self, column: npt.NDArray[np.generic]) -> Floats:
        """From this order to that of the transactions."""
        out = np.empty(len(column))
        out[self.order] = column
        return out


def running(values: npt.NDArray[np.generic]) -> Int64s:
    """Exact sums of the first 0, 1, 2, ... values."""
    return np.concatenate([[0], np.cumsum(values.astype(np.int64))])


@pytest.fixture(scope="module")
def bought(handbook: Path) -> Transactions:
    return Transactions.read(handbook)


@pytest.fixture(scope="module")
def got(bought: Transactions) -> Columns:
    plan = compile_plan(transaction, published, lateness_us=0, cap=4096)
    lines = featurize(Features(plan, transaction.keys), Rows(bought))
    assert len(lines) == len(bought)
    return dict(zip(plan.names, lines.T, strict=True))


@pytest.mark.parametrize("days", [1, 7, 30])
def test_customer_windows_hold_the_current_transaction_and_none_after_it(
    bought: Transactions, got: Columns, days: int
) -> None:
    histories = Histories(bought, bought.customer)
    own = np.arange(1, len(bought) + 1)
    first = np.minimum(histories.until(days), own - 1)
    cents = running(bought.cents[histories.order])
    count, total = own - first, cents[own] - cents[first]
    np.testing.assert_array_equal(got[f"customer_count_{days}d"], histories.back(count))
    mean = histories.back(total / count) / 100
    np.testing.assert_allclose(got[f"customer_mean_{days}d"], mean, rtol=1e-9)


@pytest.mark.parametrize("days", [1, 7, 30])
def test_terminal_windows_end_seven_days_ago_and_know_every_fraud_in_them(
    bought: Transactions, got: Columns, days: int
) -> None:
    histories = Histories(bought, bought.terminal)
    first, stop = histories.until(7 + days), histories.until(7)
    frauds = running(bought.fraud[histories.order])
    count = stop - first
    risk = (frauds[stop] - frauds[first]) / np.maximum(count, 1)
    np.testing.assert_array_equal(got[f"terminal_count_{days}d"], histories.back(count))
    np.testing.assert_array_equal(got[f"terminal_risk_{days}d"], histories.back(risk))


def test_weekend_and_night_are_those_of_the_calendar(bought: Transactions, got: Columns) -> None:
    at = bought.time.astype("datetime64[us]")
    hour = (at - at.astype("datetime64[D]")) // np.timedelta64(1, "h")
    weekend = ~np.is_busday(at.astype("datetime64[D]"))
    np.testing.assert_array_equal(got["weekend"], weekend)
    np.testing.assert_array_equal(got["night"], hour <= 6)


def test_amounts_are_whole_cents(bought: Transactions, got: Columns) -> None:
    np.testing.assert_array_equal(np.rint(got["amount"] * 100), bought.cents)
