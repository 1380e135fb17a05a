"""Why an event was scored as it was: state and model of that instant, rebuilt and compared."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.definition import Pipeline
from jobs.heeding import Heeding
from jobs.pipeline import INTERVAL, Flow, Scored
from jobs.progress import Progress
from jobs.rerun import own_columns, predictions, rerun
from jobs.settings import Inputs
from models.base import Version
from models.registry import Registry
from operators.explain import Held, Span, record_of, span_of
from operators.features import Feature
from streams.batch import EVENT, Batch, as_text
from streams.errors import ConfigError, InputError
from streams.ident import ident
from streams.schema import MISSING

REASONS = 5
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Window:
    """What one windowed part of a feature reads."""

    part: Feature
    span: Span
    events: list[Held]


@dataclass(frozen=True, slots=True)
class Difference:
    """A column of the prediction that came out otherwise."""

    name: str
    logged: Any
    rebuilt: Any


@dataclass(frozen=True, slots=True)
class Why:
    """An event, its prediction, and everything that the prediction was made from."""

    pipeline: Pipeline
    only: str | None
    """The one feature that was asked for."""
    prediction: dict[str, Any]
    """By column of predictions.parquet, made anew; `time` in microseconds UTC."""
    threshold: float
    late: bool
    base: float
    """The log-odds of the score before anything is known of the event."""
    contributions: dict[str, float]
    """By feature: what it adds to the log-odds. With the base they sum to those of the score."""
    features: dict[str, float]
    windows: dict[str, list[Window]]
    """By feature; none for one that needs the event alone."""
    kept: dict[str, list[Held]]
    """By entity: what its record held of the key up to the event, the event last."""
    ids: dict[tuple[int, int], str]
    """By time and low word: the ids of the keys' events as they were written."""
    differences: list[Difference]
    """None: what was logged is reproduced to the bit."""

    @property
    def reasons(self) -> list[str]:
        """The features that raise the score most, the largest first."""
        raising = [name for name, added in self.contributions.items() if added > 0]
        return sorted(raising, key=lambda name: -self.contributions[name])[:REASONS]


@dataclass(frozen=True, slots=True)
class _Replayed:
    """The flow just after the event, and the ids of the events that share a key with it."""

    flow: Flow
    row: Batch
    scored: Scored
    ids: dict[tuple[int, int], str]

    @property
    def version(self) -> Version:
        """The one that scored it."""
        return self.scored.champions[int(self.scored.version[-1])]


def why(folder: Path, id: str, *, only: str | None = None) -> Why:
    """Rebuild the instant at which a run scored this event, from the input of the run.

    The flow runs again over the same rows up to the event, in a folder of its own, and what comes
    out is compared with what the run wrote. Raises InputError for an id that the run did not score,
    or that its input no longer holds; ConfigError where `only` is no feature of the pipeline.
    """
    inputs = Inputs.load(folder)
    pipeline = inputs.load_pipeline()
    if only is not None and only not in pipeline.features:
        names = ", ".join(pipeline.features)
        raise ConfigError(f"{only}: wanted a feature of the pipeline; there are {names}")
    table = predictions(folder, where=("id", id))
    found = table.set_column(1, "time", table["time"].cast(pa.int64())).to_pylist()
    if not found:
        raise InputError(
            f"{folder}: wanted the id of an event that was scored, got {id!r}, which is in no row "
            "of predictions.parquet; dead_letters.ndjson has what could not be read"
        )
    logged = found[0]
    with tempfile.TemporaryDirectory() as scratch, Progress("rebuilding") as progress:
        flow = Flow(pipeline, Path(scratch))
        try:
            keys = np.array([ident(logged[key]) for key in pipeline.event.keys])
            return _explain(_replay(flow, inputs, id, keys, progress), id, logged, only)
        finally:
            flow.ids.close()
            flow.log.close()


def _replay(flow: Flow, inputs: Inputs, id: str, keys: Int64s, progress: Progress) -> _Replayed:
    """Carry the flow through the run's input to the event."""
    wanted = ident(id)
    ids: dict[tuple[int, int], str] = {}
    rows = 0
    decided = Path(inputs.state) / "models"
    heeding = Heeding(flow, Registry(decided)) if decided.is_dir() else None
    for number, (batch, share) in enumerate(rerun(inputs, flow.pipeline), 1):
        if heeding:
            heeding.heed(number, again=True)
        here = (batch.kind == EVENT) & (batch.idents[:, 0] == wanted).all(axis=1)
        if here.any():
            part = batch[: int(here.argmax()) + 1]
            ids |= _ids(part, keys)
            return _Replayed(flow, part[len(part) - 1 :], flow.process(part), ids)
        flow.process(batch)
        ids |= _ids(batch, keys)
        rows += len(batch)
        progress.show(rows, share)
    raise InputError(
        f"{', '.join(inputs.files)}: wanted the event {id!r} of the run, found none in {rows:,} "
        "rows; the files have changed since the run: put them back as they were"
    )


