"""How simulated transactions and labels arrive: in time, delayed, twice, contradicting."""

from __future__ import annotations

import math

import numpy as np

from streams.jit import kernel
from streams.schema import DAY, MISSING
from streams.simulation.changes import change
from streams.simulation.draws import before, normal, pop, push, uniform
from streams.simulation.scenarios import (
    ARRIVAL,
    CENTS,
    CHARGEBACKS,
    CONFLICTING,
    COPY,
    ENDED,
    HELD,
    ID,
    IS_LABEL,
    KNOWN,
    MINUTE,
    MOST_CENTS,
    OPEN,
    RANK,
    RECORD_COLUMNS,
    RESENT,
    SENT,
    TACTIC,
    TIME,
    TRANSPORT,
    WAITING,
    happen,
)

_AFTER_LABELS = 1 << 61
_LONGEST = 60 * DAY


@kernel(inline=True)
def _delay(w, rng):  # type: ignore[no-untyped-def]
    """How long a transaction is under way: mostly no time at all."""
    share = uniform(rng, TRANSPORT)
    part = uniform(rng, TRANSPORT)
    if share < w.shares[0]:
        return 1 + np.int64(part * w.max_delay)
    if share < w.shares[0] + w.shares[1]:
        return w.max_delay + 1 + np.int64(part * (w.late_delay - w.max_delay))
    return 0


@kernel()
def _label(w, run):  # type: ignore[no-untyped-def]
    """Send the chargeback of the held transaction on its way; it comes after the transaction."""
    delay = w.label_median * math.exp(w.label_spread * normal(run.rng, CHARGEBACKS))
    missing = uniform(run.rng, CHARGEBACKS) < w.shares[4]
    if missing:
        return
    known = run.held[TIME] + np.int64(min(delay, _LONGEST))
    run.held[KNOWN] = max(known, run.held[ARRIVAL] + 1)
    label = np.zeros(RECORD_COLUMNS, np.int64)
    label[ARRIVAL] = run.held[KNOWN]
    label[RANK] = run.held[ID]
    label[IS_LABEL] = 1
    label[TIME] = run.held[KNOWN]
    label[ID] = run.held[ID]
    label[TACTIC] = run.held[TACTIC]
    label[KNOWN] = run.held[KNOWN]
    run.counters[WAITING] = push(run.delayed, run.counters[WAITING], label)


@kernel()
def _again(run, copy):  # type: ignore[no-untyped-def]
    """Send the held transaction a second time within ten minutes, unchanged or contradicting."""
    record = run.held.copy()
    record[COPY] = copy
    record[ARRIVAL] += 1 + np.int64(uniform(run.rng, TRANSPORT) * 10 * MINUTE)
    if copy == CONFLICTING and record[CENTS] == MISSING:
        record[CENTS] = MOST_CENTS
    elif copy == CONFLICTING:
        record[CENTS] += 1 if record[CENTS] < MOST_CENTS else -1
    run.counters[WAITING] = push(run.delayed, run.counters[WAITING], record)


@kernel(inline=True)
def _send(w, run):  # type: ignore[no-untyped-def]
    """Give the held transaction its arrival, and what else comes of it."""
    delay = _delay(w, run.rng)
    run.held[ARRIVAL] = run.held[TIME] + delay
    run.held[RANK] = run.held[ID] + _AFTER_LABELS
    run.held[KNOWN] = 0
    if run.held[TACTIC]:
        _label(w, run)
    if uniform(run.rng, TRANSPORT) < w.shares[2]:
        _again(run, RESENT)
    if uniform(run.rng, TRANSPORT) < w.shares[3]:
        _again(run, CONFLICTING)
    if delay:
        run.counters[WAITING] = push(run.delayed, run.counters[WAITING], run.held)
    else:
        run.counters[HELD] = 1


@kernel()
def arrive(w, run, labels, out):  # type: ignore[no-untyped-def]
    """Fill `out` with the records that arrive next; how many.

    Fewer than `out` holds: the traffic has ended, or `cases` or `delayed` needs more room.
    """
    counters = run.counters
    n = 0
    while n < len(out):
        if not counters[HELD] and not counters[ENDED]:
            if counters[OPEN] + 2 > len(run.cases) or counters[WAITING] + 4 > len(run.delayed):
                break
            got = happen(w, run)
            if got < 0:
                break
            if got:
                if len(w.drifts.sizes):
                    change(w, run)
                _send(w, run)
            else:
                counters[ENDED] = 1
            continue
        if counters[WAITING] and (not counters[HELD] or before(run.delayed[0], run.held)):
            counters[WAITING] = pop(run.delayed, counters[WAITING], out[n])
        elif counters[HELD]:
            out[n] = run.held
            counters[HELD] = 0
        else:
            break
        n += labels or not out[n, IS_LABEL]
    counters[SENT] += n
    return n
