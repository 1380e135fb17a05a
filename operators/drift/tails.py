"""How rarely chance alone makes a statistic so large: upper tails of F and of Kolmogorov's law."""

from __future__ import annotations

import math

from streams.jit import kernel

_STEPS, _SMALL, _NEAR = 300, 1e-300, 1e-12
_BARRIER = 0.5826
"""How far beyond a barrier a walk of unit steps is when it first crosses: -zeta(1/2)/sqrt(2 pi)."""
_HALVED = math.sqrt(math.log(2) / 2)
_BEYOND = math.sqrt(2 * math.pi) * math.erfc(math.sqrt(math.log(2)))
_FURTHER = math.pi**2 / 12 / (_HALVED**2 + 0.5)
"""Kolmogorov's mean square over that by the first term of his series, cut at 1."""


@kernel("float64(float64, float64, float64)")
def f_tail(x: float, upper: float, lower: float) -> float:
    """P(F > x) of F with `upper` and `lower` degrees of freedom, by its continued fraction.

    Modified Lentz's method (Lentz 1976; Thompson and Barnett 1986); relative error below 1e-9.
    """
    if not x > 0.0:
        return 1.0
    a, b, y = 0.5 * lower, 0.5 * upper, lower / (lower + upper * x)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
        + a * math.log(y) + b * math.log1p(-y)
    )  # fmt: skip
    swapped = y > (a + 1.0) / (a + b + 2.0)
    if swapped:
        a, b, y = b, a, 1.0 - y
    c, d = 1.0, 1.0 / max(1.0 - (a + b) * y / (a + 1.0), _SMALL)
    value = d
    for k in range(1, _STEPS):
        for part in range(2):
            if part == 0:
                step = k * (b - k) * y / ((a + 2 * k - 1) * (a + 2 * k))
            else:
                step = -(a + k) * (a + b + k) * y / ((a + 2 * k) * (a + 2 * k + 1))
            d = 1.0 + step * d
            c = 1.0 + step / c
            d = 1.0 / (d if abs(d) > _SMALL else _SMALL)
            c = c if abs(c) > _SMALL else _SMALL
            value *= c * d
        if abs(c * d - 1.0) < _NEAR:
            break
    tail = float(front * value / a)
    return 1.0 - tail if swapped else tail


@kernel("float64(float64, float64, float64)")
def ks_tail(x: float, cuts: float, lower: float) -> float:
    """P(D**2 > x times its mean) of a largest difference over this many cuts of equal shares.

    Its mean is known from a history of so many degrees of freedom (`lower`). Kolmogorov's first
    term with a barrier moved by the distance between cuts (Chernoff and Siegmund's correction);
    with one cut D is normal, which is exact.
    """
    if cuts < 1.5:
        return float(f_tail(x, 1.0, lower))
    moved = _BARRIER / math.sqrt(cuts + 1.0)
    mean = _FURTHER * ((_HALVED - moved) ** 2 + 0.5 - moved * _BEYOND)
    reach = math.sqrt(mean * max(x, 0.0)) + moved
    return float(min(1.0, 2.0 * (1.0 + 4.0 * reach * reach / lower) ** (-0.5 * lower)))
