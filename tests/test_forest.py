"""A forest learns from the first example on, and cuts where cutting serves."""

from __future__ import annotations

import numpy as np
import pytest

from models.cuts import CHILD, FEATURE, USED
from models.forest import Forest
from models.ranks import Ranks
from streams.errors import StateError

RANDOM = np.random.default_rng(3)


def test_a_forest_scores_by_what_it_learnt_before_its_scale_is_made() -> None:
    learner = Forest(learnt_after=1000).bind(("amount",))
    learner.learn_many(np.array([[5.0], [900.0]] * 20), np.array([0, 1] * 20, np.int8), np.ones(40))
    low, high = learner.version().predict_many(np.array([[6.0], [800.0]]))
    assert low < 0.2
    assert high > 0.8


def test_each_time_that_the_examples_have_doubled_all_are_learnt_by_a_new_scale() -> None:
    x, y, weight = RANDOM.random((120, 1)), np.zeros(120, np.int8), np.ones(120)
    told = Ranks(("amount",), (), 100, "Forest").learnable(x, y, weight)
    doubled = [(True, count) for count in (1, 3, 6, 12, 25, 50, 100)]
    assert [(anew, len(z)) for anew, z, _, _ in told] == [*doubled, (False, 20)]


def test_an_input_that_says_nothing_is_hardly_cut_by() -> None:
    x = RANDOM.random((4000, 6))
    y = ((x[:, 0] > 0.5) ^ (x[:, 1] > 0.5)).astype(np.int8)
    learner = Forest().bind(tuple("abcdef"))
    learner.learn_many(x, y, np.ones(4000))
    links = learner.state()["links"].reshape(-1, 3)
    cuts = np.bincount(links[links[:, CHILD] > 0, FEATURE], minlength=6)
    assert cuts[2:].max() < cuts[:2].min() / 2


def test_what_comes_inside_the_box_of_a_leaf_of_the_other_class_is_parted_from_it() -> None:
    places = RANDOM.random((2000, 1))
    y = (np.abs(places[:, 0] - 0.5) < 0.1).astype(np.int8)
    y_first = np.zeros(1000, np.int8)
    learner = Forest(learnt_after=100).bind(("place",))
    learner.learn_many(places[:1000], y_first, np.ones(1000))
    learner.learn_many(places[1000:], y[1000:], np.ones(1000))
    scores = learner.version().predict_many(np.array([[0.2], [0.5], [0.8]]))
    assert (scores > 0.25).tolist() == [False, True, False]


def test_a_leaf_is_cut_where_it_has_paid_and_hardly_where_nothing_is_saved() -> None:
    x, weight = RANDOM.random((600, 3)), np.ones(600)
    paid, nothing = Forest().bind(tuple("abc")), Forest().bind(tuple("abc"))
    paid.learn_many(x, (x[:, 1] > 0.5).astype(np.int8), weight)
    nothing.learn_many(x, (RANDOM.random(600) < 0.03).astype(np.int8), weight)
    roots = paid.state()["links"][:, 0]
    assert (roots[:, CHILD] > 0).all()
    assert (roots[:, FEATURE] == 1).mean() > 0.8  # by chance it were a third
    assert nothing.state()["book"][:, USED].mean() < 10


def test_a_state_of_other_trees_is_refused_by_name() -> None:
    learner = Forest(nodes=63).bind(("a",))
    before = learner.state()
    before["boxes"] = before.pop("tried")
    with pytest.raises(StateError, match="made by another model"):
        learner.load(before)
