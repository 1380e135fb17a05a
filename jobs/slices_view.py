"""`Slices` to read and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import orjson
from rich.table import Table

from jobs.slices import LEVEL, Slice, Slices

HEADS = ("events", "positive", "log loss", "expected", "AP", "of the rest", "effect", "p")


def slices_table(found: Slices) -> Table:
    """A row a slice, the clearest first."""
    title = (
        f"{found.where}: {found.events:,} events ({found.positives:,} positive), "
        f"{found.tried:,} slices tried"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("slice", overflow="fold")
    for heading in HEADS:
        table.add_column(heading, justify="right")
    for row in slices_rows(found):
        table.add_row(*row, style="bold red")
    return table


def slices_rows(found: Slices) -> list[list[str]]:
    """Of each slice its name and what the columns of `HEADS` say."""
    return [[each.name, *_cells(each)] for each in found.found]


def _cells(each: Slice) -> list[str]:
    precisions = (each.precision, each.precision_rest)
    return [
        f"{each.events:,}",
        f"{each.positives:,}",
        f"{each.loss:.4f}",
        f"{each.expected:.4f}",
        *("–" if math.isnan(value) else f"{value:.3f}" for value in precisions),
        f"{each.effect:.2f}",
        f"{each.p:.1g}",
    ]


def slices_lines(found: Slices) -> Iterator[str]:
    """What it means."""
    for each in found.found:
        beyond, rest = each.loss / each.expected, each.rest[0] / each.rest[1]
        yield (
            f"{each.name}: log loss is {beyond:.2f} times what the scores lead one to expect, "
            f"{rest:.2f} in the rest"
        )
    if not found.found:
        yield f"no slice does much worse than the rest (at a level of {LEVEL:g} for all together)"


def slices_json(found: Slices) -> bytes:
    """All figures."""
    content: dict[str, Any] = {
        "where": found.where,
        "events": found.events,
        "positives": found.positives,
        "tried": found.tried,
        "level": LEVEL,
        "slices": [
            {
                "name": each.name,
                "ranges": [
                    {"feature": side.feature, "low": _bound(side.low), "high": _bound(side.high)}
                    for side in each.ranges
                ],
                "events": each.events,
                "positives": each.positives,
                "log_loss": each.loss,
                "expected_log_loss": each.expected,
                "rest": dict(zip(("log_loss", "expected_log_loss"), each.rest, strict=True)),
                "effect": each.effect,
                "p": each.p,
                "average_precision": each.precision,
                "average_precision_rest": each.precision_rest,
            }
            for each in found.found
        ],
    }
    return orjson.dumps(content, option=orjson.OPT_INDENT_2)


def _bound(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
