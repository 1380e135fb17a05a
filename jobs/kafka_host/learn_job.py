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
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.config import Settings
from jobs.definition import Pipeline
from jobs.kafka_host.positions import only
from jobs.kafka_host.publishing import Publishing
from jobs.kafka_host.topic_job import BATCH, RELEASE_ROWS, TopicJob, log
from jobs.learning import CARD, FOREIGN, IDENT, MODEL, TIME, Held, Learning
from jobs.state import LearningState
from operators.labels import BY_LABEL, BY_LATE_LABEL, BY_MATURITY, BY_REVERSAL
from streams.broker import NEVER, Broker, Input, Run
from streams.errors import InputError
from streams.ident import idents
from streams.predictions import decode_predictions, encode_examples
from streams.records import Outcomes
from streams.topics import EXAMPLES, MODELS, OUTCOMES, PREDICTIONS

MOST_HELD = 200_000
"""Predictions that may be held beyond what the outcomes read so far speak of."""
MOST_QUEUED = 200_000
"""Outcomes, or messages of them, that may wait for their predictions; with more, none are read."""
LEARN_AT_ONCE = 64
FEW, LEARN_FEW = 256, 8
"""Predictions and outcomes of a turn while it keeps up: a millisecond's work each, so that whoever
shares the processor is never kept waiting for longer."""
KEEPS_UP = 20_000
"""Records that may be behind then."""
REST_SECONDS = 0.003
"""Between two turns then."""
CAUSES = {
    BY_LABEL: "label",
    BY_MATURITY: "maturity",
    BY_LATE_LABEL: "late_label",
    BY_REVERSAL: "reversal",
}


