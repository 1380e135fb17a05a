"""One key in a state folder: what is kept of it, and removing it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.intake import KEY_WORDS
from jobs.pipeline import Flow
from jobs.rerun import PREDICTIONS, predictions
from jobs.settings import Inputs
from jobs.state import FlowState
from operators.admission import TIME
from operators.arena import forget_key
from operators.explain import Record, record_of, slot_of
from operators.featurize import EntityWindows
from operators.keyrecords import clock
from operators.windows import KEY
from streams.errors import ConfigError, StateError
from streams.ident import ident, idents
from streams.journal import Journal
from streams.ownership import own


@dataclass(frozen=True, slots=True)
class Key:
    """An entity and one of its keys, as in `customer=42`."""

    entity: str
    text: str

    def __str__(self) -> str:
        return f"{self.entity}={self.text}"


@dataclass(frozen=True, slots=True)
class Kept:
    """What a state keeps of a key."""

    flow: Flow
    key: Key
    record: Record | None
    clock_us: int
    """The latest event time of the state."""
    ids: dict[tuple[int, int], str]
    """By time and low word: the ids of the key's events as the run wrote them."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was removed of a key, and what was not."""

    key: Key
    events: int
    ids: int
    """Events of the key in the log of ids: their ids, and the key as a number or a hash."""
    pending: int
    """Of those, events whose logged features are still to be learnt from."""
    elsewhere: dict[str, list[str]] = field(default_factory=dict)
    """By other entity: fields through which its records name the key."""
    predictions: int | None = None
    """Rows of predictions.parquet; None where the run has not come to its end."""
    held: bool = False
    """Whether rows may be held back in the order buffer, which is not searched."""


def show(folder: Path, key: Key) -> Kept:
    """What the last snapshot of a run's state keeps of the key.

    Raises ConfigError for an entity without features, StateError while another process owns the
    state or where there is none.
    """
    with _opened(folder) as opened:
        entity = _entity(opened.flow, key)
        record = record_of(entity, ident(key.text))
        rows = _predicted(folder, key)
        return Kept(opened.flow, key, record, clock(entity.arena), _ids(rows))


def forget(folder: Path, key: Key) -> Forgotten:
    """Remove the key's record from a run's state, in one step.

    A new whole snapshot without it takes the place of all that are there, so either both or
    neither hold it. Raises, with everything as before, StateError for a key that is not there, a
    state that another process owns, or one that a run left without closing it: going on with that
    run must give what it gave before.
    """
    with _opened(folder) as opened:
        flow, entity = opened.flow, _entity(opened.flow, key)
        opened.refuse_unfinished()
        slot, wanted = slot_of(entity, ident(key.text)), np.array(ident(key.text))
        record = record_of(entity, ident(key.text))
        if record is None:
            raise StateError(f"{opened.state}: {key} is not in this state: nothing to forget")
        arena = entity.arena
        forget_key(
            arena.words, arena.chunk_before, arena.classes, arena.heads, arena.index, arena.slots,
            slot,
        )  # fmt: skip
        # A new one has no base to add to: it commits everything whole, and drops what was before.
        anew = FlowState(flow, opened.state / "snapshots")
        anew.heeding.heed_at_once(opened.meta.get("decisions", 0))
        anew.commit(opened.meta, opened.blobs, wait=True)
        anew.close()
        for rows_on_disk in (flow.ids, flow.log):
            rows_on_disk.forget(flow.index.first_row)
        word = KEY_WORDS + 2 * entity.number
        log = flow.ids.view[flow.index.first_row : flow.index.next_row]
        mine = (log[:, word : word + 2] == wanted).all(axis=1)
        young = log[:, TIME] > flow.index.clock_us - flow.pipeline.event.label.maturity_us
        rows = _predicted(folder, key)
        return Forgotten(
            key=key,
            events=sum(each.events for each in record.held),
            ids=int(mine.sum()),
            pending=int((mine & young).sum()),
            elsewhere=_elsewhere(flow, entity),
            predictions=None if rows is None else len(rows),
            held="order" in opened.blobs,
        )


@dataclass(frozen=True, slots=True)
class _Opened:
    """A state folder that is this process's alone, as its newest snapshot says."""

    state: Path
    flow: Flow
    meta: dict[str, Any]
    blobs: dict[str, bytes]

    def refuse_unfinished(self) -> None:
        """StateError if the run was killed after its last snapshot."""
        journal = Journal(self.state / "journal")
        after = sum(1 for _ in journal.entries(int(self.meta["sequence"])))
        journal.close()
        if after:
            raise StateError(
                f"{self.state}: the run was killed {after:,} batches after its last snapshot, and "
                "what it wrote of them would come out otherwise without the key; go on with it "
                f"first (headrace replay … --state {self.state}), then forget"
            )


@contextmanager
def _opened(folder: Path) -> Iterator[_Opened]:
    inputs = Inputs.load(folder)
    pipeline, state = inputs.load_pipeline(), Path(inputs.state)
    if not (state / "snapshots").is_dir():
        raise StateError(
            f"{state}: wanted the state of the run in {folder}, found none; replay it again"
        )
    with own(state):
        flow = Flow(pipeline, state)
        reading = FlowState(flow, state / "snapshots")
        found = reading.restore()
        reading.close()
        if found is None:
            raise StateError(f"{state}: nothing was committed here yet; let the replay go on")
        try:
            yield _Opened(state, flow, *found)
        finally:
            flow.ids.close()
            flow.log.close()


def _entity(flow: Flow, key: Key) -> EntityWindows:
    entities = {entity.plan.key: entity for entity in flow.features.entities}
    if key.entity not in entities:
        raise ConfigError(
            f"{key}: there is no entity {key.entity!r} with features; there are "
            f"{', '.join(entities) or 'none'}"
        )
    return entities[key.entity]


def _elsewhere(flow: Flow, entity: EntityWindows) -> dict[str, list[str]]:
    """By other entity, whether its records hold this entity's keys as values."""
    return {
        other.plan.key: [
            name
            for name, (kind, column) in zip(
                other.plan.field_names, other.plan.fields.tolist(), strict=True
            )
            if kind == KEY and column == entity.number
        ]
        for other in flow.features.entities
        if other is not entity
    }


def _predicted(folder: Path, key: Key) -> pa.Table | None:
    """`id` and `time` of the key's rows in predictions.parquet; None before the run's end."""
    if not (folder / PREDICTIONS).exists():
        return None
    return predictions(folder, "id", "time", where=(key.entity, key.text))


def _ids(rows: pa.Table | None) -> dict[tuple[int, int], str]:
    if rows is None:
        return {}
    texts = rows["id"].combine_chunks()
    places = zip(
        rows["time"].cast(pa.int64()).to_pylist(), idents(texts)[:, 1].tolist(), strict=True
    )
    return dict(zip(places, texts.to_pylist(), strict=True))
