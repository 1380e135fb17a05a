"""Running jobs, scrape after scrape: rates and percentiles from what their counters gained."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jobs.watching.figures import (
    Curve,
    Figures,
    Line,
    Quality,
    alarms_said,
    count,
    moment,
    number,
    seconds,
    share,
)
from jobs.watching.scrape import Scrape, quantile
from operators.drift.alarm import Alarm

KEPT = 900
"""Scrapes that are kept; the plots show them."""
WITHIN_S = 60.0
"""Percentiles and rates are of the last minute, or of what there is."""
FEATURES = 5
"""Features that are shown: those missing most often."""


class _Taken(NamedTuple):
    at: float
    score: Scrape | None
    learn: Scrape | None


class Jobs:
    """Takes what jobs answer, and says where they stand.

    >>> jobs = Jobs(["127.0.0.1:9464"])
    >>> jobs.take(0.0, {"127.0.0.1:9464": None})
    >>> [line.said for line in jobs.figures("", ()).panels["jobs"]]
    ['no answer']
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = tuple(addresses)
        self._answers: Mapping[str, Scrape | None] = {}
        self._taken: deque[_Taken] = deque(maxlen=KEPT)
        self._quality: dict[str, dict[int, float]] = {}
        """By scorer, average precision by the end of its window."""

    @property
    def answering(self) -> bool:
        """Whether any did, the last time."""
        return any(self._answers.values())

    def take(self, at: float, answers: Mapping[str, Scrape | None]) -> None:
        """What each answered at this moment, in seconds; None of who did not."""
        self._answers = answers
        roles = {s.text("headrace_info", "role"): s for s in answers.values() if s is not None}
        learn = roles.get("learn")
        self._taken.append(_Taken(at, roles.get("score"), learn))
        ends = learn.by("headrace_quality_window_end_seconds", "scorer") if learn else {}
        for scorer, end in ends.items():
            if learn:
                value = learn.one("headrace_quality", scorer=scorer, metric="average_precision")
                self._quality.setdefault(scorer, {})[int(end * 1e6)] = value

    def figures(self, clock: str, alarms: Sequence[Alarm], note: str = "") -> Figures:
        """Where they stand."""
        newest = self._taken[-1]
        panels = {
            "jobs": self._jobs(),
            "traffic": self._traffic(newest.score),
            "latency": self._latency(),
            "predictions": self._predictions(newest.score),
            "labels": self._labels(newest.learn),
            "inputs": _inputs(newest.score or newest.learn),
            "drift": _drift(newest.learn),
        }
        shown = {name: lines for name, lines in panels.items() if lines}
        pipeline = next(
            (each.text("headrace_info", "pipeline") for each in self._answers.values() if each), ""
        )
        return Figures(
            title=f"Headrace, pipeline {pipeline}" if pipeline else "Headrace",
            clock=clock,
            panels=shown,
            quality=_scorers(newest.learn),
            curves=self._curves(),
            alarms=alarms,
            note=note,
        )

    def _jobs(self) -> list[Line]:
        return [_job(address, self._answers.get(address)) for address in self._addresses]

    def _traffic(self, score: Scrape | None) -> list[Line]:
        if score is None:
            return []
        lines = []
        for topic in score.by("headrace_input_records_total", "topic"):
            history = self._rates("headrace_input_records_total", topic=topic)
            behind = score.one("headrace_input_lag_records", topic=topic)
            lag = max(score.by("headrace_input_lag_seconds", "partition", topic=topic).values())
            late = f", {count(behind)} behind by {seconds(lag)}" if behind else ""
            rate = self._rate("headrace_input_records_total", topic=topic)
            lines.append(Line(topic, f"{count(rate)}/s{late}", lag < 10, history))
        dead = score.by("headrace_dead_letters_total", "reason")
        said = ", ".join(f"{count(n)} {reason}" for reason, n in dead.items()) or "none"
        waiting = score.one("headrace_output_waiting_records")
        return [*lines, Line("dead letters", said), Line("not acknowledged", count(waiting))]

    def _latency(self) -> list[Line]:
        then, now = self._span()
        if now.score is None:
            return []
        name = "headrace_latency_seconds"
        seen = now.score.histogram(name)
        before = then.score.histogram(name) if then.score and then is not now else []
        return [
            Line(said, seconds(quantile(part, seen, before)), history=history)
            for said, part, history in (
                ("p50", 0.5, ()),
                ("p99", 0.99, self._percentiles(0.99)),
                ("p99.9", 0.999, ()),
            )
        ]

    def _predictions(self, score: Scrape | None) -> list[Line]:
        if score is None:
            return []
        by = score.by("headrace_predictions_total", "decision")
        made, seen = sum(by.values()), score.histogram("headrace_score")
        quantiles = ", ".join(number(quantile(part, seen)) for part in (0.5, 0.9, 0.99))
        age = score.one("headrace_model_age_seconds")
        version = count(score.one("headrace_model_version"))
        return [
            Line("made", f"{count(made)}, {share(by.get('review', 0.0), made)} to review"),
            Line("scores", f"p50, p90, p99: {quantiles}"),
            Line("version", version if math.isnan(age) else f"{version}, for {seconds(age)}"),
        ]

    def _labels(self, learn: Scrape | None) -> list[Line]:
        if learn is None:
            return []
        examples = sum(learn.by("headrace_examples_total", "cause").values())
        told = learn.one("headrace_examples_total", cause="label")
        positive = learn.one("headrace_examples_positive_total")
        delays = learn.histogram("headrace_label_delay_seconds")
        late = ", ".join(seconds(quantile(part, delays)) for part in (0.5, 0.9))
        behind = learn.one("headrace_input_lag_records")
        age = seconds(learn.one("headrace_model_age_seconds"))
        return [
            Line("examples", f"{count(examples)}, {count(told)} by their label"),
            Line("positive", share(positive, examples)),
            Line("labels late", f"p50, p90: {late}"),
            Line("published", f"version {count(learn.one('headrace_model_version'))}, {age} ago"),
            Line("learner", f"{count(behind)} records behind", not behind > 100_000),
        ]

    def _curves(self) -> list[Curve]:
        rates = self._rates("headrace_predictions_total")
        found = [
            Curve("predictions a second", {"rate": rates}),
            Curve("p99, milliseconds", {"p99": [1e3 * x for x in self._percentiles(0.99)]}),
        ]
        ends = sorted({end for of in self._quality.values() for end in of})
        if ends:
            lines = {
                scorer: [of.get(end, math.nan) for end in ends]
                for scorer, of in self._quality.items()
            }
            span = moment(ends[0]), moment(ends[-1])
            found.append(Curve("average precision by window", lines, first=span[0], last=span[1]))
        return found

    def _span(self) -> tuple[_Taken, _Taken]:
        """The first scrape of the last minute, and the last."""
        newest = self._taken[-1]
        return next(e for e in self._taken if newest.at - e.at <= WITHIN_S), newest

    def _rate(self, name: str, **labels: str) -> float:
        """Gained a second, lately."""
        then, now = self._span()
        return _gain(then, now, name, labels)

    def _rates(self, name: str, **labels: str) -> list[float]:
        pairs = zip(self._taken, list(self._taken)[1:], strict=False)
        return [_gain(then, now, name, labels) for then, now in pairs]

    def _percentiles(self, part: float) -> list[float]:
        name, found = "headrace_latency_seconds", []
        for then, now in zip(self._taken, list(self._taken)[1:], strict=False):
            if then.score and now.score:
                found.append(quantile(part, now.score.histogram(name), then.score.histogram(name)))
        return found


