"""A reservoir's rows are in it as often as it says, whole, merged, cut or restored."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.reservoir import Reservoir
from streams.errors import StateError

SEEDS = 4000
DAY = 86_400_000_000
# Of this many χ² values, each above its 99.9 % point once in a thousand, none is expected here.
CHI_SQUARE_999 = {5: 20.52, 9: 27.88, 11: 31.26}


def chi_square(found: np.ndarray, share: np.ndarray) -> float:  # type: ignore[type-arg]
    """Of how often each of n rows was in one of SEEDS samples, against its probability.

    Rows are drawn without replacement, k of n, so their counts hang together: the n are scaled by
    (n - 1) / (n (1 - k/n)), which is exact where all probabilities are alike.
    """
    n, k = len(share), share.sum()
    expected = SEEDS * share
    return float(((found - expected) ** 2 / expected).sum() * (n - 1) / (n * (1 - k / n)))


def rows(start: int, stop: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.arange(start, stop, dtype=float)[:, None]


@pytest.mark.parametrize("parts", [1, 3])
def test_of_equal_weights_every_row_is_in_as_often(parts: int) -> None:
    found = np.zeros(12)
    for seed in range(SEEDS):
        each = [Reservoir(4, 1, seed=parts * seed + part) for part in range(parts)]
        for part, reservoir in enumerate(each):
            reservoir.add(rows(part * 12 // parts, (part + 1) * 12 // parts))
        whole, *others = each
        for other in others:
            whole.merge(other)
        found[whole.sample()[0].ravel().astype(int)] += 1
    assert chi_square(found, np.full(12, 4 / 12)) < CHI_SQUARE_999[11]


@pytest.mark.parametrize("parts", [1, 2])
def test_weighted_rows_are_in_as_often_as_drawing_one_after_the_other_would_have_it(
    parts: int,
) -> None:
    weight = np.array([1.0, 2, 4, 8, 1, 3, 9, 1, 1, 5])
    # A sample of one: the share of the weight. Of two: the first, or the second after any first.
    first = weight / weight.sum()
    share = first + [
        sum(first[j] * weight[i] / (weight.sum() - weight[j]) for j in range(10) if j != i)
        for i in range(10)
    ]
    found = np.zeros(10)
    for seed in range(SEEDS):
        each = [Reservoir(2, 1, seed=parts * seed + part) for part in range(parts)]
        for part, reservoir in enumerate(each):
            here = slice(part * 10 // parts, (part + 1) * 10 // parts)
            reservoir.add(rows(here.start, here.stop), weight=weight[here])
        whole, *others = each
        for other in others:
            whole.merge(other)
        found[whole.sample()[0].ravel().astype(int)] += 1
    expected = SEEDS * share
    assert ((found - expected) ** 2 / (expected * (1 - share))).sum() < CHI_SQUARE_999[9]


def test_probabilities_estimate_totals() -> None:
    weight = np.arange(1.0, 101)
    value = np.sqrt(weight)
    totals = []
    for seed in range(1000):
        reservoir = Reservoir(10, 1, seed=seed)
        reservoir.add(value[:, None], weight=weight)
        sample, share = reservoir.sample()
        totals.append((sample.ravel() / share).sum())
    error = np.std(totals) / np.sqrt(len(totals))
    assert abs(np.mean(totals) - value.sum()) < 4 * error


def test_half_as_many_of_each_half_life_before_are_kept() -> None:
    days = np.repeat(np.arange(8), 2000)
    found = np.zeros(8)
    for seed in range(20):
        reservoir = Reservoir(200, 1, half_life_us=DAY, seed=seed)
        reservoir.add(days[:, None].astype(float), time_us=400 * DAY + days * DAY)
        found += np.bincount(reservoir.sample()[0].ravel().astype(int), minlength=8)
        assert reservoir.seen() == 16_000
    # Given the threshold a row is in by 1 - exp(-weight * threshold); the rarest three are pooled.
    share = -np.expm1(-np.outer(2.0 ** np.arange(8), np.linspace(0, 1e-3, 10_000)[1:]))
    share = share[:, np.argmin(np.abs(2000 * share.sum(0) - 200))]
    expected = 20 * 2000 * share
    parts = np.maximum(np.arange(8) - 2, 0)
    counted, wanted = np.bincount(parts, found), np.bincount(parts, expected)
    assert ((counted - wanted) ** 2 / wanted).sum() < CHI_SQUARE_999[5]


def test_strata_have_samples_of_their_own() -> None:
    reservoir = Reservoir(5, 2, strata=2)
    x = np.column_stack([np.arange(100.0), np.arange(100) % 50 == 0])
    reservoir.add(x, stratum=x[:, 1].astype(np.int64))
    common, share = reservoir.sample(0)
    rare, whole = reservoir.sample(1)
    assert len(common) == 5
    assert not common[:, 1].any()
    assert rare[:, 0].tolist() == [0, 50]
    assert whole.tolist() == [1, 1]
    assert (share < 1).all()


@given(st.lists(st.integers(1, 200), max_size=5), st.integers(0, 2**32), st.booleans())
def test_any_cut_and_any_restart_leave_the_same_sample(
    cuts: list[int], seed: int, decayed: bool
) -> None:
    random = np.random.default_rng(seed)
    x, weight = random.random((200, 3)), random.random(200) + 0.01
    time = np.cumsum(random.integers(0, DAY // 4, 200)) + 400 * DAY
    half_life = DAY if decayed else 0
    whole = Reservoir(7, 3, half_life_us=half_life, seed=seed)
    whole.add(x, weight=weight, time_us=time)
    cut = Reservoir(7, 3, half_life_us=half_life, seed=seed)
    edges = sorted({0, 200, *cuts})
    for start, stop in pairwise(edges):
        here = slice(start, stop)
        cut.add(x[here], weight=weight[here], time_us=time[here])
        restored = Reservoir(7, 3, half_life_us=half_life)
        restored.load(cut.state())
        cut = restored
    for name, part in whole.state().items():
        assert part.tobytes() == cut.state()[name].tobytes(), name


def test_another_shape_is_refused() -> None:
    with pytest.raises(StateError, match=r"wanted rows of shape \(1, 5, 2\), got \(1, 4, 2\)"):
        Reservoir(4, 2).load(Reservoir(3, 2).state())
    with pytest.raises(ValueError, match="half-life"):
        Reservoir(4, 2).merge(Reservoir(4, 2, half_life_us=DAY))
