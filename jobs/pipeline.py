"""The flow, once, top to bottom: admit, features, score, join, evaluate, learn, watch.

A `Flow` is the state of a pipeline and the one method that carries a batch through it. Hosts bring
batches, take what comes out, and keep the state. Where scoring and learning are two processes, each
has its half: `jobs.scoring` and `jobs.learning`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jobs.definition import Pipeline
from jobs.intake import KEY_WORDS, Intake
from jobs.judged import Judged
from jobs.lineup import judge_of, lineup_of
from models.base import Version
from operators.admission import TIME, Admission, Examples, advanced
from operators.drift.alarm import Alarm
from operators.drift.bucket import Matured
from operators.drift.response import Told
from operators.drift.watch import Watching
from operators.evaluate import WindowMetrics
from operators.idtable import LO
from operators.index import FOREVER
from operators.labels import BY_LABEL, BY_MATURITY, BY_REVERSAL
from streams.batch import EVENT, Batch
from streams.errors import DeadLetter
from streams.rows import MappedRows

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
INTERVAL = ("interval_low", "interval_high")
"""What the two numbers of a score's interval are called as columns."""
_ADVANCED = 4096
"""Examples learnt at a time before responses act."""
_EXAMPLES = 64
"""Examples taken at a time, beside two a row: when time leaps, more than that become known."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What came out of a batch: n predictions in the order of their events."""

    rows: Int64s
    """(n,) the batch's rows that were scored."""
    number: Int64s
    """(n,) each one's place among all predictions, from 0."""
    scores: Floats
    """(n, models) the one that decided first, then each challenger's and each baseline's."""
    intervals: Floats
    """(n, 2) the shares of positives between which the score that decided is sure to be."""
    version: Int64s
    """(n,) the version that scored."""
    review: Bools
    """(n,) whether the decision is review."""
    late: Bools
    """(n,) whether the event came later than the lateness."""
    features: Floats
    """(n, features)."""
    letters: list[DeadLetter]
    windows: list[WindowMetrics]
    """Metric windows that closed."""
    champions: dict[int, Version]
    """The versions that scored, by number."""
    drift: list[Told] = field(default_factory=list)
    """What has changed in the stream, and what was done about it."""

    def __len__(self) -> int:
        return len(self.rows)

    def reasons(self, k: int, places: Int64s | None = None) -> npt.NDArray[np.int16]:
        """The inputs that raised these predictions most, or all, by the version that scored each.

        (n, k) indices of features, the largest first, -1 where fewer raised it.
        """
        features = self.features if places is None else self.features[places]
        if len(self.champions) == 1:
            (version,) = self.champions.values()
            return version.reasons_many(features, k)
        out = np.empty((len(features), k), np.int16)
        versions = self.version if places is None else self.version[places]
        for number in np.unique(versions).tolist():
            mine = np.flatnonzero(versions == number)
            out[mine] = self.champions[number].reasons_many(features[mine], k)
        return out


