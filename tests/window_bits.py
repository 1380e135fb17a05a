"""Run by test_kernels_plain.py: a little of everything through the windows, printed as bits."""

from __future__ import annotations

import sys
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.features import Entity, bucket, hour, missing, night, ratio, value, weekday, weekend
from operators.featurize import Features
from operators.keyrecords import clock, set_clock, unpack
from operators.plan import compile_plan
from streams.jit import kernel
from streams.schema import DAY, Category, Event, Label, Number

event = Event(
    "purchase",
    ("customer", "terminal"),
    Label("fraud", maturity="2d"),
    (Number("amount", scale=2, maximum=1000), Number("tip", scale=2, required=False)),
    (Category("channel"),),
)
customer, terminal = Entity("customer"), Entity("terminal")


@kernel("float64(int64[::1], int64[::1], int8[::1])")
def last(
    times: npt.NDArray[np.int64], values: npt.NDArray[np.int64], status: npt.NDArray[np.int8]
) -> float:
    return float(times[-1] % 97 + values[0] + status.sum())


clean = {
    n: getattr(customer, n)("amount", "9d", enough=3)
    for n in ("clean_mean", "clean_ratio", "clean_zscore")
}
week = {
    n: getattr(customer, n)("amount", within="4d", last="9d", enough=3)
    for n in ("largest_clean_ratio", "clean_excess")
}
runs = {f"run_{n}": terminal.run(n, "9d") for n in ("length", "age", "gap", "since_negative")}
features = {
    "amount": value("amount"),
    "missing": missing("tip"),
    "weekend": weekend(),
    "night": night(),
    "hour": hour(),
    "weekday": weekday(),
    "bucket": bucket("channel", 7),
    "count": customer.count("3d"),
    "sum": customer.sum("amount", "3d"),
    "mean": customer.mean("tip", "3d"),
    "std": customer.std("tip", "3d", "1d"),
    "zscore": customer.zscore("amount", "3d"),
    "least": customer.minimum("amount", "3d"),
    "most": customer.maximum("amount", "5d", "1d"),
    "distinct": customer.distinct("terminal", "3d"),
    "seen": customer.seen("channel", "3d"),
    "since": customer.since_last("3d"),
    "since_fourth": customer.since_last("3d", 4),
    "lag": customer.lag("tip", "5d", 2),
    "same": customer.same("terminal", "5d"),
    "first": customer.since_first("3d"),
    "positive": customer.since_positive("9d"),
    "hours": customer.hour_share("9d"),
    "custom": customer.custom(last, "amount", "3d"),
    "risk": terminal.share("3d", delay="2d", empty=0.0),
    "least_run": terminal.run("least", "9d", "amount"),
    "rate": ratio(customer.count("1d"), customer.count("3d")),
    **clean,
    **week,
    **runs,
}
warnings.simplefilter("ignore", RuntimeWarning)  # numpy scalars warn where integers wrap
plan = compile_plan(event, features, lateness_us=5 * DAY, cap=24)
random = np.random.default_rng(3)
n = 260
when = 400 * DAY + np.sort(random.integers(0, 25 * 24, n)) * (DAY // 24)
when[::9] -= 3 * DAY
when[100] -= 60 * DAY
who = random.integers(0, 3, n)
who[n // 2 :] += 3
keys = np.zeros((n, 2, 2), np.int64)
keys[:, 0, 1], keys[:, 1, 1] = who, random.integers(0, 2, n)
numbers = np.stack([random.integers(0, 9000, n), random.integers(0, 90, n)], axis=1)
numbers[::5, 1] = -(2**63)
channel = random.integers(0, 3, (n, 1))
order = np.concatenate([[i] if i % 4 or i < 8 else [i, i - 8] for i in range(n)])
label = np.array([i > 0 and order[i] < order[i - 1] for i in range(len(order))])
known = np.where(label, when[order] + DAY, when[order])
said = np.where(label, order % 3 > 0, -1).astype(np.int8)


def rows(windows: Features, part: slice) -> npt.NDArray[np.float64]:
    at = order[part]
    batch: Any = SimpleNamespace(numbers=numbers[at], categories=channel[at])
    lines = np.where(label[part], -1, np.cumsum(~label[part]) - 1)
    return windows.update(
        batch, lines, when[at], keys[at], at, known[part], said[part], int((~label[part]).sum())
    )


windows = Features(plan, event.keys)
out = [rows(windows, slice(0, 150)), rows(windows, slice(150, 200))]
again = Features(plan, event.keys)
for old, new in zip(windows.entities, again.entities, strict=True):
    old.capture(whole=False)
    for piece in old.capture(whole=True).pieces():
        unpack(new.arena, new.plan.shape, piece)
    set_clock(new.arena, clock(old.arena))
out.append(rows(again, slice(200, None)))
sys.stdout.write(np.concatenate(out).tobytes().hex())
