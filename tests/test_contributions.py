"""What each input adds to a score: exact sums, by a plain account of how each model scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.base import Floats, Model
from models.baselines import AmountRule
from models.bins import edges_at, log_edges
from models.calibration import Calibration
from models.checks import NAMES, examples
from models.contributions import by_leaving_out, largest, to_log_odds, to_probabilities
from models.ensemble import Ensemble
from models.forest import Forest, ForestVersion
from models.linear import Linear

PLATT = Calibration(platt=True, positive_weight=3)


def odds(p: Floats) -> Floats:
    return np.log(p / (1 - p))


def test_a_linear_models_contributions_are_its_weights_above_their_averages() -> None:
    edges = {"amount": log_edges(1, 1000, 3), "night": edges_at(0.5)}
    model = Linear(inputs=edges, crosses=[("amount", "night")], bits=12)
    learner = model.bind(NAMES)
    learner.learn_many(*examples(n=2000))
    version = learner.version()
    parts, tensors = version.contributions_many(examples(1)[0][:40]), version.tensors()
    raw = odds(version.predict_many(examples(1)[0][:40]))
    intercept = math.log(model.prior / (1 - model.prior)) + float(tensors["weights"][-1])
    base = intercept + float(tensors["averages"].sum())
    np.testing.assert_allclose(parts[:, -1], base, rtol=1e-12)
    np.testing.assert_allclose(parts.sum(axis=1), raw, rtol=1e-9)
    assert not parts[:, 2:4].any()


def test_a_cross_is_shared_equally_by_its_inputs() -> None:
    inputs = {"amount": edges_at(30).for_crosses(), "night": edges_at(0.5).for_crosses()}
    learner = Linear(inputs=inputs, crosses=[("amount", "night")], bits=8).bind(NAMES)
    learner.learn_many(*examples(n=2000))
    parts = learner.version().contributions_many(examples(1)[0][:40])
    assert parts[:, 0].any()
    assert np.array_equal(parts[:, 0], parts[:, 1])


def walked(version: ForestVersion, row: Floats) -> tuple[float, dict[int, float]]:
    """The forest's base and what each input adds to its mean, tree by tree and node by node."""
    tensors, z = version.tensors(), version._ranked(row[None, :])[0]
    links, nodes, roots = tensors["links"], tensors["nodes"], tensors["roots"].tolist()
    base, added = 0.0, dict.fromkeys(range(len(NAMES)), 0.0)
    for first in roots[:-1]:
        node, rest = first, 1.0
        base += nodes[node, 2]
        while links[node, 0]:
            child = first + links[node, 0] + int(z[links[node, 1]] > nodes[node, 0])
            rest *= 1 - nodes[node, 1]
            added[version._columns[links[node, 1]]] += rest * (nodes[child, 2] - nodes[node, 2])
            node = child
    trees = len(roots) - 1
    return base / trees, {name: each / trees for name, each in added.items()}


@pytest.mark.parametrize("calibration", [Calibration(), PLATT], ids=["plain", "platt"])
def test_a_forests_contributions_are_the_steps_of_its_paths(calibration: Calibration) -> None:
    model = Forest(inputs=("gap", "amount"), trees=4, learnt_after=50, calibration=calibration)
    learner = model.bind(NAMES)
    learner.learn_many(*examples(n=1500))
    version = learner.version()
    x = examples(1)[0][:50]
    parts, scores = version.contributions_many(x), version.predict_many(x)
    np.testing.assert_allclose(parts.sum(axis=1), odds(scores), rtol=1e-9)
    slope = float(version.tensors()["calibration"][1])
    for row, own in zip(x, parts, strict=True):
        base, added = walked(version, row)
        p = base + sum(added.values())
        rise = odds(np.array([p, base])) @ [1, -1]
        wanted = [slope * added[i] * rise / (p - base) for i in range(len(NAMES))]
        np.testing.assert_allclose(own[:-1], wanted, rtol=1e-6, atol=1e-12)


def test_an_ensembles_contributions_are_its_members_by_their_weight() -> None:
    members: dict[str, Model] = {
        "linear": Linear(bits=10),
        "forest": Forest(trees=2, learnt_after=50),
        "rule": AmountRule(),
    }
    learner = Ensemble(members=members, every=100, share=0.05).bind(NAMES)
    learner.learn_many(*examples(n=1000))
    version, x = learner.version(), np.nan_to_num(examples(1)[0][:50], nan=2.0)
    parts = version.contributions_many(x)
    np.testing.assert_allclose(parts.sum(axis=1), odds(version.predict_many(x)), rtol=1e-9)
    mixed = np.zeros(parts.shape)
    for name, weight in learner.weights().items():
        own = version._members[name].contributions_many(x)
        p, low = (1 / (1 + np.exp(-each)) for each in (own.sum(axis=1), own[:, -1]))
        share = own[:, :-1] * ((p - low) / (own.sum(axis=1) - own[:, -1]))[:, None]
        mixed += weight * np.column_stack([share, low])
    # In proportion: the log-odds of the mean are shared as the mean itself is.
    falls = mixed[:, :-1] / mixed[:, :-1].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        parts[:, :-1] / parts[:, :-1].sum(axis=1, keepdims=True), falls, rtol=1e-6
    )


@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=6),
    st.floats(-6, 6),
)
def test_contributions_go_to_probabilities_and_come_back(falls: list[float], base: float) -> None:
    parts = np.array([[*falls, base]])
    there = parts.copy()
    to_probabilities(there)
    p = 1 / (1 + math.exp(-parts.sum()))
    assert there.sum() == pytest.approx(p, rel=1e-9)
    back = there.copy()
    to_log_odds(back)
    # Where they cancel out, their sum is known to fewer digits than they are.
    np.testing.assert_allclose(back, parts, rtol=1e-4, atol=1e-4)


@given(st.integers(1, 6), st.integers(0, 2**32))
def test_leaving_out_finds_what_an_additive_model_adds_and_always_sums(
    inputs: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    x, slopes = random.normal(size=(5, inputs)), random.normal(size=inputs)
    x[random.random(x.shape) < 0.2] = np.nan

    def additive(rows: Floats) -> Floats:
        return np.asarray(1 / (1 + np.exp(-(np.nan_to_num(rows) * slopes).sum(axis=1))))

    def tangled(rows: Floats) -> Floats:
        known = np.nan_to_num(rows)
        return np.asarray(1 / (1 + np.exp(-(known.sum(axis=1) + known.prod(axis=1)))))

    parts = by_leaving_out(additive, x)
    np.testing.assert_allclose(parts[:, :-1], np.nan_to_num(x) * slopes, atol=1e-9)
    sums = by_leaving_out(tangled, x).sum(axis=1)
    np.testing.assert_allclose(sums, odds(tangled(x)), atol=1e-9)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=7), st.integers(0, 9))
def test_reasons_are_sorted_and_ties_go_to_the_first(values: list[int], k: int) -> None:
    parts = np.array([[*map(float, values), 0.0]])
    wanted = sorted((i for i, v in enumerate(values) if v > 0), key=lambda i: -values[i])[:k]
    assert largest(parts, k).tolist() == [wanted + [-1] * (k - len(wanted))]
