"""`Behaviour` to read and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
from rich.table import Table

from jobs.behaviour import Behaviour, Example, Verdict


def behaviour_table(found: Behaviour) -> Table:
    """A row for each expectation, as they are declared."""
    title = f"version {found.version} of {found.model}, on events of {found.where}"
    table = Table(title=title, title_justify="left")
    table.add_column("behaviour", overflow="fold")
    table.add_column("expected of the score", overflow="fold")
    for heading in ("events", "kept", "mean move"):
        table.add_column(heading, justify="right")
    for each in found.verdicts:
        kept = f"{each.kept / each.events:.1%}" if each.events else "–"
        cells = (f"{each.events:,}", kept, f"{each.mean:+.4f}")
        style = "bold red" if each.problems else None
        table.add_row(each.name, each.expectation.said, *cells, style=style)
    return table


def behaviour_lines(found: Behaviour) -> Iterator[str]:
    """What is wrong, with examples; what was not expected of this model."""
    for each in found.failed:
        yield f"{each.name}: {'; '.join(each.problems)}"
        for example in each.examples:
            yield f"  {_line(example)}"
    if found.others:
        yield f"expected of other models only: {', '.join(found.others)}"
    if not found.failed:
        yield f"all {len(found.verdicts)} hold"


def _line(example: Example) -> str:
    """An event, what was changed, and its score."""
    changes = (f"{name} {old:g} → {new:g}" for name, (old, new) in example.inputs.items())
    return f"event {example.id}: {', '.join(changes)}: {example.before:.6f} → {example.after:.6f}"


def behaviour_json(found: Behaviour) -> bytes:
    """All of it for other programs."""
    content: dict[str, Any] = {
        "where": found.where,
        "model": found.model,
        "version": found.version,
        "failed": [each.name for each in found.failed],
        "behaviour": {each.name: _fields(each) for each in found.verdicts},
        "others": found.others,
    }
    return orjson.dumps(content, option=orjson.OPT_INDENT_2)


def _fields(each: Verdict) -> dict[str, Any]:
    return {
        "expected": each.expectation.said,
        "events": each.events,
        "kept": each.kept,
        "mean_move": each.mean,
        "problems": each.problems,
        "examples": each.examples,
    }
