"""What the online store holds of a key: one JSON line, under a name that says whose it is.

    headrace:fraud:customer:42
    {"time":1719835200000000,"tie":"0000000000001000042","layout":1,"id":"1000042","score":0.0123,
     "decision":"approve","model_version":17,"features":{"amount":57.16,…}}

`docs/online.md` describes it for those who read it. The line begins with what the server compares:
nothing of an older event may overwrite it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import orjson

from jobs.definition import Pipeline
from operators.features import Feature
from streams.errors import ConfigError
from streams.latest import Lines
from streams.redis import Script

LAYOUT = 1

WRITE_NEWER = Script("""
local written = 0
local start = '^{"time":(%d+),"tie":"(%d+)"'
for i, key in ipairs(KEYS) do
  local line = ARGV[i + 1]
  local held = redis.pcall('GETRANGE', key, 0, 60)
  local time, tie
  if type(held) == 'string' then time, tie = string.match(held, start) end
  local newer = time == nil
  if not newer then
    local own_time, own_tie = string.match(line, start)
    time, own_time = tonumber(time), tonumber(own_time)
    newer = time < own_time or (time == own_time and tie <= own_tie)
  end
  if newer then
    redis.call('SET', key, line, 'PX', ARGV[1])
    written = written + 1
  end
end
return written
""")
"""Keys, then how long to keep them in milliseconds, then a line for each: how many were newer."""


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


def key_name(pipeline: str, entity: str, key: str) -> str:
    """The name under which a key's line lies.

    >>> key_name("fraud", "customer", "42")
    'headrace:fraud:customer:42'
    """
    return f"headrace:{pipeline}:{entity}:{key}"


def _entities_of(feature: Feature) -> Iterator[str]:
    if feature.entity:
        yield feature.entity
    for part in feature.parts:
        yield from _entities_of(part)


class Line(msgspec.Struct, frozen=True):
    """A line as it was read back."""

    time: int
    """Event time, microseconds UTC."""
    layout: int
    id: str
    score: float
    decision: str
    model_version: int
    features: dict[str, float | None]


def read_line(held: bytes) -> Line:
    """Read a line. Raises ValueError for what is none of this layout."""
    line = msgspec.json.decode(held, type=Line)
    if line.layout != LAYOUT:
        raise ValueError(f"layout {line.layout}, this version reads {LAYOUT}")
    return line
