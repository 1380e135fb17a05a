"""New versions for a score job at a steady pace, with no learn job: what a swap alone costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from threading import Event as Flag
from threading import Thread
from typing import Any

import numpy as np

from jobs.config import Settings
from jobs.definition import Pipeline
from jobs.kafka_host.publishing import Publishing
from jobs.lineup import Basis
from jobs.promotion.places import TopicPlace
from models.base import Learner
from models.decisions import CHAMPION
from operators.lineup import Made
from operators.plan import compile_plan
from streams.broker import Producer
from streams.schema import duration_us

LEARNT = 200
"""Made-up examples between two versions: enough that no two have the same content."""
FLUSH_S = 10.0


class Swapper:
    """Publishes versions of the pipeline's champion, numbered on from what the topic holds.

    With `decides` also of its first challenger, and after each has that promoted, what scored
    before gone back to, or the champion promoted, in turn.
    """

    def __init__(self, pipeline: Pipeline, settings: Settings, *, decides: bool = False) -> None:
        late_us = duration_us(pipeline.lateness)
        plan = compile_plan(
            pipeline.event, pipeline.features, lateness_us=late_us, cap=pipeline.cap
        )
        models = dict(islice(pipeline.contenders.items(), 1 + decides))
        self._learners: dict[str, Learner] = {
            name: model.bind(plan.names) for name, model in models.items()
        }
        self._columns = len(plan.names)
        self._drawn = np.random.default_rng(0)
        broker = settings.broker()
        self._producer: Producer = broker.producer()
        self._publishing = Publishing(broker, settings, pipeline, time.monotonic)
        self._place = TopicPlace(broker, settings, pipeline)
        self._turns, self._minor = len(pipeline.contenders), 0
        self._number = -(-self._publishing.highest // self._turns) * self._turns
        self._decides = decides

    @contextmanager
    def every(self, seconds: float) -> Iterator[None]:
        """Publish a version so often meanwhile."""
        ended = Flag()
        thread = Thread(target=self._run, args=(seconds, ended.wait), name="swaps", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _run(self, seconds: float, ended: Callable[[float], bool]) -> None:
        while not ended(seconds):
            self.publish()
            if self._decides:
                self.decide()

    def publish(self) -> None:
        """Publish one version of each model."""
        self._publishing.heed()
        x = np.ascontiguousarray(self._drawn.lognormal(size=(LEARNT, self._columns)))
        y = (self._drawn.random(LEARNT) < 0.1).astype(np.int8)
        self._number += self._turns
        self._minor += 1
        for place, (name, learner) in enumerate(self._learners.items()):
            learner.learn_many(x, y, np.ones(LEARNT))
            count = LEARNT * self._minor
            version = learner.version()
            made = Made(self._number + place, name, place + 1, self._minor, version, count)
            self._publishing.offer([made], Basis())
        for topic, key, value in self._publishing.due(at_once=True):
            self._producer.send(topic, [value], [key])
        self._producer.flush(FLUSH_S)

    def close(self) -> None:
        """Let go of the broker."""
        self._producer.close()
        self._publishing.close()

    def decide(self) -> None:
        """Decide what is next."""
        there = self._place.read()
        said: dict[str, Any] = {"by": "bench", "reason": "", "at_us": 0}
        log = there.decisions.log
        if log and log[-1].action == "promote" and log[-1].model != CHAMPION:
            decision = there.rollback(None, **said)
        elif there.decisions.held is not None:
            decision = there.promote(CHAMPION, **said)
        else:
            decision = there.promote(list(self._learners)[-1], **said)
        self._place.decide(decision)
