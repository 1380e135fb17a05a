"""Learning from all that was told, whatever predictions come first, and whatever is lost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np

from jobs.held import Held
from jobs.lanes.learnt import KeptLearning
from jobs.lanes.store import MemoryStore
from jobs.learning import Learning
from jobs.state import take_models
from streams.payloads import Payloads
from streams.predicted import decode_predictions
from streams.records import Outcomes
from tests.batches import PIPELINE


def held_of(said: list[bytes], width: int) -> Held:
    """Predictions as the learning half holds them."""
    found = decode_predictions(Payloads.of(said), width, "here")
    words = np.zeros((len(said), 4), np.int64)
    words[:, 0], words[:, 1] = found.ident, found.time
    return Held(found.number, words, found.score, found.features)


class Kept:
    """A learner whose memory is lost now and then; a store has what it knew."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store, self.lives = folder, MemoryStore(), 0
        self.begin()

    def begin(self) -> None:
        self.lives += 1
        self.learning = Learning(PIPELINE, self.folder / str(self.lives))
        self.kept = KeptLearning(self.learning, self.store)
        self.kept.restore()

    def lose(self) -> None:
        self.kept.keep({})
        self.learning.close()
        self.begin()


def known(learning: Learning) -> dict[str, bytes]:
    """All that it has learnt, how it was judged, and what it saw."""
    arrays = take_models(learning.lineup, learning.evaluation, learning.watching)
    return {name: array.tobytes() for name, array in arrays.items()}


def learn_once(
    said: Sequence[bytes], outcomes: Sequence[Outcomes], folder: Path, chance: Random
) -> None:
    """Assert that all is learnt once, and no other way by a learner that is lost on the way."""
    learning, lost = Learning(PIPELINE, folder / "learn"), Kept(folder / "kept")
    coming, waiting = sorted(said, key=lambda _: chance.random()), list(outcomes)
    while waiting:
        # As in its topic: the first outcomes wait for their predictions, the others for them.
        while not learning.has(waiting[0]):
            held = held_of([coming.pop()], len(learning.names))
            learning.hold(held)
            lost.kept.add(lost.learning.hold(held))
        told = waiting.pop(0)
        assert lost.learning.has(told)
        for each in (learning, lost.learning):
            for again in (told, told):
                each.learn(each.news(again))
        if chance.random() < 0.1:
            lost.lose()
    assert learning.lineup.learnt == sum(len(each.numbers) for each in outcomes)
    assert known(lost.learning) == known(learning)
    for each in (learning, lost.learning):
        each.close()
