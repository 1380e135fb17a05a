"""An ensemble loses little more than its best member, whatever comes."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.base import Floats, Labels, Model
from models.baselines import Prior
from models.ensemble import Ensemble, judge
from models.linear import Linear
from streams.errors import ConfigError


def loss(log_odds: Floats, y: Labels) -> float:
    """The sum of the logarithmic losses."""
    return float(np.logaddexp(0, np.where(y > 0, -log_odds, log_odds)).sum())


@given(st.integers(1, 8), st.integers(0, 400), st.integers(0, 2**32), st.booleans())
def test_the_mixture_loses_at_most_the_log_of_the_members_more_than_the_best(
    members: int, n: int, seed: int, adverse: bool
) -> None:
    random = np.random.default_rng(seed)
    # Nearer to 1, what is left to 1 has too few digits for the bound.
    scores = random.beta(0.3, 0.3, (n, members)).clip(1e-6, 1 - 1e-6)
    y = (random.random(n) < 0.5).astype(np.int8)
    if adverse:  # the label is always what the first half of them thought less likely
        y = (scores[:, : (members + 1) // 2].mean(1) < 0.5).astype(np.int8)
    weights, mixed = np.full(members, 1 / members), np.empty(n)
    judge(scores, y, np.ones(n), 0.0, weights, mixed)
    best = min(loss(np.log(each / (1 - each)), y) for each in scores.T)
    # The bound is exact but for the rounding of n logarithms.
    assert loss(mixed, y) <= best + math.log(members) + 1e-9 * (n + 1)
    assert math.isclose(weights.sum(), 1)


@given(st.integers(2, 6), st.integers(1, 4), st.integers(0, 2**32))
def test_with_a_share_it_follows_the_best_of_each_stretch(
    members: int, stretches: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    n, share = 300 * stretches, 0.01
    y = (random.random(n) < 0.5).astype(np.int8)
    scores = random.uniform(0.2, 0.8, (n, members))
    edges = [300 * stretch for stretch in range(stretches + 1)]
    best = 0.0
    for start, stop in pairwise(edges):
        good = random.integers(members)
        scores[start:stop, good] = np.where(y[start:stop] > 0, 0.9, 0.1)
        best -= 300 * math.log(0.9)
    mixed = np.empty(n)
    judge(scores, y, np.ones(n), share, np.full(members, 1 / members), mixed)
    # Herbster and Warmuth's bound: what it costs to name the members, to stay, and to change.
    changes = stretches - 1
    bound = best + math.log(members) - (n - changes) * math.log(1 - share)
    bound -= changes * math.log(share / members)
    assert loss(mixed, y) <= bound + 1e-9 * n


def test_members_are_weighed_by_what_they_scored_before_they_learnt() -> None:
    random = np.random.default_rng(1)
    x = random.random((2000, 1)) * 100
    y = (random.random(2000) < np.where(x[:, 0] > 50, 0.9, 0.1)).astype(np.int8)
    members: dict[str, Model] = {"prior": Prior(), "linear": Linear(bits=10)}
    learner = Ensemble(members=members, every=100, share=0).bind(("amount",))
    learner.learn_many(x, y, np.ones(2000))
    assert learner.weights()["linear"] > 0.999
    assert list(learner.weights()) == ["prior", "linear"]


def test_an_example_that_counts_for_very_many_leaves_the_best_its_weight() -> None:
    scores, weights = np.array([[1e-12, 0.3, 0.5]]), np.full(3, 1 / 3)
    judge(scores, np.ones(1, np.int8), np.array([1e6]), 0.0, weights, np.empty(1))
    assert weights.tolist() == [0, 0, 1]


def test_an_ensemble_of_nobody_is_refused() -> None:
    with pytest.raises(ConfigError, match="Ensemble wants members"):
        Ensemble(members={})
