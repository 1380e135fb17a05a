"""The linear model is FTRL-proximal over bins and crosses, as a plain Python twin computes it."""

import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import ftrl
from models.base import Floats, Model
from models.bins import Edges, edges_at, log_edges, quantile_edges, ratio_edges, symmetric_edges
from models.calibration import Calibration
from models.checks import NAMES, examples
from models.linear import Linear, LinearLearner
from streams.errors import ConfigError, StateError

EDGES = {"amount": log_edges(1, 1000, 3), "night": edges_at(0.5), "ratio": symmetric_edges(1, 9, 2)}
CROSSES = [("amount", "night"), ("night", "ratio", "amount")]


def bin_of(edges: Sequence[float], value: float) -> int:
    return 0 if math.isnan(value) else 1 + sum(edge <= value for edge in edges)


Cell = tuple[tuple[str, ...], tuple[int, ...]]
BIAS: Cell = ((), ())


class Twin:
    """FTRL-proximal in plain Python over cells in a dict, so without hashing."""

    def __init__(self, model: Linear, edges: dict[str, Edges]) -> None:
        self.model, self.edges = model, edges
        self.cells: dict[Cell, tuple[float, float]] = {}
        self.terms = [*((name,) for name in edges), *model.crosses]

    def weight(self, cell: Cell) -> float:
        model, (z, n) = self.model, self.cells.get(cell, (0.0, 0.0))
        l1, l2 = (0.0, 0.0) if cell == BIAS else (model.l1, model.l2)
        shrunk = math.copysign(max(abs(z) - l1, 0.0), z)
        return -shrunk / ((model.beta + math.sqrt(n)) / model.alpha + l2)

    def log_odds(self, row: dict[str, float]) -> float:
        found = [
            (term, tuple(bin_of(self.edges[name].values, row[name]) for name in term))
            for term in self.terms
        ]
        self.found = [*found, BIAS]
        prior = math.log(self.model.prior / (1 - self.model.prior))
        return prior + sum(self.weight(cell) for cell in self.found)

    def learn(self, row: dict[str, float], label: int) -> None:
        g = 1 / (1 + math.exp(-self.log_odds(row))) - label
        for cell in self.found:
            z, n = self.cells.get(cell, (0.0, 0.0))
            sigma = (math.sqrt(n + g * g) - math.sqrt(n)) / self.model.alpha
            self.cells[cell] = (z + g - sigma * self.weight(cell), n + g * g)


def learnt(model: Linear, seed: int = 0, n: int = 400) -> LinearLearner:
    learner = model.bind(NAMES)
    learner.learn_many(*examples(seed, n))
    return learner


@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (0.5, 1e-2)])
def test_it_learns_what_plain_ftrl_learns(l1: float, l2: float) -> None:
    model = Linear(inputs=EDGES, crosses=CROSSES, bits=20, l1=l1, l2=l2)
    twin, (x, y, _) = Twin(model, EDGES), examples(n=400)
    rows = [dict(zip(NAMES, row, strict=True)) for row in x.tolist()]
    for row, label in zip(rows, y.tolist(), strict=True):
        twin.learn(row, label)
    wanted = [1 / (1 + math.exp(-twin.log_odds(row))) for row in rows]
    np.testing.assert_allclose(learnt(model).version().predict_many(x), wanted, atol=1e-5)


@given(
    edges=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=70, unique=True).map(sorted),
    values=st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=9),
)
@settings(max_examples=60, deadline=None)
def test_a_value_falls_into_the_bin_its_edges_say(edges: list[float], values: list[float]) -> None:
    plan = ftrl.layout([0, 1], [len(edges), 1], [[0]], 10)
    first, second, end = ftrl.edge_places([len(edges), 1])
    places = np.full(end, np.inf)
    places[first : len(edges)] = edges
    places[second] = 0.0
    room = ftrl.room_for(plan)
    for value in values:
        ftrl._find_slots(np.array([[value, value]]), 0, places, plan, room)
        assert room[1] == bin_of(edges, value)
        assert room[2] == bin_of([0.0], value)


def test_different_cells_have_different_slots_in_a_large_table() -> None:
    counts = [40, 30]
    plan = ftrl.layout([0, 1], counts, [[0], [1], [0, 1]], 24)
    starts = ftrl.edge_places(counts)
    places = np.full(starts[-1], np.inf)
    for start, count in zip(starts[:2], counts, strict=True):
        places[start : start + count] = np.arange(count)
    room = ftrl.room_for(plan)
    slots: set[tuple[int, int]] = set()
    for a in range(-1, 40):
        for b in range(-1, 30):
            ftrl._find_slots(np.array([[a, b]], np.float64), 0, places, plan, room)
            slots |= {(term, int(room[term])) for term in range(3)}
    assert len({slot for _, slot in slots}) >= len(slots) - 8


