"""Regular records are read as any other are: to the same bits, one by one or among others."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.batch import EVENT, LABEL, Batch
from streams.codec import Decoder
from streams.jsonl import MIXED
from streams.regular import RegularLines
from streams.schema import Category, Event, Label, Number

RECEIVED = 1_700_000_000_000_000
EVENT_TYPE = Event(
    "payment",
    keys=("user",),
    numbers=(Number("amount", scale=2, maximum=5_000), Number("tip", minimum=-9, required=False)),
    categories=(Category("kind", required=False), Category("land")),
    label=Label("fraud"),
)
NAMES = ("id", "time", "user", "amount", "tip", "kind", "land", "fraud", "v", "note", "naïve")
TOKENS = (
    '"a"', '"é"', '"42"', '"007"', '"\\u0041"', '""', f'"{"x" * 256}"', f'"{"é" * 129}"', "7",
    "0", "-0", "-1", "00", "1.", ".5", "-", "1e3", "12.34", "12.345", "0.1", "-0.0", "4999.999999",
    "5000.01", "3.0000004", "1", "1.0", "999999999999999999", "1234567890123456789", "true",
    "false", "null", "nul", "[1]", "{}", '"2023-06-01T00:00:00.5+01:00"', '"soon"', "1700000000",
    "1700000000000", "1699999999000000", "1700003600000001", "1700003600000000", "99999999999",
    "7258118400000000", '"a\tb"', '"a" "b"', "9007199254740993", "0.30000000000000004", "NaN",
)  # fmt: skip
USUAL = ('"t1"', "1699999999000000", '"u1"', "12.34", "1", '"c"', '"de"')


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """The usual event or label with a few fields replaced, left out, given twice or added."""
    usual = list(zip(NAMES, USUAL, strict=False))
    if draw(st.booleans()):
        usual = [*usual[:2], ("fraud", "true")]
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(usual)))
        one = (draw(st.sampled_from(NAMES)), draw(st.sampled_from(TOKENS)))
        usual[at : at + draw(st.integers(0, 1))] = [one]
    usual = draw(st.permutations(usual)) if draw(st.booleans()) else usual
    space = draw(st.sampled_from(["", " ", "\t\r "]))
    inside = f"{space},{space}".join(f'"{name}"{space}:{space}{value}' for name, value in usual)
    text = f"{space}{{{space}{inside}{space}}}{space}".encode()
    cut = draw(st.integers(0, 30))
    return text[:-cut] if 0 < cut < 4 else text


def same(one: Batch, other: Batch) -> bool:
    columns = [field.name for field in fields(Batch)][:-1]
    return (
        all(getattr(one, name).tobytes() == getattr(other, name).tobytes() for name in columns)
        and all(getattr(one, name).dtype == getattr(other, name).dtype for name in columns)
        and [each.to_pylist() for each in one.texts] == [each.to_pylist() for each in other.texts]
    )


@given(
    st.lists(records(), min_size=1, max_size=5),
    st.sampled_from([EVENT, LABEL, MIXED]),
    st.sampled_from([{}, {"fraud": "fraud"}, {"user": "note", "time": "v2"}]),
    st.sampled_from([RECEIVED, None]),
)
@example([b'{"id":1,"time":7,"fraud":1}'], LABEL, {}, None)
def test_records_are_read_the_same_whether_regular_or_not(
    lines: list[bytes], kind: int, names: dict[str, str], received: int | None
) -> None:
    decoder = Decoder(EVENT_TYPE, kind, names=names)
    batch, letters = decoder.decode(lines, received)
    # A line that is two keeps the regular way from telling records apart.
    slowly, refused = decoder.decode([*lines, b"\n"], received)
    assert same(batch, slowly)
    assert letters == refused[:-1]


def test_events_and_labels_among_each_other_are_read_at_once() -> None:
    event = Event("click", keys=("user",), numbers=(Number("n"),), label=Label("bought"))
    lines = [
        b'{"id":"a","time":5,"user":"x","n":1}',
        b'{"id":"a","time":6,"bought":true}',
        b'{"id":"b","time":7,"user":"y","n":2,"more":null}',
    ]
    kinds = np.array([EVENT, LABEL, EVENT], np.uint8)
    found = RegularLines(event, {}).read(lines, kinds, np.full(3, RECEIVED))
    assert found is not None
    found[0].offset[:] = [0, 1, 2]
    assert same(found[0], Decoder(event).decode([*lines, b"\n"], RECEIVED)[0])


@pytest.mark.parametrize("text", ["a", "é", "日本", "x" * 256])
def test_what_is_plain_is_regular(text: str) -> None:
    event = Event("click", keys=("user",), label=Label("bought"), categories=(Category("c"),))
    line = orjson.dumps({"id": text, "time": 5, "user": 12, "c": text, "more": text})
    found = RegularLines(event, {}).read([line] * 3, np.zeros(3, np.uint8), None)
    assert found is not None
    assert len(found[1]) == 3
