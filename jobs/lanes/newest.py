"""The newest version of the model, on an engine: every task that scores reads `models` itself."""

from __future__ import annotations

import time
from pathlib import Path
from threading import Event as Flag
from threading import Thread

from jobs.config import Settings
from jobs.definition import Pipeline
from jobs.kafka_host.model_feed import ModelFeed
from jobs.kafka_host.positions import only
from jobs.lanes.scoring import Scorer
from models.manifest import Seal
from models.registry import Registry
from streams.broker import Broker
from streams.errors import DeadLetter, InputError
from streams.topics import MODELS

WAIT_S = 0.1
PATIENCE_S = 60.0
KEPT = 8
"""Versions that stay in the folder."""


class NewestVersion:
    """Puts the newest verified version to use in `scorer`; read and verified by its own thread.

    When this is made it has read the topic to its end: nothing is scored by the prior that a
    version was published for. Raises InputError when the broker does not answer for a minute.
    """

    def __init__(
        self, pipeline: Pipeline, broker: Broker, settings: Settings, scorer: Scorer, folder: Path
    ) -> None:
        key = settings.signing_key.reveal().encode() if settings.signing_key else None
        self._scorer = scorer
        self._registry = Registry(folder, key)
        consumer = broker.consumer([only(broker, settings.topic(MODELS))])
        seal = Seal(key)
        self._feed = ModelFeed(consumer, self._registry, seal, pipeline.definition, scorer.names)
        self._failed: Exception | None = None
        self._stop = Flag()
        (end,) = [end for _, end in consumer.bounds()]
        deadline = time.monotonic() + PATIENCE_S
        while self._feed.positions[0] < end and not self._read_to(end):
            self._feed.poll(WAIT_S)
            if time.monotonic() > deadline:
                self._feed.close()
                raise InputError(
                    f"{settings.topic(MODELS)}: wanted its {end:,} records, got "
                    f"{self._feed.positions[0]:,} within {PATIENCE_S:.0f} s; is the broker well?"
                )
        self._thread = Thread(target=self._run, name="models", daemon=True)
        self._thread.start()

    def _read_to(self, end: int) -> bool:
        """Whether the last record was read, or a transaction's mark is all that follows."""
        return self._feed.poll(WAIT_S) == 0 and self._feed.positions[0] >= end - 1

    def swap(self) -> None:
        """Put the newest version to use, if there is a newer one."""
        if self._failed:
            raise self._failed
        offered = self._feed.offered
        if offered is not None and offered.manifest.sequence > self._scorer.sequence:
            self._scorer.serve(offered.manifest.sequence, offered.version)

    def letters(self) -> list[DeadLetter]:
        """What was refused since the last call."""
        return self._feed.letters()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                if self._feed.poll(WAIT_S):
                    self._registry.forget(min(self._registry.sequences()[-KEPT:], default=0))
        except Exception as error:  # noqa: BLE001 - the operator's own thread raises it
            self._failed = error

    def close(self) -> None:
        """Stop reading."""
        self._stop.set()
        self._thread.join()
        self._feed.close()
