"""A slow attacker: single payments of many cards, spread thin, ever more of them.

Everything is hashed from the number of the payment, so that no other fraud is another for it.
"""

from __future__ import annotations

import math

import numpy as np

from streams.jit import kernel
from streams.schema import DAY
from streams.simulation.draws import bell, hashed, unit
from streams.simulation.drift import HOUR, UNTIL, strength
from streams.simulation.population import NEVER, ONLINE, pick, typical

_WAIT, _TRY, _VICTIM, _SHOP, _AMOUNT = range(54, 59)
_TRIES = 20
"""Bits of a payment's number that count the times at which it was not yet made."""


@kernel()
def attack_at(w, i, step, time):  # type: ignore[no-untyped-def]
    """When the attacker of drift i makes payment `step` after this time: never from 22:00 to 7:00.

    Times come at the pace of the whole attack, and are taken as often as so much of it holds.
    """
    pace = w.fraud * w.drifts.sizes[i]
    awake = 15 / 24
    number = step << _TRIES
    while pace > 0 and time < w.drifts.windows[i, UNTIL]:
        number += 1
        wait = -math.log(unit(hashed(w.seed, _WAIT, number, i)))
        time += 1 + np.int64(min(wait * awake / pace, 1e16))
        holds = strength(w.seed, w.drifts.windows, i, time)
        if 7 * HOUR <= time % DAY < 22 * HOUR and unit(hashed(w.seed, _TRY, number, i)) < holds:
            return time
    return NEVER


@kernel()
def attack(w, i, step):  # type: ignore[no-untyped-def]
    """Whose card, at which terminal, and the logarithm of how many cents: a little above usual."""
    customer = np.int64(unit(hashed(w.seed, _VICTIM, step, i)) * w.population)
    terminal = pick(w.terminals, ONLINE, unit(hashed(w.seed, _SHOP, step, i)))
    noise = bell(hashed(w.seed, _AMOUNT, step, i))
    return customer, terminal, typical(w.seed, customer, 0) + 0.3 + 0.4 * noise
