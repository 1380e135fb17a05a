"""What a run showed, in few numbers: percentiles out of an HdrHistogram, losses, lateness, use."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jobs.load.generator import Load, Observed
from jobs.load.schedule import in_burst
from streams.errors import ConfigError

LOWEST_US, HIGHEST_US, DIGITS = 1, 600_000_000, 3
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
LATE_MS = 15.0
"""A run whose sender was later than this, at any event, tells of the machine, not of the job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run. Milliseconds, shares of one core, bytes."""

    latency_ms: dict[str, float]
    burst_ms: dict[str, float] | None
    """Of the events sent inside bursts, where there were any."""
    events: int
    missing: int
    duplicates: int
    unsent: int
    throughput: float
    """Predictions a second, from the first counted event to the last prediction."""
    late_ms: dict[str, float]
    """The sender's own lateness, at p99 and most."""
    bytes: float
    """Mean length of a prediction."""
    processes: dict[str, dict[str, float]]
    """By name: `cpu`, the share of one core; `rss`, bytes held at the end."""
    histogram: str
    """HdrHistogram V2 of microseconds, compressed, in base64."""

    @property
    def late(self) -> bool:
        """Whether the sender was later than LATE_MS."""
        return self.late_ms["max"] > LATE_MS


def summarise(observed: Observed, load: Load) -> Measured:
    """The run in numbers."""
    latency = observed.latency_ns // 1000
    came = latency >= 0
    burst = came & in_burst(observed.due_ns) if load.arrivals == "burst" else None
    histogram = counted(latency[came])
    late = observed.late_ns / 1e6
    return Measured(
        latency_ms=percentiles(histogram),
        burst_ms=None if burst is None else percentiles(counted(latency[burst])),
        events=len(latency),
        missing=int((~came).sum()),
        duplicates=observed.duplicates,
        unsent=observed.unsent,
        throughput=float(came.sum()) / max(observed.seconds, 1e-9),
        late_ms={"p99": float(np.percentile(late, 99)), "max": float(late.max())},
        bytes=observed.bytes,
        processes={
            name: {"cpu": cpu, "rss": float(rss)} for name, (cpu, rss) in observed.usage.items()
        },
        histogram=histogram.encode().decode("ascii"),
    )


def empty() -> Any:
    """An HdrHistogram of microseconds with three digits, up to ten minutes."""
    try:
        from hdrh.histogram import HdrHistogram  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise ConfigError(
            "latencies are counted by hdrhistogram, which is not installed: "
            "run `uv sync --inexact --extra load`"
        ) from error
    return HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)


def counted(values_us: npt.NDArray[np.int64]) -> Any:
    """A histogram of the values.

    >>> percentiles(counted(np.array([1000] * 99 + [5000])))["p99"]
    1.0
    """
    histogram = empty()
    values, counts = np.unique(np.clip(values_us, LOWEST_US, HIGHEST_US), return_counts=True)
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        histogram.record_value(value, count)
    return histogram


def percentiles(histogram: Any) -> dict[str, float]:
    """Milliseconds at each of PERCENTILES; nan of no values."""
    if not histogram.get_total_count():
        return dict.fromkeys(PERCENTILES, float("nan"))
    return {
        name: histogram.get_value_at_percentile(percent) / 1000
        for name, percent in PERCENTILES.items()
    }


def merged(runs: Sequence[Measured]) -> Any:
    """One histogram of all the runs."""
    histogram = empty()
    for run in runs:
        histogram.decode_and_add(run.histogram)
    return histogram


def medians(runs: Sequence[Measured], burst: bool = False) -> dict[str, float]:
    """The median over the runs at each percentile, in milliseconds."""
    found = [run.burst_ms or {} if burst else run.latency_ms for run in runs]
    return {name: statistics.median(each[name] for each in found) for name in PERCENTILES}
