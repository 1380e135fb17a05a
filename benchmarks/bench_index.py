"""The index: rows a second, restart, and memory with 20 million events pending."""

from __future__ import annotations

import json
import tempfile
from collections import deque
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow as pa

from operators.idtable import ArrayRows, Rows
from operators.index import Index
from streams.batch import EVENT, LABEL, UNKNOWN, Batch
from streams.rows import MappedRows
from streams.schema import DAY, SECOND

KEYS = 2
UNLIMITED = 2**40
TEXT = pa.array([""], pa.large_string())


def events_and_labels(first: int, events: int, share: float, gap_us: int) -> Batch:
    """Events `gap_us` apart with shuffled ids, and a label on a share of the last 1,000,000."""
    rng = np.random.default_rng(first)
    labels = round(events * share)
    n = events + labels
    kind = np.full(n, EVENT, np.uint8)
    kind[rng.choice(n, labels, replace=False)] = LABEL
    number = first + np.cumsum(kind == EVENT) - 1
    spoken_of = np.maximum(number - rng.integers(0, 1_000_000, n), 0)
    number = np.where(kind == LABEL, spoken_of, number)
    idents = np.zeros((n, 1 + KEYS, 2), np.int64)
    idents[:, 0, 1] = number * 6_364_136_223_846_793_005 % 10**18
    idents[:, 1:, 1] = rng.integers(0, 50_000, (n, KEYS))
    return Batch(
        kind=kind,
        time=first * gap_us + np.cumsum(np.full(n, gap_us)),
        idents=idents,
        numbers=rng.integers(100, 50_000, (n, 1)),
        categories=np.zeros((n, 0), np.int64),
        label=np.where(kind == LABEL, 1, UNKNOWN).astype(np.int8),
        received=np.zeros(n, np.int64),
        partition=np.zeros(n, np.int32),
        offset=np.arange(n, dtype=np.int64),
        texts=(TEXT,) * (1 + KEYS),
    )


def new_index(ids: Rows) -> Index:
    return Index(KEYS, 7 * DAY, 10 * DAY, DAY, ids)


def rate(events: int = 1_500_000, batch_rows: int = 20_000) -> tuple[float, Index, ArrayRows]:
    """Rows a second with 1 % labels, two thirds of the events maturing meanwhile; median of 5."""
    batch = events_and_labels(0, events, 0.01, 14 * SECOND // 10)
    ids = ArrayRows(4 + 2 * KEYS)
    ids.reserve(events)
    index = new_index(ids)
    seconds = []
    for _ in range(5):
        index = new_index(ids)
        begin = perf_counter()
        for at in range(0, len(batch), batch_rows):
            index.admit(batch[at : at + batch_rows], 0, UNLIMITED)
        seconds.append(perf_counter() - begin)
    return len(batch) / sorted(seconds)[2], index, ids


def python_rate(events: int = 300_000) -> float:
    """Rows a second of the least that plain Python must do: a dict of ids, a deque to mature."""
    batch = events_and_labels(0, events, 0.01, 14 * SECOND // 10)
    rows = list(
        zip(batch.kind.tolist(), batch.time.tolist(), batch.idents[:, 0, 1].tolist(), strict=True)
    )
    known: dict[int, tuple[int, int]] = {}
    pending: deque[tuple[int, int]] = deque()
    labels: dict[int, int] = {}
    examples = []
    begin = perf_counter()
    for kind, time, name in rows:
        while pending and pending[0][0] < time:
            _, old = pending.popleft()
            if old not in labels:
                examples.append((old, 0))
        if kind == EVENT:
            if name not in known:
                known[name] = (time, kind)
                pending.append((time + 7 * DAY, name))
        elif name in known and name not in labels:
            labels[name] = 1
            examples.append((name, 1))
    return len(rows) / (perf_counter() - begin)


def single_event(events: int = 20_000) -> tuple[float, float]:
    """Microseconds a call with a batch of one: median and p99."""
    batch = events_and_labels(0, events, 0.01, SECOND)
    index = new_index(ArrayRows(4 + 2 * KEYS))
    ones = [batch[i : i + 1] for i in range(len(batch))]
    spent = np.empty(len(ones))
    for i, one in enumerate(ones):
        begin = perf_counter()
        index.admit(one, 0, UNLIMITED)
        spent[i] = perf_counter() - begin
    return float(np.median(spent) * 1e6), float(np.percentile(spent, 99) * 1e6)


def restart(index: Index, ids: ArrayRows) -> float:
    """Ids a second that `restore` enters into its table."""
    state = index.state()
    begin = perf_counter()
    new_index(ids).restore(state)
    return (index.next_row - index.first_row) / (perf_counter() - begin)


def resident_mb(kind: str = "VmRSS") -> float:
    """Memory of this process that is resident, in MB."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(kind + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError("/proc/self/status does not tell; run this on Linux")


def pending(events: int = 20_000_000, batch_rows: int = 50_000) -> dict[str, float]:
    """Events pending at once, none matured, 1 % labelled: memory beyond that of the first batch."""
    with tempfile.TemporaryDirectory() as folder:
        ids = MappedRows(Path(folder) / "ids.rows", 4 + 2 * KEYS)
        index = new_index(ids)
        index.admit(events_and_labels(0, batch_rows, 0.01, 1000), 0, UNLIMITED)
        ids.release()
        before, most, spent = resident_mb(), 0.0, 0.0
        for first in range(batch_rows, events, batch_rows):
            batch = events_and_labels(first, batch_rows, 0.01, 1000)
            begin = perf_counter()
            index.admit(batch, 0, UNLIMITED)
            inside = resident_mb()
            ids.release()
            spent += perf_counter() - begin
            most = max(most, inside)
        after = resident_mb()
        state = index.state()
        begin = perf_counter()
        again = new_index(ids)
        again.restore(state)
        restarted = perf_counter() - begin
        found = {
            "events_pending": index.pending,
            "rss_growth_mb": after - before,
            "rss_growth_at_most_mb": most - before,
            "million_rows_a_second": (events - batch_rows) * 1.01 / spent / 1e6,
            "restart_seconds": restarted,
        }
        ids.close()
    return {name: round(value, 2) for name, value in found.items()}


def run() -> dict[str, float]:
    """All but the 20 million, which take 2 GB of disk: `python -m benchmarks.bench_index`."""
    rows, index, ids = rate()
    median, tail = single_event()
    found = {
        "million_rows_a_second": rows / 1e6,
        "million_rows_a_second_python": python_rate() / 1e6,
        "one_event_us_p50": median,
        "one_event_us_p99": tail,
        "restart_million_ids_a_second": restart(index, ids) / 1e6,
    }
    return {name: round(value, 2) for name, value in found.items()}


if __name__ == "__main__":
    print(json.dumps(run() | {f"pending_{name}": value for name, value in pending().items()}))
