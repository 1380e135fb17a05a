"""Decimal text to doubles: the nearest one, or none."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from streams.decimals import read_float, read_integer
from streams.jit import kernel


@kernel("int64(uint8[::1], float64[::1], uint64[::1])")
def _float(text, out, bits):  # type: ignore[no-untyped-def]
    return read_float(text, 0, len(text), out, bits, 0)


@kernel("Tuple((int64, int64))(uint8[::1])")
def _integer(text):  # type: ignore[no-untyped-def]
    return read_integer(text, 0, len(text))


def read(text: str) -> tuple[float, int]:
    out = np.zeros(1)
    raw = np.frombuffer(bytearray(text.encode()), np.uint8)
    end = _float(raw, out, out.view(np.uint64))
    return float(out[0]), end


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([repr, "%.17e", "%.3f"]))
@example(5e-324, repr)
@example(1.7976931348623157e308, repr)
@example(9007199254740993.0, repr)
@example(-0.0, repr)
def test_a_number_is_the_nearest_double_or_is_not_told(value: float, how: object) -> None:
    text = how(value) if callable(how) else str(how) % value
    found, end = read(f"{text},")
    if end >= 0:
        assert end == len(text)
        assert np.float64(found).tobytes() == np.float64(text).tobytes()
    else:
        # Only what lies half-way between two, is below the normal numbers, or has many digits.
        assert abs(value) < 2.3e-308 or len(text) > 20 or abs(value) > 2**49


@given(st.integers(0, 10**17), st.integers(0, 22))
def test_short_decimals_are_always_told(mantissa: int, decimals: int) -> None:
    digits = str(mantissa).zfill(decimals + 1)
    text = f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits
    found, end = read(text)
    if mantissa <= 2**53:
        assert (found, end) == (float(text), len(text))


def test_null_is_nan_and_what_is_no_number_is_none() -> None:
    assert np.isnan(read("null,")[0])
    for text in ("", "-", ".5", "1.", "1e", "1e-", "x", "1" * 30, "1e9999"):
        assert read(text)[1] == -1, text


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_integers_of_a_word_are_read(number: int) -> None:
    raw = np.frombuffer(bytearray(f"{number},".encode()), np.uint8)
    assert _integer(raw) == (number, len(str(number)))
    assert _integer(np.frombuffer(bytearray(b"99999999999999999999"), np.uint8))[1] == -1
