"""How many tasks on Flink a rate of events wants, from what `benchmarks.bench_flink` measured.

Every resource that a task has a share of is looked at by itself: what all of it comes to, what one
task gives, hence how many tasks. The resource that wants most decides, and is what breaks first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from jobs.definition import Pipeline
from jobs.intake import KEY_WORDS
from operators.idtable import slots_for
from operators.keyrecords import PREFIX
from operators.plan import EntityPlan
from operators.ring import CAP, HEAD, RETENTION, STRIDE

SECOND_US = 1e6
GB, MB = 1e9, 1e6
INDEX = "index"
ONE_OF_MANY = "ours, whole, apart"
"""The job of one task that works as each of many does: rows go from operator to operator."""
UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
JUST_GROWN = 3 << 20
"""Of so many ids the index's table is as empty as it ever is: it has just been doubled."""


class Wanted(NamedTuple):
    """What is to be carried."""

    rate: float
    """Events a second, in the mean."""
    keys: float
    """Alive at a time, of each entity."""
    peak: float
    """The rate of the busiest hour, as a multiple of the mean."""
    checkpoint_s: float


class Task(NamedTuple):
    """What one task has: a TaskManager of its own, since tasks of one share an interpreter."""

    load: float
    """The share of what was measured flat out that is used at the peak."""
    memory_gb: float
    disk_gb: float
    network_mb: float
    """Megabytes a second, each way."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures of one task that runs the whole pipeline."""

    events_per_s: float
    """Flat out, beside the broker on two cores."""
    cpu_us: Mapping[str, float]
    """Of an event, by process."""
    between: float
    """Bytes of an event from operator to operator, where they may be on different machines."""
    taken_in: float
    """Bytes of a transaction in its topic."""
    put_out: float
    """Bytes of a prediction in its topic."""
    id_bytes: float
    """Of an id in the state of the index."""
    beside: Mapping[str, float]
    """Bytes of a key in the state of an entity's windows, beside its packed record."""
    amplified: float
    """A checkpoint's bytes beside those of what is in it, as a savepoint has it."""
    written_mb_s: float
    """Megabytes a second that a checkpoint under load writes."""
    resident: float
    """Bytes of memory that a TaskManager holds with this state; its records at hand are in it."""
    written: float
    """Bytes of records that an event had written, in the mean, where `events_per_s` was measured:
    those of its keys, whole."""
    byte_us: float
    """Microseconds of processor time for each byte more; 0 where that was not measured."""

    @classmethod
    def of(cls, result: Mapping[str, Any], pipeline: Pipeline) -> Self:
        """From the result in docs/bench/flink.json."""
        row, state = result["throughput"][ONE_OF_MANY], result["state"]
        sizes, kept = state["savepoint"]["operators"], state["kept"]
        bytes_, under_load = row["bytes"], state["under_load"]
        # What scores hands predictions to the sink beside it: they do not travel.
        topics = ("transactions", "predictions")
        stays = f"windows-{pipeline.plan().entities[-1].key}"
        return cls(
            events_per_s=row["events_per_s"],
            cpu_us=row["cpu_us"],
            between=sum(n for name, n in bytes_.items() if name not in {*topics, stays}),
            taken_in=bytes_["transactions"],
            put_out=bytes_["predictions"],
            id_bytes=sizes[INDEX] / kept[INDEX],
            beside={
                each.key: (sizes[(name := f"windows-{each.key}")] / kept[name])
                - record_bytes(each, kept[INDEX] / kept[name])
                for each in pipeline.plan().entities
            },
            amplified=state["full"]["whole"] / state["savepoint"]["bytes"],
            written_mb_s=under_load["bytes"] / under_load["seconds"] / MB,
            resident=state["resident"]["full"],
            written=written(pipeline, {key: n / 2 for key, n in row["of_key"].items()}),
            byte_us=_byte_us(pipeline, result["records"]) if "records" in result else 0.0,
        )

    def longer_us(self, bytes_: float) -> float:
        """Of processor, what an event that has so many bytes of records written takes more."""
        return (bytes_ - self.written) * self.byte_us


