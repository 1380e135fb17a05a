"""A slice in which a model is bad is found and named; where nothing is wrong, none is."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from jobs.commands import headrace
from jobs.judged import Labelled
from jobs.simulate import simulate
from jobs.slices import EFFECT, LEVEL, Slices, find_slices
from models.base import Floats
from streams.errors import InputError

N = 20_000
NAMES = ("amount", "hour", "age", "flag", "gaps")
SEEDS = 60


def world(seed: int, n: int = N) -> tuple[Floats, Floats]:
    """Inputs of every kind, and the true probability of a positive."""
    random = np.random.default_rng(seed)
    amount = np.exp(random.normal(3, 1, n))
    hour = random.integers(0, 24, n).astype(np.float64)
    age, flag = random.random(n) * 50, (random.random(n) < 0.1).astype(np.float64)
    gaps = np.where(random.random(n) < 0.3, np.nan, random.normal(size=n))
    p = 1 / (1 + np.exp(4 - 0.8 * (np.log(amount) - 3) - 1.5 * flag - np.nan_to_num(gaps) / 2))
    return np.column_stack([amount, hour, age, flag, gaps]), p


def found(x: Floats, p: Floats, score: Floats, seed: int, effect: float = EFFECT) -> Slices:
    y = (np.random.default_rng(1000 + seed).random(len(p)) < p).astype(np.int8)
    return find_slices(Labelled("here", NAMES, x, y, score=score), effect=effect)


def test_of_true_scores_hardly_a_search_names_anything() -> None:
    named = 0
    for seed in range(SEEDS):
        x, p = world(seed, 5000)
        named += bool(found(x, p, p, seed, effect=0.0).found)
    # A rate of LEVEL gives more than this in 1 of 1,000 such tests.
    assert named <= bound(SEEDS, LEVEL)


def bound(n: int, p: float) -> int:
    """The least number that is not exceeded with probability 0.999."""
    total, k = 0.0, 0
    while total < 0.999:
        total += math.comb(n, k) * p**k * (1 - p) ** (n - k)
        k += 1
    return k - 1


def test_scores_that_know_nothing_are_bad_in_no_slice() -> None:
    x, p = world(7)
    score = np.random.default_rng(1).beta(1, 30, N)
    y = (np.random.default_rng(2).random(N) < p.mean()).astype(np.int8)
    assert not find_slices(Labelled("here", NAMES, x, y, score=score)).found


def test_where_scores_are_far_too_low_the_range_is_named_and_no_other() -> None:
    x, p = world(1)
    bad = (x[:, 1] >= 20) & (x[:, 1] < 24)
    (slice_,) = found(x, np.where(bad, np.minimum(6 * p, 0.6), p), p, 1).found
    (side,) = slice_.ranges
    assert side.feature == "hour" and side.low is not None and 18 <= side.low <= 21
    assert side.high == math.inf
    assert slice_.loss > 1.3 * slice_.expected > 0
    assert slice_.rest[0] == pytest.approx(slice_.rest[1], rel=0.1)


def test_scores_that_are_mixed_up_in_a_slice_are_named() -> None:
    x, p = world(2)
    bad = np.flatnonzero(x[:, 3] == 1)
    score = p.copy()
    score[bad] = np.random.default_rng(0).permutation(p[bad])
    (slice_,) = found(x, p, score, 2).found
    assert slice_.name == "flag ≥ 1"
    assert slice_.precision < slice_.precision_rest + 0.2


def test_a_slice_of_two_features_is_named_by_both() -> None:
    x, p = world(3, 60_000)
    bad = (x[:, 3] == 1) & np.isnan(x[:, 4])
    best = found(x, np.where(bad, 0.6, p), p, 3).found[0]
    assert {side.feature for side in best.ranges} == {"flag", "gaps"}
    assert best.name == "flag ≥ 1 and gaps missing"
    assert best.events == np.count_nonzero(bad)


def test_a_small_difference_that_is_certain_is_not_much_worse() -> None:
    x, p = world(4, 100_000)
    y = (np.random.default_rng(5).random(len(p)) < np.where(x[:, 1] > 12, 1.25 * p, p)).astype(
        np.int8
    )
    events = Labelled("here", NAMES, x, y, score=p)
    assert not find_slices(events, effect=0.2).found
    assert find_slices(events, effect=0.0).found


def test_a_slice_may_be_of_what_is_missing() -> None:
    x, p = world(8)
    x[:, 2] = np.where(np.arange(N) % 5 == 0, np.nan, 1.0)
    (slice_,) = found(x, np.where(np.isnan(x[:, 2]), np.minimum(5 * p, 0.6), p), p, 8).found
    assert slice_.name == "age missing" and slice_.events == N // 5


def test_events_without_a_label_are_left_out() -> None:
    x, p = world(5)
    y = (np.random.default_rng(5).random(N) < p).astype(np.int8)
    y[-500:] = -1
    assert find_slices(Labelled("here", NAMES, x, y, score=p)).events == N - 500


def test_too_few_positives_are_an_error() -> None:
    x, p = world(6, 500)
    with pytest.raises(InputError, match="wanted 20 positives, got 0 of 500 events"):
        find_slices(Labelled("here", NAMES, x, np.zeros(500, np.int8), score=p))


def call(*arguments: object) -> Result:
    return CliRunner().invoke(headrace, [str(each) for each in arguments])


def test_a_run_is_searched_by_the_command_and_in_its_report(tmp_path: Path) -> None:
    world = {"customers": 150, "terminals": 60, "per_day": 250, "fraud_rate": 0.05}
    simulate(tmp_path / "traffic.parquet", [], {**world, "events": 12_000})
    columns = ("--columns", "fraud=fraud", "--label-delay", "7d")
    done = call("replay", tmp_path / "traffic.parquet", *columns, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    result = call("check", "slices", tmp_path / "run", "--json", "--effect", "0")
    content = json.loads(result.stdout)
    assert result.exit_code == bool(content["slices"])
    assert content["tried"] > 100 and content["events"] > 9000
    said = call("check", "slices", tmp_path / "run", "--effect", "9")
    assert said.exit_code == 0 and "no slice does much worse" in said.output
    names = {side["feature"] for each in content["slices"] for side in each["ranges"]}
    assert names <= {"amount", *content_features()}


def content_features() -> set[str]:
    from jobs import fraud

    return set(fraud.pipeline.features)
