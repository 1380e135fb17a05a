"""The decoder takes what the schema says, names what it refuses, and never raises."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.batch import EVENT, LABEL, UNKNOWN, Batch
from streams.codec import Decoder
from streams.errors import ConfigError, DeadLetter, Reason
from streams.jsonl import MIXED
from streams.packing import pack
from streams.schema import MISSING, Category, Event, Label, Number
from streams.tables import from_columns
from streams.timestamps import NOT_A_TIME, parse, time_text

PURCHASE = Event(
    "transaction",
    keys=("customer", "terminal"),
    numbers=(Number("amount", scale=2, maximum=100_000),),
    label=Label("fraud", maturity="7d"),
)
RICH = Event(
    "visit",
    keys=("user",),
    numbers=(Number("price", scale=3, minimum=-5, maximum=5, required=False),),
    categories=(Category("country", required=False), Category("device")),
    label=Label("bought"),
)
TIME = 1_522_540_831_000_000
NOW = TIME + 3_600_000_000
GOOD: dict[str, Any] = {
    "id": "a",
    "time": "2018-04-01T00:00:31Z",
    "customer": "c",
    "terminal": 7,
    "amount": 12.34,
}


def decode(
    *records: Any, event: Event = PURCHASE, kind: int = MIXED
) -> tuple[Batch, list[DeadLetter]]:
    lines = [each if isinstance(each, bytes) else orjson.dumps(each) for each in records]
    return Decoder(event, kind, topic="in").decode(lines, NOW)


def test_a_transaction_becomes_a_row() -> None:
    batch, letters = decode(GOOD)
    assert letters == []
    assert batch.kind.tolist() == [EVENT]
    assert batch.time.tolist() == [TIME]
    assert batch.numbers.tolist() == [[1234]]
    assert [texts.to_pylist() for texts in batch.texts] == [["a"], ["c"], ["7"]]
    assert batch.idents[0, 2].tolist() == [0, 7]
    assert batch.label.tolist() == [UNKNOWN]


def test_a_record_with_the_labels_field_is_a_label_and_keeps_its_place() -> None:
    label = {"id": "a", "time": TIME + 5, "fraud": True}
    batch, letters = decode(GOOD, label, GOOD | {"id": 2})
    assert letters == []
    assert batch.kind.tolist() == [EVENT, LABEL, EVENT]
    assert batch.label.tolist() == [UNKNOWN, 1, UNKNOWN]
    assert batch.offset.tolist() == [0, 1, 2]
    assert not batch.idents[1, 1:].any()
    assert batch.texts[1].to_pylist() == ["c", "", "c"]


def test_the_word_of_the_label_in_a_value_makes_no_label() -> None:
    batch, letters = decode(GOOD | {"note": "fraud"}, GOOD)
    assert (batch.kind.tolist(), letters) == ([EVENT, EVENT], [])


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"", Reason.NOT_JSON),
        (b"{", Reason.NOT_JSON),
        (b'{"id":"\xff"}', Reason.NOT_JSON),
        (b"[" * 5000 + b"]" * 5000, Reason.NOT_JSON),
        (b"{}\n{}", Reason.NOT_JSON),
        (b'{"id":1,"amount":NaN}', Reason.NOT_FINITE),
        (orjson.dumps(GOOD).replace(b"12.34", b"1e999"), Reason.NOT_FINITE),
        (b"[1]", Reason.NOT_AN_OBJECT),
        (b"7", Reason.NOT_AN_OBJECT),
        (GOOD | {"note": "x" * 70_000}, Reason.TOO_LARGE),
        (orjson.dumps(GOOD)[:-1] + b',"amount":1}', Reason.DUPLICATE_FIELD),
        (orjson.dumps(GOOD)[:-1] + b',"\\u0061mount":1}', Reason.DUPLICATE_FIELD),
        (GOOD | {"v": 2}, Reason.UNKNOWN_VERSION),
        (GOOD | {"v": "1"}, Reason.UNKNOWN_VERSION),
        (GOOD | {"v": True}, Reason.UNKNOWN_VERSION),
        ({}, Reason.MISSING_FIELD),
        (GOOD | {"amount": None}, Reason.MISSING_FIELD),
        (GOOD | {"customer": None}, Reason.MISSING_FIELD),
        (GOOD | {"amount": "12.34"}, Reason.WRONG_TYPE),
        (GOOD | {"amount": True}, Reason.WRONG_TYPE),
        (GOOD | {"id": 1.5}, Reason.WRONG_TYPE),
        (GOOD | {"id": ["a"]}, Reason.WRONG_TYPE),
        (GOOD | {"time": 1e300}, Reason.WRONG_TYPE),
        (GOOD | {"id": -1}, Reason.OUT_OF_RANGE),
        (GOOD | {"amount": -0.01}, Reason.OUT_OF_RANGE),
        (GOOD | {"amount": 100_000.01}, Reason.OUT_OF_RANGE),
        (GOOD | {"amount": 10**19}, Reason.OUT_OF_RANGE),
        (GOOD | {"amount": 12.345}, Reason.WRONG_SCALE),
        (GOOD | {"id": ""}, Reason.BAD_TEXT),
        (GOOD | {"customer": "é" * 129}, Reason.BAD_TEXT),
        (GOOD | {"time": "yesterday"}, Reason.BAD_TIME),
        (GOOD | {"time": "2018-02-29T00:00:00Z"}, Reason.BAD_TIME),
        (GOOD | {"time": -1}, Reason.TIME_TOO_EARLY),
        (GOOD | {"time": "1969-12-31T23:59:59Z"}, Reason.TIME_TOO_EARLY),
        (GOOD | {"time": TIME // 1_000_000}, Reason.TIME_TOO_EARLY),
        (GOOD | {"time": TIME // 1_000}, Reason.TIME_TOO_EARLY),
        (GOOD | {"time": "2200-01-01T00:00:00Z"}, Reason.TIME_TOO_LATE),
        (GOOD | {"time": NOW + 3_600_000_001}, Reason.TIME_AHEAD),
        ({"id": 1, "time": TIME, "fraud": 2}, Reason.OUT_OF_RANGE),
        ({"id": 1, "time": TIME, "fraud": "yes"}, Reason.WRONG_TYPE),
    ],
)
def test_a_bad_record_is_a_dead_letter_and_costs_no_other(record: Any, reason: Reason) -> None:
    batch, letters = decode(GOOD, record, GOOD | {"id": "b"})
    assert batch.texts[0].to_pylist() == ["a", "b"]
    assert [(letter.reason, letter.offset, letter.topic) for letter in letters] == [
        (reason, 1, "in")
    ]


@pytest.mark.parametrize("before", [b'{"id":"\\', b'{\n"id":\n1}', b'{"a', b"}"])
def test_a_field_given_twice_is_found_after_any_line(before: bytes) -> None:
    twice = orjson.dumps(GOOD)[:-1] + b',"amount":1}'
    _, letters = decode(GOOD, before, twice)
    assert [letter.reason for letter in letters][1:] == [Reason.DUPLICATE_FIELD]


def test_two_records_on_one_line_do_not_stand_in_for_an_empty_one() -> None:
    twice = orjson.dumps(GOOD) * 2
    batch, letters = decode(twice, GOOD | {"id": "b"}, b" ")
    assert (batch.texts[0].to_pylist(), batch.offset.tolist()) == (["b"], [1])
    assert [letter.reason for letter in letters] == [Reason.NOT_JSON] * 2


def test_the_detail_names_the_unit_that_an_integer_time_looks_like() -> None:
    _, letters = decode(GOOD | {"time": TIME // 1_000_000}, GOOD | {"time": TIME // 1000})
    assert ["seconds" in letters[0].detail, "milliseconds" in letters[1].detail] == [True, True]


def test_a_dead_letter_keeps_the_record_up_to_its_largest_size() -> None:
    _, letters = decode(b"[" + b"1," * 10_000_000)
    assert (letters[0].reason, len(letters[0].raw)) == (Reason.TOO_LARGE, PURCHASE.max_bytes)


def test_what_may_be_written_in_several_ways_may() -> None:
    ways = [
        orjson.dumps(GOOD | {"time": TIME, "v": 1, "more": {"amount": [1]}}),
        orjson.dumps(GOOD | {"time": "2018-04-01t02:00:31.000000999+02:00"}),
        orjson.dumps(GOOD, option=orjson.OPT_INDENT_2),
        orjson.dumps(GOOD).replace(b'"amount"', b'"\\u0061mount"'),
        orjson.dumps(GOOD).replace(b"12.34", b"1234e-2"),
    ]
    batch, letters = decode(*ways)
    assert letters == []
    assert batch.time.tolist() == [TIME] * 5
    assert batch.numbers.ravel().tolist() == [1234] * 5


def test_optional_fields_that_are_absent_or_null_are_missing_not_zero() -> None:
    one = {"id": 1, "time": TIME, "user": 2, "device": "tv"}
    batch, letters = decode(one, one | {"price": None, "country": "be"}, {"id": 1}, event=RICH)
    assert [letter.reason for letter in letters] == [Reason.MISSING_FIELD]
    assert batch.numbers.ravel().tolist() == [MISSING, MISSING]
    assert batch.categories[0, 0] == MISSING
    assert batch.categories[1, 0] != MISSING


def test_events_may_carry_their_own_label_under_another_name() -> None:
    decoder = Decoder(PURCHASE, names={"id": "TX", "fraud": "TX_FRAUD"})
    record = {name: value for name, value in GOOD.items() if name != "id"} | {"TX": 5}
    lines = [orjson.dumps(record | flag) for flag in ({"TX_FRAUD": 1}, {"TX_FRAUD": False}, {})]
    batch, letters = decoder.decode(lines, NOW)
    assert (batch.label.tolist(), letters) == ([1, 0, UNKNOWN], [])
    assert batch.kind.tolist() == [EVENT] * 3


def test_no_records_are_an_empty_batch() -> None:
    batch, letters = decode()
    assert (len(batch), len(batch.texts), letters) == (0, 3, [])


@pytest.mark.parametrize(
    "event",
    [
        Event("e", keys=("id",), label=Label("l")),
        Event("e", keys=("v",), label=Label("l")),
        Event("e", keys=(), label=Label("l"), numbers=(Number("n", scale=9, maximum=1e9),)),
    ],
)
def test_an_event_that_cannot_be_decoded_exactly_is_refused(event: Event) -> None:
    with pytest.raises(ConfigError, match="event 'e'"):
        Decoder(event)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1).filter(lambda n: n >= -(2**63))
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
near_records = st.fixed_dictionaries(
    {},
    optional={name: st.just(value) | json_values for name, value in GOOD.items()}
    | {"fraud": st.booleans() | json_values, "v": st.just(1) | json_values},
)
broken_records = st.builds(
    lambda at, span, patch: (line := orjson.dumps(GOOD))[:at] + patch + line[at + span :],
    st.integers(0, 90),
    st.integers(0, 8),
    st.binary(max_size=3)
    | st.sampled_from([b'"', b"\\", b"\n", b"{", b',"id":2', b"0", b"-", b"e9"]),
)
lines = (
    broken_records
    | st.sampled_from([orjson.dumps(GOOD) * 2, b"", b" "])
    | st.binary(max_size=30)
    | st.text(alphabet='{}[]",:\\ \n0123eNa.u-', max_size=20).map(str.encode)
    | near_records.map(orjson.dumps)
    | json_values.map(orjson.dumps)
    | st.just(orjson.dumps(GOOD))
)


@given(st.lists(lines, max_size=12), st.sampled_from([EVENT, LABEL, MIXED]))
def test_every_line_is_a_row_or_a_dead_letter_whatever_it_holds(
    given_lines: list[bytes], kind: int
) -> None:
    batch, letters = Decoder(PURCHASE, kind).decode(given_lines, NOW)
    places = sorted([*batch.offset.tolist(), *[letter.offset for letter in letters]])
    assert places == list(range(len(given_lines)))


@given(st.lists(lines, max_size=12))
def test_what_becomes_of_a_line_hangs_on_no_other(given_lines: list[bytes]) -> None:
    decoder = Decoder(PURCHASE)
    whole, letters = decoder.decode(given_lines, NOW)
    single = [
        decoder.decode([line], NOW, offsets=np.array([place]))
        for place, line in enumerate(given_lines)
    ]
    assert letters == [letter for _, found in single for letter in found]
    if single:
        alone = Batch.concat([batch for batch, _ in single])
        assert pack(alone) == pack(whole)


@given(st.integers(0, 10_000_000))
def test_every_number_of_the_scale_is_taken_as_its_unit(units: int) -> None:
    batch, letters = decode(GOOD | {"amount": units / 100}, GOOD | {"amount": units * 0.01})
    assert (batch.numbers.ravel().tolist(), letters) == ([units, units], [])


@given(st.integers(0, 7_258_118_399_999_999))
def test_time_text_is_read_back(time_us: int) -> None:
    assert parse(pa.array([time_text(time_us)], pa.large_string())).tolist() == [time_us]


@pytest.mark.parametrize(
    "text",
    [
        "2018-13-01T00:00:00Z",
        "2018-01-01",
        "2018-01-01T24:00:00",
        "2018-01-01T00:00:00+1:00",
        "2018-01-01T00:00:00.Z",
        "2018-01-01T00:00:00ZZ",
        "٢٠18-01-01T00:00:00",
        "",
    ],
)
def test_text_that_is_no_timestamp_is_told(text: str) -> None:
    assert parse(pa.array([text], pa.large_string())).tolist() == [NOT_A_TIME]


def test_columns_obey_the_rules_of_records() -> None:
    columns = {
        "id": pa.array([1, -1, 3, None]),
        "time": pa.array([TIME // 1000] * 4, pa.timestamp("ms")),
        "customer": pa.array(["a", "b", "", "d"]).dictionary_encode(),
        "terminal": pa.array([1, 2, 3, 4], pa.uint64()),
        "amount": pa.array([85.64999999999999, 1.0, 1.0, 1.0]),
        "fraud": pa.array([True, None, False, True]),
    }
    batch, letters = from_columns(PURCHASE, columns, NOW, offsets=np.arange(10, 14))
    assert (batch.numbers.tolist(), batch.label.tolist()) == ([[8565]], [1])
    assert batch.texts[0].type == pa.int64()
    reasons = [Reason.OUT_OF_RANGE, Reason.BAD_TEXT, Reason.MISSING_FIELD]
    assert [letter.reason for letter in letters] == reasons
    assert [letter.offset for letter in letters] == [11, 12, 13]


def test_a_large_integer_id_has_the_ident_of_its_text() -> None:
    event = Event("e", keys=(), label=Label("l"))
    numbers, _ = from_columns(event, {"id": pa.array([10**18]), "time": pa.array([5])}, None)
    texts, _ = decode({"id": str(10**18), "time": 5}, event=event)
    assert numbers.idents.tolist() == texts.idents.tolist()
