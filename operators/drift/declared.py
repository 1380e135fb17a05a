"""What a pipeline is watched by, as its file declares it, and what it is by default."""

from __future__ import annotations

from dataclasses import dataclass

from operators.drift.bucket import Scope, Watcher
from operators.drift.concept import Concept
from operators.drift.covariate import CovariateMonitor, ScoreMonitor
from operators.drift.delay import LabelDelay
from operators.drift.performance import Performance
from operators.drift.prior import Positives
from operators.drift.scales import Measure
from operators.drift.season import Reference
from operators.drift.volume import HOUR_US, Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class Covariate:
    """Watches the inputs: see `operators.drift.covariate.CovariateMonitor`."""

    measure: Measure = "js"
    categories: tuple[str, ...] = ()
    reference: Reference = "sliding"
    weeks: int = 4
    run_length: str = "365d"
    adopt: str = "14d"
    seed: int = 0

    def bind(self, scope: Scope) -> CovariateMonitor:
        """One that has seen nothing."""
        return CovariateMonitor(
            scope.names, measure=self.measure, categories=self.categories,
            reference=self.reference, weeks=self.weeks, settle_us=scope.settle_us,
            bucket=scope.bucket, run_length=self.run_length, adopt=self.adopt, seed=self.seed,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Watches the scores: see `operators.drift.covariate.ScoreMonitor`."""

    measure: Measure = "js"
    reference: Reference = "sliding"
    weeks: int = 4
    settle: str = "14d"
    run_length: str = "365d"
    adopt: str = "14d"
    seed: int = 0

    def bind(self, scope: Scope) -> ScoreMonitor:
        """One that has seen nothing."""
        rows = [(name, value) for name, values in scope.slices.items() for value in values]
        return ScoreMonitor(
            rows, measure=self.measure, reference=self.reference, weeks=self.weeks,
            settle=self.settle, bucket=scope.bucket, run_length=self.run_length, adopt=self.adopt,
            budget=scope.budget, seed=self.seed,
        )  # fmt: skip


ALL: tuple[Watcher, ...] = (
    Volume(), Covariate(), Scores(), Concept(), Positives(), Performance(), LabelDelay(),
)  # fmt: skip
"""What a pipeline is watched by if it does not say."""
PATIENCE: tuple[tuple[int, tuple[type[Watcher], ...]], ...] = (
    (HOUR_US, (Volume, Scores, LabelDelay)),
    (6 * HOUR_US, (Positives, Performance, Concept)),
)
"""For whom how long is soon enough: what they tell of shows by the hour, or by days.

All others are told every bucket, and they alone are told of inputs.
"""
INPUTS = (Covariate,)
"""Those who are told of nothing else."""
