"""A network learns with torch, scores without it as torch does, and goes out as an ONNX file."""

import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.config import Settings
from jobs.kafka_host.learn_job import LearnJob
from jobs.promotion.export import exported
from models.base import Floats, Labels
from models.calibration import CURVE, THRESHOLD, Calibration
from models.checks import NAMES, examples
from models.exchange import onnx_of
from models.isotonic import SIZE
from models.knots import carry
from models.manifest import Manifest, content_hash
from models.network_shape import Shape
from models.network_start import begin
from models.neural import Attention, Neural
from models.neural_version import Frame, NeuralVersion
from models.registry import Registry
from operators.metrics import average_precision
from streams.errors import ConfigError, StateError
from streams.memory import Clock, Cluster, Crash, MemoryBroker
from streams.schema import DAY
from tests.batches import PIPELINE, Row
from tests.lanes_engine import Engine
from tests.test_learner import contents, engine_of, publish

SMALL = Neural(learnt_after=100, batch=32, replay=32, reservoir=256, knots=8)
SHAPES = {
    "as by default": Shape((0, 0, 0, 0), 32, 4, 2, 16, 32, 1),
    "with categories": Shape((0, 0, 5, 300), 8, 3, 1, 4, 9, 2),
    "of categories": Shape((7, 7, 1, 90), 2, 5, 0, 1, 1, 0),
    "without layers": Shape((0, 0, 0, 0), 4, 1, 0, 1, 3, 0),
    "with attention": Shape((0, 0), 32, 4, 2, 16, 32, 1, kinds=1, tokens=2, heads=2, size=8),
    "attentive, with categories": Shape((0, 5), 8, 3, 1, 4, 9, 1, 2, 1, heads=1, size=3),
    "attentive, of a category": Shape((7,), 4, 2, 0, 1, 3, 0, 1, 3, heads=3, size=1),
}


def a_version(shape: Shape, seed: int = 5) -> NeuralVersion:
    """A network of which nothing is said, as if it had been learnt."""
    rng = np.random.default_rng(seed)
    frame = Frame(NAMES, [2, 0, 1, 3], shape)
    x, _, _ = examples(seed=seed, n=500)
    knots = frame.knots_of(x)
    weights = np.zeros(shape.weights, np.float32)
    begin(shape, weights, knots, 0.01, seed)
    weights += rng.normal(0, 0.1, shape.weights).astype(np.float32)
    calibration = np.zeros(CURVE)
    calibration[: THRESHOLD + 1] = -0.2, 1.1, 0.4, 0.5
    return NeuralVersion(
        frame,
        knots=knots,
        weights=weights,
        means=np.abs(rng.normal(0, 1, shape.means)).astype(np.float32),
        offset=np.array([0.3]),
        calibration=calibration,
    )


def rows() -> Floats:
    x, _, _ = examples(seed=9, n=2000)
    odd = [[value] * 4 for value in (np.nan, 0.0, 1e100, -1e100, 5e-324, np.inf, -np.inf, -2.5)]
    return np.concatenate([x, odd])


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_kernel_scores_as_torch_does(shape: Shape) -> None:
    pytest.importorskip("torch")
    from models.training import Trainer

    version = a_version(shape)
    trainer = Trainer(shape, device="cpu", decay=0, clip=1, focus=0)
    located = version.frame.locate(rows(), version.knots)
    z = trainer.log_odds(version.weights, *located) + 0.3
    torchs = 1 / (1 + np.exp(-(1.1 * (z - 0.2) + 0.4)))
    assert np.abs(version.predict_many(rows()) - torchs).max() < 1e-6


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_an_onnx_file_scores_as_the_version_does(shape: Shape) -> None:
    runtime = pytest.importorskip("onnxruntime")
    version = a_version(shape)
    session = runtime.InferenceSession(onnx_of(version), providers=["CPUExecutionProvider"])
    assert (
        session.get_modelmeta().custom_metadata_map["names"] == '["amount","night","ratio","gap"]'
    )
    for x in (rows(), rows()[:1], rows()[:0]):
        (scores,) = session.run(None, {"inputs": x})
        assert scores.shape == (len(x),)
        assert np.abs(scores - version.predict_many(x)).max(initial=0) < 1e-6


def test_a_version_is_exported_by_the_ending_of_a_file() -> None:
    version = a_version(SHAPES["as by default"])
    about = Manifest(sequence=7, name="network", pipeline="f00d", examples=1)
    assert exported(about, version, Path("a.onnx")) == onnx_of(version)


