"""Streams that change, and detectors to be told of them: ours, and those with River's settings."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from operators.drift.adwin import Adwin
from operators.drift.ddm import Ddm
from operators.drift.detector import Detector, Floats
from operators.drift.kswin import Kswin
from operators.drift.page_hinkley import PageHinkley

REPEATS = 3
VALUES = 1_000_000
AT_RATE = 10_000
"""Run length at which delays are compared."""
OVER = 1_000
"""Values that a gradual or incremental change takes."""
SIZES = {"small": 0.25, "middle": 0.5, "large": 1.0}


def gaussian(rng: np.random.Generator, level: Floats) -> Floats:
    """A change by so many standard deviations."""
    return rng.normal(level, 1.0)


def rare(rng: np.random.Generator, level: Floats) -> Floats:
    """Errors, 0.8 % at first; up to three times as many."""
    return (rng.random(len(level)) < 0.008 * (1 + 2 * level)).astype(np.float64)


def frequent(rng: np.random.Generator, level: Floats) -> Floats:
    """Errors, a fifth at first; up to twice as many."""
    return (rng.random(len(level)) < 0.2 * (1 + level)).astype(np.float64)


def losses(rng: np.random.Generator, level: Floats) -> Floats:
    """Log losses of scores that know 1.3 % of positives from the others, less and less well."""
    z = rng.normal(-6.0, 2.0, len(level))
    y = rng.random(len(level)) < 1 / (1 + np.exp(-z))
    lost = y & (rng.random(len(level)) < 0.6 * level)
    z[lost] = rng.normal(-6.0, 2.0, np.count_nonzero(lost))
    return np.where(y, np.log1p(np.exp(-z)), np.log1p(np.exp(z)))


KINDS: dict[str, Callable[[np.random.Generator, Floats], Floats]] = {
    "gaussian": gaussian,
    "errors, a fifth": frequent,
    "errors, 0.8 %": rare,
    "log loss": losses,
}
SHAPES: dict[str, Callable[[np.random.Generator, Floats], Floats]] = {
    "sudden": lambda _, t: (t >= 0).astype(np.float64),
    "gradual": lambda rng, t: (t / OVER > rng.random(len(t))).astype(np.float64),
    "incremental": lambda _, t: np.clip(t / OVER, 0.0, 1.0),
}
Made = Callable[[], Detector]
OURS: dict[str, Callable[[float, int], Detector]] = {
    "ADWIN": lambda length, seed: Adwin(run_length=length, seed=seed).bind(),
    "Page-Hinkley": lambda length, seed: PageHinkley(run_length=length, seed=seed).bind(),
    "DDM": lambda length, seed: Ddm(run_length=length, seed=seed).bind(),
    "KSWIN": lambda length, seed: Kswin(run_length=length, seed=seed).bind(),
}
RIVERS: dict[str, Callable[[float], Detector]] = {
    "ADWIN": lambda delta: Adwin(delta=delta).bind(),
    "Page-Hinkley": lambda threshold: PageHinkley(threshold=threshold).bind(),
    "DDM": lambda threshold: Ddm(drift_threshold=threshold).bind(),
    "KSWIN": lambda alpha: Kswin(alpha=alpha, seed=1).bind(),
}
"""With one setting of River's, the others at River's defaults."""
DEFAULTS = {"ADWIN": 0.002, "Page-Hinkley": 50.0, "DDM": 3.0, "KSWIN": 0.005}


def rivers(name: str, setting: float, seed: int) -> Detector:  # noqa: ARG001 - as ours are made
    return RIVERS[name](setting)


def stationary(kind: str, n: int, seed: int) -> Floats:
    return KINDS[kind](np.random.default_rng([seed, 1]), np.zeros(n))


def best(once: Callable[[], Any]) -> float:
    """Seconds of processor time of the fastest of a few runs, after one that warms up."""
    once()
    taken = []
    for _ in range(REPEATS):
        start = time.process_time()
        once()
        taken.append(time.process_time() - start)
    return min(taken)


def tuned(name: str, kind: str, wanted: float = AT_RATE) -> tuple[float, float]:
    """The setting of River's that makes a run length on this kind of stream, and what it makes."""
    scale = {"ADWIN": -1.0, "KSWIN": -1.0}.get(name, 1.0)
    low, high = {
        "ADWIN": (-12.0, 5.0), "Page-Hinkley": (-3.0, 9.0), "DDM": (0.0, 3.0), "KSWIN": (-20.0, 0.0)
    }[name]  # fmt: skip
    runs = 100 if name == "KSWIN" or wanted > AT_RATE else 300
    values = stationary(kind, int(runs * wanted), 7)

    def length(setting: float) -> float:
        found = len(RIVERS[name](math.exp(setting)).update_many(values).alarms)
        return len(values) / max(found, 0.5)

    for _ in range(12):
        middle = (low + high) / 2
        if (length(middle) > wanted) == (scale > 0):
            high = middle
        else:
            low = middle
    setting = low if scale < 0 else high
    return math.exp(setting), length(setting)
