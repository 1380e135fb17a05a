"""Boosted trees score as LightGBM does, without it, from examples that stand for all that came."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from models import trees
from models.base import Floats, Labels
from models.boosted import Boosted, BoostedVersion, export, grown, read
from models.calibration import Calibration
from models.recent import Recent
from streams.errors import ConfigError, StateError

pytest.importorskip("lightgbm")
NAMES = ("a", "b", "c", "d")


def drawn(seed: int, n: int, missing: float) -> tuple[Floats, Labels]:
    rng = np.random.default_rng(seed)
    x = np.exp(rng.normal(0, 2, (n, 4))) * rng.choice([-1, 1], (n, 4))
    x[:, 3] = rng.integers(0, 3, n)
    y = (rng.random(n) < 1 / (1 + np.exp(2 - np.tanh(x[:, 0]) - x[:, 3]))).astype(np.int8)
    x[rng.random((n, 4)) < missing] = np.nan
    return x, y


@pytest.mark.parametrize("missing", [0.0, 0.001, 0.3])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_sum_of_the_trees_is_lightgbms_own_to_the_bit(seed: int, missing: float) -> None:
    model = Boosted(rounds=40, leaves=13, seed=seed)
    x, y = drawn(seed, 3000, missing)
    booster = grown(model, x, y, np.where(y > 0, 3.0, 1.0))
    links, numbers = trees.room(model.rounds, 2 * model.leaves - 1)
    export(booster.model_to_string(), links, numbers)
    assert trees.sound(links, 4)
    odd, _ = drawn(seed + 100, 2000, 0.3)
    cuts = numbers[links[:, :, trees.CHILD] > 0][:, trees.CUT]
    some = cuts[: len(odd)]
    odd[: len(some), 0] = some
    odd[-3:] = [[np.inf] * 4, [-np.inf] * 4, [0.0, -0.0, 1e-36, -1e-36]]
    ours = np.empty(len(odd))
    trees.total(read(odd), links, numbers, ours)
    assert np.array_equal(ours, booster.predict(odd, raw_score=True))


def test_a_library_that_stops_early_leaves_trees_that_say_nothing() -> None:
    x = np.tile([[1.0], [2.0]], (50, 1))
    model = Boosted(rounds=30, leaves=4, least=60)
    booster = grown(model, x, np.tile(np.array([0, 1], np.int8), 50), np.ones(100))
    links, numbers = trees.room(30, 7)
    numbers[:] = 9
    export(booster.model_to_string(), links, numbers)
    out = np.empty(100)
    trees.total(x, links, numbers, out)
    assert np.array_equal(out, booster.predict(x, raw_score=True))


@pytest.mark.parametrize("heavier", [1.0, 20.0, "balanced"])
def test_probabilities_keep_their_level_whatever_positives_weigh(heavier: Any) -> None:
    x, y = drawn(4, 20_000, 0.1)
    calibration = Calibration(positive_weight=heavier)
    learner = Boosted(rounds=30, leaves=8, every=5000, calibration=calibration).bind(NAMES)
    learner.learn_many(x, y, np.ones(len(x)))
    later, truth = drawn(5, 20_000, 0.1)
    scores = learner.version().predict_many(later)
    assert scores.mean() == pytest.approx(truth.mean(), rel=0.05)


def test_the_input_that_decides_is_the_first_reason() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((4000, 4))
    y = (x[:, 2] > 0.8).astype(np.int8)
    learner = Boosted(inputs=("b", "c"), rounds=20, leaves=4).bind(NAMES)
    learner.learn_many(x, y, np.ones(4000))
    reasons = learner.version().reasons_many(np.array([[0.5, 0.5, 0.9, 0.5]]), 3)
    assert reasons[0, 0] == NAMES.index("c")


def _recent(**changed: int) -> Recent:
    settings: dict[str, Any] = {"latest": 100, "past": 40, "after": 50, "every": 100, "seed": 1}
    return Recent(("a",), (), "a test", **settings | changed)


def test_trees_are_made_after_as_many_as_there_were_and_at_last_on_a_cadence() -> None:
    recent, due = _recent(), []
    for place in range(700):
        for _, now in recent.take(np.zeros((1, 1)), np.zeros(1, np.int8), np.ones(1)):
            due += [place + 1] * now
    assert due == [50, 100, 200, 300, 400, 500, 600, 700]


def test_what_is_kept_is_the_latest_and_a_sample_that_stands_for_the_rest() -> None:
    y = (np.arange(5000) % 50 == 0).astype(np.int8)
    values = np.arange(5000.0)
    totals = []
    for seed in range(200):
        recent = _recent(seed=seed)
        list(recent.take(values[:, None], y, np.full(5000, 2.0)))
        x, labels, weight = recent.examples()
        assert x[:100].ravel().tolist() == np.roll(values[-100:], 5000 % 100).tolist()
        assert weight[:100].tolist() == [2.0] * 100
        assert np.bincount(labels[100:]).tolist() == [40, 40]
        totals.append([weight.sum(), weight[labels > 0].sum(), (weight * x.ravel()).sum()])
    wanted = [2 * 5000, 2 * y.sum(), 2 * values.sum()]
    error = np.std(totals, axis=0) / np.sqrt(len(totals))
    assert (np.abs(np.mean(totals, axis=0) - wanted) <= 4 * error + 1e-9 * np.array(wanted)).all()


def test_without_a_past_only_the_latest_are_kept() -> None:
    recent = _recent(past=0)
    list(recent.take(np.arange(250.0)[:, None], np.zeros(250, np.int8), np.ones(250)))
    x, _, _ = recent.examples()
    assert sorted(x.ravel().tolist()) == list(range(150, 250))


def test_a_version_scores_without_the_library(tmp_path: Any) -> None:
    x, y = drawn(6, 2000, 0.1)
    learner = Boosted(rounds=5, leaves=4).bind(NAMES)
    learner.learn_many(x, y, np.ones(len(x)))
    version = learner.version()
    path = tmp_path / "version.npz"
    np.savez(path, **version.tensors())
    program = f"""
import sys
sys.modules["lightgbm"] = sys.modules["sklearn"] = None
import numpy as np
from models.boosted import BoostedVersion
version = BoostedVersion.from_parts({version.config()}, dict(np.load({str(path)!r})))
print(version.predict_many(np.ones((1, 4))).tobytes().hex())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == version.predict_many(np.ones((1, 4))).tobytes().hex()


def test_a_damaged_version_is_refused() -> None:
    version = Boosted(rounds=2, leaves=4).bind(NAMES).version()
    tensors = version.tensors()
    tensors["links"][0, 3, trees.CHILD] = 1
    with pytest.raises(StateError, match="damaged"):
        BoostedVersion.from_parts(version.config(), tensors)


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"leaves": 1}, {"past": -1}, {"prior": 0.0}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="Boosted wants"):
        Boosted(**wrong)
