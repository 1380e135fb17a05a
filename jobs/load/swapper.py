"""New versions for a score job at a steady pace, with no learn job: what a swap alone costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event as Flag
from threading import Thread

import numpy as np

from jobs.config import Settings
from jobs.definition import Pipeline
from jobs.kafka_host.publishing import Publishing
from jobs.lineup import Basis
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
    """Publishes versions of the pipeline's champion, numbered on from what the topic holds."""

    def __init__(self, pipeline: Pipeline, settings: Settings) -> None:
        late_us = duration_us(pipeline.lateness)
        plan = compile_plan(
            pipeline.event, pipeline.features, lateness_us=late_us, cap=pipeline.cap
        )
        self._learner: Learner = pipeline.champion.bind(plan.names)
        self._columns = len(plan.names)
        self._drawn = np.random.default_rng(0)
        broker = settings.broker()
        self._producer: Producer = broker.producer()
        self._publishing = Publishing(broker, settings, pipeline, time.monotonic)
        self._turns, self._minor = len(pipeline.contenders), 0

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

    def publish(self) -> None:
        """Publish one version."""
        x = np.ascontiguousarray(self._drawn.lognormal(size=(LEARNT, self._columns)))
        y = (self._drawn.random(LEARNT) < 0.1).astype(np.int8)
        self._learner.learn_many(x, y, np.ones(LEARNT))
        self._minor += 1
        number, version = self._publishing.last + self._turns, self._learner.version()
        made = Made(number, CHAMPION, 1, self._minor, version, LEARNT * self._minor)
        self._publishing.offer([made], Basis(made.examples))
        for topic, key, value in self._publishing.due(at_once=True):
            self._producer.send(topic, [value], [key])
        self._producer.flush(FLUSH_S)
