"""The metrics are scikit-learn's where it has them, and are spelt out by hand where it does not."""

import math
from collections.abc import Callable
from random import Random
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from operators import metrics
from operators.metrics import Floats, Ints, Labels

Example: TypeAlias = tuple[Floats, Labels]
EMPTY = np.zeros(0), np.zeros(0, np.int8)
ALL: list[Callable[[Floats, Labels], float]] = [
    metrics.auc,
    metrics.average_precision,
    metrics.recall_at_budget,
    metrics.precision_at,
    metrics.log_loss,
    metrics.brier,
    metrics.calibration_error,
]


@st.composite
def scored(draw: st.DrawFn, *, both_classes: bool = False) -> Example:
    """Scores on a coarse grid, so that most are tied, and labels."""
    n = draw(st.integers(2, 60))
    steps = draw(st.sampled_from([1, 4, 1000]))
    score = np.array(draw(st.lists(st.integers(0, steps), min_size=n, max_size=n))) / steps
    label = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)), np.int8)
    if both_classes:
        label[:2] = [0, 1]
    return score, label


@given(scored(both_classes=True))
def test_auc_is_that_of_scikit_learn(example: Example) -> None:
    score, label = example
    assert metrics.auc(score, label) == pytest.approx(sklearn.roc_auc_score(label, score))


@given(scored(both_classes=True))
def test_average_precision_is_that_of_scikit_learn(example: Example) -> None:
    score, label = example
    expected = sklearn.average_precision_score(label, score)
    assert metrics.average_precision(score, label) == pytest.approx(expected)


@given(scored())
def test_log_loss_is_that_of_scikit_learn_for_one_class_too(
    example: Example,
) -> None:
    score, label = example
    expected = sklearn.log_loss(label, np.column_stack([1 - score, score]), labels=[0, 1])
    assert metrics.log_loss(score, label) == pytest.approx(expected, abs=1e-12)


@given(scored(both_classes=True))
def test_brier_is_that_of_scikit_learn(example: Example) -> None:
    score, label = example
    assert metrics.brier(score, label) == pytest.approx(sklearn.brier_score_loss(label, score))


@given(scored(), st.randoms(use_true_random=False))
def test_no_metric_depends_on_the_order_of_the_examples(example: Example, random: Random) -> None:
    score, label = example
    order = list(range(len(score)))
    random.shuffle(order)
    for metric in ALL:
        one, other = metric(score, label), metric(score[order], label[order])
        assert other == pytest.approx(one, abs=1e-12, nan_ok=True), metric.__name__


@given(scored(both_classes=True), st.integers(1, 60))
def test_precision_at_k_is_the_mean_over_random_orders_of_ties(example: Example, k: int) -> None:
    score, label = example
    k = min(k, len(score))
    threshold = np.sort(score)[::-1][k - 1]
    above, tied = score > threshold, score == threshold
    expected = label[above].sum() + (k - above.sum()) * label[tied].mean()
    assert metrics.precision_at(score, label, k) == pytest.approx(expected / k)


def test_recall_at_a_budget_of_everything_is_one_and_of_a_constant_score_is_the_budget() -> None:
    label = np.array([1, 0, 0, 1, 0], np.int8)
    assert metrics.recall_at_budget(np.linspace(0, 1, 5), label, 1.0) == 1.0
    assert metrics.recall_at_budget(np.full(5, 0.5), label, 0.2) == pytest.approx(0.2)


def test_recall_at_a_budget_counts_the_frauds_above_it() -> None:
    score = np.arange(1000) / 1000
    label = np.zeros(1000, np.int8)
    label[[999, 995, 990, 989, 3]] = 1
    assert metrics.recall_at_budget(score, label, 0.01) == pytest.approx(3 / 5)


@pytest.mark.parametrize("metric", ALL)
def test_a_metric_of_no_examples_is_nan(metric: Callable[[Floats, Labels], float]) -> None:
    assert math.isnan(metric(*EMPTY))


@pytest.mark.parametrize("value", [0, 1])
def test_auc_of_one_class_is_nan(value: int) -> None:
    assert math.isnan(metrics.auc(np.array([0.1, 0.9]), np.full(2, value, np.int8)))


def test_what_counts_frauds_is_nan_without_one() -> None:
    score, label = np.array([0.1, 0.9]), np.zeros(2, np.int8)
    assert math.isnan(metrics.average_precision(score, label))
    assert math.isnan(metrics.recall_at_budget(score, label))
    assert metrics.precision_at(score, label, 1) == 0.0


def test_calibration_error_of_distinct_scores_is_the_mean_gap_of_equal_bins() -> None:
    random = np.random.default_rng(3)
    score = np.sort(random.random(200))
    label = (random.random(200) < score**2).astype(np.int8)
    gaps = [
        abs(s.mean() - y.mean())
        for s, y in zip(np.split(score, 10), np.split(label, 10), strict=True)
    ]
    assert metrics.calibration_error(score, label, 10) == pytest.approx(np.mean(gaps))


def test_calibration_error_keeps_equal_scores_in_one_bin() -> None:
    score = np.full(100, 0.25)
    label = (np.arange(100) < 25).astype(np.int8)
    assert metrics.calibration_error(score, label) == pytest.approx(0.0)


def card_precision_by_hand(
    day: Ints, customer: Ints, score: Floats, label: Labels, k: int
) -> float:
    detected: set[int] = set()
    shares = []
    for today in sorted(set(day.tolist())):
        cards: dict[int, tuple[float, int]] = {}
        for d, c, s, y in zip(day, customer, score, label, strict=True):
            if d == today and int(c) not in detected:
                highest, worst = cards.get(int(c), (0.0, 0))
                cards[int(c)] = max(highest, float(s)), max(worst, int(y))
        top = sorted(cards, key=lambda card: (-cards[card][0], card))[:k]
        caught = {card for card in top if cards[card][1]}
        detected |= caught
        shares.append(len(caught) / k)
    return sum(shares) / len(shares)


@given(scored(), st.integers(1, 5), st.integers(0, 2**32))
def test_card_precision_is_the_definition_read_aloud(example: Example, k: int, seed: int) -> None:
    score, label = example
    random = np.random.default_rng(seed)
    day, customer = random.integers(0, 4, len(score)), random.integers(0, 8, len(score))
    expected = card_precision_by_hand(day, customer, score, label, k)
    got = metrics.card_precision(day, customer, score, label, k)
    assert got == pytest.approx(expected)


def test_card_precision_divides_by_k_even_with_fewer_cards() -> None:
    day, customer = np.zeros(2, np.int64), np.array([1, 2])
    score, label = np.array([0.5, 0.4]), np.array([1, 1], np.int8)
    assert metrics.card_precision(day, customer, score, label, 100) == 0.02


def test_card_precision_of_no_days_is_nan() -> None:
    none = np.zeros(0, np.int64)
    assert math.isnan(metrics.card_precision(none, none, *EMPTY))
