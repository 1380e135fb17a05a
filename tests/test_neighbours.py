"""Neighbours score by the examples that are near, of the latest alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.kinds import SIMPLE
from models.neighbours import Neighbours, NeighboursLearner
from models.ranks import ranks_of
from streams.errors import ConfigError


def taught(
    model: Neighbours, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]
) -> NeighboursLearner:
    learner = model.bind(("a", "b"))
    learner.learn_many(x, y.astype(np.int8), np.ones(len(x)))
    return learner


def test_a_score_is_the_share_of_positives_weighted_by_nearness() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((64, 2))
    y = x[:, 0] > x[:, 1]
    model = Neighbours(learnt_after=64, width=0.3, smoothing=0.2, prior=0.1)
    version = taught(model, x, y).version()
    events = rng.random((20, 2))
    ranks, kept = (ranks_of(each, version.tensors()["knots"]) for each in (events, x))
    squares = ((ranks[:, None].astype(float) - kept[None].astype(float)) ** 2).sum(axis=2)
    near = np.exp(-squares / (2 * (0.3 * 64 ** (-1 / 6)) ** 2))
    shares = (near @ y + 0.02) / (near.sum(axis=1) + 0.2)
    np.testing.assert_allclose(version.predict_many(events), shares, rtol=1e-9)
    assert SIMPLE[version.kind] is type(version)


def test_a_new_law_is_all_it_knows_after_so_many_examples_as_it_keeps() -> None:
    rng = np.random.default_rng(1)
    x = rng.random((1100, 2))
    y = x[:, 0] > 0.5
    y[1000:] = ~y[1000:]
    version = taught(Neighbours(latest=100), x, y).version()
    assert (version.predict_many(np.array([[0.9, 0.5], [0.1, 0.5]])) > 0.5).tolist() == [
        False,
        True,
    ]
    assert len(version.tensors()["kept"]) == 100


def test_far_from_all_it_says_what_it_was_told_before() -> None:
    version = taught(Neighbours(prior=0.25), np.zeros((10, 2)), np.ones(10)).version()
    assert version.predict_many(np.full((1, 2), 1e9)).round(6).tolist() == [0.25]


@pytest.mark.parametrize("wrong", [{"latest": 0}, {"width": 0.0}, {"smoothing": 0}, {"prior": 1.0}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="Neighbours wants"):
        Neighbours(**wrong)
