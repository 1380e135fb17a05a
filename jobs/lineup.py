"""What learns and what judges in a pipeline, as its declaration says."""

from __future__ import annotations

from jobs.definition import Pipeline
from operators.evaluate import Prequential
from operators.lineup import Lineup
from streams.schema import duration_us


def lineup_of(pipeline: Pipeline, names: tuple[str, ...]) -> Lineup:
    """Its models over features of these names, nothing learnt."""
    every_us = duration_us(pipeline.every_time)
    return Lineup(pipeline.models, names, every=pipeline.every, every_us=every_us)


def judge_of(pipeline: Pipeline) -> Prequential:
    """What judges the scores of all its models."""
    return Prequential(
        tuple(pipeline.models),
        {name: each.values for name, each in pipeline.slices.items()},
        maturity_us=pipeline.event.label.maturity_us,
        budget=pipeline.alert_budget,
        k=pipeline.top_k,
    )
