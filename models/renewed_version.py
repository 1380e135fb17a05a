"""A `Renewed` as it scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from models import renewal
from models.base import Floats, Tensors, Version, examine
from models.calibration import Calibrated, blank, calibrate, score_many
from models.contributions import Contributing, to_log_odds, to_probabilities
from models.ensemble import EnsembleVersion
from models.kinds import SIMPLE
from models.state import prefixed, restore, under


class RenewedVersion(Calibrated, Contributing):
    """The model, the second and both stacked, by their weights. See `models.base.Version`."""

    kind: ClassVar[str] = "renewed"

    def __init__(
        self, main: Version, second: Version, stack: Floats, weights: Floats, calibration: Floats
    ) -> None:
        self.names, self._main, self._second = main.names, main, second
        self._stack, self._weights, self._calibration = stack, weights, calibration

    def predict_many(self, x: Floats) -> Floats:
        examine(self.names, x)
        main, out = self._main.predict_many(x), np.empty(len(x))
        second = self._second.predict_many(x) if self._weights[renewal.SECOND] else main
        renewal.mix(main, second, self._stack, self._weights, out)
        score_many(self._calibration, out, out)
        return out

    def contributions_many(self, x: Floats) -> Floats:
        """Those of the three to their probabilities, by weight; then to log-odds."""
        examine(self.names, x)
        main, second = (each.contributions_many(x) for each in (self._main, self._second))
        both = main.copy()
        renewal.together(self._stack, both, second)
        parts = np.zeros_like(main)
        for weight, own in zip(self._weights.tolist(), (main, second, both), strict=True):
            if weight:
                to_probabilities(own)
                parts += weight * own
        to_log_odds(parts)
        calibrate(self._calibration, parts)
        return parts

    def _own(self) -> Tensors:
        return {"stack": self._stack, "weights": self._weights, "calibration": self._calibration}

    def tensors(self) -> Tensors:
        inner = prefixed("main/", self._main.tensors()) | prefixed(
            "second/", self._second.tensors()
        )
        return self._own() | inner

    def config(self) -> dict[str, Any]:
        return {"model": [self._main.kind, self._main.config()]}

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> Self:
        kinds: dict[str, type[Version]] = {**SIMPLE, EnsembleVersion.kind: EnsembleVersion}
        kind, own = config["model"]
        main, second = (
            kinds[kind].from_parts(own, under(prefix, tensors)) for prefix in ("main/", "second/")
        )
        _, stack, weights = renewal.blank()
        version = cls(main, second, stack, weights, blank(tensors))
        restore(version._own(), {}, {k: t for k, t in tensors.items() if "/" not in k}, "Renewed")
        return version
