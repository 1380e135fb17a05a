"""How good a run's scores are: by its own metrics, and by a published protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.table import Table

from jobs.handbook import HandbookQuality, evaluate_handbook, results_table, to_json
from jobs.settings import Inputs
from streams.atomic import write_whole
from streams.batch import EVENT, LABEL, as_text
from streams.errors import InputError

CEILING = (0.902, 0.785, 0.317)
"""AUC, average precision and card precision above which a score knows what it cannot know."""
UNKNOWN = -1
SHOWN = {
    "auc": "AUC",
    "average_precision": "AP",
    "recall_at_budget": "recall at budget",
    "log_loss": "log loss",
    "calibration_error": "calibration",
}
"""Columns, by name in metrics.json."""
SPANS = {"overall": "the whole run", "lately": "the last windows"}


def by_handbook(folder: Path) -> tuple[Table, list[str]]:
    """Judge champion and challengers of a replay by the Handbook's folds.

    Writes `handbook.json` there. Returns the table beside the published results, and a warning for
    every score that is too good to be true. Raises InputError if the run lacks what is needed.
    """
    inputs = Inputs.load(folder)
    path = folder / "predictions.parquet"
    try:
        columns = pq.read_schema(path).names
        scorers = {
            name.removeprefix("score_") if name != "score" else "champion": name
            for name in columns
            if name == "score" or name.startswith("score_")
        }
        if "customer" not in columns:
            raise InputError(
                f"{path}: the Handbook's protocol judges cards: wanted a column 'customer', there "
                f"are {', '.join(columns)}"
            )
        table = pq.read_table(path, columns=["id", "time", "customer", *scorers.values()])
        known = truth(inputs, table)
        judged = {
            f"headrace, {name}": _judge(table, column, known) for name, column in scorers.items()
        }
    except (OSError, pa.ArrowException, ValueError) as error:
        raise InputError(f"{folder}: cannot be judged by the Handbook: {error}") from error
    write_whole(folder / "handbook.json", [to_json(judged)])
    return results_table(judged), [line for name in judged for line in _leaks(name, judged[name])]


def _judge(table: pa.Table, column: str, labels: pa.Table) -> HandbookQuality:
    scored = table.select(["id", "time", "customer"]).append_column("score", table[column])
    return evaluate_handbook(scored, labels)


def truth(inputs: Inputs, predictions: pa.Table) -> pa.Table:
    """`id` and `label` of the predictions, read again from the input of their run.

    A label is 1, 0, or -1 where the input ends before the event has matured and says nothing of it.
    """
    pipeline = inputs.load_pipeline()
    beside = inputs.label_delay is not None
    source = inputs.source(pipeline, label_delay="0s" if beside else None)
    said: dict[str, int] = {}
    latest = 0
    for batch, _ in source:
        rows = np.flatnonzero(batch.kind == LABEL)
        ids = as_text(batch.texts[0].take(pa.array(rows))).to_pylist()
        said.update(zip(ids, batch.label[rows].tolist(), strict=True))
        latest = max(latest, int(batch.time[batch.kind == EVENT].max(initial=0)))
    time_us = predictions["time"].cast(pa.int64()).to_numpy()
    matured = beside | (time_us <= latest - pipeline.event.label.maturity_us)
    silence = np.where(matured, 0, UNKNOWN).astype(np.int8)
    known = pa.array(list(said.values()), pa.int8())
    at = pc.index_in(predictions["id"], value_set=pa.array(list(said), pa.string()))
    label = pc.coalesce(known.take(at.combine_chunks()), pa.array(silence))
    return pa.table({"id": predictions["id"], "label": label})


def _leaks(name: str, quality: HandbookQuality) -> list[str]:
    measures = zip(("AUC", "AP", "CP@100"), quality.test.mean, CEILING, strict=True)
    return [
        f"{name}: {measure} {value:.3f} is above {ceiling}: a leak until disproved"
        for measure, value, ceiling in measures
        if value > ceiling
    ]


def metrics_tables(folder: Path) -> list[Table]:
    """What metrics.json says of every scorer, over the whole run and lately.

    Raises InputError where it is not.
    """
    path = folder / "metrics.json"
    try:
        metrics = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise InputError(
            f"{path}: wanted the metrics of a finished run, got: {error}; name the --out of a "
            "replay that has come to its end"
        ) from None
    return [_span(title, metrics[span]) for span, title in SPANS.items()]


def _span(title: str, rows: dict[str, dict[str, Any]]) -> Table:
    judged = max((row["examples"] for row in rows.values()), default=0)
    table = Table(title=f"{title} ({judged:,} matured events)", title_justify="left")
    table.add_column("scorer", overflow="fold")
    for name in SHOWN.values():
        table.add_column(name, justify="right")
    for scorer, row in rows.items():
        cells = ["–" if row[name] is None else f"{row[name]:.4f}" for name in SHOWN]
        table.add_row(scorer, *cells, style="bold" if scorer == "champion" else None)
    return table
