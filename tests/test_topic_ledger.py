"""The ledger of the topics: whatever a job did is added up, and what it did not do is named."""

import io
from collections import Counter
from random import Random

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from jobs.clients.ledger_view import as_line, tables
from jobs.clients.topic_ledger import Ledger, recompute
from jobs.config import Settings
from operators.labels import BY_LABEL, BY_LATE_LABEL, BY_MATURITY
from streams.errors import DeadLetter, InputError, Reason
from streams.memory import Cluster, MemoryBroker
from streams.records import Outcomes
from streams.schema import DAY
from streams.sinks import encode_dead_letter
from streams.topics import TOPICS
from tests.batches import PIPELINE

GARBAGE = (b"", b"{", b"\xff", b'{"id":"7"}', b'{"id":[],"time":1}')
Record = tuple[str, int, int, bytes]
"""Topic, partition, offset and value."""


def event(number: int, day: float = 0.0) -> bytes:
    return orjson.dumps({"id": str(number), "time": int(day * DAY) + number, "customer": "c"})


def label(number: int) -> bytes:
    return orjson.dumps({"id": str(number), "time": 5, "fraud": True})


class World:
    """Topics, and a job so simple that what it does is beyond doubt."""

    def __init__(self, partitions: int = 2) -> None:
        counts = {name: partitions if name == "transactions" else 1 for name in TOPICS}
        self.cluster = Cluster(counts)
        self.inputs: list[Record] = []
        self.numbers: dict[str, int] = {}
        self.known: dict[str, int] = {}
        self.expected = Counter[str]()
        self.outcomes = 0

    def append(self, topic: str, value: bytes, partition: int = 0) -> Record:
        offset = sum(1 for each in self.inputs if each[:2] == (topic, partition))
        self.cluster.append(topic, value, partition=partition)
        self.inputs.append((topic, partition, offset, value))
        return self.inputs[-1]

    def process(self, record: Record) -> None:
        topic, partition, offset, value = record
        try:
            fields = orjson.loads(value)
            id_, readable = str(fields["id"]), "customer" in fields or "fraud" in fields
        except (orjson.JSONDecodeError, KeyError):
            id_, readable = "", False
        if not readable:
            self.bury(topic, partition, offset)
        elif topic == "labels":
            self.expected["labels"] += 1
            if id_ in self.numbers:
                self.learn(id_)
            elif id_ not in self.known:
                self.known[id_] = -1
        elif id_ not in self.numbers:
            self.predict(id_)
            if self.known.get(id_) == -1:
                self.learn(id_)

    def predict(self, id_: str, number: int | None = None, score: float = 0.5) -> None:
        number = self.numbers.setdefault(id_, len(self.numbers)) if number is None else number
        value = orjson.dumps({"id": id_, "score": score, "features": [1.0], "number": number})
        self.cluster.append("predictions", value)
        self.expected["predictions"] += 1

    def learn(self, id_: str) -> None:
        if self.known.get(id_, -1) == -1:
            self.tell(self.numbers[id_], BY_LABEL)
        elif self.known[id_] == BY_MATURITY:
            self.tell(self.numbers[id_], BY_LATE_LABEL)
        else:
            return
        self.known[id_] = BY_LABEL
        self.expected["learnt"] += 1

    def mature(self, id_: str) -> None:
        if self.known.get(id_, -1) == -1:
            self.known[id_] = BY_MATURITY
            self.tell(self.numbers[id_], BY_MATURITY)
            self.expected["matured"] += 1

    def tell(self, number: int, cause: int) -> None:
        told = Outcomes(self.outcomes, 0, 0, 9, [number], [1], [7], [cause])
        self.outcomes += 1
        self.cluster.append("outcomes", msgspec.json.encode(told))

    def bury(self, topic: str, partition: int, offset: int) -> None:
        letter = DeadLetter(Reason.NOT_JSON, "", topic, partition, offset, 0, b"")
        key = f"{topic}/{partition}/{offset}".encode()
        self.cluster.append("dead-letters", encode_dead_letter(letter), key)
        self.expected[f"dead {topic}"] += 1

    def ledger(self, since_us: int = 0, **settings: str) -> Ledger:
        set_ = Settings.load(flags=dict(settings), environ={})
        return recompute(MemoryBroker(self.cluster), set_, PIPELINE, since_us, lambda *_: None)


def parts(found: Ledger, flow: str) -> dict[str, int]:
    return dict(next(line.parts for line in found.balances if line.flow == flow))


def random_world(random: Random, share: float) -> World:
    """A world whose job has got through this share of its input, in the order it came."""
    world = World()
    count = random.randrange(1, 60)
    for number in range(count):
        draw, partition = random.random(), random.randrange(2)
        some = random.randrange(count)
        if draw < 0.6:
            world.append("transactions", event(number), partition)
        elif draw < 0.7:
            world.append("transactions", event(some), partition)
        elif draw < 0.75:
            world.append("transactions", random.choice(GARBAGE), partition)
        elif draw < 0.8:
            world.append("labels", random.choice(GARBAGE))
        else:
            world.append("labels", label(some))
    for record in world.inputs[: round(share * len(world.inputs))]:
        world.process(record)
        if world.numbers and random.random() < 0.2:
            world.mature(random.choice(sorted(world.numbers)))
    for _ in range(random.randrange(3)):
        if world.numbers:
            world.predict(random.choice(sorted(world.numbers)))
            world.expected["repeats"] += 1
    return world


