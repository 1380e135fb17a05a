"""Key records of other features, made what these features would have had them be."""

from __future__ import annotations

from random import Random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.arena import AT
from operators.features import Entity, Feature
from operators.featurize import Features
from operators.keyrecords import clock, pack, set_clock, unpack
from operators.migration import Migration, RecordLayout
from operators.plan import compile_plan
from operators.ring import LAYOUT
from streams.errors import StateError
from streams.schema import DAY
from tests.test_windows import CUSTOMER, EVENT, TERMINAL, Bought, Step, run

OPERATIONS = (
    *("count", "sum", "mean", "std", "past_std", "minimum", "maximum", "distinct", "share"),
    *("positives", "since_last", "lag", "same", "since_first", "since_positive", "run"),
    *("clean_ratio", "clean_zscore", "clean_excess"),
)
Int64s = npt.NDArray[np.int64]
LATE = DAY
seeds = st.integers(0, 2**32)
lasts = st.integers(1, 6).map("{}d".format)
delays = st.sampled_from(["0s", "1d", "3d"])
entities = st.sampled_from([CUSTOMER, TERMINAL])


def _feature(entity: Entity, name: str, field: str, last: str, delay: str) -> Feature:
    match name:
        case "count" | "positives" | "share":
            made: Feature = getattr(entity, name)(last, delay)
        case "since_last" | "since_first" | "since_positive":
            made = getattr(entity, name)(last)
        case "run":
            made = entity.run("age", last)
        case "clean_ratio" | "clean_zscore":
            made = getattr(entity, name)(field, last, enough=2)
        case "clean_excess":
            made = entity.clean_excess(field, "1d", last, enough=2)
        case "past_std" | "distinct" | "lag" | "same":
            made = getattr(entity, name)(field, last)
        case _:
            made = getattr(entity, name)(field, last, delay)
    return made


features = st.builds(
    _feature,
    entities,
    st.sampled_from(OPERATIONS),
    st.sampled_from(["amount", "amount", "tip"]),
    lasts,
    delays,
)
# A long look back, so that what is new is often covered.
wide = st.lists(features, max_size=4).map(
    lambda some: [
        *some,
        *(each.share("6d", delay="3d") for each in (CUSTOMER, TERMINAL)),
        *(each.std(field, "2d") for each in (CUSTOMER, TERMINAL) for field in ("amount", "tip")),
    ]
)
declared = st.lists(features, min_size=1, max_size=5) | wide


def named(some: list[Feature]) -> dict[str, Feature]:
    """The features under names of their own; both entities have one, so that both have records."""
    both = [CUSTOMER.count("1d"), TERMINAL.count("1d")]
    return {f"f{place}": each for place, each in enumerate([*both, *some])}


def records(features: Features) -> dict[str, tuple[RecordLayout, list[Int64s]]]:
    """Layout and packed records of each entity, each record on its own."""
    found = {}
    for each in features.entities:
        slots = np.flatnonzero(each.arena.slots[: each.arena.heads[4], AT] >= 0).tolist()
        packed = [pack(each.arena, each.plan.shape, slot) for slot in slots]
        found[each.plan.key] = RecordLayout.of(each.plan), packed
    return found


def moved(
    old: Features, declared: dict[str, Feature], *, warm_up: bool, cap: int = 64
) -> tuple[Features, dict[str, RecordLayout], list[str]]:
    """What a run of these features goes on with; the layouts then, and what was said."""
    new = Features(compile_plan(EVENT, declared, lateness_us=LATE, cap=cap), EVENT.keys)
    kept, layouts, said = records(old), {}, []
    clocks = {each.plan.key: clock(each.arena) for each in old.entities}
    for each in new.entities:
        key = each.plan.key
        layout, packed = kept[key]
        migration = Migration(layout, each.plan)
        for record in packed:
            unpack(each.arena, each.plan.shape, migration.carry(record))
        layouts[key], lines = migration.finish(clocks[key], warm_up=warm_up)
        said += lines
        set_clock(each.arena, clocks[key])
    return new, layouts, said