def test_a_curve_is_not_exported() -> None:
    version = a_version(SHAPES["without layers"])
    tensors = version.tensors() | {"calibration": np.zeros(CURVE + SIZE)}
    curved = NeuralVersion.from_parts(version.config(), tensors)
    with pytest.raises(ConfigError, match="curve"):
        onnx_of(curved)


def test_reasons_name_the_input_that_raises_the_score() -> None:
    pytest.importorskip("torch")
    x, y, weight = examples(n=8000)
    learner = SMALL.bind(NAMES)
    learner.learn_many(x, y, weight)
    assert learner.version().reasons_many(np.array([[300.0, 0.0, 0.0, 3.0]]), 1)[0, 0] == 0


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_contributions_sum_to_the_log_odds_of_the_score(shape: Shape) -> None:
    version, x = a_version(shape), rows()[:300]
    odds = np.exp(version.contributions_many(x).sum(axis=1))
    np.testing.assert_allclose(odds / (1 + odds), version.predict_many(x), rtol=1e-9)


def test_finer_knots_keep_what_was_learnt_to_the_bit() -> None:
    old, new = np.array([1.0, 2.0, 4.0, np.inf, np.inf]), np.array([1.0, 1.5, 2.0, 3.0, 4.0])
    table = np.array([[1], [3], [7], [0], [0], [9]], np.float32)
    carry(table, old, new)
    assert table.ravel().tolist() == [1, 2, 3, 5, 7, 9]


def test_a_version_needs_no_torch_and_learning_says_what_it_needs(tmp_path: Path) -> None:
    version = a_version(SHAPES["with categories"])
    Registry(tmp_path).publish(version, Manifest(sequence=1, name="m", pipeline="p", examples=1))
    code = f"""
import sys; sys.modules["torch"] = None
from pathlib import Path
from models.checks import NAMES, examples
from models.neural import Neural
from models.registry import Registry
from streams.errors import ConfigError
print(Registry(Path({str(tmp_path)!r})).load(1).predict_many(examples()[0]).tobytes().hex())
try:
    Neural().bind(NAMES)
except ConfigError as error:
    print(error)
"""
    lines = _python(code).splitlines()
    assert lines[0] == version.predict_many(examples()[0]).tobytes().hex()
    assert "uv sync --extra torch" in lines[1]


def test_another_process_learns_the_same_bits() -> None:
    pytest.importorskip("torch")
    learner = SMALL.bind(NAMES)
    learner.learn_many(*examples(n=2000))
    code = f"""
from models.checks import NAMES, examples
from models.manifest import content_hash
from models.neural import Neural
learner = {SMALL!r}.bind(NAMES)
learner.learn_many(*examples(n=2000))
print(content_hash(learner.version()))
"""
    code = code.replace("Calibration(", "__import__('models.calibration').calibration.Calibration(")
    assert _python(code).split() == [content_hash(learner.version())]


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return done.stdout


def traffic(n: int, seed: int = 1) -> tuple[Floats, Labels]:
    """One event in fifty is positive, more so with a high amount."""
    x, _, _ = examples(seed=seed, n=n)
    odds = np.where(np.nan_to_num(x[:, 0]) > 60, 0.2, 0.005)
    return x, (np.random.default_rng(seed).random(n) < odds).astype(np.int8)


PAST = ("amount", *(f"{kind}_{n}" for n in range(1, 6) for kind in ("same", "cents")))
ATTENTIVE = Neural(
    attention=Attention(tokens=[(f"same_{n}", f"cents_{n}") for n in range(1, 6)]),
    learnt_after=500,
    batch=64,
    replay=64,
    reservoir=1024,
)


def past(n: int, seed: int = 1) -> tuple[Floats, Labels, Floats]:
    """Positive is what was high when last at this shop, whenever that was; nothing else matters."""
    rng = np.random.default_rng(seed)
    x = rng.random((n, len(PAST)))
    here = rng.integers(0, 5, n)
    same, cents = x[:, 1::2], x[:, 2::2]
    same[:] = np.arange(5) == here[:, None]
    absent = np.arange(5) >= rng.integers(0, 6, n)[:, None]
    same[absent] = cents[absent] = np.nan
    return x, (cents[np.arange(n), here] > 0.7).astype(np.int8), np.ones(n)


