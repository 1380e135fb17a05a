"""What happens in a simulated world: genuine visits and cases of fraud, in order of time.

Visits are a Poisson process for each customer, with the customer's own rate and rhythm: their sum
is drawn in one sequence by hour, then whose visit it is. Nothing is drawn and thrown away. Whatever
has more than one transaction (a round of shops, a case of fraud) is a row in a queue by time, with
the time of its next step.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.jit import kernel
from streams.schema import DAY, LATEST, SECOND
from streams.simulation.attack import attack, attack_at
from streams.simulation.draws import exponential, integer, normal, pop, push, uniform
from streams.simulation.drift import (
    ATTACKER,
    HOUR,
    bustle,
    crime,
    life,
    next_change,
    novelty,
    prices,
    unsent,
)
from streams.simulation.population import (
    CASES,
    GENUINE,
    MONDAY,
    NEVER,
    ONLINE,
    SLOW,
    SPREE,
    STOLEN,
    TAKEOVER,
    TERMINAL,
    TESTING,
    VOUCHERS,
    dearness,
    pick,
    regular,
    shop,
    soft,
    someone,
    spread,
    typical,
    whereabouts,
)

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

MINUTE = 60 * SECOND
MOST_CENTS = 100_000_00
WARM = 45 * DAY
"""Fraud begins this long before the first visit, unseen: at the first visit it is in full swing."""

# Which generator draws what: fraud changes no visit, transport changes neither.
VISITS, ROUNDS, FRAUD, TRANSPORT, CHARGEBACKS = range(5)

# A case: when its next step is, in which order among equals, what it is and how far it has come.
NEXT, SERIAL, KIND, CUSTOMER, PLACE, STEP, STEPS, GAP, LEVEL = range(9)
CASE_COLUMNS = 9

# A record, as it is sent: when, in which order among equals, and what it says.
(ARRIVAL, RANK, IS_LABEL, TIME, ID, WHO, WHERE, CENTS, TACTIC, KNOWN, COPY, TOUCHED) = range(12)
RECORD_COLUMNS = 12
RESENT, CONFLICTING = 1, 2

# Counters of a run.
(SLOT, VISIT_AT, CASE_AT, SERIALS, IDS, OPEN, WAITING, HELD, ENDED, SENT, OWED) = range(11)
COUNTERS = 11
_ENDLESS = 1 << 40
LATER = 2
"""Hours by which the more visits of a holiday come later than others."""


class Run(NamedTuple):
    """All that changes while traffic runs; with the World it decides everything that follows."""

    counters: Int64s
    offset: Floats
    """(1,) microseconds into the hour of the next visit."""
    rng: npt.NDArray[np.uint64]
    held: Int64s
    """The record that is next unless another, delayed one comes before it."""
    cases: Int64s
    """(capacity, 9) a heap of `OPEN` rows."""
    delayed: Int64s
    """(capacity, 12) a heap of `WAITING` records."""


@kernel()
def begin(w, run):  # type: ignore[no-untyped-def]
    """Set a fresh run to the first instant."""
    run.counters[SLOT] = w.begin // HOUR
    run.offset[0] = w.begin % HOUR
    run.counters[CASE_AT] = _next_case(w, run, w.begin - WARM)
    run.counters[VISIT_AT] = _next_visit(w, run)
    for i in range(len(w.drifts.sizes)):
        if w.drifts.windows[i, 0] == ATTACKER:
            first = attack_at(w, i, 0, w.drifts.windows[i, 1])
            _plan(run, first, SLOW, i, 0, _ENDLESS, 0, 0.0)


@kernel(inline=True)
def _next_visit(w, run):  # type: ignore[no-untyped-def]
    """The time of the next genuine visit."""
    wait = exponential(run.rng, VISITS)
    while True:
        slot = run.counters[SLOT]
        pace = w.pace[(slot + MONDAY) % 168]
        if len(w.drifts.sizes):
            pace += bustle(w.seed, w.drifts, slot * HOUR) * w.pace[(slot + MONDAY - LATER) % 168]
        left = (HOUR - run.offset[0]) * pace
        if wait < left:
            run.offset[0] += wait / pace
            return slot * HOUR + min(np.int64(run.offset[0]), HOUR - 1)
        wait -= left
        run.counters[SLOT] = slot + 1
        run.offset[0] = 0.0


@kernel()
def _mix(w, time, shares):  # type: ignore[no-untyped-def]
    """Fill in how many cases of each tactic one fraudulent transaction stands for; their sum."""
    new = novelty(w.seed, w.drifts, time)
    total = 0.0
    for tactic in range(1, len(CASES)):
        share, least, most = CASES[tactic]
        share = new if tactic == VOUCHERS else share * (1.0 - new)
        shares[tactic] = share / (0.5 * (least + most))
        total += shares[tactic]
    return total


@kernel()
def _next_case(w, run, time):  # type: ignore[no-untyped-def]
    """When the next case of fraud after `time` begins, at a pace that drifts change."""
    shares = np.empty(len(CASES))
    wait = exponential(run.rng, FRAUD)
    while time < LATEST:
        pace = w.fraud * crime(w.seed, w.drifts, time) * _mix(w, time, shares)
        change = next_change(w.drifts, time)
        if wait < (change - time) * pace:
            return time + 1 + np.int64(wait / pace)
        wait -= (change - time) * pace
        time = change
    return NEVER


@kernel()
def _plan(run, time, kind, customer, place, steps, gap, level):  # type: ignore[no-untyped-def]
    """Put a case into the queue."""
    case = np.empty(CASE_COLUMNS, np.int64)
    run.counters[SERIALS] += 1
    case[NEXT] = time
    case[SERIAL] = run.counters[SERIALS]
    case[KIND] = kind
    case[CUSTOMER] = customer
    case[PLACE] = place
    case[STEP] = 0
    case[STEPS] = steps
    case[GAP] = gap
    case[LEVEL] = np.int64(1000 * level)
    run.counters[OPEN] = push(run.cases, run.counters[OPEN], case)


@kernel()
def _open_case(w, run, time):  # type: ignore[no-untyped-def]
    """Begin a case of fraud of some tactic."""
    shares = np.empty(len(CASES))
    share = uniform(run.rng, FRAUD) * _mix(w, time, shares)
    tactic = 1
    while tactic < len(CASES) - 1 and share >= shares[tactic]:
        share -= shares[tactic]
        tactic += 1
    customer = integer(run.rng, FRAUD, 0, w.population - 1)
    _, least, most = CASES[tactic]
    steps = integer(run.rng, FRAUD, least, most)
    somewhere = pick(w.towns, 0, uniform(run.rng, FRAUD))
    if tactic == TERMINAL:
        # Three in ten are online; it goes on for about ten days.
        place = ONLINE if uniform(run.rng, FRAUD) < 0.3 else somewhere
        place = pick(w.terminals, place, uniform(run.rng, FRAUD))
        lasts = 10.0 * math.exp(0.4 * normal(run.rng, FRAUD)) * DAY
        _plan(run, time, tactic, customer, place, steps, np.int64(lasts / steps), 0.0)
    elif tactic == STOLEN:
        level = 0.8 + 0.45 * normal(run.rng, FRAUD)
        _plan(run, time, tactic, customer, somewhere, steps, 50 * MINUTE, level)
    elif tactic == TESTING:
        place = soft(w.seed, w.terminals, integer(run.rng, FRAUD, 0, 3), time)
        large = integer(run.rng, FRAUD, 1, 3)
        _plan(run, time, tactic, customer, place, steps, 3 * MINUTE, np.float64(large))
    elif tactic == TAKEOVER:
        _plan(run, time, tactic, customer, somewhere, steps, 15 * HOUR, 0.0)
    else:
        _plan(run, time, tactic, customer, somewhere, steps, 5 * HOUR, 0.0)


@kernel()
def _awake(rng, time, share):  # type: ignore[no-untyped-def]
    """The time, but with this probability not in the small hours."""
    if (time % DAY) < 6 * HOUR and uniform(rng, FRAUD) < share:
        return time + 7 * HOUR + np.int64(uniform(rng, FRAUD) * 6 * HOUR)
    return time


@kernel(inline=True)
def _cents(w, log_cents, time):  # type: ignore[no-untyped-def]
    """The amount of this logarithm at the prices of the time, within the field's range."""
    level = prices(w.seed, w.drifts, time)
    return max(10, min(MOST_CENTS, np.int64(math.exp(log_cents) * level + 0.5)))


