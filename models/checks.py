# ruff: noqa: S101 - a check is its assertions
"""The contract of `models.base` as code: `for check in CHECKS: check(model)` proves a new model.

Each check takes a configuration, binds it to `NAMES`, and fails with an AssertionError that says
which promise is broken. The events are made here, from a seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load as tensors_from
from safetensors.numpy import save as tensors_to

from models.base import Adaptive, Floats, Labels, Learner, Model, Retrainable
from models.manifest import Manifest, Seal
from streams.errors import ConfigError, StateError

NAMES = ("amount", "night", "ratio", "gap")
_N = 240


def examples(seed: int = 0, n: int = _N) -> tuple[Floats, Labels, Floats]:
    """N events with inputs `NAMES`, some missing and some of them negative, labels, weights."""
    rng = np.random.default_rng(seed)
    x = np.column_stack(
        [
            np.exp(rng.normal(3, 1, n)),
            (rng.random(n) < 0.3).astype(np.float64),
            rng.normal(0, 2, n),
            rng.exponential(5, n),
        ]
    )
    y = (x[:, 0] * (1 + x[:, 1]) > 45).astype(np.int8)
    x[rng.random((n, len(NAMES))) < 0.1] = np.nan
    return x, y, np.ones(n)


def _learnt(model: Model, n: int = _N) -> Learner:
    learner = model.bind(NAMES)
    x, y, weight = examples(n=n)
    learner.learn_many(x, y, weight)
    return learner


def _same(one: Mapping[str, npt.NDArray[Any]], other: Mapping[str, npt.NDArray[Any]]) -> bool:
    bits = [{name: part.tobytes() for name, part in each.items()} for each in (one, other)]
    return bits[0] == bits[1]


def check_any_cut_learns_the_same_bits(model: Model) -> None:
    """Examples learnt one by one, in odd pieces or at once leave the same scores."""
    x, y, weight = examples()
    whole = _learnt(model).version().predict_many(x)
    for size in (1, 7, 100):
        learner = model.bind(NAMES)
        for start in range(0, len(x), size):
            rows = slice(start, start + size)
            learner.learn_many(x[rows], y[rows], weight[rows])
        assert np.array_equal(learner.version().predict_many(x), whole), f"cut by {size}"


def check_a_batch_scores_as_its_rows(model: Model) -> None:
    """A batch scores and is explained as its rows are one by one, bit for bit."""
    version = _learnt(model).version()
    x, _, _ = examples(seed=1)
    alone = np.concatenate([version.predict_many(x[row : row + 1]) for row in range(len(x))])
    assert np.array_equal(version.predict_many(x), alone)
    some = x[:20]
    reasons = [version.reasons_many(some[row : row + 1], 3) for row in range(len(some))]
    assert np.array_equal(version.reasons_many(some, 3), np.concatenate(reasons))
    parts = [version.contributions_many(some[row : row + 1]) for row in range(len(some))]
    assert np.array_equal(version.contributions_many(some), np.concatenate(parts))


def check_a_snapshot_in_the_middle_changes_nothing(model: Model) -> None:
    """state() loaded into a fresh learner goes on to the same bits."""
    x, y, weight = examples()
    learner = _learnt(model)
    resumed = model.bind(NAMES)
    resumed.load(learner.state())
    for each in (learner, resumed):
        each.learn_many(x, y, weight)
    assert np.array_equal(learner.version().predict_many(x), resumed.version().predict_many(x))
    assert learner.version().threshold == resumed.version().threshold


def check_a_state_is_a_copy(model: Model) -> None:
    """What state() gave stays as it was while learning goes on."""
    learner = _learnt(model)
    state = learner.state()
    before = {name: part.copy() for name, part in state.items()}
    learner.learn_many(*examples(seed=2))
    assert _same(state, before)


def check_a_version_stays_while_learning_goes_on(model: Model) -> None:
    """A version's scores, threshold and tensors never change."""
    learner = _learnt(model)
    version = learner.version()
    x, _, _ = examples()
    scores, threshold = version.predict_many(x), version.threshold
    tensors = {name: part.copy() for name, part in version.tensors().items()}
    learner.learn_many(*examples(seed=2))
    assert np.array_equal(version.predict_many(x), scores)
    assert version.threshold == threshold
    assert _same(version.tensors(), tensors)


