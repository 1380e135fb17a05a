"""Predictions that wait for their labels: ids, index and log of features, in bounded memory."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.bench_index import KEYS, UNLIMITED, events_and_labels, new_index, resident_mb
from benchmarks.proofs.alone import alone
from benchmarks.proofs.proof import BrokenError, Proof, Record
from jobs.fraud import pipeline
from jobs.local import LARGE_BYTES, RELEASE_ROWS
from jobs.intake import KEY_WORDS
from streams.rows import MappedRows, release_if_large

BATCH_ROWS = 8192
MOST_MB = 200
LOGGED = len(pipeline.features) + len(pipeline.models)
"""Words a prediction of the shipped pipeline is logged in: its features and scores."""


def steps(count: int, done: Sequence[Record], folder: Path) -> Iterator[Record]:
    """One step: it cannot be cut."""
    if done:
        return
    found = alone(wait, count, folder)
    if found["rss_growth_mb"] > MOST_MB:
        raise BrokenError(f"wanted memory to grow by at most {MOST_MB} MB, got {found}")
    yield found


def wait(count: int, folder: Path) -> Record:
    """Admit and log so many events, 1 % labelled, none matured; memory beyond the first batch's.

    A logged row holds its own number in every word, and is read again when its label comes. Growth
    is with all pending and mapped rows let go; the peaks on the way are told beside it.
    """
    ids = MappedRows(folder / "ids.rows", KEY_WORDS + 2 * KEYS)
    log = MappedRows(folder / "logged.rows", LOGGED, np.float64)
    index = new_index(ids)
    before, most, released, learnt, began = 0.0, 0.0, 0, 0, time.monotonic()
    for first in range(0, count, BATCH_ROWS):
        batch = events_and_labels(first, min(BATCH_ROWS, count - first), 0.01, 1000)
        admission = index.admit(batch, 0, UNLIMITED)
        rows = admission.row[admission.row >= 0]
        log.reserve(index.next_row)
        log.view[rows] = rows[:, None]
        told = admission.examples.row
        if not np.array_equal(log.view[told], np.repeat(told[:, None], LOGGED, axis=1)):
            raise BrokenError(f"logged rows read after event {first:,} are not those written")
        learnt += len(told)
        if not first or index.next_row - released >= RELEASE_ROWS:
            released = index.next_row
            release_if_large(0 if not first else LARGE_BYTES, ids, log)
            most = max(most, resident_mb())
        if not first:
            before = resident_mb()
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak from here on
    seconds = time.monotonic() - began
    ids.release()
    log.release()
    if index.pending != count:
        raise BrokenError(f"wanted all of {count:,} events to be pending, got {index.pending:,}")
    return {
        "events": count,
        "pending": index.pending,
        "labelled": learnt,
        "rss_growth_mb": round(resident_mb() - before, 1),
        "peak_mb": round(most - before, 1),
        "peak_with_mapped_rows_mb": round(resident_mb("VmHWM") - before, 1),
        "rows_on_disk_gb": round(count * 8 * (KEY_WORDS + 2 * KEYS + LOGGED) / 1e9, 2),
        "seconds": round(seconds, 1),
    }


def figures(records: Sequence[Record]) -> Record:
    found = dict(records[0])
    return {"count": found.pop("events"), **found}


PENDING = Proof(
    "when all events wait for their labels, they and what they were scored from take at most "
    f"{MOST_MB} MB of memory beyond the first batch's, mapped rows that are let go left out",
    20_000_000,
    "events",
    steps,
    figures,
)
