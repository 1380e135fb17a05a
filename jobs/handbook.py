"""The protocol of the Fraud Detection Handbook, so that our scores stand beside published ones.

Le Borgne, Siblini, Lebichot and Bontempi, *Reproducible Machine Learning for Credit Card Fraud
Detection*, 2022. A fold that starts on day s trains on [s, s + 7), waits for labels until s + 14
and is tested on [s + 14, s + 21). Cards known to be compromised leave the test: customers with a
fraud in the training days, and for each test day those with a fraud on a day whose labels have
come since, that is from s + 7 to 7 days before that test day.

A stream learns all the time and not by fold; its scores are judged on the same test rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.table import Table

from operators import metrics
from operators.metrics import Floats, Ints, Labels

DAY_US = 86_400_000_000
WEEK = 7
TOP_CARDS = 100

TEST_FOLDS = tuple(date(2018, 8, 15) - timedelta(weeks=back) for back in range(4))
"""First training days; the tests start two weeks later, on 29, 22, 15 and 8 August."""
VALIDATION_FOLDS = tuple(date(2018, 7, 11) - timedelta(weeks=back) for back in range(4))

PUBLISHED = {
    "logistic regression": (0.868, 0.623, 0.297),
    "decision tree, depth 5": (0.810, 0.600, 0.284),
    "random forest, 100 trees": (0.870, 0.678, 0.299),
    "XGBoost, 100 × depth 3": (0.871, 0.694, 0.304),
    "balanced bagging": (0.879, 0.680, 0.305),
    "neural network (MLP)": (0.876, 0.675, 0.303),
    "LSTM": (0.876, 0.665, 0.297),
    "LSTM with attention": (0.874, 0.667, 0.295),
    "isolation forest": (0.808, 0.164, 0.190),
}
"""Means over the four test folds of AUC, average precision and card precision at 100."""


@dataclass(frozen=True, slots=True)
class FoldQuality:
    """Quality on one fold's test rows."""

    train_start: str
    test_start: str
    rows: int
    frauds: int
    auc: float
    average_precision: float
    card_precision: float


