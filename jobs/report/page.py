"""The report of a run: one HTML file that needs nothing else, readable in light and in dark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from jobs.lately import lately
from jobs.report import charts
from jobs.report.axes import short
from jobs.report.drift import drift
from jobs.report.parts import figure, moment, more, pair, section, stacked, table
from jobs.report.plot import Series
from jobs.report.slices import worse
from jobs.report.style import STYLE
from operators.drift.alarm import Alarm
from operators.evaluate import WindowMetrics
from operators.scorebins import CalibrationCurve, ScoreHistogram

BARS = 20
MANY, OVER = 60, 7
"""More windows than MANY are drawn as means of the last OVER."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number at the top of the page."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Balance:
    """A line of the ledger: what came in, and where all of it went."""

    flow: str
    taken: int
    parts: Mapping[str, int]

    @property
    def missing(self) -> int:
        """What came in and is nowhere; 0 is what must hold.

        >>> Balance("labels", 10, {"joined": 8, "waiting": 1}).missing
        1
        """
        return self.taken - sum(self.parts.values())


@dataclass(frozen=True, slots=True)
class Version:
    """A model version that scored."""

    sequence: int
    name: str
    content: str
    """Hash of its content."""
    made_us: int
    """Event time from which it held."""
    examples: int
    """Learnt from so many."""
    role: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What a run has to tell. A part that is empty is left out of the page.

    `windows` and `overall` are those of `Prequential`, the serving model's rows first;
    `calibration` and `scores` are by scorer; `importance` is (feature, value), largest first, and
    `contributions` the like by model;
    `throughput` is (seconds since the start, events a second); `marks` are moments worth a line
    in the charts over time, such as a drift or a promotion, as (time_us, name).
    """

    title: str
    subtitle: str = ""
    summary: Sequence[Figure] = ()
    windows: Sequence[WindowMetrics] = ()
    overall: Sequence[WindowMetrics] = ()
    calibration: Mapping[str, CalibrationCurve] = field(default_factory=dict)
    scores: Mapping[str, ScoreHistogram] = field(default_factory=dict)
    importance: Sequence[tuple[str, float]] = ()
    contributions: Mapping[str, Sequence[tuple[str, float]]] = field(default_factory=dict)
    throughput: Sequence[tuple[float, float]] = ()
    ledger: Sequence[Balance] = ()
    slices: Sequence[Sequence[str]] | None = None
    """Those that do much worse, as `jobs.slices_view` has them; None where none were looked for."""
    versions: Sequence[Version] = ()
    marks: Sequence[tuple[int, str]] = ()
    alarms: Sequence[Alarm] = ()
    footer: str = ""


def write_report(path: Path, report: Report) -> None:
    """Write the page to `path`; the same report gives the same bytes."""
    path.write_text(page(report), encoding="utf-8")


def page(report: Report) -> str:
    """The whole page as text."""
    sections = [
        _summary(report),
        _lately(report),
        _quality(report),
        drift(report.alarms, report.windows),
        _overall(report),
        pair(_calibration(report), _scores(report)),
        pair(stacked(_importance(report), _throughput(report)), _contributions(report)),
        worse(report.slices),
        _ledger(report),
        _versions(report),
    ]
    footer = f"<footer>{escape(report.footer)}</footer>" if report.footer else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(report.title)}</title><style>{STYLE}</style></head><body><main>"
        f"<header><h1>{escape(report.title)}</h1><p>{escape(report.subtitle)}</p></header>\n"
        + "\n".join(section for section in sections if section)
        + f"\n{footer}</main></body></html>\n"
    )


def _summary(report: Report) -> str:
    if not report.summary:
        return ""
    figures = "".join(
        f"<div><dt>{escape(each.label)}</dt><dd>{escape(each.value)}"
        f"<small>{escape(each.note)}</small></dd></div>"
        for each in report.summary
    )
    return f'<dl class="summary">{figures}</dl>'


def _quality(report: Report) -> str:
    whole = [row for row in report.windows if not row.slice]
    if not whole:
        return ""
    scorers = list(dict.fromkeys(row.scorer for row in whole))
    each = f"one point per window of {_length(whole[0])}, by time of the transaction."
    over = OVER if len({row.start_us for row in whole}) > MANY else 1
    if over > 1:
        each = f"mean of the last {over} windows of {_length(whole[0])}, by time of transaction."
    numbers = _window_table([row for row in whole if row.scorer == scorers[0]])
    drawn = []
    for metric, name, note, below in (
        ("average_precision", "Average precision", "Higher is better", ""),
        ("auc", "AUC", "0.5 is chance", numbers),
    ):
        points: dict[str, list[tuple[float, float]]] = {scorer: [] for scorer in scorers}
        for row in whole:
            points[row.scorer].append((row.start_us, getattr(row, metric)))
        series = [Series(scorer, trailing(line, over)) for scorer, line in points.items()]
        chart = charts.time_chart(series, f"{name} of {', '.join(scorers)}", marks=report.marks)
        drawn.append(figure(f"{name} over time", f"{note}; {each}", chart, below))
    return "".join(drawn)


def trailing(points: Sequence[tuple[float, float]], over: int) -> list[tuple[float, float]]:
    """Each value as the mean of the last `over` that are defined.

    >>> trailing([(0, 1.0), (1, math.nan), (2, 3.0)], 2)
    [(0, 1.0), (1, 1.0), (2, 3.0)]
    """
    held = [[y for _, y in points[max(i + 1 - over, 0) : i + 1]] for i in range(len(points))]
    defined = [[y for y in window if not math.isnan(y)] for window in held]
    means = [sum(window) / len(window) if window else math.nan for window in defined]
    return [(x, mean) for (x, _), mean in zip(points, means, strict=True)]


def _length(row: WindowMetrics) -> str:
    hours = (row.end_us - row.start_us) / 3.6e9
    return "a day" if hours == 24 else f"{hours:g} hours"


METRIC_HEADS = (
    "AUC",
    "average precision",
    "recall at budget",
    "card precision",
    "log loss",
    "calibration error",
)


def _metrics(row: WindowMetrics) -> list[str]:
    values = (
        (row.auc, 3),
        (row.average_precision, 3),
        (row.recall_at_budget, 3),
        (row.card_precision, 3),
        (row.log_loss, 4),
        (row.calibration_error, 4),
    )
    return ["–" if math.isnan(value) else f"{value:.{digits}f}" for value, digits in values]


def _measured(name: str, rows: Iterable[tuple[str, WindowMetrics]]) -> str:
    heads = [name, "examples", "frauds", *METRIC_HEADS]
    return table(
        heads,
        ([said, f"{row.examples:,}", f"{row.frauds:,}", *_metrics(row)] for said, row in rows),
    )


def _window_table(rows: Sequence[WindowMetrics]) -> str:
    measured = _measured("window", ((moment(row.start_us), row) for row in rows))
    return more(f"Every window of {rows[0].scorer}", measured)


def _lately(report: Report) -> str:
    rows = lately(report.windows)
    if not rows:
        return ""
    days = len({row.start_us for row in report.windows if row.end_us > rows[0].start_us})
    since = f"{moment(rows[0].start_us)} to {moment(rows[0].end_us)}"
    note = f"Mean of the last {days} windows, transactions of {since}; every one has its label."
    return section("Quality lately", note, _measured("scorer", ((r.scorer, r) for r in rows)))


def _overall(report: Report) -> str:
    if not report.overall:
        return ""
    whole = _measured("scorer", ((row.scorer, row) for row in report.overall if not row.slice))
    apart = "".join(
        more(
            f"By {name}",
            _measured(
                name,
                (
                    (f"{row.value} · {row.scorer}", row)
                    for row in report.overall
                    if row.slice == name
                ),
            ),
        )
        for name in dict.fromkeys(row.slice for row in report.overall if row.slice)
    )
    note = (
        "All scores pooled, each judged by the label that came after it was made: those of the "
        "first days, before anything was learnt, count as much as the last."
    )
    return section("Overall", note, whole + apart)


def _calibration(report: Report) -> str:
    curves = [(name, curve) for name, curve in report.calibration.items() if curve.examples]
    if not curves:
        return ""
    chart = charts.calibration_chart(curves, "Share of frauds against score, log-odds axes")
    note = (
        "Share of frauds among the examples of a score; on the dashed line scores keep their word."
    )
    return figure("Calibration", note, chart)


def _scores(report: Report) -> str:
    return "".join(
        figure(
            f"Scores of {name}",
            "Examples by score and label; both axes are stretched to show the rare.",
            charts.score_chart(histogram, f"Histogram of the scores of {name} by label"),
        )
        for name, histogram in report.scores.items()
    )


def _importance(report: Report) -> str:
    if not report.importance:
        return ""
    shown = report.importance[:BARS]
    left_out = len(report.importance) - len(shown)
    note = "Of the reasons given for a review, the share that each is." + (
        f" {left_out} more are smaller." if left_out else ""
    )
    chart = charts.bar_chart(shown, "Bars of the importance of features")
    return figure("Feature importance", note, chart)


def _contributions(report: Report) -> str:
    """Features by their mean contribution to the first model's scores, then to the others'."""
    models = {name: dict(sizes) for name, sizes in report.contributions.items() if sizes}
    if not models:
        return ""
    names = list(dict.fromkeys(name for sizes in models.values() for name in sizes))[:BARS]
    groups = [(name, [sizes.get(name, 0.0) for sizes in models.values()]) for name in names]
    note = "Mean size of what each feature added to the log-odds of recent scores, by model."
    chart = charts.grouped_bars(list(models), groups, "Bars of what features add, by model")
    return figure("What moves the scores", note, chart)


def _throughput(report: Report) -> str:
    if not report.throughput:
        return ""
    rates = sorted(rate for _, rate in report.throughput)
    note = f"Events a second; median {short(round(rates[len(rates) // 2]))}."
    return figure("Throughput", note, charts.rate_chart(report.throughput, "Events a second"))


def _ledger(report: Report) -> str:
    if not report.ledger:
        return ""
    rows = [
        [
            line.flow,
            f"{line.taken:,}",
            " + ".join(f"{count:,} {name}" for name, count in line.parts.items()),
            "balanced" if not line.missing else f"{line.missing:+,} unaccounted for",
        ]
        for line in report.ledger
    ]
    flows = table(["flow", "taken in", "went to", "balance"], rows, ("went to", "balance"))
    lost = any(line.missing for line in report.ledger)
    note = "Some events are not accounted for." if lost else "All that came in is accounted for."
    return section("Ledger", note, flows)


def _versions(report: Report) -> str:
    if not report.versions:
        return ""
    rows = [
        [
            str(version.sequence),
            version.name,
            version.role,
            moment(version.made_us),
            f"{version.examples:,}",
            version.content[:12],
        ]
        for version in report.versions
    ]
    heads = ["version", "model", "role", "scores from", "learnt from", "content"]
    return section(
        "Model versions",
        "Times are of the events, in UTC.",
        table(heads, rows, ("model", "role", "content")),
    )
