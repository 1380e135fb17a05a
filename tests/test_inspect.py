"""Looking into a run: why a score is what it is, what is kept, whether what was logged holds."""

import json
import math
import shutil
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from jobs.commands import headrace
from jobs.local import LocalRun
from jobs.settings import Inputs
from jobs.simulate import simulate
from jobs.why import why
from streams.ownership import own

HOSTILE = {"garbage": 0.01, "duplicates": 0.01, "late": 0.01, "disorder": 0.05, "conflicts": 0.002}
WORLD = {"customers": 150, "terminals": 60, "per_day": 250, "fraud_rate": 0.05, "events": 8000}


def call(*arguments: object) -> Result:
    return CliRunner().invoke(headrace, [str(each) for each in arguments])


def done(*arguments: object) -> str:
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A month of NDJSON, some of it late, sent twice, out of order, or no use at all."""
    path = tmp_path_factory.mktemp("traffic") / "traffic.ndjson"
    simulate(path, [], {**WORLD, **HOSTILE})
    return path


@pytest.fixture(scope="module", params=["arrival", "strict"])
def run(
    request: pytest.FixtureRequest, traffic: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    done("replay", traffic, "--out", out, "--order", request.param, "--batch-size", 700)
    return out


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """The run in a folder that may be changed."""
    out = tmp_path / "copy"
    shutil.copytree(run, out)
    asked = json.loads((out / "run.json").read_bytes())
    (out / "run.json").write_text(json.dumps(asked | {"state": str(out / "state")}))
    return out


def rows(out: Path) -> pa.Table:
    return pq.read_table(out / "predictions.parquet")


def change(out: Path, name: str, row: int, value: float) -> None:
    """Write another value into a prediction."""
    table = rows(out)
    values = table[name].to_pylist()
    values[row] = value
    column = pa.array(values, table[name].type)
    table = table.set_column(table.column_names.index(name), name, column)
    pq.write_table(table, out / "predictions.parquet")


def test_any_score_is_reproduced_bit_for_bit_with_the_version_that_gave_it(run: Path) -> None:
    table = rows(run)
    version = table["model_version"].to_numpy()
    before_changes = (version[1:] != version[:-1]).nonzero()[0].tolist()
    time = table["time"].to_numpy()
    latest = int((np.maximum.accumulate(time) - time).argmax())
    for row in [0, latest, before_changes[0], before_changes[-1], before_changes[-1] + 1]:
        found = why(run, table["id"][row].as_py())
        assert not found.differences
        assert found.prediction["score"] == table["score"][row].as_py()
        assert found.prediction["model_version"] == version[row]
        assert (found.prediction["decision"] == "review") == (
            found.prediction["score"] >= found.threshold
        )


def test_what_the_features_add_sums_to_the_score(run: Path) -> None:
    for row in rows(run)["id"].to_pylist()[3000::1500]:
        found = why(run, row)
        score = found.prediction["score"]
        odds = math.log(score / (1 - score))
        assert found.base + sum(found.contributions.values()) == pytest.approx(odds, rel=1e-9)
        told = json.loads(done("why", row, "--run", run, "--json"))
        assert told["reasons"] == found.reasons
        assert told["base"] == found.base
        added = {name: each["contribution"] for name, each in told["features"].items()}
        assert added == found.contributions


def test_each_window_lists_the_events_that_its_feature_counts(run: Path) -> None:
    table = rows(run)
    found = json.loads(done("why", table["id"][7000].as_py(), "--run", run, "--json"))
    assert found["reproduced"]
    ids = set(table["id"].to_pylist())
    for name in ("customer_count_7d", "customer_count_30d", "terminal_count_7d"):
        feature = found["features"][name]
        (reads,) = feature["reads"]
        assert feature["value"] == len(reads["events"])
        assert {each["id"] for each in reads["events"]} <= ids
        assert all(reads["after"] < each["time"] <= reads["until"] for each in reads["events"])
    risk, events = (found["features"]["terminal_risk_30d"][name] for name in ("value", "reads"))
    frauds = [each["fraud"] for each in events[0]["events"]].count(True)
    assert risk == frauds / len(events[0]["events"])
    assert all(
        each["known"] <= found["prediction"]["time"]
        for each in events[0]["events"]
        if each["fraud"] is not None
    )


def test_why_reads_well(run: Path) -> None:
    table = rows(run)
    said = done("why", table["id"][7000].as_py(), "--run", run)
    for word in ("bit for bit", "customer_mean_7d", "clean_ratio", "the event itself", "7d ago"):
        assert word in said, word
    alone = done("why", table["id"][7000].as_py(), "--run", run, "--feature", "run_length")
    assert "terminal.run(length, 90d)" in alone and "customer_mean_7d" not in alone
    assert call("why", table["id"][0].as_py(), "--run", run, "--feature", "size").exit_code == 1


def test_why_names_what_is_not_reproduced(copy: Path) -> None:
    change(copy, "clean_ratio", 5000, 2.0)
    result = call("why", rows(copy)["id"][5000].as_py(), "--run", copy)
    assert result.exit_code == 1
    assert "clean_ratio: the run wrote 2.0" in result.output.replace("\n", " ")


def test_an_id_that_was_not_scored_is_refused(run: Path, tmp_path: Path) -> None:
    result = call("why", "nobody", "--run", run)
    assert result.exit_code == 1 and "'nobody'" in result.output
    assert call("why", "nobody", "--run", tmp_path).exit_code == 1


def test_the_input_of_a_run_must_still_be_what_it_was(copy: Path, traffic: Path) -> None:
    last = rows(copy)["id"][7900].as_py()
    short = copy / "short.ndjson"
    short.write_bytes(b"".join(traffic.read_bytes().splitlines(keepends=True)[200:5000]))
    asked = json.loads((copy / "run.json").read_bytes())
    (copy / "run.json").write_text(json.dumps(asked | {"files": [str(short)]}))
    for command in (["why", last, "--run", copy], ["check", "skew", copy]):
        result = call(*command)
        assert result.exit_code == 1 and "changed since the run" in result.output


def test_a_record_is_shown_with_its_events_windows_and_bytes(run: Path) -> None:
    customer = pc.mode(rows(run)["customer"].dictionary_encode().combine_chunks().indices)[0]
    name = rows(run)["customer"].unique()[customer["mode"].as_py()].as_py()
    mine = rows(run).filter(pc.equal(rows(run)["customer"], name))
    said = done("state", "show", f"customer={name}", "--run", run)
    assert f"{len(mine):,}, from" in said and "in a snapshot" in said
    assert mine["id"][-1].as_py() in said
    assert "nothing is kept" in done("state", "show", "customer=nobody", "--run", run)
    for key, status in (("shop=1", 1), ("customer", 2)):
        assert call("state", "show", key, "--run", run).exit_code == status


def carry(out: Path, batches: int = 10_000, *, resume: bool = False) -> LocalRun:
    """Do a run over, or go on with it, for so many batches; it commits nothing by itself."""
    inputs = Inputs.load(out)
    pipeline = inputs.load_pipeline()
    source, state = inputs.source(pipeline), Path(inputs.state)
    run = LocalRun(
        pipeline, source, out, state=state, order=inputs.order, resume=resume, snapshot_seconds=1e9
    )
    for _ in islice(run, batches):
        pass
    return run


def kill(run: LocalRun) -> None:
    """Let go of everything without a last snapshot."""
    run._letters.close()
    run._drift.close()
    run._owned.close()


def test_a_forgotten_key_begins_anew_and_no_other_notices(copy: Path) -> None:
    whole = rows(copy)
    carry(copy, 6).close()
    taken = sum(len(pq.read_table(p)) for p in (copy / "predictions.parquet.parts").iterdir())
    name = whole["customer"][taken + 5].as_py()
    said = done("state", "forget", f"customer={name}", "--run", copy)
    assert "What still holds something of it" in said
    assert "nothing is kept" in done("state", "show", f"customer={name}", "--run", copy)
    assert len(list((copy / "state" / "snapshots").glob("*.snapshot"))) == 1
    carry(copy, resume=True).finish()
    again = rows(copy)
    assert again["id"] == whole["id"]
    mine = pc.equal(whole["customer"], name).to_numpy()
    for counted in ("customer_count_30d", "terminal_count_30d"):
        left, right = whole[counted].to_numpy(), again[counted].to_numpy()
        assert (left[~mine] == right[~mine]).all()
        assert (left[:taken] == right[:taken]).all()
    assert again["customer_count_30d"].to_numpy()[taken:][mine[taken:]][0] == 1


def test_forgetting_waits_for_the_run_that_is_not_over(copy: Path) -> None:
    name = rows(copy)["customer"][0].as_py()
    forget = ("state", "forget", f"customer={name}", "--run", copy)
    with own(copy / "state"):
        result = call(*forget)
        assert result.exit_code == 1 and "owns it" in result.output
    carry(copy, 3).close()
    kill(carry(copy, 2, resume=True))
    result = call(*forget)
    assert result.exit_code == 1 and "killed 2 batches after" in result.output
    shutil.rmtree(copy / "state")
    assert "found none" in call(*forget).output


def test_what_was_logged_is_what_the_definitions_say(run: Path) -> None:
    said = done("check", "skew", run, "--keys", 12)
    assert "12 of customer, 12 of terminal" in said


def test_a_logged_feature_that_is_wrong_is_found(copy: Path) -> None:
    table = rows(copy)
    place = table.column_names.index("week_largest")
    column = pc.add(table["week_largest"], 1e-6)
    pq.write_table(table.set_column(place, "week_largest", column), copy / "predictions.parquet")
    result = call("check", "skew", copy, "--keys", 5)
    assert result.exit_code == 1
    wrong = [line for line in result.stdout.splitlines() if "by its definition" in line]
    assert len(wrong) == 1 and wrong[0].startswith("week_largest of event")


SMALL = """
from headrace import *
e = Event("e", keys=("k", "j"), label=Label("l", "2d"), numbers=(Number("x", scale=1),),
          categories=(Category("c", required=False),))
