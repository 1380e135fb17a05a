"""The version that scores, on an engine: every task that scores reads `models` itself."""

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


class VersionInForce:
    """Puts the version that is to score to use in `scorer`; its own thread reads and verifies it.

    That is the newest, or what operators have decided. When this is made it has read the topic to
    its end: nothing is scored by the prior that a version was published for. Raises InputError
    when the broker does not answer for a minute.
    """

    def __init__(
        self, pipeline: Pipeline, broker: Broker, settings: Settings, scorer: Scorer, folder: Path
    ) -> None:
        self._scorer = scorer
        self._models = FollowedModels(broker, settings, pipeline.definition, scorer.names, folder)
        feed = self._models.feed
        deadline = time.monotonic() + PATIENCE_S
        while not feed.read:
            feed.poll(WAIT_S)
            if time.monotonic() > deadline:
                self.close()
                raise InputError(
                    f"{settings.topic(MODELS)}: wanted all its records, got those before "
                    f"{feed.positions[0]:,} within {PATIENCE_S:.0f} s; is the broker well?"
                )

    def swap(self) -> None:
        """Put the version to use that is to score, if it does not."""
        self._models.follow()
        offered = self._models.feed.offered
        if offered is not None and offered.manifest.sequence != self._scorer.sequence:
            self._scorer.serve(offered.manifest.sequence, offered.version)

    def letters(self) -> list[DeadLetter]:
        """What was refused since the last call."""
        return self._models.feed.letters()

    def close(self) -> None:
        """Stop reading."""
        self._models.close()
