"""The state of a flow, or of a half of it, as one atomic unit.

Key records, labels, models, metrics, position. Both halves read what a whole flow has left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from jobs.change import Change, Description, describe
from jobs.definition import Pipeline
from jobs.heeding import Heeding
from jobs.held import Lane
from jobs.intake import Intake
from jobs.learning import Learning
from jobs.lineup import Basis, manifest_of
from jobs.pipeline import Flow
from jobs.scoring import Scoring
from models.registry import Registry, spare
from operators.capture import Capture
from operators.drift.watch import Watching
from operators.evaluate import Prequential
from operators.featurize import EntityWindows
from operators.keyrecords import clock, set_clock, unpack
from operators.lineup import LEARNT, Lineup
from streams.errors import StateError
from streams.rows import MappedRows
from streams.snapshots import Pieces, Snapshots, State

KEPT_VERSIONS = 8
_WATCHING = "watching/"
Arrays = dict[str, npt.NDArray[Any]]
Meta = dict[str, Any]
Blobs = dict[str, bytes]


class _Begun(NamedTuple):
    """A snapshot of a moment that is not all taken."""

    arrays: Arrays
    meta: Meta
    captures: Mapping[EntityWindows, Capture]
    whole: bool


class KeptState:
    """Snapshots of something in a folder, and small values and byte strings beside it.

    `begin` is the moment that a snapshot is of, and takes no longer than its small parts do.
    `proceed` takes the key records a few at a time, `write` has a thread write it all.

    With `fsync` they outlive the machine, and so do the rows on disk that they speak of.
    """

    def __init__(
        self, folder: Path, pipeline: Pipeline, rows: Sequence[MappedRows], *, fsync: bool
    ) -> None:
        self._snapshots = Snapshots(folder, pipeline.definition, fsync=fsync)
        self._description = describe(pipeline)
        self._rows = rows if fsync else ()
        self._begun: _Begun | None = None

    @property
    def busy(self) -> bool:
        """Whether a snapshot has begun and is not on disk."""
        return self._begun is not None or self._snapshots.busy

    def _begin(
        self, arrays: Arrays, meta: Meta, blobs: Blobs, intake: Intake | None = None
    ) -> None:
        """Take all that is small now, and note what of the key records is due."""
        self.abandon()
        whole = self._snapshots.wants_base
        blobs_as_arrays = {f"blob/{name}": np.frombuffer(b, np.uint8) for name, b in blobs.items()}
        entities = intake.features.entities if intake else []
        captures = {e: e.capture(whole=whole) for e in entities}
        meta = meta | {"pipeline": msgspec.to_builtins(self._description)}
        self._begun = _Begun(arrays | blobs_as_arrays, meta, captures, whole)

    def proceed(self, words: int) -> bool:
        """Take about so many words more of the snapshot that has begun; whether that was all."""
        return self._begun is None or all(
            each.proceed(words) for each in self._begun.captures.values()
        )

    def write(self, *, wait: bool = False) -> None:
        """Have another thread write the snapshot that has begun, what is not taken yet included.

        OutputError if this one (with `wait`) or the last failed.
        """
        if self._begun is None:
            return
        for rows in self._rows:
            rows.flush()
        begun, self._begun = self._begun, None
        records: dict[str, Pieces] = {}
        for entity, capture in begun.captures.items():
            records[f"records/{entity.plan.key}"] = capture.pieces()
            entity.let_go()
        arrays = {**begun.arrays, **(records if begun.whole else {})}
        deltas = {} if begun.whole else records
        done = self._snapshots.commit_async(arrays, begun.meta, deltas)
        if wait:
            done.result()

    def _load(self, *, foreign: bool = False) -> State | None:
        """The newest snapshot, with `foreign` also that of another pipeline."""
        state = self._snapshots.load(foreign=foreign)
        if state and state.pipeline == self._description.definition:
            self._description = _described(state) or self._description
        return state

    def abandon(self) -> None:
        """Give up the snapshot that has begun, if one has: the next one has all that was due."""
        if self._begun is not None:
            for entity, each in self._begun.captures.items():
                each.abandon()
                entity.let_go()
            self._begun = None

    def close(self) -> None:
        """Wait for the snapshot being written; raises OutputError if it failed."""
        self._snapshots.close()


class FlowState(KeptState):
    """Snapshots of a flow in `folder`, with what the host adds.

    Beside the folder, `models` keeps versions of champion and challengers, each with its manifest,
    and what operators have decided, which `heeding` does.
    `restore` raises StateError for a snapshot of another pipeline or format, or a damaged one.
    """

    def __init__(self, flow: Flow, folder: Path) -> None:
        super().__init__(folder, flow.pipeline, (), fsync=False)
        self._flow = flow
        self.registry = Registry(folder.parent / "models")
        self.heeding = Heeding(flow, self.registry)
        self._kept = self.registry.by_model(flow.pipeline.definition)
        self.said = ""
        """What is to be said of the state that was gone on with."""

    def commit(self, meta: Meta, blobs: Blobs, *, wait: bool = False) -> None:
        """Take a snapshot; records that did not change since the last are not copied."""
        flow = self._flow
        arrays, of_intake = _take_intake(flow)
        arrays |= take_models(flow.lineup, flow.evaluation, flow.watching)
        self._publish(meta)
        of_intake |= {"decisions": len(self.heeding.decisions.log), "since": flow.since_us}
        of_intake |= {"places": flow.places}
        self._begin(arrays, meta | of_intake, blobs, flow)
        self.write(wait=wait)

    def _publish(self, meta: Meta) -> None:
        """Keep the versions in force at rest, and some of those before them."""
        flow, lineup = self._flow, self._flow.lineup
        clock_us = flow.index.clock_us if lineup.learnt else None
        basis = Basis(clock_us, flow.since_us, meta.get("taken", {}))
        judged = {each.scorer: each for each in flow.evaluation.latest()}
        named = self.heeding.decisions.named
        for made in lineup.made():
            mine = self._kept.setdefault(made.model, [])
            if mine and mine[-1] == made.number:
                continue
            parent = mine[-1] if mine else None
            about = manifest_of(made, flow.pipeline, basis, judged.get(made.model), parent)
            self.registry.publish(made.version, about)
            mine.append(made.number)
            for number in {*spare(mine, KEPT_VERSIONS)} - named:
                self.registry.drop(number)
                mine.remove(number)

    def restore(self) -> tuple[Meta, Blobs] | None:
        """Bring the flow to the newest snapshot; the host's values, or None if there is none."""
        state = self._load()
        if state is None:
            return None
        flow = self._flow
        flow.log.reserve(int(state.meta["index"]["next_row"]))
        put_models(state.arrays, flow.lineup, flow.evaluation)
        self.said = put_watching(state.arrays, flow.watching)
        _put_intake(state, flow)
        flow.since_us = state.meta.get("since")
        flow.places = [(row, place) for row, place in state.meta.get("places", [(0, 0)])]
        self.heeding.heed_at_once(state.meta.get("decisions", 0))
        return state.meta, _blobs(state)