def check_scoring_learns_nothing(model: Model) -> None:
    """A learner whose versions score goes on as one whose versions do not."""
    x, y, weight = examples()
    watched, alone = model.bind(NAMES), model.bind(NAMES)
    for start in range(0, len(x), 60):
        rows = slice(start, start + 60)
        watched.learn_many(x[rows], y[rows], weight[rows])
        watched.version().predict_many(x)
        watched.version().reasons_many(x[:3], 2)
        alone.learn_many(x[rows], y[rows], weight[rows])
    assert np.array_equal(watched.version().predict_many(x), alone.version().predict_many(x))


def check_probabilities_are_inside_0_and_1(model: Model) -> None:
    """Before any example, after one, and for the oddest inputs, a score is strictly inside."""
    odd = np.array([[np.nan] * 4, [0.0] * 4, [1e100] * 4, [-1e100] * 4, [5e-324] * 4])
    for learner in (model.bind(NAMES), _learnt(model, 1), _learnt(model)):
        scores = learner.version().predict_many(odd)
        assert scores.dtype == np.float64
        assert scores.shape == (len(odd),)
        assert np.all((scores > 0) & (scores < 1)), scores
        assert 0 < learner.version().threshold <= 1


def check_one_class_is_no_error(model: Model) -> None:
    """A learner that has seen only negatives, or only positives, still scores inside (0, 1)."""
    x, _, weight = examples()
    for label in (0, 1):
        learner = model.bind(NAMES)
        learner.learn_many(x, np.full(len(x), label, np.int8), weight)
        scores = learner.version().predict_many(x)
        assert np.all((scores > 0) & (scores < 1))


def check_no_rows_are_no_error(model: Model) -> None:
    """An empty batch learns nothing and scores to an empty array."""
    learner = _learnt(model)
    before = learner.state()
    none = np.empty((0, len(NAMES)))
    learner.learn_many(none, np.empty(0, np.int8), np.empty(0))
    assert _same(learner.state(), before)
    assert learner.version().predict_many(none).shape == (0,)
    assert learner.version().reasons_many(none, 3).shape == (0, 3)
    assert learner.version().contributions_many(none).shape == (0, len(NAMES) + 1)


def check_parts_make_the_same_version(model: Model) -> None:
    """from_parts of config() and tensors() scores, explains and decides the same."""
    version = _learnt(model).version()
    again = type(version).from_parts(version.config(), version.tensors())
    x, _, _ = examples(seed=3)
    assert again.names == version.names == NAMES
    assert np.array_equal(again.predict_many(x), version.predict_many(x))
    assert np.array_equal(again.reasons_many(x[:9], 2), version.reasons_many(x[:9], 2))
    assert again.threshold == version.threshold
    assert again.config() == version.config()


def check_the_same_calls_give_the_same_bits(model: Model) -> None:
    """Two learners of one configuration do not differ: binding one leaves no trace in another."""
    x, _, _ = examples()
    one, other = _learnt(model), _learnt(model)
    assert np.array_equal(one.version().predict_many(x), other.version().predict_many(x))


def check_reasons_are_inputs_or_minus_1(model: Model) -> None:
    """Reasons are distinct indices of inputs, the -1 of absent ones last."""
    x, _, _ = examples()
    k = len(NAMES) + 1
    reasons = _learnt(model).version().reasons_many(x[:50], k)
    assert reasons.dtype == np.int16
    assert reasons.shape == (50, k)
    for row in reasons.tolist():
        given = [reason for reason in row if reason >= 0]
        assert row == given + [-1] * (k - len(given))
        assert len(set(given)) == len(given)
        assert all(reason < len(NAMES) for reason in given)


