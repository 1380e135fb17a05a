"""Drift of inputs: what it costs, how often it errs, how soon it tells.

Run as `python -m benchmarks.run --only covariate`, or with `--parts` some of it: `cost`; false
alarms of `iid`, `seasonal`, `clustered` and `slow` streams, and of `volume`; `detection`;
`frouros`; `evidently`.

False alarms: STREAMS streams of ten independent inputs and 10,000 events a day, in buckets of an
hour, watched at default settings, by `Covariate` and, as if they were scores, by `Scores`. Each is
watched until its first alarm, or for DAYS; days watched by alarms are the run length, with the
interval of 95 % of a count of so many alarms. `Volume` is told hours whose days differ by a tenth.
Detection: one input moves by a part of its deviation at an hour drawn per stream; the delay is in
events, of those told within four weeks.

Frouros' and Evidently's tests are given the same values: the first four weeks as reference, each
day from day WATCHED on as the batch they judge; DRAWN events a day, in environments of their own.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.bench_features import operator
from benchmarks.bucket_streams import BEGIN, FIRST, HOUR, VALUES, Stream
from benchmarks.labelled import scope
from benchmarks.prove import ROOT
from benchmarks.rivals.drifting_batches import PACKAGES, REFERENCE
from benchmarks.transactions import Rows, Transactions, featurize
from jobs.fraud import pipeline
from operators.drift.bucket import NOBODY, Bucket, Monitor
from operators.drift.covariate import CovariateMonitor, ScoreMonitor
from operators.drift.sketch import Sketch
from operators.drift.volume import Volume
from streams.schema import DAY
from streams.simulation.population import GENUINE
from streams.simulation.simulator import Simulation
from streams.simulation.traffic import Traffic

STREAMS = 200
SHIFTED = 40
DRAWN = 2000
"""Events of a day, beside rivals."""
DAYS = 1200
JUDGED = 60
PLAIN = Stream()
KINDS = {
    "iid": PLAIN,
    "seasonal": replace(PLAIN, seasonal=0.3),
    "clustered": replace(PLAIN, seasonal=0.3, clustered=0.05),
    "slow": replace(PLAIN, seasonal=0.3, clustered=0.05, memory=0.8),
}
SIZES = {"small": 0.05, "middle": 0.15, "large": 0.5}
"""By how much the logarithms of an input's shares are tilted, per deviation."""
WATCHED, AFTER = JUDGED - 7, JUDGED + 21
"""From and until which day rivals are watched."""
QUARTER = HOUR // 4
INPUTS = tuple(f"input {row}" for row in range(PLAIN.rows))


