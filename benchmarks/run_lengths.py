"""The settings that make a run length: `python -m benchmarks.run_lengths Adwin 100000`.

Runs a detector over even, independent numbers, as sequential ranks are while nothing changes, and
looks for the setting at which it raises an alarm once in so many of them. `operators.drift.
runlength` keeps what this prints. The last try sees 400 alarms, so that its run length is known to
within a tenth, 19 times in 20; `--rounds 100,200` is quicker.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import click
import numpy as np

from operators.drift import ddm, kswin
from operators.drift.adwin import Adwin
from operators.drift.ddm import Ddm
from operators.drift.detector import Detector, Floats
from operators.drift.kswin import Kswin

CHUNK = 1_000_000


class Searched(NamedTuple):
    """A detector of a given setting, what it is told, and where to begin to look."""

    made: Callable[[float], Detector]
    told: Callable[[Floats], Floats]
    start: float
    slope: float
    """How much the logarithm of the run length changes with the setting."""


def _adwin(setting: float) -> Detector:
    return Adwin(delta=math.exp(setting)).bind()


def _ddm(setting: float) -> Detector:
    detector = Ddm(drift_threshold=setting).bind()
    settings = detector.state()["settings"]
    settings[[ddm.WARM_START, ddm.RENEW]] = ddm.WARM, ddm.MEMORY
    detector._settings[:] = settings  # noqa: SLF001
    return detector


def _kswin(setting: float) -> Detector:
    detector = Kswin(alpha=1.0).bind()
    settings = detector._settings  # noqa: SLF001
    settings[kswin.LEAST], settings[kswin.PART] = math.floor(setting) + 1, 1 - setting % 1
    return detector


SEARCHED = {
    "Adwin": Searched(_adwin, lambda u: -np.log1p(-u) - 1.0, 1.0, -1.5),
    "Ddm": Searched(_ddm, lambda u: (u > 1.0 - ddm.SHARE).astype(np.float64), 3.5, 2.0),
    "Kswin": Searched(_kswin, lambda u: u, 20.0, 0.8),
}


def run_length(searched: Searched, setting: float, alarms: int, longest: float) -> float:
    """Values an alarm, of so many alarms or of as many values as they should take and half more."""
    random, detector = np.random.default_rng(1), searched.made(setting)
    seen = found = 0
    while found < alarms and seen < 1.5 * longest * alarms:
        values = searched.told(random.random(CHUNK))
        found += len(detector.update_many(values).alarms)
        seen += CHUNK
    return seen / max(found, 0.5)


def found(name: str, wanted: float, rounds: list[int]) -> float:
    """The setting, of as many tries as there are rounds."""
    searched = SEARCHED[name]
    setting, slope, before = searched.start, searched.slope, None
    for alarms in rounds:
        length = run_length(searched, setting, alarms, wanted)
        print(f"{name} {setting:.4f}: {length:,.0f}", flush=True)
        apart = math.log(length) - math.log(wanted)
        if before and abs(setting - before[0]) > 0.02:
            slope = (apart - before[1]) / (setting - before[0])
        before = setting, apart
        setting -= apart / slope
    return setting


@click.command()
@click.argument("name", type=click.Choice(list(SEARCHED)))
@click.argument("wanted", type=float)
@click.option("--start", type=float, help="A setting to begin with.")
@click.option(
    "--rounds", default="50,100,200,400", show_default=True, help="Alarms to wait for, a try each."
)
def main(name: str, wanted: float, start: float | None, rounds: str) -> None:
    """The setting of a detector that makes the wanted run length."""
    if start is not None:
        SEARCHED[name] = SEARCHED[name]._replace(start=start)
    setting = found(name, wanted, [int(each) for each in rounds.split(",")])
    print(f"{name}, {wanted:,.0f}: {setting:.4f}")


if __name__ == "__main__":
    main()
