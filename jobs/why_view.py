"""`Why` to read and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from jobs.pipeline import INTERVAL
from jobs.why import Why
from operators.explain import Held
from operators.features import Feature
from streams.schema import Event, duration_us

SHOWN = 12
"""Events of a key shown at most, the latest ones; a single feature shows all of its own."""


def moment(time_us: int) -> str:
    """A time in UTC, to the second unless it has a fraction.

    >>> moment(1_524_895_199_000_000)
    '2018-04-28 05:59:59'
    """
    at = datetime.fromtimestamp(time_us // 1_000_000, UTC)
    rest = time_us % 1_000_000
    return f"{at:%Y-%m-%d %H:%M:%S}" + (f".{rest:06d}" if rest else "")


def label_text(event: Event, each: Held, now: int) -> str:
    """What was known of a label at `now`, and since when."""
    name, old = event.label.name, each.time <= now - event.label.maturity_us
    label = each.label_at(now)
    if each.ident is None:
        return f"{each.positives:,} of {each.events:,} {name}"
    if label is None:
        return f"not {name}, matured" if old else "not known yet"
    return f"{'' if label else 'not '}{name} {moment(each.known or 0)}"


def id_text(each: Held, ids: Mapping[tuple[int, int], str]) -> str:
    """The id as it was written where that is known, else its low word."""
    if each.ident is None:
        return f"{each.events:,} merged"
    return ids.get((each.time, each.ident), str(each.ident))


def number_texts(event: Event, each: Held) -> list[str]:
    """The event's numbers that a record holds, in their own units."""
    scales = {number.name: number.scale for number in event.numbers}
    return [
        "–" if held is None else f"{held / 10 ** scales[name]:,.{scales[name]}f}"
        for name, held in each.values.items()
        if name in scales
    ]


def as_tables(found: Why) -> Group:
    """The prediction, its features, and each key's events; or one feature with all of its own."""
    if found.only is not None:
        return Group(_heading(found), *_features(found, [found.only]), *_windows(found, found.only))
    keys = [_key(found, entity) for entity in found.kept]
    return Group(_heading(found), *_features(found, list(found.features)), Text(), *keys)


def _heading(found: Why) -> Text:
    event, row = found.pipeline.event, found.prediction
    fields = [*event.keys, *(number.name for number in event.numbers)]
    said = ", ".join(f"{name} {_cell(row[name])}" for name in fields)
    text = Text(f"{event.name} {row['id']} of {moment(row['time'])} UTC: {said}\n")
    text.append(f"score {row['score']:.6f}", style="bold")
    low, high = (row[name] for name in INTERVAL)
    text.append(f" ({low:.3g} to {high:.3g})")
    text.append(f", {row['decision']}", style="bold")
    text.append(f" (review from {found.threshold:.6f}), version {row['model_version']}")
    text.append(", late" if found.late else "")
    for name in found.pipeline.challengers:
        text.append(f"\n{name} {row[f'score_{name}']:.6f}")
    text.append(f"\n{_reasons(found)}" if found.reasons else "")
    return text.append("\n\n").append(_verdict(found)).append("\n")


def _reasons(found: Why) -> str:
    """What the largest contributions are, in log-odds, and where they begin."""
    added = found.contributions
    most = ", ".join(f"{name} {added[name]:+.2f}" for name in found.reasons)
    rest = sum(each for name, each in added.items() if name not in found.reasons)
    return f"log-odds {found.base:+.2f} to begin with, raised by {most}; others {rest:+.2f}"


def _verdict(found: Why) -> Text:
    if not found.differences:
        scores = 1 + len(found.pipeline.challengers)
        return Text(
            f"Rebuilt from the run's input: {len(found.features)} features, "
            f"{scores} score{'s' if scores > 1 else ''}, decision and version are those in "
            "predictions.parquet, bit for bit.",
            style="green",
        )
    lines = [
        f"  {each.name}: the run wrote {each.logged!r}, now it is {each.rebuilt!r}"
        for each in found.differences
    ]
    head = "Not reproduced; the input, the pipeline file or the code has changed since the run:"
    return Text("\n".join([head, *lines]), style="red")


def _features(found: Why, names: Sequence[str]) -> Iterator[RenderableType]:
    """The features by what they read: the event alone, then each window of each key."""
    alone = [name for name in names if not found.windows[name]]
    if alone:
        yield from _values(found, "the event alone", alone)
    readers: dict[str, list[str]] = {}
    for name in names:
        for window in found.windows[name]:
            span, key = window.span, window.part.entity
            bounds = f"after {moment(span.after)} until {moment(span.until)}"
            title = f"{key} {found.prediction[key]}, {bounds}: {_count(window.events)}"
            readers.setdefault(title, []).append(name)
    for title, reading in readers.items():
        yield from _values(found, title, list(dict.fromkeys(reading)))


