"""Going on from files: the state, model and log of a replay become those of the two jobs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from jobs.config import Settings
from jobs.definition import Pipeline
from jobs.held import CARD, IDENT, MODEL, TIME
from jobs.intake import KEY_WORDS
from jobs.pipeline import Flow
from jobs.settings import Inputs
from jobs.state import FlowState
from streams.atomic import write_whole
from streams.errors import ConfigError, OutputError, StateError
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


_NEVER = Takeover("", 0, 0)


def take_over(run: Path, settings: Settings, pipeline: Pipeline) -> None:
    """Make the folders of both jobs from what `headrace replay --out run` left.

    The jobs take events and labels from the moment at which the files ended: the replay's `until`,
    or right after its newest event. A folder made from this replay before is left as it is; each is
    there whole or not at all. Raises ConfigError for a replay of another pipeline or order,
    StateError where other state is already, OutputError where the disk cannot hold them.
    """
    inputs = Inputs.load(run)
    if inputs.order != settings.order:
        raise ConfigError(
            f"{run}: was replayed in {inputs.order} order, this job wants {settings.order}: give "
            f"--order {inputs.order}"
        )
    name = str(run.resolve())
    score, learn = places = settings.state / "score", settings.state / "learn"
    made = [(Takeover.load(place) or _NEVER).run == name for place in places]
    for place, whole in zip(places, made, strict=True):
        if not whole and place.exists() and any(place.iterdir()):
            raise StateError(
                f"{place}: wanted an empty folder to go on from {run} in, found state; leave "
                "out --from to go on with it, or name another --state"
            )
    if all(made):
        return
    source = Path(inputs.state)
    try:
        with own(source):
            flow = _restored(source, pipeline)
            mind = Takeover(name, _ended(flow, inputs), flow.lineup.number)
            if not made[0]:
                with _whole(score, mind) as folder:
                    _copy(source, folder, "snapshots", "models", "ids.rows")
                    # The jobs go by the decisions in their topic, which are numbered there.
                    shutil.rmtree(folder / "models" / "decisions")
            if not made[1]:
                with _whole(learn, mind) as folder:
                    _copy(source, folder, "snapshots", "logged.rows")
                    _hold(flow, folder)
    except OSError as error:
        raise OutputError(
            f"{settings.state}: wanted a copy of the state in {source}, got {error.strerror}; free "
            "space there or name another --state, then run again"
        ) from error


def _restored(source: Path, pipeline: Pipeline) -> Flow:
    flow = Flow(pipeline, source)
    state = FlowState(flow, source / "snapshots")
    if state.restore() is None:
        raise StateError(f"{source}: wanted the state of a replay, found none; run it again")
    state.close()
    return flow


def _ended(flow: Flow, inputs: Inputs) -> int:
    """The moment from which nothing was in the files."""
    if inputs.until is None:
        return int(flow.index.state()["newest_us"]) + 1
    return moment_us(inputs.until)


@contextmanager
def _whole(folder: Path, mind: Takeover) -> Iterator[Path]:
    """A folder to fill, which gets its name when that is done."""
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    yield part
    write_whole(part / NAME, [msgspec.json.encode(mind)])
    part.replace(folder)


def _copy(source: Path, folder: Path, *names: str) -> None:
    for name in names:
        if (source / name).is_dir():
            shutil.copytree(source / name, folder / name)
        else:
            shutil.copy2(source / name, folder)


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
