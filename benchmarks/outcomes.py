"""Watching outcomes: what it costs, and how soon it tells, beside River's detectors of the loss."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from benchmarks.detector_streams import SIZES, VALUES, best, rivers, tuned
from operators.drift.bucket import Bucket, Matured, Scope
from operators.drift.concept import Concept
from operators.drift.sketch import Sketch
from operators.labels import BY_MATURITY
from operators.metrics import losses as log_losses

OUTCOMES, KNOWN, OUTCOME_STREAMS = 2_000, 150_000, 40
"""Positives to a false alarm, examples before a change and after it, and streams."""


def scored(rng: np.random.Generator, n: int, lost: float) -> Matured:
    """Matured examples as of `losses`: of a share of positives the model sees nothing."""
    z = rng.normal(-6.0, 2.0, n)
    y = rng.random(n) < 1 / (1 + np.exp(-z))
    moved = y & (rng.random(n) < lost)
    z[moved] = rng.normal(-6.0, 2.0, np.count_nonzero(moved))
    at, cause = np.arange(n), np.full(n, BY_MATURITY, np.uint8)
    score, codes = 1 / (1 + np.exp(-z)), rng.integers(0, 2, (n, 1))
    return Matured(at, at, at, score, y.astype(np.int8), cause, codes)


def bucket(examples: Matured) -> Bucket:
    return Bucket(0, 0, Sketch.empty(0), Sketch.empty(0), examples, 1)


def outcomes() -> dict[str, Any]:
    """What watching outcomes costs an example; and delays in examples, where false alarms are one
    in as many, beside River's detectors of the log loss, tuned to that.
    """
    out: dict[str, Any] = {}
    whole = bucket(scored(np.random.default_rng(1), VALUES, 0.0))
    sliced: tuple[dict[str, tuple[str, ...]], ...] = {}, {"half": ("one", "other")}
    for slices in sliced:
        scope = Scope((), slices, 0, 0.01, (), "15m")
        taken = best(partial(Concept().bind(scope).close, whole))
        out[f"nanoseconds an example, {len(slices)} slices"] = taken / VALUES * 1e9
    scope = Scope((), {}, 0, 0.01, (), "15m")
    length = OUTCOMES / float(whole.matured.y.mean())
    out["examples to a false alarm"] = length
    named = {name: tuned(name, "log loss", length)[0] for name in ("ADWIN", "Page-Hinkley")}
    for size, by in SIZES.items():
        found: dict[str, list[float]] = {"Concept": [], **{name: [] for name in named}}
        for seed in range(OUTCOME_STREAMS):
            rng = np.random.default_rng([seed, 4])
            spans = [scored(rng, KNOWN, lost) for lost in (0.0, 0.6 * by)]
            found["Concept"].append(first_told(seed, scope, *spans))
            values = np.concatenate([log_losses(span.score, span.y) for span in spans])
            for name, setting in named.items():
                alarms = rivers(name, setting, seed).update_many(values).alarms
                later = alarms[alarms >= KNOWN]
                found[name].append(float(later[0] - KNOWN) if len(later) else math.inf)
        for name, each in found.items():
            told = [one for one in each if math.isfinite(one)]
            out[f"{size}: {name}, share told"] = len(told) / len(each)
            out[f"{size}: {name}, median delay of those"] = float(np.median(told)) if told else None
    return out


def first_told(seed: int, scope: Scope, before: Matured, after: Matured) -> float:
    """Examples after a change until the monitor tells of `concept`, to a hundred."""
    monitor = Concept(run_length=OUTCOMES, after=0, seed=seed).bind(scope)
    monitor.close(bucket(before))
    for start in range(0, len(after), 100):
        part = after[start : start + 100]
        if any(each.kind == "concept" and not each.over for each in monitor.close(bucket(part))):
            return start + 100.0
    return math.inf
