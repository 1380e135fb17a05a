"""The commands as a user calls them: what they write, what they refuse, how they go on."""

import json
import signal
import subprocess
import sys
from base64 import b64decode
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from jobs.commands import headrace
from jobs.describe import describe
from jobs.fraud import pipeline as fraud
from jobs.simulate import simulate
from operators.drift.responses import Every, On, RaiseRate, Tell

WORLD = {"customers": 300, "terminals": 100, "per_day": 1000, "fraud_rate": 0.05}
HOSTILE = {"garbage": 0.01, "duplicates": 0.01, "late": 0.01, "conflicts": 0.002}
LIGHT = {"numba", "numpy", "pyarrow", "rich"}


def call(*arguments: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(headrace, [str(each) for each in arguments])


def done(*arguments: object) -> str:
    """Run a command that must succeed; what it said."""
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def rows(out: Path) -> pa.Table:
    return pq.read_table(out / "predictions.parquet")


def bits(column: pa.ChunkedArray) -> object:
    """The column's values; of floats their bytes, for nan is not equal to itself."""
    floats = pa.types.is_floating(column.type)
    return column.to_numpy().tobytes() if floats else column.to_pylist()


def same(left: Path, right: Path) -> None:
    """Check that two runs left the same, to the bit."""
    ours, theirs = (rows(each).combine_chunks() for each in (left, right))
    assert ours.schema == theirs.schema
    for name in ours.column_names:
        assert bits(ours[name]) == bits(theirs[name]), name
    assert letters(left) == letters(right)
    assert (left / "ledger.json").read_bytes() == (right / "ledger.json").read_bytes()


def letters(out: Path) -> list[dict[str, Any]]:
    """The dead letters by line, but for the time at which the run took them."""
    found = map(orjson.loads, (out / "dead_letters.ndjson").read_bytes().splitlines())
    return sorted(({**letter, "time": 0} for letter in found), key=lambda each: each["offset"])


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Counter[str]]:
    """NDJSON of which a share is malformed, sent twice, late or contradicting; what is in it."""
    path = tmp_path_factory.mktemp("traffic") / "hostile.ndjson"
    return path, simulate(path, [], {**WORLD, **HOSTILE, "events": 20_000})


