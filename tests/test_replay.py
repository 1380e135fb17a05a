"""What is replayed is a fair sample of the past, and policies leave probabilities what they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.base import Floats, Labels
from models.baselines import Prior, PriorLearner
from models.bins import edges_at
from models.boosted import Boosted
from models.calibration import Calibration
from models.linear import Linear
from models.manifest import Manifest, Seal
from models.replay import Replay
from streams.errors import ConfigError

EVERY = 100


class Noted(Prior):
    """A prior that notes what it is taught, call by call."""

    def bind(self, names: tuple[str, ...]) -> NotedLearner:
        return NotedLearner(self, names)


class NotedLearner(PriorLearner):
    def __init__(self, model: Noted, names: tuple[str, ...]) -> None:
        super().__init__(model, names)
        self.taught: list[tuple[float, int]] = []

    def learn_many(self, x: Floats, y: Labels, weight: Floats) -> None:
        super().learn_many(x, y, weight)
        self.taught += zip(x[:, 0].tolist(), y.tolist(), strict=True)


def taught(turns: int = 10, **policy: Any) -> tuple[list[int], list[int], Labels]:
    """What was learnt fresh and again, each a number, and the labels of all numbers there are."""
    y = (np.arange(turns * EVERY) % 20 == 0).astype(np.int8)
    learner = Replay(model=Noted(), every=EVERY, **policy).bind(("number",))
    learner.learn_many(np.arange(len(y), dtype=float)[:, None], y, np.ones(len(y)))
    member: Any = learner._member
    fresh: list[int] = []
    again: list[int] = []
    newest = -1
    for number, label in member.taught:
        assert y[int(number)] == label
        (fresh if number > newest else again).append(int(number))
        newest = max(newest, int(number))
    return fresh, again, y


def test_all_of_the_past_is_replayed_alike() -> None:
    found = np.zeros(1000)
    for seed in range(100):
        _, again, _ = taught(11, size=30, draws=2.0, seed=seed)
        found += np.bincount(again[-200:], minlength=1000)
    # 200 drawn from 1000 in each of 100 runs, those of one sample together: by hundreds.
    hundreds = found.reshape(10, 100).sum(1)
    assert hundreds.sum() == 100 * 200
    np.testing.assert_allclose(hundreds, 2000, rtol=0.2)


@pytest.mark.parametrize(("positives", "wanted"), [(None, 0.05), (0.5, 0.5), (0.0, 0.0)])
@pytest.mark.parametrize("draws", [0.3, 1.0, 2.5])
def test_as_many_are_replayed_as_is_said_and_as_many_of_them_are_positive(
    draws: float, positives: float | None, wanted: float
) -> None:
    fresh, again, y = taught(100, positives=positives, draws=draws)
    assert fresh == list(range(len(y)))
    assert len(again) == round(99 * EVERY * draws)  # nothing is there to draw in the first turn
    assert y[again].mean() == pytest.approx(wanted, abs=0.02)


def test_negatives_that_are_left_out_may_be_replayed() -> None:
    y = (np.arange(100 * EVERY) % 20 == 0).astype(np.int8)
    learner = Replay(model=Noted(), every=EVERY, negatives=0.2).bind(("number",))
    learner.learn_many(np.arange(len(y), dtype=float)[:, None], y, np.ones(len(y)))
    came, learnt = learner._came - 1, learner._learnt - 1
    assert came.tolist() == [(y == 0).sum(), y.sum()]
    assert learnt[1] == pytest.approx(2 * y.sum(), rel=0.1)
    assert learnt[0] == pytest.approx(1.2 * (y == 0).sum(), rel=0.03)


def world(n: int, seed: int) -> tuple[Floats, Labels]:
    """Four levels of an input, each with a probability of its own."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 4, (n, 1))
    p = np.array([0.005, 0.02, 0.08, 0.3])[x[:, 0].astype(int)]
    return x, (rng.random(n) < p).astype(np.int8)


@pytest.mark.parametrize(
    "policy",
    [
        {},
        {"positives": 0.5},
        {"negatives": 0.1},
        {"positives": 0.5, "negatives": 0.2, "draws": 3.0},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "model",
    [
        Linear(inputs={"a": edges_at(1, 2, 3)}, bits=8),
        Linear(inputs={"a": edges_at(1, 2, 3)}, bits=8, focus=2.0),
        Boosted(
            rounds=30, leaves=4, rate=0.3, every=25_000, calibration=Calibration(positive_weight=5)
        ),
    ],
    ids=["linear", "focal", "boosted"],
)
def test_probabilities_stay_calibrated_whatever_is_left_out_or_replayed(
    model: Any, policy: dict[str, Any]
) -> None:
    learner = Replay(model=model, **policy).bind(("a",))
    x, y = world(60_000, 1)
    learner.learn_many(x, y, np.ones(len(x)))
    scores, level = learner.version().predict_many(x), x[:, 0].astype(int)
    for each in (1, 2, 3):  # of the rarest too few are positive to tell
        share = y[level == each].mean()
        assert scores[level == each].mean() == pytest.approx(share, rel=0.2)
    assert scores.mean() == pytest.approx(y.mean(), rel=0.07)


def test_its_versions_are_sealed_and_opened() -> None:
    learner = Replay(model=Linear(bits=8)).bind(("a",))
    x, y = world(2000, 3)
    learner.learn_many(x, y, np.ones(len(x)))
    version = learner.version()
    manifest = Manifest(sequence=1, name="replay", pipeline="", examples=2000)
    opened = Seal().version(*Seal().close(manifest, version), "here")
    assert np.array_equal(opened.predict_many(x), version.predict_many(x))


@pytest.mark.parametrize(
    "wrong",
    [
        {"positives": 1.5},
        {"size": 0},
        {"draws": -1},
        {"calibration": Calibration(positive_weight=2)},
    ],
)
def test_policies_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="Replay wants"):
        Replay(model=Prior(), **wrong)
