"""What a `Neural` has learnt, as it scores: it needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from models import network
from models.base import Floats, Tensors, examine
from models.calibration import Calibrated, blank, calibrate, score_many
from models.contributions import Contributing, spread
from models.knots import knots_of, no_knots
from models.network_shape import Ints, Shape, Singles
from models.state import restore


class Frame:
    """What neither learning nor scoring changes: names, columns, the network's shape and plan."""

    def __init__(self, names: tuple[str, ...], columns: list[int], shape: Shape) -> None:
        self.names, self.columns, self.shape = names, columns, shape
        self.numbers = sum(not slots for slots in shape.slots)
        self.knotted = len(shape.numeric)
        self.plan = shape.plan(columns)

    def locate(self, x: Floats, knots: Floats) -> tuple[Ints, Singles]:
        """Where rows (n, names) lie in the table of embeddings."""
        examine(self.names, x)
        size = len(x), len(self.columns)
        rows, shares = np.empty(size, np.int64), np.empty(size, np.float32)
        network.locate(x, self.plan, knots, rows, shares)
        return rows, shares

    def knots_of(self, x: Floats) -> Floats:
        """Knots for rows (n, names): of the numbers, then of what all tokens have."""
        shape = self.shape
        own = x[:, self.columns[: self.numbers]]
        tokens = x[:, self.columns[len(shape.slots) :]].reshape(len(x) * shape.tokens, shape.kinds)
        return np.concatenate([knots_of(each, shape.knots) for each in (own, tokens)])

    def log_odds(self, rows: Ints, shares: Singles, weights: Singles, offset: float) -> Floats:
        """Of located rows (n,)."""
        out = np.empty(len(rows))
        network.predict(rows, shares, self.plan, weights, offset, network.room_for(self.shape), out)
        return out


class NeuralVersion(Calibrated, Contributing):
    """A `Neural` as it scores. See `models.base.Version`."""

    kind: ClassVar[str] = "neural"

    def __init__(
        self,
        frame: Frame,
        *,
        knots: Floats,
        weights: Singles,
        means: Singles,
        offset: Floats,
        calibration: Floats,
    ) -> None:
        self.names = frame.names
        self.frame, self.knots, self.weights = frame, knots, weights
        self._means, self._offset, self._calibration = means, offset, calibration

    def log_odds(self, x: Floats) -> Floats:
        """What the network says, before calibration (n,)."""
        rows, shares = self.frame.locate(x, self.knots)
        return self.frame.log_odds(rows, shares, self.weights, float(self._offset[0]))

    def predict_many(self, x: Floats) -> Floats:
        out = self.log_odds(x)
        score_many(self._calibration, out, out)
        return out

    def contributions_many(self, x: Floats) -> Floats:
        columns = self.frame.columns
        rows, shares = self.frame.locate(x, self.knots)
        parts = np.empty((len(x), len(columns) + 1))
        room = network.room_for(self.frame.shape)
        network.contributions(rows, shares, self.frame.plan, self.weights, self._means, room, parts)
        parts[:, -1] += self._offset[0]
        calibrate(self._calibration, parts)
        return spread(parts, columns, len(self.names))

    def tensors(self) -> Tensors:
        return {
            "knots": self.knots,
            "weights": self.weights,
            "means": self._means,
            "offset": self._offset,
            "calibration": self._calibration,
        }

    def config(self) -> dict[str, Any]:
        shape = self.frame.shape
        sizes = [shape.knots, shape.width, shape.crosses, shape.rank, shape.hidden, shape.blocks]
        if shape.tokens:
            sizes += [shape.kinds, shape.tokens, shape.heads, shape.size]
        return {
            "names": list(self.names),
            "columns": list(self.frame.columns),
            "slots": list(shape.slots),
            "sizes": sizes,
        }

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> Self:
        columns = [int(each) for each in config["columns"]]
        frame = Frame(
            tuple(config["names"]), columns, Shape(tuple(config["slots"]), *config["sizes"])
        )
        version = cls(
            frame,
            knots=no_knots(frame.knotted, frame.shape.knots),
            weights=np.empty(frame.shape.weights, np.float32),
            means=np.empty(frame.shape.means, np.float32),
            offset=np.empty(1),
            calibration=blank(tensors),
        )
        restore(version.tensors(), {}, tensors, "Neural")
        return version
