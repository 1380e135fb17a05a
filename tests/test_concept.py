"""What is told of labels that follow from inputs otherwise, and what is no such change."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.drift.alarm import Finding
from operators.drift.bucket import Bucket, Matured, Scope
from operators.drift.concept import Concept, ConceptMonitor
from operators.drift.sketch import Sketch
from operators.labels import BY_LABEL, BY_MATURITY
from streams.errors import ConfigError, StateError

Floats = npt.NDArray[np.float64]
DAY = 86_400_000_000
SCOPE = Scope(("amount",), {"time of day": ("day", "night")}, 7 * DAY, 0.01, (0,), "15m")
PER_DAY = 2_000


def matured(
    days: int,
    first: int = 0,
    *,
    seed: int = 0,
    prior: float = 0.0,
    inputs: float = 0.0,
    lost: float = 0.0,
    lost_at_night: float = 0.0,
    customers: float = 1.0,
    cases: int = 1,
) -> Matured:
    """Days of scores around 4 %, right about their labels.

    `cases`: of how many positives, which score alike and come within five days. `prior`: log-odds
    added to the labels'. `inputs`: to the scores and the labels. `lost`: the share of positives
    that could be any events.
    """
    rng = np.random.default_rng([seed, first])
    n = int(days * PER_DAY * customers)
    z = rng.normal(-5.0 + inputs, 2.0, n)
    night = rng.integers(0, 2, n)
    y = rng.random(n) < 1 / (1 + np.exp(-z - prior))
    moved = y & (rng.random(n) < np.where(night == 1, np.maximum(lost, lost_at_night), lost))
    z[moved] = rng.normal(-5.0 + inputs, 2.0, np.count_nonzero(moved))
    if cases > 1:
        z, y = in_cases(rng, z, y, days, cases)
    time_us = first * DAY + np.sort(rng.integers(0, days * DAY, n))
    cause = np.where(y, BY_LABEL, BY_MATURITY).astype(np.uint8)
    score = 1 / (1 + np.exp(-z))
    return Matured(
        time_us + 7 * DAY, time_us, np.arange(n), score, y.astype(np.int8), cause, night[:, None]
    )


def in_cases(
    rng: np.random.Generator, z: Floats, y: npt.NDArray[np.bool_], days: int, size: int
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """The same with as many positives, in cases of this size."""
    positives, n = np.sort(z[y]), len(z)
    begun = rng.integers(0, n, len(positives) // size + 1)
    places = (begun[:, None] + rng.integers(0, 5 * n // days, (len(begun), size))) % n
    own = np.quantile(positives, np.clip(rng.random(len(begun)), 0.01, 0.99))
    scores, moved = z.copy(), y.copy()
    scores[y] = rng.choice(z[~y], len(positives))
    moved[:] = False
    scores[places] = own[:, None] + 0.5 * rng.normal(size=places.shape)
    moved[places] = True
    return scores, moved


def bucket(examples: Matured) -> Bucket:
    return Bucket(0, 0, Sketch.empty(0), Sketch.empty(0), examples, 1)


def cut(examples: Matured, start: int, stop: int) -> Matured:
    return examples[start:stop]


def monitor(run_length: float = 1_000_000, **declared: Any) -> ConceptMonitor:
    return Concept(run_length=run_length, **declared).bind(SCOPE)


def findings(watching: ConceptMonitor, *spans: Matured) -> list[Finding]:
    return [each for span in spans for each in watching.close(bucket(span))]


def test_what_stays_as_it_is_raises_nothing() -> None:
    assert findings(monitor(), matured(100)) == []


@pytest.mark.parametrize("seed", range(3))
def test_a_season_of_more_customers_with_other_inputs_raises_nothing(seed: int) -> None:
    season = matured(20, 60, inputs=0.7, customers=3.0, seed=seed)
    assert findings(monitor(), matured(60, seed=seed), season, matured(20, 80, seed=seed)) == []


def test_a_season_is_no_change_of_concept_where_positives_come_in_cases() -> None:
    """Over 20 streams, no more alarms than are stated of everything for so many positives."""
    alarms = positives = 0
    for seed in range(20):
        before = matured(60, seed=seed, cases=12)
        season = matured(20, 60, inputs=0.7, customers=3.0, seed=seed, cases=12)
        watching = monitor(run_length=10_000, seed=seed)
        findings(watching, before)
        found = findings(watching, season)
        alarms += sum(each.kind == "concept" and not each.over for each in found)
        positives += int(season.y.sum())
    assert positives > 100_000
    assert alarms <= positives / 10_000


@pytest.mark.parametrize("prior", [-0.7, 0.7])
def test_more_or_fewer_positives_are_a_matter_of_calibration_alone(prior: float) -> None:
    found = findings(monitor(), matured(60), matured(20, 60, prior=prior))
    assert {each.kind for each in found} == {"calibration"}
    (whole,) = (each for each in found if not each.slice)
    assert abs(whole.since_us / DAY - 60) < 5
    before, now = (whole.evidence[f"share of positives {when}"] for when in ("before", "now"))
    assert (now > before) == (prior > 0)


def test_positives_that_come_elsewhere_are_one_alarm_dated_and_ended() -> None:
    found = findings(monitor(), matured(60), matured(30, 60, lost=0.4), matured(30, 90))
    began, ended = (each for each in found if each.kind == "concept" and not each.slice)
    assert not began.over
    assert abs(began.since_us / DAY - 60) < 4
    assert began.size > began.threshold
    assert began.evidence["log loss now"] > began.evidence["log loss before"]
    assert ended.over
    assert 90 < ended.since_us / DAY < 97


def test_a_change_of_one_slice_is_told_of_that_slice() -> None:
    watching = monitor(run_length=100_000)
    found = findings(watching, matured(60), matured(40, 60, lost_at_night=0.6))
    of = {(each.slice, each.value) for each in found if each.kind == "concept"}
    assert ("time of day", "night") in of
    assert ("time of day", "day") not in of


def test_positives_known_early_wait_for_the_first_negatives() -> None:
    examples = matured(60)
    early = cut(examples, 0, 20_000)
    alone = early[early.y == 1]
    assert findings(monitor(), alone, cut(examples, 20_000, 120_000)) == []


@settings(max_examples=10)
@given(st.lists(st.integers(0, 90 * PER_DAY), max_size=6))
def test_any_cut_and_any_restart_give_the_same_findings(cuts: list[int]) -> None:
    whole = matured(90, lost=0.5)
    known = matured(60)
    bounds = [0, *sorted(cuts), len(whole.y)]
    parts = [cut(whole, start, stop) for start, stop in pairwise(bounds)]
    first = monitor()
    wanted = findings(first, known, whole)
    assert wanted
    second = monitor()
    found = findings(second, known)
    for part in parts:
        again = monitor()
        again.load(second.state())
        second = again
        found += findings(second, part)
    assert found == wanted
    assert all((second.state()[name] == part).all() for name, part in first.state().items())


def test_false_alarms_of_everything_together_come_as_often_as_stated() -> None:
    found = [
        each
        for seed in range(4)
        for each in findings(monitor(run_length=1_000, seed=seed * 100), matured(250, seed=seed))
    ]
    positives = sum(int(matured(250, seed=seed).y.sum()) for seed in range(4))
    began = sum(not each.over for each in found)
    expected = positives / 1_000
    assert expected > 60
    assert abs(began - expected) < 4 * expected**0.5


def test_a_state_of_another_configuration_is_refused() -> None:
    with pytest.raises(StateError):
        monitor().load(monitor(shift=0.5).state())
    with pytest.raises(StateError):
        monitor().load(Concept().bind(replace(SCOPE, slices={})).state())


@pytest.mark.parametrize("declared", [{"run_length": 100.0}, {"shift": 3.0}])
def test_what_cannot_work_is_refused(declared: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="Concept: run_length is at least 1,000"):
        Concept(**declared)  # type: ignore[arg-type]


def test_memory_is_what_it_says() -> None:
    assert monitor().nbytes < 3 * 55_500
