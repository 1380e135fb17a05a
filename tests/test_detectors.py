"""Detectors give River's own alarms, the same whatever the cut, as often as they say."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.drift.adwin import Adwin
from operators.drift.ddm import Ddm
from operators.drift.detector import Detector, Floats
from operators.drift.kswin import Kswin
from operators.drift.page_hinkley import PageHinkley
from operators.drift.ranks import WORDS, place, rank
from operators.drift.twister import seeded
from streams.errors import ConfigError, StateError

N = 6_000


def gaussian(rng: np.random.Generator, level: float, n: int) -> Floats:
    return rng.normal(level, 1, n)


def errors(rng: np.random.Generator, level: float, n: int) -> Floats:
    return (rng.random(n) < 0.05 + 0.2 * level).astype(np.float64)


def losses(rng: np.random.Generator, level: float, n: int) -> Floats:
    """Of a model that sees some of the positives, 0.8 % of all: most are next to none."""
    score = 1 / (1 + np.exp(5 - level - rng.normal(0, 1.5, n)))
    return np.where(rng.random(n) < 0.008 * (1 + level), -np.log(score), -np.log1p(-score))


STREAMS: dict[str, Callable[[np.random.Generator, float, int], Floats]] = {
    "gaussian": gaussian,
    "errors": errors,
    "losses": losses,
}


def stream(kind: str, seed: int) -> Floats:
    """A stream whose level stays, or jumps up and down again at random."""
    rng = np.random.default_rng([seed, len(kind)])
    cuts = np.sort(rng.integers(0, N, 4 * (seed % 2)))
    levels = np.repeat(rng.random(len(cuts) + 1), np.diff([0, *cuts, N]))
    return np.concatenate([STREAMS[kind](rng, level, 1) for level in levels])


def alarms(detector: Any, values: Floats, what: str = "drift_detected") -> list[int]:
    """Where one of River's says so."""
    found = []
    for i, value in enumerate(values.tolist()):
        detector.update(value)
        if getattr(detector, what):
            found.append(i)
    return found


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("seed", range(6))
def test_alarms_are_rivers(kind: str, seed: int) -> None:
    drift = pytest.importorskip("river.drift")
    values = stream(kind, seed)
    pairs: list[tuple[Any, Any]] = [
        (Adwin(delta=0.002), drift.ADWIN()),
        (
            Adwin(delta=0.3, clock=1, max_buckets=2, min_window_length=2, grace_period=3),
            drift.ADWIN(delta=0.3, clock=1, max_buckets=2, min_window_length=2, grace_period=3),
        ),
        (PageHinkley(threshold=50.0), drift.PageHinkley()),
        (
            PageHinkley(threshold=3.0, delta=0.1, alpha=0.99, mode="up", min_instances=3),
            drift.PageHinkley(threshold=3.0, delta=0.1, alpha=0.99, mode="up", min_instances=3),
        ),
        (
            PageHinkley(threshold=2.0, mode="down"),
            drift.PageHinkley(threshold=2.0, mode="down"),
        ),
    ]
    if kind == "errors":
        pairs += [
            (Ddm(drift_threshold=3.0), drift.binary.DDM()),
            (
                Ddm(drift_threshold=2.0, warning_threshold=1.0, warm_start=100),
                drift.binary.DDM(drift_threshold=2.0, warning_threshold=1.0, warm_start=100),
            ),
        ]
    told = 0
    for ours, rivers in pairs:
        found = ours.bind().update_many(values).alarms.tolist()
        assert found == alarms(rivers, values), ours
        told += len(found)
    assert told or not seed % 2


@pytest.mark.parametrize("seed", range(3))
def test_warnings_are_rivers(seed: int) -> None:
    drift = pytest.importorskip("river.drift")
    values = stream("errors", seed)
    found = Ddm(drift_threshold=3.0).bind().update_many(values).warnings.tolist()
    assert found == alarms(drift.binary.DDM(), values, "warning_detected") != []


@pytest.mark.parametrize(
    ("kind", "seed", "sizes"),
    [("gaussian", 3, (100, 30)), ("losses", 1, (60, 30)), ("errors", 5, (320, 25))],
)
def test_alarms_by_samples_are_rivers_of_the_same_seed(
    kind: str, seed: int, sizes: tuple[int, int]
) -> None:
    drift = pytest.importorskip("river.drift")
    values = stream(kind, seed)[2000:3500]
    given = {"alpha": 0.02, "window_size": sizes[0], "stat_size": sizes[1], "seed": seed}
    found = Kswin(**given).bind().update_many(values).alarms.tolist()  # type: ignore[arg-type]
    assert found == alarms(drift.KSWIN(**given), values)
    assert found or kind == "errors"


@pytest.mark.parametrize("seed", [0, 1, -7, 2**40 + 3, 2**70])
def test_the_twister_is_pythons(seed: int) -> None:
    state = random.Random(seed).getstate()[1]
    assert seeded(seed).tolist() == [state[-1], *state[:-1]]


