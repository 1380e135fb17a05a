"""Evaluation gives the same rows however the stream is cut, and goes on exactly after a restart."""

import math
from dataclasses import astuple, dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators import metrics
from operators.evaluate import METRICS, Prequential, WindowMetrics
from operators.metrics import Floats, Ints, Labels
from operators.scorebins import EDGES, ScoreBins

SCORERS = ("champion", "prior")
SLICES = {"channel": ("online", "terminal"), "size": ("small", "medium", "large")}
WINDOW, MATURITY = 100, 250


@dataclass(frozen=True)
class Stream:
    time_us: Ints
    known_us: Ints
    scores: Floats
    label: Labels
    customer: Ints
    codes: Ints

    def feed(self, judge: Prequential, start: int, stop: int) -> list[WindowMetrics]:
        rows = slice(start, stop)
        return judge.observe(
            self.time_us[rows],
            self.known_us[rows],
            self.scores[rows],
            self.label[rows],
            self.customer[rows],
            self.codes[rows],
        )


def stream(n: int = 400, seed: int = 0, slow: int = MATURITY) -> Stream:
    """Examples over ten windows; frauds are known early, or as late as `slow`."""
    random = np.random.default_rng(seed)
    time = np.sort(random.integers(0, 10 * WINDOW, n))
    label = (random.random(n) < 0.2).astype(np.int8)
    known = time + np.where(label == 1, random.integers(0, slow, n), MATURITY)
    order = np.argsort(known, kind="stable")
    score = np.round(np.clip(0.3 * label + 0.6 * random.random(n), 0, 1), 2)
    return Stream(
        time[order],
        known[order],
        np.column_stack([score, np.full(n, 0.2)])[order],
        label[order],
        random.integers(0, 30, n)[order],
        np.column_stack([random.integers(-1, 2, n), random.integers(0, 4, n)])[order],
    )


def judge(exact_examples: int = 1_000_000, keep: int = 400) -> Prequential:
    return Prequential(
        SCORERS,
        SLICES,
        window_us=WINDOW,
        maturity_us=MATURITY,
        budget=0.1,
        k=5,
        exact_examples=exact_examples,
        keep=keep,
    )


def same(one: list[WindowMetrics], other: list[WindowMetrics]) -> bool:
    """Equal bit for bit, nan equal to nan."""
    return [repr(astuple(row)) for row in one] == [repr(astuple(row)) for row in other]


cuts = st.lists(st.integers(0, 400), max_size=30).map(lambda cut: [0, *sorted(cut), 400])


@given(cuts, st.integers(0, 50), st.sampled_from([25, 1_000_000]), st.sampled_from([250, 700]))
def test_any_cut_into_calls_gives_identical_rows(
    cut: list[int], seed: int, exact: int, slow: int
) -> None:
    examples, whole, parts = stream(seed=seed, slow=slow), judge(exact), judge(exact)
    examples.feed(whole, 0, 400)
    emitted = [row for start, stop in pairwise(cut) for row in examples.feed(parts, start, stop)]
    assert same(whole.rows(), emitted)
    assert same([*emitted, *parts.finish()], [*whole.rows(), *whole.finish()])
    assert same(whole.overall(), parts.overall())
    assert whole.late == parts.late


def test_one_example_a_call_gives_the_rows_of_one_call() -> None:
    examples, whole, single = stream(), judge(30), judge(30)
    examples.feed(whole, 0, 400)
    for row in range(400):
        examples.feed(single, row, row + 1)
    assert same(whole.rows(), single.rows())
    assert same(whole.overall(), single.overall())


