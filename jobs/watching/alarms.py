"""The `drift` topic, followed by a thread of its own: nobody waits for the broker."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from operator import attrgetter
from threading import Event, Thread

import msgspec

from jobs.clients.topic_reader import TopicReader
from operators.drift.alarm import Alarm
from operators.drift.response import told_of
from streams.broker import Broker
from streams.closing import Closing
from streams.errors import HeadraceError

_NUMBER = attrgetter("number")
LAST = 50
"""Alarms that are read back, of each partition, and kept."""


class DriftTopic(Closing):
    """The alarms that come, and the last that came before; `broker` is made in the thread."""

    def __init__(self, broker: Callable[[], Broker], topic: str) -> None:
        self._broker, self._topic = broker, topic
        self._found: deque[Alarm] = deque(maxlen=LAST)
        self._ended, self._read = Event(), Event()
        self.problem = ""
        """Why nothing can be read; empty while it can."""
        self._thread = Thread(target=self._follow, name="drift", daemon=True)
        self._thread.start()

    @property
    def alarms(self) -> list[Alarm]:
        """Oldest first, each once however often it was sent."""
        return sorted({each.number: each for each in list(self._found)}.values(), key=_NUMBER)

    def wait(self, seconds: float) -> None:
        """Wait until what was there has been read, so long at most."""
        self._read.wait(seconds)

    def _follow(self) -> None:
        try:
            with TopicReader(self._broker(), self._topic) as reader:
                reader.seek_last(LAST)
                for run in reader.to_end():
                    self._take(run.values)
                self._read.set()
                while not self._ended.is_set():
                    for run in reader.take():
                        self._take(run.values)
        except (HeadraceError, OSError, ImportError) as error:
            self.problem = str(error)
        finally:
            self._read.set()

    def _take(self, values: Sequence[bytes | None]) -> None:
        for value in values:
            with suppress(msgspec.MsgspecError):
                told = told_of(value or b"")
                self._found += [told] if isinstance(told, Alarm) else []

    def close(self) -> None:
        """Read no more; a thread that waits for the broker is left to end by itself."""
        self._ended.set()
