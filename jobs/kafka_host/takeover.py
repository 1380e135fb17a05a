"""Going on from files: the state, model and log of a replay become those of the two jobs."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np

from jobs.config import Settings
from jobs.definition import Pipeline
from jobs.intake import KEY_WORDS
from jobs.learning import CARD, IDENT, MODEL, TIME
from jobs.pipeline import Flow
from jobs.settings import Inputs
from jobs.state import FlowState
from streams.atomic import write_whole
from streams.errors import ConfigError, StateError
from streams.ownership import own
from streams.rows import MappedRows
from streams.simulation.traffic import moment_us

NAME = "takeover.json"
_ROWS = 1 << 16


class Takeover(msgspec.Struct, frozen=True):
    """What a job that goes on from a replay keeps in mind."""

    run: str
    """The replay's folder."""
    from_us: int
    """Events and labels before this moment were in the files; those in topics are left out."""
    version: int
    """The version that the replay ended with."""

    @classmethod
    def load(cls, folder: Path) -> Takeover | None:
        """What `take_over` left in a job's folder, if it did."""
        path = folder / NAME
        return msgspec.json.decode(path.read_bytes(), type=cls) if path.exists() else None


def take_over(run: Path, settings: Settings, pipeline: Pipeline) -> None:
    """Make the folders of both jobs from what `headrace replay --out run` left.

    The jobs take events and labels from the moment at which the files ended: the replay's `until`,
    or right after its newest event. Folders made from this replay before are left as they are.
    Raises ConfigError for a replay of another pipeline or order, or where other state is already.
    """
    inputs = Inputs.load(run)
    if inputs.order != settings.order:
        raise ConfigError(
            f"{run}: was replayed in {inputs.order} order, this job wants {settings.order}: give "
            f"--order {inputs.order}"
        )
    source = Path(inputs.state)
    places = [settings.state / "score", settings.state / "learn"]
    before = [Takeover.load(place) for place in places]
    if all(each is not None and each.run == str(run.resolve()) for each in before):
        return
    if any(place.exists() and any(place.iterdir()) for place in places):
        raise StateError(
            f"{settings.state}: wanted an empty folder to go on from {run} in, found state; leave "
            "out --from to go on with it, or name another --state"
        )
    with own(source):
        _copy(source, places[0], places[1], pipeline, run, inputs)


def _copy(
    source: Path, score: Path, learn: Path, pipeline: Pipeline, run: Path, inputs: Inputs
) -> None:
    flow = Flow(pipeline, source)
    state = FlowState(flow, source / "snapshots")
    if state.restore() is None:
        raise StateError(f"{source}: wanted the state of a replay, found none; run it again")
    state.close()
    until = None if inputs.until is None else moment_us(inputs.until)
    mind = Takeover(
        run=str(run.resolve()),
        from_us=int(flow.index.state()["newest_us"]) + 1 if until is None else until,
        version=flow.lineup.sequence,
    )
    for folder, names in ((score, ("snapshots", "models")), (learn, ("snapshots",))):
        for name in names:
            shutil.copytree(source / name, folder / name)
    shutil.copy2(source / "ids.rows", score)
    shutil.copy2(source / "logged.rows", learn)
    _hold(flow, learn)
    for folder in (score, learn):
        write_whole(folder / NAME, [msgspec.json.encode(mind)])


def _hold(flow: Flow, folder: Path) -> None:
    """Write what the learner holds of each prediction beside its features."""
    held = MappedRows(folder / "held.rows", 4)
    card = KEY_WORDS + 1 if flow.pipeline.event.keys else 1
    for start in range(flow.index.first_row, flow.index.next_row, _ROWS):
        stop = min(start + _ROWS, flow.index.next_row)
        held.reserve(stop)
        ids = flow.ids.view[start:stop]
        rows = np.empty((stop - start, 4), np.int64)
        rows[:, IDENT], rows[:, TIME], rows[:, CARD] = ids[:, 1], ids[:, 2], ids[:, card]
        rows[:, MODEL] = flow.lineup.sequence
        held.view[start:stop] = rows
    held.close()
