"""Malformed lines for simulated NDJSON, each with the reason it should be refused for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from streams.errors import Reason
from streams.jit import kernel
from streams.simulation.draws import hashed
from streams.simulation.traffic import Traffic

Int64s = npt.NDArray[np.int64]

_GARBAGE = 900
_RARE = 100
"""One in this many garbage lines is a too large one: they are thousands of times longer."""


def _line(text: str) -> Callable[[int], bytes]:
    """Fill in an id that no transaction has; the other fields are good unless the text says so."""
    return lambda number: text.replace("#", f"garbage-{number}").encode() + b"\n"


_GOOD = '{"id":"#","time":"2024-01-01T00:00:00Z","customer":"1","terminal":"2",'
KINDS: tuple[tuple[Reason, Callable[[int], bytes]], ...] = (
    (Reason.TOO_LARGE, lambda number: _line(_GOOD)(number)[:-1] + b" " * 70_000 + b'"amount":1}\n'),
    (Reason.NOT_JSON, _line(_GOOD + '"amo')),
    (Reason.NOT_JSON, lambda number: b"\x00\xff\xfe\x80 garbage %d\n" % number),
    (Reason.NOT_JSON, _line("#,2024-01-01T00:00:00Z,1,2,12.34")),
    (Reason.NOT_AN_OBJECT, _line('["#","2024-01-01T00:00:00Z","1","2",12.34]')),
    (Reason.MISSING_FIELD, _line(_GOOD[:-1] + "}")),
    (Reason.MISSING_FIELD, _line('{"time":"2024-01-01T00:00:00Z","fraud":true}')),
    (Reason.WRONG_TYPE, _line(_GOOD + '"amount":[12.34]}')),
    (Reason.WRONG_TYPE, _line('{"id":"#","time":"2024-01-01T00:00:00Z","fraud":"perhaps"}')),
    (Reason.OUT_OF_RANGE, _line(_GOOD + '"amount":-5.00}')),
    (Reason.OUT_OF_RANGE, _line(_GOOD + '"amount":1000000.00}')),
    (Reason.WRONG_SCALE, _line(_GOOD + '"amount":12.345}')),
    (Reason.BAD_TIME, _line(_GOOD.replace("2024-01-01T00:00:00Z", "yesterday") + '"amount":1}')),
    (Reason.TIME_TOO_EARLY, _line(_GOOD.replace("2024", "1924") + '"amount":1}')),
    (Reason.TIME_TOO_LATE, _line(_GOOD.replace("2024", "2924") + '"amount":1}')),
)
"""The kinds of garbage."""


def garbage(traffic: Traffic, first: int, count: int) -> Iterator[tuple[int, Reason, bytes]]:
    """The lines to put in after some of `count` rows that begin at row `first`, in order.

    Each is the place of the row, the reason, and the line. They depend on the row alone, not on
    where the rows were cut.
    """
    words = np.empty((count, 2), np.uint64)
    _words(traffic.seed, first, words)
    chosen = np.flatnonzero((words[:, 0] >> np.uint64(11)) < traffic.garbage * 2**53)
    for place in chosen.tolist():
        word = int(words[place, 1])
        kind = 0 if word % _RARE == 0 else 1 + word // _RARE % (len(KINDS) - 1)
        reason, line = KINDS[kind]
        yield place, reason, line(first + place)


@kernel("void(uint64, int64, uint64[:, ::1])")
def _words(seed, first, out):  # type: ignore[no-untyped-def]
    for i in range(len(out)):
        out[i, 0] = hashed(seed, _GARBAGE, first + i, 0)
        out[i, 1] = hashed(seed, _GARBAGE, first + i, 1)
