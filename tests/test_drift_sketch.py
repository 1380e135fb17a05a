"""Counts in fixed bins."""

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from operators.drift.sketch import (
    BINS,
    HALF,
    HIGH,
    LEAST,
    LOW,
    MIDDLES,
    PER_OCTAVE,
    Floats,
    Sketch,
    bin_of,
    quantile,
)

values = arrays(
    np.float64,
    st.tuples(st.integers(0, 40), st.just(3)),
    elements=st.floats(allow_nan=True, allow_infinity=True),
)


def of(x: Floats) -> Sketch:
    sketch = Sketch.empty(x.shape[1])
    sketch.add(x)
    return sketch


@given(values, st.integers(0, 40), st.randoms(use_true_random=False))
def test_parts_in_any_cut_and_order_add_up_to_the_whole(
    x: Floats, cut: int, random: Random
) -> None:
    order = list(range(len(x)))
    random.shuffle(order)
    whole, parts = of(x), of(x[order][cut:].copy())
    parts.merge(of(x[order][:cut].copy()))
    assert np.array_equal(whole.counts, parts.counts)
    assert np.array_equal(whole.missing, parts.missing)
    assert whole.counts.sum() + whole.missing.sum() == x.size


@given(st.floats(allow_nan=False, allow_infinity=True))
def test_a_value_is_in_the_bin_whose_bounds_hold_it(value: float) -> None:
    away = bin_of(value) - HALF
    assert away == -(bin_of(-value) - HALF)
    if away == 0:
        assert abs(value) < 2.0**LOW
        return
    assert math.copysign(1, value) == math.copysign(1, away)
    assert abs(value) >= LEAST[abs(away) - 1]
    if abs(away) < HALF:
        assert abs(value) < LEAST[abs(away)]


def test_bins_are_as_wide_as_stated() -> None:
    widths = LEAST[1:] / LEAST[:-1] - 1
    assert LEAST[0] == 2.0**LOW
    assert LEAST[-1] == 2.0**HIGH * (1 - 1 / (2 * PER_OCTAVE))
    assert widths.min() >= 0.06
    assert widths.max() == 1 / PER_OCTAVE
    assert len(MIDDLES) == BINS
    assert np.all(np.diff(MIDDLES) > 0)


def test_zeros_are_one_and_infinities_are_the_largest() -> None:
    assert bin_of(0.0) == bin_of(-0.0) == bin_of(5e-324) == HALF
    assert bin_of(math.inf) == bin_of(2.0**HIGH) == bin_of(1e300) == BINS - 1
    assert bin_of(-math.inf) == 0
    assert of(np.array([[math.nan, -math.nan]])).missing.tolist() == [1, 1]


def test_whole_numbers_up_to_16_have_bins_of_their_own() -> None:
    bins = [bin_of(float(value)) for value in range(18)]
    assert len(set(bins[:17])) == 17
    assert bin_of(1.5) not in bins
    assert bins[16] == bins[17]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"wanted \(n, 2\) values, got \(4, 3\)"):
        Sketch.empty(2).add(np.zeros((4, 3)))


def test_a_quantile_is_right_within_a_bin() -> None:
    x = np.random.default_rng(0).lognormal(3, 1, (10_000, 1))
    found = quantile(of(x).counts[0], 0.5)
    assert abs(found / np.median(x) - 1) < 0.07
    assert math.isnan(quantile(np.zeros(BINS, np.int64), 0.5))
