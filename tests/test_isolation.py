"""An isolation forest scores as scikit-learn's does, without it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models import trees
from models.isolation import IsolationForest, expected, export, grown, read
from models.kinds import SIMPLE
from streams.errors import ConfigError

pytest.importorskip("sklearn")


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("seed", [1, 2])
def test_it_takes_as_many_cuts_as_scikit_learn_says(seed: int, missing: float) -> None:
    rng = np.random.default_rng(seed)
    x = np.exp(rng.normal(0, 2, (1000, 3)))
    x[rng.random(x.shape) < missing] = np.nan
    model = IsolationForest(trees=30, sample=64, seed=seed)
    forest = grown(model, x[:500])
    links, numbers = trees.room(30, 127)
    export(forest, links, numbers)
    depth = np.empty(1000)
    trees.total(read(x), links, numbers, depth)
    ours = 2.0 ** (-depth / (30 * expected(np.array([64.0]))))
    # Depths are summed the same way, but the power is another library's.
    np.testing.assert_allclose(ours, -forest.score_samples(read(x)), rtol=1e-14)
    assert trees.sound(links, 3)


def test_what_is_far_from_all_is_scored_first_and_the_reason_is_why() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(0, 1, (3000, 3))
    odd = np.zeros((3, 3))
    odd[np.arange(3), np.arange(3)] = 9
    learner = IsolationForest(trees=50).bind(("a", "b", "c"))
    learner.learn_many(x, np.zeros(3000, np.int8), np.ones(3000))
    version = learner.version()
    assert version.predict_many(np.full((1, 3), 9.0))[0] > np.quantile(
        version.predict_many(x), 0.999
    )
    assert version.reasons_many(odd, 1).ravel().tolist() == [0, 1, 2]
    assert SIMPLE[version.kind] is type(version)


@pytest.mark.parametrize("wrong", [{"trees": 0}, {"sample": 1}, {"latest": 0}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="IsolationForest wants"):
        IsolationForest(**wrong)