@kernel(inline=True)
def _say(run, time, customer, terminal, cents, tactic):  # type: ignore[no-untyped-def]
    """Write a transaction into `held`; ids come later, to those that are sent."""
    run.held[IS_LABEL] = 0
    run.held[TIME] = time
    run.held[WHO] = customer + 1
    run.held[WHERE] = terminal + 1
    run.held[CENTS] = cents
    run.held[TACTIC] = tactic
    run.held[COPY] = 0


@kernel()
def _visit(w, run, stream, customer, time):  # type: ignore[no-untyped-def]
    """A customer buys something, now and then something very small or very dear."""
    rng = run.rng
    lived = life(w.seed, w.drifts, customer, time)
    terminal = shop(w, rng, stream, customer, lived, time)
    amount = typical(w.seed, customer, lived) + dearness(w.seed, terminal)
    amount += spread(w.seed, customer, lived) * normal(rng, stream)
    odd = uniform(rng, stream)
    if odd < 0.02:
        amount += 1.2 + 0.4 * normal(rng, stream)
    elif odd > 0.98:
        amount -= 2.2
    cents = _cents(w, amount, time)
    if uniform(rng, stream) < 0.12:
        cents = max(100, (cents + 250) // 500 * 500)
    _say(run, time, customer, terminal, cents, GENUINE)


@kernel(inline=True)
def _genuine(w, run):  # type: ignore[no-untyped-def]
    """The next visit; some begin a round of shops."""
    time = run.counters[VISIT_AT]
    run.counters[VISIT_AT] = _next_visit(w, run)
    customer = someone(w, run.rng, VISITS, (time // HOUR + MONDAY) % 168)
    _visit(w, run, VISITS, customer, time)
    if uniform(run.rng, VISITS) < SPREE:
        _, least, most = CASES[GENUINE]
        steps = integer(run.rng, VISITS, least, most)
        gap = 18 * MINUTE
        later = time + 1 + np.int64(gap * exponential(run.rng, VISITS))
        _plan(run, later, GENUINE, customer, 0, steps, gap, 0.0)


@kernel()
def _fraud(w, run, case):  # type: ignore[no-untyped-def]
    """One step of a case of fraud; when the next one is."""
    rng = run.rng
    time = case[NEXT]
    kind = case[KIND]
    customer = case[CUSTOMER]
    if kind == TERMINAL:
        customer = integer(rng, FRAUD, 0, w.population - 1)
    step = case[STEP]
    lived = life(w.seed, w.drifts, customer, time)
    usual = typical(w.seed, customer, lived)
    noise = normal(rng, FRAUD)
    there = uniform(rng, FRAUD)
    place = case[PLACE]
    later = time + 1 + np.int64(case[GAP] * exponential(rng, FRAUD))
    if kind == TERMINAL:
        terminal = place
        cents = _cents(w, usual + dearness(w.seed, terminal) + 0.35 + 0.5 * noise, time)
        later = _awake(rng, later, 0.75)
    elif kind == STOLEN:
        terminal = pick(w.terminals, place if there < 0.6 else ONLINE, uniform(rng, FRAUD))
        cents = _cents(w, usual + 0.001 * case[LEVEL] + 0.45 * noise, time)
    elif kind == TESTING and step < case[STEPS] - case[LEVEL] // 1000:
        terminal = place
        cents = _cents(w, math.log(50.0 + 350.0 * there), time)
    elif kind == TESTING:
        terminal = pick(w.terminals, ONLINE, there)
        cents = _cents(w, usual + 1.2 + 0.5 * noise, time)
        later += np.int64(40 * MINUTE * uniform(rng, FRAUD))
    elif kind == TAKEOVER:
        terminal = pick(w.terminals, ONLINE, uniform(rng, FRAUD))
        if there < 0.4:
            terminal = shop(w, rng, FRAUD, customer, lived, time)
        cents = _cents(w, usual + 0.1 + 0.11 * step + 0.35 * noise, time)
        later = _awake(rng, later, 0.8)
    else:
        place = whereabouts(w.seed, w.towns, customer, lived, time)
        terminal = regular(w.seed, w.terminals, customer, lived, place, step % 2)
        cents = 2500 * (1 + np.int64(4.0 * there) + 2 * (noise > 1.0))
        later = _awake(rng, later, 0.9)
    _say(run, time, customer, terminal, cents, kind)
    return later


@kernel(inline=True)
def happen(w, run):  # type: ignore[no-untyped-def]
    """Write the next transaction of the world into `held`, with its id, and return 1.

    Returns 0 when the world has ended, -1 when `cases` has no room for two more rows.
    """
    counters = run.counters
    case = np.empty(CASE_COLUMNS, np.int64)
    while counters[IDS] < w.events:
        if counters[OPEN] + 2 > len(run.cases):
            return -1
        visit = counters[VISIT_AT]
        step = run.cases[0, NEXT] if counters[OPEN] else NEVER
        opening = counters[CASE_AT]
        time = min(visit, step, opening)
        if time >= w.end:
            return 0
        if opening == time:
            _open_case(w, run, opening)
            counters[CASE_AT] = _next_case(w, run, opening)
            continue
        if step == time:
            counters[OPEN] = pop(run.cases, counters[OPEN], case)
            later = step + 1
            if case[KIND] == GENUINE:
                _visit(w, run, ROUNDS, case[CUSTOMER], step)
                later += np.int64(case[GAP] * exponential(run.rng, ROUNDS))
            elif case[KIND] == SLOW:
                customer, terminal, amount = attack(w, case[CUSTOMER], case[STEP])
                _say(run, step, customer, terminal, _cents(w, amount, step), SLOW)
                later = attack_at(w, case[CUSTOMER], case[STEP] + 1, step)
            else:
                later = _fraud(w, run, case)
            case[STEP] += 1
            case[NEXT] = later
            if case[STEP] < case[STEPS]:
                counters[OPEN] = push(run.cases, counters[OPEN], case)
        else:
            _genuine(w, run)
        held = run.held
        if time >= w.begin and not unsent(
            w.seed, w.drifts, held[WHO], held[WHERE] - 1, held[CENTS], time
        ):
            counters[IDS] += 1
            run.held[ID] = counters[IDS]
            return 1
    return 0
