"""A model that begins anew beside itself learns a change sooner, and is itself where none comes."""

from __future__ import annotations

import numpy as np
import pytest

from models.base import Floats, Labels, Model
from models.baselines import Prior
from models.forest import Forest
from models.manifest import Manifest, Seal
from models.renewed import Renewed, RenewedLearner
from operators.metrics import average_precision
from streams.errors import ConfigError

NAMES = ("a", "b")
FOREST = Forest(trees=5, nodes=1023, learnt_after=200)
CHANGE, N = 1500, 2500


def stream(kind: str, seed: int = 0) -> tuple[Floats, Labels, Floats]:
    """Labels that change at `CHANGE` to their contrary, to another law, or not."""
    rng = np.random.default_rng(seed)
    x = rng.random((N, 2))
    before, after = x[:, 0] > x[:, 1], {"contrary": x[:, 0] <= x[:, 1], "other": x.sum(1) > 1}
    y = np.where(np.arange(N) >= CHANGE, after.get(kind, before), before)
    noise = rng.random(N) < 0.02
    return x, (y ^ noise).astype(np.int8), np.ones(N)


def scores(model: Model, kind: str, every: int = 10) -> Floats:
    """What was scored of each event by what had been learnt, in steps of `every`."""
    x, y, weight = stream(kind)
    learner, said = model.bind(NAMES), np.empty(N)
    for start in range(0, N, every):
        rows = slice(start, start + every)
        said[rows] = learner.version().predict_many(x[rows])
        learner.learn_many(x[rows], y[rows], weight[rows])
    return said


def quality(said: Floats, kind: str, start: int, stop: int) -> float:
    return average_precision(np.ascontiguousarray(said[start:stop]), stream(kind)[1][start:stop])


@pytest.mark.parametrize(("kind", "least"), [("contrary", 0.9), ("other", 0.9)])
def test_a_change_is_learnt_within_a_hundred_labels(kind: str, least: float) -> None:
    alone, renewed = scores(FOREST, kind), scores(Renewed(model=FOREST), kind)
    span = CHANGE + 50, CHANGE + 150
    assert quality(renewed, kind, *span) > least > 0.1 + quality(alone, kind, *span)
    # And it goes on nearly as well as a model that never knew the other law (.987).
    assert quality(renewed, kind, CHANGE + 500, N) > 0.94


def test_where_nothing_changes_it_is_the_model() -> None:
    said = scores(Renewed(model=FOREST), "none")
    # Not to the bit: it goes through log-odds and back.
    np.testing.assert_allclose(said, scores(FOREST, "none"), rtol=1e-9)


def learnt(kind: str, n: int, cut: int = N) -> RenewedLearner:
    x, y, weight = stream(kind)
    learner = Renewed(model=FOREST, recent=300).bind(NAMES)
    for start in range(0, n, cut):
        rows = slice(start, min(start + cut, n))
        learner.learn_many(x[rows], y[rows], weight[rows])
    return learner


def test_a_second_begins_with_the_change_and_takes_the_place_of_the_first() -> None:
    trying = [learnt("other", CHANGE + after).trying for after in (0, 60, 1000)]
    assert trying[0] == trying[2] == 0
    # It has learnt what came since the losses rose, which is little less than since the change.
    assert 50 <= trying[1] <= 60


@pytest.mark.parametrize("stop", [CHANGE - 3, CHANGE + 40, CHANGE + 90, N - 1])
def test_any_cut_and_any_restart_give_the_same_bits_while_a_second_learns(stop: int) -> None:
    x, y, weight = stream("other")
    whole = learnt("other", N)
    resumed = Renewed(model=FOREST, recent=300).bind(NAMES)
    resumed.load(learnt("other", stop, cut=7).state())
    resumed.learn_many(x[stop:], y[stop:], weight[stop:])
    for name, part in whole.version().tensors().items():
        assert np.array_equal(resumed.version().tensors()[name], part), name
    # Of the forests' own state what is not used any more depends on the cut.
    own, state = resumed.state(), whole.state()
    assert all(np.array_equal(own[name], part) for name, part in state.items() if "/" not in name)


def test_a_version_with_a_second_is_explained_and_read_again() -> None:
    x = stream("other")[0][:50]
    version = learnt("other", CHANGE + 60).version()
    parts = version.contributions_many(x)
    odds = np.exp(parts.sum(axis=1))
    # Not to the bit: they are added up in another order than the score was.
    np.testing.assert_allclose(odds / (1 + odds), version.predict_many(x), rtol=1e-9)
    about, seal = Manifest(sequence=1, name="renewed", pipeline="", examples=1), Seal()
    again = seal.version(*seal.close(about, version), "the test")
    assert np.array_equal(again.predict_many(x), version.predict_many(x))


@pytest.mark.parametrize("wrong", [{"recent": 0}, {"every": 0}, {"odds": 1.0}])
def test_what_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="Renewed wants"):
        Renewed(model=Prior(), **wrong)  # type: ignore[arg-type]


def test_a_model_without_a_rate_is_named() -> None:
    with pytest.raises(ConfigError, match="Prior"):
        Renewed(model=Prior()).bind(NAMES).adapt(2.0)
