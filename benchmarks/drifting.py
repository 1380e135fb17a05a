"""Simulated streams through the fraud pipeline, as what watches for drift is told of them."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jobs import fraud
from jobs.definition import Pipeline
from jobs.pipeline import Flow
from operators.drift.alarm import Alarm
from operators.drift.watch import Watch
from streams.schema import DAY
from streams.simulation.simulator import Simulation
from streams.simulation.traffic import Drift, Traffic

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

SETTLED, CHANGED, DAYS = 40, 70, 100
"""Days: windows are full by the first, what changes does so at the second."""
PER_DAY = 5000
LEAST = 1e-6

LAST = "30d"
_customer, _terminal, _amount = fraud.customer, fraud.terminal, fraud.transaction.numbers[0]
pipeline: Pipeline = replace(
    fraud.pipeline,
    event=replace(fraud.transaction, numbers=(replace(_amount, required=False),)),
    features={
        **fraud.published,
        "clean_ratio": _customer.clean_ratio("amount", LAST),
        "clean_zscore": _customer.clean_zscore("amount", LAST),
        "week_largest": _customer.largest_clean_ratio("amount", within="7d", last=LAST),
        "week_excess": _customer.clean_excess("amount", within="7d", last=LAST),
        "since_fraud": _customer.since_positive(LAST),
        "run_length": _terminal.run("length", LAST),
        "run_age": _terminal.run("age", LAST),
        "run_gap": _terminal.run("gap", LAST),
        "run_least": _terminal.run("least", LAST, "amount"),
        "since_genuine": _terminal.run("since_negative", LAST),
    },
    challengers={},
)
"""The fraud pipeline, of payments that may lack their amount, looking back 30 days at most."""
AMOUNT = tuple(pipeline.features).index("amount")


@dataclass(frozen=True, slots=True)
class Stream:
    """n events in order of time, as they were scored, and what became known of them."""

    traffic: Traffic
    time: Int64s
    amount: Floats
    score: Floats
    review: npt.NDArray[np.bool_]
    y: npt.NDArray[np.int8]
    """What the first label said."""
    known: Int64s
    """When it came."""
    alarms: tuple[Alarm, ...]

    @property
    def outcomes(self) -> Int64s:
        """Events in the order in which their labels became known before the end."""
        order = np.argsort(self.known, kind="stable")
        return order[self.known[order] < self.traffic.end]

    @property
    def loss(self) -> Floats:
        """The log loss of each event's score."""
        told = np.where(self.y == 1, self.score, 1 - self.score)
        return np.asarray(-np.log(np.maximum(told, LEAST)), np.float64)

    def at(self, day: float) -> int:
        """So many days after the first instant, in microseconds."""
        return self.traffic.begin + round(day * DAY)


def traffic(seed: int, *drifts: Drift, days: float = DAYS, per_day: float = PER_DAY) -> Traffic:
    """A world that is small enough to be gone through many times."""
    return Traffic(
        customers=2500, terminals=5000, per_day=per_day, days=days, fraud_rate=0.02, seed=seed,
        drifts=drifts,
    )  # fmt: skip


def streamed(world: Traffic, watch: Watch | None = None) -> Stream:
    """The traffic of a world, scored, learnt from and watched by the pipeline as it came."""
    maturity = pipeline.event.label.maturity_us
    truth = Simulation(world).columns(2 * (world.expected_rows or 0))
    alarms: list[Alarm] = []
    parts = []
    with tempfile.TemporaryDirectory() as folder:
        flow = Flow(replace(pipeline, watch=watch), Path(folder))
        for batch, _ in Simulation(world, 16_384):
            scored = flow.process(batch)
            parts.append((scored.features, scored.scores[:, 0], scored.review))
            alarms += (each for each in scored.drift if isinstance(each, Alarm))
    x, score, review = (np.concatenate([part[i] for part in parts]) for i in range(3))
    said = (truth["known"] > 0) & (truth["known"] < truth["time"] + maturity)
    return Stream(
        traffic=world,
        time=truth["time"],
        amount=np.ascontiguousarray(x[:, AMOUNT]),
        score=np.ascontiguousarray(score),
        review=review,
        y=said.astype(np.int8),
        known=np.where(said, truth["known"], truth["time"] + maturity),
        alarms=tuple(alarms),
    )
