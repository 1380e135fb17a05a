"""Decode and encode rates beside the bare libraries, and reading Parquet beside pyarrow alone.

`python -m benchmarks.bench_codec` prints the table; every rate is records a second of
processor time, the best of five passes over the same records in batches of 8192.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from streams.batch import EVENT
from streams.codec import Decoder
from streams.predictions import encode_predictions
from streams.schema import DAY, SECOND, Event, Label, Number
from streams.sources import FileSource

TRANSACTION = Event(
    "transaction",
    keys=("customer", "terminal"),
    numbers=(Number("amount", scale=2, maximum=100_000),),
    label=Label("fraud", maturity="7d"),
)
RECORDS = 200_000
BATCH = 8192
FEATURES = 45
PASSES = 5
T0 = 1_522_540_800 * SECOND


class Transaction(msgspec.Struct):
    """What msgspec alone makes of a transaction, without checks of values."""

    id: str
    time: str
    customer: str
    terminal: str
    amount: float


def run() -> dict[str, float]:
    """Records a second by what was measured; names with `bare` are the baselines."""
    rows = _rows(np.random.default_rng(7))
    return _decode(rows) | _encode() | _read(rows)


def _decode(rows: pa.Table) -> dict[str, float]:
    lines = [orjson.dumps(row) for row in _json_rows(rows)]
    one_bad = [b"{" if place % 100 == 0 else line for place, line in enumerate(lines)]
    parts = [lines[start : start + BATCH] for start in range(0, RECORDS, BATCH)]
    bad_parts = [one_bad[start : start + BATCH] for start in range(0, RECORDS, BATCH)]
    typed = msgspec.json.Decoder(Transaction)
    events, mixed = Decoder(TRANSACTION, EVENT), Decoder(TRANSACTION)
    return {
        "decode, bare orjson.loads": _rate(lambda: [list(map(orjson.loads, p)) for p in parts]),
        "decode, bare msgspec": _rate(lambda: [list(map(typed.decode, p)) for p in parts]),
        "decode events": _rate(lambda: [events.decode(p, T0 + DAY) for p in parts]),
        "decode a mixed file": _rate(lambda: [mixed.decode(p, T0 + DAY) for p in parts]),
        "decode, 1 % garbage": _rate(lambda: [events.decode(p, T0 + DAY) for p in bad_parts]),
    }


def _encode() -> dict[str, float]:
    count = RECORDS // 4
    random = np.random.default_rng(7)
    features = random.lognormal(size=(count, FEATURES))
    ids = [str(number) for number in range(count)]
    versions, times = np.zeros(count, np.int64), np.arange(count)
    records = [{"id": each, "features": row} for each, row in zip(ids, features, strict=True)]
    review, reasons = np.zeros(count, bool), np.zeros((count, 2), np.int16)
    texts, names = pa.array(ids, pa.large_string()), ["amount"]
    numpy = orjson.OPT_SERIALIZE_NUMPY
    scores = random.random(count)
    # Two or three digits, as intervals have.
    between = np.column_stack([scores.round(3) / 2, scores.round(3)])
    return {
        "encode, bare orjson.dumps": _rate(
            lambda: [orjson.dumps(record, option=numpy) for record in records], count
        ),
        "encode predictions, 45 features": _rate(
            lambda: encode_predictions(
                texts, times, scores, between, review, reasons, names, versions, features, times
            ),
            count,
        ),
    }


def _read(rows: pa.Table) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        pq.write_table(rows, path)
        columns = {"fraud": "fraud"}
        return {
            "read Parquet, bare pyarrow": _rate(
                lambda: list(pq.ParquetFile(path).iter_batches(BATCH))
            ),
            "read Parquet": _rate(lambda: list(FileSource([path], TRANSACTION, {}))),
            "read Parquet, labels merged in": _rate(
                lambda: list(FileSource([path], TRANSACTION, columns, label_delay_us=DAY // 4))
            ),
        }


def _rows(random: np.random.Generator) -> pa.Table:
    times = np.sort(random.integers(T0, T0 + DAY, RECORDS))
    return pa.table(
        {
            "id": np.arange(RECORDS),
            "time": pa.array(times, pa.timestamp("us")),
            "customer": random.integers(0, 5_000, RECORDS),
            "terminal": random.integers(0, 10_000, RECORDS),
            "amount": random.integers(1, 30_000, RECORDS) / 100,
            "fraud": random.random(RECORDS) < 0.01,
        }
    )


def _json_rows(rows: pa.Table) -> list[dict[str, object]]:
    return [
        {
            "id": f"t{row['id']}",
            "time": f"{row['time'].isoformat()}Z",
            "customer": f"c{row['customer']}",
            "terminal": f"m{row['terminal']}",
            "amount": row["amount"],
        }
        for row in rows.to_pylist()
    ]


def _rate(work: Callable[[], object], count: int = RECORDS) -> float:
    best = float("inf")
    for _ in range(PASSES):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return count / best


if __name__ == "__main__":
    for name, rate in run().items():
        print(f"{name:<34} {rate / 1e6:6.2f} M/s")
