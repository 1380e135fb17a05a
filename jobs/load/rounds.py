"""Run after run, target after target in turn, so that what disturbs one disturbs the others too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from jobs.load.generator import Generator, Load, Target
from jobs.load.results import Measured, summarise

REPEATS = 3
"""How often a run is repeated because its sender was late; after that it counts as it is."""


@dataclass(slots=True)
class Series:
    """The runs of one target under one load."""

    runs: list[Measured] = field(default_factory=list)
    repeated: int = 0
    """Runs that were thrown away because their sender was late."""

    @property
    def late(self) -> int:
        """Runs that count although their sender was late."""
        return sum(run.late for run in self.runs)


def alternate(
    generator: Generator,
    targets: Sequence[Target],
    load: Load,
    runs: int,
    told: Callable[[str, Measured], None],
) -> dict[str, Series]:
    """So many runs of each target, in turn, by its name."""
    found = {target.name: Series() for target in targets}
    for _ in range(runs):
        for target in targets:
            series = found[target.name]
            measured = once(generator, target, load)
            told(target.name, measured)
            for _ in range(REPEATS):
                if not measured.late:
                    break
                series.repeated += 1
                measured = once(generator, target, load)
                told(target.name, measured)
            series.runs.append(measured)
    return found


def once(generator: Generator, target: Target, load: Load) -> Measured:
    """One run, begun when the target has done all that was sent to it before."""
    generator.settle(target)
    with target.meanwhile():
        observed = generator.run(target, load)
    return summarise(observed, load)