def inputs(days: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Times and inputs of the simulator's default traffic."""
    columns = Simulation(Traffic(days=days)).columns(days * 20_000)
    transactions = Transactions(
        source="simulated",
        ident=columns["id"],
        time=columns["time"],
        customer=columns["customer"],
        terminal=columns["terminal"],
        cents=columns["amount"],
        fraud=columns["tactic"] != GENUINE,
    )
    return columns["time"], featurize(operator(pipeline.features), Rows(transactions))


def cost() -> dict[str, float]:
    """Processor time of an event of 25 inputs, in buckets of 15 minutes with about 100 events."""
    moments, x = inputs(30)
    first = int(moments[0]) // QUARTER
    edges = np.searchsorted(moments, np.arange(first, moments[-1] // QUARTER + 2) * QUARTER)
    monitor = CovariateMonitor(tuple(pipeline.features))
    counting = closing = 0.0
    events = 0
    sketch = Sketch.empty(x.shape[1])
    for at, (start, stop) in enumerate(pairwise(edges.tolist())):
        sketch.counts[...] = 0
        sketch.missing[...] = 0
        begin = (first + at) * QUARTER
        bucket = Bucket(begin, begin + QUARTER, sketch, sketch, NOBODY, 0)
        began = time.thread_time()
        sketch.add(x[start:stop])
        counted = time.thread_time()
        monitor.close(bucket)
        closed = time.thread_time()
        if begin >= moments[0] + 10 * DAY:
            events += int(stop - start)
            counting += counted - began
            closing += closed - counted
    return {
        "counting, ns an event": counting / events * 1e9,
        "closing, ns an event": closing / events * 1e9,
        "counting, ns a value": counting / events / x.shape[1] * 1e9,
        "closing, us a bucket": closing / (len(edges) - 1 - 10 * 96) * 1e6,
        "events a bucket": events / (len(edges) - 1 - 10 * 96),
        "state, bytes": float(monitor.nbytes),
    }


def watched(stream: Stream, days: int) -> Iterator[tuple[int, int]]:
    """When each alarm is raised, in microseconds from the start, and after how many events."""
    monitor = CovariateMonitor(INPUTS, bucket="60m")
    events = 0
    for bucket in stream.buckets(days):
        events += int(bucket.features.counts[0].sum())
        for finding in monitor.close(bucket):
            if not finding.over:
                yield bucket.end_us - BEGIN, events


def false_alarms(stream: Stream) -> dict[str, dict[str, float]]:
    """Days between alarms where nothing changes, of each monitor."""
    found = {name: [0.0, 0] for name in ("Covariate", "Scores")}
    for seed in range(STREAMS):
        left: dict[str, Monitor] = {
            "Covariate": CovariateMonitor(INPUTS, bucket="60m"),
            "Scores": ScoreMonitor([("input", name) for name in INPUTS[1:]], bucket="60m"),
        }
        for bucket in replace(stream, seed=seed).buckets(DAYS):
            told = [name for name, monitor in left.items() if monitor.close(bucket)]
            for name in told:
                found[name][0] += (bucket.end_us - BEGIN) / DAY
                found[name][1] += 1
                del left[name]
            if not left:
                break
        for name in left:
            found[name][0] += DAYS
    return {name: _run_length(365.0, *each) for name, each in found.items()}


def volume() -> dict[str, dict[str, float]]:
    """Hours between alarms of fewer events; 100 events an hour, and nothing changes."""
    hours = alarms = 0
    nothing, scores = Sketch.empty(0), Sketch.empty(1)
    for seed in range(STREAMS):
        random = np.random.default_rng([seed, 3])
        days = np.exp(0.1 * random.normal(size=(DAYS, 1)))
        counts = random.poisson(100.0 * days, (DAYS, 24)).ravel().tolist()
        monitor = Volume().bind(scope(0, 0.01, {}))
        for hour, events in enumerate(counts, 1):
            scores.counts[0, FIRST] = events
            start = BEGIN + (hour - 1) * HOUR
            bucket = Bucket(start, start + HOUR, nothing, scores, NOBODY, 1)
            if monitor.close(bucket):
                alarms += 1
                break
        hours += hour
    return {"Volume": _run_length(Volume().run_length, hours, alarms)}


def _run_length(stated: float, watched: float, alarms: float) -> dict[str, float]:
    """What is measured, with an interval of 95 %; at least that, where there is no alarm."""
    wide = math.exp(1.959964 / math.sqrt(max(alarms, 1)))
    measured = watched / max(alarms, 1)
    return {
        "streams": STREAMS,
        "watched": watched,
        "alarms": alarms,
        "stated run length": stated,
        "measured run length": measured,
        "at least": measured / wide,
        "at most": measured * wide,
    }


def shifted(size: float, seed: int) -> tuple[Stream, int]:
    """A seasonal, clustered stream whose first input moves, and when that is."""
    hour = int(np.random.default_rng(seed).integers(24 * 7))
    begun = JUDGED * DAY + hour * HOUR
    return replace(KINDS["clustered"], seed=seed, shift=size, shift_us=BEGIN + begun), begun


def detection() -> dict[str, dict[str, float]]:
    """The share of shifts that are told within four weeks, and the median delay."""
    results = {}
    for name, size in SIZES.items():
        delays = []
        for seed in range(SHIFTED):
            stream, begun = shifted(size, seed)
            before = 0
            for bucket in stream.buckets(JUDGED + 7):
                if bucket.start_us - BEGIN < begun:
                    before += int(bucket.features.counts[0].sum())
            found = watched(stream, JUDGED + 35)
            delays += [events - before for at, events in found if at > begun][:1]
        results[name] = {
            "tilt": size,
            "told, share": len(delays) / SHIFTED,
            **({"median delay, events": statistics.median(delays)} if delays else {}),
        }
    return results


def beside(library: str, sizes: tuple[str, ...], seeds: int) -> dict[str, dict[str, float]]:
    """Days with an alarm a year before a shift, and the delay after it, ours of the same streams.

    A day is DRAWN events. Theirs are days, so every delay is a whole number of days.
    """
    results: dict[str, dict[str, float]] = {}
    for name in sizes:
        for who in ("headrace", library):
            false = quiet = 0
            delays, seconds = [], []
            for seed in range(seeds):
                stream, begun = shifted(SIZES[name], seed)
                stream, first = replace(stream, per_day=DRAWN * 1.2), begun // DAY
                told, took = _ours(stream) if who == "headrace" else _theirs(who, stream)
                false += len({day for day, _ in told if WATCHED <= day < first})
                quiet += first - WATCHED
                named = [day for day, columns in told if day >= first and 0 in columns]
                delays += [(min(named) - first + 1) * DRAWN] if named else []
                seconds.append(took)
            results[f"{who}, {name}"] = {
                "streams": seeds,
                "days with a false alarm, a year": false / quiet * 365,
                "told, share": len(delays) / seeds,
                **({"median delay, events": statistics.median(delays)} if delays else {}),
                "ms a day": statistics.median(seconds) * 1e3,
            }
    return results


Told = list[tuple[int, list[int]]]
"""Days on which inputs were said to have changed."""


def _ours(stream: Stream) -> tuple[Told, float]:
    monitor = CovariateMonitor(INPUTS, bucket="60m")
    told: Told = []
    took = 0.0
    for bucket in stream.buckets(AFTER):
        began = time.perf_counter()
        findings = monitor.close(bucket)
        took += time.perf_counter() - began
        told += [
            ((bucket.start_us - BEGIN) // DAY, [INPUTS.index(name) for name in each.features])
            for each in findings
            if not each.over
        ]
    return told, took / AFTER


def _theirs(library: str, stream: Stream) -> tuple[Told, float]:
    values = _values(stream)
    said = _rival(library, np.concatenate([values[:REFERENCE], values[WATCHED:]]))
    told = [(WATCHED + day, columns) for day, columns in enumerate(said["told"]) if columns]
    return told, said["seconds a day"]


def _values(stream: Stream) -> npt.NDArray[np.float64]:
    """(days, DRAWN, inputs) values of the events."""
    rng = np.random.default_rng(stream.seed)
    days: list[npt.NDArray[np.float64]] = []
    day = np.zeros((stream.rows, VALUES), np.int64)
    for bucket in stream.buckets(AFTER):
        day += bucket.features.counts[:, FIRST : FIRST + VALUES]
        if bucket.end_us % DAY == 0:
            columns = [rng.permutation(np.repeat(np.arange(VALUES), row)) for row in day]
            days.append(np.stack([each[:DRAWN] for each in columns], axis=1).astype(float))
            day[...] = 0
    return np.stack(days)


def _rival(library: str, values: npt.NDArray[np.float64]) -> dict[str, Any]:
    uv = which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    command = [uv, "run", "--no-project", "--quiet", "--python", "3.11"]
    for package in PACKAGES[library]:
        command += ["--with", package]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "values.npy"
        np.save(path, values)
        done = subprocess.run(
            [*command, "python", "-m", "benchmarks.rivals.drifting_batches", library, str(path)],
            env=os.environ | {"PYTHONPATH": str(ROOT), "VIRTUAL_ENV": "", "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
    return dict(json.loads(done.stdout.splitlines()[-1]))


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "cost": cost,
    **{kind: partial(false_alarms, stream) for kind, stream in KINDS.items()},
    "volume": volume,
    "detection": detection,
    "frouros": partial(beside, "frouros", tuple(SIZES), 5),
    "evidently": partial(beside, "evidently", ("middle",), 2),
}


def run() -> dict[str, Any]:
    """Every part by name."""
    return {name: part() for name, part in PARTS.items()}
