"""Frouros' and Evidently's tests of a day against four weeks, in an environment of their own.

Run as `python -m benchmarks.rivals.drifting_batches LIBRARY VALUES.npy`, an array of (days, events,
inputs) whose first 28 days are the reference. Says, as JSON, which inputs are said to have drifted
on each later day, and the seconds a day.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

PACKAGES = {
    "frouros": ("frouros==0.9.0",),
    "evidently": ("evidently==0.7.23", "pandas<3"),
}
REFERENCE = 28
Judge = Callable[[Any], list[int]]


def frouros(reference: Any) -> Judge:
    """Kolmogorov and Smirnov's p below one false alarm a year of daily tests of all inputs."""
    from frouros.detectors.data_drift import KSTest

    level = 1 / 365 / reference.shape[1]
    tests = [KSTest() for _ in range(reference.shape[1])]
    for column, test in enumerate(tests):
        test.fit(X=reference[:, column])

    def judge(batch: Any) -> list[int]:
        results = [test.compare(X=batch[:, column])[0] for column, test in enumerate(tests)]
        return [column for column, result in enumerate(results) if result.p_value < level]

    return judge


def evidently(reference: Any) -> Judge:
    """Its preset at its defaults: of so many events the normed Wasserstein distance, from 0.1."""
    import pandas as pd
    from evidently import Report
    from evidently.metrics import ValueDrift

    names = [f"input {column}" for column in range(reference.shape[1])]
    before = pd.DataFrame(reference, columns=names)
    report = Report([ValueDrift(column=name) for name in names])

    def judge(batch: Any) -> list[int]:
        said = report.run(pd.DataFrame(batch, columns=names), before).dict()["metrics"]
        return [column for column, metric in enumerate(said) if float(metric["value"]) >= 0.1]

    return judge


def main() -> None:
    library, path = sys.argv[1:]
    values = np.load(path)
    judge = {"frouros": frouros, "evidently": evidently}[library](
        values[:REFERENCE].reshape(-1, values.shape[2])
    )
    began = time.perf_counter()
    told = [judge(day) for day in values[REFERENCE:]]
    seconds = (time.perf_counter() - began) / len(told)
    print(json.dumps({"told": told, "seconds a day": seconds}))


if __name__ == "__main__":
    main()