def _gain(then: _Taken, now: _Taken, name: str, labels: Mapping[str, str]) -> float:
    if not (then.score and now.score) or now.at <= then.at:
        return math.nan
    return max(now.score.one(name, **labels) - then.score.one(name, **labels), 0.0) / (
        now.at - then.at
    )


def _job(address: str, scrape: Scrape | None) -> Line:
    if scrape is None:
        return Line(address, "no answer", good=False)
    role, ready = scrape.text("headrace_info", "role"), scrape.one("headrace_ready") == 1
    memory = scrape.one("process_resident_memory_bytes") / 1e6
    cpu = seconds(scrape.one("process_cpu_seconds_total"))
    said = f"{'ready' if ready else 'not ready'}, {memory:,.0f} MB, {cpu} of processor"
    return Line(f"{role} {address}", said, good=ready)


def _inputs(scrape: Scrape | None) -> list[Line]:
    """The features that are missing most often, with their quantiles."""
    if scrape is None:
        return []
    missing = scrape.by("headrace_feature_missing_share", "feature")
    lines = []
    for name in sorted(missing, key=lambda each: -missing[each])[:FEATURES]:
        row = scrape.by("headrace_feature_quantile", "quantile", feature=name)
        said = ", ".join(f"{row[each]:.4g}" for each in sorted(row))
        lines.append(Line(name, f"{missing[name]:.1%} missing; {said or 'never there'}"))
    return lines


def _drift(learn: Scrape | None) -> list[Line]:
    alarms = learn.by("headrace_drift_alarms_total", "kind") if learn else {}
    going = learn.by("headrace_drift_open", "kind") if learn else {}
    told = {**alarms, **{kind: alarms.get(kind, 0) for kind, n in going.items() if n}}
    return [
        Line(kind, alarms_said(int(n), int(going.get(kind, 0))), not going.get(kind))
        for kind, n in told.items()
    ]


def _scorers(learn: Scrape | None) -> list[Quality]:
    if learn is None:
        return []
    metrics = ("auc", "average_precision", "recall_at_budget")
    return [
        Quality(scorer, *(learn.one("headrace_quality", scorer=scorer, metric=m) for m in metrics))
        for scorer in learn.by("headrace_quality_examples", "scorer")
    ]
