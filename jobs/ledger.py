"""The ledger: everything that came in is somewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from jobs.report.page import Balance
from operators.admission import COUNTS

EVENTS = ("admitted", "duplicates", "conflicting")
LABELS = tuple(name for name in COUNTS if name.startswith("labels_"))


def balances(
    counts: Mapping[str, int], taken: Mapping[str, int], letters: Mapping[str, int], held: int
) -> list[Balance]:
    """Events and labels: what came in, and where all of it went.

    `counts` is by name of `operators.admission.COUNTS`; `taken` the rows read, `events` and
    `labels`, without the unreadable; `letters` the dead letters by reason; `held` the rows that
    wait in the order buffer.
    """
    unreadable = sum(n for reason, n in letters.items() if reason != "conflicting id")
    events = {
        "predictions": counts["admitted"],
        "duplicates": counts["duplicates"],
        "dead letters": counts["conflicting"] + unreadable,
    }
    labels = {name.removeprefix("labels_"): counts[name] for name in LABELS}
    examples = {
        "learnt early": counts["labels_matched"] + counts["waiting_matched"],
        "matured negative": counts["matured"],
    }
    pending = counts["admitted"] - sum(examples.values())
    return [
        Balance("transactions", taken["events"] + unreadable, events | {"in flight": held}),
        Balance("labels", taken["labels"], labels),
        Balance("predictions", counts["admitted"], examples | {"not matured yet": pending}),
    ]


def as_json(
    lines: list[Balance], counts: Mapping[str, int], letters: Counter[str]
) -> dict[str, Any]:
    """What `ledger.json` holds."""
    return {
        "balances": [
            {"flow": b.flow, "taken": b.taken, "parts": dict(b.parts), "missing": b.missing}
            for b in lines
        ],
        "counts": dict(counts),
        "dead_letters": dict(sorted(letters.items())),
    }