@dataclass(frozen=True, slots=True)
class Quality:
    """Folds with their mean and standard deviation (ddof 0): AUC, average precision, CP@100."""

    folds: tuple[FoldQuality, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class HandbookQuality:
    """What the protocol makes of one set of predictions."""

    test: Quality
    validation: Quality


def to_json(judged: Mapping[str, HandbookQuality]) -> bytes:
    """Sets of predictions by name, as indented JSON, the published results included."""
    return msgspec.json.format(msgspec.json.encode({"ours": judged, "published": PUBLISHED}))


def results_table(judged: Mapping[str, HandbookQuality]) -> Table:
    """The published results with ours among them, best average precision first; then validation."""
    table = Table(title="Fraud Detection Handbook, four test folds", title_justify="left")
    table.add_column("model")
    for column in ("AUC", "AP", f"CP@{TOP_CARDS}"):
        table.add_column(column, justify="right")
    rows = [(model, scores, (0.0, 0.0, 0.0)) for model, scores in PUBLISHED.items()]
    rows += [(name, quality.test.mean, quality.test.std) for name, quality in judged.items()]
    rows.sort(key=lambda row: -row[1][1])
    for name, quality in judged.items():
        rows.append((f"{name}, validation folds", quality.validation.mean, quality.validation.std))
    for model, mean, std in rows:
        cells = [
            f"{m:.3f}" + (f" ± {s:.3f}" if any(std) else "") for m, s in zip(mean, std, strict=True)
        ]
        table.add_row(model, *cells, style="bold" if model in judged else None)
    return table


@dataclass(frozen=True, slots=True)
class Scored:
    """Transactions in order of time: `day` counts from 1970, a label of -1 is not known."""

    day: Ints
    customer: Ints
    score: Floats
    label: NDArray[np.int8]


def evaluate_handbook(
    predictions: pa.Table | Path, labels: pa.Table | Path | None = None
) -> HandbookQuality:
    """Judge predictions by the eight folds.

    `predictions` is a table, or a folder with `predictions.parquet`: `id`, `time` (timestamp, or
    int64 microseconds), `customer`, `score`, and `label` (1, 0, or -1 where unknown) unless
    `labels` gives it, a table or parquet file with `id` and `label`. Needs every transaction from
    20 June to 4 September 2018; ValueError where a fold has none or a label is unknown.
    """
    scored = read(predictions, labels)
    return HandbookQuality(judge(scored, TEST_FOLDS), judge(scored, VALIDATION_FOLDS))


def read(predictions: pa.Table | Path, labels: pa.Table | Path | None = None) -> Scored:
    """Take the columns the protocol needs out of predictions; see `evaluate_handbook`."""
    wanted = ["id", "time", "customer", "score", *([] if labels is not None else ["label"])]
    table = _open(predictions, wanted)
    if labels is None:
        label = table["label"]
    else:
        known = _open(labels, ["id", "label"])
        ids = known["id"].cast(pa.string())
        label = known["label"].take(pc.index_in(table["id"].cast(pa.string()), value_set=ids))
    day = table["time"].cast(pa.timestamp("us")).cast(pa.int64()).to_numpy() // DAY_US
    return Scored(
        day=day,
        customer=_codes(table["customer"]),
        score=table["score"].cast(pa.float64()).to_numpy(),
        label=pc.fill_null(label.cast(pa.int8()), -1).to_numpy(),
    )


def _open(source: pa.Table | Path, columns: list[str]) -> pa.Table:
    if isinstance(source, pa.Table):
        return source.select(columns)
    path = source / "predictions.parquet" if source.is_dir() else source
    missing = sorted(set(columns) - set(pq.read_schema(path).names))
    if missing:
        raise ValueError(
            f"{path}: wanted the columns {columns}, missing are {missing}; "
            "give labels where only the label is missing"
        )
    return pq.read_table(path, columns=columns)


def _codes(column: pa.ChunkedArray) -> Ints:
    codes = column.combine_chunks().dictionary_encode().indices
    return np.asarray(codes.to_numpy(), np.int64)


def judge(scored: Scored, folds: tuple[date, ...]) -> Quality:
    """Judge by the folds that start to train on these days."""
    judged = tuple(judge_fold(scored, start) for start in folds)
    triples = np.array([(f.auc, f.average_precision, f.card_precision) for f in judged])
    mean, std = triples.mean(axis=0).tolist(), triples.std(axis=0).tolist()
    return Quality(judged, mean=tuple(mean), std=tuple(std))


def judge_fold(scored: Scored, train_start: date) -> FoldQuality:
    """Judge by the test rows of the fold that starts to train on this day."""
    first = day_number(train_start)
    rows = judged_rows(scored.day, scored.customer, scored.label, first)
    _check(scored, first, rows)
    score, label = scored.score[rows], scored.label[rows]
    day, customer = scored.day[rows], scored.customer[rows]
    return FoldQuality(
        train_start=train_start.isoformat(),
        test_start=(train_start + timedelta(days=2 * WEEK)).isoformat(),
        rows=len(rows),
        frauds=int(label.sum()),
        auc=metrics.auc(score, label),
        average_precision=metrics.average_precision(score, label),
        card_precision=metrics.card_precision(day, customer, score, label, TOP_CARDS),
    )


def _check(scored: Scored, first: int, rows: Ints) -> None:
    held = (scored.day >= first) & (scored.day < first + 3 * WEEK)
    unknown = int((scored.label[held] < 0).sum())
    days = len(np.unique(scored.day[rows]))
    if unknown or days < WEEK:
        start = datetime.fromtimestamp(first * DAY_US / 1e6, UTC).date()
        raise ValueError(
            f"fold of {start}: wanted 7 test days with every label of 3 weeks known, got {days} "
            f"days and {unknown} unknown labels; give all transactions, and the labels apart "
            "where the run ended before they came"
        )


def day_number(day: date) -> int:
    """Days since 1970.

    >>> day_number(date(1970, 1, 3))
    2
    """
    return (day - date(1970, 1, 1)).days


def training_rows(day: Ints, first: int) -> Ints:
    """Places of the training transactions of the fold that starts on day `first`."""
    return np.flatnonzero((day >= first) & (day < first + WEEK))


def judged_rows(day: Ints, customer: Ints, label: Labels, first: int) -> Ints:
    """Places of the test transactions, those of cards known to be compromised left out.

    Customer 1 has a fraud on training day 0: out. Customer 2 has one on day 7, known on day 14:
    in on the test's first day, out on its second.

    >>> day, customer = np.array([0, 7, 14, 14, 15, 15]), np.array([1, 2, 1, 2, 2, 3])
    >>> judged_rows(day, customer, np.array([1, 1, 0, 1, 1, 0], np.int8), first=0).tolist()
    [3, 5]
    """
    fraud = label == 1
    kept = []
    for today in range(first + 2 * WEEK, first + 3 * WEEK):
        known = fraud & (day >= first) & (day < today - WEEK)
        kept.append(np.flatnonzero((day == today) & ~np.isin(customer, customer[known])))
    return np.concatenate(kept)
