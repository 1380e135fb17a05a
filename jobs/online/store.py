"""Keeps the latest line of each key in Redis, behind the back of what scores.

    store = OnlineStore("redis://127.0.0.1:6379", pipeline)
    store.offer(batch, scored)      # on the scoring thread: an append, microseconds
    store.close(timeout=1.0)

A thread keeps the newest line of each key for as long as Redis is slow or away, and hands them to a
process that writes them. Nothing older overwrites, so what is offered twice does no harm.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from dataclasses import dataclass, field
from threading import Event, Thread

import numpy as np
import pyarrow as pa

from jobs.definition import Pipeline
from jobs.online.lines import EntityLines, entities
from jobs.online.process import WriterProcess
from jobs.pipeline import Scored
from streams.batch import Batch, as_text
from streams.errors import OutputError
from streams.latest import Latest, Lines
from streams.redis import Address

log = logging.getLogger("headrace")
PACE_SECONDS = 0.05
"""Between two rounds of writing; of what comes meanwhile only a key's newest is written."""
CHUNK = 1024
"""Lines handed over at a time."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 1.0
"""Before another attempt after a failed one, doubling."""


@dataclass(slots=True)
class _Kept:
    """One entity's lines on their way."""

    lines: EntityLines
    latest: Latest = field(default_factory=Latest)
    columns: np.ndarray[tuple[int], np.dtype[np.int64]] = field(init=False)

    def __post_init__(self) -> None:
        self.columns = np.array(self.lines.columns, np.int64)


class OnlineStore:
    """The store of one pipeline; one thread may offer, any may read the figures.

    Raises ConfigError for an address that cannot be one, and where there is nothing to keep. A
    server that is not there is no error: `trouble` says so until it is.
    """

    def __init__(self, url: str, pipeline: Pipeline) -> None:
        self.address = Address.parse(url)
        self._writer = WriterProcess(url)
        self._kept = [_Kept(each) for each in entities(pipeline)]
        self._queue: deque[tuple[Batch, Scored, float]] = deque()
        self._stop = Event()
        self._deadline = float("inf")
        self._gathered = self._retry_at = 0.0
        self._pause = FIRST_PAUSE_SECONDS
        self._in_flight = 0
        self._gathering_since = self._writing_since = math.inf
        self._crash: BaseException | None = None
        self.trouble = ""
        """What is wrong with the server, one line; empty while writes go through."""
        self.written = 0
        self.failures = 0
        self.older = 0
        """Lines that the server had a newer one for."""
        self._thread = Thread(target=self._run, name="online", daemon=True)
        self._thread.start()

    def offer(self, batch: Batch, scored: Scored) -> None:
        """Take note of what came out of a batch; neither may be changed afterwards.

        Raises what ended the store's thread, if anything has: an error of the program.
        """
        if self._crash is not None:
            raise self._crash
        if len(scored):
            self._queue.append((batch, scored, time.monotonic()))

    @property
    def up(self) -> bool:
        """Whether the last write went through."""
        return not self.trouble

    @property
    def waiting(self) -> int:
        """Lines not written yet: at most twice the keys that changed, and a few thousand."""
        return sum(len(each.latest) for each in self._kept) + self._in_flight

    @property
    def superseded(self) -> int:
        """Lines not written since a newer one of the same key came before their turn."""
        return sum(each.latest.superseded for each in self._kept)

    @property
    def lag(self) -> float:
        """Seconds that the line which has waited longest does; 0 when all are written."""
        try:
            first = self._queue[0][2]
        except IndexError:
            first = math.inf
        waiting = (each.latest.since for each in self._kept)
        since = min(first, self._gathering_since, self._writing_since, *waiting)
        return 0.0 if math.isinf(since) else max(time.monotonic() - since, 0.0)

    def close(self, timeout: float) -> int:
        """Write what waits, for so many seconds at most; how many lines could not be written."""
        self._deadline = time.monotonic() + timeout
        self._stop.set()
        self._thread.join(timeout + 2 * PACE_SECONDS)
        return self.waiting + sum(len(scored) for _, scored, _ in self._queue)

    def _run(self) -> None:
        try:
            while not self._stop.wait(PACE_SECONDS):
                self._round()
            self._round()
            while self.waiting and time.monotonic() < self._deadline:
                time.sleep(PACE_SECONDS)
                self._round()
        except BaseException as error:  # noqa: BLE001 - the scoring thread raises it
            self._crash = error
        finally:
            self._writer.close()

    def _round(self) -> None:
        self._gather()
        if time.monotonic() >= self._retry_at:
            for kept in self._kept:
                if not self._write(kept):
                    break

    def _idle(self) -> None:
        """Between and during calls: keep the queue short, and know when to end."""
        now = time.monotonic()
        if now > self._deadline:
            raise OutputError(f"{self.address}: no answer before the end")
        if now - self._gathered >= PACE_SECONDS:
            self._gather()

    def _gather(self) -> None:
        """Move what was offered to the lines that wait."""
        self._gathered = time.monotonic()
        if not self._queue:
            return
        self._gathering_since = self._queue[0][2]
        taken = [self._queue.popleft() for _ in range(len(self._queue))]
        batches, scored, at = zip(*taken, strict=True)
        starts = np.cumsum([0, *(len(batch) for batch in batches[:-1])])
        rows = np.concatenate([n + each.rows for n, each in zip(starts, scored, strict=True)])
        idents = np.concatenate([batch.idents for batch in batches])[rows]
        features = np.concatenate([each.features for each in scored])
        columns = {
            "time": np.concatenate([batch.time for batch in batches])[rows],
            "tie": idents[:, 0, 1],
            "since": np.repeat(at, [len(each) for each in scored]),
            "score": np.concatenate([each.scores[:, 0] for each in scored]),
            "review": np.concatenate([each.review for each in scored]),
            "version": np.concatenate([each.version for each in scored]),
        }
        places = pa.array(rows)
        ids, *keys = [
            pa.concat_arrays([as_text(batch.texts[column]) for batch in batches]).take(places)
            for column in range(idents.shape[1])
        ]
        for kept in self._kept:
            kept.latest.add(
                Lines(
                    key=idents[:, 1 + kept.lines.place],
                    features=features[:, kept.columns],
                    texts=(keys[kept.lines.place], ids),
                    **columns,
                )
            )
        self._gathering_since = math.inf

    def _write(self, kept: _Kept) -> bool:
        """Write what waits of one entity; False, the rest of it waiting again, on a failure."""
        self._writing_since = kept.latest.since
        lines = kept.latest.take()
        if lines is None:
            return True
        start, trouble = 0, ""
        try:
            while start < len(lines) and not trouble:
                self._in_flight = len(lines) - start
                chunk = kept.lines.chunk(lines[start : start + CHUNK])
                done = self._writer.write(chunk, self._idle)
                start, trouble = start + done.lines, done.trouble
                self.written += done.newer
                self.older += done.lines - done.newer
                self._idle()
        except OutputError as error:
            trouble = str(error)
        finally:
            kept.latest.give_back(lines[start:])
            self._in_flight, self._writing_since = 0, math.inf
        self._note(trouble)
        return not trouble

    def _note(self, trouble: str) -> None:
        """Keep what went wrong, say it when that changes, and wait longer each time it does."""
        if trouble and trouble != self.trouble:
            log.warning("%s; scoring goes on, the newest of each key waits", trouble)
        elif self.trouble and not trouble:
            log.info("%s: written to again", self.address)
        self.trouble = trouble
        if not trouble:
            self._pause = FIRST_PAUSE_SECONDS
            return
        self.failures += 1
        self._retry_at = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
