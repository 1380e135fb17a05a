"""A portable state shared out to the stores of lanes, and the stores of lanes made portable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from jobs.config import Order
from jobs.definition import Pipeline
from jobs.intake import KEY_WORDS
from jobs.lanes.described import records_of
from jobs.lanes.held import Held
from jobs.lanes.indexstore import (
    CLOCK,
    COUNTED,
    CURSOR,
    FIRST,
    NEWEST,
    NEXT,
    TOLD,
    WAITED,
    KeptIndex,
)
from jobs.lanes.lanes import lanes_of
from jobs.lanes.reading import Kept, reader_of
from jobs.lanes.rows import Admitted, Arrivals
from jobs.lanes.store import MemoryStore
from jobs.numbering import Numbering
from jobs.travel.portable import NEVER, About, Int64s, Portable
from operators.admission import COUNTS, TIME
from operators.keyrecords import ends_of
from streams.batch import LABEL, Batch
from streams.broker import Input
from streams.errors import StateError
from streams.order import in_order

READER, INDEX = "reader", "index"
_Records = tuple[memoryview, Int64s, Int64s, Int64s]
"""Packed records as bytes, the words where each begins and ends, and their lanes."""
Stores = Mapping[str, MemoryStore]
"""What is kept of one lane, by the names of operators; `…-held` is what waits there."""


def windows(entity: int) -> str:
    """The name of the windows of the entity at this place of a plan."""
    return f"windows-{entity}"


def held(name: str) -> str:
    """The name of what waits before an operator."""
    return f"{name}-held"


def names_of(pipeline: Pipeline) -> list[str]:
    """The names of all stores of a lane."""
    count = max(len(pipeline.plan().entities), 1)
    operators = [INDEX, *(windows(place) for place in range(count))]
    return [READER, *operators, *map(held, operators)]


class Share:
    """A portable state, shared out to `lanes` lanes."""

    def __init__(self, portable: Portable, pipeline: Pipeline, lanes: int) -> None:
        self._portable, self._lanes, self._names = portable, lanes, names_of(pipeline)
        self._entities = pipeline.plan().entities
        self._ids = lanes_of(portable.ids[:, :2], lanes)
        self._waiting = lanes_of(portable.waiting[:, 1:], lanes)
        held = portable.held
        self._held = lanes_of(held.idents[:, 0], lanes) if held else np.empty(0, np.int64)
        self._packed = {
            each.key: self._places(portable.records[each.key], each.shape)
            for each in self._entities
        }

    def lane(self, lane: int) -> Stores:
        """What is kept of one lane."""
        found = {name: MemoryStore() for name in self._names}
        found[READER], found[INDEX] = self._reader(lane), self._index(lane)
        found[held(INDEX)] = self._order(lane)
        for place, entity in enumerate(self._entities):
            found[windows(place)] = self._records(lane, entity.key)
        return found

    def _reader(self, lane: int) -> MemoryStore:
        about, store = self._portable.about, MemoryStore()
        mine = [each for each in about.inputs if reader_of(Input(*each[:2]), self._lanes) == lane]
        kept = Kept(mine, about.seen_us if mine else NEVER, about.from_us)
        store.put_all({b"": msgspec.msgpack.encode(kept)})
        return store

    def _index(self, lane: int) -> MemoryStore:
        portable, store = self._portable, MemoryStore()
        about, places = portable.about, np.flatnonzero(self._ids == lane)
        count, waiting = len(places), portable.waiting[self._waiting == lane].tolist()
        row_of = np.full(len(self._ids), -1)
        row_of[places] = np.arange(count)
        labels = np.column_stack([row_of[portable.labels[:, 0]], portable.labels[:, 1]])
        book = np.zeros(COUNTED + len(COUNTS), np.int64)
        book[[NEXT, TOLD]] = count
        book[CURSOR] = np.searchsorted(places, about.cursor)
        book[CLOCK], book[NEWEST], book[WAITED] = about.clock_us, about.newest_us, len(waiting)
        if lane == 0:
            # What was counted of all lanes is counted once.
            book[COUNTED:] = [about.counts[name] for name in COUNTS]
        KeptIndex(
            book=book,
            numbering=Numbering(
                lane, self._lanes, about.base, about.moved, portable.numbers[places]
            ),
            chunks=[(0, portable.ids[places])],
            labels=[(row, word) for row, word in labels.tolist() if row >= 0],
            waiting=[(turn, *each) for turn, each in enumerate(waiting)],
        ).put(store)
        return store

    def _order(self, lane: int) -> MemoryStore:
        portable, store = self._portable, MemoryStore()
        places = np.flatnonzero(self._held == lane)
        if portable.held is None or not len(places):
            return store
        rows = portable.held.take(places)
        partitions = np.array([partition for _, partition in portable.offsets], np.int32)
        rows.partition[:] = partitions[rows.partition]
        turn = np.full((len(rows), len(self._entities)), -1)
        values = [portable.values[place] for place in places.tolist()]
        arrivals = Arrivals(rows, np.zeros(len(rows), np.bool_), turn, values)
        Held(Arrivals, store).push(arrivals, NEVER)
        return store

    def _records(self, lane: int, key: str) -> MemoryStore:
        raw, starts, stops, lanes = self._packed[key]
        here, store = np.flatnonzero(lanes == lane), MemoryStore()
        store.put_all(
            {
                bytes(raw[8 * start : 8 * start + 16]): bytes(raw[8 * start : 8 * stop])
                for start, stop in zip(starts[here].tolist(), stops[here].tolist(), strict=True)
            }
        )
        return store

    def _places(self, packed: Int64s, shape: Int64s) -> _Records:
        stops = ends_of(packed, shape)
        starts = np.concatenate([np.zeros(1, np.int64), stops])[: len(stops)]
        keys = packed[np.stack([starts, starts + 1], axis=1)]
        return (
            np.ascontiguousarray(packed).data.cast("B"),
            starts,
            stops,
            lanes_of(keys, self._lanes),
        )


def gather(
    stores: Sequence[Stores], pipeline: Pipeline, order: Order, topics: Sequence[str]
) -> Portable:
    """The portable state of what is kept of all lanes, the first one first.

    `topics` are those of events and of labels. Of the inputs' topics the broker's ids are missing,
    and the version. Raises StateError where rows are under way between two operators.
    """
    words = KEY_WORDS + 2 * len(pipeline.event.keys)
    all_of = (KeptIndex.of(each[INDEX], n, len(stores), words) for n, each in enumerate(stores))
    found = [each for each in all_of if each is not None]
    lanes = [_Lane.of(each, words) for each in found]
    ids, numbers, passed = (
        np.concatenate([nothing, *(getattr(each, name) for each in lanes)])
        for name, nothing in (
            ("ids", np.empty((0, words), np.int64)),
            ("numbers", np.empty(0, np.int64)),
            ("passed", np.empty(0, np.bool_)),
        )
    )
    # What matures next comes next, as in one process: there rows of one time go by their ids.
    turn = np.lexsort((ids[:, 0], ids[:, 1], ids[:, TIME], ~passed))
    place_of = np.argsort(turn)
    starts = np.cumsum([0, *(len(each.ids) for each in lanes)]).tolist()
    labels = [
        (int(place_of[start + row]), word)
        for start, each in zip(starts, lanes, strict=False)
        for row, word in each.labels
    ]
    waiting = sorted((each[1:] for kept in found for each in kept.waiting), key=_known)
    readers = [each for each in _readers(stores) if each.positions]
    inputs = sorted(
        (at for reader in readers for at in reader.positions),
        key=lambda at: (topics.index(at[0]), at[1]),
    )
    entities = pipeline.plan().entities
    books = np.array([kept.book for kept in found], np.int64).reshape(-1, COUNTED + len(COUNTS))
    about = About(
        order=order,
        inputs=inputs,
        topics={},
        seen_us=min((each.newest_us for each in readers if each.newest_us > NEVER), default=NEVER),
        clock_us=int(books[:, CLOCK].max()) if found else NEVER,
        newest_us=int(books[:, NEWEST].max()) if found else NEVER,
        from_us=max((each.from_us for each in _readers(stores)), default=0),
        cursor=int(np.count_nonzero(passed)),
        counts=dict(zip(COUNTS, books[:, COUNTED:].sum(axis=0).tolist(), strict=True)),
        base=max((each.base for each in lanes), default=0),
        moved=max((kept.numbering.moved for kept in found), default=0)
        + sum(each.numbered for each in lanes),
    )
    rows, values = _waiting_rows(stores, entities, inputs, topics)
    if rows is not None and order != "strict":
        raise StateError(
            f"order: got {order}, and there are {len(rows):,} events that wait to be sorted: give "
            "--order strict, as the job was started with"
        )
    return Portable(
        about=about,
        ids=ids[turn],
        numbers=numbers[turn],
        labels=np.array(sorted(labels), np.int64).reshape(-1, 2),
        waiting=np.array(waiting, np.int64).reshape(-1, 3),
        records={
            entity.key: _joined(each[windows(place)] for each in stores)
            for place, entity in enumerate(entities)
        },
        held=rows,
        values=values,
    )


class _Lane(NamedTuple):
    """What is known of the ids of a lane."""

    ids: Int64s
    numbers: Int64s
    passed: npt.NDArray[np.bool_]
    """Whether its turn to mature has come."""
    labels: list[tuple[int, int]]
    """Place among the ids, and word."""
    base: int
    """No event is numbered this or higher."""
    numbered: int
    """How many were numbered here."""

    @classmethod
    def of(cls, kept: KeptIndex, words: int) -> _Lane:
        first, stop = int(kept.book[FIRST]), int(kept.book[NEXT])
        rows, numbering = np.arange(first, stop), kept.numbering
        numbered = numbering.place(stop)
        return cls(
            ids=kept.ids().reshape(-1, words),
            numbers=numbering.of(rows),
            passed=rows < kept.book[CURSOR],
            labels=[(row - first, word) for row, word in kept.labels if row >= first],
            base=numbering.base + numbered * numbering.lanes,
            numbered=numbered,
        )


def _known(waits: tuple[int, ...]) -> int:
    """When a label that waits became known: the first has waited longest."""
    return waits[0] >> 2


def _joined(stores: Iterator[MemoryStore]) -> Int64s:
    """All packed records of these stores."""
    raw = b"".join(record for store in stores for _, record in records_of(store))
    return np.frombuffer(bytearray(raw), np.int64)


def _readers(stores: Sequence[Stores]) -> Iterator[Kept]:
    """What the readers keep."""
    for each in stores:
        raw = each[READER].get(b"")
        if raw is not None:
            yield msgspec.msgpack.decode(raw, type=Kept)


def _waiting_rows(
    stores: Sequence[Stores],
    entities: Sequence[object],
    inputs: Sequence[tuple[str, int, int]],
    topics: Sequence[str],
) -> tuple[Batch | None, tuple[bytes, ...]]:
    """What waits to be sorted, in order, and the records that it came as."""
    for lane, each in enumerate(stores):
        for place in range(len(entities)):
            behind = each.get(held(windows(place)))
            if behind is not None and Held(Admitted, behind).parts:
                raise StateError(
                    f"lane {lane}: wanted no rows between the index and {windows(place)}, found "
                    "some; go on with the job from this savepoint, and stop it once more"
                )
    parts = [part for each in stores for part in Held(Arrivals, each[held(INDEX)]).parts]
    if not parts:
        return None, ()
    whole = Arrivals.concat(parts)
    whole = whole.take(in_order(whole.batch))
    place_of = {Input(topic, partition): at for at, (topic, partition, _) in enumerate(inputs)}
    rows = whole.batch
    rows.partition[:] = [
        place_of[Input(topics[int(kind == LABEL)], partition)]
        for kind, partition in zip(rows.kind.tolist(), rows.partition.tolist(), strict=True)
    ]
    return rows, tuple(whole.values)
