"""The learner as a function of Flink: one task, one key, by a timer of its own."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from pyflink.common import Row
from pyflink.datastream import OutputTag

from jobs.flink_host.function import Turning
from jobs.flink_host.records import RECORD
from jobs.flink_host.states import FlinkStore
from jobs.flink_host.thread_state import adopted
from jobs.lanes.learner import Learner
from jobs.lessons import CAUSES

MILLIONTHS = 1_000_000
DRIFT_TAG = OutputTag("drift", RECORD)
QUALITIES = ("auc", "average_precision", "brier")


class Learn(Turning):
    """Predictions and outcomes from their topics in, records of examples out; alarms and versions
    beside.
    """

    def open(self, runtime_context: Any) -> None:
        self.learner: Learner | None = None
        super().open(runtime_context)
        store = FlinkStore(runtime_context, "learner")
        self.lanes.enter(0)
        settings, folder = self.plan.settings, Path(mkdtemp(prefix="headrace-learn-"))
        owner = f"Flink job {self.job}"
        try:
            self.learner = Learner(self.pipeline, settings.broker(), settings, owner, store, folder)
        finally:
            # Nobody asks for its files by name: their space is free when this process ends.
            shutil.rmtree(folder)
        if self.learner.said:
            sys.stderr.write(f"headrace: {self.learner.said}\n")
        self.gauges = Gauges(runtime_context.get_metrics_group().add_group("headrace"))

    @adopted
    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[Any]:
        learner = self.learner
        if learner is None:
            return
        made = learner.turn()
        for key, value in made.examples:
            yield Row(key, value)
        for key, value in made.drift:
            yield DRIFT_TAG, Row(key, value)
        self.gauges.tell(learner)
        self.collect(idle=learner.rest > 0)
        self.again(ctx, round(1000 * learner.rest))

    def release(self) -> None:
        if self.learner is not None:
            self.learner.close()


class Gauges:
    """What a learner says of itself, as Flink's metrics: whole numbers, which Flink's Python sets.

    Those of quality are the champion's in the last window that closed, in millionths.
    """

    def __init__(self, group: Any) -> None:
        counted = (*CAUSES.values(), "positive")
        self._examples = {name: group.counter(f"examples_{name}") for name in counted}
        self._alarms = group.counter("alarms")
        self._raised = 0
        names = ("version", "behind", *(f"{name}_millionths" for name in QUALITIES))
        self._numbers = {name: group.distribution(name) for name in names}
        self._told: dict[str, int] = {}

    def tell(self, learner: Learner) -> None:
        """Say where it stands, as far as that has changed."""
        numbers = {"version": learner.version, "behind": learner.behind, **learner.gauge.examples}
        numbers["positive"] = learner.gauge.positives
        judged = learner.gauge.windows.get(learner.model)
        for name in QUALITIES:
            value = getattr(judged, name, math.nan)
            if not math.isnan(value):
                numbers[f"{name}_millionths"] = round(value * MILLIONTHS)
        raised = learner.gauge.alarms.total()
        self._alarms.inc(raised - self._raised)
        self._raised = raised
        for name, number in numbers.items():
            before = self._told.get(name)
            if name in self._examples:
                self._examples[name].inc(number - (before or 0))
            elif number != before:
                self._numbers[name].update(number)
        self._told = numbers
