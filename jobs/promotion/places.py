"""Where versions and decisions are: a topic, or the folder of a run in one process."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import msgspec

from jobs.clients.topic_reader import TopicReader
from jobs.config import Settings
from jobs.definition import Pipeline
from jobs.kafka_host.model_feed import DECISION, MANIFEST
from jobs.promotion.catalogue import Catalogue
from models.base import Version
from models.decisions import DECODER, Decision, Decisions
from models.manifest import Manifest, Seal
from models.registry import Registry
from streams.broker import Broker
from streams.errors import OutputError, StateError
from streams.topics import MODELS

SENT_S = 10.0
"""How long the broker may take for a decision."""


class Place(Protocol):
    """Versions and decisions of one deployment."""

    def read(self) -> Catalogue:
        """What there is now."""

    def load(self, sequence: int) -> Version:
        """A version, verified; StateError where its weights are not kept."""

    def decide(self, decision: Decision) -> Decision:
        """Add a decision; the one that has its number then: another, where that came first."""


class FolderPlace:
    """The registry of a `replay`."""

    def __init__(self, folder: Path, pipeline: Pipeline) -> None:
        self._folder, self._pipeline = folder, pipeline
        if not folder.is_dir():
            raise StateError(f"{folder}: no versions are here; name the --out of a replay")
        self._registry = Registry(folder)

    def read(self) -> Catalogue:
        registry = self._registry
        decisions = Decisions(self._pipeline.definition)
        while found := registry.decision(len(decisions.log) + 1):
            decisions.take(found)
        versions = {each: registry.manifest(each) for each in registry.sequences()}
        where = str(self._folder)
        return _catalogue(where, self._pipeline, versions, registry.kept(), decisions)

    def load(self, sequence: int) -> Version:
        return self._registry.load(sequence)

    def decide(self, decision: Decision) -> Decision:
        self._registry.decide(decision)
        return self.read().decisions.log[decision.number - 1]


class TopicPlace:
    """The topic `models`. What is damaged there or not signed by our key is passed over."""

    def __init__(self, broker: Broker, settings: Settings, pipeline: Pipeline) -> None:
        self._pipeline, self._seal = pipeline, Seal(settings.key)
        self._topic, self._broker = settings.topic(MODELS), broker

    def read(self) -> Catalogue:
        versions: dict[int, Manifest] = {}
        chunks: set[int] = set()
        decisions = Decisions(self._pipeline.definition)
        for head, part, value in self._records():
            if head == DECISION:
                with suppress(StateError):
                    decisions.take(self._seal.opened(value or b"", DECODER, self._topic))
            elif part == MANIFEST:
                versions.pop(int(head), None)
                if value is not None:
                    with suppress(StateError):
                        versions[int(head)] = self._seal.manifest(value, self._topic)
            elif part == "0":
                (chunks.discard if value is None else chunks.add)(int(head))
        ordered = dict(sorted(versions.items()))
        kept = chunks & ordered.keys()
        return _catalogue(self._topic, self._pipeline, ordered, kept, decisions)

    def load(self, sequence: int) -> Version:
        chunks: dict[int, bytes] = {}
        manifest = None
        for head, part, value in self._records():
            if head == str(sequence) and part == MANIFEST and value is not None:
                manifest = self._seal.manifest(value, self._topic)
            elif head == str(sequence) and value is not None:
                chunks[int(part)] = value
            elif head == str(sequence):
                chunks.pop(int(part), None)
        if manifest is None or 0 not in chunks:
            raise StateError(
                f"{self._topic}: the weights of version {sequence} are no longer kept; those of "
                "the newest versions are, and of those that a decision has named"
            )
        weights = b"".join(chunks[place] for place in sorted(chunks))
        return self._seal.version(manifest, weights, self._topic)

    def decide(self, decision: Decision) -> Decision:
        # No other record has this key, so compaction never removes it.
        name = uuid4().hex
        producer = self._broker.producer()
        try:
            value = msgspec.json.encode(self._seal.sealed(decision))
            producer.send(self._topic, [value], [f"{DECISION}/{name}".encode()])
            sent = producer.flush(SENT_S)
        finally:
            producer.close()
        deadline = time.monotonic() + SENT_S
        while sent:
            if name in self._names():
                return self.read().decisions.log[decision.number - 1]
            # It lies behind a transaction of the learner's that has not ended.
            sent = time.monotonic() < deadline
        raise OutputError(
            f"{self._topic}: wanted the decision to be there within {SENT_S:.0f} s, the broker has "
            "not said so; whether it counts headrace models list will tell"
        )

    def _names(self) -> set[str]:
        return {part for head, part, _ in self._records() if head == DECISION}

    def _records(self) -> Iterator[tuple[str, str, bytes | None]]:
        """The two parts of the key and the value of each record that versions are made of."""
        with TopicReader(self._broker, self._topic) as reader:
            for run in reader.to_end():
                for key, value in zip(run.keys, run.values, strict=True):
                    head, _, part = (key or b"").decode(errors="replace").partition("/")
                    known = head.isdecimal() and (part == MANIFEST or part.isdecimal())
                    if known or head == DECISION:
                        yield head, part, value


def _catalogue(
    where: str,
    pipeline: Pipeline,
    versions: dict[int, Manifest],
    kept: Collection[int],
    decisions: Decisions,
) -> Catalogue:
    return Catalogue(
        where=where,
        pipeline=pipeline.definition,
        contenders=tuple(pipeline.contenders),
        baselines=tuple(name for name in pipeline.models if name not in pipeline.contenders),
        versions=versions,
        kept=frozenset(kept),
        decisions=decisions,
    )
