"""`headrace watch` shows what jobs say of themselves, and what a replay leaves in its folder."""

from __future__ import annotations

import io
import math
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import ioctl
from pathlib import Path
from select import select

import msgspec
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from jobs.commands import headrace
from jobs.monitoring.exposition import exposition
from jobs.monitoring.families import families
from jobs.monitoring.serving import Serving
from jobs.simulate import simulate
from jobs.watching.alarms import DriftTopic
from jobs.watching.figures import Curve, Figures, Line
from jobs.watching.live_jobs import Jobs
from jobs.watching.run_folder import RunFolder
from jobs.watching.scrape import Scrape, quantile
from jobs.watching.screen import screen
from operators.drift.alarm import Alarm
from streams.memory.broker import MemoryBroker
from streams.memory.cluster import Clock, Cluster
from streams.topics import DRIFT
from tests.deployment import until
from tests.metrics import NOW_US, both

ABOUT = {"detector": "psi", "since_us": NOW_US - 3_600_000_000, "size": 0.4, "threshold": 0.2}


def alarm(number: int, *, over: bool = False) -> Alarm:
    return Alarm(
        kind="covariate", number=number, at_us=NOW_US, version=3, features=("amount",), over=over,
        **ABOUT,  # type: ignore[arg-type]
    )  # fmt: skip


def call(*arguments: object) -> Result:
    return CliRunner().invoke(headrace, [str(each) for each in arguments])


def printed(figures: Figures, width: int, height: int) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, height=height)
    console.print(screen(figures, width=width, height=height))
    return out.getvalue().splitlines()


def scraped() -> dict[str, Scrape]:
    return {
        monitor.role: Scrape.parsed(exposition(families(monitor)).decode()) for monitor in both()
    }


def test_percentiles_are_of_what_came_since() -> None:
    before = [(0.1, 100.0), (1.0, 100.0), (math.inf, 100.0)]
    now = [(0.1, 100.0), (1.0, 110.0), (math.inf, 110.0)]
    assert quantile(0.5, now, before) == pytest.approx(0.55)
    assert quantile(0.5, now) < 0.1
    assert math.isnan(quantile(0.5, before, before))


def test_jobs_are_told_apart_by_what_they_say_and_shown_with_all_of_it() -> None:
    jobs = Jobs(["a:1", "b:2", "c:3"])
    answers = scraped()
    jobs.take(0.0, {"a:1": answers["learn"], "b:2": answers["score"], "c:3": None})
    figures = jobs.figures("12:00:00", [alarm(1)])
    assert set(figures.panels) == {
        *("jobs", "traffic", "latency", "predictions", "labels", "inputs", "drift"),
    }
    assert [line.good for line in figures.panels["jobs"]] == [False, False, False]
    assert [line.name for line in figures.panels["jobs"]] == ["learn a:1", "score b:2", "c:3"]
    assert figures.panels["inputs"][0].said.startswith("25.0% missing; -1")
    assert {each.scorer for each in figures.quality} == {"champion", "prior"}
    said = "\n".join(printed(figures, 120, 60))
    for word in ("transactions", "3, 33.3% to review", "covariate", "amount", "1 d", "no answer"):
        assert word in said, word


def test_rates_are_of_the_last_minute_and_a_restart_is_no_negative_rate() -> None:
    jobs = Jobs(["a:1"])
    score = scraped()["score"]
    topic, rates = {"topic": "transactions", "partition": "0"}, []
    for at, taken in ((0.0, 0.0), (100.0, 5000.0), (150.0, 5500.0), (160.0, 100.0)):
        samples = dict(score.samples) | {"headrace_input_records_total": [(topic, taken)]}
        jobs.take(at, {"a:1": Scrape(samples)})
        rates.append(jobs.figures("", []).panels["traffic"][0].said)
    assert rates[2:] == ["10/s", "0/s"]


@pytest.mark.parametrize(("width", "height"), [(60, 24), (80, 24), (120, 40), (200, 70), (40, 10)])
def test_it_is_never_wider_than_the_terminal(width: int, height: int) -> None:
    jobs = Jobs(["127.0.0.1:9464", "127.0.0.1:9465"])
    answers = scraped()
    for at in range(5):
        jobs.take(at, {"127.0.0.1:9464": answers["score"], "127.0.0.1:9465": answers["learn"]})
    rows = printed(jobs.figures("12:00:00", [alarm(1), alarm(2, over=True)]), width, height)
    assert max(len(row) for row in rows) <= width


def test_plots_fill_what_is_left_of_the_height() -> None:
    curve = Curve("rate", {"rate": [1.0, 5.0, 2.0]})
    figures = Figures("t", "c", {"a": [Line("x", "1")]}, curves=[curve])
    heights = [len(printed(figures, 120, height)) for height in (14, 18, 40)]
    assert heights[0] < heights[1] <= 18 and heights[2] < 40


