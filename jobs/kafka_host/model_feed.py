"""Versions from the topic `models`: assembled, verified, kept; the one that is to score is offered.

Beside versions the topic holds what operators decide (`models.decisions`), a record a decision.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from models.base import Version
from models.decisions import DECODER, Decisions
from models.manifest import Manifest, Seal
from models.registry import Registry, spare
from streams.broker import Consumer
from streams.errors import DeadLetter, Reason, StateError

MANIFEST = "manifest"
DECISION = "decision"
KEPT = 8
"""Versions of a model that stay in the registry, with ever fewer of the older ones."""
_LIMIT = 64
_QUIET = 20
"""Polls without a record."""


class Offer(NamedTuple):
    """A version that may be put to use."""

    manifest: Manifest
    version: Version
    positions: tuple[int, ...]
    """How far the topic had been read."""


class ModelFeed:
    """The versions of one pipeline, given by its definition; `consumer` reads `models` alone.

    A key is version/chunk or version/manifest, the manifest last, or decision/ and anything that no
    other has. `offered` is the version that is to score: it was verified and is in the registry, as
    is all that was decided. `letters` are what was refused since they were last taken. Versions in
    `needed` stay in the registry. One thread polls, another may read, and set `needed`.
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
        self._kept = registry.by_model(definition)
        self._decisions = Decisions(definition)
        while found := registry.decision(len(self._decisions.log) + 1):
            self._decisions.take(found)
        self.needed: frozenset[int] = frozenset()
        self.offered: Offer | None = None
        self._missed: int | None = None
        """A version that was decided on and is not here, though the topic was read anew for it."""
        self._until: list[int] = []
        """Until these offsets are read nothing is offered: a decision may follow."""
        self._quiet = 0
        self.seek([first for first, _ in consumer.bounds()])

    def seek(self, positions: Sequence[int]) -> None:
        """Read from these offsets on; what is no longer there is passed over."""
        bounds = self._consumer.bounds()
        self.positions = [max(first, at) for (first, _), at in zip(bounds, positions, strict=True)]
        self._until, self._quiet = [end for _, end in bounds], 0
        self._consumer.seek(self.positions)
        if self.read:
            self._offer()

    @property
    def read(self) -> bool:
        """Whether the topic was read to where it ended when reading began.

        The last offset may be a transaction's mark, or several be of one that came to nothing: then
        it counts as read when nothing has come for a while.
        """
        rest = (end - at for at, end in zip(self.positions, self._until, strict=True))
        return self._quiet > _QUIET or max(rest) <= bool(self._quiet)

    def poll(self, timeout: float) -> int:
        """Read on; how many records there were."""
        count, before = 0, self.read
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
        self._quiet = 0 if count else self._quiet + 1
        if self.read and (count or not before):
            self._offer()
        return count

    def letters(self) -> list[DeadLetter]:
        """What was refused since the last call."""
        return [self._letters.popleft() for _ in range(len(self._letters))]

    def _take(self, key: str, value: bytes | None, where: str) -> None:
        number, _, part = key.partition("/")
        if number == DECISION and part:
            self._decided(value or b"", where)
            return
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

    def _decided(self, raw: bytes, where: str) -> None:
        decision = self._seal.opened(raw, DECODER, where)
        if decision.number > len(self._decisions.log) + 1:
            raise StateError(
                f"{where}: is decision {decision.number}, and those after "
                f"{len(self._decisions.log)} were never seen; decide again"
            )
        if decision.number == len(self._decisions.log) + 1:
            self._registry.decide(decision)
            self._decisions.take(decision)

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
        self._seal.version(manifest, weights, where)
        self._registry.keep(manifest, weights)
        mine = self._kept.setdefault(manifest.name, [])
        if sequence not in mine:
            mine.append(sequence)
        self._forget(mine)

    def _forget(self, kept: list[int]) -> None:
        """Drop what nobody may ask for any more of versions of one model."""
        for sequence in {*spare(kept, KEPT)} - self.needed - self._decisions.named:
            self._registry.forget(sequence)
            kept.remove(sequence)

    @property
    def _wanted(self) -> int | None:
        """The version that is to score, as far as is known here; None for the prior."""
        if self._decisions.held is not None:
            return self._decisions.held
        return max(self._kept.get(self._decisions.model, ()), default=None)

    def _offer(self) -> None:
        """Offer the version that is to score; one that was not kept is looked for once."""
        wanted = self._wanted
        if wanted is None or (self.offered and self.offered.manifest.sequence == wanted):
            return
        with suppress(StateError):
            manifest, version = self._registry.manifest(wanted), self._registry.load(wanted)
            self.offered = Offer(manifest, version, tuple(self.positions))
            return
        if self._missed != wanted:
            self._missed = wanted
            self.seek([0] * len(self.positions))

    def close(self) -> None:
        """Stop reading."""
        self._consumer.close()