class LearnJob(TopicJob):
    """One learn job. It owns the folder `settings.state / "learn"` and the group `…-learn`.

    The rest is said of `TopicJob`.
    """

    _state: LearningState
    # A score job is served no worse by a version that comes a moment later, and much better by a
    # broker and a processor that it has to itself.
    _patience = 0.1
    _patient = (EXAMPLES, MODELS)

    def __init__(
        self,
        pipeline: Pipeline,
        broker: Broker,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        outcomes, predictions = settings.topic(OUTCOMES), settings.topic(PREDICTIONS)
        self._examples = settings.topic(EXAMPLES)
        count = broker.partitions([outcomes, predictions, self._examples])[predictions]
        inputs = [only(broker, outcomes), *(Input(predictions, p) for p in range(count))]
        super().__init__(
            "learn",
            pipeline,
            broker,
            settings,
            inputs,
            f"{settings.group}-learn",
            clock=clock,
            now_us=now_us,
        )

    def _begin(self, broker: Broker, stack: ExitStack) -> Mapping[str, Any]:
        settings, folder = self.settings, self.folder
        self.learning = Learning(self.pipeline, folder)
        stack.callback(self.learning.close)
        self._state = LearningState(self.learning, folder / "snapshots", fsync=settings.fsync)
        stack.callback(self._state.close)
        self.monitor.state_bytes = self.learning.sizes
        self._queue: deque[tuple[int, Outcomes]] = deque()
        self._queued = self._first = self._touched = 0
        self._publishing = Publishing(broker, settings, self.pipeline.definition, self._clock)
        self.monitor.model.version = self._publishing.last
        meta = self._state.restore(self._publishing.highest) or {}
        lineup = self.learning.lineup
        self._newest = meta.get("newest", [lineup.learnt, 0])
        if self._state.change:
            self._state.commit(meta)
            for line in self._state.change.said:
                log.info("%s", line)
        if lineup.sequence:  # it may not have been published before the end came
            version = lineup.sequence, lineup.champion, self._newest[0]
            self._publishing.offer([version], self._newest[1])
        return meta

    def _save(self, meta: dict[str, Any]) -> None:
        self._state.begin(meta | {"newest": self._newest})

    def _needs(self) -> tuple[int, ...]:
        """The first of the predictions held."""
        return (self._first,)

    def _forget(self, *needed: int) -> None:
        self.learning.forget(*needed)

    @property
    def learnt(self) -> int:
        """Examples learnt since the beginning."""
        return self.learning.lineup.learnt

    def began(self) -> str:
        """How it begins, in a line."""
        state = f"going on in {self.folder}" if self.learnt else f"new state in {self.folder}"
        return (
            f"pipeline {self.pipeline.name}, {self.settings.delivery}, {state}, "
            f"version {self._publishing.last} published last"
        )

    def said(self) -> str:
        """Where it stands, in a line."""
        gauge = self.monitor.learning
        judged = gauge.windows.get("champion") if gauge else None
        quality = f", AUC {judged.auc:.3f} AP {judged.average_precision:.3f}" if judged else ""
        return (
            f"{self.learnt:,} examples learnt, {self.behind:,} records behind, version "
            f"{self._publishing.last} published{quality}"
        )

    def _turn(self, timeout: float) -> int:
        hurried = self._hurried
        done = self._read(BATCH if hurried else FEW, 0.0 if self._ready else timeout)
        for _ in range(LEARN_AT_ONCE if hurried else LEARN_FEW):
            if not self._ready:
                break
            self._learn(*self._queue.popleft())
            done += 1
        self._publish()
        if self._touched >= RELEASE_ROWS:
            self._touched = 0
            self.learning.release()
        return done

    def _publish(self, *, at_once: bool = False) -> None:
        for topic, key, value in self._publishing.due(self.monitor, at_once=at_once):
            self._delivery.send(topic, [value], [key])

    def close(self) -> None:
        """Publish what waits for its time, commit everything, and let go."""
        try:
            if not self._delivery.full:
                self._publish(at_once=True)
        finally:
            super().close()

    @property
    def rest(self) -> float:
        return 0.0 if self._hurried else REST_SECONDS

    @property
    def _hurried(self) -> bool:
        """Whether so much is there that it does as much as it can."""
        return self.behind >= KEEPS_UP or len(self._queue) >= LEARN_AT_ONCE

    @property
    def _ready(self) -> bool:
        """Whether every prediction is held that the next outcomes speak of."""
        return bool(self._queue) and self.learning.has(self._queue[0][1])

    def _read(self, most: int, timeout: float) -> int:
        paused = [0] if self._queued > MOST_QUEUED else []
        if self.learning.ahead > MOST_HELD and (self._ready or not self._queue):
            paused += list(range(1, len(self.inputs)))
        self._consumer.pause(paused)
        count = 0
        for run in self._consumer.poll(most, timeout):
            self.monitor.inputs[run.input].took(len(run), run.stamps[-1])
            if run.input == 0:
                self._enqueue(run)
            else:
                self._hold(run)
                self._positions[run.input] = run.offsets[-1] + 1
            count += len(run)
        return count

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
            self._queued += 1 + len(outcomes.numbers)

    def _hold(self, run: Run) -> None:
        topic, partition = self.inputs[run.input]
        where = f"{topic}/{partition}/{run.offsets[0]} to {run.offsets[-1]}"
        inputs = self.learning.inputs
        records, features = decode_predictions(run.values, len(self.learning.names), where, inputs)
        words = np.empty((len(records), 4), np.int64)
        words[:, IDENT] = _low([each.id for each in records])
        words[:, TIME] = [each.time for each in records]
        words[:, CARD] = _low([(key or b"").decode() for key in run.keys])
        words[:, MODEL] = [
            each.model_version if each.inputs in {"", inputs} else FOREIGN for each in records
        ]
        self.learning.hold(
            Held(
                number=np.array([each.number for each in records], np.int64),
                words=words,
                scores=np.array([each.score for each in records]),
                features=features,
            )
        )
        self._touched += len(records)

    def _learn(self, offset: int, told: Outcomes) -> None:
        self._queued -= 1 + len(told.numbers)
        outcomes = self.learning.news(told)
        learnt = self.learning.learn(outcomes)
        self._first = self.learning.first
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
        self._touched += len(outcomes.numbers)

    def _encoded(self, outcomes: Outcomes) -> tuple[list[bytes], list[bytes]]:
        """Values and keys of the examples of these outcomes."""
        outcomes = self.learning.own(outcomes)
        rows, width = np.array(outcomes.numbers, np.int64), len(self.learning.names)
        words, log = self.learning.words.take(rows), self.learning.log.take(rows)
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


def _low(texts: list[str]) -> npt.NDArray[np.int64]:
    """Low words of the idents."""
    return idents(pa.array(texts, pa.large_string()))[:, 1]
