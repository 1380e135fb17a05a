"""The load generator: schedules, traffic, what is counted, and what a stall costs."""

import os
import signal
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Timer

import msgspec
import numpy as np
import orjson
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.catching_up import NAMES
from benchmarks.peers.job import windows
from jobs.commands import headrace
from jobs.config import Settings
from jobs.fraud import transaction
from jobs.load import subscriber
from jobs.load.clients import connection, consumer
from jobs.load.generator import Generator, Load, Observed, Target, latencies
from jobs.load.report import plot, processes, summary, table
from jobs.load.results import Measured, counted, medians, merged, percentiles, summarise
from jobs.load.rounds import REPEATS, Series, alternate
from jobs.load.saturate import PRECISION, highest
from jobs.load.schedule import SECOND_NS, Arrivals, in_burst, schedule
from jobs.load.sender import Order, Sender, Supply
from jobs.load.stand import echo_topics, own_echo
from jobs.load.subscriber import Heard, Subscriber, Watch
from jobs.load.topics import made
from jobs.load.traffic import Traffic, is_hot
from jobs.load.usage import usage
from jobs.stack.kafka import Kafka
from streams.batch import EVENT, LABEL
from streams.codec import Decoder
from streams.kafka.library import Partition
from tests.kafka_server import unique

START_US = 1_600_000_000_000_000


def traffic(**changes: object) -> Traffic:
    settings = {"run": 1_700_000_000, "keys": "uniform", "start_us": START_US, "per_day": 1e4}
    return Traffic(**settings | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("arrivals", ["steady", "poisson", "burst"])
def test_a_schedule_rises_stays_in_its_time_and_is_the_same_again(arrivals: Arrivals) -> None:
    due = schedule(arrivals, rate=3000, seconds=10)
    assert (np.diff(due) >= 0).all() and due[0] >= 0 and due[-1] < 10 * SECOND_NS
    assert np.array_equal(due, schedule(arrivals, rate=3000, seconds=10))


def test_steady_and_random_schedules_have_the_rate_that_was_asked() -> None:
    assert len(schedule("steady", rate=3000, seconds=10)) == 30_000
    assert abs(len(schedule("poisson", rate=3000, seconds=10)) - 30_000) < 1000


def test_a_burst_has_ten_times_the_rate_of_the_calm_before_it() -> None:
    due = schedule("burst", rate=3000, seconds=10)
    inside = in_burst(due)
    assert abs(inside.sum() - 2 * 3000) <= 2
    assert abs((~inside).sum() - 8 * 300) <= 2


@given(cut=st.lists(st.integers(1, 50), min_size=1, max_size=8))
def test_traffic_is_the_same_however_it_is_cut_but_for_what_is_drawn(cut: list[int]) -> None:
    source = traffic()
    ids = [orjson.loads(value)["id"] for n in cut for value in source.take(n).values]
    first = 1_700_000_000 * 10**8
    assert ids == [str(first + number) for number in range(sum(cut))]


def test_the_same_traffic_has_the_same_bytes() -> None:
    assert traffic().take(500) == traffic().take(500)


def test_every_payment_and_label_can_be_read_by_the_worked_pipeline() -> None:
    taken = traffic(per_day=500).take(20_000)
    for kind, lines in ((EVENT, taken.values), (LABEL, taken.labels)):
        batch, letters = Decoder(transaction, kind).decode(lines, received=None)
        assert len(batch) == len(lines) > 50 and not letters


def test_labels_are_told_after_their_payments_and_in_the_order_they_become_known() -> None:
    source, times, latest = traffic(per_day=500), {}, ""
    for _ in range(100):
        taken = source.take(100)
        for value in taken.values:
            payment = orjson.loads(value)
            times[payment["id"]] = payment["time"]
        known = [orjson.loads(label) for label in taken.labels]
        assert all(label["time"] >= times[label["id"]] for label in known)
        moments = [latest, *(label["time"] for label in known)]
        assert moments == sorted(moments)
        latest = moments[-1]


def test_zipf_gives_the_first_customer_the_most() -> None:
    keys = traffic(keys="zipf").take(20_000).keys
    assert 0.07 < keys.count(b"1") / len(keys) < 0.15


def test_a_hot_customer_pays_a_hundred_times_as_often_as_any_other_and_at_one_place() -> None:
    source = traffic(keys="hot")
    taken = source.take(51_000)
    hot = np.array(taken.keys) == b"1"
    assert hot.tolist() == is_hot(np.arange(51_000)).tolist()
    assert hot.sum() == pytest.approx(100 * (~hot).sum() / 4999, rel=0.01)
    paid = [orjson.loads(value) for value, here in zip(taken.values, hot, strict=True) if here]
    assert {(each["customer"], each["terminal"]) for each in paid} == {("1", "1")}
    source.keys = "uniform"
    assert source.take(5000).keys.count(b"1") < 10


def test_traffic_has_as_many_keys_as_it_was_asked_for() -> None:
    taken = traffic(customers=7, terminals=3).take(1000)
    paid = [orjson.loads(value) for value in taken.values]
    assert {each["customer"] for each in paid} == {str(1 + n) for n in range(7)}
    assert {each["terminal"] for each in paid} == {"1", "2", "3"}


def test_a_latency_runs_from_when_an_event_was_due_and_repeats_are_counted() -> None:
    due = np.array([100, 200, 300, 400])
    heard = Heard(np.array([1, 0, 1, 3]), np.array([250, 260, 270, 480]), 0)
    latency, duplicates = latencies(due, heard)
    assert latency.tolist() == [160, 50, -1, 80] and duplicates == 1


def test_percentiles_are_those_of_all_values_within_three_digits() -> None:
    values = np.random.default_rng(1).lognormal(8, 1, 10_000).astype(np.int64)
    found = percentiles(counted(values))
    ranked = np.sort(values) / 1000
    for name, percent in (("p50", 50), ("p99", 99), ("p99.9", 99.9)):
        rank = round(percent * 100)
        assert ranked[rank - 2] * 0.999 <= found[name] <= ranked[rank] * 1.001
    assert found["max"] == pytest.approx(values.max() / 1000, rel=2e-3)


def observed(latency_ms: list[float], late_ms: float = 0.1) -> Observed:
    n = len(latency_ms)
    return Observed(
        due_ns=np.arange(n) * 4_000_000,
        late_ns=np.full(n, int(late_ms * 1e6)),
        latency_ns=(np.array(latency_ms) * 1e6).astype(np.int64),
        duplicates=1,
        unsent=0,
        bytes=100.0,
        seconds=2.0,
        usage={"score": (0.5, 1 << 20)},
    )


def measured(latency_ms: list[float], late_ms: float = 0.1) -> Measured:
    return summarise(observed(latency_ms, late_ms), Load(rate=1, seconds=1))


def test_what_is_missing_is_counted_and_not_timed() -> None:
    run = measured([1.0, 2.0, -1.0, 3.0])
    assert (run.events, run.missing, run.duplicates) == (4, 1, 1)
    assert run.latency_ms["max"] == pytest.approx(3.0, rel=1e-2) and run.throughput == 1.5


class Prediction:
    """A message of a subscriber's."""

    def __init__(self, number: int) -> None:
        self._value = b'{"id":"17000000%010d"}' % number

    def value(self) -> bytes:
        return self._value

    def error(self) -> None:
        return None


class Stalled:
    """A consumer between whose two calls its process waits for a second."""

    def __init__(self, clock: list[int]) -> None:
        self._clock = clock

    def assign(self, _: object) -> None: ...

    def unassign(self) -> None: ...

    def poll(self, _: float) -> Prediction:
        return Prediction(0)

    def consume(self, _most: int, _timeout: float) -> list[Prediction]:
        self._clock[0] += SECOND_NS
        return [Prediction(1)]


def test_what_came_while_the_subscriber_stalled_is_heard_when_it_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0]
    monkeypatch.setattr(subscriber, "consumer", lambda _: Stalled(clock))
    monkeypatch.setattr("jobs.load.subscriber.time.monotonic_ns", lambda: clock[0])
    watch = Watch("predictions", 0, run=17_000_000_00, first=0, events=2, until_ns=9 * SECOND_NS)
    heard = Subscriber({})(watch)
    assert heard.numbers.tolist() == [0, 1] and heard.at_ns.tolist() == [SECOND_NS] * 2


