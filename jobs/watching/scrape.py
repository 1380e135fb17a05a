"""A job's `/metrics` as it is read."""

from __future__ import annotations

import math
import re
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

_SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_MEANT = {r"\\": "\\", r"\"": '"', r"\n": "\n"}
TIMEOUT_S = 2.0
Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Scrape:
    """The samples of one job at one moment, by the name of their metric."""

    samples: Mapping[str, Sequence[tuple[Labels, float]]]

    @classmethod
    def parsed(cls, text: str) -> Self:
        r"""Of the text format.

        >>> Scrape.parsed('# TYPE a gauge\na{b="x\\"y"} 2\na 1\n').samples
        {'a': [({'b': 'x"y'}, 2.0), ({}, 1.0)]}
        """
        found: dict[str, list[tuple[Labels, float]]] = {}
        for line in text.splitlines():
            match = None if line.startswith("#") else _SAMPLE.fullmatch(line)
            if match:
                labels = {name: _unquoted(value) for name, value in _LABEL.findall(match[2] or "")}
                found.setdefault(match[1], []).append((labels, float(match[3])))
        return cls(found)

    @classmethod
    def of(cls, address: str) -> Self:
        """Of the job at `host:port`. Raises OSError or ValueError where none answers."""
        url = f"http://{address}/metrics"
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            return cls.parsed(answer.read().decode())

    def by(self, name: str, label: str, **wanted: str) -> dict[str, float]:
        """The samples with these labels, by another of their labels, added up."""
        found: dict[str, float] = {}
        for labels, value in self._those(name, wanted):
            found[labels.get(label, "")] = found.get(labels.get(label, ""), 0.0) + value
        return found

    def one(self, name: str, **wanted: str) -> float:
        """The samples with these labels, added up; nan where there is none."""
        values = [value for _, value in self._those(name, wanted)]
        return sum(values) if values else math.nan

    def text(self, name: str, label: str) -> str:
        """The label of its first sample."""
        return next((labels.get(label, "") for labels, _ in self.samples.get(name, ())), "")

    def _those(self, name: str, wanted: Labels) -> Iterator[tuple[Labels, float]]:
        for labels, value in self.samples.get(name, ()):
            if wanted.items() <= labels.items():
                yield labels, value

    def histogram(self, name: str) -> list[tuple[float, float]]:
        """(upper edge, how many at or below it), by edge."""
        return sorted((float(edge), n) for edge, n in self.by(f"{name}_bucket", "le").items())


def quantile(
    share: float, now: Sequence[tuple[float, float]], before: Sequence[tuple[float, float]] = ()
) -> float:
    """Of what a histogram counted since `before`, as Prometheus' `histogram_quantile` has it.

    >>> quantile(0.5, [(1.0, 0), (2.0, 10), (math.inf, 10)])
    1.5
    """
    old = dict(before)
    counts = [(edge, n - old.get(edge, 0.0)) for edge, n in now]
    if not counts or counts[-1][1] <= 0 or any(n < 0 for _, n in counts):
        return math.nan
    rank, low, below = share * counts[-1][1], 0.0, 0.0
    for edge, n in counts:
        if n >= rank:
            if math.isinf(edge):
                return low
            return low + (edge - low) * (rank - below) / max(n - below, 1e-12)
        low, below = edge, n
    return low


def _unquoted(text: str) -> str:
    return re.sub(r"\\.", lambda pair: _MEANT.get(pair[0], pair[0]), text)
