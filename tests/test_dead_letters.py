"""Dead letters found, shown and sent again: with their bytes, their key, and once."""

import io

import orjson
import pytest
from rich.console import Console

from jobs.clients.dead_letters import (
    PIECE,
    REPLAYED,
    Letter,
    Original,
    Place,
    bytes_of,
    find,
    originals,
)
from jobs.clients.dead_letters import replay as send_again
from jobs.clients.dead_letters_view import as_line, page, table
from streams.broker import Input
from streams.errors import DeadLetter, InputError, Reason
from streams.memory import Cluster, MemoryBroker
from streams.sinks import encode_dead_letter

DEAD = "dead-letters"
BYTES = [b"{", b"\xff\x00", b"[1]", b'{"id":1}', b""]


def bury(broker: MemoryBroker, topic: str, offsets: range | list[int], raw: bytes = b"raw") -> None:
    """Write letters about these offsets of partition 0."""
    letters = [DeadLetter(Reason.NOT_JSON, "why", topic, 0, at, 1_000_000, raw) for at in offsets]
    producer = broker.producer()
    keys = [str(Place(topic, 0, at)).encode() for at in offsets]
    producer.send(DEAD, [encode_dead_letter(letter) for letter in letters], keys)
    assert producer.flush(1)


def broker(values: list[bytes]) -> MemoryBroker:
    """Return a broker whose transactions are these, each with a key and a header, all dead."""
    there = MemoryBroker(Cluster())
    producer = there.producer()
    keys = [b"k%d" % place for place in range(len(values))]
    producer.send("transactions", values, keys, [[("trace", key)] for key in keys])
    assert producer.flush(1)
    bury(there, "transactions", range(len(values)))
    return there


def content(broker: MemoryBroker, topic: str) -> list[Original]:
    consumer = broker.consumer([Input(topic, 0)])
    found: list[Original] = []
    while runs := consumer.poll(100_000, 0.0):
        for run in runs:
            columns = zip(run.keys, run.values, run.each_headers(), strict=True)
            found += [Original(key, value, headers or ()) for key, value, headers in columns]
    return found


def replay(
    broker: MemoryBroker, *, again: bool = False, wanted: slice = slice(None)
) -> tuple[int, ...]:
    done = send_again(broker, DEAD, find(broker, DEAD)[wanted], again=again, watch=lambda _: None)
    return done.sent, done.before, done.gone


def test_each_place_has_one_letter_however_often_it_was_written() -> None:
    there = broker(BYTES)
    bury(there, "transactions", [3, 1])
    found = find(there, DEAD)
    assert [letter.place.offset for letter in found] == [0, 1, 2, 3, 4]
    assert found[2] == Letter(Place("transactions", 0, 2), "not JSON", "why", 1_000_000, (0, 2))


def test_a_record_is_sent_again_as_it_was_and_once() -> None:
    there = broker(BYTES)
    assert replay(there) == (5, 0, 0)
    assert replay(there) == (0, 5, 0)
    first, second = content(there, "transactions")[:5], content(there, "transactions")[5:]
    assert len(second) == 5
    for number, (was, now) in enumerate(zip(first, second, strict=True)):
        assert (now.key, now.value) == (was.key, was.value) == (b"k%d" % number, BYTES[number])
        mark = (REPLAYED, b"transactions/0/%d" % number)
        assert list(now.headers) == [*was.headers, mark]
    assert [letter.replayed for letter in find(there, DEAD)] == [True] * 5


def test_what_is_dead_again_is_left_alone_unless_asked_for() -> None:
    there = broker(BYTES)
    assert replay(there) == (5, 0, 0)
    bury(there, "transactions", range(5, 10))
    assert replay(there) == (0, 10, 0)
    assert replay(there, again=True, wanted=slice(9, 10)) == (1, 0, 0)
    last = content(there, "transactions")[-1]
    marks = [value for name, value in last.headers if name == REPLAYED]
    assert marks == [b"transactions/0/9"] and last.key == b"k4"


def test_some_can_be_sent_and_the_rest_later() -> None:
    there = broker(BYTES)
    assert replay(there, wanted=slice(1, 3)) == (2, 0, 0)
    assert replay(there) == (3, 2, 0)


def test_more_letters_than_are_sent_at_a_time_keep_their_order() -> None:
    count = 2 * PIECE + 7
    there = broker([b"%d" % n for n in range(count)])
    assert replay(there) == (count, 0, 0)
    sent = [each.value for each in content(there, "transactions")]
    assert sent == [b"%d" % n for n in range(count)] * 2


def test_of_a_record_that_is_gone_the_letter_has_the_bytes_or_nobody() -> None:
    there = broker([])
    bury(there, "transactions", [7], b"\xff\x00")
    bury(there, "transactions", [8], b"")
    held, lost = find(there, DEAD)
    assert bytes_of(there, DEAD, held) == b"\xff\x00"
    assert [original for _, original in originals(there, [held, lost])] == [None, None]
    assert replay(there) == (1, 0, 1)
    assert content(there, "transactions") == [
        Original(None, b"\xff\x00", [(REPLAYED, b"transactions/0/7")])
    ]


def test_a_crash_between_sending_and_noting_sends_a_piece_twice_and_no_more() -> None:
    there = broker(BYTES)
    sent: list[int] = []

    def stop(count: int) -> None:
        sent.append(count)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        send_again(there, DEAD, find(there, DEAD)[:2], again=False, watch=stop)
    assert sent == [2] and replay(there) == (3, 2, 0)


@pytest.mark.parametrize("text", ["labels/0/17", "a/b/0/1", "shop.labels/12/0"])
def test_a_place_is_read_as_it_is_written(text: str) -> None:
    assert str(Place.parse(text)) == text


@pytest.mark.parametrize("text", ["labels", "labels/0", "/0/1", "labels/0/x", "labels/-1/2", ""])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="topic/partition/offset"):
        Place.parse(text)


def test_a_page_shows_key_headers_and_bytes_that_no_terminal_obeys() -> None:
    there = broker([b"\x1b[31mred"])
    (letter,) = find(there, DEAD)
    _, original = next(iter(originals(there, [letter])))
    lines = list(page(letter, original, b""))
    assert "key         k0" in lines and "header      trace: k0" in lines
    assert lines[-1].startswith("00000000  1b 5b 33 31") and lines[-1].endswith("|.[31mred|")
    assert "\x1b" not in "".join(lines)
    assert list(page(letter, None, b'{"a":\n1}'))[-1] == '{"a":\n1}'


def test_a_list_counts_by_reason_and_shows_the_newest() -> None:
    found = find(broker(BYTES), DEAD)
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(*table(found, 2))
    text = console.export_text()
    assert "transactions/0/4" in text and "transactions/0/2" not in text
    assert "5 in all: 5 not JSON" in text
    assert orjson.loads(as_line(found[0]))["place"] == "transactions/0/0"
    assert [str(each) for each in table([], 5)] == ["none"]
