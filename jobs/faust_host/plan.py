"""What all lanes of a deployment have in common: topics, readers, operators to be made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jobs.config import Settings
from jobs.definition import Pipeline
from jobs.lanes.reading import inputs_of
from operators.featurize import chain
from operators.plan import EntityPlan
from streams.broker import Broker
from streams.schema import duration_us
from streams.topics import TRANSACTIONS

TABLE = "lanes"


@dataclass(frozen=True)
class Plan:
    """What every lane is given."""

    settings: Settings
    pipeline: Pipeline
    broker: Broker
    lanes: int
    memory_bytes: int
    """Of the key records that a worker keeps at hand."""
    folder: Path
    """Where scratch files may lie."""

    @property
    def app(self) -> str:
        """What Faust calls the app: its consumer group, and what its topics begin with."""
        return app_of(self.settings)

    @property
    def strict(self) -> bool:
        """Whether rows wait to be sorted."""
        return self.settings.order == "strict"

    @cached_property
    def entities(self) -> tuple[EntityPlan, ...]:
        """Whose windows there are."""
        return tuple(self.pipeline.plan().entities)

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """Of each entity, its place among an event's keys."""
        keys = self.pipeline.event.keys
        return tuple(keys.index(each.key) for each in self.entities)

    @cached_property
    def custom(self) -> Any:
        """The kernel of the pipeline's own features."""
        columns = self.pipeline.plan().columns
        return chain([each.function for each in columns if each.function is not None])

    @cached_property
    def lateness_us(self) -> int:
        """How far behind the newest event time is."""
        return duration_us(self.pipeline.lateness)

    @cached_property
    def readers(self) -> tuple[int, ...]:
        """The lanes that read transactions, and so know of time."""
        topic = self.settings.topic(TRANSACTIONS)
        return tuple(
            lane
            for lane in range(self.lanes)
            if any(each.topic == topic for each in self.inputs(lane))
        )

    def inputs(self, lane: int) -> list[Any]:
        """What a lane reads."""
        return inputs_of(self.broker, self.settings, lane, self.lanes)

    @cached_property
    def stages(self) -> tuple[str, ...]:
        """The repartition topics in the order of the flow: into the index, into each windows."""
        return stages_of(self.settings, self.pipeline)

    @property
    def changelog(self) -> str:
        """The topic of what the lanes keep."""
        return f"{self.app}-{TABLE}-changelog"


def app_of(settings: Settings) -> str:
    """See `Plan.app`."""
    return f"{settings.prefix}{settings.group.removeprefix(settings.prefix)}-faust"


def stages_of(settings: Settings, pipeline: Pipeline) -> tuple[str, ...]:
    """See `Plan.stages`."""
    keys = [each.key for each in pipeline.plan().entities] or ["id"]
    return tuple(f"{app_of(settings)}-{name}" for name in ("index", *keys))


def topics_of(settings: Settings, pipeline: Pipeline) -> Mapping[str, dict[str, str]]:
    """The topics of the app's own, and the broker's settings for each."""
    largest = {"max.message.bytes": str(16 << 20)}
    passing = {**largest, "retention.ms": str(7 * 86_400_000)}
    return {
        **dict.fromkeys(stages_of(settings, pipeline), passing),
        f"{app_of(settings)}-{TABLE}-changelog": {**largest, "cleanup.policy": "compact"},
    }