def test_it_attends_to_the_event_that_matters() -> None:
    pytest.importorskip("torch")
    learner = ATTENTIVE.bind(PAST)
    learner.learn_many(*past(30_000))
    version = learner.version()
    x, y, _ = past(4000, seed=2)
    assert average_precision(version.predict_many(x), y) > 0.98
    second = np.flatnonzero((y == 1) & (x[:, 3] == 1))[:20]
    named = [PAST[i] for i in version.reasons_many(x[second], 1).ravel()]
    assert named.count("cents_2") + named.count("same_2") > 15


def test_which_of_the_events_comes_first_does_not_matter() -> None:
    pytest.importorskip("torch")
    learner = ATTENTIVE.bind(PAST)
    learner.learn_many(*past(2000))
    x, _, _ = past(500, seed=2)
    turned = x[:, [0, 9, 10, 1, 2, 7, 8, 5, 6, 3, 4]].copy()
    version = learner.version()
    np.testing.assert_allclose(version.predict_many(turned), version.predict_many(x), rtol=1e-5)


def test_without_events_there_is_nothing_to_attend_to() -> None:
    version = a_version(SHAPES["with attention"])
    x, none = rows()[:100], rows()[:100]
    none[:, version.frame.columns[2:]] = np.nan
    before = version.predict_many(x), version.predict_many(none)
    parts = version.frame.shape.views(version.weights)
    for name in ("attention value", "attention value b"):
        parts[name][:] = 3.0
    assert (version.predict_many(x) != before[0]).mean() > 0.8
    assert np.array_equal(version.predict_many(none), before[1])


def test_what_was_learnt_before_there_was_attention_goes_on() -> None:
    pytest.importorskip("torch")
    assert repr(Neural()).endswith(f"calibration={Calibration(platt=True)!r})")
    learner = SMALL.bind(NAMES)
    learner.learn_many(*examples())
    state = learner.state()
    assert not state.pop("attention").any()
    resumed = SMALL.bind(NAMES)
    resumed.load(state)
    x, _, _ = examples(seed=2)
    assert np.array_equal(resumed.version().predict_many(x), learner.version().predict_many(x))
    attentive = replace(SMALL, attention=Attention(tokens=[("gap",)])).bind(NAMES)
    with pytest.raises(StateError):
        attentive.load(state)


@pytest.mark.parametrize("loss", ["log", "balanced", "focal"])
def test_the_level_is_that_of_the_stream_by_any_loss(loss: str) -> None:
    pytest.importorskip("torch")
    x, y = traffic(40_000)
    learner = Neural(loss=loss, batch=64).bind(NAMES)  # type: ignore[arg-type]
    learner.learn_many(x, y, np.ones(len(x)))
    x, y = traffic(20_000, seed=2)
    scores = learner.version().predict_many(x)
    assert scores.mean() == pytest.approx(y.mean(), rel=0.2)
    assert scores[x[:, 0] > 60].mean() == pytest.approx(y[x[:, 0] > 60].mean(), rel=0.3)


def test_a_weighted_or_sampled_class_leaves_the_level() -> None:
    pytest.importorskip("torch")
    x, y = traffic(60_000)
    kept = (y == 1) | (np.arange(len(y)) % 10 == 0)
    calibration = Calibration(negative_rate=0.1, positive_weight=3, platt=True)
    learner = Neural(batch=32, calibration=calibration).bind(NAMES)
    learner.learn_many(np.ascontiguousarray(x[kept]), y[kept], np.ones(int(kept.sum())))
    assert learner.version().predict_many(x).mean() == pytest.approx(y.mean(), rel=0.2)


def test_categories_are_told_apart_by_their_codes() -> None:
    pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    shop = rng.integers(0, 200, 20_000).astype(np.float64)
    bad = rng.random(200) < 0.2
    y = (rng.random(len(shop)) < np.where(bad[shop.astype(int)], 0.5, 0.02)).astype(np.int8)
    x = np.column_stack([shop, rng.normal(size=len(shop))])
    learner = Neural(categories={"shop": 4096}).bind(("shop", "noise"))
    learner.learn_many(x, y, np.ones(len(x)))
    shops = np.column_stack([np.arange(200.0), np.zeros(200)])
    scores = learner.version().predict_many(shops)
    assert average_precision(scores, bad) > 0.95


