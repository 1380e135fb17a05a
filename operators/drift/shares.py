"""The share of frauds, and what scores are worth, told by the scores of events without labels.

A curve from scores to shares of frauds is fitted to events whose labels are in. Where later events
have other scores, either frauds have become more or fewer and look as they did (label shift), and
the scores are a mixture of those that frauds and genuine events had, in another proportion; or
events have changed and a score is worth what it was (covariate shift), and any scores may come.
Which of the two it is shows in whether a mixture fits.

The proportion is the one of the greatest likelihood, to which the EM algorithm of Saerens, Latinne
and Decaestecker climbs (*Adjusting the Outputs of a Classifier to New a Priori Probabilities*,
2002); beside it is that of black box shift estimation (Lipton, Wang and Smola, 2018).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models import isotonic
from operators.drift.spans import LOG_ODDS
from streams.jit import kernel

Floats = npt.NDArray[np.float64]

GROUPS = 12
FIT = 29.6 / (GROUPS - 2)
"""The 99.9 % quantile of chi-squared of 10 degrees, by degree."""
_STEPS, _FAR, _END, _ALIKE = 48, 30.0, 500.0, 1e-6


def log_odds(share: float) -> float:
    """Of a share inside (0, 1).

    >>> log_odds(0.5)
    0.0
    """
    return math.log(share / (1 - share))


def chances(z: Floats) -> Floats:
    """Of log-odds."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(z, -_END, _END))), np.float64)


def corrected(chance: Floats, shift: float) -> Floats:
    """Chances where the odds of a fraud have changed by exp(shift), events being what they were.

    This is the correction of the prior: `shift` is the `log_odds` of a prior finding's evidence,
    and is added to the log-odds of a score.

    >>> corrected(np.array([0.5]), math.log(3.0)).round(6).tolist()
    [0.75]
    """
    odds = chance * math.exp(shift)
    return np.asarray(odds / (odds + 1.0 - chance), np.float64)


@kernel("float64(float64[::1], float64[::1], float64, float64)")
def offset(events: Floats, z: Floats, frauds: float, ridge: float) -> float:
    """What added to log-odds z makes events expect so many frauds; pulled to 0 by the ridge."""
    against = np.exp(-z)
    low, high = -_FAR, _FAR
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        more, turned = ridge * middle - frauds, np.exp(-middle)
        for i in range(len(events)):
            if events[i] > 0.0:
                more += events[i] / (1.0 + against[i] * turned)
        if more < 0.0:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


@kernel("float64(float64[::1], float64[::1])")
def likeliest(events: Floats, ratio: Floats) -> float:
    """The log-odds of the mixture's share at which events in places are likeliest.

    `ratio` is how much likelier a place is of a fraud than of a genuine event. The slope of the
    likelihood falls from one end to the other, so that halving finds where it is zero.
    """
    low, high = -_FAR, _FAR
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        share = 1.0 / (1.0 + np.exp(-middle))
        slope = 0.0
        for i in range(len(events)):
            if events[i] > 0.0:
                slope += events[i] * (ratio[i] - 1.0) / (1.0 + share * (ratio[i] - 1.0))
        if slope > 0.0:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


