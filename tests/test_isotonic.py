"""The curve is scikit-learn's isotonic regression at its centres; it puts probabilities right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.base import Floats, Labels
from models.calibration import CURVE, THRESHOLD, Calibration, observe_many, publish, score_many
from models.isotonic import MOST, fit, pool, rise

isotonic = pytest.importorskip("sklearn.isotonic")
EXAMPLES = st.lists(
    st.tuples(st.integers(-20, 20), st.integers(0, 1), st.sampled_from([0.25, 1.0, 3.0])),
    min_size=1,
    max_size=60,
)


def columns(examples: list[tuple[int, int, float]]) -> tuple[Floats, Floats, Floats]:
    x, y, weight = (np.array(column, float) for column in zip(*examples, strict=True))
    return x / 4, y, weight


@given(EXAMPLES)
def test_shares_are_those_of_scikit_learn(examples: list[tuple[int, int, float]]) -> None:
    x, y, weight = columns(examples)
    order = np.argsort(x, kind="stable")
    blocks = np.empty((len(x) + 2, 4))
    blocks = blocks[: pool(x[order], y[order], weight[order], blocks)]
    middle = np.cumsum(weight[order]) - weight[order] / 2
    ours = (blocks[:, 3] / blocks[:, 2])[np.searchsorted(np.cumsum(blocks[:, 1]), middle)]
    # Theirs with the same half a positive below all and half a negative above them.
    more = np.array([x.min() - 1, x.max() + 1])
    theirs = isotonic.IsotonicRegression().fit(
        np.append(x, more), np.append(y, [1, 0]), np.append(weight, [0.5, 0.5])
    )
    np.testing.assert_allclose(ours, theirs.predict(x[order]), atol=1e-12)
    assert blocks[:, 2].sum() == weight.sum() + 1


@given(EXAMPLES)
def test_a_higher_score_is_a_higher_probability(examples: list[tuple[int, int, float]]) -> None:
    curve = fit(*columns(examples))
    scores = np.linspace(-9, 9, 500)
    risen = np.array([rise(curve, 0, score) for score in scores])
    assert (np.diff(risen) > 0).all()
    count = int(curve[0])
    at, ahead = curve[1 : 1 + count], curve[1 + MOST : 1 + MOST + count]
    np.testing.assert_allclose([rise(curve, 0, x) for x in at], ahead, atol=1e-12)


def test_a_curve_of_very_many_points_is_held_by_few() -> None:
    x = np.arange(4000.0)
    # Shares that rise at every step, which nothing pools.
    curve = fit(
        np.repeat(x, 2), np.tile([0.0, 1.0], 4000), np.column_stack([4000 - x, 1 + x]).ravel()
    )
    assert MOST // 2 < curve[0] <= MOST
    assert (np.diff(curve[1 + MOST : 1 + MOST + int(curve[0])]) > 0).all()


def drawn(n: int, seed: int) -> tuple[Floats, Floats, Labels]:
    """Probabilities, raw scores that are bent away from their log-odds, labels."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(-2, 2, n)
    p = 1 / (1 + np.exp(-truth))
    raw = np.where(truth > 0, 4 * truth, truth / 3) - 1.0
    y: Labels = (rng.random(n) < p).astype(np.int8)
    return p, raw, y


def error(calibration: Calibration) -> float:
    """Mean distance of the probabilities from the true ones."""
    _, raw, y = drawn(20_000, 1)
    state = calibration.start()
    observe_many(state, raw, y, np.ones(len(raw)))
    p, later, _ = drawn(20_000, 2)
    out = np.empty(len(later))
    score_many(publish(state), later, out)
    return float(np.abs(out - p).mean())


def test_what_is_bent_is_put_right_where_a_slope_cannot() -> None:
    assert error(Calibration(isotonic=20_000)) < 0.015 < error(Calibration(platt=True))


def test_the_threshold_fills_the_budget_through_the_curve() -> None:
    _, raw, y = drawn(20_000, 3)
    state = Calibration(isotonic=5000, alert_budget=0.05, half_life=1e12).start()
    observe_many(state, raw, y, np.ones(len(raw)))
    published, scores = publish(state), np.empty(len(raw))
    score_many(published, raw, scores)
    assert 0.045 <= np.mean(scores >= published[THRESHOLD]) <= 0.05


def test_only_the_latest_examples_make_the_curve() -> None:
    states = []
    for seed in (1, 2):
        _, raw, y = drawn(3000, seed)
        _, same, then = drawn(1000, 9)
        state = Calibration(isotonic=1000).start()
        observe_many(state, np.append(raw, same), np.append(y, then), np.ones(4000))
        states.append(publish(state)[CURVE:])
    np.testing.assert_allclose(states[0], states[1], atol=1e-9)


def test_negatives_that_were_left_out_are_counted() -> None:
    p, raw, y = drawn(40_000, 5)
    kept = (y > 0) | (np.arange(len(y)) % 10 == 0)
    state = Calibration(isotonic=20_000, negative_rate=0.1).start()
    observe_many(state, raw[kept], y[kept], np.ones(kept.sum()))
    out = np.empty(len(raw))
    score_many(publish(state), raw, out)
    assert np.abs(out - p).mean() < 0.025