@given(st.randoms(use_true_random=False), st.floats(0, 1))
def test_whatever_a_job_got_through_adds_up(random: Random, share: float) -> None:
    world = random_world(random, share)
    found, expected = world.ledger(), world.expected
    assert found.faults == []
    assert [line.missing for line in found.balances] == [0, 0, 0]
    events, labels = parts(found, "transactions"), parts(found, "labels")
    predicted = len(world.numbers)
    records = [each for each in world.inputs if each[0] == "transactions"]
    answered = sum(1 for *_, value in records if _id(value) in world.numbers)
    assert events == {
        "predictions": predicted,
        "duplicates": answered - predicted,
        "dead letters": expected["dead transactions"],
        "before the start": 0,
        "answers deleted": 0,
        "in flight": len(records) - answered - expected["dead transactions"],
    }
    assert labels["learnt from"] == expected["learnt"]
    assert labels["dead letters"] == expected["dead labels"]
    told = parts(found, "predictions")
    assert told["sent again, byte-equal"] == expected["repeats"]
    assert told["matured without"] == expected["matured"]


def _id(value: bytes) -> str | None:
    try:
        fields = orjson.loads(value)
        return str(fields["id"]) if "customer" in fields else None
    except orjson.JSONDecodeError:
        return None


def done(count: int = 10, partitions: int = 1) -> World:
    """A world of transactions, all predicted but those left to the test."""
    world = World(partitions)
    for number in range(count):
        world.append("transactions", event(number), number % partitions)
    return world


def test_a_lost_transaction_is_named_by_its_place() -> None:
    world = done()
    for place, record in enumerate(world.inputs[:8]):
        if place != 3:
            world.process(record)
    found = world.ledger()
    assert found.faults == ["1 records of transactions without an answer: transactions/0/3"]
    assert found.balances[0].missing == 1
    assert parts(found, "transactions")["in flight"] == 2


def test_partitions_are_judged_apart() -> None:
    world = done(partitions=2)
    for record in world.inputs:
        if record[1] == 1:
            world.process(record)
    assert world.ledger().faults == []
    assert parts(world.ledger(), "transactions")["in flight"] == 5


def test_a_lost_label_is_named_and_one_that_matured_is_no_news() -> None:
    world = done(4)
    for number in range(4):
        world.append("labels", label(number))
    for record in world.inputs:
        if record[0] == "transactions" or record[2] in (0, 3):
            world.process(record)
    found = world.ledger()
    assert found.faults == ["2 records of labels without an answer: labels/0/1, labels/0/2"]
    world.mature("1")
    world.mature("2")
    assert world.ledger().faults == []
    assert parts(world.ledger(), "labels")["no news"] == 2


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda world: world.predict("99"), "1 predictions without a transaction"),
        (lambda world: world.predict("0", 10), "1 predictions without a transaction"),
        (
            lambda world: world.predict("0", 0, score=0.7),
            "1 repeated predictions that differ from the first",
        ),
        (lambda world: world.tell(4, BY_LABEL), "1 outcomes by a label without one"),
        (
            lambda world: (world.mature("4"), world.known.clear(), world.mature("4")),
            None,
        ),
        (
            lambda world: (world.mature("4"), world.tell(4, BY_LABEL)),
            "1 predictions with two first outcomes",
        ),
    ],
)
def test_what_no_job_may_do_is_named(spoil: object, fault: str | None) -> None:
    world = done()
    for record in world.inputs:
        world.process(record)
    assert callable(spoil)
    spoil(world)
    assert (fault is None) == (not world.ledger().faults)
    assert fault is None or fault in world.ledger().faults


def test_strict_order_may_hold_back_what_is_younger_than_the_lateness() -> None:
    world = World(1)
    for number, day in enumerate((0.0, 9.9, 9.0, 10.0)):
        world.append("transactions", event(number, day))
    world.process(world.inputs[0])
    world.process(world.inputs[2])
    assert world.ledger().faults
    assert not world.ledger(order="strict").faults


def test_what_lies_before_the_takeover_needs_no_answer() -> None:
    world = World(1)
    for number in range(10):
        world.append("transactions", event(number, float(number)))
    for record in world.inputs[4:]:
        world.process(record)
    assert world.ledger().faults
    found = world.ledger(4 * DAY)
    assert not found.faults and parts(found, "transactions")["before the start"] == 4


def test_what_the_topics_have_forgotten_is_not_held_against_the_job() -> None:
    world = done()
    for record in world.inputs:
        world.process(record)
    assert world.ledger().faults == []
    world.cluster.logs("predictions")[0].trim(4)
    assert world.ledger().faults == []
    assert parts(world.ledger(), "transactions")["answers deleted"] == 4
    world.cluster.logs("transactions")[0].trim(6)
    assert world.ledger().faults == []
    assert parts(world.ledger(), "transactions")["predictions"] == 4


def test_a_topic_that_is_not_there_is_refused() -> None:
    world = World()
    world.cluster.delete("outcomes")
    with pytest.raises(InputError, match="outcomes"):
        world.ledger()


def test_a_foreign_record_among_the_predictions_is_refused() -> None:
    world = World()
    world.cluster.append("predictions", b"hello")
    with pytest.raises(InputError, match="only that job may write"):
        world.ledger()


def test_the_ledger_is_shown_with_what_is_wrong_in_it() -> None:
    world = done()
    for place, record in enumerate(world.inputs):
        if place != 3:
            world.process(record)
    found = world.ledger()

    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(*tables(found))
    text = console.export_text()
    assert "nowhere" in text and "not exact: 1 records of transactions" in text
    line = orjson.loads(as_line(found))
    assert line["balances"][0]["missing"] == 1 and line["faults"] == found.faults
