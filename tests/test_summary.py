"""What a run leaves behind is what it did, and a ledger that does not balance is loud."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.fraud import pipeline
from jobs.latency import Latencies
from jobs.local import LocalRun, Step
from jobs.meter import SAMPLES, Meter
from jobs.summary import write_summary
from streams.simulation.simulator import Simulation
from streams.simulation.traffic import Traffic

FEW = Traffic(customers=20, terminals=40, per_day=100, days=60, fraud_rate=0.05)


class Clock:
    """Each look at it is `step` later than the last."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def done(out: Path, meter: Meter) -> tuple[LocalRun, list[Step]]:
    eager = replace(pipeline, every=200)
    run, steps = LocalRun(eager, Simulation(FEW, 256), out), []
    for step in run:
        meter.take(step)
        steps.append(step)
    run.finish()
    return run, steps


@pytest.fixture
def ended(tmp_path: Path) -> tuple[LocalRun, Meter]:
    meter = Meter(Clock(0.5))
    run, _ = done(tmp_path / "out", meter)
    return run, meter


def test_metrics_are_plain_json_with_null_for_the_undefined(
    ended: tuple[LocalRun, Meter],
) -> None:
    run, meter = ended
    write_summary(run, meter, title="Few")
    text = (run.out / "metrics.json").read_text()
    metrics = orjson.loads(text)
    assert metrics["events"] == run.taken["events"]
    assert metrics["latency_us"]["one event"]["p50"] is None
    assert set(metrics["windows"]) == set(run.flow.lineup.names)
    assert sum(metrics["importance"].values()) == pytest.approx(1.0)


def test_what_moves_the_scores_is_the_mean_size_of_what_features_added(
    ended: tuple[LocalRun, Meter], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, meter = ended
    # More than there are, so that none is left out.
    monkeypatch.setattr("jobs.importance.EVENTS", 10_000)
    metrics = write_summary(run, meter, title="Few")
    flow = run.flow
    assert list(metrics["contributions"]) == ["champion", "published inputs"]
    first, stop = flow.index.first_row, flow.index.next_row
    assert 100 < stop - first < 10_000
    x = np.ascontiguousarray(flow.log.view[first:stop, : len(flow.names)])
    for version, told in zip(flow.lineup.versions, metrics["contributions"].values(), strict=False):
        mean = np.abs(version.contributions_many(x)[:, :-1]).mean(axis=0)
        wanted = {name: size for name, size in zip(flow.names, mean.tolist(), strict=True) if size}
        assert told == wanted
        assert list(told.values()) == sorted(told.values(), reverse=True)


def test_the_same_run_and_times_give_the_same_numbers(tmp_path: Path) -> None:
    def quality(out: Path) -> bytes:
        meter = Meter(Clock(0.5))
        metrics = write_summary(done(out, meter)[0], meter, title="Few")
        return orjson.dumps({k: v for k, v in metrics.items() if k != "latency_us"})

    assert quality(tmp_path / "a") == quality(tmp_path / "b")


def test_the_report_shows_every_model_and_no_nan(ended: tuple[LocalRun, Meter]) -> None:
    run, meter = ended
    write_summary(run, meter, title="Few & small")
    page = (run.out / "report.html").read_text()
    assert "Few &amp; small" in page
    assert all(name in page for name in run.flow.lineup.names)
    assert ">nan" not in page


def test_what_is_missing_from_the_ledger_is_an_error_after_all_is_written(
    ended: tuple[LocalRun, Meter],
) -> None:
    run, meter = ended
    run.taken["events"] += 3
    with pytest.raises(RuntimeError, match=r"ledger.json.*\+3 transactions"):
        write_summary(run, meter, title="Few")
    assert all((run.out / name).exists() for name in ("metrics.json", "ledger.json", "report.html"))


def test_throughput_is_events_over_the_time_they_took(tmp_path: Path) -> None:
    meter = Meter(Clock(0.5))
    _, steps = done(tmp_path, meter)
    events = [int((step.batch.kind == 0).sum()) for step in steps]
    at, rate = meter.rates[0]
    assert (at, rate) == (1.0, float(events[0] + events[1]))
    assert meter.mean_rate == sum(events) / (0.5 * len(events))


def test_samples_of_throughput_are_thinned_and_keep_their_mean(tmp_path: Path) -> None:
    meter, (_, steps) = Meter(Clock(1.0)), done(tmp_path, Meter())
    for _ in range(2 * SAMPLES):
        meter.take(steps[0])
    assert len(meter.rates) < SAMPLES
    assert {rate for _, rate in meter.rates} == {float((steps[0].batch.kind == 0).sum())}


@given(st.lists(st.floats(1e-6, 10.0), min_size=1, max_size=200), st.sampled_from([50, 99, 99.9]))
def test_a_percentile_is_within_a_bucket_of_the_exact_one(
    seconds: list[float], percent: float
) -> None:
    seen = Latencies()
    for each in seconds:
        seen.add(each, 1)
    exact = float(np.percentile(seconds, percent, method="inverted_cdf"))
    assert exact <= seen.percentile(percent) * (1 + 1e-9) <= exact * 1.012
    assert seen.largest == max(seconds)
