"""The dated changes of a simulated world, as its kernels ask for them.

How much of a change holds at a time is a function of the time alone, the same within an hour of it;
whom it meets is hashed from their number, so that nothing is drawn for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.jit import kernel
from streams.schema import LATEST, SECOND, duration_us
from streams.simulation.draws import hashed, unit
from streams.simulation.traffic import DRIFTS, SHAPES, Drift

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

HOUR = 3600 * SECOND
USUAL_CENTS = 2600
"""What an ordinary payment is of: half of all are smaller."""

_KINDS = tuple(DRIFTS)
(
    POPULATION,
    NOVELTY,
    PRIOR,
    PRICES,
    OUTAGE,
    INPUTS,
    CONCEPT,
    UNIT,
    MISSED,
    ATTACKER,
    HOLIDAYS,
) = range(len(_KINDS))
_SUDDEN, _GRADUAL, _INCREMENTAL, _RECURRING = range(len(SHAPES))
_KIND, FROM, UNTIL, _SHAPE, _SPAN = range(5)

# What a hashed word is for; population and the garbage have other numbers.
_MOVED, _SILENT = 3, 4
_CHANGING, _CASH, ERRING = 51, 52, 53


class Drifts(NamedTuple):
    """The dated changes of a world."""

    windows: Int64s
    """(drifts, 5) kind, from, until, shape, span."""
    sizes: Floats


def drifts_of(drifts: Sequence[Drift]) -> Drifts:
    """Those changes as numbers."""
    rows = [
        (_KINDS.index(d.kind), *d.window, SHAPES.index(d.shape), duration_us(d.span))
        for d in drifts
    ]
    return Drifts(
        np.array(rows, np.int64).reshape(-1, 5), np.array([d.size for d in drifts], np.float64)
    )


@kernel("float64(uint64, int64[:, ::1], int64, int64)")
def strength(seed, windows, i, time):  # type: ignore[no-untyped-def]
    """How much of change i holds at a time, from 0 to 1."""
    begin, span = windows[i, FROM], windows[i, _SPAN]
    if time < begin or time >= windows[i, UNTIL]:
        return 0.0
    hours = (time - begin) // HOUR
    grown = min(1.0, hours * HOUR / span)
    if windows[i, _SHAPE] == _GRADUAL:
        return 1.0 if unit(hashed(seed, _CHANGING, hours, i)) < grown else 0.0
    if windows[i, _SHAPE] == _INCREMENTAL:
        return grown
    if windows[i, _SHAPE] == _RECURRING:
        return 1.0 - (time - begin) // span % 2
    return 1.0


@kernel("float64(float64, float64)")
def _factor(size, holds):  # type: ignore[no-untyped-def]
    """1 where nothing of a change holds, its size where all does."""
    return size * holds + (1.0 - holds)


@kernel()
def next_change(drifts, time):  # type: ignore[no-untyped-def]
    """When next the pace of fraud may be another."""
    change = LATEST
    for i in range(len(drifts.sizes)):
        kind, begin, end, shape, span = drifts.windows[i]
        if kind not in (NOVELTY, PRIOR, HOLIDAYS) or time >= end:
            continue
        edge = end
        if time < begin:
            edge = begin
        elif shape != _SUDDEN:
            step = span if shape == _RECURRING else HOUR
            edge = min(end, begin + ((time - begin) // step + 1) * step)
        change = min(change, edge)
    return change


# Those on the way of every visit are inlined, as in `streams.simulation.population`.


@kernel(inline=True)
def life(seed, drifts, customer, time):  # type: ignore[no-untyped-def]
    """Which habits the customer lives by: 0, or another number after each shift that moved them."""
    lived = 0
    for i in range(len(drifts.sizes)):
        if drifts.windows[i, 0] == POPULATION:
            share = drifts.sizes[i] * strength(seed, drifts.windows, i, time)
            lived += (unit(hashed(seed, _MOVED, customer, i)) < share) << i
    return lived


@kernel(inline=True)
def silent(seed, drifts, terminal, time):  # type: ignore[no-untyped-def]
    """Whether an outage keeps the terminal from being heard at this time."""
    off = False
    for i in range(len(drifts.sizes)):
        if drifts.windows[i, 0] == OUTAGE:
            share = drifts.sizes[i] * strength(seed, drifts.windows, i, time)
            off |= unit(hashed(seed, _SILENT, terminal, i)) < share
    return off


@kernel(inline=True)
def unsent(seed, drifts, customer, terminal, cents, time):  # type: ignore[no-untyped-def]
    """Whether a payment is not sent: in an outage, or small and paid in cash."""
    off = silent(seed, drifts, terminal, time)
    for i in range(len(drifts.sizes)):
        if drifts.windows[i, 0] == INPUTS and cents < USUAL_CENTS:
            share = drifts.sizes[i] * strength(seed, drifts.windows, i, time)
            off |= unit(hashed(seed, _CASH, time, customer * 64 + i)) < share
    return off


@kernel(inline=True)
def prices(seed, drifts, time):  # type: ignore[no-untyped-def]
    """What amounts are multiplied by at this time."""
    factor = 1.0
    for i in range(len(drifts.sizes)):
        kind, begin, end, _, _ = drifts.windows[i]
        if kind == PRICES and time > begin:
            factor *= 1.0 + (drifts.sizes[i] - 1.0) * min(1.0, (time - begin) / (end - begin))
        elif kind == HOLIDAYS:
            factor *= 1.0 + 0.5 * drifts.sizes[i] * strength(seed, drifts.windows, i, time)
    return factor


@kernel(inline=True)
def bustle(seed, drifts, time):  # type: ignore[no-untyped-def]
    """How many visits there are in a season beside each ordinary one."""
    more = 0.0
    for i in range(len(drifts.sizes)):
        if drifts.windows[i, 0] == HOLIDAYS:
            more += drifts.sizes[i] * strength(seed, drifts.windows, i, time)
    return more


@kernel()
def crime(seed, drifts, time):  # type: ignore[no-untyped-def]
    """How many times as often as without drift cases of fraud begin."""
    factor = 1.0 + bustle(seed, drifts, time)
    for i in range(len(drifts.sizes)):
        if drifts.windows[i, 0] == PRIOR:
            factor *= _factor(drifts.sizes[i], strength(seed, drifts.windows, i, time))
    return factor


@kernel()
def novelty(seed, drifts, time):  # type: ignore[no-untyped-def]
    """The share of new fraud that is of the new tactic."""
    share = 0.0
    for i in range(len(drifts.sizes)):
        if drifts.windows[i, 0] == NOVELTY:
            held = drifts.sizes[i] * strength(seed, drifts.windows, i, time)
            share = max(share, min(1.0, held))
    return share
