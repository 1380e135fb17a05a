"""The learning half of the flow: hold predictions, and when their labels become known, learn.

    learning.hold(predictions)         # columns, as they come
    learnt = learning.learn(outcomes)  # once every prediction it speaks of is held

What comes out is a function of the predictions and the outcomes alone, whatever came when.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from jobs.definition import Pipeline
from jobs.held import CARD, FOREIGN, IDENT, MODEL, TIME, Held, Known, Lane, Learnt
from jobs.lineup import Basis, judge_of, lineup_of
from operators.drift.bucket import Matured
from operators.drift.patience import NEVER
from operators.drift.watch import FOREVER, Watching
from operators.labels import BY_LATE_LABEL, BY_REVERSAL
from streams.errors import InputError
from streams.records import Outcomes
from streams.rows import MappedRows

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]


class Learning:
    """Lineup, evaluation and the predictions that wait for their labels, which lie in `folder`."""

    def __init__(self, pipeline: Pipeline, folder: Path) -> None:
        self.pipeline = pipeline
        self.names, self.inputs = pipeline.plan().names, pipeline.inputs
        self.lineup = lineup_of(pipeline, self.names)
        self.evaluation = judge_of(pipeline)
        self.watching = pipeline.watching()
        self._slices = [self.names.index(each.feature) for each in pipeline.slices.values()]
        self.words = MappedRows(folder / "held.rows", 4)
        width = len(self.names) + len(self.lineup.names)
        self.log = MappedRows(folder / "logged.rows", width, np.float64)
        self.lanes = [Lane()]
        """What is held of each lane of predictions: one, until outcomes tell of more."""
        self.base = self.moved = 0
        """Where the numbers of these lanes begin, and how many predictions come before."""
        self.since_us: int | None = None
        """Time of the first event that was learnt from."""
        self._forgotten = 0

    @property
    def ahead(self) -> int:
        """Predictions that are held and that those who did not score have not scored since."""
        return sum(each.held + len(each.beyond) - each.scored for each in self.lanes)

    @property
    def first(self) -> int:
        """The number of the first prediction that may still be asked for, or one below it."""
        first = min(each.first for each in self.lanes)
        if self.watching:
            first = min(first, *(each.watched for each in self.lanes))
        return 0 if first < 0 else self.base + first * len(self.lanes)

    def skip(self, first: int) -> None:
        """Where nothing is held yet, have no room for predictions numbered below this."""
        self._forgotten = first
        for rows in (self.words, self.log):
            rows.skip(first)

    def go_on_from(self, lanes: Sequence[Lane], base: int = 0, moved: int = 0) -> None:
        """Go on with these predictions held."""
        count = len(lanes)
        most = 1 + max(
            max([each.held - 1, *each.beyond]) * count + at for at, each in enumerate(lanes)
        )
        self.words.reserve(base + most)
        self.log.reserve(base + most)
        self.lanes, self.base, self.moved = list(lanes), base, moved

    def basis(self, outcomes: Outcomes, positions: dict[str, int]) -> Basis:
        """What it has learnt from once it has learnt of these, which end at these positions."""
        return Basis(outcomes.clock, self.since_us, positions)

    def hold(self, predictions: Held) -> Held:
        """Keep predictions until their labels are known; those that are news, as most will be."""
        places, count = predictions.number - self.base, len(self.lanes)
        held = np.array([each.held for each in self.lanes])
        fresh = places // count >= held[places % count] if count > 1 else places >= held
        fresh &= places >= 0
        if not fresh.all():
            predictions, places = predictions.take(fresh), places[fresh]
        if not len(places):
            return predictions
        most = int(predictions.number.max()) + 1
        self.words.reserve(most)
        self.log.reserve(most)
        self.put(predictions)
        self._add(places)
        return predictions

    def _add(self, places: Int64s) -> None:
        """Note that predictions are held, by their numbers less the base."""
        count = len(self.lanes)
        for lane, each in enumerate(self.lanes):
            each.add(places[places % count == lane] // count if count > 1 else places)

    def put(self, predictions: Held) -> None:
        """Write predictions to where there is room for them, which says of none that it is held."""
        at, width = predictions.number, len(self.names)
        self.words.view[at] = predictions.words
        self.log.view[at, :width] = predictions.features
        self.log.view[at, width + self._places(predictions.words)] = predictions.scores

    def _places(self, words: Int64s) -> Int64s:
        """Which model scored each prediction when it came."""
        return self.lineup.places(words[:, MODEL])

    def said(self, numbers: Int64s) -> tuple[Int64s, Floats, Floats]:
        """Words, scores and features of predictions that are held, as they came."""
        words, log = self.words.take(numbers), self.log.take(numbers)
        width = len(self.names)
        scores = log[np.arange(len(log)), width + self._places(words)]
        return words, scores, log[:, :width]

    def has(self, outcomes: Outcomes) -> bool:
        """Whether every prediction is held that comes before these outcomes."""
        if outcomes.base > self.base and not self._go_over(outcomes):
            return False
        if outcomes.base < self.base or outcomes.lanes != len(self.lanes):
            self._divide(outcomes)
        return outcomes.next <= self.lanes[outcomes.lane].held

    def _divide(self, outcomes: Outcomes) -> None:
        """Learn that predictions are of so many lanes. Raises InputError where that was known."""
        (whole,) = self.lanes if len(self.lanes) == 1 else (None,)
        if whole is None or whole.scored or outcomes.base < self.base:
            raise InputError(
                f"outcomes: wanted those of {len(self.lanes)} lanes from {self.base} on, got some "
                f"of {outcomes.lanes} from {outcomes.base} on: another job has written to the "
                "topic; begin with new state folders and topics"
            )
        self._begin(outcomes.lanes, whole.first, [np.array([*range(whole.held), *whole.beyond])])

    def _begin(self, count: int, first: int, held: Sequence[Int64s]) -> None:
        """Count anew, in so many lanes, the predictions that are held."""
        self.lanes = [Lane(first=first) for _ in range(count)]
        self._add(np.concatenate(held).astype(np.int64))

    def _go_over(self, outcomes: Outcomes) -> bool:
        """Go on with the lanes of the job that the state of scoring has gone to.

        Whether that can be: every prediction from before must be held.
        """
        count, room = len(self.lanes), outcomes.base - self.base
        before, after = self.moved, []
        for lane, each in enumerate(self.lanes):
            stop = -(-(room - lane) // count)
            beyond = np.array([*each.beyond], np.int64)
            before += min(each.held, stop) + int(np.count_nonzero(beyond < stop))
            rest = np.concatenate([np.arange(stop, each.held), beyond[beyond >= stop]])
            after.append(rest * count + lane - room)
        if before < outcomes.moved:
            return False
        for lane in range(count):
            self._challenge(lane, -(-(room - lane) // count))
        self._watch_rest()
        self.base, self.moved = outcomes.base, outcomes.moved
        self._begin(outcomes.lanes, -1, after)
        return True

    def news(self, outcomes: Outcomes) -> Outcomes:
        """What of these outcomes was not learnt yet: all or, when they are told again, nothing.

        Raises InputError when outcomes before them were never seen.
        """
        learnt = self.lanes[outcomes.lane].learnt
        known = learnt - outcomes.before
        if known < 0:
            raise InputError(
                f"outcomes: wanted those from the {learnt:,}th on, got the next from "
                f"the {outcomes.before:,}th on: those between are gone from the topic; begin with "
                "new state folders and topics"
            )
        if not known:
            return outcomes
        return msgspec.structs.replace(
            outcomes,
            before=outcomes.before + min(known, len(outcomes.numbers)),
            numbers=outcomes.numbers[known:],
            values=outcomes.values[known:],
            known=outcomes.known[known:],
            causes=outcomes.causes[known:],
        )

    def own(self, outcomes: Outcomes) -> Outcomes:
        """Those of predictions that were made of this pipeline's features."""
        row = np.array(outcomes.numbers, np.int64)
        own = self.words.take(row, slice(MODEL, MODEL + 1)).ravel() != FOREIGN
        if own.all():
            return outcomes
        columns = ("numbers", "values", "known", "causes")
        kept = {n: [*compress(getattr(outcomes, n), own)] for n in columns}
        return msgspec.structs.replace(outcomes, **kept)

    def disown(self) -> None:
        """Take all predictions that are held for made of other features than this pipeline's."""
        most = max(max([each.held, *(at + 1 for at in each.beyond)]) for each in self.lanes)
        held = slice(self.first, self.base + most * len(self.lanes))
        self.words.view[held, MODEL] = FOREIGN
        self.log.view[held] = np.nan
        for each in self.lanes:
            each.scored = each.watched = max(each.scored, each.held)

    def learn(self, outcomes: Outcomes) -> Learnt:
        """Learn what became known, after all models have scored what had been scored before it.

        Every prediction that comes before them must be held.
        """
        if not self.has(outcomes):
            held = self.lanes[outcomes.lane].held
            raise ValueError(f"wanted {outcomes.next} predictions held, got {held}")
        if outcomes.clock > 0:
            self.lineup.begin(outcomes.clock)
        self._challenge(outcomes.lane, outcomes.next)
        lane, learnt, done = self.lanes[outcomes.lane], Learnt([], [], []), 0
        lane.learnt += len(outcomes.numbers)
        lane.first = outcomes.first
        own = self.own(outcomes)
        row = np.array(own.numbers, np.int64)
        known = Known.of(own, row, self.words.take(row), self.log.take(row))
        if self.since_us is None and len(known.row):
            self.since_us = int(self.words.view[known.row[0], TIME])
        until_us = int(known.at_us[-1]) if outcomes.more and len(known.row) else outcomes.clock
        while (due_us := self._due(lane, until_us)) is not None:
            stop = int(np.searchsorted(known.at_us, due_us))
            self._learn(known[done:stop], learnt)
            self._act(lane, learnt)
            done = stop
        self._learn(known[done:], learnt)
        before = self.lineup.sequence
        self.lineup.tick(outcomes.clock)
        if self.lineup.sequence > before:
            learnt.versions.extend(self.lineup.made())
        if not outcomes.more:
            lane.clock_us = max(lane.clock_us, outcomes.clock)
        self._watch(learnt)
        return learnt

    def _learn(self, known: Known, learnt: Learnt) -> None:
        """Learn and judge; watch what became known go by."""
        lineup, start = self.lineup, 0
        x = np.ascontiguousarray(known.log[:, : len(self.names)])
        idents = np.ascontiguousarray(known.words[:, IDENT])
        while start < len(known.row):
            stop = min(start + lineup.room, len(known.row))
            lineup.learn(x[start:stop], known.y[start:stop], idents[start:stop])
            start = stop
            before = lineup.sequence
            lineup.advance()
            if lineup.sequence > before:
                learnt.versions.extend(lineup.made())
        self._judge(known, learnt)

    def _due(self, lane: Lane, until_us: int) -> int | None:
        """When responses act, if this lane has come so far by `until_us` and all others have."""
        watching, count = self.watching, len(self.lanes)
        if watching is None or not watching.acts:
            return None
        others = [each for each in self.lanes if each is not lane]
        fresh = [n for n, each in enumerate(self.lanes) if each.watched < each.scored]
        if watching.due_us == FOREVER and fresh and all(each.clock_us > NEVER for each in others):
            rows = np.array([self.base + self.lanes[n].watched * count + n for n in fresh])
            watching.begin(int(self.words.take(rows)[:, TIME].min()))
        due_us = watching.due_us
        there = due_us <= until_us and all(each.clock_us >= due_us for each in others)
        return due_us if there else None

    def _act(self, lane: Lane, learnt: Learnt) -> None:
        """Have responses act on what has changed until they are due."""
        if self.watching is None:
            return
        due_us = self.watching.due_us
        lane.clock_us = max(lane.clock_us, due_us)
        self._watch(learnt)
        before = self.lineup.sequence
        learnt.drift.extend(self.lineup.act(due_us, self.watching.act()))
        if self.lineup.sequence > before:
            learnt.versions.extend(self.lineup.made())

    def _challenge(self, lane: int, stop: int) -> None:
        """The models that did not score predictions when they came do, by their versions in force.

        Whoever has learnt has not seen their labels.
        """
        here, count = self.lanes[lane], len(self.lanes)
        first, end = (self.base + each * count for each in (here.scored, max(stop, 0)))
        rows = self.log.view[first + lane : end : count]
        scored_by = self._places(self.words.view[first + lane : end : count])
        x = np.ascontiguousarray(rows[:, : len(self.names)])
        for place, version in enumerate(self.lineup.versions):
            mine = scored_by != place
            if mine.all():
                rows[:, len(self.names) + place] = version.predict_many(x)
            elif mine.any():
                rows[mine, len(self.names) + place] = version.predict_many(x[mine])
        here.scored = max(stop, here.scored)

    def _judge(self, known: Known, learnt: Learnt) -> None:
        """Judge the scores whose labels have become known, each by the first that did."""
        known = known[known.cause != BY_REVERSAL]
        late = known.cause == BY_LATE_LABEL
        first = known[~late] if late.any() else known
        learnt.windows.extend(
            self.evaluation.observe(
                first.words[:, TIME],
                first.known_us,
                first.log[:, len(self.names) :],
                first.y,
                first.words[:, CARD],
                first.log[:, self._slices].astype(np.int64) if self._slices else None,
            )
        )
        if self.watching:
            words, log = known.words, known.log
            decided = log[np.arange(len(log)), len(self.names) + self._places(words)]
            own = known.known_us, words[:, TIME], words[:, IDENT], decided, known.y, known.cause
            at_us = np.maximum(np.maximum(known.known_us, words[:, TIME]), self.watching.open_us)
            self.watching.mature(at_us, Matured(*own, log[:, self._slices].astype(np.int64)))

    def _watch(self, learnt: Learnt) -> None:
        """Watch predictions go by as far as time has come in all lanes."""
        if self.watching is None:
            return
        clock_us = min(each.clock_us for each in self.lanes)
        seen = [
            self._unseen(lane, clock_us)
            for lane, each in enumerate(self.lanes)
            if each.watched < each.scored
        ]
        if seen:
            self._see(self.watching, np.concatenate(seen))
        learnt.drift.extend(self.watching.close(clock_us))

    def _unseen(self, lane: int, clock_us: int) -> Int64s:
        """The numbers of predictions of a lane that now go by: those before one that is ahead."""
        here, count = self.lanes[lane], len(self.lanes)
        numbers = self.base + np.arange(here.watched, here.scored) * count + lane
        if len(numbers):
            ahead = self.words.view[numbers[0] : numbers[-1] + 1 : count, TIME] >= clock_us
            if ahead.any():
                numbers = numbers[: int(ahead.argmax())]
            here.watched += len(numbers)
        return numbers

    def _see(self, watching: Watching, numbers: Int64s, until_us: int = FOREVER) -> None:
        """Have these predictions go by, at a time that is not closed and not after `until_us`."""
        words, score, x = self.said(numbers)
        own = words[:, MODEL] != FOREIGN
        if not own.all():
            words, score, x = words[own], score[own], x[own]
        at_us = np.minimum(np.maximum(words[:, TIME], watching.open_us), until_us)
        x = np.ascontiguousarray(x)
        watching.see(at_us, x, score, words[:, MODEL], x[:, self._slices].astype(np.int64))

    def _watch_rest(self) -> None:
        """Watch what is left of these lanes go by, before there are others; it closes nothing."""
        if self.watching is None:
            return
        for lane in range(len(self.lanes)):
            open_us = self.watching.open_us
            numbers = self._unseen(lane, FOREVER)
            self._see(self.watching, numbers, open_us if open_us > NEVER else FOREVER)

    def sizes(self) -> dict[str, int]:
        """Bytes on disk of the predictions that are held."""
        held = self.base + sum(each.held + len(each.beyond) for each in self.lanes)
        rows = held - self._forgotten
        return {
            "held_on_disk": rows * self.words.view.strides[0],
            "logged_on_disk": rows * self.log.view.strides[0],
        }

    def forget(self, before: int) -> None:
        """Give back the disk of predictions numbered below this; no outcome may speak of them."""
        self._forgotten = max(self._forgotten, before)
        for rows in (self.words, self.log):
            rows.forget(before)

    def close(self) -> None:
        """Let go of the predictions held."""
        for rows in (self.words, self.log):
            rows.close()

    def release(self) -> None:
        """Let go of the memory that reading scattered predictions has mapped."""
        for rows in (self.words, self.log):
            rows.release()