def test_a_cross_sees_what_no_single_input_shows() -> None:
    x, _, weight = examples(n=4000)
    x = np.nan_to_num(x)
    y = ((x[:, 1] > 0.5) ^ (x[:, 2] >= 0)).astype(np.int8)
    inputs = {"night": edges_at(0.5), "ratio": edges_at(0)}
    scores = []
    crossed: list[tuple[str, ...]] = [("night", "ratio")]
    for crosses in (crossed[:0], crossed):
        learner = Linear(inputs=inputs, crosses=crosses, bits=8).bind(NAMES)
        learner.learn_many(x, y, weight)
        scores.append(np.mean((learner.version().predict_many(x) > 0.5) == y))
    assert scores[0] < 0.9
    assert scores[1] > 0.99


def test_a_missing_value_has_a_weight_of_its_own() -> None:
    x, _, weight = examples(n=4000)
    y = np.isnan(x[:, 3]).astype(np.int8)
    learner = Linear(inputs={"gap": log_edges(0.1, 100)}).bind(NAMES)
    learner.learn_many(x, y, weight)
    assert np.all((learner.version().predict_many(x) > 0.5) == y)


def test_a_reason_is_the_input_that_raised_the_score() -> None:
    learner = learnt(Linear(inputs=EDGES, bits=12), n=4000)
    x = np.array([[400.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0]])
    reasons = learner.version().reasons_many(x, 1)[:, 0].tolist()
    assert reasons[0] == NAMES.index("amount") != reasons[1]


def test_a_second_view_of_an_input_explains_as_that_input() -> None:
    coarse = log_edges(1, 1000, 1).of("amount")
    model = Linear(inputs={"coarse": coarse}, bits=10)
    reasons = learnt(model).version().reasons_many(np.array([[400.0, 0.0, 0.0, 1.0]]), 4)
    assert reasons.tolist() == [[0, -1, -1, -1]]


def test_a_view_for_crosses_has_no_weight_of_its_own() -> None:
    coarse = log_edges(1, 1000, 1).of("amount")
    learners = [Linear(inputs={"c": view}).bind(NAMES) for view in (coarse, coarse.for_crosses())]
    assert [learner._frame.terms for learner in learners] == [1, 0]


def test_weighting_and_sampling_leave_the_level_of_the_scores() -> None:
    x, _, weight = examples(n=20_000)
    rng = np.random.default_rng(1)
    y = (rng.random(len(x)) < np.where(np.nan_to_num(x[:, 1]) > 0, 0.1, 0.02)).astype(np.int8)
    kept = (y > 0) | (rng.random(len(x)) < 0.2)
    calibration = Calibration(negative_rate=0.2, positive_weight=3)
    learner = Linear(inputs={"night": edges_at(0.5)}, calibration=calibration).bind(NAMES)
    learner.learn_many(x[kept], y[kept], weight[kept])
    assert learner.version().predict_many(x).mean() == pytest.approx(y.mean(), rel=0.1)


@pytest.mark.parametrize("focus", [0.5, 2.0, 5.0])
def test_what_a_focal_loss_learns_means_the_true_probability(focus: float) -> None:
    def lost(total: Floats, y: int) -> Floats:
        right = total if y else -total
        lost: Floats = np.exp(-focus * np.logaddexp(0, right)) * np.logaddexp(0, -right)
        return lost

    total = np.linspace(-9, 9, 10_001)
    for p in (0.003, 0.2, 0.5, 0.9):
        least = total[np.argmin(p * lost(total, 1) + (1 - p) * lost(total, 0))]
        assert ftrl.unfocused(least, focus) == pytest.approx(math.log(p / (1 - p)), abs=0.01)
    for z in (-25.0, -4.0, 0.0, 2.0, 25.0):
        for y in (0, 1):
            slope = np.diff(lost(np.array([z - 1e-5, z + 1e-5]), y))[0] / 2e-5
            assert ftrl._slope(z, y, focus) == pytest.approx(slope, rel=1e-3, abs=1e-8)


@pytest.mark.parametrize("calibration", [Calibration(), Calibration(positive_weight="balanced")])
@pytest.mark.parametrize("focus", [0.0, 2.0])
def test_a_focus_and_balance_leave_the_level_of_the_scores(
    focus: float, calibration: Calibration
) -> None:
    x, _, weight = examples(n=40_000)
    night = np.nan_to_num(x[:, 1]) > 0
    y = (np.random.default_rng(1).random(len(x)) < np.where(night, 0.1, 0.02)).astype(np.int8)
    inputs = {"night": edges_at(0.5)}
    learner = Linear(inputs=inputs, focus=focus, calibration=calibration).bind(NAMES)
    learner.learn_many(x, y, weight)
    scores = learner.version().predict_many(x)
    for rows in (night, ~night):
        assert scores[rows].mean() == pytest.approx(y[rows].mean(), rel=0.15)


