"""What a run leaves beside its predictions: metrics.json, ledger.json and report.html.

meter = Meter()
for step in run:
    meter.take(step)
run.finish()
write_summary(run, meter, title="Card fraud, replayed")
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import orjson

from jobs.alarms import DRIFT, alarms_in
from jobs.importance import moved
from jobs.lately import lately
from jobs.ledger import as_json, balances
from jobs.local import LocalRun
from jobs.meter import Meter
from jobs.report.drift import marks
from jobs.report.page import Balance, Figure, Report, Version, page
from jobs.slices import find_slices
from jobs.slices_view import slices_rows
from models.manifest import content_hash
from operators.evaluate import METRICS, WindowMetrics
from streams.atomic import write_whole
from streams.errors import InputError


def write_summary(run: LocalRun, meter: Meter, *, title: str, subtitle: str = "") -> dict[str, Any]:
    """Write the three files into the run's output; what metrics.json holds.

    To be called after the run's `finish`. Raises RuntimeError, the files written, when something
    that came in is nowhere.
    """
    ledger = balance(run)
    metrics = measured(run, meter, title)
    counted = as_json(ledger, run.counts, run.dead)
    text = page(_report(run, meter, ledger, metrics, subtitle))
    write_whole(run.out / "metrics.json", [_json(metrics)])
    write_whole(run.out / "ledger.json", [_json(counted)])
    write_whole(run.out / "report.html", [text.encode()])
    lost = [f"{line.missing:+,} {line.flow}" for line in ledger if line.missing]
    if lost:
        raise RuntimeError(
            f"{run.out / 'ledger.json'}: everything taken in must be accounted for, yet "
            f"{', '.join(lost)} are not: this is an error of Headrace, please report it with "
            "that file"
        )
    return metrics


def balance(run: LocalRun) -> list[Balance]:
    """The ledger of a run that has come to its end, or of one in order of arrival at any time."""
    return balances(run.counts, run.taken, run.dead, 0)


def measured(run: LocalRun, meter: Meter, title: str) -> dict[str, Any]:
    """What metrics.json holds; a number that is not defined is nan here and null there.

    `lately` is the mean of the last closed windows, and `overall` pools every score from the first,
    those made before anything was learnt among them.
    """
    lineup, judge = run.flow.lineup, run.flow.evaluation
    windows, overall = judge.rows(), judge.overall()
    return {
        "title": title,
        "pipeline": run.pipeline.name,
        "definition": run.pipeline.definition,
        "seconds": meter.seconds,
        "events": meter.events,
        "events_per_second": meter.mean_rate,
        "throughput": meter.rates,
        "latency_us": {
            "one event": meter.single.microseconds(),
            "in batches": meter.batched.microseconds(),
        },
        "version": {
            "sequence": lineup.number,
            "examples": lineup.learnt,
            "content": content_hash(lineup.champion),
        },
        "keys": {each.plan.key: each.arena.keys for each in run.flow.features.entities},
        "state_bytes": sum(each.arena.nbytes for each in run.flow.features.entities),
        "scorers": list(lineup.names),
        "lately": {row.scorer: _named(row) for row in lately(windows)},
        "overall": {row.scorer: _named(row) for row in overall if not row.slice},
        "slices": [asdict(row) for row in overall if row.slice],
        "windows": {
            name: [_named(row) for row in windows if row.scorer == name and not row.slice]
            for name in lineup.names
        },
        "importance": dict(importance(run)),
        "contributions": {name: dict(sizes) for name, sizes in moved(run).items()},
    }


def importance(run: LocalRun) -> list[tuple[str, float]]:
    """Of all the reasons given for a review, the share that each feature was, largest first."""
    shares = run.top_reasons / max(run.top_reasons.sum(), 1)
    pairs = zip(run.flow.names, shares.tolist(), strict=True)
    return sorted((pair for pair in pairs if pair[1]), key=lambda pair: -pair[1])


def _named(row: WindowMetrics) -> dict[str, Any]:
    names = ("start_us", "end_us", "examples", "frauds", "exact", *METRICS)
    return {name: getattr(row, name) for name in names}


def _json(value: dict[str, Any]) -> bytes:
    """As JSON, nan as null."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _report(
    run: LocalRun,
    meter: Meter,
    ledger: Sequence[Balance],
    metrics: Mapping[str, Any],
    subtitle: str,
) -> Report:
    judge = run.flow.evaluation
    models = ("champion", *run.pipeline.challengers)
    alarms = alarms_in(run.out / DRIFT)
    return Report(
        title=metrics["title"],
        subtitle=subtitle,
        summary=_figures(run, meter),
        windows=judge.rows(),
        overall=judge.overall(),
        calibration={name: judge.calibration_curve(name) for name in models},
        scores={"champion": judge.score_histogram("champion")},
        importance=list(metrics["importance"].items()),
        contributions={name: list(of.items()) for name, of in metrics["contributions"].items()},
        throughput=meter.rates,
        slices=_slices(run),
        ledger=ledger,
        versions=list(_versions(run, meter)),
        marks=marks(alarms),
        alarms=alarms,
        footer=f"Pipeline {run.pipeline.name}, definition {run.pipeline.definition[:12]}.",
    )


def _slices(run: LocalRun) -> list[list[str]] | None:
    """Slices of the last examples in which scores do worse; None where too little is known."""
    try:
        return slices_rows(find_slices(run.flow.judged.labelled(str(run.out))))
    except InputError:
        return None


def _figures(run: LocalRun, meter: Meter) -> list[Figure]:
    """The numbers at the top of the page."""
    latency = meter.single if meter.single.events else meter.batched
    held = "one at a time" if meter.single.events else "in its batch"
    figures = [
        Figure("transactions", f"{run.taken['events']:,}", f"{run.taken['labels']:,} labels"),
        Figure("events a second", f"{meter.mean_rate:,.0f}", f"over {meter.seconds:,.0f} s"),
    ]
    if latency.events:
        slow = f"p99 {said(latency.percentile(99))}, {held}"
        figures.append(Figure("median latency", said(latency.percentile(50)), slow))
    for row in lately(run.flow.evaluation.rows()):
        if row.scorer == "champion" and not math.isnan(row.auc):
            of = f"AUC {row.auc:.3f}"
            figures.append(Figure("average precision", f"{row.average_precision:.3f}", of))
    learnt = f"learnt from {run.flow.lineup.learnt:,}"
    return [*figures, Figure("model version", f"{run.flow.lineup.number:,}", learnt)]


def said(seconds: float) -> str:
    """A duration with three digits and its unit.

    >>> said(0.000234), said(0.0517), said(3.0)
    ('234 µs', '51.7 ms', '3 s')
    """
    for unit, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return "–" if math.isnan(seconds) else f"{seconds * 1e9:.3g} ns"


def _versions(run: LocalRun, meter: Meter) -> Iterable[Version]:
    """The version of each model that scored last."""
    lineup, since = run.flow.lineup, meter.version[1]
    learnt = lineup.learnt // lineup.every * lineup.every
    for place, (name, version) in enumerate(zip(lineup.names, lineup.versions, strict=True)):
        scores, contends = place == lineup.place, place < lineup.contenders
        yield Version(
            lineup.number if scores else lineup.sequence + place * contends,
            name,
            content_hash(lineup.champion if scores else version),
            since,
            learnt,
            "champion" if scores else "challenger" if contends else "baseline",
        )
