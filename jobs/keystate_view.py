"""What a state keeps of a key, and what forgetting it leaves, in words."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from jobs.keystate import Forgotten, Kept
from jobs.why_view import SHOWN, id_text, label_text, moment, number_texts
from operators.explain import Span
from streams.schema import duration_text, duration_us


def kept_tables(kept: Kept) -> Group:
    """Events, labels, windows, bytes, and when the key is forgotten."""
    key, record, now = kept.key, kept.record, kept.clock_us
    if record is None:
        return Group(
            Text(
                f"{key}: nothing is kept. It has had no event, or none that a feature could still "
                f"see at {moment(now)} UTC, the latest event time of the state."
            )
        )
    event, held = kept.flow.pipeline.event, record.held
    count = sum(each.events for each in held)
    panes = f"{record.panes:,} of several events each: counts are exact, windows to 1/256 of them"
    labels = [each.label_at(now) for each in held if each.ident is not None]
    positives = labels.count(True) + sum(each.positives for each in held)
    facts = {
        "events": f"{count:,}, from {moment(held[0].time)} to {moment(held[-1].time)} UTC",
        "merged": f"over its cap; {panes}" if record.panes else "none",
        "labels": f"{positives:,} {event.label.name}, {labels.count(False):,} not "
        f"{event.label.name}, {labels.count(None):,} without one",
        "bytes": f"{record.allocated:,} in memory, {record.packed:,} in a snapshot",
        "forgotten": f"as new keys come after {moment(record.forgotten_us)} UTC of the events' "
        f"time; the latest event is of {moment(now)}",
    }
    table = Table(title=str(key), title_justify="left", box=None, show_header=False)
    for name, said in facts.items():
        table.add_row(f"  {name}", said)
    return Group(table, _windows(kept), _events(kept))


def _windows(kept: Kept) -> Table:
    """What each window holds at the latest event time."""
    features, now = kept.flow.features.plan.columns, kept.clock_us
    spans = sorted(
        {
            (duration_us(feature.delay), feature.horizon_us)
            for feature in features
            if feature.entity == kept.key.entity
        }
    )
    table = Table(title=f"windows at {moment(now)} UTC", title_justify="left")
    counts = ("events", f"known {kept.flow.pipeline.event.label.name}")
    for name in ("window", "after", "until", *counts):
        table.add_column(name, justify="right" if name in counts else "left")
    held = kept.record.held if kept.record else []
    for delay, horizon in spans:
        span = Span(now - horizon, now - delay)
        inside = span.of(held)
        name = duration_text(horizon - delay) + (f", {duration_text(delay)} ago" if delay else "")
        positives = sum(each.positives or each.label_at(now) is True for each in inside)
        count = sum(each.events for each in inside)
        table.add_row(name, moment(span.after), moment(span.until), f"{count:,}", f"{positives:,}")
    return table


def _events(kept: Kept) -> Table:
    event = kept.flow.pipeline.event
    held = kept.record.held if kept.record else []
    table = Table(title=f"the latest events, {SHOWN} at most", title_justify="left")
    names = [n.name for n in event.numbers if held and n.name in held[-1].values]
    for name in ("time", "id", *names, event.label.name):
        table.add_column(name, justify="right" if name in names else "left")
    for each in held[-SHOWN:]:
        label = label_text(event, each, kept.clock_us)
        table.add_row(moment(each.time), id_text(each, kept.ids), *number_texts(event, each), label)
    return table


def forgotten_text(done: Forgotten, folder: str) -> str:
    """What is gone and what remains."""
    pending = f"those of {_events_text(done.pending)} are still to be learnt from"
    left = [
        f"the log of ids (ids.rows): {_events_text(done.ids)}, each id and key as number or hash",
        f"the log of features (logged.rows): numbers without the key; {pending}",
        "the models: what was learnt from its events stays in their weights",
    ]
    for entity, fields in done.elsewhere.items():
        names = f"and the key itself ({', '.join(fields)})" if fields else "not the key"
        left.append(f"the records of {entity}: times, ids, values of events it shared, {names}")
    if done.held:
        left.append("the order buffer: events held back when the run ended, which is not searched")
    rows = "rows" if done.predictions is None else f"{done.predictions:,} rows"
    left += [
        f"{folder}: {rows} of its predictions; dead_letters.ndjson, the report and the metrics",
        "the input files, from which `headrace replay` and `headrace why` make all of it again",
    ]
    return (
        f"{done.key}: forgotten. Its record of {_events_text(done.events)} is in no snapshot any "
        "more; its next event is its first.\nWhat still holds something of it:\n"
        + "\n".join(f"  {line}" for line in left)
    )


def _events_text(count: int) -> str:
    return f"{count:,} event{'' if count == 1 else 's'}"
