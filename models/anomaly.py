"""Half-space trees: how unlike the recent past an event is, with no need of a label.

Tan, Ting and Liu, *Fast Anomaly Detection for Streaming Data*, 2011. A tree halves the space of the
ranked inputs again and again at places drawn before any example; what is learnt is how many
examples came to each half. Those of the window before the present one are what is scored by, so a
version changes only when a window is full.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from models.base import Floats, Labels, Tensors, examine
from models.calibration import (
    Calibrated,
    Calibration,
    blank,
    calibrate,
    observe_many,
    publish,
    score_many,
)
from models.contributions import Contributing, spread
from models.ranks import KNOTS, Ranks, Singles, ranks_of
from models.state import restore
from streams.errors import ConfigError, StateError
from streams.jit import kernel

Ints = npt.NDArray[np.int64]
_PLATT = Calibration(platt=True)
_DEEPEST = 20
_RARE = np.log(0.01 / 0.99)
_EQUAL = 1e-9


@dataclass(frozen=True, kw_only=True)
class HalfSpaceTrees:
    """An anomaly score from `trees` trees of `height` halvings, over windows of `window` examples.

    A half that fewer than `least` of the window before came to is looked into no further. `inputs`,
    `learnt_after` and `seed` as of `Forest`. Labels serve to calibrate the score to a probability,
    and for nothing else: without any it ranks events all the same.

    >>> model = HalfSpaceTrees(window=50, learnt_after=50)
    >>> learner = model.bind(("amount",))
    >>> learner.learn_many(np.arange(200.0)[:, None] * 7 % 9, np.zeros(200, np.int8), np.ones(200))
    >>> usual, odd = learner.version().predict_many(np.array([[5.0], [500.0]]))
    >>> bool(usual < odd)
    True
    """

    inputs: tuple[str, ...] = ()
    trees: int = 25
    height: int = 8
    window: int = 250
    least: float = 0.1
    learnt_after: int = 1000
    seed: int = 0
    calibration: Calibration = _PLATT

    def __post_init__(self) -> None:
        counts = min(self.trees, self.window, self.learnt_after) >= 1
        if not (counts and 1 <= self.height <= _DEEPEST and 0 < self.least < 1):
            wanted = (
                f"trees, 1 to {_DEEPEST} halvings, a window, and least as a share inside (0, 1)"
            )
            raise ConfigError(f"HalfSpaceTrees wants {wanted}; got {self}")

    def bind(self, names: tuple[str, ...]) -> HalfSpaceLearner:
        return HalfSpaceLearner(self, names)


def _halvings(model: HalfSpaceTrees, inputs: int) -> tuple[Ints, Floats]:
    """The input and the place that each inner node of each tree is cut at, (trees, 2**height - 1).

    Each tree has a range of its own round the ranks, as wide as the authors have it, so that none
    cuts where another does.
    """
    rng = np.random.default_rng(model.seed)
    nodes = (1 << model.height) - 1
    features = np.zeros((model.trees, nodes), np.int64)
    cuts = np.zeros((model.trees, nodes))
    for tree in range(model.trees):
        centre = rng.random(inputs)
        reach = 2 * np.maximum(centre, 1 - centre)
        low, high = np.empty((nodes, inputs)), np.empty((nodes, inputs))
        low[0], high[0] = centre - reach, centre + reach
        for node in range(nodes):
            feature = int(rng.integers(inputs))
            cut = (low[node, feature] + high[node, feature]) / 2
            features[tree, node], cuts[tree, node] = feature, cut
            for side, bounds in ((1, high), (2, low)):
                child = 2 * node + side
                if child < nodes:
                    low[child], high[child] = low[node], high[node]
                    bounds[child, feature] = cut
    return features, cuts


@kernel(
    "void(float32[:, ::1], int64[:, ::1], float64[:, ::1], float64[:, ::1], float64, float64[::1])"
)
def score(
    ranks: Singles, features: Ints, cuts: Floats, masses: Floats, least: float, out: Floats
) -> None:
    """How unlikely each row is: less the logarithm of its mass, doubled a halving, over the trees.

    `masses` (trees, 2**(height + 1) - 1) are the shares of a window that came to each node.
    """
    nodes = features.shape[1]
    for row in range(len(ranks)):
        total = 0.0
        for tree in range(len(features)):
            node, scale = 0, 1.0
            while node < nodes and masses[tree, node] >= least:
                right = np.float64(ranks[row, features[tree, node]]) > cuts[tree, node]
                node = 2 * node + 1 + right
                scale *= 2.0
            total += masses[tree, node] * scale
        out[row] = _RARE - np.log((total / len(features) + least) / (1.0 + least))


@kernel(
    "void(float32[:, ::1], int64[:, ::1], float64[:, ::1], float64[:, ::1], float64,"
    " float64[:, ::1])"
)
def explain(
    ranks: Singles, features: Ints, cuts: Floats, masses: Floats, least: float, out: Floats
) -> None:
    """What each input adds to what `score` gives, and last the base, into out (n, inputs + 1).

    The base is what the whole window is scored. Each halving changes the mass, doubled, of where a
    row lies: by the input that it halves, and the logarithm of the sum in proportion.
    """
    nodes, base = features.shape[1], out.shape[1] - 1
    for row in range(len(ranks)):
        out[row, :] = 0.0
        whole = total = 0.0
        for tree in range(len(features)):
            node, scale = 0, 1.0
            whole += masses[tree, 0]
            while node < nodes and masses[tree, node] >= least:
                right = np.float64(ranks[row, features[tree, node]]) > cuts[tree, node]
                below = 2 * node + 1 + right
                changed = (2.0 * masses[tree, below] - masses[tree, node]) * scale
                out[row, features[tree, node]] += changed
                total += changed
                node = below
                scale *= 2.0
        least_whole = whole / len(features) + least
        fall = total / len(features)
        factor = -1.0 / (least_whole * len(features))
        if abs(fall) > _EQUAL * least_whole:
            factor *= np.log1p(fall / least_whole) * least_whole / fall
        for i in range(base):
            out[row, i] *= factor
        out[row, base] = _RARE - np.log(least_whole / (1.0 + least))


@kernel(
    "void(float32[:, ::1], int64, int64[:, ::1], float64[:, ::1], float64[:, ::1], float64[::1])"
)
def count(
    ranks: Singles, start: int, features: Ints, cuts: Floats, masses: Floats, weight: Floats
) -> None:
    """Add rows from `start` on, as many as there are weights, to the nodes that they come to."""
    nodes = features.shape[1]
    for tree in range(len(features)):
        for place in range(len(weight)):
            node = 0
            while True:
                masses[tree, node] += weight[place]
                if node >= nodes:
                    break
                right = np.float64(ranks[start + place, features[tree, node]]) > cuts[tree, node]
                node = 2 * node + 1 + right


class HalfSpaceLearner:
    """What `HalfSpaceTrees` have learnt. See `models.base.Learner`."""

    def __init__(self, model: HalfSpaceTrees, names: tuple[str, ...]) -> None:
        self.names = names
        self._ranks = Ranks(names, model.inputs, model.learnt_after, "HalfSpaceTrees")
        self._least, self._window = model.least, model.window
        self._features, self._cuts = _halvings(model, len(self._ranks.columns))
        shape = (model.trees, (2 << model.height) - 1)
        self._masses, self._counts = np.zeros(shape), np.zeros(shape)
        self._counted = np.zeros(1, np.int64)
        self._model = model
        self._calibration = model.calibration.start()

    def _forget(self) -> None:
        """Begin again with windows that nothing came to."""
        for part in (self._masses, self._counts, self._counted):
            part[:] = 0
        self._calibration[:] = self._model.calibration.start()

    def learn_many(self, x: Floats, y: Labels, weight: Floats) -> None:
        for anew, ranks, labels, weights in self._ranks.learnable(x, y, weight):
            if anew:
                self._forget()
            start = 0
            while start < len(ranks):
                stop = min(start + self._window - int(self._counted[0]), len(ranks))
                rows = slice(start, stop)
                raw = np.empty(stop - start)
                self._score(ranks[rows], raw)
                observe_many(self._calibration, raw, labels[rows], weights[rows])
                count(ranks, start, self._features, self._cuts, self._counts, weights[rows])
                self._counted += stop - start
                if self._counted[0] == self._window:
                    if self._counts[0, 0] > 0:
                        self._masses[:] = self._counts / self._counts[0, 0]
                    self._counts[:] = 0
                    self._counted[:] = 0
                start = stop

    def _score(self, ranks: Singles, out: Floats) -> None:
        score(ranks, self._features, self._cuts, self._masses, self._least, out)

    def version(self) -> HalfSpaceVersion:
        return HalfSpaceVersion(
            self.names,
            self._ranks.columns,
            self._least,
            knots=self._ranks.knots,
            features=self._features,
            cuts=self._cuts,
            masses=self._masses.copy(),
            calibration=publish(self._calibration),
        )

    def _parts(self) -> Tensors:
        return self._ranks.parts() | {
            "masses": self._masses,
            "counts": self._counts,
            "counted": self._counted,
            "calibration": self._calibration,
        }

    def _fixed(self) -> Tensors:
        sizes = np.array([self._least, self._window])
        columns = np.array(self._ranks.columns)
        return {"features": self._features, "cuts": self._cuts, "sizes": sizes, "columns": columns}

    def state(self) -> Tensors:
        return {name: part.copy() for name, part in (self._parts() | self._fixed()).items()}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        restore(self._parts(), self._fixed(), state, "HalfSpaceTrees")


class HalfSpaceVersion(Calibrated, Contributing):
    """`HalfSpaceTrees` as they score. See `models.base.Version`."""

    kind: ClassVar[str] = "half-space trees"

    def __init__(
        self,
        names: tuple[str, ...],
        columns: list[int],
        least: float,
        *,
        knots: Floats,
        features: Ints,
        cuts: Floats,
        masses: Floats,
        calibration: Floats,
    ) -> None:
        self.names, self._columns, self._least, self._knots = names, columns, least, knots
        self._features, self._cuts, self._masses = features, cuts, masses
        self._calibration = calibration

    def predict_many(self, x: Floats) -> Floats:
        examine(self.names, x)
        out = np.empty(len(x))
        ranks = ranks_of(np.ascontiguousarray(x[:, self._columns]), self._knots)
        score(ranks, self._features, self._cuts, self._masses, self._least, out)
        score_many(self._calibration, out, out)
        return out

    def contributions_many(self, x: Floats) -> Floats:
        examine(self.names, x)
        parts = np.empty((len(x), len(self._columns) + 1))
        ranks = ranks_of(np.ascontiguousarray(x[:, self._columns]), self._knots)
        explain(ranks, self._features, self._cuts, self._masses, self._least, parts)
        calibrate(self._calibration, parts)
        return spread(parts, self._columns, len(self.names))

    def tensors(self) -> Tensors:
        return {
            "knots": self._knots,
            "features": self._features,
            "cuts": self._cuts,
            "masses": self._masses,
            "calibration": self._calibration,
        }

    def config(self) -> dict[str, Any]:
        return {
            "names": list(self.names),
            "columns": list(self._columns),
            "least": self._least,
            "shape": list(self._features.shape),
        }

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> Self:
        columns = [int(each) for each in config["columns"]]
        trees, nodes = config["shape"]
        version = cls(
            tuple(config["names"]),
            columns,
            float(config["least"]),
            knots=np.empty((len(columns), 1 + KNOTS)),
            features=np.empty((trees, nodes), np.int64),
            cuts=np.empty((trees, nodes)),
            masses=np.empty((trees, 2 * nodes + 1)),
            calibration=blank(tensors),
        )
        restore(version.tensors(), {}, tensors, "HalfSpaceTrees")
        features = version._features
        if not ((features >= 0) & (features < len(columns))).all():
            raise StateError("HalfSpaceTrees: a cut is of no input; the version is damaged")
        return version
