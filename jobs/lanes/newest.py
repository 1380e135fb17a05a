"""The newest version of the model, on an engine: every task that scores reads `models` itself."""

from __future__ import annotations

import time
from pathlib import Path

from jobs.config import Settings
from jobs.definition import Pipeline
from jobs.kafka_host.followed_models import WAIT_S, FollowedModels
from jobs.lanes.scoring import Scorer
from streams.broker import Broker
from streams.errors import DeadLetter, InputError
from streams.topics import MODELS

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
        self._scorer = scorer
        self._models = FollowedModels(broker, settings, pipeline.definition, scorer.names, folder)
        feed = self._models.feed
        (end,) = [end for _, end in self._models.consumer.bounds()]
        deadline = time.monotonic() + PATIENCE_S
        while feed.positions[0] < end and not self._read_to(end):
            feed.poll(WAIT_S)
            if time.monotonic() > deadline:
                self.close()
                raise InputError(
                    f"{settings.topic(MODELS)}: wanted its {end:,} records, got "
                    f"{feed.positions[0]:,} within {PATIENCE_S:.0f} s; is the broker well?"
                )

    def _read_to(self, end: int) -> bool:
        """Whether the last record was read, or a transaction's mark is all that follows."""
        feed = self._models.feed
        return feed.poll(WAIT_S) == 0 and feed.positions[0] >= end - 1

    def swap(self) -> None:
        """Put the newest version to use, if there is a newer one."""
        self._models.follow()
        offered = self._models.feed.offered
        if offered is not None and offered.manifest.sequence > self._scorer.sequence:
            self._scorer.serve(offered.manifest.sequence, offered.version)
            registry = self._models.registry
            registry.forget(min(registry.sequences()[-KEPT:]))

    def letters(self) -> list[DeadLetter]:
        """What was refused since the last call."""
        return self._models.feed.letters()

    def close(self) -> None:
        """Stop reading."""
        self._models.close()
