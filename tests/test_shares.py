"""What scores tell of the share of frauds, before any label comes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.drift.bucket import scaled_odds
from operators.drift.shares import FIT, Curve, chances, corrected, likeliest, log_odds, offset
from operators.drift.sketch import HALF, Sketch
from operators.drift.spans import LOG_ODDS, PLACES, Floats, place


def counted(score: Floats) -> Floats:
    sketch = Sketch.empty(1)
    sketch.add(scaled_odds(score)[:, None].copy())
    return sketch.counts[0, HALF:].astype(np.float64)


def drawn(
    seed: int, n: int, share: float, apart: float = 3.0, moved: float = 0.0
) -> tuple[Floats, Floats]:
    """Scores of genuine events and of frauds: too sure of themselves, and not calibrated."""
    random = np.random.default_rng(seed)
    frauds = random.binomial(n, share)
    return (
        chances(1.5 * random.normal(-4 + moved, 1.3, n - frauds) + 1),
        chances(1.5 * random.normal(-4 + apart, 1.3, frauds) + 1),
    )


def curve(n: int = 200_000, share: float = 0.02) -> Curve:
    genuine, frauds = drawn(0, n, share)
    return Curve.of(counted(genuine), counted(frauds))


@given(st.floats(0, 1))
def test_labels_are_counted_where_a_sketch_counts_their_scores(score: float) -> None:
    assert counted(np.array([score]))[place(score)] == 1


def test_a_curve_promises_as_many_frauds_as_there_were_and_rises() -> None:
    made = curve()
    assert made.chance @ made.events == pytest.approx(made.frauds)
    assert (np.diff(made.chance[made.events > 0]) >= 0).all()


def test_a_slice_has_its_own_level() -> None:
    made, (genuine, frauds) = curve(), drawn(1, 50_000, 0.06)
    own = made.of_slice(counted(genuine), counted(frauds))
    assert own.share == pytest.approx(0.06, rel=0.05)


@pytest.mark.parametrize("factor", [0.3, 1.0, 2.0, 5.0])
def test_the_share_is_found_that_em_climbs_to(factor: float) -> None:
    made, others = curve(), drawn(2, 50_000, 0.02 * factor)
    events = counted(np.concatenate(others))
    found = made.estimate(events)
    assert found
    share = prior = made.share
    for _ in range(5000):
        share = float(corrected(made.chance, log_odds(share) - log_odds(prior)) @ events) / 50_000
    assert found.share == pytest.approx(share, rel=1e-3)
    assert log_odds(found.share) == pytest.approx(log_odds(0.02 * factor), abs=4 * found.deviation)
    assert found.black_box == pytest.approx(0.02 * factor, rel=0.2)
    assert found.misfit < FIT


def test_the_stated_deviation_is_the_one_over_streams() -> None:
    apart = []
    for seed in range(150):
        genuine, frauds = drawn(2 * seed + 1, 40_000, 0.02)
        made = Curve.of(counted(genuine), counted(frauds))
        found = made.estimate(counted(np.concatenate(drawn(2 * seed + 2, 20_000, 0.04))))
        assert found
        apart.append((log_odds(found.share) - log_odds(0.04)) / found.deviation)
    assert abs(np.mean(apart)) < 0.35
    assert np.std(apart) == pytest.approx(1, abs=0.2)


def test_events_that_have_changed_fit_no_mixture_and_are_carried_over() -> None:
    found = curve().estimate(counted(np.concatenate(drawn(3, 50_000, 0.02, moved=0.4))))
    assert found
    assert found.misfit > FIT


def test_scores_that_are_all_alike_tell_nothing() -> None:
    same = np.full(1000, 0.3)
    assert Curve.of(counted(same[:970]), counted(same[970:])).estimate(counted(same)) is None


def test_a_span_without_frauds_has_a_share_of_nothing() -> None:
    found = curve().estimate(counted(drawn(4, 20_000, 0.0)[0]))
    assert found
    assert found.share < 0.002


def test_the_correction_is_a_shift_of_log_odds() -> None:
    z = np.linspace(-9, 9, 7)
    assert corrected(chances(z), 1.3) == pytest.approx(chances(z + 1.3))


def test_offsets_and_shares_at_the_ends_are_finite() -> None:
    events, z = np.full(PLACES, 10.0), LOG_ODDS.copy()
    assert math.isfinite(offset(events, z, 0.0, 1.0))
    assert math.isfinite(likeliest(events, np.full(PLACES, 0.5)))
