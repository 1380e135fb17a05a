"""A finished run's input once more: its rows in the order in which the run took them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.definition import Pipeline
from jobs.pipeline import INTERVAL
from jobs.settings import Inputs
from streams.batch import Batch
from streams.errors import InputError
from streams.order import Sorter
from streams.schema import duration_us

PREDICTIONS = "predictions.parquet"


def rerun(inputs: Inputs, pipeline: Pipeline) -> Iterator[tuple[Batch, float]]:
    """Batch after batch as the flow got them, and the share of the input that is given so far."""
    source = inputs.source(pipeline)
    sorter = Sorter(duration_us(pipeline.lateness)) if inputs.order == "strict" else None
    for batch, _ in source:
        yield (sorter.push(batch)[0] if sorter else batch), source.done
    held = sorter.flush() if sorter else None
    if held is not None:
        yield held, 1.0


def own_columns(pipeline: Pipeline) -> tuple[str, ...]:
    """The columns of predictions.parquet that are no feature's; one of such a name has none."""
    event = pipeline.event
    scores = ("score", *INTERVAL, "decision", "model_version", "late")
    challengers = (f"score_{name}" for name in pipeline.challengers)
    numbers = (number.name for number in event.numbers)
    return ("id", "time", *event.keys, *numbers, *scores, *challengers)


def predictions(folder: Path, *columns: str, where: tuple[str, str] | None = None) -> pa.Table:
    """The predictions of a finished run: every column or some, all rows or those `where` x is y.

    Raises InputError where they are not, or lack a column.
    """
    path = folder / PREDICTIONS
    try:
        chosen = None if where is None else [(where[0], "=", where[1])]
        return pq.read_table(path, columns=list(columns) or None, filters=chosen)
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"{path}: wanted the predictions of a finished run, got: {error}; name the --out of a "
            "replay that has come to its end"
        ) from None
