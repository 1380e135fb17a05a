"""The broker of a round: started, killed, away for a while, started again, killed while it does."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from random import Random
from threading import Event, Timer

from confluent_kafka.admin import AdminClient, NewTopic

from jobs.stack.kafka import Kafka, KafkaSettings
from jobs.stack.ports import free_port
from streams.errors import ServiceError
from streams.topics import TOPICS

UP_SECONDS = 2.0, 9.0
AWAY_SECONDS = 0.0, 2.5
AGAIN = 0.25
"""How often it is killed once more while it starts."""
START_SECONDS = 0.2, 2.5
ANSWER_SECONDS = 30.0


def new_kafka(folder: Path) -> Kafka:
    """A small broker on free ports, not started."""
    settings = KafkaSettings(
        port=free_port(),
        controller_port=free_port(),
        heap_mb=256,
        flags=("-XX:TieredStopAtLevel=1",),
    )
    return Kafka(folder, settings)


def make_topics(kafka: Kafka, partitions: Mapping[str, int]) -> None:
    """Make every topic, with so many partitions each."""
    wanted = [NewTopic(name, n, 1, config=TOPICS[name].settings) for name, n in partitions.items()]
    asked = AdminClient({**kafka.client(), "log_level": 0})
    for made in asked.create_topics(wanted).values():
        made.result(ANSWER_SECONDS)


class Outages:
    """Kills the broker so many times, `wanted`, at moments drawn from `rng`."""

    def __init__(self, kafka: Kafka, rng: Random, wanted: int) -> None:
        self.kills = 0
        self._away_at = 0.0
        self._kafka, self._rng, self._wanted = kafka, rng, wanted
        self._away = False

    def run(self, stop: Event) -> None:
        """Do it all; the broker is up when this returns."""
        while self.kills < self._wanted and not stop.wait(self._rng.uniform(*UP_SECONDS)):
            self._away = True
            self._kill()
            stop.wait(self._rng.uniform(*AWAY_SECONDS))
            self._start()
            self._away_at, self._away = time.monotonic(), False

    def last_away(self) -> float:
        """When it was away last: now, if it is."""
        return time.monotonic() if self._away else self._away_at

    def _kill(self) -> None:
        if self._kafka.pid is not None:
            self._kafka.kill()
            self.kills += 1

    def _start(self) -> None:
        again = self._rng.random() < AGAIN and self.kills < self._wanted
        timer = Timer(self._rng.uniform(*START_SECONDS), self._kill)
        if again:
            timer.start()
        try:
            self._kafka.start()
        except ServiceError:
            if not again:
                raise
            timer.join()
            self._kafka.start()
        if again:
            timer.cancel()
            timer.join()
            self._kafka.start()
