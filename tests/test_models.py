"""Every model keeps the contract of models.base."""

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import pytest

from models.anomaly import HalfSpaceTrees
from models.base import Model
from models.baselines import AmountRule, Prior, Random
from models.bins import edges_at, log_edges, quantile_edges, symmetric_edges
from models.boosted import Boosted
from models.calibration import Calibration
from models.checks import CHECKS, NAMES, check_memory_is_bounded, examples
from models.ensemble import Ensemble
from models.forest import Forest
from models.isolation import IsolationForest
from models.linear import Linear
from models.neighbours import Neighbours
from models.neural import Attention, Neural
from models.renewed import Renewed
from models.replay import Replay
from models.river import River
from streams.errors import ConfigError, StateError

linear_model = pytest.importorskip("river.linear_model")
from river import forest, naive_bayes, neighbors, preprocessing, tree  # noqa: E402

MODELS: dict[str, Model] = {
    "linear": Linear(bits=12),
    "linear-crosses": Linear(
        inputs={
            "amount": log_edges(1, 1000, 5),
            "night": edges_at(0.5),
            "ratio": symmetric_edges(0.1, 10),
            "coarse": log_edges(1, 1000, 1).of("amount").for_crosses(),
        },
        crosses=[("amount", "night"), ("coarse", "night", "ratio")],
        bits=10,
        l1=0.1,
        calibration=Calibration(platt=True, positive_weight=3, half_life=100),
    ),
    "linear-focal": Linear(
        bits=10,
        focus=2.0,
        calibration=Calibration(positive_weight="balanced", isotonic=70, half_life=200),
    ),
    "linear-quantiles": Linear(
        inputs={"amount": quantile_edges(8, after=101), "gap": log_edges(0.1, 100)}, bits=8
    ),
    "ensemble": Ensemble(
        members={
            "linear": Linear(bits=10),
            "forest": Forest(trees=2, nodes=7, learnt_after=40),
            "inner": Ensemble(members={"prior": Prior(), "rule": AmountRule()}, every=9, share=0),
        },
        every=60,
        share=0.01,
        calibration=Calibration(platt=True),
    ),
    "half-spaces": HalfSpaceTrees(trees=5, height=4, window=50, learnt_after=30),
    "forest": Forest(trees=3, nodes=255, learnt_after=50),
    "forest-full": Forest(
        inputs=("amount", "gap"),
        trees=2,
        nodes=15,
        learnt_after=101,
        step=0.5,
        calibration=Calibration(platt=True, positive_weight=3),
    ),
    "boosted": Boosted(rounds=4, leaves=5, after=40, every=70, latest=90, past=20),
    "boosted-latest": Boosted(
        inputs=("amount", "gap"),
        rounds=2,
        leaves=3,
        after=101,
        latest=30,
        past=0,
        least=2,
        calibration=Calibration(isotonic=50, positive_weight="balanced"),
    ),
    "isolation": IsolationForest(trees=5, sample=16, after=40, every=70, latest=90),
    "isolation-latest": IsolationForest(inputs=("gap", "night"), trees=3, after=20, latest=15),
    "forest-balanced": Forest(
        trees=2,
        nodes=63,
        learnt_after=20,
        calibration=Calibration(positive_weight="balanced", isotonic=500),
    ),
    "replay": Replay(model=Linear(bits=10), size=50, every=60),
    "replay-policies": Replay(
        model=Ensemble(members={"forest": Forest(trees=2, nodes=7, learnt_after=20)}, every=30),
        size=30,
        draws=0.5,
        positives=0.5,
        negatives=0.4,
        every=40,
        calibration=Calibration(platt=True),
    ),
    "renewed": Renewed(model=Linear(bits=8), recent=50, every=40),
    "renewed-ensemble": Renewed(
        model=Ensemble(members={"forest": Forest(trees=2, nodes=7, learnt_after=20)}, every=30),
        recent=80,
        odds=2,
        calibration=Calibration(platt=True),
    ),
    "neighbours": Neighbours(latest=100, learnt_after=50),
    "neighbours-few": Neighbours(
        inputs=("gap", "amount"),
        latest=7,
        learnt_after=300,
        width=1.0,
        prior=0.01,
        calibration=Calibration(platt=True, positive_weight=3),
    ),
    "forest-waiting": Forest(trees=1, learnt_after=10_000),
    "prior": Prior(),
    "amount-rule": AmountRule(),
    "random": Random(seed=3),
    "river-logistic": River(preprocessing.StandardScaler() | linear_model.LogisticRegression()),
    "river-calibrated": River(
        linear_model.LogisticRegression(), calibration=Calibration(platt=True)
    ),
    "river-isotonic": River(
        linear_model.LogisticRegression(), calibration=Calibration(isotonic=60)
    ),
    "river-tree": River(tree.HoeffdingTreeClassifier(grace_period=50)),
    "river-forest": River(forest.ARFClassifier(n_models=3, seed=1)),
    "river-mondrian": River(forest.AMFClassifier(n_estimators=2, seed=1)),
    "river-bayes": River(naive_bayes.GaussianNB()),  # type: ignore[no-untyped-call]
    "river-neighbours": River(neighbors.KNNClassifier(engine=neighbors.LazySearch(window_size=60))),
}
if find_spec("torch"):
    MODELS |= {
        "neural": Neural(learnt_after=64, batch=32, replay=32, reservoir=64, knots=8),
        "neural-other": Neural(
            inputs=("amount", "ratio", "night"),
            categories={"night": 5},
            learnt_after=50,
            batch=17,
            replay=10,
            reservoir=64,
            loss="balanced",
            blocks=2,
            calibration=Calibration(isotonic=60, positive_weight="balanced"),
        ),
        "neural-waiting": Neural(),
        "neural-attentive": Neural(
            attention=Attention(tokens=[("ratio",), ("gap",)]),
            learnt_after=64,
            batch=32,
            replay=32,
            reservoir=64,
            knots=8,
        ),
    }
