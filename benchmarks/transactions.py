"""Transactions in order, as every contender of a benchmark takes them: public or simulated ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from operators.featurize import Features
from streams.schema import DAY
from streams.simulation.simulator import Simulation
from streams.simulation.traffic import Traffic

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
MATURITY = 7 * DAY


@dataclass(frozen=True, slots=True)
class Transactions:
    """n transactions in order of (time, id); times in microseconds, amounts in cents."""

    source: str
    ident: Int64s
    time: Int64s
    customer: Int64s
    terminal: Int64s
    cents: Int64s
    fraud: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ident)

    def first(self, n: int) -> Transactions:
        """The first n."""
        return self.take(slice(n))

    def take(self, rows: slice | Int64s) -> Transactions:
        """Those rows, in that order."""
        return Transactions(
            self.source, self.ident[rows], self.time[rows], self.customer[rows],
            self.terminal[rows], self.cents[rows], self.fraud[rows],
        )  # fmt: skip

    @classmethod
    def read(cls, path: Path) -> Transactions:
        """The Handbook's transactions, as it published them."""
        table = pq.read_table(path)
        time = table["TX_DATETIME"].cast(pa.timestamp("us")).cast(pa.int64()).to_numpy()
        names = ("TRANSACTION_ID", "CUSTOMER_ID", "TERMINAL_ID")
        ident, customer, terminal = (table[n].cast(pa.int64()).to_numpy() for n in names)
        cents = np.rint(table["TX_AMOUNT"].to_numpy() * 100).astype(np.int64)
        fraud = table["TX_FRAUD"].to_numpy().astype(bool)
        every = cls("Handbook", ident, time, customer, terminal, cents, fraud)
        return every.take(np.lexsort((ident, time)))

    @classmethod
    def simulate(cls, events: int) -> Transactions:
        """So many transactions of the project's own simulator."""
        columns = Simulation(Traffic(events=events)).columns(events)
        names = ("id", "time", "customer", "terminal", "amount")
        ident, time, customer, terminal, cents = (columns[name] for name in names)
        fraud = columns["tactic"] > 0
        every = cls("simulated", ident, time, customer, terminal, cents, fraud)
        return every.take(np.lexsort((ident, time)))

    @classmethod
    def at_hand(cls, events: int = 1_000_000) -> Transactions:
        """The Handbook's where HEADRACE_DATA names their folder, else simulated ones."""
        path = Path(os.environ.get("HEADRACE_DATA", "")) / "handbook_raw.parquet"
        return cls.read(path) if path.is_file() else cls.simulate(events)


class Rows:
    """Transactions, and labels of the frauds 7 days later, as rows of `Features.update`."""

    def __init__(self, of: Transactions) -> None:
        late = np.flatnonzero(of.fraud & (of.time + MATURITY <= of.time[-1]))
        source = np.concatenate([np.arange(len(of)), late])
        known = np.concatenate([of.time, of.time[late] + MATURITY])
        is_label = np.arange(len(source)) >= len(of)
        order = np.lexsort((of.ident[source], ~is_label, known))
        source, self.known, is_label = source[order], known[order], is_label[order]
        self.is_event = ~is_label
        self.when, self.ident = of.time[source], of.ident[source]
        self.keys = np.zeros((len(source), 2, 2), np.int64)
        self.keys[:, 0, 1], self.keys[:, 1, 1] = of.customer[source], of.terminal[source]
        self.value = np.where(is_label, 1, -1).astype(np.int8)
        self.numbers = np.ascontiguousarray(of.cents[source, None])
        self.categories = np.empty((len(source), 0), np.int64)

    def batches(self, size: int, start: int = 0) -> Iterator[tuple[Any, ...]]:
        """The arguments of `Features.update`, batch by batch from row `start` on."""
        for first in range(start, len(self.when), size):
            at = slice(first, first + size)
            events = self.is_event[at]
            lines = np.where(events, np.cumsum(events) - 1, -1)
            batch = SimpleNamespace(numbers=self.numbers[at], categories=self.categories[at])
            yield (
                batch, lines, self.when[at], self.keys[at], self.ident[at], self.known[at],
                self.value[at], int(events.sum()),
            )  # fmt: skip


def featurize(features: Features, rows: Rows, size: int = 8192) -> Float64s:
    """The named features of every transaction, one line each."""
    width = len(features.plan.names)
    return np.concatenate([features.update(*each)[:, :width] for each in rows.batches(size)])
