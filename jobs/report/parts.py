"""The parts of a page: figures, sections, tables, as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from html import escape

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def figure(title: str, note: str, drawing: str, below: str = "") -> str:
    """A drawing with its title, a note, and what is to be unfolded below it."""
    return (
        f"<figure><figcaption><h2>{escape(title)}</h2><p>{escape(note)}</p></figcaption>"
        f'<div class="drawing">{drawing}</div>{below}</figure>'
    )


def pair(left: str, right: str) -> str:
    """Two beside each other where the page is wide."""
    return f'<div class="pair">{left}{right}</div>' if left or right else ""


def stacked(*figures: str) -> str:
    """One below the other."""
    return f'<div class="stack">{"".join(figures)}</div>' if any(figures) else ""


def more(summary: str, content: str) -> str:
    """What is shown when it is asked for."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def section(title: str, note: str, content: str) -> str:
    """A part of the page that is no drawing."""
    return f"<section><h2>{escape(title)}</h2><p>{escape(note)}</p>{content}</section>"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], words: Iterable[str] = ()) -> str:
    """A table with a header row and column; the columns named in `words` are not numbers."""
    kinds = [' class="words"' if head in set(words) else "" for head in heads]
    head = "".join(
        f'<th scope="col"{kind}>{escape(text)}</th>'
        for kind, text in zip(kinds, heads, strict=True)
    )
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(
            f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds[1:], cells, strict=True)
        )
        + "</tr>"
        for first, *cells in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def moment(time_us: int) -> str:
    """A day, with the time of day unless it begins."""
    at = EPOCH + timedelta(microseconds=time_us)
    return f"{at:%Y-%m-%d}" if not time_us % 86_400_000_000 else f"{at:%Y-%m-%d %H:%M}"
