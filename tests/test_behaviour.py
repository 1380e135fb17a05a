"""What is expected of a model is tried on logged events, and what does not hold is shown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from jobs import fraud
from jobs.behaviour import Behaviour, check_behaviour
from jobs.commands import headrace
from jobs.expectation import Expectation, invariant, lowers, raises, steady
from jobs.labelled import Logged, labelled, logged
from jobs.simulate import simulate
from models.base import Floats
from models.bins import edges_at
from models.linear import Linear
from streams.errors import ConfigError
from streams.examples import encode_examples
from tests.batches import PIPELINE

NAMES = ("amount", "noise")
EXPECTED = """
from headrace import raises, steady
from jobs import fraud
from dataclasses import replace

pipeline = replace(fraud.pipeline, behaviour={BEHAVIOUR})
"""


class Steps:
    """Scores 0.1 below an amount of 10, 0.3 from there on and 0.2 from 20 on."""

    names = NAMES

    def predict_many(self, x: Floats) -> Floats:
        assert x.flags.c_contiguous
        return np.select([x[:, 0] < 10, x[:, 0] < 20], [0.1, 0.3], 0.2)


LOGGED = Logged(
    "here", NAMES, tuple("abcd"), np.array([[5.0, 1.0], [9.0, np.nan], [15.0, 2.0], [25.0, 3.0]])
)


def tried(**expected: Expectation) -> Behaviour:
    return check_behaviour(expected, Steps(), "champion", 7, LOGGED)  # type: ignore[arg-type]


def problems(expected: Expectation) -> tuple[str, ...]:
    (verdict,) = tried(it=expected).verdicts
    return verdict.problems


def test_a_small_change_that_moves_the_score_far_is_shown_with_its_event() -> None:
    cents = steady({"amount": lambda x: x + 1}, within=0.1)
    (verdict,) = tried(cents=cents).failed
    assert verdict.problems == ("1 of 4 events move further",)
    (example,) = verdict.examples
    assert (example.id, example.before, example.after) == ("b", 0.1, 0.3)
    assert example.inputs == {"amount": (9.0, 10.0)}
    assert not problems(replace(cents, share=0.75))
    assert not problems(steady({"amount": lambda x: x + 1}, within=1.5))


def test_what_does_not_matter_changes_no_bit() -> None:
    assert not problems(invariant({"noise": lambda x: -x}))
    assert problems(invariant({"amount": lambda x: 2 * x}))


def test_an_event_that_the_change_leaves_as_it_was_is_not_counted() -> None:
    (verdict,) = tried(it=invariant({"noise": lambda x: 2 * x})).verdicts
    assert verdict.events == 3
    assert problems(invariant({"noise": lambda x: x})) == (
        "no event is changed by it, so nothing was tried",
    )


def test_a_direction_is_expected_of_a_share_of_events_and_on_average() -> None:
    ten = {"amount": lambda x: x + 10}
    assert problems(raises(ten)) == ("1 of 4 events move further",)
    assert not problems(raises(ten, share=0.75))
    assert not problems(raises(ten, where={"amount": lambda x: x < 10}))
    assert len(problems(lowers(ten))) == 2
    assert not problems(lowers(ten, where={"amount": lambda x: x >= 10}, share=0.5))
    few = problems(raises(ten, where={"amount": lambda x: x >= 10}, share=0.0))
    assert few and few[0].startswith("the log-odds move by -")


def test_what_is_expected_of_another_model_is_not_tried() -> None:
    found = tried(mine=invariant({"noise": np.negative}), its=invariant({}, of=("forest",)))
    assert [each.name for each in found.verdicts] == ["mine"]
    assert found.others == ("its",)


def test_a_change_must_give_a_number_for_each_event() -> None:
    with pytest.raises(
        ConfigError, match="behaviour 'it': wanted of amount a number for each of 4"
    ):
        tried(it=raises({"amount": lambda x: x[:2]}))
    with pytest.raises(ConfigError, match="got str"):
        tried(it=raises({"amount": lambda _: "more"}))


def test_inputs_and_models_that_are_not_there_are_named() -> None:
    with pytest.raises(ConfigError, match="no input 'amont'; there are amount, noise"):
        raises({"amont": np.abs}).check("it", NAMES, ("champion",))
    with pytest.raises(ConfigError, match="no model 'forest'"):
        raises({"amount": np.abs}, of=("forest",)).check("it", NAMES, ("champion",))


def test_what_is_expected_is_no_part_of_the_definition() -> None:
    expecting = replace(PIPELINE, behaviour={"it": invariant({"amount": np.abs})})
    assert expecting.definition == PIPELINE.definition
    assert expecting.inputs == PIPELINE.inputs


def test_a_model_that_weighs_an_input_is_told_from_one_that_does_not() -> None:
    random = np.random.default_rng(3)
    x = random.normal(size=(20_000, 2))
    y = (random.random(len(x)) < 1 / (1 + np.exp(2 - 2 * x[:, 0]))).astype(np.int8)
    learner = Linear(inputs={"amount": edges_at(-1.5, -0.5, 0.5, 1.5)}).bind(NAMES)
    learner.learn_many(x, y, np.ones(len(x)))
    events = Logged("here", NAMES, tuple(map(str, range(len(x)))), x)
    expected = {
        "amount raises": raises({"amount": lambda x: x + 1}, share=0.9),
        "noise is nothing": invariant({"noise": lambda x: x + 1}),
        "amount lowers": lowers({"amount": lambda x: x + 1}),
    }
    found = check_behaviour(expected, learner.version(), "champion", 1, events)
    assert [each.name for each in found.failed] == ["amount lowers"]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(headrace, [str(each) for each in arguments])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A replay of the shipped pipeline, by a file that says what else is expected."""
    folder = tmp_path_factory.mktemp("run")
    world = {"customers": 200, "terminals": 100, "per_day": 400, "fraud_rate": 0.05}
    simulate(folder / "traffic.parquet", [], {**world, "events": 20_000})
    columns = ("--columns", "fraud=fraud", "--label-delay", "7d")
    expect(folder, "fraud.behaviour")
    asked = (folder / "traffic.parquet", *columns, "--pipeline", folder / "pipeline.py")
    assert call("replay", *asked, "--out", folder / "run").exit_code == 0
    return folder / "run"


