"""A chart learns what is usual, keeps its run length, and tells a change once."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, t

from operators.drift.chart import SETTLED, Chart, EarlyAndLate, normal_of, threshold

SERIES = 400


@pytest.mark.parametrize("degrees", [2, 3, 5, 10, 50, 500])
def test_students_t_is_brought_to_the_normal_distribution(degrees: int) -> None:
    for tail in (0.4, 0.1, 0.01, 0.001):
        wanted = norm.isf(tail)
        assert normal_of(t.isf(tail, degrees), float(degrees)) == pytest.approx(wanted, rel=0.04)


@pytest.mark.parametrize("sides", [2, -1])
def test_the_run_length_is_as_stated_whatever_mean_and_deviation_are(sides: int) -> None:
    stated, lengths = 300.0, []
    for seed in range(SERIES):
        random = np.random.default_rng(seed)
        chart, length = Chart(1, run_length=stated, sides=sides), 1
        mean, deviation = random.normal(0, 100), random.lognormal(0, 3)
        while not chart.take(0, random.normal(mean, deviation), length):
            length += 1
        lengths.append(length)
    # Its standard error is a twentieth.
    assert np.mean(lengths) == pytest.approx(stated, rel=0.15)


def alike(seed: int, count: int, moved: float = 0.0, after: int = 0) -> list[float]:
    """Values of noise and of a level that wanders with a memory of days; deviation 1."""
    random, level, values = np.random.default_rng(seed), 0.0, []
    for time in range(count):
        level = 0.8 * level + 0.6 * random.normal()
        values.append(0.6 * level + 0.8 * random.normal() + moved * (time >= after))
    return values


def test_values_that_are_alike_for_days_keep_the_run_length_too() -> None:
    """Without regard to those before them there are four times as many false alarms."""
    days = alarms = 0
    for seed in range(SERIES // 2):
        chart = Chart(1, run_length=200.0)
        for value in alike(seed, 300):
            days += 1
            if chart.take(0, value, days):
                alarms += 1
                break
    # A standard error is a twelfth.
    assert days / alarms == pytest.approx(200.0, rel=0.25)


def test_a_change_among_values_that_are_alike_is_told() -> None:
    delays = []
    for seed in range(40):
        chart = Chart(1, run_length=730.0)
        found = [
            time
            for time, value in enumerate(alike(seed, 80, 4.0, 60))
            if chart.take(0, value, time)
        ]
        delays += [time - 60 for time in found if time >= 60][:1]
    assert len(delays) >= 38
    assert np.median(delays) <= 3


def test_several_charts_share_the_run_length() -> None:
    assert Chart(4, run_length=100.0).threshold == threshold(400.0)


def test_a_change_is_told_once_and_is_over_once_when_things_are_as_they_were() -> None:
    random = np.random.default_rng(5)
    usual, other = random.normal(0, 1, (2, 60)), random.normal(4, 1, 20)
    values = [*usual[0], *other, *usual[1][:40]]
    chart = Chart(1, run_length=10_000.0)
    told = [(time, chart.take(0, value, time)) for time, value in enumerate(values)]
    signals = [(time, signal) for time, signal in told if signal]
    (begun, first), (ended, last) = signals
    assert not first.over
    assert last.over
    assert 55 <= first.since_us <= 60 <= begun <= 64
    assert 80 <= ended <= 88
    assert abs(first.before) < 0.5
    assert first.now > 2.5


def test_a_change_for_good_is_what_is_usual_in_the_end() -> None:
    random = np.random.default_rng(6)
    values = [*random.normal(0, 1, 60), *random.normal(5, 1, 100)]
    chart = Chart(1, run_length=10_000.0)
    times = [time for time, value in enumerate(values) if chart.take(0, value, time)]
    assert len(times) == 2
    assert times[1] - times[0] == pytest.approx(SETTLED, abs=3)
    assert not chart.raised(0)


def test_a_chart_of_falls_takes_a_rise_for_the_new_usual() -> None:
    random = np.random.default_rng(7)
    values = [*random.normal(0, 1, 60), *random.normal(5, 1, 60), *random.normal(0, 1, 30)]
    chart = Chart(1, run_length=10_000.0, sides=-1)
    signals = [(i, s) for i, v in enumerate(values) if (s := chart.take(0, v, i))]
    assert [signal.over for _, signal in signals][:1] == [False]
    assert 120 <= signals[0][0] <= 124


def test_what_labels_tell_of_a_change_that_is_known_is_no_second_one() -> None:
    random = np.random.default_rng(8)
    values = [*random.normal(0, 1, 60), *random.normal(6, 1, 6), *random.normal(0, 1, 60)]
    charts, lag, told = EarlyAndLate(1, run_length=10_000.0), 7, []
    for time in range(len(values) + lag):
        if time >= lag:
            told.append(charts.take(0, values[time - lag], time - lag, late=True))
        if time < len(values):
            told.append(charts.take(0, values[time], time, late=False))
    assert [signal.over for signal in told if signal] == [False, True]


def test_values_that_fall_further_than_they_rise_raise_few_more_alarms_of_falls() -> None:
    """Where 200 are stated: without regard to skewness one in 77."""
    days = alarms = 0
    for seed in range(SERIES):
        random, chart = np.random.default_rng(seed), Chart(1, run_length=200.0, sides=-1)
        for value in -random.gamma(2.0, size=500):
            days += 1
            if chart.take(0, value, days):
                alarms += 1
                break
    assert 125 < days / alarms < 240
