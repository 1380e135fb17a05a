"""Where the time goes, by cProfile."""

from __future__ import annotations

import cProfile
import pstats
from collections import Counter
from collections.abc import Callable
from pathlib import Path

SHOWN = 14


def shares(work: Callable[[], object]) -> dict[str, float]:
    """Do the work; shares of it of the functions that take most themselves."""
    profile = cProfile.Profile()
    profile.runcall(work)
    taken: Counter[str] = Counter()
    for (file, _, name), (_, _, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        path = Path(file)
        taken[name if file == "~" else f"{path.parent.name}/{path.name} {name}"] += own
    whole = sum(taken.values())
    return {name: own / whole for name, own in taken.most_common(SHOWN)}
