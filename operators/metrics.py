"""Quality of scores against labels: exact, fast, independent of the order of the examples.

Every function takes `score`, float64 probabilities in [0, 1], and `label`, int8 or bool with 1 for
fraud, both of shape (n,). Equal scores are one group: no result depends on how ties are ordered.

The rank metrics and the calibration error are sums over groups of equal score, highest first.
`Groups` holds those counts, so that exact scores here and histogram bins in `operators.scorebins`
share one formula each, and several metrics of the same scores share one sort.

Where a metric is undefined the result is nan, never an error: AUC without both classes, average
precision and recall without a fraud, anything of no examples.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streams.jit import kernel

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Labels: TypeAlias = NDArray[np.int8] | NDArray[np.bool_]

SMALLEST = float(np.finfo(np.float64).eps)
"""Log loss sees probabilities clipped to [SMALLEST, 1 - SMALLEST], as scikit-learn does."""


class Groups(NamedTuple):
    """Frauds and genuine examples per group of equal score, highest score first."""

    frauds: Ints
    genuine: Ints


def group(score: Floats, label: Labels) -> Groups:
    """Count the labels at each distinct score.

    >>> group(np.array([0.1, 0.9, 0.9]), np.array([0, 1, 0], np.int8))
    Groups(frauds=array([1, 0]), genuine=array([1, 1]))
    """
    return ranked(score, label)[1]


def ranked(score: Floats, label: Labels) -> tuple[Floats, Groups]:
    """The distinct scores, highest first, and the labels counted at each.

    Bits of floats from 0 to 1 order as the floats do and leave the sign bit free, so score and
    label are sorted as one integer: less than half the time of sorting an index.

    >>> ranked(np.array([0.1, 0.9, 0.9]), np.array([0, 1, 0], np.int8))[0].tolist()
    [0.9, 0.1]
    """
    bits = np.ascontiguousarray(score, np.float64).view(np.int64)
    keys = np.sort(bits << 1 | np.asarray(label, np.int64))
    distinct, frauds, genuine = np.empty((3, len(keys)), np.int64)
    m = _count(keys, distinct, frauds, genuine)
    return distinct[:m].view(np.float64), Groups(frauds[:m], genuine[:m])


@kernel("int64(int64[::1], int64[::1], int64[::1], int64[::1])")
def _count(keys: Ints, distinct: Ints, frauds: Ints, genuine: Ints) -> int:
    """From ascending keys, score << 1 | label, the groups, highest first; how many."""
    m = -1
    for i in range(len(keys) - 1, -1, -1):
        score = keys[i] >> 1
        if m < 0 or score != distinct[m]:
            m += 1
            distinct[m] = score
            frauds[m] = genuine[m] = 0
        frauds[m] += keys[i] & 1
        genuine[m] += 1 - (keys[i] & 1)
    return m + 1


def auc_of(groups: Groups) -> float:
    """Area under the ROC curve: the share of (fraud, genuine) pairs in order, ties one half."""
    pairs = int(groups.frauds.sum()) * int(groups.genuine.sum())
    return _twice_in_order(*groups) / (2 * pairs) if pairs else math.nan


@kernel("int64(int64[::1], int64[::1])")
def _twice_in_order(frauds: Ints, genuine: Ints) -> int:
    """Twice the pairs of a fraud and a genuine example that is below it, once those that tie."""
    found = 0
    twice = 0
    for i in range(len(frauds)):
        twice += genuine[i] * (2 * found + frauds[i])
        found += frauds[i]
    return twice


def average_precision_of(groups: Groups) -> float:
    """Precision at the end of each group, weighted by the recall the group adds."""
    total = int(groups.frauds.sum())
    if not total:
        return math.nan
    weighted = np.empty(len(groups.frauds))
    _weigh_precision(*groups, weighted)
    return float(np.sum(weighted)) / total


@kernel("void(int64[::1], int64[::1], float64[::1])")
def _weigh_precision(frauds: Ints, genuine: Ints, out: Floats) -> None:
    """Precision at the end of each group, times its frauds."""
    found = 0
    seen = 0
    for i in range(len(frauds)):
        found += frauds[i]
        seen += frauds[i] + genuine[i]
        out[i] = frauds[i] * (found / max(seen, 1))


def found_within(groups: Groups, top: float) -> float:
    """Frauds among the `top` highest scores; a group cut by `top` counts by the part inside.

    That is the expected number when ties are ordered at random.

    >>> found_within(Groups(np.array([1, 2]), np.array([0, 2])), 2)
    1.5
    """
    return float(_found(*groups, top))


@kernel("float64(int64[::1], int64[::1], float64)")
def _found(frauds: Ints, genuine: Ints, top: float) -> float:
    """The number of frauds, linear from group to group, at `top` examples."""
    found = 0
    seen = 0
    for i in range(len(frauds)):
        examples = frauds[i] + genuine[i]
        if top < seen + examples:
            return float(frauds[i] / examples * (top - seen) + found)
        found += frauds[i]
        seen += examples
    return float(found)


def recall_within(groups: Groups, share: float) -> float:
    """Share of the frauds found in the `share` of examples with the highest scores."""
    total = int(groups.frauds.sum())
    if not total:
        return math.nan
    return found_within(groups, share * (total + int(groups.genuine.sum()))) / total


def ranking(groups: Groups, share: float) -> tuple[float, float, float]:
    """AUC, average precision, and recall within `share` of the examples.

    >>> ranking(Groups(np.array([1, 0]), np.array([0, 1])), 0.5)
    (1.0, 1.0, 1.0)
    """
    return auc_of(groups), average_precision_of(groups), recall_within(groups, share)


def calibration_error_of(score: Floats, groups: Groups, bins: int = 10) -> float:
    """See `calibration_error`; `score` is that of each group, highest first.

    >>> calibration_error_of(np.array([0.75, 0.25]), Groups(np.array([4, 0]), np.array([0, 4])), 2)
    0.25
    """
    n = int(groups.frauds.sum()) + int(groups.genuine.sum())
    if not n:
        return math.nan
    gap = np.zeros(bins)
    _add_gaps(score, *groups, n, gap)
    return float(np.sum(np.abs(gap))) / n


@kernel("void(float64[::1], int64[::1], int64[::1], int64, float64[::1])")
def _add_gaps(score: Floats, frauds: Ints, genuine: Ints, n: int, gap: Floats) -> None:
    """Add to each bin of equal mass what its scores promise more than its frauds."""
    below = n
    place = len(gap) - 1
    for i in range(len(score)):
        examples = frauds[i] + genuine[i]
        below -= examples
        while below * len(gap) < place * n:
            place -= 1
        gap[place] += examples * score[i] - frauds[i]


def auc(score: Floats, label: Labels) -> float:
    """Area under the ROC curve, as scikit-learn's `roc_auc_score`.

    >>> auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1], np.int8))
    0.75
    """
    return auc_of(group(score, label))


def average_precision(score: Floats, label: Labels) -> float:
    """Average precision without interpolation, as scikit-learn's `average_precision_score`.

    >>> round(average_precision(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1], bool)), 3)
    0.833
    """
    return average_precision_of(group(score, label))


def recall_at_budget(score: Floats, label: Labels, share: float = 0.01) -> float:
    """Share of the frauds found when the top `share` of examples is reviewed.

    The budget is `share` times n, not rounded: the last example counts by the part inside it.

    >>> recall_at_budget(np.array([0.9, 0.5, 0.4, 0.1]), np.array([1, 0, 1, 0], bool), 0.25)
    0.5
    """
    return recall_within(group(score, label), share)


def precision_at(score: Floats, label: Labels, k: int = 100) -> float:
    """Share of frauds among the `k` highest scores, or among all when there are fewer.

    >>> precision_at(np.array([0.9, 0.5, 0.4]), np.array([1, 0, 1], bool), 2)
    0.5
    """
    top = min(k, len(score))
    return found_within(group(score, label), top) / top if top else math.nan


def losses(score: Floats, label: Labels) -> Floats:
    """Log loss of each example, in nats.

    >>> losses(np.array([0.5, 0.0]), np.array([1, 0], bool)).round(3).tolist()
    [0.693, 0.0]
    """
    out = np.empty(len(score))
    _lose(np.asarray(score, np.float64), np.asarray(label, np.int8), out)
    return out


@kernel(
    "void(Array(float64, 1, 'A', readonly=True), Array(int8, 1, 'A', readonly=True), float64[::1])"
)
def _lose(score: Floats, label: NDArray[np.int8], out: Floats) -> None:
    for i in range(len(score)):
        clipped = min(max(score[i], SMALLEST), 1.0 - SMALLEST)
        out[i] = -np.log(clipped if label[i] == 1 else 1.0 - clipped)


def log_loss(score: Floats, label: Labels) -> float:
    """Mean log loss in nats, as scikit-learn's `log_loss`; defined for one class alone.

    >>> round(log_loss(np.array([0.9, 0.1]), np.array([1, 0], bool)), 4)
    0.1054
    """
    return float(np.mean(losses(score, label))) if len(score) else math.nan


def brier(score: Floats, label: Labels) -> float:
    """Mean squared distance from score to label, as scikit-learn's `brier_score_loss`.

    >>> round(brier(np.array([0.9, 0.1]), np.array([1, 0], bool)), 4)
    0.01
    """
    return float(np.mean(errors(score, label))) if len(score) else math.nan


def errors(score: Floats, label: Labels) -> Floats:
    """Squared distance from score to label of each example.

    >>> errors(np.array([0.5, 0.0]), np.array([1, 0], bool)).tolist()
    [0.25, 0.0]
    """
    return np.asarray(np.square(score - label), np.float64)


def calibration_error(score: Floats, label: Labels, bins: int = 10) -> float:
    """Expected calibration error over `bins` bins of equal mass.

    Examples sorted by score are cut at every n / bins; equal scores stay together in the bin where
    their first falls. The error is the mean over examples of their bin's distance between mean
    score and share of frauds.

    >>> round(calibration_error(np.array([0.2, 0.2, 0.8, 0.8]), np.array([0, 0, 1, 1], bool), 2), 3)
    0.2
    """
    return calibration_error_of(*ranked(score, label), bins)


def card_precision(day: Ints, customer: Ints, score: Floats, label: Labels, k: int = 100) -> float:
    """Card precision at `k`: the share of compromised cards among the `k` most suspect of a day.

    Each day, cards detected on an earlier day are left out; a card has the highest score and the
    highest label of its transactions that day; of the `k` highest scores (equal ones by customer)
    those with label 1 are counted, divided by `k` whatever the number of cards, and are detected
    from then on. The result is the mean over the days that occur. Cards wrongly flagged stay.
    From Le Borgne et al., *Reproducible Machine Learning for Credit Card Fraud Detection*.

    >>> day, card = np.array([0, 0, 1, 1]), np.array([7, 8, 7, 8])
    >>> card_precision(day, card, np.array([0.9, 0.2, 0.9, 0.3]), np.array([1, 0, 1, 1], bool), 1)
    1.0
    """
    detected = np.zeros(0, np.int64)
    shares = []
    for today in np.unique(day):
        rows = np.flatnonzero((day == today) & ~np.isin(customer, detected))
        caught = compromised_among_top(customer[rows], score[rows], label[rows], k)
        detected = np.union1d(detected, caught)
        shares.append(len(caught) / k)
    return float(np.mean(shares)) if shares else math.nan


def compromised_among_top(customer: Ints, score: Floats, label: Labels, k: int) -> Ints:
    """Customers with a fraud among the `k` whose highest score is highest, in that order.

    >>> compromised_among_top(
    ...     np.array([3, 4, 3]), np.array([0.1, 0.5, 0.9]), np.array([1, 0, 0], bool), 1
    ... ).tolist()
    [3]
    """
    return compromised_among_top_of(cards(customer), score, label, k)


class Cards(NamedTuple):
    """The m distinct customers, ascending, and the place among them of each of n examples."""

    customer: Ints
    place: Ints


def cards(customer: Ints) -> Cards:
    """Find the cards of examples, once for several scores.

    >>> cards(np.array([5, 4])).customer.tolist()
    [4, 5]
    """
    return Cards(*np.unique(customer, return_inverse=True))


def compromised_among_top_of(by: Cards, score: Floats, label: Labels, k: int) -> Ints:
    """See `compromised_among_top`."""
    if not len(by.customer):
        return by.customer
    highest = np.zeros(len(by.customer))
    compromised = np.zeros(len(by.customer), np.bool_)
    _worst(by.place, np.asarray(score), np.asarray(label, np.int8), highest, compromised)
    least = np.partition(highest, -k)[-k] if k < len(highest) else 0.0
    near = np.flatnonzero(highest >= least)
    top = near[np.argsort(-highest[near], kind="stable")[:k]]
    return np.asarray(by.customer[top[compromised[top]]], np.int64)


@kernel(
    "void(Array(int64, 1, 'A', readonly=True), Array(float64, 1, 'A', readonly=True),"
    " Array(int8, 1, 'A', readonly=True), float64[::1], boolean[::1])"
)
def _worst(
    place: Ints,
    score: Floats,
    label: NDArray[np.int8],
    highest: Floats,
    compromised: NDArray[np.bool_],
) -> None:
    """The highest score of each card, and whether one of its examples is a fraud."""
    for i in range(len(place)):
        highest[place[i]] = max(highest[place[i]], score[i])
        compromised[place[i]] |= label[i] == 1
