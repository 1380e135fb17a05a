"""The learn job on an engine: predictions and outcomes in, versions and examples out.

`jobs.kafka_host.learn_job` does the same in a process of its own. What is learnt is a function of
the two topics, so whoever goes on from an older state makes the same again; the store says how far
examples have been handed on, and the topic `models` which versions it has.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec

from jobs.alarms import drift_records
from jobs.config import Settings
from jobs.definition import Pipeline
from jobs.kafka_host.positions import kept, only, resumed, topics_of
from jobs.kafka_host.publishing import Publishing
from jobs.lanes.learnt import KeptLearning
from jobs.lanes.store import Store
from jobs.learning import Learning
from jobs.lessons import FEW, LEARN_AT_ONCE, LEARN_FEW, REST_SECONDS, Lesson, Lessons
from jobs.lineup import basis_of
from jobs.monitoring.monitor import LearningGauge
from streams.broker import Broker, Input
from streams.topics import MODELS, OUTCOMES, PREDICTIONS

BATCH = 4096
"""The most records of a batch."""
PATIENCE_S = 0.1
"""How late records may come, so that more of them come at once."""
IDLE_S = 0.01
FLUSH_S = 1.5
"""How long `close` waits for the last version to arrive."""


class Made(NamedTuple):
    """Records to hand on, each a key and a value."""

    examples: list[tuple[bytes, bytes]]
    drift: list[tuple[bytes, bytes]]


class Learner:
    """The one learner of a deployment, known as `owner`. Its state is in `store`.

    What it holds of predictions lies in two files in `folder`, which the store can make again.
    Raises InputError, StateError or ConfigError where it cannot begin, holding nothing.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        broker: Broker,
        settings: Settings,
        owner: str,
        store: Store,
        folder: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._every_s = clock, settings.snapshot_seconds
        outcomes, predictions = settings.topic(OUTCOMES), settings.topic(PREDICTIONS)
        count = broker.partitions([predictions])[predictions]
        inputs = [only(broker, outcomes), *(Input(predictions, p) for p in range(count))]
        self._inputs, self._topic_ids = inputs, topics_of(broker, inputs)
        with ExitStack() as stack:
            group = f"{settings.group}-learn"
            self._consumer = broker.consumer(inputs, group, owner, PATIENCE_S)
            stack.callback(self._consumer.close)
            self.learning = Learning(pipeline, folder)
            stack.callback(self.learning.close)
            # Versions go by a way of their own: what they are learnt from is committed, and the
            # topic says which it has.
            self._producer = broker.producer(None, [settings.topic(MODELS)])
            stack.callback(self._producer.close)
            judged = self.learning.evaluation.latest
            self._publishing = Publishing(broker, settings, pipeline, clock, judged)
            stack.callback(self._publishing.close)
            self._lessons = Lessons(self.learning, inputs)
            self._kept = KeptLearning(self.learning, store)
            self._restore(owner)
            self._stack = stack.pop_all()
        self.gauge = LearningGauge()
        self.said = self._kept.said
        """What is to be said of the state that it goes on with."""
        self.rest = 0.0
        """Seconds to leave to others before the next turn."""

    def _restore(self, owner: str) -> None:
        beside = self._kept.restore()
        if beside is None and self._publishing.start:
            self.learning.lineup.begin_after(self._publishing.start - 1)
        beside = beside or {}
        bounds, place = self._consumer.bounds(), f"the checkpoint of {owner}"
        self._positions = resumed(beside, self._topic_ids, self._inputs, bounds, place)
        self._consumer.seek(self._positions)
        self._told, self._due = self._kept.told, self._clock() + self._every_s
        self._saved = self._positions.copy()
        lineup = self.learning.lineup
        self._newest = basis_of(beside.get("newest"))
        if lineup.sequence:  # they may not have been published before the end came
            self._publishing.offer(lineup.made(), self._newest)

    @property
    def learnt(self) -> int:
        """Examples learnt since the beginning."""
        return self.learning.lineup.learnt

    @property
    def version(self) -> int:
        """The version published last, of the model that scores."""
        return self._publishing.last

    @property
    def model(self) -> str:
        """The model whose versions score."""
        return self._publishing.model

    @property
    def behind(self) -> int:
        """Records that are there and were not taken yet."""
        ends = self._consumer.ends()
        return sum(
            max(end - position, 0) for end, position in zip(ends, self._positions, strict=True)
        )

    def turn(self) -> Made:
        """Do what there is to do, or a little of it: what is to be handed on."""
        made = Made([], [])
        hurried = self._lessons.hurried(self.behind)
        done = self._read(BATCH if hurried else FEW)
        for _ in range(LEARN_AT_ONCE if hurried else LEARN_FEW):
            if not self._lessons.ready:
                break
            self._learn(self._lessons.next(), made)
            done += 1
        if self._positions[0] > self._told:
            self._told = self._kept.told = self._positions[0]
        self._publish()
        self._lessons.release()
        if self._clock() >= self._due and self._positions != self._saved:
            self._keep()
        self.rest = 0.0 if hurried else REST_SECONDS if done else IDLE_S
        return made

    def _read(self, most: int) -> int:
        self._consumer.pause(self._lessons.unwanted())
        count = 0
        for run in self._consumer.poll(most, 0.0):
            if (news := self._lessons.take(run)) is not None:
                self._kept.add(news)
                self._positions[run.input] = run.next
            count += len(run)
        return count

    def _learn(self, lesson: Lesson, made: Made) -> None:
        """Make what comes of a lesson, if that has not been handed on before."""
        self._positions[0] = lesson.offset + 1
        if lesson.learnt.versions:
            self._newest = lesson.basis(self.learning, self._inputs[0].topic)
            self._publishing.offer(lesson.learnt.versions, self._newest)
        delays = lesson.delays(self.learning)
        self.gauge.learnt(lesson.causes, lesson.outcomes.values, delays)
        self.gauge.closed(lesson.learnt.windows)
        self.gauge.raised(lesson.learnt.drift)
        if lesson.offset >= self._told:
            values, keys = (each.full() for each in self._lessons.examples(lesson))
            made.examples.extend(zip(keys, values, strict=True))
            values, keys = drift_records(lesson.learnt.drift)
            made.drift.extend(zip(keys, values, strict=True))

    def _publish(self, *, at_once: bool = False) -> None:
        """Publish the newest version when it is due and the one before has arrived."""
        self._publishing.heed()
        self._producer.poll()
        if not self._producer.waiting:
            for topic, key, value in self._publishing.due(at_once=at_once):
                self._producer.send(topic, [value], [key])

    def _keep(self) -> None:
        self._saved = self._positions.copy()
        where = kept(self._topic_ids, self._inputs, self._positions)
        self._kept.keep(where | {"newest": msgspec.to_builtins(self._newest)})
        self.learning.forget(self.learning.first)
        self._due = self._clock() + self._every_s

    def close(self) -> None:
        """Publish what waits for its time, and let go of the group; the store stays as it is."""
        try:
            if self._producer.flush(FLUSH_S):
                self._publish(at_once=True)
                self._producer.flush(FLUSH_S)
        finally:
            self._stack.close()
