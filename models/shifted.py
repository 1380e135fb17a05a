"""A version whose log-odds are moved: what is known of the share of positives before labels are.

Where only the share of positives changes, the log-odds of every event change by one number
(Saerens, Latinne and Decaestecker, *Adjusting the Outputs of a Classifier*, 2002). The order of
scores stays, and with it who is in the alert budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from models.base import Floats, Reasons, Tensors, Version
from models.ensemble import EnsembleVersion
from models.kinds import SIMPLE
from models.state import prefixed, under
from streams.jit import kernel

_OWN, _SHIFT = "shifted/", "shift"


@kernel("void(float64[::1], float64)")
def _move(scores: Floats, by: float) -> None:
    """Add to the log-odds of probabilities, in place; they stay inside (0, 1)."""
    for i in range(len(scores)):
        odds = scores[i] / (1.0 - scores[i]) * np.exp(by)
        scores[i] = min(max(odds / (1.0 + odds), 2.0**-52), 1.0 - 2.0**-52)


class Shifted:
    """`version` with `shift` added to its log-odds. See `models.base.Version`."""

    kind: ClassVar[str] = "shifted"

    def __init__(self, version: Version, shift: float) -> None:
        self.version, self.shift = version, shift
        self.names = version.names

    @property
    def threshold(self) -> float:
        """That of the version, moved too: what was for review still is."""
        threshold = self.version.threshold
        return threshold if threshold == 1 else float(self._moved(np.array([threshold]))[0])

    def _moved(self, scores: Floats, by: float | None = None) -> Floats:
        _move(scores, self.shift if by is None else by)
        return scores

    def predict_many(self, x: Floats) -> Floats:
        return self._moved(self.version.predict_many(x))

    def reasons_many(self, x: Floats, k: int) -> Reasons:
        return self.version.reasons_many(x, k)

    def contributions_many(self, x: Floats) -> Floats:
        parts = self.version.contributions_many(x)
        parts[:, -1] += self.shift
        return parts

    def intervals_many(self, scores: Floats) -> Floats:
        """The version's for the scores it gave, moved too."""
        found = self.version.intervals_many(self._moved(scores.copy(), -self.shift))
        inside = (found > 0) & (found < 1)
        found[inside] = self._moved(found[inside])
        return found

    def tensors(self) -> Tensors:
        return {_SHIFT: np.array([self.shift])} | prefixed(_OWN, self.version.tensors())

    def config(self) -> dict[str, Any]:
        return {"version": [self.version.kind, self.version.config()]}

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> Self:
        kind, own = config["version"]
        kinds: dict[str, type[Version]] = {**SIMPLE, EnsembleVersion.kind: EnsembleVersion}
        inner, shift = parted(tensors)
        return cls(kinds[kind].from_parts(own, inner), shift)


def parted(tensors: Mapping[str, npt.NDArray[Any]]) -> tuple[Mapping[str, npt.NDArray[Any]], float]:
    """Of a version's tensors those of the version that it shifts, and by how much.

    All, and 0, of one that is not `Shifted`.
    """
    inner = under(_OWN, tensors)
    return (inner, float(tensors[_SHIFT][0])) if inner else (tensors, 0.0)