def check_contributions_sum_to_the_score(model: Model) -> None:
    """A row's contributions and its base sum to the log-odds of its score."""
    for learner in (model.bind(NAMES), _learnt(model)):
        version = learner.version()
        x, _, _ = examples(seed=4)
        x[:3] = np.nan
        parts = version.contributions_many(x[:60])
        assert parts.dtype == np.float64
        assert parts.shape == (60, len(NAMES) + 1)
        # Not to the bit: they are added up in another order than the score was.
        odds = np.exp(parts.sum(axis=1))
        np.testing.assert_allclose(odds / (1 + odds), version.predict_many(x[:60]), rtol=1e-9)


def check_reasons_are_the_largest_contributions(model: Model) -> None:
    """Reasons are the inputs that contribute more than nothing, by how much they do."""
    version = _learnt(model).version()
    x, _, _ = examples(seed=4)
    parts = version.contributions_many(x[:60])[:, :-1]
    for row, reasons in zip(parts, version.reasons_many(x[:60], 3).tolist(), strict=True):
        order = [i for i in np.argsort(-row, kind="stable").tolist() if row[i] > 0]
        assert [reason for reason in reasons if reason >= 0] == order[:3]


def check_intervals_are_of_scores_alone(model: Model) -> None:
    """Equal scores have equal intervals inside [0, 1], of a batch as of one, and of read parts."""
    version = _learnt(model).version()
    scores = np.array([1e-9, 0.01, 0.2, 0.2, 0.9999999])
    found = version.intervals_many(scores)
    assert found.dtype == np.float64
    assert found.shape == (5, 2)
    assert np.all((found[:, 0] >= 0) & (found[:, 0] <= found[:, 1]) & (found[:, 1] <= 1))
    alone = [version.intervals_many(scores[at : at + 1]) for at in range(5)]
    assert np.array_equal(found, np.concatenate(alone))
    assert np.array_equal(found[2], found[3])
    again = type(version).from_parts(version.config(), version.tensors())
    assert np.array_equal(again.intervals_many(scores), found)


def check_a_missing_row_is_an_example(model: Model) -> None:
    """Examples of which nothing is known are learnt from, and events like them are scored."""
    learner = _learnt(model)
    nothing = np.full((50, len(NAMES)), np.nan)
    learner.learn_many(nothing, (np.arange(50) % 5 == 0).astype(np.int8), np.ones(50))
    scores = learner.version().predict_many(nothing)
    assert np.all((scores > 0) & (scores < 1))
    assert np.ptp(scores) == 0


def check_an_input_more_is_refused_or_missing(model: Model) -> None:
    """A state goes to a learner with a new input only if it means the same there.

    It is refused, or what is scored is what was scored, where the new input is missing, and what
    has it is learnt.
    """
    learner, more = _learnt(model), model.bind((*NAMES, "new"))
    try:
        more.load(learner.state())
    except StateError:
        return
    x, y, weight = examples(seed=5)
    beside = np.column_stack([x, np.full(len(x), np.nan)])
    before = learner.version().predict_many(x)
    assert np.array_equal(more.version().predict_many(beside), before)
    beside[:, -1] = x[:, 0]
    more.learn_many(beside, y, weight)
    scores = more.version().predict_many(beside)
    assert np.all((scores > 0) & (scores < 1))


def check_an_input_less_is_refused_or_missing(model: Model) -> None:
    """A state goes to a learner that lacks an input only if it means the same there.

    It is refused, or what is scored is what was scored of events in which that input was missing.
    """
    learner = _learnt(model)
    try:
        less = model.bind(NAMES[:-1])
        less.load(learner.state())
    except (ConfigError, StateError):
        return
    x, _, _ = examples(seed=5)
    x[:, -1] = np.nan
    before = learner.version().predict_many(x)
    rest = np.ascontiguousarray(x[:, :-1])
    assert np.array_equal(less.version().predict_many(rest), before)


