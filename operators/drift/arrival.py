"""How long labels take, told while some are still on their way, and what that makes of figures.

The delays that are known at a moment are of labels that were quick enough: of an event an hour old
no delay is longer than an hour. Among delays no longer than d, of events at least that old, the
share that took d is not bent by that; the product of what is left over all longer delays is the
share that takes no longer than d: the product-limit estimate of Kaplan and Meier with time turned
round, for delays truncated on the right (Woodroofe, 1985; Kalbfleisch and Lawless, 1989).

A fraud that is known weighs one over the share that was known by its age (Horvitz and Thompson,
1952), so that it stands for those that are not known yet.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from operators.drift.spans import DELAY_ENDS_US, PARTS

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

_ENDS = np.concatenate([[0.0], DELAY_ENDS_US])
_PARTS = (np.arange(PARTS) + 0.5) / PARTS


@dataclass(frozen=True, slots=True)
class Delays:
    """The share of labels that take no longer than so long, of those that come at all."""

    share: Floats
    """At `spans.DELAY_ENDS_US`."""
    variance: Floats
    """Of its logarithm."""

    @classmethod
    def of(cls, whole: Floats, took: Int64s, age_us: Int64s) -> Delays:
        """Of delays by bin: of spans that are whole, and (spans, bins) those so far of others.

        `age_us` (spans,) is how old the youngest event of each is.
        """
        at_risk = age_us[:, None] >= DELAY_ENDS_US
        within = np.cumsum(took, axis=1)
        here = whole + (took * at_risk).sum(axis=0)
        upto = np.cumsum(whole) + (within * at_risk).sum(axis=0)
        least = np.maximum(upto, 1.0)
        left = np.where(upto > here, 1.0 - here / least, np.where(here > 0, 0.0, 1.0))
        noise = np.where(upto > here, here / (least * np.maximum(upto - here, 1.0)), 0.0)
        longer = np.append(np.cumprod(left[:0:-1])[::-1], 1.0)
        return cls(longer, np.append(np.cumsum(noise[:0:-1])[::-1], 0.0))

    def median_us(self) -> float:
        """Half of the labels take no longer."""
        return float(np.interp(0.5, np.append(0.0, self.share), _ENDS))

    def known(self, start_us: int, span_us: int, when: Int64s, now_us: int) -> tuple[float, float]:
        """What share of a span's labels is known by now, and the variance of its logarithm.

        `when` says how many events each part of the span had.
        """
        age = now_us - (start_us + _PARTS * span_us)
        held = np.interp(age, _ENDS, np.append(0.0, self.share))
        noise = np.interp(age, _ENDS, np.append(self.variance[0], self.variance))
        n = max(float(when.sum()), 1.0)
        return float(held @ when / n), float(noise @ when / n)