def arrived(random: Random, count: int = 120) -> list[Step]:
    """Events of 30 days, as late as may be, and labels some time after them."""
    bought = [
        Bought(
            ident=random.randrange(2**63),
            time=200 * DAY + random.randrange(30 * 8) * (DAY // 8),
            customer=random.randrange(3),
            terminal=random.randrange(3),
            amount=random.randrange(100_000),
            tip=random.choice([None, random.randrange(500)]),
            channel=random.randrange(3),
            fraud=random.random() < 0.3,
            label_delay=random.randrange(1, 8 * 8) * (DAY // 8),
        )
        for _ in range(count)
    ]
    steps: list[Step] = []
    waiting: list[Bought] = []
    for each in sorted(bought, key=lambda one: one.time + random.randrange(LATE)):
        steps.append(("event", each))
        waiting += [each] if each.fraud else []
        while waiting and random.random() < 0.4:
            steps.append(("label", waiting.pop(random.randrange(len(waiting)))))
    return steps


def events_of(steps: list[Step]) -> list[Bought]:
    return [bought for kind, bought in steps if kind == "event"]


@given(seeds, declared, declared, st.integers(20, 80))
def test_after_a_change_features_are_those_of_a_run_that_had_them_from_the_beginning(
    seed: int, before: list[Feature], after: list[Feature], at: int
) -> None:
    steps = arrived(Random(seed))
    _, old = run(steps[:at], [], declared=named(before), lateness=LATE)
    exact = True
    try:
        new, layouts, said = moved(old, named(after), warm_up=False)
        assert not said
    except StateError:
        exact = False
        new, layouts, said = moved(old, named(after), warm_up=True)
        assert said
    got, _ = run(steps[at:], [], new, declared=named(after), lateness=LATE)
    want, _ = run(steps, [], declared=named(after), lateness=LATE)
    plans = compile_plan(EVENT, named(after), lateness_us=LATE, cap=64).entities
    whole = max(layouts[plan.key].since_us + RecordLayout.of(plan).retention_us for plan in plans)
    for each in events_of(steps[at:]):
        if exact or each.time >= whole:
            np.testing.assert_array_equal(got[each.ident], want[each.ident])


def steady(count: int, step: int, first: int = 0) -> list[Step]:
    """Events of one key, `step` apart."""
    return [
        ("event", Bought(i, 200 * DAY + i * step, 0, 0, 1000 + i % 7, None, 0, False, DAY))
        for i in range(first, first + count)
    ]


def of_customer(**features: Feature) -> dict[str, Feature]:
    return {"terminals": TERMINAL.count("9d"), **features}


LONG = of_customer(mean=CUSTOMER.mean("amount", "9d"))


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (CUSTOMER.count("10d"), "they reach back 10d, 11d are wanted"),
        (CUSTOMER.count("8d", delay="2d"), "they reach back 10d, 11d are wanted"),
        (CUSTOMER.sum("tip", "1d"), "they do not hold 'tip', so all begin anew"),
        (CUSTOMER.share("1d"), "they do not hold labels, so all begin anew"),
        (CUSTOMER.run("least", "1d", "tip"), "they do not hold 'tip', labels, so all begin anew"),
    ],
)
def test_what_the_records_lack_is_named_and_wants_a_warm_up(wanted: Feature, why: str) -> None:
    _, old = run(steady(30, DAY), [], declared=LONG, lateness=LATE)
    with pytest.raises(StateError, match=f"key records of 'customer': {why}.*--warm-up"):
        moved(old, of_customer(new=wanted), warm_up=False)
    new, layouts, said = moved(old, of_customer(new=wanted), warm_up=True)
    assert why in said[0]
    # Once it has passed, whoever asks for the same again is told nothing.
    back = 10 * DAY if "reach" in why else 0
    assert layouts["customer"].since_us == (200 + 29) * DAY - back
    assert new.entities[0].arena.keys == (1 if "reach" in why else 0)
    assert not moved(old, of_customer(new=CUSTOMER.past_std("amount", "3d")), warm_up=False)[2]