CONFIGURATIONS: list[Any] = [
    Adwin(run_length=1_000),
    Adwin(delta=0.3),
    PageHinkley(run_length=1_000),
    PageHinkley(threshold=1.0),
    Kswin(run_length=1_000),
    Kswin(alpha=0.01),
    Ddm(run_length=10_000),
    Ddm(drift_threshold=2.0),
]


def told(detector: Detector, values: Floats, cuts: list[int]) -> list[tuple[int, int]]:
    """Places and extents of the alarms, of values given in parts, the state moved between them."""
    found = []
    bounds = [0, *sorted(cuts), len(values)]
    for start, stop in pairwise(bounds):
        changes = detector.update_many(values[start:stop])
        places = (changes.alarms + start).tolist()
        found += list(zip(places, changes.since.tolist(), strict=True))
    return found


@settings(max_examples=5)
@given(st.lists(st.integers(0, N), max_size=5), st.integers(0, 9))
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_any_cut_and_any_restart_give_the_same_alarms(
    configuration: Any, cuts: list[int], seed: int
) -> None:
    values = stream("errors", seed)
    whole = configuration.bind()
    wanted = told(whole, values, [])
    parts = configuration.bind()
    assert told(parts, values, cuts) == wanted
    assert all((parts.state()[name] == part).all() for name, part in whole.state().items())
    half = configuration.bind()
    before = told(half, values[:2_500], [])
    again = configuration.bind()
    again.load(half.state())
    after = told(again, values[2_500:], [])
    assert before + [(i + 2_500, since) for i, since in after] == wanted


def test_memory_is_what_it_says() -> None:
    """Of the classes' docstrings."""
    sizes = {type(each).__name__: each.bind().nbytes for each in CONFIGURATIONS[::2]}
    assert sizes["Adwin"] < 20_700
    assert sizes["PageHinkley"] < 16_700
    assert sizes["Kswin"] < 35_500
    assert sizes["Ddm"] < 16_700


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_a_state_of_another_configuration_is_refused(configuration: Any) -> None:
    with pytest.raises(StateError):
        configuration.bind().load(Adwin(delta=0.7).bind().state())


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: PageHinkley(mode="sideways"), "mode is up, down or both"),  # type: ignore[arg-type]
        (lambda: PageHinkley(shift=0.0), "shift is above 0"),
        (lambda: PageHinkley(run_length=10).bind(), "run_length is 100 to"),
        (lambda: Adwin(run_length=1e9).bind(), "run_length is 1,000 to"),
        (lambda: Adwin(delta=0.1, max_buckets=1), "max_buckets at least 2"),
        (lambda: Kswin(window_size=50), "at most half of window_size"),
        (lambda: Kswin(window_size=1000), "give an alpha"),
    ],
)
def test_what_cannot_work_is_refused(make: Callable[[], Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        make()


@pytest.mark.parametrize(
    ("configuration", "value", "match"),
    [
        (PageHinkley(), np.nan, "finite"),
        (Ddm(drift_threshold=3.0), 1.5, "from 0 to 1"),
    ],
)
def test_a_value_that_is_none_is_refused(configuration: Any, value: float, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        configuration.bind().update_many(np.array([value]))


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("configuration", CONFIGURATIONS[::2])
def test_false_alarms_come_as_often_as_stated_on_any_stream(configuration: Any, kind: str) -> None:
    values = STREAMS[kind](np.random.default_rng(5), 0.0, int(200 * configuration.run_length))
    found = len(configuration.bind().update_many(values).alarms)
    # 200 expected: four deviations of as good as a Poisson number, and the tables' own tenth.
    assert abs(found - 200) < 4 * 200**0.5 + 20


@pytest.mark.parametrize("kind", STREAMS)
def test_ranks_are_even_and_independent_of_the_rank_before(kind: str) -> None:
    tree, words = np.zeros(WORDS, np.int64), np.full(1, 12345)
    u = np.array(
        [rank(tree, words, 0, x) for x in STREAMS[kind](np.random.default_rng(2), 0.0, 20_000)]
    )
    pairs = np.histogram2d(u[1:], u[:-1], 5, [[0, 1], [0, 1]])[0].ravel()
    # χ² of 24 degrees: its 99.9 % point.
    assert ((pairs - pairs.mean()) ** 2 / pairs.mean()).sum() < 51.2


@given(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300))
def test_bins_rise_with_values(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 0 <= place(low) <= place(high) < WORDS - 1


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("configuration", [*CONFIGURATIONS[:3:2], *CONFIGURATIONS[4::2]])
def test_a_large_change_is_told_and_dated(configuration: Any, kind: str) -> None:
    rng = np.random.default_rng(3)
    before, after = STREAMS[kind](rng, 0.0, 5_000), STREAMS[kind](rng, 3.0, 5_000)
    changes = configuration.bind().update_many(np.concatenate([before, after]))
    later = np.flatnonzero(changes.alarms >= len(before))
    assert len(later)
    at, since = changes.alarms[later[0]], changes.since[later[0]]
    assert at < len(before) + 3_000
    # The share of errors is least long before.
    assert isinstance(configuration, Ddm) or abs(at + 1 - since - len(before)) < 1_500
