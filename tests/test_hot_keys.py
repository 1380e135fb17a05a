"""A key with a hundred times the others' traffic: exact below its cap, bounded above, harmless."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.lanes.rows import Admitted
from jobs.lanes.store import MemoryStore
from jobs.lanes.windows import LaneWindows
from operators.explain import record_of
from operators.features import Entity
from operators.featurize import Features, chain
from operators.keyrecords import PREFIX
from operators.plan import EntityPlan, compile_plan
from operators.reference import Happened, History, Reference
from operators.ring import CAP, HEAD, STRIDE
from streams.errors import ConfigError
from streams.schema import DAY, Event, Label, Number
from tests.test_lanes import rows_of

TIMES = 100
"""How often the hot key pays while a neighbour pays once."""
HOT, NEIGHBOURS = 0, 5
EVENT = Event("payment", ("shop",), Label("fraud", "2d"), (Number("amount", maximum=100_000),))
SHOP = Entity("shop")
FEATURES = {
    "day": SHOP.count("1d"),
    "week": SHOP.count("7d"),
    "earlier": SHOP.count("2d", "1d"),
    "sum": SHOP.sum("amount", "7d"),
    "most": SHOP.maximum("amount", "1d"),
    "positives": SHOP.positives("7d"),
}
LATENESS = 2 * DAY


@dataclass(frozen=True)
class Paid:
    """A payment at a shop, and whether it is found out to be a fraud a day later."""

    ident: int
    time: int
    shop: int
    amount: int
    fraud: bool


def payments(events: int, seed: int, burst: float) -> list[Paid]:
    """Of the hot shop, and a hundredth as many of each neighbour, by time over twelve days.

    A share `burst` of the hot shop's fall into two hours.
    """
    chance = Random(seed)
    shops = [HOT] * events
    shops += [1 + place for place in range(NEIGHBOURS) for _ in range(max(events // TIMES, 1))]
    drawn = []
    for shop in shops:
        width = 12 * DAY
        if shop == HOT and chance.random() < burst:
            width = DAY // 12
        drawn.append((400 * DAY + chance.randrange(width), shop))
    return [
        Paid(ident, time, shop, chance.randrange(100_000), chance.random() < 0.1)
        for ident, (time, shop) in enumerate(sorted(drawn))
    ]


def steps(paid: Iterable[Paid]) -> list[tuple[int, bool, Paid]]:
    """Payments, and the labels of the frauds, in the strict order."""
    events = [(each.time, True, each) for each in paid]
    labels = [(each.time + DAY, False, each) for each in paid if each.fraud]
    return sorted([*events, *labels], key=lambda step: (step[0], step[1], step[2].ident))


def compiled(
    paid: list[Paid], cap: int, batch: int = 500
) -> tuple[dict[int, list[float]], Features]:
    """Features by id, by the kernels, and the operator as it is then."""
    plan = compile_plan(EVENT, FEATURES, lateness_us=LATENESS, cap=cap)
    features, whole = Features(plan, EVENT.keys), steps(paid)
    out: dict[int, list[float]] = {}
    for first in range(0, len(whole), batch):
        part = whole[first : first + batch]
        here = np.array([event for _, event, _ in part])
        rows = [each for *_, each in part]
        lines = features.update(
            SimpleNamespace(  # type: ignore[arg-type]
                numbers=np.array([[each.amount] for each in rows]),
                categories=np.zeros((len(rows), 0), np.int64),
            ),
            np.where(here, np.cumsum(here) - 1, -1),
            np.array([each.time for each in rows]),
            np.array([[(0, each.shop)] for each in rows]),
            np.array([each.ident for each in rows]),
            np.array([time for time, *_ in part]),
            np.where(here, -1, 1).astype(np.int8),
            int(here.sum()),
        )
        events = [each for _, event, each in part if event]
        out |= {each.ident: line for each, line in zip(events, lines.tolist(), strict=True)}
    return out, features


def defined(paid: list[Paid]) -> dict[int, list[float]]:
    """Features by id, by their definitions."""
    reference, histories, out = Reference(EVENT), dict[int, History](), {}
    for time, event, each in steps(paid):
        history = histories.setdefault(each.shop, History())
        if not event:
            held = history.find(each.time, each.ident)
            assert held
            held.tell(time, positive=True)
            continue
        now = Happened(each.time, each.ident, {"amount": each.amount})
        history.insert(now)
        past = {"shop": history.until(each.time, each.ident, 10 * DAY)}
        out[each.ident] = [reference.value(one, now, past) for one in FEATURES.values()]
    return out


@settings(max_examples=20)
@given(st.integers(1, 3), st.integers(0, 2**32), st.floats(0, 1))
def test_below_its_cap_a_hot_key_is_exact(hundreds: int, seed: int, burst: float) -> None:
    paid = payments(hundreds * TIMES, seed, burst)
    assert compiled(paid, cap=512)[0] == defined(paid)


@settings(max_examples=8)
@given(st.integers(0, 2**32), st.floats(0, 0.9))
def test_above_its_cap_a_hot_key_is_off_by_no_more_than_a_256th_of_a_window(
    seed: int, burst: float
) -> None:
    paid = payments(8000, seed, burst)
    found, _ = compiled(paid, cap=2048)
    exact, _ = compiled(paid, cap=8000)
    mine = [each for each in paid if each.shop == HOT]
    times = np.array([each.time for each in mine])
    amounts = np.cumsum([0, *(each.amount for each in mine)])
    for at, each in enumerate(mine):
        got = dict(zip(FEATURES, found[each.ident], strict=True))
        true = dict(zip(FEATURES, exact[each.ident], strict=True))
        for name, days in (("day", 1), ("week", 7)):
            # Of what has left the window, only what left it within a 256th of it still counts.
            edge = each.time - days * DAY
            left = np.searchsorted(times, [edge - days * DAY // 256, edge], "right")
            assert 0 <= got[name] - true[name] <= left[1] - left[0]
            if name == "week":
                assert 0 <= got["sum"] - true["sum"] <= (amounts[left[1]] - amounts[left[0]])
                assert 0 <= got["positives"] - true["positives"] <= left[1] - left[0]
        # Both ends of a delayed window may be late.
        ends = [each.time - days * DAY for days in (1, 3)]
        near, far = (
            int(np.diff(np.searchsorted(times, [end - days * DAY // 256, end], "right"))[0])
            for end, days in zip(ends, (1, 7), strict=True)
        )
        assert -near <= got["earlier"] - true["earlier"] <= far, at


def test_a_key_over_its_cap_is_told_by_its_panes_and_keeps_its_size() -> None:
    paid = payments(8000, 1, 0.1)
    _, features = compiled(paid, cap=2048)
    windows = features.entities[0]
    records = [record_of(windows, (0, shop)) for shop in range(1 + NEIGHBOURS)]
    hot, *beside = [record for record in records if record]
    assert len(beside) == NEIGHBOURS
    assert hot.panes and hot.packed <= most_bytes(windows.plan)
    kept = sum(each.shop == HOT and each.time > paid[-1].time - 9 * DAY for each in paid)
    assert kept <= sum(each.events for each in hot.held) <= 1.01 * kept
    assert not any(record.panes for record in beside)


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.floats(0, 1), st.integers(12, 64))
def test_a_full_ring_has_room_again_whatever_its_panes(seed: int, burst: float, cap: int) -> None:
    _, features = compiled(payments(1500, seed, burst), cap=cap)
    record = record_of(features.entities[0], (0, HOT))
    assert record and len(record.held) <= cap


def test_a_cap_that_leaves_no_room_between_the_windows_is_refused() -> None:
    with pytest.raises(ConfigError, match="shop: wanted a cap of at least 12 events"):
        compile_plan(EVENT, FEATURES, lateness_us=LATENESS, cap=11)


@settings(max_examples=10)
@given(st.integers(0, 2**32), st.floats(0, 1), st.integers(1, 700))
def test_neighbours_of_a_hot_key_have_the_features_they_would_have_without_it(
    seed: int, burst: float, batch: int
) -> None:
    paid = payments(3000, seed, burst)
    beside = [each for each in paid if each.shop != HOT]
    alone, _ = compiled(beside, cap=256)
    together, _ = compiled(paid, cap=256, batch=batch)
    assert {ident: together[ident] for ident in alone} == alone


def most_bytes(plan: EntityPlan) -> int:
    """Of a packed record."""
    shape = [int(word) for word in plan.shape]
    return 8 * (PREFIX + shape[HEAD] - 2 + shape[CAP] * shape[STRIDE])


@dataclass
class Counting(MemoryStore):
    """A store that counts what is written, by key."""

    entries: dict[bytes, bytes] = field(default_factory=dict)
    written: Counter[bytes] = field(default_factory=Counter)
    times: Counter[bytes] = field(default_factory=Counter)

    def put_all(self, entries: Mapping[bytes, bytes]) -> None:
        super().put_all(entries)
        self.written.update({key: len(value) for key, value in entries.items()})
        self.times.update(list(entries))


@pytest.mark.parametrize("batch", [50, 400])
def test_what_a_batch_writes_is_bounded_by_its_keys_however_hot_one_is(batch: int) -> None:
    plan = compile_plan(EVENT, FEATURES, lateness_us=LATENESS, cap=256).entities[0]
    written = {}
    for hot in (True, False):
        paid = payments(6000, 3, 0.2)
        store, windows = carried(plan)
        for first in range(0, len(paid), batch):
            # The same batches, with and without the hot key's payments in them.
            part = [each for each in paid[first : first + batch] if hot or each.shop != HOT]
            store.written.clear()
            store.times.clear()
            windows.take(rows(part))
            keys = {np.array([0, each.shop]).tobytes() for each in part}
            assert store.times == dict.fromkeys(keys, 1)
            assert max(store.written.values(), default=0) <= most_bytes(plan)
            for key, count in store.written.items():
                written[hot, first, key] = count
    without = {(first, key): count for (hot, first, key), count in written.items() if not hot}
    beside = {(first, key): written[True, first, key] for first, key in without}
    assert beside == without
    assert max(written.values()) > most_bytes(plan) // 2


def carried(plan: EntityPlan) -> tuple[Counting, LaneWindows]:
    """The windows of a task that owns one lane, and the lane's store."""
    store = Counting()
    return store, LaneWindows(plan, 0, chain([]), lambda _: store, 1, 1 << 30)


def rows(paid: list[Paid]) -> Admitted:
    """Payments as they come from the index."""
    times = np.array([each.time for each in paid], np.int64)
    return replace(
        rows_of(list(range(len(paid)))),
        time=times,
        when=times,
        ident=np.array([each.ident for each in paid], np.int64),
        keys=np.array([[(0, each.shop)] for each in paid], np.int64).reshape(-1, 1, 2),
        numbers=np.array([[each.amount] for each in paid], np.int64).reshape(-1, 1),
        features=np.zeros((len(paid), len(FEATURES))),
    )
