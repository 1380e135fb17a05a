"""Frouros' tests of one variable: windows of a stream against its beginning, in an own process."""

from __future__ import annotations

import sys
from pathlib import Path

PACKAGES = ("frouros==0.9.0",)
REFERENCE, WINDOW = 5000, 500


def run(given: Path, out: Path) -> None:
    """Compare windows of the values in an .npy with the first of them.

    A row for each window: Kolmogorov's and Smirnov's distance, and the PSI.
    """
    import numpy as np
    from frouros.detectors.data_drift import PSI, KSTest

    values = np.load(given)
    tests = KSTest(), PSI()
    for test in tests:
        test.fit(X=values[:REFERENCE])
    rows = []
    for start in range(REFERENCE, len(values) - WINDOW + 1, WINDOW):
        window = values[start : start + WINDOW]
        results = [test.compare(X=window)[0] for test in tests]
        rows.append((results[0].statistic, results[1].distance))
    np.save(out, np.array(rows))


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]))
