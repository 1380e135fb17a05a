"""`Leakage` to read and as JSON."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import orjson
from rich.table import Table

from jobs.leakage import Estimate, Leakage


def leakage_table(found: Leakage) -> Table:
    """A row a feature, the most suspicious first."""
    (learnt, hits), (judged, positive) = found.learnt, found.judged
    title = (
        f"{found.where}: learnt from {learnt:,} events ({hits:,} positive), judged by {judged:,} "
        f"({positive:,}); all features together: AP {_said(found.together)}"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("feature", overflow="fold")
    for heading in ("AUC alone", "AP alone", "AP of the others", "of the rest it adds"):
        table.add_column(heading, justify="right")
    for each in found.features:
        figures = [_said(figure) for figure in (each.auc, each.alone, each.without)]
        adds = f"{each.closes.value:.0%} ± {each.closes.reach:.0%}"
        style = "bold red" if each.leaks else ("bold" if each.odd else None)
        table.add_row(each.name, *figures, adds, style=style)
    return table


def leakage_lines(found: Leakage, allowed: Collection[str]) -> Iterator[str]:
    """What is said of each feature that seems to know the label, or deserves a look."""
    for each in found.features:
        if each.leaks:
            told = "; ".join((*each.leaks, *each.odd))
            yield f"{each.name} leaks{' (allowed)' if each.name in allowed else ''}: {told}"
        elif each.odd:
            yield f"{each.name} deserves a look: {'; '.join(each.odd)}"
    if not found.leaks:
        yield "no feature predicts too well, or only once the label is known"


def leakage_json(found: Leakage, allowed: Collection[str]) -> bytes:
    """All figures with their intervals."""
    content: dict[str, Any] = {
        "where": found.where,
        "learnt": dict(zip(("events", "positive"), found.learnt, strict=True)),
        "judged": dict(zip(("events", "positive"), found.judged, strict=True)),
        "together": _interval(found.together),
        "leaks": [each.name for each in found.leaks if each.name not in allowed],
        "features": {
            each.name: {
                "auc_alone": _interval(each.auc),
                "ap_alone": _interval(each.alone),
                "ap_without": _interval(each.without),
                "closes": _interval(each.closes),
                "leaks": each.leaks,
                "odd": each.odd,
                "allowed": each.name in allowed,
            }
            for each in found.features
        },
    }
    return orjson.dumps(content, option=orjson.OPT_INDENT_2)


def _said(figure: Estimate) -> str:
    return f"{figure.value:.3f} ± {figure.reach:.3f}"


def _interval(figure: Estimate) -> dict[str, float]:
    return {"value": figure.value, "low": figure.low, "high": figure.high}
