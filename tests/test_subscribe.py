"""Subscribing: from where, what is wanted, how it is shown."""

import io
from collections.abc import Callable
from itertools import count
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from jobs.clients.subscribe import JsonLines, begin, records, subscribe
from jobs.clients.topic_filter import Clause
from jobs.clients.topic_reader import TopicReader
from jobs.clients.topic_view import MOST, Record, View, ago, columns
from streams.broker import Input
from streams.errors import InputError
from streams.memory import Cluster, MemoryBroker
from streams.topics import TOPICS

PREDICTION = {
    "id": "7", "time": 1_704_067_203_000_000, "score": 0.91234, "decision": "review",
    "reasons": ["amount", "weekend"], "model_version": 12, "features": [1.0, None], "number": 3,
    "interval": [0.0412, 1.0],
}  # fmt: skip


def filled(values: list[bytes | None], partitions: int = 1, gap: float = 1.0) -> MemoryBroker:
    """Return a broker whose topic has these records, appended a while apart."""
    cluster = Cluster({"predictions": partitions})
    broker = MemoryBroker(cluster)
    producer = broker.producer()
    for place, value in enumerate(values):
        producer.send("predictions", [value], [b"k%d" % place])
        producer.flush(1)
        cluster.clock.sleep(gap)
    return broker


def taken(reader: TopicReader, most: int | None = None) -> list[bytes | None]:
    found: list[Record] = []
    idle = count()
    subscribe(reader, (), most, found.extend, lambda: next(idle) > 3)
    return [each.value for each in found]


LINES: list[bytes | None] = [b'{"n":%d}' % n for n in range(20)]


@pytest.mark.parametrize("partitions", [1, 3])
def test_from_the_beginning_all_is_shown_and_from_the_end_only_what_comes(partitions: int) -> None:
    broker = filled(LINES, partitions)
    reader = TopicReader(broker, "predictions")
    begin(reader, "beginning")
    assert sorted(map(bytes, filter(None, taken(reader)))) == sorted(
        map(bytes, filter(None, LINES))
    )
    begin(reader, "end")
    assert taken(reader) == []
    producer = broker.producer()
    producer.send("predictions", [b"new"])
    producer.flush(1)
    assert taken(reader) == [b"new"]


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("first", [0, 1, 7, 19, 20])
def test_from_a_time_what_was_appended_then_or_later_is_shown(partitions: int, first: int) -> None:
    reader = TopicReader(filled(LINES, partitions), "predictions")
    begin(reader, "beginning")
    stamps = sorted(stamp for run in reader.to_end() for stamp in run.stamps)
    begin(reader, stamps[first] if first < 20 else stamps[-1] + 1)
    shown = {stamp for run in reader.to_end() for stamp in run.stamps}
    assert shown == set(stamps[first:])


def test_a_count_ends_it_and_counts_what_the_filter_lets_through() -> None:
    reader = TopicReader(filled(LINES), "predictions")
    assert taken(reader, 3) == LINES[:3]
    begin(reader, "beginning")
    found: list[Record] = []
    wanted = (Clause.parse("n>=5"), Clause.parse("n!=6"))
    assert subscribe(reader, wanted, 2, found.extend, lambda: False) == 2
    assert [each.value for each in found] == [LINES[5], LINES[7]]


def test_a_topic_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="nothing"):
        TopicReader(filled([]), "nothing")


@pytest.mark.parametrize(
    ("text", "meets"),
    [
        ("decision=review", True),
        ("decision!=review", False),
        ("score>0.9", True),
        ("score<0.9", False),
        ("score >= 0.91234", True),
        ("model_version=12", True),
        ("model_version=12.5", False),
        ("reasons=weekend", True),
        ("reasons!=weekend", False),
        ("nothing=1", False),
        ("nothing!=1", True),
        ("score=high", False),
        ("id=7", True),
    ],
)
def test_a_clause_compares_numbers_as_numbers_and_the_rest_as_text(text: str, meets: bool) -> None:
    assert Clause.parse(text).meets(PREDICTION) == meets


@pytest.mark.parametrize("text", ["decision", "=review", "a~b", ""])
def test_what_is_no_clause_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="wanted FIELD"):
        Clause.parse(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(JSON | st.binary())
def test_every_record_is_one_line_of_json(content: Any) -> None:
    value = content if isinstance(content, bytes) else orjson.dumps(content)
    reader = TopicReader(filled([value, None]), "predictions")
    out = io.BytesIO()
    for run in reader.to_end():
        JsonLines(out)(list(records(run, reader)))
    first, second, rest = out.getvalue().split(b"\n")
    assert not rest and orjson.loads(second) == {"key": "k1", "bytes": None}
    if isinstance(content, dict) and content:
        assert orjson.loads(first) == content
    else:
        orjson.loads(first)


def view(
    topic: str, clock: Callable[[], float], *, every: bool = False
) -> tuple[View, io.StringIO]:
    out = io.StringIO()
    return View(topic, Console(file=out, width=120), every=every, clock=clock), out


def record(fields: dict[str, Any], stamp_us: int = 0) -> Record:
    return Record(0, 5, stamp_us, b"42", orjson.dumps(fields), fields)


def test_a_prediction_is_a_line_with_all_that_matters() -> None:
    table, out = view("predictions", lambda: 2.0)
    table.show([record(PREDICTION, 1_988_000)])
    head, line = out.getvalue().splitlines()
    assert head.split() == [
        "time", "id", "key", "score", "interval", "decision", "version", "age", "reasons"
    ]  # fmt: skip
    assert line == (
        "01-01 00:00:03  7          42      0.9123  0.041 to 1      review         12   12 ms  "
        "amount, weekend"
    )


def test_a_terminal_is_not_flooded_and_told_what_it_was_spared() -> None:
    now = [1.0]
    table, out = view("predictions", lambda: now[0])
    for _ in range(10):
        table.show([record(PREDICTION)] * 10)
        now[0] += 0.1
    assert len(out.getvalue().splitlines()) == 1 + MOST
    table.show([])
    assert out.getvalue().splitlines()[-1] == f"… {100 - MOST} more"


def test_a_terminal_shows_all_that_was_asked_for() -> None:
    table, out = view("predictions", lambda: 1.0, every=True)
    table.show([record(PREDICTION)] * 100)
    assert len(out.getvalue().splitlines()) == 101


@pytest.mark.parametrize("topic", TOPICS)
@given(st.dictionaries(st.sampled_from(["time", "values", "score", "examples", "id"]), JSON))
def test_no_record_is_too_odd_to_be_shown(topic: str, fields: dict[str, Any]) -> None:
    odd = [record(fields), Record(0, 1, 0, None, None, {}), Record(0, 2, 0, b"\xff", b"\xff", {})]
    table, out = view(topic, lambda: 1.0)
    table.show(odd)
    assert len(out.getvalue().splitlines()) == 4
    assert len(columns(topic)) > 2


@pytest.mark.parametrize(
    ("us", "said"),
    [(-5, "0 ms"), (999_000, "999 ms"), (1_000_000, "1 s"), (120_000_000, "2 min"),
     (3_600_000_000, "1 h"), (86_400_000_000, "1 d")],
)  # fmt: skip
def test_an_age_is_said_in_the_largest_unit_that_fits(us: int, said: str) -> None:
    assert ago(us) == said


def test_one_partition_can_be_read_alone() -> None:
    broker = filled(LINES, 3)
    reader = TopicReader(broker, "predictions", [2])
    assert reader.inputs == [Input("predictions", 2)]
    alone = [value for run in reader.to_end() for value in run.values]
    assert 0 < len(alone) < len(LINES)
