"""What a lane's store says of the pipeline that its entries are of, and going on from another.

Every store has an entry that describes its pipeline (`jobs.change`). Where it is that of another,
all the lane's records are brought over at once, before anything comes to them.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from jobs.change import Change, Description, describe
from jobs.definition import Pipeline
from jobs.lanes.store import Store
from operators.plan import EntityPlan
from streams.errors import StateError

ENTRY = b"pipeline"
"""The key of that entry: those of records are 16 bytes long, those of an index begin otherwise."""
_NEVER = -(2**62)


class Described(msgspec.Struct, frozen=True):
    """That entry."""

    pipeline: Description
    clock_us: int = _NEVER
    """The latest event time at which expired records were forgotten."""


# Made while one thread imports this: of several that decode the first of a kind at once, one may
# find what msgspec keeps of it half made, and end the process.
_decoder = msgspec.json.Decoder(Described)


def settle_index(store: Store, pipeline: Pipeline, where: str) -> list[str]:
    """Have an index's store be of this pipeline; what is to be said of that.

    Raises StateError where it is of other events or other entities.
    """
    change, _ = _change(store, pipeline, where, warm_up=False)
    if change is None:
        return []
    old, new = ([each.key for each in of.entities] for of in (change.before, change.description))
    if old != new:
        raise StateError(
            f"{where}: has features of {', '.join(old)}, the pipeline of {', '.join(new)}: a job "
            "on Flink keeps the entities that it began with; begin without a savepoint"
        )
    _put(store, change.description)
    return change.said


def settle_windows(
    store: Store, plan: EntityPlan, pipeline: Pipeline, where: str, *, warm_up: bool
) -> list[str]:
    """Have the records of a lane be of this pipeline; what is to be said of that.

    Raises StateError where that cannot be, or not exactly, which `warm_up` allows.
    """
    change, clock_us = _change(store, pipeline, where, warm_up=warm_up)
    if change is None:
        return []
    keys = [key for key, _ in store.items() if key != ENTRY]
    packed = (np.frombuffer(bytearray(store.get(key) or b""), np.int64) for key in keys)
    records = change.records(plan, packed, clock_us)
    for record, key in zip(records, keys, strict=True):
        if len(record):
            store.put_all({key: record.tobytes()})
        else:
            store.remove(key)
    _put(store, change.description, clock_us)
    return change.said


def records_of(store: Store) -> Iterator[tuple[bytes, bytes]]:
    """All entries of a store but that one, by key; the store must not change meanwhile."""
    return ((key, raw) for key, raw in store.items() if key != ENTRY)


def swept(store: Store, clock_us: int) -> None:
    """Note that records which had expired at this time are forgotten."""
    raw = store.get(ENTRY)
    if raw is not None:
        _put(store, _decoder.decode(raw).pipeline, clock_us)


def _change(
    store: Store, pipeline: Pipeline, where: str, *, warm_up: bool
) -> tuple[Change | None, int]:
    """The change that the store is to go through, None for none, and its clock."""
    raw = store.get(ENTRY)
    if raw is None:
        if any(True for _ in store.items()):
            raise StateError(
                f"{where}: was written by a release that did not say of which pipeline; run the "
                "release that wrote it, or begin without a savepoint"
            )
        _put(store, describe(pipeline))
        return None, _NEVER
    found = _decoder.decode(raw)
    if found.pipeline.definition == pipeline.definition:
        return None, found.clock_us
    return Change(where, found.pipeline, pipeline, warm_up=warm_up), found.clock_us


def _put(store: Store, description: Description, clock_us: int = _NEVER) -> None:
    store.put_all({ENTRY: msgspec.json.encode(Described(description, clock_us))})
