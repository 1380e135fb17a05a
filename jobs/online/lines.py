"""What the online store keeps of each entity, for how long, and its lines as they are written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from jobs.definition import Pipeline
from jobs.online.layout import LAYOUT, key_name
from operators.features import Feature
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

    def keys(self, lines: Lines) -> list[bytes]:
        """The name of each line's key."""
        prefix = self.prefix
        return [prefix + text.encode() for text in lines.texts[0].to_pylist()]

    def values(self, lines: Lines) -> list[bytes]:
        """Each line as JSON; a feature that has nothing to be computed from is null."""
        names, dumps = self.names, orjson.dumps
        columns = zip(
            lines.time.tolist(),
            lines.tie.tolist(),
            lines.texts[1].to_pylist(),
            lines.score.tolist(),
            lines.review.tolist(),
            lines.version.tolist(),
            lines.features.tolist(),
            strict=True,
        )
        return [
            dumps(
                {
                    "time": time_us,
                    "tie": f"{tie:019}",
                    "layout": LAYOUT,
                    "id": id_,
                    "score": score,
                    "decision": "review" if review else "approve",
                    "model_version": version,
                    "features": dict(zip(names, row, strict=True)),
                }
            )
            for time_us, tie, id_, score, review, version, row in columns
        ]


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
