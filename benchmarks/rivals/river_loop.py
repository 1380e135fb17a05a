"""The whole loop in Python: deques for the inputs, River's scaler and logistic regression.

Reads Parquet, makes the 15 inputs, asks for a score, tells the label 7 days after, learns, and
writes the predictions with their inputs.
"""

from __future__ import annotations

from collections import defaultdict, deque
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from river import linear_model, preprocessing

from benchmarks.rivals import DELAY, INPUTS, WINDOWS
from benchmarks.rivals.deques import HOUR, Window
from streams.schema import DAY

COLUMNS = ("id", "time", "customer", "terminal", "amount", "fraud")
ROWS = 65_536


def loop(read: Path, write: Path) -> None:
    """Predict and learn over a file of transactions in order; leaves ids, times and scores."""
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    spent: defaultdict[str, list[Window]] = defaultdict(
        lambda: [Window(days * DAY) for days in WINDOWS]
    )
    risk: defaultdict[str, list[Window]] = defaultdict(
        lambda: [Window((DELAY + days) * DAY) for days in WINDOWS]
    )
    young: defaultdict[str, deque[tuple[int, int]]] = defaultdict(deque)
    pending: deque[tuple[int, dict[str, float], int]] = deque()
    writer = None
    for batch in pq.ParquetFile(read).iter_batches(ROWS):
        table = pa.table(batch).set_column(1, "time", batch.column("time").cast(pa.int64()))
        rows = [table[name].to_pylist() for name in COLUMNS]
        scores, lines = [], []
        for _, time, customer, terminal, amount, fraud in zip(*rows, strict=True):
            while pending and pending[0][0] < time - DELAY * DAY:
                _, then, known = pending.popleft()
                model.learn_one(then, bool(known))
            mine, here, waiting = spent[customer], risk[terminal], young[terminal]
            cents = round(amount * 100)
            for window in mine:
                window.add(time, cents)
                window.expire(time)
            waiting.append((time, fraud))
            while waiting and waiting[0][0] <= time - DELAY * DAY:
                past, known = waiting.popleft()
                for window in here:
                    window.add(past, known)
            for window in here:
                window.expire(time)
            own, others = [len(w.events) for w in mine], [len(w.events) for w in here]
            line = (
                amount, float((time // DAY + 3) % 7 >= 5), float(time % DAY // HOUR <= 6), *own,
                *[w.total / n / 100 for w, n in zip(mine, own, strict=True)],
                *others,
                *[w.total / n if n else 0.0 for w, n in zip(here, others, strict=True)],
            )  # fmt: skip
            inputs = dict(zip(INPUTS, line, strict=True))
            scores.append(model.predict_proba_one(inputs).get(True, 0.0))
            pending.append((time, inputs, fraud))
            lines.append(line)
        made = _predictions(rows, scores, lines)
        writer = writer or pq.ParquetWriter(write, made.schema)
        writer.write_table(made)
    if writer is not None:
        writer.close()


def _predictions(rows: list[Any], scores: list[float], lines: list[Any]) -> pa.Table:
    named = dict(zip(COLUMNS[:4], rows[:4], strict=True))
    inputs = dict(zip(INPUTS, zip(*lines, strict=True), strict=True))
    return pa.table({**named, "score": scores, **{name: pa.array(c) for name, c in inputs.items()}})
