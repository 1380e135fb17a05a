"""Simulated records as NDJSON bytes, formatted in a kernel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.jit import kernel
from streams.schema import DAY, MISSING, SECOND
from streams.simulation.scenarios import CENTS, ID, IS_LABEL, TIME, WHERE, WHO
from streams.written import BYTES, write_bytes, write_digits

Int64s = npt.NDArray[np.int64]

_LONGEST = 200


def _bytes(text: str) -> npt.NDArray[np.uint8]:
    return np.frombuffer(text.encode(), np.uint8)


_ID = _bytes('{"id":"')
_TIME = _bytes('","time":"')
_WHO = _bytes('Z","customer":"')
_WHERE = _bytes('","terminal":"')
_AMOUNT = _bytes('","amount":')
_NO_AMOUNT = _bytes('"}\n')
_FRAUD = _bytes('Z","fraud":true}\n')
_END = _bytes("}\n")


def lines(rows: Int64s) -> tuple[memoryview, Int64s]:
    """Records (n, RECORD_COLUMNS) as NDJSON, and where each line ends, (n,).

    A transaction is `{"id":"1","time":"2024-01-01T00:00:01.250000Z","customer":"7","terminal":"9",
    "amount":12.30}`, without an amount that is missing, and a label
    `{"id":"1","time":"2024-01-04T09:00:00.000000Z","fraud":true}`.
    """
    out = np.empty(_LONGEST * len(rows), np.uint8)
    ends = np.empty(len(rows), np.int64)
    _write(rows, out, ends)
    return out[: ends[-1] if len(rows) else 0].data, ends


@kernel(f"int64(uint8[::1], int64, {BYTES})")
def _text(out, at, text):  # type: ignore[no-untyped-def]
    return write_bytes(out, at, text, 0, len(text))


@kernel("int64(uint8[::1], int64, int64)")
def _moment(out, at, time):  # type: ignore[no-untyped-def]
    """Write a time since 1970 as `2024-01-01T00:00:01.250000`.

    The year is counted from March, so that the day that some years lack is the last one.
    """
    day = time // DAY + 719_468
    era = day // 146_097
    in_era = day % 146_097
    year = (in_era - in_era // 1_460 + in_era // 36_524 - in_era // 146_096) // 365
    in_year = in_era - (365 * year + year // 4 - year // 100)
    month = (5 * in_year + 2) // 153
    in_month = in_year - (153 * month + 2) // 5
    month = month + 3 if month < 10 else month - 9
    seconds = time // SECOND % 86_400
    at = write_digits(out, at, 400 * era + year + (month <= 2), 4)
    out[at] = 45
    at = write_digits(out, at + 1, month, 2)
    out[at] = 45
    at = write_digits(out, at + 1, in_month + 1, 2)
    out[at] = 84
    at = write_digits(out, at + 1, seconds // 3600, 2)
    out[at] = 58
    at = write_digits(out, at + 1, seconds // 60 % 60, 2)
    out[at] = 58
    at = write_digits(out, at + 1, seconds % 60, 2)
    out[at] = 46
    return write_digits(out, at + 1, time % SECOND, 6)


@kernel("void(int64[:, ::1], uint8[::1], int64[::1])")
def _write(rows, out, ends):  # type: ignore[no-untyped-def]
    at = 0
    for i in range(len(rows)):
        at = _text(out, at, _ID)
        at = write_digits(out, at, rows[i, ID], 1)
        at = _text(out, at, _TIME)
        at = _moment(out, at, rows[i, TIME])
        if rows[i, IS_LABEL]:
            at = _text(out, at, _FRAUD)
        else:
            at = _text(out, at, _WHO)
            at = write_digits(out, at, rows[i, WHO], 1)
            at = _text(out, at, _WHERE)
            at = write_digits(out, at, rows[i, WHERE], 1)
            if rows[i, CENTS] == MISSING:
                at = _text(out, at, _NO_AMOUNT)
                ends[i] = at
                continue
            at = _text(out, at, _AMOUNT)
            at = write_digits(out, at, rows[i, CENTS] // 100, 1)
            out[at] = 46
            at = write_digits(out, at + 1, rows[i, CENTS] % 100, 2)
            at = _text(out, at, _END)
        ends[i] = at
