"""The demo learns to tell fraud, loses nothing, and can be stopped at any time."""

import io
import signal
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from jobs import demo
from jobs.interrupt import interruptible
from jobs.report import braille
from streams.simulation.simulator import Simulation
from streams.simulation.traffic import Traffic
from streams.sinks import PredictionsParquet

SMALL = Traffic(
    customers=150, terminals=300, per_day=300, days=60, fraud_rate=0.03, duplicates=0.01
)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    out, said = tmp_path_factory.mktemp("demo"), io.StringIO()
    metrics = demo.demo(out=out, traffic=SMALL, console=Console(file=said, width=110))
    return out, metrics, said.getvalue()


def test_the_champion_beats_every_baseline(ended: tuple[Path, dict[str, Any], str]) -> None:
    lately = ended[1]["lately"]
    rest = [lately[name] for name in ("prior", "amount", "random")]
    assert lately["champion"]["auc"] > 0.1 + max(row["auc"] for row in rest)
    assert lately["champion"]["average_precision"] > 2 * max(
        row["average_precision"] for row in rest
    )


def test_river_is_a_challenger_where_it_is_installed(
    ended: tuple[Path, dict[str, Any], str],
) -> None:
    pytest.importorskip("river")
    assert ended[1]["lately"]["River"]["auc"] > 0.6


def test_all_that_came_in_is_accounted_for(ended: tuple[Path, dict[str, Any], str]) -> None:
    ledger = orjson.loads((ended[0] / "ledger.json").read_bytes())
    transactions = ledger["balances"][0]
    rows = pq.read_metadata(ended[0] / "predictions.parquet").num_rows
    assert {line["missing"] for line in ledger["balances"]} == {0}
    assert transactions["taken"] == ended[1]["events"]
    assert transactions["parts"]["predictions"] == rows
    assert transactions["parts"]["duplicates"] > 0


def test_it_says_what_came_of_it_and_where_that_is(
    ended: tuple[Path, dict[str, Any], str],
) -> None:
    out, _, said = ended
    assert "champion" in said
    assert "ledger        exact" in said
    assert "NOT EXACT" not in said
    page = (out / "report.html").read_text()
    assert all(name in page for name in ("Ledger", "Calibration", "Feature importance"))


def test_events_one_by_one_are_timed_apart_from_batches(
    ended: tuple[Path, dict[str, Any], str],
) -> None:
    latency = ended[1]["latency_us"]
    assert latency["one event"]["p50"] < latency["in batches"]["p50"]


def test_the_first_ctrl_c_asks_and_the_second_interrupts() -> None:
    with interruptible() as interrupt:
        before = interrupt.asked
        signal.raise_signal(signal.SIGINT)
        assert (before, interrupt.asked) == (False, True)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_the_cut_into_single_events_changes_no_record() -> None:
    traffic = Traffic(customers=20, terminals=40, per_day=100, days=40)
    times = [t for b, _ in demo.Paced(Simulation(traffic)) for t in b.time.tolist()]
    assert times == Simulation(traffic).batch(len(times) + 1).time.tolist()


def test_a_plot_leaves_days_without_a_value_blank() -> None:
    row = str(braille.lines({"red": [float("nan"), 1.0, 1.0]}, width=4, height=1, high=1.0)[0])
    assert row[0] == "\u2800"
    assert row[-1] != "\u2800"


def test_a_demo_without_end_keeps_the_newest_predictions_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "KEPT_PARTS", 2)
    sink = PredictionsParquet(tmp_path / "predictions.parquet", pa.schema([("row", pa.int64())]))
    sink.truncate_after(0)
    for part in range(5):
        sink.write(pa.table({"row": [part]}))
        sink.commit()
        demo._drop_oldest(tmp_path)
    assert pq.read_table(sink.finish())["row"].to_pylist() == [3, 4]
