"""What is expected of scores, where the champion that gives them learns."""

from __future__ import annotations

import numpy as np
import pytest

from operators.drift.ranking import expected, weighed
from operators.drift.reference import Current, Reference
from operators.drift.shares import chances
from operators.drift.spans import FRAUDS, GENUINE, LOG_ODDS, PLACES, WIDTH, Int64s

DAYS, EVENTS = 40, 10_000


def span(random: np.random.Generator, *, sure: float = 1.0, knows: bool = True) -> Int64s:
    """A day of events: what scores say, `sure` times its log-odds, is so, or is nothing."""
    z = random.normal(-4.0, 1.5, EVENTS)
    told = z if knows else random.permutation(z) + 2.0
    fraud = random.random(EVENTS) < chances(z)
    place = np.searchsorted((LOG_ODDS[1:] + LOG_ODDS[:-1]) / 2, sure * told)
    counts = np.zeros((1, WIDTH), np.int64)
    counts[0, GENUINE] = np.bincount(place[~fraud], minlength=PLACES)
    counts[0, FRAUDS] = np.bincount(place[fraud], minlength=PLACES)
    return counts


def taught(reference: Reference, spans: list[Int64s]) -> Reference:
    for counts in spans:
        reference.add(counts, settled=False)
    return reference


def error(reference: Reference, counts: Int64s) -> float:
    """How far the average precision of a day is from what is expected of it."""
    frauds = counts[0, FRAUDS].astype(np.float64)
    events, curve = frauds + counts[0, GENUINE], reference.curves[0]
    assert curve is not None
    true = weighed(events, frauds, frauds, 0.01)
    return float(abs(expected(events, curve.chance, 0.01) - true)[1])


def learning() -> list[Int64s]:
    """Days of a champion that knows nothing for a week, and then what can be known."""
    random = np.random.default_rng(3)
    return [span(random, knows=day >= 7) for day in range(DAYS)]


def test_a_champion_that_has_learnt_is_not_held_to_what_it_was() -> None:
    *days, last = learning()
    assert error(taught(Current(1, 28.0, 20.0), days), last) < 0.02
    assert error(taught(Reference(1, 28.0, 20.0), days), last) > 0.1


def test_scores_that_are_too_sure_are_not_taken_at_their_word() -> None:
    random = np.random.default_rng(4)
    *days, last = [span(random, sure=1.5) for _ in range(DAYS)]
    own, other = (taught(kind(1, 28.0, 20.0), days) for kind in (Current, Reference))
    assert error(own, last) == error(other, last) < 0.02


@pytest.mark.parametrize("stop", [3, 9, 30])
def test_it_goes_on_from_its_parts_to_the_bit(stop: int) -> None:
    days = learning()
    whole, before = (
        taught(Current(1, 28.0, 20.0), days),
        taught(Current(1, 28.0, 20.0), days[:stop]),
    )
    again = Current(1, 28.0, 20.0)
    for name, part in again.parts().items():
        part[...] = before.parts()[name]
    again.refit()
    taught(again, days[stop:])
    for name, part in whole.parts().items():
        assert np.array_equal(again.parts()[name], part), name
