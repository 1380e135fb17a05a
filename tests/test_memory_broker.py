"""The broker in memory keeps Kafka's semantics: order, isolation, fencing, loss and repeats."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.broker import NEVER, Consumer, Input, Run
from streams.errors import InputError, OutputError, StateError
from streams.memory import Clock, Cluster, Crash, MemoryBroker
from streams.memory.cluster import ADRIFT_US, TRANSACTION_TIMEOUT_US, no_faults
from streams.memory.consumer import SESSION_US

IN, OUT = Input("in", 0), Input("out", 0)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster({"in": 1, "out": 1, "other": 1, "wide": 3})


def values(runs: list[Run]) -> list[bytes | None]:
    return [value for run in runs for value in run.values]


def everything(consumer: Consumer) -> list[bytes | None]:
    return values(consumer.poll(1000, 0.0))


class Scripted:
    """Lets through what is said of an operation, call after call, and all of the others."""

    def __init__(self, **said: list[int | None]) -> None:
        self.said = said

    def __call__(self, _process: str, operation: str, count: int, /) -> int:
        said = self.said.get(operation.replace(" ", "_"))
        if not said:
            return count
        if (now := said.pop(0)) is None:
            raise Crash
        return now


def test_records_of_a_partition_are_read_in_the_order_they_were_sent(cluster: Cluster) -> None:
    broker = MemoryBroker(cluster)
    producer, consumer = broker.producer(), broker.consumer([OUT])
    producer.send("out", [b"%d" % n for n in range(9)])
    assert producer.flush(1.0)
    runs = [*consumer.poll(4, 0.0), *consumer.poll(9, 0.0)]
    assert values(runs) == [b"%d" % n for n in range(9)]
    assert [offset for run in runs for offset in run.offsets] == list(range(9))


def test_a_record_is_stamped_when_it_is_appended_in_whole_milliseconds() -> None:
    cluster = Cluster({"in": 1}, clock=Clock(1_234_567))
    cluster.append("in", b"early")
    cluster.clock.sleep(2.0)
    cluster.append("in", b"late")
    assert [record.stamp for record in cluster.read("in")] == [1_234_000, 3_234_000]


def test_a_request_whose_answer_is_lost_is_made_again_before_any_other(cluster: Cluster) -> None:
    cluster.faults = Scripted(append_answered=[1, 0], answer_on_its_way=[0])
    producer = MemoryBroker(cluster).producer()
    producer.send("out", [b"a", b"b", b"c"])
    producer.poll()
    producer.send("out", [b"d"])
    assert producer.acknowledged == 1
    assert producer.flush(1.0)
    assert [record.value for record in cluster.read("out")] == [b"a", b"b", b"c", b"b", b"c", b"d"]


def test_a_transaction_holds_a_record_once_though_answers_are_lost(cluster: Cluster) -> None:
    cluster.faults = Scripted(append_answered=[1, 0, 0], answer_on_its_way=[0, 0])
    broker = MemoryBroker(cluster)
    source, producer = broker.consumer([IN], "g"), broker.producer("id")
    producer.begin()
    producer.send("out", [b"a", b"b"])
    assert producer.commit(source, [1])
    assert [record.value for record in cluster.read("out")] == [b"a", b"b"]


def test_records_of_one_key_lie_in_one_partition_and_those_without_are_spread(
    cluster: Cluster,
) -> None:
    producer = MemoryBroker(cluster).producer()
    producer.send("wide", [b"keyed"] * 6, keys=[b"k"] * 6)
    producer.send("wide", [b"none"] * 6)
    producer.flush(1.0)
    counts = [[r.value for r in log.read(0)] for log in cluster.topics["wide"]]
    assert sorted(log.count(b"keyed") for log in counts) == [0, 0, 6]
    assert [log.count(b"none") for log in counts] == [2, 2, 2]


def test_a_group_finds_what_it_committed_and_nothing_where_it_did_not(cluster: Cluster) -> None:
    consumer = MemoryBroker(cluster).consumer([IN, OUT], "g")
    assert consumer.committed() == [NEVER, NEVER]
    consumer.commit([5, NEVER])
    consumer.close()
    assert MemoryBroker(cluster).consumer([IN, OUT], "g").committed() == [5, NEVER]


def test_a_group_has_one_owner_until_that_leaves_or_is_given_up(cluster: Cluster) -> None:
    first = MemoryBroker(cluster)
    first.consumer([IN], "g", "first")
    with pytest.raises(StateError, match="but first owns it"):
        MemoryBroker(cluster).consumer([IN], "g", "second")
    first.crash()
    with pytest.raises(StateError, match="but first owns it"):
        MemoryBroker(cluster).consumer([IN], "g", "second")
    cluster.clock.sleep(SESSION_US / 1e6)
    MemoryBroker(cluster).consumer([IN], "g", "second").close()
    MemoryBroker(cluster).consumer([IN], "g", "third")


def test_an_owner_of_the_same_name_takes_over_and_the_one_before_commits_nothing(
    cluster: Cluster,
) -> None:
    before = MemoryBroker(cluster).consumer([IN], "g", "same")
    after = MemoryBroker(cluster).consumer([IN], "g", "same")
    with pytest.raises(StateError, match="taken it over"):
        before.commit([1])
    after.commit([2])
    assert after.committed() == [2]


def test_a_commit_that_is_not_answered_in_time_can_be_asked_for_again(cluster: Cluster) -> None:
    broker = MemoryBroker(cluster)
    source, producer = broker.consumer([IN], "g"), broker.producer("i")
    producer.begin()
    producer.send("out", [b"1"])
    cluster.faults = Scripted(commit=[0, 0, 1], commit_answered=[0])
    assert not producer.commit(source, [5], timeout=0.001)
    assert not producer.commit(source, [5], timeout=0.0)
    assert producer.commit(source, [5], timeout=0.0)
    assert [record.value for record in cluster.read("out")] == [b"1"]
    assert source.committed() == [5]


def test_nothing_of_a_transaction_is_seen_before_its_commit_and_then_all_of_it(
    cluster: Cluster,
) -> None:
    broker = MemoryBroker(cluster)
    source, reader = broker.consumer([IN], "g"), broker.consumer([OUT])
    producer = broker.producer("id")
    producer.begin()
    producer.send("out", [b"1", b"2"])
    assert producer.flush(1.0)
    cluster.append("out", b"behind")
    assert everything(reader) == []
    producer.commit(source, [7])
    assert everything(reader) == [b"1", b"2", b"behind"]
    assert source.committed() == [7]


def test_markers_take_offsets_and_no_reader_is_told_of_them_as_records(cluster: Cluster) -> None:
    broker = MemoryBroker(cluster)
    source, reader, producer = (
        broker.consumer([IN], "g"),
        broker.consumer([OUT]),
        broker.producer("i"),
    )
    for value in (b"1", b"2"):
        producer.begin()
        producer.send("out", [value])
        producer.commit(source, [0])
    (run,) = reader.poll(10, 0.0)
    assert run.offsets.tolist() == [0, 2]
    assert reader.ends() == [3]
    assert reader.bounds() == [(0, 4)]
    assert reader.ends() == [3]


def test_a_later_producer_of_the_same_id_aborts_and_fences_the_former(cluster: Cluster) -> None:
    broker = MemoryBroker(cluster)
    source, reader, former = (
        broker.consumer([IN], "g"),
        broker.consumer([OUT]),
        broker.producer("i"),
    )
    former.begin()
    former.send("out", [b"lost"])
    former.flush(1.0)
    later = broker.producer("i")
    later.begin()
    later.send("out", [b"kept"])
    later.commit(source, [3])
    with pytest.raises(StateError, match="taken over"):
        former.commit(source, [9])
    assert everything(reader) == [b"kept"]
    assert source.committed() == [3]


def test_a_transaction_that_takes_too_long_is_aborted_and_its_producer_fenced(
    cluster: Cluster,
) -> None:
    broker = MemoryBroker(cluster)
    source, reader, producer = (
        broker.consumer([IN], "g"),
        broker.consumer([OUT]),
        broker.producer("i"),
    )
    producer.begin()
    producer.send("out", [b"lost"])
    producer.flush(1.0)
    cluster.append("out", b"behind")
    cluster.clock.sleep(TRANSACTION_TIMEOUT_US / 1e6 + 1)
    assert everything(reader) == [b"behind"]
    with pytest.raises(StateError):
        producer.commit(source, [1])


def test_positions_a_transaction_has_not_decided_are_waited_for(cluster: Cluster) -> None:
    dying = MemoryBroker(cluster)
    source, producer = dying.consumer([IN], "g", "me"), dying.producer("i")
    cluster.faults = Scripted(commit=[None])
    producer.begin()
    producer.send("out", [b"lost"])
    with pytest.raises(Crash):
        producer.commit(source, [5])
    before = cluster.clock()
    assert MemoryBroker(cluster).consumer([IN], "g", "me").committed() == [NEVER]
    assert cluster.clock() - before >= TRANSACTION_TIMEOUT_US


@pytest.mark.parametrize("arrive", [0, 1, 2])
def test_a_crash_loses_what_was_not_appended_or_lets_a_part_arrive_later(
    cluster: Cluster, arrive: int
) -> None:
    broker = MemoryBroker(cluster)
    producer = broker.producer()
    producer.send("out", [b"1", b"2", b"3"])
    cluster.faults = Scripted(append=[1, None], in_flight=[arrive], adrift=[0] * 99)
    producer.poll()
    with pytest.raises(Crash):
        producer.poll()
    other = MemoryBroker(cluster).consumer([OUT])
    assert everything(other) == [b"1"]
    cluster.clock.sleep(ADRIFT_US / 1e6)
    assert everything(other) == [b"2", b"3"][:arrive]
    with pytest.raises(Crash):
        broker.partitions(["out"])


def test_a_record_may_be_in_the_log_without_its_senders_knowing(cluster: Cluster) -> None:
    producer = MemoryBroker(cluster).producer()
    cluster.faults = Scripted(append_answered=[0, 1])
    producer.send("out", [b"1"])
    producer.poll()
    assert (producer.waiting, len(cluster.read("out"))) == (1, 1)
    producer.poll()
    assert producer.waiting == 0


def test_a_commit_on_its_way_from_the_dead_is_refused_once_another_has_joined(
    cluster: Cluster,
) -> None:
    dying = MemoryBroker(cluster)
    consumer = dying.consumer([IN], "g", "me")
    cluster.faults = Scripted(commit=[0], adrift=[0, 0])
    consumer.commit([9])
    dying.crash()
    assert MemoryBroker(cluster).consumer([IN], "g", "me").committed() == [NEVER]
    cluster.settle()
    assert cluster.groups["g"].positions == {}


def test_a_broker_that_is_away_answers_nothing_and_loses_nothing(cluster: Cluster) -> None:
    broker = MemoryBroker(cluster)
    producer, consumer = broker.producer(), broker.consumer([OUT], "g")
    cluster.faults = lambda _process, _operation, _count, /: 0
    producer.send("out", [b"1"])
    assert not producer.flush(0.1)
    assert consumer.poll(10, 0.5) == []
    assert consumer.away == "the broker does not answer"
    consumer.commit([1])
    cluster.faults = Scripted()
    assert producer.flush(0.1)
    assert everything(consumer) == [b"1"]
    assert consumer.away == ""
    assert consumer.committed() == [1]


@pytest.mark.parametrize(
    ("do", "error", "says"),
    [
        (lambda b: b.partitions(["in", "nil"]), InputError, "found no nil"),
        (lambda b: b.consumer([Input("nil", 0)]), InputError, "topic nil"),
        (lambda b: b.consumer([Input("in", 1)]), InputError, "wanted partition 1"),
        (lambda b: b.producer().send("nil", [b""]), OutputError, "topic nil"),
        (lambda b: b.producer().send("in", [bytes(1 << 21)]), OutputError, "at most 1,048,576"),
    ],
)
def test_what_can_never_work_is_said(
    cluster: Cluster, do: Callable[[MemoryBroker], object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        do(MemoryBroker(cluster))


def test_a_topic_made_anew_or_cut_beyond_the_position_is_said(cluster: Cluster) -> None:
    consumer = MemoryBroker(cluster).consumer([IN])
    for _ in range(3):
        cluster.append("in", b"")
    cluster.topics["in"][0].trim(2)
    with pytest.raises(InputError, match="found offsets 2 to 3"):
        consumer.poll(1, 0.0)
    cluster.create("in")
    with pytest.raises(InputError, match="made anew"):
        consumer.poll(1, 0.0)


def test_compaction_keeps_the_last_of_each_key_at_its_offset(cluster: Cluster) -> None:
    for key, value in ((b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"b", None)):
        cluster.append("in", value, key)
    cluster.topics["in"][0].compact()
    assert [(r.offset, r.key, r.value) for r in cluster.read("in")] == [
        (2, b"a", b"3"),
        (3, b"b", None),
    ]


def test_an_input_that_is_paused_is_not_read(cluster: Cluster) -> None:
    cluster.append("in", b"1")
    cluster.append("out", b"2")
    consumer = MemoryBroker(cluster).consumer([IN, OUT])
    consumer.pause([0])
    assert everything(consumer) == [b"2"]
    consumer.pause([])
    assert everything(consumer) == [b"1"]


@given(st.integers(0, 2**32))
def test_whatever_the_faults_an_exactly_once_copy_has_every_record_once(seed: int) -> None:
    rng = random.Random(seed)

    def faults(process: str, _operation: str, count: int, /) -> int:
        if process and rng.random() < 0.02:
            raise Crash
        return rng.randint(0, count)

    cluster = Cluster({"in": 1, "out": 1}, faults=faults)
    for n in range(12):
        cluster.append("in", b"%d" % n)
    while _copy(MemoryBroker(cluster, "copy")) < 12:
        pass
    cluster.faults = no_faults
    cluster.settle()
    assert [record.value for record in cluster.read("out")] == [b"%d" % n for n in range(12)]


def _copy(broker: MemoryBroker) -> int:
    """Copy `in` to `out` until a crash or the end; the position reached for good."""
    try:
        producer = broker.producer("copy")
        consumer = broker.consumer([IN], "copy", "copy")
        at = max(consumer.committed()[0], 0)
        consumer.seek([at])
        while at < 12:
            if runs := consumer.poll(3, 0.0):
                producer.begin()
                producer.send("out", runs[0].values)
                at = runs[0].offsets[-1] + 1
                producer.commit(consumer, [at])
        return at
    except Crash:
        return 0
