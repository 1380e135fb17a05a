"""Beside a score stands between what shares of positives events of such scores have had of late."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from models.base import Floats, Labels
from models.bins import edges_at, log_edges
from models.calibration import Calibrated, Calibration, observe_many, publish, score_many
from models.checks import NAMES
from models.intervals import BINS, bounds, least, outward
from models.linear import Linear

Truth = Callable[[Floats], Floats]
EACH = 0.05 / 8
"""The part of the 5 % that each of four ranges on each of two sides may miss by."""


class Scale(Calibrated):
    """Scores whose log-odds are drawn, and labels drawn by another share than they say."""

    def __init__(self, raw: Floats, y: Labels, calibration: Calibration) -> None:
        state = calibration.start()
        observe_many(state, raw, y, np.ones(len(raw)))
        self._calibration = publish(state)

    def of(self, z: Floats) -> Floats:
        return self.intervals_many(1 / (1 + np.exp(-z)))


def bins(z: Floats) -> npt.NDArray[np.int64]:
    return np.asarray(np.floor((z + 16) * 4), np.int64)


def overconfident(z: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(2 - z / 2)))


def stepped(z: Floats) -> Floats:
    return np.where(z > -3, 0.3, 0.004)


@given(st.integers(1, 3000), st.floats(0, 1))
def test_a_bound_is_missed_no_more_often_than_its_part(n: int, part: float) -> None:
    hits = round(part * n)
    p = least(float(hits), float(n))
    assert 0 <= p <= hits / n
    # So many hits or more, were the share the bound: the exact tail, but for its own rounding.
    assert hits == 0 or binom.sf(hits - 1, n, p) <= EACH * (1 + 1e-9)


def test_a_bound_is_near_the_exact_one() -> None:
    for hits, n in ((5, 1000), (50, 1000), (500, 1000), (990, 1000), (20, 40)):
        p = least(float(hits), float(n))
        assert binom.sf(hits - 1, n, p) > EACH / 12


@pytest.mark.parametrize("truth", [overconfident, stepped])
@pytest.mark.parametrize(("n", "half_life"), [(300, 1e5), (3000, 1e5), (30_000, 3000)])
def test_intervals_hold_what_they_say_they_do(truth: Truth, n: int, half_life: float) -> None:
    fresh = np.random.default_rng(99).normal(-4, 1.5, 100_000)
    own = bins(fresh)
    there = np.bincount(own, minlength=BINS)
    share = np.bincount(own, truth(fresh), BINS) / np.maximum(there, 1)
    held, runs = np.zeros(BINS), 200
    for seed in range(runs):
        random = np.random.default_rng(seed)
        z = random.normal(-4, 1.5, n)
        y = (random.random(n) < truth(z)).astype(np.int8)
        scale = Scale(z, y, Calibration(half_life=half_life))
        found = scale.of(np.arange(BINS) / 4 - 16 + 0.1)
        held += (found[:, 0] <= share) & (share <= found[:, 1])
    assert held[there > 300].min() / runs >= 0.95


def test_intervals_narrow_as_examples_come_and_say_nothing_before_any() -> None:
    random = np.random.default_rng(0)
    z = random.normal(-4, 1.5, 100_000)
    y = (random.random(len(z)) < overconfident(z)).astype(np.int8)
    at = np.array([-3.1])
    assert Scale(z[:0], y[:0], Calibration()).of(at).tolist() == [[0, 1]]
    widths = [
        float(np.diff(Scale(z[:n], y[:n], Calibration(half_life=1e6)).of(at)).item())
        for n in (100, 1000, 10_000, 100_000)
    ]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.05


def test_intervals_follow_when_the_world_changes() -> None:
    random = np.random.default_rng(0)
    z = random.normal(-4, 1.0, 60_000)
    y = (random.random(len(z)) < np.where(np.arange(len(z)) < 30_000, 0.02, 0.2)).astype(np.int8)
    low, high = Scale(z, y, Calibration(half_life=2000)).of(np.array([-4.1]))[0]
    assert 0.1 < low < 0.2 < high < 0.35


def test_sampled_negatives_leave_the_level_of_the_intervals() -> None:
    random = np.random.default_rng(0)
    z = random.normal(-4, 1.0, 200_000)
    y = (random.random(len(z)) < 0.03).astype(np.int8)
    kept = (y > 0) | (random.random(len(z)) < 0.1)
    sampled = Scale(z[kept], y[kept], Calibration(negative_rate=0.1, half_life=1e6))
    low, high = sampled.of(np.array([-6.3]))[0]
    assert 0.02 < low < 0.03 < high < 0.04


def test_intervals_are_of_scores_as_a_rising_curve_makes_them() -> None:
    random = np.random.default_rng(3)
    z = random.normal(-4, 1.5, 40_000)
    y = (random.random(len(z)) < overconfident(z)).astype(np.int8)
    state = Calibration(isotonic=20_000, half_life=20_000).start()
    observe_many(state, z, y, np.ones(len(z)))
    published, scores = publish(state), np.empty(len(z))
    score_many(published, z, scores)
    scale = Scale(z[:0], y[:0], Calibration())
    scale._calibration = published
    low, high = scale.intervals_many(scores).T
    own = bins(np.log(scores / (1 - scores)))
    for each in np.unique(own):
        mine = own == each
        if mine.sum() > 1000:
            share = overconfident(z[mine]).mean()
            assert low[mine][0] <= share <= high[mine][0]
            assert high[mine][0] - low[mine][0] < 3 * share


def test_a_models_scores_have_the_share_that_their_interval_says() -> None:
    random = np.random.default_rng(1)
    x = np.exp(random.normal(3, 1, (80_000, len(NAMES))))
    truth = np.where(x[:, 0] > 60, 0.3, 0.01)
    y = (random.random(len(x)) < truth).astype(np.int8)
    model = Linear(
        inputs={"amount": log_edges(1, 1000), "night": edges_at(0.5)},
        bits=10,
        calibration=Calibration(half_life=5000),
    )
    learner = model.bind(NAMES)
    learner.learn_many(x[:40_000], y[:40_000], np.ones(40_000))
    version = learner.version()
    scores = version.predict_many(x[40_000:])
    low, high = version.intervals_many(scores).T
    own = bins(np.log(scores / (1 - scores)))
    for each in np.unique(own):
        mine = own == each
        if mine.sum() > 1000:
            share = truth[40_000:][mine].mean()
            assert low[mine][0] <= share <= high[mine][0]
    assert (high - low)[scores > 0.2].min() < 0.1


@given(
    st.lists(st.tuples(st.integers(0, 40), st.floats(0, 1)), min_size=1, max_size=12),
    st.floats(0.01, 1),
)
def test_bounds_are_inside_0_and_1_and_in_order(
    found: list[tuple[int, float]], rate: float
) -> None:
    seen = np.array([float(n) for n, _ in found])
    positive = np.array([float(round(n * part)) for n, part in found])
    out = np.empty((len(found), 2))
    bounds(seen, positive, rate, out)
    assert ((out >= 0) & (out <= 1)).all()
    assert (out[:, 0] <= out[:, 1]).all()


@given(st.floats(0, 1))
def test_rounding_is_outward_and_to_three_digits(share: float) -> None:
    low, high = outward(share, False), outward(share, True)
    assert 0 <= low <= share <= high <= 1
    for each in (low, high):
        assert len(f"{each:.12f}".rstrip("0").lstrip("0.")) <= 4
    assert high - low <= max(0.011 * share, 1e-9)