class Flow(Intake):
    """The state of a running pipeline. `folder` holds its logs of ids and of logged features."""

    def __init__(self, pipeline: Pipeline, folder: Path) -> None:
        super().__init__(pipeline, folder)
        self.lineup = lineup_of(pipeline, self.names)
        self.evaluation = judge_of(pipeline)
        self.judged = Judged(self.names)
        self.log = MappedRows(
            folder / "logged.rows", len(self.names) + len(self.lineup.names), np.float64
        )
        self.watching = pipeline.watching()
        self.since_us: int | None = None
        """Time of the first event that was learnt from."""
        self.places = [(0, 0)]
        """From which row on which model has decided."""
        self._slices = [self.names.index(each.feature) for each in pipeline.slices.values()]
        # Without keys each event is its own card.
        self._card = KEY_WORDS + 1 if pipeline.event.keys else 1

    def process(self, batch: Batch) -> Scored:
        """Carry a batch through. Any cut of the same rows into batches gives the same bits."""
        if len(batch):
            self.lineup.begin(int(batch.time[0]))
        self._note_place()
        watching = self.watching
        parts: list[Scored] = []
        start, budget = 0, _EXAMPLES + 2 * len(batch)
        while start < len(batch):
            if watching and watching.acts and watching.due_us == FOREVER:
                self._begin_acting(watching, batch[start:])
            until_us = min(self.lineup.due_us, watching.due_us if watching else FOREVER)
            clock_us = self.index.clock_us
            admission = self.index.admit(batch, start, budget, until_us)
            parts.append(self._carry(batch[start : admission.stop], admission, start, clock_us))
            start = admission.stop
            if start < len(batch):
                now_us = int(batch.time[start])
                self.lineup.tick(now_us)
                while watching and watching.due_us <= now_us:
                    parts += self._act(watching, batch[start:start], start)
        return parts[0] if len(parts) == 1 else self._joined(parts)

    def _begin_acting(self, watching: Watching, rows: Batch) -> None:
        events = np.flatnonzero(rows.kind == EVENT)
        if len(events):
            watching.begin(max(self.index.clock_us, int(rows.time[: events[0] + 1].max())))

    def _act(self, watching: Watching, none: Batch, start: int) -> Iterator[Scored]:
        """Learn all that has become known before responses are due, then have them act."""
        due_us, more = watching.due_us, True
        while more:
            clock_us = self.index.clock_us
            examples, counts = self.index.advance(due_us, _ADVANCED)
            more = len(examples) == _ADVANCED
            yield self._carry(none, advanced(examples, counts, none, start), start, clock_us)
        alarms = watching.close(due_us)
        done = self.lineup.act(due_us, watching.act())
        yield replace(self._joined([]), drift=[*alarms, *done])

    def _carry(self, rows: Batch, admission: Admission, start: int, clock_us: int) -> Scored:
        """Carry admitted rows through: they are the batch's from `start` on.

        `clock_us` is how far time had come before them.
        """
        here = np.flatnonzero(admission.row >= 0)
        features = self.featurize(rows, admission, here)
        log = self._room(admission.row[here])
        log[:, : len(self.names)] = features
        learnt = admission.examples.row
        ids, logged = self.ids.take(learnt), self.log.take(learnt)
        if self.since_us is None and len(learnt):
            self.since_us = int(ids[0, 2])
        scores, intervals, version, review, champions = self._score_and_learn(
            admission, here, features, np.ascontiguousarray(logged[:, : len(self.names)]), ids[:, 1]
        )
        log[:, len(self.names) :] = scores
        fresh = learnt >= self.index.next_row - len(here)
        logged[fresh, len(self.names) :] = scores[learnt[fresh] - self.index.next_row]
        if self.lineup.place:
            scores[:, 0] = scores[:, self.lineup.place]
        self.counts += admission.counts
        scored = Scored(
            rows=here + start,
            number=admission.row[here],
            scores=scores,
            intervals=intervals,
            version=version,
            review=review,
            late=admission.late[here],
            features=features,
            letters=self.conflicts(rows, admission),
            windows=self._judge(admission.examples, ids, logged),
            champions=champions,
        )
        clock = np.maximum.accumulate(np.concatenate([[clock_us], rows.time]))
        scored.drift.extend(self._watch(clock, admission, scored, ids, logged))
        return scored

    def _room(self, at: Int64s) -> Floats:
        """Where these events' features and scores are kept until their labels are known."""
        if not len(at):
            return self.log.view[:0]
        self.log.reserve(int(at[-1]) + 1)
        return self.log.view[at[0] : at[-1] + 1]

    def _score_and_learn(
        self, admission: Admission, here: Int64s, features: Floats, x: Floats, idents: Int64s
    ) -> tuple[Floats, Floats, Int64s, Bools, dict[int, Version]]:
        """Scores, intervals, versions, decisions; between two versions learn what became known.

        `x` and `idents` are the features and ids of the examples.
        """
        lineup, examples = self.lineup, admission.examples
        scores, intervals = np.empty((len(here), len(lineup.names))), np.empty((len(here), 2))
        version, review = np.empty(len(here), np.int64), np.empty(len(here), np.bool_)
        full = range(lineup.room, len(examples) + 1, lineup.every)
        before = np.searchsorted(here, examples.after[np.array(full, np.int64) - 1]).tolist()
        champions: dict[int, Version] = {}
        n = e = 0
        for stop, known in zip([*before, len(here)], [*full, len(examples)], strict=True):
            if stop > n:
                champions[lineup.number] = lineup.champion
                lineup.score(features[n:stop], scores[n:stop])
                own = np.ascontiguousarray(scores[n:stop, lineup.place])
                intervals[n:stop] = lineup.champion.intervals_many(own)
            version[n:stop] = lineup.number
            review[n:stop] = scores[n:stop, lineup.place] >= lineup.champion.threshold
            lineup.learn(x[e:known], examples.y[e:known], idents[e:known])
            lineup.advance()
            n, e = stop, known
        return scores, intervals, version, review, champions

    def _judge(self, examples: Examples, ids: Int64s, logged: Floats) -> list[WindowMetrics]:
        """Judge the scores whose labels have become known, each by the first that did.

        `ids` and `logged` are the examples' rows of the two logs.
        """
        first = (examples.cause == BY_LABEL) | (examples.cause == BY_MATURITY)
        width = len(self.names)
        self.judged.take(
            ids[first, 2],
            logged[first, :width],
            logged[first, width + self.lineup.place],
            examples.y[first],
        )
        return self.evaluation.observe(
            ids[first, 2],
            examples.known_us[first],
            logged[first, len(self.names) :],
            examples.y[first],
            ids[first, self._card],
            logged[first][:, self._slices].astype(np.int64) if self._slices else None,
        )

    def _watch(
        self, clock: Int64s, admission: Admission, scored: Scored, ids: Int64s, logged: Floats
    ) -> list[Alarm]:
        """Watch events and examples go by; what has changed.

        `clock` is how far time had come before the first of the rows, then after each.
        """
        if self.watching is None:
            return []
        examples = admission.examples
        matured = Matured(
            known_us=examples.known_us,
            time_us=ids[:, TIME],
            ident=ids[:, LO],
            score=self._decided(examples.row, logged),
            y=examples.y,
            cause=examples.cause,
            codes=logged[:, self._slices].astype(np.int64),
        )
        at_us = np.maximum(examples.known_us, clock[examples.after])
        told = examples.cause != BY_REVERSAL
        if not told.all():
            at_us, matured = at_us[told], matured[told]
        self.watching.mature(at_us, matured)
        self.watching.see(
            clock[1:][admission.row >= 0],
            scored.features,
            scored.scores[:, 0],
            scored.version,
            scored.features[:, self._slices].astype(np.int64),
        )
        return self.watching.close(int(clock[-1]))

    def _note_place(self) -> None:
        """Note which model decides from here on."""
        if self.lineup.place != self.places[-1][1]:
            self.places.append((self.index.next_row, self.lineup.place))
        while len(self.places) > 1 and self.places[1][0] <= self.index.first_row:
            del self.places[0]

    def _decided(self, rows: Int64s, logged: Floats) -> Floats:
        """The scores that decided about these events."""
        if len(self.places) == 1:
            return np.asarray(logged[:, len(self.names) + self.places[0][1]])
        since, places = np.array(self.places).T
        place = places[np.searchsorted(since, rows, "right") - 1]
        decided: Floats = logged[np.arange(len(rows)), len(self.names) + place]
        return decided

    def _joined(self, parts: list[Scored]) -> Scored:
        """One `Scored` from those between which versions changed by time, or from none."""
        wide, deep = len(self.names), len(self.lineup.names)
        none = np.empty(0, np.int64)
        no = np.empty(0, np.bool_)
        scores, intervals, features = (np.empty((0, each)) for each in (deep, 2, wide))
        empty = Scored(none, none, scores, intervals, none, no, no, features, [], [], {})
        arrays = ("rows", "number", "scores", "intervals", "version", "review", "late", "features")
        return Scored(
            **{
                name: np.concatenate([getattr(part, name) for part in (empty, *parts)])
                for name in arrays
            },
            letters=[letter for part in parts for letter in part.letters],
            windows=[window for part in parts for window in part.windows],
            champions={n: each for part in parts for n, each in part.champions.items()},
            drift=[each for part in parts for each in part.drift],
        )
