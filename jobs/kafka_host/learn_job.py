"""The learn job: outcomes and predictions from topics, versions of the models to another.

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
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import msgspec

from jobs.alarms import drift_line, drift_records
from jobs.config import Settings
from jobs.definition import Pipeline
from jobs.kafka_host.positions import only
from jobs.kafka_host.publishing import Publishing
from jobs.kafka_host.topic_job import BATCH, TopicJob, log
from jobs.learning import Learning
from jobs.lessons import FEW, LEARN_AT_ONCE, LEARN_FEW, REST_SECONDS, Lesson, Lessons
from jobs.lineup import basis_of
from jobs.monitoring.recent import Recent
from jobs.state import LearningState
from streams.broker import NEVER, Broker, Input
from streams.processor import let_others
from streams.topics import DRIFT, EXAMPLES, MODELS, OUTCOMES, PREDICTIONS


class LearnJob(TopicJob):
    """One learn job. It owns the folder `settings.state / "learn"` and the group `…-learn`.

    The rest is said of `TopicJob`.
    """

    _state: LearningState
    # A score job is served no worse by a version that comes a moment later, and much better by a
    # broker and a processor that it has to itself.
    _patience = 0.1
    _patient = (EXAMPLES, MODELS, DRIFT)

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
        self._examples, self._drift = settings.topic(EXAMPLES), settings.topic(DRIFT)
        count = broker.partitions([outcomes, predictions, self._examples, self._drift])[predictions]
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
        if self.monitor.learning and self.learning.watching:
            self.monitor.learning.watched = self.learning.watching.figures
            self.monitor.learning.open = self.learning.watching.going
        self.monitor.features = Recent(self.learning.names)
        self._lessons = Lessons(self.learning, self.inputs)
        self._first = 0
        judged = self.learning.evaluation.latest
        self._publishing = Publishing(broker, settings, self.pipeline, self._clock, judged)
        stack.callback(self._publishing.close)
        self.monitor.model.version = self._publishing.last
        meta = self._state.restore(self._publishing.highest)
        lineup = self.learning.lineup
        if meta is None and self._publishing.start:
            lineup.begin_after(self._publishing.start - 1)
        meta = meta or {}
        self._newest = basis_of(meta.get("newest"))
        if self._state.change:
            self._state.commit(meta)
            for line in self._state.change.said:
                log.info("%s", line)
        if self._state.said:
            log.info("%s", self._state.said)
        if lineup.sequence:  # they may not have been published before the end came
            self._publishing.offer(lineup.made(), self._newest)
        return meta

    def _save(self, meta: dict[str, Any]) -> None:
        self._state.begin(meta | {"newest": msgspec.to_builtins(self._newest)})

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
        judged = gauge.windows.get(self._publishing.model) if gauge else None
        quality = f", AUC {judged.auc:.3f} AP {judged.average_precision:.3f}" if judged else ""
        return (
            f"{self.learnt:,} examples learnt, {self.behind:,} records behind, version "
            f"{self._publishing.last} published{quality}"
        )

    def _turn(self, timeout: float) -> int:
        hurried = self._lessons.hurried(self.behind)
        done = self._read(BATCH if hurried else FEW, 0.0 if self._lessons.ready else timeout)
        for _ in range(LEARN_AT_ONCE if hurried else LEARN_FEW):
            if not self._lessons.ready:
                break
            self._learn(self._lessons.next())
            let_others()
            done += 1
        self._publish()
        self._lessons.release()
        return done

    def _publish(self, *, at_once: bool = False) -> None:
        self._publishing.heed()
        before, gauge = self.monitor.model.version, self.monitor.model
        for topic, key, value in self._publishing.due(at_once=at_once):
            self._delivery.send(topic, [value], [key])
        if self._publishing.last != before:
            gauge.version, gauge.since_us = self._publishing.last, self._now_us()
            gauge.swaps += 1

    def close(self) -> None:
        """Publish what waits for its time, commit everything, and let go."""
        try:
            if not self._delivery.full:
                self._publish(at_once=True)
        finally:
            super().close()

    @property
    def rest(self) -> float:
        return 0.0 if self._lessons.hurried(self.behind) else REST_SECONDS

    def _read(self, most: int, timeout: float) -> int:
        self._consumer.pause(self._lessons.unwanted())
        count = 0
        for run in self._consumer.poll(most, timeout):
            self.monitor.inputs[run.input].took(len(run), int(run.stamps[-1]))
            held = self._lessons.take(run)
            if held is not None:
                self._positions[run.input] = run.next
                if self.monitor.features:
                    self.monitor.features.add(held.features)
            count += len(run)
        return count

    def _learn(self, lesson: Lesson) -> None:
        self._first = self.learning.first
        self._positions[0] = lesson.offset + 1
        elsewhere = [NEVER] * (len(self.inputs) - 1)  # predictions are read ahead of what is made
        if self._delivery.is_new([lesson.offset + 1, *elsewhere]):
            if lesson.outcomes.numbers:
                self._delivery.send(self._examples, *self._lessons.examples(lesson))
            values, keys = drift_records(lesson.learnt.drift)
            self._delivery.send(self._drift, values, keys)
        self._delivery.reached(self._positions)
        if lesson.learnt.versions:
            self._newest = lesson.basis(self.learning, self.inputs[0].topic)
            self._publishing.offer(lesson.learnt.versions, self._newest)
        gauge = self.monitor.learning
        if gauge:
            delays = lesson.delays(self.learning)
            gauge.learnt(lesson.causes, lesson.outcomes.values, delays)
            gauge.closed(lesson.learnt.windows)
            gauge.raised(lesson.learnt.drift)
        for each in lesson.learnt.drift:
            log.warning("%s", drift_line(each))
