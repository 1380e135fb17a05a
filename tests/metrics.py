"""Monitors in which something is said of everything, and what their metrics are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from jobs.monitoring.exposition import exposition
from jobs.monitoring.families import families
from jobs.monitoring.monitor import Monitor
from jobs.monitoring.recent import Recent
from operators.drift.alarm import Alarm, Kind
from operators.evaluate import Prequential

NOW_US = 1_800_000_000_000_000


class Store:
    """What an online store says of itself."""

    up, waiting, lag, written, superseded, failures = False, 12, 3.5, 1000, 40, 2


def filled(monitor: Monitor) -> Monitor:
    """A monitor in which something is said of everything that its job has."""
    monitor.ledger = lambda: {"admitted": 5}
    monitor.state_bytes = lambda: {"customer": 4096}
    monitor.dead_letters["not JSON"] = 3
    monitor.snapshots.at_us = NOW_US
    monitor.model.since_us = NOW_US
    monitor.features = Recent(("amount", "ratio"))
    monitor.features.add(np.array([[20.0, np.nan], [30.0, 1.0], [40.0, -1.0], [1000.0, 0.0]]))
    if monitor.predictions:
        monitor.online = Store()
        scores, yes = np.array([0.002, 0.4, 0.003]), np.array([False, True, False])
        monitor.predictions.made(scores, yes, ~yes)
    if monitor.learning:
        days = np.array([86_400_000_000, 4 * 86_400_000_000])
        monitor.learning.learnt(["label", "label", "maturity"], [1, 1, 0], days)
        monitor.learning.raised([drift("covariate"), drift("prior"), drift("prior", over=True)])
        watched = {"buckets_total": 40, "bucket_end_seconds": 36_000.0, "alarm_number": 2}
        monitor.learning.watched = lambda: watched
        monitor.learning.open = lambda: {"covariate": 1, "prior": 0}
        judge = Prequential(("champion", "prior"), window_us=10, maturity_us=5)
        columns = np.array([3, 4, 12]), np.array([9, 9, 17]), np.array([[0.9, 0.1]] * 3)
        label, customer = np.array([1, 0, 0], np.int8), np.array([1, 2, 3])
        monitor.learning.closed(judge.observe(*columns, label, customer))
    return monitor


def drift(kind: Kind, *, over: bool = False) -> Alarm:
    """An alarm of this kind."""
    return Alarm(
        kind=kind, detector="ks", since_us=0, size=1.0, threshold=0.5, number=1, at_us=0,
        version=0, over=over,
    )  # fmt: skip


def both() -> Iterator[Monitor]:
    """A score job's and a learn job's."""
    inputs = [("transactions", 0), ("labels", 1)]
    yield filled(Monitor("score", pipeline="fraud", definition="9f3a", inputs=inputs))
    yield filled(Monitor("learn", pipeline="fraud", definition="9f3a", inputs=inputs))


def labels_there() -> dict[str, set[str]]:
    """Every name that a scrape has, with its labels."""
    found: dict[str, set[str]] = {}
    for monitor in both():
        for family in parsed(exposition(families(monitor)).decode()).values():
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    return found


def parsed(text: str) -> dict[str, Metric]:
    """What Prometheus' own client reads, by the names in the text; counters end in `_total`."""
    return {
        each.name + ("_total" if each.type == "counter" else ""): each
        for each in text_string_to_metric_families(text)
    }