@given(st.integers(0, 400), st.integers(0, 50), st.sampled_from([25, 1_000_000]))
def test_a_snapshot_anywhere_goes_on_exactly(cut: int, seed: int, exact: int) -> None:
    examples, before, after = stream(seed=seed, slow=700), judge(exact), judge(exact)
    examples.feed(before, 0, cut)
    after.load({name: array.copy() for name, array in before.state().items()})
    for each in (before, after):
        examples.feed(each, cut, 400)
        each.finish()
    assert same(before.rows(), after.rows())
    assert same(before.overall(), after.overall())
    assert before.late == after.late
    for name, array in before.state().items():
        np.testing.assert_array_equal(array, after.state()[name], err_msg=name)


def test_a_state_is_a_copy() -> None:
    examples, one = stream(), judge()
    examples.feed(one, 0, 200)
    state = one.state()
    kept = {name: array.copy() for name, array in state.items()}
    examples.feed(one, 200, 400)
    for name, array in kept.items():
        np.testing.assert_array_equal(array, state[name], err_msg=name)


def test_a_state_made_with_other_settings_is_refused() -> None:
    with pytest.raises(ValueError, match="wanted settings"):
        judge(10).load(judge(20).state())


def test_a_row_holds_the_metrics_of_its_window_and_slice() -> None:
    examples, one = stream(), judge()
    examples.feed(one, 0, 400)
    one.finish()
    rows = {(row.start_us, row.scorer, row.slice, row.value): row for row in one.rows()}
    held = (examples.time_us // WINDOW == 3) & (examples.codes[:, 1] == 2)
    score, label = examples.scores[held, 0], examples.label[held]
    row = rows[300, "champion", "size", "large"]
    assert (row.examples, row.frauds, row.exact) == (len(score), label.sum(), True)
    assert row.auc == metrics.auc(score, label)
    assert row.average_precision == metrics.average_precision(score, label)
    assert row.recall_at_budget == metrics.recall_at_budget(score, label, 0.1)
    assert row.log_loss == metrics.log_loss(score, label)
    assert row.brier == metrics.brier(score, label)
    assert row.calibration_error == metrics.calibration_error(score, label)
    day = np.zeros(len(score), np.int64)
    expected = metrics.card_precision(day, examples.customer[held], score, label, 5)
    assert row.card_precision == expected


def test_every_value_of_a_slice_and_every_scorer_has_its_row() -> None:
    examples, one = stream(4000), judge()
    examples.feed(one, 0, 4000)
    one.finish()
    assert len(one.rows()) == 10 * 6 * 2
    assert len(one.overall()) == 6 * 2
    assert sum(row.examples for row in one.rows()[::12]) == 4000 == one.overall()[0].examples


def test_a_window_closes_when_its_last_label_is_due_and_not_before() -> None:
    one = judge()
    examples = stream()
    on_time = examples.known_us < WINDOW + MATURITY
    examples.feed(one, 0, int(on_time.sum()))
    assert one.advance(WINDOW + MATURITY - 1) == []
    assert {row.start_us for row in one.advance(WINDOW + MATURITY)} == {0}


def test_a_label_that_comes_too_late_for_its_window_counts_overall_only() -> None:
    one = Prequential(("champion",), window_us=WINDOW, maturity_us=MATURITY)
    time, label = np.array([10, 20, 30]), np.array([0, 0, 1], np.int8)
    known, score = np.array([260, 270, 351]), np.array([[0.1], [0.2], [0.9]])
    one.observe(time, known, score, label, time)
    assert one.late == 1
    assert one.rows()[0].examples == 2
    assert (one.overall()[0].examples, one.overall()[0].frauds) == (3, 1)


def test_rows_of_the_oldest_windows_are_forgotten() -> None:
    examples, one = stream(), judge(keep=2)
    examples.feed(one, 0, 400)
    one.finish()
    assert {row.start_us for row in one.rows()} == {800, 900}


def test_a_window_with_too_many_examples_is_binned_and_says_so() -> None:
    examples, exact, binned = stream(4000), judge(), judge(100)
    for one in (exact, binned):
        examples.feed(one, 0, 4000)
    pairs = list(zip(exact.rows(), binned.rows(), strict=True))
    assert not any(row.exact for _, row in pairs)
    for row, rough in pairs:
        assert (row.examples, row.frauds) == (rough.examples, rough.frauds)
        for name in METRICS[:-1]:
            expected = getattr(row, name)
            assert getattr(rough, name) == pytest.approx(expected, abs=5e-3), name
        assert math.isnan(rough.card_precision)


def test_overall_card_precision_is_the_mean_over_the_windows() -> None:
    examples, one = stream(), judge()
    examples.feed(one, 0, 400)
    one.finish()
    closed = [r.card_precision for r in one.rows() if r.scorer == "champion" and not r.slice]
    assert one.overall()[0].card_precision == pytest.approx(np.mean(closed))


def test_nothing_observed_is_no_rows() -> None:
    none = stream(0)
    one = judge()
    assert none.feed(one, 0, 0) == one.finish() == one.rows() == one.overall() == []


@pytest.mark.parametrize(
    ("score", "label"), [(1.5, 0), (-0.1, 1), (math.nan, 0), (0.5, -1), (0.5, 2)]
)
def test_what_is_no_probability_or_no_label_is_refused_and_nothing_is_taken(
    score: float, label: int
) -> None:
    one = Prequential(("champion",))
    two, labels = np.array([1, 2]), np.array([0, label], np.int8)
    with pytest.raises(ValueError, match="in row 1"):
        one.observe(two, two, np.array([[0.5], [score]]), labels, two)
    assert one.overall() == []


def test_scores_of_another_shape_are_refused() -> None:
    one = Prequential(("champion", "prior"))
    with pytest.raises(ValueError, match=r"wanted scores of shape \(1, 2\)"):
        one.observe(
            np.array([1]),
            np.array([1]),
            np.zeros((1, 1)),
            np.zeros(1, np.int8),
            np.ones(1, np.int64),
        )


def scored(n: int, seed: int) -> tuple[Floats, Labels]:
    """A stream with 1 % fraud and calibrated scores over a wide range."""
    random = np.random.default_rng(seed)
    label = (random.random(n) < 0.01).astype(np.int8)
    evidence = random.normal(np.where(label == 1, 2.0, -2.0), 2.0)
    return 1 / (1 + np.exp(-(evidence - 4.6))), label


@pytest.mark.parametrize("seed", range(3))
def test_binned_auc_is_off_by_at_most_half_the_pairs_in_one_bin(seed: int) -> None:
    score, label = scored(50_000, seed)
    bins = ScoreBins(1, 1)
    bins.add(np.zeros((len(score), 1), np.int64), score[:, None], label)
    frauds, genuine = bins.ranked(0, 0)
    bound = (frauds * genuine).sum() / (2 * frauds.sum() * genuine.sum())
    auc, average_precision, recall = metrics.ranking(bins.ranked(0, 0), 0.01)
    assert abs(auc - metrics.auc(score, label)) <= bound < 1e-3
    assert auc == pytest.approx(metrics.auc(score, label), abs=2e-5)
    assert average_precision == pytest.approx(metrics.average_precision(score, label), abs=1e-3)
    assert recall == pytest.approx(metrics.recall_at_budget(score, label), abs=2e-3)
    rough = bins.calibration_error(0, 0)
    assert rough == pytest.approx(metrics.calibration_error(score, label), abs=1e-4)


def test_the_edges_alone_decide_the_bin_of_a_score() -> None:
    near = [EDGES, np.nextafter(EDGES, 0), np.nextafter(EDGES, 1), np.array([0.0, 5e-324, 1.0])]
    score = np.concatenate([*near, scored(50_000, 4)[0]])
    bins = ScoreBins(1, 1)
    bins.add(np.zeros((len(score), 1), np.int64), score[:, None], np.zeros(len(score), np.int8))
    expected = np.bincount(np.searchsorted(EDGES, score, side="right"), minlength=len(EDGES) + 1)
    np.testing.assert_array_equal(bins.counts[0, 0, 0], expected)


@pytest.mark.parametrize("rows", [1, 3])
def test_columns_of_unequal_length_are_refused_and_nothing_is_taken(rows: int) -> None:
    one, two = Prequential(("champion",)), np.array([1, 2])
    with pytest.raises(ValueError, match="2 labels and customers"):
        one.observe(two, two, np.full((2, 1), 0.5), np.zeros(2, np.int8), np.arange(rows))
    assert one.overall() == []


def test_summed_losses_are_those_of_the_scores() -> None:
    score, label = scored(10_000, 5)
    bins = ScoreBins(1, 1)
    bins.add(np.zeros((len(score), 1), np.int64), score[:, None], label)
    expected = [metrics.log_loss(score, label), metrics.brier(score, label)]
    np.testing.assert_allclose(bins.mean_losses(0, 0), expected, atol=1e-9)


@given(st.permutations(range(5)), st.integers(0, 100))
def test_bins_of_parts_merge_to_those_of_the_whole_in_any_order(
    order: list[int], seed: int
) -> None:
    score, label = scored(500, seed)
    groups = np.random.default_rng(seed).integers(-1, 3, (500, 2))
    whole, merged = ScoreBins(3, 1), ScoreBins(3, 1)
    whole.add(groups, score[:, None], label)
    for part in order:
        rows = slice(100 * part, 100 * part + 100)
        piece = ScoreBins(3, 1)
        piece.add(groups[rows], score[rows, None], label[rows])
        merged.merge(piece)
    np.testing.assert_array_equal(whole.counts, merged.counts)
    np.testing.assert_array_equal(whole.sums, merged.sums)


@given(st.integers(0, 500), st.integers(0, 100))
def test_ranked_examples_are_counted_as_they_are_one_by_one(n: int, seed: int) -> None:
    score, label = scored(500, seed)
    score = np.concatenate([score, EDGES[:n], [0.0, 1.0]])
    label = np.asarray(np.resize(label, len(score)), np.int8)
    one_by_one, ranked = ScoreBins(1, 1), ScoreBins(1, 1)
    one_by_one.add(np.zeros((len(score), 1), np.int64), score[:, None], label)
    losses, errors = metrics.losses(score, label), metrics.errors(score, label)
    ranked.add_ranked(0, 0, metrics.ranked(score, label), losses, errors)
    np.testing.assert_array_equal(one_by_one.counts, ranked.counts)
    np.testing.assert_array_equal(one_by_one.sums, ranked.sums)


def test_the_calibration_curve_of_calibrated_scores_is_the_diagonal() -> None:
    random = np.random.default_rng(1)
    score = random.random(200_000)
    one = Prequential(("champion",))
    time = np.zeros(len(score), np.int64)
    label = (random.random(len(score)) < score).astype(np.int8)
    one.observe(time, time, score[:, None], label, time)
    assert one.calibration_curve("champion").examples == ()
    one.finish()
    curve = one.calibration_curve("champion")
    assert sum(curve.examples) == len(score)
    for predicted, observed, count in zip(
        curve.predicted, curve.observed, curve.examples, strict=True
    ):
        assert abs(observed - predicted) < 5 * math.sqrt(predicted * (1 - predicted) / count) + 1e-3


def test_the_score_histogram_counts_every_example_by_label() -> None:
    examples, one = stream(), judge()
    examples.feed(one, 0, 400)
    one.finish()
    histogram = one.score_histogram("champion", bins=32)
    assert len(histogram.edges) == 33 and list(histogram.edges) == sorted(histogram.edges)
    assert sum(histogram.frauds) == examples.label.sum()
    assert sum(histogram.genuine) == 400 - examples.label.sum()
    zeros, ones = one.score_histogram("prior", bins=32).genuine, np.zeros(32)
    ones[np.searchsorted(histogram.edges, math.log(0.2 / 0.8)) - 1] = sum(zeros)
    assert list(zeros) == ones.tolist()