@pytest.fixture(scope="module")
def run(hostile: tuple[Path, Counter[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    done("replay", hostile[0], "--out", out)
    return out


@pytest.fixture(scope="module")
def payments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parquet with labels beside the events, over the days of the Handbook's protocol."""
    path = tmp_path_factory.mktemp("traffic") / "payments.parquet"
    simulate(path, [], {**WORLD, "start": "2018-06-18", "days": 80.0, "per_day": 300})
    return path


BESIDE = ("--columns", "fraud=fraud", "--label-delay", "7d")


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from jobs.cli import main; sys.argv = ['headrace', '--help']\n"
        "try: main()\n"
        f"except SystemExit: print(sorted({LIGHT!r} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert said.stdout.splitlines()[-1] == b"[]", said.stdout


@pytest.mark.parametrize("name", headrace.commands)
def test_every_help_ends_in_an_example(name: str) -> None:
    assert "Example" in done(name, "--help")


def test_a_run_leaves_everything_it_promises(run: Path) -> None:
    names = ("predictions.parquet", "dead_letters.ndjson", "metrics.json", "ledger.json")
    for name in (*names, "report.html", "run.json"):
        assert (run / name).is_file(), name


def test_the_ledger_of_hostile_input_is_exact(
    run: Path, hostile: tuple[Path, Counter[str]]
) -> None:
    ledger, written = json.loads((run / "ledger.json").read_bytes()), hostile[1]
    assert [line["missing"] for line in ledger["balances"]] == [0, 0, 0]
    parts = ledger["balances"][0]["parts"]
    assert parts["predictions"] == written["transactions"] == len(rows(run))
    assert parts["duplicates"] == written["duplicates"]
    assert ledger["balances"][1]["taken"] == written["labels"]
    assert parts["dead letters"] == sum(ledger["dead_letters"].values())


def test_every_dead_letter_says_where_and_why(
    run: Path, hostile: tuple[Path, Counter[str]]
) -> None:
    path, written = hostile
    lines = path.read_bytes().split(b"\n")
    found = Counter(letter["reason"] for letter in letters(run))
    counts = {"transactions", "late", "duplicates", "conflicts", "labels"}
    expected = {reason: n for reason, n in written.items() if reason not in counts}
    assert len(expected) >= 9
    assert found == expected | {"conflicting id": written["conflicts"]}
    for letter in letters(run):
        line = lines[letter["offset"] - 1]
        assert letter["detail"] and letter["topic"] == str(path)
        raw = letter.get("raw", "").encode() or b64decode(letter.get("raw_base64", ""))
        assert line.startswith(raw)
        if letter["reason"] == "conflicting id":
            assert orjson.loads(line)["id"] in letter["detail"]
        else:
            assert raw


def damaged(path: Path, change: Callable[[bytes], bytes]) -> Path:
    path.with_name("damaged.parquet").write_bytes(change(path.read_bytes()))
    return path.with_name("damaged.parquet")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{cut}", *BESIDE], "wanted a whole Parquet file"),
        (["{payments}", "--columns", "amount=EUR,fraud=fraud", "--label-delay", "7d"], "'EUR'"),
        (["{payments}", "--columns", "fraud=fraud"], "--label-delay"),
        (["{payments}", "--columns", "sum=amount"], "no field 'sum'"),
        (["{folder}", *BESIDE], "got a folder"),
        (["{folder}/nothing.csv"], "No such file"),
        (["{payments}", *BESIDE, "--state", "{payments}"], "wanted a folder to keep state in"),
        (["{payments}", *BESIDE, "--pipeline", "nowhere.py"], "no such pipeline file"),
    ],
)
def test_what_cannot_work_is_one_line_and_status_1(
    arguments: list[str], said: str, payments: Path, tmp_path: Path
) -> None:
    cut = damaged(payments, lambda whole: whole[:-1000])
    names = {"cut": cut, "payments": payments, "folder": tmp_path}
    result = call("replay", *(each.format(**names) for each in arguments), "--out", tmp_path / "o")
    assert result.exit_code == 1
    assert result.output.startswith("error: ") and result.output.count("\n") == 1
    assert said in result.output


@pytest.mark.parametrize(
    "option", [["--until", "soon"], ["--label-delay", "7"], ["--columns", "x"]]
)
def test_wrong_usage_is_status_2(option: list[str], payments: Path, tmp_path: Path) -> None:
    assert call("replay", payments, "--out", tmp_path, *option).exit_code == 2


def test_a_file_damaged_in_its_middle_is_gone_on_with_once_repaired(
    payments: Path, tmp_path: Path
) -> None:
    whole, halved = payments.read_bytes(), tmp_path / "traffic.parquet"
    table = pq.read_table(payments)
    pq.write_table(table, halved, row_group_size=4096)
    good = halved.read_bytes()
    middle = len(good) // 2
    halved.write_bytes(good[:middle] + bytes(40_000) + good[middle + 40_000 :])
    arguments = ("replay", halved, *BESIDE, "--batch-size", 1000, "--out", tmp_path / "a")
    assert call(*arguments).exit_code == 1
    halved.write_bytes(good)
    done(*arguments, "--state", tmp_path / "a" / "state")
    done("replay", halved, *BESIDE, "--batch-size", 1000, "--out", tmp_path / "b")
    same(tmp_path / "a", tmp_path / "b")
    assert payments.read_bytes() == whole


def test_a_full_disk_is_an_error_and_once_there_is_room_the_run_goes_on(
    payments: Path, tmp_path: Path, small_disk: Path
) -> None:
    out = small_disk / "out"
    command = [
        sys.executable,
        "-m",
        "jobs.cli",
        "replay",
        str(payments),
        *BESIDE,
        "--out",
        str(out),
    ]
    filled = subprocess.run(command, capture_output=True, text=True, check=False)
    assert filled.returncode == 1, filled.stderr
    assert filled.stderr.splitlines()[-1].startswith("error: "), filled.stderr
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    done("replay", payments, *BESIDE, "--out", out, "--state", out / "state")
    done("replay", payments, *BESIDE, "--out", tmp_path / "undisturbed")
    same(out, tmp_path / "undisturbed")


@pytest.mark.parametrize("order", ["arrival", "strict"])
def test_after_ctrl_c_it_goes_on_to_the_same_bytes(
    order: str, hostile: tuple[Path, Counter[str]], run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ("replay", hostile[0], "--out", out, "--order", order, "--batch-size", 500)

    def press(signum: int, frame: object) -> None:
        if (out / "run.json").exists():
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGALRM, press)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    result = call(*arguments)
    signal.signal(signal.SIGALRM, before)
    assert result.exit_code == 130
    assert f"--state {out / 'state'}" in result.output
    assert not (out / "predictions.parquet").exists()
    done(*arguments, "--state", out / "state")
    if order == "arrival":
        same(out, run)
    else:
        done(*arguments[:2], "--out", tmp_path / "whole", "--order", order)
        same(out, tmp_path / "whole")


def test_a_run_is_not_gone_on_with_as_another(run: Path, hostile: tuple[Path, Any]) -> None:
    asked = call("replay", hostile[0], "--out", run, "--state", run / "state", "--order", "strict")
    assert asked.exit_code == 1 and "begun with order arrival" in asked.output


def test_a_file_that_can_hold_no_labels_is_warned_of(payments: Path, tmp_path: Path) -> None:
    until = ("--until", "2018-06-20", "--out", tmp_path)
    assert "warning: these files hold no labels" in done("replay", payments, *until)
    assert "warning" not in done("replay", payments, *BESIDE, *until)


def test_until_leaves_out_what_is_later(payments: Path, tmp_path: Path) -> None:
    done("replay", payments, *BESIDE, "--until", "2018-06-20", "--out", tmp_path)
    assert str(rows(tmp_path)["time"][-1].as_py()) < "2018-06-20"
    assert len(rows(tmp_path)) > 300


def test_the_handbook_protocol_judges_champion_and_challengers(
    payments: Path, tmp_path: Path
) -> None:
    done("replay", payments, *BESIDE, "--out", tmp_path)
    said = done("evaluate", tmp_path, "--protocol", "handbook")
    assert "XGBoost" in said
    ours = json.loads((tmp_path / "handbook.json").read_bytes())["ours"]
    assert list(ours) == ["headrace, champion", "headrace, published inputs"]
    frauds = pq.read_table(payments, filters=[("fraud", "=", True)])["id"].to_pylist()
    from jobs.judge import truth
    from jobs.settings import Inputs

    known = truth(Inputs.load(tmp_path), rows(tmp_path))
    positive = known.filter(pa.compute.equal(known["label"], 1))["id"].to_pylist()
    assert sorted(map(int, positive)) == sorted(frauds)
    assert "the last windows" in done("evaluate", tmp_path)


def test_a_folder_without_a_run_cannot_be_judged(tmp_path: Path) -> None:
    for more in ([], ["--protocol", "handbook"]):
        assert call("evaluate", tmp_path, *more).exit_code == 1


def test_lines_scored_in_a_pipe_get_the_scores_of_the_replay(
    run: Path, hostile: tuple[Path, Counter[str]], tmp_path: Path
) -> None:
    lines = hostile[0].read_bytes().splitlines(keepends=True)
    half, rest = tmp_path / "half.ndjson", b"".join(lines[15_000:])
    half.write_bytes(b"".join(lines[:15_000]))
    done("replay", half, "--out", tmp_path / "half")
    state = tmp_path / "half" / "state"
    command = [sys.executable, "-m", "jobs.cli", "score", "-", "--state", str(state)]
    said = subprocess.run(command, input=rest, capture_output=True, check=True)
    answers = [orjson.loads(line) for line in said.stdout.splitlines()]
    expected = rows(run).slice(len(rows(tmp_path / "half")))
    for name in ("id", "score", "decision", "model_version"):
        assert [answer[name] for answer in answers] == expected[name].to_pylist()
    assert any(answer["reasons"] for answer in answers)
    dead = [orjson.loads(line) for line in said.stderr.splitlines()]
    assert {letter["topic"] for letter in dead} == {"stdin"}
    done("replay", half, "--out", tmp_path / "half", "--state", state)


def test_a_line_is_answered_while_the_pipe_is_open() -> None:
    command = [sys.executable, "-m", "jobs.cli", "score", "-"]
    payment = {"id": "1", "time": 1_700_000_000_000_000, "customer": "c", "terminal": "t"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        process.stdin.write(orjson.dumps(payment | {"amount": 12.5}) + b"\n")
        process.stdin.flush()
        answer = orjson.loads(process.stdout.readline())
        process.stdin.close()
    assert answer["decision"] == "approve" and answer["features"][0] == 12.5
    assert process.returncode == 0


def test_describe_shows_event_features_bytes_and_inputs() -> None:
    said = done("describe", "fraud")
    for word in ("customer", "terminal_risk_30d", "37d", "bytes a key", "clean_ratio_coarse", "×"):
        assert word in said, word


def test_describe_shows_what_is_done_about_alarms() -> None:
    about = On(("concept", "prior"), RaiseRate(lasting="3d"), slice="time of day", detector="em")
    Console(width=200, file=(out := StringIO())).print(
        describe(replace(fraud, responses=(about, Every(examples=5000, do=Tell()))))
    )
    shown = out.getvalue()
    for words in (
        "responses, at the next 1d of event time",
        "alarm: concept, prior of the slice time of day by em",
        "RaiseRate(times=4.0, lasting='3d', model='champion')",
        "every 5,000 examples",
    ):
        assert words in shown, words
    assert "responses" not in done("describe", "fraud")


def test_the_starter_runs_as_it_is_and_is_never_written_over(
    payments: Path, tmp_path: Path
) -> None:
    done("init", tmp_path / "shop")
    pipeline = tmp_path / "shop" / "pipeline.py"
    done("replay", payments, *BESIDE, "--pipeline", pipeline, "--out", tmp_path / "run")
    assert "run_length" in rows(tmp_path / "run").column_names
    pipeline.write_text("mine")
    assert call("init", tmp_path / "shop").exit_code == 1
    assert pipeline.read_text() == "mine"


GOOD = """
from headrace import *
pipeline = Pipeline(name="p", event=Event("e", keys=("k",), label=Label("l")), champion=Linear(),
                    features={"n": Entity("k").count("1d")})
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = (\n", "bad.py:1: '(' was never closed"),
        ("\n\nx = 1 / 0\n", "bad.py:3: ZeroDivisionError"),
        ("import mylib\n", "no file beside it"),
        ("x = 1\n", "wanted `pipeline = Pipeline(...)`"),
        ("pipeline = 3\n", "found a int"),
        (GOOD.replace('Entity("k")', 'Entity("q")'), "feature n: no entity key 'q'"),
        (GOOD.replace('"1d"', '"1 day"'), "a duration is a whole number and a unit"),
        (GOOD.replace("Linear()", 'Linear(inputs=["m"])'), "uses the input 'm'"),
    ],
)
def test_an_error_in_a_pipeline_file_says_where(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(text)
    result = call("describe", tmp_path / "bad.py")
    assert result.exit_code == 1
    assert result.output.startswith("error: ") and said in result.output


@pytest.mark.parametrize("drift", ["earthquake@2024-02-01", "prior", "prior@someday"])
def test_a_drift_that_is_none_is_an_error(drift: str, tmp_path: Path) -> None:
    result = call("simulate", "--out", tmp_path / "t.parquet", "--days", 1, "--drift", drift)
    assert result.exit_code == 1 and result.output.startswith("error: ")
    assert not list(tmp_path.iterdir())
