"""Who lives in a simulated world, and how: customers with rhythms and towns, terminals in places.

What belongs to one customer or terminal is hashed from its number when it is needed. Only what is
chosen from in proportion to a weight lies in memory: 16 bytes a customer, 16 a terminal.
"""

from __future__ import annotations

import hashlib
import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.jit import kernel
from streams.schema import DAY, duration_us
from streams.simulation.draws import SLOT, bell, choose, hashed, uniform, unit, weigh
from streams.simulation.drift import Drifts, drifts_of
from streams.simulation.traffic import Traffic

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

WEEK = 7 * DAY
MONDAY = 72
"""Hours from the Monday before 1970 to 1970."""
NEVER = 1 << 62
ONLINE = 0
"""The place that every customer can reach; the others are towns."""
REGULARS = 6
FAULTS = ("disorder", "late", "duplicates", "conflicts", "labels_missing")
_USUAL = math.log(2600.0)

# What a hashed word is for; 3, 4 and from 50 to 59 are for drifts.
_ORDER, _ACTIVITY, _POPULARITY = range(3)
(
    _LEVEL,
    _SPREAD,
    _HOME,
    _TRIP,
    _AWAY,
    _REGULAR,
    _FAVOURITE,
    _DIGITAL,
    _DEARNESS,
    _SOFT,
) = range(5, 15)

TACTICS = ("genuine", "terminal", "stolen", "testing", "takeover", "vouchers", "slow", "changed")
"""The ground truth of a transaction, by its code; the last three exist only by a drift."""
GENUINE, TERMINAL, STOLEN, TESTING, TAKEOVER, VOUCHERS, SLOW, CHANGED = range(8)

# Of each rhythm: the share of customers, its peaks as (hour, width in hours, weight), and how much
# of a working day's activity a Saturday and a Sunday have.
RHYTHMS = (
    (0.22, ((7.6, 1.0, 0.8), (12.4, 0.9, 1.0), (17.9, 1.6, 1.7)), 0.9, 0.6),
    (0.17, ((10.3, 2.0, 1.6), (15.6, 2.2, 1.2)), 0.8, 0.4),
    (0.15, ((18.8, 1.8, 1.5), (21.3, 1.3, 0.6)), 1.3, 0.9),
    (0.13, ((11.2, 2.2, 1.0), (14.8, 2.0, 1.3)), 2.1, 1.5),
    (0.11, ((13.4, 1.6, 1.0), (22.4, 1.7, 1.3)), 1.4, 1.1),
    (0.09, ((5.9, 1.1, 1.3), (14.6, 1.4, 1.2)), 0.9, 0.7),
    (0.07, ((23.3, 1.8, 1.2), (3.2, 1.9, 0.7), (16.2, 2.0, 0.7)), 1.0, 1.0),
    (0.06, ((9.1, 1.0, 1.4), (12.9, 1.1, 1.2)), 0.2, 0.1),
)
# By tactic: what it has of all fraud without drift, and how many transactions a case has, from, to.
CASES = (
    (0.0, 2, 4),
    (0.34, 16, 60),
    (0.24, 2, 8),
    (0.20, 5, 15),
    (0.22, 5, 15),
    (0.0, 2, 6),
)
SPREE = 0.03
"""The share of genuine visits that begin a round of shops."""


class Groups(NamedTuple):
    """Numbers from 0 in groups, to be chosen from a group in proportion to a weight."""

    starts: Int64s
    """(groups + 1,) where each group begins in `slots`."""
    slots: npt.NDArray[np.void]
    """(members,) of `streams.simulation.draws.SLOT`."""


class World(NamedTuple):
    """All that stays as it is while traffic runs; kernels read it."""

    seed: np.uint64
    population: int
    """How many customers there are."""
    begin: int
    end: int
    events: int
    pace: Floats
    """(168,) genuine visits a microsecond in each hour of the week, from Monday."""
    rhythm: Floats
    """(168, rhythms) which rhythm a visit in that hour is of, summed up to 1."""
    customers: Groups
    """By rhythm, weighted by how active they are."""
    terminals: Groups
    """By place, weighted by how popular they are."""
    towns: Groups
    """One group of places, weighted by how many terminals they have; nobody lives online."""
    fraud: float
    """Fraudulent transactions a microsecond, without drift."""
    drifts: Drifts
    label_median: float
    """In microseconds."""
    label_spread: float
    shares: Floats
    """(5,) disorder, late, duplicates, conflicts, labels missing."""
    max_delay: int
    late_delay: int