def test_a_change_while_records_warm_up_is_exact_only_where_they_are_whole() -> None:
    _, old = run(steady(30, DAY), [], declared=LONG, lateness=LATE)
    layout, packed = records(old)["customer"]
    plan = compile_plan(EVENT, {"n": CUSTOMER.count("20d")}, lateness_us=LATE, cap=64)
    first = Migration(layout, plan.entities[0])
    carried = first.carry(packed[0])
    warming, _ = first.finish(0, warm_up=True)
    for last, exact in (("20d", False), ("10d", False), ("9d", True)):
        plan = compile_plan(EVENT, {"n": CUSTOMER.count(last)}, lateness_us=LATE, cap=64)
        second = Migration(warming, plan.entities[0])
        second.carry(carried)
        if exact:
            assert second.finish(0, warm_up=False)[0].since_us == warming.since_us
        else:
            with pytest.raises(StateError, match="still warming up, whole only since 1970-08-0"):
                second.finish(0, warm_up=False)


def test_of_keys_over_the_cap_only_what_old_windows_bound_goes_on_without_a_word() -> None:
    steps = steady(500, DAY // 40)
    windows = of_customer(mean=CUSTOMER.mean("amount", "9d"), count=CUSTOMER.count("2d"))
    _, old = run(steps, [], cap=256, declared=windows, lateness=LATE)
    short = of_customer(count=CUSTOMER.count("2d"), std=CUSTOMER.std("amount", "2d"))
    new, _, said = moved(old, short, warm_up=False, cap=256)
    assert not said
    more = steady(100, DAY // 40, len(steps))
    got, _ = run(more, [], new, declared=short, lateness=LATE)
    want, _ = run(steps + more, [], declared=short, lateness=LATE, cap=4000)
    slack = 2 * 40 / 256 + 4
    assert all(abs(got[ident][1] - want[ident][1]) <= slack for ident in got)
    other = of_customer(count=CUSTOMER.count("8d"))
    with pytest.raises(StateError, match="1 keys over the cap have events merged by old windows"):
        moved(old, other, warm_up=False, cap=256)
    _, layouts, _ = moved(old, other, warm_up=True, cap=256)
    assert layouts["customer"].since_us > (200 + 4) * DAY


def test_records_larger_than_a_new_cap_keep_their_newest_events_and_say_so() -> None:
    steps = steady(60, DAY // 10)
    _, old = run(steps, [], declared=LONG, lateness=LATE)
    with pytest.raises(StateError, match="1 hold more than the new cap of 20 events"):
        moved(old, LONG, warm_up=False, cap=20)
    new, layouts, _ = moved(old, LONG, warm_up=True, cap=20)
    assert layouts["customer"].since_us == 200 * DAY + 39 * (DAY // 10)
    got, _ = run(steady(1, DAY // 10, 60), [], new, declared=of_customer(n=CUSTOMER.count("1d")))
    assert got[60][1] > 0


def test_records_of_a_release_with_other_words_are_refused() -> None:
    plan = compile_plan(EVENT, LONG, lateness_us=LATE, cap=64).entities[0]
    old = RecordLayout.of(plan)
    with pytest.raises(StateError, match=f"wanted words as of layout {LAYOUT}, found 1"):
        Migration(
            RecordLayout(**{n: getattr(old, n) for n in old.__struct_fields__} | {"ring": 1}), plan
        )


def test_where_nothing_has_happened_nothing_is_missing() -> None:
    _, old = run([], [], declared=LONG, lateness=LATE)
    assert not moved(old, of_customer(new=CUSTOMER.share("90d")), warm_up=False)[2]
