"""Predictions that wait for their labels: a whole run of the embedded host in bounded memory."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.bench_index import resident_mb
from benchmarks.bench_loop import inputs_only
from benchmarks.proofs.alone import alone
from benchmarks.proofs.proof import BrokenError, Proof, Record
from jobs.local import LocalRun
from operators.admission import TIME
from streams.batch import EVENT, LABEL, UNKNOWN, Batch
from streams.errors import DeadLetter

Int64s = npt.NDArray[np.int64]
MEASURES = {8192: "peak_growth_mb", 65_536: "peak_over_warm_peak_mb"}
"""What is asserted of batches of the size sources take by default, and of those of `replay`: these
take 40 to 60 MB while they are carried through, whether or not anything waits."""
WARM = 16
"""Batches before memory counts: libraries are loaded, predictions were written, the heap is used.
The peak of a warm process is that of the second half of them."""
MOST_MB = 200
KEYS = 16
"""Customers, and terminals: their records are part of what is measured, and not what waits."""
START_US = 1_700_000_000_000_000
GAP_US = 30_000
"""Between events: 20 million of them are 6.9 days, and a label matures in 7."""
LABELLED = 0.01
SAMPLE = 10_000


def cents(number: Int64s) -> Int64s:
    """The amount of the n-th event."""
    return number * 7919 % 49_999 + 1


@dataclass
class Waiting:
    """So many events, and early labels for any of those before: a source of `LocalRun`."""

    count: int
    batch_rows: int
    taken: int = 0
    total_rows: None = None

    def topic(self, partition: int) -> str:
        return f"made up, {partition}"

    def __iter__(self) -> Iterator[tuple[Batch, list[DeadLetter]]]:
        while self.taken < self.count:
            first, self.taken = self.taken, min(self.taken + self.batch_rows, self.count)
            yield events_and_labels(first, self.taken - first), []

    def state(self) -> bytes:
        return b"%d" % self.taken

    def restore(self, state: bytes) -> None:
        self.taken = int(state)


def events_and_labels(first: int, events: int) -> Batch:
    """Events from the `first` on, and among them labels of events drawn from all so far."""
    rng = np.random.default_rng(first)
    n = events + round(events * LABELLED)
    is_event = np.ones(n, np.bool_)
    is_event[1 + rng.choice(n - 1, n - events, replace=False)] = False
    newest = first + np.cumsum(is_event) - 1
    number = np.where(is_event, newest, (rng.random(n) * newest).astype(np.int64))
    idents = np.zeros((n, 3, 2), np.int64)
    idents[:, 0, 1] = number * 6_364_136_223_846_793_005 % 10**18
    idents[:, 1:, 1] = np.where(is_event[:, None], rng.integers(0, KEYS, (n, 2)), 0)
    return Batch(
        kind=np.where(is_event, EVENT, LABEL).astype(np.uint8),
        time=START_US + newest * GAP_US,
        idents=idents,
        numbers=np.where(is_event, cents(number), 0)[:, None],
        categories=np.zeros((n, 0), np.int64),
        label=np.where(is_event, UNKNOWN, number % 2).astype(np.int8),
        received=np.zeros(n, np.int64),
        partition=np.zeros(n, np.int32),
        offset=2 * first + np.arange(n),
        texts=tuple(pa.array(idents[:, column, 1]) for column in range(3)),
    )


def steps(count: int, done: Sequence[Record], folder: Path) -> Iterator[Record]:
    """One step a size of batches."""
    for batch_rows, measure in list(MEASURES.items())[len(done) :]:
        out = folder / str(batch_rows)
        found = alone(wait, count, batch_rows, out)
        if found[measure] > MOST_MB:
            raise BrokenError(f"{measure}: wanted at most {MOST_MB} MB, got {found}")
        shutil.rmtree(out)
        yield found


def wait(count: int, batch_rows: int, folder: Path) -> Record:
    """Run so many events that none matures, and ask the kernel for the peak of resident memory.

    Nothing is subtracted: key records, open metric windows, sinks, snapshots, rows still mapped.
    """
    run = LocalRun(inputs_only, Waiting(count, batch_rows), folder)
    flow, began, warm_peak, warm = run.flow, time.monotonic(), 0.0, 0.0
    warming = min(WARM, math.ceil(count / batch_rows))
    for _ in run:
        if run.sequence == warming // 2:
            forget_peak()
        if run.sequence == warming:
            warm_peak = resident_mb("VmHWM")
            flow.ids.release()
            flow.log.release()
            warm = resident_mb()
            forget_peak()
    run.close()
    peak, last = resident_mb("VmHWM"), resident_mb()
    if flow.index.pending != count:
        raise BrokenError(
            f"wanted all of {count:,} events to be pending, got {flow.index.pending:,}"
        )
    rows = np.random.default_rng(0).integers(0, count, SAMPLE)
    said = np.column_stack([flow.ids.view[rows, TIME], np.rint(100 * flow.log.view[rows, 0])])
    if not np.array_equal(said, np.column_stack([START_US + rows * GAP_US, cents(rows)])):
        raise BrokenError("times and amounts read from the mapped rows are not those written")
    on_disk = flow.ids.view[0].nbytes + flow.log.view[0].nbytes
    return {
        "batch_rows": batch_rows,
        "events": count,
        "pending": flow.index.pending,
        "labelled": run.counts["labels_matched"],
        "peak_growth_mb": round(peak - warm, 1),
        "peak_over_warm_peak_mb": round(peak - warm_peak, 1),
        "growth_mb": round(last - warm, 1),
        "warm_mb": round(warm, 1),
        "key_records_mb": round(sum(e.arena.nbytes for e in flow.features.entities) / 1e6, 1),
        "rows_on_disk_gb": round(count * on_disk / 1e9, 2),
        "seconds": round(time.monotonic() - began, 1),
    }


def forget_peak() -> None:
    """Let the kernel's `VmHWM` begin at what is resident now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def figures(records: Sequence[Record]) -> Record:
    return {"count": records[0]["events"], "runs": list(records)}


PENDING = Proof(
    f"a run of the embedded host whose events all wait for their labels never holds {MOST_MB} MB "
    "more than when it was warm, mapped rows and all else included; with batches of 65,536, than "
    "its peak when it was warm",
    20_000_000,
    "events",
    steps,
    figures,
)
