"""What a learner takes and gives, as records of topics: predictions and outcomes in, examples out.

    lessons = Lessons(learning, inputs)    # outcomes first, then partitions of predictions
    lessons.take(run)                      # as often as there is something to take
    while lessons.ready:
        lesson = lessons.next()

It reads predictions ahead of the outcomes that speak of them, so far and no further.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from jobs.held import CARD, FOREIGN, IDENT, MODEL, TIME, Held, Learnt
from jobs.learning import Learning
from jobs.lineup import Basis
from operators.labels import BY_LABEL, BY_LATE_LABEL, BY_MATURITY, BY_REVERSAL
from streams.broker import Input, Run
from streams.errors import InputError
from streams.examples import encode_examples
from streams.ident import write_idents
from streams.payloads import Payloads
from streams.predicted import decode_predictions
from streams.records import Outcomes

MOST_HELD = 200_000
"""Predictions that may be held beyond what the outcomes read so far speak of."""
MOST_QUEUED = 200_000
"""Outcomes, or messages of them, that may wait for their predictions; with more, none are read."""
LEARN_AT_ONCE = 64
FEW, LEARN_FEW = 256, 8
"""Predictions and outcomes of a turn while it keeps up: a millisecond's work each, so that whoever
shares the processor is never kept waiting for longer."""
KEEPS_UP = 20_000
"""Records that may be behind then."""
REST_SECONDS = 0.003
"""Between two turns then."""
RELEASE_ROWS = 4096
"""Mapped pages are let go after so many rows: a label maps 64 KB around its event."""
CAUSES = {
    BY_LABEL: "label",
    BY_MATURITY: "maturity",
    BY_LATE_LABEL: "late_label",
    BY_REVERSAL: "reversal",
}


@dataclass(frozen=True, slots=True)
class Lesson:
    """What was learnt of one record of outcomes."""

    offset: int
    outcomes: Outcomes
    """What of them was new."""
    learnt: Learnt

    @property
    def causes(self) -> list[str]:
        """How each became known."""
        return causes_of(self.outcomes)

    def delays(self, learning: Learning) -> npt.NDArray[np.int64]:
        """Of those that a first label told of, the microseconds from the event to it."""
        told = np.isin(self.outcomes.causes, (BY_LABEL, BY_LATE_LABEL))
        rows = np.array(self.outcomes.numbers, np.int64)[told]
        times = learning.words.take(rows, slice(TIME, TIME + 1)).ravel()
        return np.asarray(np.array(self.outcomes.known, np.int64)[told] - times)

    def basis(self, learning: Learning, topic: str) -> Basis:
        """What `learning` has learnt from with this lesson, of this topic of outcomes."""
        return learning.basis(self.outcomes, {topic: self.offset + 1})


def causes_of(outcomes: Outcomes) -> list[str]:
    """How each became known."""
    return [CAUSES[cause] for cause in outcomes.causes]


class Lessons:
    """The records that `learning` learns from; `inputs` are outcomes and partitions of predictions.

    Raises InputError for what the score job never wrote there.
    """

    def __init__(self, learning: Learning, inputs: Sequence[Input]) -> None:
        self._learning, self._inputs = learning, inputs
        self._queue: deque[tuple[int, Outcomes]] = deque()
        self._queued = self._touched = 0

    def hurried(self, behind: int) -> bool:
        """Whether so much is there that as much is to be done as can be: or only a little."""
        return behind >= KEEPS_UP or len(self._queue) >= LEARN_AT_ONCE

    @property
    def ready(self) -> bool:
        """Whether every prediction is held that the next outcomes speak of."""
        return bool(self._queue) and self._learning.has(self._queue[0][1])

    def unwanted(self) -> list[int]:
        """Inputs of which nothing is to be taken now."""
        paused = [0] if self._queued > MOST_QUEUED else []
        if self._learning.ahead > MOST_HELD and (self.ready or not self._queue):
            paused += range(1, len(self._inputs))
        return paused

    def take(self, run: Run) -> Held | None:
        """Take records; if they are predictions, those of them that are news."""
        if run.input == 0:
            self._enqueue(run)
            return None
        self._touched += len(run)
        return self._learning.hold(self._decoded(run))

    def _enqueue(self, run: Run) -> None:
        for offset, value in zip(run.offsets.tolist(), run.values, strict=True):
            try:
                outcomes = msgspec.json.decode(value or b"", type=Outcomes)
            except msgspec.MsgspecError as error:
                topic, partition = self._inputs[0]
                raise InputError(
                    f"{topic}/{partition}/{offset}: wanted outcomes, got a record that is none "
                    f"({error}); only the score job may write there"
                ) from error
            self._queue.append((offset, outcomes))
            self._queued += 1 + len(outcomes.numbers)

    def _decoded(self, run: Run) -> Held:
        topic, partition = self._inputs[run.input]
        where = f"{topic}/{partition}/{run.offsets[0]} to {run.offsets[-1]}"
        inputs, width = self._learning.inputs, len(self._learning.names)
        said = decode_predictions(run.values, width, where, inputs)
        words = np.empty((len(run), 4), np.int64)
        words[:, IDENT], words[:, TIME] = said.ident, said.time
        words[:, CARD] = _low(run.keys)
        words[:, MODEL] = np.where(said.own, said.model_version, FOREIGN)
        return Held(said.number, words, said.score, said.features)

    def next(self) -> Lesson:
        """Learn from the next outcomes, which must be ready."""
        offset, told = self._queue.popleft()
        self._queued -= 1 + len(told.numbers)
        outcomes = self._learning.news(told)
        learnt = self._learning.learn(outcomes)
        self._touched += len(outcomes.numbers)
        return Lesson(offset, outcomes, learnt)

    def examples(self, lesson: Lesson) -> tuple[Payloads, Payloads]:
        """Values and keys of the examples of a lesson."""
        outcomes = self._learning.own(lesson.outcomes)
        rows = np.array(outcomes.numbers, np.int64)
        words, scores, features = self._learning.said(rows)
        return encode_examples(
            rows,
            words[:, TIME],
            outcomes.known,
            outcomes.values,
            outcomes.causes,
            scores,
            words[:, MODEL],
            features,
            tuple(CAUSES.values()),
        )

    def release(self) -> None:
        """Let go of mapped memory, now and then."""
        if self._touched >= RELEASE_ROWS:
            self._touched = 0
            self._learning.release()


def _low(texts: Payloads) -> npt.NDArray[np.int64]:
    """Low words of the idents."""
    found = np.empty((len(texts), 2), np.int64)
    write_idents(*texts.joined(), found)
    return found[:, 1]
