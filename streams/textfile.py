"""Lines of a text file, many at a time, from any byte on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from streams.errors import InputError

_BLOCK = 1 << 20
_BOM = b"\xef\xbb\xbf"


class Lines(NamedTuple):
    """Lines that are not blank, and where reading goes on after them."""

    lines: list[bytes]
    numbers: list[int]
    """Of each line, counted from 1 as editors do."""
    byte: int
    """Where the next line starts."""
    number: int
    """How many lines are before it."""


def read_lines(
    path: Path, size: int, limit: int, byte: int = 0, number: int = 0
) -> Iterator[Lines]:
    """At most `size` lines at a time, from `byte` on, before which there are `number` lines.

    Of a line longer than `limit` bytes the first limit + 1 are given, whatever its length.
    """
    try:
        with path.open("rb") as file:
            bom = file.read(len(_BOM)) == _BOM
            file.seek(byte or len(_BOM) * bom)
            byte = file.tell()
            while taken := list(islice(iter(partial(file.readline, limit + 1), b""), size)):
                cut = next((at for at, line in enumerate(taken) if line[-1] != ord("\n")), None)
                if cut is not None:
                    del taken[cut + 1 :]
                    file.seek(byte + sum(map(len, taken)))
                    while (more := file.readline(_BLOCK)) and not more.endswith(b"\n"):
                        pass
                byte = file.tell()
                lines = b"".join(taken).removesuffix(b"\n").split(b"\n")
                numbers = list(range(number + 1, number + 1 + len(taken)))
                number += len(taken)
                if b"" in lines or b"\r" in lines:
                    kept = [at for at, line in enumerate(lines) if line not in (b"", b"\r")]
                    lines, numbers = [lines[at] for at in kept], [numbers[at] for at in kept]
                yield Lines(lines, numbers, byte, number)
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror or error}"
        raise InputError(f"{message}; check the path and its permissions") from None
