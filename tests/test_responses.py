"""What is done about alarms, and that it is the same however the stream is cut and kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from io import StringIO
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from jobs.promotion.catalogue import Catalogue
from jobs.promotion.view import listing, page
from models.base import Model
from models.baselines import Prior
from models.decisions import Decisions
from models.forest import Forest
from models.manifest import Manifest
from models.shifted import Shifted
from operators.drift.responses import (
    CorrectPrior,
    Declared,
    Every,
    Fork,
    On,
    RaiseRate,
    Reset,
    Retrain,
    RollBack,
    Start,
    Tell,
)
from operators.drift.responsive import Responsive
from streams.errors import ConfigError
from streams.schema import DAY
from tests.driven import (
    A_DAY,
    CHANGE,
    EVERY,
    LINEAR,
    NAMES,
    RAISED,
    Alarms,
    alarm,
    bits,
    drive,
    lineup_of,
    loss,
    plain,
    said,
    stream,
)

BACK: Alarms = {CHANGE + 1: [alarm()], CHANGE + 3: [alarm(over=True)]}
PRIOR: Alarms = {7: [alarm("prior", before=0.1, low=0.2, high=0.3)], 9: [alarm("prior", over=True)]}
CASES: dict[str, tuple[tuple[Declared, ...], Alarms]] = {
    "raise the rate": ((On("concept", RaiseRate(lasting="2d")),), RAISED),
    "reset": ((On("concept", Reset(recent=90)),), RAISED),
    "fork": ((On("concept", Fork("other", times=8, odds=2)),), RAISED),
    "start": ((On("concept", Start("other", recent=150, odds=2)),), RAISED),
    "correct the prior": ((On("prior", CorrectPrior()),), PRIOR),
    "roll back": ((On(["concept"], RollBack(keep=4)),), BACK),
    "again and again": ((Every(time="3d", do=Reset(recent=50, model="other")),), {}),
    "all at once": (
        (
            On("concept", Fork("other", times=8, odds=2)),
            On("concept", RaiseRate(times=2, lasting="3d")),
            On("prior", CorrectPrior()),
            On(("concept", "prior"), RollBack(lasting="2d", keep=3)),
            Every(examples=350, do=Tell()),
        ),
        {7: [alarm(), alarm("prior", 2, before=0.1, low=0.2, high=0.3)], 10: [alarm("concept", 3)]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_any_cut_and_any_restart_give_the_same_bits(case: str) -> None:
    responses, alarms = CASES[case]
    whole = drive(lambda: lineup_of(responses), alarms)
    assert whole.done
    for cut, restart in ((7, None), (1, 7), (33, 8), (100, 9), (100, 10)):
        again = drive(lambda: lineup_of(responses), alarms, cut=cut, restart=restart)
        assert bits(again) == bits(whole), (cut, restart)


def test_telling_does_nothing() -> None:
    told = drive(lambda: lineup_of([On("concept", Tell())]), RAISED)
    assert said(told) == [(7, "champion", "told", False)]
    assert told.done[0].alarms == (1,)
    own = {name: part for name, part in told.lineup.state().items() if not name.startswith("/")}
    state = plain().lineup.state()
    assert own.keys() == state.keys()
    assert all(np.array_equal(own[name], state[name]) for name in own)


def test_a_raised_rate_learns_the_change_sooner_and_ends() -> None:
    raised = drive(lambda: lineup_of([On("concept", RaiseRate(times=4, lasting="3d"))]), RAISED)
    assert said(raised) == [
        (7, "champion", "learns 4 times as fast", False),
        (10, "champion", "learns 4 times as fast (alarm 1)", True),
    ]
    assert raised.done[0].until_us == 12 * DAY
    assert [float(state["champion/learner/pace"][0]) for state in raised.days[6:11]] == [
        1, 4, 4, 4, 1,
    ]  # fmt: skip
    assert loss(raised, range(8, 11)) < 0.9 * loss(plain(), range(8, 11))


def test_what_is_raised_again_lasts_on_and_what_is_over_ends() -> None:
    responses = [On("concept", RaiseRate(times=4, lasting="3d"))]
    again = drive(lambda: lineup_of(responses), {7: [alarm()], 9: [alarm(number=2)]})
    assert [(day, over) for day, *_, over in said(again)] == [(7, False), (9, False)]
    ended = drive(lambda: lineup_of(responses), {7: [alarm()], 8: [alarm(over=True)]})
    assert [(day, over) for day, *_, over in said(ended)] == [(7, False), (8, True)]
    never = drive(lambda: lineup_of(responses), {7: [alarm(), alarm(over=True)]})
    assert not never.done


def test_a_reset_leaves_what_the_latest_examples_teach() -> None:
    reset = drive(lambda: lineup_of([On("concept", Reset(recent=60))]), RAISED)
    assert said(reset) == [(7, "champion", "begins anew with 60 examples", False)]
    x, y = stream()
    alone = LINEAR.bind(NAMES)
    alone.learn_many(x[740:800], y[740:800], np.ones(60))
    for name, part in alone.state().items():
        assert np.array_equal(reset.days[7][f"champion/learner/{name}"], part), name
    for name, part in alone.version().tensors().items():
        assert np.array_equal(reset.days[7][f"champion/version/{name}"], part), name


def test_what_begins_anew_learns_what_came_since_the_change_alone() -> None:
    late = {CHANGE + 2: [alarm()]}
    reset = drive(lambda: lineup_of([On("concept", Reset(recent=900))]), late)
    # Things are different since the end of day 5; by the end of day 8 three days have come.
    assert [what for _, _, what, _ in said(reset)] == ["begins anew with 300 examples"]


@pytest.mark.parametrize(
    ("on", "done"),
    [
        (On("concept", Tell()), 1),
        (On("concept", Tell(), detector="a test"), 1),
        (On("concept", Tell(), detector="another"), 0),
        (On("concept", Tell(), slice="night"), 0),
        (On("prior", Tell()), 0),
    ],
)
def test_a_response_goes_by_its_own_alarms(on: On, done: int) -> None:
    assert len(drive(lambda: lineup_of([on]), RAISED).done) == done


def test_a_fork_goes_on_from_the_champion_and_the_champion_from_a_better_fork() -> None:
    forked = drive(lambda: lineup_of([On("concept", Fork("other", times=8, odds=2))]), RAISED)
    assert said(forked)[:2] == [
        (7, "other", "goes on from the champion, 8 times as fast", False),
        (8, "champion", "goes on from other", False),
    ]
    figures = forked.done[1].figures
    assert figures["log_odds"] >= math.log(2)
    assert figures["examples"] == A_DAY
    for name in ("weights", "table"):
        mine, theirs = (forked.days[8][f"{who}/learner/{name}"] for who in ("champion", "other"))
        assert np.array_equal(mine, theirs)
    assert float(forked.days[8]["champion/learner/pace"][0]) == 1
    assert loss(forked, range(9, 12)) < loss(plain(), range(9, 12))


def test_a_fork_that_is_no_better_ends_and_changes_nothing() -> None:
    responses = [On("concept", Fork("other", times=8, odds=1e300, lasting="2d"))]
    forked = drive(lambda: lineup_of(responses), RAISED)
    assert [(day, model, over) for day, model, _, over in said(forked)] == [
        (7, "other", False), (9, "other", True),
    ]  # fmt: skip
    for day, scores in enumerate(plain().scores):
        if day < 8:
            assert np.array_equal(forked.scores[day], scores)
    learnt = plain().lineup.state()
    for name, part in forked.lineup.state().items():
        if name.startswith("champion/learner/"):
            assert np.array_equal(part, learnt[name]), name


def test_a_trial_begins_anew_with_another_alarm() -> None:
    responses = [On("concept", Fork("other", times=8, odds=1e300, lasting="3d"))]
    again = drive(lambda: lineup_of(responses), {4: [alarm()], 6: [alarm(number=2)]})
    assert [(day, over) for day, *_, over in said(again)] == [(4, False), (6, False), (9, True)]
    champion, other = (again.days[6][f"{who}/learner/weights"] for who in ("champion", "other"))
    assert np.array_equal(champion, other)


def test_a_challenger_starts_from_the_latest_examples() -> None:
    started = drive(lambda: lineup_of([On("concept", Start("other", recent=150, odds=2))]), RAISED)
    assert said(started)[0] == (7, "other", "begins anew with 150 examples", False)
    assert said(started)[1][1:] == ("champion", "goes on from other", False)


def test_scores_move_with_the_share_that_an_alarm_tells_of_until_it_is_over() -> None:
    moved = drive(lambda: lineup_of([On("prior", CorrectPrior())]), PRIOR)
    shift = math.log(0.2 / 0.8) - math.log(0.1 / 0.9)
    what = f"log-odds moved by {shift:+.3f}"
    assert said(moved) == [
        (7, "champion", what, False),
        (9, "champion", f"{what} (alarm 1)", True),
    ]
    lineup = lineup_of([On("prior", CorrectPrior())])
    lineup.load(moved.days[8])
    version = lineup.versions[0]
    assert isinstance(version, Shifted)
    x, _ = stream()
    before, now = version.version.predict_many(x), version.predict_many(x)
    np.testing.assert_allclose(np.log(now / (1 - now)) - np.log(before / (1 - before)), shift)
    assert (now >= version.threshold).sum() == (before >= version.version.threshold).sum()
    assert not isinstance(moved.lineup.versions[0], Shifted)
    assert [each.response for each in lineup.made()] == [f"{what} (alarm 1)", ""]


@pytest.mark.parametrize(
    ("low", "high", "moved"), [(0.9, 1.0, math.log(3)), (0.0, 0.0, -math.log(3))]
)
def test_a_share_is_believed_within_bounds(low: float, high: float, moved: float) -> None:
    alarms = {7: [alarm("prior", before=0.1, low=low, high=high)]}
    driven = drive(lambda: lineup_of([On("prior", CorrectPrior(most=3))]), alarms)
    assert driven.done[0].figures["shift"] == moved


@pytest.mark.parametrize(
    "evidence",
    [{}, {"before": 0.1, "now": 0.2}, {"before": 0.1, "low": 0.0, "high": 1.0}],
    ids=["none", "by labels", "unsure"],
)
def test_what_is_not_sure_without_labels_moves_nothing(evidence: dict[str, float]) -> None:
    alarms = {7: [alarm("prior", 1, over=False, **evidence)]}
    driven = drive(lambda: lineup_of([On("prior", CorrectPrior())]), alarms)
    what = "no other share is sure without labels"
    assert said(driven) == [(7, "champion", what, False)]
    assert not isinstance(driven.lineup.versions[0], Shifted)


def test_what_is_rolled_back_scores_as_before_the_change_and_learns_on() -> None:
    back = drive(lambda: lineup_of([On("concept", RollBack(keep=4))]), BACK)
    (number,) = back.done[0].figures.values()
    assert said(back) == [
        (7, "champion", f"back to version {number:.0f}", False),
        (9, "champion", f"back to version {number:.0f} (alarm 1)", True),
    ]
    # The change began at the end of day 5: that day's version is the last from before it.
    for name, part in back.days[5].items():
        if name.startswith("champion/version/"):
            for day in (7, 8):
                assert np.array_equal(back.days[day][name], part), name
    learnt = plain().lineup.state()
    for name, part in back.lineup.state().items():
        if name.startswith("champion/"):
            assert np.array_equal(part, learnt[name]) or name == "champion/course", name


def test_without_a_version_from_before_nothing_is_rolled_back() -> None:
    late = {11: [alarm()]}
    driven = drive(lambda: lineup_of([On("concept", RollBack(keep=2))]), late)
    assert [what for _, _, what, _ in said(driven)] == ["no version from before is kept"]


def test_what_operators_hold_scores_on_whatever_is_done() -> None:
    x, _ = stream()
    lineup = lineup_of([On("prior", CorrectPrior())])
    lineup.learn(x[:EVERY], np.ones(EVERY, np.int8), np.arange(EVERY))
    lineup.advance()
    lineup.hold(0, lineup.number, lineup.versions[0])
    held = lineup.champion.predict_many(x)
    lineup.act(DAY, [alarm("prior", before=0.1, low=0.2, high=0.3)])
    assert np.array_equal(lineup.champion.predict_many(x), held)
    assert not np.array_equal(lineup.versions[0].predict_many(x), held)
    lineup.follow(1)
    assert lineup.number == lineup.sequence + 1


def test_a_list_of_versions_says_what_came_of_a_response() -> None:
    versions = {
        number: Manifest(
            sequence=number, name="champion", pipeline="9f3a", examples=9, response=response
        )
        for number, response in ((2, ""), (4, "learns 4 times as fast (alarm 1)"))
    }
    decisions = Decisions("9f3a")
    catalogue = Catalogue("here", "9f3a", ("champion",), (), versions, frozenset({4}), decisions)
    console = Console(width=160, record=True, file=StringIO())
    for each in listing(catalogue, 0):
        console.print(each)
    head, newest, older = console.export_text().splitlines()[:3]
    assert head.split()[-2:] == ["came", "of"]
    assert newest.endswith("learns 4 times as fast (alarm 1)")
    assert "alarm" not in older
    assert "response                    learns 4 times as fast (alarm 1)" in page(
        versions[4], catalogue
    )


def test_what_is_done_again_and_again_is_done_by_time_or_by_examples() -> None:
    by_time = drive(lambda: lineup_of([Every(time="3d", do=Tell())]), {})
    assert [day for day, *_ in said(by_time)] == [3, 6, 9]
    by_count = drive(lambda: lineup_of([Every(examples=350, do=Tell())]), {})
    assert [day for day, *_ in said(by_count)] == [4, 8]


def test_a_batch_model_is_made_anew() -> None:
    pytest.importorskip("lightgbm")
    from models.boosted import Boosted

    boosted = Boosted(rounds=5, leaves=4, after=10_000, latest=400, past=0)
    models: dict[str, Model] = {"champion": LINEAR, "boosted": boosted}

    def make() -> Responsive:
        responses = [On("performance", Retrain("boosted"))]
        return Responsive(models, NAMES, responses=responses, every=EVERY, contenders=2)

    driven = drive(make, {7: [alarm("performance")]})
    assert said(driven) == [(7, "boosted", "is made anew", False)]
    x, _ = stream()
    assert np.ptp(driven.lineup.versions[1].predict_many(x)) > 0.1
    again = drive(make, {7: [alarm("performance")]}, cut=13, restart=7)
    assert bits(again) == bits(driven)


def test_a_changed_pipeline_numbers_its_responses_on() -> None:
    driven = drive(lambda: lineup_of([On("concept", RaiseRate())]), RAISED)
    other = lineup_of([On("concept", Tell())])
    assert other.carry_on(driven.lineup.state(), ["champion", "other", "prior"], 0) == []
    assert float(other.state()["champion/learner/pace"][0]) == 1
    assert other.act(99 * DAY, [alarm()])[0].number == driven.done[-1].number + 1


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "kind": (lambda: On("weather", Tell()), "wanted kinds of alarms among covariate"),
    "no kind": (lambda: On((), Tell()), "got none"),
    "time": (lambda: RaiseRate(lasting="soon"), "lasting: a duration is a whole number"),
    "no time": (lambda: CorrectPrior(lasting="0d"), "more than no time"),
    "rate": (lambda: RaiseRate(times=0), "times above 0"),
    "odds": (lambda: Fork("other", odds=0.5), "odds of at least 1"),
    "every": (lambda: Every(do=Tell()), "a time or a number"),
    "both": (lambda: Every(do=Tell(), time="1d", examples=3), "a time or a number"),
    "recent": (lambda: Reset(recent=-1), "at least 0"),
    "model": (lambda: lineup_of([On("concept", Reset(model="x"))]), "among champion, other"),
    "baseline": (lambda: lineup_of([On("concept", Reset(model="prior"))]), "got 'prior'"),
    "no batch": (lambda: lineup_of([On("concept", Retrain("other"))]), "event by event"),
    "itself": (lambda: lineup_of([On("concept", Fork("champion"))]), "declared as the champion"),
    "cause": (lambda: lineup_of([Every(time="1d", do=RollBack())]), "what has changed"),
    "no rate": (
        lambda: Responsive(
            {"champion": Prior()}, NAMES, responses=[On("concept", RaiseRate())], every=9
        ),
        "a Prior, which has no rate to change",
    ),
    "unlike": (
        lambda: Responsive(
            {"champion": LINEAR, "other": Forest()}, NAMES,
            responses=[On("concept", Start("other"))], every=9, contenders=2,
        ),
        "other is not",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_done_is_refused_with_a_line(case: str) -> None:
    make, line = WRONG[case]
    with pytest.raises(ConfigError, match=line):
        make()
