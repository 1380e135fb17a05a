"""Going on with the state of another pipeline: what is kept of it, and what cannot be.

A state says what it takes to read it: the events it is of, and how its key records are laid out.
Features may change; the events, and how long they are remembered, may not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields

import msgspec
import numpy as np
import numpy.typing as npt

from jobs.definition import Pipeline
from operators.migration import Migration, RecordLayout
from operators.plan import EntityPlan
from streams.errors import StateError

_OF_RECORDS_ALONE = {"max_bytes", "max_ahead"}
"""What decides over a record as it comes, and over nothing that is kept."""


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What a state says of the pipeline that it is of."""

    definition: str
    events: dict[str, str]
    """What an event is and how long it is remembered, part by part."""
    entities: tuple[RecordLayout, ...]
    features: tuple[tuple[str, str], ...]
    """Their names and declarations, in order."""
    models: dict[str, str]


def describe(pipeline: Pipeline) -> Description:
    """What the state of a pipeline says of it, at first."""
    event = {
        each.name: repr(getattr(pipeline.event, each.name))
        for each in fields(pipeline.event)
        if each.name not in _OF_RECORDS_ALONE
    }
    kept = {"lateness": repr(pipeline.lateness), "retention_us": repr(pipeline.retention_us)}
    layouts = tuple(map(RecordLayout.of, pipeline.plan().entities))
    return Description(
        definition=pipeline.definition,
        events=event | kept,
        entities=layouts,
        features=tuple((name, repr(each)) for name, each in pipeline.features.items()),
        models={name: repr(each) for name, each in pipeline.models.items()},
    )


class Change:
    """From the pipeline that the state in `where` is of to the one that goes on with it.

    `records` brings one entity's records over; when all are, `description` is what the state says
    from then on. `said` is for whoever reads the log. Raises StateError where nothing can be gone
    on with, or not exactly, which `warm_up` allows.
    """

    def __init__(
        self, where: str, before: Description | None, pipeline: Pipeline, *, warm_up: bool
    ) -> None:
        self._where, self._warm_up = where, warm_up
        if before is None:
            raise StateError(
                f"{where}: is the state of another pipeline, written by a release that did not say "
                "how; go on with it once with the pipeline file that it is of, stop, and then "
                "change the file"
            )
        self.before = before
        self.description = describe(pipeline)
        self._check_events()
        self.said = [
            f"{where}: going on from pipeline {self.before.definition} as {pipeline.definition}"
        ]

    def _check_events(self) -> None:
        old, new = self.before.events, self.description.events
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name):
                raise StateError(
                    f"{self._where}: is of events whose {name} is {old.get(name)}, the pipeline "
                    f"says {new.get(name)}: state goes on with other features, not with other "
                    "events; put it back, or begin with a new state folder"
                )

    @property
    def models(self) -> set[str]:
        """Those that may go on: declared as before, all inputs before still there, and first."""
        old, new = self.before, self.description
        if new.features[: len(old.features)] != old.features:
            return set()
        return {name for name, each in new.models.items() if old.models.get(name) == each}

    @property
    def same_columns(self) -> bool:
        """Whether what is logged of a prediction has the same columns: its features, its scores."""
        old, new = self.before, self.description
        return old.features == new.features and list(old.models) == list(new.models)

    def records(
        self, plan: EntityPlan, packed: Iterable[npt.NDArray[np.int64]], now_us: int
    ) -> Iterator[npt.NDArray[np.int64]]:
        """The records of an entity as the new plan has them; `now_us` is its latest event's."""
        layouts = {each.key: each for each in self.before.entities}
        old = layouts.get(plan.key) or RecordLayout.of_none(plan.key)
        migration = Migration(old, plan)
        for each in packed:
            yield migration.carry(np.ascontiguousarray(each))
        try:
            layout, said = migration.finish(now_us, warm_up=self._warm_up)
        except StateError as error:
            raise StateError(f"{self._where}: {error}") from None
        self.said += said
        others = (each for each in self.description.entities if each.key != plan.key)
        self.description = msgspec.structs.replace(self.description, entities=(*others, layout))
