"""Versions to the topic `models`: chunks, then the manifest; old ones lose their weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec

from jobs.config import Settings
from jobs.definition import Pipeline
from jobs.kafka_host.model_feed import DECISION, MANIFEST
from jobs.kafka_host.positions import only
from jobs.lineup import Basis, manifest_of
from models.decisions import DECODER, Decisions
from models.manifest import Manifest, Seal
from models.registry import spare
from operators.evaluate import WindowMetrics
from operators.lineup import Made
from streams.broker import Broker
from streams.errors import StateError
from streams.topics import MODELS

CHUNK_BYTES = 512 << 10
EVERY_SECONDS = 0.5
"""Time between two versions that score at least: one that is superseded sooner is not published."""
SHADOW_SECONDS = 5.0
"""Time between two versions of a model that does not score."""
HEED_SECONDS = 0.1
"""How often decisions are looked for."""
KEPT = 8
"""Versions of a model whose weights stay in the topic, with ever fewer of the older ones."""
REMEMBERED = 1000
"""Versions whose manifests do: what content was published under which number."""
_LIMIT = 64
Record = tuple[str, bytes, bytes | None]
Judged = Callable[[], Sequence[WindowMetrics]]


class _Known(NamedTuple):
    """What is published under a number."""

    model: str
    content: str


class Publishing:
    """What the learner publishes of a pipeline's models, and what is published already.

    A number is never used again for other content: the topic is read when the job begins, and what
    it holds is not published again. Raises StateError when it holds other content under a number.
    What operators decide is heeded too: versions of the model that scores come more often.
    `judged` says how well each model has done of late.
    """

    def __init__(
        self,
        broker: Broker,
        settings: Settings,
        pipeline: Pipeline,
        clock: Callable[[], float],
        judged: Judged = tuple,
    ) -> None:
        self._seal, self._pipeline, self._clock = Seal(settings.key), pipeline, clock
        self._judged = judged
        self._topic = settings.topic(MODELS)
        self._decisions = Decisions(pipeline.definition)
        self._chunks: dict[int, int] = {}
        self._known: dict[int, _Known] = {}
        self._places = {name: place for place, name in enumerate(pipeline.contenders)}
        self._last = dict.fromkeys(pipeline.contenders, 0)
        """The last number that each model's versions have."""
        self.highest = 0
        """The highest that any have, whatever pipeline they are of."""
        self._first: int | None = None
        """The first that a learner of this pipeline gave that began without state."""
        self._next: dict[str, tuple[Made, Basis]] = {}
        self._sent_at: dict[str, float] = {}
        self._consumer = broker.consumer([only(broker, self._topic)])
        try:
            self._read()
        except BaseException:
            self._consumer.close()
            raise
        self._heeded = clock()

    @property
    def model(self) -> str:
        """The model whose versions score."""
        return self._decisions.model

    @property
    def last(self) -> int:
        """The last number that versions of that model have."""
        return self._last.get(self.model, 0)

    @property
    def start(self) -> int:
        """The number that a learner without state is to begin at; 0 where it begins with the topic.

        That is above all of other pipelines, unless such a learner has begun already.
        """
        if self._first is None:
            return self.highest and self.highest + 1
        return 0 if self._first <= len(self._last) else self._first

    def lacks(self, manifest: Manifest) -> bool:
        """Whether the topic has neither this version nor a newer one of its model."""
        return manifest.sequence > self._last.get(manifest.name, 0)

    def _read(self) -> None:
        """Read the topic to its end as of now."""
        consumer = self._consumer
        positions = [first for first, _ in consumer.bounds()]
        ends = [end for _, end in consumer.bounds()]
        consumer.seek(positions)
        while any(at < end for at, end in zip(positions, ends, strict=True)):
            for run in consumer.poll(_LIMIT, 1.0):
                for key, value in zip(run.keys, run.values, strict=True):
                    self._note(key or b"", value)
                positions[run.input] = run.next
            ends = consumer.ends()

    def _note(self, key: bytes, value: bytes | None) -> None:
        number, _, part = key.decode(errors="replace").partition("/")
        if number == DECISION:
            self._decided(part, value)
        if not number.isdecimal():
            return
        sequence = int(number)
        if part == MANIFEST:
            if value is None:
                self._known.pop(sequence, None)
                return
            with suppress(StateError):  # score jobs refuse it too, and say so
                self._found(self._seal.manifest(value, f"{self._topic}: {number}/{part}"))
        elif part.isdecimal():
            chunks = self._chunks.get(sequence, 0)
            if value is not None:
                self._chunks[sequence] = max(chunks, int(part) + 1)
            elif int(part) + 1 == chunks:  # the last of them is dropped last
                self._chunks[sequence] = 0

    def _found(self, manifest: Manifest) -> None:
        sequence, model = manifest.sequence, manifest.name
        self.highest = max(self.highest, sequence)
        if manifest.pipeline == self._pipeline.definition:
            self._known[sequence] = _Known(model, manifest.content)
            self._last[model] = max(self._last.get(model, 0), sequence)
            if manifest.major and self._first is None:
                turns = (manifest.minor - 1) * len(self._places)
                self._first = sequence - self._places[model] - turns

    def _decided(self, part: str, value: bytes | None) -> None:
        with suppress(StateError):
            where = f"{self._topic}: {DECISION}/{part}"
            self._decisions.take(self._seal.opened(value or b"", DECODER, where))

    def heed(self) -> None:
        """Take note of what was decided since."""
        if self._clock() - self._heeded < HEED_SECONDS:
            return
        self._heeded = self._clock()
        for run in self._consumer.poll(_LIMIT, 0.0):
            for key, value in zip(run.keys, run.values, strict=True):
                if key and key.startswith(DECISION.encode()):
                    self._note(key, value)

    def offer(self, versions: Sequence[Made], basis: Basis) -> None:
        """Take note of new versions. The newest of each model will be published."""
        for made in versions:
            if made.number > self._last[made.model]:
                self._next[made.model] = made, basis
            elif made.number in self._known:
                self._check(made)

    def _check(self, made: Made) -> None:
        about = manifest_of(made, self._pipeline, Basis(), None, None)
        mine = _Known(made.model, self._seal.close(about, made.version)[0].content)
        there = self._known[made.number]
        if mine != there:
            raise StateError(
                f"{self._topic}: version {made.number} is {there.model} {there.content}, and a "
                f"number is never used again for other content ({mine.model} {mine.content}). "
                "Another learner published here, or this one begins without what the first had "
                "learnt from: give it a prefix of its own, or delete the topic and start every job "
                "with a new state folder"
            )

    def due(self, *, at_once: bool = False) -> Iterator[Record]:
        """Records that are to be sent now: topic, key, value. Of one version, or `at_once` of all.

        That of the model that scores goes first.
        """
        now = self._clock()
        for model in sorted(self._next, key=lambda each: each != self.model):
            pace = EVERY_SECONDS if model == self.model else SHADOW_SECONDS
            if at_once or now >= self._sent_at.get(model, now - pace) + pace:
                made, basis = self._next.pop(model)
                judged = {each.scorer: each for each in self._judged()}.get(model)
                parent = self._last[model] or None
                about = manifest_of(made, self._pipeline, basis, judged, parent)
                yield from self.records(*self._seal.close(about, made.version))
                self._sent_at[model] = now
                if not at_once:
                    return

    def records(self, manifest: Manifest, weights: bytes) -> Iterator[Record]:
        """Those of a sealed version, and what goes for it."""
        sequence = manifest.sequence
        chunks = range(0, len(weights), CHUNK_BYTES)
        for place, start in enumerate(chunks):
            key = f"{sequence}/{place}".encode()
            yield self._topic, key, weights[start : start + CHUNK_BYTES]
        yield self._topic, f"{sequence}/{MANIFEST}".encode(), msgspec.json.encode(manifest)
        self._chunks[sequence] = len(chunks)
        self._found(manifest)
        yield from self._dropped(manifest.name)

    def _dropped(self, model: str) -> Iterator[Record]:
        """Tombstones for the weights, and later the manifests, of old versions of a model.

        What a decision has named stays, so that one can go back to it.
        """
        live = [n for n, each in self._known.items() if each.model == model and self._chunks.get(n)]
        for sequence in sorted({*spare(live, KEPT)} - self._decisions.named):
            for place in range(self._chunks.pop(sequence)):
                yield self._topic, f"{sequence}/{place}".encode(), None
        for sequence in sorted(self._known)[:-REMEMBERED]:
            if not self._chunks.get(sequence):
                del self._known[sequence]
                yield self._topic, f"{sequence}/{MANIFEST}".encode(), None

    def close(self) -> None:
        """Let go of the topic."""
        self._consumer.close()
