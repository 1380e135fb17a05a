"""Which version scores: the one that is offered, or the one that the journal names."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path

from jobs.config import Settings
from jobs.kafka_host.followed_models import FollowedModels
from jobs.monitoring.monitor import Monitor
from jobs.scoring import Scoring
from models.base import Version
from models.manifest import content_hash
from streams.broker import Broker
from streams.errors import DeadLetter, StateError


class Versions:
    """Puts versions to use in `scoring`, from the topic `models` and the registry in `folder`.

    With `threads` the topic is read, and a version verified and kept, by a thread of its own, so
    that all `swap` does is to put another reference in place.
    """

    def __init__(
        self,
        broker: Broker,
        settings: Settings,
        scoring: Scoring,
        folder: Path,
        monitor: Monitor,
        *,
        threads: bool,
    ) -> None:
        self._scoring, self._monitor, self._threads = scoring, monitor, threads
        definition = scoring.pipeline.definition
        self._models = FollowedModels(broker, settings, definition, scoring.names, folder)
        self._registry, self._feed = self._models.registry, self._models.feed
        self.positions = self._feed.positions.copy()
        """How far the topic was read when the version in force was offered."""
        self._prior = scoring.version, bytes.fromhex(content_hash(scoring.version))
        self.in_force = 0, self._prior[1]
        """Number and content hash of the version that scores."""
        self._used = deque([(0, 0)])
        """Versions in the order in which they came to score, each with its place in that order."""
        self._promised: frozenset[int] = frozenset()

    def restore(self, version: int, positions: Sequence[int]) -> None:
        """Go on with the version a snapshot was taken at, reading the topic from there."""
        if positions:
            self._feed.seek(positions)
            self.positions = self._feed.positions.copy()
        if version:
            self.serve(version, bytes.fromhex(self._registry.manifest(version).content))

    def promise(self, versions: Iterable[int]) -> None:
        """Keep these, which the journal will ask for."""
        self._promised = frozenset(versions)
        self._tell()

    def begin_anew(self) -> None:
        """Forget all that is kept: versions of another pipeline, whose numbers come again."""
        for sequence in self._registry.sequences():
            self._registry.forget(sequence)

    def serve(self, version: int, digest: bytes) -> None:
        """Score with the version of this number and content from the registry, as once before."""
        if self.in_force == (version, digest):
            return
        if version == 0:
            loaded, content = self._prior
        else:
            loaded = self._registry.load(version)
            content = bytes.fromhex(self._registry.manifest(version).content)
        if content != digest:
            raise StateError(
                f"journal: version {version} scored as {digest.hex()}, what is kept of it is "
                f"{content.hex()}; the pipeline or the code has changed: begin with a new state "
                "folder"
            )
        self._use(version, loaded, digest)

    def _use(self, number: int, version: Version, digest: bytes) -> None:
        self._scoring.serve(number, version)
        self.in_force = number, digest
        self._monitor.model.version = number
        self._used.append((self.uses, number))
        self._tell()

    def _tell(self) -> None:
        self._feed.needed = self._promised.union(number for _, number in self._used)

    @property
    def uses(self) -> int:
        """How many times a version came to score."""
        return self._used[-1][0] + 1

    def swap(self) -> None:
        """Put the version to use that is to score, if it does not."""
        if self._threads:
            self._models.follow()
        else:
            self._feed.poll(0.0)
        offered = self._feed.offered
        if offered is None or offered.manifest.sequence == self.in_force[0]:
            return
        began = time.perf_counter()
        manifest, version, positions = offered
        self._use(manifest.sequence, version, bytes.fromhex(manifest.content))
        self.positions = list(positions)
        gauge = self._monitor.model
        gauge.since_us = self._monitor.now_us()
        gauge.swaps += 1
        pause = time.perf_counter() - began
        gauge.longest_swap_seconds = max(gauge.longest_swap_seconds, pause)

    def letters(self) -> list[DeadLetter]:
        """What was refused since the last call."""
        letters = self._feed.letters()
        self._monitor.model.refused += len(letters)
        return letters

    def retain_from(self, uses: int) -> None:
        """Forget, in time, those that had come to score and given way when there were so many."""
        while self._used[0][0] < uses - 1:
            self._used.popleft()
        self._tell()

    def close(self) -> None:
        """Stop reading."""
        self._models.close()
