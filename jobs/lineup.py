"""What learns and what judges in a pipeline, as it declares them, and where versions are from."""

from __future__ import annotations

import os
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any

import msgspec

from jobs.definition import Pipeline
from jobs.release import RELEASE
from models.manifest import Manifest
from operators.drift.responsive import Responsive
from operators.evaluate import METRICS, Prequential, WindowMetrics
from operators.lineup import Lineup, Made
from streams.schema import duration_us

# Before CUDA 13 torch gives the same bits on a graphics card only with it, and else refuses.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


class Basis(msgspec.Struct, frozen=True):
    """What versions were learnt from, beside how many examples; times in microseconds UTC."""

    until_us: int | None = None
    """The largest time of any event or label until then."""
    since_us: int | None = None
    """Time of the first event that was learnt from."""
    positions: dict[str, int] = {}
    """Where it ends: the next offset by topic, or rows of the input."""


def basis_of(kept: Any) -> Basis:
    """What a state says of it; an earlier release kept a list of examples and time."""
    return Basis(kept[1]) if isinstance(kept, list) else msgspec.convert(kept or {}, Basis)


def lineup_of(pipeline: Pipeline, names: tuple[str, ...]) -> Lineup:
    """Its models over features of these names, nothing learnt."""
    responses = pipeline.responses
    make = partial(Responsive, responses=responses) if responses else Lineup
    return make(
        pipeline.models,
        names,
        every=pipeline.every,
        every_us=duration_us(pipeline.every_time),
        contenders=len(pipeline.contenders),
    )


def judge_of(pipeline: Pipeline) -> Prequential:
    """What judges the scores of all its models."""
    return Prequential(
        tuple(pipeline.models),
        {name: each.values for name, each in pipeline.slices.items()},
        maturity_us=pipeline.event.label.maturity_us,
        budget=pipeline.alert_budget,
        k=pipeline.top_k,
    )


def manifest_of(
    made: Made,
    pipeline: Pipeline,
    basis: Basis,
    judged: WindowMetrics | None,
    parent: int | None,
) -> Manifest:
    """What a version is and where it comes from; `judged` is how well its model did of late."""
    counts = {name: float(getattr(judged, name)) for name in ("examples", "frauds") if judged}
    return Manifest(
        sequence=made.number,
        name=made.model,
        major=made.major,
        minor=made.minor,
        pipeline=pipeline.definition,
        examples=made.examples,
        since_us=basis.since_us,
        until_us=basis.until_us,
        positions=basis.positions,
        parent=parent,
        metrics=counts | {name: getattr(judged, name) for name in METRICS if judged},
        parameters=_parameters(pipeline.contenders[made.model]),
        code=RELEASE,
        response=made.response,
    )


def _parameters(model: Any) -> dict[str, str]:
    names = [each.name for each in fields(model)] if is_dataclass(model) else []
    declared = {name: repr(getattr(model, name)) for name in names} or {"declared": repr(model)}
    return {"model": type(model).__name__} | declared