def world(traffic: Traffic) -> World:
    """Build the tables of a world; the same traffic gives the same bytes."""
    digest = hashlib.blake2b(f"{traffic.seed}".encode(), digest_size=8).digest()
    seed = np.uint64(int.from_bytes(digest, "little"))
    rhythms = [share for share, *_ in RHYTHMS]
    customers, activity = _groups(seed, traffic.customers, rhythms, _ACTIVITY, 0.8)
    shares = _place_shares(traffic.terminals)
    terminals, _ = _groups(seed, traffic.terminals, shares, _POPULARITY, 1.1)
    pace, rhythm = _season(traffic, activity)
    return World(
        seed,
        traffic.customers,
        traffic.begin,
        traffic.end,
        NEVER if traffic.events is None else traffic.events,
        pace,
        rhythm,
        customers,
        terminals,
        _towns(np.diff(terminals.starts)),
        traffic.per_day * traffic.fraud_rate / DAY,
        drifts_of(traffic.drifts),
        float(duration_us(traffic.label_delay)),
        traffic.label_spread,
        np.array([getattr(traffic, name) for name in FAULTS], np.float64),
        duration_us(traffic.max_delay),
        duration_us(traffic.late_delay),
    )


def _place_shares(terminals: int) -> list[float]:
    """A tenth of the terminals are online, the others in towns, a few large and many small."""
    sizes = [1 / (town + 3) for town in range(max(2, terminals // 80))]
    return [0.1, *(0.9 * size / sum(sizes) for size in sizes)]


def _groups(
    seed: np.uint64, count: int, shares: list[float], purpose: int, sigma: float
) -> tuple[Groups, Floats]:
    """Members 0..count-1 in groups of these shares, with lognormal weights; each group's weight."""
    words = np.empty(count, np.uint64)
    _words(seed, _ORDER + 100 * purpose, np.arange(count), words)
    members = np.argsort(words, kind="stable")
    starts = np.round(np.cumsum([0, *shares]) / sum(shares) * count).astype(np.int64)
    _words(seed, purpose, members, words)
    weights = np.empty(count)
    _bells(words, weights)
    weights = np.exp(sigma * weights)
    slots = np.zeros(count, SLOT)
    slots["member"] = members
    for start, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        weigh(weights, start, stop, slots)
    return Groups(starts, slots), np.diff(np.append(0, np.cumsum(weights))[starts])


def _towns(sizes: Int64s) -> Groups:
    slots = np.zeros(len(sizes), SLOT)
    slots["member"] = np.arange(len(sizes))
    weights = sizes.astype(np.float64)
    weights[ONLINE] = 0
    weigh(weights, 0, len(sizes), slots)
    return Groups(np.array([0, len(sizes)]), slots)


def _season(traffic: Traffic, weights: Floats) -> tuple[Floats, Floats]:
    """The pace of each hour of the week, and the rhythms' shares in it."""
    hours = np.arange(24) + 0.5
    curves = np.empty((168, len(RHYTHMS)))
    for column, (_, peaks, saturday, sunday) in enumerate(RHYTHMS):
        day = np.full(24, 0.02)
        for hour, width, weight in peaks:
            away = np.abs(hours - hour)
            away = np.minimum(away, 24 - away)
            day += weight * np.exp(-((away / width) ** 2) / 2) / width
        week = np.array([1.0, 0.96, 1.0, 1.06, 1.2, 1.1 * saturday, 0.9 * sunday])
        curve = np.outer(week, day).ravel()
        curves[:, column] = curve / curve.mean() * weights[column]
    total = curves.sum(axis=1)
    _, least, most = CASES[0]
    visits = traffic.per_day * (1 - traffic.fraud_rate) / (1 + SPREE * (least + most) / 2)
    return total / total.mean() * visits / DAY, np.cumsum(curves, axis=1) / total[:, None]


@kernel("void(uint64, int64, int64[::1], uint64[::1])")
def _words(seed, purpose, who, out):  # type: ignore[no-untyped-def]
    for i in range(len(who)):
        out[i] = hashed(seed, purpose, who[i], 0)


@kernel("void(uint64[::1], float64[::1])")
def _bells(words, out):  # type: ignore[no-untyped-def]
    for i in range(len(words)):
        out[i] = bell(words[i])


# Kernels that take a World or a part of it are compiled at their first call. Those on the way of
# every visit are inlined: at a call, numba counts references to each array of what is passed, and
# that took a third of the time.


@kernel("float64(uint64, int64, int64)")
def typical(seed, customer, lived):  # type: ignore[no-untyped-def]
    """The logarithm of the customer's usual amount, in cents."""
    return _USUAL + 0.6 * bell(hashed(seed, _LEVEL, customer, lived))


@kernel("float64(uint64, int64, int64)")
def spread(seed, customer, lived):  # type: ignore[no-untyped-def]
    """How much the logarithm of the customer's amounts deviates."""
    return 0.3 + 0.45 * unit(hashed(seed, _SPREAD, customer, lived))


@kernel("float64(uint64, int64)")
def dearness(seed, terminal):  # type: ignore[no-untyped-def]
    """How far the logarithm of amounts at the terminal lies above others'."""
    return 0.45 * bell(hashed(seed, _DEARNESS, terminal, 0))


@kernel(inline=True)
def pick(groups, group, share):  # type: ignore[no-untyped-def]
    """The member of a group that a uniform share falls on, by weight."""
    return choose(groups.slots, groups.starts[group], groups.starts[group + 1], share)


@kernel(inline=True)
def someone(w, rng, stream, hour):  # type: ignore[no-untyped-def]
    """A customer to whom a visit in this hour of the week belongs."""
    share = uniform(rng, stream)
    group = 0
    while share > w.rhythm[hour, group] and group < w.rhythm.shape[1] - 1:
        group += 1
    return pick(w.customers, group, uniform(rng, stream))


@kernel(inline=True)
def whereabouts(seed, towns, customer, lived, time):  # type: ignore[no-untyped-def]
    """The town the customer is in: home, and one week in 25 another."""
    week = time // WEEK
    if unit(hashed(seed, _TRIP, customer, week)) < 0.04:
        return pick(towns, 0, unit(hashed(seed, _AWAY, customer, week)))
    return pick(towns, 0, unit(hashed(seed, _HOME, customer, lived)))


@kernel(inline=True)
def regular(seed, terminals, customer, lived, place, which):  # type: ignore[no-untyped-def]
    """One of the shops the customer keeps to in a place, online or a town."""
    word = hashed(seed, _REGULAR + 100 * place, customer, lived * REGULARS + which)
    return pick(terminals, place, unit(word))


@kernel(inline=True)
def shop(w, rng, stream, customer, lived, time):  # type: ignore[no-untyped-def]
    """Where the customer goes: a regular or any other terminal, online or where they are."""
    seed = w.seed
    if uniform(rng, stream) < 0.04 + 0.4 * unit(hashed(seed, _DIGITAL, customer, lived)) ** 2:
        place = ONLINE
    else:
        place = whereabouts(seed, w.towns, customer, lived, time)
    if uniform(rng, stream) < 0.3 + 0.6 * unit(hashed(seed, _FAVOURITE, customer, lived)):
        # The first regulars more than the last.
        which = np.int64(REGULARS * uniform(rng, stream) ** 2)
        return regular(seed, w.terminals, customer, lived, place, which)
    return pick(w.terminals, place, uniform(rng, stream))


@kernel()
def soft(seed, terminals, which, time):  # type: ignore[no-untyped-def]
    """One of the few online terminals on which stolen numbers are tried out in this week."""
    return pick(terminals, ONLINE, unit(hashed(seed, _SOFT, time // WEEK, which)))
