"""The second pipeline, run by the commands from its own folder, beside a folder named models."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest

HERE = Path(__file__).parents[1] / "examples" / "machines"


def headrace(*arguments: object) -> str:
    """Run a command from the example's folder, which is first on the path for modules."""
    program = "import sys; from jobs.cli import main; main()"
    root = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", program, *map(str, arguments)]
    path = os.pathsep.join([str(HERE), root])
    done = subprocess.run(
        command,
        cwd=HERE,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("machines") / "readings.ndjson"
    subprocess.run([sys.executable, HERE / "readings.py", path], check=True)
    return path


@pytest.fixture(scope="module")
def run(readings: Path) -> Path:
    out = readings.parent / "run"
    headrace("replay", readings, "--pipeline", "pipeline.py", "--out", out)
    return out


def test_it_is_described() -> None:
    said = headrace("describe", "pipeline.py")
    assert "machine.custom(slope, vibration, 1d)" in said and "may lack" in said


def test_its_models_learn_to_foresee_failures(run: Path) -> None:
    lately = orjson.loads((run / "metrics.json").read_bytes())["lately"]
    assert lately["champion"]["auc"] > 0.9
    assert lately["amount"]["auc"] < 0.75
    assert lately["champion"]["average_precision"] > 2 * lately["amount"]["average_precision"]


def test_every_reading_and_failure_is_accounted_for(run: Path, readings: Path) -> None:
    balances = orjson.loads((run / "ledger.json").read_bytes())["balances"]
    assert [line["missing"] for line in balances] == [0, 0, 0]
    labels = sum(b'"failed"' in line for line in readings.read_bytes().splitlines())
    assert balances[1]["taken"] == balances[1]["parts"]["matched"] == labels


def test_its_own_kernel_gives_the_slope_that_numpy_gives(run: Path) -> None:
    table = pq.read_table(run / "predictions.parquet", filters=[("machine", "=", "M007")])
    days = table["time"].to_numpy().astype("datetime64[us]").astype(np.int64) / 86_400e6
    vibration, slope = table["vibration"].to_numpy(), table["vibration_slope"].to_numpy()
    for last in range(100, len(days), 97):
        window = (days > days[last] - 1) & (days <= days[last])
        expected = np.polyfit(days[window] - days[last], vibration[window], 1)[0]
        assert slope[last] == pytest.approx(expected, abs=1e-9)


def test_another_process_finds_its_state_again(run: Path, readings: Path) -> None:
    before = (run / "ledger.json").read_bytes()
    again = ("replay", readings, "--pipeline", "pipeline.py", "--out", run)
    headrace(*again, "--state", run / "state")
    assert (run / "ledger.json").read_bytes() == before
