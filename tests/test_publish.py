"""Publishing: what is sent, to which topic, with which key, when."""

import math
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click import BadParameter
from hypothesis import given
from hypothesis import strategies as st

from jobs.clients.outgoing import Records, from_files
from jobs.clients.pace import AtOnce, ByRate, ByTime, Pace
from jobs.clients.publish import publish
from jobs.clients.publisher import MOST_WAITING, SPAN_US, Publisher, Sent, Topics
from jobs.clients.simulated import APART, Beginning, beginning, simulated, world
from jobs.commands.values import SPEED
from jobs.fraud import transaction
from jobs.load.schedule import Arrivals
from jobs.simulate import parse_drift, simulate
from streams.batch import EVENT, LABEL
from streams.broker import Broker, Headers, Input
from streams.codec import Decoder
from streams.errors import ConfigError, InputError
from streams.memory import Cluster, MemoryBroker
from streams.schema import DAY, Category, Event, Label, Number
from streams.sources import FileSource

WORLD = {"customers": 300, "terminals": 100, "per_day": 1000, "fraud_rate": 0.05}
HOSTILE = {"garbage": 0.01, "duplicates": 0.01, "late": 0.01}
TOPICS = Topics("transactions", "labels")
NOW = 1_750_000_000_000_000


def broker(partitions: int = 1) -> MemoryBroker:
    return MemoryBroker(Cluster({"transactions": partitions, "labels": 1}))


def content(broker: Broker, topic: str) -> list[tuple[bytes | None, bytes | None]]:
    """Return key and value of each record, partition after partition."""
    found = []
    for partition in range(broker.partitions([topic])[topic]):
        consumer = broker.consumer([Input(topic, partition)])
        while runs := consumer.poll(10_000, 0.0):
            found += [pair for run in runs for pair in zip(run.keys, run.values, strict=True)]
    return found


def joined(parts: Iterable[Records]) -> Records:
    parts = list(parts)
    return Records(
        [value for part in parts for value in part.values],
        [key for part in parts for key in part.keys],
        np.concatenate([part.label for part in parts]),
        np.concatenate([part.time for part in parts]),
    )


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("traffic") / "hostile.ndjson"
    simulate(path, [], {**WORLD, **HOSTILE, "events": 10_000})
    return path


def test_lines_are_sent_byte_for_byte_labels_to_their_own_topic(hostile: Path) -> None:
    there = broker()
    publish(there, TOPICS, from_files([hostile], transaction, {}), AtOnce())
    lines = [line for line in hostile.read_bytes().split(b"\n") if line.strip()]
    events, labels = content(there, "transactions"), content(there, "labels")
    assert [value for _, value in events] == [line for line in lines if b'"fraud":' not in line]
    assert [value for _, value in labels] == [line for line in lines if b'"fraud":' in line]
    for key, value in labels:
        assert key is None or str(orjson.loads(value or b"")["id"]).encode() == key
    keyed = [(key, orjson.loads(value or b"")) for key, value in events if key is not None]
    assert len(keyed) > 9000
    assert all(str(record["customer"]).encode() == key for key, record in keyed)


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_the_size_of_the_pieces_changes_nothing(size: int, hostile: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.ndjson"
    few.write_bytes(b"\n".join(hostile.read_bytes().split(b"\n")[:200]))
    got, wanted = (joined(from_files([few], transaction, {}, size=n)) for n in (size, 200))
    assert (got.values, got.keys) == (wanted.values, wanted.keys)
    np.testing.assert_array_equal(got.time, wanted.time)


def test_time_never_falls_and_a_record_without_one_has_that_before_it(hostile: Path) -> None:
    time = joined(from_files([hostile], transaction, {})).time
    assert (np.diff(time) >= 0).all() and time[0] > 0


SALE = Event(
    "sale",
    keys=("card",),
    label=Label("fraud"),
    numbers=(Number("price", scale=2), Number("tip", scale=1, required=False)),
    categories=(Category("country"),),
)


def test_a_table_becomes_the_records_that_it_stands_for(tmp_path: Path) -> None:
    table = pa.table(
        {
            "ID": [7, 8],
            "time": pa.array([1_700_000_000_000_000, 1_700_000_001_000_000], pa.timestamp("us")),
            "card": ["c", "d"],
            "price": [12.5, 0.1],
            "tip": [None, 0.5],
            "country": ["CH", "FR"],
        }
    )
    pq.write_table(table, tmp_path / "sales.parquet")
    records = joined(from_files([tmp_path / "sales.parquet"], SALE, {"id": "ID"}))
    assert records.keys == [b"c", b"d"]
    assert orjson.loads(records.values[0]) == {
        "id": "7", "time": 1_700_000_000_000_000, "card": "c", "country": "CH",
        "price": 12.5, "tip": None,
    }  # fmt: skip
    batch, letters = Decoder(SALE, EVENT).decode(records.values, None)
    assert batch.numbers.tolist()[1] == [10, 5] and not letters


def test_a_row_that_cannot_be_read_is_sent_as_it_came(tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text(
        "id,time,card,price,country\n1,2024-01-01T00:00:00Z,c,cheap,CH\n", encoding="utf-8"
    )
    records = joined(from_files([tmp_path / "sales.csv"], SALE, {}))
    assert b"cheap" in records.values[0] and records.keys == [None]
    assert Decoder(SALE, EVENT).decode(records.values, None)[1]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".ndjson"])
