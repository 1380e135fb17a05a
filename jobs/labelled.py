"""Events with their features as they were logged, and the labels that came: of a run, or a log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.definition import Pipeline
from jobs.judge import UNKNOWN, truth
from jobs.judged import Labelled
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
class Logged:
    """Events in order of time, with all their features."""

    where: str
    names: tuple[str, ...]
    ids: tuple[str, ...]
    x: Floats
    """(n, features), NaN where missing."""


def labelled(path: Path, pipeline: str, rows: int) -> Labelled:
    """The last so many events with labels: of a run's folder, or of examples as lines of JSON.

    A run knows its pipeline; the features of examples are those of `pipeline`. Raises InputError
    for what is neither.
    """
    return _of_run(path, rows) if path.is_dir() else _of_examples(path, pipeline, rows)


def logged(path: Path, pipeline: Pipeline, most: int) -> Logged:
    """At most so many events, drawn evenly: of a run's folder, or of examples as lines of JSON.

    Raises InputError for what is neither, or lacks a feature.
    """
    if not path.is_dir():
        found = _examples(path, pipeline.name, tuple(pipeline.features))
        found = [found[place] for place in _evenly(len(found), most)]
        ids = tuple(str(each.number) for each in found)
        return Logged(str(path), tuple(pipeline.features), ids, _features(found, pipeline))
    names = _written(pipeline)
    if hidden := [name for name in pipeline.features if name not in names]:
        raise InputError(
            f"{path}: has no feature {hidden[0]}, since another column is called so: name the "
            "feature otherwise, or give examples of the topic"
        )
    table = predictions(path, "id", "time")
    order = np.argsort(table["time"].cast(pa.int64()).to_numpy(), kind="stable")
    chosen = order[_evenly(len(order), most)]
    ids = tuple(table["id"].take(pa.array(chosen)).to_pylist())
    return Logged(str(path), names, ids, _columns(path, names, chosen))


def _evenly(count: int, most: int) -> Int64s:
    """Places of at most so many, evenly spread."""
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, most)).astype(np.int64))


def _written(pipeline: Pipeline) -> tuple[str, ...]:
    """The features that predictions.parquet holds."""
    own = own_columns(pipeline)
    return tuple(
        name
        for name, feature in pipeline.features.items()
        if name not in own or (feature.operation == "value" and feature.field == name)
    )


def _columns(folder: Path, names: tuple[str, ...], chosen: Int64s) -> Floats:
    """These features of these predictions, a column at a time."""
    return np.column_stack([predictions(folder, name)[name].to_numpy()[chosen] for name in names])


def _of_run(folder: Path, rows: int) -> Labelled:
    inputs = Inputs.load(folder)
    pipeline = inputs.load_pipeline()
    names = _written(pipeline)
    table = predictions(folder, "id", "time", "score")
    known = truth(inputs, table)["label"].to_numpy()
    time = table["time"].cast(pa.int64()).to_numpy()
    order = np.argsort(time, kind="stable")
    young = np.flatnonzero(known[order] == UNKNOWN)
    settled = int(young[0]) if len(young) else len(order)
    chosen = order[max(settled - rows, 0) :]
    x = _columns(folder, names, chosen)
    y = known[chosen]
    y[len(y) - (len(order) - settled) :] = UNKNOWN
    immediate = inputs.label_delay is not None and not duration_us(inputs.label_delay)
    at_once = [name for name in names if immediate and _reads_labels(pipeline.features[name])]
    score = table["score"].to_numpy()[chosen]
    return Labelled(str(folder), names, x, y, frozenset(at_once), score)


def _reads_labels(feature: Feature) -> bool:
    """Whether the feature, or one of its parts, reads the labels of events just before."""
    own = feature.operation in LABELLED and not duration_us(feature.delay)
    return own or any(map(_reads_labels, feature.parts))


def _of_examples(path: Path, pipeline: str, rows: int) -> Labelled:
    declared = load_pipeline(pipeline)
    names = tuple(declared.features)
    found = _examples(path, pipeline, names)[-rows:]
    y = np.array([each.value for each in found], np.int8)
    score = np.array([each.score for each in found])
    return Labelled(str(path), names, _features(found, declared), y, score=score)


def _features(found: list[Example], pipeline: Pipeline) -> Floats:
    values = np.array([each.features for each in found], np.float64)
    return values.reshape(len(found), len(pipeline.features))


def _examples(path: Path, pipeline: str, names: tuple[str, ...]) -> list[Example]:
    """The last word on each prediction, in order of time."""
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
    wrong = next((each for each in last.values() if len(each.features) != len(names)), None)
    if wrong is not None:
        raise InputError(
            f"{path}: wanted the {len(names)} features of the pipeline {pipeline}, got "
            f"{len(wrong.features)}: name the pipeline that made them by --pipeline"
        )
    return sorted(last.values(), key=lambda each: each.time)
