"""What dated changes do to a payment that has happened: its label, its amount, what is said of it.

They leave the world as it is: other payments, and all that is drawn, are the same with them.
"""

from __future__ import annotations

from streams.jit import kernel
from streams.schema import MISSING
from streams.simulation.draws import hashed, unit
from streams.simulation.drift import (
    ATTACKER,
    CONCEPT,
    ERRING,
    FROM,
    HOLIDAYS,
    MISSED,
    NOVELTY,
    POPULATION,
    PRICES,
    PRIOR,
    UNIT,
    life,
    strength,
)
from streams.simulation.population import CHANGED, GENUINE, SLOW, VOUCHERS
from streams.simulation.scenarios import (
    CENTS,
    ID,
    MOST_CENTS,
    OWED,
    TACTIC,
    TIME,
    TOUCHED,
    WHERE,
    WHO,
)

NEW_FRAUD = 80_00, 99_99
"""The amounts, from and to, of what is fraud after a change of concept, in cents."""
_PARDON = 59
_PER_UNIT = 100


@kernel()
def _judged_anew(w, run, share, i):  # type: ignore[no-untyped-def]
    """Pardon a fraud with this probability, or charge a payment for one that was pardoned."""
    held = run.held
    if held[TACTIC] != GENUINE:
        if unit(hashed(w.seed, _PARDON, held[ID], i)) >= share:
            return False
        held[TACTIC] = GENUINE
        run.counters[OWED] += 1
        return True
    if run.counters[OWED] == 0 or not NEW_FRAUD[0] <= held[CENTS] <= NEW_FRAUD[1]:
        return False
    held[TACTIC] = CHANGED
    run.counters[OWED] -= 1
    return True


@kernel()
def _met(w, run, i):  # type: ignore[no-untyped-def]
    """Do to the held payment what change i does, and say whether it has touched it."""
    held = run.held
    kind, time, tactic = w.drifts.windows[i, 0], held[TIME], held[TACTIC]
    holds = strength(w.seed, w.drifts.windows, i, time)
    share = w.drifts.sizes[i] * holds
    if kind == CONCEPT:
        return holds > 0.0 and _judged_anew(w, run, share, i)
    if kind in (UNIT, MISSED):
        if unit(hashed(w.seed, ERRING, held[WHERE], i)) >= share:
            return False
        if kind == MISSED:
            held[CENTS] = MISSING
        elif held[CENTS] != MISSING:
            held[CENTS] = min(held[CENTS] * _PER_UNIT, MOST_CENTS)
        return True
    if kind == POPULATION:
        return life(w.seed, w.drifts, held[WHO] - 1, time) >> i & 1 == 1
    if kind == NOVELTY:
        return tactic == VOUCHERS and time >= w.drifts.windows[i, FROM]
    if kind == PRICES:
        return time > w.drifts.windows[i, FROM]
    if kind == PRIOR:
        return holds > 0.0 and tactic != GENUINE
    if kind == ATTACKER:
        return holds > 0.0 and tactic == SLOW
    return kind == HOLIDAYS and holds > 0.0


@kernel()
def change(w, run):  # type: ignore[no-untyped-def]
    """Do to the held payment what the changes do that hold, and mark which: bit i of change i."""
    run.held[TOUCHED] = 0
    for i in range(len(w.drifts.sizes)):
        if _met(w, run, i):
            run.held[TOUCHED] |= 1 << i
