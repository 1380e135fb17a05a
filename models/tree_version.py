"""Versions of models whose trees a library has made, and whose sum is calibrated."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from models import trees
from models.base import Floats, Tensors, examine
from models.calibration import Calibrated, blank, calibrate, score_many
from models.contributions import Contributing, spread
from models.state import restore
from streams.errors import StateError


class TreeVersion(Calibrated, Contributing):
    """Trees as they score. See `models.base.Version`."""

    kind: ClassVar[str]
    model: ClassVar[str]
    """What errors call it."""
    word: ClassVar[str]
    """What the one number that it keeps beside its trees is called among its tensors."""

    def __init__(
        self,
        names: tuple[str, ...],
        columns: list[int],
        *,
        links: trees.Links,
        numbers: Floats,
        number: Floats,
        calibration: Floats,
    ) -> None:
        self.names, self._columns = names, columns
        self._links, self._numbers, self._number = links, numbers, number
        self._calibration = calibration

    @abstractmethod
    def _raw(self, x: Floats) -> Floats:
        """The log-odds of rows before they are calibrated (n,)."""

    @abstractmethod
    def _parts(self, x: Floats) -> Floats:
        """What the model's inputs add to those, and last the base (n, columns + 1)."""

    def predict_many(self, x: Floats) -> Floats:
        examine(self.names, x)
        out = self._raw(x)
        score_many(self._calibration, out, out)
        return out

    def contributions_many(self, x: Floats) -> Floats:
        examine(self.names, x)
        parts = self._parts(x)
        calibrate(self._calibration, parts)
        return spread(parts, self._columns, len(self.names))

    def tensors(self) -> Tensors:
        return {
            "links": self._links,
            "numbers": self._numbers,
            self.word: self._number,
            "calibration": self._calibration,
        }

    def config(self) -> dict[str, Any]:
        return {
            "names": list(self.names),
            "columns": list(self._columns),
            "shape": list(self._links.shape[:2]),
        }

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> Self:
        columns = [int(each) for each in config["columns"]]
        links, numbers = trees.room(*config["shape"])
        version = cls(
            tuple(config["names"]),
            columns,
            links=links,
            numbers=numbers,
            number=np.empty(1),
            calibration=blank(tensors),
        )
        restore(version.tensors(), {}, tensors, cls.model)
        if not trees.sound(links, len(columns)):
            raise StateError(
                f"{cls.model}: its nodes lead outside their trees; the version is damaged"
            )
        return version
