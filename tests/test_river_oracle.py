"""Delayed prequential evaluation gives what River's `progressive_val_score(delay=...)` gives.

River asks of the event at t after telling the answers of all whose moment plus delay is at most t,
in the order of the questions. That is a label row for every event, positive or negative, at its
event's time plus the delay: at equal times labels come before transactions. A version after every
example then makes each prediction by what River's model knew when it was asked.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from jobs.definition import Pipeline
from jobs.local import LocalRun
from models.river import River
from operators.features import value
from streams.schema import SECOND, Event, Label, Number
from streams.sources import FileSource

pytest.importorskip("river")
from river import ensemble, linear_model, preprocessing
from river.datasets import Bananas, Phishing
from river.evaluate import progressive_val_score
from river.metrics import ROCAUC, LogLoss

START = 1_600_000_000 * SECOND
STEP = 60 * SECOND
METRICS: tuple[Any, ...] = LogLoss, ROCAUC
DIGITS = 6
"""Phishing has 0, 0.5 and 1, Bananas six decimals: nothing is rounded."""

Rows = list[tuple[dict[str, float], bool]]
Said = list[tuple[float, bool]]

MODELS: dict[str, Callable[[], Any]] = {
    "logistic": lambda: preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    "bagging": lambda: ensemble.BaggingClassifier(MODELS["logistic"](), n_models=2, seed=3),
}
"""Both answer before they have learnt anything. River leaves out the questions that a model does
not answer; a prediction is always a number."""


def even(rows: Rows) -> list[int]:
    """A step from each event to the next: River's delay in events."""
    return [START + STEP * place for place in range(len(rows))]


def uneven(rows: Rows) -> list[int]:
    """Irregular moments, some of several events and some where labels fall due."""
    dice, now, times = random.Random(5), START, []
    for _ in rows:
        now += dice.choice([0, 1, 1, 2, 30]) * STEP // 2
        times.append(now)
    return times


def pipeline(rows: Rows, model: Any) -> Pipeline:
    names = tuple(rows[0][0])
    return Pipeline(
        name="oracle",
        event=Event(
            "row",
            keys=(),
            numbers=tuple(Number(name, scale=DIGITS, minimum=-10, maximum=10) for name in names),
            label=Label("positive", maturity="30d"),
        ),
        features={name: value(name) for name in names},
        champion=River(model),
        every=1,
    )


def replay(rows: Rows, times: list[int], delay: int, model: Any, out: Path) -> tuple[Said, float]:
    """What a run said of each row, in the order of the labels, and its overall log loss."""
    told = [
        (time, 1, place, {"id": str(place), "time": time} | row)
        for place, (time, (row, _)) in enumerate(zip(times, rows, strict=True))
    ]
    told += [
        (time + delay, 0, place, {"id": str(place), "time": time + delay, "positive": label})
        for place, (time, (_, label)) in enumerate(zip(times, rows, strict=True))
    ]
    path = out / "rows.ndjson"
    told.sort(key=lambda each: each[:3])
    path.write_bytes(b"\n".join(orjson.dumps(record) for *_, record in told))
    made = pipeline(rows, model)
    run = LocalRun(made, FileSource([path], made.event, {}), out / "run")
    assert not sum(len(step.scored.letters) for step in run)
    table = pq.read_table(run.finish())
    assert run.counts["admitted"] == run.counts["labels_matched"] == len(rows)
    scores = dict(zip(table["id"].to_pylist(), table["score"].to_pylist(), strict=True))
    run.flow.evaluation.finish()  # every label is known
    champion = next(row for row in run.flow.evaluation.overall() if row.scorer == "champion")
    said = [(scores[str(place)], label) for place, (_, label) in enumerate(rows)]
    return said, champion.log_loss


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dataset", [Phishing, Bananas])
def test_a_delay_in_events_gives_rivers_metrics(dataset: Any, name: str, tmp_path: Path) -> None:
    rows = list(dataset())
    said, log_loss = replay(rows, even(rows), 50 * STEP, MODELS[name](), tmp_path)
    for metric in METRICS:
        theirs = progressive_val_score(rows, MODELS[name](), metric(), delay=50)
        assert measured(metric(), said) == pytest.approx(theirs.get(), abs=1e-9)
    assert log_loss == pytest.approx(measured(METRICS[0](), said), abs=1e-9)


@pytest.mark.parametrize("dataset", [Phishing, Bananas])
def test_a_delay_in_time_gives_rivers_metrics(dataset: Any, tmp_path: Path) -> None:
    rows = list(dataset())
    times = uneven(rows)
    said, _ = replay(rows, times, 20 * STEP, MODELS["logistic"](), tmp_path)
    for metric in METRICS:
        moments = iter(times)
        theirs = progressive_val_score(
            rows,
            MODELS["logistic"](),
            metric(),
            moment=lambda _: timedelta(microseconds=next(moments)),  # noqa: B023
            delay=timedelta(microseconds=20 * STEP),
        )
        assert measured(metric(), said) == pytest.approx(theirs.get(), abs=1e-9)


def measured(metric: Any, said: Said) -> float:
    """River's metric of these predictions."""
    for score, label in said:
        metric.update(y_true=label, y_pred={False: 1 - score, True: score})
    return float(metric.get())
