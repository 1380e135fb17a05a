"""What a pipeline is made of, as tables."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from jobs.definition import Pipeline
from models.base import Model
from models.bins import Edges, automatic_edges
from models.linear import Linear
from operators import ring
from operators.drift.responses import Declared, Every
from operators.plan import Plan
from streams.schema import Event, Number, duration_text, duration_us


def describe(pipeline: Pipeline) -> Group:
    """Event, features, bytes a key, models, responses, in this order."""
    plan = pipeline.plan()
    return Group(
        _heading(pipeline),
        _event(pipeline.event),
        _features(pipeline),
        _entities(plan, pipeline),
        *(
            table
            for name, model in {"champion": pipeline.champion, **pipeline.challengers}.items()
            for table in _model(name, model, plan)
        ),
        *([_responses(pipeline)] if pipeline.responses else []),
    )


def _heading(pipeline: Pipeline) -> Text:
    watch = pipeline.watch
    by = ", ".join(type(each).__name__ for each in watch.monitors) if watch else ""
    watched = f"watched by {by} in buckets of {watch.bucket}" if watch else "not watched"
    return Text(
        f"{pipeline.name}: {len(pipeline.features)} features, a version every "
        f"{pipeline.every:,} examples, lateness {pipeline.lateness}, ids kept for "
        f"{duration_text(pipeline.retention_us)}, {pipeline.alert_budget:.1%} of events for "
        f"review, {watched}, definition {pipeline.definition[:12]}\n"
    )


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _event(event: Event) -> Table:
    table = _table(f"event {event.name}", "field", "what", "range")
    table.add_row(event.id, "id", "text or a non-negative integer")
    table.add_row(event.time, "time", "RFC 3339 or integer µs, 1970 to 2200")
    for key in event.keys:
        table.add_row(key, "entity key", "text or a non-negative integer")
    for number in event.numbers:
        table.add_row(number.name, _needed("number", number.required), _range(number))
    for category in event.categories:
        table.add_row(category.name, _needed("category", category.required), "text")
    maturity = f"negative {event.label.maturity} after the event if none has come"
    table.add_row(event.label.name, "label", f"true or false; {maturity}")
    return table


def _needed(what: str, required: bool) -> str:
    return what if required else f"{what}, may lack"


def _range(number: Number) -> str:
    decimals = f", {number.scale} decimals" if number.scale else ", whole"
    return f"{number.minimum:,g} to {number.maximum:,g}{decimals}"


def _features(pipeline: Pipeline) -> Table:
    table = _table("features", "name", "definition", "looks back")
    for name, feature in pipeline.features.items():
        horizon = duration_text(feature.horizon_us) if feature.horizon_us else "the event alone"
        table.add_row(name, str(feature), horizon)
    return table


def _entities(plan: Plan, pipeline: Pipeline) -> Table:
    table = _table(
        "state", "key", "bytes a key", "bytes an event", "kept for", "events before merging"
    )
    for entity in plan.entities:
        longest = int(entity.shape[ring.RETENTION]) - duration_us(pipeline.lateness)
        table.add_row(
            entity.key,
            str(entity.header_bytes),
            str(entity.event_bytes),
            f"{duration_text(longest)} and the lateness",
            f"{pipeline.cap:,}",
        )
    return table


def _model(name: str, model: Model, plan: Plan) -> Iterator[RenderableType]:
    if not isinstance(model, Linear):
        yield Text(f"{name}: {model}\n")
        return
    given = model.inputs or plan.names
    inputs = (
        dict(given.items())
        if hasattr(given, "items")
        else {each: automatic_edges() for each in given}
    )
    table = _table(f"{name}: linear, 2**{model.bits} slots", "input", "of feature", "edges", "")
    for key, edges in inputs.items():
        table.add_row(key, edges.feature or key, _edges(edges), _use(edges))
    yield table
    for cross in model.crosses:
        yield Text(f"  cross {' × '.join(cross)}")
    yield Text("")


def _edges(edges: Edges) -> str:
    if edges.learnt_after:
        return f"{len(edges.values)} quantiles of the first {edges.learnt_after:,} examples"
    first, *rest = edges.values
    return f"{1 + len(rest)} from {first:g} to {rest[-1]:g}" if rest else f"1 at {first:g}"


def _use(edges: Edges) -> str:
    return "in crosses only" if edges.crossed_only else ""


def _responses(pipeline: Pipeline) -> Table:
    act = f", at the next {pipeline.watch.act} of event time" if pipeline.watch else ""
    table = _table(f"responses{act}", "when", "what is done")
    for each in pipeline.responses:
        table.add_row(_when(each), repr(each.do))
    return table


def _when(declared: Declared) -> str:
    """What a response waits for."""
    if isinstance(declared, Every):
        return f"every {declared.time or f'{declared.examples:,} examples'}"
    of = f" of the slice {declared.slice}" if declared.slice else ""
    by = f" by {declared.detector}" if declared.detector else ""
    return f"alarm: {', '.join(declared.of)}{of}{by}"
