"""The headers of records as a column beside rows; as good as nothing where no record has any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from streams.broker import Headers

Column = list[Headers | None] | None
"""The headers of each row, or None if none has any."""


class Headed(Protocol):
    """Rows, and their headers."""

    @property
    def headers(self) -> Column:
        """Theirs."""

    def __len__(self) -> int: ...


def picked(column: Column, rows: npt.NDArray[np.int64]) -> Column:
    """The headers of the rows at these places.

    >>> picked([[("trace", b"1")], None, None], np.array([1, 2])) is None
    True
    """
    if column is None:
        return None
    found = [column[row] for row in rows.tolist()]
    return found if any(found) else None


def joined(parts: Sequence[Headed]) -> Column:
    """The headers of all parts, one after the other."""
    if all(part.headers is None for part in parts):
        return None
    return [each for part in parts for each in part.headers or [None] * len(part)]
