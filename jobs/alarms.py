"""What is said of an alarm: in a line, in a record, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from operators.drift.alarm import Alarm, Kind
from operators.drift.response import Told, told_of
from streams.errors import InputError
from streams.timestamps import time_text

DRIFT = "drift.jsonl"
"""What the file of a run is called."""
SHOWN = 3
"""Alarms that are told at the end of a run."""
NAMED = 3
"""Features named in a line."""
NEXT: dict[Kind, str] = {
    "covariate": "ask who sends these what has changed; if it is meant, models follow with labels",
    "missing": "ask who sends these why they are missing: until then models score without them",
    "schema": "ask who sends these what has changed: units, codes, a new value",
    "score": "see whether inputs or a new version did it: `headrace models list`",
    "prior": "see whether the labels or the fraud have changed; thresholds follow with versions",
    "concept": "see what it fails on by slice and by `headrace why`; `responses` can learn faster",
    "calibration": "take scores by their order until versions have followed",
    "performance": "see what it fails on by slice; an earlier version: `headrace models rollback`",
    "label delay": "ask who sends labels: until they come metrics and learning lag",
    "volume": "see whether every source sends: `headrace topics describe`",
}
"""What to do next, by what has changed."""


def drift_records(told: Sequence[Told]) -> tuple[list[bytes], list[bytes]]:
    """Values and keys of records; the key is what has changed, or `response`."""
    keys = [each.kind.encode() if isinstance(each, Alarm) else b"response" for each in told]
    return [each.encode() for each in told], keys


def drift_line(told: Told) -> str:
    """An alarm or what was done about some, in a line of a log."""
    if isinstance(told, Alarm):
        return alarm_line(told)
    because = f", for alarm {', '.join(map(str, told.alarms))}" if told.alarms else ""
    until = f", until {moment(told.until_us)}" if told.until_us else ""
    over = " is over" if told.over else ""
    at = f"response {told.number} at {moment(told.at_us)}"
    return f"{at}: {told.model} {told.what}{over}{because}{until}"


def alarm_line(alarm: Alarm) -> str:
    """An alarm in a line of a log.

    >>> alarm_line(Alarm(
    ...     kind="volume", detector="cusum", since_us=0, size=0.9, threshold=0.5, number=3,
    ...     at_us=3_600_000_000, version=7,
    ... ))
    'alarm 3: volume (cusum) has changed by 0.9 (told from 0.5) since 1970-01-01 00:00, \
told 01:00, version 7: see whether every source sends: `headrace topics describe`'
    """
    since, at = moment(alarm.since_us), moment(alarm.at_us)
    if alarm.over:
        return f"alarm {alarm.number}: {what(alarm)} is over at {at}, it began {since}"
    told = at[11:] if at[:10] == since[:10] else at
    return (
        f"alarm {alarm.number}: {what(alarm)} has changed by {alarm.size:.3g} (told from "
        f"{alarm.threshold:.3g}) since {since}, told {told}, version {alarm.version}: "
        f"{NEXT[alarm.kind]}"
    )


def what(alarm: Alarm) -> str:
    """What has changed, where and by which detector it was found."""
    named = ", ".join(alarm.features[:NAMED])
    more = f" and {len(alarm.features) - NAMED} more" if len(alarm.features) > NAMED else ""
    of = f" of {named}{more}" if named else ""
    where = f" where {alarm.slice} is {alarm.value}" if alarm.slice else ""
    return f"{alarm.kind} ({alarm.detector}){of}{where}"


def moment(time_us: int) -> str:
    """Day and time of day."""
    return time_text(time_us)[:16].replace("T", " ")


def alarms_in(path: Path) -> list[Alarm]:
    """The alarms in a file that a run left; none where there is none. InputError for a bad line."""
    if not path.exists():
        return []
    try:
        told = [told_of(line) for line in path.read_bytes().splitlines()]
    except msgspec.MsgspecError as error:
        raise InputError(f"{path}: wanted a line an alarm, got: {error}") from error
    return [each for each in told if isinstance(each, Alarm)]


def said_of_alarms(folder: Path) -> list[str]:
    """How many alarms a run raised, and the first of them."""
    alarms = [each for each in alarms_in(folder / DRIFT) if not each.over]
    if not alarms:
        return ["no alarm: nothing has changed, as far as it is watched"]
    more = f"; {folder / DRIFT} has all" if len(alarms) > SHOWN else ""
    return [f"alarms: {len(alarms):,}{more}", *map(alarm_line, alarms[:SHOWN])]
