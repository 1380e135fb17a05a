"""Slices of the examples in which scores do worse, as a part of the report."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.judged import KEPT
from jobs.report.parts import section, table
from jobs.slices_view import HEADS

TITLE = "Slices that do worse"


def worse(rows: Sequence[Sequence[str]] | None) -> str:
    """The rows of `jobs.slices_view`; nothing where none were looked for."""
    if rows is None:
        return ""
    if not rows:
        note = "No range of a feature, or of two, does much worse than the rest."
        return section(TITLE, note, "")
    note = (
        f"Of the last {KEPT:,} examples. Log loss beside what the scores lead one to expect, and "
        "average precision beside that of the rest; each without the events of those above it."
    )
    return section(TITLE, note, table(["slice", *HEADS], rows))
