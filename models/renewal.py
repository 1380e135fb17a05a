"""The kernels of `models.renewed`: when a second begins, who is believed, and when it is over."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.base import Floats, Labels
from models.calibration import sigmoid
from streams.jit import kernel

Ints = npt.NDArray[np.int64]

SEEN, LEFT, AGE, KEPT = range(4)
"""Words: examples seen, those until they are judged by other versions, those that the second has
learnt, and those that have come since the sum was last 0."""
MEAN, SQUARE, COUNT, SUM, TALLY = range(5)
"""Of the model's losses: mean, mean square, how many these are of, and the sum of what was above
the usual. Of late, how much likelier labels were by the second, as a logarithm."""
OLD, NEW = range(2)
"""Rows of the stack: by what the log-odds of the model and of the second are multiplied."""
MAIN, SECOND, STACKED = range(3)
"""Whose weights."""
WORSE, BETTER = 1, 2
"""Of a second that is over."""
ODDS, MOST = range(2)
"""At what log odds a second is better, and how old it grows."""

_LARGEST = 4.6
"""A loss counts no more, that of a label thought to be as likely as 1 in 100: one surprise is no
change."""
_FADE, _BEGIN = 0.5 ** (1 / 2000), 12.0
_SLACK = 0.25
"""Deviations by which losses must be above their mean to be added."""
_LATE, _BELIEVED, _GROWN = 0.5 ** (1 / 100), 0.5, 100
_DEALT = 0.02
"""The part of all weight that is dealt out anew at every example."""
_FURTHEST = 6.0
"""Log-odds are stacked drawn in to no more than this, in the order they were in."""
_DRIFT = 1e-3
_LEAST, _ALIKE = 1e-12, 1e-9


def blank() -> tuple[Floats, Floats, Floats]:
    """Numbers, stack and weights where there is no second."""
    return np.zeros(5), np.column_stack([(0.0, 1.0, 0.0), np.eye(3)]), np.array([1.0, 0.0, 0.0])


def begin(reals: Floats, stack: Floats, weights: Floats) -> None:
    """A second begins: it is little believed, as is what is stacked."""
    _, stack[:], _ = blank()
    reals[TALLY], weights[:] = 0.0, (0.8, 0.1, 0.1)


@kernel("boolean(float64[:, ::1])")
def ranks_better(rows: Floats) -> bool:
    """Whether the second ranks better than the model, of rows of what both scored and the label.

    A model that is too sure of itself loses by likelihood to one that ranks much worse.
    """
    apart = 0.0
    for i in range(len(rows)):
        if rows[i, 2] > 0:
            for j in range(len(rows)):
                if rows[j, 2] <= 0:
                    apart += np.sign(rows[i, 1] - rows[j, 1]) - np.sign(rows[i, 0] - rows[j, 0])
    return bool(apart > 0)


def risen(reals: Floats) -> bool:
    """Whether losses are so much above their usual that a second is to begin."""
    return bool(reals[SUM] > _BEGIN)


def end(words: Ints, reals: Floats, stack: Floats, weights: Floats, verdict: int) -> None:
    """There is no second from here on; what is usual is learnt anew, unless it came back."""
    if verdict == BETTER or reals[SUM] > 0:
        reals[:] = 0.0
    words[[AGE, KEPT]] = 0
    _, stack[:], weights[:] = blank()


@kernel("float64(float64)")
def log_odds(p: float) -> float:
    """Of a probability inside (0, 1)."""
    return float(np.log(p / (1.0 - p)))


@kernel("float64(float64)")
def _drawn(z: float) -> float:
    return float(_FURTHEST * z / (_FURTHEST + abs(z)))


@kernel("float64(float64[:, ::1], float64, float64)")
def stacked(stack: Floats, old: float, new: float) -> float:
    """The log-odds of both together, nearer to 0 the less is known (MacKay, 1992).

    A row of the stack is a factor, of what is added last: its mean, then how it varies with each.
    """
    given = (_drawn(old), _drawn(new), 1.0)
    total = spread = 0.0
    for i in range(3):
        total += stack[i, 0] * given[i]
        for j in range(3):
            spread += stack[i, 1 + j] * given[i] * given[j]
    return float(total / np.sqrt(1.0 + np.pi * spread / 8.0))


@kernel()
def _stack(stack: Floats, old: float, new: float, y: float, weight: float) -> None:
    """Learn the factors from one example, as a Gaussian belief that widens a little each time."""
    given, pulls = (_drawn(old), _drawn(new), 1.0), np.zeros(3)
    p, spread = sigmoid(stacked(stack, old, new)), 0.0
    for i in range(3):
        for j in range(3):
            pulls[i] += stack[i, 1 + j] * given[j]
        spread += pulls[i] * given[i]
    information = p * (1.0 - p) * weight
    rest = 1.0 + information * spread
    for i in range(3):
        stack[i, 0] += pulls[i] * (y - p) * weight / rest
        stack[i, 1 + i] += _DRIFT
        for j in range(3):
            stack[i, 1 + j] -= information * pulls[i] * pulls[j] / rest


@kernel()
def _loss(p: float, y: int, weight: float) -> float:
    return float(-weight * np.log(max(p if y else 1.0 - p, _LEAST)))


@kernel()
def _above(reals: Floats, loss: float) -> float:
    """The sum of what was above the usual, with one loss more."""
    spread = max(reals[SQUARE] - reals[MEAN] * reals[MEAN], 0.0)
    return float(max(reals[SUM] + loss - reals[MEAN] - _SLACK * np.sqrt(spread), 0.0))


@kernel(
    "int64(float64[::1], int8[::1], float64[::1], int64[::1], float64[::1], float64[::1],"
    " float64[::1])"
)
def watch(
    main: Floats, y: Labels, weight: Floats, words: Ints, reals: Floats, settings: Floats,
    out: Floats,
) -> int:  # fmt: skip
    """Take what the model scored until a second is to begin; how many. Its log-odds into out (n,).

    Then the sum is above what chance makes it; `KEPT` says of how many of the latest it is.
    """
    for i in range(len(main)):
        out[i] = log_odds(main[i])
        loss = min(_loss(main[i], y[i], 1.0), _LARGEST) * weight[i]
        reals[SUM] = _above(reals, loss) if reals[COUNT] > 0 else 0.0
        words[KEPT] = words[KEPT] + 1 if reals[SUM] > 0 else 0
        reals[COUNT] = _FADE * reals[COUNT] + 1.0
        reals[MEAN] += (loss - reals[MEAN]) / reals[COUNT]
        reals[SQUARE] += (loss * loss - reals[SQUARE]) / reals[COUNT]
        if reals[SUM] > _BEGIN:
            return i + 1
        if words[KEPT] >= settings[MOST]:
            reals[SUM], words[KEPT] = 0.0, 0
    return len(main)


@kernel("void(float64[::1], float64[::1], float64[:, ::1], float64[::1], float64[::1])")
def mix(main: Floats, second: Floats, stack: Floats, weights: Floats, out: Floats) -> None:
    """The log-odds of the weighted mean of the three, of each row, into out (n,)."""
    for i in range(len(main)):
        mixed = weights[MAIN] * main[i] + weights[SECOND] * second[i]
        both = stacked(stack, log_odds(main[i]), log_odds(second[i]))
        mixed += weights[STACKED] * sigmoid(both)
        out[i] = log_odds(mixed)


@kernel("void(float64[:, ::1], float64[:, ::1], float64[:, ::1])")
def together(stack: Floats, main: Floats, second: Floats) -> None:
    """Contributions to the log-odds of both become those to what is stacked, in place of the first.

    Each by its factor, and all of a row by one more, so that they add up.
    """
    base = main.shape[1] - 1
    for row in range(len(main)):
        old, new, rise = main[row, base], second[row, base], 0.0
        bottom = stacked(stack, old, new)
        for i in range(base):
            old += main[row, i]
            new += second[row, i]
            main[row, i] = stack[OLD, 0] * main[row, i] + stack[NEW, 0] * second[row, i]
            rise += main[row, i]
        top = stacked(stack, old, new)
        factor = (top - bottom) / rise if abs(rise) > _ALIKE else 0.0
        for i in range(base):
            main[row, i] *= factor
        main[row, base] = bottom if factor else top


@kernel()
def _deal(weights: Floats, gains: Floats) -> None:
    """Weigh each by its gain, and deal a part of all weight out anew."""
    best, total = max(gains[MAIN], gains[SECOND], gains[STACKED]), 0.0
    for i in range(len(weights)):
        weights[i] *= np.exp(gains[i] - best)
        total += weights[i]
    for i in range(len(weights)):
        weights[i] = (1.0 - _DEALT) * weights[i] / total + _DEALT / len(weights)


@kernel("int64(int64[::1], float64[::1], float64[::1], float64[::1])")
def over(words: Ints, reals: Floats, weights: Floats, settings: Floats) -> int:
    """Whether the second is over: it is better or worse, or 0 as long as it goes on."""
    old = words[AGE] >= settings[MOST]
    enough = 0.0 if old else settings[ODDS]
    grown = words[AGE] >= min(_GROWN, settings[MOST])
    if grown and weights[SECOND] > _BELIEVED and reals[TALLY] > enough:
        return BETTER
    return WORSE if old or reals[SUM] <= 0 else 0


@kernel(
    "int64(float64[::1], float64[::1], int8[::1], float64[::1], int64[::1], float64[::1],"
    " float64[:, ::1], float64[::1], float64[::1], boolean, float64[::1])"
)
def follow(
    main: Floats, second: Floats, y: Labels, weight: Floats, words: Ints, reals: Floats,
    stack: Floats, weights: Floats, settings: Floats, again: bool, out: Floats,
) -> int:  # fmt: skip
    """Take what both scored until the second is over; how many. The mean's log-odds into out (n,).

    Taken `again` are examples that the sum knows: all of them are.
    """
    gains = np.empty(3)
    for i in range(len(main)):
        old, new = log_odds(main[i]), log_odds(second[i])
        both = sigmoid(stacked(stack, old, new))
        mixed = weights[MAIN] * main[i] + weights[SECOND] * second[i] + weights[STACKED] * both
        out[i] = log_odds(mixed)
        gains[MAIN] = -_loss(main[i], y[i], weight[i])
        gains[SECOND] = -_loss(second[i], y[i], weight[i])
        gains[STACKED] = -_loss(both, y[i], weight[i])
        _deal(weights, gains)
        _stack(stack, old, new, float(y[i]), weight[i])
        reals[TALLY] = _LATE * reals[TALLY] + gains[SECOND] - gains[MAIN]
        words[AGE] += 1
        if again:
            continue
        reals[SUM] = _above(reals, min(-gains[MAIN], _LARGEST * weight[i]))
        if over(words, reals, weights, settings) > 0:
            return i + 1
    return len(main)
