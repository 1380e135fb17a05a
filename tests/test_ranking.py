"""Metrics of counted scores are means over what is not known: the order within a place, labels."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators import metrics
from operators.drift.ranking import (
    Floats,
    alert_rate,
    deviations,
    expected,
    harmonic,
    weighed,
)

PLACES = ((0.1, 3), (0.4, 2), (0.7, 2))
"""Chance of a fraud and events of each place, rising."""


def labelled(labels: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Events and frauds of each place."""
    cuts = np.cumsum([n for _, n in PLACES])
    return np.diff(cuts, prepend=0).astype(float), np.add.reduceat(
        np.array(labels, float), [0, *cuts[:-1]]
    )


def orders(labels: tuple[int, ...]) -> list[list[int]]:
    """The labels by rising score, for every order within places."""
    start, parts = 0, []
    for _, n in PLACES:
        parts.append(list(permutations(labels[start : start + n])))
        start += n
    return [[label for part in each for label in part] for each in product(*parts)]


def known(events: Floats, frauds: Floats, budget: float) -> Floats:
    return weighed(events, frauds, frauds, budget)


def test_known_labels_give_the_mean_over_the_orders_within_places() -> None:
    for labels in product((0, 1), repeat=7):
        if not 0 < sum(labels) < 7:
            continue
        events, frauds = labelled(labels)
        each = [np.array(order, np.int8) for order in orders(labels)]
        score = np.linspace(0.1, 0.9, 7)
        found = known(events, frauds, 0.3)
        assert found[0] == pytest.approx(np.mean([metrics.auc(score, y) for y in each]))
        wanted = np.mean([metrics.average_precision(score, y) for y in each])
        assert found[1] == pytest.approx(wanted, rel=1e-6)
        wanted = np.mean([metrics.recall_at_budget(score, y, 0.3) for y in each])
        assert found[2] == pytest.approx(wanted)


def test_expected_precision_is_the_mean_over_all_labels() -> None:
    chance, counts = (np.array(column, float) for column in zip(*PLACES, strict=True))
    weighted = total = 0.0
    score, each = np.linspace(0.1, 0.9, 7), np.repeat(chance, counts.astype(int))
    for labels in product((0, 1), repeat=7):
        likely = np.prod(np.where(labels, each, 1 - each))
        if sum(labels):
            precision = metrics.average_precision(score, np.array(labels, np.int8))
            weighted += likely * precision * sum(labels)
        total += likely * sum(labels)
    assert expected(counts, chance, 0.3)[1] == pytest.approx(weighted / total, rel=1e-6)


def test_weights_of_known_frauds_give_the_mean_over_which_are_known() -> None:
    labels, share = (0, 0, 0, 1, 0, 1, 1), 0.6
    events, frauds = labelled(labels)
    wanted = known(events, frauds, 0.3)
    precision = total = 0.0
    for kept in product((0, 1), repeat=sum(labels)):
        likely = np.prod(np.where(kept, share, 1 - share))
        seen = np.array(labels)
        seen[np.flatnonzero(seen)] = kept
        told = labelled(tuple(seen))[1]
        if told.sum():
            found = weighed(events, told / share, told / share**2, 0.3)
            precision += likely * found[1] * told.sum() / share
        total += likely * told.sum() / share
    # The numerator has no bias; a quotient of few has.
    assert precision / total == pytest.approx(wanted[1], rel=1e-6)


@given(st.integers(0, 10_000), st.integers(1, 10_000))
def test_the_harmonic_sum(start: int, count: int) -> None:
    wanted = np.sum(1.0 / (start + 1.0 + np.arange(count)))
    assert harmonic(float(start), float(count)) == pytest.approx(wanted, rel=1e-6)


def test_deviations_are_those_over_draws() -> None:
    random = np.random.default_rng(1)
    events = np.full(40, 500.0)
    frauds = np.round(500 * np.linspace(0.001, 0.2, 40) ** 1.5 * 4)
    drawn = np.array([known(events, random.poisson(frauds), 0.05) for _ in range(2000)])
    told = deviations(events, frauds, frauds, 0.0, 0.05)
    assert told == pytest.approx(drawn.std(axis=0), rel=0.1)


def test_without_frauds_there_is_no_metric() -> None:
    assert np.isnan(known(np.ones(3), np.zeros(3), 0.1)).all()
    assert np.isnan(deviations(np.ones(3), np.zeros(3), np.zeros(3), 0.0, 0.1)).all()


def test_the_alert_rate_is_the_budget_where_scores_are_those_of_the_reference() -> None:
    counts = np.array([900.0, 80.0, 15.0, 5.0])
    assert alert_rate(counts, counts, 0.01) == pytest.approx(0.01)
    assert alert_rate(counts[::-1], counts, 0.01) > 0.9