def test_bursts_are_timed_apart() -> None:
    run = observed([1.0] * 1000 + [9.0] * 250)
    found = summarise(run, Load(rate=1, seconds=1, arrivals="burst"))
    assert found.burst_ms and found.burst_ms["p50"] == pytest.approx(9.0, rel=1e-2)
    assert found.latency_ms["p50"] == pytest.approx(1.0, rel=1e-2)


def test_histograms_of_runs_add_up_and_the_median_is_of_the_runs() -> None:
    runs = [measured([float(each)] * 9) for each in (1, 2, 30)]
    assert merged(runs).get_total_count() == 27
    assert medians(runs)["p99"] == pytest.approx(2.0, rel=1e-2)


class Scripted(Generator):
    """Gives the runs it was told to, by target, as if they had been measured."""

    def __init__(self, runs: dict[str, list[Observed]]) -> None:
        self.runs, self.asked = runs, list[str]()

    def settle(self, target: Target) -> None:
        self.asked.append(target.name)

    def run(self, target: Target, load: Load) -> Observed:
        return self.runs[target.name].pop(0)


def target(name: str) -> Target:
    return Target(name=name, events="in", predictions="out", processes={})


def test_targets_take_turns_and_runs_with_a_late_sender_are_repeated_and_counted() -> None:
    good, late = observed([1.0]), observed([1.0], late_ms=40)
    generator = Scripted({"a": [good, late, good], "b": [late] * (REPEATS + 1) + [good]})
    found = alternate(
        generator, [target("a"), target("b")], Load(rate=1, seconds=1), 2, lambda *_: None
    )
    assert generator.asked == ["a", *"b" * (REPEATS + 1), "a", "a", "b"]
    assert (found["a"].repeated, found["a"].late) == (1, 0)
    assert (found["b"].repeated, found["b"].late) == (REPEATS, 1)


