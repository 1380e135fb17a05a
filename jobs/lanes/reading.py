"""A reader: some partitions of transactions and labels, in the order of their append times."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from jobs.config import Settings
from jobs.definition import Pipeline
from jobs.lanes.lanes import Int64s, lanes_of, runs, tasks_of
from jobs.lanes.rows import Arrivals
from jobs.monitoring.monitor import InputGauge
from jobs.topic_records import TopicDecoder, places_in
from streams.batch import EVENT, LABEL, Batch
from streams.broker import Broker, Input
from streams.errors import DeadLetter
from streams.merge import Merge, Taken
from streams.schema import duration_us
from streams.topics import LABELS, TRANSACTIONS

BATCH = 8192
"""Records taken at a time, at most."""
FAR_AHEAD = 50_000
"""Records of an input that may wait to be merged; with more, it is not read."""
_KINDS = {TRANSACTIONS: EVENT, LABELS: LABEL}
_NONE = -(2**62)


class Kept(msgspec.Struct, array_like=True):
    """Where a reader stands: the next offset of each input, and the newest event it has seen."""

    positions: list[tuple[str, int, int]] = []
    newest_us: int = _NONE
    from_us: int = 0
    """What lies before it was taken from files, and is left out."""


def inputs_of(broker: Broker, settings: Settings, reader: int, readers: int) -> list[Input]:
    """What reader `reader` of so many reads: every partition has one, and few are far apart.

    Raises InputError for a topic that does not exist.
    """
    topics = [settings.topic(name) for name in _KINDS]
    counts: Mapping[str, int] = broker.partitions(topics)
    there = [Input(topic, partition) for topic in topics for partition in range(counts[topic])]
    return [at for at in there if reader_of(at, readers) == reader]


def reader_of(at: Input, readers: int) -> int:
    """Which of so many readers reads a partition.

    >>> [reader_of(Input("labels", partition), 16) for partition in range(4)]
    [0, 8, 4, 12]
    """
    spread = sorted(range(readers), key=lambda number: f"{number:032b}"[::-1])
    return spread[at.partition % readers]


class Reader:
    """Reads its inputs from where `state` says, from their first record where it says nothing.

    `lanes` is into how many keys are divided, `tasks` among how many those are shared out, and
    `gauges`, one an input, are told where it stands.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        broker: Broker,
        settings: Settings,
        inputs: list[Input],
        lanes: int,
        tasks: int,
        state: bytes | None,
        gauges: Sequence[InputGauge] = (),
    ) -> None:
        self._gauges = gauges
        kinds = [_KINDS[topic.removeprefix(settings.prefix)] for topic, _ in inputs]
        kept = Kept() if state is None else msgspec.msgpack.decode(state, type=Kept)
        self._consumer = broker.consumer(inputs)
        known = {Input(topic, partition): at for topic, partition, at in kept.positions}
        self._positions = [
            known.get(at, first)
            for at, (first, _) in zip(inputs, self._consumer.bounds(), strict=True)
        ]
        self._consumer.seek(self._positions)
        self._ahead = self._positions.copy()
        self._inputs, self._kinds = inputs, kinds
        self._partitions = np.array([partition for _, partition in inputs], np.int32)
        self._decoder = TopicDecoder(pipeline.event, inputs, kinds)
        self._merge = Merge([int(kind == EVENT) for kind in kinds])
        self._lateness_us = duration_us(pipeline.lateness)
        entities = pipeline.plan().entities
        self._keys = [1 + pipeline.event.keys.index(each.key) for each in entities]
        # Turns are counted from the start of the job: whatever was under way before it has come
        # through, or comes again.
        self._lanes = lanes
        self._turns = np.zeros((len(entities), tasks), np.int64)
        self._from_us, self.newest_us = kept.from_us, kept.newest_us
        """The time of the newest event that was read."""

    def take(self, timeout: float) -> tuple[Arrivals | None, list[DeadLetter], int]:
        """The next records, what cannot be read of them, and how many there were."""
        held = [self._merge.held(place) for place in range(len(self._inputs))]
        self._consumer.pause([place for place, count in enumerate(held) if count > FAR_AHEAD])
        for run in self._consumer.poll(BATCH, 0.0 if any(held) else timeout):
            self._merge.push(run)
            self._ahead[run.input] = run.next
        ends = self._consumer.ends()
        unread = [end > at for end, at in zip(ends, self._ahead, strict=True)]
        taken = self._merge.take(BATCH, unread)
        self._observe(taken, ends)
        if not len(taken):
            return None, [], 0
        count = len(taken)
        batch, letters = self._decoder.decode(taken)
        if self._from_us:
            batch = batch.take(np.flatnonzero(batch.time >= self._from_us))
        for place, _, last, _ in taken.ranges.tolist():
            self._positions[place] = last + 1
        if not len(batch):
            return None, letters, count
        if len(batch) < count:
            taken = taken.rows(places_in(taken, batch))
        values, headers = taken.values.full(), taken.headers
        if headers is not None:
            events = (batch.kind == EVENT).tolist()
            headers = [each if event else None for each, event in zip(headers, events, strict=True)]
        times = np.where(batch.kind == EVENT, batch.time, _NONE)
        newest = np.maximum.accumulate(np.concatenate([[self.newest_us], times]))
        late = (batch.kind == EVENT) & (batch.time < newest[:-1] - self._lateness_us)
        self.newest_us = int(newest[-1])
        batch.partition[:] = self._partitions[batch.partition]
        arrivals = Arrivals(batch, late, self._turns_of(batch), values, headers)
        return arrivals, letters, count

    def _observe(self, taken: Taken, ends: Sequence[int]) -> None:
        """Say where it stands once it has taken these."""
        if not self._gauges:
            return
        now_us, next_ = time.time_ns() // 1000, self._positions.copy()
        for place, _, last, count in taken.ranges.tolist():
            next_[place] = last + 1
            self._gauges[place].took(count, int(taken.stamps[-1]))
        for gauge, end, at in zip(self._gauges, ends, next_, strict=True):
            gauge.stands(max(end - at, 0), now_us)

    def _turns_of(self, batch: Batch) -> Int64s:
        """See `Arrivals.turn`."""
        out = np.full((len(batch), len(self._keys)), -1)
        if self._turns.shape[1] == 1:
            return out
        events = np.flatnonzero(batch.kind == EVENT)
        for entity, key in enumerate(self._keys):
            next_ = self._turns[entity]
            lanes = lanes_of(batch.idents[events, key], self._lanes)
            order, found = runs(tasks_of(lanes, self._lanes, len(next_)))
            for task, start, stop in found:
                at = int(next_[task])
                places = events[order[start:stop]]
                out[places, entity] = 2 * np.arange(at, at + stop - start)
                out[places[-1], entity] += 1
                next_[task] += stop - start
        return out

    @property
    def idle(self) -> bool:
        """Whether nothing is left to read, as of the last answer."""
        ends = self._consumer.ends()
        return all(at >= end for at, end in zip(self._positions, ends, strict=True))

    def state(self) -> bytes:
        """Where it stands: another reader goes on from there."""
        positions = [(*at, n) for at, n in zip(self._inputs, self._positions, strict=True)]
        return msgspec.msgpack.encode(Kept(positions, self.newest_us, self._from_us))

    def close(self) -> None:
        """Stop reading."""
        self._consumer.close()