def test_a_loss_that_rises_has_large_steps_taken_again() -> None:
    pytest.importorskip("torch")
    learner = replace(SMALL, batch=128).bind(NAMES)
    x, y, weight = examples(n=40_000)
    learner.learn_many(x, y, weight)
    before = learner.state()["words"]
    assert before[1] == before[2]
    learner.learn_many(x[:20_000], 1 - y[:20_000], weight[:20_000])
    after = learner.state()["words"]
    assert after[2] < after[1] - before[1]


def test_a_tactic_that_returns_is_known_by_the_reservoir() -> None:
    pytest.importorskip("torch")
    found = {}
    for replay in (0, 512):
        learner = Neural(replay=replay, calibration=Calibration()).bind(NAMES)
        for part in range(12):
            x, y, weight = tactic(6000, seed=part, active=part < 3)
            learner.learn_many(x, y, weight)
        x, y, _ = tactic(6000, seed=99, active=True)
        found[replay] = average_precision(learner.version().predict_many(x), y)
    assert found[512] > found[0] + 0.05


def tactic(n: int, seed: int, *, active: bool) -> tuple[Floats, Labels, Floats]:
    """Frauds of one kind at all times and, while it is active, those of another."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, len(NAMES)))
    other = (x[:, 0] > 1.5) & (x[:, 1] > 0.5)
    y = ((x[:, 2] > 2) | (other & active)).astype(np.int8)
    return x, y, np.ones(n)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"width": 0}, "sizes"),
        ({"knots": 1}, "knots"),
        ({"categories": {"amount": 0}}, "rows a category"),
        ({"rate": 0.0}, "rate"),
        ({"loss": "hinge"}, "hinge"),
        ({"attention": {"tokens": []}}, "tokens"),
        ({"attention": {"tokens": [("gap",)], "heads": 0}}, "heads"),
        ({"attention": {"tokens": [("gap",), ("gap",)]}}, "twice"),
        ({"attention": {"tokens": [("gap", "ratio"), ("night",)]}}, "as many"),
    ],
)
def test_a_wrong_configuration_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Attention(**wrong["attention"]) if "attention" in wrong else Neural(**wrong)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Neural(inputs=["nothing"]), "nothing"),
        (Neural(attention=Attention(tokens=[("nothing",)])), "nothing"),
        (Neural(attention=Attention(tokens=[(name,) for name in NAMES])), "beside"),
        (Neural(categories={"nothing": 5}), "nothing"),
        (Neural(device="abacus"), "abacus"),
    ],
)
def test_what_cannot_be_bound_is_named(model: Neural, said: str) -> None:
    pytest.importorskip("torch")
    with pytest.raises(ConfigError, match=said):
        model.bind(NAMES)


def versions_of(engine: Engine, folder: Path, most: int) -> dict[int, set[str]]:
    """What a learn job publishes that is lost after every so many steps, while it has any left."""
    model = Neural(learnt_after=24, batch=8, replay=8, reservoir=32, knots=4, hidden=8)
    pipeline = replace(PIPELINE, champion=model, every=10)
    cluster = Cluster(clock=Clock())
    publish(cluster, engine)
    idle = 0
    while idle < 3:
        broker = MemoryBroker(cluster)
        settings = Settings(state=folder, snapshot_seconds=0)
        job = LearnJob(
            pipeline, broker, settings,
            clock=lambda: cluster.clock() / 1e6, now_us=cluster.clock,
        )  # fmt: skip
        for _ in range(most):
            idle = 0 if job.step(0.0) else idle + 1
            cluster.clock.sleep(0.3)
        if idle < 3:
            broker.crash()
        with suppress(Crash):
            job.close()
    return contents(cluster)


def test_a_learn_job_that_is_lost_trains_it_to_the_same_versions(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    rows = [Row(n, n * DAY // 4, n % 4, n % 3, int(rng.integers(1, 9_999))) for n in range(400)]
    with engine_of(rows, [], 1) as (engine, _):
        whole = versions_of(engine, tmp_path / "whole", 1000)
        lost = versions_of(engine, tmp_path / "lost", 5)
    # Of versions made in one moment the newest alone is published.
    both = whole.keys() & lost.keys()
    assert max(whole) == max(lost) == 38
    assert len(both) > 1
    assert {number: whole[number] for number in both} == {number: lost[number] for number in both}
    assert all(len(each) == 1 for each in (*whole.values(), *lost.values()))
