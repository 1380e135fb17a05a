"""What was done because of alarms, as it is published."""

from __future__ import annotations

import msgspec

from operators.drift.alarm import Alarm


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """A record of the `drift` topic, beside the alarms."""

    number: int
    """Responses of a pipeline are numbered from 1; one number is one, however often sent."""
    at_us: int
    """Event time at which it was done."""
    what: str
    """What was done, in words."""
    model: str
    """The model that it was done to, the champion where nothing was."""
    alarms: tuple[int, ...] = ()
    """The numbers of the alarms that caused it; none where time or examples did."""
    until_us: int = 0
    """Event time at which it ends, if it does."""
    over: bool = False
    """Whether it is the end of what was done before."""
    figures: dict[str, float] = {}

    def encode(self) -> bytes:
        """As JSON, always to the same bytes."""
        return msgspec.json.encode(self)


Told = Alarm | Response
"""What the topic `drift` holds."""


def told_of(raw: bytes) -> Told:
    """The alarm or response of a line or record. Raises msgspec.MsgspecError for anything else."""
    fields = msgspec.json.decode(raw, type=dict)
    if "kind" in fields:
        return msgspec.convert(fields, Alarm)
    return msgspec.convert(fields, Response)
