"""What a small batch costs the operators of an engine, without the engine.

`python -m benchmarks.run --only lanes`. Processor time of one thread, microseconds a batch: the
index, the windows of each entity, the score with its records; what has changed, into a store in
memory, once in a fiftieth of a second at 5,000 events/s; and, where operators are apart, rows to
bytes and back between two of them. The reduced job makes customer windows, the whole one is the
fraud pipeline. What an engine adds (Java, its state, the way in and out) is not in it. Medians of
runs.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import orjson
from rich.table import Table

from benchmarks.bench_kafka_throughput import REDUCED
from jobs.config import Settings
from jobs.lanes.indexing import LaneIndexes
from jobs.lanes.reading import Reader, inputs_of
from jobs.lanes.rows import Admitted, Arrivals
from jobs.lanes.scoring import Scorer
from jobs.lanes.store import MemoryStore
from jobs.lanes.windows import LaneWindows
from jobs.load.traffic import CUSTOMERS, TERMINALS
from jobs.load_pipeline import load_pipeline
from operators.featurize import chain
from streams.memory.broker import MemoryBroker
from streams.memory.cluster import Cluster

REPEATS = 3
LANES = 16
SIZES = (1, 5, 20)
WARM, COUNTED = 200, 500
"""Batches."""
KEPT = 100
"""Events between two writes into the state."""
BEGIN_US, EVERY_US = 1_577_836_800_000_000, 8_640_000
PIPELINES = {"reduced": REDUCED, "whole": "fraud"}


def run() -> dict[str, Any]:
    """Microseconds a batch, by pipeline, by events in the batch and by step."""
    return {
        name: {f"{size}": _medians(pipeline, size) for size in SIZES}
        for name, pipeline in PIPELINES.items()
    }


def _medians(path: str, size: int) -> dict[str, float]:
    runs = [_costs(path, size) for _ in range(REPEATS)]
    return {step: statistics.median(run[step] for run in runs) for step in runs[0]}


def _costs(path: str, size: int) -> dict[str, float]:
    pipeline, stores = load_pipeline(path), defaultdict[tuple[str, int], MemoryStore](MemoryStore)
    spent: dict[str, float] = defaultdict(float)

    def timed(step: str, work: Any) -> Any:
        began = time.thread_time()
        done = work()
        spent[step] += time.thread_time() - began
        return done

    def of(name: str, lane: int) -> MemoryStore:
        return stores[name, lane]

    custom = chain([f.function for f in pipeline.plan().columns if f.function is not None])
    windows = {
        f"windows-{entity.key}": LaneWindows(
            entity, pipeline.event.keys.index(entity.key), custom, partial(of, entity.key), LANES,
            1 << 30,
        )
        for entity in pipeline.plan().entities
    }  # fmt: skip
    with TemporaryDirectory(prefix="headrace-bench-") as folder:
        index = LaneIndexes(pipeline, LANES, partial(of, "index"), Path(folder))
        scorer, taken = Scorer(pipeline), 0
        for n, rows in enumerate(_batches(path, size)):
            if n == WARM:
                spent.clear()
            admitted, _, _ = timed("index", partial(index.admit, rows))
            for name, each in windows.items():
                timed(name, partial(each.make, admitted))
            timed("score", partial(scorer.take, admitted))
            taken += size
            if taken >= KEPT:
                taken = 0
                timed("state", index.keep)
                for each in windows.values():
                    timed("state", each.keep)
            timed("as bytes", lambda rows=rows: Arrivals.unpack(rows.pack()))
            for _ in windows:
                timed("as bytes", lambda rows=admitted: Admitted.unpack(rows.pack()))
        index.close()
    return {step: seconds / COUNTED * 1e6 for step, seconds in spent.items()}


def _batches(path: str, size: int) -> Iterator[Arrivals]:
    """What a reader makes of so many events at a time, a day of 10,000."""
    settings, chance = Settings(pipeline=path), Random(1)
    cluster = Cluster({settings.topic(name): 1 for name in ("transactions", "labels")})
    broker = MemoryBroker(cluster)
    inputs = inputs_of(broker, settings, 0, LANES)
    reader = Reader(load_pipeline(path), broker, settings, inputs, LANES, 1, None)
    for first in range(0, (WARM + COUNTED) * size, size):
        for number in range(first, first + size):
            event = {
                "id": f"{number:09d}",
                "time": BEGIN_US + number * EVERY_US,
                "customer": f"c{chance.randrange(CUSTOMERS)}",
                "terminal": f"s{chance.randrange(TERMINALS)}",
                "amount": chance.randrange(1, 30_000) / 100,
            }
            cluster.append(settings.topic("transactions"), orjson.dumps(event))
        rows, _, _ = reader.take(0.0)
        if rows is not None:
            yield rows
    reader.close()


def table(result: Mapping[str, Any]) -> Table:
    """The result of `run`."""
    made = Table("", "events", title="Microseconds a batch, by step", title_justify="left")
    steps = list(dict.fromkeys(step for of in result["whole"].values() for step in of))
    for step in steps:
        made.add_column(step, justify="right")
    for name, sizes in result.items():
        for size, spent in sizes.items():
            told = (f"{spent[step]:,.0f}" if step in spent else "" for step in steps)
            made.add_row(name, size, *told)
    return made
