"""The port of a job: metrics by the names that are documented, health, readiness."""

import re
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.config import Settings
from jobs.kafka_host.learn_job import LearnJob
from jobs.kafka_host.score_job import ScoreJob
from jobs.ledger import LABELS as LABEL_COUNTS
from jobs.monitoring.exposition import CONTENT_TYPE, Family, exposition
from jobs.monitoring.families import families
from jobs.monitoring.histogram import LATENCY_EDGES, Histogram
from jobs.monitoring.monitor import BEHIND_SECONDS, STALLED_SECONDS, Monitor
from jobs.monitoring.recent import AT_ONCE, Recent
from jobs.monitoring.serving import Serving
from operators.evaluate import METRICS
from streams.errors import ConfigError
from streams.memory.broker import MemoryBroker
from streams.memory.cluster import Clock, Cluster
from streams.schema import DAY
from streams.topics import LABELS, TOPICS, TRANSACTIONS
from tests.batches import HOUR, PIPELINE
from tests.metrics import NOW_US, both, filled, parsed

DOCS = Path(__file__).parents[1] / "docs" / "monitoring.md"
SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)+)\})? (\S+)')


class Time:
    """Two clocks that are set by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.now_us = NOW_US


@pytest.fixture
def now() -> Time:
    return Time()


@pytest.fixture
def monitor(now: Time) -> Monitor:
    return Monitor(
        "learn",
        pipeline="fraud",
        definition="9f3a",
        inputs=[("transactions", 0), ("labels", 1)],
        clock=lambda: now.seconds,
        now_us=lambda: now.now_us,
    )


@pytest.fixture
def serving(monitor: Monitor) -> Iterator[Serving]:
    with Serving(monitor, port=0) as serving:
        yield serving


def asked(serving: Serving, path: str, method: str = "GET") -> tuple[int, str, str]:
    """Status, content type and body."""
    connection = HTTPConnection("127.0.0.1", serving.port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read().decode()
    finally:
        connection.close()


def scraped(monitor: Monitor) -> dict[str, float]:
    """Every sample by its name and labels, read as strictly as the format is written."""
    found: dict[str, float] = {}
    for line in exposition(families(monitor)).decode().splitlines():
        if not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match, line
            name = f"{match[1]}{{{match[2]}}}" if match[2] else match[1]
            assert name not in found
            found[name] = float(match[3])
    return found


def test_the_docs_list_every_metric_with_its_labels_and_no_other() -> None:
    there = {
        family.name: tuple(family.samples[0][0]) if family.samples else ("le",)
        for monitor in both()
        for family in families(monitor)
        if family.samples or family.buckets
    }
    assert documented() == there


def documented() -> dict[str, tuple[str, ...]]:
    rows = re.findall(r"\n\| `([a-z_]+)` \|([a-z, ]*)\|", DOCS.read_text(encoding="utf-8"))
    return {name: tuple(re.findall(r"[a-z_]+", labels)) for name, labels in rows}


def test_prometheus_own_client_reads_every_family_with_its_type_and_help() -> None:
    read = {}
    for monitor in both():
        told = {family.name: family for family in families(monitor)}
        for name, family in parsed(exposition(families(monitor)).decode()).items():
            read[name] = family
            assert (family.type, family.documentation) == (told[name].kind, told[name].help)
    assert read.keys() == documented().keys()


def test_every_metric_the_docs_ask_a_question_of_exists(monitor: Monitor) -> None:
    names = {family.name for family in families(monitor)}
    mentioned = re.findall(r"\bheadrace_[a-z_]+", DOCS.read_text(encoding="utf-8"))
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in mentioned} <= names


def test_what_the_job_writes_down_is_what_is_scraped(monitor: Monitor, now: Time) -> None:
    monitor = filled(monitor)
    monitor.inputs[0].took(40, NOW_US - 2_500_000)
    monitor.inputs[0].stands(7, NOW_US)
    monitor.latency.add_since([NOW_US - 4000, NOW_US - 90_000], NOW_US)
    monitor.model.version = 17
    now.now_us += 1_000_000
    found = scraped(monitor)
    assert found['headrace_input_records_total{topic="transactions",partition="0"}'] == 40
    assert found['headrace_input_lag_records{topic="transactions",partition="0"}'] == 7
    assert found['headrace_input_lag_seconds{topic="transactions",partition="0"}'] == 3.5
    assert found['headrace_input_lag_seconds{topic="labels",partition="1"}'] == 0
    assert found['headrace_latency_seconds_bucket{le="0.005"}'] == 1
    assert found['headrace_latency_seconds_bucket{le="+Inf"}'] == 2
    assert found["headrace_latency_seconds_sum"] == 0.094
    assert found["headrace_model_version"] == 17 and found["headrace_model_age_seconds"] == 1
    assert found['headrace_dead_letters_total{reason="not JSON"}'] == 3
    assert found['headrace_ledger{count="admitted"}'] == 5
    assert found['headrace_examples_total{cause="label"}'] == 2
    assert found["headrace_examples_positive_total"] == 2
    assert found['headrace_label_delay_seconds_bucket{le="86400"}'] == 1
    assert found["headrace_label_delay_seconds_sum"] == 5 * 86_400
    assert found['headrace_feature_missing_share{feature="ratio"}'] == 0.25
    assert found['headrace_feature_quantile{feature="amount",quantile="0.5"}'] == pytest.approx(
        30, rel=0.07
    )
    assert found['headrace_feature_quantile{feature="ratio",quantile="0.1"}'] == pytest.approx(
        -1, rel=0.07
    )
    assert found['headrace_drift_alarms_total{kind="prior"}'] == 1
    assert found['headrace_drift_open{kind="prior"}'] == 0
    assert found['headrace_drift_open{kind="covariate"}'] == 1
    assert found['headrace_quality{scorer="champion",metric="auc"}'] == 0.5
    assert {f'headrace_quality{{scorer="prior",metric="{name}"}}' for name in METRICS} <= {*found}


def test_predictions_are_counted_by_decision_and_score() -> None:
    score, _ = both()
    found = scraped(score)
    assert found['headrace_predictions_total{decision="review"}'] == 1
    assert found['headrace_predictions_total{decision="approve"}'] == 2
    assert found["headrace_predictions_late_total"] == 2
    assert found['headrace_score_bucket{le="0.002"}'] == 1
    assert found['headrace_score_bucket{le="0.005"}'] == 2
    assert found["headrace_score_count"] == 3
    assert found["headrace_online_up"] == 0 and found["headrace_online_lag_seconds"] == 3.5


def test_features_are_of_late_and_a_batch_of_any_size_costs_the_same() -> None:
    recent = Recent(("a",), most=100)
    for value in (1.0, 2.0, 4.0):
        for _ in range(10):
            recent.add(np.full((1600, 1), value))
    assert 100 <= recent.events <= 200 + AT_ONCE
    assert recent.quantiles([0.0, 1.0])[0] == pytest.approx([4, 4], rel=0.07)


def test_a_score_job_says_nothing_of_learning_or_a_store_it_has_not(now: Time) -> None:
    job = Monitor("score", pipeline="fraud", definition="9f3a")
    assert not [name for name in scraped(job) if "examples" in name or "online" in name]


def test_the_process_is_measured(monitor: Monitor) -> None:
    found = scraped(monitor)
    assert 1e7 < found["process_resident_memory_bytes"] <= found["headrace_peak_memory_bytes"]
    assert found["process_cpu_seconds_total"] > 0 and found["process_open_fds"] > 2
    assert found["process_start_time_seconds"] > 1.6e9


@given(st.text(max_size=20))
def test_any_text_can_be_a_label(text: str) -> None:
    text = text.replace("\r", "").encode(errors="ignore").decode()
    line = exposition([Family("a", "gauge", "An a.", [({"b": text}, 1)])]).decode().split("\n")[2]
    match = SAMPLE.fullmatch(line)
    assert match
    quoted = match[2].removeprefix('b="').removesuffix('"')
    unescaped = {r"\\": "\\", r"\n": "\n", r"\"": '"'}
    assert re.sub(r"\\.", lambda pair: unescaped[pair[0]], quoted) == text


@given(st.lists(st.integers(-1000, 200_000_000), max_size=30))
def test_a_histogram_counts_each_wait_in_the_bucket_it_ends_in(waits: list[int]) -> None:
    histogram = Histogram()
    histogram.add_since([NOW_US - wait for wait in waits], NOW_US)
    for edge, count in histogram.cumulative():
        assert count == sum(max(wait, 0) <= round(edge * 1e6, 3) for wait in waits)
    assert histogram.sum == pytest.approx(sum(max(wait, 0) for wait in waits) / 1e6)


def test_buckets_are_narrow_from_a_tenth_of_a_millisecond_to_a_hundred_seconds() -> None:
    edges = np.array(LATENCY_EDGES)
    assert (edges[0], edges[-1]) == (0.0001, 100)
    assert (edges[1:] / edges[:-1]).max() < 1.7 and (edges[1:] > edges[:-1]).all()


def test_running_jobs_say_where_everything_went(tmp_path: Path) -> None:
    cluster = Cluster({each.name: each.partitions for each in TOPICS.values()}, clock=Clock(NOW_US))
    broker, settings = MemoryBroker(cluster), Settings(state=tmp_path)
    producer = broker.producer()
    for n in range(40):
        at = NOW_US - 90 * DAY + n % 30 * HOUR
        row = {"id": n % 30, "time": at, "customer": 1, "terminal": 2, "amount": 5}
        producer.send(TRANSACTIONS, [orjson.dumps(row), b"garbage"])
        said = {"id": n, "time": at + DAY, "fraud": True}
        producer.send(LABELS, [orjson.dumps(said)])
    producer.flush(1.0)
    scoring = ScoreJob(PIPELINE, broker, settings, now_us=lambda: NOW_US, threads=False)
    learning = LearnJob(PIPELINE, broker, settings, now_us=lambda: NOW_US)
    for _ in range(50):
        scoring.step(0.0)
        learning.step(0.0)
    scoring.snapshot()
    scoring.step(0.0)
    with Serving(scoring.monitor, 0) as one, Serving(learning.monitor, 0) as other:
        texts = [asked(each, "/metrics")[2] for each in (one, other)]
    read = parsed(texts[0]) | parsed(texts[1])
    # No store, no window that closed, and no alarm that must come.
    absent = "headrace_(online_|quality|drift_(alarms|open|bucket_end))"
    assert all(re.match(absent, name) for name in documented().keys() - read.keys())
    score, learn = scraped(scoring.monitor), scraped(learning.monitor)
    count = {name: score[f'headrace_ledger{{count="{name}"}}'] for name in scoring.ledger()}
    assert count["events_taken"] == 40 == count["admitted"] + count["duplicates"]
    assert count["labels_taken"] == 40 == sum(count[name] for name in LABEL_COUNTS)
    assert score['headrace_dead_letters_total{reason="not JSON"}'] == 40
    assert score["headrace_ready"] == learn["headrace_ready"] == 1
    assert score["headrace_latency_seconds_count"] == 120
    assert score["headrace_snapshots_total"] == 1 and "headrace_snapshot_age_seconds" in score
    assert score['headrace_state_bytes{part="customer"}'] > 0
    made = (score[f'headrace_predictions_total{{decision="{it}"}}'] for it in ("approve", "review"))
    assert sum(made) == score["headrace_score_count"] == 30
    for each in (score, learn):  # of a batch of more than 16 a part
        assert 15 <= each["headrace_feature_events"] <= 30
    assert learn["headrace_label_delay_seconds_count"] == 30
    assert learn["headrace_examples_positive_total"] == 30
    assert learn['headrace_examples_total{cause="label"}'] == 30
    assert learn['headrace_input_records_total{topic="predictions",partition="0"}'] == 30
    assert learn["headrace_model_version"] > 0
    scoring.close()
    learning.close()


def test_a_loop_that_does_not_turn_is_unhealthy(
    serving: Serving, monitor: Monitor, now: Time
) -> None:
    now.seconds += 1000
    assert asked(serving, "/healthz")[::2] == (200, "ok\n")
    monitor.turned()
    now.seconds += STALLED_SECONDS - 1
    assert asked(serving, "/healthz")[0] == 200
    now.seconds += 2
    status, _, said = asked(serving, "/healthz")
    assert status == 503 and said.startswith("loop: has not turned for 31 s")
    monitor.turned()
    assert asked(serving, "/healthz")[0] == 200


def test_a_job_is_ready_once_nothing_is_waited_for_and_it_has_caught_up(
    serving: Serving, monitor: Monitor, now: Time
) -> None:
    monitor.wait("broker", "no answer")
    said = asked(serving, "/readyz")
    assert said[0] == 503 and said[2] == "start: has not begun\nbroker: no answer\n"
    monitor.done("start")
    monitor.done("broker")
    behind_us = NOW_US - int(BEHIND_SECONDS * 1e6)
    monitor.inputs[1].took(1, behind_us)
    monitor.inputs[1].stands(9, NOW_US)
    assert asked(serving, "/readyz")[2] == "labels/1: 10 s and 9 records behind\n"
    monitor.inputs[1].took(9, NOW_US)
    monitor.inputs[1].stands(0, NOW_US)
    assert asked(serving, "/readyz")[::2] == (200, "ready\n")
    now.now_us += 3_600_000_000
    monitor.inputs[1].stands(1, now.now_us)
    assert monitor.inputs[1].lag_seconds(NOW_US + 1) == pytest.approx(1e-6)


def test_a_job_whose_output_nobody_acknowledges_is_not_ready(monitor: Monitor, now: Time) -> None:
    monitor.done("start")
    for waiting, ready in ((900, True), (1000, False), (999, True), (999, False), (0, True)):
        monitor.output_waiting = waiting
        assert (monitor.not_ready() == []) == ready
        now.seconds += BEHIND_SECONDS
    monitor.output_waiting = 5
    now.seconds += BEHIND_SECONDS
    assert monitor.not_ready() == ["output: 5 records not acknowledged for 20 s"]


def test_metrics_are_answered_in_the_format_of_their_content_type(serving: Serving) -> None:
    status, kind, said = asked(serving, "/metrics?name=up")
    assert (status, kind) == (200, CONTENT_TYPE)
    assert said.endswith("\n") and "\n# TYPE headrace_latency_seconds histogram\n" in said
    assert asked(serving, "/metrics", "HEAD") == (200, CONTENT_TYPE, "")
    assert asked(serving, "/")[::2] == (404, "there are /metrics, /healthz and /readyz\n")
    assert asked(serving, "/metrics", "POST")[0] == 501


def test_a_client_that_says_nothing_keeps_no_other_waiting(serving: Serving) -> None:
    with socket.create_connection(("127.0.0.1", serving.port)):
        assert asked(serving, "/healthz")[0] == 200


def test_a_taken_port_is_one_clear_error_and_a_closed_one_is_free(monitor: Monitor) -> None:
    with (
        Serving(monitor, port=0) as serving,
        pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{serving.port}: wanted this port"),
    ):
        Serving(monitor, serving.port)
    Serving(monitor, serving.port).close()
