"""Simulated traffic as `headrace publish --simulate` sends it, going on where the topic ends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa

from jobs.clients.outgoing import Records
from jobs.clients.topic_reader import TopicReader
from streams.batch import LABEL
from streams.broker import Broker
from streams.errors import ConfigError
from streams.schema import DAY, duration_us
from streams.simulation.lines import lines
from streams.simulation.scenarios import CENTS, ID, IS_LABEL, RECORD_COLUMNS, TIME, WHERE, WHO
from streams.simulation.simulator import Simulation
from streams.simulation.traffic import Drift, Traffic, moment_us
from streams.timestamps import parse, time_text

SIZE = 1024
LOOK_BACK = 200
"""Records at a partition's end that are looked at."""
APART = 1_000_000
"""Ids begin at a multiple of this, so that none under way before is met again."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Beginning(NamedTuple):
    """What was there before the first simulated record."""

    id: int
    """All ids so far are at most this."""
    time_us: int
    """All times so far are at most this; 0 where there is none."""


def beginning(broker: Broker, topic: str) -> Beginning:
    """Where traffic must begin so that nothing in the topic has its ids, or is of its time."""
    found = Beginning(0, 0)
    with TopicReader(broker, topic) as reader:
        reader.seek_last(LOOK_BACK)
        for run in reader.to_end():
            for id_, time_us in (_id_and_time(value) for value in run.values if value):
                found = Beginning(max(found.id, id_), max(found.time_us, time_us))
    return Beginning(-(-found.id // APART) * APART, found.time_us)


def _id_and_time(value: bytes) -> tuple[int, int]:
    """Zeros for what is not there."""
    try:
        record: Any = orjson.loads(value)
        id_, time = str(record["id"]), record["time"]
    except (orjson.JSONDecodeError, TypeError, KeyError):
        return 0, 0
    if not isinstance(time, int):
        time = max(int(parse(pa.array([str(time)], pa.large_string()))[0]), 0)
    return int(id_) if id_.isdecimal() and len(id_) < 18 else 0, time


def world(
    after: Beginning,
    now_us: int,
    *,
    start: str | None,
    days: float | None,
    per_day: float,
    customers: int | None,
    seed: int,
    drifts: tuple[Drift, ...] = (),
) -> Traffic:
    """The traffic to send: from `start`, else after what is there, else from START; until now.

    ConfigError where nothing is left of the time before now: what is dated later is refused.
    """
    begin = moment_us(start) if start else max(after.time_us, moment_us(Traffic().start))
    left = (now_us - begin) / DAY
    if left * per_day < 1:
        raise ConfigError(
            f"simulated time would begin at {time_text(begin)}, and events dated ahead of today "
            "are refused; give an earlier --start, or other topics with --prefix"
        )
    return Traffic(
        customers=customers or max(round(per_day / 2), 100),
        terminals=max(customers or round(per_day), 100),
        per_day=per_day,
        start=(_EPOCH + timedelta(microseconds=begin)).isoformat(),
        days=min(left, days or left),
        seed=seed,
        drifts=drifts,
    )


def simulated(
    traffic: Traffic, first_id: int, until_us: int, *, with_labels: bool
) -> Iterator[Records]:
    """The traffic in order of arrival, ids after `first_id`; labels when they become known.

    What would arrive from `until_us` on is left out.
    """
    simulation = Simulation(traffic, batch_size=SIZE)
    for batch, _ in simulation:
        wanted = (batch.received < until_us) & (with_labels | (batch.kind != LABEL))
        kept = batch.take(np.flatnonzero(wanted))
        if not len(kept):
            continue
        label = kept.kind == LABEL
        rows = np.zeros((len(kept), RECORD_COLUMNS), np.int64)
        rows[:, [ID, WHO, WHERE]] = kept.idents[:, :, 1]
        rows[:, ID] += first_id
        rows[:, TIME] = kept.time
        rows[:, CENTS] = kept.numbers[:, 0]
        rows[:, IS_LABEL] = label
        owners = np.where(label, rows[:, ID], rows[:, WHO]).tolist()
        yield Records(
            bytes(lines(rows)[0]).splitlines(),
            [b"%d" % owner for owner in owners],
            label,
            kept.received,
        )


def per_day(rate: float, speed: float) -> float:
    """How many payments a day make this many a second at this speed.

    >>> per_day(2000, 10_000)
    17280.0
    """
    return rate * (DAY / duration_us("1s")) / speed
