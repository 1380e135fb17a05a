"""The plain twin of the features: the kernels give what it gives, whatever comes in which order."""

import math
from collections.abc import Iterator
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.features import (
    Entity,
    Feature,
    bucket,
    difference,
    hour,
    missing,
    night,
    ratio,
    value,
    weekday,
    weekend,
)
from operators.featurize import Features
from operators.plan import compile_plan
from operators.reference import Happened, History, Reference
from streams.jit import kernel
from streams.schema import DAY, Category, Event, Label, Number

EVENT = Event(
    "purchase",
    keys=("shop", "person"),
    label=Label("fraud", maturity="7d"),
    numbers=(Number("amount", scale=2, maximum=1000), Number("tip", scale=2, required=False)),
    categories=(Category("channel", required=False),),
)
SHOP, PERSON = Entity("shop"), Entity("person")
HOUR = DAY // 24
MISSING = -(2**63)


@kernel("float64(int64[::1], int64[::1], int8[::1])")
def alternating(times_us, values, status):  # type: ignore[no-untyped-def]
    total = 0.0
    for i in range(len(times_us)):
        if values[i] != -(2**63):
            total += (times_us[i] % 7) * values[i] * (status[i] + 2)
    return total


FEATURES: dict[str, Feature] = {
    "value": value("tip"),
    "missing": missing("tip"),
    "channel": bucket("channel", 5),
    "weekend": weekend(),
    "night": night(),
    "hour": hour(),
    "weekday": weekday(),
    "count": SHOP.count("2d"),
    "delayed": SHOP.count("3d", "7d"),
    "sum": SHOP.sum("tip", "4d"),
    "mean": SHOP.mean("tip", "3d", "1d", empty=-1.0),
    "std": SHOP.std("amount", "5d"),
    "past_mean": SHOP.past_mean("tip", "5d"),
    "past_std": SHOP.past_std("amount", "5d"),
    "zscore": SHOP.zscore("amount", "5d"),
    "least": SHOP.minimum("tip", "2d"),
    "most": SHOP.maximum("amount", "5d", "1d"),
    "distinct": SHOP.distinct("channel", "5d"),
    "persons": SHOP.distinct("person", "5d"),
    "seen": SHOP.seen("channel", "5d"),
    "since_last": SHOP.since_last("2d"),
    "since_second": PERSON.since_last("5d", 2),
    "lag": SHOP.lag("amount", "5d"),
    "tip_lag": PERSON.lag("tip", "9d", 2),
    "same_channel": SHOP.same("channel", "5d"),
    "same_shop": PERSON.same("shop", "9d", 2),
    "same_tip": PERSON.same("tip", "9d"),
    "since_first": SHOP.since_first("9d"),
    "since_positive": SHOP.since_positive("9d"),
    "positives": PERSON.positives("5d", "1d"),
    "share": PERSON.share("3d", delay="2d", empty=0.0),
    "hours": SHOP.hour_share("9d", "3h"),
    "length": PERSON.run("length", "9d"),
    "age": PERSON.run("age", "9d"),
    "gap": PERSON.run("gap", "9d"),
    "run_least": PERSON.run("least", "9d", "tip"),
    "since_negative": PERSON.run("since_negative", "9d"),
    "clean_mean": SHOP.clean_mean("tip", "12d", enough=2),
    "clean_ratio": SHOP.clean_ratio("amount", "12d", enough=2),
    "clean_zscore": SHOP.clean_zscore("amount", "12d", enough=2),
    "largest": SHOP.largest_clean_ratio("tip", within="3d", last="12d", enough=2),
    "excess": SHOP.clean_excess("amount", within="3d", last="12d", above=1.5, enough=2),
    "own": PERSON.custom(alternating, "tip", "6d"),
    "ratio": ratio(SHOP.mean("amount", "5d"), PERSON.mean("amount", "5d")),
    "difference": difference(value("amount"), SHOP.mean("amount", "5d")),
}

Bought = tuple[int, int, int, int, int | None, int | None, tuple[int, bool]]
"""Time, shop, person, cents, tip, channel; the label: after how many steps (0: never), and what."""
Step = tuple[int, int, int, Bought]
"""Time, 1 of an event and 0 of its label, ident, the event."""
Line = dict[str, float]