def test_before_any_example_a_focal_model_says_the_prior() -> None:
    version = Linear(focus=3.0, prior=0.02).bind(NAMES).version()
    assert version.predict_many(np.zeros((1, 4)))[0] == pytest.approx(0.02)


def test_an_example_of_weight_two_pulls_as_a_gradient_twice_as_large() -> None:
    model = Linear(inputs={"night": edges_at(0.5)}, bits=8)
    x, one = np.zeros((1, 4)), np.ones(1)
    scores = []
    for weight in (0 * one, one, 2 * one):
        learner = model.bind(NAMES)
        learner.learn_many(x, np.ones(1, np.int8), weight)
        scores.append(learner.version().predict_many(x)[0])
    assert scores[0] == pytest.approx(model.prior)
    assert scores[0] < scores[1] < scores[2]


def test_quantile_edges_come_from_the_first_examples_and_stay() -> None:
    model = Linear(inputs={"amount": quantile_edges(3, after=200)}, bits=8)
    x, y, weight = examples(n=1000)
    learner = model.bind(NAMES)
    learner.learn_many(x[:150], y[:150], weight[:150])
    assert not np.isfinite(learner.version().tensors()["edges"]).any()
    learner.learn_many(x[150:], y[150:], weight[150:])
    edges = learner.version().tensors()["edges"][:3]
    values = np.sort(x[:200, 0][~np.isnan(x[:200, 0])])
    assert edges.tolist() == [values[len(values) * rank // 4] for rank in (1, 2, 3)]


def test_edges_are_where_they_were_asked_for() -> None:
    assert log_edges(1, 100, 2).values == pytest.approx([1, 3.16228, 10, 31.6228, 100])
    assert ratio_edges(0.6, 2, 2).values == pytest.approx([0.5**0.5, 1, 2**0.5, 2])
    assert symmetric_edges(1, 10, 1).values == (-10, -1, 1, 10)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: log_edges(0, 10),
        lambda: log_edges(10, 1),
        lambda: edges_at(2, 1),
        lambda: edges_at(math.nan),
        edges_at,
        lambda: edges_at(*range(300)),
        lambda: quantile_edges(8, after=0),
        lambda: Edges((1.0, math.inf)),
        lambda: Linear(bits=40),
        lambda: Linear(alpha=0),
        lambda: Linear(prior=1),
        lambda: Linear(crosses=[("amount", "nothing")]).bind(NAMES),
        lambda: Linear(crosses=[NAMES * 4]).bind(NAMES),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_said(wrong: Callable[[], object]) -> None:
    with pytest.raises(ConfigError):
        wrong()


@pytest.mark.parametrize(
    "other",
    [
        Linear(bits=11),
        Linear(bits=10, alpha=0.2),
        Linear(bits=10, crosses=[("amount", "night")]),
        Linear(bits=10, inputs=["amount"]),
    ],
)
def test_the_state_of_another_configuration_is_refused(other: Model) -> None:
    with pytest.raises(StateError, match="another"):
        Linear(bits=10).bind(NAMES).load(other.bind(NAMES).state())


def test_tensors_of_another_size_make_no_version() -> None:
    version = learnt(Linear(bits=10)).version()
    tensors = version.tensors() | {"weights": np.zeros(5, np.float32)}
    with pytest.raises(StateError, match="weights"):
        type(version).from_parts(version.config(), tensors)


def test_the_kernels_as_plain_python_learn_the_same() -> None:
    script = (
        "import numpy as np\n"
        "from models.checks import NAMES, examples\n"
        "from models.linear import Linear\n"
        "learner = Linear(crosses=[('amount', 'night')], bits=8).bind(NAMES)\n"
        "learner.learn_many(*examples(n=60))\n"
        "version = learner.version()\n"
        "rows = examples(seed=1, n=5)[0]\n"
        "print(*version.predict_many(rows), *version.reasons_many(rows, 2).ravel())\n"
    )
    printed = [
        subprocess.run(
            [sys.executable, "-W", "ignore:overflow", "-c", script],
            env=os.environ | {"NUMBA_DISABLE_JIT": disabled},
            cwd=Path(__file__).parents[1],
            check=True,
            capture_output=True,
        ).stdout.split()
        for disabled in ("0", "1")
    ]
    compiled, plain = (np.array(line, np.float64) for line in printed)
    np.testing.assert_allclose(compiled, plain, rtol=1e-9)