def expect(folder: Path, behaviour: str) -> None:
    (folder / "pipeline.py").write_text(EXPECTED.replace("BEHAVIOUR", f"**{behaviour}"))


def test_the_shipped_pipeline_does_what_is_expected_of_it(run: Path) -> None:
    result = call("check", "behaviour", run)
    assert result.exit_code == 0, result.output
    assert "all 4 hold" in result.output
    other = call("check", "behaviour", run, "--model-version", "published inputs", "--json")
    assert other.exit_code == 0, other.output
    assert set(json.loads(other.stdout)["others"]) == {
        name for name, each in fraud.behaviour.items() if each.of == ("champion",)
    }


def test_what_is_expected_may_change_when_the_run_has_ended(run: Path) -> None:
    expect(run.parent, '{"more is less": raises({"clean_ratio": lambda x: x / 8})}')
    try:
        result = call("check", "behaviour", run, "--events", 500)
    finally:
        expect(run.parent, "fraud.behaviour")
    assert result.exit_code == 1
    assert "more is less: " in result.output and "→" in result.output
    assert "events move further" in result.output


def test_events_of_a_log_of_examples_are_tried_as_those_of_a_run(run: Path, tmp_path: Path) -> None:
    events = labelled(run, "", 300)
    n, one = np.arange(len(events.y)), np.ones(len(events.y), np.int64)
    known, score = n.tolist(), 0.5 * one
    lines, _ = encode_examples(
        n, n, known, events.y.tolist(), 0 * one, score, one, events.x, ["label"]
    )
    (tmp_path / "examples.ndjson").write_bytes(b"\n".join([*lines, b""]))
    found = logged(tmp_path / "examples.ndjson", fraud.pipeline, 100)
    assert found.x.shape == (100, len(fraud.pipeline.features))
    assert found.ids[0] == "0" and found.ids[-1] == str(len(n) - 1)
    assert np.array_equal(found.x[-1], events.x[-1], equal_nan=True)


def test_a_pipeline_without_expectations_says_how_to_declare_them(run: Path) -> None:
    expect(run.parent, "{}")
    try:
        result = call("check", "behaviour", run)
    finally:
        expect(run.parent, "fraud.behaviour")
    assert result.exit_code == 1
    assert "wanted behaviour to try, got none" in result.output


def test_a_version_that_is_not_there_is_one_line(run: Path) -> None:
    result = call("check", "behaviour", run, "--model-version", "99999")
    assert result.exit_code == 1
    assert result.output.count("\n") == 1 and "wanted a version" in result.output
