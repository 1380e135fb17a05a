"""What the online store holds of a key: one JSON line, under a name that says whose it is.

    headrace:fraud:customer:42
    {"time":1719835200000000,"tie":"0000000000001000042","layout":1,"id":"1000042","score":0.0123,
     "decision":"approve","model_version":17,"features":{"amount":57.16,…}}

`docs/online.md` describes it for those who read it. The line begins with what the server compares:
nothing of an older event may overwrite it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import orjson

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


def key_name(pipeline: str, entity: str, key: str) -> str:
    """The name under which a key's line lies.

    >>> key_name("fraud", "customer", "42")
    'headrace:fraud:customer:42'
    """
    return f"headrace:{pipeline}:{entity}:{key}"


def encode(
    names: Sequence[str],
    ids: Iterable[str],
    times: Iterable[int],
    ties: Iterable[int],
    scores: Iterable[float],
    reviews: Iterable[int],
    versions: Iterable[int],
    features: Iterable[Sequence[float]],
) -> list[bytes]:
    """Lines from their columns; a feature with nothing to be computed from (NaN) is null.

    >>> encode(["count"], ["a"], [5], [7], [0.5], [1], [2], [[3.0]])[0].decode()
    ... # doctest: +NORMALIZE_WHITESPACE
    '{"time":5,"tie":"0000000000000000007","layout":1,"id":"a","score":0.5,"decision":"review","model_version":2,"features":{"count":3.0}}'
    """
    columns = zip(ids, times, ties, scores, reviews, versions, features, strict=True)
    dumps = orjson.dumps
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
        for id_, time_us, tie, score, review, version, row in columns
    ]


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
