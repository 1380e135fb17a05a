"""What the online store keeps of each entity, for how long, and its lines as columns of bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from jobs.definition import Pipeline
from jobs.online.layout import key_name
from jobs.online.writer import Chunk
from operators.features import Feature
from streams.columns import text_lengths
from streams.errors import ConfigError
from streams.latest import Lines


@dataclass(frozen=True, slots=True)
class EntityLines:
    """What is kept of the keys of one entity."""

    entity: str
    prefix: bytes
    """What the names of its keys begin with."""
    place: int
    """Which of the event's keys it is."""
    names: tuple[str, ...]
    columns: tuple[int, ...]
    """Where these features stand among all of the pipeline."""
    keep_ms: int
    """After so long without an event none of them can see one."""

    def chunk(self, lines: Lines) -> Chunk:
        """These lines as the process that writes takes them."""
        (key_ends, keys), (id_ends, ids) = map(_bytes, lines.texts)
        return Chunk(
            prefix=self.prefix,
            keep_ms=self.keep_ms,
            names=self.names,
            key_ends=key_ends,
            keys=keys,
            id_ends=id_ends,
            ids=ids,
            time=lines.time.tobytes(),
            tie=lines.tie.tobytes(),
            score=lines.score.tobytes(),
            review=lines.review.tobytes(),
            version=lines.version.tobytes(),
            features=lines.features.tobytes(),
        )


def entities(pipeline: Pipeline) -> list[EntityLines]:
    """What is kept of each entity that has features: those that read its windows, or no window.

    Raises ConfigError where there is none.
    """
    reads = {name: set(_entities_of(feature)) for name, feature in pipeline.features.items()}
    found = []
    for place, entity in enumerate(pipeline.event.keys):
        horizons = [each.horizon_us for n, each in pipeline.features.items() if entity in reads[n]]
        chosen = [n for n, name in enumerate(reads) if not reads[name] or entity in reads[name]]
        if horizons:
            names = tuple(pipeline.features)
            found.append(
                EntityLines(
                    entity=entity,
                    prefix=key_name(pipeline.name, entity, "").encode(),
                    place=place,
                    names=tuple(names[n] for n in chosen),
                    columns=tuple(chosen),
                    keep_ms=max(max(horizons) // 1000, 1),
                )
            )
    if not found:
        raise ConfigError(
            f"online: the pipeline {pipeline.name!r} has no features of an entity, so there is "
            "nothing to keep; leave online empty"
        )
    return found


def _entities_of(feature: Feature) -> Iterator[str]:
    if feature.entity:
        yield feature.entity
    for part in feature.parts:
        yield from _entities_of(part)


def _bytes(texts: pa.Array) -> tuple[bytes, bytes]:
    """Where each text of a large_string column ends, and all of them one after the other."""
    lengths = text_lengths(texts)
    total = int(lengths.sum())
    if not total:
        return lengths.tobytes(), b""
    start = int(np.frombuffer(texts.buffers()[1], np.int64)[texts.offset])
    content = texts.buffers()[2][start : start + total].to_pybytes()
    return np.cumsum(lengths).tobytes(), content
