"""Scores in a pipe: NDJSON in, predictions out, dead letters to standard error."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from jobs.definition import Pipeline
from jobs.pipeline import Flow
from jobs.state import FlowState
from jobs.topic_records import prediction_records
from streams.closing import Closing
from streams.codec import Decoder
from streams.errors import StateError
from streams.ownership import own
from streams.sinks import encode_dead_letter

READ_BYTES = 1 << 20
TOPIC = "stdin"


class Shell(Closing):
    """A flow that is fed lines: `answer` gives the predictions and the dead letters as lines.

    With `state` it begins with what that folder's newest snapshot holds. The folder is this
    process's alone meanwhile; what is scored here is not kept in it.
    """

    def __init__(self, pipeline: Pipeline, state: Path | None) -> None:
        self._stack = ExitStack()
        folder = state or Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        if state is not None:
            if not (state / "snapshots").is_dir():
                raise StateError(f"{state}: no state is here; name the state folder of a replay")
            self._stack.enter_context(own(state))
        self._flow = Flow(pipeline, folder)
        self._heed: Callable[[], None] = lambda: None
        if state is not None:
            kept = FlowState(self._flow, state / "snapshots")
            kept.restore()
            self._heed = kept.heeding.heed_at_once
        self._decoder = Decoder(pipeline.event, topic=TOPIC)
        self._taken = 0

    def answer(self, lines: list[bytes], received_us: int) -> tuple[list[bytes], list[bytes]]:
        """Predictions in the order of their events, and dead letters; labels are learnt from."""
        first = self._taken + 1
        self._taken += len(lines)
        places = np.flatnonzero([bool(line.strip()) for line in lines])
        kept = [lines[place] for place in places]
        batch, letters = self._decoder.decode(kept, received_us, offsets=places + first)
        self._heed()
        scored = self._flow.process(batch)
        letters += [replace(letter, topic=TOPIC) for letter in scored.letters]
        _, predictions = prediction_records(batch, scored, self._flow.names, self._flow.inputs)
        return predictions.full(), [encode_dead_letter(each) for each in letters]

    def close(self) -> None:
        """Let go of the state that is read."""
        self._stack.close()


def score_stream(shell: Shell, descriptor: int, out: BinaryIO, dead: BinaryIO) -> None:
    """Answer the lines of a file descriptor as they come."""
    for lines in _arriving(descriptor):
        predictions, letters = shell.answer(lines, time.time_ns() // 1000)
        for file, answers in ((out, predictions), (dead, letters)):
            if answers:
                file.write(b"\n".join([*answers, b""]))
                file.flush()


def _arriving(descriptor: int) -> Iterator[list[bytes]]:
    """Whole lines, as many as are there; waits for the first. The last may lack its line break."""
    rest = b""
    while piece := os.read(descriptor, READ_BYTES):
        *lines, rest = (rest + piece).split(b"\n")
        if lines:
            yield lines
    if rest:
        yield [rest]
