"""Prometheus' text format, version 0.0.4: families of samples as lines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Kind = Literal["counter", "gauge", "histogram"]
Sample = tuple[Mapping[str, object], float]
"""Labels and the value."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with all its samples; of a histogram, its buckets with their upper edges."""

    name: str
    kind: Kind
    help: str
    samples: Sequence[Sample] = ()
    buckets: Sequence[tuple[float, int]] = ()
    """(upper edge, how many at or below it), the last edge infinite."""
    sum: float = 0.0
    """Of a histogram, the sum of what was observed."""

    def lines(self) -> Iterable[str]:
        """The family as lines; none where there is nothing to say."""
        if not self.samples and not self.buckets:
            return
        yield f"# HELP {self.name} {_escaped(self.help)}"
        yield f"# TYPE {self.name} {self.kind}"
        for labels, value in self.samples:
            yield f"{self.name}{_labels(labels)} {number(value)}"
        for edge, count in self.buckets:
            yield f'{self.name}_bucket{{le="{number(edge)}"}} {count}'
        if self.buckets:
            yield f"{self.name}_sum {number(self.sum)}"
            yield f"{self.name}_count {self.buckets[-1][1]}"


def exposition(families: Iterable[Family]) -> bytes:
    r"""The families as a scraper reads them.

    >>> print(exposition([Family("a", "gauge", "An a.", [({"b": 'x"y'}, 2.0)])]).decode(), end="")
    # HELP a An a.
    # TYPE a gauge
    a{b="x\"y"} 2
    """
    lines = [line for family in families for line in family.lines()]
    return "\n".join([*lines, ""]).encode()


def number(value: float) -> str:
    """A number as the format writes it.

    >>> number(3.0), number(0.25), number(math.inf), number(math.nan)
    ('3', '0.25', '+Inf', 'NaN')
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def _labels(labels: Mapping[str, object]) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{_quoted(str(value))}"' for name, value in labels.items())
    return f"{{{','.join(pairs)}}}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
