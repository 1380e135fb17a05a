"""Small streams for tests: transactions and their labels as a `Batch`, in any order."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from benchmarks.proofs.watched import ALL
from jobs.definition import Pipeline
from models.bins import ratio_edges
from models.linear import Linear
from operators.features import Entity, value
from streams.batch import EVENT, LABEL, UNKNOWN, Batch
from streams.schema import DAY, Event, Label, Number

HOUR = DAY // 24
CUSTOMER, TERMINAL = Entity("customer"), Entity("terminal")
PIPELINE = Pipeline(
    name="small",
    event=Event(
        "transaction",
        keys=("customer", "terminal"),
        label=Label("fraud", maturity="3d"),
        numbers=(Number("amount", scale=2, maximum=10_000),),
    ),
    features={
        "amount": value("amount"),
        "count": CUSTOMER.count("2d"),
        "mean": CUSTOMER.mean("amount", "5d"),
        "risk": TERMINAL.share("4d", delay="3d", empty=0.0),
        "ratio": CUSTOMER.clean_ratio("amount", "9d", enough=2),
        "run": TERMINAL.run("age", "9d"),
    },
    champion=Linear(
        inputs={
            "amount": ratio_edges(1, 1024),
            "ratio": ratio_edges(1 / 8, 16),
            "risk": ratio_edges(1 / 16, 1),
        },
        crosses=[("amount", "ratio")],
        bits=8,
        alpha=0.5,
    ),
    amount="amount",
    every=3,
    lateness="12h",
    retention="30d",
    cap=64,
    watch=ALL,
)


@dataclass(frozen=True)
class Row:
    """A transaction, or, with a `fraud`, what is said of it later."""

    ident: int
    time: int
    customer: int = 0
    terminal: int = 0
    amount: int = 0
    fraud: bool | None = None

    @property
    def place(self) -> tuple[int, bool, int]:
        """Its place in the strict order: labels before transactions of the same time."""
        return self.time, self.fraud is None, self.ident


def transactions(most: int = 40) -> st.SearchStrategy[list[Row]]:
    """Transactions with different ids over two weeks, some at the same time."""
    row = st.builds(
        Row,
        ident=st.integers(0, 10**6),
        time=st.integers(0, 14 * 8).map(lambda step: 200 * DAY + step * 3 * HOUR),
        customer=st.integers(0, 2),
        terminal=st.integers(0, 2),
        amount=st.integers(0, 100_000),
    )
    return st.lists(row, min_size=1, max_size=most, unique_by=lambda row: row.ident)


def with_labels(rows: list[Row], delays: list[int]) -> list[Row]:
    """The transactions and labels for some, in the strict order. A delay is in hours; 0 is none."""
    said = [
        Row(row.ident, row.time + abs(delay) * HOUR, fraud=delay > 0)
        for row, delay in zip(rows, delays, strict=False)
        if delay
    ]
    return sorted([*rows, *said], key=lambda row: row.place)


delays = st.lists(st.integers(-200, 200), max_size=40)
cuts = st.lists(st.integers(0, 80), max_size=6)


def batch_of(rows: list[Row]) -> Batch:
    """Rows as a batch, as a source would give them."""
    n = len(rows)
    idents = np.zeros((n, 3, 2), np.int64)
    for place, row in enumerate(rows):
        keys = (0, 0) if row.fraud is not None else (row.customer, row.terminal)
        idents[place, :, 1] = row.ident, *keys
    return Batch(
        kind=np.array([EVENT if row.fraud is None else LABEL for row in rows], np.uint8),
        time=np.array([row.time for row in rows], np.int64),
        idents=idents,
        numbers=np.array([[row.amount] for row in rows], np.int64).reshape(n, 1),
        categories=np.zeros((n, 0), np.int64),
        label=np.array([UNKNOWN if row.fraud is None else row.fraud for row in rows], np.int8),
        received=np.array([row.time for row in rows], np.int64),
        partition=np.zeros(n, np.int32),
        offset=np.arange(n),
        texts=tuple(pa.array(idents[:, column, 1]) for column in range(3)),
    )


def pieces(rows: list[Row], edges: list[int]) -> list[Batch]:
    """The rows cut into batches at these places."""
    bounds = [0, *sorted({min(edge, len(rows)) for edge in edges}), len(rows)]
    whole = batch_of(rows)
    return [whole[a:b] for a, b in pairwise(bounds)]