def _byte_us(pipeline: Pipeline, loads: Mapping[str, Any]) -> float:
    """From the shortest and the longest records with which a job kept up, at the same rate."""
    kept_up = {
        float(rate): sorted((float(n), row["cpu"]) for n, row in rows.items() if not row["missing"])
        for rate, rows in loads.items()
    }
    rate = max(kept_up, key=lambda each: (len(kept_up[each]), each))
    (short, least), (long, most) = kept_up[rate][0], kept_up[rate][-1]
    entities = pipeline.plan().entities
    few, many = (written(pipeline, {e.key: n for e in entities}) for n in (short, long))
    return float(most - least) / rate * SECOND_US / (many - few)


def written(pipeline: Pipeline, events: Mapping[str, float]) -> float:
    """Bytes of the records of an event's keys, with so many events in each."""
    return sum(record_bytes(each, events[each.key]) for each in pipeline.plan().entities)


def record_bytes(entity: EntityPlan, events: float) -> float:
    """Of a packed record of so many events."""
    return 8 * (PREFIX + int(entity.shape[HEAD]) - 2 + events * int(entity.shape[STRIDE]))


class Need(NamedTuple):
    """A resource: what all of it comes to, what a task gives of it, in words; how many tasks."""

    what: str
    whole: str
    each: str
    tasks: float


class Kept(NamedTuple):
    """What is kept, in bytes but for counts."""

    events: Mapping[str, float]
    """How many in the record of a key, by entity; at most the cap."""
    ids: float
    """How many are remembered."""
    records: float
    ids_bytes: float
    changed: float
    """What has changed from one checkpoint to the next, at the peak."""
    written: float
    """Of records, for an event: those of its keys, whole."""


def kept(measured: Measured, wanted: Wanted, pipeline: Pipeline) -> Kept:
    """The state of a job that has run for as long as it remembers anything."""
    ids = wanted.rate * pipeline.retention_us / SECOND_US
    events, records, changed = {}, 0.0, 0.0
    taken = wanted.rate * wanted.peak * wanted.checkpoint_s
    for entity in pipeline.plan().entities:
        horizon_s = int(entity.shape[RETENTION]) / SECOND_US
        events[entity.key] = min(wanted.rate * horizon_s / wanted.keys, int(entity.shape[CAP]))
        size = record_bytes(entity, events[entity.key]) + measured.beside[entity.key]
        records += wanted.keys * size
        changed += wanted.keys * -math.expm1(-taken / wanted.keys) * size
    changed += taken * measured.id_bytes
    index = ids * measured.id_bytes
    return Kept(events, ids, records, index, changed, written(pipeline, events))


def needs(measured: Measured, wanted: Wanted, task: Task, pipeline: Pipeline) -> list[Need]:
    """Resource by resource, what decides first."""
    state, peak = kept(measured, wanted, pipeline), wanted.rate * wanted.peak
    size = (state.records + state.ids_bytes) * measured.amplified
    scratch = 8 * (KEY_WORDS + 2 * len(pipeline.event.keys)) * state.ids
    table = 4 * slots_for(JUST_GROWN) / JUST_GROWN * state.ids
    free = task.memory_gb * GB - measured.resident
    through = peak * (measured.between + measured.taken_in + measured.put_out)
    longer_us = measured.longer_us(state.written)
    speed = task.load / (1 / measured.events_per_s + longer_us / SECOND_US)
    per_interval = measured.written_mb_s * MB * wanted.checkpoint_s * task.load
    found = [
        Need(f"processor, with {size_of(state.written)} of records written an event",
             f"{peak:,.0f} events/s", f"{speed:,.0f}", peak / speed),
        Need("memory: the index's table of ids", size_of(table), size_of(free), table / free),
        Need("disk: state, and the index's scratch file", size_of(size + scratch),
             f"{task.disk_gb:,.0f} GB", (size + scratch) / task.disk_gb / GB),
        Need("network", f"{size_of(through)}/s", f"{task.network_mb * task.load:,.0f} MB/s",
             through / task.network_mb / MB / task.load),
        Need(f"checkpoints, every {wanted.checkpoint_s:g} s", size_of(state.changed),
             size_of(per_interval), state.changed / per_interval),
    ]  # fmt: skip
    return sorted(found, key=lambda need: -need.tasks)


def size_of(count: float) -> str:
    """Bytes in words.

    >>> size_of(1_234_567_890)
    '1.2 GB'
    """
    thousands = min(int(math.log10(max(count, 1)) / 3), len(UNITS) - 1)
    count /= 1000**thousands
    return f"{count:.{int(thousands > 0 and count < 10)}f} {UNITS[thousands]}"
