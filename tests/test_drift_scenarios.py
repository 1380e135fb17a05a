"""The default watch, over simulated changes: what it is to say, and what it is not to."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.bench_drift import AT, WATCH, date
from benchmarks.drifting import CHANGED, Stream, streamed, traffic
from operators.drift.alarm import Alarm
from streams.simulation.traffic import Drift, Holidays, UnitError


def world(days: float, *drifts: Drift) -> Stream:
    """A world in which something changes on day 70."""
    return streamed(traffic(0, *drifts, days=days), WATCH)


@pytest.fixture(scope="module")
def wrong_unit() -> Stream:
    """Four days after amounts came to be sent in cents."""
    return world(CHANGED + 4, UnitError(AT))


def since(stream: Stream) -> list[Alarm]:
    """The alarms of what has begun between the change and the end."""
    begin, end = stream.at(CHANGED), stream.traffic.end
    return [each for each in stream.alarms if begin < each.at_us <= end and not each.over]


def test_a_unit_error_is_named_by_its_feature_within_500_events(wrong_unit: Stream) -> None:
    named = [each for each in since(wrong_unit) if "amount" in each.features]
    events = np.searchsorted(wrong_unit.time, [wrong_unit.at(CHANGED), named[0].at_us])
    assert events[1] - events[0] <= 500
    assert named[0].kind in ("covariate", "schema")
    assert named[0].since_us <= named[0].at_us


def test_holidays_raise_no_alarm_of_a_changed_concept() -> None:
    stream = world(CHANGED + 28, Holidays(AT, until=date(CHANGED + 21)))
    kinds = {each.kind for each in since(stream)}
    assert "concept" not in kinds
    assert "covariate" in kinds