numbers = st.none() | st.integers(0, 500)
purchases = st.lists(
    st.tuples(
        st.integers(0, 14 * 8).map(lambda step: 200 * DAY + step * 3 * HOUR),
        st.integers(0, 1),
        st.integers(0, 1),
        st.integers(0, 100_000),
        numbers,
        st.none() | st.integers(0, 2),
        st.tuples(st.integers(0, 80), st.booleans()),
    ),
    max_size=30,
)


@given(purchases, st.booleans(), st.randoms(use_true_random=False))
def test_the_kernels_give_what_the_definitions_say(
    rows: list[Bought], shuffled: bool, random: Random
) -> None:
    events = [(row[0], 1, ident, row) for ident, row in enumerate(rows)]
    labels = [
        (row[0] + row[-1][0] * 3 * HOUR, 0, ident, row)
        for ident, row in enumerate(rows)
        if row[-1][0]
    ]
    if shuffled:
        random.shuffle(events)
        steps = [*events, *labels]
    else:
        steps = sorted([*events, *labels], key=lambda step: step[:3])
    for got, want in zip(compiled(steps), plain(steps), strict=True):
        for name in FEATURES:
            left, right = got[name], want[name]
            assert left == pytest.approx(right, rel=1e-12, abs=1e-9, nan_ok=True), name


def compiled(steps: list[Step]) -> list[Line]:
    """The features of the events, by the kernels."""
    plan = compile_plan(EVENT, FEATURES, lateness_us=40 * DAY, cap=64)
    kinds, idents = np.array([[step[1], step[2]] for step in steps] or [[1, 0]]).T[:, : len(steps)]
    rows = [step[3] for step in steps]
    batch = SimpleNamespace(
        numbers=np.array(
            [[row[3], MISSING if row[4] is None else row[4]] for row in rows], np.int64
        ).reshape(-1, 2),
        categories=np.array(
            [[MISSING if row[5] is None else row[5]] for row in rows], np.int64
        ).reshape(-1, 1),
    )
    told = [row[-1][1] if kind == 0 else -1 for kind, row in zip(kinds, rows, strict=True)]
    lines = Features(plan, EVENT.keys).update(
        batch,  # type: ignore[arg-type]
        np.where(kinds == 1, np.cumsum(kinds) - 1, -1),
        np.array([row[0] for row in rows], np.int64),
        np.array([[(0, row[1]), (0, row[2])] for row in rows], np.int64).reshape(-1, 2, 2),
        idents.astype(np.int64),
        np.array([step[0] for step in steps], np.int64),
        np.array(told, np.int8),
        int(kinds.sum()),
    )
    return [dict(zip(plan.names, line, strict=False)) for line in lines.tolist()]


def plain(steps: list[Step]) -> Iterator[Line]:
    """The features of the events, by their definitions."""
    reference = Reference(EVENT)
    histories: dict[tuple[str, int], History] = {}
    for time, kind, ident, row in steps:
        mine = {key: histories.setdefault((key, place), History()) for key, place in
                zip(EVENT.keys, row[1:3], strict=True)}  # fmt: skip
        if kind == 0:
            for history in mine.values():
                event = history.find(row[0], ident)
                assert event
                event.tell(time, row[-1][1])
            continue
        values = {"shop": row[1], "person": row[2], "amount": row[3], "tip": row[4]}
        now = Happened(time, ident, values | {"channel": row[5]})
        past = {}
        for key, history in mine.items():
            history.insert(now)
            past[key] = history.until(time, ident, 60 * DAY)
        yield {name: reference.value(each, now, past) for name, each in FEATURES.items()}


def test_the_label_that_became_known_last_holds() -> None:
    event = Happened(0, 1, {})
    event.tell(5, positive=False)
    event.tell(3, positive=True)
    assert (event.known, event.positive) == (5, False)
    event.tell(5, positive=True)
    assert event.positive


def test_silence_is_unknown_until_the_maturity_and_negative_from_then_on() -> None:
    event = Happened(10, 1, {})
    assert [event.status(now, 7) for now in (16, 17)] == [-1, 0]
    assert not math.isnan(Reference(EVENT).value(weekend(), event, {}))