@given(limit=st.floats(3, 1e6), start=st.floats(1, 1e6))
def test_bisection_ends_just_under_what_is_borne(limit: float, start: float) -> None:
    found = highest(lambda rate: rate <= limit, start)
    assert found <= limit <= found * (1 + PRECISION) * (1 + 1e-9)


def test_a_report_has_a_line_a_target_and_a_plot_that_is_an_image() -> None:
    series = {
        name: Series([measured([1.0, 2.0, ms])]) for name, ms in (("headrace", 9), ("echo", 3))
    }
    found = summary(series)
    assert table(found, "load").row_count == 2 and processes(found).row_count == 2
    drawn = ET.fromstring(plot(series, "load"))
    texts = {"".join(each.itertext()) for each in drawn.iter() if each.tag.endswith("text")}
    assert {"headrace", "echo", "99.9 %"} <= texts
    assert orjson.loads(orjson.dumps(found))["echo"]["missing"] == 0


def test_a_process_uses_cpu_and_memory_until_it_has_ended() -> None:
    before = usage(os.getpid())
    while usage(os.getpid()).cpu_seconds == before.cpu_seconds:
        sum(range(100_000))
    assert before.rss_bytes > 1 << 20
    child = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(child, 0)
    assert usage(child).rss_bytes == 0


@contextmanager
def own_supply(kafka: Kafka) -> Iterator[tuple[Settings, Supply]]:
    settings = Settings(brokers=kafka.address, prefix=unique("load") + ".")
    with made(connection(settings), echo_topics(settings)):
        yield settings, Supply(connection(settings), 1.0, 1_700_000_000, "uniform", START_US, 1e4)


def test_a_sender_that_begins_late_sends_all_at_once_in_order_and_says_how_late(
    kafka_broker: Kafka,
) -> None:
    with own_supply(kafka_broker) as (settings, supply):
        topic = next(iter(echo_topics(settings)))
        due = np.arange(300) * 1_000_000
        sent = Sender(supply)(Order(topic, "", begin_ns=0, due=due))
        with closing(consumer(supply.connection)) as reader:
            reader.assign([Partition(topic, 0, 0)])
            values = [each.value() for each in reader.consume(300, 30)]
    assert [int(orjson.loads(value)["id"][-8:]) for value in values] == list(range(300))
    assert sent.unsent == 0 and sent.late_ns.min() > SECOND_NS


def test_a_stall_of_the_target_is_paid_for_by_every_event_that_was_due_in_it(
    kafka_broker: Kafka, tmp_path: Path
) -> None:
    with (
        own_supply(kafka_broker) as (settings, supply),
        own_echo(tmp_path, settings, {}, 200) as echo,
        Generator(supply) as generator,
    ):
        generator.settle(echo)
        pid = echo.processes["echo"]

        @contextmanager
        def stalled() -> Iterator[None]:
            os.kill(pid, signal.SIGSTOP)
            Timer(1.2, os.kill, (pid, signal.SIGCONT)).start()
            yield

        load = Load(rate=200, seconds=2, warm=0)
        found = alternate(generator, [replace(echo, meanwhile=stalled)], load, 1, lambda *_: None)
        run = found["echo"].runs[0]
    assert (run.events, run.missing, run.duplicates, run.bytes) == (400, 0, 0, 200)
    # It began 0.2 s after the stall did, so half of what was sent waited, evenly from 1 s to none.
    histogram = merged([run])
    assert histogram.get_value_at_percentile(100) > 900_000
    assert histogram.get_value_at_percentile(80) > 500_000


def test_one_command_measures_a_deployment_of_its_own(tmp_path: Path) -> None:
    words = "bench load --rate 200 --duration 1s --warm 1s --runs 1 --history 500 --fresh --out"
    done = CliRunner().invoke(headrace, [*words.split(), str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    whole = orjson.loads((tmp_path / "out" / "load.json").read_bytes())
    for name in ("headrace", "echo"):
        assert whole["medians"][name]["missing"] == 0
        assert whole["medians"][name]["duplicates"] == 0
    used = whole["medians"]["headrace"]["processes"]
    assert set(used) == {"broker", "score", "learn", "sender", "subscriber"}
    assert (tmp_path / "out" / "load.svg").stat().st_size > 1000


def test_peers_make_the_windows_that_the_features_are_named_after() -> None:
    day = 86_400_000_000
    made_of = windows([[0, 100], [29 * day, 300], [30 * day, 500]])
    assert tuple(made_of) == NAMES
    assert [made_of[name] for name in NAMES] == [1, 5.0, 2, 4.0, 2, 4.0]
    assert msgspec.json.decode(msgspec.json.encode(made_of)) == made_of
