"""A monitor's fields as metrics: their names, in one place. `docs/monitoring.md` lists them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version

from jobs.monitoring.exposition import Family, Kind, Sample
from jobs.monitoring.histogram import Histogram
from jobs.monitoring.monitor import LearningGauge, Monitor, Online, PredictionGauge
from jobs.monitoring.process import process_families
from jobs.monitoring.recent import SHARES, Recent
from operators.evaluate import METRICS

_WATCHED: tuple[tuple[str, Kind, str], ...] = (
    ("buckets_total", "counter", "Buckets of event time that were watched, ever."),
    ("bucket_end_seconds", "gauge", "End of the last one in event time, Unix time."),
    ("alarm_number", "gauge", "The number of the last alarm."),
)


def families(monitor: Monitor) -> list[Family]:
    """All metrics of a job, as they are now; those without a sample are among them."""
    return [
        *_job(monitor),
        *_inputs(monitor),
        *_features(monitor.features),
        *_predictions(monitor.predictions),
        *_state(monitor),
        *_model(monitor),
        *_online(monitor.online),
        *_learning(monitor.learning),
        *process_families(),
    ]


def _job(monitor: Monitor) -> Iterator[Family]:
    what = {
        "role": monitor.role,
        "pipeline": monitor.pipeline,
        "definition": monitor.definition,
        "version": version("headrace"),
    }
    yield _of("headrace_info", "gauge", "What runs here; 1.", [(what, 1)])
    yield _one("headrace_ready", "gauge", "1 when ready.", not monitor.not_ready())
    yield _one("headrace_step_age_seconds", "gauge", "Since the loop turned.", monitor.step_age)
    yield _histogram(
        "headrace_latency_seconds",
        "From a record's append stamp until the broker had what came of it.",
        monitor.latency,
    )
    yield _one(
        "headrace_output_waiting_records",
        "gauge",
        "Records sent that the broker has not acknowledged.",
        monitor.output_waiting,
    )
    yield _by("headrace_ledger", "gauge", "Where it all went.", "count", monitor.ledger())
    yield _by(
        "headrace_dead_letters_total",
        "counter",
        "Records that could not be used.",
        "reason",
        dict(monitor.dead_letters),
    )


def _inputs(monitor: Monitor) -> Iterator[Family]:
    now_us, inputs = monitor.now_us(), monitor.inputs
    labels = [{"topic": each.topic, "partition": each.partition} for each in inputs]
    columns: tuple[tuple[str, Kind, str, list[float]], ...] = (
        (
            "headrace_input_records_total",
            "counter",
            "Records taken since the start.",
            [each.taken for each in inputs],
        ),
        (
            "headrace_input_lag_records",
            "gauge",
            "Records there that were not taken yet.",
            [each.behind for each in inputs],
        ),
        (
            "headrace_input_lag_seconds",
            "gauge",
            "How long ago what is read next was appended; 0 when all is read.",
            [each.lag_seconds(now_us) for each in inputs],
        ),
    )
    for name, kind, text, values in columns:
        yield _of(name, kind, text, list(zip(labels, values, strict=True)))


def _features(recent: Recent | None) -> Iterator[Family]:
    there = recent if recent is not None and recent.events else None
    names = there.names if there else ()
    missing = there.missing() if there else []
    quantiles = there.quantiles() if there else []
    yield _one(
        "headrace_feature_events",
        "gauge",
        "Events of late that the features' figures are of, a sample.",
        there.events if there else None,
    )
    yield _by(
        "headrace_feature_missing_share",
        "gauge",
        "Share of them in which the feature is missing.",
        "feature",
        dict(zip(names, missing, strict=True)),
    )
    yield _of(
        "headrace_feature_quantile",
        "gauge",
        "Quantiles of the feature in them, to 6 per cent of the value.",
        [
            ({"feature": name, "quantile": share}, value)
            for name, row in zip(names, quantiles, strict=True)
            for share, value in zip(SHARES, row, strict=True)
            if not math.isnan(value)
        ],
    )


def _predictions(predictions: PredictionGauge | None) -> Iterator[Family]:
    yield _by(
        "headrace_predictions_total",
        "counter",
        "Predictions made.",
        "decision",
        dict(predictions.decided) if predictions else {},
    )
    yield _one(
        "headrace_predictions_late_total",
        "counter",
        "Of them, those of events that came later than the lateness.",
        predictions.late if predictions else None,
    )
    yield _histogram(
        "headrace_score", "Scores of predictions.", predictions.scores if predictions else None
    )


def _state(monitor: Monitor) -> Iterator[Family]:
    snapshots = monitor.snapshots
    yield _by("headrace_state_bytes", "gauge", "Size of the state.", "part", monitor.state_bytes())
    yield _one("headrace_snapshots_total", "counter", "Snapshots written.", snapshots.taken)
    there = bool(snapshots.at_us)
    yield _one(
        "headrace_snapshot_duration_seconds",
        "gauge",
        "How long the last snapshot took.",
        snapshots.seconds if there else None,
    )
    yield _one(
        "headrace_snapshot_age_seconds",
        "gauge",
        "Since the last snapshot was there.",
        _age(monitor, snapshots.at_us),
    )


def _model(monitor: Monitor) -> Iterator[Family]:
    model = monitor.model
    yield _one("headrace_model_version", "gauge", "The version in use.", model.version)
    yield _one(
        "headrace_model_age_seconds",
        "gauge",
        "Since the version took effect, or was published.",
        _age(monitor, model.since_us),
    )
    yield _one(
        "headrace_model_swaps_total",
        "counter",
        "Versions put to use, or published.",
        model.swaps,
    )
    yield _one(
        "headrace_model_swap_longest_seconds",
        "gauge",
        "The longest the loop stood still for a version.",
        model.longest_swap_seconds,
    )
    yield _one(
        "headrace_models_refused_total",
        "counter",
        "Versions that were damaged, foreign or wrongly signed.",
        model.refused,
    )


def _online(store: Online | None) -> Iterator[Family]:
    values: list[float | None] = [None] * 6
    if store is not None:
        values = [store.up, store.waiting, store.lag, store.written, store.superseded]
        values.append(store.failures)
    columns: tuple[tuple[str, Kind, str], ...] = (
        ("up", "gauge", "1 while writes go through."),
        ("waiting_lines", "gauge", "Lines that are not written yet."),
        ("lag_seconds", "gauge", "How long the oldest of them has waited."),
        ("written_total", "counter", "Lines written."),
        ("superseded_total", "counter", "Lines that a newer one of their key made needless."),
        ("failures_total", "counter", "Writes that failed and were tried again."),
    )
    for (name, kind, text), value in zip(columns, values, strict=True):
        yield _one(f"headrace_online_{name}", kind, text, value)


def _learning(learning: LearningGauge | None) -> Iterator[Family]:
    rows = list(learning.windows.values()) if learning else []
    yield _by(
        "headrace_examples_total",
        "counter",
        "Examples learnt from.",
        "cause",
        dict(learning.examples) if learning else {},
    )
    yield _one(
        "headrace_examples_positive_total",
        "counter",
        "Of them, the positive ones.",
        learning.positives if learning else None,
    )
    yield _histogram(
        "headrace_label_delay_seconds",
        "From an event until its label was told, by event time.",
        learning.delays if learning else None,
    )
    yield _of(
        "headrace_quality",
        "gauge",
        "Quality of a scorer in the last closed window.",
        [
            ({"scorer": row.scorer, "metric": metric}, getattr(row, metric))
            for row in rows
            for metric in METRICS
            if not math.isnan(getattr(row, metric))
        ],
    )
    yield _by(
        "headrace_quality_examples",
        "gauge",
        "Examples in that window.",
        "scorer",
        {row.scorer: row.examples for row in rows},
    )
    yield _by(
        "headrace_quality_window_end_seconds",
        "gauge",
        "End of that window in event time, Unix time.",
        "scorer",
        {row.scorer: row.end_us / 1e6 for row in rows},
    )
    yield _by(
        "headrace_drift_alarms_total",
        "counter",
        "Alarms raised since the start.",
        "kind",
        dict(learning.alarms) if learning else {},
    )
    yield _by(
        "headrace_drift_open",
        "gauge",
        "Changes that were told and are not over.",
        "kind",
        learning.open() if learning else {},
    )

    watched = learning.watched() if learning else {}
    for name, kind, text in _WATCHED:
        yield _one(f"headrace_drift_{name}", kind, text, watched.get(name))


def _histogram(name: str, text: str, histogram: Histogram | None) -> Family:
    if histogram is None:
        return Family(name, "histogram", text)
    return Family(name, "histogram", text, buckets=histogram.cumulative(), sum=histogram.sum)


def _age(monitor: Monitor, at_us: int) -> float | None:
    return max(monitor.now_us() - at_us, 0) / 1e6 if at_us else None


def _of(name: str, kind: Kind, text: str, samples: Sequence[Sample]) -> Family:
    return Family(name, kind, text, samples)


def _one(name: str, kind: Kind, text: str, value: float | None) -> Family:
    return Family(name, kind, text, [] if value is None else [({}, float(value))])


def _by(name: str, kind: Kind, text: str, label: str, values: Mapping[str, float]) -> Family:
    return Family(name, kind, text, [({label: key}, value) for key, value in values.items()])
