"""Windows against brute force: any arrival order, any cut, labels before and after, equal times,
late events."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.features import Entity, Feature, difference, night, ratio, value, weekend
from operators.featurize import Features
from operators.plan import compile_plan
from streams.errors import ConfigError
from streams.schema import DAY, Category, Event, Label, Number

EVENT = Event(
    "purchase",
    keys=("customer", "terminal"),
    label=Label("fraud", maturity="7d"),
    numbers=(Number("amount", scale=2, maximum=1000), Number("tip", scale=2, required=False)),
    categories=(Category("channel"),),
)
CUSTOMER, TERMINAL = Entity("customer"), Entity("terminal")
FEATURES: dict[str, Feature] = {
    "amount": value("amount"),
    "count": CUSTOMER.count("2d"),
    "mean": CUSTOMER.mean("amount", "2d"),
    "tip_mean": CUSTOMER.mean("tip", "5d"),
    "std": CUSTOMER.std("amount", "5d"),
    "past_mean": CUSTOMER.past_mean("amount", "5d"),
    "least": CUSTOMER.minimum("amount", "2d"),
    "most": CUSTOMER.maximum("amount", "5d", "1d"),
    "terminals": CUSTOMER.distinct("terminal", "5d"),
    "seen": CUSTOMER.seen("channel", "5d"),
    "since": CUSTOMER.since_last("5d"),
    "since_third": CUSTOMER.since_last("5d", 3),
    "lag": CUSTOMER.lag("tip", "9d", 2),
    "same": CUSTOMER.same("terminal", "9d"),
    "same_third": TERMINAL.same("tip", "5d", 3),
    "risk_count": TERMINAL.count("3d", "7d"),
    "risk": TERMINAL.share("3d", delay="7d", empty=0.0),
    "positives": TERMINAL.positives("3d"),
    "run": TERMINAL.run("age", "9d"),
    "length": TERMINAL.run("length", "9d"),
    "gap": TERMINAL.run("gap", "9d"),
    "lowest": TERMINAL.run("least", "9d", "amount"),
    "since_negative": TERMINAL.run("since_negative", "9d"),
    "since_positive": CUSTOMER.since_positive("9d"),
    "clean_mean": CUSTOMER.clean_mean("amount", "12d", enough=2),
    "clean_ratio": CUSTOMER.clean_ratio("amount", "12d", enough=2),
    "clean_zscore": CUSTOMER.clean_zscore("amount", "12d", enough=2),
    "largest": CUSTOMER.largest_clean_ratio("amount", within="3d", last="12d", enough=2),
    "excess": CUSTOMER.clean_excess("amount", within="3d", last="12d", above=1.5, enough=2),
}
HOUR = DAY // 24
LATENESS = 20 * DAY


@dataclass(frozen=True)
class Bought:
    """One purchase, and what is said of it later."""

    ident: int
    time: int
    customer: int
    terminal: int
    amount: int
    tip: int | None
    channel: int
    fraud: bool
    label_delay: int


purchases = st.lists(
    st.builds(
        Bought,
        ident=st.integers(0, 10**6) | st.integers(2**62, 2**63 - 1),
        time=st.integers(0, 15 * 8).map(lambda step: 200 * DAY + step * 3 * HOUR),
        customer=st.integers(0, 1),
        terminal=st.integers(0, 2),
        amount=st.integers(0, 100_000),
        tip=st.none() | st.integers(0, 500),
        channel=st.integers(0, 2),
        fraud=st.booleans(),
        label_delay=st.integers(1, 10 * 8).map(lambda step: step * 3 * HOUR),
    ),
    max_size=40,
    unique_by=lambda purchase: purchase.ident,
)
Step = tuple[str, Bought]


def sorted_steps(bought: list[Bought]) -> list[Step]:
    """Events and labels by time; a label before an event of the same time."""
    labels = [((b.time + b.label_delay, 0, b.ident), ("label", b)) for b in bought if b.fraud]
    events = [((b.time, 1, b.ident), ("event", b)) for b in bought]
    return [step for _, step in sorted(labels + events, key=lambda pair: pair[0])]


def run(
    steps: list[Step],
    cuts: list[int],
    features: Features | None = None,
    cap: int = 64,
    declared: Mapping[str, Feature] = FEATURES,
    lateness: int = LATENESS,
) -> tuple[dict[int, list[float]], Features]:
    """Features by id, the steps handed over in the pieces that the cuts make."""
    plan = compile_plan(EVENT, declared, lateness_us=lateness, cap=cap)
    features = features or Features(plan, EVENT.keys)
    out: dict[int, list[float]] = {}
    edges = [0, *sorted({min(cut, len(steps)) for cut in cuts}), len(steps)]
    for start, stop in pairwise(edges):
        part = steps[start:stop]
        is_event = np.array([kind == "event" for kind, _ in part], bool)
        bought = [b for _, b in part]
        columns = SimpleNamespace(
            numbers=np.array(
                [[b.amount, -(2**63) if b.tip is None else b.tip] for b in bought], np.int64
            ).reshape(-1, 2),
            categories=np.array([[b.channel] for b in bought], np.int64).reshape(-1, 1),
        )
        lines = features.update(
            columns,  # type: ignore[arg-type]
            np.where(is_event, np.cumsum(is_event) - 1, -1),
            np.array([b.time for b in bought], np.int64),
            np.array([[(0, b.customer), (0, b.terminal)] for b in bought], np.int64).reshape(
                -1, 2, 2
            ),
            np.array([b.ident for b in bought], np.int64),
            np.array([b.time + b.label_delay for b in bought], np.int64),
            np.where(is_event, -1, 1).astype(np.int8),
            int(is_event.sum()),
        )
        for b, line in zip(
            [b for b, e in zip(bought, is_event, strict=True) if e], lines, strict=True
        ):
            out[b.ident] = line[: len(plan.names)].tolist()
    return out, features


def expected(b: Bought, seen: list[Bought], known: list[Bought]) -> dict[str, float]:
    """What the features of a purchase are, from everything it may know."""
    past = [o for o in seen if (o.time, o.ident) <= (b.time, b.ident)]
    mine = [o for o in past if o.customer == b.customer]
    here = [o for o in past if o.terminal == b.terminal]
    labelled = {o.ident for o in known if o.time + o.label_delay <= b.time}

    def within(events: list[Bought], last: float, delay: float = 0) -> list[Bought]:
        return [o for o in events if b.time - (delay + last) * DAY < o.time <= b.time - delay * DAY]

    def mean(values: list[float]) -> float:
        return sum(values) / len(values) if values else math.nan

    amounts = [o.amount / 100 for o in within(mine, 5)]
    before = [o.amount / 100 for o in within(mine, 5) if o is not b]
    middle = mean(amounts)
    risky = within(here, 3, 7)
    delayed = [o.amount / 100 for o in within(mine, 5, 1)]

    def lag(events: list[Bought], n: int, last: int) -> Bought | None:
        recent = within(sorted(events, key=lambda o: (o.time, o.ident)), last)
        return recent[-1 - n] if len(recent) > n else None

    def since(then: Bought | None) -> float:
        return days(then) if then else math.nan

    second, same, third = lag(mine, 2, 9), lag(mine, 1, 9), lag(here, 3, 5)
    both = third is not None and None not in {third.tip, b.tip}

    def status(o: Bought) -> int:
        return 1 if o.ident in labelled else 0 if o.time <= b.time - 7 * DAY else -1

    def days(earlier: Bought) -> float:
        return (b.time - earlier.time) / DAY

    history = sorted((o for o in within(here, 9) if o is not b), key=lambda o: (o.time, o.ident))
    negative = next((i for i in reversed(range(len(history))) if status(history[i]) == 0), -1)
    row = [o for o in history[negative + 1 :] if status(o) == 1]
    frauds = [o for o in within(mine, 9) if o is not b and status(o) == 1]
    past = [o for o in within(mine, 12) if o is not b and status(o) != 1]
    matured = [o for o in past if status(o) == 0]
    clean = [o.amount / 100 for o in (matured if len(matured) >= 2 else past)]
    base = mean(clean)
    sd = math.sqrt(sum((x - base) ** 2 for x in clean) / len(clean)) if clean else 0.0
    sd = 0.0 if len(set(clean)) < 2 else sd
    week = [o.amount / 100 for o in within(mine, 3) if o is not b]
    use = clean and base > 0
    return {
        "amount": b.amount / 100,
        "count": len(within(mine, 2)),
        "mean": mean([o.amount / 100 for o in within(mine, 2)]),
        "tip_mean": mean([o.tip / 100 for o in within(mine, 5) if o.tip is not None]),
        "std": math.sqrt(sum((x - middle) ** 2 for x in amounts) / (len(amounts) - 1))
        if len(amounts) > 1
        else math.nan,
        "past_mean": mean(before),
        "least": min(o.amount / 100 for o in within(mine, 2)),
        "most": max(delayed, default=math.nan),
        "terminals": len({o.terminal for o in within(mine, 5)}),
        "seen": sum(o.channel == b.channel for o in within(mine, 5) if o is not b),
        "since": since(lag(mine, 1, 5)),
        "since_third": since(lag(mine, 3, 5)),
        "lag": second.tip / 100 if second and second.tip is not None else math.nan,
        "same": float(same.terminal == b.terminal) if same else math.nan,
        "same_third": float(third.tip == b.tip) if third and both else math.nan,
        "risk_count": len(risky),
        "risk": sum(o.ident in labelled for o in risky) / len(risky) if risky else 0.0,
        "positives": sum(o.ident in labelled for o in within(here, 3)),
        "run": days(row[0]) if row else math.nan,
        "length": len(row) if row or negative >= 0 else math.nan,
        "gap": (row[0].time - history[negative].time) / DAY if row and negative >= 0 else math.nan,
        "lowest": min(o.amount for o in row) / 100 if row else math.nan,
        "since_negative": days(history[negative]) if negative >= 0 else math.nan,
        "since_positive": min(map(days, frauds), default=math.nan),
        "clean_mean": base,
        "clean_ratio": b.amount / 100 / base if use else math.nan,
        "clean_zscore": (b.amount / 100 - base) / sd if sd and len(clean) >= 2 else math.nan,
        "largest": max(week) / base if use and week else math.nan,
        "excess": sum(max(0, x - 1.5 * base) for x in week) / base if use else math.nan,
    }


def assert_features(got: list[float], want: dict[str, float]) -> None:
    """Counts, sums and times to the bit; means and deviations to what a float division leaves."""
    for (name, right), left in zip(want.items(), got, strict=True):
        assert left == pytest.approx(right, rel=1e-12, abs=1e-9, nan_ok=True), name


@given(purchases, st.lists(st.integers(0, 80), max_size=4))
def test_a_sorted_stream_gives_the_brute_force_features(
    bought: list[Bought], cuts: list[int]
) -> None:
    got, _ = run(sorted_steps(bought), cuts)
    for b in bought:
        known = [o for o in bought if o.fraud and (o.time, o.ident) <= (b.time, b.ident)]
        assert_features(got[b.ident], expected(b, bought, known))


@given(purchases, st.randoms(use_true_random=False), st.lists(st.integers(0, 80), max_size=4))
def test_in_any_arrival_order_a_prediction_sees_exactly_what_came_before_it(
    bought: list[Bought], random: Random, cuts: list[int]
) -> None:
    events: list[Step] = [("event", b) for b in bought]
    random.shuffle(events)
    steps: list[Step] = []
    for position, step in enumerate(events):
        steps.append(step)
        earlier = [b for _, b in events[: position + 1] if b.fraud and ("label", b) not in steps]
        steps.extend(("label", b) for b in earlier if random.random() < 0.3)
    got, _ = run(steps, cuts)
    for b in bought:
        upto = steps[: steps.index(("event", b)) + 1]
        seen = [o for kind, o in upto if kind == "event"]
        known = [o for kind, o in upto if kind == "label"]
        assert_features(got[b.ident], expected(b, seen, known))


@given(purchases, st.randoms(use_true_random=False))
def test_the_state_is_the_same_for_every_arrival_order(
    bought: list[Bought], random: Random
) -> None:
    steps = sorted_steps(bought)
    shuffled: list[Step] = [("event", b) for b in bought]
    random.shuffle(shuffled)
    shuffled += [step for step in steps if step[0] == "label"]
    probes = [
        ("event", Bought(2_000_000 + i, 300 * DAY - 80 * DAY, i % 2, i % 3, 100, None, 0, False, 0))
        for i in range(6)
    ]
    ordered, _ = run(steps + probes, [])
    mixed, _ = run(shuffled + probes, [])
    for _, probe in probes:
        np.testing.assert_array_equal(ordered[probe.ident], mixed[probe.ident])


@given(purchases, st.lists(st.integers(0, 80), max_size=6))
def test_any_cut_into_batches_gives_the_same_bits(bought: list[Bought], cuts: list[int]) -> None:
    whole, _ = run(sorted_steps(bought), [])
    pieces, _ = run(sorted_steps(bought), cuts)
    for ident, line in whole.items():
        np.testing.assert_array_equal(line, pieces[ident])


@given(purchases, st.integers(0, 40))
def test_changing_the_future_changes_no_past_prediction(bought: list[Bought], keep: int) -> None:
    steps = sorted_steps(bought)
    whole, _ = run(steps, [])
    part, _ = run(steps[:keep], [])
    for ident, line in part.items():
        np.testing.assert_array_equal(line, whole[ident])


def test_a_key_over_its_cap_stays_within_the_stated_error() -> None:
    start, step = 200 * DAY, DAY // 40
    bought = [
        Bought(i, start + i * step, 0, 0, 1000 + i % 7, None, 0, False, 0) for i in range(2000)
    ]
    exact, _ = run(sorted_steps(bought), [], cap=4000)
    bounded, features = run(sorted_steps(bought), [], cap=160)
    names = list(FEATURES)
    count = names.index("count")
    for b in bought[500:]:
        slack = 2 * DAY / 256 / step + 4
        assert abs(exact[b.ident][count] - bounded[b.ident][count]) <= slack
    assert features.entities[0].arena.classes[-1].tolist()[0] == 160
    assert features.entities[0].arena.keys == 1


def test_the_last_events_are_told_apart_in_a_key_over_its_cap() -> None:
    lags = {f"lag {n}": CUSTOMER.lag("amount", "90d", n) for n in (1, 5, 11)}
    bought = [Bought(i, (200 + i) * HOUR, 0, 0, i, None, 0, False, 0) for i in range(300)]
    got, _ = run(sorted_steps(bought), [], cap=24, declared=lags)
    for i in range(11, 300):
        assert got[i] == pytest.approx([(i - n) / 100 for n in (1, 5, 11)], rel=1e-15)
    with pytest.raises(ConfigError, match="at least 26 events"):
        run([], [], cap=24, declared={"lag": CUSTOMER.lag("amount", "90d", 12)})


def test_an_event_that_is_merged_with_others_has_no_lagged_value() -> None:
    declared = {"lag": CUSTOMER.lag("amount", "90d"), "same": CUSTOMER.same("channel", "90d")}
    bought = [Bought(2 * i, (200 + i) * HOUR, 0, 0, 5, None, 0, False, 0) for i in range(300)]
    late = Bought(401, 250 * HOUR, 0, 0, 5, None, 0, False, 0)
    got, _ = run([*sorted_steps(bought), ("event", late)], [], cap=24, declared=declared)
    assert np.isnan(got[401]).all()


def test_a_lag_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        CUSTOMER.lag("amount", "1d", 0)
    with pytest.raises(ConfigError, match="no field 'channel'"):
        compile_plan(EVENT, {"lag": CUSTOMER.lag("channel", "1d")}, lateness_us=0, cap=64)


def test_keys_that_nothing_can_see_are_forgotten_and_their_memory_reused() -> None:
    features = None
    sizes = []
    for generation in range(12):
        start = (200 + generation * 60) * DAY
        bought = [
            Bought(
                generation * 10_000 + i,
                start + i,
                generation * 1000 + i % 500,
                0,
                5,
                None,
                0,
                False,
                0,
            )
            for i in range(1500)
        ]
        _, features = run(sorted_steps(bought), [], features)
        sizes.append((features.entities[0].arena.keys, features.entities[0].arena.nbytes))
    assert sizes[-1][0] <= 1500
    assert sizes[-1][1] == sizes[2][1]


def test_a_key_that_nothing_can_see_is_forgotten_whether_it_was_swept_or_not() -> None:
    def bought(ident: int, day: int, customer: int) -> Step:
        time = (200 + day) * DAY
        return "event", Bought(ident, time, customer, customer, 100, None, 0, False, DAY)

    known = [bought(1, 0, 0), bought(2, 0, 1), bought(3, 40, 1)]
    values, _ = run([*known, bought(4, 1, 0), bought(5, 2, 0)], [])
    assert [values[ident][1] for ident in (3, 4, 5)] == [1, 1, 1]


def test_derived_features_read_the_features_they_name() -> None:
    mean = CUSTOMER.mean("amount", "2d")
    features = {"r": ratio(value("amount"), mean), "d": difference(value("amount"), mean)}
    plan = compile_plan(EVENT, features, lateness_us=0, cap=64)
    assert plan.names == ("r", "d")
    assert [str(f) for f in plan.columns[2:]] == ["value(amount)", "customer.mean(amount, 2d)"]


def test_a_feature_on_a_field_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="feature m: no field 'price'"):
        compile_plan(EVENT, {"m": CUSTOMER.mean("price", "1d")}, lateness_us=0, cap=64)


def test_squares_that_could_overflow_are_refused_at_compile_time() -> None:
    event = Event("x", ("k",), Label("y"), (Number("v", scale=6, maximum=10**6),))
    with pytest.raises(ConfigError, match="could overflow 63 bits"):
        compile_plan(event, {"s": Entity("k").std("v", "1d")}, lateness_us=0, cap=4096)


def test_weekend_and_night_follow_utc() -> None:
    saturday_six = 1_524_895_199 * 10**6 + 999_999  # 2018-04-28 05:59:59.999999
    plan = compile_plan(
        EVENT, {"w": weekend(), "n": night(), "c": CUSTOMER.count("1d")}, lateness_us=0, cap=64
    )
    features = Features(plan, EVENT.keys)
    columns = SimpleNamespace(
        numbers=np.zeros((2, 2), np.int64), categories=np.zeros((2, 1), np.int64)
    )
    when = np.array([saturday_six, saturday_six + 2 * 3_600_000_000], np.int64)
    none = np.full(2, -1, np.int8)
    lines = features.update(
        columns,  # type: ignore[arg-type]
        np.array([0, 1]), when, np.zeros((2, 2, 2), np.int64), np.array([1, 2]), when, none, 2,
    )  # fmt: skip
    assert lines[:, :2].tolist() == [[1.0, 1.0], [1.0, 0.0]]