def _ids(batch: Batch, keys: Int64s) -> dict[tuple[int, int], str]:
    """By time and low word, the ids of the events that have one of the keys."""
    shared = (batch.idents[:, 1:] == keys).all(axis=2).any(axis=1)
    rows = np.flatnonzero(shared & (batch.kind == EVENT))
    texts = as_text(batch.texts[0].take(pa.array(rows))).to_pylist()
    places = zip(batch.time[rows].tolist(), batch.idents[rows, 0, 1].tolist(), strict=True)
    return dict(zip(places, texts, strict=True))


def _explain(replayed: _Replayed, id: str, logged: dict[str, Any], only: str | None) -> Why:
    flow, scored = replayed.flow, replayed.scored
    features = dict(zip(flow.names, scored.features[-1].tolist(), strict=True))
    rebuilt = _prediction(replayed, id, features)
    *added, base = replayed.version.contributions_many(scored.features[-1:])[0].tolist()
    kept = _kept(replayed)
    now = rebuilt["time"]
    return Why(
        pipeline=flow.pipeline,
        only=only,
        prediction=rebuilt,
        threshold=replayed.version.threshold,
        late=bool(scored.late[-1]),
        base=base,
        contributions=dict(zip(flow.names, added, strict=True)),
        features=features,
        windows={
            name: [
                Window(part, span_of(part, now), span_of(part, now).of(kept[part.entity]))
                for part in _windowed(feature)
            ]
            for name, feature in flow.pipeline.features.items()
        },
        kept=kept,
        ids=replayed.ids,
        differences=[
            Difference(name, logged.get(name), rebuilt.get(name))
            for name in dict.fromkeys([*logged, *rebuilt])
            if not _same(logged.get(name), rebuilt.get(name))
        ],
    )


def _prediction(replayed: _Replayed, id: str, features: dict[str, float]) -> dict[str, Any]:
    """What the run would write of the event."""
    flow, row, scored = replayed.flow, replayed.row, replayed.scored
    event, own = flow.pipeline.event, own_columns(flow.pipeline)
    texts = [as_text(text)[0].as_py() for text in row.texts]
    numbers = {
        number.name: None if held == MISSING else held / 10**number.scale
        for number, held in zip(event.numbers, row.numbers[0].tolist(), strict=True)
    }
    scores = scored.scores[-1].tolist()
    challengers = zip(flow.pipeline.challengers, scores[1:], strict=False)
    return {
        "id": id,
        "time": int(row.time[0]),
        **dict(zip(event.keys, texts[1:], strict=True)),
        **numbers,
        "score": scores[0],
        **dict(zip(INTERVAL, scored.intervals[-1].tolist(), strict=True)),
        "decision": "review" if scored.review[-1] else "approve",
        "model_version": int(scored.version[-1]),
        "late": bool(scored.late[-1]),
        **{f"score_{name}": score for name, score in challengers},
        **{name: value for name, value in features.items() if name not in own},
    }


def _kept(replayed: _Replayed) -> dict[str, list[Held]]:
    """Each entity's events up to the event, which is last and has no label yet.

    One too old to be kept stands alone.
    """
    row = replayed.row
    now, low = int(row.time[0]), int(row.idents[0, 0, 1])
    numbers = zip(replayed.flow.pipeline.event.numbers, row.numbers[0].tolist(), strict=True)
    values = {number.name: None if held == MISSING else held for number, held in numbers}
    kept = {}
    for entity in replayed.flow.features.entities:
        hi, lo = row.idents[0, 1 + entity.number].tolist()
        record = record_of(entity, (hi, lo))
        held = record.held if record else []
        places = [(each.time, each.ident) for each in held]
        if (now, low) in places:
            at = places.index((now, low))
            kept[entity.plan.key] = [*held[:at], replace(held[at], label=None, known=None)]
        else:
            kept[entity.plan.key] = [Held(now, low, 1, values, None, None)]
    return kept


def _windowed(feature: Feature) -> Iterator[Feature]:
    """The feature, or those of its parts, that read a key's events."""
    if feature.entity:
        yield feature
    for part in feature.parts:
        yield from _windowed(part)


def _same(left: Any, right: Any) -> bool:
    """Whether two values are equal, floats by their bits."""
    if isinstance(left, float) and isinstance(right, float):
        return np.float64(left).tobytes() == np.float64(right).tobytes()
    return bool(left == right)
