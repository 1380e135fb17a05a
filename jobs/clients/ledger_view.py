"""A ledger to look at."""

from __future__ import annotations

import orjson
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from jobs.clients.topic_ledger import Ledger

SOFT = "bright_black"


def tables(found: Ledger) -> list[RenderableType]:
    """What came in and where it went, and what is wrong."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column("", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    for place, line in enumerate(found.balances):
        if place:
            table.add_row()
        table.add_row(Text(line.flow, "bold"), Text(f"{line.taken:,}", "bold"))
        for name, count in line.parts.items():
            table.add_row(f"  {name}", Text(f"{count:,}", "" if count else SOFT))
        if line.missing:
            table.add_row(Text("  nowhere", "bold red"), Text(f"{line.missing:,}", "bold red"))
    said = [Text(f"not exact: {fault}", "bold red") for fault in found.faults]
    return [table, Text(""), *(said or [Text("exact", "green")])]


def as_line(found: Ledger) -> str:
    """The ledger as one line of JSON."""
    balances = [
        {"flow": line.flow, "taken": line.taken, "parts": dict(line.parts), "missing": line.missing}
        for line in found.balances
    ]
    return orjson.dumps({"balances": balances, "faults": found.faults}).decode()