class ScoringState(KeptState):
    """Snapshots of the scoring half; what a whole flow left in its place is read too.

    `change` says what became of a state of another pipeline: `commit` it before anything comes to
    it. With `warm_up` features may begin short. See `jobs.change`.
    """

    def __init__(
        self, scoring: Scoring, folder: Path, *, fsync: bool, warm_up: bool = False
    ) -> None:
        super().__init__(folder, scoring.pipeline, (scoring.ids,), fsync=fsync)
        self._scoring, self._folder, self._warm_up = scoring, folder, warm_up
        self.change: Change | None = None

    def begin(self, meta: Meta, blobs: Blobs) -> None:
        """Begin a snapshot; records that did not change since the last are not copied."""
        scoring = self._scoring
        arrays, of_intake = _take_intake(scoring)
        of_intake |= {
            "told": scoring.told,
            "outcomes": scoring.outcomes,
            "version": scoring.sequence,
        }
        self._begin(arrays, meta | of_intake, blobs, scoring)

    def commit(self, meta: Meta, blobs: Blobs) -> None:
        """Take a snapshot and wait until it is written."""
        self.begin(meta, blobs)
        self.write(wait=True)

    def restore(self) -> tuple[Meta, Blobs] | None:
        """Bring scoring to the newest snapshot, but for its version: `version` says which."""
        state = self._load(foreign=True)
        if state is None:
            return None
        pipeline = self._scoring.pipeline
        if state.pipeline != pipeline.definition:
            where, before = str(self._folder), _described(state)
            self.change = Change(where, before, pipeline, warm_up=self._warm_up)
        _put_intake(state, self._scoring, self.change)
        if self.change:
            self._description = self.change.description
        self._scoring.told = state.meta.get("told", self._scoring.index.next_row)
        learnt = state.arrays.get("lineup/counts", (0, 0))[LEARNT]
        self._scoring.outcomes = state.meta.get("outcomes", int(learnt))
        return state.meta, _blobs(state)


