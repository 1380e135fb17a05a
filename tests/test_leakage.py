"""A feature that knows the label is named, and none of the shipped pipeline is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from jobs.commands import headrace
from jobs.judged import Labelled
from jobs.labelled import labelled
from jobs.leakage import Leakage, check_leakage, edges_of
from jobs.simulate import simulate
from models.base import Floats
from streams.errors import InputError
from streams.examples import encode_examples

N = 30_000
PIPELINE = """
from headrace import Entity, Event, Label, Linear, Number, Pipeline, value

payment = Event(
    "transaction",
    keys=("customer", "terminal"),
    numbers=(
        Number("amount", scale=2, maximum=100_000),
        Number("recovered", scale=2, maximum=100_000, required=False),
    ),
    label=Label("fraud", maturity="7d"),
)
customer, terminal = Entity("customer"), Entity("terminal")
pipeline = Pipeline(
    name="leaky",
    event=payment,
    features={
        "amount": value("amount"),
        "recovered": value("recovered"),
        "count": customer.count("7d"),
        "ratio": customer.clean_ratio("amount", "30d"),
        "risk": terminal.share("7d", delay="7d", empty=0),
        "run": terminal.run("length", "30d"),
    },
    champion=Linear(),
)
"""


def call(*arguments: object) -> Result:
    return CliRunner().invoke(headrace, [str(each) for each in arguments])


@pytest.fixture(scope="module")
def honest() -> tuple[Floats, Floats]:
    """Three features that tell something of the label, one that tells nothing; and labels."""
    random = np.random.default_rng(5)
    x = random.normal(size=(N, 4))
    odds = 1.5 * x[:, 0] + x[:, 1] + np.where(x[:, 2] > 2, 3, 0) - 5
    return x, (random.random(N) < 1 / (1 + np.exp(-odds))).astype(np.float64)


def found(x: Floats, y: Floats, *planted: Floats, young: int = 0) -> Leakage:
    labels = y.astype(np.int8)
    labels[N - young :] = -1
    names = ("steep", "gentle", "rare", "noise", *(f"planted{i}" for i in range(len(planted))))
    return check_leakage(Labelled("here", names, np.column_stack([x, *planted]), labels))


def named(leakage: Leakage) -> list[str]:
    return sorted(each.name for each in leakage.leaks)


def test_honest_features_are_not_named(honest: tuple[Floats, Floats]) -> None:
    x, y = honest
    whole = found(x, y)
    assert named(whole) == []
    assert named(found(x, y, young=3000)) == []
    by = {each.name: each for each in whole.features}
    assert by["steep"].auc.low > 0.7 > by["noise"].auc.high
    assert by["noise"].auc.low < 0.5 < by["noise"].auc.high
    assert by["noise"].closes.value < 0.01 < by["steep"].closes.low


def test_the_label_with_noise_is_named_since_it_needs_no_others(
    honest: tuple[Floats, Floats],
) -> None:
    x, y = honest
    noisy = y + np.random.default_rng(1).normal(0, 0.3, N)
    leakage = found(x, y, noisy)
    assert named(leakage) == ["planted0"]
    assert leakage.features[0].name == "planted0"
    assert any("nearly without error" in each for each in leakage.leaks[0].leaks)


@pytest.mark.parametrize("part", [0.3, 0.6])
def test_what_is_filled_in_for_some_positives_is_named(
    honest: tuple[Floats, Floats], part: float
) -> None:
    x, y = honest
    random = np.random.default_rng(2)
    fee = np.where((y > 0) & (random.random(N) < part), 15.0, 0.0)
    leakage = found(x, y, fee)
    assert named(leakage) == ["planted0"]
    assert not any("nearly without error" in each for each in leakage.leaks[0].leaks)


def test_what_is_there_for_positives_alone_is_named_whatever_its_value(
    honest: tuple[Floats, Floats],
) -> None:
    x, y = honest
    random = np.random.default_rng(3)
    assert named(found(x, y, np.where(y > 0, random.random(N), np.nan))) == ["planted0"]


def test_two_that_tell_the_same_do_not_hide_each_other(honest: tuple[Floats, Floats]) -> None:
    x, y = honest
    random = np.random.default_rng(4)
    told = (y > 0) & (random.random(N) < 0.5)
    fee, date = np.where(told, 15.0, 0.0), np.where(told, random.random(N), np.nan)
    assert named(found(x, y, fee, date)) == ["planted0", "planted1"]


def test_the_share_of_a_key_over_all_time_is_named(honest: tuple[Floats, Floats]) -> None:
    x, y = honest
    key = np.random.default_rng(6).integers(0, N // 2, N)
    whole = (np.bincount(key, y) / np.maximum(np.bincount(key), 1))[key]
    assert named(found(x, y, whole)) == ["planted0"]


def test_what_is_filled_in_once_the_label_is_known_is_named_where_labels_end(
    honest: tuple[Floats, Floats],
) -> None:
    x, y = honest
    random = np.random.default_rng(7)
    seen = random.random(N) < np.where(y > 0, 0.4, 0.05)
    settled = np.arange(N) < N - 3000
    leakage = found(x, y, np.where(seen & settled, 1.0, 0.0), young=3000)
    assert named(leakage) == ["planted0"]
    assert leakage.leaks[0].leaks == (
        "it says little of events whose labels are not known yet, much once they are",
    )
    assert named(found(x, y, np.where(seen, 1.0, 0.0), young=3000)) == []


def test_a_strong_feature_that_errs_deserves_a_look_and_is_no_leak() -> None:
    random = np.random.default_rng(8)
    x = random.normal(size=(N, 2))
    y = (random.random(N) < 1 / (1 + np.exp(4.5 - 2.5 * x[:, 0] - 0.3 * x[:, 1]))).astype(np.int8)
    leakage = check_leakage(Labelled("here", ("strong", "weak"), x, y))
    assert named(leakage) == []
    assert [each.name for each in leakage.features if each.odd] == ["strong"]


def test_one_feature_alone_can_be_tested(honest: tuple[Floats, Floats]) -> None:
    x, y = honest
    leakage = check_leakage(Labelled("here", ("steep",), x[:, :1].copy(), y.astype(np.int8)))
    assert leakage.features[0].without.value == pytest.approx(y[N // 2 :].mean())


def test_too_few_positives_are_an_error(honest: tuple[Floats, Floats]) -> None:
    x, y = honest
    with pytest.raises(InputError, match="wanted 50 positives in the older and in the newer half"):
        found(x, np.where(np.arange(N) < 1000, y, 0))


def test_edges_lie_between_values_and_are_not_too_many() -> None:
    values = np.random.default_rng(0).normal(size=5000)
    values[::100] = np.nan
    y = (np.arange(5000) % 50 == 0).astype(np.int8)
    edges = np.array(edges_of(values, y))
    assert np.all(np.diff(edges) > 0)
    assert 64 <= len(edges) <= 2 * 64 + 1
    assert edges_of(np.full(9, np.nan), np.zeros(9, np.int8)) == (0.0,)
    assert edges_of(np.ones(9), np.zeros(9, np.int8)) == (0.0,)


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("traffic") / "traffic.parquet"
    world = {"customers": 150, "terminals": 60, "per_day": 250, "fraud_rate": 0.05}
    simulate(path, [], {**world, "events": 12_000})
    return path


def test_the_shipped_pipeline_passes(traffic: Path, tmp_path: Path) -> None:
    columns = ("--columns", "fraud=fraud", "--label-delay", "7d")
    assert call("replay", traffic, *columns, "--out", tmp_path / "run").exit_code == 0
    result = call("check", "leakage", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "no feature predicts too well" in result.output
    assert "clean_ratio" in result.output


@pytest.fixture(scope="module")
def leaky(traffic: Path) -> tuple[Path, Path]:
    """A run whose events say of half the frauds what was recovered of them; its pipeline file."""
    folder = traffic.parent
    table = pq.read_table(traffic)
    fraud = table["fraud"].to_numpy(zero_copy_only=False).astype(bool)
    told = fraud & (np.random.default_rng(0).random(len(fraud)) < 0.5)
    recovered = pa.array(table["amount"].to_numpy(), pa.float64(), mask=~told)
    pq.write_table(table.append_column("recovered", recovered), folder / "leaky.parquet")
    pipeline = folder / "leaky.py"
    pipeline.write_text(PIPELINE)
    columns = ("--columns", "fraud=fraud", "--label-delay", "7d", "--pipeline", pipeline)
    done = call("replay", folder / "leaky.parquet", *columns, "--out", folder / "run")
    assert done.exit_code == 0, done.output
    return folder / "run", pipeline


def test_a_planted_leak_is_found_in_a_run(leaky: tuple[Path, Path]) -> None:
    run, _ = leaky
    result = call("check", "leakage", run)
    assert result.exit_code == 1
    assert "recovered leaks: it adds" in result.output
    assert "no feature predicts too well" not in result.output


def test_labels_that_are_known_at_once_are_named_by_who_reads_them(
    traffic: Path, leaky: tuple[Path, Path], tmp_path: Path
) -> None:
    columns = ("--columns", "fraud=fraud", "--label-delay", "0s", "--pipeline", leaky[1])
    assert call("replay", traffic, *columns, "--out", tmp_path / "run").exit_code == 0
    result = call("check", "leakage", tmp_path / "run", "--json")
    assert result.exit_code == 1
    # The share is of a week ago, the ratio of a past that has matured.
    assert json.loads(result.stdout)["leaks"] == ["run"]


def test_a_feature_that_was_looked_at_may_be_allowed(leaky: tuple[Path, Path]) -> None:
    run, _ = leaky
    result = call("check", "leakage", run, "--json", "--allow", "recovered")
    assert result.exit_code == 0
    content = json.loads(result.stdout)
    features = content["features"]
    assert content["leaks"] == []
    assert [name for name, each in features.items() if each["leaks"]] == ["recovered"]
    assert features["recovered"]["allowed"]
    assert set(features) == {"amount", "recovered", "count", "ratio", "risk", "run"}
    assert call("check", "leakage", run, "--allow", "nothing").exit_code == 2


def test_a_planted_leak_is_found_in_a_log_of_examples(
    leaky: tuple[Path, Path], tmp_path: Path
) -> None:
    run, pipeline = leaky
    events = labelled(run, "", 12_000)
    number, one = np.arange(len(events.y)), np.ones(len(events.y), np.int64)
    lines, _ = encode_examples(
        number, number, number, events.y.tolist(), 0 * one, 0.5 * one, one, events.x, ["label"]
    )
    (tmp_path / "examples.ndjson").write_bytes(b"\n".join([*lines, *lines[:100], b""]))
    arguments = (tmp_path / "examples.ndjson", "--pipeline", pipeline, "--json")
    found = [call("check", "leakage", *each) for each in (arguments, (run, "--json"))]
    assert [each.exit_code for each in found] == [1, 1]
    ours, theirs = (json.loads(each.stdout) for each in found)
    assert ours | {"where": ""} == theirs | {"where": ""}
    other = call("check", "leakage", tmp_path / "examples.ndjson")
    assert other.exit_code == 1
    assert "wanted the 25 features of the pipeline fraud, got 6" in other.output


def test_what_is_neither_a_run_nor_examples_is_said(tmp_path: Path) -> None:
    (tmp_path / "file.ndjson").write_text("{}\n")
    result = call("check", "leakage", tmp_path / "file.ndjson")
    assert result.exit_code == 1
    assert "wanted the folder of a replay, or examples" in result.output