k, j = Entity("k"), Entity("j")
pipeline = Pipeline(name="p", event=e, champion=Linear(inputs=["n"]), cap=64, features={
    "n": k.count("5d"), "x": value("x"), "c": bucket("c"), "seen": k.seen("c", "5d"),
    "others": k.distinct("j", "5d"), "z": k.zscore("x", "5d"),
    "both": ratio(k.mean("x", "5d"), j.mean("x", "5d")),
})
"""


def small_run(folder: Path, every_us: int) -> Path:
    """A run of a pipeline with features over two keys, a category that may lack, texts as ids."""
    (folder / "pipeline.py").write_text(SMALL)
    lines: list[dict[str, Any]] = [
        {
            "id": f"é{i}",
            "time": 10**15 + i * every_us,
            "k": f"k{i % 3}",
            "j": i % 2,
            "x": i % 70 / 10,
        }
        | ({"c": f"c{i % 5}"} if i % 4 else {})
        for i in range(600)
    ]
    path = folder / "events.ndjson"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    pipeline = folder / "pipeline.py"
    done("replay", path, "--out", folder / "out", "--pipeline", pipeline)
    return folder / "out"


def test_keys_that_are_texts_and_features_over_two_keys_are_explained(tmp_path: Path) -> None:
    out = small_run(tmp_path, 3_600_000_000 * 4)
    found = json.loads(done("why", "é500", "--run", out, "--json"))
    assert found["reproduced"]
    assert [each["definition"] for each in found["features"]["both"]["reads"]] == [
        "k.mean(x, 5d)", "j.mean(x, 5d)",
    ]  # fmt: skip
    assert found["features"]["n"]["reads"][0]["events"][-1]["id"] == "é500"
    done("check", "skew", out)
    assert "é" in done("state", "show", "k=k1", "--run", out)
    assert "and the key itself (j)" in done("state", "forget", "j=1", "--run", out)


def test_a_key_over_its_cap_is_shown_as_merged_and_left_out_of_the_check(tmp_path: Path) -> None:
    out = small_run(tmp_path, 60_000_000)
    assert "merged" in done("state", "show", "k=k1", "--run", out)
    assert "merged" in done("why", "é599", "--run", out, "--feature", "n")
    said = done("check", "skew", out)
    assert " 0 of keys over their cap" not in said.splitlines()[-1]
