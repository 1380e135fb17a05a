"""Versions from the topic `models`: assembled, verified, kept, and the newest of them offered."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from models.base import Version
from models.manifest import Manifest, Seal
from models.registry import Registry
from streams.broker import Consumer
from streams.errors import DeadLetter, Reason, StateError

MANIFEST = "manifest"
_LIMIT = 64


class Offer(NamedTuple):
    """A version that may be put to use."""

    manifest: Manifest
    version: Version
    positions: tuple[int, ...]
    """How far the topic had been read."""


class ModelFeed:
    """The versions of one pipeline, given by its definition; `consumer` reads `models` alone.

    A key is version/chunk or version/manifest, the manifest last. `offered` is the newest verified
    version, kept in the registry before it is offered; `letters` are what was refused since they
    were last taken. One thread polls, another may read.
    """

    def __init__(
        self,
        consumer: Consumer,
        registry: Registry,
        seal: Seal,
        definition: str,
        names: tuple[str, ...],
    ) -> None:
        self._consumer, self._registry, self._seal = consumer, registry, seal
        self._definition, self._names = definition, names
        self._chunks: dict[int, dict[int, bytes]] = {}
        self._letters: deque[DeadLetter] = deque()
        self.offered: Offer | None = None
        self.seek([first for first, _ in consumer.bounds()])

    def seek(self, positions: Sequence[int]) -> None:
        """Read from these offsets on; what is no longer there is passed over."""
        firsts = [first for first, _ in self._consumer.bounds()]
        self.positions = [max(pair) for pair in zip(firsts, positions, strict=True)]
        self._consumer.seek(self.positions)

    def poll(self, timeout: float) -> int:
        """Read on; how many records there were."""
        count = 0
        for run in self._consumer.poll(_LIMIT, timeout):
            topic, partition = self._consumer.inputs[run.input]
            for offset, stamp, key, value in zip(
                run.offsets.tolist(), run.stamps.tolist(), run.keys, run.values, strict=True
            ):
                self.positions[run.input] = offset + 1
                where = f"{topic}/{partition}/{offset}"
                try:
                    self._take((key or b"").decode(errors="replace"), value, where)
                except StateError as error:
                    self._letters.append(
                        DeadLetter(
                            Reason.BAD_VERSION,
                            str(error),
                            topic,
                            partition,
                            offset,
                            stamp,
                            value or b"",
                        )
                    )
            count += len(run)
        return count

    def letters(self) -> list[DeadLetter]:
        """What was refused since the last call."""
        return [self._letters.popleft() for _ in range(len(self._letters))]

    def _take(self, key: str, value: bytes | None, where: str) -> None:
        number, _, part = key.partition("/")
        if not number.isdecimal() or not (part == MANIFEST or part.isdecimal()):
            raise StateError(
                f"{where}: wanted a key version/chunk or version/manifest, got {key!r}"
            )
        sequence = int(number)
        if value is None:
            if part == MANIFEST:
                self._chunks.pop(sequence, None)
            else:
                self._chunks.get(sequence, {}).pop(int(part), None)
        elif part == MANIFEST:
            self._finish(sequence, value, where)
        else:
            self._chunks.setdefault(sequence, {})[int(part)] = value

    def _finish(self, sequence: int, raw: bytes, where: str) -> None:
        chunks = self._chunks.pop(sequence, None)
        manifest = self._seal.manifest(raw, where)
        if manifest.sequence != sequence:
            raise StateError(f"{where}: is the manifest of version {manifest.sequence}, misplaced")
        if chunks is None or 0 not in chunks:
            return  # its weights were dropped, the first chunk first, as it was superseded
        if manifest.pipeline != self._definition or manifest.names != self._names:
            raise StateError(
                f"{where}: of pipeline {manifest.pipeline}, wanted {self._definition}; "
                "run the learner with this job's pipeline file, or give each its own prefix"
            )
        weights = b"".join(chunks[place] for place in sorted(chunks))
        version = self._seal.version(manifest, weights, where)
        self._registry.keep(manifest, weights)
        if self.offered is None or sequence > self.offered[0].sequence:
            self.offered = Offer(manifest, version, tuple(self.positions))

    def close(self) -> None:
        """Stop reading."""
        self._consumer.close()