def test_labels_beside_events_come_as_late_as_in_a_replay(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"sales{suffix}"
    count = 500
    columns: dict[str, list[Any]] = {
        "id": [str(n) for n in range(count)],
        "time": [f"2024-01-{1 + n // 50:02}T00:{n % 50:02}:00Z" for n in range(count)],
        "card": [str(n % 9) for n in range(count)],
        "price": [n / 100 for n in range(count)],
        "country": ["CH"] * count,
        "fraud": [n % 7 == 0 for n in range(count)],
    }
    table = pa.table(columns)
    if suffix == ".parquet":
        pq.write_table(table, path)
    elif suffix == ".csv":
        pa.csv.write_csv(table, path)
    else:
        path.write_bytes(b"\n".join(map(orjson.dumps, table.to_pylist())))
    sent = joined(from_files([path], SALE, {}, label_delay_us=3 * DAY, size=64))
    batch, _ = Decoder(SALE).decode(sent.values, None)
    source = FileSource([path], SALE, {"fraud": "fraud"}, label_delay_us=3 * DAY)
    wanted = [each for each, _ in source]
    assert batch.kind.tolist() == [kind for each in wanted for kind in each.kind.tolist()]
    assert batch.time.tolist() == [time for each in wanted for time in each.time.tolist()]
    assert (batch.kind == LABEL).sum() == sent.label.sum() > 40


def paced(pace: Pace, records: Records, cuts: list[int]) -> list[float]:
    bounds = [0, *sorted(cuts), len(records.time)]
    parts = [
        Records(
            records.values[start:stop],
            records.keys[start:stop],
            records.label[start:stop],
            records.time[start:stop],
        )
        for start, stop in pairwise(bounds)
    ]
    return [due for part in parts if len(part.time) for due in pace.due(part).tolist()]


@st.composite
def some_records(draw: st.DrawFn) -> tuple[Records, list[int]]:
    steps = draw(st.lists(st.integers(0, 10_000_000), min_size=1, max_size=40))
    label = draw(st.lists(st.booleans(), min_size=len(steps), max_size=len(steps)))
    cuts = draw(st.lists(st.integers(0, len(steps)), max_size=5))
    empty: list[Any] = [b""] * len(steps)
    return Records(empty, empty, np.array(label), np.cumsum(steps)), cuts


@given(some_records(), st.sampled_from(["steady", "poisson", "burst"]))
def test_a_pace_is_the_same_however_the_records_are_cut(
    drawn: tuple[Records, list[int]], arrivals: Arrivals
) -> None:
    records, cuts = drawn
    makes: list[Callable[[], Pace]] = [lambda: ByTime(60), lambda: ByRate(9, arrivals), AtOnce]
    for make in makes:
        whole = paced(make(), records, [])
        assert paced(make(), records, cuts) == whole
        assert all(a <= b for a, b in pairwise(whole))


def test_a_rate_is_of_events_and_a_label_goes_with_the_event_before_it() -> None:
    label = np.array([False, True, False, False, True])
    due = ByRate(4).due(Records([b""] * 5, [None] * 5, label, np.zeros(5, np.int64)))
    assert due.tolist() == [0, 0, 0.25, 0.5, 0.5]


def test_a_burst_is_ten_times_its_calm_and_a_poisson_rate_holds_on_average() -> None:
    many = Records([b""] * 9000, [None] * 9000, np.zeros(9000, np.bool_), np.zeros(9000, np.int64))
    burst = ByRate(1000, "burst").due(many) % 5
    assert 0.68 < np.mean(burst >= 4) < 0.75
    assert 8.7 < ByRate(1000, "poisson").due(many)[-1] < 9.3


class Slow:
    """A producer whose broker takes `per_second` records, with a clock of its own."""

    def __init__(self, per_second: float) -> None:
        self.now, self.waiting, self.sent = 0.0, 0, list[tuple[float, int]]()
        self.flushes = 0
        self._per_second = per_second

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.waiting = max(0, self.waiting - round(seconds * self._per_second))

    def send(
        self,
        topic: str,
        values: list[bytes],
        keys: object = None,
        headers: list[Headers] | None = None,
    ) -> None:
        self.waiting += len(values)
        self.sent.append((self.now, len(values)))

    def poll(self, timeout: float = 0.0) -> None:
        self.sleep(timeout)

    def flush(self, timeout: float) -> bool:
        self.flushes += 1
        self.waiting = 0
        return True


def run(slow: Slow, records: list[Records], pace: Pace, *, in_order: bool = False) -> Sent:
    publisher = Publisher(
        slow,  # type: ignore[arg-type]
        TOPICS,
        pace,
        in_order=in_order,
        ended=lambda: slow.now > 1000,
        watch=lambda _: None,
        clock=slow.clock,
        sleep=slow.sleep,
    )
    return publisher.run(records)


def test_every_record_goes_when_it_is_due_or_within_a_tick() -> None:
    slow, none = Slow(1e9), np.zeros(1000, np.bool_)
    records = Records([b"x"] * 1000, [None] * 1000, none, np.arange(1000) * 10_000)
    sent = run(slow, [records], ByTime(10))
    assert sent.events == 1000 and sent.latest <= 0.001
    assert abs(slow.now - 0.999) < 0.01


def test_a_slow_broker_makes_records_late_and_bounds_what_waits() -> None:
    slow, none, size = Slow(100_000), np.zeros(1000, np.bool_), 1000
    count = 3 * MOST_WAITING
    records = [
        Records([b"x"] * size, [None] * size, none, np.arange(first, first + size))
        for first in range(0, count, size)
    ]
    most = 0
    begun = slow.sleep

    def sleep(seconds: float) -> None:
        nonlocal most
        most = max(most, slow.waiting)
        begun(seconds)

    slow.sleep = sleep  # type: ignore[method-assign]
    sent = run(slow, records, ByTime(1))
    assert sent.events == count and sent.late > 1
    assert most <= MOST_WAITING + size


def test_without_a_pace_what_is_hours_apart_waits_for_what_was_before() -> None:
    slow, sent = Slow(1e9), list[int]()
    begun = slow.send

    def send(topic: str, values: list[bytes], keys: object = None) -> None:
        begun(topic, values)
        sent.extend(slow.flushes for _ in values)

    slow.send = send  # type: ignore[method-assign, assignment]
    records = joined(traffic(Beginning(0, 0), days=9.0, per_day=100.0))
    assert records.label.any()
    run(slow, [records], AtOnce(), in_order=True)
    assert len(sent) == len(records.time) and sent == sorted(sent)
    for flushes in set(sent):
        together = [time for time, each in zip(records.time, sent, strict=True) if each == flushes]
        assert max(together) - min(together) < SPAN_US


def test_a_missing_topic_is_refused_before_anything_is_sent(hostile: Path) -> None:
    there = MemoryBroker(Cluster({"transactions": 1}))
    with pytest.raises(InputError, match="labels"):
        publish(there, TOPICS, from_files([hostile], transaction, {}), AtOnce())
    assert not content(there, "transactions")


def traffic(after: Beginning, **more: Any) -> list[Records]:
    options = {"start": None, "days": 2.0, "per_day": 1000.0, "customers": 50, "seed": 1} | more
    made = world(after, NOW, **options)
    return list(simulated(made, after.id, NOW, with_labels=True))


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_second_simulation_goes_on_after_the_first(partitions: int) -> None:
    there = broker(partitions)
    assert beginning(there, "transactions") == Beginning(0, 0)
    publish(there, TOPICS, traffic(Beginning(0, 0)), AtOnce())
    first = [orjson.loads(value or b"") for _, value in content(there, "transactions")]
    after = beginning(there, "transactions")
    assert after.id == APART
    publish(there, TOPICS, traffic(after), AtOnce())
    both = [orjson.loads(value or b"") for _, value in content(there, "transactions")]
    assert len({record["id"] for record in both}) == len(both) > 1.5 * len(first)
    later = {record["time"] for record in both} - {record["time"] for record in first}
    assert min(later) > max(record["time"] for record in first)


def test_what_is_no_simulation_is_begun_after_all_the_same() -> None:
    there = broker()
    producer = there.producer()
    values = [b"{", b"[]", b'{"id":"x","time":"2024-05-01T00:00:00Z"}', b'{"id":7,"time":5}']
    producer.send("transactions", [*values, b'{"id":"9"}', None])
    producer.flush(1)
    assert beginning(there, "transactions") == Beginning(APART, 1_714_521_600_000_000)


def test_simulated_labels_are_of_sent_events_and_come_later_in_order() -> None:
    sent = joined(traffic(Beginning(3 * APART, 0), per_day=5000.0))
    assert (np.diff(sent.time) >= 0).all()
    seen: set[bytes] = set()
    for value, label in zip(sent.values, sent.label.tolist(), strict=True):
        id_ = orjson.loads(value)["id"]
        assert int(id_) > 3 * APART and (id_ in seen) == label
        seen.add(id_)
    assert sent.label.sum() > 10


def test_simulated_time_ends_today() -> None:
    begun = Beginning(0, NOW - DAY // 2)
    assert all((part.time < NOW).all() for part in traffic(begun, days=None))
    with pytest.raises(ConfigError, match="--prefix"):
        traffic(Beginning(0, NOW))


def test_a_sent_world_changes_as_a_simulated_file_does(tmp_path: Path) -> None:
    said = ["unit@2024-01-02..2024-01-02T12:00", "missing@2024-01-02T12:00=.5"]
    sent = joined(traffic(Beginning(0, 0), drifts=tuple(map(parse_drift, said))))
    same = {"days": 2.0, "per_day": 1000.0, "customers": 50, "terminals": 100, "seed": 1}
    simulate(tmp_path / "world.ndjson", said, same)
    wanted = [orjson.loads(line) for line in (tmp_path / "world.ndjson").read_bytes().splitlines()]
    assert [orjson.loads(value) for value in sent.values] == wanted
    amounts = [record.get("amount") for record in wanted if "fraud" not in record]
    assert max(filter(None, amounts)) > 10_000 and None in amounts


@pytest.mark.parametrize(
    ("text", "speed"), [("10000x", 10_000.0), ("0.5", 0.5), ("1e3x", 1000.0), ("max", math.inf)]
)
def test_a_speed_is_a_factor_or_as_fast_as_can_be(text: str, speed: float) -> None:
    assert SPEED.convert(text, None, None) == speed


@pytest.mark.parametrize("text", ["fast", "0", "-1x", "nan", "maxx", ""])
def test_what_is_no_speed_is_wrong_usage(text: str) -> None:
    with pytest.raises(BadParameter, match="10000x, or max"):
        SPEED.convert(text, None, None)


def test_a_time_that_cannot_be_does_not_hurry_what_comes_after_it(tmp_path: Path) -> None:
    times = [f"2024-01-0{day}T00:00:00Z" for day in (1, 2, 3)]
    times.insert(1, "2924-01-01T00:00:00Z")
    path = tmp_path / "leap.ndjson"
    path.write_bytes(
        b"".join(
            orjson.dumps({"id": n, "time": time, "customer": "a", "terminal": "b", "amount": 1})
            + b"\n"
            for n, time in enumerate(times)
        )
    )
    (records,) = from_files([path], transaction, {})
    days = np.diff(records.time) // 86_400_000_000
    assert days.tolist() == [0, 1, 1]
