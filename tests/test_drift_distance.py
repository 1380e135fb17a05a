"""Distances of counts, and their tails."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from operators.drift.distance import Floats, chi2, js, ks, psi
from operators.drift.judging import shape
from operators.drift.rows import rejected
from operators.drift.scales import BURST
from operators.drift.season import GROUPS
from operators.drift.tails import f_tail, ks_tail

Distance = Callable[[Floats, Floats], float]
distance_functions = pytest.mark.parametrize("distance", [ks, psi, js, chi2])
counts = arrays(np.float64, 8, elements=st.integers(0, 1000).map(float))


@given(counts, counts)
def test_distances_are_those_of_their_formulas(p: Floats, q: Floats) -> None:
    if not p.sum() or not q.sum():
        assert [each(p, q) for each in (ks, psi, js, chi2)] == [0, 0, 0, 0]
        return
    a, b = p / p.sum(), q / q.sum()
    middle = (a + b) / 2
    assert ks(p, q) == pytest.approx(np.abs(a.cumsum() - b.cumsum()).max(), abs=1e-12)
    with np.errstate(all="ignore"):
        halves = np.nansum(a * np.log(a / middle)) + np.nansum(b * np.log(b / middle))
    assert js(p, q) == pytest.approx(halves / 2, abs=1e-12)
    held = p + q > 0
    left, right = (p + 0.5)[held], (q + 0.5)[held]
    left, right = left / left.sum(), right / right.sum()
    assert psi(p, q) == pytest.approx(((left - right) * np.log(left / right)).sum(), abs=1e-12)


@given(counts, counts)
def test_chi_squared_is_scipys(p: Floats, q: Floats) -> None:
    stats = pytest.importorskip("scipy.stats")
    held = p + q > 0
    if not p.sum() or not q.sum() or held.sum() < 2:
        return
    expected = stats.chi2_contingency(np.stack([p, q])[:, held], correction=False).statistic
    assert chi2(p, q) * (p + q).sum() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@distance_functions
@given(p=counts, q=counts)
def test_a_distance_has_two_equal_ends_and_none_to_itself(
    distance: Distance, p: Floats, q: Floats
) -> None:
    assert distance(p, q) == pytest.approx(distance(q, p), abs=1e-12)
    assert distance(p, p) == pytest.approx(0, abs=1e-12)
    assert distance(p, q) >= 0


@distance_functions
def test_a_bin_that_one_lacks_is_finite_and_one_that_both_lack_says_nothing(
    distance: Distance,
) -> None:
    p, q = np.array([5.0, 5.0, 0.0]), np.array([0.0, 5.0, 5.0])
    padded = [np.array([5.0, 0.0, 5.0, 0.0, 0.0]), np.array([0.0, 0.0, 5.0, 0.0, 5.0])]
    assert math.isfinite(distance(p, q))
    assert distance(*padded) == distance(p, q) > 0


def test_what_has_nothing_in_common_is_as_far_as_can_be() -> None:
    p, q = np.array([7.0, 0.0]), np.array([0.0, 900.0])
    assert ks(p, q) == 1
    assert js(p, q) == pytest.approx(math.log(2))


@given(st.floats(0.01, 60), st.sampled_from([1, 2, 5, 9, 15]), st.floats(2, 10_000))
def test_the_tail_of_f_is_scipys(x: float, upper: int, lower: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    expected = stats.f.sf(x, upper, lower)
    if expected > 1e-250:
        assert f_tail(x, float(upper), lower) == pytest.approx(expected, rel=1e-7)


def test_the_tail_of_a_largest_difference_is_what_is_drawn() -> None:
    rng = np.random.default_rng(3)
    for cuts in (1, 7, 15):
        steps = rng.normal(size=(200_000, cuts + 1)) / math.sqrt(cuts + 1)
        bridge = (steps - steps.mean(axis=1, keepdims=True)).cumsum(axis=1)[:, :-1]
        squared = np.abs(bridge).max(axis=1) ** 2
        for rare in (1e-2, 1e-3):
            x = np.quantile(squared, 1 - rare) / squared.mean()
            assert ks_tail(float(x), float(cuts), 1e9) == pytest.approx(rare, rel=0.3)


@pytest.mark.parametrize(("variances", "second", "third"), [
    ([1.0] * 9, 1 / 9, 1 / 81),
    ([81.0] + [1.0] * 8, (81**2 + 8) / 89**2, (81**3 + 8) / 89**3),
])  # fmt: skip
def test_in_how_many_ways_deviations_vary_is_estimated_of_thirty_windows(
    variances: list[float], second: float, third: float
) -> None:
    rng = np.random.default_rng(5)
    rows, windows = 400, 30
    away = np.zeros((rows, windows, GROUPS))
    away[:, :, :9] = rng.normal(size=(rows, windows, 9)) * np.sqrt(variances)
    spread = np.einsum("rwi,rwj->rij", away, away)
    spread[:, 9, 9] = 1e-9  # a tenth group, so that nine ways are free
    weight = np.full((3, rows), float(windows))
    moments = np.zeros((4, rows))
    shape(spread, weight, np.full(rows, float(windows)), np.zeros((4, rows)), BURST, moments)
    assert moments[0].mean() == pytest.approx(second, rel=0.05)
    assert moments[1].mean() == pytest.approx(third, rel=0.1)


def test_of_many_tests_as_many_are_rejected_as_benjamini_and_hochberg_say() -> None:
    p = np.array([0.04, np.nan, 0.001, 0.021, 0.9])
    assert rejected(p, 0.05, 4).tolist() == [False, False, True, True, False]
    assert rejected(p, 0.05, 2).tolist() == [True, False, True, True, False]
    assert not rejected(p, 0.001, 4).any()