def check_memory_is_bounded(model: Model) -> None:
    """After some hundreds of examples the state grows no more, however many come."""
    learner = model.bind(NAMES)
    sizes = []
    for seed in range(3):
        learner.learn_many(*examples(seed, 700))
        sizes.append(sum(part.nbytes for part in learner.state().values()))
    # A count within a pickled estimator may take a few bytes more.
    assert sizes[2] - sizes[1] <= 100, sizes


def check_what_is_kept_is_plain_numbers(model: Model) -> None:
    """State and version are arrays of numbers and JSON, and go on to the bit once read again.

    They are written as a version at rest is, so nothing has to be unpickled to read them.
    """
    x, y, weight = examples(seed=6)
    learner, resumed = _learnt(model), model.bind(NAMES)
    resumed.load(tensors_from(tensors_to(learner.state())))
    for each in (learner, resumed):
        each.learn_many(x, y, weight)
    version, seal = resumed.version(), Seal()
    about = Manifest(sequence=1, name="check", pipeline="", examples=len(x))
    again = seal.version(*seal.close(about, version), "the check")
    scores = learner.version().predict_many(x)
    assert np.array_equal(again.predict_many(x), scores)
    assert np.array_equal(again.contributions_many(x[:9]), version.contributions_many(x[:9]))


def check_a_pace_changes_what_is_learnt_alone(model: Model) -> None:
    """adapt() and retrain() leave no trace but in what is learnt, by any cut and from a state."""
    x, y, weight = examples(seed=7)
    learner, resumed = _learnt(model), model.bind(NAMES)
    if isinstance(learner, Retrainable):
        learner.retrain()
    before = learner.version().predict_many(x)
    try:
        if isinstance(learner, Adaptive):
            learner.adapt(3.0)
    except ConfigError:
        return
    assert np.array_equal(learner.version().predict_many(x), before)
    resumed.load(learner.state())
    learner.learn_many(x, y, weight)
    for row in range(len(x)):
        at = slice(row, row + 1)
        resumed.learn_many(x[at], y[at], weight[at])
    assert np.array_equal(learner.version().predict_many(x), resumed.version().predict_many(x))


def check_a_wrong_shape_is_refused(model: Model) -> None:
    """Rows with a column too many are a ValueError, for learning and for scoring."""
    learner = _learnt(model)
    wide = np.zeros((2, len(NAMES) + 1))
    for attempt in (
        lambda: learner.learn_many(wide, np.zeros(2, np.int8), np.ones(2)),
        lambda: learner.version().predict_many(wide),
    ):
        try:
            attempt()
        except ValueError:
            continue
        raise AssertionError("a row with a column too many was taken")


CHECKS: tuple[Callable[[Model], None], ...] = (
    check_any_cut_learns_the_same_bits,
    check_a_batch_scores_as_its_rows,
    check_a_snapshot_in_the_middle_changes_nothing,
    check_a_state_is_a_copy,
    check_a_version_stays_while_learning_goes_on,
    check_scoring_learns_nothing,
    check_probabilities_are_inside_0_and_1,
    check_one_class_is_no_error,
    check_no_rows_are_no_error,
    check_parts_make_the_same_version,
    check_the_same_calls_give_the_same_bits,
    check_reasons_are_inputs_or_minus_1,
    check_contributions_sum_to_the_score,
    check_reasons_are_the_largest_contributions,
    check_intervals_are_of_scores_alone,
    check_a_missing_row_is_an_example,
    check_an_input_more_is_refused_or_missing,
    check_an_input_less_is_refused_or_missing,
    check_memory_is_bounded,
    check_what_is_kept_is_plain_numbers,
    check_a_pace_changes_what_is_learnt_alone,
    check_a_wrong_shape_is_refused,
)
