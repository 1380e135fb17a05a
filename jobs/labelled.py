"""Events with their features as they were logged, and the labels that came: of a run, or a log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.judge import UNKNOWN, truth
from jobs.load_pipeline import load_pipeline
from jobs.rerun import own_columns, predictions
from jobs.settings import Inputs
from models.base import Floats
from operators.features import Feature
from operators.plan import LABELLED
from streams.errors import InputError
from streams.records import Example
from streams.schema import duration_us

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Labelled:
    """Events in order of time, the last of them perhaps without a label yet."""

    where: str
    names: tuple[str, ...]
    x: Floats
    """(n, features), NaN where missing."""
    y: npt.NDArray[np.int8]
    """(n,) 1, 0, or -1 of those too young: from the first of them on, all are."""
    at_once: frozenset[str] = frozenset()
    """Features that read labels at the time of the events these are of."""


def labelled(path: Path, pipeline: str, rows: int) -> Labelled:
    """The last so many events with labels: of a run's folder, or of examples as lines of JSON.

    A run knows its pipeline; the features of examples are those of `pipeline`. Raises InputError
    for what is neither.
    """
    return _of_run(path, rows) if path.is_dir() else _of_examples(path, pipeline, rows)


def _of_run(folder: Path, rows: int) -> Labelled:
    inputs = Inputs.load(folder)
    pipeline = inputs.load_pipeline()
    own = own_columns(pipeline)
    names = tuple(
        name
        for name, feature in pipeline.features.items()
        if name not in own or (feature.operation == "value" and feature.field == name)
    )
    table = predictions(folder, "id", "time")
    known = truth(inputs, table)["label"].to_numpy()
    time = table["time"].cast(pa.int64()).to_numpy()
    order = np.argsort(time, kind="stable")
    young = np.flatnonzero(known[order] == UNKNOWN)
    settled = int(young[0]) if len(young) else len(order)
    chosen = order[max(settled - rows, 0) :]
    x = np.column_stack([predictions(folder, name)[name].to_numpy()[chosen] for name in names])
    y = known[chosen]
    y[len(y) - (len(order) - settled) :] = UNKNOWN
    immediate = inputs.label_delay is not None and not duration_us(inputs.label_delay)
    at_once = [name for name in names if immediate and _reads_labels(pipeline.features[name])]
    return Labelled(str(folder), names, x, y, frozenset(at_once))


def _reads_labels(feature: Feature) -> bool:
    """Whether the feature, or one of its parts, reads the labels of events just before."""
    own = feature.operation in LABELLED and not duration_us(feature.delay)
    return own or any(map(_reads_labels, feature.parts))


def _of_examples(path: Path, pipeline: str, rows: int) -> Labelled:
    names = tuple(load_pipeline(pipeline).features)
    decoder = msgspec.json.Decoder(Example)
    last: dict[int, Example] = {}
    try:
        with path.open("rb") as lines:
            for line in lines:
                example = decoder.decode(line)
                last[example.number] = example
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError(
            f"{path}: wanted the folder of a replay, or examples as `headrace subscribe examples "
            f"--json` prints them, got: {error}"
        ) from None
    found = sorted(last.values(), key=lambda each: each.time)[-rows:]
    wrong = next((each for each in found if len(each.features) != len(names)), None)
    if wrong is not None:
        raise InputError(
            f"{path}: wanted the {len(names)} features of the pipeline {pipeline}, got "
            f"{len(wrong.features)}: name the pipeline that made them by --pipeline"
        )
    x = np.array([each.features for each in found], np.float64).reshape(len(found), len(names))
    return Labelled(str(path), names, x, np.array([each.value for each in found], np.int8))
