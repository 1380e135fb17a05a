"""What moved the scores of a run lately: how much each feature added to them, by model."""

from __future__ import annotations

import numpy as np

from jobs.local import LocalRun
from models.base import Floats

EVENTS = 1000
"""Enough for a mean that is known to a few per cent, also of models that are slow to explain."""
WINDOW = 50_000


def moved(run: LocalRun) -> dict[str, list[tuple[str, float]]]:
    """By model, the mean size of each feature's contribution to the log-odds, largest first.

    Of champion and challengers, the versions in force, over up to `EVENTS` events that are spread
    evenly over the last `WINDOW` that were scored, of those whose features are still kept.
    """
    flow = run.flow
    first = max(flow.index.first_row, flow.index.next_row - WINDOW)
    rows = np.unique(np.linspace(first, flow.index.next_row - 1, EVENTS).astype(np.int64))
    if flow.index.next_row <= first:
        return {}
    x = flow.log.take(rows, slice(len(flow.names)))
    models = ("champion", *run.pipeline.challengers)
    return {
        name: _sorted(flow.names, np.abs(version.contributions_many(x)[:, :-1]).mean(axis=0))
        for name, version in zip(models, flow.lineup.versions, strict=False)
    }


def _sorted(names: tuple[str, ...], sizes: Floats) -> list[tuple[str, float]]:
    pairs = zip(names, sizes.tolist(), strict=True)
    return sorted((pair for pair in pairs if pair[1]), key=lambda pair: -pair[1])