GROWING = {"river-tree", "river-forest", "river-mondrian"}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_every_model_passes_every_check(check: Callable[[Model], None], name: str) -> None:
    if check is check_memory_is_bounded and name in GROWING:
        with pytest.raises(AssertionError):
            check(MODELS[name])
    else:
        check(MODELS[name])


@pytest.mark.parametrize(
    "model", [Linear(inputs=["nothing"]), AmountRule("nothing")], ids=["linear", "rule"]
)
def test_an_input_that_is_not_made_is_named(model: Model) -> None:
    with pytest.raises(ConfigError, match="nothing"):
        model.bind(NAMES)


@pytest.mark.parametrize("name", ["linear", "prior", "amount-rule", "river-logistic"])
def test_the_state_of_another_model_is_refused(name: str) -> None:
    other = Random(seed=9).bind(NAMES)
    with pytest.raises(StateError, match=r"another|should hold"):
        MODELS[name].bind(NAMES).load(other.state())


def test_the_prior_is_the_running_share() -> None:
    x, y, weight = examples()
    learner = Prior(share=0.01).bind(NAMES)
    learner.learn_many(x, y, weight)
    share = (0.01 + y.sum()) / (1 + len(y))
    assert learner.version().predict_many(x[:1])[0] == pytest.approx(share)


def test_the_amount_rule_ranks_by_the_amount_and_finds_the_level() -> None:
    x, y, weight = examples(n=5000)
    learner = AmountRule().bind(NAMES)
    learner.learn_many(x, y, weight)
    known = x[~np.isnan(x[:, 0])]
    scores = learner.version().predict_many(known)
    assert np.all(np.diff(scores[np.argsort(known[:, 0])]) >= 0)
    assert abs(learner.version().predict_many(x).mean() - y.mean()) < 0.03


def test_chance_ranks_by_nothing_and_finds_the_level() -> None:
    x, y, weight = examples(n=5000)
    learner = Random().bind(NAMES)
    learner.learn_many(x, y, weight)
    scores = learner.version().predict_many(x)
    assert abs(np.corrcoef(scores, y)[0, 1]) < 0.05
    assert abs(scores.mean() - y.mean()) < 0.03


def test_another_seed_is_another_order() -> None:
    x, _, _ = examples()
    scores = [Random(seed).bind(NAMES).version().predict_many(x) for seed in (1, 2)]
    assert not np.array_equal(np.argsort(scores[0]), np.argsort(scores[1]))
