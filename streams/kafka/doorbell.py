"""Waiting for a queue of librdkafka's to the microsecond: by itself it waits whole milliseconds."""

from __future__ import annotations

import ctypes
import math
import os
import select

from streams.kafka.librdkafka import rd_kafka

PIPE = 1 << 16
"""Bytes that a pipe holds: one for each time that the queue was empty before something came."""
SECOND_NS = 1_000_000_000
_IN = 1
_PPOLL = getattr(ctypes.CDLL(None), "ppoll", None)
"""Takes nanoseconds; where there is none, `poll` takes whole milliseconds."""


class _Descriptor(ctypes.Structure):
    """A `struct pollfd`."""

    _fields_ = (("fd", ctypes.c_int), ("events", ctypes.c_short), ("came", ctypes.c_short))


class _Time(ctypes.Structure):
    """A `struct timespec`."""

    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class Doorbell:
    """Rings when something comes to a queue that was empty."""

    def __init__(self, queue: int) -> None:
        self._queue = queue
        self._ends = heard, told = os.pipe()
        for end in self._ends:
            os.set_blocking(end, False)
        self._what, self._time = _Descriptor(heard, _IN), _Time()
        self._where = ctypes.byref(self._what), 1, ctypes.byref(self._time), None
        rd_kafka.queue_io_event_enable(queue, told, b"!", 1)

    def wait(self, seconds: float) -> None:
        """Return once it has rung, or after so many seconds; now and then, for nothing, sooner."""
        heard = self._ends[0]
        if _PPOLL:
            self._time.seconds, self._time.nanoseconds = divmod(int(seconds * SECOND_NS), SECOND_NS)
            rung = _PPOLL(*self._where) > 0
        else:
            waiting = select.poll()
            waiting.register(heard, select.POLLIN)
            rung = bool(waiting.poll(math.ceil(1000 * seconds)))
        if rung:
            os.read(heard, PIPE)

    def close(self) -> None:
        """Take it off; the queue is still there."""
        rd_kafka.queue_io_event_enable(self._queue, -1, None, 0)
        for end in self._ends:
            os.close(end)