class LearningState(KeptState):
    """Snapshots of the learning half; what a whole flow left in its place is read too.

    `change` says what became of a state of another pipeline: `commit` it before anything is learnt.
    """

    def __init__(self, learning: Learning, folder: Path, *, fsync: bool) -> None:
        rows = learning.words, learning.log
        super().__init__(folder, learning.pipeline, rows, fsync=fsync)
        self._learning, self._folder = learning, folder
        self.change: Change | None = None
        self.said = ""
        """What is to be said of how watching goes on."""

    def begin(self, meta: Meta) -> None:
        """Begin a snapshot. The predictions held lie in files of their own."""
        learning = self._learning
        arrays = take_models(learning.lineup, learning.evaluation, learning.watching)
        lanes = [msgspec.to_builtins(each) for each in learning.lanes]
        numbers = {"base": learning.base, "moved": learning.moved}
        of_learning = {"lanes": lanes, "numbers": numbers, "since": learning.since_us}
        self._begin(arrays, meta | of_learning, {})

    def commit(self, meta: Meta) -> None:
        """Take a snapshot and wait until it is written."""
        self.begin(meta)
        self.write(wait=True)

    def restore(self, published: int = 0) -> Meta | None:
        """Bring learning to the newest snapshot; the host's values, or None if there is none.

        `published` is the highest number of a version so far, which none gets again.
        """
        state = self._load(foreign=True)
        if state is None:
            return None
        learning = self._learning
        if state.pipeline == learning.pipeline.definition:
            put_models(state.arrays, learning.lineup, learning.evaluation)
        else:
            self._change(state, published)
        meta = state.meta
        whole = meta.get("index", {}).get("next_row", 0)
        learnt = learning.lineup.learnt
        names = {"held": whole, "beyond": (), "scored": whole, "watched": whole, "learnt": learnt}
        alone = [{name: meta.get(name, value) for name, value in names.items()}]
        lanes = meta.get("lanes", alone)
        learning.go_on_from(msgspec.convert(lanes, list[Lane]), **meta.get("numbers", {}))
        self.said = put_watching(state.arrays, learning.watching, learning.lanes)
        learning.since_us = meta.get("since")
        if self.change and not self.change.same_columns:
            learning.disown()
        return state.meta

    def _change(self, state: State, published: int) -> None:
        """Go on with the models of another pipeline, as far as their inputs are the same."""
        learning, where = self._learning, str(self._folder)
        change = Change(where, _described(state), learning.pipeline, warm_up=True)
        models, lineup = _under(state.arrays, "lineup/"), learning.lineup
        anew = lineup.carry_on(models, change.models, published)
        if anew:
            change.said.append(f"{', '.join(anew)}: other inputs, learning from the prior again")
        if not change.same_columns:
            change.said.append("what was predicted before is not learnt from")
        self.change = change


def _described(state: State) -> Description | None:
    """What a snapshot says of its pipeline; those of earlier releases say nothing."""
    said = state.meta.get("pipeline")
    return said and msgspec.convert(said, Description)


def _take_intake(intake: Intake) -> tuple[Arrays, Meta]:
    """Arrays and small values of index and windows, but for the key records."""
    index = intake.index.state()
    arrays: Arrays = {f"index/{n}": v for n, v in index.items() if isinstance(v, np.ndarray)}
    arrays["counts"] = intake.counts.copy()
    return arrays, {
        "index": {n: v for n, v in index.items() if not isinstance(v, np.ndarray)},
        "clocks": {e.plan.key: clock(e.arena) for e in intake.features.entities},
    }


def _put_intake(state: State, intake: Intake, change: Change | None = None) -> None:
    intake.ids.reserve(int(state.meta["index"]["next_row"]))
    intake.index.restore(state.meta["index"] | _under(state.arrays, "index/"))
    intake.counts[:] = state.arrays["counts"]
    clocks, newest = state.meta["clocks"], state.meta["index"]["newest_us"]
    for entity in intake.features.entities:
        plan, name = entity.plan, f"records/{entity.plan.key}"
        whole, clock_us = state.arrays.get(name), int(clocks.get(plan.key, newest))
        records = [] if whole is None else [whole, *state.deltas.get(name, ())]
        for packed in change.records(plan, records, clock_us) if change else records:
            unpack(entity.arena, plan.shape, np.ascontiguousarray(packed))
        set_clock(entity.arena, clock_us)


def take_models(
    lineup: Lineup, evaluation: Prequential, watching: Watching | None = None
) -> Arrays:
    """All that was learnt, how it was judged, and what was seen of the stream."""
    arrays: Arrays = {f"lineup/{name}": values for name, values in lineup.state().items()}
    arrays |= {f"evaluation/{name}": v for name, v in evaluation.state().items()}
    seen = watching.state() if watching else {}
    return arrays | {f"{_WATCHING}{name}": v for name, v in seen.items()}


def put_models(arrays: Arrays, lineup: Lineup, evaluation: Prequential) -> None:
    """Go on from what `take_models` took."""
    lineup.load(_under(arrays, "lineup/"))
    evaluation.load(_under(arrays, "evaluation/"))


def put_watching(arrays: Arrays, watching: Watching | None, lanes: Sequence[Lane] = ()) -> str:
    """Go on watching from what `take_models` took; why it begins anew, if it does.

    Then what `lanes` have scored until now is not watched.
    """
    said, state = "", _under(arrays, _WATCHING)
    if watching is not None and state:
        try:
            watching.load(state)
        except StateError as error:
            said = str(error)
    elif watching is not None:
        said = "watching for drift begins here: what was kept is from before there was any"
    if said:
        for each in lanes:
            each.watched = each.scored
    return said


def _blobs(state: State) -> Blobs:
    return {name: v.tobytes() for name, v in _under(state.arrays, "blob/").items()}


def _under(arrays: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): v for name, v in arrays.items() if name.startswith(prefix)}