class Estimate(NamedTuple):
    """The share of frauds among events whose labels are not known."""

    share: float
    """If frauds look as they did: by the greatest likelihood."""
    deviation: float
    """Standard error of its log-odds: of these events, and of those that the curve is of."""
    black_box: float
    """If frauds look as they did: by the mean chance."""
    carried: float
    """If a score is worth what it was: the mean chance itself."""
    shift: float
    """What the log-odds of a fraud have grown by if frauds look as they did."""
    misfit: float
    """How badly a mixture fits: chi-squared by degree of freedom, about 1 where it does."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """What scores were worth among events whose labels are in, by place."""

    events: Floats
    """(PLACES,) how many those were."""
    chance: Floats
    """(PLACES,) of being a fraud: isotonic, and in all as many frauds as there were."""
    frauds: float

    @classmethod
    def of(cls, genuine: Floats, frauds: Floats) -> Curve:
        """Of counts by place, of which some of either are not zero; no more frauds than events."""
        events = np.asarray(genuine + frauds, np.float64)
        at, frauds = events > 0, np.minimum(frauds, events)
        fitted = isotonic.fit(LOG_ODDS[at], frauds[at] / events[at], events[at])
        z = _risen(fitted)
        total = float(frauds.sum())
        return cls(events, chances(z + offset(events, z, total, 0.0)), total)

    def of_slice(self, genuine: Floats, frauds: Floats) -> Curve:
        """The same for some of the events: as many frauds as they had, where they had enough."""
        events, total = np.asarray(genuine + frauds, np.float64), float(frauds.sum())
        z = np.log(self.chance / (1.0 - self.chance))
        return Curve(events, chances(z + offset(events, z, total, 1.0)), total)

    @property
    def share(self) -> float:
        """Of frauds, among all."""
        return float(self.events @ self.chance / self.events.sum())

    @property
    def _ratio(self) -> Floats:
        """How much likelier a place is of a fraud than of a genuine event."""
        odds, share = self.chance / (1.0 - self.chance), self.share
        return np.asarray(odds * (1.0 - share) / share, np.float64)

    def likeliest(self, events: Floats) -> float:
        """The share of frauds alone that `estimate` has."""
        return float(chances(np.array(likeliest(events, self._ratio))))

    def estimate(self, events: Floats) -> Estimate | None:
        """The share of frauds among others, counted by place; None where all scores are alike."""
        ratio, share = self._ratio, self.likeliest(events)
        frauds, genuine = self.events * self.chance, self.events * (1.0 - self.chance)
        frauds, genuine = frauds / frauds.sum(), genuine / genuine.sum()
        if (ratio - 1.0) @ (frauds - genuine) < _ALIKE:
            return None
        n = events.sum()
        apart = (ratio - 1.0) / (1.0 + share * (ratio - 1.0))
        gap = apart @ frauds - apart @ genuine
        noise = (
            _variance(apart, events / n) / n
            + share**2 * _variance(apart, frauds) / self.frauds
            + (1.0 - share) ** 2 * _variance(apart, genuine) / (self.events.sum() - self.frauds)
        )
        base, slope = self.chance @ genuine, self.chance @ frauds - self.chance @ genuine
        carried = float(self.chance @ events / n)
        return Estimate(
            share,
            math.sqrt(noise) / gap / (share * (1.0 - share)),
            float(np.clip((carried - base) / slope, 0.0, 1.0)),
            carried,
            log_odds(share) - log_odds(self.share),
            self._misfit(events, share, frauds, genuine),
        )

    def _misfit(self, events: Floats, share: float, frauds: Floats, genuine: Floats) -> float:
        """Over groups of places that frauds and genuine events together fall into evenly."""
        both = np.cumsum(frauds + genuine) - (frauds + genuine) / 2
        group = np.minimum((both * GROUPS / 2).astype(np.int64), GROUPS - 1)
        n, held = events.sum(), self.events.sum()
        wanted = np.bincount(group, n * (share * frauds + (1.0 - share) * genuine), GROUPS)
        came = np.bincount(group, events, GROUPS)
        own = np.bincount(group, self.events, GROUPS)
        noise = np.maximum(wanted, 1.0) + (n / held) ** 2 * own
        used = wanted >= 1.0
        degrees = max(int(used.sum()) - 2, 1)
        return float(np.sum((came - wanted)[used] ** 2 / noise[used]) / degrees)


def _risen(fitted: Floats) -> Floats:
    """The log-odds of every place by a fitted curve: `isotonic.rise`, of all at once."""
    x, ahead = fitted[1 : 1 + int(fitted[0])], fitted[1 + isotonic.MOST :][: int(fitted[0])]
    beyond = np.minimum(LOG_ODDS - x[0], 0.0) + np.maximum(LOG_ODDS - x[-1], 0.0)
    return np.asarray(np.interp(LOG_ODDS, x, ahead) + beyond, np.float64)


def _variance(value: Floats, share: Floats) -> float:
    mean = value @ share
    return float((value - mean) ** 2 @ share)
