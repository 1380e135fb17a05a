"""Drift of inputs and scores."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.bench_features import operator
from benchmarks.bucket_streams import BEGIN, FIRST, HOUR, Stream, bucket_of
from benchmarks.transactions import Rows, Transactions, featurize
from jobs.fraud import pipeline
from operators.drift.alarm import Finding
from operators.drift.bucket import NOBODY, Bucket, Monitor
from operators.drift.covariate import CovariateMonitor, ScoreMonitor
from operators.drift.season import Reference, Season
from operators.drift.sketch import Sketch, bin_of
from streams.errors import ConfigError, StateError
from streams.schema import DAY
from streams.simulation.population import GENUINE
from streams.simulation.simulator import Simulation
from streams.simulation.traffic import Traffic

NAMES = ("amount", "count", "ratio")
PLAIN = Stream(rows=3, per_day=5000, seed=11)


def watching(**settings: Any) -> CovariateMonitor:
    return CovariateMonitor(NAMES, **{"bucket": "60m", **settings})


def told(monitor: Monitor, buckets: Iterable[Bucket]) -> list[tuple[int, Finding]]:
    """What is found, each with the end of the bucket that told."""
    return [(bucket.end_us, each) for bucket in buckets for each in monitor.close(bucket)]


def with_counts(
    buckets: Iterable[Bucket],
    change: Callable[[Sketch], None],
    from_day: int = 0,
    until_day: int = 10_000,
) -> Iterator[Bucket]:
    """Buckets with a copy of their features changed within these days."""
    for bucket in buckets:
        features = bucket.features
        if from_day <= (bucket.start_us - BEGIN) / DAY < until_day:
            features = Sketch.empty(len(bucket.features.missing))
            features.merge(bucket.features)
            change(features)
        yield replace(bucket, features=features)


def cents(features: Sketch) -> None:
    """The first input is six octaves larger, as cents are than units."""
    features.counts[0] = np.roll(features.counts[0], 48)


def lose(features: Sketch) -> None:
    """A third of the second input is missing."""
    gone = features.counts[1] // 3
    features.counts[1] -= gone
    features.missing[1] += gone.sum()


def freeze(features: Sketch) -> None:
    """The third input is always the same, a value that it had."""
    n = features.counts[2].sum()
    features.counts[2] = 0
    features.counts[2, FIRST + 12] = n


@pytest.mark.parametrize(("seasonal", "clustered"), [(0, 0), (0.3, 0), (0.3, 0.05)])
def test_a_stream_that_stays_as_it_is_is_told_no_oftener_than_stated(
    seasonal: float, clustered: float
) -> None:
    found = []
    for seed in range(6):
        stream = replace(PLAIN, seasonal=seasonal, clustered=clustered, seed=seed)
        found += [each for _, each in told(watching(), stream.buckets(70)) if not each.over]
    years = 6 * 70 / 365
    assert len(found) <= years + 2 * years**0.5


@pytest.mark.parametrize("measure", ["js", "psi", "ks", "chi2"])
def test_a_shift_is_told_once_with_its_input_and_its_beginning(measure: str) -> None:
    begun = BEGIN + 35 * DAY + 7 * HOUR
    stream = replace(PLAIN, seasonal=0.3, shift=0.5, shift_us=begun, shifted=(1,))
    ((at, found),) = told(watching(measure=measure), stream.buckets(45))
    assert (found.kind, found.features, found.over) == ("covariate", ("count",), False)
    assert found.detector == measure
    assert found.size > found.threshold > 0
    assert begun < at <= begun + 18 * HOUR
    assert abs(found.since_us - begun) <= 6 * HOUR


def test_the_end_of_a_change_is_told_with_what_took_part() -> None:
    changed = with_counts(PLAIN.buckets(45), cents, 30, 32)
    (_, began), (at, over) = told(watching(), changed)
    assert began.features == over.features == ("amount",)
    assert (began.over, over.over) == (False, True)
    assert began.since_us == over.since_us == BEGIN + 30 * DAY
    assert BEGIN + 33 * DAY <= at <= BEGIN + 34 * DAY


def test_what_lasts_becomes_the_reference_and_is_judged_by_it() -> None:
    def back_and_forth(features: Sketch) -> None:
        cents(features)

    changed = with_counts(PLAIN.buckets(80), back_and_forth, 30, 70)
    (_, began), (at, over), (later, again) = told(watching(), changed)[:3]
    assert (began.over, over.over, again.over) == (False, True, False)
    assert over.evidence == {"adopted": 1.0}
    assert BEGIN + 44 * DAY <= at <= BEGIN + 46 * DAY
    assert again.features == ("amount",)
    assert later <= BEGIN + 70 * DAY + 3 * HOUR


def test_missing_values_are_told_as_such() -> None:
    ((at, found), *_) = told(watching(), with_counts(PLAIN.buckets(32), lose, 30))
    assert (found.kind, found.features) == ("missing", ("count",))
    assert found.size == pytest.approx(1 / 3, abs=0.1)
    assert at <= BEGIN + 30 * DAY + 3 * HOUR


def test_an_input_that_became_constant_is_told_as_such() -> None:
    ((at, found),) = told(watching(), with_counts(PLAIN.buckets(32), freeze, 30))
    assert (found.kind, found.features) == ("schema", ("ratio",))
    assert at <= BEGIN + 30 * DAY + 3 * HOUR


def test_fractions_of_what_was_whole_are_told_as_such() -> None:
    rng = np.random.default_rng(1)

    def whole(day: int) -> Iterator[Bucket]:
        for hour in range(24):
            values = rng.integers(1, 9, (200, 1)).astype(float) + (0.5 if day >= 20 else 0.0)
            sketch = Sketch.empty(1)
            sketch.add(values)
            start = BEGIN + day * DAY + hour * HOUR
            yield Bucket(start, start + HOUR, sketch, sketch, NOBODY, 0)

    monitor = CovariateMonitor(["visits"], bucket="60m")
    ((at, found),) = told(monitor, (each for day in range(21) for each in whole(day)))
    assert (found.kind, found.features) == ("schema", ("visits",))
    assert found.evidence["share in new bins"] == pytest.approx(7 / 8, abs=0.05)
    assert at <= BEGIN + 20 * DAY + 2 * HOUR


def test_night_is_compared_with_night() -> None:
    def buckets(days: int) -> Iterator[Bucket]:
        for hour in range(24 * days):
            sketch = Sketch.empty(1)
            sketch.counts[0, bin_of(float(hour % 24 < 7))] = 200
            start = BEGIN + hour * HOUR
            yield Bucket(start, start + HOUR, sketch, sketch, NOBODY, 0)

    assert told(CovariateMonitor(["night"], bucket="60m"), buckets(50)) == []


@pytest.mark.parametrize("cut_day", [3.3, 12.7, 31.2])
@pytest.mark.parametrize("monitor", [watching, lambda: ScoreMonitor(
    [("time", "day"), ("time", "night")], bucket="60m"
)])  # fmt: skip
def test_stopped_anywhere_it_goes_on_to_the_bit(
    monitor: Callable[[], CovariateMonitor | ScoreMonitor], cut_day: float
) -> None:
    stream = replace(PLAIN, clustered=0.1, shift=0.6, shift_us=BEGIN + 31 * DAY)
    buckets = list(stream.buckets(36))
    cut = int(cut_day * 24)
    whole, first, second = monitor(), monitor(), monitor()
    expected = told(whole, buckets)
    found = told(first, buckets[:cut])
    second.load(first.state())
    assert found + told(second, buckets[cut:]) == expected != []
    ours, theirs = whole.state(), second.state()
    assert ours.keys() == theirs.keys()
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)
    assert sum(part.nbytes for part in ours.values()) == whole.nbytes + 16


def test_a_state_of_other_settings_is_refused() -> None:
    state = watching().state()
    with pytest.raises(StateError, match="other inputs or settings"):
        watching(run_length="30d").load(state)
    with pytest.raises(StateError, match="other inputs or settings"):
        CovariateMonitor(["amount", "count", "other"], bucket="60m").load(state)


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ConfigError, match="wanted one of js, psi, ks, chi2; got 'kl'"):
        watching(measure="kl")
    with pytest.raises(ConfigError, match="one of fixed, sliding, reservoir"):
        watching(reference="none")
    with pytest.raises(ConfigError, match="categories: wanted some of amount, count, ratio"):
        watching(categories=["shop"])
    with pytest.raises(ConfigError, match="divides an hour"):
        watching(bucket="7m")


def test_references_keep_the_first_weeks_the_latest_or_a_sample_of_all() -> None:
    def kept(kind: Reference) -> list[int]:
        season = Season(np.zeros(1, np.int64), HOUR, 4, kind, seed=3)
        held: dict[int, int] = {}
        for week in range(200):
            if (place := season._place(week)) >= 0:
                held[place] = week
        return sorted(held.values())

    assert kept("fixed") == [0, 1, 2, 3]
    assert kept("sliding") == [196, 197, 198, 199]
    sampled = kept("reservoir")
    assert len(sampled) == 4
    assert sampled not in ([0, 1, 2, 3], [196, 197, 198, 199])


def test_scores_of_one_slice_are_told_of_that_slice() -> None:
    slices = [("time", "day"), ("time", "night")]
    stream = replace(PLAIN, shift=0.6, shift_us=BEGIN + 31 * DAY, shifted=(2,))
    ((_, found),) = told(ScoreMonitor(slices, bucket="60m"), stream.buckets(34))
    assert (found.kind, found.slice, found.value) == ("score", "time", "night")
    whole = replace(stream, shifted=(0, 1, 2))
    ((_, found), *_) = told(ScoreMonitor(slices, bucket="60m"), whole.buckets(34))
    assert (found.kind, found.slice, found.value) == ("score", "", "")


def learning(buckets: Iterable[Bucket], version: int) -> Iterator[Bucket]:
    """For eight days scores that are all alike, of this version; then those of others."""
    for bucket in buckets:
        if bucket.start_us < BEGIN + 8 * DAY:
            scores = Sketch.empty(len(bucket.scores.counts))
            scores.counts[:, FIRST] = bucket.scores.counts.sum(axis=1)
            yield replace(bucket, scores=scores, version=version)
        else:
            yield bucket


def test_scores_are_compared_with_none_of_before_a_version_had_learnt() -> None:
    (_, found), *_ = told(ScoreMonitor(bucket="60m"), learning(PLAIN.buckets(20), 1))
    assert found.detector == "schema"
    assert told(ScoreMonitor(bucket="60m"), learning(PLAIN.buckets(20), 0)) == []


def test_a_reference_of_scores_begins_when_they_have_settled() -> None:
    stream = replace(PLAIN, shift=0.6, shift_us=BEGIN + 10 * DAY)
    assert told(ScoreMonitor(bucket="60m"), stream.buckets(30)) != []
    assert told(ScoreMonitor(bucket="60m", settle="14d"), stream.buckets(30)) == []


def test_an_empty_stretch_says_nothing() -> None:
    buckets = [
        bucket_of(np.zeros((3, 24), np.int64), BEGIN + at * HOUR, BEGIN + (at + 1) * HOUR)
        for at in range(24 * 15)
    ]
    assert told(watching(), buckets) == []


def simulated(days: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Times and inputs of the simulator's default traffic."""
    columns = Simulation(Traffic(days=days)).columns(days * 20_000)
    transactions = Transactions(
        source="simulated",
        ident=columns["id"],
        time=columns["time"],
        customer=columns["customer"],
        terminal=columns["terminal"],
        cents=columns["amount"],
        fraud=columns["tactic"] != GENUINE,
    )
    return columns["time"], featurize(operator(pipeline.features), Rows(transactions))


def test_cents_for_units_are_named_within_500_events() -> None:
    names = tuple(pipeline.features)
    time, x = simulated(18)
    quarter = 15 * 60 * 1_000_000
    for hour in (3, 9, 12, 17, 21):
        wrong = int(np.searchsorted(time, time[0] // DAY * DAY + 16 * DAY + hour * HOUR))
        seen = x.copy()
        seen[wrong:, names.index("amount")] *= 100
        horizons = [feature.horizon_us for feature in pipeline.features.values()]
        monitor = CovariateMonitor(names, settle_us=horizons)
        found = None
        first = time[0] // quarter
        edges = np.searchsorted(time, np.arange(first, time[-1] // quarter + 2) * quarter)
        for at, (start, stop) in enumerate(pairwise(edges.tolist())):
            sketch = Sketch.empty(len(names))
            sketch.add(seen[start:stop])
            begin = (first + at) * quarter
            bucket = Bucket(begin, begin + quarter, sketch, sketch, NOBODY, 0)
            if findings := monitor.close(bucket):
                (found,) = findings
                break
        assert found is not None
        assert found.features[0] == "amount"
        assert 0 < stop - wrong <= 500
        assert abs(found.since_us - time[wrong]) <= 8 * quarter
