"""Text read a word at a time is what it is byte by byte."""

from __future__ import annotations

from itertools import takewhile

import numpy as np
import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from streams import words
from streams.timestamps import parse_next, parse_one
from streams.written import LONGEST_INTEGER, write_integer, write_string

odd = st.sampled_from(list(b'0123456789"\\\n\x1f /:\x7f\x80\xff'))
texts = st.lists(odd | st.integers(0, 255), min_size=8, max_size=8).map(bytes)


def word(text: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(text, "little"))


@given(texts)
def test_what_a_word_begins_with_is_counted_exactly(text: bytes) -> None:
    plain = list(takewhile(lambda byte: byte >= 32 and byte not in b'"\\', text))
    assert words.plain(word(text)) == len(plain)
    digits = list(takewhile(bytes.isdigit, (bytes([byte]) for byte in text)))
    assert words.digits(word(text)) == len(digits)
    one, other = text[5], text[7]
    assert words.first_of(word(text), one, other) == min(text.index(one), text.index(other))


@given(st.integers(0, 10**8 - 1), st.integers(1, 8), texts)
def test_digits_are_a_number_whatever_follows_them(number: int, width: int, rest: bytes) -> None:
    digits = b"%0*d" % (width, number)
    assert words.number(word((digits + rest)[:8]), min(len(digits), 8)) == number


@given(texts, texts, st.integers(0, 8))
def test_two_texts_are_the_same_as_far_as_is_asked(one: bytes, other: bytes, common: int) -> None:
    left = np.frombuffer(one + other[:common] + one + bytes(8), np.uint8)
    right = np.frombuffer(one + other + bytes(8), np.uint8)
    for count in range(17):
        same = left[:count].tobytes() == right[:count].tobytes()
        assert words.same(left, 0, right, 0, count) == same


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"2020-01-01", b"2020-01-02", b"2020-02-30", b"1969-12-31"]),
            st.sampled_from([b"T", b" ", b"x"]),
            st.sampled_from([b"00:00:00", b"23:59:59", b"23:59:60", b"24:00:00", b"1a:00:00"]),
            st.sampled_from([b".000000Z", b".123456Z", b".12345xZ", b".123456z", b"Z", b""]),
        ),
        min_size=1,
    )
)
@example([(b"2020-01-01", b"T", b"00:00:00", b".000000Z")] * 2)
def test_a_time_after_others_is_what_it_is_alone(parts: list[tuple[bytes, ...]]) -> None:
    day = np.zeros(3, np.uint64)
    for part in parts:
        text = np.frombuffer(b"".join(part) + bytes(8), np.uint8)
        stop = len(text) - 8
        assert parse_next(text, 0, stop, day) == parse_one(text, 0, stop)


powers = st.integers(0, 18).flatmap(lambda power: st.sampled_from([10**power, 10**power - 1]))


@given(st.integers(-(2**63) + 1, 2**63 - 1) | powers)
def test_an_integer_is_written_as_python_writes_it(number: int) -> None:
    for each in (number, -number):
        out = np.zeros(LONGEST_INTEGER, np.uint8)
        assert out[: write_integer(out, 0, each)].tobytes() == b"%d" % each


@given(st.text(max_size=40))
def test_a_string_is_written_whole_wherever_its_escapes_are(text: str) -> None:
    raw = np.frombuffer(text.encode(), np.uint8)
    out = np.zeros(6 * len(raw) + 2, np.uint8)
    assert out[: write_string(out, 0, raw, 0, len(raw))].tobytes() == orjson.dumps(text)