def test_one_screen_of_real_ports_and_what_a_missing_job_says() -> None:
    score, learn = both()
    with Serving(score, 0) as one, Serving(learn, 0) as other:
        jobs = [f"--job=127.0.0.1:{each.port}" for each in (one, other)]
        result = call("watch", "--once", "--brokers", "127.0.0.1:1", *jobs)
        gone = f"--job=127.0.0.1:{other.port}"
    assert result.exit_code == 0, result.output
    assert "pipeline fraud" in result.output and "33.3% to review" in result.output
    result = call("watch", "--once", "--brokers", "127.0.0.1:1", gone)
    assert result.exit_code == 1
    assert "wanted the /metrics of a job, none answers" in result.output


def test_alarms_of_the_topic_are_shown_once_however_often_they_were_sent() -> None:
    broker = MemoryBroker(Cluster({DRIFT: 1}, clock=Clock(NOW_US)))
    producer = broker.producer()
    sent = [alarm(1), alarm(2), alarm(2)]
    producer.send(DRIFT, [*map(msgspec.json.encode, sent), b"garbage"])
    producer.flush(1.0)
    with DriftTopic(lambda: broker, DRIFT) as drift:
        drift.wait(10.0)
        assert [each.number for each in drift.alarms] == [1, 2]
        producer.send(DRIFT, [msgspec.json.encode(alarm(3, over=True))])
        producer.flush(1.0)
        until(lambda: len(drift.alarms) == 3, "the third", lambda: drift.problem)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A replay that has ended."""
    folder = tmp_path_factory.mktemp("run")
    world = {"customers": 150, "terminals": 60, "per_day": 250, "fraud_rate": 0.05}
    simulate(folder / "traffic.parquet", [], {**world, "events": 6000})
    columns = ("--columns", "fraud=fraud", "--label-delay", "7d", "--out", folder / "run")
    assert call("replay", folder / "traffic.parquet", *columns).exit_code == 0
    return folder / "run"


def test_a_finished_run_is_shown_with_its_alarms(run: Path) -> None:
    lines = [msgspec.json.encode(each) for each in (alarm(1), alarm(1, over=True))]
    (run / "drift.jsonl").write_bytes(b"\n".join([*lines, b'{"kind":']))
    result = call("watch", run, "--once")
    assert result.exit_code == 0, result.output
    for word in (
        "6,000 in",
        "champion",
        "published inputs",
        "average precision by window",
        "ended",
    ):
        assert word in result.output, word
    assert "covariate (psi) of amount is over" in result.output
    assert "1 alarm, 0 going on" in result.output


def test_a_run_that_is_being_written_is_shown_part_by_part(run: Path, tmp_path: Path) -> None:
    here = tmp_path / "run"
    parts = here / "predictions.parquet.parts"
    parts.mkdir(parents=True)
    (here / "run.json").write_bytes((run / "run.json").read_bytes())
    watched = RunFolder(here)
    assert watched.figures("").panels["traffic"][0].said == "0"
    for number in (1, 2):
        part = parts / f"{number:08d}-{number:08d}.parquet"
        part.write_bytes((run / "predictions.parquet").read_bytes())
        os.utime(part, (1000.0 + 2 * number, 1000.0 + 2 * number))
    figures = watched.figures("now")
    traffic = {line.name: line.said for line in figures.panels["traffic"]}
    assert traffic == {"predictions": "12,000", "rate": "3,000/s"}
    assert {line.name for line in figures.panels["predictions"]} >= {"to review", "version"}
    assert figures.clock == "now" and "when it ends" in figures.note
    (parts / "00000003-00000003.parquet").write_bytes(b"half")
    assert watched.figures("").panels["traffic"][0].said == "12,000"


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    result = call("watch", tmp_path, "--once")
    assert result.exit_code == 1 and "wanted a folder that `headrace replay` wrote" in result.output


@contextmanager
def on_a_terminal(*arguments: str, columns: int) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs.cli", *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        cwd=Path(__file__).parents[1], env=os.environ | {"TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_on_a_terminal_it_follows_its_size_and_ends_by_ctrl_c(run: Path) -> None:
    with on_a_terminal("watch", str(run), columns=100) as (process, ours):
        seen = bytearray()

        def sees(words: bytes) -> bool:
            if select([ours], [], [], 0.1)[0]:
                with suppress(OSError):  # it has ended
                    seen.extend(os.read(ours, 1 << 16))
            return words in seen

        until(lambda: sees(b"champion"), "the screen", seen.decode)
        seen.clear()
        ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 70, 0, 0))
        until(lambda: sees("─".encode() * 20), "another screen", seen.decode)
        process.send_signal(signal.SIGINT)
        until(lambda: sees(b"\x1b[?1049l"), "the screen from before", seen.decode)
        assert process.wait(30) == 0


def test_without_a_terminal_it_prints_a_line_now_and_then(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with out.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "jobs.cli", "watch", str(run)],
            stdout=file, stderr=file, cwd=Path(__file__).parents[1],
        )  # fmt: skip
        try:
            until(lambda: b"traffic: events 6,000" in out.read_bytes(), "a line", out.read_text)
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        finally:
            process.kill()
    assert out.read_text().count("\n") == 1
