"""Memory of 10 million retained events over a million customers, restart time, and a churn of keys.

Run as `python -m benchmarks.bench_memory`.

Counts and means over 1, 7 and 30 days by customer: the records that the customer's half of the 15
Handbook inputs needs. Events come spread evenly over 29 days, customers drawn evenly. Bytes an
event hold everything: records with their headers and spare room, key slots and index, and pages
touched. The churn gives every event a new key, five times as many as live at once, ten days apart,
and reports resident memory after each generation.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from rich.console import Console

from jobs.fraud import customer
from operators.featurize import Features
from operators.keyrecords import unpack
from operators.plan import compile_plan
from streams.schema import DAY, SECOND, Event, Label, Number

EVENTS = 10_000_000
CUSTOMERS = 1_000_000
CHURN_KEYS = 400_000
GENERATIONS = 6
BATCH = 65_536
PURCHASE = Event(
    "purchase", ("customer",), Label("fraud"), (Number("amount", scale=2, maximum=100_000),)
)
WINDOWS = {
    **{f"count_{last}": customer.count(last) for last in ("1d", "7d", "30d")},
    **{f"mean_{last}": customer.mean("amount", last) for last in ("1d", "7d", "30d")},
}


def run() -> dict[str, float]:
    """Bytes an event and a key, resident MiB, seconds to pack and to restart, MiB under churn."""
    before = resident()
    features = _operator()
    random = np.random.default_rng(7)
    for first in range(0, EVENTS, BATCH):
        rows = min(BATCH, EVENTS - first)
        customers = random.integers(0, CUSTOMERS, rows)
        _feed(features, 500 * DAY, 29 * DAY / EVENTS, first, customers)
    after = resident()
    arena = features.entities[0].arena
    results: dict[str, float] = {
        "events": EVENTS,
        "keys": arena.keys,
        "bytes_per_event": arena.nbytes / EVENTS,
        "bytes_per_key_beside_events": arena.nbytes / arena.keys - 24 * EVENTS / arena.keys,
        "resident_bytes_per_event": (after - before) / EVENTS,
        "resident_mib": after / 2**20,
    }
    results |= _restart(features)
    del features, arena
    return results | _churn()


def _operator() -> Features:
    plan = compile_plan(PURCHASE, WINDOWS, lateness_us=0, cap=4096)
    return Features(plan, PURCHASE.keys)


def _feed(features: Features, begin: int, step: float, first: int, customers: Any) -> None:
    """One batch of events, `step` microseconds apart."""
    rows = len(customers)
    ident = np.arange(first, first + rows)
    when = begin + (ident * step).astype(np.int64)
    keys = np.zeros((rows, 1, 2), np.int64)
    keys[:, 0, 1] = customers
    cents = (customers % 9000 + 100)[:, None]
    batch: Any = SimpleNamespace(numbers=cents, categories=np.empty((rows, 0), np.int64))
    none = np.full(rows, -1, np.int8)
    features.update(batch, np.arange(rows), when, keys, ident, when, none, rows)


def _restart(features: Features) -> dict[str, float]:
    """Seconds to pack all records, to write them, and to read them back into an empty arena."""
    windows = features.entities[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "records.npy"
        start = time.perf_counter()
        records = np.concatenate(windows.capture(whole=True).pieces())
        windows.let_go()
        packed = time.perf_counter() - start
        np.save(path, records)
        written = time.perf_counter() - start - packed
        del records
        fresh = _operator().entities[0]
        start = time.perf_counter()
        unpack(fresh.arena, fresh.plan.shape, np.load(path))
        taken = time.perf_counter() - start
        assert fresh.arena.keys == windows.arena.keys
        size = path.stat().st_size / 2**20
        return {"pack_s": packed, "write_s": written, "restart_s": taken, "file_mib": size}


def _churn() -> dict[str, float]:
    """Resident MiB after the first live set of keys and after each of five more."""
    features = _operator()
    sizes = []
    for generation in range(GENERATIONS):
        for first in range(0, CHURN_KEYS, BATCH):
            rows = min(BATCH, CHURN_KEYS - first)
            customers = generation * CHURN_KEYS + first + np.arange(rows)
            begin = (500 + 31 * generation) * DAY
            _feed(features, begin, SECOND / 10, first, customers)
        sizes.append(resident() / 2**20)
    keys = features.entities[0].arena.keys
    return {"churn_first_mib": sizes[1], "churn_last_mib": sizes[-1], "churn_keys_left": keys}


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


if __name__ == "__main__":
    for name, figure in run().items():
        Console().print(f"{name:32} {figure:,.2f}")
