"""Versions to the topic `models`: chunks, then the manifest; old ones lose their weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from jobs.config import Settings
from jobs.kafka_host.model_feed import MANIFEST
from jobs.kafka_host.positions import only
from models.base import Version
from models.manifest import Manifest, Seal
from streams.broker import Broker
from streams.errors import StateError
from streams.topics import MODELS

CHUNK_BYTES = 512 << 10
EVERY_SECONDS = 0.5
"""Time between two versions at least: one that is superseded sooner is not published."""
KEPT = 16
"""Versions whose weights stay in the topic."""
REMEMBERED = 1000
"""Versions whose manifests do: what content was published under which number."""
_LIMIT = 64
Record = tuple[str, bytes, bytes | None]


class Publishing:
    """What the learner publishes, and what is published already.

    A number is never used again for other content: the topic is read when the job begins, and what
    it holds is not published again. Raises StateError when it holds other content under a number.
    """

    def __init__(
        self, broker: Broker, settings: Settings, definition: str, clock: Callable[[], float]
    ) -> None:
        key = settings.signing_key.reveal().encode() if settings.signing_key else None
        self._seal, self._definition, self._clock = Seal(key), definition, clock
        self._topic = settings.topic(MODELS)
        self._chunks: dict[int, int] = {}
        self._contents: dict[int, str] = {}
        self.last = self.highest = 0
        """The last number this pipeline's versions have, and the highest that any have."""
        self._next: tuple[int, Version, int, int] | None = None
        self._due = clock()
        self._read(broker)

    def _read(self, broker: Broker) -> None:
        """Read the topic to its end as of now."""
        consumer = broker.consumer([only(broker, self._topic)])
        try:
            positions = [first for first, _ in consumer.bounds()]
            ends = [end for _, end in consumer.bounds()]
            consumer.seek(positions)
            while any(at < end for at, end in zip(positions, ends, strict=True)):
                for run in consumer.poll(_LIMIT, 1.0):
                    for key, value in zip(run.keys, run.values, strict=True):
                        self._known(key or b"", value)
                    positions[run.input] = run.next
                ends = consumer.ends()
        finally:
            consumer.close()

    def _known(self, key: bytes, value: bytes | None) -> None:
        number, _, part = key.decode(errors="replace").partition("/")
        if not number.isdecimal():
            return
        sequence = int(number)
        if part == MANIFEST:
            if value is None:
                self._contents.pop(sequence, None)
                return
            try:
                manifest = self._seal.manifest(value, f"{self._topic}: {number}/{part}")
            except StateError:
                return  # score jobs refuse it too, and say so
            self.highest = max(self.highest, sequence)
            if manifest.pipeline == self._definition:
                self._contents[sequence] = manifest.content
                self.last = max(self.last, sequence)
        elif part.isdecimal():
            chunks = self._chunks.get(sequence, 0)
            if value is not None:
                self._chunks[sequence] = max(chunks, int(part) + 1)
            elif int(part) + 1 == chunks:  # the last of them is dropped last
                self._chunks[sequence] = 0

    def offer(self, versions: Sequence[tuple[int, Version, int]], until_us: int) -> None:
        """Take note of new versions: number, version, examples. The newest will be published."""
        for sequence, version, examples in versions:
            if sequence > self.last:
                self._next = sequence, version, examples, until_us
            elif sequence in self._contents:
                self._check(sequence, version)

    def _check(self, sequence: int, version: Version) -> None:
        about = Manifest(sequence=sequence, name="champion", pipeline=self._definition, examples=0)
        content = self._seal.close(about, version)[0].content
        if content != self._contents[sequence]:
            raise StateError(
                f"{self._topic}: version {sequence} is {self._contents[sequence]}, and a number is "
                f"never used again for other content ({content}). Another learner published here, "
                "or this one begins without what the first had learnt from: give it a prefix of "
                "its own, or delete the topic and start every job with a new state folder"
            )

    def due(self, *, at_once: bool = False) -> Iterator[Record]:
        """Records that are to be sent now: topic, key, value."""
        if self._next is None or (self._clock() < self._due and not at_once):
            return
        sequence, version, examples, until_us = self._next
        about = Manifest(
            sequence=sequence,
            name="champion",
            pipeline=self._definition,
            examples=examples,
            until_us=until_us,
            parent=self.last or None,
        )
        manifest, weights = self._seal.close(about, version)
        chunks = range(0, len(weights), CHUNK_BYTES)
        for place, start in enumerate(chunks):
            key = f"{sequence}/{place}".encode()
            yield self._topic, key, weights[start : start + CHUNK_BYTES]
        yield self._topic, f"{sequence}/{MANIFEST}".encode(), msgspec.json.encode(manifest)
        self._chunks[sequence] = len(chunks)
        yield from self._dropped()
        self._contents[sequence], self.last, self._next = manifest.content, sequence, None
        self._due = self._clock() + EVERY_SECONDS

    def _dropped(self) -> Iterator[Record]:
        """Tombstones for the weights, and later the manifests, of all but the newest versions."""
        live = sorted(sequence for sequence, chunks in self._chunks.items() if chunks)
        for sequence in live[:-KEPT]:
            for place in range(self._chunks.pop(sequence)):
                yield self._topic, f"{sequence}/{place}".encode(), None
        for sequence in sorted(self._contents)[:-REMEMBERED]:
            del self._contents[sequence]
            yield self._topic, f"{sequence}/{MANIFEST}".encode(), None
