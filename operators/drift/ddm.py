"""DDM: the share of errors, beside the least it has ever been.

Gama, Medas, Castillo and Rodrigues, *Learning with drift detection* (2004). With a
`drift_threshold` it is River's `DDM`, of errors. Without one an error is a value among the largest
`SHARE`, by sequential ranks, and the threshold is that of the `run_length`. As the share settles an
alarm becomes ever less likely, so that its own mean run length is not finite: the statistics then
begin anew every `MEMORY` values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operators.drift.detector import (
    ALARM,
    NOTHING,
    OWN,
    RANDOM,
    RUN,
    SINCE,
    TOLD,
    WARNING,
    Arrays,
    Changes,
    Detector,
    Floats,
    Int8s,
    Int64s,
    word,
)
from operators.drift.ranks import rank
from operators.drift.runlength import setting
from streams.jit import borrow, kernel

SHARE, MEMORY, WARM = 0.05, 20_000, 600
N, LEAST_AT = range(OWN, OWN + 2)
P, LEAST_P, LEAST_S = range(3)
WARM_START, WARN, DRIFT, RENEW = range(4)


@kernel()
def clear(words: Int64s, reals: Floats) -> None:
    """As if it had seen nothing; random numbers go on."""
    words[TOLD] = words[N] = words[LEAST_AT] = 0
    reals[P] = reals[LEAST_S] = 0.0
    reals[LEAST_P] = np.inf


@kernel()
def _move(
    n: int, p: float, least_p: float, least_s: float, least_at: int, settings: Floats, x: float
) -> tuple[float, float, float, int, int]:
    """The same after the n-th value: the share, the least and when it was; what is to be told."""
    p += (1.0 / n) * (x - p)
    if n <= settings[WARM_START]:
        return p, least_p, least_s, least_at, NOTHING
    s = np.sqrt(p * (1.0 - p) / n)
    if p + s <= least_p + least_s:
        least_p, least_s, least_at = p, s, n
    if p + s > least_p + settings[WARN] * least_s:
        drift = p + s > least_p + settings[DRIFT] * least_s
        return p, least_p, least_s, least_at, ALARM if drift else WARNING
    if p + s > least_p + settings[DRIFT] * least_s:
        return p, least_p, least_s, least_at, ALARM
    return p, least_p, least_s, least_at, NOTHING


@kernel()
def step(words: Int64s, reals: Floats, settings: Floats, x: float) -> int:
    """Take one value between 0 and 1; what it is told to be."""
    if words[TOLD] == ALARM or words[N] == settings[RENEW]:
        clear(words, reals)
    words[N] += 1
    reals[P], reals[LEAST_P], reals[LEAST_S], words[LEAST_AT], words[TOLD] = _move(
        words[N], reals[P], reals[LEAST_P], reals[LEAST_S], words[LEAST_AT], settings, x
    )
    words[SINCE] = words[N] - words[LEAST_AT]
    return int(words[TOLD])


@kernel()
def _skip(
    values: Floats, i: int, words: Int64s, reals: Floats, settings: Floats, told: Int8s
) -> int:
    """Take values from the i-th on until before an alarm or a new beginning; the place."""
    if words[TOLD] == ALARM:
        clear(words, reals)
    n, p, least_at = words[N], reals[P], words[LEAST_AT]
    least_p, least_s = reals[LEAST_P], reals[LEAST_S]
    while i < len(values) and (n == 0 or n != settings[RENEW]):
        after = _move(n + 1, p, least_p, least_s, least_at, settings, values[i])
        if after[4] == ALARM:
            break
        p, least_p, least_s, least_at, told[i] = after
        n += 1
        i += 1
    words[N], reals[P], words[LEAST_AT] = n, p, least_at
    reals[LEAST_P], reals[LEAST_S] = least_p, least_s
    words[TOLD], words[SINCE] = NOTHING, n - least_at
    return i


@kernel(RUN)
def _run(
    values: Floats,
    words: Int64s,
    reals: Floats,
    settings: Floats,
    tree: Int64s,
    told: Int8s,
    since: Int64s,
) -> None:
    """`step` through values: without ranks, as far as there is no alarm, outside of arrays."""
    words, reals, settings, tree = borrow(words), borrow(reals), borrow(settings), borrow(tree)
    i = 0
    while i < len(values):
        if len(tree):
            if words[TOLD] == ALARM:
                tree[:] = 0
            x = 1.0 if rank(tree, words, RANDOM, values[i]) > 1.0 - SHARE else 0.0
        else:
            i = _skip(values, i, words, reals, settings, told)
            if i == len(values):
                return
            x = float(values[i])
        told[i] = step(words, reals, settings, x)
        since[i] = words[SINCE]
        i += 1


class _OfErrors(Detector):
    """Takes errors only, 0 or 1, or shares of errors."""

    def update_many(self, values: Floats) -> Changes:
        if len(values) and not (np.min(values) >= 0 and np.max(values) <= 1):
            raise ValueError(
                f"Ddm: wanted errors, from 0 to 1, got {np.min(values)} to {np.max(values)}; "
                "other values need a run_length in place of thresholds"
            )
        return super().update_many(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ddm:
    """Tells when errors have become more frequent, and warns before.

    Without a `drift_threshold`: values to a false alarm are `run_length` on average, on any stream
    whose values are in no particular order; it warns at two thirds of the threshold, and the other
    settings are not read. With one: River's, with its defaults for the others.
    Memory: 16.5 kB, 100 bytes as River's.

    >>> import numpy as np
    >>> errors = np.concatenate([np.arange(200) % 5 == 0, np.ones(50)]).astype(float)
    >>> changes = Ddm(drift_threshold=3.0).bind().update_many(errors)
    >>> changes.alarms.tolist(), changes.warnings[:2].tolist()
    ([214], [207, 208])
    """

    run_length: float = 100_000
    warm_start: int = 30
    warning_threshold: float = 2.0
    drift_threshold: float | None = None
    seed: int = 0

    @property
    def calibrated(self) -> bool:
        """Whether the run length is kept."""
        return self.drift_threshold is None

    def arrays(self) -> Arrays:
        """What it starts with."""
        words, reals = np.zeros(LEAST_AT + 1, np.int64), np.zeros(3)
        clear(words, reals)
        words[RANDOM] = word(self.seed)
        if self.drift_threshold is None:
            threshold = setting("Ddm", self.run_length)
            own: tuple[float, ...] = WARM, threshold * 2 / 3, threshold, MEMORY
        else:
            own = self.warm_start, self.warning_threshold, self.drift_threshold, 0
        return Arrays(words, reals, np.array(own, np.float64))

    def bind(self) -> Detector:
        """One that has seen nothing."""
        return (Detector if self.calibrated else _OfErrors)("Ddm", _run, self)