def _values(found: Why, title: str, names: Sequence[str]) -> Iterator[RenderableType]:
    yield Text(title, style="italic")
    table = Table(box=None, show_header=False)
    table.add_column(width=max(map(len, found.features)) + 2)
    table.add_column(width=9, justify="right")
    table.add_column(width=6, justify="right")
    table.add_column(overflow="fold")
    for name in names:
        definition = str(found.pipeline.features[name])
        style = "bold" if name in found.reasons else None
        added = found.contributions[name]
        said = f"{added:+.2f}" if added else ""
        table.add_row(f"  {name}", _cell(found.features[name]), said, definition, style=style)
    yield table


def _key(found: Why, entity: str) -> RenderableType:
    """A key's latest events, and which windows each is in."""
    event, held = found.pipeline.event, found.kept[entity]
    parts = {
        (duration_us(w.part.delay), w.part.horizon_us): w
        for windows in found.windows.values()
        for w in windows
        if w.part.entity == entity
    }
    spans = [parts[key] for key in sorted(parts)]
    left = f"; {len(held) - SHOWN:,} earlier ones not shown" if len(held) > SHOWN else ""
    title = f"{entity} {found.prediction[entity]}: {_count(held)} kept{left}"
    table = _events_table(title, event, [_span_text(window.part) for window in spans])
    for each in held[-SHOWN:]:
        inside = ["•" if each in window.events else "" for window in spans]
        table.add_row(*_event_row(found, each), *inside)
    return table


def _windows(found: Why, name: str) -> list[Table]:
    """All events that a feature reads."""
    tables = []
    for window in found.windows[name]:
        title = f"{window.part}: {_count(window.events)}"
        table = _events_table(title, found.pipeline.event, [])
        for each in window.events:
            table.add_row(*_event_row(found, each))
        tables.append(table)
    return tables


def _events_table(title: str, event: Event, spans: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    numbers = [number.name for number in event.numbers]
    for name in ("time", "id", *numbers):
        table.add_column(name, justify="right" if name in numbers else "left", no_wrap=True)
    table.add_column("label, known since")
    for span in spans:
        table.add_column(span, justify="center", no_wrap=True)
    return table


def _event_row(found: Why, each: Held) -> list[str]:
    event, now = found.pipeline.event, found.prediction["time"]
    own = each.time == now and found.ids.get((now, each.ident or 0)) == found.prediction["id"]
    label = "the event itself" if own else label_text(event, each, now)
    held = dict(zip(each.values, number_texts(event, each), strict=False))
    numbers = [held.get(number.name, "") for number in event.numbers]
    return [moment(each.time), id_text(each, found.ids), *numbers, label]


def _count(held: Sequence[Held]) -> str:
    count = sum(each.events for each in held)
    return f"{count:,} event{'' if count == 1 else 's'}"


def _span_text(part: Feature) -> str:
    return part.last + (f"\n{part.delay} ago" if part.delay != "0s" else "")


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return f"{value:,.6g}" if isinstance(value, float) else str(value)


def as_json(found: Why) -> bytes:
    """Everything, each window with all of its events.

    Times are integer microseconds UTC; NaN is null.
    """
    now = found.prediction["time"]
    content = {
        "prediction": found.prediction,
        "threshold": found.threshold,
        "late": found.late,
        "base": found.base,
        "reasons": found.reasons,
        "reproduced": not found.differences,
        "differences": [
            {"name": each.name, "logged": each.logged, "rebuilt": each.rebuilt}
            for each in found.differences
        ],
        "features": {
            name: {
                "value": value,
                "contribution": found.contributions[name],
                "definition": str(found.pipeline.features[name]),
                "reads": [
                    {
                        "definition": str(window.part),
                        "after": window.span.after,
                        "until": window.span.until,
                        "events": [_event_json(found, each, now) for each in window.events],
                    }
                    for window in found.windows[name]
                ],
            }
            for name, value in found.features.items()
        },
    }
    return orjson.dumps(content, option=orjson.OPT_INDENT_2)


def _event_json(found: Why, each: Held, now: int) -> dict[str, Any]:
    event = found.pipeline.event
    label = each.label_at(now)
    scales = {number.name: 10**number.scale for number in event.numbers}
    return {
        "id": None if each.ident is None else id_text(each, found.ids),
        "time": each.time,
        "events": each.events,
        **{
            name: None if held is None else held / scales[name]
            for name, held in each.values.items()
            if name in scales
        },
        event.label.name: label,
        "known": each.known if label is not None else None,
        "matured": each.time <= now - event.label.maturity_us,
    }
