"""Dead letters to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import orjson
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from jobs.clients.dead_letters import Letter, Original
from streams.timestamps import time_text

WIDE = 16
"""Bytes a line of a dump."""


def table(letters: Sequence[Letter], count: int) -> list[RenderableType]:
    """The newest `count`, and all by reason."""
    if not letters:
        return [Text("none")]
    newest = Table(box=None, pad_edge=False, header_style="bright_black")
    for name in ("place", "reason", "time", "sent again"):
        newest.add_column(name, no_wrap=True)
    newest.add_column("detail", no_wrap=True, overflow="ellipsis")
    for letter in letters[-count:]:
        again = "yes" if letter.replayed else ""
        when = time_text(letter.time_us)[:19]
        newest.add_row(str(letter.place), letter.reason, when, again, Text(letter.detail))
    counts = Counter(letter.reason for letter in letters)
    said = ", ".join(f"{number:,} {reason}" for reason, number in counts.most_common())
    return [newest, Text(f"\n{len(letters):,} in all: {said}", style="bright_black")]


def as_line(letter: Letter) -> str:
    """The letter as a line of JSON, without the bytes."""
    return orjson.dumps(
        {
            "place": str(letter.place),
            "reason": letter.reason,
            "detail": letter.detail,
            "time": letter.time_us,
            "replayed": letter.replayed,
        }
    ).decode()


def page(letter: Letter, original: Original | None, held: bytes) -> Iterator[str]:
    """All there is to say of one; `held` is what the letter has of the bytes."""
    yield f"place       {letter.place}"
    yield f"reason      {letter.reason}: {letter.detail}"
    yield f"appended    {time_text(letter.time_us)}"
    yield f"sent again  {'yes' if letter.replayed else 'no'}"
    if original is None:
        yield "its topic does not hold it any more; the letter has"
    else:
        yield f"key         {_text(original.key)}"
        yield from (f"header      {name}: {_text(value)}" for name, value in original.headers)
        held = original.value or b""
    yield f"{len(held):,} bytes"
    yield from _content(held)


def _text(value: bytes | None) -> str:
    return "none" if value is None else value.decode(errors="backslashreplace")


def _content(value: bytes) -> Iterator[str]:
    r"""Text as it is, else as a dump.

    >>> list(_content(b"\xff\x00{"))
    ['00000000  ff 00 7b                                         |..{|']
    """
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "".join(text.split()).isprintable():
        yield text
        return
    for at in range(0, len(value), WIDE):
        row = value[at : at + WIDE]
        shown = "".join(chr(each) if 32 <= each < 127 else "." for each in row)
        yield f"{at:08x}  {row.hex(' '):<{3 * WIDE}} |{shown}|"
