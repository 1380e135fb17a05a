"""The quality of late: the mean of the last closed windows, scorer by scorer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from operators.evaluate import METRICS, WindowMetrics

OVER = 30


def lately(windows: Iterable[WindowMetrics], over: int = OVER) -> list[WindowMetrics]:
    """A row per scorer: the mean of its last `over` windows, each metric where it is defined.

    Unlike the pooled metrics it compares only scores of one window with each other, and those made
    before anything was learnt soon leave it. Slices are left out.

    >>> lately([])
    []
    """
    rows: dict[str, list[WindowMetrics]] = {}
    for row in windows:
        if not row.slice:
            rows.setdefault(row.scorer, []).append(row)
    return [_mean(each[-over:]) for each in rows.values()]


def _mean(rows: Sequence[WindowMetrics]) -> WindowMetrics:
    means: dict[str, float] = {}
    for name in METRICS:
        defined = [value for row in rows if not math.isnan(value := getattr(row, name))]
        means[name] = sum(defined) / len(defined) if defined else math.nan
    return WindowMetrics(
        start_us=rows[0].start_us,
        end_us=rows[-1].end_us,
        scorer=rows[0].scorer,
        slice="",
        value="",
        examples=sum(row.examples for row in rows),
        frauds=sum(row.frauds for row in rows),
        exact=all(row.exact for row in rows),
        **means,
    )
