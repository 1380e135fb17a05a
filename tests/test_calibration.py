"""Calibration finds the level, and the threshold fills the alert budget of recent scores."""

from typing import Any

import numpy as np
import pytest

from models.base import Floats, Labels
from models.calibration import (
    INTERCEPT,
    POSITIVE_WEIGHT,
    SHIFT,
    SLOPE,
    THRESHOLD,
    Calibration,
    importance,
    importances,
    observe,
    observe_many,
    publish,
    score_many,
    sigmoid,
)
from streams.errors import ConfigError


def observed(calibration: Calibration, raw: Floats, y: Labels) -> Floats:
    state = calibration.start()
    observe_many(state, raw, y, np.ones(len(raw)))
    return state


def drawn(n: int, scale: float = 1.0, shift: float = 0.0, seed: int = 0) -> tuple[Floats, Labels]:
    rng = np.random.default_rng(seed)
    truth = rng.normal(-3, 1.5, n)
    y = (rng.random(n) < 1 / (1 + np.exp(-truth))).astype(np.int8)
    return (truth - shift) / scale, y


@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (0.5, 0), (2, 0), (1, 3), (2, -4)])
def test_platt_finds_slope_and_intercept(scale: float, shift: float) -> None:
    raw, y = drawn(60_000, scale, shift)
    state = observed(Calibration(platt=True), raw, y)
    assert state[SLOPE] == pytest.approx(scale, rel=0.1)
    assert state[INTERCEPT] == pytest.approx(shift, abs=0.3)


def test_platt_follows_a_shift_of_the_prior() -> None:
    raw, y = drawn(40_000)
    later, y_later = drawn(40_000, shift=1.5, seed=1)
    state = observed(
        Calibration(platt=True, half_life=5000), np.append(raw, later), np.append(y, y_later)
    )
    assert state[INTERCEPT] == pytest.approx(1.5, abs=0.3)


def test_balance_makes_positives_weigh_what_negatives_do() -> None:
    _, y = drawn(20_000)
    calibration, weight = Calibration(positive_weight="balanced", half_life=4000), np.empty(20_000)
    importances(calibration.start(), y, np.ones(20_000), weight)
    late = slice(10_000, None)
    positives = weight[late][y[late] > 0].sum()
    assert positives == pytest.approx((y[late] == 0).sum(), rel=0.05)
    state, one_by_one = calibration.start(), []
    for label in y[:500]:
        one_by_one.append(importance(state, float(label), 1.0))
        observe(state, 0.0, float(label), 1.0)
    assert np.array_equal(one_by_one, weight[:500])
    assert state[SHIFT] == -np.log(state[POSITIVE_WEIGHT])


def test_without_platt_the_log_odds_pass_through() -> None:
    raw, y = drawn(1000)
    published = publish(observed(Calibration(), raw, y))
    out = np.empty(1000)
    score_many(published, raw, out)
    assert np.array_equal(out, [sigmoid(value) for value in raw])
    assert published[:3].tolist() == [0, 1, 0]


@pytest.mark.parametrize("budget", [0.001, 0.01, 0.2])
def test_the_threshold_fills_the_budget_and_no_more(budget: float) -> None:
    raw, y = drawn(20_000)
    published = publish(observed(Calibration(alert_budget=budget, half_life=1e12), raw, y))
    scores = np.empty(len(raw))
    score_many(published, raw, scores)
    share = np.mean(scores >= published[THRESHOLD])
    assert share <= budget
    assert share == pytest.approx(budget, rel=0.2)


def test_the_threshold_forgets_what_is_long_past() -> None:
    raw = np.append(np.linspace(-8, -4, 5000), np.linspace(0, 4, 5000))
    y = np.zeros(10_000, np.int8)
    published = publish(observed(Calibration(alert_budget=0.25, half_life=200), raw, y))
    assert published[THRESHOLD] > sigmoid(3.5)


def test_sampled_negatives_count_for_those_left_out() -> None:
    raw, y = drawn(40_000)
    kept = (y > 0) | (np.arange(len(y)) % 10 == 0)
    whole = publish(observed(Calibration(half_life=1e12), raw, y))
    sampled = observed(
        Calibration(negative_rate=0.1, half_life=1e12), raw[kept] + np.log(10), y[kept]
    )
    np.testing.assert_allclose(publish(sampled)[THRESHOLD], whole[THRESHOLD], rtol=0.1)


def test_before_any_example_nothing_is_for_review() -> None:
    assert publish(Calibration().start())[THRESHOLD] == 1.0


def test_when_all_score_alike_nothing_is_for_review() -> None:
    state = observed(Calibration(), np.full(100, 20.0), np.zeros(100, np.int8))
    assert publish(state)[THRESHOLD] == 1.0


def test_the_fading_histogram_stays_finite() -> None:
    raw, y = drawn(20_000)
    state = observed(Calibration(half_life=5), raw, y)
    assert np.isfinite(state).all()
    assert state.max() < 1e101


@pytest.mark.parametrize("z", [-1e300, -40.0, 0.0, 40.0, 1e300])
def test_a_probability_is_strictly_inside(z: float) -> None:
    assert 0 < sigmoid(z) < 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"isotonic": -1},
        {"isotonic": 5, "platt": True},
        {"positive_weight": 0},
        {"negative_rate": 2},
        {"half_life": 0},
        {"alert_budget": 0},
    ],
)
def test_rates_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Calibration(**wrong)
