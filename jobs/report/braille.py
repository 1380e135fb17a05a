"""Lines in a terminal: each character holds two by four dots of braille."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.text import Text

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_BLANK = 0x2800
_BARS = "▁▂▃▄▅▆▇█"


def lines(
    series: Mapping[str, Sequence[float]], *, width: int, height: int, high: float
) -> list[Text]:
    """A plot of `height` rows and `width` columns, from 0 at the bottom to `high` at the top.

    `series` maps a rich style to values evenly spaced from the left edge to the right, nan where
    there is none; where two meet, the first in the mapping is seen.

    >>> [str(row) for row in lines({"bold": [0.0, 1.0]}, width=3, height=1, high=1.0)]
    ['⡠⠔⠊']
    """
    dots = [[0] * width for _ in range(height)]
    styles = [[""] * width for _ in range(height)]
    for style, values in reversed(list(series.items())):
        for x, (bottom, top) in enumerate(_spans(values, 2 * width, 4 * height - 1, high)):
            for y in range(bottom, top + 1):
                row, place = divmod(4 * height - 1 - y, 4)
                dots[row][x // 2] |= _DOTS[place][x % 2]
                styles[row][x // 2] = style
    return [
        Text.assemble(*((chr(_BLANK + d), s) for d, s in zip(row, style, strict=True)))
        for row, style in zip(dots, styles, strict=True)
    ]


def _spans(values: Sequence[float], columns: int, most: int, high: float) -> list[tuple[int, int]]:
    """The lowest and highest dot of each column, so that neighbours touch; none is (0, -1)."""
    last, before, spans = len(values) - 1, None, []
    for x in range(columns):
        place = x * last / max(columns - 1, 1)
        left = min(int(place), max(last - 1, 0))
        right = min(left + 1, last)
        value = math.nan
        if values:
            value = values[left] + (values[right] - values[left]) * (place - left)
        if math.isnan(value):
            before = None
            spans.append((0, -1))
            continue
        y = min(max(round(value / high * most), 0), most)
        near = y if before is None else before + (y > before) - (y < before)
        spans.append((min(y, near), max(y, near)))
        before = y
    return spans


def bars(values: Sequence[float], width: int) -> str:
    """The last `width` values as bars over zero.

    >>> bars([1, 2, 4], 8)
    '▃▅█'
    """
    shown = values[-width:]
    high = max(shown, default=0.0) or 1.0
    return "".join(_BARS[min(int(value / high * 8), 7)] for value in shown)
