"""Drift of inputs and of scores: distributions beside what they are at that hour of the week.

How rows are judged, and when a change is told and is over, says `operators.drift.rows`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.drift.alarm import Finding
from operators.drift.bucket import SCALE, Bucket
from operators.drift.rows import Rows
from operators.drift.scales import Measure
from operators.drift.season import Reference
from operators.drift.sketch import BINS, BLOCK, BLOCK_BITS, BLOCKS
from streams.errors import ConfigError
from streams.jit import kernel
from streams.schema import DAY, duration_us

Int64s = npt.NDArray[np.int64]


class CovariateMonitor(Rows):
    """Watches the inputs: their distributions, how often they are missing, what values they have.

    `measure` is the distance by which numbers are compared; those in `categories` are compared by
    chi-squared. `reference`: the first `weeks` weeks (fixed), the latest (sliding), or a sample of
    all. `run_length` is the mean event time between false alarms. `settle_us`: how long after the
    first event each input is not what it will be, as windows fill (`Feature.horizon_us`).

    Kinds: `covariate`; `missing`, of the share that is NaN; `schema`, where an input has one value
    only that had others, or more than half of its values are in bins never seen before, such as
    fractions of what was whole, up to 16. Names that differ more finely than bins are not told.

    >>> CovariateMonitor(["amount"]).nbytes < 60_000
    True
    """

    kinds = ("covariate", "missing", "schema")
    share_detector = "missing rate"

    def __init__(
        self,
        features: Sequence[str],
        *,
        measure: Measure = "js",
        categories: Collection[str] = (),
        reference: Reference = "sliding",
        weeks: int = 4,
        settle_us: Sequence[int] = (),
        bucket: str = "15m",
        run_length: str = "365d",
        adopt: str = "14d",
        seed: int = 0,
    ) -> None:
        self.features = tuple(features)
        for each in categories:
            if each not in self.features:
                wanted = ", ".join(self.features)
                raise ConfigError(f"categories: wanted some of {wanted}; got {each!r}")
        measures: list[Measure] = ["chi2" if each in categories else measure for each in features]
        super().__init__(
            measures, apart=True, reference=reference, weeks=weeks,
            settle_us=tuple(settle_us) or (0,) * len(measures), bucket=bucket,
            run_length=run_length, adopt=adopt, seed=seed,
        )  # fmt: skip

    def close(self, bucket: Bucket) -> Sequence[Finding]:
        """Take the next bucket, which may be empty; say what it shows."""
        return self._close(bucket, bucket.features, bucket.features.missing)

    def _about(self) -> object:
        return self.features

    def _named(self, rows: Int64s) -> dict[str, Any]:
        return {"features": tuple(self.features[row] for row in rows)}


class ScoreMonitor(Rows):
    """Watches odds of scores, and the share of those that were once the highest hundredth.

    Of all events and of each slice value, in the rows of `Bucket.scores`. Scores change with
    versions too, so a reference that slides is the default, and it begins `settle` after the first
    version that has learnt anything: before that all scores are one. A change of slices only is
    told of the one that changed most.
    """

    kinds = ("score", "score", "score")
    share_detector = "alert rate"

    def __init__(
        self,
        slices: Sequence[tuple[str, str]] = (),
        *,
        measure: Measure = "js",
        reference: Reference = "sliding",
        weeks: int = 4,
        settle: str = "0s",
        bucket: str = "15m",
        run_length: str = "365d",
        adopt: str = "14d",
        budget: float = 0.01,
        seed: int = 0,
    ) -> None:
        self.rows = (("", ""), *slices)
        self.budget = budget
        self._day = -1
        self._alert = np.full(len(self.rows), BINS, np.int64)
        """The first bin of what was once the highest."""
        self._above = np.zeros(len(self.rows), np.int64)
        super().__init__(
            [measure] * len(self.rows), apart=False, reference=reference, weeks=weeks,
            settle_us=(duration_us(settle),) * len(self.rows), bucket=bucket,
            run_length=run_length, adopt=adopt, seed=seed,
        )  # fmt: skip

    def close(self, bucket: Bucket) -> Sequence[Finding]:
        """Take the next bucket, which may be empty; say what it shows."""
        if not bucket.version:
            return []
        if bucket.start_us // DAY != self._day:
            self._day = bucket.start_us // DAY
            if self.season.stale(bucket.start_us):
                self.season.move(bucket.start_us, self.changed.rows)
            self._set_alert()
        scores = bucket.scores
        _above(scores.counts, scores.blocks, self._alert, self._above)
        return self._close(bucket, bucket.scores, self._above)

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from a `state()` to the bit; StateError where it is of another configuration."""
        super().load(state)
        self._set_alert()
        self._day = -1

    def _set_alert(self) -> None:
        fine = self.season.fine
        above = fine[:, ::-1].cumsum(axis=1)
        least = (above <= self.budget * fine.sum(axis=1, keepdims=True)).sum(axis=1)
        self._alert[...] = BINS - least

    def _about(self) -> object:
        return self.rows, self.budget

    def _named(self, rows: Int64s) -> dict[str, Any]:
        name, value = self.rows[0 if 0 in rows else int(rows[0])]
        return {"slice": name, "value": value}

    def _value(self, counted: float) -> float:
        return counted / (SCALE + counted)


@kernel("void(int64[:, ::1], int64[::1], int64[::1], int64[::1])")
def _above(counts: Int64s, blocks: Int64s, alert: Int64s, above: Int64s) -> None:
    """How many values of each row are in its bin `alert` or higher."""
    for row in range(len(alert)):
        above[row] = 0
        for block in range(alert[row] >> BLOCK_BITS, BLOCKS):
            if blocks[row] >> block & 1:
                for at in range(max(block * BLOCK, alert[row]), min((block + 1) * BLOCK, BINS)):
                    above[row] += counts[row, at]
