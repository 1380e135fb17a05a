"""The learn job: outcomes and predictions from topics, versions of the champion to another.

    job = LearnJob(pipeline, broker, settings)
    while not stopped:
        job.step(0.1)
    job.close()

`outcomes` says which predictions have got which label, in one order; `predictions` holds what they
were made from. What is learnt is a function of the two alone, so a job that was killed makes the
same versions again, and publishes what it had not.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.config import Settings
from jobs.definition import Pipeline
from jobs.delivery import Delivery
from jobs.learning import CARD, IDENT, MODEL, TIME, Held, Learning
from jobs.monitoring.monitor import Monitor
from jobs.positions import kept, resumed, topics_of
from jobs.publishing import Publishing
from jobs.state import LearningState
from operators.labels import BY_LABEL, BY_LATE_LABEL, BY_MATURITY, BY_REVERSAL
from streams.broker import NEVER, Broker, Input, Run
from streams.errors import InputError
from streams.ident import idents
from streams.ownership import own
from streams.predictions import decode_predictions, encode_examples
from streams.records import Outcomes
from streams.topics import EXAMPLES, OUTCOMES, PREDICTIONS

BATCH = 4096
MOST_HELD = 200_000
"""Predictions that may be held beyond what the outcomes read so far speak of."""
MOST_QUEUED = 2_000
"""Messages of outcomes that may wait for their predictions."""
LEARN_AT_ONCE = 64
SETTLE_SECONDS = 0.2
CLOSE_SECONDS = 1.5
CAUSES = {
    BY_LABEL: "label",
    BY_MATURITY: "maturity",
    BY_LATE_LABEL: "late_label",
    BY_REVERSAL: "reversal",
}


class LearnJob:
    """One learn job. It owns the folder `settings.state / "learn"` and the group `…-learn`.

    `clock` says in seconds what is due when, `now_us` what time of day it is; neither reaches a
    version. Raises InputError or StateError when it cannot begin.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        broker: Broker,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self.settings, self.pipeline, self._clock = settings, pipeline, clock
        outcomes, predictions = settings.topic(OUTCOMES), settings.topic(PREDICTIONS)
        self._examples = settings.topic(EXAMPLES)
        made = broker.partitions([outcomes, predictions, self._examples])
        if made[outcomes] != 1:
            raise InputError(
                f"{outcomes}: wanted one partition, since outcomes have one order, got "
                f"{made[outcomes]}; delete it and run headrace topics create"
            )
        self.inputs = (
            Input(outcomes, 0),
            *(Input(predictions, p) for p in range(made[predictions])),
        )
        self._topic_ids = topics_of(broker, self.inputs)
        self._stack = ExitStack()
        self.folder = settings.state / "learn"
        self._stack.enter_context(own(self.folder))
        self.learning = Learning(pipeline, self.folder)
        self._state = LearningState(self.learning, self.folder / "snapshots")
        self._queue: deque[tuple[int, Outcomes]] = deque()
        self.monitor = Monitor(
            "learn",
            pipeline=pipeline.name,
            definition=pipeline.definition,
            inputs=self.inputs,
            clock=clock,
            now_us=now_us,
        )
        self.learnt = 0
        exactly_once = settings.delivery == "exactly-once"
        name = f"{settings.group}-learn"
        # The group first: to open a producer by its id for transactions fences whoever had it.
        self._consumer = broker.consumer(self.inputs, name, str(self.folder.resolve()))
        self._stack.callback(self._consumer.close)
        producer = broker.producer(f"{settings.prefix}{name}" if exactly_once else None)
        self._stack.callback(producer.close)
        self._publishing = Publishing(broker, settings, pipeline.definition, clock)
        self._begin(self._consumer.bounds())
        self._delivery = Delivery(
            self._consumer,
            producer,
            self._consumer.committed(),
            exactly_once=exactly_once,
            commit_seconds=settings.commit_ms / 1000,
            clock=clock,
        )
        self._saved = self._positions.copy()
        self._snapshot_due = clock() + settings.snapshot_seconds
        self.monitor.done("start")

    def _begin(self, bounds: Sequence[tuple[int, int]]) -> None:
        meta = self._state.restore() or {}
        self._positions = resumed(meta, self._topic_ids, self.inputs, bounds, self.folder)
        lineup = self.learning.lineup
        self.learnt = lineup.learnt
        self._newest = meta.get("newest", [lineup.learnt, 0])
        if lineup.sequence:  # it may not have been published before the end came
            version = lineup.sequence, lineup.champion, self._newest[0]
            self._publishing.offer([version], self._newest[1])
        self._consumer.seek(self._positions)

    def began(self) -> str:
        """How it begins, in a line."""
        state = f"going on in {self.folder}" if self.learnt else f"new state in {self.folder}"
        return (
            f"pipeline {self.pipeline.name}, {self.settings.delivery}, {state}, "
            f"version {self._publishing.last} published last"
        )

    def said(self) -> str:
        """Where it stands, in a line."""
        behind = sum(gauge.behind for gauge in self.monitor.inputs)
        gauge = self.monitor.learning
        judged = gauge.windows.get("champion") if gauge else None
        quality = f", AUC {judged.auc:.3f} AP {judged.average_precision:.3f}" if judged else ""
        return (
            f"{self.learnt:,} examples learnt, {behind:,} records behind, version "
            f"{self._publishing.last} published{quality}"
        )

    def step(self, timeout: float) -> int:
        """One turn: how many examples were learnt; waits up to `timeout` for records."""
        self._delivery.turn()
        self.monitor.turned()
        self.monitor.output_waiting = self._delivery.waiting
        self.monitor.snapshots.seen(self.monitor.now_us(), busy=self._state.busy)
        if self._delivery.full:
            self._delivery.turn(timeout)
            return 0
        self._read(0.0 if self._ready else timeout)
        learnt = 0
        for _ in range(LEARN_AT_ONCE):
            if not self._ready:
                break
            learnt += self._learn(*self._queue.popleft())
        for topic, key, value in self._publishing.due(self.monitor):
            self._delivery.send(topic, [value], [key])
        self._observe()
        if self._positions != self._saved and self._clock() >= self._snapshot_due:
            self.snapshot()
        return learnt

    @property
    def _ready(self) -> bool:
        """Whether every prediction is held that the next outcomes speak of."""
        return bool(self._queue) and self._queue[0][1].next <= self.learning.held

    def _read(self, timeout: float) -> None:
        paused = [0] if len(self._queue) > MOST_QUEUED else []
        reach = self._queue[-1][1].next if self._queue else self.learning.scored
        if self.learning.held - reach > MOST_HELD:
            paused += list(range(1, len(self.inputs)))
        self._consumer.pause(paused)
        for run in self._consumer.poll(BATCH, timeout):
            gauge = self.monitor.inputs[run.input]
            gauge.taken, gauge.until_us = gauge.taken + len(run), run.stamps[-1]
            if run.input == 0:
                self._enqueue(run)
            else:
                self._hold(run)
                self._positions[run.input] = run.offsets[-1] + 1

    def _enqueue(self, run: Run) -> None:
        for offset, value in zip(run.offsets, run.values, strict=True):
            try:
                outcomes = msgspec.json.decode(value or b"", type=Outcomes)
            except msgspec.MsgspecError as error:
                topic, partition = self.inputs[0]
                raise InputError(
                    f"{topic}/{partition}/{offset}: wanted outcomes, got a record that is none "
                    f"({error}); only the score job may write there"
                ) from error
            self._queue.append((offset, outcomes))

    def _hold(self, run: Run) -> None:
        topic, partition = self.inputs[run.input]
        where = f"{topic}/{partition}/{run.offsets[0]} to {run.offsets[-1]}"
        records, features = decode_predictions(run.values, len(self.learning.names), where)
        words = np.empty((len(records), 4), np.int64)
        words[:, IDENT] = _low([each.id for each in records])
        words[:, TIME] = [each.time for each in records]
        words[:, CARD] = _low([(key or b"").decode() for key in run.keys])
        words[:, MODEL] = [each.model_version for each in records]
        self.learning.hold(
            Held(
                number=np.array([each.number for each in records], np.int64),
                words=words,
                scores=np.array([each.score for each in records]),
                features=features,
            )
        )

    def _learn(self, offset: int, outcomes: Outcomes) -> int:
        outcomes = self.learning.news(outcomes)
        learnt = self.learning.learn(outcomes)
        self._positions[0] = offset + 1
        elsewhere = [NEVER] * (len(self.inputs) - 1)  # predictions are read ahead of what is made
        if self._delivery.is_new([offset + 1, *elsewhere]) and outcomes.numbers:
            self._delivery.send(self._examples, *self._encoded(outcomes))
        self._delivery.reached(self._positions)
        self._publishing.offer(learnt.versions, outcomes.clock)
        for _, _, examples in learnt.versions:
            self._newest = [examples, outcomes.clock]
        gauge = self.monitor.learning
        if gauge:
            gauge.examples.update(CAUSES[cause] for cause in outcomes.causes)
            gauge.closed(learnt.windows)
        self.learnt += len(outcomes.numbers)
        return len(outcomes.numbers)

    def _encoded(self, outcomes: Outcomes) -> tuple[list[bytes], list[bytes]]:
        """Values and keys of the examples of these outcomes."""
        rows = np.array(outcomes.numbers, np.int64)
        words, width = self.learning.words.view[rows], len(self.learning.names)
        log = self.learning.log.view[rows]
        values = encode_examples(
            rows,
            words[:, TIME],
            outcomes.known,
            outcomes.values,
            [CAUSES[cause] for cause in outcomes.causes],
            log[:, width],
            words[:, MODEL],
            log[:, :width],
        )
        return values, [str(number).encode() for number in outcomes.numbers]

    def _observe(self) -> None:
        now = self.monitor.now_us()
        ends = self._consumer.ends()
        for gauge, end, position in zip(self.monitor.inputs, ends, self._positions, strict=True):
            gauge.step(0, max(end - position, 0), 0, now)

    def snapshot(self, *, wait: bool = False) -> bool:
        """Commit what is sent, then the state; False if the broker or the disk is not done yet."""
        if self._state.busy and not wait:
            return False
        if not self._delivery.settle(CLOSE_SECONDS if wait else SETTLE_SECONDS):
            return False
        meta = {
            **kept(self._topic_ids, self.inputs, self._positions),
            "newest": self._newest,
        }
        self.monitor.snapshots.begun(self.monitor.now_us())
        self._state.commit(meta, wait=wait)
        self._saved = self._positions.copy()
        self._snapshot_due = self._clock() + self.settings.snapshot_seconds
        return True

    def close(self) -> None:
        """Publish and commit everything, and let go of folder and group, for whoever goes on."""
        try:
            for topic, key, value in self._publishing.due(self.monitor, at_once=True):
                self._delivery.send(topic, [value], [key])
            self.snapshot(wait=True)
            self._state.close()
        finally:
            self._stack.close()


def _low(texts: list[str]) -> npt.NDArray[np.int64]:
    """Low words of the idents."""
    return idents(pa.array(texts, pa.large_string()))[:, 1]
